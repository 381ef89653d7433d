"""A network as the weight of any module, through ``torch.nn.utils.parametrize``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tnkit.core.activations import ACTIVATIONS
from tnkit.core.checks import a_network, one_of, text
from tnkit.core.decomposition import Decomposition, network_of
from tnkit.core.network import Elementwise, Network, inside_out
from tnkit.core.numbers import real_number
from tnkit.execution.weights import detensorize
from tnkit.paths.optimizers import Optimizer
from tnkit_nn.adapter.atomic import atomic
from tnkit_nn.adapter.module import ClosedModule
from tnkit_nn.checks import a_module, check_fills, materialised, trained_dtype

__all__ = ["merge_", "parametrize_"]


class _Weight(ClosedModule):
    """A network without inputs, read as a weight of ``shape``."""

    _spoken = "parametrize_"

    def __init__(
        self, net: Network, arrays: Mapping[str, Any] | None, shape: torch.Size, unused: str, **options: Any
    ) -> None:
        super().__init__(net, arrays, **options)
        for name, tensor in self.tensors().items():
            if tensor.is_complex() and not options["dtype"].is_complex:
                raise ValueError(
                    f"array {name!r} is {tensor.dtype}, but the weight is {options['dtype']}: it would become complex"
                )
        self.shape, self._unused, self._placed = shape, unused, False
        self.register_buffer("_padding", None, persistent=False)

    def pad(self, row: int | None) -> _Weight:
        """Keep a row at zero, an embedding's padding: it has no gradient."""
        self._padding = None if row is None else torch.tensor([row])
        return self

    def forward(self) -> Tensor:  # type: ignore[override]
        """The dense weight."""
        made = detensorize(super().forward(), self.shape)
        return made if self._padding is None else made.index_fill(0, self._padding, 0)

    def extra_repr(self) -> str:
        """The network in a line, and what of it the weight does not use."""
        return "\n".join(part for part in (super().extra_repr(), self._unused) if part)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """No original is kept; an assignment later on is refused."""
        if self._placed:
            raise RuntimeError(
                "a weight that is a network cannot be assigned; use merge_, or tnkit_nn.fit and new arrays"
            )
        self._placed = True
        return ()


@atomic
def parametrize_(
    module: nn.Module,
    name: str,
    net: Network | Decomposition,
    arrays: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    std: float | str | None = "match",
    optimizer: str | Optimizer = "auto",
) -> nn.Module:
    """Replace a weight by a network, in place.

    Reading ``module.<name>`` contracts the network and reads it as the weight's shape (see
    :func:`tnkit.detensorize`).  A frozen weight stays frozen.  The old one is dropped: ``state_dict`` has the network's arrays, as
    ``parametrizations.<name>.0.<array>``.  Inside ``torch.nn.utils.parametrize.cached()`` it is contracted once.  The row of an
    embedding's ``padding_idx`` is zero, and is not trained.

    Parameters
    ----------
    module
        Any module that owns the weight: Linear, ConvNd, Embedding, your own.
    name
        Name of the parameter, ``"weight"`` mostly.
    net
        The network; a :class:`tnkit.Decomposition` is a network and its arrays.
    arrays
        Its arrays (say from :func:`tnkit_nn.fit`); drawn by default.  Dtype and device are the old weight's.
    seed
        For drawn arrays.
    std
        Root mean square of a drawn weight; ``"match"``: that of the old one; None: as for :func:`tnkit.init.normal`, for an
        outermost activation that does not reach that.
    optimizer
        As for :func:`tnkit.plan`.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    TypeError
        No module, no name, no network, no mapping of arrays.
    ValueError
        No such parameter, or it is parametrized already or shared; one of whole numbers, on the meta device or not made yet;
        the network does not fill the weight's shape; nothing to match; arrays as for :class:`TNModule`.  The module is as it was.
    """
    net, arrays = network_of(net, arrays, "parametrize_")
    net = a_network(net, "parametrize_")
    weight = _own_weight(a_module(module, "parametrize_: module"), text(name, "parametrize_: name"))
    unused = check_fills(net, weight.shape, f"parametrize_: {name!r} of {type(module).__name__}")
    if isinstance(std, str):
        one_of(std, "parametrize_: std, unless it is a positive number,", ("match",))
        std = 1.0 if arrays is not None else _root_mean_square(weight.detach())
        if not 0 < std < float("inf"):
            raise ValueError(f"parametrize_: the root mean square of {name!r} is {std}: give std=")
    std = None if std is None else real_number(std, "parametrize_: std")
    new = _Weight(net, arrays, weight.shape, unused, optimizer=optimizer, dtype=weight.dtype, seed=seed, std=std)
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and name == "weight":
        new.pad(module.padding_idx)
    new.requires_grad_(weight.requires_grad)
    return _registered(module, name, new.to(weight.device))


def _registered(module: nn.Module, name: str, new: _Weight) -> nn.Module:
    """The weight in its place.  torch's own check contracts it once, which only a function of the user's own needs."""
    known = all(n.fn in ACTIVATIONS for n in inside_out(new.network) if isinstance(n, Elementwise))
    with torch.no_grad():
        parametrize.register_parametrization(module, name, new, unsafe=known)
    module.parametrizations[name].unsafe = False  # type: ignore[index, union-attr]
    if isinstance(module, nn.RNNBase):
        _forget_flat(module)
        _forgets_for_copies(cast(Any, type(module)))
    return module


def _forgets_for_copies(cls: Any) -> None:
    """Torch's recurrent modules keep a list of their weights, where one that is generated keeps copies from being made."""
    inner = cls.__deepcopy__  # the class is torch's, of this module alone
    if getattr(inner, "forgets", False):
        return

    def deepcopied(self: nn.Module, memo: dict[int, Any]) -> Any:
        _forget_flat(self)
        return inner(self, memo)

    deepcopied.forgets = True  # type: ignore[attr-defined]
    cls.__deepcopy__ = deepcopied


def _forget_flat(module: nn.Module) -> None:
    """Leave the generated weights out of the list, which is read anew at the next forward."""
    rnn = cast(Any, module)
    made = [parametrize.is_parametrized(rnn, name) for name in rnn._flat_weights_names]
    rnn._flat_weights = [None if m else w for m, w in zip(made, rnn._flat_weights, strict=True)]
    rnn._flat_weight_refs = [_gone if m else ref for m, ref in zip(made, rnn._flat_weight_refs, strict=True)]


def _gone() -> None:
    """Stands for a reference to a weight that is no more: torch then reads all of them anew."""


def _own_weight(module: nn.Module, name: str) -> nn.Parameter:
    """The parameter of this name, where a network can take its place."""
    kind = type(module).__name__
    if parametrize.is_parametrized(module, name):
        raise ValueError(f"{name!r} of {kind} is parametrized already; merge_ it first")
    weight = module._parameters.get(name)
    if weight is None:
        known = ", ".join(n for n, p in module._parameters.items() if p is not None) or "none"
        raise ValueError(
            f"parametrize_: {kind} has no parameter {name!r} of its own{_found_elsewhere(module, name)} (it has {known})"
        )
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"{name!r} of {kind} has no shape yet: call the model once before")
    materialised(weight, f"parametrize_: {name!r} of {kind}")
    if getattr(module, "sparse", False):
        raise ValueError(
            f"parametrize_: {kind} asks for sparse gradients, which a network has not; set sparse=False first"
        )
    trained_dtype(weight.dtype, f"parametrize_: the dtype of {name!r} of {kind}")
    shared = [n for n, p in module.named_parameters(remove_duplicate=False) if p is weight and n != name]
    if shared:
        raise ValueError(f"{name!r} of {kind} is shared with {shared[0]!r}, which a network cannot be; untie it first")
    return weight


def _found_elsewhere(module: nn.Module, name: str) -> str:
    """Where what is called so is: a part of a message."""
    owner, _, leaf = name.rpartition(".")
    if name in module._parameters:
        return ": it is None there"
    if name in module._buffers:
        return ": it is a buffer, which is never trained"
    if name in module._modules:
        return f": it is a module; give that one, and the name of its parameter ({name}, 'weight')"
    if owner and owner in dict(module.named_modules()) and leaf in module.get_submodule(owner)._parameters:
        return f": give its owner, model.get_submodule({owner!r}), and the name {leaf!r}"
    return ""


def _root_mean_square(weight: torch.Tensor) -> float:
    """In double precision, a block at a time: no copy of the weight is made."""
    flat = weight.abs().reshape(-1) if weight.is_complex() else weight.reshape(-1)
    blocks = (x.double() for x in flat.split(2**16))
    return float((sum(x.dot(x) for x in blocks) / max(weight.numel(), 1)) ** 0.5)


@atomic
def merge_(module: nn.Module, name: str) -> nn.Module:
    """Make a parametrized weight a plain dense parameter of the same value, bit by bit, in place; frozen if all behind it is.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    TypeError
        No module, or no name.
    ValueError
        ``module.<name>`` is not parametrized.
    """
    a_module(module, "merge_: module")
    text(name, "merge_: name")
    if not parametrize.is_parametrized(module, name):
        raise ValueError(f"{type(module).__name__} has no parametrized {name!r}; there is nothing to merge")
    with torch.no_grad():
        value = getattr(module, name).clone(memory_format=torch.contiguous_format)
    trained = any(p.requires_grad for p in getattr(module.parametrizations, name).parameters())
    cls = type(module)  # copies share the class that torch is about to strip of the property: give this one its own
    module.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))
    parametrize.remove_parametrizations(module, name)
    delattr(module, name)
    module.register_parameter(name, nn.Parameter(value, requires_grad=trained))
    return module

"""A network as the weight of any module, through ``torch.nn.utils.parametrize``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tnkit.core.network import Network
from tnkit.core.shapes import split_axes
from tnkit.execution.weights import detensorize
from tnkit.paths.optimizers import Optimizer
from tnkit_nn.adapter.atomic import atomic
from tnkit_nn.adapter.module import TNModule

__all__ = ["merge_", "parametrize_"]


class _Weight(TNModule):
    """A network without inputs, read as a weight of ``shape``."""

    def __init__(self, net: Network, arrays: Mapping[str, Any] | None, shape: torch.Size, **options: Any) -> None:
        super().__init__(net, arrays, **options)
        if self.inputs:
            raise ValueError(
                f"{net!r} has no array for {self.inputs[0]!r}: a weight takes no inputs, give it in arrays"
            )
        self.shape, self._placed = shape, False

    def forward(self) -> Tensor:  # type: ignore[override]
        """The dense weight."""
        return detensorize(super().forward(), self.shape)

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
    net: Network,
    arrays: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    std: float | str = "match",
    optimizer: str | Optimizer = "auto",
) -> nn.Module:
    """Replace a weight by a network, in place.

    Reading ``module.<name>`` contracts the network and reads it as the weight's shape (see
    :func:`tnkit.detensorize`).  The old weight is dropped: ``state_dict`` has the network's arrays, as
    ``parametrizations.<name>.0.<array>``.  Inside ``torch.nn.utils.parametrize.cached()`` it is contracted once.

    Parameters
    ----------
    module
        Any module that owns the weight: Linear, ConvNd, Embedding, your own.
    name
        Name of the parameter, ``"weight"`` mostly.
    net
        The network.
    arrays
        Its arrays (say from :func:`tnkit_nn.fit`); drawn by default.  Dtype and device are the old weight's.
    seed
        For drawn arrays.
    std
        Root mean square of a drawn weight; ``"match"``: that of the old one.
    optimizer
        As for :func:`tnkit.plan`.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    ValueError
        No such parameter, or it is parametrized already; the network does not fill the weight's shape; nothing to match.
    """
    if parametrize.is_parametrized(module, name):
        raise ValueError(f"{name!r} is parametrized already; merge_ it first")
    weight = module._parameters.get(name)
    if weight is None:
        known = ", ".join(n for n, p in module._parameters.items() if p is not None) or "none"
        raise ValueError(f"{type(module).__name__} has no parameter {name!r} of its own (it has {known})")
    if net.shape and weight.numel() != torch.Size(net.shape).numel():
        split_axes(net.shape, weight.shape)
    if std == "match":
        std = 1.0 if arrays is not None else _root_mean_square(weight.detach())
    if not isinstance(std, (int, float)) or not 0 < std < float("inf"):
        raise ValueError(f"the root mean square of {name!r} is {std}: give std=")
    new = _Weight(net, arrays, weight.shape, optimizer=optimizer, dtype=weight.dtype, seed=seed, std=std)
    return parametrize.register_parametrization(module, name, new.to(weight.device))


def _root_mean_square(weight: torch.Tensor) -> float:
    """In double precision, a block at a time: no copy of the weight is made."""
    blocks = weight.abs().reshape(-1).split(2**20) if weight.is_complex() else weight.reshape(-1).split(2**20)
    return float((sum(x.double().square().sum() for x in blocks) / max(weight.numel(), 1)) ** 0.5)


@atomic
def merge_(module: nn.Module, name: str) -> nn.Module:
    """Make a parametrized weight a plain dense parameter of the same value, bit by bit, in place.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    ValueError
        ``module.<name>`` is not parametrized.
    """
    if not parametrize.is_parametrized(module, name):
        raise ValueError(f"{type(module).__name__} has no parametrized {name!r}; there is nothing to merge")
    with torch.no_grad():
        value = getattr(module, name).clone(memory_format=torch.contiguous_format)
    cls = type(module)  # copies share the class that torch is about to strip of the property: give this one its own
    module.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))
    parametrize.remove_parametrizations(module, name)
    delattr(module, name)
    module.register_parameter(name, nn.Parameter(value))
    return module

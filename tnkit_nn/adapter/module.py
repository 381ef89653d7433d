"""Any network as an ``nn.Module``: arrays are its parameters, data its inputs, and one plan its forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tnkit import init
from tnkit.core.checks import a_mapping, a_network, text
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import check_ordered
from tnkit.core.wording import plural, shown
from tnkit.execution.inputs import check_known
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.planner import plan
from tnkit_nn.adapter.constants import Constants, check_given_constant
from tnkit_nn.adapter.digest import network_digest
from tnkit_nn.adapter.notebook import shown_module
from tnkit_nn.checks import a_tensor, an_array, finite, trained_dtype
from tnkit_nn.engine.backend import TORCH, autocasts, ready, to_tensor

__all__ = ["ClosedModule", "TNModule", "check_input"]


class TNModule(nn.Module):
    """Contract a network.

    >>> module = tknn.TNModule(tk.tt((4, 4, 4), 2), seed=0)
    >>> module().shape, [name for name, _ in module.named_parameters()]
    (torch.Size([4, 4, 4]), ['core_0', 'core_1', 'core_2'])
    >>> data = tk.Network([tk.Node("x", "bi", fixed=True), tk.Node("W", "io")], "bo", dict(b=32, i=3, o=2))
    >>> layer = tknn.TNModule(data, dynamic="b")
    >>> layer(x=torch.ones(5, 3)).shape  # the data are arguments; "b" may have another size
    torch.Size([5, 2])
    >>> layer.tensors()["W"].shape, layer.like.dtype
    (torch.Size([3, 2]), torch.float32)

    Trained arrays are parameters under their own names, so ``state_dict`` has the network's array names as keys (tied nodes
    share one).  Constants (``fixed="e0"`` and so on) follow from the network and are made as needed.  Arrays of ``fixed=True`` nodes
    are buffers where ``arrays`` has them; the others are the inputs of ``forward``.  The state dict knows the
    structure by a digest (in its metadata): strict loading refuses the arrays of another network that are called the same.

    On torch's meta device the arrays have shapes alone; :meth:`reset_parameters`, after ``to_empty``, draws them.

    Parameters
    ----------
    net
        Any network, nonlinear ones too, or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Array name -> numpy array or tensor: all trained arrays, or none of them (then :func:`tnkit.init.normal` draws
        them), and frozen ones.  Where there are tensors, all is put on their device.
    optimizer
        As for :func:`tnkit.plan`.
    dynamic
        An output index (the batch) that may have any size; ``net.sizes`` has the typical one.
    dtype
        Of parameters and buffers; by default that of the given tensors, or torch's default.
    seed, std
        For the drawn arrays, as for :func:`tnkit.init.normal`.

    Raises
    ------
    TypeError
        No network, arrays that are no mapping of arrays, no dtype.
    ValueError
        A name that torch cannot hold, an array of the wrong shape, mixed dtypes or devices, some trained arrays missing, trained arrays of
        whole numbers or that are not finite, complex arrays where a function needs real ones, given arrays where torch's default device is meta.
    """

    #: What messages call it.
    _spoken = "TNModule"

    @keywords_of(network="net")
    def __init__(
        self,
        net: Network | Pair,
        arrays: Mapping[str, Any] | None = None,
        *,
        optimizer: str | Optimizer = "auto",
        dynamic: str | None = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        std: float | None = None,
    ) -> None:
        super().__init__()
        who = self._spoken
        net, arrays = network_of(net, arrays, who)
        net = a_network(net, who)
        given = {} if arrays is None else a_mapping(arrays, who)
        seed = whole_number(seed, f"{who}: seed", 0)
        std = None if std is None else real_number(std, f"{who}: std")
        dtype = trained_dtype(dtype, f"{who}: dtype")
        if dynamic is not None:
            text(dynamic, f"{who}: dynamic")
        self.network, self.dynamic = net, dynamic
        self._held: tuple[str, ...] = ()
        #: Names of the arrays that ``forward`` takes, in order.
        self.inputs: tuple[str, ...] = ()
        self.plan = ready(plan(net, optimizer, dynamic=dynamic))
        self._slots = {leaf.array: (leaf, tuple(owner.sizes[i] for i in leaf.inds)) for leaf, owner in net._walk()}
        tensors = _tensors(net, given, dtype, seed, std)
        for name, tensor in tensors.items():
            self._check(name, tensor)
            if name in given and name in net.parameters:
                finite(tensor, f"{who}: array {name!r}")
        for name, tensor in tensors.items():
            _register_tensor(
                self, name, tensor, trained=name in net.parameters, saved=self._slots[name][0].fixed is True
            )
        self._held, self._drawing, self._constants = tuple(tensors), (seed, std), Constants(net)
        if self._constants.kinds and not tensors:  # the dtype and the device of what is made for nobody else
            self.register_buffer("_nothing", torch.empty(0, dtype=dtype), persistent=False)
        self.inputs = tuple(n for n in net.array_shapes if n not in tensors and n not in self._constants.kinds)

    def forward(self, /, *args: Tensor, **inputs: Tensor) -> Tensor:
        """Contract with the inputs, given by array name, in the order of ``self.inputs``, or all in one tensor.

        ::

            module(x)  # of shape (batch, sites, features), for inputs of shape (batch, features), one a site

        One tensor for several inputs has one axis more than each: the axis before the last goes through them in order.

        Raises
        ------
        ValueError
            An input missing, unknown, given twice, of another dtype, or of a shape that disagrees with the network; one tensor of
            another number of inputs than there are.
        """
        if len(args) == 1 < len(self.inputs) and not inputs:
            args = self._taken_apart(args[0])
        if len(args) > len(self.inputs):
            raise ValueError(
                f"{plural(len(args), 'input')} given; this network takes {len(self.inputs)}: {self.inputs}"
            )
        for name, tensor in zip(self.inputs, args, strict=False):
            if name in inputs:
                raise ValueError(f"input {name!r} is given twice")
            inputs[name] = tensor
        arrays = self.tensors()
        self._check_inputs(inputs, next(iter(arrays.values())) if arrays else None)
        return run(self.plan, {**arrays, **inputs}, TORCH)

    def _taken_apart(self, x: Any) -> tuple[Tensor, ...]:
        """The inputs out of one tensor that has them along the axis before its last; any other as it is."""
        axes = len(self._slots[self.inputs[0]][1])
        if not isinstance(x, Tensor) or x.dim() != axes + 1 or x.layout is not torch.strided:
            return (x,)
        if x.shape[-2] != len(self.inputs):
            raise ValueError(
                f"one tensor for all {len(self.inputs)} inputs has them along its axis before the last, which has size "
                f"{x.shape[-2]} in an input of shape {tuple(x.shape)}"
            )
        return x.unbind(-2)

    def tensors(self) -> dict[str, Tensor]:
        """Array name -> parameter, buffer or constant."""
        mine: dict[str, Any] = {**self._buffers, **self._parameters}  # getattr takes a microsecond each
        held = {name: mine[name] if name in mine else getattr(self, name) for name in self._held}
        if not self._constants.kinds:
            return held
        return held | self._constants.like(self.like)

    @property
    def like(self) -> Tensor:
        """One of its arrays: their dtype and device."""
        names = [n for n in self._held if n in self._parameters] or self._held  # dynamo knows no next() with a default
        found: Tensor = getattr(self, names[0] if names else "_nothing")
        return found

    def reset_parameters(self) -> None:
        """Draw all trained arrays again, from the seed and with the scale that they were drawn with, or would have been."""
        seed, std = self._drawing
        trained = [name for name in self._held if name in self.network.parameters]
        if trained:
            like = self.like
            drawn = init.normal(self.network, seed=seed, std=std, dtype=_precision(like.dtype))
            with torch.no_grad():
                for name in trained:
                    new = to_tensor(drawn[name], like.dtype)
                    if name in self._parameters:
                        self.get_parameter(name).copy_(new)
                    else:  # one that is parametrized takes what is nearest to it
                        setattr(self, name, new.to(like.device))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):  # torch's place for what is no tensor; files of torch.save have it too
            destination._metadata.setdefault(prefix[:-1], {})["network"] = network_digest(self.network)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, missing_keys: list[str],
        unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        its = local_metadata.get("network")  # none in older states, nor where a state has become a plain dict
        if strict and its not in (None, network_digest(self.network)):
            error_msgs.append(
                f"{prefix.rstrip('.') or self._spoken}: these arrays are of another network than {self.network!r}: their names are the "
                "same, its structure or its functions are not"
            )
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        """The network in a line, its inputs and the dynamic index."""
        parts = [repr(self.network)]
        parts += [f"inputs={', '.join(self.inputs)}"] if self.inputs else []
        parts += [f"dynamic={self.dynamic!r}"] if self.dynamic else []
        return ", ".join(parts)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return shown_module(repr(self), self.network, self.tensors())

    def _check(self, name: str, tensor: Tensor) -> None:
        node, shape = self._slots[name]
        got = tuple(tensor.shape)
        if len(got) != len(shape):
            raise ValueError(f"node {node.name!r} has indices {node.inds}, but array {name!r} has shape {got}")
        for i, have, want in zip(node.inds, got, shape, strict=True):
            if i != self.dynamic and have != want:  # an exported graph would be bound by a comparison of the batch
                raise ValueError(f"node {node.name!r}: index {i!r} has size {want}, but array {name!r} has shape {got}")

    def _check_inputs(self, inputs: Mapping[str, Tensor], like: Tensor | None) -> None:
        for name in inputs:
            if name not in self.inputs:
                raise ValueError(f"unknown input {shown(name)}; this network takes {self.inputs}")
        batch = None
        for name in self.inputs:
            node, shape = self._slots[name]
            if name not in inputs:
                one = "" if len(self.inputs) == 1 else "; one tensor for all has one axis more, before its last"
                raise ValueError(
                    f"input {name!r} is missing: node {node.name!r}, indices {node.inds} of sizes {shape}{one}"
                )
            x = inputs[name]
            check_input(x, like, f"input {name!r}")
            self._check(name, x)
            if x.is_complex():
                check_ordered(self.network, name, x.dtype)
            if self.dynamic in node.inds:
                size = x.shape[node.inds.index(self.dynamic)]
                if batch is not None and size != batch:
                    raise ValueError(f"index {self.dynamic!r} has size {batch} in one input and {size} in {name!r}")
                batch = size


class ClosedModule(TNModule):
    """A network that holds all its arrays: what a weight is made of."""

    def __init__(self, net: Network | Pair, arrays: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(net, arrays, **options)
        if self.inputs:
            raise ValueError(
                f"{self._spoken}: {self.network!r} has no array for {self.inputs[0]!r}: a weight takes no inputs, give it in arrays"
            )


def check_input(x: Tensor, like: Tensor | None, what: str) -> None:
    """TypeError or ValueError for what is no tensor that can be contracted with arrays like ``like``."""
    if not isinstance(x, Tensor):
        a_tensor(x, what)
    if x.layout is not torch.strided:
        raise ValueError(f"{what} is dense, not {x.layout}; x.to_dense() is")
    if like is None:
        return
    if x.device != like.device:
        raise ValueError(f"{what} is on {x.device}, the network's arrays are on {like.device}")
    if x.dtype != like.dtype and not autocasts(x.device):
        raise ValueError(f"{what} is {x.dtype}, the network's arrays are {like.dtype}")


def _tensors(
    net: Network, arrays: Mapping[str, Any], dtype: torch.dtype | None, seed: int, std: float | None
) -> dict[str, Tensor]:
    """What the module holds: given and drawn arrays, of one dtype."""
    check_known(net, arrays)
    held = {name: an_array(a, f"array {name!r}") for name, a in arrays.items()}
    for name, (kind, shape) in Constants(net).kinds.items():
        if name in held:
            check_given_constant(name, kind, held.pop(name), shape, dtype)
    device = _one_device(held)
    held = {name: _put(to_tensor(a, dtype), device) for name, a in held.items()}
    missing = [name for name in net.parameters if name not in held]
    if missing and len(missing) < len(net.parameters):
        raise ValueError(f"trained array {missing[0]!r} is missing; give all of {net.parameters}, or none to draw them")
    dtypes = {t.dtype: name for name, t in held.items()}
    if len(dtypes) > 1:
        raise ValueError("arrays have one dtype: " + ", ".join(f"{n!r} is {d}" for d, n in dtypes.items()))
    dtype = next(iter(dtypes), dtype)
    for found, name in dtypes.items():
        if not (found.is_floating_point or found.is_complex):
            raise ValueError(f"array {name!r} is floating or complex, not {found}; give dtype=torch.float32")
        if found.is_complex:
            check_ordered(net, name, found)
    meta = torch.get_default_device().type == "meta"
    if missing and meta:
        held |= {name: torch.empty(net.array_shapes[name], dtype=dtype) for name in net.parameters}
    elif missing:
        drawn = init.normal(net, seed=seed, std=std, dtype=_precision(dtype or torch.get_default_dtype()))
        held |= {name: _put(to_tensor(drawn[name], dtype), device) for name in net.parameters}
    for name, tensor in held.items():
        if tensor.is_meta and name in arrays:
            raise ValueError(
                f"array {name!r} has values, but torch's default device is meta: make it outside of torch.device('meta') or "
                "init_empty_weights()"
            )
    return {name: held[name] for name in net.array_shapes if name in held}


def _one_device(given: Mapping[str, Any]) -> torch.device | None:
    """The device of all tensors among the arrays, where what is beside them belongs too; None where there are none."""
    devices = {a.device: name for name, a in given.items() if isinstance(a, Tensor)}
    if len(devices) > 1:
        raise ValueError("arrays are on one device: " + ", ".join(f"{n!r} is on {d}" for d, n in devices.items()))
    return next(iter(devices), None)


def _put(x: Tensor, device: torch.device | None) -> Tensor:
    """On a device, where there is one; what has no values stays where it is."""
    return x if device is None or x.is_meta else x.to(device)


def _precision(dtype: torch.dtype) -> str:
    """The dtype in which arrays of this one are drawn."""
    return str(dtype if dtype.is_complex or dtype.itemsize > 2 else torch.float32).removeprefix("torch.")


def _register_tensor(module: nn.Module, name: str, tensor: Tensor, trained: bool, saved: bool) -> None:
    """Register under the array's own name; what torch cannot hold is refused, naming the way out."""
    if "." in name or hasattr(module, name):
        why = "a dot separates modules in torch" if "." in name else "it is an attribute of the module"
        raise ValueError(f"array name {name!r}: {why}; rename it with net.relabel(arrays={{{name!r}: ...}})")
    if trained:
        module.register_parameter(name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor, persistent=saved)

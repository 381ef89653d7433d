"""Any network as an ``nn.Module``: arrays are its parameters, data its inputs, and one plan its forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tnkit import init
from tnkit.core.checks import a_mapping, a_network, text
from tnkit.core.decomposition import Decomposition, network_of
from tnkit.core.network import Network
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import check_ordered
from tnkit.execution.codegen import prepare
from tnkit.execution.inputs import check_known, constant
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.planner import plan
from tnkit_nn.checks import a_tensor, an_array, finite, trained_dtype
from tnkit_nn.engine.backend import TORCH, to_tensor

__all__ = ["ClosedModule", "TNModule", "check_input"]


class TNModule(nn.Module):
    """Contract a network.

    Trained arrays are parameters under their own names, so ``state_dict`` has the network's array names as keys (tied nodes
    share one).  Constants (``fixed="e0"`` and so on) are buffers outside the state dict.  Arrays of ``fixed=True`` nodes
    are buffers where ``arrays`` has them; the others are the inputs of ``forward``.

    Parameters
    ----------
    net
        Any network, nonlinear ones too; a :class:`tnkit.Decomposition` is a network and its arrays.
    arrays
        Array name -> numpy array or tensor: all trained arrays, or none of them (then :func:`tnkit.init.normal` draws
        them), and frozen ones.
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
        A name that torch cannot hold, an array of the wrong shape, mixed dtypes, some trained arrays missing, trained arrays of
        whole numbers or that are not finite, complex arrays where a function needs real ones, torch's default device being meta.
    """

    #: What messages call it.
    _spoken = "TNModule"

    def __init__(
        self,
        net: Network | Decomposition,
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
        self.plan = plan(net, optimizer, dynamic=dynamic)
        prepare(self.plan.program, TORCH)
        _ = (
            self.plan.shapes,
            self.plan.entries,
        )  # read now: torch.compile cannot trace the lock of a cached property (Python 3.11)
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
        self._held = tuple(tensors)
        self.inputs = tuple(name for name in net.array_shapes if name not in tensors)

    def forward(self, /, *args: Tensor, **inputs: Tensor) -> Tensor:
        """Contract with the inputs, given by array name or in the order of ``self.inputs``.

        Raises
        ------
        ValueError
            An input missing, unknown, given twice, of another dtype, or of a shape that disagrees with the network.
        """
        if len(args) > len(self.inputs):
            raise ValueError(f"{len(args)} inputs given; this network takes {len(self.inputs)}: {self.inputs}")
        for name, tensor in zip(self.inputs, args, strict=False):
            if name in inputs:
                raise ValueError(f"input {name!r} is given twice")
            inputs[name] = tensor
        arrays = self.tensors()
        self._check_inputs(inputs, next(iter(arrays.values()), None))
        return run(self.plan, {**arrays, **inputs}, TORCH)

    def tensors(self) -> dict[str, Tensor]:
        """Array name -> parameter or buffer."""
        return {name: getattr(self, name) for name in self._held}

    def extra_repr(self) -> str:
        """The network in a line, its inputs and the dynamic index."""
        parts = [repr(self.network)]
        parts += [f"inputs={', '.join(self.inputs)}"] if self.inputs else []
        parts += [f"dynamic={self.dynamic!r}"] if self.dynamic else []
        return ", ".join(parts)

    def _check(self, name: str, tensor: Tensor) -> None:
        node, shape = self._slots[name]
        got = tuple(tensor.shape)
        if len(got) != len(shape):
            raise ValueError(f"node {node.name!r} has indices {node.inds}, but array {name!r} has shape {got}")
        for i, have, want in zip(node.inds, got, shape, strict=True):
            if have != want and i != self.dynamic:
                raise ValueError(f"node {node.name!r}: index {i!r} has size {want}, but array {name!r} has shape {got}")

    def _check_inputs(self, inputs: Mapping[str, Tensor], like: Tensor | None) -> None:
        for name in inputs:
            if name not in self.inputs:
                raise ValueError(f"unknown input {name!r}; this network takes {self.inputs}")
        batch = None
        for name in self.inputs:
            node, shape = self._slots[name]
            if name not in inputs:
                raise ValueError(f"input {name!r} is missing: node {node.name!r}, indices {node.inds} of sizes {shape}")
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

    def __init__(self, net: Network | Decomposition, arrays: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(net, arrays, **options)
        if self.inputs:
            raise ValueError(
                f"{self._spoken}: {self.network!r} has no array for {self.inputs[0]!r}: a weight takes no inputs, give it in arrays"
            )

    @property
    def like(self) -> Tensor:
        """One of its arrays: their dtype and device."""
        found: Tensor = getattr(self, self._held[0])
        return found


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
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"{what} is {x.dtype}, the network's arrays are {like.dtype}")


def _tensors(
    net: Network, arrays: Mapping[str, Any], dtype: torch.dtype | None, seed: int, std: float | None
) -> dict[str, Tensor]:
    """What the module holds: given, drawn and constant arrays, of one dtype."""
    check_known(net, arrays)
    held = {name: to_tensor(an_array(a, f"array {name!r}"), dtype) for name, a in arrays.items()}
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
    if missing:
        known = dtype or torch.get_default_dtype()
        kind = str(known if known.is_complex or known.itemsize > 2 else torch.float32).removeprefix("torch.")
        drawn = init.normal(net, seed=seed, std=std, dtype=kind)
        held |= {name: to_tensor(drawn[name], dtype) for name in net.parameters}
    for leaf in net.leaves:
        if isinstance(leaf.fixed, str) and leaf.array not in held:
            held[leaf.array] = to_tensor(constant(leaf.fixed, net.array_shapes[leaf.array]), dtype)
    for name, tensor in held.items():
        if tensor.is_meta:
            raise ValueError(
                f"array {name!r} has values, but torch's default device is meta: make it outside of torch.device('meta') or "
                "init_empty_weights()"
            )
    return {name: held[name] for name in net.array_shapes if name in held}


def _register_tensor(module: nn.Module, name: str, tensor: Tensor, trained: bool, saved: bool) -> None:
    """Register under the array's own name; what torch cannot hold is refused, naming the way out."""
    if "." in name or hasattr(module, name):
        why = "a dot separates modules in torch" if "." in name else "it is an attribute of the module"
        raise ValueError(f"array name {name!r}: {why}; rename it with net.relabel(arrays={{{name!r}: ...}})")
    if trained:
        module.register_parameter(name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor, persistent=saved)

"""Any network as an ``nn.Module``: arrays are its parameters, data its inputs, and one plan its forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tnkit import init
from tnkit.core.network import Network
from tnkit.execution.codegen import prepare
from tnkit.execution.inputs import check_known, constant
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import plan
from tnkit_nn.engine.backend import TORCH, to_tensor

__all__ = ["TNModule"]


class TNModule(nn.Module):
    """Contract a network.

    Trained arrays are parameters under their own names, so ``state_dict`` has the network's array names as keys (tied nodes
    share one).  Constants (``fixed="e0"`` and so on) are buffers outside the state dict.  Arrays of ``fixed=True`` nodes
    are buffers where ``arrays`` has them; the others are the inputs of ``forward``.

    Parameters
    ----------
    net
        Any network, nonlinear ones too.
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
    ValueError
        A name that torch cannot hold, an array of the wrong shape, mixed dtypes, some trained arrays missing.
    """

    def __init__(
        self,
        net: Network,
        arrays: Mapping[str, Any] | None = None,
        *,
        optimizer: str | Optimizer = "auto",
        dynamic: str | None = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        std: float | None = None,
    ) -> None:
        super().__init__()
        self.network, self.dynamic = net, dynamic
        self._held: tuple[str, ...] = ()
        #: Names of the arrays that ``forward`` takes, in order.
        self.inputs: tuple[str, ...] = ()
        self.plan = plan(net, optimizer, dynamic=dynamic)
        prepare(self.plan.program, TORCH)
        self._slots = {leaf.array: (leaf, tuple(owner.sizes[i] for i in leaf.inds)) for leaf, owner in net._walk()}
        tensors = _tensors(net, arrays or {}, dtype, seed, std)
        for name, tensor in tensors.items():
            self._check(name, tensor)
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
            self._check(name, x)
            if like is not None and x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
                raise ValueError(f"input {name!r} is {x.dtype}, the network's arrays are {like.dtype}")
            if self.dynamic in node.inds:
                size = x.shape[node.inds.index(self.dynamic)]
                if batch is not None and size != batch:
                    raise ValueError(f"index {self.dynamic!r} has size {batch} in one input and {size} in {name!r}")
                batch = size


def _tensors(
    net: Network, arrays: Mapping[str, Any], dtype: torch.dtype | None, seed: int, std: float | None
) -> dict[str, Tensor]:
    """What the module holds: given, drawn and constant arrays, of one dtype."""
    check_known(net, arrays)
    held = {name: to_tensor(a, dtype) for name, a in arrays.items()}
    missing = [name for name in net.parameters if name not in held]
    if missing and len(missing) < len(net.parameters):
        raise ValueError(f"trained array {missing[0]!r} is missing; give all of {net.parameters}, or none to draw them")
    dtypes = {t.dtype: name for name, t in held.items()}
    if len(dtypes) > 1:
        raise ValueError("one dtype is needed: " + ", ".join(f"{n!r} is {d}" for d, n in dtypes.items()))
    dtype = next(iter(dtypes), dtype)
    if missing:
        known = dtype or torch.get_default_dtype()
        kind = str(known if known.is_complex or known.itemsize > 2 else torch.float32).removeprefix("torch.")
        drawn = init.normal(net, seed=seed, std=std, dtype=kind)
        held |= {name: to_tensor(drawn[name], dtype) for name in net.parameters}
    for leaf in net.leaves:
        if isinstance(leaf.fixed, str) and leaf.array not in held:
            held[leaf.array] = to_tensor(constant(leaf.fixed, net.array_shapes[leaf.array]), dtype)
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

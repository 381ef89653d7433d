"""The constants of a network, made in the dtype and on the device of the arrays beside them.

They are no buffers: their values follow from the network, and nothing of torch that moves, swaps or fills buffers can lose them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tnkit.core.network import Network
from tnkit_nn.engine.backend import capturing, to_tensor

__all__ = ["Constants", "check_given_constant"]


class Constants:
    """Array name -> tensor like another one; what was made last is kept."""

    def __init__(self, net: Network) -> None:
        kinds = {leaf.array: str(leaf.fixed) for leaf in net.leaves if isinstance(leaf.fixed, str)}
        #: Array name -> kind of constant and shape.
        self.kinds = {name: (kind, net.array_shapes[name]) for name, kind in kinds.items()}
        self._made: dict[str, Tensor] = {}

    def like(self, other: Tensor) -> dict[str, Tensor]:
        """All of them in the dtype and on the device of ``other``."""
        if not self.kinds:
            return {}
        if not torch.compiler.is_compiling():
            return {name: self._one(name, other) for name in self.kinds}
        return {name: _traced(kind, shape, other) for name, (kind, shape) in self.kinds.items()}

    def _one(self, name: str, other: Tensor) -> Tensor:
        made = self._made.get(name)
        if made is None or made.dtype != other.dtype or made.device != other.device:
            with torch.inference_mode(False):  # one of the inference mode would be of no use outside of it
                made = _traced(*self.kinds[name], other)
            if type(made) is Tensor and not capturing():  # not what a tool passes off as one, nor a graph's own memory
                self._made[name] = made
        return made

    def __getstate__(self) -> dict[str, object]:
        return {"kinds": self.kinds, "_made": {}}


def _traced(kind: str, shape: tuple[int, ...], other: Tensor) -> Tensor:
    """A constant by operations of torch alone, which can be traced."""
    if kind == "ones":
        return torch.ones(shape, dtype=other.dtype, device=other.device)
    out = torch.zeros(shape, dtype=other.dtype, device=other.device)
    if kind == "e0" or not shape:
        out[(0,) * len(shape)] = 1
        return out
    steps = sum(out.stride())
    out.view(-1)[: steps * (min(shape) - 1) + 1 : steps] = 1  # delta: the diagonal of all axes
    return out


def check_given_constant(
    name: str, kind: str, given: object, shape: tuple[int, ...], dtype: torch.dtype | None
) -> None:
    """ValueError where an array that is given for a constant is another one."""
    value = to_tensor(given, dtype)
    if tuple(value.shape) != shape or not torch.equal(value, _traced(kind, shape, value)):
        raise ValueError(f"array {name!r} is the constant {kind!r} of shape {shape}; leave it out of arrays")

"""Models to compress."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["MLP", "ZOO", "build", "mlp"]


class MLP(nn.Module):
    """Linear layers ``fc1, fc2, ...`` with ReLU between them; inputs (batch, sizes[0]), logits (batch, sizes[-1])."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        for k in range(len(sizes) - 1):
            self.add_module(f"fc{k + 1}", nn.Linear(sizes[k], sizes[k + 1]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        last = len(self.sizes) - 1
        for k in range(1, last + 1):
            x = self.get_submodule(f"fc{k}")(x)
            x = torch.relu(x) if k < last else x
        return x

    def without(self, layer: str) -> MLP | None:
        """The model with ``layer`` left out: the next layer takes its input.  None for the last layer."""
        k = int(layer.removeprefix("fc"))
        if k >= len(self.sizes) - 1:
            return None
        return MLP((*self.sizes[:k], *self.sizes[k + 1 :]))


def mlp() -> MLP:
    """64 -> 64 -> 10, for scikit-learn's digits; the largest layer, ``fc1``, has 4,096 weights."""
    return MLP((64, 64, 10))


ZOO: dict[str, Callable[[], nn.Module]] = {"mlp": mlp}


def build(name: str) -> nn.Module:
    """A model of :data:`ZOO`; ValueError names those there are."""
    if name not in ZOO:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(ZOO)}")
    return ZOO[name]()

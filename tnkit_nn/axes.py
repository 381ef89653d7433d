"""The named axes of replicas: trainings that run side by side differ in learning rate, start and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from math import prod

import torch
from torch import Tensor

from tnkit.core.numbers import whole_number

__all__ = ["RATE", "SEED", "START", "Axes"]

#: Positions of the axes in a tensor that :meth:`Axes.unflatten` gives.
RATE, START, SEED = range(3)


@dataclass(frozen=True)
class Axes:
    """Sizes of the axes: ``Axes(rate=3, start=2, seed=5)`` are 30 replicas, flattened for ``vmap`` here and nowhere else."""

    rate: int = 1
    start: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("rate", "start", "seed"):
            whole_number(getattr(self, name), f"Axes: {name}", 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """In their order."""
        return astuple(self)

    @property
    def replicas(self) -> int:
        """How many run side by side."""
        return prod(self.sizes)

    def flatten(self, x: Tensor) -> Tensor:
        """(rate, start, seed, ...) -> (replicas, ...); an axis of size 1 is repeated."""
        return x.expand(*self.sizes, *x.shape[3:]).reshape(self.replicas, *x.shape[3:])

    def unflatten(self, x: Tensor) -> Tensor:
        """(replicas, ...) -> (rate, start, seed, ...)."""
        return x.reshape(*self.sizes, *x.shape[1:])

    def by_seed(self, x: Tensor) -> Tensor:
        """(seed, ...) -> (replicas, ...): the same at every rate and from every start."""
        return self.flatten(x[None, None])

    def by_rate(self, values: Sequence[float]) -> Tensor:
        """A number a rate -> (replicas,)."""
        return self.flatten(torch.tensor(values, dtype=torch.float64, device="cpu")[:, None, None])

    def at(self, params: Mapping[str, Tensor], rate: int, start: int) -> dict[str, Tensor]:
        """The values of one rate and start, (seed, ...)."""
        return {name: self.unflatten(p)[rate, start] for name, p in params.items()}

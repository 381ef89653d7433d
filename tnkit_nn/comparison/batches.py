"""The batches of a comparison's trainings: each seed has its own order, the same for every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tnkit_nn.data.batches import Batch, mapped
from tnkit_nn.data.parts import LoaderSource, TensorSource

__all__ = ["BATCH", "Batches", "Orders", "Streams", "batches_of"]

#: Examples a step; a loader has its own number.
BATCH = 128


class Batches(Protocol):
    """What is trained on, step by step."""

    def each(self, step: int) -> list[Batch]:
        """The batches of a step, one a seed."""

    def stacked(self, step: int) -> Batch:
        """The same with a leading seed axis; RuntimeError or TypeError where they cannot be stacked."""


@dataclass(frozen=True)
class Orders:
    """Tensors in memory.

    Attributes
    ----------
    part
        The examples.
    own
        (seed, count, ...) inputs, where each seed has its own in place of the first tensor.
    seeds, steps
        Whose orders, for how long.
    """

    part: TensorSource
    own: Tensor | None
    seeds: Sequence[int]
    steps: int

    @cached_property
    def _order(self) -> Tensor:
        """(seed, step, batch): every example comes once a pass."""
        rows = []
        for seed in self.seeds:
            draw = torch.Generator().manual_seed(1000 + seed)
            passes = -(-self.steps * BATCH // self.part.count)
            order = torch.cat([torch.randperm(self.part.count, generator=draw, device="cpu") for _ in range(passes)])
            rows.append(order[: self.steps * BATCH])
        return torch.stack(rows).view(len(self.seeds), self.steps, BATCH)

    def stacked(self, step: int) -> Batch:
        """Tensors (seed, batch, ...)."""
        now = self._order[:, min(step, self.steps - 1)]
        taken = self.part.taken(now)
        if self.own is None:
            return taken
        return (self.own[torch.arange(len(self.seeds), device=now.device)[:, None], now], *taken[1:])

    def each(self, step: int) -> list[Batch]:
        """One a seed."""
        whole = self.stacked(step)
        return [mapped(itemgetter(k), whole) for k in range(len(self.seeds))]


class Streams:
    """What a loader gives, a stream a seed; steps are asked for in their order."""

    def __init__(self, part: LoaderSource, seeds: Sequence[int]) -> None:
        self._streams: list[Iterator[Batch]] = [part.endless(BATCH, 1000 + seed) for seed in seeds]
        self._now: tuple[int, list[Batch]] = (-1, [])

    def each(self, step: int) -> list[Batch]:
        """One a seed."""
        if step != self._now[0]:
            self._now = step, [next(stream) for stream in self._streams]
        return self._now[1]

    def stacked(self, step: int) -> Batch:
        """Tensors (seed, batch, ...)."""
        return tree_map(lambda *xs: torch.stack(xs), *self.each(step))


def batches_of(part: Any, own: Tensor | None, seeds: Sequence[int], steps: int) -> Batches:
    """The batches of a part, for so many steps."""
    return Orders(part, own, seeds, steps) if isinstance(part, TensorSource) else Streams(part, seeds)

"""A split: tensors to train on, to validate on and to test on, drawn by class with fixed seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tnkit_nn.storage import raw

__all__ = ["Part", "Split", "limited", "split_off", "stratified"]

Part = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Inputs (count, ...) and integer labels (count,) of the three parts: a data set of :data:`DATA`, or tensors of your own.

    Learning rates are chosen on ``val``; ``test`` is read once, for the reported figure.  :func:`split_off` takes a validation
    part from training tensors that have none.

    Raises
    ------
    ValueError
        A part is empty, or its labels are not one whole number an input in 0..classes - 1.
    """

    name: str
    train: Part
    val: Part
    test: Part
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (x, y) in (("train", self.train), ("val", self.val), ("test", self.test)):
            if y.dim() != 1 or len(x) != len(y) or not len(x):
                found = f"inputs {tuple(x.shape)}, labels {tuple(y.shape)}"
                raise ValueError(f"{self.name}: {name} needs one label an input and at least one, found {found}")
            if y.dtype != torch.long or y.min() < 0 or (self.classes and y.max() >= len(self.classes)):
                known = f"in 0..{len(self.classes) - 1}" if self.classes else "from 0 up"
                found = f"{y.dtype} in {y.min()}..{y.max()}"
                raise ValueError(f"{self.name}: {name} needs labels {known} as torch.long, found {found}")

    def digest(self) -> str:
        """Tells data sets apart: from all labels, and a hundred examples or so of each part."""
        made = hashlib.sha256()
        for x, y in (self.train, self.val, self.test):
            made.update(raw(y) + raw(x[:: max(1, len(x) // 100)]))
        return made.hexdigest()[:12]

    @property
    def num_classes(self) -> int:
        """Number of classes: named ones, or one more than the largest label."""
        return len(self.classes) or 1 + max(int(y.max()) for _, y in (self.train, self.val, self.test))


def stratified(labels: Tensor, seed: int = 0) -> Tensor:
    """A seeded order in which every run of examples has the classes in proportion, as near as whole numbers allow."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels[order]
    place = torch.empty(len(labels), dtype=torch.float64)
    for c in shuffled.unique():
        where = (shuffled == c).nonzero()[:, 0]
        place[where] = (torch.arange(len(where), dtype=torch.float64) + 0.5) / len(where)
    return order[place.argsort(stable=True)]


def split_off(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions to train and to validate on: a tenth, 5,000 at most, drawn by class with a fixed seed; both in file order."""
    order = stratified(labels)
    count = min(5000, len(labels) // 10)
    return order[count:].sort().values, order[:count].sort().values


def limited(split: Split, limit: int) -> Split:
    """At most ``limit`` examples of each part, by class; the name says so."""
    if limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}")

    def first(part: Part) -> Part:
        chosen = stratified(part[1])[:limit].sort().values
        return part[0][chosen], part[1][chosen]

    name = f"{split.name} (at most {limit} a part)"
    return replace(split, name=name, train=first(split.train), val=first(split.val), test=first(split.test))

"""Data sets as tensors, with a fixed split into train, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DATA", "Split", "digits", "load"]


@dataclass(frozen=True)
class Split:
    """Inputs (count, ...) and integer labels (count,) of the three parts.

    Learning rates are chosen on ``val``; ``test`` is read once, for the reported figure.
    """

    name: str
    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def digits() -> Split:
    """scikit-learn's handwritten digits: 1,797 real 8x8 images, 1,000 / 297 / 500, as float32 (count, 64) in 0..1.

    The split is a seeded shuffle, the same in every run.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.as_tensor(raw.data, dtype=torch.float32) / 16
    y = torch.as_tensor(raw.target, dtype=torch.long)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = [order[:1000], order[1000:1297], order[1297:]]
    train, val, test = ((x[p], y[p]) for p in parts)
    return Split("digits", train, val, test)


DATA = {"digits": digits}


def load(name: str) -> Split:
    """A data set of :data:`DATA`; ValueError names those there are."""
    if name not in DATA:
        raise ValueError(f"unknown data {name!r}; known: {', '.join(DATA)}")
    return DATA[name]()

"""The size of a weight as one number, in double precision: squares neither vanish nor overflow, and no copy of the weight is made."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from tnkit_nn.engine.devices import with_doubles

__all__ = ["norm", "root_mean_square"]

#: Largest entries whose squares, and sums of them, are numbers of double precision.
_SMALL, _LARGE = 1e-140, 1e140
_BLOCK = 2**16


def norm(x: Tensor) -> float:
    """Frobenius norm; NaN where an entry is.

    ::

        norm(torch.full((4,), 1e-30))
        # 2e-30, where x.norm() is 0
    """
    size, unit = _squares(x)
    return sqrt(size) * unit


def root_mean_square(x: Tensor) -> float:
    """The root of the mean of the squares of all entries; 0 where there are none."""
    size, unit = _squares(x)
    return float((size / max(x.numel(), 1)) ** 0.5) * unit


def _squares(x: Tensor) -> tuple[float, float]:
    """The sum of the squares of entries, over the square of a unit: a block at a time."""
    x = x.detach()
    flat = with_doubles(x.abs() if x.is_complex() else x).reshape(-1)
    unit = 1.0
    if flat.dtype == torch.float64 and flat.numel():
        largest = float(flat.abs().amax())
        if 0 < largest < _SMALL or _LARGE < largest < float("inf"):
            unit = largest
    blocks = (block.double() / unit if unit != 1 else block.double() for block in flat.split(_BLOCK))
    return float(sum(block.dot(block) for block in blocks)), unit

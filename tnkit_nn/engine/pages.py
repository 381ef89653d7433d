"""Memory for large tensors whose pages are at hand: given out again once no tensor reads it.

A page that is new costs as much as a copy of it, or ten times that on a busy machine, and a training step makes the same
large tensors again and again.  So the memory of a few is kept.  It is numpy's, which asks for huge pages; a tensor made of an
array holds it for as long as any view of the tensor lives, so its count of references tells whether it is free.
"""

from __future__ import annotations

import sys
from math import prod

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty", "fresh"]

Shape = tuple[int, ...]

#: From so many bytes on, the allocator maps every array anew; what is smaller it gives out again, its pages at hand.
_MAPPED = 2**25
#: Bytes that are kept at most: three weights of 4096 x 4096, what a training step of one needs at a time.
_MOST_KEPT = 3 * 2**26
_HUGE = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}
#: The memory that is kept, the oldest first.
_KEPT: list[np.ndarray] = []


def fresh(shape: Shape, like: Tensor) -> Tensor:
    """Unwritten memory; numpy asks for huge pages for large arrays, torch does not (a third of the page faults' time)."""
    if _large(shape, like):
        return torch.from_numpy(np.empty(shape, _HUGE[like.dtype]))
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def empty(shape: Shape, like: Tensor) -> Tensor:
    """Unwritten memory, that of a large tensor that is no more if there is one of this size."""
    size = prod(shape) * like.itemsize
    if not _large(shape, like) or size > _MOST_KEPT or not _counted():
        return fresh(shape, like)
    found = _free(size)
    found = np.empty(size, np.uint8) if found is None else found
    made = torch.from_numpy(found).view(like.dtype).view(shape)
    _KEPT.append(found)
    while sum(x.nbytes for x in _KEPT) > _MOST_KEPT:
        del _KEPT[:1]  # another thread may have emptied it
    return made.data  # no view: autograd would forbid to change it in place


def _large(shape: Shape, like: Tensor) -> bool:
    return like.device.type == "cpu" and like.dtype in _HUGE and prod(shape) * like.itemsize >= _MAPPED


def _free(size: int) -> np.ndarray | None:
    """Kept memory of this size that no tensor reads, taken out of what is kept."""
    for _ in range(len(_KEPT)):
        try:
            box = [_KEPT.pop(0)]  # what is taken out, no other thread sees
        except IndexError:
            return None
        if box[0].nbytes == size and _references(box) == _ALONE:
            return box[0]
        _KEPT.append(box[0])
    return None


def _references(box: list[np.ndarray]) -> int:
    """How often the array is referred to, by a box and by the count itself among others."""
    return sys.getrefcount(box[0])


#: The count of an array that is in a box alone.
_ALONE = _references([np.empty(0)])


def _counted() -> bool:
    """Whether counts of references are exact: not where threads run without the interpreter's lock."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())

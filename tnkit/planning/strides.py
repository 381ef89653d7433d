"""How one tensor is brought into place before and after a product, and whether that copies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

__all__ = ["LEAST_COLUMNS", "WIDENED", "WIDEST", "View", "contiguous", "reshaped", "viewed"]


#: A contracted group inside a tensor is read in place, as a batch of matrices, from this many columns up: below it the
#: batched products of numpy and torch are slower than a copy (measured: 15 against 64 GFLOP/s at 8 and 16 columns).
LEAST_COLUMNS = 16
#: Largest matrix that is spread over neighbours: what is multiplied in vain costs less than a copy of the large tensor.
WIDEST = 96
#: Entries of a tensor from which on it is worth making that matrix.
WIDENED = 2**14


@dataclass(frozen=True)
class View:
    """``permute`` (or None), ``reshape`` (or None), then swap its last two axes.

    With ``beside = (p, q)``, a matrix is spread over neighbours that it leaves alone: ``1_p (x) matrix (x) 1_q``.
    """

    permute: tuple[int, ...] | None = None
    reshape: tuple[int, ...] | None = None
    swap: bool = False
    beside: tuple[int, int] = (1, 1)


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in entries, of a C-contiguous array."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


def reshaped(shape: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """Strides of the reshaped array if it can be read in place; None if it has to be copied."""
    axes = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
    runs: list[tuple[int, int]] = []  # neighbouring axes that are one in memory: (entries, innermost stride)
    for n, s in axes:
        if runs and runs[-1][1] == n * s:
            runs[-1] = (runs[-1][0] * n, s)
        else:
            runs.append((n, s))
    out: list[int] = []
    left, inner = 1, 1
    for n in reversed(new):
        if n > 1 and left == 1:
            left, inner = runs.pop()
        if left % n:
            return None
        out.append(inner)
        left, inner = left // n, inner * n
    return tuple(reversed(out))


def viewed(view: View, shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """Shape and strides of what ``view`` gives, and whether it copies."""
    shape, strides, copied = tuple(shape), tuple(strides), False
    if view.permute is not None:
        shape, strides = tuple(shape[k] for k in view.permute), tuple(strides[k] for k in view.permute)
    if view.reshape is not None:
        known = prod(n for n in view.reshape if n != -1)
        new = tuple(prod(shape) // known if n == -1 else n for n in view.reshape)
        inplace = reshaped(shape, strides, new)
        shape, strides, copied = new, inplace or contiguous(new), inplace is None
    if view.swap:
        shape, strides = (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2])
    if view.beside != (1, 1):
        shape = tuple(prod(view.beside) * n for n in shape)
        strides, copied = contiguous(shape), True
    return shape, strides, copied

"""The root mean square of large arrays and of functions of them, as a logarithm: in blocks, at any size of the entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, isfinite, log
from typing import Any

import numpy as np

from tnkit.core.activations import ACTIVATIONS, function
from tnkit.execution.elementwise import BLOCK

__all__ = ["crossing", "log_rms", "value_blocks"]

#: Factors are searched for from e^-_FAR to e^_FAR, about the range of a float.
_FAR = 709.0


def _pieces(x: np.ndarray) -> Iterator[np.ndarray]:
    """The entries, in blocks, in the order in which they lie in memory."""
    if x.size == 0:
        return
    iterator: Any = np.nditer  # its stubs take literals alone
    flags = ["external_loop", "buffered"] if x.ndim else []
    for piece in iterator(x, flags, [["readonly"]], order="K", buffersize=BLOCK):
        flat = piece.reshape(-1)
        for k in range(0, flat.size, BLOCK):
            yield flat[k : k + BLOCK]


def log_rms(given: np.ndarray | Iterator[np.ndarray]) -> float:
    """Log of the root mean square, in double precision, whose squares neither vanish nor overflow; inf for NaN."""
    if not isinstance(given, np.ndarray):
        return _careful_log_rms(given)
    total = 0.0
    for block in _pieces(given):
        x = np.asarray(np.abs(block) if block.dtype.kind == "c" else block, np.float64)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            total += float(np.dot(x, x))
    if 1e-200 < total < 1e200:
        return log(total / given.size) / 2
    return _careful_log_rms(_pieces(given))


def _careful_log_rms(blocks: Iterator[np.ndarray]) -> float:
    """The same for entries whose squares may be past the largest float, or 0: every block is divided by a power of two."""
    top, total, count = 0.0, 0.0, 0
    for block in blocks:
        x = np.abs(block).astype(np.float64)
        here = float(x.max())
        if not isfinite(here):
            return inf
        if here > top:  # a power of two changes no digit
            new = 2.0 ** np.frexp(here)[1] if here < 2.0**1023 else here
            total, top = total * (top / new) ** 2, new
        if top:
            x /= top
            total += float(np.dot(x, x))
        count += x.size
    return log(top) + log(total / count) / 2 if total else -inf


def value_blocks(fn: Any, plain: Sequence[np.ndarray], factor: float) -> Iterator[np.ndarray] | np.ndarray:
    """``fn`` of the tensors times a factor, in blocks if it acts entry by entry."""
    with np.errstate(all="ignore"):
        if fn not in ACTIVATIONS:
            return np.asarray(function(fn)(np, *(x * np.asarray(factor, x.dtype) for x in plain)))
        return _block_values(fn, [np.ascontiguousarray(x).reshape(-1) for x in plain], factor)


def _block_values(fn: str, laid: Sequence[np.ndarray], factor: float) -> Iterator[np.ndarray]:
    for k in range(0, laid[0].size, BLOCK):
        with np.errstate(all="ignore"):
            yield np.asarray(
                function(fn)(np, *(np.asarray(x[k : k + BLOCK], np.result_type(x, np.float64)) * factor for x in laid))
            )


def crossing(f: Callable[[float], float], goal: float) -> float | None:
    """Where ``f`` takes the value ``goal``, from 0 outwards, by regula falsi; None if it does not.

    An infinite value, of what over- or underflows there, tells the side alone: the middle is tried instead.
    """
    enough = 1e-13 + 4e-16 * abs(goal)
    a = b = 0.0
    fa = fb = f(0.0) - goal
    if fa == 0:
        return a
    step = -1.0 if fa > 0 else 1.0
    while (fb > 0) == (fa > 0):
        a, fa, b = b, fb, max(-_FAR, min(_FAR, b + step))
        step, fb = 2 * step, f(b) - goal
        if fb == fa:  # it does not move any more, be it at the goal: a limit is not reached
            return None
    if abs(fa) < enough:
        return a
    for _ in range(200):
        if abs(fb) < enough:
            return b
        c = b - fb * (b - a) / (fb - fa) if isfinite(fa) and isfinite(fb) else (a + b) / 2
        if c in (a, b):
            break
        fc = f(c) - goal
        if (fc > 0) != (fb > 0):
            a, fa = b, fb
        else:
            fa *= 0.5  # Illinois
        b, fb = c, fc
    return b if abs(fb) < 2e-3 else None  # no jump over the goal; functions in half precision come no nearer

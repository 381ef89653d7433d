"""The scale of a tensor, kept beside its arrays as a power of two that no dtype bounds.

A network of many nodes may be larger or smaller than any number of its dtype, though each of its arrays is of ordinary size.
So every array is divided by a power of two, which changes no digit, and the powers are added up, constants for gradients.  A
power that is not finite says that some array has an entry that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from math import floor, frexp, isfinite, log2, log10
from typing import Any

import numpy as np

from tnkit.core.caller import warn_caller
from tnkit.execution.arrays import dtype_name, is_complex, is_single, real
from tnkit.execution.backend import Backend
from tnkit.execution.numpy import NUMPY

__all__ = [
    "Power",
    "aligned",
    "decimal",
    "dtype_range",
    "entry_size",
    "even_powers",
    "fits",
    "larger",
    "largest",
    "seen",
    "times",
    "unit",
    "units",
    "whole",
]

#: Binary logarithm of a scale: a Python float, or a 0-d array where transforms (``torch.func``, ``jax.jit``) hide values.
Power = Any
#: Steps of :func:`times` beyond which every number of a dtype is zero or infinite.
_STEPS = 4
#: log10(2) as a number of few digits, by which a power is multiplied exactly, and the rest.
_TENS = floor(log10(2) * 2**30) / 2**30
_REST = float(Fraction(30102999566398119521, 10**20) - Fraction(_TENS))


@cache
def dtype_range(name: str) -> tuple[float, float, float]:
    """Of a dtype: binary logarithms between which a tensor's largest entry leaves the others their precision; the smallest
    normal number.
    """
    if name == "bfloat16":
        return -126.0 + 7.0, 127.0, 2.0**-126
    info = np.finfo(name if np.dtype(name).kind in "fc" else "float64")
    tiny, most = max(float(info.tiny), 2.0**-1022), min(float(info.max), float(np.finfo(np.float64).max))
    return log2(tiny) - log2(float(info.eps)), log2(most) - 1, tiny


def unit(x: Any, backend: Backend, keep: bool = False) -> tuple[Any, Power]:
    """``x`` over the power of two next below its largest entry, and that power.

    >>> unit(np.array([3.0, -40.0]), NUMPY)
    (array([ 0.09375, -1.25   ]), 5.0)

    Returns
    -------
    array, power
        Zeros as they are, with power 0.  Where an entry is not finite: ones, with power NaN or infinity, which no linear
        algebra refuses; with ``keep`` the array as it is, with power 0.
    """
    top = largest(backend.constant(x), backend)
    size = seen(top, backend)
    if size is None:
        return _hidden_unit(x, top, backend, keep)
    if not isfinite(size):
        return (x, 0.0) if keep else (backend.xp.ones_like(x), size)
    power = frexp(size)[1] - 1 if size else 0
    return times(x, float(-power), backend), float(power)


def _hidden_unit(x: Any, size: Any, backend: Backend, keep: bool) -> tuple[Any, Any]:
    xp = backend.xp
    finite, zero = xp.isfinite(size), size == 0
    power = xp.floor(xp.log2(xp.where(finite & ~zero, size, xp.ones_like(size))))
    if keep:
        return times(x, -power, backend), backend.cast(power, "float64")
    x = xp.where(finite, times(x, -power, backend), xp.ones_like(x))
    return x, backend.cast(xp.where(finite, power, size), "float64")


def units(arrays: Mapping[str, Any], backend: Backend) -> tuple[dict[str, Any], Power]:
    """Every array over its power of two, and the sum of the powers: that of the tensor of a network with one node an array."""
    found = {n: unit(x, backend) for n, x in arrays.items()}
    return {n: x for n, (x, _) in found.items()}, sum((power for _, power in found.values()), 0.0)


def times(x: Any, power: Power, backend: Backend) -> Any:
    """``x`` times two to a power, infinite or zero beyond the range of its dtype; not finite where the power is not."""
    if isinstance(power, float):
        return _times(x, power, backend.xp)
    xp = backend.xp
    power = _beside(power, x, backend)
    finite = xp.isfinite(power)
    some, most = xp.where(finite, power, xp.zeros_like(power)), _most(x)
    for _ in range(_STEPS):
        step = xp.where(some > most, most * xp.ones_like(some), some)
        step = xp.where(step < -most, -most * xp.ones_like(some), step)
        x, some = _scaled(x, (2 * xp.ones_like(step)) ** step, xp), some - step
    return xp.where(finite, x, x * power)


def _scaled(x: Any, factor: Any, xp: Any) -> Any:
    """``x`` times a real factor; complex entries that are infinite already stay so: times a number they are NaN."""
    return xp.where(xp.isfinite(x), x * factor, x) if is_complex(x) else x * factor


def _times(x: Any, power: float, xp: Any) -> Any:
    if not power:
        return x
    most, left, first = _most(x), power, True
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if not isfinite(power):
            return x * power
        for _ in range(_STEPS):
            step = min(max(left, -most), most)
            factor, left = 2.0**step, left - step
            x = x * factor if first else _scaled(x, factor, xp)
            if not left:
                break
            first = False
    return x


def _most(x: Any) -> int:
    """A power of two that is a number of the dtype of ``x``, and so is its inverse."""
    return floor(dtype_range(dtype_name(x))[1])


def aligned(pairs: Sequence[tuple[Any, Power]], backend: Backend) -> tuple[list[Any], Power]:
    """Arrays with their powers as arrays with one, the largest that an array other than zeros has."""
    sizes = [largest(backend.constant(x), backend) for x, _ in pairs]
    known = [seen(size, backend) for size in sizes]
    if all(isinstance(p, float) for _, p in pairs) and None not in known:
        most = max((p for (_, p), size in zip(pairs, known, strict=True) if size), default=0.0)
        return [times(x, p - most, backend) if size else x for (x, p), size in zip(pairs, known, strict=True)], most
    xp, least = backend.xp, -1e300
    powers = [p + backend.cast(xp.zeros_like(s), "float64") for s, (_, p) in zip(sizes, pairs, strict=True)]
    most = powers[0] * 0 + least
    for p, size in zip(powers, sizes, strict=True):
        most = xp.where((size > 0) & (p > most), p, most)
    most = xp.where(most == least, xp.zeros_like(most), most)
    return [times(x, p - most, backend) for (x, _), p in zip(pairs, powers, strict=True)], most


def larger(a: Power, b: Power, backend: Backend) -> Power:
    """The larger one of two powers."""
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b)
    return backend.xp.where(b > a, b, a)


def even_powers(power: Power, count: int, backend: Backend) -> list[Power]:
    """A power as the sum of so many that are nearly equal, all whole."""
    if isinstance(power, float):  # evenly from first to last, so that no part of a chain is much larger than another
        whole = int(power)
        return [float(whole * (k + 1) // count - whole * k // count) for k in range(count)]
    floor = backend.xp.floor
    return [floor(power * (k + 1) / count) - floor(power * k / count) for k in range(count)]


def seen(x: Any, backend: Backend) -> float | None:
    """A real scalar as a Python number; None where a transform (``torch.func``, ``jax.jit``) hides its value."""
    if isinstance(x, float):
        return x
    return (
        None if backend.unseen((x,)) else float(backend.constant(x))
    )  # torch.func.grad gives numbers, but no numpy arrays


def entry_size(x: Any, backend: Backend) -> float | None:
    """:func:`largest` of an array as a Python number; None where a transform hides it."""
    return seen(largest(backend.constant(x), backend), backend)


def fits(x: Any, power: Power, backend: Backend) -> bool:
    """Whether the norm of ``x`` times two to a power is a normal number of its dtype, or zero; True where its value is hidden."""
    size, known = seen(backend.norm(backend.constant(x)), backend), seen(power, backend)
    if not size or known is None:
        return True
    info = np.finfo(np.float32 if is_single(x) else np.float64)
    return log2(info.tiny) <= log2(size) + known < log2(info.max) if isfinite(known) else False


def decimal(x: Any, power: Power, backend: Backend) -> tuple[Any, Any]:
    """``x`` times two to a power as what is multiplied by ``10**exponent``: entries of size about 1, a whole exponent.

    Returns
    -------
    array, exponent
        The exponent is a Python float for numpy, a 0-d array for others; 0 for zeros, and where the power is not finite.
    """
    top = largest(backend.constant(x), backend)
    size, known = seen(top, backend), seen(power, backend)
    if size is None or known is None:
        return _hidden_decimal(x, top, power, backend)
    if not size or not isfinite(size) or not isfinite(known):
        return _scalar(x if isfinite(known) else x * known), _told(0.0, x, backend)
    exponent = floor(log10(size) + known * log10(2))
    factor = 10.0 ** ((known * _TENS - exponent) + known * _REST)  # no digit cancels
    if size * factor >= 10:  # rounded up to it
        exponent, factor = exponent + 1, factor / 10
    return _scalar(x * factor), _told(float(exponent), x, backend)


def _hidden_decimal(x: Any, size: Any, power: Power, backend: Backend) -> tuple[Any, Any]:
    xp = backend.xp
    wide = backend.cast(xp.where(size > 0, size, xp.ones_like(size)), "float64")
    power = power + xp.zeros_like(wide)
    finite = xp.isfinite(power) & (size > 0)
    some = xp.where(finite, power, xp.zeros_like(power))
    exponent = xp.where(finite, xp.floor(xp.log10(wide) + some * log10(2)), xp.zeros_like(some))
    x = x * _beside(10.0 ** ((some * _TENS - exponent) + some * _REST), x, backend)
    return xp.where(xp.isfinite(power), x, x * _beside(power, x, backend)), exponent


def _scalar(x: Any) -> Any:
    """Of an array without axes numpy's scalar; any other as it is."""
    return x if x.shape else x[()]


def _told(exponent: float, x: Any, backend: Backend) -> Any:
    """An exponent as users get it, in double precision where ``x`` is."""
    if backend is NUMPY:
        return exponent
    return backend.cast(real(backend.zeros((), x), backend), "float64") + exponent


#: Part of a result, as a decimal logarithm, that rounding may take without a word.
_WORTH_A_WORD = 0.01


def whole(value: Any, power: Any, strip: bool, what: str, backend: Backend) -> Any:
    """A result: with its exponent where that is asked for, else in its dtype, with a warning where it is beyond it."""
    if strip:
        return decimal(value, power, backend)
    found = _scalar(times(value, power, backend))
    before, after = (entry_size(x, backend) for x in (value, found))
    known = seen(power, backend)
    if not before or not isfinite(before) or after is None or known is None or not isfinite(known):
        return found  # zero, not finite as its arrays, or hidden
    exponent = log10(before) + known * log10(2)
    # a number below the normal ones is right to a digit less or more: worth a word where nothing is left of it, or next to nothing
    if not after or not isfinite(after) or abs(log10(after) - exponent) > _WORTH_A_WORD:
        warn_caller(
            f"{what}: the largest entry of the result is about 1e{exponent:+.1f}, {'above' if exponent > 0 else 'below'} the "
            f"range of {dtype_name(found)}; strip_exponent=True gives it as a mantissa and an exponent",
            RuntimeWarning,
        )
    return found


def largest(x: Any, backend: Backend) -> Any:
    """Size of the largest entry, or of the largest real or imaginary part."""
    xp = backend.xp
    if not is_complex(x):
        return xp.max(xp.abs(x))
    return larger(xp.max(xp.abs(xp.real(x))), xp.max(xp.abs(xp.imag(x))), backend)


def _beside(power: Any, x: Any, backend: Backend) -> Any:
    """A power in the real dtype of ``x``."""
    name = "float32" if is_single(x) else "float64"
    return power if dtype_name(power) == name else backend.cast(power, name)

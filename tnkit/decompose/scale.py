"""The scale of a tensor, kept beside its arrays as a power of two that no dtype bounds.

A network of many nodes may be larger or smaller than any number of its dtype, though each of its arrays is of ordinary size.
So every array is divided by a power of two, which changes no digit, and the powers are added up, constants for gradients.  A
power that is not finite says that some array has an entry that is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor, frexp, isfinite, log2, log10
from typing import Any

import numpy as np

from tnkit.execution.arrays import dtype_name, is_complex, is_single, real
from tnkit.execution.backend import Backend
from tnkit.execution.numpy import NUMPY

__all__ = [
    "Power",
    "aligned",
    "decimal",
    "fits",
    "larger",
    "largest",
    "seen",
    "shares",
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


def unit(x: Any, backend: Backend) -> tuple[Any, Power]:
    """``x`` over the power of two next below its largest entry, and that power.

    >>> unit(np.array([3.0, -40.0]), NUMPY)
    (array([ 0.09375, -1.25   ]), 5.0)

    Returns
    -------
    array, power
        Zeros as they are, with power 0.  Where an entry is not finite: ones, with power NaN or infinity.
    """
    top = largest(backend.constant(x), backend)
    size = seen(top, backend)
    if size is None:
        return _hidden_unit(x, top, backend)
    if not isfinite(size):
        return backend.xp.ones_like(x), size
    power = frexp(size)[1] - 1 if size else 0
    return times(x, float(-power), backend), float(power)


def _hidden_unit(x: Any, size: Any, backend: Backend) -> tuple[Any, Any]:
    xp = backend.xp
    finite, zero = xp.isfinite(size), size == 0
    power = xp.floor(xp.log2(xp.where(finite & ~zero, size, xp.ones_like(size))))
    x = xp.where(finite, times(x, -power, backend), xp.ones_like(x))
    return x, backend.cast(xp.where(finite, power, size), "float64")


def units(arrays: Mapping[str, Any], backend: Backend) -> tuple[dict[str, Any], Power]:
    """Every array over its power of two, and the sum of the powers: that of the tensor of a network with one node an array."""
    found = {n: unit(x, backend) for n, x in arrays.items()}
    return {n: x for n, (x, _) in found.items()}, sum((power for _, power in found.values()), 0.0)


def times(x: Any, power: Power, backend: Backend) -> Any:
    """``x`` times two to a power, infinite or zero beyond the range of its dtype; not finite where the power is not."""
    if isinstance(power, float):
        return _times(x, power)
    xp = backend.xp
    power = _beside(power, x, backend)
    finite = xp.isfinite(power)
    some, most = xp.where(finite, power, xp.zeros_like(power)), _most(x)
    for _ in range(_STEPS):
        step = xp.where(some > most, most * xp.ones_like(some), some)
        step = xp.where(step < -most, -most * xp.ones_like(some), step)
        x, some = x * (2 * xp.ones_like(step)) ** step, some - step
    return xp.where(finite, x, x * power)


def _times(x: Any, power: float) -> Any:
    if not power:
        return x
    most, left = _most(x), power
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if not isfinite(power):
            return x * power
        for _ in range(_STEPS):
            step = min(max(left, -most), most)
            x, left = x * 2.0**step, left - step
            if not left:
                break
    return x


def _most(x: Any) -> float:
    """A power of two that is a number of the dtype of ``x``, and so is its inverse."""
    return 120.0 if is_single(x) else 1000.0


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


def shares(power: Power, count: int, backend: Backend) -> list[Power]:
    """A power as the sum of so many that are nearly equal, all whole."""
    if isinstance(power, float):
        return [float((int(power) + k) // count) for k in range(count)]
    return [backend.xp.floor((power + k) / count) for k in range(count)]


def seen(x: Any, backend: Backend) -> float | None:
    """A real scalar as a Python number; None where a transform (``torch.func``, ``jax.jit``) hides its value."""
    if isinstance(x, float):
        return x
    return (
        None if backend.unseen((x,)) else float(backend.constant(x))
    )  # torch.func.grad gives numbers, but no numpy arrays


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
        return (x if isfinite(known) else x * known)[()], _told(0.0, x, backend)
    exponent = floor(log10(size) + known * log10(2))
    factor = 10.0 ** ((known * _TENS - exponent) + known * _REST)  # no digit cancels
    return (x * factor)[()], _told(float(exponent), x, backend)


def _hidden_decimal(x: Any, size: Any, power: Power, backend: Backend) -> tuple[Any, Any]:
    xp = backend.xp
    wide = backend.cast(xp.where(size > 0, size, xp.ones_like(size)), "float64")
    power = power + xp.zeros_like(wide)
    finite = xp.isfinite(power) & (size > 0)
    some = xp.where(finite, power, xp.zeros_like(power))
    exponent = xp.where(finite, xp.floor(xp.log10(wide) + some * log10(2)), xp.zeros_like(some))
    x = x * _beside(10.0 ** ((some * _TENS - exponent) + some * _REST), x, backend)
    return xp.where(xp.isfinite(power), x, x * _beside(power, x, backend)), exponent


def _told(exponent: float, x: Any, backend: Backend) -> Any:
    """An exponent as users get it, in double precision where ``x`` is."""
    if backend is NUMPY:
        return exponent
    return backend.cast(real(backend.zeros((), x), backend), "float64") + exponent


def whole(value: Any, power: Any, strip: bool, what: str, backend: Backend) -> Any:
    """A scalar result: with its exponent where that is asked for, else in its dtype, with a warning where it is beyond it."""
    if strip:
        return decimal(value, power, backend)
    found = times(value, power, backend)[()]
    before, after = (seen(largest(backend.constant(x), backend), backend) for x in (value, found))
    if before and after is not None and isfinite(before) and isfinite(seen(power, backend) or 0.0):
        if not np.finfo(np.float32 if is_single(found) else np.float64).tiny <= after < np.inf:
            warnings.warn(
                f"{what}: the result is {'below' if after < 1 else 'above'} the range of {dtype_name(found)}; "
                "strip_exponent=True gives it as a value and an exponent",
                RuntimeWarning,
                stacklevel=4,
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

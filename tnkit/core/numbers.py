"""Numbers that users give: whole or real, in their range, or an error that names them."""

from __future__ import annotations

import operator
from math import isfinite
from numbers import Complex, Real
from typing import Any

import numpy as np

from tnkit.core.wording import shown

__all__ = ["as_float", "finite_number", "real_number", "whole_number"]


def as_float(number: Any) -> float:
    """A real number as a float: infinite where it is too large for one, as products of sizes may be.

    >>> as_float(8), as_float(10**400)
    (8.0, inf)
    """
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def whole_number(value: Any, what: str, least: int | None = None, most: int | None = None) -> int:
    """A whole number (numpy's too), of at least ``least`` and at most ``most``, as an int.

    >>> whole_number(np.int64(3), "depth", 1)
    3

    Raises
    ------
    TypeError
        No whole number, by the name ``what``: 2.5 is not cut to 2, and True is not 1.
    ValueError
        One below ``least`` or above ``most``.
    """
    rule = f"{what} is a whole number" + ("" if least is None else f" of at least {least}")
    logical = isinstance(value, (bool, np.bool_))  # numpy before 2.3 takes its own as an index
    try:
        found = None if logical else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{rule}, not {shown(value)}")
    if least is not None and found < least:
        raise ValueError(f"{rule}, not {shown(value)}")
    if most is not None and found > most:
        raise ValueError(f"{what} is at most {most}, not {shown(value)}")
    return found


def finite_number(value: Any, what: str) -> float | complex:
    """A finite number, of any sign, real or complex (numpy's too), as a float or a complex.

    >>> finite_number(np.int64(-2), "by")
    -2.0

    Raises
    ------
    TypeError
        No number, by the name ``what``.
    ValueError
        One that is not finite in double precision.
    """
    if isinstance(value, bool) or not isinstance(value, Complex):
        raise TypeError(f"{what} is a finite number, not {shown(value)}")
    try:
        found = float(value) if isinstance(value, Real) else complex(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(abs(found)):
        raise ValueError(f"{what} is a finite number, not {shown(value)}")
    return found


def real_number(value: Any, what: str, positive: bool = True, below: float = float("inf")) -> float:
    """A finite number (numpy's too), positive or at least 0, and less than ``below``, as a float.

    >>> real_number(np.float64(0.5), "lr")
    0.5

    Raises
    ------
    TypeError
        No number, by the name ``what``: a text or a flag is none, and an array of one entry is an array.
    ValueError
        One out of range, not finite, or NaN.
    """
    limit = f" and less than {below:g}" if isfinite(below) else ""
    rule = f"{what} is a {'positive number' if positive else 'number of at least 0'}{limit}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{rule}, not {shown(value)}")
    found = as_float(value)
    if not isfinite(found) or found < 0 or (positive and not found) or found >= below:
        raise ValueError(f"{rule}, not {shown(value)}")
    return found

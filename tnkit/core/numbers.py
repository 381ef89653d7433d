"""Numbers that users give: whole or real, in their range, or an error that names them."""

from __future__ import annotations

import operator
from math import isfinite
from typing import Any

__all__ = ["real_number", "whole_number"]


def whole_number(value: Any, what: str, least: int | None = None) -> int:
    """A whole number (numpy's too), of at least ``least``, as an int.

    >>> whole_number(np.int64(3), "depth", 1)
    3

    Raises
    ------
    TypeError
        No whole number, by the name ``what``: 2.5 is not cut to 2, and True is not 1.
    ValueError
        One below ``least``.
    """
    rule = f"{what} is a whole number" + ("" if least is None else f" of at least {least}")
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{rule}, not {value!r}")
    if least is not None and found < least:
        raise ValueError(f"{rule}, not {value!r}")
    return found


def real_number(value: Any, what: str, positive: bool = True, below: float = float("inf")) -> float:
    """A finite number, positive or at least 0, and less than ``below``; ValueError, by the name ``what``, for anything else."""
    try:
        found = None if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        found = None
    if found is None or not isfinite(found) or found < 0 or (positive and not found) or found >= below:
        limit = f" and less than {below:g}" if isfinite(below) else ""
        raise ValueError(
            f"{what} is a {'positive number' if positive else 'number of at least 0'}{limit}, not {value!r}"
        )
    return found

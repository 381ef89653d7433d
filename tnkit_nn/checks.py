"""Numbers that users give: whole or real, in their range, or an error that names them."""

from __future__ import annotations

import operator
from math import isfinite
from typing import Any

__all__ = ["real", "whole"]


def whole(value: Any, what: str, least: int = 1) -> int:
    """A whole number of at least ``least`` (numpy's too) as an int; ValueError, by the name ``what``, for anything else."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        raise ValueError(f"{what} is a whole number of at least {least}, not {value!r}")
    return found


def real(value: Any, what: str, positive: bool = True, below: float = float("inf")) -> float:
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

"""How a value is written in a message: on one line, and never long; counts too large to be read in full, rounded."""

from __future__ import annotations

from math import log10
from typing import Any

__all__ = ["count_text", "shown"]

#: Counts from here on are rounded: nobody reads so many digits, and Python writes no more than 4,300.
_ROUNDED = 10**30


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its repr on one line, cut; of an array its type and shape."""
    shape = getattr(value, "shape", None)
    if (
        isinstance(shape, tuple) and shape and hasattr(value, "dtype")
    ):  # the class of an array has a shape too, which is none
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    try:
        found = " ".join(repr(value).split())
    except Exception:  # a repr of its own that fails is no reason to hide the rule
        found = count_text(value) if type(value) is int else f"a {type(value).__name__}"
    return found if len(found) <= most else f"{found[: most - 3]}..."


def count_text(number: int, separator: str = "") -> str:
    """A whole number in full, or one of more than 30 digits rounded to three.

    >>> count_text(16_777_216, ","), count_text(2 * 10**5000)
    ('16,777,216', '2.00e+5000')
    """
    if -_ROUNDED < number < _ROUNDED:
        return format(number, separator)
    power = int(log10(abs(number))) - 20
    digits, _, more = f"{float(number // 10**power):.2e}".partition("e")
    return f"{digits}e+{int(more) + power}"

"""How a value is written in a message: on one line, and never long; counts too large to be read in full, rounded."""

from __future__ import annotations

import re
from math import log10
from typing import Any

__all__ = ["count_text", "plain_name", "plural", "shown"]

#: Counts from here on are rounded: nobody reads so many digits, and Python writes no more than 4,300.
_ROUNDED = 10**30
#: How numpy writes a string, at any depth of a value: the string is its group.
_NUMPY_STRING = re.compile(r"np\.str_\(('[^']*'|\"[^\"]*\")\)")


def plain_name(name: Any) -> Any:
    """A string of a class of its own, numpy's as a rule, as a plain one, which messages show without the class; any other value as it is.

    >>> plain_name(np.str_("i0")), plain_name(3)
    ('i0', 3)
    """
    return str.__str__(name) if isinstance(name, str) and type(name) is not str else name


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its repr on one line, cut; of an array its type and shape."""
    shape = getattr(value, "shape", None)
    if (
        isinstance(shape, tuple) and shape and hasattr(value, "dtype")
    ):  # the class of an array has a shape too, which is none
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    try:
        found = _NUMPY_STRING.sub(r"\1", " ".join(repr(value).split()))
    except Exception:  # a repr of its own that fails is no reason to hide the rule
        found = count_text(value) if type(value) is int else f"a {type(value).__name__}"
    return found if len(found) <= most else f"{found[: most - 3]}..."


def plural(count: int, one: str, many: str = "") -> str:
    """A number of things.

    >>> plural(1, "rank"), plural(2, "rank"), plural(2, "axis", "axes")
    ('1 rank', '2 ranks', '2 axes')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"


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

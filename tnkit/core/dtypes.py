"""Dtypes that users give, by any name that numpy has for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnkit.core.wording import shown

__all__ = ["a_dtype"]

_RULES = {
    "fc": "a floating or complex dtype, such as 'float32'",
    "fci": "a floating, complex or signed integer dtype, such as 'float64'",
}

_DOUBLE = {"f": 8, "c": 16}


def a_dtype(value: Any, what: str, kinds: str = "fc") -> np.dtype[Any]:
    """The numpy dtype of a name, a type or a dtype, of one of the kinds and of at most double precision.

    >>> a_dtype("float32", "init: dtype")
    dtype('float32')

    TypeError for what names no dtype, ValueError for a dtype of another kind.

    numpy itself reads None as float64, a list as a record, and dies of a recursion without end where it is given a matrix.
    """
    rule = f"{what} is {_RULES[kinds]}"
    if not isinstance(value, (str, type, np.dtype)) or not value:
        raise TypeError(f"{rule}, not {shown(value)}")
    try:
        found = np.dtype(value)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"{rule}, not {shown(value)}") from None
    if found.kind not in kinds or found.itemsize > _DOUBLE.get(found.kind, 8):
        raise ValueError(f"{rule} and up to double precision, not {found}")
    return found

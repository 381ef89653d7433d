"""Dtypes by their names, which numpy and torch share."""

from __future__ import annotations

from functools import cache
from typing import Any

from tnkit.execution.backend import Ops

__all__ = ["double_name", "dtype_name", "is_complex", "is_single", "widened"]


def dtype_name(x: Any) -> str:
    """``"float32"``, whatever the library."""
    return _spelled(x.dtype)


def double_name(x: Any) -> str:
    """The dtype of double precision that holds ``x``'s entries."""
    return "complex128" if is_complex(x) else "float64"


def is_complex(x: Any) -> bool:
    """Whether the entries are complex."""
    return dtype_name(x).startswith("complex")


def is_single(x: Any) -> bool:
    """Whether the entries have single precision, real or complex."""
    return dtype_name(x) in ("float32", "complex64")


def widened(x: Any, ops: Ops) -> Any:
    """An array of half precision in single precision, in which there is linear algebra; any other as it is."""
    return ops.cast(x, "float32") if dtype_name(x) in ("float16", "bfloat16") else x


@cache
def _spelled(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")  # which numpy takes its time for

"""What every library's arrays have: a dtype by its name, which all share; an adjoint; zeros beside them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tnkit.execution.backend import Backend

__all__ = ["adjoint", "double_name", "dtype_name", "is_complex", "is_single", "one_dtype", "padded", "widened"]


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


def widened(x: Any, backend: Backend) -> Any:
    """An array of half precision in single precision, in which there is linear algebra; any other as it is."""
    return backend.cast(x, "float32") if dtype_name(x) in ("float16", "bfloat16") else x


@cache
def _spelled(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")  # which numpy takes its time for


def adjoint(m: Any, backend: Backend) -> Any:
    """Conjugate transpose, a view for real dtypes: numpy's ``conj`` copies those, and BLAS then sees two matrices, not one."""
    return backend.swap(backend.xp.conj(m) if is_complex(m) else m)


def padded(x: Any, axis: int, count: int, backend: Backend, before: bool = False) -> Any:
    """``x`` with so many zeros behind it, or before it, along an axis."""
    if not count:
        return x
    zeros = backend.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x)
    return backend.xp.concatenate((zeros, x) if before else (x, zeros), axis)


def one_dtype(arrays: dict[str, Any], backend: Backend) -> dict[str, Any]:
    """The arrays, all of the narrowest dtype that holds them."""
    names = set(map(dtype_name, arrays.values()))
    if len(names) < 2:
        return arrays
    widest = np.result_type(*names).name
    return {n: backend.cast(x, widest) for n, x in arrays.items()}

"""What every library's arrays have: a dtype by its name, which all share; an adjoint; zeros beside them.

The rule for bools, in every library and function: a contraction (``contract``, ``run``, ``einsum``) keeps the dtype, and so needs a
library that multiplies it; numpy's product of bools is "and", their sum "or", torch has none and refuses them.  All that computes with
numbers (norms, sums, moves, decompositions) reads bools as 0 and 1, in double precision.  What only moves entries about keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from tnkit.execution.backend import Backend

__all__ = [
    "DTYPES",
    "LINEAR",
    "adjoint",
    "as_numbers",
    "check_linear",
    "conj",
    "double_name",
    "dtype_name",
    "floating",
    "has_double",
    "is_bool",
    "is_complex",
    "is_single",
    "one_dtype",
    "padded",
    "real",
    "spans",
    "widened",
]  # fmt: skip

#: Dtypes in which there is linear algebra, and those of them and of what is computed with in them.
LINEAR = frozenset({"float32", "float64", "complex64", "complex128"})
_WHOLE = frozenset({"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))})
DTYPES = LINEAR | _WHOLE | {"float16", "bfloat16"}


def check_linear(name: str, x: Any, what: str) -> None:
    """TypeError for an array in a dtype without linear algebra, as numpy's long doubles are; the array is named."""
    if dtype_name(x) not in DTYPES:
        raise TypeError(
            f"{what}: array {name!r} has dtype {dtype_name(x)}; convert it to one of {', '.join(sorted(LINEAR))}"
        )


def dtype_name(x: Any) -> str:
    """``"float32"``, whatever the library."""
    return _spelled(x.dtype.__class__, x.dtype)


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
    """An array in a dtype of linear algebra: half precision in single, whole numbers and bools in double; any other as it is."""
    name = dtype_name(x)
    if name in ("float16", "bfloat16"):
        return backend.cast(x, "float32")
    return backend.cast(x, "float64") if name in _WHOLE else x


def is_bool(x: Any, backend: Backend) -> bool:
    """Whether the entries are bools; False of what is no array of the library."""
    return backend.holds(x) and dtype_name(x) == "bool"


def as_numbers(x: Any, backend: Backend) -> Any:
    """Bools as numbers in double precision; anything else as it is."""
    return backend.cast(x, "float64") if is_bool(x, backend) else x


def floating(arrays: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """Arrays of whole numbers and of bools in double precision, where sums do not wrap around; others as they are."""
    return {
        n: backend.cast(x, "float64") if backend.holds(x) and dtype_name(x) in _WHOLE else x for n, x in arrays.items()
    }


@cache
def _spelled(kind: Any, dtype: Any) -> str:
    # By the kind too: array_api_strict's dtypes have numpy's hashes, and warn when they are compared with numpy's.
    return str(dtype).rpartition(".")[2]  # "torch.float32"; numpy takes its time for it


def has_double(x: Any, backend: Backend) -> bool:
    """Whether the library has the double precision of ``x``; jax by default has none."""
    return dtype_name(backend.cast(backend.zeros((1,), x), double_name(x))) == double_name(x)


def adjoint(m: Any, backend: Backend) -> Any:
    """Conjugate transpose, a view for real dtypes: numpy's ``conj`` copies those, and BLAS then sees two matrices, not one."""
    return backend.swap(conj(m, backend))


def conj(x: Any, backend: Backend) -> Any:
    """The complex conjugate; a real array as it is."""
    return backend.xp.conj(x) if is_complex(x) else x


def real(x: Any, backend: Backend) -> Any:
    """The real part; a real array as it is."""
    return backend.xp.real(x) if is_complex(x) else x


def spans(size: int, step: int) -> Iterator[slice]:
    """An axis cut into slices of at most ``step``; the standard knows none that go beyond the end."""
    return (slice(k, min(k + step, size)) for k in range(0, size, step))


def padded(x: Any, axis: int, count: int, backend: Backend, before: bool = False) -> Any:
    """``x`` with so many zeros behind it, or before it, along an axis."""
    if not count:
        return x
    zeros = backend.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x)
    return backend.concat((zeros, x) if before else (x, zeros), axis)


def one_dtype(arrays: dict[str, Any], backend: Backend) -> dict[str, Any]:
    """The arrays, all of the narrowest floating or complex dtype that holds them; whole numbers alone in double precision."""
    names = set(map(dtype_name, arrays.values()))
    if names <= _WHOLE:
        widest = "float64"
    elif len(names) == 1:
        return arrays
    else:  # numpy has no bfloat16, and none of the others holds it but from float32 on
        widest = np.result_type(*("float32" if n == "bfloat16" else n for n in names)).name
    return {n: x if dtype_name(x) == widest else backend.cast(x, widest) for n, x in arrays.items()}

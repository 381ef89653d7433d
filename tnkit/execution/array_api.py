"""Any library of the array API standard as one that runs plans: jax, cupy, dask, array_api_strict."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np

from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.slices import sliced_result

__all__ = ["backend_named", "namespace"]


def namespace(x: Any) -> Any:
    """The namespace of an array, as ``array_api_compat`` tells it; None for what is no array."""
    if isinstance(x, (bool, int, float, complex)):
        return None
    try:
        return array_api_compat.array_namespace(x)
    except TypeError:
        return None


@cache
def backend_named(module: str) -> Backend:
    """The backend of a namespace, by its module's name; one for each.

    >>> backend_named("array_api_strict").name
    'array_api_strict'
    """
    xp = import_module(module)

    def norm(x: Any, axis: int | None = None) -> Any:
        return xp.linalg.vector_norm(x, axis=axis)

    def diagonal(x: Any, i: int, j: int) -> Any:
        others = tuple(k for k in range(len(x.shape)) if k not in (i, j))
        return xp.linalg.diagonal(xp.permute_dims(x, (*others, i, j)))

    def fused(step: Any, operands: list[Any]) -> Any:
        if not step.counts:
            return execute(step.body, operands, made)
        return sliced_result(step, operands, lambda pieces: execute(step.body, pieces, made), made)

    made = Backend(
        name=module.removeprefix("array_api_compat.").partition(".")[0],
        xp=xp,
        holds=lambda x: namespace(x) is xp,
        permute=xp.permute_dims,
        swap=xp.matrix_transpose,
        concat=lambda arrays, axis: xp.concat(list(arrays), axis=axis),
        flip=lambda x, axis: xp.flip(x, axis=axis),
        take=lambda x, places, axis: xp.take(x, xp.asarray(places, device=_device(x)), axis=axis),
        total=lambda x, axes: xp.sum(x, axis=axes, dtype=x.dtype),
        diagonal=diagonal,
        norm=norm,
        norms=lambda arrays: [float(norm(x)) for x in arrays],
        eye=lambda n, x: xp.eye(n, dtype=x.dtype, device=_device(x)),
        like=lambda a, x: xp.asarray(a, dtype=x.dtype, device=_device(x)),
        zeros=lambda shape, x: xp.zeros(shape, dtype=x.dtype, device=_device(x)),
        broadcast=xp.matmul,
        fused=fused,
        left=lambda m: tuple(xp.linalg.svd(m, full_matrices=False))[:2],
        cast=lambda x, dtype: xp.astype(x, _dtype(xp, dtype)),
        numpy=_on_host,
        tracked=lambda x: False,
        unseen=_unseen,
        writes=False,
        home=f"{__name__}:backend_named:{module}",
    )
    return made


def _unseen(arrays: Sequence[Any]) -> bool:
    """Whether a value is asked for in vain, as of a tracer of jax."""
    try:
        for x in arrays:
            complex(x[(0,) * len(x.shape)])
    except (TypeError, ValueError, RuntimeError):
        return True
    return False


def _device(x: Any) -> Any:
    """Where an array is; None, the default, for what is traced by ``jax.jit``."""
    return array_api_compat.device(x)


def _dtype(xp: Any, name: str) -> Any:
    """A dtype by its name; single precision where there is no double, as in jax by default."""
    if name in ("float64", "complex128") and name not in xp.__array_namespace_info__().dtypes():
        name = {"float64": "float32", "complex128": "complex64"}[name]
    return getattr(xp, name)


def _on_host(x: Any) -> np.ndarray:
    # cupy refuses an implicit copy from the device
    return np.asarray(array_api_compat.to_device(x, "cpu") if array_api_compat.is_cupy_array(x) else x)

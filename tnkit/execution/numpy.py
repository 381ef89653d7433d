"""numpy as an array library that runs plans."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from math import sqrt
from typing import Any

import numpy as np

from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.elementwise import in_blocks
from tnkit.execution.slices import by_slices
from tnkit.planning.steps import FusedStep

__all__ = ["NUMPY", "quiet"]


def _run_fused(step: FusedStep, operands: Sequence[Any]) -> np.ndarray:
    if not step.counts:
        done: np.ndarray = execute(step.body, operands, NUMPY)
        return done
    made: np.ndarray = by_slices(
        step, operands, lambda pieces: execute(step.body, pieces, NUMPY), np.transpose,
        lambda first: (np.zeros if step.summed else np.empty)(step.shape, first.dtype),
    )  # fmt: skip
    return made


def _norm_along(x: Any, axis: int | None = None) -> Any:
    return np.linalg.norm(x.reshape(-1)) if axis is None else np.linalg.norm(x, None, axis)


def _norms(arrays: Sequence[Any]) -> list[float]:
    # a third of the time of np.linalg.norm, and BLAS warns of nothing
    return [sqrt(abs(np.vdot(x, x).real)) for x in arrays]


NUMPY = Backend(
    name="numpy",
    xp=np,
    holds=lambda x: isinstance(x, (np.ndarray, np.generic)),
    permute=np.transpose,
    swap=lambda x: x.swapaxes(-1, -2),
    concat=np.concatenate,
    flip=lambda x, axis: np.flip(x, axis).copy(),  # torch takes no array of numpy with negative strides
    take=np.take,
    total=lambda x, axes: np.sum(x, axes, dtype=x.dtype),
    diagonal=lambda x, i, j: np.diagonal(x, 0, i, j),
    norm=_norm_along,
    norms=_norms,
    eye=lambda n, x: np.eye(n, dtype=x.dtype),
    like=lambda a, x: a.astype(np.asarray(x).dtype),
    zeros=lambda shape, x: np.zeros(shape, x.dtype),
    broadcast=np.matmul,
    fused=_run_fused,
    left=lambda m: np.linalg.svd(m, full_matrices=False)[:2],
    cast=lambda x, dtype: x.astype(dtype),
    numpy=np.asarray,
    tracked=lambda x: False,
    own=in_blocks,
    mixes=True,
    methods={
        "permute": "{x}.transpose({axes})",
        "swap": "{x}.swapaxes(-1, -2)",
        "reshape": "{x}.reshape({axes})",
        "diagonal": "{x}.diagonal(0, {axes})",
    },
    home="tnkit.execution.numpy:NUMPY",
)
"""The :class:`Backend` for arrays and scalars of numpy.

>>> net = tk.from_einsum("ij,jk->ik", dict(i=2, j=2, k=2))
>>> tk.contract(net, {"A": [[1, 2], [3, 4]], "B": np.eye(2)}, backend=tk.NUMPY)
array([[1., 2.],
       [3., 4.]])
>>> tk.NUMPY
numpy
"""


def quiet(backend: Backend) -> Any:
    """Without numpy's warnings, where what has no value gives NaN."""
    return np.errstate(invalid="ignore", divide="ignore", over="ignore") if backend is NUMPY else nullcontext()

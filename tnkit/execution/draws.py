"""Random arrays one by one: normal entries, orthogonal matrices, isometries; :mod:`tnkit.init` draws those of a network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.core.stages import Stage

__all__ = ["gauss", "isometry", "orthogonal_blocks", "orthogonal_matrix"]


def gauss(shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    """Independent normal entries of variance 1, complex ones too."""
    x = rng.standard_normal(shape)
    if dtype.kind == "c":
        return np.asarray((x + 1j * rng.standard_normal(shape)) / sqrt(2), dtype)
    return np.asarray(x, dtype)


def orthogonal_matrix(shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    """An array whose matrix, the first half of its axes by the rest, is orthogonal."""
    half = (len(shape) + 1) // 2
    return _orthogonal_matrices(1, prod(shape[:half]), prod(shape[half:]), rng, dtype).reshape(shape)


def _orthogonal_matrices(
    count: int, rows: int, cols: int, rng: np.random.Generator, dtype: np.dtype[Any]
) -> np.ndarray:
    q, r = np.linalg.qr(gauss((count, max(rows, cols), min(rows, cols)), rng, dtype))
    d = np.diagonal(r, axis1=1, axis2=2)[:, None]
    q = q * (d / np.where(d == 0, 1, np.abs(d)))  # Haar measure (Mezzadri, math-ph/0609050)
    return np.asarray(q if rows >= cols else q.swapaxes(1, 2), dtype)


def orthogonal_blocks(
    shape: tuple[int, ...], stage: Stage, rng: np.random.Generator, dtype: np.dtype[Any]
) -> np.ndarray:
    """An orthogonal matrix (outs by ins) for every value of what the node leaves as it is."""
    order = [*stage.beside, *stage.outs, *stage.ins]
    count, rows, cols = (prod(shape[k] for k in axes) for axes in stage)
    matrices = _orthogonal_matrices(count, rows, cols, rng, dtype)
    return np.moveaxis(matrices.reshape([shape[k] for k in order]), range(len(shape)), order)


def isometry(shape: tuple[int, ...], axes: Sequence[int], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    """An array whose matrix, the other axes by these, has orthonormal columns."""
    rest = [k for k in range(len(shape)) if k not in axes]
    rows, cols = prod(shape[k] for k in rest), prod(shape[k] for k in axes)
    matrix = orthogonal_matrix((rows, cols), rng, dtype)
    return np.moveaxis(matrix.reshape([shape[k] for k in (*rest, *axes)]), range(len(shape)), (*rest, *axes))

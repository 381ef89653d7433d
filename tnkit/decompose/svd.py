"""Decompositions by singular values along a chain."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from tnkit.builders.chains import check_rank, tt
from tnkit.network import Network

__all__ = ["tt_svd"]


def tt_svd(
    x: Any, *, rank: int | Sequence[int] | None = None, tol: float = 0.0
) -> tuple[Network, dict[str, np.ndarray]]:
    """Tensor train by successive singular value decompositions (Oseledets 2011, algorithm 1).

    Parameters
    ----------
    x
        A numpy array of at least one axis, real or complex.
    rank
        Largest bond sizes: an int for all, one a bond, or None for no bound.
    tol
        Relative Frobenius error that truncation may add (each bond gets tol / sqrt(bonds)).

    Returns
    -------
    Network, dict
        ``tnkit.tt(x.shape, rank=the bonds found)`` and its arrays; every core but the last is an isometry.

    Raises
    ------
    ValueError
        A scalar, no entries or some not finite, a rank below 1, too few or too many ranks, a negative tolerance.
    """
    x = np.asarray(x)
    if x.ndim == 0:
        raise ValueError("tt_svd: x is a scalar; it has no axes to decompose")
    if tol < 0:
        raise ValueError(f"tt_svd: tol {tol} is negative")
    if x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"tt_svd: x of shape {x.shape} has no entries, or some that are not finite")
    bonds = x.ndim - 1
    caps = [None] * bonds if rank is None else check_rank(rank, bonds, "tt_svd")
    share = tol * float(np.linalg.norm(x)) / sqrt(max(bonds, 1))
    arrays: dict[str, np.ndarray] = {}
    found: list[int] = []
    rest, left = x.astype(np.result_type(x, np.float32), copy=False), 1
    for k in range(bonds):
        u, s, vh = np.linalg.svd(rest.reshape(left * x.shape[k], -1), full_matrices=False)
        r = _keep(s, share, caps[k])
        arrays[f"core_{k}"] = u[:, :r].reshape((left, x.shape[k], r) if k else (x.shape[k], r))
        rest, left = s[:r, None] * vh[:r], r
        found.append(r)
    arrays[f"core_{bonds}"] = rest.reshape((left, x.shape[-1]) if bonds else x.shape)
    return tt(x.shape, found), arrays


def _keep(s: np.ndarray, error: float, cap: int | None) -> int:
    """Fewest leading singular values whose discarded tail has norm at most ``error``, and at most ``cap``."""
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]  # tails[r]: norm of what is lost when r values are kept
    r = int(np.sum(tails > error))
    return max(1, r if cap is None else min(r, cap))

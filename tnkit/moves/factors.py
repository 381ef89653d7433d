"""A matrix as a product of two, truncated or not, its weight in either or in both."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from tnkit.decompose.truncate import norm2, orthonormal, truncated
from tnkit.execution.arrays import adjoint, dtype_name
from tnkit.execution.backend import Backend

__all__ = ["ABSORB", "Factors", "factored"]

#: Where the weight of a split goes.
ABSORB = ("left", "right", "both")


@dataclass(frozen=True)
class Factors:
    """What became of a matrix: ``left @ right`` is near it.

    Attributes
    ----------
    left, right
        (rows, r) and (r, columns).
    error
        Relative error in the Frobenius norm.
    method
        What ran.
    """

    left: Any
    right: Any
    error: float
    method: str


def factored(m: Any, cap: int | None, tol: float, absorb: str, method: str, backend: Backend) -> Factors:
    """Split a matrix whose entries are of ordinary size.

    Parameters
    ----------
    m
        Matrix (rows, columns).
    cap
        Largest rank, or None.
    tol
        Relative error that may be made.
    absorb
        Where the weight goes, the other factor being an isometry: ``"left"``, ``"right"``; ``"both"``: roots of the singular
        values to each.
    method
        As for :func:`tnkit.tree_svd`.
    backend
        The array library.
    """
    if absorb == "left":
        other = factored(backend.swap(m), cap, tol, "right", method, backend)
        return Factors(backend.swap(other.right), backend.swap(other.left), other.error, other.method)
    full = min(m.shape)
    cap = full if cap is None else min(cap, full)
    if cap == full and not tol and absorb == "right":
        return Factors(*orthonormal(m, backend), 0.0, "qr")
    total = norm2(backend.constant(m), backend)
    found = truncated(m, cap, tol**2 * total, total, method, backend)
    u, rest = found.u, found.rest
    if u is None or (found.method == "qr" and absorb == "both"):  # nothing was cut
        u, rest, how = (backend.left(m)[0], None, "svd") if absorb == "both" else (*orthonormal(m, backend), "qr")
    else:
        how = found.method
    if rest is None:
        rest = adjoint(u, backend) @ m
    error = min(sqrt(max(found.lost, 0.0) / total), 1.0) if total else 0.0
    if absorb == "both":
        u, rest = _balanced(u, rest, backend)
    return Factors(u, rest, error, how)


def _balanced(u: Any, rest: Any, backend: Backend) -> tuple[Any, Any]:
    """An isometry and rows of falling norms, orthogonal to one another: the root of each norm to either side."""
    xp = backend.xp
    squares = backend.total(xp.abs(rest) ** 2, (1,))
    some = squares > float(np.finfo(dtype_name(squares)).tiny)
    roots = xp.where(some, squares, xp.ones_like(squares)) ** 0.25  # a value of zero has no slope
    kept = xp.where(some, xp.ones_like(squares), xp.zeros_like(squares))
    return u * (roots * kept), rest * (kept / roots)[:, None]

"""One bond: the leading left singular space of a matrix, by the cheapest algorithm that keeps the accuracy asked for.

A decomposition needs an isometry ``u`` whose columns span the leading left singular vectors; the rest is ``u^H m``.  Three
ways to find it, and what each can resolve:

``gram``
    Eigenvectors of ``m m^H`` (or of ``m^H m``, then a QR).  One pass over ``m``; squares the singular values, so what is
    smaller than about sqrt(eps) of the largest is lost.
``svd``
    A QR of the long side, LAPACK's SVD of the small factor: full accuracy.
``randomised``
    A Gaussian sketch with power iterations (Halko, Martinsson and Tropp 2011), repeated until the energy that it captures
    stands still: for a rank far below both sides.

``auto`` takes the randomised way for small ranks, else Gram, looks at the error that came out, and does it again more
accurately (in double precision, ``..64``, or by ``svd``) where that error is too small for the way to resolve.  ``exact`` is
``auto`` without the randomised way.  Where gradients are wanted it is always ``svd``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, isfinite, prod, sqrt
from typing import Any

import numpy as np

from tnkit.execution.arrays import adjoint, double_name, dtype_name, has_double, is_complex, is_single, spans
from tnkit.execution.backend import Backend

__all__ = [
    "METHODS",
    "Truncation",
    "frobenius",
    "gram",
    "norm2",
    "orthonormal",
    "power_of_two",
    "resolution",
    "safely_scaled",
    "truncated",
]

METHODS = ("auto", "exact", "gram", "svd", "randomised")

#: Columns of a sketch beyond the rank.
_OVER = 10
#: A power iteration that gains less than this part of what is still lost is the last one.
_GAIN = 1e-3
#: A difference of norms this many times the resolution is exact enough.
_SAFE = 50
#: Sides of a Gram matrix over columns from which on its leading eigenvectors alone are looked for; and turns at most.
_LEADING, _TURNS = 6, 24


@dataclass(frozen=True)
class Truncation:
    """What was kept of a matrix.

    Attributes
    ----------
    u
        Isometry (rows, r); None: all rows are kept as they are.
    rest
        (r, columns), ``u^H m``; None where the way did not form it.
    lost
        Square of the Frobenius norm of what is not in ``u rest``.
    method
        What ran.
    """

    u: Any
    rest: Any
    lost: float
    method: str


def norm2(x: Any, backend: Backend, piece: int = 1 << 16) -> float:
    """Square of the Frobenius norm as a Python float, summed without the loss of a long sum in float32."""
    flat, total, complex_ = backend.reshape(x, -1), 0.0, is_complex(x)
    for span in spans(flat.shape[0], piece):
        some = flat[span]  # torch's complex or strided dot sums in a row: off by 1e-6
        total += float(backend.numpy(backend.xp.sum(backend.xp.abs(some) ** 2) if complex_ else some @ some))
    return total


def _safe(total: float, x: Any) -> bool:
    """Whether squares of entries that count have not left the dtype's range, where this is their sum."""
    return 1e-16 < total < 1e30 if is_single(x) else 1e-260 < total < 1e260


def power_of_two(x: Any, backend: Backend) -> tuple[float, float]:
    """The largest entry's size, and the power of two just below it; 1 for zeros and what is not finite."""
    largest = float(backend.numpy(backend.xp.max(backend.xp.abs(x))))
    return largest, 2.0 ** (frexp(largest)[1] - 1) if largest and isfinite(largest) else 1.0


def frobenius(x: Any, backend: Backend) -> Any:
    """The norm as a scalar of the library, whose squares neither vanish nor overflow; no value is looked at, so that torch can trace it."""
    if not prod(x.shape):
        return backend.norm(x)
    largest = backend.xp.max(backend.xp.abs(x))
    scale = backend.xp.where((largest > 0) & backend.xp.isfinite(largest), largest, backend.xp.ones_like(largest))
    return backend.norm(x / scale) * scale


def safely_scaled(x: Any, what: str, backend: Backend) -> tuple[Any, float, float]:
    """An array whose squares neither vanish nor overflow: ``x`` over a power of two, the square of its norm, and that power.

    Raises
    ------
    ValueError
        Entries that are not finite, or a norm beyond the dtype's range.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = norm2(x, backend)
    if _safe(total, x):
        return x, total, 1.0
    largest, scale = power_of_two(x, backend)
    if not isfinite(largest):
        raise ValueError(f"{what}: x of shape {tuple(x.shape)} has some entries that are not finite")
    x = x / scale
    total = norm2(x, backend)
    if not scale * sqrt(total) <= np.finfo(np.float32 if is_single(x) else np.float64).max:
        raise ValueError(
            f"{what}: x of shape {tuple(x.shape)} has entries so large that its norm overflows; divide it first"
        )
    return x, total, scale


def resolution(x: Any) -> float:
    """The smallest part of the square of a norm that a Gram matrix in this dtype tells from rounding."""
    return 1e-5 if is_single(x) else 2e-14


def orthonormal(m: Any, backend: Backend) -> tuple[Any, Any]:
    """``m = q r`` with an isometry ``q``; gradients are finite for rank-deficient ``m`` too."""
    if backend.tracked(m):
        q, _ = backend.left(m)
        return q, adjoint(q, backend) @ m
    q, r = backend.xp.linalg.qr(m)
    return q, r


def truncated(m: Any, cap: int | None, allowed: float, total: float, method: str, backend: Backend) -> Truncation:
    """Truncate one matrix.

    Parameters
    ----------
    m
        Matrix (rows, columns).
    cap
        Largest rank, or None.
    allowed
        Square of the error that may be added.
    total
        Square of the norm of the whole tensor: what ``lost`` is small or large beside.
    method
        One of :data:`METHODS`; ``exact`` is ``auto`` without ``randomised``.
    backend
        The array library.
    """
    full = min(m.shape)
    cap = full if cap is None else min(cap, full)
    if cap == full and not allowed:
        if full == m.shape[0]:
            return Truncation(None, None, 0.0, "kept")
        return Truncation(*orthonormal(m, backend), 0.0, "qr")
    if method == "svd" or backend.tracked(m):
        return _by_svd(m, cap, allowed, backend)
    if method in ("gram", "randomised"):
        return _WAYS[method](m, cap, allowed, False, backend)
    single, resolved = is_single(m), resolution(m) * total
    ways = ["randomised", "gram"] if method == "auto" and _sketching_pays(m, cap) else ["gram"]
    lost = np.inf
    for way in ways:
        for double in (False, True) if single else (False,):
            if double and not has_double(m, backend):
                continue
            if not double and (lost <= resolved or 0 < allowed <= resolved):
                continue  # a better way would lose even less than was too little; or rounding would choose the rank
            found = _WAYS[way](m, cap, allowed, double, backend)
            lost = found.lost
            fits = way == "gram" or not allowed or lost <= allowed or found.u.shape[1] == cap
            if fits and (double or lost > resolved):
                return found
    return _by_svd(m, cap, allowed, backend)


def _sketching_pays(m: Any, cap: int) -> bool:
    """Operations of two power iterations beside those of a Gram matrix and its eigenvectors."""
    short, long, columns = min(m.shape), max(m.shape), cap + _OVER
    return bool(4 * columns <= short and 14 * columns * long < short * long + 16 * short**2)


def _keep(squares: np.ndarray, cap: int, allowed: float) -> tuple[int, float]:
    """Fewest leading values whose discarded squares sum to at most ``allowed``, at most ``cap``; and that sum."""
    if not allowed:
        return cap, float(squares[cap:].sum())
    tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0)  # tails[r]: what is lost when r values are kept
    r = max(1, min(cap, int(np.sum(tails > allowed))))
    return r, float(tails[r])


def _by_svd(m: Any, cap: int, allowed: float, backend: Backend) -> Truncation:
    rows, columns = m.shape
    if backend.tracked(m) or max(rows, columns) < 2 * min(rows, columns):
        u, s = backend.left(m)
    elif rows < columns:  # m^H = q r: m and r^H have the same left singular vectors
        u, s = backend.left(adjoint(backend.xp.linalg.qr(adjoint(m, backend))[1], backend))
    else:
        q, r = backend.xp.linalg.qr(m)
        u, s = backend.left(r)
        u = q @ u
    r, lost = _keep(np.asarray(backend.numpy(s), np.float64) ** 2, cap, allowed)
    return _cut(u[:, :r], lost, "svd")


def _cut(u: Any, lost: float, method: str) -> Truncation:
    """All rows kept, or ``u``: never a basis of the whole space where the given one does."""
    if u.shape[0] == u.shape[1]:
        return Truncation(None, None, 0.0, "kept")
    return Truncation(u, None, lost, method)


def _by_gram(m: Any, cap: int, allowed: float, double: bool, backend: Backend) -> Truncation:
    wide = m.shape[0] <= m.shape[1]
    side, name = m if wide else adjoint(m, backend), "gram64" if double else "gram"
    squares, vectors = _eigen(gram(side, double, backend), cap, backend)
    noise = 0.0 if double else 0.05 * resolution(m) * float(squares.sum())  # of the small eigenvalues: on the safe side
    r, lost = _keep(squares, cap, allowed - noise if allowed else 0.0)
    vectors = vectors[:, :r]
    if double:
        vectors = backend.cast(vectors, dtype_name(m))
    if wide:
        return _cut(vectors, lost, name)
    u, upper = backend.xp.linalg.qr(m @ vectors)
    return Truncation(u, upper @ adjoint(vectors, backend), lost, name)


def _eigen(m: Any, cap: int, backend: Backend) -> tuple[np.ndarray, Any]:
    """Eigenvalues of a Gram matrix, falling, and eigenvectors: all, or the first ``cap`` and the sum of the other values."""
    found = _leading(m, cap, backend) if _LEADING * (cap + _OVER) <= m.shape[0] else None
    if found is not None:
        return found
    values, vectors = backend.xp.linalg.eigh(m)
    return _falling(values, backend), backend.flip(vectors, 1)


def _leading(m: Any, cap: int, backend: Backend) -> tuple[np.ndarray, Any] | None:
    """Subspace iteration to the accuracy of rounding, and a proof that no larger eigenvalue was missed; None without either.

    The proof: with the pairs found taken off, ``rest`` has no eigenvalue above the last of them.  Its Frobenius norm is a bound;
    where that is too large, ``last - rest`` has a Cholesky factor if and only if it is so.
    """
    n, xp = m.shape[0], backend.xp
    q, before = backend.like(np.random.default_rng(0).standard_normal((n, cap + _OVER)), m), np.inf
    enough = 8 * sqrt(cap) * (1.2e-7 if is_single(m) else 2.2e-16)
    for left in range(_TURNS, 0, -1):
        q = xp.linalg.qr(m @ q)[0]
        image = m @ q
        values, turn = xp.linalg.eigh(adjoint(q, backend) @ image)
        values, turn = backend.flip(values, 0)[:cap], backend.flip(turn, 1)[:, :cap]
        vectors = q @ turn
        squares = np.asarray(backend.numpy(values), np.float64)
        off = sqrt(norm2(image @ turn - vectors * values, backend)) / max(squares[0], 1e-300)
        if off <= enough:
            break
        if off > enough * max(before / off, 1.0) ** left and before < np.inf:
            return None  # at this pace it would not get there
        before = off
    else:
        return None
    rest = m - (vectors * values) @ adjoint(vectors, backend)
    last = float(squares[-1])
    if norm2(rest, backend) > last**2 and not _is_positive(last * backend.eye(n, m) - rest, backend):
        return None
    lost = float(np.asarray(backend.numpy(backend.diagonal(rest, 0, 1))).real.sum(dtype=np.float64))
    return np.append(np.maximum(squares, 0.0), max(lost, 0.0)), vectors


def _is_positive(m: Any, backend: Backend) -> bool:
    """Whether a matrix has a Cholesky factor."""
    try:
        root = backend.xp.linalg.cholesky(m)
    except getattr(backend.xp.linalg, "LinAlgError", np.linalg.LinAlgError):
        return False
    return isfinite(norm2(root, backend))  # jax says it by NaN


def gram(m: Any, double: bool, backend: Backend, piece: int = 1 << 20) -> Any:
    """``m m^H``; in double precision piece by piece, so that ``m`` is never there twice."""
    if not double:
        return m @ adjoint(m, backend)
    step, total = max(1, piece // m.shape[0]), None
    for span in spans(m.shape[1], step):
        some = backend.cast(m[:, span], double_name(m))
        total = some @ adjoint(some, backend) if total is None else total + some @ adjoint(some, backend)
    return total


def _randomised(m: Any, cap: int, allowed: float, double: bool, backend: Backend) -> Truncation:
    given, xp = m, backend.xp
    if double:
        m = backend.cast(m, double_name(m))
    size, columns = norm2(m, backend), min(cap + _OVER, *m.shape)
    image = m @ adjoint(backend.like(np.random.default_rng(0).standard_normal((columns, m.shape[0])), m) @ m, backend)
    for _ in range(12):
        sketch = xp.linalg.qr(image)[0]
        rest = adjoint(sketch, backend) @ m
        image = m @ adjoint(rest, backend)
        values, vectors = xp.linalg.eigh(rest @ adjoint(rest, backend))
        squares, vectors = _falling(values, backend), backend.flip(vectors, 1)
        lost = max(size - float(squares[:cap].sum()), 0.0)
        # what the next turn may add to each value, to second order: its pair's residual squared over the gap
        off = (image - sketch @ (adjoint(sketch, backend) @ image)) @ vectors[:, :cap]
        off = np.asarray(backend.numpy(backend.total(xp.abs(off) ** 2, (0,))), np.float64)
        gaps = np.maximum(squares[:cap] - squares[-1], 1e-30 * size)
        if float(np.minimum(off / gaps, gaps).sum()) <= _GAIN * lost:
            break
    r, _ = _keep(np.append(squares, max(size - float(squares.sum()), 0.0)), cap, allowed)
    vectors = vectors[:, :r]
    u, rest = sketch @ vectors, adjoint(vectors, backend) @ rest
    lost = _lost_square(m, u, rest, size, backend)
    if double:
        u, rest = backend.cast(u, dtype_name(given)), backend.cast(rest, dtype_name(given))
    return Truncation(u, rest, lost, "randomised64" if double else "randomised")


def _lost_square(m: Any, u: Any, rest: Any, size: float, backend: Backend, piece: int = 1 << 20) -> float:
    """Square of the norm of ``m - u rest``, ``size`` being that of ``m``.

    As a difference of norms, if that is large enough: ``u`` is an isometry but for rounding, which counts, so its products are
    taken in double precision; the rounding of ``rest`` averages out.
    """
    wide, other = backend.cast(u, double_name(u)), backend.cast(rest, double_name(rest))
    product = (adjoint(wide, backend) @ wide) * backend.swap(other @ adjoint(other, backend))
    lost = size - 2 * norm2(other, backend) + float(backend.numpy(backend.xp.sum(product)).real)
    if lost > _SAFE * resolution(m) * size:
        return lost
    step = max(1, piece // m.shape[0])
    return sum(norm2(m[:, span] - u @ rest[:, span], backend) for span in spans(m.shape[1], step))


_WAYS = {"gram": _by_gram, "randomised": _randomised}


def _falling(values: Any, backend: Backend) -> np.ndarray:
    """Eigenvalues of a Gram matrix, largest first, none negative."""
    return np.maximum(np.asarray(backend.numpy(values), np.float64)[::-1], 0.0)

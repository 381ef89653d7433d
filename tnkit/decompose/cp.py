"""CP: a sum of products of vectors, found on a compressed core and polished on the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.builders.trees import cp
from tnkit.core.decomposition import Decomposition
from tnkit.decompose.als import Aim, SearchOptions, checked_options, checked_target, dense_goal, improve, search
from tnkit.decompose.fitting import Problem
from tnkit.decompose.ranks import check_budget, check_tol, ranks_of
from tnkit.decompose.registry import registered
from tnkit.decompose.truncate import gram
from tnkit.decompose.tucker import tucker_svd
from tnkit.execution.arrays import adjoint, double_name, dtype_name, is_complex, real
from tnkit.execution.backend import Backend

#: Compressed axes keep so many directions beyond the rank.
_OVER = 2


@registered
def cp_als(
    x: Any, rank: int | None = None, *, tol: float | None = None, budget: int | None = None, sweeps: int = 1000,
    restarts: int = 8, seed: int = 0, callback: Callable[[int, float], Any] | None = None, backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """Canonical polyadic decomposition by alternating least squares (Kolda and Bader 2009, section 3).

    >>> draw = np.random.default_rng(0)
    >>> a, b, c = draw.normal(size=(3, 6, 2))
    >>> x = np.einsum("ir,jr,kr->ijk", a, b, c)  # of rank 2
    >>> found = tk.cp_als(x, 2)
    >>> found.error < 1e-6, found.network.num_params, x.size
    (True, 36, 216)

    Each axis is first projected on the leading singular vectors of its unfolding (Bro and Andersson 1998), which hold every
    term of an exact decomposition.  The search runs on that small core: starts from singular vectors and random ones,
    sweeps, Levenberg-Marquardt steps; its best is taken back to ``x`` and polished there.

    Parameters
    ----------
    x
        Array of at least one axis, real or complex.
    rank
        Number of terms; with ``tol``, the most.
    tol
        Relative error to keep, with the fewest terms that were found to keep it.  Where the most terms allowed do not, they
        are returned with the error they have.
    budget
        Most parameters: ``rank <= budget // sum(x.shape)``.
    sweeps
        Most sweeps over the factors and Gauss-Newton steps, on the core and again on ``x``.
    restarts
        Starts to choose from.
    seed
        Of the random ones.
    callback
        As for :func:`als`; with ``tol`` the sweeps of all ranks are counted.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``tnkit.cp(x.shape, rank)`` and its factors, in the dtype and on the device of ``x``; the error is measured entry by
        entry.  Terms have one norm in all factors, the largest come first.

    Raises
    ------
    TypeError
        No array of the library; a rank or budget that is no whole number.
    ValueError
        None of rank, tol and budget, or a budget below one term; a scalar, no entries, or some not finite; a negative
        ``tol``, fewer than one sweep or start; an array that requires a gradient.
    """
    x, scale, backend = checked_target(x, "cp_als", backend)
    shape = tuple(x.shape)
    most = _most(shape, rank, tol, budget)
    options = checked_options("cp_als", sweeps, tol, 1e-3, restarts, seed, callback)
    tol = options.tol
    if float(backend.norm(x)) == 0:
        return _as_decomposition(x, [backend.zeros((n, 1 if tol else most), x) for n in shape], 0.0, scale, backend)
    if not tol:
        return _as_decomposition(x, *_of_rank(x, most, None, options, backend), scale, backend)
    below, step, found = _least_rank(x, tol, backend) - 1, 1, None
    tried: list[Any] | None = None
    while found is None:  # ranks rise by 1, 2, 4, ... until one keeps the tolerance
        now = min(most, below + step)
        tried, error = _of_rank(x, now, tried, options, backend)
        if error <= tol or now == most or options.progress.stopped:
            found = now, tried, error
        else:
            below, step = now, 2 * step
    above, factors, error = found
    while error <= tol and above - below > 1 and not options.progress.stopped:
        now = (above + below) // 2
        other, its = _of_rank(x, now, None, options, backend)
        if its <= tol:
            above, factors, error = now, other, its
        else:
            below = now
    return _as_decomposition(x, factors, error, scale, backend)


def _most(shape: tuple[int, ...], rank: int | None, tol: float | None, budget: int | None) -> int:
    """The largest rank allowed; unbounded, the least that is exact for every array."""
    if rank is None and budget is None and not check_tol(tol, "cp_als"):
        raise ValueError("cp_als: give a rank, a tol or a budget")
    bounds = []
    if rank is not None:
        bounds.append(ranks_of(rank, 1, "cp_als")[0])
    if budget is not None:
        bounds.append(min(check_budget(budget, "cp_als") // sum(shape), prod(shape) // max(shape)))
        if bounds[-1] < 1:
            raise ValueError(
                f"cp_als: budget {budget} is below the {sum(shape)} parameters of one term of shape {shape}"
            )
    return min(bounds) if bounds else prod(shape) // max(shape)


def _least_rank(x: Any, tol: float, backend: Backend) -> int:
    """A rank below which no CP keeps the tolerance: that of an unfolding, whose singular values bound the error."""
    least = 1
    for axis, n in enumerate(x.shape):
        matrix = _unfolded(x, axis, backend)
        squares = gram(matrix if n <= matrix.shape[1] else backend.swap(matrix), True, backend)
        values = np.maximum(backend.numpy(backend.xp.linalg.eigvalsh(squares)), 0.0)[::-1]
        tails = np.sqrt(np.append(np.cumsum(values[::-1])[::-1], 0.0) / values.sum())
        least = max(least, int(np.sum(tails > tol * (1 + 1e-9) + 1e-7)))
    return least


# -- one rank -------------------------------------------------------------------------------------------------------
def _of_rank(
    x: Any, rank: int, fewer: list[Any] | None, options: SearchOptions, backend: Backend
) -> tuple[list[Any], float]:
    """Factors of this rank and their relative error; ``fewer`` are factors of a lower rank to begin with."""
    # a term of an exact CP lies in these subspaces, so that nothing of it is lost (Bro and Andersson 1998)
    sizes = [min(n, rank + _OVER) for n in x.shape]
    _, small = tucker_svd(x, rank=sizes, sweeps=0, backend=backend)
    small = {n: backend.cast(a, double_name(a)) for n, a in small.items()}
    core, bases = small["core"], [small[f"factor_{k}"] for k in range(len(sizes))]
    if fewer is not None:
        fewer = [adjoint(b, backend) @ f for f, b in zip(fewer, bases, strict=True)]
    net = cp(core.shape, rank)
    whole, part = (
        float(backend.norm(x)),
        float(backend.norm(core)),
    )  # squares of their difference are lost by the subspaces
    options.progress.lost = sqrt(max(1 - (part / whole) ** 2, 0.0))
    options.progress.part = part / whole
    starts = _factor_starts(core, rank, fewer, options.restarts, options.seed, backend)
    _, arrays = search(net, dense_goal(core, net, backend), starts, options, backend)
    factors = [b @ arrays[f"factor_{k}"] for k, b in enumerate(bases)]
    options.progress.lost, options.progress.part = 0.0, 1.0
    polish = core.shape != x.shape and not options.progress.stopped
    return _polished(x, factors, options, options.sweeps if polish else 0, backend)


def _polished(
    x: Any, factors: list[Any], options: SearchOptions, sweeps: int, backend: Backend
) -> tuple[list[Any], float]:
    net = cp(tuple(x.shape), factors[0].shape[1])
    goal: Aim = dense_goal(x, net, backend)
    arrays = {f"factor_{k}": f for k, f in enumerate(factors)}
    problem = Problem(net, arrays, goal.net, goal.arrays, goal.size, goal.error, backend, goal.dtype)
    error = improve(problem, sweeps, 0, options.tol, 1e-3, 0.0, options.progress)[-1]
    return _even([problem.arrays[f"factor_{k}"] for k in range(len(factors))], backend), error


def _factor_starts(
    core: Any, rank: int, fewer: list[Any] | None, count: int, seed: int, backend: Backend
) -> Iterator[dict[str, Any]]:
    """Factors to begin with: random ones, singular vectors, or those of a lower rank with more terms beside."""
    complex_ = is_complex(core)
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        factors = []
        for axis, n in enumerate(core.shape):
            f = rng.standard_normal((n, rank)) + (1j * rng.standard_normal((n, rank)) if complex_ else 0)
            if k == 1:  # compressed axes count singular vectors: those are the unit vectors
                f[:, : min(n, rank)] = np.eye(n, rank)[:, : min(n, rank)]
            f = backend.like(f, core)
            if fewer is not None and k == 0:
                f = backend.concat((fewer[axis], 0.1 * f[:, fewer[axis].shape[1] :]), 1)
            factors.append(f)
        scale = float(backend.norm(core)) / max(_size(factors, backend), 1e-300)
        yield {f"factor_{a}": f * scale ** (1 / len(factors)) for a, f in enumerate(factors)}


def _size(factors: list[Any], backend: Backend) -> float:
    """Norm of the sum of terms, by their inner products."""
    products: Any = 1.0
    for f in factors:
        products = products * (adjoint(f, backend) @ f)
    return sqrt(max(float(real(backend.xp.sum(products), backend)), 0.0))


# -- factors --------------------------------------------------------------------------------------------------------
def _even(factors: list[Any], backend: Backend) -> list[Any]:
    """The same terms, each with one norm in all factors, the largest first."""
    norms = np.array([backend.numpy(backend.norm(f, 0)) for f in factors], np.float64)
    mean = np.exp(np.mean(np.log(np.where(norms > 0, norms, 1.0)), 0)) * (norms > 0).all(0)
    order = np.argsort(-mean, kind="stable")
    scales = np.where(norms > 0, mean / np.where(norms > 0, norms, 1.0), 0.0)
    return [backend.take(f, order, 1) * backend.like(s[order], f) for f, s in zip(factors, scales, strict=True)]


def _as_decomposition(x: Any, factors: list[Any], error: float, scale: float, backend: Backend) -> Decomposition:
    """Of ``x`` times ``scale``, which all factors share."""
    net, each = cp(tuple(x.shape), factors[0].shape[1]), scale ** (1 / len(factors))
    arrays = {f"factor_{k}": backend.cast(f * each, dtype_name(x)) for k, f in enumerate(factors)}
    return Decomposition(net, arrays, error, dict.fromkeys(arrays, "als"))


def _unfolded(x: Any, axis: int, backend: Backend) -> Any:
    order = (axis, *(k for k in range(len(x.shape)) if k != axis))
    return backend.reshape(backend.permute(x, order), x.shape[axis], -1)

"""Tucker decompositions: ST-HOSVD, then sweeps of orthogonal iteration."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod, sqrt
from typing import Any

from tnkit.builders import trees
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.numbers import whole_number
from tnkit.decompose.gauge import measured
from tnkit.decompose.ranks import Rank
from tnkit.decompose.registry import registered
from tnkit.decompose.sweep import check_target, sweep
from tnkit.decompose.truncate import norm2, resolution, safely_scaled, truncated
from tnkit.execution.arrays import adjoint, conj
from tnkit.execution.backend import Backend

#: A sweep that lowers the error by a smaller part is the last one.
_GAIN = 5e-5
#: Sweeps after which the better one of two starts goes on alone.
_TRIED = 4


@registered
@keywords_of(max_bond="rank")
def tucker_svd(
    x: Any,
    *,
    rank: Rank = None,
    tol: float | None = None,
    budget: int | None = None,
    sweeps: int = 100,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Tucker decomposition (Tucker 1966): a core and one isometry an axis.

    >>> draw = np.random.default_rng(0)
    >>> small, (a, b, c) = draw.normal(size=(2, 2, 2)), draw.normal(size=(3, 6, 2))
    >>> x = np.einsum("pqr,ip,jq,kr->ijk", small, a, b, c)  # of multilinear rank (2, 2, 2)
    >>> found = tk.tucker_svd(x, rank=2)
    >>> found.error < 1e-12, found.network.num_params, x.size
    (True, 44, 216)

    ST-HOSVD (Vannieuwenhoven, Vandebril and Meerbergen 2012), axes in the order of their sizes, then sweeps of higher-order
    orthogonal iteration (De Lathauwer, De Moor and Vandewalle 2000): each factor anew, the others fixed.  A few sweeps from the
    singular vectors of each unfolding (HOSVD) too; the better one goes on.

    Parameters
    ----------
    x
        Array of at least one axis.
    rank
        Largest core sizes ``r0, r1, ...``: an int for all, a sequence, or a mapping from the bonds.
    tol, budget, method
        As for :func:`tnkit.tree_svd`.
    backend
        The array library; by default that of the arrays.
    sweeps
        Most orthogonal iterations at the ranks found; they lower the error by one or two per cent on noise, and end where one
        gains less than a part 5e-5 of it.

    Returns
    -------
    Decomposition
        ``tnkit.tucker(x.shape, rank=the ranks found)`` and its arrays; the core holds the weight.

    Raises
    ------
    TypeError, ValueError
        As :func:`tnkit.tree_svd`; a negative number of sweeps.
    """
    what = "tucker_svd"
    sweeps = whole_number(sweeps, f"{what}: sweeps", 0)
    x, backend = check_target(x, what, backend)
    shape = tuple(x.shape)
    found = sweep(x, trees.tucker(shape, (1,) * len(shape)), rank, tol, budget, "core", method, backend, what)
    if not sweeps or found.error**2 <= resolution(x):
        return found
    starts = [found, _higher_order(x, found, method, backend)]
    begun = [_refined(x, start, min(sweeps, _TRIED), method, backend) for start in starts]
    return _refined(x, min(begun, key=lambda d: d.error), sweeps - min(sweeps, _TRIED), method, backend)


def _refined(x: Any, found: Decomposition, sweeps: int, method: str, backend: Backend) -> Decomposition:
    """Orthogonal iterations while they gain."""
    for _ in range(sweeps):
        better = _iterated(x, found, method, backend)
        gain = found.error - better.error
        found = better if gain > 0 else found
        if gain <= _GAIN * found.error:
            break
    return found


def _higher_order(x: Any, found: Decomposition, method: str, backend: Backend) -> Decomposition:
    """The leading singular vectors of each unfolding, at the ranks found: another start, its error not yet known (infinite)."""
    x, total, _ = safely_scaled(x, "tucker_svd", backend)
    arrays = dict(found.arrays)
    for k, n in enumerate(x.shape):
        order = (k, *(j for j in range(len(x.shape)) if j != k))
        flat = backend.reshape(backend.permute(x, order), n, -1)
        made = truncated(flat, arrays[f"factor_{k}"].shape[1], 0.0, total, method, backend)
        arrays[f"factor_{k}"] = arrays[f"factor_{k}"] if made.u is None else made.u
    return Decomposition(found.network, arrays, inf, found.methods)


def _iterated(x: Any, found: Decomposition, method: str, backend: Backend) -> Decomposition:
    """One orthogonal iteration."""
    factors = [found.arrays[f"factor_{k}"] for k in range(len(x.shape))]
    x, total, scale = safely_scaled(x, "tucker_svd", backend)

    def renew(modes: Sequence[int], y: Any) -> Any:
        """Renew these factors, ``y`` being ``x`` projected on all others: halves share the projection on the other half."""
        if len(modes) == 1:
            (k,) = modes
            order = (k, *(j for j in range(len(y.shape)) if j != k))
            made = truncated(
                backend.reshape(backend.permute(y, order), y.shape[k], -1),
                factors[k].shape[1],
                0.0,
                total,
                method,
                backend,
            )
            factors[k] = factors[k] if made.u is None else made.u
            return _projected(y, modes, factors, backend)
        these, others = modes[: len(modes) // 2], modes[len(modes) // 2 :]
        renew(these, _projected(y, others, factors, backend))
        return renew(others, _projected(y, these, factors, backend))

    core = renew(range(len(factors)), x)
    error = sqrt(max(1 - norm2(core, backend) / total, 0.0))
    arrays = {"core": core, **{f"factor_{k}": u for k, u in enumerate(factors)}}
    return Decomposition(*measured(found.network, arrays), error, found.methods).scaled("core", scale)


def _projected(y: Any, modes: Sequence[int], factors: Sequence[Any], backend: Backend) -> Any:
    """``y`` times the adjoint of each of these factors, along its axis."""
    for k in modes:
        u, shape = factors[k], tuple(y.shape)
        if k == len(shape) - 1:
            y = backend.reshape(backend.reshape(y, -1, shape[k]) @ conj(u, backend), *shape[:k], u.shape[1])
        else:
            y = adjoint(u, backend) @ backend.reshape(y, prod(shape[:k]), shape[k], -1)
            y = backend.reshape(y, *shape[:k], u.shape[1], *shape[k + 1 :])
    return y

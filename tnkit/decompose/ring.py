"""Tensor rings by singular values."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod, sqrt
from typing import Any

import numpy as np

from tnkit.builders import chains
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.decompose.ranks import check_alone, check_budget, check_tol, ranks_of
from tnkit.decompose.registry import registered
from tnkit.decompose.rounding import check_truncation
from tnkit.decompose.sweep import check_target, sweep
from tnkit.decompose.truncate import norm2, safely_scaled, truncated
from tnkit.execution.arrays import adjoint, padded
from tnkit.execution.backend import Backend
from tnkit.execution.run import contract


@registered
@keywords_of(max_bond="rank")
def ring_svd(
    x: Any,
    *,
    rank: int | Sequence[int] | None = None,
    tol: float | None = None,
    budget: int | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Tensor ring by singular values (Zhao et al. 2016, algorithm 1), cut open at one index.

    >>> x = np.random.default_rng(0).normal(size=(4, 4, 4))
    >>> tk.ring_svd(x).error < 1e-12
    True
    >>> found = tk.ring_svd(x, rank=2)
    >>> found.network.num_params  # 3 cores of 2*4*2
    48

    The index that its bonds cut down most (the largest, where those are equal) against all others is one singular value decomposition, whose values are shared between the bonds on its
    two sides; what is left is a chain.  The errors are orthogonal, so that a tolerance is kept.  A ring has no best
    approximation that singular values find: :func:`tnkit.als` from this start may do better.

    Parameters
    ----------
    x
        Array of at least two axes.
    rank
        Largest bond sizes ``b0 ... b(n-1)``, ``bk`` left of core k: an int for all, or a sequence.
    tol
        Relative Frobenius error that the result keeps.
    budget
        Most parameters: equal ranks (the largest that fit, half of them, a quarter), each then raised one at a time while
        that fits and helps; the best of the three.
    method
        As for :func:`tnkit.tree_svd`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``tnkit.ring(x.shape, rank=the bonds found)`` and its arrays.

    Raises
    ------
    TypeError, ValueError
        As :func:`tnkit.tree_svd`; fewer than two axes.
    """
    what = "ring_svd"
    check_truncation(method, what)
    (x, backend), tol = check_target(x, what, backend, 2), check_tol(tol, what)
    net = chains.ring(tuple(x.shape), 1)
    check_alone(budget, rank, tol, what)
    if budget is None:
        return _cut_open(x, net, None if rank is None else ranks_of(rank, len(x.shape), what), tol, method, backend)
    return _ring_for_budget(x, net, check_budget(budget, what), method, backend)


def _ring_for_budget(x: Any, net: Network, budget: int, method: str, backend: Backend) -> Decomposition:
    total = sum(net.shape)
    if budget < total:
        raise ValueError(f"ring_svd: not even ranks of 1 fit a budget of {budget}: they take {total} parameters")
    most = isqrt(budget // total)
    starts = {r for r in (most, most // 2, most // 4) if r}  # from more, single ranks may rise to no better ring
    return min((_raised(x, net, r, budget, method, backend) for r in sorted(starts)), key=lambda d: d.error)


def _raised(x: Any, net: Network, rank: int, budget: int, method: str, backend: Backend) -> Decomposition:
    """From equal ranks on, the one that helps most raised while there is one."""
    best = _cut_open(x, net, (rank,) * len(net.shape), 0.0, method, backend)
    while True:
        # ranks that the array could not use are not stored, so that the others may grow
        ranks = [best.network.sizes[f"b{k}"] for k in range(len(net.shape))]
        grown = [[r + (j == k) for j, r in enumerate(ranks)] for k in range(len(ranks))]
        fits = [g for g in grown if chains.ring(net.shape, g).num_params <= budget]
        found = [_cut_open(x, net, tuple(g), 0.0, method, backend) for g in fits]
        better = min(found, key=lambda d: d.error, default=best)
        if better.error >= best.error * (1 - 1e-9):
            return best
        best = better


def _cut_open(
    x: Any, net: Network, caps: Sequence[int] | None, tol: float, method: str, backend: Backend
) -> Decomposition:
    shape, n = net.shape, len(net.shape)
    x, total, scale = safely_scaled(x, "ring_svd", backend)
    if not total:
        caps, tol = (1,) * n, 0.0
    first = _opening(shape, caps)
    order = [(first + k) % n for k in range(n)]
    flat = backend.reshape(backend.permute(x, tuple(order)), shape[first], -1)
    ends = None if caps is None else (caps[first], caps[order[1]])
    found = truncated(flat, None if ends is None else prod(ends), tol**2 * total / (n - 1), total, method, backend)
    u = backend.like(np.eye(shape[first]), flat) if found.u is None else found.u
    rest = flat if found.u is None else adjoint(u, backend) @ flat if found.rest is None else found.rest
    rows = u.shape[1]
    r0, r1 = _shared(rows, ends or (rows, rows))
    core = backend.permute(backend.reshape(padded(u, 1, r0 * r1 - rows, backend), shape[first], r0, r1), (1, 0, 2))
    whole = backend.reshape(padded(rest, 0, r0 * r1 - rows, backend), r0, r1, *(shape[k] for k in order[1:]))
    chain = _opened_chain(net, order, r0, r1)
    inner = None if caps is None else {f"b{k}": caps[k] for k in order[2:]}
    kept = total - found.lost
    share = sqrt(max(tol**2 * total - found.lost, 0.0) / kept) if tol else 0.0
    parts = sweep(
        backend.permute(whole, (*range(1, n + 1), 0)), chain, inner, share, None, None, method, backend, "ring_svd"
    )
    lost = parts.error**2 * kept
    if r0 * r1 > rows:  # what the chain makes of the padded rows meets the zeros of the core: no error of the ring
        made = backend.permute(contract(*parts, backend=backend), (n, *range(n)))
        made = backend.reshape(made, r0 * r1, -1)[:rows, :]
        lost = norm2(rest - made, backend)
    arrays = {f"core_{first}": core, **parts.arrays}
    methods = dict.fromkeys((f"b{first}", f"b{order[1]}"), found.method) | dict(parts.methods)
    return Decomposition(
        chains.ring(shape, [int(arrays[f"core_{k}"].shape[0]) for k in range(n)]),
        {f"core_{k}": arrays[f"core_{k}"] for k in range(n)},
        sqrt((found.lost + lost) / total) if total else 0.0,
        {f"b{k}": methods[f"b{k}"] for k in range(n)},
    ).scaled(f"core_{first}", scale)


def _opening(shape: Sequence[int], caps: Sequence[int] | None) -> int:
    """The index that its two bonds cut down most, the largest without bounds: what it keeps in vain the chain has to carry."""
    if caps is None:
        return max(range(len(shape)), key=lambda k: shape[k])
    return max(range(len(shape)), key=lambda k: (shape[k] / (caps[k] * caps[(k + 1) % len(shape)]), shape[k]))


def _shared(k: int, caps: Sequence[int]) -> tuple[int, int]:
    """Two sizes within ``caps`` whose product is at least ``k``: the least sum, then the least product."""
    pairs = [(r, -(-k // r)) for r in range(1, min(k, caps[0]) + 1)]
    return min((p for p in pairs if p[1] <= caps[1]), key=lambda p: (sum(p), prod(p)))


def _opened_chain(net: Network, order: Sequence[int], r0: int, r1: int) -> Network:
    """The ring less its first core: a chain whose ends are open."""
    nodes = tuple(net[f"core_{k}"] for k in order[1:])
    ends = f"b{order[1]}", f"b{order[0]}"
    sizes = {i: net.sizes[i] for node in nodes for i in node.inds} | {ends[0]: r1, ends[1]: r0}
    return Network(nodes, (ends[0], *(f"i{k}" for k in order[1:]), ends[1]), sizes)

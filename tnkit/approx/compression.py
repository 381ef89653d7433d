"""The contraction of any graph, two tensors at a time, with every bond cut that grows beyond a size.

Hyper-optimised approximate contraction (Gray and Chan 2024).  A bond is cut by the singular values of what stands between the
triangular factors of its two sides, each side with its neighbours to a depth: the best cut where the graph is a tree so far.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import log2, prod
from operator import itemgetter

import numpy as np

from tnkit.approx.boundary import Cut, kept_rank
from tnkit.approx.simple_graph import Graph, Tracked

__all__ = ["contract_compressed"]

#: Neighbours that a side of a bond counts: those at this distance at most.
_DEPTH = 2
#: Singular values below this part of the largest are left out of a cut: it divides by their roots.
_ROUNDING = 1e-14
#: How much the two tensors count beside their product, in the orders that are tried; entries of all products that are cheap;
#: how much less another order must have.
_WEIGHTS, _CHEAP, _CHEAPER = (1.0, 0.75, 0.5, 0.25, 0.0), 1e7, 4

#: Tensor, bond and depth -> what it was made of (tensors, and how often each had changed), and the triangular factor.
_Known = dict[tuple[int, str, int], tuple[list[tuple[int, int]], np.ndarray]]


def contract_compressed(graph: Graph, cut: Cut) -> tuple[Tracked, float]:
    """What a graph contracts to, its axes as ``graph.output``, of size about 1; and the power of two to multiply it by."""
    known: _Known = {}
    for v in graph.tensors:
        for w in graph.near(v):
            graph.fuse(v, w)
    for v in list(graph.tensors):
        for w in graph.near(v):
            if v < w:
                _cut_bond(graph, v, w, cut, known)
    for a, b in merging_order(graph, cut.max_bond):
        _merged(graph, a, b, cut, known)
    return graph.whole()


def _bond(graph: Graph, v: int, w: int) -> str:
    return next(i for i in graph.inds[v] if i in graph.inds[w])


def _factor(graph: Graph, v: int, bond: str, depth: int, known: _Known) -> np.ndarray:
    """The triangular factor of what stands on the side of ``v`` of a bond, its neighbours to a depth included."""
    near = [(v, graph.changes[v]), *((u, graph.changes[u]) for u in (graph.near(v) if depth else ()))]
    found = known.get((v, bond, depth)) if depth < 2 else None
    if found is not None and found[0] == near:
        return found[1]
    x, inds = graph.tensors[v].value, graph.inds[v]
    for i in inds if depth else ():  # the first axis goes to the end, so that all are in their places afterwards
        u = next((u for u in graph.ends[i] if u != v), None)
        flat = x.reshape(x.shape[0], -1).T
        if i != bond and u is not None:
            flat = flat @ _factor(graph, u, i, depth - 1, known).T
        x = flat.reshape(*x.shape[1:], flat.shape[1])
    k = inds.index(bond)
    m = x.transpose(*(j for j in range(x.ndim) if j != k), k).reshape(-1, x.shape[k])
    r: np.ndarray = np.asarray(np.linalg.qr(m, mode="r")) if m.shape[0] > 1 else m
    r = r / (np.abs(r).max() or 1.0)
    known[v, bond, depth] = (near, r)
    return r


def _cut_bond(graph: Graph, v: int, w: int, cut: Cut, known: _Known) -> None:
    """Cut the bond between two tensors where it is larger than allowed."""
    bond = _bond(graph, v, w)
    if graph.size(bond, v) <= cut.max_bond and not cut.tol:
        return
    left, right = _factor(graph, v, bond, _DEPTH, known), _factor(graph, w, bond, _DEPTH, known)
    u, s, vh = np.linalg.svd(left @ right.T, full_matrices=False)
    rank = kept_rank(s, cut)
    if rank == graph.size(bond, v):
        return
    rank = max(1, min(rank, int(np.sum(s > _ROUNDING * s[0]))))
    root = 1 / np.sqrt(s[:rank]) if s[0] else np.zeros(1)
    p = right.T @ (vh[:rank].conj().T * root)  # (old, new) on v
    q = left.T @ (u[:, :rank].conj() * root)  # (old, new) on w
    for a, matrix in ((v, p), (w, q)):
        made, power = graph.tensors[a].applied(graph.inds[a].index(bond), matrix).scaled()
        graph.power += power
        graph.put(a, made, graph.inds[a])


def _merged(graph: Graph, a: int, b: int, cut: Cut, known: _Known) -> None:
    """Tensor ``a`` takes ``b`` in, its parallel bonds become one and are cut."""
    graph.merge(a, b)
    near = graph.near(a)
    for w in near:
        graph.fuse(a, w)
    for w in sorted(near, key=lambda w: -graph.size(_bond(graph, a, w), a)):
        _cut_bond(graph, a, w, cut, known)


# -- the order ------------------------------------------------------------------------------------------------------
def merging_order(graph: Graph, most: int) -> list[tuple[int, int]]:
    """The pairs to merge, the second into the first, bonds counted as at most ``most``.

    The pair first whose product is smallest beside the two: such orders cut least.  Where they make large tensors, others are
    tried that look at the product alone.
    """
    first = _greedy(graph, most, _WEIGHTS[0])
    if first[0] < _CHEAP:
        return first[1]
    others = min((_greedy(graph, most, weight) for weight in _WEIGHTS[1:]), key=itemgetter(0))
    return first[1] if first[0] <= _CHEAPER * others[0] else others[1]


def _greedy(graph: Graph, most: int, weight: float) -> tuple[float, list[tuple[int, int]]]:
    """Entries of all products, before their bonds are cut, and the pairs."""
    near: dict[int, dict[int | str, int]] = {}  # tensor -> neighbour, or open index -> size of the bond
    for v, inds in graph.inds.items():
        near[v] = {}
        for i, n in zip(inds, graph.tensors[v].value.shape, strict=True):
            u = next((u for u in graph.ends[i] if u != v), i)
            near[v][u] = near[v].get(u, 1) * n
    stamp, pairs, cost = dict.fromkeys(near, 0), list[tuple[int, int]](), 0.0
    size = {v: prod(bonds.values()) for v, bonds in near.items()}

    def entry(v: int, w: int) -> tuple[float, float, int, int, int, int]:
        full = small = 1.0
        mine, theirs = near[v], near[w]
        for u, n in mine.items():
            if u != w:
                n *= theirs.get(u, 1)
                full, small = full * n, small * min(n, most)
        for u, n in theirs.items():
            if u != v and u not in mine:
                full, small = full * n, small * min(n, most)
        score = log2(small) - weight * log2(size[v] + size[w])
        return (score, full, stamp[v], stamp[w], v, w)

    heap = [entry(v, w) for v in near for w in near[v] if isinstance(w, int) and v < w]
    heapify(heap)
    while heap:
        _, full, s, t, v, w = heappop(heap)
        if stamp.get(v) != s or stamp.get(w) != t:
            continue
        pairs.append((v, w))
        cost += full
        del stamp[w], near[v][w]
        for u, n in near.pop(w).items():
            if u == v:
                continue
            n = near[v][u] = min(near[v].get(u, 1) * n, most if isinstance(u, int) else n)
            if isinstance(u, int):
                del near[u][w]
                near[u][v] = n
                size[u] = prod(near[u].values())
        size[v] = prod(near[v].values())
        touched = [v, *(u for u in near[v] if isinstance(u, int))]
        for u in touched:
            stamp[u] += 1
        again = {(min(u, x), max(u, x)) for u in touched for x in near[u] if isinstance(x, int)}
        for u, x in again:
            heappush(heap, entry(u, x))
    return cost, pairs

"""The layout of circuits: gates in layers below the output, as brick walls, MERA and augmented trees are drawn.

A layer is found by peeling: a gate comes next when at least half of its indices are free, those of the output first.  Its
other indices are free then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tnkit.drawing.pieces import Arrangement, GraphPart
from tnkit.drawing.wires import DOWN, UP, Spots, Vertex

__all__ = ["layered"]

_DENSE = 300  #: vertices up to which the order across is looked for by an eigenvector


@dataclass(frozen=True)
class _Peel:
    """Gates from the output down."""

    rows: Mapping[Vertex, int]  #: in the order in which they were taken
    free: Mapping[Vertex, tuple[str, ...]]  #: those of its indices that were free when it was taken
    starts: tuple[str, ...]  #: the free indices that it began with, left to right
    gates: bool  #: whether there is one: two indices or more lead to two or more
    narrows: bool  #: whether a gate led to fewer indices: the outputs of such a network are drawn below


def layered(piece: GraphPart) -> Arrangement | None:
    """Gates in layers, with their outputs on top; of a network that narrows, as MERA, with its top on top."""
    peel = _peeled(piece, piece.output[: len(piece.output) // 2], True) or _peeled(piece, piece.output, False)
    if peel is None or max(peel.rows.values()) < 1:
        return None
    tried = [_across(piece, peel, peel.starts, {})]
    if len(piece.near) <= _DENSE:
        sway = _sway(piece, peel.rows)
        begun = set(peel.starts)
        host = {i: v for v, axes in piece.axes.items() for i in axes if i in begun}
        tried.append(_across(piece, peel, sorted(peel.starts, key=lambda i: round(sway[host[i]], 6)), sway))
    plain, *swayed = (round(stretch, 6) for _, stretch in tried)
    return tried[bool(swayed) and swayed[0] < 0.9 * plain][
        0
    ]  # the order of the output, unless it is clearly another one


def _peeled(piece: GraphPart, starts: Sequence[str], even: bool) -> _Peel | None:
    """Layers of gates from some open indices; ``even``: of an operator, whose gates read (outs..., ins...) as its output does."""
    hosts: dict[str, list[Vertex]] = {}
    for v, axes in piece.axes.items():
        for i in axes:
            hosts.setdefault(i, []).append(v)
    if not starts or any(isinstance(v, tuple) for v in piece.near):
        return None
    kept = set(piece.output)
    if any(len(found) != (1 if i in kept else 2) for i, found in hosts.items()):
        return None
    above = dict.fromkeys(starts, -1)
    rows: dict[Vertex, int] = {}
    free: dict[Vertex, tuple[str, ...]] = {}
    gates, narrows, base, missing = False, False, 0, {v: len(axes) for v, axes in piece.axes.items()}
    for depth in sorted(set(piece.depth.values())):
        level = [v for v in piece.near if piece.depth[v] == depth]
        ready = {v: None for v in level if _is_ready(piece, v, above, even)}
        while ready:
            known = {v: sum(i in above for i in piece.axes[v]) for v in ready}
            now = [v for v in ready if known[v] == max(known.values())]  # of the others, more may be free soon
            for v in now:
                free[v] = tuple(i for i in piece.axes[v] if i in above)
                rows[v] = max(base, 1 + max(above[i] for i in free[v]))
                missing[v] -= len(free[v])
                gates |= len(free[v]) > 1 < missing[v]
                narrows |= 0 < missing[v] < len(free[v])
            for v in now:
                above.update({i: rows[v] for i in piece.axes[v] if i not in above})
                del ready[v]
            touched = [u for v in now for u in piece.near[v] if u not in rows and piece.depth[u] == depth]
            ready |= {u: None for u in touched if _is_ready(piece, u, above, even)}
        if any(v not in rows for v in level):
            return None
        base = 1 + max(rows.values())
    return _Peel(rows, free, tuple(starts), gates, narrows)


def _is_ready(piece: GraphPart, v: Vertex, above: Mapping[str, int], even: bool) -> bool:
    free = [i in above for i in piece.axes[v]]
    if even:
        return 0 < len(free) == 2 * sum(free) and all(free[: len(free) // 2])
    return sum(free) > 0 and len(free) <= 2 * sum(free)


def _across(
    piece: GraphPart, peel: _Peel, starts: Sequence[str], sway: Mapping[Vertex, float]
) -> tuple[Arrangement, float]:
    """Each gate over the middle of its free indices, which its others take the places of; and how far gates are stretched."""
    sites = len(starts)
    at = {i: float(k) for k, i in enumerate(starts)}
    goes = {(v, i): u for v in piece.near for u in piece.near[v] for i in piece.axes[u] if i in set(piece.axes[v])}
    xs: dict[Vertex, float] = {}
    wraps: set[Vertex] = set()
    stretch = 0.0
    for v, free in peel.free.items():
        place, wrap = _places([at[i] for i in free], sites, bool(sway))
        wraps |= {v} if wrap else set()
        xs[v] = sum(place) / len(place)
        stretch += max(place) - min(place) - (len(place) - 1)
        rest = [i for i in piece.axes[v] if i not in free]
        if sway:
            rest.sort(key=lambda i, v=v: round(sway[goes[v, i]], 6) if (v, i) in goes else 0.0)  # type: ignore[misc]
            place = sorted(place)
        step = (max(place) - min(place)) / (len(place) - 1) if len(place) > 1 else 1.0
        for k, i in enumerate(rest):
            x = place[k] if len(rest) == len(place) else xs[v] + step * (k - (len(rest) - 1) / 2)
            at[i] = x % sites if wrap else x
    _push_apart(xs, peel.rows)
    begun = set(peel.starts)
    spots: Spots = {}
    for v, row in peel.rows.items():
        last = piece.legs[v] and begun.isdisjoint(piece.axes[v])  # a gate at the other side of an operator
        spots[v] = (complex(xs[v], row if peel.narrows else -row), DOWN if peel.narrows or last else UP)
    around = frozenset(frozenset((u, v)) for v in wraps for u in piece.near[v] if 2 * abs(xs[u] - xs[v]) > sites)
    return Arrangement(spots, around, "tree" if peel.narrows else "layers" if peel.gates else "tower"), stretch


def _places(place: list[float], sites: int, cut: bool) -> tuple[list[float], bool]:
    """Places of a gate's free indices, and whether it joins the last site to the first; none does where they are ``cut``."""
    if cut or len(place) < 2 or 2 * (max(place) - min(place)) <= sites or sites < 3:
        return place, False
    beyond = [x + sites if 2 * x < sites else x for x in place]
    shorter = max(beyond) - min(beyond) < max(place) - min(place)
    return (beyond, True) if shorter else (place, False)


def _push_apart(xs: dict[Vertex, float], rows: Mapping[Vertex, int]) -> None:
    """Gates of a row at least 1 apart, with their middle where it was."""
    by_row: dict[int, list[Vertex]] = {}
    for v, row in rows.items():
        by_row.setdefault(row, []).append(v)
    for side in by_row.values():
        side.sort(key=lambda v: xs[v])
        before = sum(xs[v] for v in side)
        for u, v in pairwise(side):
            xs[v] = max(xs[v], xs[u] + 1.0)
        shift = (before - sum(xs[v] for v in side)) / len(side)
        for v in side:
            xs[v] += shift


def _sway(piece: GraphPart, rows: Mapping[Vertex, int]) -> dict[Vertex, float]:
    """A coordinate across: the slowest mode of the graph in which no row moves as a whole."""
    place = {v: k for k, v in enumerate(piece.near)}
    laplace = np.zeros((len(place), len(place)))
    for v in piece.near:
        for u in piece.near[v]:
            laplace[place[v], place[u]] -= 1
            laplace[place[v], place[v]] += 1
    whole = np.array([[float(rows[v] == row) for v in place] for row in range(1 + max(rows.values()))])
    whole = whole[whole.any(1)] / np.sqrt(whole.sum(1, keepdims=True)[whole.any(1)])
    still = np.eye(len(place)) - whole.T @ whole
    _, modes = np.linalg.eigh(still @ laplace @ still + 1e3 * (np.eye(len(place)) - still))
    mode = modes[:, 0]
    first = next((x for x in mode if abs(x) > 1e-6), 1.0)  # a sign of its own: the first gate is on the left
    return {v: float(-mode[k] * np.sign(first)) for v, k in place.items()}

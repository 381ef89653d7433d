"""Layouts of the simple shapes: line, ring, star, fan, tree, comb, and rows of nodes that share hyperedges."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from math import pi

from tnkit.core.breadth import distances
from tnkit.drawing.pieces import Arrangement, GraphPart, parts_of
from tnkit.drawing.wires import BOTH, DOWN, UP, Spots, Vertex

__all__ = ["fan", "line_layout", "ring_layout", "row_layout", "star", "tree_layout"]

_ROW = 60  #: nodes that may share an index of a row


def _along(piece: GraphPart, start: Vertex) -> list[Vertex]:
    """A path, or a cycle, from a vertex on."""
    found: dict[Vertex, None] = {start: None}
    here: Vertex | None = start
    while here is not None:
        here = next((u for u in piece.near[here] if u not in found), None)
        if here is not None:
            found[here] = None
    return list(found)


def line_layout(piece: GraphPart) -> Arrangement | None:
    """A path, from left to right."""
    n = len(piece.near)
    if piece.edges != n - 1 or max(map(len, piece.near.values())) > 2:
        return None
    path = _along(piece, next(v for v in piece.near if len(piece.near[v]) < 2))
    aim = BOTH if all(piece.legs[v] == 2 for v in path) else DOWN
    return Arrangement({v: (complex(1.1 * k), aim) for k, v in enumerate(path)}, kind="line")


def ring_layout(piece: GraphPart) -> Arrangement | None:
    """A cycle on a circle, clockwise from the top."""
    if any(len(near) != 2 for near in piece.near.values()):
        return None
    return Arrangement(circled(_along(piece, next(iter(piece.near)))), kind="ring")


def circled(cycle: Sequence[Vertex]) -> Spots:
    """Vertices on a circle, neighbours about 1.15 apart, with legs that point outwards."""
    n = len(cycle)
    turn = [cmath.rect(1, pi / 2 + pi / n - 2 * pi * k / n) for k in range(n)]
    return {v: (max(0.8, 1.15 * n / (2 * pi)) * t, t) for v, t in zip(cycle, turn, strict=True)}


def _hub(piece: GraphPart) -> Vertex | None:
    """A vertex that is beside all others."""
    return next((v for v in reversed(list(piece.near)) if len(piece.near[v]) == len(piece.near) - 1), None)


def star(piece: GraphPart) -> Arrangement | None:
    """A node with equal ones around it: Tucker."""
    hub = _hub(piece)
    if hub is None or isinstance(hub, tuple) or piece.edges != len(piece.near) - 1 or len(piece.near) < 4:
        return None
    rays = [v for v in piece.near if v != hub]
    if len({piece.legs[v] for v in rays}) > 1:
        return None
    n = len(rays)
    turn = [cmath.rect(1, pi / 2 + pi / n - 2 * pi * k / n) for k in range(n)]
    around: Spots = {v: (max(1.15, 1.1 * n / (2 * pi)) * t, t) for v, t in zip(rays, turn, strict=True)}
    return Arrangement({hub: (0j, UP), **around}, kind="star")


def fan(piece: GraphPart) -> Arrangement | None:
    """Nodes in a row under what all of them share: the index of CP, the data that a chain of cores acts on."""
    hub = _hub(piece)
    if hub is None or len(piece.near) < 4 - isinstance(hub, tuple):
        return None
    rest = {v: tuple(u for u in near if u != hub) for v, near in piece.near.items() if v != hub}
    below: Spots = {}
    x = 0.0
    for part in parts_of(rest):
        inner = GraphPart({v: rest[v] for v in part}, piece.legs, {}, (), {})
        chain = line_layout(inner)
        if chain is None:
            return None
        below |= {v: (at + x, DOWN) for v, (at, _) in chain.spots.items()}
        x += 1.1 * len(part)
    if isinstance(hub, str) and len(rest) == len(parts_of(rest)):
        return None  # a star
    return Arrangement(below | {hub: (complex((x - 1.1) / 2, 0.9 + 0.05 * len(rest)), UP)}, kind="fan")


def tree_layout(piece: GraphPart) -> Arrangement | None:
    """A tree under its root; one that is a chain with a node at each link hangs from the chain."""
    if piece.edges != len(piece.near) - 1:
        return None
    root, uneven = _root(piece)
    spine = _spine(piece) if uneven > 1 else []
    return Arrangement(_comb(piece, spine) if spine else _hierarchy(piece, root), kind="line" if spine else "tree")


def _root(piece: GraphPart) -> tuple[Vertex, int]:
    """The vertex from which the legs are most evenly deep, and the difference that is left."""
    one = next(iter(piece.near))
    a = list(distances(piece.near, one))[-1]
    far = distances(piece.near, a)
    b = list(far)[-1]
    back = distances(piece.near, b)
    middle = [v for v in piece.near if far[v] + back[v] == far[b] and abs(far[v] - back[v]) <= 1]
    tried = list(piece.near) if len(piece.near) <= 100 else middle

    def uneven(v: Vertex) -> tuple[int, int, int]:
        deep = distances(piece.near, v)
        ends = [deep[u] for u in deep if piece.legs[u]] or [deep[u] for u in deep if len(piece.near[u]) < 2]
        return max(ends) - min(ends), max(deep.values()), len(piece.near[v])  # a root has no parent: one neighbour less

    root = min(tried, key=uneven)
    return root, uneven(root)[0]


def _spine(piece: GraphPart) -> list[Vertex]:
    """The long path of a caterpillar, whose other vertices hang from it, two at most from each; or nothing."""
    inner = {v: tuple(u for u in near if len(piece.near[u]) > 1) for v, near in piece.near.items() if len(near) > 1}
    if len(inner) < 3 or any(len(near) > 2 for near in inner.values()):
        return []
    if any(len(piece.near[v]) - len(near) > 2 for v, near in inner.items()):
        return []
    path = _along(GraphPart(inner, {}, {}, (), {}), next(v for v in inner if len(inner[v]) == 1))
    ends = [[u for u in piece.near[v] if u not in inner] for v in (path[0], path[-1])]
    return [*ends[0][1:2], *path, *ends[1][1:2]]  # where two hang from an end, one of them goes on along the path


def _comb(piece: GraphPart, spine: Sequence[Vertex]) -> Spots:
    found: Spots = {}
    for k, v in enumerate(spine):
        hanging = [u for u in piece.near[v] if u not in spine]
        found[v] = (complex(1.1 * k), UP if len(hanging) == 1 else DOWN)
        for u, way in zip(hanging, (DOWN, UP), strict=False):
            found[u] = (1.1 * k + 1.1 * way, way)
    return found


def _hierarchy(piece: GraphPart, root: Vertex) -> Spots:
    """The root on top, each parent over the middle of its children, leaves as far apart as their legs need."""
    depth = distances(piece.near, root)
    xs: dict[Vertex, float] = {}
    column = 0.0
    todo: list[Vertex] = [root]
    order: list[Vertex] = []
    while todo:  # depth first, without recursion
        v = todo.pop()
        order.append(v)
        todo += reversed([u for u in piece.near[v] if depth[u] > depth[v]])
    for v in order:
        if len(piece.near[v]) - (v != root) == 0:
            width = max(1.0, 0.5 * piece.legs[v])
            xs[v] = column + width / 2
            column += width
    for v in reversed(order):
        if v not in xs:
            under = [xs[u] for u in piece.near[v] if depth[u] > depth[v]]
            xs[v] = (min(under) + max(under)) / 2
    return {v: (complex(xs[v], -1.1 * depth[v]), DOWN if v != root else UP) for v in order}


def row_layout(piece: GraphPart) -> Arrangement | None:
    """Nodes in a row, each beside those that it shares an index with, the dots of hyperedges above and below them."""
    place = {v: k for k, v in enumerate(v for v in piece.near if isinstance(v, str))}
    if any(len(ends) > _ROW for ends in piece.dots.values()):
        return None
    spans = {}
    for ind, ends in piece.dots.items():
        at = sorted(place[v] for v in ends)
        if at[-1] - at[0] + 1 != len(at):
            return None  # not side by side
        spans[ind] = (at[0], at[-1])
    shared = {frozenset((u, v)) for ends in piece.dots.values() for u in ends for v in ends}
    apart = any(
        isinstance(u, str) and abs(place[u] - place[v]) > 1 and frozenset((u, v)) not in shared
        for v in place for u in piece.near[v]
    )  # fmt: skip
    if not spans or apart or (len(spans) == 1 and (0, len(place) - 1) in spans.values()):
        return None
    found: Spots = {v: (complex(1.5 * k), DOWN) for v, k in place.items()}
    lanes: dict[complex, list[list[tuple[int, int]]]] = {UP: [], DOWN: []}
    for ind in sorted(spans, key=lambda i: (spans[i][1] - spans[i][0], spans[i][0])):
        low, high = spans[ind]
        way = min((UP, DOWN), key=lambda w: (_lane(lanes[w], low, high), sum(map(len, lanes[w]))))
        k = _lane(lanes[way], low, high)
        lanes[way] += [[]] if k == len(lanes[way]) else []
        lanes[way][k].append((low, high))
        aside = 0.32 * (k // 2)  # of dots over the same nodes
        found[(ind,)] = (0.75 * (low + high) + aside + (0.45 + 0.1 * (high - low) + 0.75 * k) * way, way)
    return Arrangement(found, kind="row")


def _lane(lanes: Sequence[Sequence[tuple[int, int]]], low: int, high: int) -> int:
    """The first lane in which nothing is from ``low`` to ``high``."""
    free = (k for k, taken in enumerate(lanes) if all(b <= low or high <= a for a, b in taken))
    return next(free, len(lanes))

"""Pictures of networks and plans, drawn as in the literature: nodes, bonds, open legs, boxes around nonlinearities.

A nested network is flattened: its leaves are placed (:func:`layout`), every index becomes a wire between them, and an
Elementwise node is a box behind its leaves.  matplotlib is imported only here and only when something is drawn.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from math import log2, pi
from typing import Any

import networkx as nx
import numpy as np

from tnkit.network import Elementwise, Network, Node
from tnkit.plan import Plan

__all__ = ["draw", "layout", "to_svg"]

Vertex = str | tuple[str]  #: a leaf's name, or ``(index,)`` for the dot of a hyperedge
Spots = dict[Vertex, tuple[complex, complex]]  #: where a vertex is, and where its open legs would like to point

RADIUS, LEG = 0.25, 0.66  # of a node, and from its centre to the end of an open leg; neighbours are 1 apart
BLUE, GREY = "#9ecae1", "#d9d9d9"
TIED = ("#fdae6b", "#a1d99b", "#bcbddc", "#fc9272", "#dfc27d", "#80cdc1", "#fa9fb5", "#c7e9b4")
UP, DOWN, BOTH = 1j, -1j, 0j  # where legs point; BOTH: the first up, the others down, as an operator is drawn


# -- the network, flattened -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Wire:
    """An index as it is drawn: the leaves it ends at (a trace names one twice), and its free or summed end."""

    ind: str
    size: int
    leaves: tuple[str, ...]
    open: bool
    summed: bool

    @property
    def kind(self) -> str:
        """One of stub, trace, edge and dot."""
        if len(self.leaves) == 1:
            return "stub"
        if len(self.leaves) > 2 or self.open or self.summed:
            return "dot"
        return "edge" if len(set(self.leaves)) == 2 else "trace"


def _bodies(net: Network) -> list[Network]:
    return [body for node in net.nodes if isinstance(node, Elementwise) for body in node.bodies]


def _wires(net: Network) -> list[_Wire]:
    sizes: dict[str, int] = {}
    summed: set[str] = set()

    def visit(level: Network) -> None:
        sizes.update({i: s for i, s in level.sizes.items() if i not in sizes})
        # An index that ends at one node of its level and is not kept is summed there, even if several leaves inside
        # an Elementwise carry it.
        summed.update(i for i, names in level.edges.items() if len(names) == 1 and i not in level.output)
        for body in _bodies(level):
            visit(body)

    visit(net)
    ends: dict[str, tuple[str, ...]] = {i: () for i in sizes}
    for leaf in net.leaves:
        for i in leaf.inds:
            ends[i] += (leaf.name,)
    return [_Wire(i, sizes[i], ends[i], i in net.output, i in summed) for i in sizes]


# -- layout -----------------------------------------------------------------------------------------------------------
def layout(net: Network) -> dict[str, tuple[float, float]]:
    """Place every leaf of a network, nested ones included.

    The shape follows from the structure: names that end in two numbers (``brick_{layer}_{site}``) are coordinates, a
    path is a line, a cycle a ring, a star or a tree hangs from its centre, anything else is a spring layout; in a
    nonlinear network without coordinates each box stands below what is outside it.

    Parameters
    ----------
    net
        Any network.

    Returns
    -------
    dict
        Leaf name -> (x, y), neighbours about 1 apart; the same network gives the same places.
    """
    return {v: (at.real, at.imag) for v, (at, _) in _spots(net, _wires(net)).items() if isinstance(v, str)}


def _spots(net: Network, wires: Sequence[_Wire]) -> Spots:
    names = [leaf.name for leaf in net.leaves]
    return _grid(names, _graph(names, wires), wires) or _stack(net, wires)


def _graph(names: Iterable[str], wires: Iterable[_Wire]) -> Any:
    """Leaves that share an index; hyperedges join them as vertices where the plain edges leave them apart."""
    graph = nx.Graph()
    graph.add_nodes_from(names)
    hyper = []
    for wire in wires:
        ends = sorted({leaf for leaf in wire.leaves if leaf in graph})
        if len(ends) == 2:
            graph.add_edge(*ends)
        elif len(ends) > 2:
            hyper.append((wire.ind, ends))
    if not nx.is_connected(graph):
        graph.add_edges_from(((ind,), leaf) for ind, ends in hyper for leaf in ends)
    return graph


def _stack(net: Network, wires: Sequence[_Wire]) -> Spots:
    """Every Elementwise node's leaves apart from the others, so that boxes hold only what is theirs."""
    below = _beside([_stack(body, wires) for body in _bodies(net)], gap=1.9)
    own = [node.name for node in net.nodes if isinstance(node, Node)]
    if not own:
        return below
    graph = _graph(own, wires)
    order = {name: k for k, name in enumerate(own)}
    parts = sorted(nx.connected_components(graph), key=lambda part: min(order.get(v, len(order)) for v in part))
    above = _beside([_shape(graph.subgraph(part), order, wires) for part in parts], gap=1.3)
    if not below:
        return above
    lift = 1j * (max(at.imag for at, _ in below.values()) + 1.4 - min(at.imag for at, _ in above.values()))
    return below | {v: (at + lift, UP if aim == DOWN else aim) for v, (at, aim) in above.items()}


def _beside(parts: Sequence[Spots], gap: float) -> Spots:
    """Parts from left to right, centred on the origin."""
    out: Spots = {}
    cursor = 0.0
    for part in parts:
        xs, ys = [at.real for at, _ in part.values()], [at.imag for at, _ in part.values()]
        move = complex(cursor - min(xs), -(min(ys) + max(ys)) / 2)
        out.update({v: (at + move, aim) for v, (at, aim) in part.items()})
        cursor += max(xs) - min(xs) + gap
    return {v: (at - (cursor - gap) / 2, aim) for v, (at, aim) in out.items()}


def _shape(graph: Any, order: dict[str, int], wires: Sequence[_Wire]) -> Spots:
    """One connected piece: a line, a ring, a star, a tree, or else springs."""
    rank: Callable[[Vertex], int] = lambda v: order.get(v, len(order)) if isinstance(v, str) else len(order)  # noqa: E731
    n, degrees = len(graph), dict(graph.degree)
    tree, levels = nx.is_tree(graph), {v: y for v, (_, y, _) in _numbers(graph).items()}
    if tree and n == len(levels) > 2:  # node_{level}_{k}
        return _hierarchy(graph, max(graph, key=lambda v: (levels[v], -rank(v))), rank)
    if tree and max(degrees.values()) <= 2:
        ends = sorted((v for v in graph if degrees[v] <= 1), key=rank)
        line = list(nx.dfs_preorder_nodes(graph, ends[0]))
        legs = {v: sum(w.open and w.leaves == (v,) for w in wires) for v in line}
        aim = BOTH if all(count == 2 for count in legs.values()) else DOWN
        return {v: (complex(1.1 * k), aim) for k, v in enumerate(line)}
    hubs = [v for v in graph if degrees[v] == n - 1]
    if tree and hubs:
        return _star(hubs[0], sorted((v for v in graph if v != hubs[0]), key=rank))
    if tree:
        return _hierarchy(graph, min(nx.center(graph), key=rank), rank)
    if n > 3 and set(degrees.values()) == {2}:
        start = min(graph, key=rank)
        ring = list(nx.dfs_preorder_nodes(graph, start, sort_neighbors=lambda vs: sorted(vs, key=rank)))
        turn = [cmath.rect(1, pi / 2 + pi / n - 2 * pi * k / n) for k in range(n)]
        return {v: (max(0.8, 1.15 * n / (2 * pi)) * t, t) for v, t in zip(ring, turn, strict=True)}
    return _springs(graph, rank)


def _star(hub: Vertex, rays: list[Vertex]) -> Spots:
    n = len(rays)
    if isinstance(hub, tuple):  # CP: the factors in a row under the index they share
        row: Spots = {v: (complex(k), DOWN) for k, v in enumerate(rays)}
        return row | {hub: (complex((n - 1) / 2, 0.9 + 0.05 * n), UP)}
    turn = [cmath.rect(1, pi / 2 + pi / n - 2 * pi * k / n) for k in range(n)]
    return {hub: (0j, UP)} | {v: (max(1.15, 1.1 * n / (2 * pi)) * t, t) for v, t in zip(rays, turn, strict=True)}


def _hierarchy(graph: Any, root: Vertex, rank: Callable[[Vertex], int]) -> Spots:
    """The root on top, each parent over the middle of its children, leaves one apart."""
    parent = dict(nx.dfs_predecessors(graph, root))
    depth = nx.single_source_shortest_path_length(graph, root)
    xs: dict[Vertex, float] = {}
    column = 0.0
    for v in nx.dfs_postorder_nodes(graph, root, sort_neighbors=lambda vs: sorted(vs, key=rank)):
        below = [xs[c] for c in graph[v] if parent.get(c) == v]
        if not below:
            column += 1
        xs[v] = sum(below) / len(below) if below else column
    return {v: (complex(xs[v], -1.1 * depth[v]), DOWN if v != root else UP) for v in xs}


def _springs(graph: Any, rank: Callable[[Vertex], int]) -> Spots:
    ordered = nx.Graph()  # subgraph views iterate over a set, in an order that differs from run to run
    ordered.add_nodes_from(sorted(graph, key=lambda v: (rank(v), str(v))))
    ordered.add_edges_from(sorted(graph.edges, key=str))
    at = {v: complex(*xy) for v, xy in nx.kamada_kawai_layout(ordered).items()}
    middle = sum(at.values()) / len(at)
    apart = min(abs(p - q) for v, p in at.items() for w, q in at.items() if v != w)
    scale = 1.05 / max(apart, 0.02)
    return {v: (scale * (p - middle), (p - middle) / abs(p - middle) if p != middle else DOWN) for v, p in at.items()}


def _numbers(names: Iterable[Vertex]) -> dict[str, tuple[str, int, int]]:
    """Name -> (prefix, row, column), of the names that end in two numbers."""
    found = {n: m for n in names if isinstance(n, str) and (m := re.fullmatch(r"(.*?)_?(\d+)_(\d+)", n))}
    return {n: (m[1], int(m[2]), int(m[3])) for n, m in found.items()}


def _grid(names: Sequence[str], graph: Any, wires: Sequence[_Wire]) -> Spots | None:
    """Rows and columns read from names; None where too few names have them, or they number the levels of a tree."""
    found = _numbers(names)
    if 4 * len(found) < len(names) or len(found) < 2:
        return None
    prefixes = list(dict.fromkeys(prefix for prefix, _, _ in found.values()))
    clash = len({yx[1:] for yx in found.values()}) < len(found)
    row = {n: (y, prefixes.index(prefix) if clash else 0) for n, (prefix, y, _) in found.items()}
    columns = {key: sorted(found[n][2] for n in found if row[n] == key) for key in sorted(set(row.values()))}
    steps = {key: min((b - a for a, b in zip(xs, xs[1:], strict=False)), default=0) for key, xs in columns.items()}
    flat = any(row[n] == row[m] for n, m in graph.edges if n in row and m in row)
    if 0 in [step for key, step in steps.items() if len(columns[key]) > 1] or (
        nx.is_forest(graph) and not flat and 1 in steps.values()
    ):
        return None
    # A brick that is named by its leftmost site stands in the middle of the sites that it covers.
    widest = max(steps.values())
    at: dict[str, complex] = {}
    for height, key in enumerate(columns):
        for n in (n for n in found if row[n] == key):
            under = [at[m].real for m in graph[n] if m in at and at[m].imag < height]
            middle = sum(under) / len(under) if widest > 2 and not steps[key] and under else None
            at[n] = complex(found[n][2] + (steps[key] or min(2, widest) or 1) / 2 - 0.5 if middle is None else middle, height)
    _add_unplaced(at, names, graph)
    if len(set(at.values())) < len(names):
        return None
    legs = {leaf for wire in wires if wire.open for leaf in wire.leaves}
    top = max(z.imag for z in at.values())
    if flat and legs >= set(names):  # a lattice with a leg a site: all legs point alike, out of the plane
        return {n: (z, cmath.rect(1, -pi / 4)) for n, z in at.items()}
    usual = UP if any(at[n].imag == top for n in legs) else DOWN
    return {n: (z, _free_side(z, [at[m] for m in graph[n] if m in at], usual)) for n, z in at.items()}


def _free_side(z: complex, others: Sequence[complex], usual: complex) -> complex:
    above, below = any(o.imag > z.imag for o in others), any(o.imag < z.imag for o in others)
    return usual if above == below else DOWN if above else UP


def _add_unplaced(at: dict[str, complex], names: Sequence[str], graph: Any) -> None:
    """``start_3`` in column 3 below or above what it touches; other names beside it, or under it if they span it."""
    low, high = min(z.imag for z in at.values()), max(z.imag for z in at.values())
    right, grid = max(z.real for z in at.values()), dict(at)
    shelf: dict[tuple[str, bool], float] = {}
    for name in names:
        if name in grid:
            continue
        near = [grid[m] for m in graph[name] if m in grid]
        up = bool(near) and sum(z.imag for z in near) / len(near) > (low + high) / 2
        one = re.fullmatch(r"(.*?)_?(\d+)", name)
        key = (one[1] if one else name, up)
        level = len({k for k in shelf if k[1] == up})
        if one or len(near) > 1:
            y = shelf.setdefault(key, high + 1.1 + level if up else low - 1.1 - level)
            at[name] = complex(int(one[2]) if one else sum(z.real for z in near) / len(near), y)
        else:
            right += 1.5
            at[name] = complex(right, near[0].imag if near else (low + high) / 2)


# -- wires ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Route:
    """A curve between two vertices: a quadratic Bezier curve, straight where nothing is in the way."""

    wire: _Wire
    ends: tuple[Vertex, Vertex]
    start: complex
    control: complex
    stop: complex

    def at(self, t: float) -> complex:
        """The point at ``t`` in [0, 1]."""
        return (1 - t) ** 2 * self.start + 2 * t * (1 - t) * self.control + t * t * self.stop

    def clearance(self, centres: Any) -> float:
        """Distance from the curve to the nearest of ``centres``."""
        points = np.array([self.at(t) for t in np.linspace(0.1, 0.9, 9)])
        return float(abs(points[:, None] - centres).min()) if centres.size else 9.0


def _bent(wire: _Wire, ends: tuple[Vertex, Vertex], spots: Spots, bend: float) -> _Route:
    a, b = spots[ends[0]][0], spots[ends[1]][0]
    normal = (b - a) * 1j / abs(b - a)
    return _Route(wire, ends, a, (a + b) / 2 + 2 * bend * normal, b)


def _add_dots(spots: Spots, wires: Sequence[_Wire]) -> None:
    """Places for the hyperedges that the layout gave none: near the middle of their nodes, away from everything."""
    for wire in (w for w in wires if w.kind == "dot" and (w.ind,) not in spots):
        leaves = sorted(set(wire.leaves))
        middle = sum(spots[leaf][0] for leaf in leaves) / len(leaves)
        centres = {v: at for v, (at, _) in spots.items()}
        tries = [middle + r * cmath.rect(1, pi / 2 - pi * k / 4) for r in (0, 0.5, 0.8, 1.1, 1.5) for k in range(8 if r else 1)]

        def room(at: complex, leaves: list[str] = leaves, centres: dict[Vertex, complex] = centres) -> float:
            if min(abs(at - z) for z in centres.values()) < 0.4:
                return 0.0
            lines = [(at + t * (centres[v] - at), v) for v in leaves for t in np.linspace(0, 0.9, 7)]
            return min(0.3, *(abs(p - z) for p, v in lines for w, z in centres.items() if w != v), 0.3)

        best = max(tries, key=room)  # the first of equals: as near the middle as can be
        spots[(wire.ind,)] = (best, UP if best == middle else (best - middle) / abs(best - middle))


def _routes(spots: Spots, wires: Sequence[_Wire]) -> list[_Route]:
    """Every edge and every line to a dot; parallel ones side by side, all around the nodes in their way."""
    groups: dict[tuple[Vertex, Vertex], list[_Wire]] = {}
    for wire in wires:
        if wire.kind == "edge":
            groups.setdefault((min(wire.leaves), max(wire.leaves)), []).append(wire)
        for leaf in wire.leaves if wire.kind == "dot" else ():
            groups.setdefault((leaf, (wire.ind,)), []).append(wire)
    routes = []
    for ends, group in groups.items():
        others = np.array([at for v, (at, _) in spots.items() if v not in ends])
        for shift in (0, 0.4, -0.4, 0.7, -0.7, 1.0, -1.0, 1.5, -1.5):
            bends = [shift + 0.22 * (k - (len(group) - 1) / 2) for k in range(len(group))]
            tried = [_bent(wire, ends, spots, bend) for wire, bend in zip(group, bends, strict=True)]
            if shift == 0:
                straight = tried
            if min(route.clearance(others) for route in tried) > RADIUS + 0.04:
                break
        else:
            tried = straight
        routes += tried
    return routes


def _legs(spots: Spots, wires: Sequence[_Wire], routes: Sequence[_Route]) -> dict[str, tuple[Vertex, complex]]:
    """Index -> (vertex, direction) of every stub and trace, in the free room around its vertex."""
    taken: dict[Vertex, list[complex]] = {v: [] for v in spots}
    for route in routes:
        for v, away in zip(route.ends, (route.control - route.start, route.control - route.stop), strict=True):
            taken[v].append(away / abs(away))
    hosts: dict[Vertex, list[str]] = {}
    for wire in wires:
        if wire.kind == "dot" and (wire.open or wire.summed):
            hosts[(wire.ind,)] = [wire.ind]
    legs: dict[str, tuple[Vertex, complex]] = {}
    for kind in ("stub", "trace"):
        for wire in (w for w in wires if w.kind == kind):
            hosts.setdefault(wire.leaves[0], []).append(wire.ind)
        for v, inds in hosts.items():
            aim = spots[v][1]
            parts = [(inds[:1], UP), (inds[1:], DOWN)] if aim == BOTH else [(inds, aim)]
            for part, to in parts:
                chosen = _fan(to, len(part), taken[v])
                taken[v] += chosen
                legs.update({ind: (v, way) for ind, way in zip(part, chosen, strict=True)})
        hosts = {}
    return legs


def _fan(aim: complex, k: int, taken: Sequence[complex]) -> list[complex]:
    """Directions of ``k`` legs, left to right, as near ``aim`` as leaves room to what is taken."""
    spread = min(38.0, 160.0 / k) * pi / 180
    fan = [cmath.rect(1, spread * ((k - 1) / 2 - j)) for j in range(k)]

    def score(turn: int) -> float:
        ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
        gap = min((abs(cmath.phase(w / t)) for w in ways for t in taken), default=pi)
        return min(gap, 0.7) - 0.1 * abs(turn) * pi / 12

    turn = max((sign * m for m in range(12) for sign in (1, -1)), key=score)
    ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
    return sorted(ways, key=lambda w: round(w.real, 6))

"""Pictures of networks and plans, drawn as in the literature: nodes, bonds, open legs, boxes around nonlinearities.

A nested network is flattened: its leaves are placed (:func:`layout`), every index becomes a wire between them, and an
Elementwise node is a box behind its leaves.  matplotlib is imported only here and only when something is drawn.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
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
BLUE, GREY, DIM = "#9ecae1", "#d9d9d9", "#555555"
HALO = {"fc": "white", "ec": "none", "alpha": 0.6, "pad": 0.2}
TIED = ("#fdae6b", "#a1d99b", "#bcbddc", "#fc9272", "#dfc27d", "#80cdc1", "#fa9fb5", "#c7e9b4")
UP, DOWN, BOTH = 1j, -1j, 0j  # where legs point; BOTH: the first up, the others down, as operators are drawn

Rank = Callable[[Vertex], tuple[int, str]]
Rim = tuple[float, float, float, float]  #: left, bottom, right, top
Box = tuple[str, str, Rim, int]  #: an Elementwise node's name, its function's, where it is, how deeply it nests


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
    grid = _grid(names, _graph(names, wires), wires)
    return grid if grid and _apart(net, grid, _boxes(net, grid)) else _stack(net, wires)


def _apart(net: Network, spots: Spots, boxes: Sequence[Box]) -> bool:
    """Whether every box has only its own leaves in it."""
    rims = {name: rim for name, _, rim, _ in boxes}
    for node in (n for n in net.nodes if isinstance(n, Elementwise)):
        own = {leaf.name for body in node.bodies for leaf in body.leaves}
        left, bottom, right, top = rims[node.name]
        inside = {v for v, (z, _) in spots.items() if left < z.real < right and bottom < z.imag < top}
        if inside - own or not all(_apart(body, spots, boxes) for body in node.bodies):
            return False
    return True


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
    below = _beside([_spots(body, wires) for body in _bodies(net)], gap=1.9)
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

    def rank(v: Vertex) -> tuple[int, str]:
        return (order[v], v) if isinstance(v, str) else (len(order), v[0])

    n, degrees = len(graph), dict(graph.degree)
    tree, levels = nx.is_tree(graph), {v: y for v, (_, y, _) in _numbers(graph).items()}
    legs = {v: sum(w.open and w.leaves == (v,) for w in wires) for v in graph}
    if tree and n == len(levels) > 2:  # node_{level}_{k}
        return _hierarchy(graph, min(graph, key=lambda v: (-levels[v], rank(v))), rank, legs)
    if tree and max(degrees.values()) <= 2:
        ends = sorted((v for v in graph if degrees[v] <= 1), key=rank)
        line = list(nx.dfs_preorder_nodes(graph, ends[0]))
        aim = BOTH if all(legs[v] == 2 for v in line) else DOWN
        return {v: (complex(1.1 * k), aim) for k, v in enumerate(line)}
    hubs = [v for v in graph if degrees[v] == n - 1]
    if tree and hubs:
        return _star(hubs[0], sorted((v for v in graph if v != hubs[0]), key=rank))
    if tree:
        return _hierarchy(graph, min(nx.center(graph), key=rank), rank, legs)
    if set(degrees.values()) == {2}:
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


def _hierarchy(graph: Any, root: Vertex, rank: Rank, legs: dict[Vertex, int]) -> Spots:
    """The root on top, each parent over the middle of its children, leaves as far apart as their legs need."""
    parent = dict(nx.dfs_predecessors(graph, root))
    depth = nx.single_source_shortest_path_length(graph, root)
    xs: dict[Vertex, float] = {}
    column = 0.0
    for v in nx.dfs_postorder_nodes(graph, root, sort_neighbors=lambda vs: sorted(vs, key=rank)):
        below = [xs[c] for c in graph[v] if parent.get(c) == v]
        width = 0.0 if below else max(1.0, 0.5 * legs[v])
        xs[v] = sum(below) / len(below) if below else column + width / 2
        column += width
    return {v: (complex(xs[v], -1.1 * depth[v]), DOWN if v != root else UP) for v in xs}


def _springs(graph: Any, rank: Rank) -> Spots:
    ordered = nx.Graph()  # subgraph views iterate over a set, in an order that differs from run to run
    ordered.add_nodes_from(sorted(graph, key=rank))
    ordered.add_edges_from(sorted(graph.edges, key=str))
    at = {v: complex(*xy) for v, xy in nx.kamada_kawai_layout(ordered).items()}
    middle = sum(at.values()) / len(at)
    scale = 1.05 / max(_closest(at.values()), 0.02)
    return {v: (scale * (p - middle), (p - middle) / abs(p - middle) if p != middle else DOWN) for v, p in at.items()}


def _closest(points: Iterable[complex]) -> float:
    at = np.array(list(points))
    return float((abs(at[:, None] - at) + 1e9 * np.eye(len(at))).min())


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
    steps = {key: min((b - a for a, b in pairwise(xs)), default=0) for key, xs in columns.items()}
    flat = any(row[n] == row[m] for n, m in graph.edges if n in row and m in row)
    crowded = any(steps[key] == 0 for key, xs in columns.items() if len(xs) > 1)
    if crowded or (nx.is_forest(graph) and not flat and 1 in steps.values()):
        return None
    # A brick that is named by its leftmost site stands in the middle of the sites that it covers.
    widest = max(steps.values())
    at: dict[str, complex] = {}
    for height, key in enumerate(columns):
        for n in (n for n in found if row[n] == key):
            under = [at[m].real for m in graph[n] if m in at and at[m].imag < height]
            x = found[n][2] + (steps[key] or min(2, widest) or 1) / 2 - 0.5
            coarse = widest > 2 and not steps[key] and under  # the top of a MERA: over all that is below
            at[n] = complex(sum(under) / len(under) if coarse else x, height)
    _add_unplaced(at, names, graph)
    if _closest(at.values()) < 2.2 * RADIUS:
        return None
    legs = {leaf for wire in wires if wire.open for leaf in wire.leaves}
    top = max(z.imag for z in at.values())
    if flat and legs >= set(names):  # a lattice with a leg a site: all legs point alike, out of the plane
        return {n: (1.5 * z, cmath.rect(1, -pi / 4)) for n, z in at.items()}
    usual = UP if any(at[n].imag == top for n in legs & at.keys()) else DOWN
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
        column = complex(int(one[2]), near[0].imag + (1 if up else -1)) if one and len(near) == 1 else None
        if column is not None and all(abs(column - z) > 0.9 for z in at.values()):
            at[name] = column
        elif one or len(near) > 1:
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
    cut: complex = 0j

    @property
    def away(self) -> tuple[complex, complex]:
        """Directions in which it leaves its ends."""
        return (self.cut, -self.cut) if self.cut else (self.control - self.start, self.control - self.stop)

    @property
    def pieces(self) -> list[list[complex]]:
        """Control points of what is drawn: one curve, or two stumps of an edge that goes around a periodic lattice."""
        if self.cut:
            return [[self.start, self.start + self.cut], [self.stop, self.stop - self.cut]]
        return [[self.start, self.control, self.stop]]

    def at(self, t: float) -> complex:
        """The point at ``t`` in [0, 1]."""
        if self.cut:
            return self.start + 2 * t * self.cut if t < 0.5 else self.stop - 2 * (1 - t) * self.cut
        return (1 - t) ** 2 * self.start + 2 * t * (1 - t) * self.control + t * t * self.stop

    def clearance(self, centres: Any) -> float:
        """Distance from the curve to the nearest of ``centres``."""
        points = np.array([self.at(t) for t in np.linspace(0.05, 0.95, 25)])
        return float(abs(points[:, None] - centres).min()) if centres.size else 9.0


def _bent(wire: _Wire, ends: tuple[Vertex, Vertex], spots: Spots, bend: float) -> _Route:
    a, b = spots[ends[0]][0], spots[ends[1]][0]
    normal = (b - a) * 1j / abs(b - a)
    return _Route(wire, ends, a, (a + b) / 2 + 2 * bend * normal, b)


def _around(ends: tuple[Vertex, Vertex], spots: Spots) -> complex:
    """The stump of an edge between opposite sides of a grid, which goes around its back; 0 for any other edge."""
    across = spots[ends[1]][0] - spots[ends[0]][0]
    xs = [at.real for at, _ in spots.values()]
    if len(_numbers(ends)) < 2 or abs(across.real) < max(3.5, 0.6 * (max(xs) - min(xs))) or abs(across.imag) > 1.5:
        return 0j
    return complex(-0.6 if across.real > 0 else 0.6, across.imag / 2)


def _add_dots(spots: Spots, wires: Sequence[_Wire]) -> None:
    """Places for the hyperedges that the layout gave none: near the middle of their nodes, away from everything."""
    ring = [r * cmath.rect(1, pi / 2 - pi * k / 4) for r in (0.5, 0.8, 1.1, 1.5) for k in range(8)]
    for wire in (w for w in wires if w.kind == "dot" and (w.ind,) not in spots):
        centres = {v: at for v, (at, _) in spots.items()}
        ends = sorted(set(wire.leaves))
        middle = sum(centres[v] for v in ends) / len(ends)
        rooms = [_dot_room(middle + z, ends, centres) for z in (0j, *ring)]
        best = (0j, *ring)[rooms.index(max(rooms))]  # the first of equals: as near the middle as can be
        spots[(wire.ind,)] = (middle + best, best / abs(best) if best else UP)


def _dot_room(at: complex, ends: Sequence[str], centres: dict[Vertex, complex]) -> float:
    """How far a dot's lines to its nodes keep from other nodes, 0.3 at most; 0 where the dot is too near to one."""
    if min(abs(at - z) for z in centres.values()) < 0.4:
        return 0.0
    lines = [(v, at + t * (centres[v] - at)) for v in ends for t in np.linspace(0, 0.9, 7)]
    return float(min([0.3, *(abs(p - z) for v, p in lines for w, z in centres.items() if w != v)]))


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
        if cut := _around(ends, spots):
            routes += [replace(_bent(wire, ends, spots, 0), cut=cut) for wire in group]
            continue
        stretch = max(1.0, abs(spots[ends[0]][0] - spots[ends[1]][0]) / 4)
        best: tuple[float, list[_Route]] = (-1.0, [])
        for shift in (0, 0.4, -0.4, 0.7, -0.7, 1.0, -1.0, 1.5, -1.5):
            bends = [shift * stretch + 0.22 * (k - (len(group) - 1) / 2) for k in range(len(group))]
            tried = [_bent(wire, ends, spots, bend) for wire, bend in zip(group, bends, strict=True)]
            room = min(RADIUS + 0.05, *(r.clearance(others) for r in tried), 9.0)
            if room > best[0]:
                best = (room, tried)
        routes += best[1]
    return routes


def _legs(spots: Spots, wires: Sequence[_Wire], routes: Sequence[_Route]) -> dict[str, tuple[Vertex, complex]]:
    """Index -> (vertex, direction) of every stub and trace, in the free room around its vertex."""
    taken: dict[Vertex, list[complex]] = {v: [] for v in spots}
    for route in routes:
        for v, away in zip(route.ends, route.away, strict=True):
            taken[v].append(away / abs(away))
    points = [route.at(t) for route in routes for t in np.linspace(0, 1, 12)] + [at for at, _ in spots.values()]
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
                chosen = _fan(to, len(part), taken[v], np.array(points) - spots[v][0])
                taken[v] += chosen
                legs.update({ind: (v, way) for ind, way in zip(part, chosen, strict=True)})
        hosts = {}
    return legs


def _fan(aim: complex, k: int, taken: Sequence[complex], others: Any) -> list[complex]:
    """Directions of ``k`` legs, left to right, as near ``aim`` as leaves room to what is taken and to other points."""
    spread = min(38.0, 160.0 / k) * pi / 180
    fan = [cmath.rect(1, spread * ((k - 1) / 2 - j)) for j in range(k)]

    def score(turn: int) -> float:
        ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
        gap = min((abs(cmath.phase(w / t)) for w in ways for t in taken), default=pi)
        near = min(float(abs(others - 1.15 * LEG * w).min()) for w in ways)
        return min(gap, 0.7) + min(near, 0.35) - 0.1 * abs(turn) * pi / 12

    turn = max((sign * m for m in range(12) for sign in (1, -1)), key=score)
    ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
    return sorted(ways, key=lambda w: round(w.real, 6))


# -- the order of a plan ----------------------------------------------------------------------------------------------
def _pairs(plan: Plan) -> list[tuple[set[str], set[str]]]:
    """The leaves on both sides of every contraction, in order; read from the paths, as tied nodes share a slot."""
    paths = iter(plan.paths)
    pairs: list[tuple[set[str], set[str]]] = []

    def visit(net: Network) -> set[str]:
        live = [{n.name} if isinstance(n, Node) else set().union(*map(visit, n.bodies)) for n in net.nodes]
        for pair in next(paths):
            if len(pair) == 2:
                a, b = live[pair[0]], live[pair[1]]
                pairs.append((a, b))
                live = [group for k, group in enumerate(live) if k not in pair] + [a | b]
        return set().union(*live)

    visit(plan.network)
    return pairs


def _numbered(pairs: Sequence[tuple[set[str], set[str]]], spots: Spots, routes: Sequence[_Route]) -> list[complex]:
    """Where each contraction's number goes: on an index that the pair shares, else between the two groups."""
    placed: list[complex] = []
    nodes = [at for at, _ in spots.values()]
    for a, b in pairs:
        joins = [r for r in routes if not a.isdisjoint(r.wire.leaves) and not b.isdisjoint(r.wire.leaves)]
        tries = [r.at(0.5) for r in joins if r.wire.kind == "edge"]
        if len(tries) < len(joins):  # a hyperedge: between the groups' nearest nodes, or on a line of the smaller group
            near = min(
                ((spots[u][0], spots[v][0]) for u in sorted(a) for v in sorted(b)),
                key=lambda z: round(abs(z[0] - z[1]), 6),
            )
            tries += [sum(near) / 2] if abs(near[0] - near[1]) < 1.2 else []
            tries += [r.at(0.55) for r in joins if r.wire.kind == "dot" and r.ends[0] in min(a, b, key=len)]
        between = sum(sum(spots[v][0] for v in sorted(group)) / len(group) for group in (a, b)) / 2
        tries += [between + r * cmath.rect(1, k * pi / 4) for r in (0, 0.45, 0.8, 1.2, 1.6) for k in range(8)]
        free = (z for z in tries if all(abs(z - p) > 0.3 for p in placed) and all(abs(z - p) > 0.4 for p in nodes))
        placed.append(next(free, tries[0]))
    return placed


# -- the drawing ------------------------------------------------------------------------------------------------------
def _matplotlib() -> Any:
    try:
        import matplotlib.figure
        import matplotlib.patches
        import matplotlib.path
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install tnkit[plot]") from error
    return matplotlib


class _Pen:
    """An Axes, the points that one unit of length has on it, and whether names are written."""

    def __init__(self, ax: Any, unit: float, labels: bool) -> None:
        self.ax, self.unit, self.labels = ax, unit, labels
        self.mpl = _matplotlib()

    def text(self, at: complex, text: str, size: float, gid: str, **style: Any) -> None:
        """Text whose size follows the drawing's scale, within what can be read."""
        size = max(3.5, min(11.0, size * self.unit / 72))
        style = {"ha": "center", "va": "center", "zorder": 8, **style}
        self.ax.text(at.real, at.imag, text, fontsize=size, gid=gid, parse_math=False, **style)

    def curve(self, points: Sequence[complex], size: int, gid: str) -> None:
        """A line, or a Bezier curve of second or third order; its width grows with the logarithm of the bond."""
        path = self.mpl.path.Path
        codes = [path.MOVETO] + [(path.LINETO, path.CURVE3, path.CURVE4)[len(points) - 2]] * (len(points) - 1)
        width = min(6.0, 0.7 + 0.65 * log2(size)) * max(0.4, min(1.3, self.unit / 72))
        shape = path([(z.real, z.imag) for z in points], codes)
        style = {"fill": False, "ec": "#444444", "lw": width, "capstyle": "round"}
        self.ax.add_patch(self.mpl.patches.PathPatch(shape, gid=gid, zorder=3, **style))

    def circle(self, at: complex, radius: float, color: str, gid: str, zorder: float) -> None:
        """A filled circle."""
        edge = {"ec": "#333333", "lw": 0.9 * min(1.3, self.unit / 72)}
        self.ax.add_patch(self.mpl.patches.Circle((at.real, at.imag), radius, fc=color, gid=gid, zorder=zorder, **edge))


def _boxes(net: Network, spots: Spots) -> list[Box]:
    """The box of every Elementwise node, inner ones first, each a little wider than what is in it."""
    found = []

    def visit(level: Network) -> list[tuple[float, float, float, float, int]]:
        rims = []
        for node in level.nodes:
            if isinstance(node, Node):
                z = spots[node.name][0]
                rims.append((z.real - 0.32, z.imag - 0.32, z.real + 0.32, z.imag + 0.32, 0))
            else:
                inner = [rim for body in node.bodies for rim in visit(body)]
                left, bottom, right, top = (f(rim[k] for rim in inner) for k, f in enumerate((min, min, max, max)))
                height = max(rim[4] for rim in inner) + 1
                box = (left - 0.1, bottom - 0.1, right + 0.1, top + 0.1)
                fn = node.fn if isinstance(node.fn, str) else getattr(node.fn, "__name__", "fn")
                found.append((node.name, fn, box, height))
                rims.append((*box, height))
        return rims

    visit(net)
    return found


def _draw_boxes(pen: _Pen, boxes: Sequence[Box]) -> None:
    for name, fn, (left, bottom, right, top), height in boxes:
        shape = pen.mpl.patches.FancyBboxPatch(
            (left, bottom), right - left, top - bottom, boxstyle="round,pad=0,rounding_size=0.2", gid=f"box:{name}",
            fc="#fff7e6" if height % 2 else "#fdebc8", ec="#d08700", lw=0.8, zorder=1 - 0.5 * height / (height + 1),
        )  # fmt: skip
        pen.ax.add_patch(shape)
        tag = {"fc": "#fff7e6", "ec": "#d08700", "lw": 0.5, "boxstyle": "round,pad=0.2"}
        pen.text(complex(right - 0.12, top), fn, 8, f"fn:{name}", color="#8a5a00", ha="right", zorder=7, bbox=tag)


def _beside_line(route: _Route, busy: Sequence[complex], lines: Sequence[complex]) -> complex:
    """Where an edge's name stands: beside its middle, or further along if that is taken by names, nodes or lines."""
    along = route.stop - route.start
    side = along * 1j / abs(along)
    bow = route.control - (route.start + route.stop) / 2
    if abs(bow) > 1e-9:  # outside of the curve, so that parallel edges keep their names apart
        side = bow / abs(bow)
    elif (round(side.imag, 6), side.real) < (0, 0):
        side = -side
    offset = (0.15 + 0.028 * len(route.wire.ind) * abs(side.real)) * side
    tries = [route.at(t) + sign * offset for t in (0.5, 0.4, 0.6, 0.32, 0.68) for sign in (1, -1)]

    def room(at: complex) -> float:
        apart = min((abs(at - z) for z in busy), default=1.0)
        return min(apart, 0.34) + min(0.15, *(abs(at - z) for z in lines), 0.15)

    return max(tries, key=lambda at: round(room(at), 3))


def _draw_edges(pen: _Pen, spots: Spots, routes: Sequence[_Route]) -> None:
    """Edges and the hyperedges' lines and dots; names where there are few enough."""
    named = pen.labels and len(routes) <= 25
    busy = [at for at, _ in spots.values()]
    for k, route in enumerate(routes):
        ind, dot = route.wire.ind, route.wire.kind == "dot"
        for points, gid in zip(route.pieces, (f"line:{ind}:{k}" if dot else f"edge:{ind}", f"cut:{ind}"), strict=False):
            pen.curve(points, route.wire.size, gid)
            if route.cut and pen.labels:  # the stumps say where they go on, however many edges there are
                out = points[1] - points[0]
                side = "left" if out.real > 0 else "right"
                pen.text(points[1] + 0.06 * out, ind, 7, f"label:{ind}", color=DIM, ha=side)
        if named and not dot and not route.cut:
            lines = [r.at(t) for r in routes if r is not route for t in np.linspace(0.1, 0.9, 17)]
            busy.append(_beside_line(route, busy, lines))
            pen.text(busy[-1], ind, 7, f"label:{ind}", color=DIM, bbox=HALO)
    for wire in {route.wire.ind: route.wire for route in routes if route.wire.kind == "dot"}.values():
        at = spots[(wire.ind,)][0]
        pen.circle(at, 0.07, "black", f"dot:{wire.ind}", 6)
        if named and not wire.open:  # an open one is named at its free end
            pen.text(at + 0.15, wire.ind, 7, f"label:{wire.ind}", color=DIM, ha="left", va="bottom")


def _draw_legs(pen: _Pen, spots: Spots, wires: Sequence[_Wire], legs: dict[str, tuple[Vertex, complex]]) -> None:
    """Open ends, sums over a lone index, and traces."""
    named = pen.labels and len(legs) <= 60
    for wire in (w for w in wires if w.ind in legs):
        v, way = legs[wire.ind]
        at, color, text = spots[v][0], DIM, wire.ind
        end = at + (LEG if isinstance(v, str) else 0.42) * way
        if wire.kind == "trace":
            ears = [at + 0.95 * way * cmath.rect(1, side) for side in (0.6, -0.6)]
            pen.curve([at, *ears, at], wire.size, f"trace:{wire.ind}")
        elif wire.open:
            pen.curve([at, end], wire.size, f"open:{wire.ind}")
            color, text = "#b03030", f"{wire.ind}:{wire.size}"
        else:  # the leg ends in a dot: a vector of ones
            pen.curve([at, end], wire.size, f"sum:{wire.ind}")
            pen.circle(end, 0.05, "black", f"ones:{wire.ind}", 6)
        if named:
            aside = abs(way.real) > 0.4
            style = {"ha": "center" if not aside else "left" if way.real > 0 else "right", "color": color}
            pen.text(end + 0.11 * way - (0.06 * way.real if aside else 0), text, 7, f"label:{wire.ind}", **style)


def _draw_nodes(pen: _Pen, net: Network, spots: Spots) -> None:
    arrays = [leaf.array for leaf in net.leaves if not leaf.fixed]
    tied = list(dict.fromkeys(a for a in arrays if arrays.count(a) > 1))
    for leaf in net.leaves:
        at = spots[leaf.name][0]
        color = GREY if leaf.fixed else TIED[tied.index(leaf.array) % len(TIED)] if leaf.array in tied else BLUE
        pen.circle(at, RADIUS, color, f"node:{leaf.name}", 5)
        if pen.labels and len(net.leaves) <= 40:
            head, _, tail = leaf.name.partition("_")
            text = f"{head}\n{tail.replace('_', ',')}" if tail and len(leaf.name) > 4 else leaf.name
            longest = max(map(len, text.split("\n")))
            pen.text(at, text, max(5.5, min(9.0, 52 / longest)), f"name:{leaf.name}", linespacing=0.95)


def draw(net_or_plan: Network | Plan, ax: Any = None, *, labels: bool = True) -> Any:
    """Draw a network, or a plan: its network with the contractions numbered.

    Circles are arrays: grey ones are fixed, tied ones share a colour.  Lines are indices, the wider the larger; a free
    end is an open index, a black dot an index of three ends or more, a loop a trace, an end in a dot a sum.  A box is
    an Elementwise node: what is inside is contracted in full, then the function named on it is applied.

    Parameters
    ----------
    net_or_plan
        What to draw.
    ax
        A matplotlib Axes to draw on; None makes a figure (without pyplot) of a size that fits.
    labels
        Whether names of nodes and indices are written, where there are few enough to be read.

    Returns
    -------
    matplotlib.axes.Axes
        Its ``figure`` can be saved.  Each drawn thing has a gid: ``node:A``, ``edge:i``, ``open:i``, ``dot:i``,
        ``box:act``, ``order:1`` and so on.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    net = net_or_plan.network if isinstance(net_or_plan, Plan) else net_or_plan
    wires = _wires(net)
    spots = _spots(net, wires)
    _add_dots(spots, wires)
    routes = _routes(spots, wires)
    legs = _legs(spots, wires, routes)
    boxes = _boxes(net, spots)
    points = [at for at, _ in spots.values()] + [route.at(t) for route in routes for t in (0.49, 0.5)]
    points += [spots[v][0] + 0.7 * way for v, way in legs.values()]
    points += [complex(*corner) for _, _, rim, _ in boxes for corner in (rim[:2], rim[2:])]
    pen = _Pen(*_axes(ax, points, 0.3 if isinstance(net_or_plan, Plan) else 0.0), labels)
    _draw_boxes(pen, boxes)
    _draw_edges(pen, spots, routes)
    _draw_legs(pen, spots, wires, legs)
    _draw_nodes(pen, net, spots)
    if isinstance(net_or_plan, Plan):
        _draw_order(pen, net_or_plan, spots, routes)
    return pen.ax


def _axes(ax: Any, points: Sequence[complex], title: float) -> tuple[Any, float]:
    """An Axes whose limits hold the points (an inch a unit, if it is made here), and its points per unit."""
    low = complex(min(z.real for z in points) - 0.5, min(z.imag for z in points) - 0.4)
    size = complex(max(z.real for z in points) + 0.5, max(z.imag for z in points) + 0.4) - low
    if ax is None:
        inches = min(1.0, 16 / max(size.real, size.imag))
        height = size.imag * inches + title
        figure = _matplotlib().figure.Figure(figsize=(max(size.real * inches, 2.5), height))
        ax = figure.add_axes((0, 0, 1, 1 - title / height))
    ax.set(xlim=(low.real, low.real + size.real), ylim=(low.imag, low.imag + size.imag), aspect="equal")
    ax.set_axis_off()
    extent = ax.get_window_extent()
    return ax, min(extent.width / size.real, extent.height / size.imag) * 72 / ax.figure.dpi


def _draw_order(pen: _Pen, plan: Plan, spots: Spots, routes: Sequence[_Route]) -> None:
    pairs = _pairs(plan)
    for k, at in enumerate(_numbered(pairs, spots, routes), 1):
        style = {"fc": "#fee391", "ec": "#cc4c02", "lw": 0.7, "boxstyle": "circle,pad=0.15"}
        pen.text(at, str(k), 7, f"order:{k}", weight="bold", zorder=9, bbox=style)
    pen.ax.set_title(f"{len(pairs)} contractions, {plan.flops:,} FLOPs", fontsize=9)


def to_svg(net_or_plan: Network | Plan) -> str:
    """The picture of :func:`draw` as a standalone SVG, for an HTML page; equal input gives equal text.

    Parameters
    ----------
    net_or_plan
        What to draw.

    Returns
    -------
    str
        An SVG document without date or other metadata, its text as text.
    """
    mpl = _matplotlib()
    out = StringIO()
    with mpl.rc_context({"svg.hashsalt": "tnkit", "svg.fonttype": "none"}):
        draw(net_or_plan).figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()

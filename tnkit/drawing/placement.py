"""Where the nodes of a picture stand, chosen from the structure: chain, circle, tree, star, grid, or springs.

A nested network is flattened: its leaves are placed, every index becomes a wire between them, and an Elementwise node is a
box behind its leaves.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import pi
from typing import Any

import numpy as np

from tnkit.core import nested
from tnkit.core.inside import NODE
from tnkit.core.network import Elementwise, Network, folded, inside_out, levels
from tnkit.core.node import Node
from tnkit.core.spelling import function_name

__all__ = [
    "BOTH",
    "DOWN",
    "LEG",
    "RADIUS",
    "UP",
    "Box",
    "Spots",
    "Vertex",
    "Wire",
    "bodies",
    "boxes_of",
    "layout",
    "spots_of",
    "wires_of",
]

Vertex = str | tuple[str]  #: a leaf's name, or ``(index,)`` for the dot of a hyperedge
Spots = dict[Vertex, tuple[complex, complex]]  #: where a vertex is, and where its open legs would like to point

RADIUS, LEG = 0.25, 0.66  # of a node, and from its centre to the end of an open leg; neighbours are 1 apart
UP, DOWN, BOTH = 1j, -1j, 0j  # where legs point; BOTH: the first up, the others down, as operators are drawn

Rank = Callable[[Vertex], tuple[int, str]]
Rim = tuple[float, float, float, float]  #: left, bottom, right, top
_Rim = tuple[float, float, float, float, int]  #: the same, and how deeply what is in it nests
Box = tuple[str, str, Rim, int]  #: an Elementwise node's name, its function's, where it is, how deeply it nests


# -- the network, flattened -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Wire:
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


def bodies(net: Network) -> list[Network]:
    """Bodies of all Elementwise nodes at this level."""
    return [body for node in net.nodes if isinstance(node, Elementwise) for body in node.bodies]


def wires_of(net: Network) -> list[Wire]:
    """Every index at every depth, as a wire."""
    sizes: dict[str, int] = {}
    summed: set[str] = set()

    for level in levels(net):
        for i, size in level.sizes.items():
            sizes.setdefault(i, size)
        # An index that ends at one node of its level and is not kept is summed there, even if several leaves inside
        # an Elementwise carry it.
        summed.update(i for i, names in level.edges.items() if len(names) == 1 and i not in level.output)
    ends: dict[str, tuple[str, ...]] = {i: () for i in sizes}
    for leaf in net.leaves:
        for i in leaf.inds:
            ends[i] += (leaf.name,)
    return [Wire(i, sizes[i], ends[i], i in net.output, i in summed) for i in sizes]


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
    return {v: (at.real, at.imag) for v, (at, _) in spots_of(net, wires_of(net)).items() if isinstance(v, str)}


def spots_of(net: Network, wires: Sequence[Wire]) -> Spots:
    """Places of the leaves and of the hyperedges' dots, by the first layout that suits: of the whole, else of its parts."""
    grids: dict[int, Spots | None] = {}

    def inner(level: Network) -> list[Network]:
        if id(level) not in grids:
            names = [leaf.name for leaf in level.leaves]
            grid = _grid(names, _leaf_graph(names, wires), wires)
            grids[id(level)] = grid if grid and _apart(level, grid, boxes_of(level, grid)) else None
        return bodies(level) if grids[id(level)] is None else []

    return nested.folded(net, inner, lambda level, below: grids[id(level)] or _stack(level, below, wires))


def _apart(net: Network, spots: Spots, boxes: Sequence[Box]) -> bool:
    """Whether every box has only its own leaves in it."""
    rims = {name: rim for name, _, rim, _ in boxes}
    boxed = [part for part in inside_out(net) if isinstance(part, Elementwise)]
    for node in boxed:
        left, bottom, right, top = rims[node.name]
        inside = (v for v, (z, _) in spots.items() if left < z.real < right and bottom < z.imag < top)
        if not all(isinstance(v, str) and node.inside.find(NODE, v) is False for v in inside):
            return False
    return True


def _leaf_graph(names: Iterable[str], wires: Iterable[Wire]) -> Any:
    """Leaves that share an index; hyperedges join them as vertices where the plain edges leave them apart."""
    import networkx as nx

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


def _stack(net: Network, inner: Sequence[Spots], wires: Sequence[Wire]) -> Spots:
    """Every Elementwise node's leaves apart from the others, so that boxes hold only what is theirs."""
    import networkx as nx

    below = _beside(inner, gap=1.9)
    own = [node.name for node in net.nodes if isinstance(node, Node)]
    if not own:
        return below
    graph = _leaf_graph(own, wires)
    order = {name: k for k, name in enumerate(own)}
    parts = sorted(nx.connected_components(graph), key=lambda part: min(order.get(v, len(order)) for v in part))
    above = _beside([_piece_placed(graph.subgraph(part), order, wires) for part in parts], gap=1.3)
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


def _piece_placed(graph: Any, order: dict[str, int], wires: Sequence[Wire]) -> Spots:
    """One connected piece: a line, a ring, a star, a tree, or else springs."""
    import networkx as nx

    def rank(v: Vertex) -> tuple[int, str]:
        return (order[v], v) if isinstance(v, str) else (len(order), v[0])

    n, degrees = len(graph), dict(graph.degree)
    tree, levels = nx.is_tree(graph), {v: y for v, (_, y, _) in _row_and_column(graph).items()}
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
    import networkx as nx

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
    import networkx as nx

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


def _row_and_column(names: Iterable[Vertex]) -> dict[str, tuple[str, int, int]]:
    """Name -> (prefix, row, column), of the names that end in two numbers."""
    found = {n: m for n in names if isinstance(n, str) and (m := re.fullmatch(r"(.*?)_?(\d+)_(\d+)", n))}
    return {n: (m[1], int(m[2]), int(m[3])) for n, m in found.items()}


def _grid(names: Sequence[str], graph: Any, wires: Sequence[Wire]) -> Spots | None:
    """Rows and columns read from names; None where too few names have them, or they number the levels of a tree."""
    import networkx as nx

    found = _row_and_column(names)
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


def boxes_of(net: Network, spots: Spots) -> list[Box]:
    """The box of every Elementwise node, inner ones first, each a little wider than what is in it."""
    found: list[Box] = []

    def rims_of(level: Network, inner: list[list[_Rim]]) -> list[_Rim]:
        rims, below = [], iter(inner)
        for node in level.nodes:
            if isinstance(node, Node):
                z = spots[node.name][0]
                rims.append((z.real - 0.32, z.imag - 0.32, z.real + 0.32, z.imag + 0.32, 0))
            else:
                within = [rim for body in islice(below, len(node.bodies)) for rim in body]
                left, bottom, right, top = (f(rim[k] for rim in within) for k, f in enumerate((min, min, max, max)))
                height = max(rim[4] for rim in within) + 1
                box = (left - 0.1, bottom - 0.1, right + 0.1, top + 0.1)
                found.append((node.name, function_name(node.fn), box, height))
                rims.append((*box, height))
        return rims

    folded(net, rims_of)
    return found

"""Layouts of lattices, found in the graph alone: grids, ladders, cylinders and tori."""

from __future__ import annotations

import cmath
from collections import Counter
from collections.abc import Mapping
from math import pi
from typing import Any

from tnkit.core.breadth import distances
from tnkit.drawing.layouts import circled
from tnkit.drawing.pieces import Arrangement, GraphPart
from tnkit.drawing.wires import DOWN, UP, Spots, Vertex

__all__ = ["grid", "periodic"]

Cells = dict[Vertex, tuple[int, int]]  #: vertex -> row, column

_LARGEST = 100  #: vertices of a lattice without corners, which is found by comparing graphs


def grid(piece: GraphPart) -> Arrangement | None:
    """An open square lattice, two rows or more; a ladder of two or three rows lies flat."""
    cells = _cells(piece)
    if cells is None:
        return None
    rows, cols = (1 + max(cell[k] for cell in cells.values()) for k in (0, 1))
    if min(rows, cols) <= 3 and rows > cols:  # a ladder lies flat
        cells, rows, cols = {v: (x, y) for v, (y, x) in cells.items()}, cols, rows
    return Arrangement(_spread(piece, cells, rows), kind="grid")


def _cells(piece: GraphPart) -> Cells | None:
    """Rows and columns by distances from corners: (y + x) from one, (y + last - x) from the next."""
    near, n = piece.near, len(piece.near)
    degree = Counter(map(len, near.values()))
    if n < 6 or degree[2] != 4 or set(degree) - {2, 3, 4}:
        return None
    first, *others = [v for v in near if len(near[v]) == 2]
    from_first = distances(near, first)
    others.sort(key=from_first.__getitem__)
    short, long = (from_first[v] for v in others[:2])
    if (short + 1) * (long + 1) != n:
        return None
    # Columns run towards the neighbour that comes first in the network: builders go along rows.
    across = others[1] if distances(near, others[1])[near[first][0]] < long else others[0]
    last = from_first[across]
    from_across = distances(near, across)
    cells: Cells = {}
    for v in near:
        x, odd = divmod(from_first[v] - from_across[v] + last, 2)
        cells[v] = (from_first[v] - x, x)
        if odd or x < 0 or from_first[v] < x:
            return None
    steps = all(abs(cells[u][0] - cells[v][0]) + abs(cells[u][1] - cells[v][1]) == 1 for v in near for u in near[v])
    expected = 2 * (short + 1) * (long + 1) - short - long - 2
    return cells if steps and len(set(cells.values())) == n and piece.edges == expected else None


def _spread(piece: GraphPart, cells: Cells, rows: int) -> Spots:
    """Cells as places: legs leave up and down where they can, else all alike, out of the plane."""
    inside = any(piece.legs[v] for v, (y, _) in cells.items() if 0 < y < rows - 1)
    if inside or any(count > 1 for count in piece.legs.values()):
        return {v: (1.5 * complex(x, -y), cmath.rect(1, -pi / 4)) for v, (y, x) in cells.items()}
    gap = 1.3 if any(piece.legs.values()) else 1.15
    return {v: (gap * complex(x, -y), UP if y == 0 else DOWN) for v, (y, x) in cells.items()}


def periodic(piece: GraphPart) -> Arrangement | None:
    """A lattice that goes around: a torus as a grid with cut bonds, a cylinder of few rings as rings."""
    n = len(piece.near)
    degree = Counter(map(len, piece.near.values()))
    if not 6 <= n <= _LARGEST or set(degree) - {3, 4}:
        return None
    for rows in range(2, n // 3 + 1):
        cols = n // rows
        if rows * cols != n or cols < 3:
            continue
        if 2 < rows <= cols and degree[4] == n and (cells := _as_product(piece, rows, cols, True)):
            return _cut(piece, cells, rows)
        if degree[3] == 2 * cols and (cells := _as_product(piece, rows, cols, False)):
            return _rings(cells, rows) if rows <= 3 else _cut(piece, cells, rows)
    return None


def _as_product(piece: GraphPart, rows: int, cols: int, torus: bool) -> Cells | None:
    """Cells of a graph that is a cycle times a cycle, or a path of rings; None for another graph."""
    import networkx as nx

    graph: Any = nx.Graph()
    graph.add_nodes_from(piece.near)
    graph.add_edges_from((u, v) for u in piece.near for v in piece.near[u])
    down = nx.cycle_graph(rows) if torus else nx.path_graph(rows)
    model: Any = nx.cartesian_product(down, nx.cycle_graph(cols))
    if graph.number_of_edges() != model.number_of_edges():
        return None
    found: Mapping[Vertex, tuple[int, int]] | None = nx.vf2pp_isomorphism(graph, model)
    if not found:
        return None
    y, x = found[next(iter(piece.near))]
    shifted = {v: ((b - y) % rows if torus else b, (a - x) % cols) for v, (b, a) in found.items()}
    second = piece.near[next(iter(piece.near))][0]
    if shifted[second] == (0, cols - 1):  # columns run towards the neighbour that comes first
        shifted = {v: (b, -a % cols) for v, (b, a) in shifted.items()}
    if torus and shifted[second] == (rows - 1, 0):
        shifted = {v: (-b % rows, a) for v, (b, a) in shifted.items()}
    return shifted


def _cut(piece: GraphPart, cells: Cells, rows: int) -> Arrangement:
    spots = _spread(piece, cells, rows)
    around = frozenset(
        frozenset((u, v))
        for v in piece.near
        for u in piece.near[v]
        if abs(cells[u][0] - cells[v][0]) + abs(cells[u][1] - cells[v][1]) > 1
    )
    return Arrangement(spots, around, "grid")


def _rings(cells: Cells, rows: int) -> Arrangement:
    spots: Spots = {}
    for y in range(rows):
        cycle = [v for _, v in sorted(((x, k), v) for k, (v, (b, x)) in enumerate(cells.items()) if b == y)]
        size = 1 + 1.15 * (rows - 1 - y) / max(0.8, 1.15 * len(cycle) / (2 * pi))
        spots |= {v: (size * at, aim if y == 0 else -aim) for v, (at, aim) in circled(cycle).items()}
    return Arrangement(spots, kind="rings")

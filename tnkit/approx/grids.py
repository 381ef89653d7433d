"""Square lattices with open sides, found in a graph whatever its nodes are called and in whatever order they come.

In a lattice the distance from one corner is row plus column, that from a corner of the same side is row plus the columns that
are left: both together are the coordinates.  A corner that was multiplied into a bond is put back: there three tensors stand
in a triangle, which no square lattice has.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from tnkit.approx.simple_graph import Graph, Tracked
from tnkit.core.breadth import distances

__all__ = ["lattice_rows"]

Adjacency = Mapping[int, list[int]]


def lattice_rows(graph: Graph) -> list[list[Tracked]] | None:
    """The rows of a lattice, along its shorter side, as tensors (up, down, left, right); None for what is none."""
    if graph.output or len(graph.tensors) < 5:
        return None
    graph = _with_corners(graph)
    places = _places({v: graph.near(v) for v in graph.tensors})
    if places is None:
        return None
    height, width = (1 + max(p[k] for p in places.values()) for k in (0, 1))
    if height < width:
        places, height, width = {v: (x, y) for v, (y, x) in places.items()}, width, height
    at = {p: v for v, p in places.items()}
    return [[_site(graph, at, y, x) for x in range(width)] for y in range(height)]


def _with_corners(graph: Graph) -> Graph:
    """The graph with an identity on every bond between two tensors of degree 3 that have a neighbour in common."""
    made = Graph(dict(graph.tensors), dict(graph.inds), graph.output, graph.power)
    made.ends = {i: list(some) for i, some in graph.ends.items()}
    near = {v: graph.near(v) for v in graph.tensors}
    fresh = (name for k in count() if (name := f"corner{k}") not in graph.ends)
    for v, some in near.items():
        for w in some:
            if v < w and len(some) == len(near[w]) == 3 and set(some) & set(near[w]):
                bond, new = next(i for i in made.inds[v] if i in made.inds[w]), next(fresh)
                made.put(w, made.tensors[w], tuple(new if i == bond else i for i in made.inds[w]))
                made.put(max(made.tensors) + 1, Tracked(np.eye(made.size(bond, v))), (bond, new))
    return made


def _places(near: Adjacency) -> dict[int, tuple[int, int]] | None:
    """Row and column of every vertex; None where there are none such that all edges join neighbours."""
    corners = [v for v, some in near.items() if len(some) == 2]
    if len(corners) != 4:
        return None
    first = distances(near, corners[0])
    for other in corners[1:]:
        far = distances(near, other)
        places = _coordinates(near, first, far, first.get(other, 0))
        if places is not None:
            return places
    return None


def _coordinates(
    near: Adjacency, first: Mapping[int, int], far: Mapping[int, int], side: int
) -> dict[int, tuple[int, int]] | None:
    if len(first) < len(near):
        return None
    places = {}
    for v in near:
        twice = first[v] + far[v] - side
        if twice % 2:
            return None
        places[v] = (twice // 2, (first[v] - far[v] + side) // 2)
    apart = (abs(places[v][0] - places[w][0]) + abs(places[v][1] - places[w][1]) for v in near for w in near[v])
    return places if len(set(places.values())) == len(near) and all(d == 1 for d in apart) else None


def _site(graph: Graph, at: Mapping[tuple[int, int], int], y: int, x: int) -> Tracked:
    """A tensor with its four indices in order; ones of size 1 where there is no bond."""
    if (y, x) not in at:
        return Tracked(np.ones((1, 1, 1, 1)))
    v = at[y, x]
    inds: list[Any] = []
    for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        w = at.get(place)
        inds.append(None if w is None else next((i for i in graph.inds[v] if i in graph.inds[w]), None))
    there = [i for i in inds if i is not None]
    shape = [1 if i is None else graph.size(i, v) for i in inds]
    return graph.tensors[v].permuted([graph.inds[v].index(i) for i in there]).reshaped(*shape)

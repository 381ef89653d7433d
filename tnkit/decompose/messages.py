"""A closed network cut along its contraction tree: what lies behind each cut is contracted once, and kept while it stays.

The tree's leaves are the nodes.  A *message* on an edge of the tree is the contraction of everything behind it; the message
into a leaf is that node's environment.  When arrays change one at a time in the order of the leaves, a round of all
environments costs about three contractions of the network, not one a node (for CP: dimension trees, Phan et al. 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.backend import Backend
from tnkit.execution.run import run
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

__all__ = ["Messages"]

Inds = tuple[str, ...]


class Messages:
    """The messages of a closed multilinear network of at least two nodes.

    Parameters
    ----------
    net
        Without output; every index of a node is on another node too, except inside fixed ones.
    arrays
        Node name -> array, of one dtype.
    backend
        The array library.
    """

    def __init__(self, net: Network, arrays: Mapping[str, Any], backend: Backend) -> None:
        self.backend, self.sizes = backend, net.sizes
        self.leaf = {node.name: k for k, node in enumerate(net.nodes)}
        self.inds = [node.inds for node in net.nodes]
        self.arrays = [arrays[node.name] for node in net.nodes]
        self.near = _neighbours_of_path(plan(net).path, len(net.nodes))
        self.parent = _parents(self.near)
        self.cut = self._cuts()
        self.made: dict[tuple[int, int], Any] = {}
        self.plans: dict[Any, Plan] = {}

    def set(self, name: str, array: Any) -> None:
        """Give a node another array; what was contracted with the old one is dropped."""
        leaf = self.leaf[name]
        self.arrays[leaf] = array
        edges = [(leaf, w) for w in self.near[leaf]]
        while edges:
            u, w = edges.pop()
            edges += [(w, v) for v in self.near[w] if v != u and self.made.pop((w, v), None) is not None]

    def into(self, name: str) -> Any:
        """The environment of a node, of the node's shape."""
        leaf = self.leaf[name]
        (by,) = self.near[leaf]
        if by < len(self.inds):  # two leaves: the other's array, its axes in this one's order
            return self._contract([(by, leaf)], self.inds[leaf])
        return self._message(by, leaf)

    def between(self, a: str, b: str, output: Inds, eyes: Mapping[str, tuple[Any, Inds]]) -> Any:
        """The environment of two nodes at once.

        Parameters
        ----------
        a, b
            Nodes.
        output
            Order of the axes.
        eyes
            More arrays with their indices, to be contracted with it.
        """
        first, last = self._path(self.leaf[a]), self._path(self.leaf[b])
        while len(first) > 1 and len(last) > 1 and first[-2] == last[-2]:
            del first[-1], last[-1]  # up to where the two ways to the root meet
        way = [*first, *reversed(last[:-1])]
        inner = set(way)
        hanging = [(u, w) for w in way[1:-1] for u in self.near[w] if u not in inner]
        return self._contract(hanging, output, eyes)

    def _path(self, leaf: int) -> list[int]:
        way = [leaf]
        while self.parent[way[-1]] >= 0:
            way.append(self.parent[way[-1]])
        return way

    def _cuts(self) -> dict[tuple[int, int], Inds]:
        """Edge -> indices of the message on it: those on both of its sides, in a leaf's order towards one."""
        total: dict[str, int] = {}
        for inds in self.inds:
            for i in set(inds):
                total[i] = total.get(i, 0) + 1
        below: dict[int, dict[str, int]] = {}
        cut: dict[tuple[int, int], Inds] = {}
        for u in _upwards(self.near, self.parent):
            counts = dict.fromkeys(self.inds[u], 1) if u < len(self.inds) else {}
            for v in self.near[u]:
                if v != self.parent[u]:
                    for i, n in below.pop(v).items():
                        counts[i] = counts.get(i, 0) + n
            below[u] = counts
            w = self.parent[u]
            if w >= 0:
                cut[u, w] = cut[w, u] = tuple(sorted(i for i, n in counts.items() if n < total[i]))
        for leaf, inds in enumerate(self.inds):
            (by,) = self.near[leaf]
            cut[by, leaf] = tuple(dict.fromkeys(i for i in inds if i in cut[by, leaf]))
        return cut

    def _message(self, u: int, w: int) -> Any:
        if u < len(self.inds):
            return self.arrays[u]
        todo = [(u, w)]
        while todo:
            a, b = todo[-1]
            behind = [(v, a) for v in self.near[a] if v != b]
            missing = [e for e in behind if e[0] >= len(self.inds) and e not in self.made]
            if missing:
                todo += missing
            else:
                todo.pop()
                if (a, b) not in self.made:
                    self.made[a, b] = self._contract(behind, self.cut[a, b])
        return self.made[u, w]

    def _contract(
        self, edges: Sequence[tuple[int, int]], output: Inds, more: Mapping[str, tuple[Any, Inds]] | None = None
    ) -> Any:
        more = more or {}
        arrays = {str(u): self._message(u, w) for u, w in edges} | {name: array for name, (array, _) in more.items()}
        key = (*edges, output, *more)
        if key not in self.plans:
            nodes = [Node(str(u), self.inds[u] if u < len(self.inds) else self.cut[u, w]) for u, w in edges]
            nodes += [Node(name, inds) for name, (_, inds) in more.items()]
            used = {i for node in nodes for i in node.inds}
            sizes = {**self.sizes, **{i: n for x, inds in more.values() for i, n in zip(inds, x.shape, strict=True)}}
            self.plans[key] = plan(Network(tuple(nodes), output, {i: sizes[i] for i in sizes if i in used}))
        return run(self.plans[key], arrays, self.backend)


def _neighbours_of_path(path: Iterable[tuple[int, ...]], count: int) -> list[list[int]]:
    """The contraction tree of a path as neighbours of each vertex: leaves first; a vertex of two is left out."""
    near: list[list[int]] = [[] for _ in range(count)]
    items = list(range(count))
    steps = [list(p) for p in path]
    for step in steps:
        taken = [items.pop(k) for k in sorted(step, reverse=True)]
        if not items and len(taken) == 2:
            a, b = taken  # the last step joins two parts: one edge
            near[a].append(b)
            near[b].append(a)
            return near
        if len(taken) == 1:
            items += taken
            continue
        for v in taken:
            near[v].append(len(near))
        items.append(len(near))
        near.append(taken)
    return near


def _parents(near: Sequence[Sequence[int]]) -> list[int]:
    """Vertex -> the next one towards the root, which is the last vertex."""
    parent = [-1] * len(near)
    todo = [len(near) - 1]
    while todo:
        u = todo.pop()
        for v in near[u]:
            if v != parent[u]:
                parent[v] = u
                todo.append(v)
    return parent


def _upwards(near: Sequence[Sequence[int]], parent: Sequence[int]) -> list[int]:
    """All vertices, the root last."""
    order, todo = [], [len(near) - 1]
    while todo:
        u = todo.pop()
        order.append(u)
        todo += [v for v in near[u] if v != parent[u]]
    return order[::-1]

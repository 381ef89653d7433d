"""A multilinear network as a graph: one bond between two tensors, no hyperedges, no traces, and its scale beside it.

A hyperedge becomes a copy tensor (1 where all its indices are equal), a long one a chain of them.  Matrices and vectors are
multiplied into a neighbour, parallel bonds become one.  All this is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any

import numpy as np

from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import as_float
from tnkit.execution.arrays import double_name, dtype_name, has_double
from tnkit.execution.backend import Backend
from tnkit.execution.machine import available
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import times, unit

__all__ = ["Graph", "Tracked", "as_graph", "simplified"]

#: Ends of an index that one copy tensor has at most: those of an inner site of a lattice, and an open one.
_ENDS = 5
#: Entries of a copy tensor at most; with more it is a chain of smaller ones.
_ENTRIES = 4096
#: Tensors of so many entries are compared with what is free.
_LARGE = 2**24
#: Singular values of a matrix that is shared out are raised to this part of the largest: any factor that has an inverse is right.
_FLOOR = 1e-10


@dataclass(frozen=True)
class Tracked:
    """An array in numpy, in double precision, and in its own library where a gradient is wanted.

    What is decided (ranks, projectors, messages) is decided by ``value``; the gradient follows ``live``.
    """

    value: np.ndarray
    live: Any = None
    backend: Backend = NUMPY

    def permuted(self, axes: Sequence[int]) -> Tracked:
        """The axes in another order."""
        axes = tuple(axes)
        live = None if self.live is None else self.backend.permute(self.live, axes)
        return Tracked(self.value.transpose(axes), live, self.backend)

    def reshaped(self, *shape: int) -> Tracked:
        """The same entries in another shape."""
        live = None if self.live is None else self.backend.reshape(self.live, *shape)
        return Tracked(self.value.reshape(shape), live, self.backend)

    def times(self, other: Tracked | np.ndarray) -> Tracked:
        """The product of two matrices; a plain one is a constant for gradients."""
        value = other.value if isinstance(other, Tracked) else other
        mine, theirs = self.live, other.live if isinstance(other, Tracked) else None
        if mine is None and theirs is None:
            return Tracked(self.value @ value, None, self.backend)
        backend = self.backend if mine is not None else other.backend  # type: ignore[union-attr]
        mine = backend.like(self.value, theirs) if mine is None else mine
        theirs = backend.like(value, mine) if theirs is None else theirs
        return Tracked(self.value @ value, mine @ theirs, backend)

    def scaled(self) -> tuple[Tracked, float]:
        """The array over a power of two, so that its largest entry is about 1, and that power."""
        value, power = unit(self.value, NUMPY)
        live = (
            None if self.live is None else times(self.live, -power, self.backend) if np.isfinite(power) else self.live
        )
        return Tracked(value, live, self.backend), power

    def contracted(self, axes: Sequence[int], other: Tracked, others: Sequence[int]) -> Tracked:
        """The sum over pairs of axes; what is left of the first one's axes, then of the second one's."""
        kept = [k for k in range(self.value.ndim) if k not in axes]
        left = [k for k in range(other.value.ndim) if k not in others]
        shape = [self.value.shape[k] for k in kept] + [other.value.shape[k] for k in left]
        summed = prod(self.value.shape[k] for k in axes)
        a = self.permuted((*kept, *axes)).reshaped(-1, summed)
        return a.times(other.permuted((*others, *left)).reshaped(summed, -1)).reshaped(*shape)

    def applied(self, axis: int, matrix: np.ndarray) -> Tracked:
        """One axis multiplied by a constant matrix (old size, new size), in its place."""
        last = self.value.ndim - 1
        moved = self.permuted((*range(axis), *range(axis + 1, last + 1), axis))
        shape = (*moved.value.shape[:-1], matrix.shape[1])
        made = moved.reshaped(-1, matrix.shape[0]).times(matrix).reshaped(*shape)
        return made.permuted((*range(axis), last, *range(axis, last)))


@dataclass
class Graph:
    """Tensors by number, their indices, which tensors have an index, and the power of two that all are to be multiplied by."""

    tensors: dict[int, Tracked]
    inds: dict[int, tuple[str, ...]]
    output: tuple[str, ...]
    power: float = 0.0
    ends: dict[str, list[int]] = field(default_factory=dict)
    changes: dict[int, int] = field(default_factory=dict)  #: tensor -> how often it was put

    def put(self, v: int, x: Tracked, inds: tuple[str, ...]) -> None:
        """A tensor, new or instead of the one of its number."""
        for i in self.inds.get(v, ()):
            self.ends[i].remove(v)
        self.tensors[v], self.inds[v] = x, inds
        self.changes[v] = self.changes.get(v, 0) + 1
        for i in inds:
            self.ends.setdefault(i, []).append(v)

    def take(self, v: int) -> tuple[Tracked, tuple[str, ...]]:
        """A tensor and its indices, no longer in the graph."""
        for i in self.inds[v]:
            self.ends[i].remove(v)
        return self.tensors.pop(v), self.inds.pop(v)

    def size(self, i: str, v: int) -> int:
        """Size of an index of a tensor."""
        return int(self.tensors[v].value.shape[self.inds[v].index(i)])

    def near(self, v: int) -> list[int]:
        """The tensors that share an index with one."""
        return list(dict.fromkeys(w for i in self.inds[v] for w in self.ends[i] if w != v))

    def merge(self, a: int, b: int) -> None:
        """Tensor ``a`` becomes the product of both, over all bonds between them; its entries of size about 1."""
        y, theirs = self.take(b)
        x, mine = self.tensors[a], self.inds[a]
        shared = [i for i in mine if i in theirs]
        _check_room(x.value.size * y.value.size // prod(x.value.shape[mine.index(i)] for i in shared) ** 2)
        made = x.contracted([mine.index(i) for i in shared], y, [theirs.index(i) for i in shared])
        made, power = made.scaled()
        self.power += power
        self.put(a, made, tuple(i for i in (*mine, *theirs) if i not in shared))

    def fuse(self, a: int, b: int) -> str | None:
        """All bonds between two tensors as one, whose name is that of the first of them; None without a bond."""
        shared = [i for i in self.inds[a] if i in self.inds[b]]
        if len(shared) > 1:
            for v in (a, b):
                kept = [i for i in self.inds[v] if i not in shared]
                shape = [*(self.size(i, v) for i in kept), prod(self.size(i, v) for i in shared)]
                x = self.tensors[v].permuted([self.inds[v].index(i) for i in (*kept, *shared)])
                self.put(v, x.reshaped(*shape), (*kept, shared[0]))
        return shared[0] if shared else None

    def whole(self) -> tuple[Tracked, float]:
        """The product of all that is left, its axes as the output; and the power of two that belongs to it."""
        first, *rest = list(self.tensors)
        for v in rest:
            self.merge(first, v)
        return self.tensors[first].permuted([self.inds[first].index(i) for i in self.output]), self.power

    def components(self) -> list[Graph]:
        """The connected parts, the scale with the first of them."""
        left, found = set(self.tensors), []
        for start in self.tensors:
            if start not in left:
                continue
            left.discard(start)
            part, todo = Graph({}, {}, ()), [start]
            while todo:
                v = todo.pop()
                part.put(v, self.tensors[v], self.inds[v])
                new = [w for w in self.near(v) if w in left]
                left.difference_update(new)
                todo += new
            part.output = tuple(i for i in self.output if i in part.ends)
            found.append(part)
        found[0].power = self.power
        return found


def _check_room(entries: int) -> None:
    if entries > _LARGE and 16 * entries > (free := available()[0]):
        raise MemoryError(
            f"contract_approx: a tensor on the way has {as_float(entries):.2g} entries, and {free / 1e9:.3g} GB are left; give a smaller "
            "max_bond, keep fewer indices open, or use method='bp'"
        )


def as_graph(net: Network, arrays: Mapping[str, Any], backend: Backend) -> Graph:
    """The graph of a multilinear network; gradients flow to the arrays that ask for them."""
    graph = Graph({}, {}, net.output)
    held = {name: _tracked(x, backend) for name, x in arrays.items()}
    for v, node in enumerate(net.nodes):
        assert isinstance(node, Node)
        x, power = held[node.array]
        graph.power += power
        graph.put(v, *_without_traces(x, node.inds))
    _sum_lonely(graph)
    _split_hyperedges(graph, net)
    return graph


def _tracked(x: Any, backend: Backend) -> tuple[Tracked, float]:
    """An array over its power of two, in double precision where the library has it."""
    live = None
    value = np.asarray(backend.numpy(backend.constant(x)))
    value, power = unit(np.asarray(value, "complex128" if value.dtype.kind == "c" else "float64"), NUMPY)
    if backend is not NUMPY and backend.tracked(x):
        live = times(x, -power, backend) if np.isfinite(power) else x
        if has_double(x, backend) and dtype_name(live) != double_name(live):
            live = backend.cast(live, double_name(live))
    return Tracked(value, live, backend), power


def _without_traces(x: Tracked, inds: tuple[str, ...]) -> tuple[Tracked, tuple[str, ...]]:
    """The diagonal of every index that is there twice."""
    while (twice := next((i for i in inds if inds.count(i) > 1), None)) is not None:
        a = inds.index(twice)
        b = inds.index(twice, a + 1)
        live = None if x.live is None else x.backend.diagonal(x.live, a, b)
        x = Tracked(np.diagonal(x.value, 0, a, b), live, x.backend)
        inds = (*(i for k, i in enumerate(inds) if k not in (a, b)), twice)
    return x, inds


def _sum_lonely(graph: Graph) -> None:
    """Sum every index that is on one tensor alone and not kept."""
    for v, inds in list(graph.inds.items()):
        alone = tuple(k for k, i in enumerate(inds) if len(graph.ends[i]) == 1 and i not in graph.output)
        if alone:
            x = graph.tensors[v]
            live = None if x.live is None else x.backend.total(x.live, alone)
            graph.put(
                v, Tracked(x.value.sum(alone), live, x.backend), tuple(i for k, i in enumerate(inds) if k not in alone)
            )


def _split_hyperedges(graph: Graph, net: Network) -> None:
    """A copy tensor for every index with three ends or more, a chain of them for a long one."""
    fresh = (name for k in count() if (name := f"copy{k}") not in net.sizes)
    hyper = {i for i in net.sizes if len(graph.ends.get(i, ())) + (i in net.output) > 2}
    halves = _halved(graph, hyper, fresh)
    for i in [i for i in net.sizes if i in hyper]:
        n, some = net.sizes[i], list(graph.ends.get(i, ()))
        legs: list[tuple[str, Tracked | None]] = [(i, None)] if i in net.output else []
        for v in some:
            legs.append((next(fresh), None))
            graph.put(v, graph.tensors[v], tuple(legs[-1][0] if j == i else j for j in graph.inds[v]))
        legs += halves.get(i, [])
        most = next((k for k in range(_ENDS, 2, -1) if n**k <= _ENTRIES), 3)
        while legs:
            now, legs = (legs, []) if len(legs) <= most else (legs[: most - 1], legs[most - 1 :])
            if legs:
                link = next(fresh)
                now, legs = [*now, (link, None)], [(link, None), *legs]
            graph.put(max(graph.tensors, default=0) + 1, _site(n, [m for _, m in now]), tuple(name for name, _ in now))


def _halved(graph: Graph, hyper: set[str], fresh: Iterator[str]) -> dict[str, list[tuple[str, Tracked | None]]]:
    """Take every matrix between two hyperedges out, as two factors of equal size: index -> (bond of both, factor), in place.

    So a lattice of spins has tensors that are the same from both sides of a bond, which cuts are best for.
    """
    found: dict[str, list[tuple[str, Tracked | None]]] = {}
    known: dict[int, tuple[Tracked, Tracked]] = {}
    for v, inds in list(graph.inds.items()):
        if len(inds) == 2 and hyper.issuperset(inds):
            x = graph.tensors[v]
            if id(x) not in known:
                known[id(x)] = _factors(x)
            graph.take(v)
            bond = next(fresh)
            for i, half in zip(inds, known[id(x)], strict=True):
                found.setdefault(i, []).append((bond, half))
    return found


def _factors(x: Tracked) -> tuple[Tracked, Tracked]:
    """Matrices (first index, bond) and (second index, bond), both of the singular values' roots; one of them is a constant."""
    if x.value.shape[0] < x.value.shape[1]:
        return _factors(x.permuted((1, 0)))[::-1]
    _, s, vh = np.linalg.svd(x.value, full_matrices=False)
    root = np.sqrt(np.maximum(s, _FLOOR * s[0])) if s[0] else np.ones(len(s))
    return x.times(vh.conj().T / root), Tracked((root[:, None] * vh).T)


def _site(size: int, matrices: Sequence[Tracked | None]) -> Tracked:
    """A copy tensor, some of its axes multiplied by a matrix each."""
    x = Tracked(_copy(size, len(matrices)))
    for matrix in matrices:
        x = x.permuted((*range(1, len(matrices)), 0)) if matrix is None else x.contracted((0,), matrix, (0,))
    return x


def _copy(size: int, ends: int) -> np.ndarray:
    made = np.zeros((size,) * ends)
    made[(np.arange(size),) * ends] = 1.0
    return made


def simplified(graph: Graph) -> Graph:
    """The graph without scalars, vectors and matrices where their product with a neighbour is no larger than that; in place."""
    todo = list(graph.tensors)
    while todo:
        v = todo.pop()
        if v not in graph.tensors:
            continue
        near = graph.near(v)
        for w in near:
            graph.fuse(v, w)
        if not graph.inds[v] and len(graph.tensors) > 1:
            graph.merge(next(w for w in graph.tensors if w != v), v)
            continue
        if len(graph.inds[v]) > 2:
            continue
        into = min(near, key=lambda w: _grown(graph, v, w), default=None)
        if into is not None and _grown(graph, v, into) <= 0:
            graph.merge(into, v)
            todo += [into, *(w for w in near if w != into)]
    return graph


def _grown(graph: Graph, v: int, w: int) -> int:
    """Entries of the product of two tensors beyond those of the larger one."""
    x, y = graph.tensors[v].value, graph.tensors[w].value
    shared = prod(graph.size(i, v) for i in graph.inds[v] if i in graph.inds[w])
    return int(x.size * y.size // shared**2 - max(x.size, y.size))

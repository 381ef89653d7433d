"""What a network holds at every depth, as a table that the networks around it share and extend.

A network is checked against all that is inside it.  If every level looked at every level below, a thousand levels would
take a million looks.  So a level takes the table of the largest network inside it, and adds what is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Any, Protocol

from tnkit.core.node import Node

__all__ = ["ARRAY", "NODE", "SUMMED", "Gathering", "Inside", "all_indices", "of_leaves", "said_deeper"]

#: Kinds of entries: a node's name -> whether it is an Elementwise; an array's -> its first node and shape; an index that
#: is summed inside -> True.
NODE, ARRAY, SUMMED = range(3)


#: A row: its kind, its key, its value.
Row = tuple[int, str, Any]


class _Store:
    """Rows in the order in which they came, and where each is.  Rows are added behind the last one only."""

    __slots__ = ("lock", "places", "rows")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.lock = Lock()
        self.rows: list[Row] = []
        self.places: tuple[dict[str, int], ...] = ({}, {}, {})
        self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        for at, row in enumerate(rows, len(self.rows)):
            self.places[row[0]][row[1]] = at
            self.rows.append(row)


class Inside:
    """The first rows of a store: those that were there when this table was made."""

    __slots__ = ("_count", "_store")

    def __init__(self, store: _Store | None = None) -> None:
        self._store = store or _Store()
        self._count = len(self._store.rows)

    def __len__(self) -> int:
        return self._count

    def find(self, kind: int, key: str) -> Any:
        """The value of a row; None where there is none."""
        at = self._store.places[kind].get(key)
        return None if at is None or at >= self._count else self._store.rows[at][2]

    def rows(self) -> Iterator[Row]:
        """All rows, in their order."""
        return islice(self._store.rows, self._count)

    def names(self, kind: int) -> Iterator[str]:
        """The keys of one kind."""
        return (key for its, key, _ in self.rows() if its == kind)

    def extended(self, rows: list[Row]) -> Inside:
        """The table with more rows: in the same store, unless another network extended it before."""
        if not rows:
            return self
        with self._store.lock:
            if len(self._store.rows) == self._count:
                self._store.add(rows)
                return Inside(self._store)
        return Inside(_Store([*self.rows(), *rows]))


class _Holder(Protocol):
    """An Elementwise or a Network, as what is around it sees it."""

    @property
    def inside(self) -> Inside:
        """What it holds."""
        ...


def all_indices(net: Any) -> set[str]:
    """A network's indices at every depth."""
    return {*net.output, *net.inside.names(SUMMED)}


def said_deeper(net: Any, name: str) -> str:
    """Where a node is that is not at a network's own level: a part of a message, empty where there is no such node."""
    for node in net.nodes:
        if not isinstance(node, Node) and node.name != name and node.inside.find(NODE, name) is not None:
            return f" at this level: it is inside of {node.name!r}, in one of its bodies"
    return ""


class Gathering:
    """A table under construction, which refuses what contradicts it.

    Parameters
    ----------
    held
        What is inside: the table of the largest is extended by those of the others.
    """

    def __init__(self, held: Iterable[_Holder]) -> None:
        tables = [h.inside for h in held]
        largest = max(range(len(tables)), key=lambda k: len(tables[k]), default=None)
        self.base = Inside() if largest is None else tables[largest]
        self.new: tuple[dict[str, Any], ...] = ({}, {}, {})
        self.twice: str | None = None  #: an index that two of them sum
        add = (self.node, self._array, self._inner)
        for k, table in enumerate(tables):
            for kind, key, value in table.rows() if k != largest else ():
                add[kind](key, value)

    def find(self, kind: int, key: str) -> Any:
        """The value of a row, of what is inside or of what was added; None where there is none."""
        found = self.new[kind].get(key)
        return self.base.find(kind, key) if found is None else found

    def node(self, name: str, function: bool) -> None:
        """A node; ValueError where its name is taken."""
        if self.find(NODE, name) is not None:
            raise ValueError(
                f"two nodes are called {name!r}; node names are unique, tie arrays with Node(..., array=...)"
            )
        if function and (first := self.find(ARRAY, name)):
            raise ValueError(f"elementwise node {name!r} has the name of node {first[0].name!r}'s array")
        self.new[NODE][name] = function

    def leaf(self, leaf: Node, shape: tuple[int, ...]) -> None:
        """A leaf and its array."""
        self.node(leaf.name, False)
        self._array(leaf.array, (leaf, shape))

    def _array(self, name: str, row: tuple[Node, tuple[int, ...]]) -> None:
        """An array; ValueError where it is of another shape, or fixed otherwise, than that of a node before."""
        leaf, shape = row
        if self.find(NODE, name):
            raise ValueError(f"elementwise node {name!r} has the name of node {leaf.name!r}'s array")
        first = self.find(ARRAY, name)
        if first is None:
            self.new[ARRAY][name] = row
            return
        other, expected = first
        who = f"nodes {other.name!r} and {leaf.name!r} share array {name!r}"
        if shape != expected:
            raise ValueError(f"{who} but have shapes {expected} and {shape}")
        if other.fixed != leaf.fixed:
            raise ValueError(f"{who} but fixed={other.fixed!r} and {leaf.fixed!r}")

    def _inner(self, index: str, row: bool) -> None:
        if self.find(SUMMED, index):
            self.twice = self.twice or index
        self.new[SUMMED][index] = row

    def sums(self, indices: Iterable[str]) -> Inside:
        """The table, with the indices that are summed at this level."""
        self.new[SUMMED].update(dict.fromkeys(indices, True))
        return self.base.extended([(k, key, value) for k, rows in enumerate(self.new) for key, value in rows.items()])


def of_leaves(nodes: Sequence[Node], output: Iterable[str], sizes: Mapping[str, int]) -> Inside | None:
    """The table of a network of leaves alone; None where names or arrays are there twice, which has to be looked at."""
    names = {node.name: False for node in nodes}
    arrays = {node.array: (node, tuple([sizes[i] for i in node.inds])) for node in nodes}
    if len(names) < len(nodes) or len(arrays) < len(nodes):
        return None
    kept = set(output)
    rows = [(kind, key, value) for kind, own in ((NODE, names), (ARRAY, arrays)) for key, value in own.items()]
    return Inside(_Store([*rows, *[(SUMMED, i, True) for i in sizes if i not in kept]]))

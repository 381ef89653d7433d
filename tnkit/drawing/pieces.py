"""A connected part of a network as a graph: who is beside whom, and where indices are open.

A layout knows structure alone: it sees neighbours, numbers of legs, and the order of nodes and of the output.  It never reads
a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tnkit.core.breadth import distances
from tnkit.core.network import Network
from tnkit.drawing.wires import Spots, Vertex, Wire

__all__ = ["Arrangement", "GraphPart", "Layout", "parts_of", "pieces_of", "subpiece"]

Near = Mapping[Vertex, tuple[Vertex, ...]]


@dataclass(frozen=True)
class GraphPart:
    """Vertices in their order, and what a layout may know of them."""

    near: Near  #: vertex -> its neighbours; both in the network's order, the dots of hyperedges last
    legs: Mapping[Vertex, int]  #: how many open indices end there
    axes: Mapping[Vertex, tuple[str, ...]]  #: the indices of a leaf, in the order of its array
    output: tuple[str, ...]  #: the open indices that end here, in the order of the output; then bonds to hidden leaves
    depth: Mapping[Vertex, int]  #: how many Elementwise nodes a leaf is in
    dots: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  #: the leaves of each index that is drawn with a dot

    @property
    def edges(self) -> int:
        """Pairs of neighbours."""
        return sum(map(len, self.near.values())) // 2


@dataclass(frozen=True)
class Arrangement:
    """Where the vertices of a piece stand, and which pairs are joined around the back, as in a periodic lattice."""

    spots: Spots
    around: frozenset[frozenset[Vertex]] = frozenset()
    kind: str = ""

    def moved(self, by: complex) -> Arrangement:
        """The same, elsewhere."""
        return Arrangement({v: (at + by, aim) for v, (at, aim) in self.spots.items()}, self.around, self.kind)


Layout = Callable[[GraphPart], Arrangement | None]  #: None where it does not suit


def pieces_of(net: Network, names: Sequence[str], wires: Sequence[Wire], depth: Mapping[str, int]) -> list[GraphPart]:
    """The connected parts of some leaves, first ones first; hyperedges join them where the plain edges leave them apart."""
    near: dict[Vertex, dict[Vertex, None]] = {name: {} for name in names}
    legs: dict[Vertex, int] = dict.fromkeys(names, 0)
    hyper: list[tuple[str, list[str]]] = []
    for wire in wires:
        ends = list(dict.fromkeys(leaf for leaf in wire.leaves if leaf in near))
        if len(ends) == 1:
            legs[ends[0]] += wire.open or bool(wire.hidden)
        elif len(ends) == 2:
            near[ends[0]][ends[1]] = near[ends[1]][ends[0]] = None
        elif ends:
            hyper.append((wire.ind, ends))
    if len(parts_of(near)) > 1:
        for ind, ends in hyper:
            near[(ind,)] = dict.fromkeys(ends)
            legs[(ind,)] = 0
            for leaf in ends:
                near[leaf][(ind,)] = None
    dots = {w.ind: tuple(dict.fromkeys(leaf for leaf in w.leaves if leaf in near)) for w in wires if w.kind == "dot"}
    order: dict[Vertex, int] = {v: k for k, v in enumerate(near)}
    axes: dict[Vertex, tuple[str, ...]] = {leaf.name: leaf.inds for leaf in net.leaves if leaf.name in near}
    hidden = [wire.ind for wire in wires if wire.hidden and not wire.open]
    kept = {i: k for k, i in enumerate([*net.output, *hidden])}
    found = []
    for part in parts_of(near):
        inside = set(part)
        mine = sorted((i for v in part for i in axes.get(v, ()) if i in kept), key=kept.__getitem__)
        found.append(
            GraphPart(
                {v: tuple(sorted(near[v], key=order.__getitem__)) for v in sorted(part, key=order.__getitem__)},
                {v: legs[v] for v in part}, {v: axes[v] for v in part if isinstance(v, str)}, tuple(dict.fromkeys(mine)),
                {v: depth[v] for v in part if isinstance(v, str)},
                {i: ends for i, ends in dots.items() if len(ends) > 1 and ends[0] in inside},
            )
        )  # fmt: skip
    return found


def subpiece(piece: GraphPart, part: Iterable[Vertex], legs: Mapping[Vertex, int]) -> GraphPart:
    """The piece that some vertices are by themselves, with other numbers of legs."""
    inside = set(part)
    near = {v: tuple(u for u in piece.near[v] if u in inside) for v in piece.near if v in inside}
    return GraphPart(near, {v: legs.get(v, 0) for v in near}, {}, (), {v: piece.depth.get(v, 0) for v in near})


def parts_of(near: Mapping[Vertex, Iterable[Vertex]]) -> list[list[Vertex]]:
    """Connected parts, in the order of their first vertices."""
    seen: set[Vertex] = set()
    parts = []
    for start in near:
        if start not in seen:
            part = list(distances(near, start))
            seen.update(part)
            parts.append(part)
    return parts

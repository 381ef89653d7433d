"""A network flattened for its picture: its leaves, and every index at every depth as a wire between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tnkit.core.network import Elementwise, Network, levels

__all__ = [
    "BOTH",
    "DOWN",
    "LEG",
    "RADIUS",
    "UP",
    "Spots",
    "Vertex",
    "Wire",
    "bodies",
    "depths",
    "wires_of",
    "with_hidden",
]

Vertex = str | tuple[str]  #: a leaf's name, or ``(index,)`` for the dot of a hyperedge
Spots = dict[Vertex, tuple[complex, complex]]  #: where a vertex is, and where its open legs would like to point

RADIUS, LEG = 0.25, 0.66  # of a node, and from its centre to the end of an open leg; neighbours are 1 apart
UP, DOWN, BOTH = 1j, -1j, 0j  # where legs point; BOTH: the first up, the others down, as operators are drawn


@dataclass(frozen=True)
class Wire:
    """An index as it is drawn: the leaves it ends at (a trace names one twice), and its free, summed or hidden ends."""

    ind: str
    size: int
    leaves: tuple[str, ...]
    open: bool
    summed: bool
    hidden: int = 0  #: ends at leaves that an elided picture leaves out

    @property
    def kind(self) -> str:
        """One of stub, trace, edge and dot."""
        if len(self.leaves) == 1:
            return "stub"
        if len(self.leaves) > 2 or self.open or self.summed or self.hidden:
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
        kept = set(level.output)
        for i, size in level.sizes.items():
            sizes.setdefault(i, size)
        # An index that ends at one node of its level and is not kept is summed there, even if several leaves inside
        # an Elementwise carry it.
        summed.update(i for i, names in level.edges.items() if len(names) == 1 and i not in kept)
    ends: dict[str, list[str]] = {i: [] for i in sizes}
    for leaf in net.leaves:
        for i in leaf.inds:
            ends[i].append(leaf.name)
    output = set(net.output)
    return [Wire(i, sizes[i], tuple(ends[i]), i in output, i in summed) for i in sizes]


def depths(net: Network) -> dict[str, int]:
    """Leaf -> how many Elementwise nodes it is in."""
    found: dict[str, int] = {}
    todo = [(net, 0)]
    while todo:
        level, depth = todo.pop()
        for node in level.nodes:
            if isinstance(node, Elementwise):
                todo += [(body, depth + 1) for body in node.bodies]
            else:
                found[node.name] = depth
    return found


def with_hidden(wires: Sequence[Wire], names: frozenset[str]) -> list[Wire]:
    """The wires of a picture that leaves out some leaves: each knows how many of its ends are hidden."""
    found = []
    for wire in wires:
        left = tuple(leaf for leaf in wire.leaves if leaf in names)
        if left:
            found.append(replace(wire, leaves=left, hidden=len(wire.leaves) - len(left)))
    return found

"""Where the nodes of a picture stand, chosen from the structure: the first layout that suits, of the whole or of its parts.

A nested network is flattened: its leaves are placed, every index becomes a wire between them, and an Elementwise node is a
box behind its leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tnkit.core import nested
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.drawing import layouts
from tnkit.drawing.boxes import apart, boxes_of
from tnkit.drawing.lattices import grid, periodic
from tnkit.drawing.layers import layered
from tnkit.drawing.mirrors import mirror
from tnkit.drawing.pieces import Arrangement, GraphPart, Layout, pieces_of
from tnkit.drawing.springs import springs
from tnkit.drawing.wires import DOWN, UP, Wire, bodies, depths, wires_of

__all__ = ["LAYOUTS", "layout", "placed_by", "placed_of"]


def _sandwich(piece: GraphPart) -> Arrangement | None:
    return mirror(piece, _piece_placed)


def _circuit(piece: GraphPart) -> Arrangement | None:
    """Layers, of gates that keep the number of indices."""
    placed = layered(piece)
    return placed if placed and placed.kind == "layers" else None


#: Layouts by name; of a connected piece the first one that suits is taken.
LAYOUTS: Mapping[str, Layout] = {
    "row": layouts.row_layout, "line": layouts.line_layout, "ring": layouts.ring_layout, "star": layouts.star, "fan": layouts.fan,
    "tree": layouts.tree_layout, "layers": layered, "grid": grid, "periodic": periodic, "mirror": _sandwich, "springs": springs,
}  # fmt: skip


@dataclass(frozen=True)
class _Scope:
    """What is placed: the wires between leaves, how deep these are, which of them are in the picture."""

    wires: Sequence[Wire]
    depth: Mapping[str, int]
    visible: frozenset[str]

    def pieces(self, net: Network, names: Sequence[str]) -> list[GraphPart]:
        return pieces_of(net, [name for name in names if name in self.visible], self.wires, self.depth)


def layout(net: Network) -> dict[str, tuple[float, float]]:
    """Place every leaf of a network, nested ones included.

    The shape follows from the structure alone: a path is a line, a cycle a ring, a star or a tree hangs from its centre, a
    lattice is a grid, a circuit is in layers, a sandwich is its own mirror image, and anything else is held by springs.  In a
    nonlinear network that is no circuit, each box stands below what is outside it.

    Parameters
    ----------
    net
        Any network.

    Returns
    -------
    dict
        Leaf name -> (x, y), neighbours about 1 apart; the same network gives the same places.
    """
    return {v: (at.real, at.imag) for v, (at, _) in placed_of(net, wires_of(net)).spots.items() if isinstance(v, str)}


def placed_of(net: Network, wires: Sequence[Wire], visible: frozenset[str] | None = None) -> Arrangement:
    """Places of the leaves in the picture, all of them by default: of the whole by layers, else of its levels one by one."""
    scope = _Scope(wires, depths(net), visible if visible is not None else frozenset(leaf.name for leaf in net.leaves))
    whole: dict[int, Arrangement | None] = {}

    def inner(level: Network) -> list[Network]:
        if id(level) not in whole:
            whole[id(level)] = _layered(level, scope)
        return bodies(level) if whole[id(level)] is None else []

    return nested.fold_upward(net, inner, lambda level, below: whole[id(level)] or _stack(level, below, scope))


def placed_by(name: str, net: Network, wires: Sequence[Wire]) -> Arrangement | None:
    """All leaves by one of :data:`LAYOUTS`, boxes or not; None where it does not suit."""
    scope = _Scope(wires, depths(net), frozenset(leaf.name for leaf in net.leaves))
    parts = [LAYOUTS[name](piece) for piece in scope.pieces(net, [leaf.name for leaf in net.leaves])]
    found = [part for part in parts if part is not None]
    return _beside(found, gap=1.3) if len(found) == len(parts) else None


def _layered(net: Network, scope: _Scope) -> Arrangement | None:
    """A nonlinear network as one circuit, its boxes around layers; None where that does not suit."""
    if not any(isinstance(node, Elementwise) for node in net.nodes):
        return None
    pieces = scope.pieces(net, [leaf.name for leaf in net.leaves])
    parts = [layered(piece) if len(piece.near) > 1 else layouts.line_layout(piece) for piece in pieces]
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return None
    placed = _beside(sorted(found, key=lambda part: len(part.spots) == 1), gap=1.3)
    return placed if apart(net, placed.spots, boxes_of(net, placed.spots)) else None


def _stack(net: Network, inner: Sequence[Arrangement], scope: _Scope) -> Arrangement:
    """Every Elementwise node's leaves apart from the others, so that boxes hold only what is theirs."""
    below = _beside([part for part in inner if part.spots], gap=1.9)
    own = scope.pieces(net, [node.name for node in net.nodes if isinstance(node, Node)])
    above = _beside([_piece_placed(piece) for piece in own], gap=1.3)
    if not below.spots or not above.spots:
        return above if above.spots else below
    lift = 1j * (max(z.imag for z, _ in below.spots.values()) + 1.4 - min(z.imag for z, _ in above.spots.values()))
    raised = {v: (z + lift, UP if aim == DOWN else aim) for v, (z, aim) in above.spots.items()}
    return Arrangement(below.spots | raised, below.around | above.around, "stack")


def _beside(parts: Sequence[Arrangement], gap: float) -> Arrangement:
    """Parts from left to right, centred on the origin."""
    if len(parts) == 1:
        kind, around = parts[0].kind, parts[0].around
    else:
        kind, around = "parts", frozenset[frozenset[str | tuple[str]]]().union(*(part.around for part in parts))
    made = Arrangement({}, around, kind)
    cursor = 0.0
    for part in parts:
        xs, ys = [z.real for z, _ in part.spots.values()], [z.imag for z, _ in part.spots.values()]
        made.spots.update(part.moved(complex(cursor - min(xs), -(min(ys) + max(ys)) / 2)).spots)
        cursor += max(xs) - min(xs) + gap
    return replace(made.moved(-(cursor - gap) / 2), kind=kind) if parts else made


def _piece_placed(piece: GraphPart) -> Arrangement:
    """One connected piece, by the first layout that suits."""
    tried: list[Callable[[GraphPart], Arrangement | None]] = [*LAYOUTS.values()]
    tried.insert(tried.index(layouts.tree_layout), _circuit)  # a shallow wall is a tree as well
    return next(placed for suits in tried if (placed := suits(piece)) is not None)

"""Pictures of large networks: which leaves stay, and what is said in the place of the others."""

from __future__ import annotations

import cmath
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import pi

import numpy as np

from tnkit.core.breadth import distances
from tnkit.core.network import Network
from tnkit.drawing.lattices import grid
from tnkit.drawing.layers import layered
from tnkit.drawing.layouts import fan, line_layout, ring_layout, star, tree_layout
from tnkit.drawing.pieces import Arrangement, GraphPart, pieces_of
from tnkit.drawing.placement import placed_of
from tnkit.drawing.wires import DOWN, Vertex, Wire, depths, with_hidden

__all__ = ["READABLE", "Excerpt", "Gap", "view_of"]

READABLE = 40  #: leaves that are drawn without leaving any out
_BUDGET = 30  #: about how many are drawn of a larger network
_WIDE = ("line", "grid", "layers", "fan")  #: layouts in which columns can be left out
_FAST = (
    line_layout,
    ring_layout,
    star,
    fan,
    tree_layout,
    layered,
    grid,
)  #: layouts that take time in proportion to the network


@dataclass(frozen=True)
class Gap:
    """Where leaves are left out, and how many."""

    at: complex
    hidden: int

    @property
    def text(self) -> str:
        """What is written there."""
        return f"... {self.hidden:,} more ..." if self.hidden else "..."


@dataclass(frozen=True)
class Excerpt:
    """What of a network is drawn, and where."""

    placed: Arrangement
    wires: Sequence[Wire]
    gaps: tuple[Gap, ...] = ()
    stumps: tuple[tuple[str, str, complex], ...] = ()  #: leaf, index, direction of a bond whose other end is hidden
    hidden: int = 0


def view_of(net: Network, wires: Sequence[Wire], marked: Collection[str] = ()) -> Excerpt:
    """All of a network that can be read whole; of a larger one its ends, and a gap that says how many leaves are not drawn.

    Parameters
    ----------
    net, wires
        What is drawn.
    marked
        Leaves that are drawn in any case.
    """
    names = [leaf.name for leaf in net.leaves]
    if len(names) <= READABLE:
        return Excerpt(placed_of(net, wires), wires)
    pieces = pieces_of(net, names, wires, depths(net))
    if len(pieces) == 1:
        placed = next((found for suits in _FAST if (found := suits(pieces[0])) is not None), None)
        if placed and placed.kind in ("ring", "star"):
            return _arc(placed, wires, marked)
        if placed and placed.kind in _WIDE:
            return _with_gaps(placed, wires, marked)
        if placed and placed.kind == "tree":
            rows = () if marked else _top_rows(placed)
            if rows:
                return _part(net, wires, rows)
            top = max(placed.spots, key=lambda v: placed.spots[v][0].imag)
            return _near(net, wires, pieces, [top, *marked])
    return _near(net, wires, pieces, marked)


def _near(net: Network, wires: Sequence[Wire], pieces: Sequence[GraphPart], first: Collection[Vertex]) -> Excerpt:
    """The first leaves and those around them, placed as a network of their own."""
    starts = list(first) or [next(iter(pieces[0].near))]
    near = {v: beside for piece in pieces for v, beside in piece.near.items()}
    reached = [v for v in distances(near, *starts) if isinstance(v, str)]
    others = (leaf.name for leaf in net.leaves)
    return _part(net, wires, [*dict.fromkeys([*reached, *others])][: max(_BUDGET, len(starts))])


def _top_rows(placed: Arrangement) -> list[str]:
    """The leaves of whole rows from the top, as many as can be read; none, if these are few."""
    rows: dict[float, list[str]] = {}
    for v, (z, _) in placed.spots.items():
        if isinstance(v, str):
            rows.setdefault(round(z.imag, 6), []).append(v)
    kept: list[str] = []
    for y in sorted(rows, reverse=True):
        if len(kept) + len(rows[y]) > READABLE:
            break
        kept += rows[y]
    return kept if 3 * len(kept) > _BUDGET else []


def _part(net: Network, wires: Sequence[Wire], names: Collection[str]) -> Excerpt:
    """Some leaves, placed as a network of their own."""
    kept = frozenset(names)
    left = with_hidden(wires, kept)
    placed = placed_of(net, left, kept)
    zs = [z for z, _ in placed.spots.values()]
    hidden = len(net.leaves) - len(kept)
    middle = complex((min(z.real for z in zs) + max(z.real for z in zs)) / 2, min(z.imag for z in zs) - 1.5)
    return Excerpt(placed, left, (Gap(middle, hidden),), (), hidden)


def _arc(placed: Arrangement, wires: Sequence[Wire], marked: Collection[str]) -> Excerpt:
    """A ring, or a star, with a gap between its last leaf and its first."""
    hub = [v for v, (z, _) in placed.spots.items() if abs(z) < 1e-9]
    cycle = [v for v in placed.spots if v not in hub]
    kept = [*cycle[: 2 * _BUDGET // 3], *cycle[-(_BUDGET // 3) :]]
    stays = {*kept, *marked}
    order = [v for v in cycle if v in stays]
    slots = len(order) + 3
    radius = 1.15 * slots / (2 * pi)
    place = {v: k for k, v in enumerate(cycle)}
    cut = next((k for k, (u, v) in enumerate(pairwise(order)) if place[v] - place[u] > 1), 0) + 1
    turn = [cmath.rect(1, pi / 2 - 2 * pi * (k if k < cut else k + 3) / slots) for k in range(len(order))]
    spots = {v: (radius * t, t) for v, t in zip(order, turn, strict=True)} | {v: placed.spots[v] for v in hub}
    gap = Gap(radius * cmath.rect(1, pi / 2 - 2 * pi * (cut + 1) / slots), len(cycle) - len(order))
    names = frozenset(v for v in spots if isinstance(v, str))
    stumps = []
    for wire in with_hidden(wires, names):
        if wire.kind == "stub" and wire.hidden:
            at = spots[wire.leaves[0]][0]
            stumps.append((wire.leaves[0], wire.ind, (gap.at - at) / abs(gap.at - at)))
    return Excerpt(replace(placed, spots=spots), with_hidden(wires, names), (gap,), tuple(stumps), gap.hidden)


def _with_gaps(placed: Arrangement, wires: Sequence[Wire], marked: Collection[str]) -> Excerpt:
    """The outer columns, and of many rows the outer ones, moved together."""
    nodes = {v: z for v, (z, _) in placed.spots.items() if isinstance(v, str)}
    if placed.kind == "fan":  # its hub stands apart from the row
        hub = next(v for v, (_, aim) in placed.spots.items() if aim == -DOWN)
        nodes.pop(hub, None) if isinstance(hub, str) else None
    rows = Counter(round(z.imag, 6) for z in nodes.values())
    columns = Counter(round(z.real, 6) for z in nodes.values())
    both = min(len(rows), len(columns)) > 6
    budget = _BUDGET if len(rows) > 1 else 2 * _BUDGET // 3
    xs = {round(nodes[v].real, 6) for v in marked if v in nodes}
    ys = {round(nodes[v].imag, 6) for v in marked if v in nodes}
    kept_rows = _ends(dict.fromkeys(sorted(rows, reverse=True), 1), 5) | ys if both else set(rows)
    inside = Counter(round(z.real, 6) for z in nodes.values() if round(z.imag, 6) in kept_rows)
    if not both and len(columns) <= 6 < len(rows):
        kept_columns, kept_rows = set(columns), _ends({y: rows[y] for y in sorted(rows, reverse=True)}, _BUDGET) | ys
    else:
        kept_columns = _ends({x: inside[x] for x in sorted(inside)}, budget) | xs
    kept = [v for v, z in nodes.items() if round(z.real, 6) in kept_columns and round(z.imag, 6) in kept_rows]
    return _closed_up(placed, wires, nodes, kept, (sorted(columns), kept_columns), (sorted(rows), kept_rows))


def _ends(counts: Mapping[float, int], budget: int) -> set[float]:
    """Keys from both ends, two of the first to one of the last, as many as the budget allows."""
    left, right, kept, taken = list(counts), list(counts)[::-1], set[float](), 0
    for turn in range(len(left)):
        side = right if turn % 3 == 2 else left
        key = next(key for key in side if key not in kept)
        if taken + counts[key] > budget and len(kept) > 2:
            break
        kept.add(key)
        taken += counts[key]
    return kept


def _moved_together(
    every: Sequence[float], kept: Collection[float], gap: float
) -> tuple[list[float], list[float], list[float]]:
    """Kept coordinates, where they go, and the middles of the gaps, each between two kept ones."""
    left = [x for x in every if x in kept]
    place, middles = [0.0], []
    for a, b in pairwise(left):
        beside = every.index(b) == every.index(a) + 1
        place.append(place[-1] + (b - a if beside else gap))
        if not beside:
            middles.append((place[-1] + place[-2]) / 2)
    return left, place, middles


def _closed_up(
    placed: Arrangement, wires: Sequence[Wire], nodes: Mapping[str, complex], kept: Sequence[str],
    columns: tuple[list[float], Collection[float]], rows: tuple[list[float], Collection[float]],
) -> Excerpt:  # fmt: skip
    from_x, to_x, x_gaps = _moved_together(*columns, gap=2.6)
    from_y, to_y, y_gaps = _moved_together(*rows, gap=1.9)
    names = frozenset(kept) | {v for v, (z, _) in placed.spots.items() if isinstance(v, str) and v not in nodes}
    spots = {}
    for v, (z, aim) in placed.spots.items():
        if v in names or isinstance(v, tuple):
            x, y = float(np.interp(z.real, from_x, to_x)), float(np.interp(z.imag, from_y, to_y))
            y += max(0.0, z.imag - from_y[-1] - 1e-6)  # a hub stands above its row
            spots[v] = (complex(x, y), aim)
    hidden = len(nodes) - len(kept)
    middle_x, middle_y = (to_x[0] + to_x[-1]) / 2, (to_y[0] + to_y[-1]) / 2
    gaps = [Gap(complex(x, middle_y), 0) for x in x_gaps] + [Gap(complex(middle_x, y), 0) for y in y_gaps]
    if x_gaps and y_gaps:
        gaps = [Gap(complex(x_gaps[0], y_gaps[0]), 0)]
    gaps[0] = replace(gaps[0], hidden=hidden)
    left = with_hidden(wires, names)
    original = {v: z for v, (z, _) in placed.spots.items()}
    whole = {wire.ind: wire.leaves for wire in wires}
    stumps = []
    for wire in left:
        if wire.kind == "stub" and wire.hidden:
            other = next(v for v in whole[wire.ind] if v not in names)
            way = original[other] - original[wire.leaves[0]]
            stumps.append((wire.leaves[0], wire.ind, way / abs(way)))
    return Excerpt(replace(placed, spots=spots), left, tuple(gaps), tuple(stumps), hidden)

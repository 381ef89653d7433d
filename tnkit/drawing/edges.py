"""Where the wires of a picture run: curves around nodes, places for hyperedges, directions of open legs."""

from __future__ import annotations

import cmath
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from tnkit.drawing.wires import BOTH, DOWN, LEG, RADIUS, UP, Spots, Vertex, Wire

__all__ = ["Route", "add_dots", "legs_of", "routes_of"]


_DOT_LEG = 0.55  #: from a dot to the name of its open leg
_FURTHER = 20  #: how often a dot that finds no room is looked for further out: nodes may share many hyperedges


@dataclass(frozen=True)
class Route:
    """A curve between two vertices: a quadratic Bezier curve, straight where nothing is in the way."""

    wire: Wire
    ends: tuple[Vertex, Vertex]
    start: complex
    control: complex
    stop: complex
    cut: complex = 0j

    @property
    def away(self) -> tuple[complex, complex]:
        """Directions in which it leaves its ends."""
        return (self.cut, -self.cut) if self.cut else (self.control - self.start, self.control - self.stop)

    @property
    def pieces(self) -> list[list[complex]]:
        """Control points of what is drawn: one curve, or two stumps of an edge that goes around a periodic lattice."""
        if self.cut:
            return [[self.start, self.start + self.cut], [self.stop, self.stop - self.cut]]
        return [[self.start, self.control, self.stop]]

    def at(self, t: float) -> complex:
        """The point at ``t`` in [0, 1]."""
        if self.cut:
            return self.start + 2 * t * self.cut if t < 0.5 else self.stop - 2 * (1 - t) * self.cut
        return (1 - t) ** 2 * self.start + 2 * t * (1 - t) * self.control + t * t * self.stop

    def points(self, step: float) -> list[complex]:
        """Points along it, no more than about a step apart."""
        length = 1.2 if self.cut else abs(self.control - self.start) + abs(self.stop - self.control)
        return [self.at(t) for t in np.linspace(0.05, 0.95, min(200, max(17, int(length / step))))]

    def clearance(self, centres: Any) -> float:
        """Distance from the curve to the nearest of ``centres``."""
        points = np.array([self.at(t) for t in np.linspace(0.05, 0.95, 25)])
        return float(abs(points[:, None] - centres).min()) if centres.size else 9.0


def _bent(wire: Wire, ends: tuple[Vertex, Vertex], spots: Spots, bend: float) -> Route:
    a, b = spots[ends[0]][0], spots[ends[1]][0]
    normal = (b - a) * 1j / abs(b - a)
    return Route(wire, ends, a, (a + b) / 2 + 2 * bend * normal, b)


def _stump(ends: tuple[Vertex, Vertex], spots: Spots) -> complex:
    """How the first end of a bond around the back is drawn: away from the second one."""
    across = spots[ends[1]][0] - spots[ends[0]][0]
    if abs(across.real) >= abs(across.imag):
        return complex(-0.6 if across.real > 0 else 0.6, max(-0.6, min(0.6, across.imag / 2)))
    return complex(max(-0.6, min(0.6, across.real / 2)), -0.6 if across.imag > 0 else 0.6)


def add_dots(spots: Spots, wires: Sequence[Wire]) -> None:
    """Places for the hyperedges that the layout gave none: near the middle of their nodes, away from everything."""
    ring = [r * cmath.rect(1, pi / 2 - pi * k / 4) for r in (0.5, 0.8, 1.1, 1.5) for k in range(8)]
    for wire in (w for w in wires if w.kind == "dot" and (w.ind,) not in spots):
        centres = {v: at for v, (at, _) in spots.items()}
        ends = sorted(set(wire.leaves))
        middle = sum(centres[v] for v in ends) / len(ends)
        tries = [0j, *ring]
        for _ in range(_FURTHER):
            rooms = [_dot_room(middle + z, ends, centres) for z in tries]
            if max(rooms) > 0:
                break
            tries = [z + 1.6 * z / abs(z) for z in tries if z]
        best = tries[rooms.index(max(rooms))]  # the first of equals: as near the middle as can be
        spots[(wire.ind,)] = (middle + best, best / abs(best) if best else UP)


def _dot_room(at: complex, ends: Sequence[str], centres: dict[Vertex, complex]) -> float:
    """How far a dot's lines to its nodes keep from other nodes, 0.3 at most; 0 where the dot is too near to one."""
    if min(abs(at - z) for z in centres.values()) < 0.4:
        return 0.0
    lines = [(v, at + t * (centres[v] - at)) for v in ends for t in np.linspace(0, 0.9, 7)]
    return float(min([0.3, *(abs(p - z) for v, p in lines for w, z in centres.items() if w != v)]))


def routes_of(spots: Spots, wires: Sequence[Wire], around: Collection[frozenset[Vertex]] = frozenset()) -> list[Route]:
    """Every edge and every line to a dot; parallel ones side by side, all around the nodes in their way."""
    groups: dict[tuple[Vertex, Vertex], list[Wire]] = {}
    for wire in wires:
        if wire.kind == "edge":
            groups.setdefault((min(wire.leaves), max(wire.leaves)), []).append(wire)
        for leaf in wire.leaves if wire.kind == "dot" else ():
            groups.setdefault((leaf, (wire.ind,)), []).append(wire)
    routes = []
    for ends, group in groups.items():
        nodes = np.array([at for v, (at, _) in spots.items() if v not in ends and isinstance(v, str)])
        dots = np.array([at for v, (at, _) in spots.items() if v not in ends and isinstance(v, tuple)])
        if frozenset(ends) in around:
            cut = _stump(ends, spots)
            routes += [replace(_bent(wire, ends, spots, 0), cut=cut) for wire in group]
            continue
        stretch = max(1.0, abs(spots[ends[0]][0] - spots[ends[1]][0]) / 4)
        best: tuple[float, list[Route]] = (-1.0, [])
        for shift in (0, 0.4, -0.4, 0.7, -0.7, 1.0, -1.0, 1.5, -1.5):
            bends = [shift * stretch + 0.22 * (k - (len(group) - 1) / 2) for k in range(len(group))]
            tried = [_bent(wire, ends, spots, bend) for wire, bend in zip(group, bends, strict=True)]
            free = (min(r.clearance(nodes), r.clearance(dots) + 0.18) for r in tried)  # a dot is small
            room = min(RADIUS + 0.05, *free)
            if room > best[0]:
                best = (room, tried)
        routes += best[1]
    return routes


def legs_of(spots: Spots, wires: Sequence[Wire], routes: Sequence[Route]) -> dict[str, tuple[Vertex, complex]]:
    """Index -> (vertex, direction) of every stub and trace, in the free room around its vertex."""
    taken: dict[Vertex, list[complex]] = {v: [] for v in spots}
    for route in routes:
        for v, away in zip(route.ends, route.away, strict=True):
            taken[v].append(away / abs(away))
    points = [route.at(t) for route in routes for t in np.linspace(0, 1, 12)] + [at for at, _ in spots.values()]
    hosts: dict[Vertex, list[str]] = {}
    for wire in wires:
        if wire.kind == "dot" and (wire.open or wire.summed):
            hosts[(wire.ind,)] = [wire.ind]
    legs: dict[str, tuple[Vertex, complex]] = {}
    for kind in ("stub", "trace"):
        for wire in (w for w in wires if w.kind == kind):
            hosts.setdefault(wire.leaves[0], []).append(wire.ind)
        for v, inds in hosts.items():
            aim = spots[v][1]
            parts = [(inds[:1], UP), (inds[1:], DOWN)] if aim == BOTH else [(inds, aim)]
            for part, to in parts:  # the second one is empty where a node has one leg
                chosen = (
                    _fan(
                        to,
                        len(part),
                        taken[v],
                        np.array(points) - spots[v][0],
                        1.15 * LEG if isinstance(v, str) else _DOT_LEG,
                    )
                    if part
                    else []
                )
                taken[v] += chosen
                legs.update({ind: (v, way) for ind, way in zip(part, chosen, strict=True)})
        hosts = {}
    return legs


def _fan(aim: complex, k: int, taken: Sequence[complex], others: Any, reach: float) -> list[complex]:
    """Directions of ``k`` legs, left to right, as near ``aim`` as leaves room to what is taken and to other points.

    ``reach`` is how far out their names stand.
    """
    spread = min(38.0, 160.0 / k) * pi / 180
    fan = [cmath.rect(1, spread * ((k - 1) / 2 - j)) for j in range(k)]

    def score(turn: int) -> float:
        ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
        gap = min((abs(cmath.phase(w / t)) for w in ways for t in taken), default=pi)
        near = min(float(abs(others - reach * w).min()) for w in ways)
        return min(gap, 0.7) + min(near, 0.35) - 0.1 * abs(turn) * pi / 12

    turn = max((sign * m for m in range(12) for sign in (1, -1)), key=score)
    ways = [aim * cmath.rect(1, turn * pi / 12) * f for f in fan]
    return sorted(ways, key=lambda w: round(w.real, 6))

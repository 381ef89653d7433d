"""The contractions of a plan, numbered on its picture."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from itertools import islice
from math import pi

from tnkit.core.network import Network, folded
from tnkit.core.node import Node
from tnkit.drawing.edges import Route
from tnkit.drawing.wires import Spots
from tnkit.planning.plan import Plan

__all__ = ["merges", "step_places"]


def merges(plan: Plan) -> list[tuple[set[str], set[str]]]:
    """The leaves on both sides of every contraction, in order; read from the paths, as tied nodes share a slot."""
    paths = iter(plan.paths)
    pairs: list[tuple[set[str], set[str]]] = []

    def merged(net: Network, bodies: list[set[str]]) -> set[str]:
        inner = iter(bodies)
        live = [{n.name} if isinstance(n, Node) else set().union(*islice(inner, len(n.bodies))) for n in net.nodes]
        for pair in next(paths):
            if len(pair) == 2:
                a, b = live[pair[0]], live[pair[1]]
                pairs.append((a, b))
                live = [group for k, group in enumerate(live) if k not in pair] + [a | b]
        return set().union(*live)

    folded(plan.network, merged)
    return pairs


def step_places(pairs: Sequence[tuple[set[str], set[str]]], spots: Spots, routes: Sequence[Route]) -> list[complex]:
    """Where each contraction's number goes: on an index that the pair shares, else between the two groups."""
    placed: list[complex] = []
    nodes = [at for at, _ in spots.values()]
    for a, b in pairs:
        joins = [r for r in routes if not a.isdisjoint(r.wire.leaves) and not b.isdisjoint(r.wire.leaves)]
        tries = [r.at(0.5) for r in joins if r.wire.kind == "edge"]
        if len(tries) < len(joins):  # a hyperedge: between the groups' nearest nodes, or on a line of the smaller group
            near = min(
                ((spots[u][0], spots[v][0]) for u in sorted(a) for v in sorted(b)),
                key=lambda z: round(abs(z[0] - z[1]), 6),
            )
            tries += [sum(near) / 2] if abs(near[0] - near[1]) < 1.2 else []
            tries += [r.at(0.55) for r in joins if r.wire.kind == "dot" and r.ends[0] in min(a, b, key=len)]
        between = sum(sum(spots[v][0] for v in sorted(group)) / len(group) for group in (a, b)) / 2
        tries += [between + r * cmath.rect(1, k * pi / 4) for r in (0, 0.45, 0.8, 1.2, 1.6) for k in range(8)]
        free = (z for z in tries if all(abs(z - p) > 0.3 for p in placed) and all(abs(z - p) > 0.4 for p in nodes))
        placed.append(next(free, tries[0]))
    return placed

"""Where names of indices stand: beside their lines, away from nodes, lines and each other; or nowhere, if there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tnkit.drawing.edges import Route
from tnkit.drawing.scene import Words
from tnkit.drawing.wires import RADIUS

__all__ = ["Room", "beside", "shortened"]


def shortened(name: str, most: int) -> str:
    """A name of at most this many letters, its middle left out."""
    return name if len(name) <= most else f"{name[: (most - 1) // 2 + 1]}…{name[-((most - 1) // 2) :]}"


class Room:
    """What is in a picture so far: circles, points of lines, and words."""

    def __init__(self, nodes: Sequence[complex], lines: Sequence[complex], ends: Sequence[complex] = ()) -> None:
        self.nodes, self.lines = np.array(list(nodes), complex), np.array(list(lines), complex)
        self.ends = np.array(list(ends), complex)  # of dots, smaller than nodes
        self.words: list[tuple[complex, float, float]] = []

    def add(self, words: Words) -> Words:
        """Remember words that stand where they must."""
        self.words.append((words.centre, *words.cover))
        return words

    def best(self, tries: Sequence[Words], own: Sequence[complex] = (), must: bool = False) -> Words | None:
        """The first of the least crowded places; None where each of them is on a node, unless they ``must`` stand."""
        if not tries:
            return None
        costs = [self._cost(words, own) for words in tries]
        k = costs.index(min(costs))
        return self.add(tries[k]) if costs[k] < 10 or must else None

    def _cost(self, words: Words, own: Sequence[complex]) -> float:
        at, (wide, high) = words.centre, words.reach
        cost = 10.0 * int((_gap(self.nodes - at, wide, high) < RADIUS + 0.03).sum())
        cost += 3.0 * int((_gap(self.ends - at, wide, high) < 0.09).sum())
        for other, w, h in self.words:
            off = other - at
            if abs(off.real) < wide + w + 0.02 and abs(off.imag) < high + h + 0.01:
                cost += 4
        crossed = int((_gap(self.lines - at, wide, high) < 0.02).sum())
        return (
            cost
            + 0.5 * min(crossed, 6)
            + (0.3 if len(own) and (_gap(np.array(own) - at, wide, high) <= 0).any() else 0)
        )


def _gap(off: np.ndarray, wide: float, high: float) -> np.ndarray:
    """Distances from points to a rectangle around the origin."""
    return abs(np.maximum(abs(off.real) - wide, 0) + 1j * np.maximum(abs(off.imag) - high, 0))


def beside(route: Route, words: Words, numbers: Sequence[Words] = ()) -> list[Words]:
    """Places for words along a line: beside its middle, further along, at last on it; past the ``numbers`` that stand on it."""
    wide, high = words.reach
    past = max((max(n.cover) for n in numbers if abs(n.centre - route.at(0.5)) < 0.05), default=0.0)
    along = route.stop - route.start
    side = along * 1j / abs(along)
    bow = route.control - (route.start + route.stop) / 2
    if abs(bow) > 1e-9:  # outside of the curve, so that parallel edges keep their names apart
        side = bow / abs(bow)
    elif (round(side.imag, 6), side.real) < (0, 0):
        side = -side
    offset = (max(0.05, past + 0.02) + wide * abs(side.real) + high * abs(side.imag)) * side
    ts = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
    return [replace(words, at=route.at(t) + sign * offset) for t in ts for sign in (1, -1)] + [
        replace(words, at=route.at(0.5))
    ]

"""The axis of a figure's values: where a value stands, which are marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from tnkit_nn.comparison.measure import Measure

__all__ = ["Scale", "counts_scale", "scale_of"]

#: Marks of a fraction of which more is better, those that matter most first.
_MARKS = (50, 80, 90, 95, 99, 97, 70, 98, 93, 85, 96, 99.5, 20, 10, 30, 60, 40, 0, 99.9)
#: More of them, where those are few.
_FINE = (94, 92, 88, 75, 98.5, 97.5, 96.5, 95.5, 91, 89, 87, 86, 65, 55, 45, 35)
#: What is missing to 100 is never taken to be less.
_LEAST = 0.05
#: Positive values that differ by more than this are shown on a logarithmic axis.
_WIDE = 20


@dataclass(frozen=True)
class Scale:
    """Values, as they are shown, on the line from 0 to 1.

    Attributes
    ----------
    kind
        ``missing``: the logarithm of what is missing to 100; ``log``; ``linear``.
    low, high
        The ends, as :meth:`_moved` gives them.
    """

    kind: str
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands; beyond the ends, at the end."""
        return min(1.0, max(0.0, self.place(value)))

    def beyond(self, value: float) -> int:
        """-1 where a value lies below the line, 1 where it lies above, else 0."""
        place = self.place(value)
        return -1 if place < -1e-9 else int(place > 1 + 1e-9)

    def place(self, value: float) -> float:
        """Where a value stands, outside 0 to 1 where it is beyond the ends."""
        return (_MOVES[self.kind](value) - self.low) / (self.high - self.low)

    def marks(self, apart: float) -> list[tuple[float, str]]:
        """Values to mark with their text, so that two are at least ``apart`` from each other, in parts of the line."""
        found: list[float] = []
        for value in self._candidates():
            if value in _FINE and self.kind == "missing" and len(found) > 4:
                break
            if not self.beyond(value) and all(abs(self.at(value) - self.at(v)) >= apart for v in found):
                found.append(value)
        return [(value, f"{value:,.10g}") for value in sorted(found)]

    def _candidates(self) -> Iterable[float]:
        if self.kind == "missing":
            return _MARKS + _FINE
        if self.kind == "log":
            decades = range(floor(self.low) - 1, ceil(self.high) + 1)
            if self.high - self.low < 0.5:
                return _steps(10.0**self.low, 10.0**self.high)
            return [m * 10.0**k for m in (1, 3, 2, 5, 7, 1.5, 4) for k in decades]
        return _steps(self.low, self.high)


def _steps(low: float, high: float) -> list[float]:
    """Round values between two, at least four where that can be."""
    step = 10.0 ** floor(log10((high - low) / 2))
    step = next((s for s in (5 * step, 2 * step, step) if (high - low) / s >= 4), step)
    return [round(k * step, 12) for k in range(ceil(low / step), floor(high / step) + 1)]


#: Kind -> how values are moved before they are placed.
_MOVES: dict[str, Callable[[float], float]] = {
    "missing": lambda v: -log10(max(100 - v, _LEAST)),
    "log": lambda v: log10(max(v, 1e-300)),
    "linear": lambda v: v,
}


def scale_of(values: Iterable[float], measure: Measure | None = None, room: float = 0.04) -> Scale:
    """The scale of values as they are shown (per cent, not fractions), with some room at the ends; those that are not finite do not count.

    ``measure``: what they are of; None of errors, whose axis is linear.
    """
    found = [v for v in values if isfinite(v)] or [0.0, 1.0]
    if measure is not None and measure.percent and measure.larger and max(found) <= 100:
        kind = "missing"
    elif measure is not None and min(found) > 0 and max(found) > _WIDE * min(found):
        kind = "log"
    else:
        kind = "linear"
    return _around(kind, found, room)


def counts_scale(values: Iterable[float], room: float = 0.03) -> Scale:
    """The logarithmic scale of counts, or of other costs."""
    return _around("log", [v for v in values if v > 0 and isfinite(v)] or [1.0, 10.0], room)


def _around(kind: str, values: list[float], room: float) -> Scale:
    places = [_MOVES[kind](v) for v in values]
    low, high = min(places), max(places)
    if high - low < 1e-12:  # one value stands in the middle
        half = {"missing": 0.1, "log": 0.15}.get(kind, abs(low) * 0.1 or 1.0)
        low, high = low - half, high + half
    pad = room * (high - low)
    return Scale(kind, low - pad, high + pad)

"""Curves of a training as SVG: lines with their names at their ends, points with their values, marks where something begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10

__all__ = ["Curve", "chart"]

#: What a chart is drawn in, and the same where there is little room: width, height, room for names at the right.
WIDE, NARROW = (900, 330, 190), (370, 280, 112)
_LEFT, _TOP, _BOTTOM = 56, 26, 40


@dataclass(frozen=True)
class Curve:
    """Values at places of the axis.

    Attributes
    ----------
    name
        What stands at its end; several words go on two lines where there is little room.
    points
        Places and values; what is no finite number is left out.
    kind
        A class of the page's style: ``read`` for what the page is about, ``control`` for what stands beside it.
    joined
        A line; else single points, each with its value beside it.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    kind: str
    joined: bool = True

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(x, y) for x, y in self.points if y is not None and isfinite(y)]


def chart(
    curves: Sequence[Curve],
    what: str,
    axis: str,
    *,
    percent: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    size: tuple[int, int, int] = WIDE,
) -> str:
    """The curves in one picture; no text where there is nothing to draw.

    Parameters
    ----------
    curves
        Drawn in this order.
    what, axis
        What is read, above the picture, and what stands below it.
    percent
        Values are fractions, and are written in percent.
    marks
        Places of upright lines, and what begins there.
    size
        :data:`WIDE` or :data:`NARROW`.
    """
    curves = [c for c in curves if c.finite]
    if not curves:
        return ""
    width, height, names = size
    places = [x for c in curves for x, _ in c.finite] + [x for x, _ in marks]
    values = [y for c in curves for _, y in c.finite]
    low, high = _span(min(values), max(values), percent)
    first, last = min(places), max(max(places), min(places) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        right, bottom = width - names, height - _BOTTOM
        across = _LEFT + (x - first) / (last - first) * (right - _LEFT)
        return across, bottom - (y - low) / (high - low) * (bottom - _TOP)

    parts = [f'<text class="axis" x="0" y="12">{escape(what)}</text>']
    for y in _ticks(low, high):
        across, down = at(first, y)
        parts.append(f'<path class="grid" d="M{across:.1f} {down:.1f}H{width - names}"/>')
        parts.append(
            f'<text class="axis" text-anchor="end" x="{_LEFT - 8}" y="{down + 4:.1f}">{_said(y, percent)}</text>'
        )
    parts += _across(at, (first, last), marks, (low, high), axis, (width - names, height))
    ends = []
    for c in curves:
        drawn = [at(x, y) for x, y in c.finite]
        if c.joined:
            parts.append(f'<path class="line {c.kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)}"/>')
        parts += [
            f'<circle class="dot {c.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{2.6 if c.joined else 5}"/>' for x, y in drawn
        ]
        ends.append((drawn[-1][1], c, c.finite[-1][1]))
    parts += _names(ends, width - names + 12, height, percent, size is NARROW)
    title = escape(f"{what}: " + "; ".join(f"{c.name} ends at {_said(c.finite[-1][1], percent)}" for c in curves))
    return f'<svg role="img" aria-label="{title}" viewBox="0 0 {width} {height}" width="{width}">{"".join(parts)}</svg>'


def _across(
    at: Callable[[float, float], tuple[float, float]],
    places: tuple[float, float],
    marks: Sequence[tuple[float, str]],
    span: tuple[float, float],
    axis: str,
    size: tuple[int, int],
) -> list[str]:
    """The lower axis: whole numbers, marks with their names, what is counted."""
    (first, last), (right, height) = places, size
    parts = [f'<text class="axis" text-anchor="end" x="{right}" y="{height - 4}">{escape(axis)}</text>']
    step = max(1, round((last - first) / 6))
    for x in range(int(first), int(last) + 1, step):
        across, down = at(x, span[0])
        parts.append(f'<text class="axis" text-anchor="middle" x="{across:.1f}" y="{down + 17:.1f}">{x}</text>')
    for k, (place, name) in enumerate(marks):
        (across, top), (_, down) = at(place, span[1]), at(place, span[0])
        parts.append(f'<path class="mark" d="M{across:.1f} {down:.1f}V{top - 4:.1f}"/>')
        anchor = ' text-anchor="end"' if across > 0.75 * right else ""
        parts.append(
            f'<text class="axis"{anchor} x="{across + (-4 if anchor else 4):.1f}" y="{top + 6 + 13 * (k % 2):.1f}">{escape(name)}</text>'
        )
    return parts


def _names(ends: list[tuple[float, Curve, float]], x: float, height: int, percent: bool, narrow: bool) -> list[str]:
    """Names and last values at the right, none upon another."""
    parts: list[str] = []
    room = 30
    ends.sort(key=lambda end: end[0])
    down: float = _TOP - room
    for k, (y, curve, value) in enumerate(ends):
        down = min(max(y, down + room), height - _BOTTOM - room * (len(ends) - 1 - k))
        lines = [curve.name, _said(value, percent)]
        size = ' font-size="12"' if narrow else ""
        parts += [
            f'<text class="name {curve.kind}"{size} x="{x:.0f}" y="{down + 14 * j:.1f}">{escape(line)}</text>'
            for j, line in enumerate(lines)
        ]
    return parts


def _said(value: float, percent: bool) -> str:
    return f"{100 * value:.4g} %" if percent else f"{value:.4g}"


def _span(low: float, high: float, percent: bool) -> tuple[float, float]:
    """A little more than the values, and some of it where all are one; fractions end at 0 and 1."""
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    ends = (max(0.0, low - room), min(1.0, high + room))
    return ends if percent and low >= 0 and high <= 1 else (low - room, high + room)


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round values within."""
    step = 10.0 ** floor(log10((high - low) / 2))
    while (high - low) / step > 6:
        step *= 2 if (high - low) / step <= 12 else 2.5
    first = floor(low / step) + (low > floor(low / step) * step)
    return [k * step for k in range(int(first), int(first) + 9) if k * step <= high]

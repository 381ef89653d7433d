"""Small drawings within a table's cells: the seeds of a row, and the interval of a difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from tnkit_nn.comparison.paired import NO_STATEMENT, NONE, NOT_COMPARED, Difference
from tnkit_nn.comparison.report.scale import Scale

__all__ = ["interval_strip", "reach", "seeds_strip"]

_WIDE = 96


def _x(place: float) -> str:
    return f"{3 + place * (_WIDE - 6):.1f}".removesuffix(".0")


def seeds_strip(seeds: Sequence[float], mean: float, scale: Scale) -> str:
    """Dots for the seeds and a line at their mean; an arrow where the mean is off the scale. Empty of what is not finite."""
    if not isfinite(mean):
        return ""
    off = scale.beyond(mean)
    if off:
        body = (
            '<path class="off" d="M8 4L3 8L8 12"/>' if off < 0 else f'<path class="off" d="M{_WIDE - 8} 4l5 4l-5 4"/>'
        )
    else:
        dots = "".join(f"M{_x(scale.at(v))} 8h0" for v in seeds if not scale.beyond(v))
        body = f'<path class="p" d="{dots}"/><path class="m" d="M{_x(scale.at(mean))} 2v12"/>'
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDE} 16" aria-hidden="true"><path class="r" d="M0 8h{_WIDE}"/>{body}</svg>'
    )


def reach(differences: Iterable[Difference]) -> float:
    """How far from zero the axis of intervals goes: all means, and all but the longest intervals, which end in an arrow."""
    found = list(differences)
    means = [abs(d.mean) for d in found if isfinite(d.mean)]
    bounds = sorted(abs(b) for d in found for b in (d.low, d.high) if isfinite(b))
    return max([*(1.12 * m for m in means), *bounds[int(0.8 * len(bounds)) :][:1]], default=1.0) or 1.0


def interval_strip(d: Difference, far: float) -> str:
    """A difference on the axis from ``-far`` to ``far``: its interval and its mean, open where it is not significant."""
    if not isfinite(d.mean):
        return ""
    scale = Scale("linear", -far, far)
    body = f'<path class="r" d="M{_WIDE / 2:g} 0v16"/>'
    if isfinite(d.low) and isfinite(d.high):
        body += f'<path class="i" d="M{_x(scale.at(d.low))} 8H{_x(scale.at(d.high))}"/>'
        body += '<path class="off" d="M8 4L3 8L8 12"/>' if scale.beyond(d.low) else ""
        body += f'<path class="off" d="M{_WIDE - 8} 4l5 4l-5 4"/>' if scale.beyond(d.high) else ""
    sure = "" if d.words in (NONE, NO_STATEMENT, NOT_COMPARED) else " sure"
    body += f'<circle class="c{sure}" cx="{_x(scale.at(d.mean))}" cy="8" r="3.6"/>'
    return f'<svg class="strip" viewBox="0 0 {_WIDE} 16" aria-hidden="true">{body}</svg>'

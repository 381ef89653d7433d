"""What the page's figure shows, computed once: every row's seeds, mean and interval, the best of each kind, the controls' band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tnkit_nn.comparison.measure import Measure, average, measure_of
from tnkit_nn.comparison.paired import difference
from tnkit_nn.comparison.records import Records
from tnkit_nn.comparison.report.compute import cost
from tnkit_nn.comparison.report.tables import TableRow, rows
from tnkit_nn.comparison.statistics import AT_RANDOM, READINGS, Runs, best_free
from tnkit_nn.families import CONTROLS

__all__ = ["AGAINST", "Line", "PlotView", "Point", "kind_of", "plot_view", "views"]

#: What a view may be drawn against -> the label of that axis.
AGAINST = {
    "params": "parameters of the layer",
    "flops": "FLOPs of a forward, one example",
    "time": "time of a forward, that of the dense layer being 1",
}
#: Controls without a budget that are drawn as lines, besides the best without parameters and those of one's own.
_DRAWN = ("dense", "dense_trained_on")


@dataclass(frozen=True)
class Point:
    """One row of a family: where it stands, its seeds as they are shown, their mean, and the 95 % interval of that mean."""

    budget: int | None
    x: float
    seeds: tuple[float, ...]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A family or a control over its budgets. ``kind``: ``deep``, ``shallow``, ``shared`` (a control with a budget), ``control``."""

    label: str
    kind: str
    points: tuple[Point, ...]
    said: str


@dataclass(frozen=True)
class PlotView:
    """What one setting of the switches shows.

    Attributes
    ----------
    name
        As in the page's classes: ``frozen-params``.
    best
        Kind -> the points of the network of that kind that is best on validation, a budget each.
    band
        The range of all seeds of the controls at random: ``(x, lowest, highest)``.
    missing
        Rows that are not drawn, as a value is not finite.
    """

    name: str
    measure: Measure | None
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    best: Mapping[str, tuple[Point, ...]]
    band: tuple[tuple[float, float, float], ...]
    missing: tuple[str, ...]
    first: tuple[str, ...]


def kind_of(row: Mapping[str, Any]) -> str:
    """Deep or shallow of a network, shared or control of the rest; of a record, or of a row as a dict."""
    if row["kind"] == "control":
        return "control" if row["budget"] is None else "shared"
    return "deep" if (row["depth"] or 0) > 1 else "shallow"


def views(records: Records, axes: Sequence[str] = tuple(AGAINST)) -> list[PlotView]:
    """The views that records have something for: each reading against each of ``axes``, and the error."""
    found = [plot_view(records, reading, against) for reading in (*READINGS, "error") for against in axes]
    return [v for v in found if v is not None]


def plot_view(records: Records, shown: str, against: str = "params") -> PlotView | None:
    """One view: ``shown`` is a reading or ``error``; None where the records have nothing for it."""
    if shown == "error" and against != "params":
        return None
    measure = None if shown == "error" else measure_of(records)
    places = {(r.label, r.budget): x for r in rows(records) if (x := _place(r, against)) is not None}
    groups = _groups(records, shown)
    kinds = {(r["label"], r["budget"]): kind_of(r) for r in records}
    lines, missing = dict[str, list[Point]](), []
    free = best_free(records, shown) if measure else None
    for key, seeds in groups.items():
        kind = kinds[key]
        if kind == "control" and not (measure and _is_drawn(key[0], free)):
            continue
        if not all(map(isfinite, seeds)):
            missing.append(key[0] if key[1] is None else f"{key[0]} at {key[1]}")
        elif kind == "control" or key in places:
            lines.setdefault(key[0], []).append(_point(key[1], places.get(key, 0.0), seeds, measure))
    if not any(p.budget is not None for points in lines.values() for p in points):
        return None
    first_kind = {label: kind for (label, _), kind in reversed(kinds.items())}
    made = [_line(label, first_kind[label], points, measure) for label, points in lines.items()]
    return PlotView(
        f"{shown}-{against}", measure, AGAINST[against],
        "relative Euclidean error of the weight" if measure is None else f"test {measure.name}{measure.of_unit}{measure.direction}",
        tuple(made), _best(records, shown, made) if measure else {}, _band(made) if against == "params" else (), tuple(missing), _order(records, shown if measure else "frozen"),
    )  # fmt: skip


def _place(row: TableRow, against: str) -> float | None:
    return float(row.place) or None if against == "params" else cost(row, against)


def _is_drawn(label: str, free: str | None) -> bool:
    return label == free or label in _DRAWN or label not in CONTROLS


def _groups(records: Records, shown: str) -> dict[tuple[str, int | None], list[float]]:
    """Row -> its seeds; rows without such a value are left out."""
    if shown != "error":
        return Runs(records, shown).test
    found: dict[tuple[str, int | None], list[float]] = {}
    for r in sorted(records, key=lambda r: r["seed"]):
        if r["error"] is not None:
            found.setdefault((r["label"], r["budget"]), []).append(r["error"])
    return found


def _point(budget: int | None, x: float, seeds: Sequence[float], measure: Measure | None) -> Point:
    """The interval is that of the tables: a mean against nothing, a fraction's spread never below one example."""
    factor = measure.factor if measure else 1
    mean, low, high, _ = difference(seeds, [0.0] * len(seeds), measure.step if measure else None)
    return Point(budget, x, tuple(factor * v for v in seeds), factor * mean, factor * low, factor * high)


def _line(label: str, kind: str, points: Sequence[Point], measure: Measure | None) -> Line:
    points = sorted(points, key=lambda p: p.x)
    return Line(label, kind, tuple(points), f"{label}: {'; '.join(_said(p, measure) for p in points)}")


def _said(point: Point, measure: Measure | None) -> str:
    """A point in words: budget, mean, half of its interval."""
    number, unit = (measure.number, measure.unit) if measure else ("{:.3f}".format, "")
    factor = measure.factor if measure else 1
    half = (point.high - point.low) / 2 / factor
    text = number(point.mean / factor) + (f" ± {number(half)}" if isfinite(half) and half else "") + f" {unit}".rstrip()
    return text if point.budget is None else f"budget {point.budget:,}: {text}"


def _best(records: Records, reading: str, lines: Sequence[Line]) -> dict[str, tuple[Point, ...]]:
    """Kind -> its best points, chosen on validation among those that keep their budget."""
    runs, points = Runs(records, reading), {(line.label, p.budget): p for line in lines for p in line.points}
    found: dict[str, tuple[Point, ...]] = {}
    budgets = sorted({k[1] for k in runs.networks() if k[1] is not None})
    for kind in ("shallow", "deep"):
        chosen = [
            runs.best(k for k in runs.networks() if k[1] == b and kind_of(runs.first[k]) == kind and runs.within(k))
            for b in budgets
        ]
        found[kind] = tuple(points[k] for k in chosen if k is not None and k in points)
    return {kind: p for kind, p in found.items() if p}


def _band(lines: Sequence[Line]) -> tuple[tuple[float, float, float], ...]:
    """What parameters shared at random reach, from the lowest seed to the highest, at each budget."""
    groups: dict[int, list[Point]] = {}
    for line in lines:
        for p in line.points if line.label in AT_RANDOM else ():
            groups.setdefault(p.budget or 0, []).append(p)
    found = [
        (average(p.x for p in ps), min(min(p.seeds) for p in ps), max(max(p.seeds) for p in ps))
        for ps in groups.values()
    ]
    return tuple(sorted(found))


def _order(records: Records, reading: str) -> tuple[str, ...]:
    """Labels of networks, the best on validation at the largest budget first: these are named where there is no room for all."""
    runs = Runs(records, reading)
    keys = sorted(runs.networks(), key=lambda k: (-(k[1] or 0), -runs.measure.order(average(runs.val[k]))))
    return tuple(dict.fromkeys(k[0] for k in keys))

"""Equal compute: the metric against the FLOPs and the time of a forward, with its Pareto front, as a figure and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from tnkit.planning.calibration import spelled_count
from tnkit_nn.comparison.measure import Measure, measure_of
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.report.style import DASHES, colours_of, cost_axis, score_axis
from tnkit_nn.comparison.report.tables import TableRow, rows
from tnkit_nn.comparison.statistics import READINGS
from tnkit_nn.comparison.texts import text_table

__all__ = ["against_compute", "compute_cells", "compute_headers", "compute_table", "cost", "costs_known", "front"]

#: Axis -> its label.
AXES = {
    "flops": "FLOPs of a forward, one example",
    "time": "time of a forward, that of the dense layer being 1",
}


def costs_known(records: Records) -> bool:
    """Whether records say what a forward costs: those of earlier versions do not."""
    return any(r["forward"].get("ms") for r in records)


def cost(row: TableRow, axis: str) -> float | None:
    """Where a row stands on an axis of :data:`AXES`; None where it is not known."""
    found = row.forward
    if axis == "flops":
        flops: float | None = found.get("flops")
        return flops or None  # a logarithmic axis
    return found["ms"] / found["dense_ms"] if found.get("ms") and found.get("dense_ms") else None


def front(points: Sequence[tuple[float, float]], sign: int = 1) -> list[tuple[float, float]]:
    """The Pareto front of (cost, score) points: each is better than all that cost no more.

    >>> front([(1, 0.5), (2, 0.4), (3, 0.7)])
    [(1, 0.5), (3, 0.7)]
    """
    found: list[tuple[float, float]] = []
    for x, score in sorted(points, key=lambda p: (p[0], -sign * p[1])):
        if not found or sign * score > sign * found[-1][1]:
            found.append((x, score))
    return found


# -- the table ----------------------------------------------------------------------------------------------------------
def compute_headers(measure: Measure) -> dict[str, str]:
    """Header -> what it means."""
    return {
        "family": "a network, or a control",
        "budget": "parameters allowed for the weight",
        "forward": "factorised: contracted with the input; built: the weight is made at every call, then multiplied by",
        "FLOPs": "of a forward of the layer for one example, a multiply-add being two",
        "FLOPs / dense": "those over the dense layer's",
        "if built": "FLOPs of the same with the weight built",
        "ms": "milliseconds of a forward of the layer, for a batch; the fastest of several",
        "ms / dense": "those over the dense layer's, timed in turn with it",
        "step ms": "milliseconds of a forward and its backward",
        "step / dense": "those over the dense layer's",
        **{READINGS[reading]: f"test {measure.name}{measure.of_unit}{measure.direction}" for reading in READINGS},
    }


def compute_cells(records: Records) -> list[tuple[str, ...]]:
    """The rows whose forward is known, a cell for each of :func:`compute_headers`."""
    measure = measure_of(records)
    return [_cells(row, measure) for row in rows(records) if row.forward]


def _cells(row: TableRow, measure: Measure) -> tuple[str, ...]:
    found = row.forward
    ratios = [
        _ratio(found, *pair) for pair in (("flops", "dense_flops"), ("ms", "dense_ms"), ("step_ms", "dense_step_ms"))
    ]
    counts = ["–" if found.get(k) is None else spelled_count(found[k]) for k in ("flops", "flops_if_built")]
    times = ["–" if found.get(k) is None else f"{found[k]:.3g}" for k in ("ms", "step_ms")]
    scores = ["–" if x is None else measure.number(x[0]) for x in (row.test_frozen, row.test_trained)]
    budget = "" if row.budget is None else str(row.budget)
    return (
        row.label, budget, found["way"], counts[0], ratios[0], counts[1], times[0], ratios[1], times[1], ratios[2], *scores,
    )  # fmt: skip


def _ratio(found: Mapping[str, Any], key: str, dense: str) -> str:
    return f"{found[key] / found[dense]:.3g}" if found.get(key) is not None and found.get(dense) else "–"


def compute_table(records: Records, style: str = "simple") -> str:
    """What a forward costs, as text (any tabulate style)."""
    records = records_of(records, "compute_table")
    return text_table(compute_cells(records), list(compute_headers(measure_of(records))), style)


# -- the figure ---------------------------------------------------------------------------------------------------------
#: Markers of controls that have no budget, in their order.
_MARKERS = ("*", "P", "X", "D", "v", "^", "<", ">")


def against_compute(records: Records) -> Any:
    """A row a reading; to the left the FLOPs, to the right the time.  Rows that are built at every call are hollow."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    every, measure = rows(records), measure_of(records)
    readings = [reading for reading in READINGS if any(getattr(r, f"test_{reading}") for r in every)]
    figure = Figure(figsize=(9.5, 3.6 * len(readings) + 1.4), layout="constrained")
    grid, entries = figure.subplots(len(readings), len(AXES), squeeze=False, sharey="row"), dict[str, Any]()
    for pair, reading in zip(grid, readings, strict=True):
        for axis, (kind, label) in zip(pair, AXES.items(), strict=True):
            _panel(axis, every, kind, f"test_{reading}", measure, entries)
            axis.set(xlabel=label, title=READINGS[reading])
            cost_axis(axis)
            axis.grid(alpha=0.3)
        score_axis(pair[0], measure)
    entries["hollow: built at every call"] = Line2D([], [], ls="", marker="o", color="0.35", markerfacecolor="w", ms=5)
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=4, fontsize=7, handlelength=4)
    return figure


def _panel(
    axis: Any, every: Sequence[TableRow], kind: str, key: str, measure: Measure, entries: dict[str, Any]
) -> None:
    """Families as lines over their budgets, controls as points, or as lines where their forward is not known, and the front."""
    points = [
        (r, x, measure.factor * score[0])
        for r in every
        if (score := getattr(r, key)) and isfinite(score[0]) and (x := cost(r, kind)) is not None
    ]
    colours = colours_of(r.label for r in every if r.budget is not None)
    for label in dict.fromkeys(r.label for r, _, _ in points if r.budget is not None):
        _family(axis, [p for p in points if p[0].label == label], label, colours[label], entries)
    for k, (row, x, score) in enumerate(p for p in points if p[0].budget is None):
        (line,) = axis.plot(x, score, ls="", marker=_MARKERS[k % len(_MARKERS)], ms=7, color="0.35", zorder=4)
        entries.setdefault(f"{row.label} (control)", line)
    unknown = [r for r in every if not r.forward.get("ms") and getattr(r, key) and isfinite(getattr(r, key)[0])]
    for k, row in enumerate(unknown):
        level = measure.factor * getattr(row, key)[0]
        line = axis.axhline(level, color="0.5", ls=(0, DASHES[k % len(DASHES)]), lw=1.1)
        entries.setdefault(f"{row.label}{' (control)' * (row.kind == 'control')}: not measured", line)
    best = front([(x, score) for _, x, score in points], measure.sign)
    if best:
        (line,) = axis.plot(
            *zip(*best, strict=True), drawstyle="steps-post", color="k", lw=5, alpha=0.15, zorder=1, marker="o", ms=9
        )
        entries.setdefault("Pareto front: nothing shown is better at no more cost", line)


def _family(axis: Any, points: Sequence[Any], label: str, colour: str, entries: dict[str, Any]) -> None:
    """One family over its budgets: full where it is factorised, hollow where it is built; controls have dashes and squares."""
    points = sorted(points, key=lambda p: p[0].place)
    dashed = points[0][0].kind == "control"
    style: dict[str, Any] = {"marker": "s" if dashed else "o", "color": colour, "ms": 5}
    (line,) = axis.plot(
        [x for _, x, _ in points], [y for _, _, y in points], ls="--" if dashed else "-", lw=1.2, **style
    )
    hollow = [(x, y) for row, x, y in points if row.forward["way"] != "factorised"]
    if hollow:
        axis.plot(*zip(*hollow, strict=True), ls="", **{**style, "markerfacecolor": "w"})
    entries.setdefault(label, line)

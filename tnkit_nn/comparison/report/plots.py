"""A comparison's plots: the metric and the error against the number of parameters, the controls as lines; compute; learning curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from tnkit.core.checks import one_of
from tnkit.core.extras import need
from tnkit_nn.comparison.measure import Measure, average, measure_of
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.report.compute import against_compute, costs_known
from tnkit_nn.comparison.report.style import DASHES, colours_of, score_axis
from tnkit_nn.comparison.report.tables import TableRow, rows
from tnkit_nn.comparison.statistics import READINGS

__all__ = ["drawn", "plot", "png"]

#: Kind of plot -> the attributes of a row that it shows, with their titles.
_SHOWN = {
    "test": {f"test_{reading}": title for reading, title in READINGS.items()},
    "error": {"error": "approximation of the weight"},
}
_KINDS = (*_SHOWN, "compute", "curves")


def plot(records: Records, kind: str = "test") -> Any:
    """One plot of a comparison: ``tknn.plot(found, "error").savefig("error.pdf")``.

    >>> row = {"label": "mpo", "seed": 0, "test_frozen": 0.5, "val_frozen": 0.5}  # a record, in short
    >>> records = [{**row, "budget": n, "num_params": n} for n in (10, 20)]
    >>> figure = tknn.plot(records, "test")
    >>> figure.savefig("test.pdf")
    >>> figure.axes[0].get_xlabel()
    'parameters of the layer'

    Parameters
    ----------
    records
        What :func:`tnkit_nn.compare` returns, or what ``results.json`` has.
    kind
        ``"test"``: the metric on test examples against the parameters; ``"error"``: that of the approximated weight; ``"compute"``: the
        metric against the FLOPs and the time of a forward of the layer, with the Pareto front; ``"curves"``: the training loss and the metric on validation examples against the step, means over the seeds, a panel a budget.

    Returns
    -------
    matplotlib.figure.Figure
        It belongs to no window; a notebook shows it.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    TypeError, ValueError
        No records, an unknown kind, or nothing of this kind in them.
    """
    records, kind = records_of(records, "plot"), one_of(kind, "plot: kind", _KINDS)
    need("a comparison's plots", "matplotlib")
    if kind not in drawn(records):
        raise ValueError(f"plot: the records have something to show of kind {kind!r}; these have {_absent(kind)}")
    if kind == "compute":
        return against_compute(records)
    return _learning(records) if kind == "curves" else _against_parameters(records, _SHOWN[kind])


def _absent(kind: str) -> str:
    absent = {"curves": "no curves: no row was trained", "error": "no errors", "compute": "no times of a forward"}
    return absent.get(kind, "no row with a budget")


def drawn(records: Records) -> list[str]:
    """The kinds of plot that records have something for."""
    some = {
        "test": True,
        "error": any(r["error"] is not None and r["budget"] is not None for r in records),
        "compute": costs_known(records),
        "curves": any(len(curve) for r in records for curve in r["curves"].values()),
    }
    return [kind for kind in _KINDS if some[kind]]


def png(figure: Any) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png")
    return buffer.getvalue()


# -- against parameters ---------------------------------------------------------------------------------------------
def _against_parameters(records: Records, shown: Mapping[str, str]) -> Any:
    from matplotlib.figure import Figure

    every, measure = rows(records), measure_of(records)
    keys = {key: title for key, title in shown.items() if any(getattr(r, key) for r in every)}
    colours = colours_of(r.label for r in every if r.budget is not None)
    figure = Figure(figsize=(6.0, 3.6 * len(keys) + 1.2), layout="constrained")
    for axis, (key, title) in zip(figure.subplots(len(keys), 1, squeeze=False)[:, 0], keys.items(), strict=True):
        _families(axis, every, key, 1 if key == "error" else measure.factor, colours)
        if key == "error":
            _baseline(axis, every)
        else:
            _controls(axis, every, key, measure)
            score_axis(axis, measure)
        axis.set(xscale="log", xlabel="parameters of the layer", title=title)
        axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7, handlelength=4)
    return figure


def _families(axis: Any, every: Sequence[TableRow], key: str, factor: int, colours: Mapping[str, str]) -> None:
    """A line a family; controls of a budget have dashes and squares."""
    for label in dict.fromkeys(r.label for r in every if r.budget is not None):
        points = sorted((r for r in every if r.label == label and r.budget is not None), key=lambda r: r.place)
        shown = [(r.place, *x) for r in points if (x := getattr(r, key)) is not None and isfinite(x[0])]
        if not shown:
            continue
        counts, means, spreads = np.array(shown).reshape(-1, 3).T
        dashed = points[0].kind == "control"
        axis.errorbar(
            counts, factor * means, factor * spreads, label=label, color=colours[label], capsize=2, ms=4, lw=1.3,
            marker="s" if dashed else "o", ls="--" if dashed else "-",
        )  # fmt: skip


def _controls(axis: Any, every: Sequence[TableRow], key: str, measure: Measure) -> None:
    """Controls without a budget, as lines."""
    for k, r in enumerate(r for r in every if r.budget is None):
        if (x := getattr(r, key)) and isfinite(x[0]):
            dashes = (0, DASHES[k % len(DASHES)])
            axis.axhline(measure.factor * x[0], color="0.4", ls=dashes, lw=1.1, label=f"{r.label} (control)")


def _baseline(axis: Any, every: Sequence[TableRow]) -> None:
    levels = sorted({(r.num_params, r.baseline) for r in every if r.budget is not None and r.baseline is not None})
    if levels:
        axis.plot(*zip(*levels, strict=True), "k:", label="baseline: n of N coordinates kept")
    axis.set_ylabel("relative Euclidean error")


# -- learning curves ------------------------------------------------------------------------------------------------
def _learning(records: Records) -> Any:
    """A panel a reading and budget: the training loss to the left, the metric on validation examples to the right."""
    from matplotlib.figure import Figure

    measure, colours = measure_of(records), colours_of(r["label"] for r in records if r["budget"] is not None)
    budgets = sorted({r["budget"] for r in records if r["budget"] is not None}) or [None]
    readings = [reading for reading in READINGS if any(r["curves"].get(reading) for r in records)]
    panels = [(reading, budget) for reading in readings for budget in budgets]
    figure = Figure(figsize=(10.0, 3.2 * len(panels) + 1.2), layout="constrained")
    entries: dict[str, Any] = {}
    for pair, (reading, budget) in zip(figure.subplots(len(panels), 2, squeeze=False), panels, strict=True):
        for axis, place in zip(pair, (1, 2), strict=True):
            controls = 0
            for label, curve in _mean_curves(records, reading, budget, place).items():
                steps, values = zip(*curve, strict=True)
                own = {"color": colours[label]} if label in colours else {"color": "0.4", "ls": (0, DASHES[controls])}
                controls = (controls + (label not in colours)) % len(DASHES)
                factor = measure.factor if place == 2 else 1
                (line,) = axis.plot(steps, [factor * v for v in values], lw=1.2, label=label, **own)
                entries.setdefault(label, line)
            axis.set(xlabel="step", title=READINGS[reading] + (f", budget {budget}" if budget else ""))
            axis.grid(alpha=0.3)
        pair[0].set_ylabel("training loss")
        pair[1].set_ylabel(f"validation {measure.name}{measure.of_unit}")
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=4, fontsize=7, handlelength=4)
    return figure


def _mean_curves(records: Records, reading: str, budget: int | None, place: int) -> dict[str, list[tuple[int, float]]]:
    """Label -> (step, mean over the seeds): the loss (``place`` 1) or the score (2), at the steps that have one."""
    found: dict[str, dict[int, list[float]]] = {}
    for r in records:
        if r["budget"] in (budget, None):
            for point in r["curves"].get(reading, ()):
                if point[place] is not None and isfinite(point[place]):
                    found.setdefault(r["label"], {}).setdefault(point[0], []).append(point[place])
    return {label: [(step, average(found[label][step])) for step in sorted(found[label])] for label in found}

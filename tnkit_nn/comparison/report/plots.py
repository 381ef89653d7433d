"""A comparison's curves: accuracy and error against the number of parameters, the controls as lines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tnkit.core.extras import need
from tnkit_nn.comparison.report.tables import TableRow, rows
from tnkit_nn.comparison.statistics import READINGS, Records

__all__ = ["PLOTS", "png"]

_COLOURS = {
    "adtn depth 1": "#9ecae1", "adtn depth 2": "#4292c6", "adtn depth 3": "#08519c", "mpo": "#d94801", "tt": "#fd8d3c",
    "tucker": "#238b45", "cp": "#74c476", "ring": "#a63603", "low_rank": "#7a5195", "hashed": "#636363", "subspace": "#bdbdbd",
    "circuit depth 2": "#fa9fb5", "circuit depth 3": "#dd3497", "circuit depth 4": "#ae017e", "circuit depth 5": "#49006a",
}  # fmt: skip
#: Of further depths and of networks of one's own, in turn.
_FURTHER = ("#17becf", "#bcbd22", "#8c6d31", "#000000", "#00ff7f", "#c5b0d5")
_DASHED = ("hashed", "subspace")
#: Of the controls' lines, in their order.
_DASHES = ((8, 2), (4, 2), (1, 1), (1, 3), (6, 2, 1, 2), (6, 2, 1, 1, 1, 2), (2, 4))

#: File name -> the attributes of a row that it shows, with their titles.
PLOTS = {
    "accuracy.png": tuple(READINGS.items()),
    "error.png": (("error", "approximation of the weight"),),
}


def png(records: Records, name: str) -> bytes:
    """The plot of :data:`PLOTS` as a PNG file."""
    buffer = io.BytesIO()
    _figure(rows(records), PLOTS[name]).savefig(buffer, dpi=130, format="png")
    return buffer.getvalue()


def _figure(every: Sequence[TableRow], keys: Sequence[tuple[str, str]]) -> Any:
    need("a comparison's plots", "matplotlib")
    from matplotlib.figure import Figure

    keys = [(key, title) for key, title in keys if any(getattr(r, key) for r in every)]
    figure = Figure(figsize=(6.0, 3.6 * len(keys) + 1.2), layout="constrained")
    for axis, (key, title) in zip(figure.subplots(len(keys), 1, squeeze=False)[:, 0], keys, strict=True):
        factor = 1 if key == "error" else 100
        labels = list(dict.fromkeys(r.label for r in every if r.budget is not None))
        others = [label for label in labels if label not in _COLOURS]
        colours = _COLOURS | {label: _FURTHER[k % len(_FURTHER)] for k, label in enumerate(others)}
        for label in labels:
            points = sorted((r for r in every if r.label == label and r.budget is not None), key=lambda r: r.num_params)
            shown = [(r.num_params, *getattr(r, key)) for r in points if getattr(r, key) is not None]
            counts, means, spreads = np.array(shown).reshape(-1, 3).T
            axis.errorbar(
                counts, factor * means, factor * spreads, label=label, color=colours[label], capsize=2, ms=4, lw=1.3,
                marker="s" if label in _DASHED else "o", ls="--" if label in _DASHED else "-",
            )  # fmt: skip
        if key == "error":
            _baseline(axis, every)
        else:
            _controls(axis, every, key)
        axis.set(xscale="log", xlabel="parameters of the layer", title=title)
        axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7, handlelength=4)
    return figure


def _controls(axis: Any, every: Sequence[TableRow], key: str) -> None:
    for k, r in enumerate(r for r in every if r.budget is None):
        if getattr(r, key):
            dashes = (0, _DASHES[k % len(_DASHES)])
            axis.axhline(100 * getattr(r, key)[0], color="0.4", ls=dashes, lw=1.1, label=f"{r.label} (control)")
    # stretched towards 100 %, where the differences are
    axis.set_yscale("function", functions=(lambda a: -np.log10(102 - np.minimum(a, 101)), lambda y: 102 - 10.0**-y))
    axis.set_yticks([10, 50, 70, 80, 90, 95, 98, 100])
    axis.set_ylabel("test accuracy, % (axis stretched near 100)")


def _baseline(axis: Any, every: Sequence[TableRow]) -> None:
    levels = sorted({(r.num_params, r.chance) for r in every if r.budget is not None})
    axis.plot(*zip(*levels, strict=True), "k:", label="baseline: n of N coordinates kept")
    axis.set_ylabel("relative Euclidean error")

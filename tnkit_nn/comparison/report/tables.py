"""A comparison's records as rows over seeds, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from tnkit_nn.comparison.statistics import READINGS, Records, best_free
from tnkit_nn.families import FREE

__all__ = ["HEADERS", "TableRow", "cells", "rows", "table"]

#: Header -> what it means.
HEADERS = {
    "family": "a network, or a control",
    "budget": "parameters allowed for the weight",
    "parameters": "parameters of the weight (in whole bricks, for an ADTN)",
    "whole model": "parameters of the whole model",
    "error (baseline)": "relative Euclidean error of the approximated weight (baseline error of keeping n of N coordinates)",
    "approximated": "test accuracy right after the approximation, %",
    READINGS["frozen"]: "test accuracy after fine-tuning the layer alone, %",
    "gain": "points above the best layer without parameters, other layers frozen",
    READINGS["trained"]: "test accuracy after fine-tuning the other layers too, %",
    "gain ": "points above the best layer without parameters, other layers fine-tuned",
    "decode": "million floating-point operations to build the weight once",
    "s/seed": "seconds for one seed, approximation and fine-tuning",
}


@dataclass(frozen=True)
class TableRow:
    """One family at one budget over its seeds; each figure is (mean, sample standard deviation).

    Attributes
    ----------
    gain_frozen, gain_trained
        Accuracy above that of the control without parameters that is best on validation; None for those controls.
    """

    label: str
    family: str
    budget: int | None
    num_params: int
    full_params: int
    model_params: int
    error: tuple[float, float]
    chance: float
    fit: tuple[float, float]
    frozen: tuple[float, float]
    gain_frozen: tuple[float, float] | None
    trained: tuple[float, float] | None
    gain_trained: tuple[float, float] | None
    flops: int
    seconds: float
    networks: Mapping[str, str]


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN for the latter where there is one value."""
    return mean(values), stdev(values) if len(values) > 1 else nan


def rows(records: Records) -> list[TableRow]:
    """Records gathered by family and budget, in their order."""
    groups: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for r in sorted(records, key=lambda r: r["seed"]):
        groups.setdefault((r["label"], r["budget"]), []).append(r)
    order = dict.fromkeys((r["label"], r["budget"]) for r in records)
    floor = {reading: groups.get((best_free(records, reading) or "", None)) for reading in READINGS}

    def gain(group: list[Mapping[str, Any]], reading: str) -> tuple[float, float] | None:
        base, key = floor[reading], f"accuracy_{reading}"
        if base is None or group[0]["label"] in FREE or group[0][key] is None or len(base) != len(group):
            return None
        return _spread([r[key] - b[key] for r, b in zip(group, base, strict=True)])

    return [
        TableRow(
            label, g[0]["family"], budget, g[0]["num_params"], g[0]["full_params"], g[0]["model_params"],
            _spread([r["error"] for r in g]), g[0]["chance"], _spread([r["accuracy_fit"] for r in g]),
            _spread([r["accuracy_frozen"] for r in g]), gain(g, "frozen"),
            None if g[0]["accuracy_trained"] is None else _spread([r["accuracy_trained"] for r in g]), gain(g, "trained"),
            g[0]["flops"], mean([r["seconds"] for r in g]), g[0]["networks"],
        )
        for (label, budget), g in ((key, groups[key]) for key in order)
    ]  # fmt: skip


def _percent(x: tuple[float, float] | None) -> str:
    return "–" if x is None else _plus_minus(100 * x[0], 100 * x[1], 1)


def _plus_minus(centre: float, spread: float, digits: int) -> str:
    return f"{centre:.{digits}f}" + ("" if isnan(spread) else f" ± {spread:.{digits}f}")


def _points(x: tuple[float, float] | None) -> str:
    return "–" if x is None else f"{100 * x[0]:+.1f}"


def cells(row: TableRow) -> tuple[str, ...]:
    """One row as text, a cell for each of :data:`HEADERS`."""
    full = f" ({row.full_params})" if row.full_params != row.num_params else ""
    return (
        row.label, "" if row.budget is None else str(row.budget), f"{row.num_params}{full}", str(row.model_params),
        f"{_plus_minus(*row.error, 3)} ({row.chance:.3f})", _percent(row.fit), _percent(row.frozen), _points(row.gain_frozen),
        _percent(row.trained), _points(row.gain_trained), f"{row.flops / 1e6:.3g}", f"{row.seconds:.1f}",
    )  # fmt: skip


def table(records: Records, style: str = "simple") -> str:
    """The table as text (any tabulate style): mean ± standard deviation over seeds, accuracies in per cent on test."""
    body = [cells(r) for r in rows(records)]
    return str(tabulate(body, [h.strip() for h in HEADERS], tablefmt=style, disable_numparse=True))

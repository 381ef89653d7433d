"""A comparison's records as rows over seeds, and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from tnkit_nn.comparison.measure import Measure, average, measure_of, spread
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.statistics import READINGS, best_free
from tnkit_nn.comparison.texts import text_table
from tnkit_nn.families import FREE

__all__ = ["TableRow", "cells", "headers", "rows", "table"]

#: A mean and a sample standard deviation, NaN of one value.
Spread = tuple[float, float]


def headers(measure: Measure) -> dict[str, str]:
    """Header -> what it means."""
    score = f"test {measure.name}"
    unit = f"{measure.of_unit}{measure.direction}"
    gain = f"{'points ' if measure.percent else ''}{'above' if measure.larger else 'below'} the best layer without parameters"
    gain += "" if measure.percent or not measure.unit else f", {measure.unit}"
    return {
        "family": "a network, or a control",
        "budget": "parameters allowed for the weight",
        "parameters": "parameters of the weight (in whole bricks, for an ADTN)",
        "whole model": "parameters of the whole model",
        "error (baseline)": "relative Euclidean error of the approximated weight (baseline error of keeping n of N coordinates)",
        "approximated": f"{score} right after the approximation{unit}",
        READINGS["frozen"]: f"{score} after fine-tuning the layer alone{unit}",
        "gain": f"{gain}, other layers frozen",
        READINGS["trained"]: f"{score} after fine-tuning the other layers too{unit}",
        "gain ": f"{gain}, other layers fine-tuned",
        "decode": "million floating-point operations to build the weight once",
        "s/seed": "seconds for one seed, approximation and fine-tuning",
    }


@dataclass(frozen=True)
class TableRow:
    """One family at one budget over its seeds; each figure is (mean, sample standard deviation), None where it is not known.

    Attributes
    ----------
    test_fit, test_frozen, test_trained
        The metric on test examples, in its own values.
    gain_frozen, gain_trained
        How much better than the control without parameters that is best on validation; None for those controls.
    """

    label: str
    family: str
    kind: str
    activation: str | None
    description: str
    budget: int | None
    num_params: int
    full_params: int
    model_params: int | None
    error: Spread | None
    baseline: float | None
    test_fit: Spread | None
    test_frozen: Spread | None
    gain_frozen: Spread | None
    test_trained: Spread | None
    gain_trained: Spread | None
    flops: int | None
    forward: Mapping[str, Any]
    seconds: float | None
    networks: Mapping[str, str]

    @property
    def place(self) -> int:
        """Where it stands on an axis of parameters of the layer: a model as a whole, beside networks of its budget, at that."""
        whole = self.kind == "control" and self.budget is not None and self.num_params == self.model_params
        return self.budget if whole and self.budget else self.num_params

    @property
    def tip(self) -> str:
        """What it is, in a few words."""
        return ", ".join(filter(None, [self.description, self.activation and f"activation {self.activation}"]))


def rows(records: Records) -> list[TableRow]:
    """Records gathered by family and budget, in their order."""
    records = records_of(records, "rows")
    measure = measure_of(records)
    groups: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for r in sorted(records, key=lambda r: r["seed"]):
        groups.setdefault((r["label"], r["budget"]), []).append(r)
    order = dict.fromkeys((r["label"], r["budget"]) for r in records)
    free = {reading: groups.get((best_free(records, reading) or "", None)) for reading in READINGS}

    def gain(group: list[Mapping[str, Any]], reading: str) -> Spread | None:
        base, key = free[reading], f"test_{reading}"
        if base is None or group[0]["label"] in FREE or group[0][key] is None or len(base) != len(group):
            return None
        return spread([measure.sign * (r[key] - b[key]) for r, b in zip(group, base, strict=True)])

    return [_row(groups[key], {reading: gain(groups[key], reading) for reading in READINGS}) for key in order]


def _row(group: list[Mapping[str, Any]], gains: Mapping[str, Spread | None]) -> TableRow:
    """The row of a family at a budget, from its records."""
    shared = (
        "label", "family", "kind", "activation", "description", "budget", "num_params", "full_params", "model_params", "baseline", "flops",
        "forward", "networks",
    )  # fmt: skip
    known: dict[str, Any] = {key: group[0][key] for key in shared}
    known |= {key: spread([r[key] for r in group]) for key in ("error", "test_fit", "test_frozen", "test_trained")}
    seconds = [r["seconds"] for r in group if r["seconds"] is not None]
    known["seconds"] = average(seconds) if seconds else None
    return TableRow(**known, gain_frozen=gains["frozen"], gain_trained=gains["trained"])


def _plus_minus(x: Spread | None, number: Callable[[float], str]) -> str:
    return "–" if x is None else number(x[0]) + ("" if isnan(x[1]) else f" ± {number(x[1])}")


def cells(row: TableRow, measure: Measure) -> tuple[str, ...]:
    """One row as text, a cell for each of :func:`headers`."""
    full = f" ({row.full_params})" if row.full_params != row.num_params else ""
    error = _plus_minus(row.error, lambda x: f"{x:.3f}") + ("" if row.baseline is None else f" ({row.baseline:.3f})")
    fit, frozen, trained = (_plus_minus(x, measure.number) for x in (row.test_fit, row.test_frozen, row.test_trained))
    gains = ["–" if x is None else measure.number(x[0], "+") for x in (row.gain_frozen, row.gain_trained)]
    return (
        row.label, "" if row.budget is None else str(row.budget), f"{row.num_params}{full}",
        "–" if row.model_params is None else str(row.model_params), error, fit, frozen, gains[0], trained, gains[1],
        "–" if row.flops is None else f"{row.flops / 1e6:.3g}", "–" if row.seconds is None else f"{row.seconds:.1f}",
    )  # fmt: skip


def table(records: Records, style: str = "simple") -> str:
    """The table as text (any tabulate style): mean ± standard deviation over seeds, the metric on test examples."""
    records = records_of(records, "table")
    measure = measure_of(records)
    body = [cells(r, measure) for r in rows(records)]
    return text_table(body, list(headers(measure)), style)

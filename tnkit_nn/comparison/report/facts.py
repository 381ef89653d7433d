"""What the controls say, in three figures: what stands below the page's figure."""

from __future__ import annotations

from typing import NamedTuple

from tnkit_nn.comparison.measure import average, measure_of
from tnkit_nn.comparison.paired import NO_STATEMENT
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.statistics import AT_RANDOM, READINGS, Runs, against_controls, best_free

__all__ = ["Fact", "facts"]


class Fact(NamedTuple):
    """A figure with its name and what it is of."""

    name: str
    figure: str
    note: str


def facts(records: Records) -> list[Fact]:
    """Networks against parameters shared at random, and what the layer without parameters and the dense one reach."""
    records = records_of(records, "facts")
    measure, found = measure_of(records), against_controls(records)
    last = next((r for r in reversed(READINGS) if any(x[f"test_{r}"] is not None for x in records)), "frozen")
    shared = {r["label"] for r in records if r["budget"] is not None and r["kind"] == "control"}
    groups = {"Structure against random sharing": shared & {*AT_RANDOM}}
    groups |= {f"Networks against {label}": {label} for label in sorted(shared - {*AT_RANDOM})}
    out = []
    for name, controls in groups.items():
        tests = [d for d in found if d.other in controls]
        if tests and tests[0].seeds > 1:
            won, lost, none = (sum(d.words == word for d in tests) for word in ("better", "worse", NO_STATEMENT))
            more = f", {none} with {NO_STATEMENT}: the one ahead has more parameters" if none else ""
            out.append(Fact(name, f"{won} of {len(tests)}", f"tests won, {lost} lost{more}"))
    runs = Runs(records, last)
    for name, label in (("No parameters at all", best_free(records, last)), ("Dense layer", "dense")):
        if label is not None and (label, None) in runs.test:
            said = f"{label}, {READINGS[last]}" if label != "dense" else READINGS[last]
            out.append(Fact(name, measure.value(average(runs.test[label, None])), said))
    return out

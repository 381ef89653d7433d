"""Differences of rows paired over seeds, with intervals and p-values, and the verdict in plain words.

Rows are picked on validation examples and compared on test examples, so that a family with more entries has no head start.  An
interval is over seeds (dense model, start, data order): it does not cover the choice of the test examples, which all rows share.

A pair of rows is tested once, and has one p-value wherever it is shown.  There are two families of tests, which share no pair:
:func:`against_controls` and :func:`deep_against_shallow`.  Holm's method corrects within each; :data:`CORRECTED` says for what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from statistics import median
from typing import Any

from tabulate import tabulate

from tnkit_nn.budgets import keeps
from tnkit_nn.comparison.conditions import conditions
from tnkit_nn.comparison.measure import Measure, average, best_of, measure_of
from tnkit_nn.comparison.paired import NONE, Difference, difference, holm
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.families import FREE

__all__ = [
    "CORRECTED", "READINGS", "against_controls", "answer", "best_free", "deep_against_shallow", "paired_cells", "paired_headers", "paired_table", "starts_cells", "starts_headers", "verdict",
]  # fmt: skip

#: A label and a budget.
Key = tuple[str, int | None]

#: Reading -> its name.
READINGS = {"frozen": "other layers frozen", "trained": "other layers fine-tuned"}
#: What the p-values are corrected for: said once in a report.
CORRECTED = (
    "P-values are corrected by Holm's method. Against a control, the correction is for the number of networks of that budget. "
    "Between the best deep and the best shallow network, it is for the number of such comparisons."
)


class _Runs:
    """Values of a reading by row, seeds in order."""

    def __init__(self, records: Records, reading: str) -> None:
        self.reading, self.measure = reading, measure_of(records)
        self.test: dict[Key, list[float]] = {}
        self.val: dict[Key, list[float]] = {}
        self.first: dict[Key, Mapping[str, Any]] = {}
        for r in sorted(records, key=lambda r: r["seed"]):
            if r[f"test_{reading}"] is not None:
                key = r["label"], r["budget"]
                self.test.setdefault(key, []).append(r[f"test_{reading}"])
                self.val.setdefault(key, []).append(r[f"val_{reading}"])
                self.first.setdefault(key, r)

    def best(self, keys: Iterable[Key]) -> Key | None:
        """The row that validation prefers."""
        found: Key | None = best_of({k: average(self.val[k]) for k in keys if k in self.val}, self.measure)
        return found

    def networks(self) -> list[Key]:
        """Rows with a budget that are no controls."""
        return [k for k, r in self.first.items() if k[1] is not None and r["kind"] == "network"]

    def shared(self, budget: int | None) -> list[Key]:
        """Controls that have the budget too."""
        return [k for k, r in self.first.items() if k[1] == budget is not None and r["kind"] == "control"]

    def within(self, key: Key) -> bool:
        """Whether a row keeps its budget: the smallest network of a family may be past it."""
        return key[1] is None or keeps(self.first[key]["num_params"], key[1])

    def less(self, one: Key, other: Key) -> Difference:
        """One row less another."""
        first, second = self.first[one], self.first[other]
        whole = second["kind"] == "control" and second["num_params"] == second["model_params"] is not None
        count = "model_params" if whole and first["model_params"] is not None else "num_params"
        values = difference(self.test[one], self.test[other], self.measure.step)
        return Difference(
            one[0], other[0], one[1], self.reading, *values, len(self.test[one]), (first[count], second[count]), self.measure
        )  # fmt: skip


def best_free(records: Records, reading: str) -> str | None:
    """The control without parameters that is best on validation examples.

    A model that grows when the layer is left out (the next layer taking its larger input) is no such control.
    """
    records = records_of(records, "best_free")
    small = {r["label"] for r in records if r["label"] in FREE and not _grown(r)}
    best = _Runs(records, reading).best((name, None) for name in FREE if name in small)
    return best and best[0]


def _grown(record: Mapping[str, Any]) -> bool:
    """Whether a model has more parameters than the dense one without the layer; not, where that is not known."""
    sizes = [record[key] for key in ("model_params", "model_dense", "layer_params")]
    return None not in sizes and sizes[0] > sizes[1] - sizes[2]


def against_controls(records: Records) -> list[Difference]:
    """Every network against the controls of its budget (the hash, the random subspace), and the best control without parameters.

    P-values are corrected by Holm's method for the networks that are held against one control at one budget in one reading: each
    such group is one question, "is any of these families better or worse than the control?".
    """
    records = records_of(records, "against_controls")
    groups: dict[tuple[str, str, int | None], list[Difference]] = {}
    for reading in READINGS:
        runs, free = _Runs(records, reading), best_free(records, reading)
        for key in runs.networks():
            rivals = runs.shared(key[1]) + ([(free, None)] if free else [])
            for rival in rivals:
                groups.setdefault((reading, rival[0], key[1]), []).append(runs.less(key, rival))
    return [d for group in groups.values() for d in _corrected(group)]


def deep_against_shallow(records: Records) -> list[Difference]:
    """The best deep network against the best shallow one, for every budget and reading that has both.

    Deep is the network of depth 2 and more, shallow the other network, that is best on validation examples among those that keep
    the budget.  P-values are corrected by Holm's method for all of these comparisons together.
    """
    records = records_of(records, "deep_against_shallow")
    found: list[Difference] = []
    every = {reading: _Runs(records, reading) for reading in READINGS}
    for budget in sorted({r["budget"] for r in records if r["budget"] is not None}):
        for runs in every.values():
            networks = [k for k in runs.networks() if k[1] == budget and runs.within(k)]
            deep = [k for k in networks if (runs.first[k]["depth"] or 0) > 1]
            best, rival = runs.best(deep), runs.best(k for k in networks if k not in deep)
            if best is not None and rival is not None:
                found.append(runs.less(best, rival))
    return _corrected(found)


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, their p-values corrected for their number."""
    return [replace(d, p=p) for d, p in zip(differences, holm([d.p for d in differences]), strict=True)]


def paired_table(records: Records, style: str = "simple") -> str:
    """The differences of :func:`against_controls` as text (any tabulate style)."""
    records = records_of(records, "paired_table")
    heads = paired_headers(measure_of(records))
    return str(tabulate(paired_cells(records), heads, tablefmt=style, disable_numparse=True))


def paired_headers(measure: Measure) -> tuple[str, ...]:
    """Headers of :func:`paired_table`."""
    return ("family", "budget", "other layers", "against", measure.gaps, "95 % CI", "p (Holm)", "in words")


def paired_cells(records: Records) -> list[tuple[str, ...]]:
    """Cells of :func:`paired_table`."""
    return [
        (
            d.one, str(d.budget), _short(d.reading), d.other, d.measure.number(d.mean, "+"), d.bounds, d.p_text,
            (d.words if d.seeds > 1 else "one seed") + d.careful,
        )
        for d in against_controls(records)
    ]  # fmt: skip


def _short(reading: str) -> str:
    """The reading's name in a column about the other layers."""
    return READINGS[reading].removeprefix("other layers ")


def starts_headers(measure: Measure) -> tuple[str, ...]:
    """Headers of :func:`starts_cells`."""
    starts = (f"{start}{measure.of_unit}" for start in ("approximated", "random start"))
    return ("family", "budget", "other layers", *starts, measure.gaps, "95 % CI")


def starts_cells(records: Records) -> list[tuple[str, ...]]:
    """What starting from the approximated weight gains over a random start, each at its own best rate."""
    records = records_of(records, "starts_cells")
    number = measure_of(records).number
    return [
        (
            d.one, "" if d.budget is None else str(d.budget), _short(d.reading), *(number(average(v)) for v in (fit, random)),
            number(d.mean, "+"), d.bounds,
        )
        for d, fit, random in _starts(records)
    ]  # fmt: skip


def _starts(records: Records) -> list[tuple[Difference, list[float], list[float]]]:
    """The two starts of every row that has both: their difference, and their values."""
    measure, out = measure_of(records), []
    for reading in READINGS:
        groups: dict[Key, list[Mapping[str, Any]]] = {}
        for r in records:
            if r[f"{reading}_from"]:
                groups.setdefault((r["label"], r["budget"]), []).append(r)
        for (label, budget), group in groups.items():
            fit, random = ([r[f"{reading}_from"][start] for r in group] for start in ("fit", "random"))
            values, counts = difference(fit, random, measure.step), (group[0]["num_params"],) * 2
            gap = Difference(label, "random start", budget, reading, *values, len(group), counts, measure)
            out.append((gap, fit, random))
    return out


# -- in words -------------------------------------------------------------------------------------------------------
def answer(records: Records) -> str:
    """One sentence: how often the best deep network is better, and how often worse, than the best shallow one."""
    found = deep_against_shallow(records_of(records, "answer"))
    if not found:
        return "No budget has both a deep and a shallow network, so nothing is said of deep against shallow."
    if max(d.seeds for d in found) < 2:
        return "One seed gives no spread, so nothing is said of deep against shallow."
    better, worse = (sum(d.words == w for d in found) for w in ("better", "worse"))
    return (
        "The best deep network is significantly better than the best shallow one "
        f"in {better} of {len(found)} comparisons, and significantly worse in {worse}."
    )


def verdict(records: Records) -> list[str]:
    """For every budget and reading, the best deep network against the best shallow one and the controls; then a summary a control.

    The last sentences say how it was made.
    """
    records = records_of(records, "verdict")
    controls = {(d.one, d.other, d.budget, d.reading): d for d in against_controls(records)}
    out, seeds = list[str](), 0
    for d in deep_against_shallow(records):
        shared = dict.fromkeys(r["label"] for r in records if r["budget"] == d.budget and r["kind"] == "control")
        rivals = [d, *(controls[k] for c in shared if (k := (d.one, c, d.budget, d.reading)) in controls)]
        out.append(f"Budget {d.budget}, {READINGS[d.reading]}: {_said(rivals)}.")
        seeds = max(seeds, d.seeds)
    out += _about_controls(records, list(controls.values()))
    if seeds > 1 or any(d.seeds > 1 for d in controls.values()):
        out.append(CORRECTED)
    return [*out, *conditions(records)]


def _said(differences: Sequence[Difference]) -> str:
    """Differences of one network to several, those of one outcome in one sentence."""
    one = differences[0].one
    if differences[0].seeds < 2:
        rivals = ", ".join(f"{d.gap} against {d.other}{d.careful}" for d in differences)
        return f"{one} {rivals} (one seed: no spread, no verdict)"
    begins = {"better": f"{one} is better than", "worse": f"{one} is worse than", NONE: f"{NONE} between {one} and"}
    parts = []
    for words, begin in begins.items():
        rivals = ", ".join(
            f"{d.other} ({d.interval}, p {d.p_text}){d.careful}" for d in differences if d.words == words
        )
        if rivals:
            parts.append(f"{begin} {rivals}")
    return "; ".join(parts)


def _about_controls(records: Records, every: Sequence[Difference]) -> list[str]:
    out, measure = list[str](), measure_of(records)
    seeds = len({r["seed"] for r in records})
    for reading, name in READINGS.items():
        mine = [d for d in every if d.reading == reading]
        for other in dict.fromkeys(d.other for d in mine):
            out.append(_summary([d for d in mine if d.other == other], name))
        free, runs = best_free(records, reading), _Runs(records, reading)
        if free is not None:
            reached = measure.reached(average(runs.test[free, None]))
            out.append(
                f"The best layer without parameters ({free}) reaches {reached} on test {measure.examples}, {name}. "
                "Gains are counted from there."
            )
    out += _about_leaving_out(records, measure) + _about_starts(records, measure)
    if every and 1 < seeds < 5:
        out.append(f'{seeds} seeds show large differences only: "{NONE}" does not mean that there is none.')
    return out


def _about_leaving_out(records: Records, measure: Measure) -> list[str]:
    """The model without the layer, beside those with networks in it."""
    runs, key = _Runs(records, "trained"), ("removed", None)
    sizes = [r["model_params"] for r in records if r["budget"] is not None and r["kind"] == "network"]
    if key not in runs.test or None in (whole := [*sizes, runs.first[key]["model_params"]]) or not sizes:
        return []
    reached = measure.reached(average(runs.test[key]))
    return [
        f"The model without the layer, trained anew, reaches {reached} with {whole[-1]} parameters in all. With a network in it, "
        f"it has {min(sizes)} to {max(sizes)}."
    ]


def _about_starts(records: Records, measure: Measure) -> list[str]:
    """What the approximation gains over a random start."""
    gains = [d.mean for d, *_ in _starts(records) if isfinite(d.mean)]
    if not gains:
        return []
    least, most = (measure.number(x, "+") for x in (min(gains), max(gains)))
    middle = f"{measure.gap(median(gains))} in the median, {least} to {most}{measure.direction}"
    return [f"Starting from the approximation instead of a random start, all else tuned alike: {middle}."]


def _summary(against: Sequence[Difference], reading: str) -> str:
    """Every network against one control."""
    other, n = against[0].other, len(against)
    if against[0].seeds < 2:
        return f"{n} networks against {other}, {reading}: one seed, no verdict."
    count = {w: sum(d.words == w for d in against) for w in ("better", "worse", NONE)}
    if count[NONE] == n:
        text = f"{NONE.capitalize()} between any of {n} networks and {other}, {reading}."
    else:
        told = [f"{k} {w}" for w in ("better", "worse") if (k := count[w])]
        told += [f"{count[NONE]} with {NONE}"] if count[NONE] else []
        text = f"Of {n} networks against {other}, {reading}: {', '.join(told)}."
    near = sum(d.words == NONE and (d.low > 0 or d.high < 0) for d in against)
    if near:
        text += f" Without the correction, {near} interval{'s' * (near > 1)} would exclude zero: more seeds could tell."
    unequal = sum(d.unequal for d in against)
    careful = f" [careful: {unequal} of them with over 10 % more or fewer parameters than {other}]" if unequal else ""
    return text + careful

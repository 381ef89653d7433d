"""Differences of rows paired over seeds, with intervals and p-values.

Rows are picked on validation examples and compared on test examples, so that a family with more entries has no head start.  An
interval is over seeds (dense model, start, data order): it does not cover the choice of the test examples, which all rows share.

That a row is better than another is said only where it has no more parameters (:attr:`~tnkit_nn.comparison.paired.Difference.words`).

A pair of rows has one p-value wherever it is shown.  There are two families of tests, which share no pair: :func:`against_controls` and
:func:`deep_against_shallow`.  Holm's method corrects within each; :data:`CORRECTED` says for what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tnkit_nn.budgets import keeps
from tnkit_nn.comparison.measure import Measure, average, best_of, measure_of
from tnkit_nn.comparison.paired import NO_STATEMENT, NOT_COMPARED, UNEQUAL, Difference, difference, holm
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.texts import text_table
from tnkit_nn.families import FREE

__all__ = [
    "AT_RANDOM", "CORRECTED", "READINGS", "Runs", "against_controls", "ahead_of_all", "asks", "best_free", "by_question", "compared", "deep_against_shallow",
    "outcomes", "paired_cells", "paired_headers", "paired_table", "short", "starts", "starts_cells", "starts_headers", "starts_table",
]  # fmt: skip

#: A label and a budget.
Key = tuple[str, int | None]

#: Reading -> its name.
READINGS = {"frozen": "other layers frozen", "trained": "other layers fine-tuned"}
#: Controls whose parameters, as many as the budget, are shared or mixed at random.
AT_RANDOM = ("hashed", "subspace")
#: Controls that have all of the weight's parameters.
_DENSE = ("dense", "dense_trained_on")
#: What the p-values are corrected for: said once in a report.
CORRECTED = (
    "P-values are corrected by Holm's method. Against a control, the correction is for the number of networks of that budget: "
    "each control, budget and reading is a question of its own, and of twenty about rows that are all alike one may find a difference. "
    "Between the best deep network and its shallow rivals, it is for the networks that either was picked from, then for the number of "
    "such pairs. Intervals are not corrected."
)


class Runs:
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

    def unbudgeted(self) -> list[Key]:
        """Controls without a budget that are no dense layers, and no models that grow."""
        kept = [(k, r) for k, r in self.first.items() if k[1] is None and r["kind"] == "control"]
        return [k for k, r in kept if k[0] not in _DENSE and not _grown(r)]

    def within(self, key: Key) -> bool:
        """Whether a row keeps its budget, or what was asked of it at least: the smallest network of a family may be past it."""
        return key[1] is None or keeps(self.count(key), max(key[1], self.first[key]["at_least"] or 0))

    def count(self, key: Key) -> int:
        """Parameters of a row's weights."""
        found: int = self.first[key]["num_params"]
        return found

    def rivals(self, best: Key, shallow: Sequence[Key]) -> dict[Key, list[Key]]:
        """What a deep network is held against -> what it was picked from: the best shallow one that has no fewer parameters, and the best
        that has no more.

        No fewer is up to the budget (or what was asked of the row at least), or a tenth more than the deep network has.
        """
        mine = self.count(best)
        larger = [k for k in shallow if mine <= self.count(k) and (self.within(k) or self.count(k) <= UNEQUAL * mine)]
        smaller = [k for k in shallow if self.count(k) <= mine]
        return {k: picked for picked in (larger, smaller) if (k := self.best(picked)) is not None}

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
    best = Runs(records, reading).best((name, None) for name in FREE if name in small)
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
        runs, free = Runs(records, reading), best_free(records, reading)
        for key in runs.networks():
            rivals = runs.shared(key[1]) + ([(free, None)] if free else [])
            for rival in rivals:
                groups.setdefault((reading, rival[0], key[1]), []).append(runs.less(key, rival))
    return [d for group in groups.values() for d in _corrected(group)]


def ahead_of_all(records: Records) -> list[tuple[str, int, str]]:
    """Controls that are significantly ahead of every network of a budget: their label, the budget and the reading.

    The controls of that budget, and those without one that have no more parameters than any network of it; no dense layer.  P-values
    are corrected by Holm's method for the networks.
    """
    records, found = records_of(records, "ahead_of_all"), []
    for runs in (Runs(records, reading) for reading in READINGS):
        for budget in sorted({k[1] for k in runs.networks() if k[1] is not None}):
            networks = [k for k in runs.networks() if k[1] == budget]
            fewest = min(map(runs.count, networks))
            free = [k for k in runs.unbudgeted() if runs.count(k) <= fewest]
            for control in (*runs.shared(budget), *free):
                group = _corrected([runs.less(k, control) for k in networks])
                if all(d.words in ("worse", NO_STATEMENT) and not d.ahead for d in group):
                    found.append((control[0], budget, runs.reading))
    return found


def deep_against_shallow(records: Records) -> list[Difference]:
    """The best deep network against its shallow rivals, for every budget and reading that has both: a pair or two each.

    Deep is the network of depth 2 and more that is best on validation examples among those that keep the budget.  A statement needs a
    winner with no more parameters, so each question has a rival of its own, the best on validation of those that could lose it:

    - "deep is better" is asked against the shallow networks with no fewer parameters, up to the budget, what was asked of them at least, or a
      tenth more;
    - "deep is worse" is asked against those with no more.

    One rival of any count would leave one of the questions out, which flatters the other side.  Where both questions have the same
    rival, as at equal counts, it is one pair.  Where they have two, each pair is tested two-sided, and its other direction gives no
    statement.

    The best of nine has had nine chances.  So each pair is tested twice by Holm's method: among the deep networks that its first was picked
    from, each against its second, and among the shallow ones that its second was picked from, each against its first.  The larger p-value
    counts.  Holm's method then corrects for all of these pairs together.
    """
    records = records_of(records, "deep_against_shallow")
    found: list[Difference] = []
    every = {reading: Runs(records, reading) for reading in READINGS}
    for budget in sorted({r["budget"] for r in records if r["budget"] is not None}):
        for runs in every.values():
            networks = [k for k in runs.networks() if k[1] == budget]
            deep = [k for k in networks if (runs.first[k]["depth"] or 0) > 1]
            picked = [k for k in deep if runs.within(k)]
            best = runs.best(picked)
            if best is not None:
                rivals = runs.rivals(best, [k for k in networks if k not in deep])
                found += [_of_the_picked(runs, (best, picked), rival) for rival in rivals.items()]
    return _corrected(found)


def _of_the_picked(runs: Runs, deep: tuple[Key, Sequence[Key]], shallow: tuple[Key, Sequence[Key]]) -> Difference:
    """One network less another, each beside what it was picked from: the larger of Holm's two p-values."""
    (best, of_deep), (rival, of_shallow) = deep, shallow
    first, second = of_deep.index(best), of_shallow.index(rival)
    among_deep = _corrected([runs.less(k, rival) for k in of_deep])[first]
    among_shallow = _corrected([runs.less(best, k) for k in of_shallow])[second]
    return max(among_deep, among_shallow, key=lambda d: d.p)


def compared(found: Iterable[Difference]) -> list[Difference]:
    """The pairs of the questions in which every pair has finite values.

    Without one of its two rivals, a question would be answered more easily than it was asked.
    """
    groups = by_question(found).values()
    return [d for group in groups if all(d.words != NOT_COMPARED for d in group) for d in group]


def outcomes(found: Iterable[Difference]) -> tuple[int, int, int, int]:
    """Of pairs of :func:`deep_against_shallow`: how often deep is better and how often that was asked, the same of worse.

    Deep counts as better only where it is ahead of the rival with fewer parameters too, if there is one.  A rival with as many parameters
    is asked both questions; one that is asked of two rivals is won or lost only against both.
    """
    groups = list(by_question(found).values())
    asked = {which: [[d for d in g if asks(d, which)] for g in groups] for which in ("better", "worse")}
    won = {which: [bool(g) and all(d.words == which for d in g) for g in each] for which, each in asked.items()}
    better = sum(won and all(d.ahead for d in g) for won, g in zip(won["better"], groups, strict=True))
    return better, sum(map(bool, asked["better"])), sum(won["worse"]), sum(map(bool, asked["worse"]))


def by_question(found: Iterable[Difference]) -> dict[tuple[int | None, str], list[Difference]]:
    """(Budget, reading) -> its pairs."""
    groups: dict[tuple[int | None, str], list[Difference]] = {}
    for d in found:
        groups.setdefault((d.budget, d.reading), []).append(d)
    return groups


def asks(d: Difference, which: str) -> bool:
    """Whether a pair's counts allow that the first row is called better, or worse."""
    return d.counts[0] <= d.counts[1] if which == "better" else d.counts[0] >= d.counts[1]


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, their p-values corrected for their number."""
    return [replace(d, p=p) for d, p in zip(differences, holm([d.p for d in differences]), strict=True)]


def paired_table(records: Records, style: str = "simple") -> str:
    """The differences of :func:`against_controls` as text (any tabulate style)."""
    records = records_of(records, "paired_table")
    heads = paired_headers(measure_of(records))
    return text_table(paired_cells(records), heads, style)


def paired_headers(measure: Measure) -> tuple[str, ...]:
    """Headers of :func:`paired_table`."""
    return ("family", "budget", "other layers", "against", measure.gaps, "95 % CI", "p (Holm)", "in words")


def paired_cells(records: Records) -> list[tuple[str, ...]]:
    """Cells of :func:`paired_table`."""
    return [
        (
            d.one, str(d.budget), short(d.reading), d.other, d.number, d.bounds, d.p_text,
            ": ".join(filter(None, [d.words if d.seeds > 1 else "one seed", d.refused])) + d.careful,
        )
        for d in against_controls(records)
    ]  # fmt: skip


def short(reading: str) -> str:
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
            d.one, "" if d.budget is None else str(d.budget), short(d.reading), *(number(average(v)) for v in (fit, random)),
            d.number, d.bounds,
        )
        for d, fit, random in starts(records)
    ]  # fmt: skip


def starts_table(records: Records, style: str = "simple") -> str:
    """The cells of :func:`starts_cells` as text (any tabulate style)."""
    records = records_of(records, "starts_table")
    return text_table(starts_cells(records), starts_headers(measure_of(records)), style)


def starts(records: Records) -> list[tuple[Difference, list[float], list[float]]]:
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

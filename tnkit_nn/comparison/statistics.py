"""Differences of rows paired over seeds, with intervals and p-values, and the verdict in plain words.

Rows are picked on validation images and compared on test images, so that a family with more entries has no head start.  An
interval is over seeds (dense model, start, data order): it does not cover the choice of the test images, which all rows share.

A pair of rows is tested once, and has one p-value wherever it is shown.  There are two families of tests, which share no pair:
:func:`against_controls` and :func:`deep_against_shallow`.  Holm's method corrects within each; :data:`CORRECTED` says for what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, stdev
from typing import Any

from tabulate import tabulate

from tnkit.core.extras import need
from tnkit.core.numbers import whole_number
from tnkit_nn.budgets import keeps
from tnkit_nn.families import CONTROLS, FREE, SHARED

__all__ = [
    "CORRECTED", "PAIRED_HEADERS", "READINGS", "STARTS_HEADERS", "Difference", "against_controls", "answer", "best_free",
    "deep_against_shallow", "difference", "holm", "paired_cells", "paired_table", "starts_cells", "verdict",
]  # fmt: skip

Records = Sequence[Mapping[str, Any]]

#: Reading -> its name.
READINGS = {"frozen": "other layers frozen", "trained": "other layers fine-tuned"}
LEVEL = 0.95
NONE = "no significant difference"
#: What the p-values are corrected for: said once in a report.
CORRECTED = (
    "P-values are corrected by Holm's method. Against a control, the correction is for the number of networks of that budget. "
    "Between the best deep and the best shallow network, it is for the number of such comparisons."
)


@dataclass(frozen=True)
class Difference:
    """One row less another, in points (per cent of the test images), paired over seeds.

    Attributes
    ----------
    points, low, high
        The mean and its 95 % interval (Student's t); NaN bounds with one seed.
    p
        Of no difference, two-sided; 1 with one seed.  Corrected, except where it comes from :func:`difference`.
    seeds
        Number of pairs.
    counts
        Parameters of the weight in the two rows.
    """

    one: str
    other: str
    budget: int | None
    reading: str
    points: float
    low: float
    high: float
    p: float
    seeds: int
    counts: tuple[int, int]

    @property
    def words(self) -> str:
        """Better, worse, or no significant difference: what ``p`` says."""
        if self.p >= 1 - LEVEL:
            return NONE
        return "better" if self.points > 0 else "worse"

    @property
    def unequal(self) -> bool:
        """Whether the two counts differ by more than 10 %, where neither is of a control without parameters."""
        return min(self.counts) > 0 and max(self.counts) > 1.1 * min(self.counts)

    @property
    def careful(self) -> str:
        """A warning of unequal counts, or nothing."""
        return f" [careful: {self.counts[0]} parameters against {self.counts[1]}]" if self.unequal else ""

    @property
    def interval(self) -> str:
        """The mean and the interval, as text."""
        if self.seeds < 2:
            return f"{self.points:+.1f} points, one seed"
        return f"{self.points:+.1f} points, 95 % CI {self.low:+.1f} to {self.high:+.1f}"

    @property
    def p_text(self) -> str:
        """The p-value as it is shown everywhere."""
        return "<0.001" if self.p < 0.0005 else f"{self.p:.3f}"


class _Runs:
    """Accuracies of a reading by row, seeds in order."""

    def __init__(self, records: Records, reading: str) -> None:
        self.reading = reading
        self.test: dict[tuple[str, int | None], list[float]] = {}
        self.val: dict[tuple[str, int | None], list[float]] = {}
        self.first: dict[tuple[str, int | None], Mapping[str, Any]] = {}
        for r in sorted(records, key=lambda r: r["seed"]):
            if r[f"accuracy_{reading}"] is not None:
                key = r["label"], r["budget"]
                self.test.setdefault(key, []).append(r[f"accuracy_{reading}"])
                self.val.setdefault(key, []).append(r[f"val_{reading}"])
                self.first.setdefault(key, r)

    def best(self, keys: Iterable[tuple[str, int | None]]) -> tuple[str, int | None] | None:
        """The row that validation prefers."""
        return max((k for k in keys if k in self.val), key=lambda k: mean(self.val[k]), default=None)

    def within(self, key: tuple[str, int | None]) -> bool:
        """Whether a row keeps its budget: the smallest network of a family may be past it."""
        return key[1] is None or keeps(self.first[key]["num_params"], key[1])

    def less(self, one: tuple[str, int | None], other: tuple[str, int | None]) -> Difference:
        first = self.first[one]
        counts = first["num_params"], self.first[other]["num_params"]
        points, low, high, p = difference(self.test[one], self.test[other], first["test_images"])
        return Difference(
            one[0], other[0], one[1], self.reading, points, low, high, p, len(self.test[one]), counts
        )  # fmt: skip


def difference(one: Sequence[float], other: Sequence[float], images: int) -> tuple[float, float, float, float]:
    """Mean difference of paired accuracies in points, its 95 % interval, and the p-value of no difference.

    The spread over seeds is never taken to be below one test image: accuracies are whole numbers of images, and a few seeds
    that agree by chance would make any difference look certain.
    """
    if len(one) != len(other) or not len(one):
        raise ValueError(
            f"difference: one and other are paired, one accuracy a seed each, not {len(one)} and {len(other)}"
        )
    whole_number(images, "difference: images", 1)
    need("a comparison's verdict", "scipy")
    from scipy.stats import t

    points = [100 * (a - b) for a, b in zip(one, other, strict=True)]
    n, centre = len(points), mean(points)
    if n < 2:
        return centre, float("nan"), float("nan"), 1.0
    error = max(stdev(points), 100 / images) / n**0.5
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return centre, centre - half, centre + half, float(2 * t.sf(abs(centre) / error, n - 1))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down method: the chance of any false alarm among them all stays below the level."""
    for k, p in enumerate(ps):
        if not 0 <= p <= 1:
            raise ValueError(f"holm: ps[{k}] is a p-value in 0..1, not {p!r}")
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    out, largest = [0.0] * len(ps), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[k]))
        out[k] = largest
    return out


def best_free(records: Records, reading: str) -> str | None:
    """The control without parameters that is best on validation images.

    A model that grows when the layer is left out (the next layer taking its larger input) is no such control.
    """
    small = {r["label"] for r in records if r["model_params"] <= r["model_dense"] - r["layer_params"]}
    best = _Runs(records, reading).best((name, None) for name in FREE if name in small)
    return best and best[0]


def against_controls(records: Records) -> list[Difference]:
    """Every network against the hash and the random subspace of its budget, and the best control without parameters.

    P-values are corrected by Holm's method for the networks that are held against one control at one budget in one reading: each
    such group is one question, "is any of these families better or worse than the control?".
    """
    groups: dict[tuple[str, str, int | None], list[Difference]] = {}
    for reading in READINGS:
        runs, free = _Runs(records, reading), best_free(records, reading)
        for key in runs.test:
            if key[1] is not None and key[0] not in CONTROLS:
                rivals = [(name, key[1]) for name in SHARED] + ([(free, None)] if free else [])
                for rival in (r for r in rivals if r in runs.test):
                    groups.setdefault((reading, rival[0], key[1]), []).append(runs.less(key, rival))
    return [d for group in groups.values() for d in _corrected(group)]


def deep_against_shallow(records: Records) -> list[Difference]:
    """The best deep network against the best shallow one, for every budget and reading that has both.

    Deep is the network of depth 2 and more, shallow the other network, that is best on validation images among those that keep
    the budget.  P-values are corrected by Holm's method for all of these comparisons together.
    """
    found: list[Difference] = []
    for budget in sorted({r["budget"] for r in records if r["budget"] is not None}):
        for reading in READINGS:
            runs = _Runs(records, reading)
            networks = [k for k in runs.test if k[1] == budget and k[0] not in CONTROLS and runs.within(k)]
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
    return str(tabulate(paired_cells(records), PAIRED_HEADERS, tablefmt=style, disable_numparse=True))


PAIRED_HEADERS = ("family", "budget", "other layers", "against", "points", "95 % CI", "p (Holm)", "in words")


def paired_cells(records: Records) -> list[tuple[str, ...]]:
    """Cells of :func:`paired_table`."""
    return [
        (
            d.one, str(d.budget), _short(d.reading), d.other, f"{d.points:+.1f}",
            f"{d.low:+.1f} to {d.high:+.1f}" if d.seeds > 1 else "–", d.p_text,
            (d.words if d.seeds > 1 else "one seed") + d.careful,
        )
        for d in against_controls(records)
    ]  # fmt: skip


def _short(reading: str) -> str:
    """The reading's name in a column about the other layers."""
    return READINGS[reading].removeprefix("other layers ")


STARTS_HEADERS = ("family", "budget", "other layers", "approximated, %", "random start, %", "points", "95 % CI")


def starts_cells(records: Records) -> list[tuple[str, ...]]:
    """What starting from the approximated weight gains over a random start, each at its own best rate."""
    out: list[tuple[str, ...]] = []
    for reading in READINGS:
        groups: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
        for r in records:
            if r[f"{reading}_from"]:
                groups.setdefault((r["label"], r["budget"]), []).append(r)
        for (label, budget), group in groups.items():
            fit, random = ([r[f"{reading}_from"][start] for r in group] for start in ("fit", "random"))
            points, low, high, _ = difference(fit, random, group[0]["test_images"])
            interval = f"{low:+.1f} to {high:+.1f}" if len(group) > 1 else "–"
            means = f"{100 * mean(fit):.1f}", f"{100 * mean(random):.1f}"
            out.append(
                (label, "" if budget is None else str(budget), _short(reading), *means, f"{points:+.1f}", interval)
            )
    return out


# -- in words -------------------------------------------------------------------------------------------------------
def answer(records: Records) -> str:
    """One sentence: how often the best deep network is better, and how often worse, than the best shallow one."""
    found = deep_against_shallow(records)
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
    """For every budget and reading, the best deep network against the best shallow one and the controls; then a summary a control."""
    controls = {(d.one, d.other, d.budget, d.reading): d for d in against_controls(records)}
    out, seeds = [], 0
    for d in deep_against_shallow(records):
        rivals = [d, *(controls[k] for c in SHARED if (k := (d.one, c, d.budget, d.reading)) in controls)]
        out.append(f"Budget {d.budget}, {READINGS[d.reading]}: {_said(rivals)}.")
        seeds = max(seeds, d.seeds)
    out += _about_controls(records, list(controls.values()))
    return [*out, CORRECTED] if seeds > 1 or any(d.seeds > 1 for d in controls.values()) else out


def _said(differences: Sequence[Difference]) -> str:
    """Differences of one network to several, those of one outcome in one sentence."""
    one = differences[0].one
    if differences[0].seeds < 2:
        rivals = ", ".join(f"{d.points:+.1f} points against {d.other}{d.careful}" for d in differences)
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
    out = []
    seeds = len({r["seed"] for r in records})
    for reading, name in READINGS.items():
        mine = [d for d in every if d.reading == reading]
        for other in dict.fromkeys(d.other for d in mine):
            out.append(_summary([d for d in mine if d.other == other], name))
        free, runs = best_free(records, reading), _Runs(records, reading)
        if free is not None:
            reached = f"{100 * mean(runs.test[free, None]):.1f} %"
            out.append(
                f"The best layer without parameters ({free}) reaches {reached} on test images, {name}. Gains are counted from there."
            )
    left_out, sizes = (
        _Runs(records, "trained"),
        [r["model_params"] for r in records if r["budget"] is not None and r["label"] not in SHARED],
    )
    if ("removed", None) in left_out.test and sizes:
        reached = f"{100 * mean(left_out.test['removed', None]):.1f} %"
        whole = left_out.first["removed", None]["model_params"]
        out.append(
            f"The model without the layer, trained anew, reaches {reached} with {whole} parameters in all. With a network in it, "
            f"it has {min(sizes)} to {max(sizes)}."
        )
    gains = [float(cells[5]) for cells in starts_cells(records)]
    if gains:
        middle = f"{median(gains):+.1f} points in the median, {min(gains):+.1f} to {max(gains):+.1f}"
        out.append(f"Starting from the approximation instead of a random start, all else tuned alike: {middle}.")
    if every and 1 < seeds < 5:
        out.append(f'{seeds} seeds show large differences only: "{NONE}" does not mean that there is none.')
    return out


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
    near = sum(d.words == NONE and not d.low < 0 < d.high for d in against)
    if near:
        text += f" Without the correction, {near} interval{'s' * (near > 1)} would exclude zero: more seeds could tell."
    unequal = sum(d.unequal for d in against)
    careful = f" [careful: {unequal} of them with over 10 % more or fewer parameters than {other}]" if unequal else ""
    return text + careful

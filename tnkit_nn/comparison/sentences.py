"""What a comparison's statistics say, in plain words: one sentence, or a line for every budget and reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import median

from tnkit.core.wording import plural
from tnkit_nn.comparison.conditions import conditions
from tnkit_nn.comparison.measure import Measure, average, measure_of
from tnkit_nn.comparison.paired import NO_STATEMENT, NONE, NOT_COMPARED, Difference
from tnkit_nn.comparison.records import Records, records_of
from tnkit_nn.comparison.statistics import (
    CORRECTED,
    READINGS,
    Runs,
    against_controls,
    ahead_of_all,
    asks,
    best_free,
    by_question,
    compared,
    deep_against_shallow,
    outcomes,
    short,
    starts,
)  # fmt: skip

__all__ = ["answer", "headline", "verdict"]


def headline(records: Records) -> str:
    """The answer in a few words: who wins, or that nobody does."""
    found = deep_against_shallow(records_of(records, "headline"))
    if not found:
        return "No verdict"
    if max(d.seeds for d in found) < 2:
        return "No verdict yet"
    found = compared(found)
    if not found:
        return "No verdict"
    better, _, worse, _ = outcomes(found)
    many = len(by_question(found))
    if better and worse:
        return f"Of {many} comparisons, deep wins {better} and shallow {worse}"
    won, side = (better, "Deep") if better else (worse, "Shallow")
    if not won:
        return "Neither wins"
    return f"{side} wins" if won == many else f"{side} wins {won} of {many} comparisons"


def answer(records: Records) -> str:
    """How often the best deep network is better or worse than its shallow rival, by how much, and how sure that is.

    A control that is ahead of every network is told too.
    """
    records = records_of(records, "answer")
    return f"{_deep_or_shallow(records)}{_ahead_of_all(records)}"


def _deep_or_shallow(records: Records) -> str:
    """The sentence about deep against shallow."""
    found = deep_against_shallow(records)
    if not found:
        return f"{_why_none(records)}, so nothing is said of deep against shallow."
    if max(d.seeds for d in found) < 2:
        return "One seed gives no spread, so nothing is said of deep against shallow."
    sure = compared(found)
    if not sure:
        return "In every comparison a test value is not finite, so nothing is said of deep against shallow."
    left = len(by_question(found)) - len(by_question(sure))
    other = f" In {plural(left, 'other')} a test value is not finite." if left else ""
    return (
        f"{_how_often(*outcomes(sure), all(d.words == NONE for d in sure))}{_size_of(sure)}.{_undecided(sure)}{other}"
    )


def _ahead_of_all(records: Records) -> str:
    """How often a control is ahead of every network, where one is."""
    found = Counter(label for label, *_ in ahead_of_all(records))
    if not found:
        return ""
    asked = sum(len({k[1] for k in Runs(records, reading).networks()}) for reading in READINGS)
    told = ", ".join(f"{label} in {times} of {asked}" for label, times in found.items())
    return f" Controls significantly ahead of every network: {told}."


def _undecided(found: Sequence[Difference]) -> str:
    """How often a difference is significant, and neither side is called better."""
    groups = by_question(found).values()
    times = sum(any(d.words != NONE for d in g) and not any(outcomes(g)[::2]) for g in groups)
    if not times:
        return ""
    why = "the one ahead has more parameters, or it is not so against the other rival"
    return f" In {plural(times, 'comparison')} a difference is significant and nothing is said: {why}."


def _why_none(records: Records) -> str:
    """Why no deep network is held against a shallow one."""
    records = records_of(records, "answer")
    # deep or not -> budget -> whether some network keeps it
    keeping: dict[bool, dict[int | None, bool]] = {True: {}, False: {}}
    for runs in (Runs(records, reading) for reading in READINGS):
        for key in runs.networks():
            kind = keeping[(runs.first[key]["depth"] or 0) > 1]
            kind[key[1]] = kind.get(key[1], False) or runs.within(key)
    both = keeping[True].keys() & keeping[False].keys()
    if not both:
        return "No budget has both a deep and a shallow network"
    if any(keeping[True][budget] for budget in both):
        return "No shallow network is near the best deep one in parameters"
    return "Every deep network beside shallow ones has more parameters than its budget"


def _how_often(better: int, of_better: int, worse: int, of_worse: int, alike: bool) -> str:
    """How many of the comparisons that may be won are won, and how many of those that may be lost are lost.

    ``alike``: no difference is significant.
    """
    deep, many = "The best deep network", plural(of_better, "comparison")
    if not of_better:
        return f"{deep} has more parameters than every shallow one, so that it cannot be called better, and is significantly worse than its rival in {_count(worse)} of {of_worse}"
    if not of_worse:
        return f"{deep} is significantly better than its shallow rival in {_count(better)} of {many}, but has fewer parameters than every shallow one, so that it cannot be called worse"
    if alike and of_better == of_worse:
        if of_better == 1:
            return f"{deep} and its shallow rival do not differ significantly"
        return f"In none of {many} do the best deep network and its shallow rival differ significantly"
    return f"{deep} is significantly better than its shallow rival in {_count(better)} of {many}, and worse in {_count(worse)} of {of_worse}"


def _count(times: int) -> str:
    return str(times or "none")


def _size_of(found: Sequence[Difference]) -> str:
    """In brackets, how large the differences are, and how wide their intervals."""
    sure = [d for d in found if isfinite(d.low) and isfinite(d.high)]
    if not sure:
        return ""
    measure = max((d.fine for d in sure), key=lambda m: m.digits)
    gaps, halves = [d.mean for d in sure], [(d.high - d.low) / 2 for d in sure]
    least, most = measure.number(min(gaps), "+"), measure.gap(max(gaps))
    between = most if least == measure.number(max(gaps), "+") else f"{least} to {most}"
    low, high = (f"±{measure.number(x)}" for x in (min(halves), max(halves)))
    width = low if low == high else f"{low} to {high}"
    seeds, way = max(d.seeds for d in sure), "" if measure.larger else ", smaller is better"
    return f" (deep minus shallow: {between}{way}; 95 % CI {width}; {seeds} seeds)"


def verdict(records: Records) -> list[str]:
    """For every budget and reading, the best deep network against its shallow rivals and the controls; then a summary a control.

    The last sentences say how it was made.
    """
    records = records_of(records, "verdict")
    controls = {(d.one, d.other, d.budget, d.reading): d for d in against_controls(records)}
    out, groups = list[str](), by_question(deep_against_shallow(records))
    for (budget, reading), pairs in groups.items():
        shared = dict.fromkeys(r["label"] for r in records if r["budget"] == budget and r["kind"] == "control")
        keys = [(pairs[0].one, control, budget, reading) for control in shared]
        rivals = [*pairs, *(controls[k] for k in keys if k in controls)]
        out.append(f"Budget {budget}, {READINGS[reading]}: {_said(rivals)}.")
    seeds = max((d.seeds for pairs in groups.values() for d in pairs), default=0)
    out += _not_asked(groups, any(r["at_least"] for r in records)) if seeds > 1 else []
    out += _past_budget(records)
    places: dict[str, list[str]] = {}
    for label, budget, reading in ahead_of_all(records):
        places.setdefault(label, []).append(f"{budget} ({short(reading)})")
    out += [f"{label} is significantly ahead of every network at {', '.join(at)}." for label, at in places.items()]
    out += _about_controls(records, list(controls.values()))
    if seeds > 1 or any(d.seeds > 1 for d in controls.values()):
        out.append(CORRECTED)
    return [*out, *conditions(records)]


def _not_asked(groups: Mapping[tuple[int | None, str], Sequence[Difference]], at_least: bool) -> list[str]:
    """Where a question has no rival; ``at_least``: rivals of no fewer parameters were asked for already."""
    hint = "" if at_least else " (compare has at_least=)"
    whys = {
        "better": f"every shallow network near the budget has fewer parameters than the best deep one{hint}",
        "worse": "every shallow network near the budget has more parameters than the best deep one",
    }
    out = []
    for which, why in whys.items():
        places = [
            f"{budget} ({short(reading)})"
            for (budget, reading), g in groups.items()
            if not any(asks(d, which) for d in g)
        ]
        if places:
            out.append(f"Whether deep is {which} is not asked at {', '.join(places)}: {why}.")
    return out


def _past_budget(records: Records) -> list[str]:
    """Networks that do not keep their budget: the smallest of their families may be larger."""
    past = {
        k: r
        for runs in (Runs(records, reading) for reading in READINGS)
        for k, r in runs.first.items()
        if not runs.within(k) and r["kind"] == "network"
    }
    if not past:
        return []
    named = ", ".join(f"{label} at {budget} ({r['num_params']} parameters)" for (label, budget), r in past.items())
    deep = any((r["depth"] or 0) > 1 for r in past.values())
    return [f"Past their budget: {named}.{' A deep network there is not chosen as the best.' if deep else ''}"]


def _said(differences: Sequence[Difference]) -> str:
    """Differences of one network to several, those of one outcome in one sentence."""
    one = differences[0].one
    if differences[0].seeds < 2:
        rivals = ", ".join(f"{d.gap} against {d.other}{d.careful}" for d in differences)
        return f"{one} {rivals} (one seed: no spread, no verdict)"
    begins = {"better": f"{one} is better than", "worse": f"{one} is worse than", NONE: f"{NONE} between {one} and"}
    parts = []
    for words, begin in begins.items():
        rivals = ", ".join(f"{_figures(d)}{d.careful}" for d in differences if d.words == words)
        if rivals:
            parts.append(f"{begin} {rivals}")
    parts += [_refused(d) for d in differences if d.words == NO_STATEMENT]
    lost = ", ".join(d.other for d in differences if d.words == NOT_COMPARED)
    return "; ".join([*parts, *([f"{one} is not compared with {lost}, for a value is not finite"] if lost else [])])


def _figures(d: Difference) -> str:
    """A rival, and what the difference to it is."""
    return f"{d.other} ({d.interval}, p {d.p_text})"


def _refused(d: Difference) -> str:
    """A lead that counts may explain."""
    one, other = d.counts
    if d.ahead:
        return f"{d.one} is ahead of {_figures(d)}, but has more parameters, {one} against {other}: {NO_STATEMENT}"
    return f"{d.one} is behind {_figures(d)}, which has more parameters, {other} against {one}: {NO_STATEMENT}"


def _about_controls(records: Records, every: Sequence[Difference]) -> list[str]:
    out, measure = list[str](), measure_of(records)
    seeds = len({r["seed"] for r in records})
    for reading, name in READINGS.items():
        mine = [d for d in every if d.reading == reading]
        for other in dict.fromkeys(d.other for d in mine):
            out.append(_summary([d for d in mine if d.other == other], name))
        free, runs = best_free(records, reading), Runs(records, reading)
        if free is not None:
            reached = measure.reached(average(runs.test[free, None]))
            out.append(
                f"The best layer without parameters ({free}) reaches {reached} on test {measure.examples}, {name}. "
                "Gains are counted from there."
            )
    out += _about_leaving_out(records, measure) + _aboutstarts(records, measure)
    if every and 1 < seeds < 5:
        out.append(f'{seeds} seeds show large differences only: "{NONE}" does not mean that there is none.')
    return out


def _about_leaving_out(records: Records, measure: Measure) -> list[str]:
    """The model without the layer, beside those with networks in it."""
    runs, key = Runs(records, "trained"), ("removed", None)
    sizes = [r["model_params"] for r in records if r["budget"] is not None and r["kind"] == "network"]
    if key not in runs.test or None in (whole := [*sizes, runs.first[key]["model_params"]]) or not sizes:
        return []
    reached = measure.reached(average(runs.test[key]))
    some = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{max(sizes)}"
    return [
        f"The model without the layer, trained anew, reaches {reached} with {whole[-1]} parameters in all. With a network in it, "
        f"it has {some}."
    ]


def _aboutstarts(records: Records, measure: Measure) -> list[str]:
    """What the approximation gains over a random start."""
    gains = [d.mean for d, *_ in starts(records) if isfinite(d.mean)]
    if not gains:
        return []
    least, most = (measure.number(x, "+") for x in (min(gains), max(gains)))
    middle = f"{measure.gap(median(gains))} in the median, {least} to {most}{measure.direction}"
    return [f"Starting from the approximation instead of a random start, all else tuned alike: {middle}."]


def _summary(against: Sequence[Difference], reading: str) -> str:
    """Every network against one control."""
    other, n = against[0].other, len(against)
    every = f"{n} networks" if n > 1 else against[0].one
    if against[0].seeds < 2:
        return f"{every} against {other}, {reading}: one seed, no verdict."
    count = {w: sum(d.words == w for d in against) for w in ("better", "worse", NONE, NO_STATEMENT, NOT_COMPARED)}
    if count[NONE] == n:
        text = f"{NONE.capitalize()} between {f'any of {every}' if n > 1 else every} and {other}, {reading}."
    else:
        told = [f"{k} {w}" for w in ("better", "worse") if (k := count[w])]
        told += [f"{count[NONE]} with {NONE}"] if count[NONE] else []
        told += (
            [f"{count[NO_STATEMENT]} with {NO_STATEMENT} (the one ahead has more parameters)"]
            if count[NO_STATEMENT]
            else []
        )
        told += [f"{count[NOT_COMPARED]} {NOT_COMPARED} (a value is not finite)"] if count[NOT_COMPARED] else []
        said = ", ".join(told) if n > 1 else told[0].removeprefix("1 ").removeprefix("with ")
        text = f"{f'Of {every}' if n > 1 else every} against {other}, {reading}: {said}."
    near = sum(d.words == NONE and (d.low > 0 or d.high < 0) for d in against)
    if near:
        text += f" Without the correction, {plural(near, 'interval')} would exclude zero: more seeds could tell."
    unequal = sum(d.unequal for d in against)
    has = f"{unequal} of them with" if n > 1 else "it has"
    careful = f" [careful: {has} over 10 % more or fewer parameters than {other}]" if unequal else ""
    return text + careful

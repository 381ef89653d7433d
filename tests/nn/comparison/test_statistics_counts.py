"""No rival has fewer parameters: who is held against whom, and which statements counts allow."""

import numpy as np
import pytest

from tnkit_nn.comparison.paired import difference
from tnkit_nn.comparison.sentences import answer, verdict
from tnkit_nn.comparison.statistics import (
    Runs,
    against_controls,
    deep_against_shallow,
    outcomes,
    paired_table,
)

from .made import counted, runs


def test_unequal_counts_are_told():
    records = runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.82))
    assert "careful" not in verdict(records)[0]
    records = [r | {"num_params": 84} if r["depth"] else r for r in records]
    assert "[careful: 84 parameters against 100]" in verdict(records)[0]
    hashed = runs(mpo=(0.8, 0.82), hashed=(0.7, 0.72), picked=(0.5, 0.5))
    assert "careful" not in "".join(verdict(hashed)) + paired_table(hashed)
    past = [r | {"num_params": 300} if r["label"] == "mpo" else r for r in hashed]  # its smallest is past the budget
    said = "no statement: ahead, but has more parameters, 300 against 100"
    assert paired_table(past).count(said) == 2  # in both readings, against hashed alone
    worse = [r | {"test_frozen": 0.1, "test_trained": 0.1} if r["label"] == "mpo" else r for r in past]
    assert paired_table(worse).count("worse [careful: 300 parameters against 100]") == 2
    told = [line for line in verdict(past) if "careful" in line]
    assert len(told) == 2 and all("it has over 10 % more or fewer parameters than hashed" in line for line in told)
    more = [r | {"label": "cp"} for r in hashed if r["label"] == "mpo"]
    told = [line for line in verdict(past + more) if "careful" in line]
    assert len(told) == 2 and all("1 of them with over 10 % more or fewer parameters" in line for line in told)


@pytest.mark.parametrize(
    "count, rival", [(103, True), (104, True), (110, True), (114, True), (115, False), (150, False)]
)
def test_a_rival_past_the_budget_has_at_most_a_tenth_more(count, rival):
    """Of a deep network of 104 parameters for a budget of 100: more than 105 are past the budget."""
    counts = {"adtn depth 3": 104, "mpo": count}
    records = [r | {"num_params": counts[r["label"]]} for r in runs(adtn3=(0.9, 0.91), mpo=(0.89, 0.9))]
    deep, shallow = ("adtn depth 3", 100), ("mpo", 100)
    found = Runs(records, "frozen").rivals(deep, [shallow])
    assert found == ({shallow: [shallow]} if rival else {})


# -- fair counts ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("deep, other, better, worse", [(100, 100, 1, 1), (104, 100, 0, 1), (100, 104, 1, 0)])
def test_a_lead_of_more_parameters_is_no_statement(deep, other, better, worse, free):
    """Of two rows that differ beyond any doubt, one is called better only where it has no more parameters; a free control's 0 is no count."""
    name = "picked" if free else "hashed"
    good, bad = (0.95, 0.951, 0.952), (0.8, 0.801, 0.802)
    for one, two, possible, word in ((good, bad, better, "better"), (bad, good, worse, "worse")):
        records = counted(runs(adtn3=one, **{name: two}), adtn3=deep, hashed=other)
        words = {d.words for d in against_controls(records)}
        assert words == {word if possible or free else "no statement"}
        records = counted(runs(adtn3=one, mpo=two), adtn3=deep, mpo=other)
        (frozen, trained) = deep_against_shallow(records)
        assert frozen.words == trained.words == (word if possible else "no statement")
        said = verdict(records)[0]
        assert (f"adtn depth 3 is {word} than mpo" in said) == bool(possible)
        ahead = "but has more parameters, 104 against 100: no statement"
        behind = "which has more parameters, 104 against 100: no statement"
        assert ((ahead if word == "better" else behind) in said) == (not possible)
        assert outcomes([frozen, trained]) == (
            2 * better * (word == "better"),
            2 * better,
            2 * worse * (word == "worse"),
            2 * worse,
        )


def test_each_question_has_the_rival_that_could_lose_it():
    """Better: the best with no fewer parameters, a tenth more at most or within the budget.  Worse: the best with no more."""
    values = dict(
        adtn3=(0.9, 0.91, 0.92),
        mpo=(0.85, 0.86, 0.87),
        cp=(0.8, 0.81, 0.82),
        ring=(0.7, 0.71, 0.72),
        tt=(0.99, 0.98, 0.985),
    )
    records = counted(
        runs(**values), adtn3=96, mpo=95, cp=105, ring=100, tt=106
    )  # the budget is 100; tt: past it, and a tenth
    assert {(d.one, d.other, d.counts) for d in deep_against_shallow(records)} == {
        ("adtn depth 3", "cp", (96, 105)),
        ("adtn depth 3", "mpo", (96, 95)),
    }
    at_most = counted(records, tt=105)  # 9.4 % more than the deep one
    assert {d.other for d in deep_against_shallow(at_most)} == {"tt", "mpo"}
    equal = counted(records, mpo=96)  # the best of both: one pair a reading, corrected for two
    found = deep_against_shallow(equal)
    assert [(d.other, d.reading) for d in found] == [("mpo", "frozen"), ("mpo", "trained")]
    assert found[0].p == pytest.approx(2 * difference(values["adtn3"], values["mpo"], 500)[3])
    alone = counted(records, cp=80, ring=90)
    assert {d.other for d in deep_against_shallow(alone)} == {"mpo"}
    (line,) = [x for x in verdict(alone) if "not asked" in x]
    assert "Whether deep is better is not asked at 100 (frozen), 100 (fine-tuned): every shallow network" in line
    assert line.endswith("than the best deep one (compare has at_least=).")
    (line,) = [x for x in verdict([r | {"at_least": 96} for r in alone]) if "not asked" in x]
    assert line.endswith("than the best deep one.")  # no such network was found
    assert (
        "cannot be called better, and is significantly worse than its rival in none of 2 (deep minus shallow: "
        in answer(alone)
    )


def test_a_rival_of_no_fewer_parameters_than_was_asked_of_it_is_one():
    """The best deep network has fewer than the largest, which the shallow ones were asked to have at least."""
    values = dict(adtn3=(0.9, 0.91, 0.92), mpo=(0.85, 0.86, 0.87), cp=(0.8, 0.81, 0.82), tt=(0.99, 0.98, 0.985))
    records = counted(runs(**values), adtn3=84, mpo=108, cp=104, tt=110)
    asked = [r if r["depth"] else r | {"at_least": 104} for r in records]
    assert {(d.other, d.counts) for d in deep_against_shallow(asked)} == {("mpo", (84, 108))}
    assert not any("Whether deep is better" in line or "mpo at 100" in line for line in verdict(asked))
    assert "Past their budget: tt at 100 (110 parameters)." in verdict(asked)
    assert {d.other for d in deep_against_shallow(records)} == {"cp"}  # near a budget, 108 is past it


def test_better_than_a_larger_rival_counts_only_ahead_of_the_smaller_one():
    values = dict(adtn3=(0.9, 0.901, 0.902), mpo=(0.95, 0.951, 0.952), cp=(0.8, 0.801, 0.802))
    records = counted(runs(**values), adtn3=100, mpo=98, cp=102)
    assert {(d.other, d.words) for d in deep_against_shallow(records)} == {("cp", "better"), ("mpo", "worse")}
    assert outcomes(deep_against_shallow(records)) == (0, 2, 2, 2)


@pytest.mark.slow
def test_statements_keep_the_counts_whatever_the_records():
    """Seeded records of any counts and values: who is called better has no more parameters; every pair is tested once."""
    draw, seen = np.random.default_rng(5), set()
    for _ in range(40):
        names = ["adtn3", "adtn depth 2", "mpo", "cp", "ring", "hashed", "picked"]
        records = runs(**{n: tuple(draw.choice([0.5, 0.7, 0.9]) + draw.normal(0, 0.01, 4)) for n in names})
        records = counted(records, **{n: int(draw.integers(90, 112)) for n in names[:-1]})
        found = [*deep_against_shallow(records), *against_controls(records)]
        pairs = [(d.one, d.other, d.reading) for d in found]
        assert len(set(pairs)) == len(pairs)
        for d in found:
            one, other = d.counts
            seen.add(d.words)
            assert d.words != "better" or one <= other or not other
            assert d.words != "worse" or other <= one
            assert (d.words == "no statement") == bool(d.refused)
        for reading in ("frozen", "trained"):
            counts = {r["label"]: r["num_params"] for r in records}
            val = {n: np.mean([r[f"val_{reading}"] for r in records if r["label"] == n]) for n in counts}
            deep = max((n for n in counts if n.startswith("adtn") and counts[n] <= 105), key=val.get, default=None)
            shallow = [n for n in ("mpo", "cp", "ring") if deep]
            fewer = [n for n in shallow if counts[n] <= counts[deep]]
            more = [n for n in shallow if counts[deep] <= counts[n] <= max(105, 1.1 * counts[deep])]
            want = {max(group, key=val.get) for group in (fewer, more) if group}
            assert {d.other for d in deep_against_shallow(records) if d.reading == reading} == want
    assert seen == {"better", "worse", "no statement", "no significant difference"}

"""Paired differences, their correction, and the words for them."""

import html
import math
import re
from itertools import chain

import numpy as np
import pytest
from scipy import stats

from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.paired import difference, holm
from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.tables import rows
from tnkit_nn.comparison.sentences import answer, headline, verdict
from tnkit_nn.comparison.statistics import (
    CORRECTED,
    Runs,
    against_controls,
    best_free,
    deep_against_shallow,
    outcomes,
    paired_table,
    starts_cells,
    starts_headers,
)

from .made import PERPLEXITY, RMSE, of_sentences, runs


def test_difference_is_scipys_paired_t():
    scipy = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    one, other = draw.uniform(0.8, 0.9, 6), draw.uniform(0.7, 0.9, 6)
    want = scipy.ttest_rel(one, other)
    centre, low, high, p = difference(list(one), list(other), 10_000)
    interval = want.confidence_interval(0.95)
    assert p == pytest.approx(want.pvalue) and centre == pytest.approx((one - other).mean())
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert difference(list(one), list(other)) == (
        centre,
        low,
        high,
        p,
    )  # without a number of examples: the spread is above one
    p_of_few = difference(list(one), list(other), 5)[3]  # one of five is more than the spread
    by_hand = 2 * scipy.t.sf(abs((one - other).mean()) / (1 / 5 / 6**0.5), 5)
    assert p_of_few == pytest.approx(by_hand) and p_of_few > p


def test_seeds_that_agree_to_the_image_are_not_certainty():
    centre, low, high, p = difference([0.902] * 3, [0.900] * 3, 500)  # one image of 500 in each of three seeds
    assert centre == pytest.approx(0.002) and low < 0 < high and p > 0.05
    assert difference([0.9], [0.8], 500)[3] == 1


def test_without_a_spread_there_is_a_p_value():
    assert difference([2.5] * 3, [2.5] * 3) == (0, 0, 0, 1)
    assert difference([0.1 + 0.2] * 3, [0.3] * 3)[3] == 1  # rounding
    for values in ([math.inf, 1.0, 1.0], [math.nan, 1.0, 1.0], [math.inf, -math.inf, 1.0]):
        _, low, high, p = difference(values, [1.0, 2.0, 3.0])
        assert p == 1 and math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda: difference([1.0], [1.0, 2.0]), ValueError, "one value a seed each, not 1 and 2"),
        (lambda: difference([], []), ValueError, "not 0 and 0"),
        (lambda: difference([1.0], 3), TypeError, "difference: other is a sequence"),
        (lambda: difference([1.0], [2.0], 0), ValueError, "difference: examples"),
        (lambda: holm([0.1, 1.5]), ValueError, r"ps\[1\] is a p-value in 0..1, not 1.5"),
    ],
)
def test_what_is_no_pair_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()


@pytest.mark.slow
def test_no_difference_is_found_as_seldom_as_promised():
    """Of many comparisons of equals, about one in twenty is called a difference; after Holm, hardly a table has any."""
    draw = np.random.default_rng(1)
    ps = np.array([[difference(*draw.normal(0.9, 0.01, (2, 4)), 10_000)[3] for _ in range(20)] for _ in range(200)])
    assert (ps < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    assert np.mean([min(holm(row)) < 0.05 for row in ps]) < 0.09


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_a_network_past_its_budget_speaks_for_nobody():
    records = runs(adtn3=(0.99, 0.98, 0.985), mpo=(0.90, 0.91, 0.92), hashed=(0.90, 0.91, 0.92))
    assert "adtn depth 3 is better than mpo" in verdict(records)[0]
    past = [{**r, "num_params": 106 if r["label"] == "adtn depth 3" else r["num_params"]} for r in records]
    assert not any(line.startswith("Budget") for line in verdict(past))
    told = "Past their budget: adtn depth 3 at 100 (106 parameters). A deep network there is not chosen as the best."
    assert told in verdict(past) and not any("Past their budget" in line for line in verdict(records))
    shallow = [r | {"num_params": 106, "budget": 100} if r["label"] == "mpo" else r for r in records]
    assert "Past their budget: mpo at 100 (106 parameters)." in verdict(shallow)
    small = [{**r, "label": "adtn depth 2", "test_frozen": 0.8} for r in records if r["label"] == "adtn depth 3"]
    assert "adtn depth 2 is worse than mpo" in verdict(past + small)[0]


def test_a_verdict_of_many_sentences_is_corrected_for_their_number():
    one, other = (0.912, 0.922, 0.933), (0.9, 0.91, 0.92)
    p = difference(one, other, 500)[3]
    records = runs(adtn3=one, mpo=other)
    assert f"adtn depth 3 is better than mpo (+1.2 points, 95 % CI +0.7 to +1.7, p {2 * p:.3f})" in verdict(records)[0]
    many = [r | {"budget": budget} for budget in (100, 200, 300) for r in records]  # two readings each
    said = verdict(many)[:6]
    assert 2 * p < 0.05 < 6 * p
    assert all(
        "no significant difference between adtn depth 3 and mpo" in line and f"p {6 * p:.3f})" in line for line in said
    )


def test_verdict_says_no_difference_better_and_worse():
    def first(deep):
        return verdict(runs(adtn3=deep, mpo=(0.90, 0.91, 0.92), hashed=(0.90, 0.91, 0.92)))[0]

    assert "adtn depth 3 is better than mpo (+5.0 points, 95 % CI" in first((0.95, 0.961, 0.969))
    assert "no significant difference between adtn depth 3 and mpo" in first((0.80, 0.99, 0.95))
    (same,) = re.findall(
        r"no significant difference between adtn depth 3 and mpo \(.*?\), hashed \(.*?\)", first((0.90, 0.91, 0.92))
    )
    assert same.count("+0.0 points") == 2
    assert "adtn depth 3 is worse than mpo" in first((0.85, 0.861, 0.869))
    assert "one seed: no spread, no verdict" in verdict([r for r in runs(adtn3=[0.9], mpo=[0.5])])[0]


def test_rows_are_chosen_on_validation_not_on_test():
    records = runs(adtn3=(0.9, 0.91), mpo=(0.99, 0.98), cp=(0.8, 0.81), picked=(0.7, 0.6), pooled=(0.2, 0.3))
    for r in records:
        if r["label"] in ("cp", "pooled"):
            r["val_frozen"] = 1.0
    lines = verdict(records)
    assert "than cp" in lines[0] or "and cp" in lines[0]  # other layers frozen: validation prefers cp
    assert "than mpo" in lines[1] or "and mpo" in lines[1]
    assert best_free(records, "frozen") == "pooled" and best_free(records, "trained") == "picked"
    (cp,) = [r for r in rows(records) if r.label == "cp"]
    assert cp.gain_frozen[0] == pytest.approx(0.555) and cp.gain_trained[0] == pytest.approx(0.155)


def test_a_model_that_grows_without_the_layer_is_no_layer_of_no_numbers():
    records = runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.82), picked=(0.7, 0.6), removed=(0.95, 0.96))
    assert best_free(records, "trained") == "removed"
    records = [r | {"model_params": 5000} if r["label"] == "removed" else r for r in records]
    assert best_free(records, "trained") == "picked"
    assert any(
        "without the layer, trained anew, reaches 95.5 % with 5000 parameters in all" in line
        for line in verdict(records)
    )


def test_what_the_correction_hides_is_told():
    lines = verdict(runs(adtn3=(0.91, 0.922, 0.926), mpo=(0.9, 0.91, 0.93), hashed=(0.9, 0.902, 0.91)))
    assert any(
        "No significant difference between any of 2 networks and hashed" in line
        and "Without the correction, 1 interval" in line
        for line in lines
    )


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
def counted(records, **counts):
    """The same records, rows of other counts."""
    counts = {re.sub(r"^adtn(\d)", r"adtn depth \1", name): n for name, n in counts.items()}
    return [r | {"num_params": counts.get(r["label"], r["num_params"])} for r in records]


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


def test_a_pair_is_corrected_for_what_either_was_picked_from():
    """The larger of Holm's p-values among the deep networks against the rival, and among the shallow ones against the best deep one."""
    draw = np.random.default_rng(3)
    for _ in range(20):
        values = {
            n: tuple(draw.normal(0.9, 0.01, 5))
            for n in ("adtn depth 2", "adtn depth 3", "adtn depth 4", "mpo", "cp", "tt")
        }
        records = [r | {"test_trained": None, "val_trained": None} for r in runs(**values)]
        (d,) = deep_against_shallow(records)
        deep, shallow = ([n for n in values if n.startswith("adtn") is kind] for kind in (True, False))
        assert d.one == max(deep, key=lambda n: np.mean(values[n])) and d.other == max(
            shallow, key=lambda n: np.mean(values[n])
        )
        of_deep = holm([difference(values[n], values[d.other], 500)[3] for n in deep])[deep.index(d.one)]
        of_shallow = holm([difference(values[d.one], values[n], 500)[3] for n in shallow])[shallow.index(d.other)]
        assert d.p == pytest.approx(max(of_deep, of_shallow))
        assert d.p >= difference(values[d.one], values[d.other], 500)[3]


@pytest.mark.slow
@pytest.mark.parametrize(("deep", "shallow"), [(1, 8), (8, 1), (3, 8)])
def test_the_best_of_many_is_not_called_better_by_chance(deep, shallow):
    """Networks that are all alike, luck of the training included: who is picked from more has no more than its share of false alarms."""
    draw, count = np.random.default_rng(7), 300
    names = [*(f"adtn depth {k + 2}" for k in range(deep)), *(f"n{k}" for k in range(shallow))]
    found = [
        deep_against_shallow([
            r | {"test_trained": None, "val_trained": None, "test_frozen": r["test_frozen"] + draw.normal(0, 0.003)}
            for r in runs(**{n: tuple(draw.normal(0.5, 0.01, 5)) for n in names})
        ])[0]
        for _ in range(count)
    ]  # fmt: skip
    told = [sum(d.words == word for d in found) / count for word in ("better", "worse")]
    assert max(told) <= 0.04, told  # 2.5 % a side, and what 300 draws may add
    if min(deep, shallow) == 1:  # without the correction one side would be flattered
        plain = sum(d.low > 0 or d.high < 0 for d in found) / count
        assert plain > 0.06, plain


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


def test_a_question_asked_of_two_rivals_is_won_only_against_both():
    """The rival with no more parameters has as many: ahead of it for sure, and of the larger one not for sure."""
    values = dict(adtn3=(0.9, 0.901, 0.902), mpo=(0.87, 0.871, 0.872), cp=(0.895, 0.901, 0.897))
    records = counted(runs(**values), adtn3=100, mpo=100, cp=104)
    found = deep_against_shallow(records)
    assert {(d.other, d.words) for d in found} == {("cp", "no significant difference"), ("mpo", "better")}
    assert all(d.ahead for d in found) and outcomes(found) == (0, 2, 0, 2) and headline(records) == "Neither wins"
    sure = counted(runs(**values | {"cp": (0.88, 0.881, 0.882)}), adtn3=100, mpo=100, cp=104)
    assert outcomes(deep_against_shallow(sure)) == (2, 2, 0, 2) and headline(sure) == "Deep wins"
    # behind one with as many for sure, and behind the smaller one not for sure
    lost = counted(
        runs(adtn3=(0.9, 0.901, 0.902), mpo=(0.93, 0.931, 0.932), cp=(0.9, 0.92, 0.99)), adtn3=100, mpo=100, cp=96
    )
    found = deep_against_shallow(lost)
    assert {(d.other, d.words) for d in found} == {("cp", "no significant difference"), ("mpo", "worse")}
    assert outcomes(found) == (0, 2, 0, 2) and headline(lost) == "Neither wins"


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


def test_every_network_stands_against_every_control_corrected():
    accuracies = dict(
        adtn3=(0.95, 0.951, 0.952), mpo=(0.7, 0.9, 0.8), hashed=(0.9, 0.901, 0.902), picked=(0.5, 0.52, 0.53)
    )
    found = against_controls(runs(**accuracies, dense=(0.99, 0.99, 0.99)))
    assert {(d.one, d.other, d.reading) for d in found} == {
        (one, other, reading)
        for one in ("adtn depth 3", "mpo")
        for other in ("hashed", "picked")
        for reading in ("frozen", "trained")
    }
    alone = difference(accuracies["mpo"], accuracies["hashed"], 500)[3]
    assert all(d.p >= alone for d in found if d.one == "mpo" and d.other == "hashed")
    text = paired_table(runs(**accuracies))
    assert "no significant difference" in text and "better" in text


def test_with_and_without_the_approximation():
    records = [
        r | {"frozen_from": {"fit": 0.9 + 0.01 * r["seed"], "random": 0.88}, "trained_from": {}}
        for r in runs(mpo=(0.9, 0.91))
    ]
    ((label, budget, reading, fit, random, points, _),) = starts_cells(records)
    assert (label, budget, reading, fit, random, points) == ("mpo", "100", "frozen", "90.5", "88.0", "+2.5")
    assert any(
        "Starting from the approximation instead of a random start" in line and "+2.5" in line
        for line in verdict(records)
    )


def pairs_in_words(lines):
    """(one, other, budget, other layers) and the p-value shown, of every pair in a verdict's lines."""
    for line in lines:
        if head := re.match(r"Budget (\d+), other layers ([\w-]+): (.*)\.$", line):
            for part in head[3].split("; "):
                begin = re.match(r"(.+?) is (?:better|worse) than |no significant difference between (.+?) and ", part)
                for other, p in re.findall(r"([\w ]+) \([^()]*, p ([<\d.]+)\)", part[begin.end() :]):
                    yield (begin[1] or begin[2], other.strip(), head[1], head[2]), p


def pairs_in_rows(table):
    """The same of the rows of a paired table, each a list of cells."""
    for one, budget, reading, other, _, _, p, _ in table:
        yield (one, other, budget, reading), p


def test_a_pair_has_one_p_value_in_words_tables_and_page():
    accuracies = dict(
        adtn3=(0.912, 0.922, 0.933), mpo=(0.9, 0.91, 0.92), cp=(0.85, 0.92, 0.9), hashed=(0.9, 0.912, 0.92),
        subspace=(0.7, 0.71, 0.72), picked=(0.5, 0.52, 0.53),
    )  # fmt: skip
    records = runs(**accuracies)
    records += [r | {"budget": 300, "num_params": 300} for r in records if r["budget"]]
    text = [[c.strip() for c in x.strip("| ").split("|")] for x in paired_table(records, "github").splitlines()[2:]]
    shown = html.unescape(page(records, "p"))
    on_page = [re.findall(r"<td data-label=[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", shown)]
    places = [
        [*pairs_in_words(verdict(records))],
        [*pairs_in_words(re.findall(r"<li>(.*?)</li>", shown))],
        [*pairs_in_rows(text)],
        [*pairs_in_rows(row for row in on_page if len(row) == 8)],
    ]
    assert [len(place) for place in places] == [12, 12, 36, 36 + 4]  # nothing is passed over
    found = {}
    for pair, p in chain(*places):
        found.setdefault(pair, set()).add(p)
    assert all(len(ps) == 1 for ps in found.values()), {pair: ps for pair, ps in found.items() if len(ps) > 1}
    assert len(found) == 36 + 4  # all networks against all controls, the best deep against the best shallow one
    assert "<0.001" in set.union(*found.values())
    assert shown.count(CORRECTED) == 1 and CORRECTED in verdict(records)


def test_the_answer_is_one_sentence():
    """Two readings of one budget each time."""

    def said(deep, shallow=(0.90, 0.91, 0.92)):
        return answer(runs(adtn3=deep, mpo=shallow))

    assert "in 2 of 2 comparisons, and worse in none of 2 (deep minus shallow: " in said((0.95, 0.961, 0.969))
    assert "in none of 2 comparisons, and worse in 2 of 2 (deep minus shallow: " in said((0.85, 0.861, 0.869))
    none = "In none of 2 comparisons do the best deep network and its shallow rival differ significantly (deep minus shallow: "
    assert said((0.80, 0.99, 0.95)).startswith(none)
    assert "One seed gives no spread" in said((0.9,), (0.5,))
    assert "No budget has both" in answer(runs(mpo=(0.9, 0.91), hashed=(0.8, 0.82)))
    apart = [*runs(mpo=(0.9, 0.91)), *(r | {"budget": 50, "num_params": 80} for r in runs(adtn3=(0.9, 0.91)))]
    assert "No budget has both" in answer(apart)
    past = counted(runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.82)), adtn3=106)
    far = counted(runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.82)), adtn3=96, mpo=130)
    assert "No shallow network is near the best deep one in parameters" in answer(far)
    assert answer(past).startswith(
        "Every deep network beside shallow ones has more parameters than its budget, so nothing"
    )


# -- other metrics --------------------------------------------------------------------------------------------------
def test_smaller_is_better_where_the_metric_says_so():
    good, bad = (30.1, 30.4, 30.2), (35.0, 36.0, 34.5)
    records = of_sentences(adtn3=good, mpo=bad, hashed=(40.0, 41.0, 42.5), picked=(90.0, 95.0, 99.0))
    want = stats.ttest_rel(good, bad)
    interval = want.confidence_interval(0.95)
    words = (
        f"(-4.9, 95 % CI {interval.low:+.1f} to {interval.high:+.1f}, p {2 * want.pvalue:.3f})"  # two readings: Holm
    )
    said = verdict(records)[0]
    assert f"adtn depth 3 is better than mpo {words}" in said
    assert "hashed (-10.9" in said and "points" not in " ".join(verdict(records))
    assert "in 2 of 2 comparisons, and worse in none of 2 (deep minus shallow: " in answer(records)
    turned = of_sentences(adtn3=bad, mpo=good)
    assert "adtn depth 3 is worse than mpo (+4.9" in verdict(turned)[0]
    assert "The best layer without parameters (picked) reaches perplexity 94.7 on test sentences" in " ".join(
        verdict(records)
    )


def test_the_same_scores_turned_round_have_the_same_p_values():
    draw = np.random.default_rng(3)
    scores = {name: draw.normal(k, 1, 4) for k, name in enumerate(("adtn3", "mpo", "cp", "hashed", "picked"))}
    less = against_controls(runs(metric=PERPLEXITY, count=None, **{n: -x for n, x in scores.items()}))
    more = against_controls(runs(metric={**PERPLEXITY, "larger": True}, count=None, **scores))
    assert len(less) == len(more) == 12
    for one, other in zip(less, more, strict=True):
        assert (one.one, one.other, one.p, one.words) == (other.one, other.other, other.p, other.words)
        assert one.mean == pytest.approx(-other.mean)


def test_rows_are_chosen_by_the_metric_s_direction():
    records = of_sentences(adtn3=(30, 31), mpo=(50, 51), cp=(40, 41), picked=(70, 71), pooled=(60, 62))
    lines = verdict(records)
    assert "than cp" in lines[0] or "and cp" in lines[0]
    assert best_free(records, "frozen") == "pooled"
    (cp,) = [r for r in rows(records) if r.label == "cp"]
    assert cp.gain_frozen[0] == pytest.approx(20.5)  # a gain is for the better: 61 - 40.5


def test_values_that_are_no_numbers_are_the_worst_and_decide_nothing():
    records = of_sentences(adtn3=(30.0, 31.0), mpo=(math.inf, 40.0), cp=(math.nan, 41.0), hashed=(35.0, 36.0))
    assert "cp" not in verdict(records)[0].partition("(")[0]  # the rival is mpo: no number is the worst
    for d in against_controls(records):
        assert (d.words == "not compared") == (not math.isfinite(d.mean))
        assert d.refused == "" or d.words != "not compared" or d.refused == "a value is not finite"
        assert 0 <= d.p <= 1
    assert "nan" not in " ".join(verdict(records)) + paired_table(records)
    same = of_sentences(mpo=(30.0, 31.0, 32.0), hashed=(30.0, 31.0, 32.0), subspace=(math.inf, 31.0, 32.0))
    assert not [line for line in verdict(same) if "would exclude zero" in line]  # neither of them has such an interval


def test_what_has_no_number_is_not_compared():
    """Neither "no difference" nor a winner; that this is so is said wherever a difference is."""
    nothing = of_sentences(adtn3=(math.nan,) * 3, mpo=(math.nan,) * 3, hashed=(math.nan,) * 3, picked=(math.nan,) * 3)
    assert (
        answer(nothing) == "In every comparison a test value is not finite, so nothing is said of deep against shallow."
    )
    assert headline(nothing) == "No verdict"
    said = verdict(nothing)
    assert (
        said[0]
        == "Budget 100, other layers frozen: adtn depth 3 is not compared with mpo, hashed, for a value is not finite."
    )
    assert said[2] == "Of 2 networks against hashed, other layers frozen: 2 not compared (a value is not finite)."
    assert "not compared: a value is not finite" in paired_table(nothing)
    assert "difference" not in " ".join(said[:6])
    some = of_sentences(adtn3=(30.0, 31.0, 30.0), mpo=(40.0, 41.0, 42.0), hashed=(35.0, math.inf, 36.0))
    assert verdict(some)[0].endswith("; adtn depth 3 is not compared with hashed, for a value is not finite.")
    assert headline(some) == "Deep wins" and "not finite" not in answer(some)  # the hash is no part of this question
    half = [r | ({"test_trained": math.nan} if r["label"] == "mpo" else {}) for r in some]
    assert headline(half) == "Deep wins" and answer(half).endswith(" In 1 other a test value is not finite.")


def test_differences_have_the_metric_s_unit():
    records = [
        r | {"frozen_from": {"fit": 0.0123 + 1e-4 * r["seed"], "random": 0.0133}, "trained_from": {}}
        for r in runs(metric=RMSE, examples="houses", adtn3=(0.0123, 0.0124), mpo=(0.0133, 0.0137), hashed=(0.02, 0.03))
    ]
    assert "(-0.00115 kWh, 95 % CI " in verdict(records)[0]
    assert "difference, kWh" in paired_table(records)
    (line,) = [x for x in verdict(records) if x.startswith("Starting")]
    assert "-0.00095 kWh in the median, -0.00095 to -0.00095 (smaller is better)" in line
    assert starts_headers(measure_of(records))[3:6] == ("approximated, kWh", "random start, kWh", "difference, kWh")


def test_a_small_dense_model_is_held_against_whole_models():
    """A control of the budget that is a whole model: counts are of whole models, and it is a rival like the hash."""
    records = runs(adtn3=(0.95, 0.96, 0.95), mpo=(0.9, 0.91, 0.92))
    small = [
        r | {"label": "a small dense model", "kind": "control", "depth": None, "num_params": 810, "model_params": 810, "error": None}
        for r in runs(mpo=(0.8, 0.81, 0.83))
    ]  # fmt: skip
    found = against_controls(records + small)
    assert {d.other for d in found} == {"a small dense model"} and {d.counts for d in found} == {(814, 810)}
    assert "a small dense model (+14.0 points" in verdict(records + small)[0]
    (row,) = [r for r in rows(records + small) if r.label == "a small dense model"]
    assert row.error is None and row.place == 100

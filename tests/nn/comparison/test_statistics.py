"""Paired differences, their correction, and the words for them."""

import html
import math
import re
from itertools import chain

import numpy as np
import pytest

from tnkit_nn.comparison.paired import difference, holm
from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.tables import rows
from tnkit_nn.comparison.sentences import answer, headline, verdict
from tnkit_nn.comparison.statistics import (
    CORRECTED,
    against_controls,
    best_free,
    deep_against_shallow,
    outcomes,
    paired_table,
    starts_cells,
)

from .made import counted, runs


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

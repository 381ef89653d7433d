"""Paired differences, their correction, and the words for them."""

import html
import re
from itertools import chain

import numpy as np
import pytest

from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.tables import rows
from tnkit_nn.comparison.statistics import (
    CORRECTED,
    against_controls,
    answer,
    best_free,
    difference,
    holm,
    paired_table,
    starts_cells,
    verdict,
)

from ..test_cli import record


def runs(**accuracies):
    """Records of several rows; budget 100 unless the name is that of a control without one."""
    free = ("picked", "pooled", "removed", "frozen_random", "dense")
    return [
        record(name.replace("adtn3", "adtn depth 3"), None if name in free else 100, s, a)
        for name, values in accuracies.items()
        for s, a in enumerate(values)
    ]


def test_difference_is_scipys_paired_t():
    scipy = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    one, other = draw.uniform(0.8, 0.9, 6), draw.uniform(0.7, 0.9, 6)
    want = scipy.ttest_rel(one, other)
    points, low, high, p = difference(list(one), list(other), 10_000)
    interval = want.confidence_interval(0.95)
    assert p == pytest.approx(want.pvalue) and points == pytest.approx(100 * (one - other).mean())
    assert (low, high) == pytest.approx((100 * interval.low, 100 * interval.high))


def test_seeds_that_agree_to_the_image_are_not_certainty():
    points, low, high, p = difference([0.902] * 3, [0.900] * 3, 500)  # one image of 500 in each of three seeds
    assert points == pytest.approx(0.2) and low < 0 < high and p > 0.05
    assert difference([0.9], [0.8], 500)[3] == 1


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
    small = [{**r, "label": "adtn depth 2", "accuracy_frozen": 0.8} for r in records if r["label"] == "adtn depth 3"]
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
    assert (
        paired_table(past).count("[careful: 300 parameters against 100]") == 2
    )  # in both readings, against hashed alone
    told = [line for line in verdict(past) if "careful" in line]
    assert len(told) == 2 and all(
        "1 of them with over 10 % more or fewer parameters than hashed" in line for line in told
    )


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
    shown = html.unescape(page(records, "p", {}))
    on_page = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", shown)]
    places = [
        [*pairs_in_words(verdict(records))],
        [*pairs_in_words(re.findall(r"<li>(.*?)</li>", shown))],
        [*pairs_in_rows(text)],
        [*pairs_in_rows(row for row in on_page if len(row) == 8)],
    ]
    assert [len(place) for place in places] == [12, 12, 36, 36]  # nothing is passed over
    found = {}
    for pair, p in chain(*places):
        found.setdefault(pair, set()).add(p)
    assert all(len(ps) == 1 for ps in found.values()), {pair: ps for pair, ps in found.items() if len(ps) > 1}
    assert len(found) == 36 + 4  # all networks against all controls, the best deep against the best shallow one
    assert "<0.001" in set.union(*found.values())
    assert shown.count(CORRECTED) == 1 and verdict(records)[-1] == CORRECTED


def test_the_answer_is_one_sentence():
    """Two readings of one budget each time."""

    def said(deep, shallow=(0.90, 0.91, 0.92)):
        return answer(runs(adtn3=deep, mpo=shallow))

    assert "in 2 of 2 comparisons, and significantly worse in 0." in said((0.95, 0.961, 0.969))
    assert "in 0 of 2 comparisons, and significantly worse in 2." in said((0.85, 0.861, 0.869))
    assert "in 0 of 2 comparisons, and significantly worse in 0." in said((0.80, 0.99, 0.95))
    assert "One seed gives no spread" in said((0.9,), (0.5,))
    assert "No budget has both" in answer(runs(mpo=(0.9, 0.91), hashed=(0.8, 0.82)))

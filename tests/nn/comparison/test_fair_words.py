"""What a comparison says is true of its numbers: alike ones, rounded ones, missing ones, those that a control is ahead of."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from tnkit_nn.comparison.conditions import edges
from tnkit_nn.comparison.measure import Measure, measure_of
from tnkit_nn.comparison.paired import Difference, difference
from tnkit_nn.comparison.records import csv_of, records_of
from tnkit_nn.comparison.report.compute import compute_table
from tnkit_nn.comparison.report.facts import facts
from tnkit_nn.comparison.report.figures import plot_view
from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.result import Comparison
from tnkit_nn.comparison.sentences import answer, headline, verdict
from tnkit_nn.comparison.statistics import ahead_of_all, deep_against_shallow, paired_table, starts_table

from .made import PERPLEXITY, R2, of_sentences, record, runs


def frozen(records, **more):
    """The same with one reading alone."""
    return [r | {"test_trained": None, "val_trained": None} | more for r in records]


def counted(records, **counts):
    """The same, rows of other counts."""
    return [r | {"num_params": counts.get(r["label"].split()[0], r["num_params"])} for r in records]


# -- paired ---------------------------------------------------------------------------------------------------------
def test_rows_of_unlike_seeds_are_refused():
    """Values were paired by their place: seed 0 of one row with seed 5 of another."""
    made = frozen(runs(adtn3=(0.90, 0.92, 0.94), mpo=(0.91, 0.93, 0.95)))
    other = [r | {"seed": r["seed"] + 5 * (r["label"] == "mpo")} for r in made]
    gaps = [r for r in made if (r["label"], r["seed"]) not in (("mpo", 1), ("adtn depth 3", 0))]
    for records, has in ((other, "0, 1, 2"), (made[:-1], "0, 1"), (gaps, "1, 2")):
        for who in (answer, headline, verdict, table, lambda r: page(r, "t"), Comparison):
            with pytest.raises(ValueError, match=rf"records are of the same seeds in every row, 0.*; .* has {has}$"):
                who(records)
        assert len(records_of(records, "frame", again=True)) == len(records)
    one = [r | {"test_trained": 0.5, "val_trained": 0.5} if r["seed"] == 1 else r for r in made]
    with pytest.raises(ValueError, match=r"0, 1, 2; test_trained of 'adtn depth 3' at 100 has 1$"):
        answer(one)
    with pytest.raises(TypeError, match=r"records\[0\]: val_trained is a number, not None"):
        answer([r | {"test_trained": 0.5} for r in made])
    turned = [r | {"seed": 2 - r["seed"]} for r in made[::-1]]
    assert [d.mean for d in deep_against_shallow(turned)] == [d.mean for d in deep_against_shallow(made)]


@pytest.mark.parametrize(
    "name, value",
    [("tune_steps", 400), ("layer", "fc2"), ("test_examples", 9), ("rates", "structured"), ("rest", "head")],
)
def test_records_that_were_made_in_unlike_ways_are_refused(name, value):
    """The page said of all rows what the first one was made by."""
    made = runs(adtn3=(0.90, 0.92), mpo=(0.91, 0.93), picked=(0.5, 0.5))
    unlike = [r | {name: value} if r["label"] == "picked" else r for r in made]
    with pytest.raises(
        ValueError, match=rf"all made alike; {name} is .* of 'adtn depth 3' at 100, but {value!r} of 'picked'"
    ):
        answer(unlike)
    assert answer([r | {name: None if name != "rates" else "equal"} if r["label"] == "picked" else r for r in made])


# -- certainty ------------------------------------------------------------------------------------------------------
def test_seeds_that_agree_by_chance_are_not_certainty_where_examples_are_unknown():
    """Accuracies on a thousand examples whose number nobody told: equal differences had p 0."""
    mean, low, high, p = difference([0.912, 0.903], [0.905, 0.896])
    assert mean == pytest.approx(0.007) and low < 0 < high and p > 0.05
    assert difference([0.5, 0.5, 0.5], [0.4, 0.4, 0.4])[3] == pytest.approx(0.2254, abs=1e-4)
    assert difference([30.0, 40.0, 50.0], [20.0, 30.0, 40.0])[3] == pytest.approx(0.2254, abs=1e-4)
    single = np.float32([0.912, 0.903, 0.888])
    assert difference([float(v) for v in single], [float(v) for v in single - np.float32(0.002)])[3] > 0.05
    for one, other in (((0.1 + 0.2,) * 3, (0.3,) * 3), ((1.0, 2.0), (1.0, 2.0 + 1e-12))):
        assert difference(one, other)[3] == pytest.approx(1)  # equal, but for rounding
    exact = difference([1.0, 2.0, 3.5], [0.9, 1.8, 3.2])
    assert exact[3] == pytest.approx(0.0742, abs=1e-4)  # scipy.stats.ttest_rel


def test_equals_on_few_unknown_examples_are_seldom_called_different():
    draw = np.random.default_rng(4)
    values = np.round(draw.normal(0.9, 0.001, (1000, 2, 2)), 3)
    rate = np.mean([difference(*map(list, pair))[3] < 0.05 for pair in values])
    assert rate < 0.03, rate  # it was 0.125


GAP = Difference("a", "b", 100, "frozen", 0.0004, 0.0002, 0.0006, 0.04, 5, (1, 1), Measure("accuracy", "%"))


@pytest.mark.parametrize(
    "p, words, text",
    [
        (0.05, "no significant difference", "0.050"), (0.04996, "better", "0.04996"), (0.0499, "better", "0.0499"), (0.0496, "better", "0.0496"),
        (0.0494, "better", "0.049"), (0.0501, "no significant difference", "0.050"), (math.nextafter(0.05, 0), "better", "0.049999999999999996"),
        (0.0004, "better", "<0.001"), (0.0006, "better", "0.001"), (1.0, "no significant difference", "1.000"),
    ],
)  # fmt: skip
def test_a_p_value_is_on_the_side_that_it_is_shown_on(p, words, text):
    d = replace(GAP, p=p)
    assert (d.words, d.p_text) == (words, text)


def test_a_difference_that_is_called_one_is_no_zero():
    """Better was said of "+0.0 points, 95 % CI +0.0 to +0.0"."""
    assert GAP.interval == "+0.04 points, 95 % CI +0.02 to +0.06"
    assert replace(GAP, mean=-0.02, low=-0.03, high=-0.00002).interval == "-2.000 points, 95 % CI -3.000 to -0.002"
    assert replace(GAP, low=-0.0002).interval == "+0.0 points, 95 % CI -0.0 to +0.1"  # zero is within
    close = frozen(runs(adtn3=(0.9754, 0.9764, 0.9775), mpo=(0.9750, 0.9760, 0.97705), count=100_000))
    texts = [answer(close), verdict(close)[0], paired_table(close), page(close, "t")]
    assert "(deep minus shallow: +0.04 points; 95 % CI ±0.01; 3 seeds)" in texts[0]
    assert "is better than mpo (+0.04 points, 95 % CI +0.03 to +0.05" in texts[1]
    assert not any(re.search(r"\+0\.0 (points|to)", text) for text in texts)
    loss = frozen(runs(metric=PERPLEXITY, count=None, adtn3=(30.0, 35.0, 41.0), mpo=(30.0003, 35.0004, 41.0003)))
    assert "adtn depth 3 is better than mpo (-0.0003, 95 % CI -0.0005 to -0.0002" in verdict(loss)[0]


def test_accuracies_that_hardly_differ_have_more_digits():
    assert measure_of(runs(mpo=(0.9751, 0.9755))).digits == 2
    assert measure_of(runs(mpo=(0.97501, 0.97502))).digits == 3
    assert measure_of(runs(mpo=(0.97, 0.98))).digits == measure_of(runs(mpo=(0.97, 0.97))).digits == 1
    assert "97.53 ± 0.03" in table(runs(mpo=(0.9751, 0.9755)))


# -- what the answer leaves out ---------------------------------------------------------------------------------------
def test_a_significant_difference_is_not_called_none():
    """Behind a larger rival for sure, and alike with the smaller one: "do not differ significantly" was said of both."""
    values = dict(adtn3=(0.90, 0.91, 0.92), mpo=(0.95, 0.96, 0.971), cp=(0.89, 0.915, 0.90))
    behind = counted(frozen(runs(**values)), adtn=96, mpo=100, cp=95)
    said = answer(behind)
    assert {d.words for d in deep_against_shallow(behind)} == {"no statement", "no significant difference"}
    assert (
        "do not differ" not in said
        and "better than its shallow rival in none of 1 comparison, and worse in none of 1" in said
    )
    assert said.endswith(
        "In 1 comparison a difference is significant and nothing is said: the one ahead has more parameters, or it is not so against the other rival."
    )
    alike = frozen(runs(adtn3=(0.8, 0.99, 0.95), mpo=(0.90, 0.91, 0.92)))
    assert answer(alike).startswith("The best deep network and its shallow rival do not differ significantly (")
    assert "nothing is said" not in answer(alike) + answer(
        frozen(runs(adtn3=(0.95, 0.961, 0.969), mpo=(0.90, 0.91, 0.92)))
    )


@pytest.mark.parametrize("lost", ["mpo", "cp"])
def test_a_question_without_one_of_its_rivals_is_not_answered(lost):
    """The rival whose value is not finite was left out without a word, and "has more parameters than every shallow one" was said."""
    values = dict(adtn3=(0.90, 0.91, 0.92), mpo=(0.85, 0.86, 0.871), cp=(0.84, 0.85, 0.861))
    made = counted(frozen(runs(**values), val_frozen=0.5), adtn=96, mpo=100, cp=95)
    assert headline(made) == "Deep wins"
    missing = [r | {"test_frozen": math.nan} if (r["label"], r["seed"]) == (lost, 1) else r for r in made]
    assert headline(missing) == "No verdict"
    assert (
        answer(missing) == "In every comparison a test value is not finite, so nothing is said of deep against shallow."
    )
    both = [*missing, *(r | {"budget": 101} for r in made)]
    assert headline(both) == "Deep wins" and "In 1 other a test value is not finite." in answer(both)


def test_a_control_that_is_ahead_of_every_network_is_in_the_answer():
    values = dict(
        adtn3=(0.90, 0.91, 0.92), mpo=(0.85, 0.86, 0.871), hashed=(0.95, 0.96, 0.97), picked=(0.5, 0.51, 0.53)
    )
    made = runs(**values)
    assert ahead_of_all(made) == [("hashed", 100, "frozen"), ("hashed", 100, "trained")]
    assert answer(made).endswith(" Controls significantly ahead of every network: hashed in 2 of 2.")
    assert "hashed is significantly ahead of every network at 100 (frozen), 100 (fine-tuned)." in verdict(made)
    assert answer(made) in page(made, "t")
    fewer = [r | {"num_params": 96} if r["kind"] == "network" else r for r in made]  # no statement, but ahead
    assert ahead_of_all(fewer) == ahead_of_all(made)
    assert ahead_of_all(runs(**values | {"hashed": (0.88, 0.89, 0.9)})) == []  # ahead of one of two
    assert ahead_of_all(runs(**values | {"hashed": (0.7, 0.9, 1.0)})) == []
    free = runs(**values | {"hashed": (0.1, 0.2, 0.1), "picked": (0.96, 0.97, 0.98), "dense": (0.99, 0.99, 0.99)})
    assert ahead_of_all(free) == [("picked", 100, "frozen"), ("picked", 100, "trained")]
    grown = [r | ({"label": "removed", "model_params": 5000} if r["label"] == "picked" else {}) for r in free]
    assert ahead_of_all(grown) == []  # a model that grows when the layer is left out
    small = [r | {"label": "rank1", "num_params": 64} if r["label"] == "picked" else r for r in free]
    assert ahead_of_all(small) == [("rank1", 100, "frozen"), ("rank1", 100, "trained")]
    shallow = [r for r in free if not r["depth"]]
    assert answer(shallow).startswith("No budget has both") and "picked in 2 of 2" in answer(shallow)
    losses = of_sentences(**{n: tuple(100 - 90 * x for x in v) for n, v in values.items()})
    assert {x[0] for x in ahead_of_all(losses)} == {"hashed"}
    assert ahead_of_all(runs(adtn3=(0.5,), hashed=(0.9,))) == []


def test_facts_tell_what_the_counts_forbid_to_say():
    values = dict(adtn3=(0.90, 0.91, 0.92), mpo=(0.85, 0.86, 0.871), hashed=(0.95, 0.96, 0.97))
    made = [r | {"num_params": 96} if r["kind"] == "network" else r for r in frozen(runs(**values))]
    (fact,) = facts(made)
    assert fact[1:] == ("0 of 2", "tests won, 0 lost, 2 with no statement: the one ahead has more parameters")
    small = [
        r | {"label": "small_dense", "kind": "control", "depth": None, "num_params": 810, "model_params": 810}
        for r in frozen(runs(mpo=(0.97, 0.98, 0.99)))
    ]
    named = {f.name: f.figure for f in facts(made + small)}
    assert named == {"Structure against random sharing": "0 of 2", "Networks against small_dense": "0 of 2"}
    view = plot_view(made + small, "frozen")
    assert view.band == ((100, 95.0, 97.0),)  # a smaller dense model shares nothing at random


def test_rows_of_the_answer_are_named_first_among_those_at_an_edge():
    edge = {"rate": 0.015, "start": "fit", "lowest": 0.015, "highest": 0.2}
    made = [record(f"n{k}", 100, s, 0.5 + 0.01 * s, chosen_frozen=edge) for k in range(8) for s in (0, 1)]
    made += [record("adtn depth 3", 100, s, 0.9, chosen_frozen=edge) for s in (0, 1)]
    best = [r | {"val_frozen": 0.9} if r["label"] == "n7" else r for r in made]
    assert ": n7 at 100, adtn depth 3 at 100, n0 at 100, n1 at 100, n2 at 100 and 4 others." in edges(best)


# -- tables and files -------------------------------------------------------------------------------------------------
def test_a_label_does_not_break_a_table():
    made = runs(adtn3=(0.90, 0.91), mpo=(0.8, 0.81), hashed=(0.7, 0.71), picked=(0.5, 0.5))
    made = [r | {"label": "a|b\n**c**"} if r["label"] == "mpo" else r for r in made]
    made = [r | {"frozen_from": {"fit": 0.9, "random": 0.8}} for r in made]
    for text in (table, paired_table, starts_table, compute_table):
        lines = text(made, "github").splitlines()
        cells = {len(re.split(r"(?<!\\)\|", line)) for line in lines}
        assert len(cells) == 1 and any(r"a\|b **c**" in line for line in lines), lines
    assert "a|b **c**" in table(made)


@pytest.mark.parametrize("metric", [None, PERPLEXITY, R2])
def test_a_result_that_is_read_again_says_the_same(metric):
    made = runs(**({"metric": metric, "count": None} if metric else {}), adtn3=(-0.1, 1 / 3, 0.2), mpo=(2 / 3, 0.91, 0.5), cp=(0.1, math.nan, 1.7),
                hashed=(0.1, 0.7, 0.9), picked=(0.5, 0.5, 0.5))  # fmt: skip
    again = json.loads(json.dumps(made))
    for said in (answer, headline, verdict, table, paired_table, lambda r: page(r, "t")):
        assert said(again) == said(made)
    read = list(csv.DictReader(io.StringIO(csv_of(made))))
    assert [repr(float(r["test_frozen"])) for r in read] == [repr(r["test_frozen"]) for r in made]

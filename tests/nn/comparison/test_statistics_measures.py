"""The same with other metrics: smaller is better, values that are no numbers, units, small dense models."""

import math

import numpy as np
import pytest
from scipy import stats

from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.report.tables import rows
from tnkit_nn.comparison.sentences import answer, headline, verdict
from tnkit_nn.comparison.statistics import (
    against_controls,
    best_free,
    paired_table,
    starts_headers,
)

from .made import PERPLEXITY, RMSE, of_sentences, runs


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

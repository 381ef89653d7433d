"""The page, the tables and the plots in the task's own words; those of accuracies as they were."""

import html
import re

import pytest

import tnkit_nn as tknn
from tnkit_nn.comparison.measure import measure_of
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.report.page import page
from tnkit_nn.comparison.report.plots import plot
from tnkit_nn.comparison.report.tables import cells, headers, rows

from ..made import R2, RMSE, of_sentences, record, runs

SCORES = dict(
    adtn3=(30.0, 31.0, 30.5), mpo=(35.0, 36.0, 34.0), hashed=(41.0, 42.0, 43.0), subspace=(41.0, 42.0, 44.0), picked=(95.0, 99.0, 91.0),
    pooled=(75.0, 79.0, 71.0), removed=(65.0, 69.0, 61.0), frozen_random=(99.0, 98.0, 91.0), dense=(29.0, 28.0, 27.0),
)  # fmt: skip


def words(page):
    """What a reader sees or is told, without the pictures' data, style and script."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r'data:image/[^"]*', "", page))


def of_one_from_each_start(records):
    return [r | {"frozen_from": {"fit": r["test_frozen"], "random": r["test_frozen"] + 1}} for r in records]


@pytest.mark.slow
def test_nothing_is_called_an_image_or_an_accuracy_that_is_none(tmp_path):
    records = of_one_from_each_start(of_sentences(**SCORES))
    files = write_report(records, tmp_path)
    shown = words(files["index.html"].read_text())
    shown += "".join(files[name].read_text() for name in ("table.md", "paired.md", "verdict.md", "results.csv"))
    shown += str(tknn.Comparison(records)) + words(tknn.Comparison(records)._repr_html_()) + " ".join(files)
    for kind in ("test", "error"):
        for axis in plot(records, kind).axes:
            shown += " ".join([axis.get_ylabel(), axis.get_xlabel(), axis.get_title()])
    assert not re.findall(r"\w*(?:image|accurac|points|per cent)\w*", shown, re.IGNORECASE)
    assert " %" not in shown.replace("95 % CI", "")
    assert "Perplexities are on the test sentences." in shown and "on validation sentences" in shown


def test_those_of_images_say_so():
    shown = words(page(runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.81), picked=(0.5, 0.6)), "t"))
    assert "Accuracies are on 500 test images." in shown and "on validation images" in shown
    assert "The choice of the test images is not covered." in shown and "points above the best layer without" in shown
    assert "test accuracy right after the approximation, %" in shown and "reaches 55.0 % on test images" in shown


@pytest.mark.parametrize(
    "metric, scores, frozen, gain, label",
    [
        (R2, {"mpo": (0.91, 0.93), "picked": (0.5, 0.52)}, "0.920 ± 0.014", "+0.410", "test R2"),
        (RMSE, {"mpo": (0.2, 0.3), "picked": (0.5, 0.6)}, "0.250 ± 0.071", "+0.300", "test RMSE, kWh (smaller is better)"),
    ],
)  # fmt: skip
def test_rows_of_a_metric(metric, scores, frozen, gain, label):
    """A gain is for the better, whichever way that is."""
    records = runs(metric=metric, examples="houses", **scores)
    measure = measure_of(records)
    shown = dict(zip(headers(measure), cells(rows(records)[0], measure), strict=True))
    assert shown["other layers frozen"] == frozen and shown["gain"] == gain
    (axis, _) = plot(records).axes
    assert axis.get_ylabel() == label and axis.get_yscale() == "linear"
    way = "above" if metric["larger"] else "below"
    assert headers(measure)["gain"].startswith(f"{way} the best layer without parameters")


def test_an_error_rate_is_not_stretched_towards_100():
    rate = {"name": "word error rate", "unit": "%", "larger": False}
    records = runs(metric=rate, examples="recordings", mpo=(0.1, 0.2), picked=(0.5, 0.6))
    (axis, _) = plot(records).axes
    assert axis.get_ylabel() == "test word error rate, % (smaller is better)" and axis.get_yscale() == "linear"
    (accuracy, _) = plot(runs(mpo=(0.1, 0.2))).axes
    assert accuracy.get_ylabel() == "test accuracy, % (axis stretched near 100)" and accuracy.get_yscale() == "function"


def test_what_a_row_is_stands_in_its_record():
    """Families and controls of one's own are explained; nothing is said of controls that are not there."""
    records = [
        record("mine", 100, 0, 0.5, description="a <chain> of my own", activation="sin"),
        record("my control", None, 0, 0.4, kind="control", description="a layer of zeros"),
        record("mpo", 100, 0, 0.5),
    ]
    shown = page(records, "t")
    assert 'popovertarget="f-1">mine</button>' in shown and '<th scope="row">mpo</th>' in shown
    assert '<div popover id="f-1"><b>mine</b><p>a &lt;chain&gt; of my own, activation sin</p>' in shown
    assert "<dt>mine</dt><dd>a &lt;chain&gt; of my own, activation sin</dd>" in shown
    assert "<dt>my control</dt><dd>a layer of zeros</dd>" in shown and "<dt>pooled</dt>" not in shown


def test_the_page_says_how_it_was_made():
    more = dict(
        replicas="one after another: the model keeps running statistics", left_out={"removed": "shapes <differ>"},
        machine={"processor": "Xeon", "cores": 2}, command=["tnkit", "compare", "--task", "a.py:task"],
    )  # fmt: skip
    shown = words(page([r | more for r in of_sentences(**SCORES)], "t"))
    for line in (
        "Model and data: a language model on a corpus, layer fc1.",
        "Replicas (seeds, learning rates and starts) were trained one after another: the model keeps running statistics.",
        "Controls left out: removed (shapes <differ>).", "Made on Xeon, 2 cores.", "Command: tnkit compare --task a.py:task",
    ):  # fmt: skip
        assert f"<li>{line}</li>" in shown


def test_a_row_without_an_error_or_a_score_is_shown():
    records = runs(adtn3=(0.9, 0.91), mpo=(0.8, 0.81))
    whole = [record("small", 100, s, 0.7, kind="control", error=None, baseline=None, test_fit=None, test_trained=None, val_trained=None,
                    flops=None, seconds=None, num_params=800, model_params=800) for s in (0, 1)]  # fmt: skip
    every = rows(records + whole)
    assert cells(every[-1], measure_of(records))[4:6] == ("–", "–")
    assert cells(every[-1], measure_of(records))[-2:] == ("–", "–")
    shown = page(records + whole, "t")
    assert "nan" not in shown.lower().replace("isnan", "") and "None" not in words(shown)

"""What compare returns: a list of records that prints itself, draws itself and writes itself."""

import copy
import json
import pickle
import sys

import pytest

import tnkit_nn as tknn
from tnkit_nn.comparison.report.tables import table
from tnkit_nn.comparison.sentences import answer, verdict

from .made import of_sentences, record, runs


@pytest.fixture
def found():
    return tknn.Comparison(of_sentences(adtn3=(30.0, 31.0, 30.5), mpo=(35.0, 36.0, 34.0), hashed=(41.0, 42.0, 43.0)))


def test_it_is_the_list_of_its_records(found):
    records = of_sentences(adtn3=(30.0, 31.0, 30.5), mpo=(35.0, 36.0, 34.0), hashed=(41.0, 42.0, 43.0))
    assert found == records and isinstance(found, list) and json.loads(json.dumps(found)) == records
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), tknn.Comparison(r for r in records)):
        assert isinstance(other, tknn.Comparison) and other == found
    assert {r["label"] for r in found} == {"adtn depth 3", "mpo", "hashed"}


def test_it_prints_the_table_and_the_verdict(found):
    shown = str(found)
    assert shown.startswith(table(found)) and answer(found) in shown and all(line in shown for line in verdict(found))
    assert found.verdict().splitlines() == [answer(found), "", *verdict(found)]
    assert repr(found) == "Comparison(a language model on a corpus, fc1: 3 rows of 3 seeds)"
    del found[:]
    assert str(found) == repr(found) == "Comparison(no records)" and found._repr_html_() is None


def test_a_notebook_shows_the_answer_the_table_and_the_plot(found, monkeypatch):
    shown = found._repr_html_()
    assert f"<b>{answer(found)}</b>" in shown and shown.count("<table>") == 1 and shown.count("<svg") == 1
    assert "<td>30.5 ± 0.5</td>" in shown and "<button" not in shown and "<html" not in shown
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert found._repr_html_() is None


@pytest.mark.slow
def test_it_writes_itself(found, tmp_path):
    files = found.save(tmp_path)
    assert {"results.json", "results.csv", "table.md", "paired.md", "verdict.md", "test.png", "error.png"} < set(files)
    assert all(path.is_file() for path in files.values()) and "curves.png" not in files
    for path in (tmp_path, str(tmp_path), files["results.json"]):
        loaded = tknn.Comparison.load(path)
        assert loaded == found and isinstance(loaded, tknn.Comparison)
    assert "<title>Deep or shallow? a language model on a corpus</title>" in files["index.html"].read_text()
    assert "<title>mine</title>" in found.save(tmp_path, "mine")["index.html"].read_text()


@pytest.mark.slow
def test_what_is_not_finite_comes_back(found, tmp_path):
    found[0]["error"] = float("inf")
    found.save(tmp_path)
    assert tknn.Comparison.load(tmp_path) == found


@pytest.mark.parametrize(
    "text, error, message",
    [
        (None, FileNotFoundError, "Comparison.load: path: no such file: .*results.json"),
        ("", ValueError, "results.json: damaged, no JSON; compare again, or save the comparison again"),
        ('[{"label"', ValueError, "results.json: damaged, no JSON"),
        (
            "[]",
            ValueError,
            r"Comparison.load: .*results.json: records are those of a comparison, one or more, not none",
        ),
        ('{"a": 1}', TypeError, r"Comparison.load: .*results.json: records is a sequence, .*, not {'a': 1}"),
        ("[3]", TypeError, r"Comparison.load: .*results.json: records\[0\]"),
        ('[{"label": "mpo"}]', ValueError, r"Comparison.load: .*results.json: records\[0\]"),
    ],
)
def test_what_is_no_comparison_is_refused_with_its_file(text, error, message, tmp_path):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(error, match=message):
        tknn.Comparison.load(tmp_path)
    with pytest.raises(TypeError, match=r"Comparison.load: path is a path, a string or a pathlib.Path, not 3"):
        tknn.Comparison.load(3)


def test_it_draws_itself(found):
    (axis, _) = found.plot().axes
    assert axis.get_ylabel() == "test perplexity (smaller is better)" and axis.get_yscale() == "linear"
    assert [c.get_label() for c in axis.containers] == ["adtn depth 3", "mpo", "hashed"]
    with pytest.raises(ValueError, match="these have no curves"):
        found.plot("curves")
    with pytest.raises(ValueError, match="plot: kind is one of test, error, compute, curves, not 'accuracy'"):
        found.plot("accuracy")


def test_learning_curves_are_means_over_seeds():
    """The loss at every step, the score where it was read; a panel a budget, a control without one in each."""

    def curve(start):
        return {"frozen": [[0, start, None], [10, start / 2, 0.5 + start / 100], [20, start / 4, 0.6 + start / 100]]}

    records = [record("mpo", b, s, 0.9, curves=curve(2.0 + 2 * s)) for b in (100, 300) for s in (0, 1)]
    records += [record("dense_trained_on", None, s, 0.9, curves=curve(4.0)) for s in (0, 1)]
    records += [record("picked", None, s, 0.9) for s in (0, 1)]
    axes = tknn.plot(records, "curves").axes
    assert [axis.get_title() for axis in axes] == [f"other layers frozen, budget {b}" for b in (100, 100, 300, 300)]
    for loss, score in (axes[:2], axes[2:]):
        assert [line.get_label() for line in loss.lines] == ["mpo", "dense_trained_on"]
        assert loss.lines[0].get_xdata().tolist() == [0, 10, 20]
        assert loss.lines[0].get_ydata().tolist() == [3.0, 1.5, 0.75]
        assert score.lines[0].get_xdata().tolist() == [10, 20]
        assert score.lines[0].get_ydata().tolist() == pytest.approx([53, 63])
        assert (loss.get_ylabel(), score.get_ylabel()) == ("training loss", "validation accuracy, %")


def test_a_plot_leaves_out_what_is_no_number():
    records = runs(mpo=(0.5, 0.6), cp=(float("nan"), 0.5), picked=(float("inf"), 0.5))
    figure = tknn.plot(records)
    assert [c.get_label() for c in figure.axes[0].containers] == ["mpo"]
    assert not [line for line in figure.axes[0].lines if "picked" in str(line.get_label())]

"""Records: checked, upgraded, flat; the words of a metric; how a comparison was made."""

import csv
import io
import json
import math
from pathlib import Path
from statistics import mean, stdev

import pytest

import tnkit_nn as tknn
from tnkit_nn.comparison.conditions import conditions, edges
from tnkit_nn.comparison.measure import Measure, measure_of
from tnkit_nn.comparison.records import _series, columns, csv_of, parquet_of, records_of, upgraded
from tnkit_nn.comparison.report.tables import rows, table
from tnkit_nn.comparison.sentences import answer, verdict

from ..test_cli import record as record_of_a_version_before
from .made import ACCURACY, PERPLEXITY, R2, RMSE, of_sentences, record, runs

RESULTS = Path(__file__).parents[3] / "benchmarks" / "paper"
OLD = {
    "chance": "baseline", "accuracy_fit": "test_fit", "accuracy_frozen": "test_frozen", "accuracy_trained": "test_trained",
    "test_images": "test_examples",
}  # fmt: skip


def aged(new):
    """A record as it was before there were metrics."""
    lacked = ("kind", "activation", "description", "curves", "scores", "metric", "examples", "title", "replicas")
    lacked += ("machine", "command", "left_out", "at_least")
    back = {name: old for old, name in OLD.items()}
    return {back.get(k, k): v for k, v in new.items() if k not in lacked}


# -- upgraded -------------------------------------------------------------------------------------------------------
def test_an_old_record_is_as_a_new_one():
    records = [
        record(label, b, s, 0.5) for label, b in (("mpo", 100), ("hashed", 100), ("picked", None)) for s in (0, 1)
    ]
    assert [upgraded(aged(r)) for r in records] == records
    assert upgraded(records[0]) is records[0]
    assert table([aged(r) for r in records]) == table(records) and verdict([aged(r) for r in records]) == verdict(
        records
    )
    helper = record_of_a_version_before("mpo", 100, 0, 0.5)
    assert upgraded(helper).keys() == records[0].keys()


def test_what_is_filled_in_belongs_to_one_record():
    one, other = upgraded(aged(record("mpo", 1, 0, 0.5))), upgraded(aged(record("mpo", 1, 1, 0.5)))
    one["metric"]["name"] = "changed"
    assert other["metric"]["name"] == "accuracy"


@pytest.mark.parametrize("study", ["lenet5-fc1", "lenet5-all", "search-150"])
def test_committed_results_are_records(study):
    found = json.loads((RESULTS / f"{study}.json").read_text())["records"]
    kept = [r for r in found if r["budget"] in (found[0]["budget"], None)]
    assert not set(OLD) & {key for r in found for key in r}
    assert measure_of(records_of(kept, "it")) == Measure("accuracy", "%", True, "images")
    shown = table(kept)
    assert len(shown.splitlines()) == 2 + len({r["label"] for r in kept})
    first = [r["test_frozen"] for r in kept if r["label"] == kept[0]["label"]]
    assert f"{100 * mean(first):.1f} ± {100 * stdev(first):.1f}" in shown.splitlines()[2]
    past = study == "lenet5-all"  # deep networks of 336 and 539 parameters, for a budget of 150
    assert answer(kept).startswith("Every deep network beside" if past else ("The best deep network", "In none of"))


@pytest.mark.parametrize(
    "records, error, said",
    [
        ([], ValueError, "it: records are those of a comparison, one or more, not none"),
        (3, TypeError, "it: records is a sequence"),
        ([3], TypeError, r"it: records\[0\] is a record, a dict as compare gives it, not 3"),
        ([{"label": "mpo"}], ValueError, r"it: records\[0\] has label, .*; it lacks 'budget'"),
        ([{**record("mpo", 1, 0, 0.5), "label": 3}], TypeError, r"records\[0\]: label"),
        ([record("mpo", 0, 0, 0.5)], ValueError, r"records\[0\]: budget"),
        ([record("mpo", 1, 0, "0.5")], TypeError, r"records\[0\]: test_frozen is a number, not '0.5'"),
        ([record("mpo", 1, 0, 0.5, metric="IoU")], TypeError, r"records\[0\]: metric is .*, not 'IoU'"),
        ([record("mpo", 1, 0, 0.5, metric={"unit": "%"})], TypeError, r"metric is .*, not \{'unit': '%'\}"),
        ([record("mpo", 1, 0, 0.5, metric={"title": "IoU"})], TypeError, r"metric is .*, not \{'title': 'IoU'\}"),
        ([record("mpo", 1, 0, 0.5, num_params=None)], TypeError, r"records\[0\]: num_params is a whole number .*, not None"),
        ([record("mpo", 1, 0, 0.5, model_dense="9")], TypeError, r"records\[0\]: model_dense is a number, not '9'"),
        ([record("mpo", 1, 0, 0.5, error=True)], TypeError, r"records\[0\]: error is a number, not True"),
        ([record("mpo", 1, 0, 0.5, left_out=None)], TypeError, r"records\[0\]: left_out is a dict, not None"),
        ([record("mpo", 1, 0, 0.5, title=3)], TypeError, r"records\[0\]: title is .*, not 3"),
        ([record("mpo", 1, 0, 0.5, metric={**R2, "larger": 1})], TypeError, r"metric: larger is True or False, not 1"),
        ([record("mpo", 1, 0, 0.5)] * 2, ValueError, r"records\[1\] is a second one of \('mpo', 1, 0\)"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(records, error, said):
    with pytest.raises(error, match=said):
        records_of(records, "it")


# -- flat -----------------------------------------------------------------------------------------------------------
def test_columns_are_flat():
    records = [
        record("mpo", 100, 0, 0.5, chosen_frozen={"rate": 0.06, "start": "fit"}, networks={"fc1": "{}"}, command=["a", "b c"]),
        record("picked", None, 0, 0.4, curves={"frozen": [[1, 2.0, None]]}),
    ]  # fmt: skip
    found = columns(records)
    assert found["chosen_frozen_rate"] == [0.06, None] and found["chosen_frozen_start"] == ["fit", None]
    assert (
        found["budget"] == [100, None] and found["metric_unit"] == ["%", "%"] and found["command"] == ["a 'b c'", None]
    )
    assert not {"networks", "curves", "left_out", "metric"} & set(found)
    names = list(found)
    assert names.index("chosen_frozen_start") == names.index("chosen_frozen_rate") + 1
    assert all(v is None or isinstance(v, (bool, int, float, str)) for values in found.values() for v in values)


def test_the_rates_that_were_tried_are_columns_beside_records_without_them():
    tried = {"rate": 0.06, "start": "fit", "lowest": 0.015, "highest": 0.2}
    old, new = (
        record("cp", 100, 0, 0.5, chosen_frozen={"rate": 0.06, "start": "fit"}),
        record("mpo", 100, 0, 0.5, chosen_frozen=tried),
    )
    read = list(csv.DictReader(io.StringIO(csv_of([old, new]))))
    assert [r["chosen_frozen_rate"] for r in read] == ["0.06"] * 2
    assert [(r["chosen_frozen_lowest"], r["chosen_frozen_highest"]) for r in read] == [("", ""), ("0.015", "0.2")]
    names = [name for name in read[0] if name.startswith("chosen_frozen")]
    assert names == [f"chosen_frozen_{key}" for key in tried]


def test_the_csv_has_every_figure():
    records = runs(mpo=(0.1, 1 / 3), picked=(0.5, math.nan))
    read = list(csv.DictReader(io.StringIO(csv_of(records))))
    assert [float(r["test_frozen"]) for r in read[:3]] == [0.1, 1 / 3, 0.5] and read[3]["test_frozen"] == "nan"
    assert [r["budget"] for r in read] == ["100", "100", "", ""] and read[0]["metric_name"] == "accuracy"
    assert read[0].keys() == columns(records).keys()


def test_a_frame_has_the_csv_s_columns():
    pandas = pytest.importorskip("pandas")
    records = runs(mpo=(0.1, 0.25), picked=(0.5, 0.75))
    found = tknn.frame(records)
    assert isinstance(found, pandas.DataFrame) and list(found.columns) == list(columns(records))
    assert found["test_frozen"].tolist() == [0.1, 0.25, 0.5, 0.75] and str(found["budget"].dtype) == "Int64"
    assert found.groupby("label")["test_frozen"].mean()["picked"] == 0.625
    assert len(tknn.frame(records + records)) == 8  # of two comparisons


@pytest.mark.parametrize("values, kind", [
    ([1, None], "Int64"), ([1, 2], "int64"), ([0.5, None], "float64"), ([1.0, None], "float64"), ([True, None], "object"), ([None, None], "object"),
])  # fmt: skip
def test_only_whole_numbers_are_whole_where_some_are_missing(values, kind):
    pandas = pytest.importorskip("pandas")
    assert str(pandas.Series(_series(values, pandas)).dtype) == kind


def test_parquet_has_the_csv_s_columns():
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    records = runs(mpo=(0.1, 1), picked=(0.5, 0.75))
    found = parquet.read_table(pyarrow.BufferReader(parquet_of(records)))
    assert found.column_names == list(columns(records)) and found["test_frozen"].to_pylist() == [0.1, 1.0, 0.5, 0.75]


def test_a_frame_without_pandas_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^tknn.frame needs pandas: pip install 'tnkit\[frame\]'$"):
        tknn.frame(runs(mpo=(0.1,)))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert parquet_of(runs(mpo=(0.1,))) is None


# -- the words of a metric ------------------------------------------------------------------------------------------
def test_values_and_differences_in_words():
    percent, plain, unit = (
        Measure("accuracy", "%"),
        Measure("perplexity", larger=False),
        Measure("RMSE", "kWh", False, digits=3),
    )
    assert (percent.value(0.955), percent.gap(-0.012), percent.gaps) == ("95.5 %", "-1.2 points", "points")
    assert (plain.value(34.27), plain.gap(1.5), plain.gaps) == ("34.3", "+1.5", "difference")
    assert (unit.value(0.0123), unit.gap(0.001), unit.gaps) == ("0.012 kWh", "+0.001 kWh", "difference, kWh")
    assert (percent.plural, plain.plural, unit.plural) == ("accuracies", "perplexities", "RMSE values")
    assert plain.number(math.nan) == "–" and plain.number(1.5e9) == "1.5e+09" and plain.number(math.inf) == "inf"
    assert percent.direction == "" and plain.direction == " (smaller is better)"
    assert plain.order(1) > plain.order(2) > plain.order(math.inf) and percent.order(2) > percent.order(1)
    assert plain.order(math.nan) == percent.order(math.nan) == -math.inf
    assert Measure("accuracy", "%", count=500).step == 500 and Measure("IoU", count=500).step is None


@pytest.mark.parametrize(
    "metric, scores, shown",
    [
        (ACCURACY, (0.9123, 0.9234), "91.8 ± 0.8"),
        (PERPLEXITY, (34.27, 35.11), "34.69 ± 0.59"),
        (PERPLEXITY, (341.2, 365.8), "354 ± 17"),
        (R2, (0.91, 0.93), "0.920 ± 0.014"),
        (R2, (0.99912, 0.99916), "0.99914 ± 0.00003"),
        (RMSE, (0.00123, 0.00125), "0.001240 ± 0.000014"),
        (R2, (0.5,), "0.500"),
        (R2, (0.0, 0.0), "0.0 ± 0.0"),
    ],
)
def test_digits_are_those_that_say_something(metric, scores, shown):
    records = [record("mpo", 100, s, x, metric=metric) for s, x in enumerate(scores)]
    assert f" {shown} " in table(records)


def test_records_of_two_metrics_are_no_table():
    both = [record("mpo", 100, 0, 0.5), record("tt", 100, 0, 30.0, metric=PERPLEXITY, examples="sentences")]
    with pytest.raises(
        ValueError, match="one metric and one task, not of accuracy on images and perplexity on sentences"
    ):
        rows(both)


# -- how it was made ------------------------------------------------------------------------------------------------
def test_conditions_say_what_the_records_know():
    made = of_sentences(mpo=(30.0, 31.0))
    assert conditions(made) == [
        "Model and data: a language model on a corpus, layer fc1.",
        "Metric: perplexity (smaller is better), on the test sentences.",
    ]
    machine = {"processor": "Xeon", "cores": 2, "threads": 1, "python": "3.11.7", "torch": "2.13.0"}
    more = dict(
        replicas="one after another: the loss is one's own", left_out={"pooled": "the layer is an embedding"}, machine=machine,
        command=["tnkit", "compare", "--task", "my file.py:task"],
    )  # fmt: skip
    assert conditions([r | more for r in made])[2:] == [
        "Replicas (seeds, learning rates and starts) were trained one after another: the loss is one's own.",
        "Controls left out: pooled (the layer is an embedding).",
        "Made on Xeon, 2 cores, 1 thread, Python 3.11.7, torch 2.13.0.",
        "Command: tnkit compare --task 'my file.py:task'",
    ]
    assert conditions(runs(mpo=(0.9,))) == ["Model and data: mlp on digits, layer fc1."]  # an accuracy needs no word
    two = [r | {"machine": {"processor": p}} for r, p in zip(made, ("Xeon", "Epyc"), strict=True)]
    assert "Made on Xeon; Epyc." in conditions(two) and conditions(two) == verdict(two)[-3:]


def swept(label, rate, reading="frozen", key="rate", **more):
    """Records of a row of two seeds whose sweep went from 0.015 to 0.2."""
    chosen = {f"chosen_{reading}": {key: rate, "start": "fit", "lowest": 0.015, "highest": 0.2}}
    return [record(label, more.get("budget", 100), seed, 0.5, **chosen) for seed in (0, 1)]


def test_sweeps_that_ended_at_an_edge_are_told():
    said = "Learning rates: where the lowest or the highest was the best, further ones were tried."
    assert edges(runs(mpo=(0.9, 0.8))) == edges([record("mpo", 100, 0, 0.5, chosen_frozen={"rate": 0.015})]) == ""
    within = [*swept("mpo", 0.06), *swept("cp", 0.06)]
    assert edges(within) == f"{said} No sweep ended at an edge."
    low, high = swept("tt", 0.015), swept("picked", 0.2, "trained", "rest_rate", budget=None)
    told = f"{said} 2 of 4 sweeps ended at an edge all the same, and a better rate may lie beyond: tt at 100, picked."
    assert edges([*within, *low, *high]) == told and told in conditions([*within, *low, *high])
    many = [r for k in range(7) for r in swept(f"own {k}", 0.015)]
    assert edges(many).endswith(
        "7 of 7 sweeps ended at an edge all the same, and a better rate may lie beyond: own 0 at 100, own 1 at 100, own 2 at 100, own 3 at 100, own 4 at 100 and 2 others."
    )

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from math import isfinite, prod
from multiprocessing import get_context

import numpy as np
import pytest
import safetensors.torch
import torch

import tnkit as tk
from tnkit_nn.approximation.approximate import approximate_each
from tnkit_nn.axes import Axes
from tnkit_nn.comparison import dense
from tnkit_nn.comparison.compare import _chosen, compare, settings
from tnkit_nn.comparison.dense import dense_models, with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.job_store import Study
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.sentences import verdict
from tnkit_nn.comparison.start import _scales_in_units
from tnkit_nn.families import BASELINES, CONTROLS, Family, families
from tnkit_nn.task import Task

from .made import timeless

TINY = Task("mlp", "digits")
STEPS = dict(seeds=2, dense_steps=20, fit_steps=5, tune_steps=5)
ROWS = len(CONTROLS) - 1  # the task knows no smaller model


def without_time(records):
    return [timeless(r) for r in records]


# -- budgets --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(64, 64), (784, 512), (120, 400), (16, 6, 5, 5)])
@pytest.mark.parametrize("family", families(list(BASELINES)), ids=lambda f: f.label)
def test_families_come_near_their_budget_and_fill_the_weight(family, shape):
    for budget in (300, 1000):
        net = family.build(shape, budget)
        if net.num_params > family.build(shape, 1).num_params:  # the smallest network may be past the budget
            limit = 0.5 if family.name == "adtn" else 0.15  # bricks are many numbers each
            assert -limit * budget <= net.num_params - budget <= 0.05 * budget, (net.num_params, budget)
        assert tk.detensorize(np.zeros(net.shape, np.int8), shape).shape == shape


@pytest.mark.parametrize("one", [2, np.int64(2), np.array(2), [2], (2, 2), range(2, 3), iter([2]), torch.tensor([2])])
def test_one_budget_and_one_depth_need_no_list(one):
    chosen, budgets = _chosen("adtn", one, one if not hasattr(one, "__next__") else [2])
    assert [f.label for f in chosen] == ["adtn depth 2"] and budgets == [2] and type(budgets[0]) is int


@pytest.mark.parametrize("wrong", [2.5, "2", None, {2: 3}, b"2"])
def test_what_is_no_number_and_no_list_of_them_is_refused(wrong):
    for given in ((wrong, 1), (1, wrong)):
        with pytest.raises(TypeError, match=r"compare: (a budget|depths: each) is a whole number of at least 1, not "):
            _chosen("adtn", *given)


# -- the whole --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_compare_is_complete_deterministic_and_the_same_in_processes(one_thread):
    options = dict(shapes=("adtn", "cp"), budgets=(100,), depths=(2,), **STEPS)
    records = compare(TINY, **options)
    assert {r["family"] for r in records} == {"adtn", "cp", *CONTROLS} - {"small_dense"}
    assert len(records) == 2 * (2 + ROWS)
    for r in json.loads(json.dumps(records)):
        assert all(isfinite(r[k]) for k in ("error", "baseline", "test_frozen", "test_trained", "num_params"))
        assert 0 <= r["test_frozen"] <= 1 and r["layer"] == "fc1" and r["layer_params"] == prod((64, 64))
        if r["label"] != "removed":
            assert r["trained_elsewhere"] == 64 + 10 * 64 + 10
            assert r["model_params"] == 4810 - 4096 + r["num_params"]
        assert r["model_dense"] == 4810 and r["test_examples"] == 500
        starts = {"fit", "random"} if r["num_params"] and not r["label"].startswith("dense") else set()
        assert set(r["frozen_from"]) == set(r["trained_from"]) == starts
        if starts:
            assert r["test_frozen"] == r["frozen_from"][r["chosen_frozen"]["start"]]
    (as_it_is,) = {r["test_frozen"] - r["test_fit"] for r in records if r["label"] == "dense"}
    assert as_it_is == 0
    assert without_time(compare(TINY, **options)) == without_time(records)
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        pooled = compare(TINY, **options, executor=pool)
    assert without_time(pooled) == without_time(records)


QUICK = dict(seeds=2, dense_steps=2, fit_steps=2, tune_steps=2, depths=(2,))


@pytest.mark.slow
def test_families_with_an_activation_outermost_are_compared_as_any(one_thread):
    records = compare(TINY, ("tt+tanh", "low_rank+relu"), (300,), **QUICK)
    found = {r["label"]: r for r in records}
    for label, plain in (("tt+tanh", "tt"), ("low_rank+relu", "low_rank")):
        r = found[label]
        net = tk.from_json(r["networks"]["fc1"])
        (body,) = next(n for n in net.nodes if isinstance(n, tk.Elementwise)).bodies
        assert r["kind"] == "network" and r["depth"] == 2
        assert body == families([plain])[0].build((64, 64), 299)
        assert r["num_params"] == body.num_params + 1
        assert 0 < r["error"] < 1.01 and set(r["frozen_from"]) == {"fit", "random"}


def test_a_scale_is_tuned_in_units_of_its_start(one_thread):
    """The same weights; the one parameter that scales a weight of size 0.003 is of size 1, as steps of one size want it."""
    (family,) = families(["tt+tanh"])
    net = family.build((16, 16), 100)
    targets = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)) * torch.tensor([3e-3, 1, 40]).view(
        3, 1, 1
    )
    generator, found = approximate_each(net, targets, steps=5)
    other, values = _scales_in_units(generator, found.params)
    for mine, theirs in ((generator.start, other.start), (found.params, values)):
        torch.testing.assert_close(other.weight(theirs, Axes(seed=3)), generator.weight(mine, Axes(seed=3)))
        assert all(torch.equal(mine[n], theirs[n]) for n in mine if n != "scale")
    assert ((other.start["scale"].abs() > 0.7) & (other.start["scale"].abs() < 1.5)).all()
    plain, _ = approximate_each(tk.tt((4,) * 4, 2), targets, steps=5)
    assert _scales_in_units(plain, plain.start)[0] is plain


def narrow(parameters, seed):
    """As many as 75 parameters a hidden unit allow: mostly fewer than asked for."""
    width = max(1, (parameters - 10) // 75)
    return torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))


def of(records, key="num_params"):
    """(Label, budget) -> what the records of all seeds say."""
    found = {}
    for r in records:
        found.setdefault((r["label"], r["budget"]), set()).add(r[key])
    return {row: values.pop() for row, values in found.items() if len(values) == 1}


@pytest.mark.slow
def test_at_least_makes_rivals_of_no_fewer_parameters(one_thread, tmp_path):
    task = replace(TINY, limit=40, smaller=narrow)
    options = dict(shapes=("circuit", "mpo", "cp", few), budgets=(300,), out=tmp_path, **QUICK)
    near, fair = compare(task, **options), compare(task, **options, at_least=True)
    deep = of(fair)["circuit depth 2", 300]
    assert deep == of(near)["circuit depth 2", 300] and 285 <= deep <= 315
    rivals = [key for key in of(fair) if key[1] == 300 and key[0] not in ("circuit depth 2", "small_dense")]
    assert all(deep <= of(fair)[key] for key in rivals) and any(of(near)[key] < deep for key in rivals)
    assert of(fair)["hashed", 300] == of(fair)["subspace", 300] == deep != of(near)["hashed", 300]
    assert of(fair)["few", 300] == 3 * 128 > of(near)["few", 300]  # a function of one's own that takes no at_least
    whole = of(fair, "model_params")
    assert whole["small_dense", 300] >= whole["circuit depth 2", 300] > of(near, "model_params")["small_dense", 300]
    told = {r["label"]: r["at_least"] for r in fair if r["budget"]}
    assert told.pop("circuit depth 2") is None and set(told.values()) == {deep}
    assert {r["at_least"] for r in near} == {None}
    kept = sorted(tmp_path.rglob("*"))  # one folder for both: neither takes the other's rows, and nothing is done again
    assert compare(task, **options, at_least=True) == fair and compare(task, **options) == near
    assert sorted(tmp_path.rglob("*")) == kept


def few(shape, budget):
    """A low rank of at most three quarters of a budget."""
    return tk.low_rank(shape, max(1, budget * 3 // 4 // sum(shape)))


@pytest.mark.slow
def test_at_least_counts_weight_by_weight(one_thread):
    found = compare(
        replace(TINY, limit=40),
        ("circuit", "mpo", "cp"),
        (400, 5),
        layer=("fc1", "fc2"),
        at_least=True,
        rest="none",
        **QUICK,
    )

    def counts(label):
        (text,) = {json.dumps(r["networks"]) for r in found if (r["label"], r["budget"]) == (label, 400)}
        return {name: tk.from_json(net).num_params for name, net in json.loads(text).items()}

    deep = counts("circuit depth 2")
    assert len(deep) == 2
    for label in ("mpo", "cp"):
        assert all(deep[name] <= count for name, count in counts(label).items())
    assert {r["at_least"] for r in found if r["budget"] == 5} == {
        None
    }  # no deep network is as small: as near as can be


def mine(shape, budget, rank=1):
    return tk.circuit((8, 8, 8, 8), [[(0,), (1,)]], "sin", start=tk.mpo((8, 8), (8, 8), rank))


@pytest.mark.slow
def test_own_networks_beside_the_families(one_thread, tmp_path):
    own = Family("mine", "mine", mine, depth=2)
    records = compare(TINY, [own, "low_rank"], [300], out=tmp_path, **STEPS)
    found = [r for r in records if r["label"] == "mine"]
    assert [r["seed"] for r in found] == [0, 1] and {r["num_params"] for r in found} == {2 * 64 + 2 * 64}
    assert {tk.from_json(r["networks"]["fc1"]) for r in found} == {mine(None, 300)}
    said = {r["label"]: r["approximation"] for r in records}
    assert (
        said["mine"]["fc1"] in ("gradient", "lifted, gradient")
        and "svd" in said["low_rank"]["fc1"]
        and said["hashed"] == {}
    )
    assert any(line.startswith("Budget 300, other layers frozen") and "mine" in line for line in verdict(records))
    other = replace(own, build=partial(mine, rank=2))  # kept rows of another network are no rows of this one
    again = compare(TINY, [other, "low_rank"], [300], out=tmp_path, **STEPS)
    assert {r["num_params"] for r in again if r["label"] == "mine"} == {mine(None, 300, 2).num_params}
    assert [r for r in again if r["label"] != "mine"] == [r for r in records if r["label"] != "mine"]
    for label in ("low_rank", "hashed"):
        with pytest.raises(ValueError, match=f"two rows of a comparison are called '{label}'"):
            compare(TINY, [replace(own, label=label), "low_rank"], [300], **STEPS)


@pytest.mark.slow
def test_the_callers_draws_go_on_as_they_were(one_thread):
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    compare(TINY, ["low_rank"], [300], rest="none", **STEPS)
    assert torch.equal(torch.rand(3), want)


@pytest.mark.slow
def test_each_dense_model_is_trained_once_a_study(tmp_path, monkeypatch):
    """One by one they are those that are trained side by side; an interrupted study has those that were done."""
    done = []

    def interrupted(experiment, seeds):
        if done == [5, 6]:
            raise KeyboardInterrupt
        done.extend(seeds)
        return dense_models(experiment, seeds)

    monkeypatch.setattr(dense, "dense_models", interrupted)
    protocol = Protocol(seeds=3, first_seed=5, dense_steps=20, fit_steps=5, tune_steps=5)
    options = {"seeds": 3, "first_seed": 5, "dense_steps": 20, "fit_steps": 5, "tune_steps": 5}
    with pytest.raises(KeyboardInterrupt):
        compare(TINY, ["cp"], [300], out=tmp_path, **options)
    monkeypatch.setattr(dense, "dense_models", lambda e, seeds: done.extend(seeds) or dense_models(e, seeds))
    compare(TINY, ["cp"], [300], out=tmp_path, **options)
    assert done == [5, 6, 7]
    experiment = opened(TINY, protocol)
    found = with_dense_models(experiment, Study(tmp_path, settings(experiment))).dense
    assert done == [5, 6, 7]
    together = safetensors.torch.load(dense_models(experiment, protocol.each))
    torch.testing.assert_close(found, together, rtol=1e-3, atol=1e-4)
    assert not torch.equal(found["fc1.weight"][0], found["fc1.weight"][1])


@pytest.mark.slow
def test_with_the_rest_frozen_alone(one_thread, tmp_path):
    both = compare(TINY, ["low_rank"], [300], **STEPS)
    records = compare(TINY, ["low_rank"], [300], rest="none", **STEPS)
    assert [r["test_frozen"] for r in records] == [r["test_frozen"] for r in both]
    for r in records:
        assert r["test_trained"] is r["val_trained"] is None and r["trained_from"] == {} and r["trained_elsewhere"] == 0
    files = write_report(records, tmp_path, "frozen alone")
    text = files["verdict.md"].read_text() + files["paired.md"].read_text() + files["index.html"].read_text()
    assert "other layers frozen" in text and 'In the column "other layers fine-tuned"' not in text
    assert "layers fine-tuned" not in files["verdict.md"].read_text()
    assert "fine-tuned" not in files["paired.md"].read_text()


@pytest.mark.parametrize(
    "task, options, message",
    [
        (lambda: Task("resnet", "digits"), {}, "model, where it is a name, is one of mlp, .*, not 'resnet'"),
        (lambda: Task("mlp", "imagenet"), {}, "data, where it is a name, is one of digits, .*, not 'imagenet'"),
        (lambda: Task(None, "digits"), {}, "the task has no model"),
        (lambda: TINY, {"layer": "conv9"}, "compare: layer: no layer 'conv9' with a weight; there are fc1, fc2"),
        (lambda: TINY, {"shapes": ["x"]}, "shapes: each family is one of adtn, .*, not 'x'"),
        (lambda: TINY, {"budgets": [float("nan")]}, "a budget is a whole number of at least 1, not nan"),
        (lambda: TINY, {"depths": ()}, "depths are one or more whole numbers"),
        (lambda: TINY, {"depths": (0, 2)}, "depths: each is a whole number of at least 1, not 0"),
        (lambda: TINY, {"shapes": "mps"}, "shapes: each family is one of adtn, .*, not 'mps'"),
        (lambda: TINY, {"shapes": ["mpo"], "at_least": True}, "at_least needs a deep network, of depth 2 or more"),
        (lambda: TINY, {"shapes": ["adtn"], "depths": [1], "at_least": True}, "at_least needs a deep network"),
        (lambda: TINY, {"shapes": ()}, "compare needs shapes and budgets"),
        (lambda: TINY, {"tune_steps": 0}, "tune_steps is a whole number of at least 1, not 0"),
        (lambda: TINY, {"fit_steps": -3}, "fit_steps is a whole number of at least 1, not -3"),
        (lambda: TINY, {"budgets": [0]}, "a budget is a whole number of at least 1, not 0"),
        (lambda: TINY, {"seeds": 0}, "seeds is a whole number of at least 1, not 0"),
        (lambda: TINY, {"first_seed": -1}, "first_seed is a whole number of at least 0, not -1"),
        (lambda: TINY, {"rest": "some"}, "rest is one of all, head, none, not 'some'"),
        (lambda: TINY, {"approximation": "svd"}, "approximation is one of auto, gradient, not 'svd'"),
        (lambda: Task("lenet5", "digits"), {}, "compare: lenet5: the model does not take inputs of the shape .64,. and torch.float32 of 'digits'"),
        (lambda: Task(lambda seed: 3, "digits"), {}, "model is a function of a seed that makes an nn.Module; model.0. gives 3"),
    ],
)  # fmt: skip
def test_bad_input(task, options, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        compare(task(), **options, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()  # refused before anything is written

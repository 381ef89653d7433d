import json
import sys
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
from tnkit_nn.comparison.compare import compare, denses, settings
from tnkit_nn.comparison.job_store import Study
from tnkit_nn.comparison.report.files import write_report
from tnkit_nn.comparison.setting import Task
from tnkit_nn.comparison.statistics import verdict
from tnkit_nn.families import BASELINES, CONTROLS, Family, families
from tnkit_nn.generators import fixed_maker, hashed_maker, network_maker, random_start, regauged, rms, subspace_maker
from tnkit_nn.replicas import minimise

TINY = Task(seeds=2, dense_steps=20, fit_steps=5, tune_steps=5)


def without_time(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


@pytest.fixture
def one_thread():
    """Small tensors: more threads than one only cost time (0.7 s against 18 s here)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


# -- many trainings as one --------------------------------------------------------------------------------------------
def test_minimise_is_adam_for_each_replica():
    start = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal = torch.arange(5.0, dtype=torch.float64)
    rates, steps = (0.05, 0.2), 40
    swept = minimise(lambda p, _: (p["w"] - goal).pow(4).sum(1), {"w": start}, rates, steps, every=1)
    for k, rate in enumerate(rates):
        for s in range(2):
            w = start[s].clone().requires_grad_()
            adam = torch.optim.Adam([w], lr=rate, betas=(0.9, 0.99))
            schedules = [
                torch.optim.lr_scheduler.LinearLR(adam, 0.1, 1.0, 2),
                torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps - 2),
            ]
            schedule = torch.optim.lr_scheduler.SequentialLR(adam, schedules, [2])
            best = float("inf")
            for _ in range(steps):
                loss = (w - goal).pow(4).sum()
                best = min(best, float(loss.detach()))
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
            best = min(best, float((w.detach() - goal).pow(4).sum()))
            assert float(swept.score[2 * k + s]) == pytest.approx(best, rel=1e-6)


def test_a_diverging_replica_changes_no_other():
    def losses(p, _):
        loss = p["w"].square().sum(1)
        return torch.where(p["bad"][:, 0] > 0, loss * torch.nan, loss)

    w = torch.ones(3, 4)
    clean = minimise(losses, {"w": w, "bad": torch.zeros(3, 1)}, (0.1,), 20)
    mixed = minimise(losses, {"w": w, "bad": torch.tensor([[0.0], [1.0], [0.0]])}, (0.1,), 20)
    assert torch.equal(clean.params["w"][[0, 2]], mixed.params["w"][[0, 2]])
    assert torch.isinf(mixed.score[1]) and torch.isfinite(mixed.params["w"]).all()


# -- ways to make a weight --------------------------------------------------------------------------------------------
def test_hashed_start_is_the_least_squares_fit():
    target = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    maker = hashed_maker(10, (6, 8), target)
    basis = torch.stack([maker.weight({"values": row[None]}).flatten() for row in torch.eye(10)]).double().numpy()
    best, *_ = np.linalg.lstsq(basis.T, target.flatten().double().numpy(), rcond=None)
    assert np.allclose(best, maker.start["values"][0].numpy(), atol=1e-5)
    assert np.array_equal(np.unique(np.abs(basis).sum(0)), [1])  # each weight is one number, with a sign


def test_network_maker_makes_each_seeds_weight():
    net = tk.adtn((6, 8), depth=2)
    maker = network_maker(net, (6, 8), torch.tensor([0.5, 1.0, 2.0]))
    weight = maker.weight(maker.start)
    assert rms(weight).tolist() == pytest.approx([0.5, 1.0, 2.0], rel=1e-4)
    one = {n: a[1].double().numpy() for n, a in maker.start.items()}
    assert np.allclose(tk.detensorize(tk.contract(net, one), (6, 8)), weight[1].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "net", [tk.adtn((8, 8), depth=3, share=1), tk.adtn((8, 8), depth=2, activation="sin"), tk.cp((8, 8), 2)]
)
def test_regauge_keeps_the_direction_and_sets_the_best_scale(net):
    target = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    maker = network_maker(net, (8, 8), rms(target))
    values = {
        n: a * (3.0 if net.multilinear or n in [m.name for m in net.nodes] else 1.0) for n, a in maker.start.items()
    }
    before, after = (maker.weight(v).flatten(1) for v in (values, regauged(maker, values, target, net)))
    t = target.flatten(1)
    cos = torch.nn.functional.cosine_similarity
    assert torch.allclose(cos(before, t), cos(after, t), atol=1e-4)
    good = cos(after, t) > 0
    best = ((before * t).sum(1) / before.square().sum(1))[:, None] * before
    assert torch.allclose(after[good], best[good], atol=1e-4)


def test_picked_copies_one_input_each_and_dense_is_the_weight():
    target = torch.randn(2, 5, 7)
    picked = fixed_maker("picked", target).weight({})
    assert torch.equal(picked.sum(2), torch.ones(2, 5)) and set(picked.unique().tolist()) == {0.0, 1.0}
    dense = fixed_maker("dense", target)
    assert torch.equal(dense.weight({}), target) and dense.num_params == 35 and not dense.start
    more = fixed_maker("dense_trained_on", target)
    assert torch.equal(more.weight(more.start), target) and more.num_params == 35
    assert fixed_maker("frozen_random", target).num_params == 0


def test_pooled_is_the_mean_of_a_run_of_inputs():
    x = torch.arange(12.0)
    pooled = fixed_maker("pooled", torch.randn(2, 4, 3, 2, 2)).weight({})
    torch.testing.assert_close(pooled.view(2, 4, 12)[1] @ x, x.view(4, 3).mean(1))
    assert torch.equal(fixed_maker("pooled", torch.randn(1, 5, 5)).weight({})[0], torch.eye(5))


@pytest.mark.parametrize("budget", [10, 48, 500])
def test_subspace_is_linear_starts_at_the_least_squares_fit_and_is_generic(budget):
    target = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(3))
    maker = subspace_maker(budget, (6, 8), target)
    k = maker.num_params
    assert k == min(budget, 48)
    basis = (
        torch.stack([maker.weight({"values": row.repeat(2, 1)})[1].flatten() for row in torch.eye(k)]).double().numpy()
    )
    assert np.linalg.matrix_rank(basis) == k or k > 40  # cut to 48 of 64 rows, the last columns depend on others
    best = np.linalg.lstsq(basis.T, target[1].flatten().double().numpy())[0] @ basis
    assert np.allclose(best, maker.weight(maker.start)[1].flatten().numpy(), atol=1e-3)
    assert rms(maker.weight(random_start(maker, target))).tolist() == pytest.approx(rms(target).tolist(), rel=1e-4)
    assert not torch.equal(*(maker.weight({"values": torch.ones(2, k)})))  # each seed has its own


def test_the_error_of_a_random_subspace_is_the_chance_level():
    target = torch.randn(3, 30, 50, generator=torch.Generator().manual_seed(4))
    for maker in (hashed_maker(300, (30, 50), target), subspace_maker(300, (30, 50), target)):
        error = (maker.weight(maker.start) - target).norm() / target.norm()
        assert float(error) == pytest.approx((1 - 300 / 1500) ** 0.5, abs=0.02)


@pytest.mark.parametrize(
    "make",
    [
        partial(network_maker, tk.mpo((6,), (8,), 1), (6, 8)), partial(hashed_maker, 10, (6, 8)), partial(subspace_maker, 10, (6, 8)),
        partial(fixed_maker, "frozen_random"), partial(fixed_maker, "picked"),
    ],
)  # fmt: skip
def test_makers_follow_the_first_seed(make):
    target = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(5))
    given = rms(target) if make.func is network_maker else target
    whole, later = make(given), make(given[1:], first_seed=1)
    torch.testing.assert_close(later.weight(later.start), whole.weight(whole.start)[1:])
    if make.func in (hashed_maker, subspace_maker):
        drawn = random_start(whole, target)["values"]
        torch.testing.assert_close(random_start(later, target[1:], first_seed=1)["values"], drawn[1:])
        ones = torch.ones_like(drawn)
        torch.testing.assert_close(later.weight({"values": ones[1:]}), whole.weight({"values": ones})[1:])


# -- the whole --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_compare_is_complete_deterministic_and_the_same_in_processes(one_thread):
    options = dict(shapes=("adtn", "cp"), budgets=(100,), depths=(2,))
    records = compare(TINY, **options)
    assert {r["family"] for r in records} == {"adtn", "cp", *CONTROLS}
    assert len(records) == 2 * (2 + len(CONTROLS))
    for r in json.loads(json.dumps(records)):
        assert all(isfinite(r[k]) for k in ("error", "chance", "accuracy_frozen", "accuracy_trained", "num_params"))
        assert 0 <= r["accuracy_frozen"] <= 1 and r["layer"] == "fc1" and r["layer_params"] == prod((64, 64))
        if r["label"] != "removed":
            assert r["trained_elsewhere"] == 64 + 10 * 64 + 10
            assert r["model_params"] == 4810 - 4096 + r["num_params"]
        assert r["model_dense"] == 4810 and r["test_images"] == 500
        starts = {"fit", "random"} if r["num_params"] and not r["label"].startswith("dense") else set()
        assert set(r["frozen_from"]) == set(r["trained_from"]) == starts
        if starts:
            assert r["accuracy_frozen"] == r["frozen_from"][r["chosen_frozen"]["start"]]
    (as_it_is,) = {r["accuracy_frozen"] - r["accuracy_fit"] for r in records if r["label"] == "dense"}
    assert as_it_is == 0
    assert without_time(compare(TINY, **options)) == without_time(records)
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        spread = compare(TINY, **options, executor=pool)
    assert without_time(spread) == without_time(records)


def mine(shape, budget, rank=1):
    return tk.circuit((8, 8, 8, 8), [[(0,), (1,)]], "sin", start=tk.mpo((8, 8), (8, 8), rank))


def test_own_networks_beside_the_families(one_thread, tmp_path):
    own = Family("mine", "mine", mine, depth=2)
    records = compare(TINY, [own, "low_rank"], [300], out=tmp_path)
    found = [r for r in records if r["label"] == "mine"]
    assert [r["seed"] for r in found] == [0, 1] and {r["num_params"] for r in found} == {2 * 64 + 2 * 64}
    assert {tk.from_json(r["networks"]["fc1"]) for r in found} == {mine(None, 300)}
    assert any(line.startswith("Budget 300, other layers frozen") and "mine" in line for line in verdict(records))
    other = replace(own, build=partial(mine, rank=2))  # kept rows of another network are no rows of this one
    again = compare(TINY, [other, "low_rank"], [300], out=tmp_path)
    assert {r["num_params"] for r in again if r["label"] == "mine"} == {mine(None, 300, 2).num_params}
    assert [r for r in again if r["label"] != "mine"] == [r for r in records if r["label"] != "mine"]
    for label in ("low_rank", "hashed"):
        with pytest.raises(ValueError, match=f"two rows of a comparison are called '{label}'"):
            compare(TINY, [replace(own, label=label), "low_rank"], [300])


def test_the_callers_draws_go_on_as_they_were(one_thread):
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    compare(replace(TINY, rest="none"), ["low_rank"], [300])
    assert torch.equal(torch.rand(3), want)


def test_each_dense_model_is_trained_once_a_study(tmp_path, monkeypatch):
    """One by one they are those that are trained side by side; an interrupted study has those that were done."""
    comparison = sys.modules["tnkit_nn.comparison.compare"]
    trained, prepare = [], comparison.prepare

    def interrupted(task):
        if trained == [5, 6]:
            raise KeyboardInterrupt
        trained.extend(task.each)
        return prepare(task)

    monkeypatch.setattr(comparison, "prepare", interrupted)
    task = replace(TINY, seeds=3, first_seed=5)
    with pytest.raises(KeyboardInterrupt):
        compare(task, ["cp"], [300], out=tmp_path)
    monkeypatch.setattr(comparison, "prepare", lambda task: trained.extend(task.each) or prepare(task))
    compare(task, ["cp"], [300], out=tmp_path)
    assert trained == [5, 6, 7]
    found = safetensors.torch.load(denses(task, Study(tmp_path, settings(task))))
    assert trained == [5, 6, 7]
    together = safetensors.torch.load(prepare(task))
    torch.testing.assert_close(found, together, rtol=1e-3, atol=1e-4)
    assert not torch.equal(found["fc1.weight"][0], found["fc1.weight"][1])


def test_with_the_rest_frozen_alone(one_thread, tmp_path):
    both = compare(TINY, ["low_rank"], [300])
    records = compare(replace(TINY, rest="none"), ["low_rank"], [300])
    assert [r["accuracy_frozen"] for r in records] == [r["accuracy_frozen"] for r in both]
    for r in records:
        assert (
            r["accuracy_trained"] is r["val_trained"] is None
            and r["trained_from"] == {}
            and r["trained_elsewhere"] == 0
        )
    files = write_report(records, tmp_path, "frozen alone")
    text = files["verdict.md"].read_text() + files["paired.md"].read_text() + files["index.html"].read_text()
    assert "other layers frozen" in text and 'In the column "other layers fine-tuned"' not in text
    assert "layers fine-tuned" not in files["verdict.md"].read_text()
    assert "fine-tuned" not in files["paired.md"].read_text()


@pytest.mark.parametrize(
    "task, options, message",
    [
        (Task(model="resnet"), {}, "unknown model 'resnet'"),
        (Task(data="imagenet"), {}, "unknown data 'imagenet'"),
        (Task(layer="conv9", dense_steps=1), {}, "no layer 'conv9' with a weight; it has fc1, fc2"),
        (TINY, {"shapes": ["x"]}, "unknown shape 'x'"),
        (TINY, {"budgets": [float("nan")]}, "a budget is a whole number of at least 1, not nan"),
        (TINY, {"depths": ()}, r"depths are whole numbers of at least 1, not \[\]"),
        (TINY, {"depths": (0, 2)}, r"depths are whole numbers of at least 1, not \[0, 2\]"),
        (TINY, {"shapes": "mps"}, "unknown shape 'mps'; known: adtn"),
        (TINY, {"shapes": ()}, "compare needs shapes and budgets"),
        (replace(TINY, tune_steps=0), {}, "tune_steps is a whole number of at least 1, not 0"),
        (replace(TINY, fit_steps=-3), {}, "fit_steps is a whole number of at least 1, not -3"),
        (TINY, {"budgets": [0]}, "a budget is a whole number of at least 1, not 0"),
        (Task(seeds=0), {}, "seeds is a whole number of at least 1, not 0"),
        (Task(first_seed=-1), {}, "first_seed is a whole number of at least 0, not -1"),
        (Task(rest="some"), {}, "rest is 'all', 'head' or 'none', not 'some'"),
        (Task(model="vgg16"), {}, "'vgg16' cannot be compared: features.1 .BatchNorm2d. keeps running statistics"),
        (Task(model="lenet5"), {}, "'lenet5' does not take inputs of the shape .64,. of 'digits'"),
    ],
)
def test_bad_input(task, options, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        compare(task, **options, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()  # refused before anything is written

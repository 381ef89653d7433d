"""Comparisons with unusual functions of a task, workers and buffers."""

import copy
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit_nn as tknn
from tnkit_nn import Task, compare
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.fixture import Fixture
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import train_replicas
from tnkit_nn.comparison.row import row
from tnkit_nn.training.goal import goal_of

from .test_own import (
    CLASSES,
    NUMBERS,
    PARTS,
    RMSE,
    STEPS,
    Recurrent,
    narrow,
    regressor,
    squares,
)  # fmt: skip
from .test_unusual import ready, told

pytestmark = pytest.mark.usefixtures("one_thread")


# -- the functions of a task --------------------------------------------------------------------------------------------
def in_place(model, *weights):
    model[0], model[2] = nn.Identity(), nn.Linear(24, 1)
    return model


def shallow(model, *weights):
    return nn.Linear(24, 1)


def test_a_control_made_in_place_spoils_no_other_row():
    experiment = ready(regressor(0), data=NUMBERS, loss=squares, rest="all", without=in_place)
    jobs = [Job("removed", None), Job("dense", None)]
    (gone, dense) = (row(experiment, job)[0] for job in jobs)
    assert gone["model_params"] == 25 and dense["model_params"] == experiment.model_params == 417


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"without": lambda model, *weights: 3}, "of the task gives an nn.Module or None, not 3"),
        ({"smaller": lambda count, seed: None}, "of the task gives an nn.Module, not None"),
        ({"smaller": lambda count, seed: 1 // 0}, "of the task fails: ZeroDivisionError"),
        ({"smaller": lambda count, seed: nn.Sequential(nn.Linear(24, 1 + seed % 2), nn.Linear(1 + seed % 2, 1))}, "of one structure for all seeds"),
    ],
)  # fmt: skip
def test_controls_that_fail_are_named(options, words):
    experiment = ready(regressor, data=NUMBERS, loss=squares, rest="all", **options)
    with pytest.raises((TypeError, ValueError), match=words):
        row(experiment, Job("removed", None) if "without" in options else Job("small_dense", 60))


@pytest.mark.slow
def test_a_study_does_the_rows_of_an_edited_function_anew(tmp_path):
    task = Task(regressor, NUMBERS, squares, RMSE, without=in_place, smaller=narrow)
    own = lambda records: [r["model_params"] for r in records if r["label"] in ("removed", "small_dense")]  # noqa: E731
    first = compare(task, ["low_rank"], [60], out=tmp_path, **STEPS)
    other = replace(task, without=lambda model, *w: nn.Sequential(nn.Linear(24, 5), nn.Linear(5, 1)), smaller=lambda n, s: nn.Linear(24, 1), name="new")  # fmt: skip
    second = compare(other, ["low_rank"], [60], out=tmp_path, **STEPS)
    assert own(first) == [79, 79, 25, 25] and own(second) == [25, 25, 131, 131]
    assert told(first, "dense")[0]["test_frozen"] == told(second, "dense")[0]["test_frozen"]
    assert {r["title"] for r in second} == {"new"}


class Early(nn.Sequential):
    def __init__(self):
        super().__init__(*regressor(0))


class Edited(nn.Sequential):
    def __init__(self):
        super().__init__(*regressor(0), nn.Identity())


NOW = {0: Early}  # a class that is edited: the function that makes it is the same


def switched(seed):
    return NOW[0]()


@pytest.mark.slow
def test_a_study_notices_an_edited_class(tmp_path, monkeypatch):
    task = Task(switched, NUMBERS, squares)
    compare(task, ["low_rank"], [60], out=tmp_path, **STEPS)
    monkeypatch.setitem(NOW, 0, Edited)
    with pytest.raises(ValueError, match="holds another study: its structure"):
        compare(task, ["low_rank"], [60], out=tmp_path, **STEPS)


# -- workers ------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_threads_share_a_model_and_take_turns():
    task = Task(lambda seed: Recurrent(), CLASSES)
    here = compare(task, ["mpo", "low_rank"], [30], **STEPS)
    with ThreadPoolExecutor(4) as pool:
        there = compare(task, ["mpo", "low_rank"], [30], executor=pool, **STEPS)
    assert told(here) == told(there)


def test_a_task_that_cannot_go_to_processes_is_refused_before_they_start():
    task = Task(lambda seed: regressor(seed), NUMBERS, squares)
    with ProcessPoolExecutor(1) as pool, pytest.raises(ValueError, match="functions have names at the top of a file"):
        compare(task, ["low_rank"], [60], executor=pool, **STEPS)


@pytest.mark.slow
def test_a_worker_takes_the_controls_of_the_task_that_it_is_given():
    """One worker, two tasks that differ in their controls alone."""
    task = Task(regressor, NUMBERS, squares, RMSE)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        compare(task, ["low_rank"], [60], executor=pool, **STEPS)
        told_now = replace(task, without=shallow, smaller=narrow)
        records = compare(told_now, ["low_rank"], [60], executor=pool, **STEPS)
    assert [r["model_params"] for r in records if r["label"] in ("removed", "small_dense")] == [79, 79, 25, 25]


# -- buffers ------------------------------------------------------------------------------------------------------------
class Late(nn.Module):
    """A buffer that is made when the model is first called, and one that is replaced in training."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(24, 16), nn.Linear(16, 3)
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x):
        if not hasattr(self, "seen"):
            self.register_buffer("seen", torch.zeros(16))
        h = self.a(x)
        if self.training:
            self.seen.add_(h.detach().mean(0))
            self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        return self.b((h - self.mean).tanh())


def test_buffers_that_are_made_late_or_replaced_move_with_each_replica():
    experiment = ready(lambda seed: Late(), "a")
    (first, second) = row(experiment, Job("dense", None))
    assert (
        row(experiment, Job("dense_trained_on", None))[0]["replicas"] == "one after another: running statistics (Late)"
    )
    for s, r in enumerate((first, second)):
        model = Late().eval()
        model(CLASSES.test[0])
        model.load_state_dict({n: x[s] for n, x in experiment.dense.items()})
        assert model.mean.abs().max() > 1e-3 and model.seen.abs().max() > 1e-3
        assert r["test_frozen"] == pytest.approx(tknn.accuracy(model, CLASSES.test))


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(24, 3)
        self.register_buffer("bank", torch.zeros(0, 3))

    def forward(self, x):
        found = self.a(x)
        if self.training:
            self.bank = torch.cat([self.bank, found.detach()])[-1000:]
        return found


def frozen(seed):
    return regressor(seed).requires_grad_(False)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Task(lambda seed: Growing(), CLASSES), "buffers keep their shape in training, but 'bank' of Growing"),
        (Task(frozen, NUMBERS, squares), "no parameter of frozen requires a gradient"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_trained_as_replicas_are_refused_by_name(task, words):
    with pytest.raises(ValueError, match=f"compare: .*{words}"):
        opened(task, Protocol(**STEPS))


def test_sparse_gradients_are_those_of_plain_torch():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(20, 8, sparse=True), nn.Linear(8, 3)

        def forward(self, tokens):
            return self.out(self.table(tokens).mean(1))

    torch.manual_seed(0)
    part = (torch.randint(20, (160, 5)), torch.arange(160) % 3)
    fixture = Fixture(Sparse().eval(), goal_of(dict.fromkeys(PARTS, part), "test"))
    params = {n: p.detach()[None].clone().requires_grad_() for n, p in fixture.model.named_parameters()}
    batches = batches_of(fixture.goal.parts["train"], None, range(1), 1)
    losses = fixture.losses(params, {}, batches, Axes(), 0, alone=True, state={})
    (found,) = torch.autograd.grad(losses.sum(), params["table.weight"])
    model = copy.deepcopy(fixture.model)
    model.table.load_state_dict({"weight": params["table.weight"][0].detach()})
    F.cross_entropy(model.requires_grad_()(batches.each(0)[0][0]), batches.each(0)[0][1]).backward()
    torch.testing.assert_close(found[0], model.table.weight.grad.to_dense())


@pytest.mark.slow
def test_a_replica_that_fails_disturbs_no_other_and_goes_back():
    """NaN at the large rate: the replicas of the small one are what they are alone, statistics too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 1)).eval()

    def loss(model, batch):
        return squares(model, batch) + torch.where(model[3].weight.abs().max() > 0.4, torch.nan, 0.0)

    fixture = Fixture(model, goal_of(NUMBERS, "test", loss=loss, metric=RMSE), keeping={"1": "1"})
    start = {n: torch.stack([p, p])[None].detach() for n, p in model.named_parameters()}
    statistics = {n: torch.stack([b, b]) for n, b in model.named_buffers()}

    def trained(rates):
        return train_replicas(
            fixture, range(2), start, lambda p, _: p, rates, 30, trained=list(start), statistics=statistics
        )

    both, alone = trained((3e-3, 0.5)), trained((3e-3,))
    failed = both.axes.unflatten(both.history.isinf().any(0)[:, None])[:, 0, :, 0]
    assert failed[1].all() and not failed[0].any()
    for ours, theirs in ((both.params, alone.params), (both.state, alone.state)):
        assert all(x.isfinite().all() for x in ours.values())
        assert all(torch.equal(x, theirs[n]) for n, x in both.axes.at(ours, 0, 0).items())


def test_a_smaller_model_may_be_lazy():
    lazy = lambda count, seed: nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 1))  # noqa: E731
    experiment = ready(regressor, data=NUMBERS, loss=squares, rest="all", smaller=lazy)
    torch.manual_seed(1)
    first = row(experiment, Job("small_dense", 60))
    torch.manual_seed(2)
    assert told(first) == told(row(experiment, Job("small_dense", 60)))


def test_large_values_that_are_not_trained_are_not_repeated_for_replicas(monkeypatch):
    experiment, job = ready(regressor, data=NUMBERS, loss=squares), Job("dense_trained_on", None)
    side = row(experiment, job)
    monkeypatch.setattr("tnkit_nn.comparison.replicas.COPIES", 100)
    alone = row(experiment, job)
    assert side[0]["replicas"] == "side by side"
    assert alone[0]["replicas"] == "one after another: values that are not trained, 0.0 GB side by side"
    for a, b in zip(side, alone, strict=True):
        assert a["test_frozen"] == pytest.approx(b["test_frozen"], rel=1e-4)

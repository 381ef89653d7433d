"""Comparisons of unusual models, losses, data and functions: what a row says is what the model by hand says, whatever ran before."""

import copy
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import tnkit_nn as tknn
from tnkit_nn import Metric, Task, compare, zoo
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.calls import called
from tnkit_nn.comparison.experiment import opened, with_dense_models
from tnkit_nn.comparison.fixture import Fixture, Readings
from tnkit_nn.comparison.predictions import write_predictions
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import Trained, score, train_replicas
from tnkit_nn.comparison.row import row
from tnkit_nn.comparison.split import draws, split_at
from tnkit_nn.comparison.tuning import packed_classes
from tnkit_nn.families import families
from tnkit_nn.storage import read_tensors
from tnkit_nn.training.goal import goal_of

from .made import timeless
from .test_own import (
    CLASSES,
    NUMBERS,
    PARTS,
    RMSE,
    STEPS,
    Recurrent,
    deviation,
    made,
    narrow,
    regressor,
    rmse,
    squares,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


def ready(model, layer=(), data=CLASSES, rest="none", **options):
    return with_dense_models(opened(Task(model, data, **options), Protocol(layer, **STEPS, rest=rest)))


def told(records, label=None):
    """Records without the time they took."""
    return [timeless(r) for r in records if label in (None, r["label"])]


# -- chains -------------------------------------------------------------------------------------------------------------
def repeated(seed=0, layer=False):
    """An activation, or a layer too, stands at two places of a chain."""
    torch.manual_seed(seed)
    act, a = nn.Tanh(), nn.Linear(24, 24)
    return nn.Sequential(a, act, nn.Linear(24, 24), act, a if layer else nn.Linear(24, 24), act, nn.Linear(24, 3))


@pytest.mark.parametrize("layer", [False, True])
def test_what_stands_twice_in_a_chain_is_called_twice(layer):
    model, x = repeated(layer=layer), CLASSES.test[0]
    before, after = split_at(model, "2")
    assert torch.equal(after(before(x)), model(x)) and bool(len(before)) != layer
    experiment = ready(lambda seed: repeated(seed, layer), "2")
    for s in range(2):
        alone = repeated(layer=layer)
        alone.load_state_dict({n: x[s] for n, x in experiment.dense.items()}, strict=False)
        fixture, own = experiment.tail, dict(alone.named_parameters())
        values = {n: own[n].detach().expand(2, *own[n].shape) for n, _ in fixture.model.named_parameters()}
        torch.testing.assert_close(fixture.outputs(values, "test", Axes(seed=2))[s], alone.eval()(x))


def test_without_a_layer_the_activation_behind_it_is_left_out_too():
    shorter = zoo.without(repeated(), "2")
    assert [type(m) for m in shorter] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]


def test_hooks_of_a_chain_are_called():
    model = repeated()
    model.register_forward_hook(lambda module, given, found: 2 * found)
    assert not len(split_at(model, "2")[0])


def test_examples_that_see_each_other_are_not_computed_beforehand():
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    x = torch.randn(8, 24)
    assert draws(nn.Sequential(Centred()), x) and not draws(nn.Sequential(nn.LayerNorm(24)), x)


def test_layers_before_may_give_tuples():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, given):
            return self.fc(given[0])

    experiment = ready(lambda seed: nn.Sequential(nn.LSTM(24, 6), Last()), "1.fc")
    assert experiment.tail is experiment.full
    assert 0 <= row(experiment, Job("dense", None))[0]["test_frozen"] <= 1


# -- shared modules -----------------------------------------------------------------------------------------------------
class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(24, 16), nn.Linear(16, 3)
        self.n1 = self.n2 = nn.BatchNorm1d(16)

    def forward(self, x):
        return self.b(self.n2(self.n1(self.a(x)).relu()))


def test_a_module_of_two_names_is_called_with_values_by_the_first_and_keeps_its_own():
    model, x = TwoNames().eval(), CLASSES.test[0]
    own = {n: p for n, p in (*model.named_parameters(), *model.named_buffers())}
    other = copy.deepcopy(model)
    for p in other.parameters():
        p.data.mul_(2)
    values = dict(other.named_parameters())
    torch.testing.assert_close(called(model, values, x), other(x))
    after = dict((*model.named_parameters(), *model.named_buffers()))
    assert after.keys() == own.keys() and all(after[n] is p for n, p in own.items())


def test_statistics_of_a_module_of_two_names_move_as_in_plain_torch():
    torch.manual_seed(0)
    model = TwoNames()
    fixture = Fixture(copy.deepcopy(model).eval(), goal_of(CLASSES, "test"), keeping={"n1": "n1", "n2": "n2"})
    fixture = fixture.training([n for n, _ in model.named_parameters()])
    batches = batches_of(fixture.goal.parts["train"], None, range(1), 2)
    params = {n: p.detach()[None] for n, p in model.named_parameters()}
    state = {n: b[None].clone() for n, b in model.named_buffers()}
    found = fixture.losses(params, {}, batches, Axes(), 0, alone=True, state=state)
    x, y = batches.each(0)[0]
    torch.testing.assert_close(found[0], F.cross_entropy(model.train()(x), y))
    for n, b in model.named_buffers():
        torch.testing.assert_close(state[n][0], b)


# -- models that write to themselves ------------------------------------------------------------------------------------
class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(24, 16), nn.Linear(16, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.b(self.a(x).tanh()) * (1 + 0.1 * torch.sin(self.calls))


class Bounded(nn.Module):
    """Bounds a weight before it is used, with and without autograd's knowledge."""

    def __init__(self, data):
        super().__init__()
        self.data, self.a, self.b = data, nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, x):
        w = self.b.weight
        if self.data:
            w.data = w.data.clamp(-0.05, 0.05)
        else:
            with torch.no_grad():
                w.clamp_(-0.05, 0.05)
        return self.b(self.a(x).tanh())


@pytest.mark.parametrize(
    "model", [Counting, lambda: Bounded(True), lambda: Bounded(False)], ids=["counter", "data", "in place"]
)
def test_a_row_leaves_the_dense_models_as_they_were(model):
    experiment = ready(lambda seed: model(), "a")
    values = {n: x + (0.3 if n == "b.weight" else 0) for n, x in experiment.dense.items()}
    experiment = replace(experiment, dense=values)
    before = {n: x.clone() for n, x in values.items()}
    row(experiment, Job(families(["low_rank"])[0], 60))
    assert all(torch.equal(experiment.dense[n], x) for n, x in before.items())


@pytest.mark.parametrize("data", [True, False])
def test_a_weight_that_the_model_bounds_is_trained_as_in_plain_torch(data):
    torch.manual_seed(0)
    model = Bounded(data)
    fixture = Fixture(copy.deepcopy(model).eval(), goal_of(CLASSES, "test"))
    params = {n: p.detach()[None].clone() for n, p in model.named_parameters()}
    leaves = {n: p.requires_grad_() for n, p in params.items()}
    batches = batches_of(fixture.goal.parts["train"], None, range(1), 1)
    found = fixture.losses(leaves, {}, batches, Axes(), 0, alone=True, state={})
    x, y = batches.each(0)[0]
    torch.testing.assert_close(found[0], F.cross_entropy(model.train()(x), y))
    for n, p in model.named_parameters():
        torch.testing.assert_close(leaves[n][0].detach(), p.detach())


# -- what is drawn ------------------------------------------------------------------------------------------------------
class Depth(nn.Module):
    """Leaves a layer out at random, by Python's generator, and adds noise in evaluation too, by torch's."""

    def __init__(self):
        super().__init__()
        self.a, self.m, self.b = nn.Linear(24, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.a(x).tanh()
        if not self.training or random.random() < 0.5:
            h = h + self.m(h + torch.randn_like(h)).tanh()
        return self.b(h)


@pytest.mark.slow
def test_a_row_is_the_same_whatever_ran_before_it_with_a_model_that_draws():
    jobs = [Job(families([name])[0], 60) for name in ("mpo", "low_rank")]
    experiment = ready(lambda seed: Depth(), "a", rest="all")
    after = [row(experiment, job) for job in jobs][1]
    random.seed(17), torch.manual_seed(17)
    assert told(after) == told(row(experiment, jobs[1]))


@pytest.mark.slow
def test_the_callers_generators_go_on_as_they_were():
    random.seed(5), torch.manual_seed(5)
    want = random.random(), torch.rand(2)
    random.seed(5), torch.manual_seed(5)
    compare(Task(lambda seed: Depth(), CLASSES), ["low_rank"], [60], layer="a", **STEPS)
    assert random.random() == want[0] and torch.equal(torch.rand(2), want[1])


# -- losses, metrics ----------------------------------------------------------------------------------------------------
def test_a_loss_may_be_of_one_entry_and_of_another_dtype():
    loss = lambda model, batch: squares(model, batch).double().reshape(1)  # noqa: E731
    for r, plain in zip(*(row(ready(regressor, data=NUMBERS, loss=f, metric=RMSE), Job("dense_trained_on", None)) for f in (loss, squares)), strict=True):  # fmt: skip
        assert r["replicas"] == "side by side" and r["test_frozen"] == pytest.approx(plain["test_frozen"], rel=1e-4)


def test_a_metric_that_changes_the_model_changes_no_training():
    def careless(model, loader):
        model.train()
        model.requires_grad_(False)
        return -rmse(model, loader)

    found, plain = (row(ready(regressor, data=NUMBERS, loss=squares, metric=m, rest="all"), Job("dense_trained_on", None)) for m in (careless, deviation))  # fmt: skip
    assert [r["test_trained"] for r in found] == [r["test_trained"] for r in plain]


@pytest.mark.parametrize("larger", [True, False])
def test_an_infinitely_good_metric_is_the_best_and_none_is_never_taken(larger):
    goal = goal_of(NUMBERS, "test", loss=squares, metric=Metric(rmse, larger=larger))
    best = float("inf") if larger else -float("inf")
    metric = torch.tensor([1.0, best, float("nan"), -best], dtype=torch.float64)
    found = score(Fixture(regressor(0), goal), Readings(metric, metric))
    assert found[:2].isfinite().all() and found[1] < found[0] < found[3] and found[2].isnan()
    assert found[:2].expand(4, 2).mean(0).isfinite().all()


def test_a_row_of_a_curve_is_the_mean_since_the_row_before():
    history, seen = torch.arange(30.0)[:, None], torch.zeros(3, 1)
    trained = Trained(Axes(), {}, {}, torch.zeros(1, 1, 1), "", history, seen)
    assert trained.curve(0, 0, 0) == [[0, None, 0.0], [25, 12.0, 0.0], [30, 27.0, 0.0]]


def test_classes_beyond_two_bytes_are_kept_as_they_are(tmp_path):
    given = torch.tensor([[3, 40_000, 70_000]])
    text = packed_classes(Readings(torch.zeros(1), torch.zeros(1), given), 0)
    record = {"label": "dense", "budget": None, "seed": 0, "predictions": {"frozen": text}}
    (found,) = write_predictions([record], tmp_path)
    tensors, _ = read_tensors(tmp_path / "predictions.safetensors")
    assert tensors[found["scores"]["frozen"]].tolist() == given[0].tolist()


# -- data ---------------------------------------------------------------------------------------------------------------
class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, tokens):
        return self.out(self.table(tokens).mean(1))


class Endless(IterableDataset):
    """Batches without end, whose lengths are alike at first and unlike later."""

    def __iter__(self):
        length = 4
        while True:
            yield torch.randint(20, (6, length)), torch.arange(6) % 3
            length = 4 + int(torch.randint(4, ()))


def test_a_stream_without_end_whose_batches_become_unlike():
    """Steps that cannot be stacked go one after another: the same losses as each alone."""
    part = [(torch.randint(20, (6, 5)), torch.arange(6) % 3)] * 2
    parts = {"train": DataLoader(Endless(), batch_size=None), "val": part, "test": part}
    fixture = Fixture(Words().eval(), goal_of(parts, "test"))
    assert fixture.apart == ""
    axes, batches = Axes(seed=2), batches_of(fixture.goal.parts["train"], None, (0, 1), 6)
    params = {n: torch.stack([p, p]).detach() for n, p in fixture.model.named_parameters()}
    unlike = 0
    for step in range(6):
        found = fixture.losses(params, {}, batches, axes, step, alone=False, state={})
        for k, (x, y) in enumerate(batches.each(step)):
            torch.testing.assert_close(found[k], F.cross_entropy(fixture.model(x), y))
        unlike += len({x.shape for x, _ in batches.each(step)}) - 1
    assert unlike


# -- models by seed, weights --------------------------------------------------------------------------------------------
def test_lazy_models_are_those_of_their_seeds():
    task = Task(lambda seed: nn.Sequential(nn.LazyLinear(16), nn.Tanh(), nn.Linear(16, 3)), CLASSES)
    torch.manual_seed(1)
    first = with_dense_models(opened(task, Protocol("0", **STEPS)))
    torch.manual_seed(2)
    second = with_dense_models(opened(task, Protocol("0", **STEPS)))
    assert all(torch.equal(first.dense[n], x) for n, x in second.dense.items())
    assert not torch.equal(*first.dense["0.weight"])


def test_models_of_unlike_structure_and_one_module_for_all_seeds_are_refused():
    with pytest.raises(ValueError, match=r"compare: unlike\(1\) is not of the structure of unlike\(0\): 0.weight is \(17, 24\), not \(16, 24\)"):  # fmt: skip
        unlike = lambda seed: nn.Sequential(nn.Linear(24, 16 + seed), nn.Linear(16 + seed, 3))  # noqa: E731
        unlike.__name__ = "unlike"
        ready(unlike)
    model = made("plain")
    with pytest.raises(ValueError, match="makes a new model for each seed, but gives one and the same"):
        ready(lambda seed: model)


class Odd(nn.Module):
    """Weights that nothing depends on, of whole and of complex numbers; a small one is used."""

    def __init__(self):
        super().__init__()
        self.unused, self.a = nn.Linear(100, 100), nn.Linear(24, 3)
        self.whole = nn.Parameter(torch.randint(-2, 3, (24, 30)), requires_grad=False)
        self.turn = nn.Parameter(torch.randn(24, 30, dtype=torch.complex64))

    def forward(self, x):
        return self.a(x) + (x.to(torch.complex64) @ self.turn).abs().mean() + (x @ self.whole.to(x)).mean()


@pytest.mark.parametrize(
    ("layer", "words"),
    [("unused", "the loss of the first batch does not depend on 'unused'"), ("whole", "'whole' is torch.int64"), ("turn", "'turn' is torch.complex64")],
)  # fmt: skip
def test_weights_that_cannot_be_compared_are_refused_by_name(layer, words):
    with pytest.raises(ValueError, match=f"compare: layer: .*{words}"):
        opened(Task(lambda seed: Odd(), CLASSES), Protocol(layer, **STEPS))


def test_the_largest_weight_is_one_that_the_loss_depends_on():
    experiment = ready(lambda seed: Odd())
    assert experiment.weights == ("a.weight",)
    (first, _) = row(experiment, Job(families(["low_rank"])[0], 30))
    assert 0 < first["error"] < 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("what", ["mpo", "hashed", "subspace", "picked", "pooled", "frozen_random", "rank1"])
def test_models_of_any_floating_dtype(dtype, what):
    parts = {n: (x.to(dtype), y.to(dtype)) for n, (x, y) in NUMBERS.items()}
    experiment = ready(lambda seed: regressor(seed).to(dtype), data=parts, loss=squares)
    job = Job(families([what])[0], 60) if what == "mpo" else Job(what, 60 if what in ("hashed", "subspace") else None)
    (first, second) = row(experiment, job)
    assert (
        first["replicas"] == "side by side"
        and first["test_frozen"] < 10
        and first["test_frozen"] != second["test_frozen"]
    )


def test_the_head_of_an_attention_is_what_is_called_from_the_layer_on():
    """In evaluation its layers are not called one by one, and its projection never is."""
    experiment = opened(
        Task(lambda seed: made("attention", seed), CLASSES), Protocol("*.linear1", **STEPS, rest="head")
    )
    assert not any("self_attn" in n or "norm1" in n for n in experiment.trainable(True))
    assert {"layer.linear2.weight", "layer.norm2.bias", "out.weight"} <= set(experiment.trainable(True))


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

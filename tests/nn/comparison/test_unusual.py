"""Comparisons of unusual models, losses, data and functions: what a row says is what the model by hand says, whatever ran before."""

import copy
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from tnkit_nn import Metric, Task, compare, zoo
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.calls import called
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.fixture import Fixture, Readings
from tnkit_nn.comparison.predictions import write_predictions
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import Trained, score
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
    RMSE,
    STEPS,
    deviation,
    made,
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


def test_what_a_model_draws_in_evaluation_is_the_same_in_every_row():
    experiment = ready(lambda seed: Depth(), "a", rest="all")
    values = {n: torch.cat([x[:1]] * 4) for n, x in experiment.dense.items()}
    found = experiment.full.read(values, {}, "test", Axes(rate=2, seed=2), alone=True).loss
    assert torch.equal(found[:2], found[2:]) and found[0] != found[1]  # a rate, and its seeds


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


@pytest.mark.slow
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

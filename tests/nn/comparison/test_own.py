"""Comparisons of models, data, losses and metrics of one's own: what each replica does is what plain torch does alone."""

import copy
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property
from multiprocessing import get_context

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tnkit_nn as tknn
from tnkit_nn import Metric, Task, compare
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.fixture import Fixture
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import train_replicas
from tnkit_nn.comparison.row import row
from tnkit_nn.families import families
from tnkit_nn.storage import read_tensors
from tnkit_nn.training.goal import goal_of
from tnkit_nn.training.modes import keepers

from .made import timeless

STEPS = dict(seeds=2, dense_steps=4, fit_steps=2, tune_steps=3)
DRAW = torch.Generator().manual_seed(0)
X, W = torch.randn(300, 24, generator=DRAW), torch.randn(24, generator=DRAW)
Y = X @ W / 5
LABELS = (Y > 0).long() + (Y > 1).long()
PARTS = {"train": slice(0, 160), "val": slice(160, 220), "test": slice(220, 300)}
CLASSES = tknn.data.Split("own", *((X[p], LABELS[p]) for p in PARTS.values()))
NUMBERS = {name: (X[p], Y[p]) for name, p in PARTS.items()}


pytestmark = pytest.mark.usefixtures("one_thread")


class Recurrent(nn.Module):
    def __init__(self, out=3):
        super().__init__()
        self.rnn, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, out)

    def forward(self, x):
        return self.out(self.rnn(x.view(len(x), 6, 4))[0][:, -1])


class Attention(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.layer, self.out = nn.TransformerEncoderLayer(4, 2, 8, dropout, batch_first=True), nn.Linear(24, 3)

    def forward(self, x):
        return self.out(self.layer(x.view(len(x), 6, 4)).flatten(1))


class Normalised(nn.Module):
    """The head is registered first, and called last."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.head, self.body = nn.Linear(16, 3), nn.Linear(24, 16)
        self.norm, self.bare, self.drop = nn.BatchNorm1d(16), nn.BatchNorm1d(16, affine=False), nn.Dropout(dropout)

    def forward(self, x):
        return self.head(self.drop(self.bare(self.norm(self.body(x)).relu())))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.a(x)
        return self.b(h.relu() if h.sum() > 0 else h.tanh())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(self.b(self.a(x).relu()).relu())


MODELS = {
    "recurrent": Recurrent, "attention": Attention, "normalised": Normalised, "branching": Branching, "tied": Tied,
    "plain": lambda: nn.Sequential(nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 3)),
}  # fmt: skip
ALONE = {
    "recurrent": "vmap does not take the model", "attention": "vmap does not take the model", "branching": "vmap does not take the model",
    "normalised": "running statistics", "tied": "", "plain": "",
}  # fmt: skip


def made(name, seed=0):
    torch.manual_seed(seed)
    return MODELS[name]()


def squares(model, batch):
    return F.mse_loss(model(batch[0]).squeeze(-1), batch[1])


def rmse(model, loader):
    pairs = [(model(x).squeeze(-1), y) for x, y in loader]
    return float(torch.cat([(a - y).square() for a, y in pairs]).mean().sqrt())


def deviation(model, loader):
    return -rmse(model, loader)


RMSE = Metric(rmse, "RMSE", "kg", larger=False)


def regressor(seed):
    return nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 1))


# -- one replica is the model alone -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_each_model_alone(name):
    """In float64, in training: the model of each replica, filled by hand."""
    model = made(name).double()
    split = tknn.data.Split("own", *((X[p].double(), LABELS[p]) for p in PARTS.values()))
    goal = goal_of(split, "test")
    batch = (split.train[0][:8], split.train[1][:8])
    fixture = Fixture(copy.deepcopy(model), goal, keeping=keepers(model, goal.loss, batch))
    fixture = fixture.training([n for n, _ in model.named_parameters()])
    assert fixture.alone().startswith(ALONE[name]) and bool(fixture.alone()) == bool(ALONE[name])
    axes, batches = Axes(rate=2, seed=2), batches_of(goal.parts["train"], None, range(2), 2)
    draw = torch.Generator().manual_seed(3)
    params = {
        n: (p + 0.1 * torch.randn(4, *p.shape, generator=draw, dtype=p.dtype)).detach().requires_grad_()
        for n, p in model.named_parameters()
    }
    buffers = {n: torch.stack([b] * 4).clone() for n, b in model.named_buffers()}
    losses = fixture.losses(params, {}, batches, axes, 1, alone=bool(ALONE[name]), state=buffers)
    found = torch.autograd.grad(losses.sum(), list(params.values()))
    for k in range(4):
        alone = copy.deepcopy(model).train()
        alone.load_state_dict({n: p[k].detach() for n, p in params.items()}, strict=False)
        loss = F.cross_entropy(alone(batches.each(1)[k % 2][0]), batches.each(1)[k % 2][1])
        slopes = torch.autograd.grad(loss, list(alone.parameters()))
        torch.testing.assert_close(losses[k], loss, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close([g[k] for g in found], list(slopes), rtol=1e-8, atol=1e-10)
        for n, b in alone.named_buffers():
            torch.testing.assert_close(buffers[n][k], b)


@pytest.mark.slow
def test_the_same_numbers_side_by_side_and_one_after_another(monkeypatch):
    """In float64, of a model that is given: an approximation of weights that differ by rounding may differ by more."""
    own = Task(regressor(0).double(), {n: (x.double(), y.double()) for n, (x, y) in NUMBERS.items()}, squares, RMSE)
    options = dict(shapes=["mpo", "cp"], budgets=[60], **STEPS)
    side = compare(own, **options)
    assert {r["replicas"] for r in side} == {"side by side"}
    apart = cached_property(lambda fixture: "for a test")
    apart.__set_name__(Fixture, "apart")
    monkeypatch.setattr(Fixture, "apart", apart)
    alone = compare(own, **options)
    assert {r["replicas"] for r in alone} == {"one after another: for a test"}
    for a, b in zip(side, alone, strict=True):
        for key in ("error", "test_fit", "test_frozen", "test_trained", "val_frozen", "val_trained"):
            assert (a[key] is None) == (b[key] is None)
            assert a[key] is None or a[key] == pytest.approx(b[key], rel=1e-6), (a["label"], key)


# -- what moves, and what stands still ----------------------------------------------------------------------------------
def normalised(rest, dropout=0.0):
    task = Task(lambda seed: Normalised(dropout), CLASSES)
    return with_dense_models(opened(task, Protocol("body", **{**STEPS, "dense_steps": 6}, rest=rest)))


def test_running_statistics_are_those_of_each_seed_and_move_in_training_alone():
    """At a rate of zero the parameters stand still: the statistics are those of plain torch after as many batches."""
    experiment = normalised("all")
    assert experiment.keeping == {"norm": "norm", "bare": "norm"}
    assert (
        not torch.equal(*experiment.dense["norm.running_mean"])
        and experiment.dense["norm.num_batches_tracked"].min() > 0
    )
    start = {n: experiment.dense[n][None] for n in experiment.parameters}
    found = train_replicas(
        experiment.full,
        range(2),
        start,
        lambda p, _: p,
        (0.0,),
        3,
        trained=list(start),
        statistics=experiment.statistics,
    )
    assert found.alone == "running statistics (norm)"
    batches = batches_of(experiment.goal.parts["train"], None, range(2), 3)
    for s in range(2):
        alone = Normalised().train()
        alone.load_state_dict({n: x[s] for n, x in experiment.dense.items()})
        seen = int(found.state["norm.num_batches_tracked"][s] - experiment.dense["norm.num_batches_tracked"][s])
        assert seen in (1, 3)  # the looks at the validation part
        for step in range(seen):
            alone(batches.each(step)[s][0])
        for n, b in alone.named_buffers():
            torch.testing.assert_close(found.state[n][s], b)
    frozen = experiment.full.training(["body.weight"])  # the layer alone: nothing else moves, statistics neither
    assert frozen.moving == () and frozen.alone() == ""


@pytest.mark.parametrize("rest", ["all", "head", "none"])
def test_batch_normalisation_works_whatever_else_is_trained(rest):
    experiment = normalised(rest)
    (first, second) = row(experiment, Job(families(["mpo"])[0], 60))
    assert (first["test_trained"] is None) == (rest == "none")
    assert first["replicas"] == ("side by side" if rest == "none" else "one after another: running statistics (norm)")
    (as_is, _) = row(experiment, Job("dense", None))
    model = Normalised().eval()
    model.load_state_dict({n: x[0] for n, x in experiment.dense.items()})
    assert as_is["test_frozen"] == pytest.approx(tknn.accuracy(model, CLASSES.test))
    assert second["seed"] == 1


def test_the_layers_after_another_are_those_called_after_it():
    """The head is registered first: what is trained beside the body is all that is called from the body on."""
    experiment = normalised("head")
    assert set(experiment.trainable(True)) == {"body.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    several = opened(experiment.task, Protocol(("head", "body"), **STEPS))
    assert several.weights == ("body.weight", "head.weight")
    last = opened(experiment.task, Protocol("head", **STEPS, rest="head"))
    assert last.trainable(True) == ["head.bias"]


@pytest.mark.parametrize("name", ["side by side", "one after another"])
def test_dropout_is_on_in_training_and_off_in_readings(name):
    model = nn.Sequential(nn.Linear(24, 64), nn.Dropout(0.5), nn.Linear(64, 3))
    fixture, axes = Fixture(model, goal_of(CLASSES, "test")), Axes(seed=2)
    assert fixture.apart == ""
    params = {n: torch.stack([p, p]).detach() for n, p in model.named_parameters()}
    batches = batches_of(fixture.goal.parts["train"], None, (0, 0), 2)  # the same data for both
    alone = name == "one after another"
    losses = [fixture.losses(params, {}, batches, axes, step, alone=alone, state={}) for step in (0, 0, 1)]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])  # drawn by the step
    readings = fixture.read(params, {}, "val", axes, alone=alone)
    assert readings.loss[0] == readings.loss[1]
    with torch.no_grad():
        dry = F.cross_entropy(model.eval()(batches.each(0)[0][0]), batches.each(0)[0][1])
    assert (losses[0] - dry).abs().min() > 1e-3


def test_layers_before_are_not_computed_beforehand_where_they_draw():
    task = lambda p: Task(lambda seed: nn.Sequential(nn.Linear(24, 24), nn.Dropout(p), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3)), CLASSES)  # noqa: E731  # fmt: skip
    protocol = Protocol("2", **STEPS)
    plain, drawn = (with_dense_models(opened(task(p), protocol)) for p in (0.0, 0.5))
    assert plain.tail is not plain.full and drawn.tail is drawn.full


# -- which weights ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("recurrent", "rnn.weight_hh_l0", (24, 6)), ("attention", "layer.self_attn.in_proj_weight", (12, 4)),
        ("attention", "*.linear1.weight", (8, 4)), ("recurrent", "out", (3, 6)), ("tied", "b.weight", (24, 24)), ("tied", "b", (24, 24)),
    ],
)  # fmt: skip
def test_weights_by_the_names_of_their_parameters(name, layer, shape):
    records = compare(Task(lambda seed: made(name, seed), CLASSES), ["mpo"], [30], layer=layer, **STEPS)
    assert {r["layer_params"] for r in records} == {shape[0] * shape[1]}
    (as_is, *_) = [r for r in records if r["label"] == "dense"]
    assert as_is["error"] == 0 and as_is["test_fit"] == as_is["test_frozen"]


def test_a_shared_weight_is_replaced_wherever_it_is_used():
    """The weight of zeros is zero at both places, in the model by hand too."""
    experiment = with_dense_models(opened(Task(lambda seed: made("tied", seed), CLASSES), Protocol("b", **STEPS)))
    assert experiment.weights == ("a.weight",) and experiment.model_params == sum(
        p.numel() for p in Tied().parameters()
    )
    (first, _) = row(experiment, Job("removed", None))
    model = Tied().eval()
    model.load_state_dict({n: x[0] for n, x in experiment.dense.items()}, strict=False)
    with torch.no_grad():
        model.a.weight.zero_()
    assert first["test_frozen"] == pytest.approx(tknn.accuracy(model, CLASSES.test))


# -- losses and metrics -------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_metric_of_the_task_chooses_in_its_direction():
    """The same metric with the other sign and direction chooses the same, and gives the other sign."""
    options = dict(shapes=["mpo"], budgets=[60], **STEPS)
    small = compare(Task(regressor, NUMBERS, squares, RMSE), **options)
    large = compare(Task(regressor, NUMBERS, squares, deviation), **options)
    for a, b in zip(small, large, strict=True):
        assert a["metric"] == {"name": "RMSE", "unit": "kg", "larger": False} and b["metric"]["larger"]
        for key in ("test_frozen", "test_trained", "val_frozen"):
            assert a[key] is None or a[key] == -b[key]
        assert a["chosen_trained"] == b["chosen_trained"] and a["chosen_frozen"] == b["chosen_frozen"]
    learned, as_is = (next(r for r in small if r["label"] == n) for n in ("dense_trained_on", "dense"))
    assert learned["val_frozen"] <= as_is["val_frozen"]


def test_a_reading_is_the_metric_of_the_model_by_hand(tmp_path):
    experiment = with_dense_models(opened(Task(regressor, NUMBERS, squares, RMSE), Protocol(**STEPS)))
    (first, _) = row(experiment, Job("dense", None))
    model = regressor(0).eval()
    model.load_state_dict({n: x[0] for n, x in experiment.dense.items()})
    with torch.no_grad():
        assert first["test_frozen"] == pytest.approx(rmse(model, [NUMBERS["test"]]), rel=1e-5)


@pytest.mark.slow
def test_without_a_metric_a_loss_of_ones_own_is_what_counts():
    records = compare(Task(regressor, NUMBERS, squares), ["mpo"], [60], **STEPS)
    assert records[0]["metric"] == {"name": "loss", "unit": "", "larger": False}


# -- data ---------------------------------------------------------------------------------------------------------------
def loaders(**options):
    return {n: DataLoader(TensorDataset(*NUMBERS[n]), 40, shuffle=n == "train", **options) for n in PARTS}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"generator": torch.Generator().manual_seed(1)}], ids=["global", "own"])
def test_a_loader_gives_each_row_the_same_batches_whatever_came_before(options):
    task = Task(regressor, loaders(**options), squares, RMSE)
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    both = compare(task, ["mpo", "cp"], [60], **STEPS)
    assert torch.equal(torch.rand(3), want)
    alone = compare(task, ["cp"], [60], **STEPS)
    strip = lambda records: [timeless(r) for r in records if r["label"] != "mpo"]  # noqa: E731
    assert strip(both) == strip(alone)


@pytest.mark.slow
def test_batches_of_unlike_lengths_go_one_after_another():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(20, 8), nn.Linear(8, 3)

        def forward(self, tokens):
            return self.out(self.table(tokens).mean(1))

    draw = torch.Generator().manual_seed(0)
    parts = {
        n: [(torch.randint(20, (6, 3 + (k + len(n)) % 4), generator=draw), torch.arange(6) % 3) for k in range(5)]
        for n in PARTS
    }
    train = DataLoader(parts["train"], batch_size=None, shuffle=True)
    records = compare(Task(lambda seed: Bag(), {**parts, "train": train}), ["low_rank"], [40], layer="table", **STEPS)
    assert {r["replicas"].split(":")[0] for r in records} == {"one after another"}
    assert all(0 <= r["test_frozen"] <= 1 for r in records)


def test_a_part_that_is_missing_is_named():
    with pytest.raises(ValueError, match="compare needs the part 'test' of the data; 'data' has train, val"):
        compare(Task(regressor, {n: NUMBERS[n] for n in ("train", "val")}, squares))


# -- controls that need the model's help --------------------------------------------------------------------------------
def narrow(parameters, seed):
    width = max(1, (parameters - 1) // 26)
    return nn.Sequential(nn.Linear(24, width), nn.ReLU(), nn.Linear(width, 1))


def lone(model, *weights):
    assert weights == ("0.weight",)
    return nn.Linear(24, 1)


@pytest.mark.slow
def test_controls_of_the_task():
    task = Task(regressor, NUMBERS, squares, RMSE)
    bare = compare(task, ["mpo"], [60], **STEPS)
    assert list(bare[0]["left_out"]) == ["small_dense"] and not any(r["label"] == "small_dense" for r in bare)
    told = compare(replace(task, without=lone, smaller=narrow), ["mpo"], [60, 90], **STEPS)
    assert told[0]["left_out"] == {}
    (small, wide) = ([r for r in told if r["label"] == "small_dense" and r["budget"] == b] for b in (60, 90))
    assert [r["seed"] for r in small] == [0, 1] and small[0]["test_frozen"] is None and small[0]["error"] is None
    count = 24 * 16 + 16 + 16 + 1 - 24 * 16
    assert small[0]["model_params"] == sum(p.numel() for p in narrow(count + 60, 0).parameters())
    assert wide[0]["model_params"] > small[0]["model_params"]
    gone = next(r for r in told if r["label"] == "removed")
    assert gone["model_params"] == 25 and gone["test_trained"] is not None
    none = compare(replace(task, without=lambda model, *weights: None), ["mpo"], [60], **STEPS)
    assert "removed, other layers fine-tuned" in none[0]["left_out"]


# -- what is kept -------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_records_hold_what_a_page_needs(tmp_path):
    records = compare(
        Task(lambda seed: MODELS["plain"](), CLASSES),
        ["circuit"],
        [100],
        [2],
        out=tmp_path,
        **{**STEPS, "tune_steps": 30},
    )
    first = records[0]
    assert (first["kind"], first["activation"], first["examples"], first["test_examples"]) == (
        "network",
        "sin",
        "examples",
        80,
    )
    assert first["description"] and first["machine"]["threads"] == 1 and first["title"].endswith(" on own")
    steps = [step for step, *_ in first["curves"]["frozen"]]
    assert steps == [0, 25, 30] and first["curves"]["trained"][1][1] > 0
    tensors, _ = read_tensors(tmp_path / "predictions.safetensors")
    for r in records:
        for reading in ("frozen", "trained"):
            if r[f"test_{reading}"] is not None:
                given = tensors[r["scores"][reading]]
                assert float((given == CLASSES.test[1]).float().mean()) == pytest.approx(r[f"test_{reading}"])


@pytest.mark.slow
def test_a_trained_module_is_the_dense_model_of_every_seed():
    model = made("branching", 7)
    before = copy.deepcopy(model.state_dict())
    records = compare(Task(model, CLASSES), ["mpo"], [60], **STEPS)
    assert all(r["dense_steps"] == 0 for r in records)
    (as_is, other) = [r for r in records if r["label"] == "dense"]
    assert as_is["test_frozen"] == other["test_frozen"] == pytest.approx(tknn.accuracy(model, CLASSES.test))
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


FILE = """
import torch
from torch import nn
import tnkit_nn as tknn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 1)
    def forward(self, x):
        return self.b(self.a(x).relu())

def loss(model, batch):
    return (model(batch[0])[:, 0] - batch[1]).square().mean()

def family(shape, budget):
    import tnkit as tk
    return tk.low_rank(shape, 2)

x = torch.linspace(-1, 1, 640).reshape(80, 8)
part = (x, x.sum(1))
task = tknn.Task(lambda seed: Net(), {"train": part, "val": part, "test": part}, loss)
mine = tknn.Family("mine", "mine", family)
"""


@pytest.mark.slow
def test_a_task_of_a_file_goes_to_workers_by_name(tmp_path):
    """Its classes, its lambdas and a family of the same file too."""
    (tmp_path / "mine.py").write_text(FILE)
    from tnkit_nn.imported import imported
    from tnkit_nn.task import task_named

    task, mine = task_named(f"{tmp_path}/mine.py:task"), imported(f"{tmp_path}/mine.py:mine", "test")
    here = compare(task, [mine, "cp"], [40], **STEPS)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        there = compare(task, [mine, "cp"], [40], executor=pool, **STEPS)
    strip = lambda records: [timeless(r) for r in records]  # noqa: E731
    assert strip(here) == strip(there)

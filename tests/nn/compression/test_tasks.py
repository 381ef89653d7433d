"""Compressing what is no classifier of ours: tasks, no task, weights of any name, orders of the forward pass, frozen buffers, zero weights."""

import copy
import json
import re
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.compression.selection import trained_groups
from tnkit_nn.weights import forward_order

X = torch.randn(360, 16, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(1)
PARTS = (slice(0, 240), slice(240, 300), slice(300, 360))
SPLIT = tknn.data.Split("own", *((X[p], Y[p]) for p in PARTS))
SHORT = tknn.Recipe(epochs=2, lr=1e-2, batch=40)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def squares(model, batch):
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def farthest(model, loader):
    return max((model(x) - y).abs().max().item() for x, y in loader)


def regression(**more):
    target = X[:, :2] * X[:, 2:4]
    data = {name: (X[p], target[p]) for name, p in zip(("train", "val", "test"), PARTS, strict=True)}
    return tknn.Task(data=data, loss=squares, **more)


def mlp(outputs=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, outputs))


def one(select="0", family="mpo", budget=80, **more):
    return tknn.Compression(
        tknn.Layers(select, family, budget), **{"stage1": tknn.Stage1(steps=5), "stage2": SHORT, **more}
    )


# -- figures of the task ------------------------------------------------------------------------------------------------
def test_figures_are_those_of_the_tasks_metric(tmp_path):
    model, task = mlp(2), regression(metric=tknn.Metric(farthest, "farthest", "mm", larger=False), examples="probes")
    x, y = task.data["test"]
    before = farthest(model, [(x, y)])
    done = tknn.compress_(model, one(), task, out=tmp_path)
    assert done.metric == {"name": "farthest", "unit": "mm", "larger": False} and done.part == "test"
    after = farthest(model, [(x, y)])
    assert (done.metric_before, done.metric_after) == (pytest.approx(before), pytest.approx(after))
    assert f"farthest on the test probes: dense {before:.4g} mm, after the approximation" in str(done)
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["metric_after"] == done.metric_after and kept["steps"][0]["metric_after"] == done.metric_after


@pytest.mark.slow
def test_a_loss_of_ones_own_is_the_metric_and_judges():
    model, task = mlp(2), regression()
    tknn.train(model, task, tknn.Recipe(epochs=20, lr=1e-2, batch=40))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        stage2 = tknn.Recipe(epochs=2, lr=30.0, batch=40, schedule="constant")
        done = tknn.compress_(model, one(budget=400), task, stage2=stage2)
    said = [str(w.message) for w in told]
    assert re.match(r"step 0 \(0\): loss \S+ on the validation part right before .* undone, and again at 0.5", said[0])
    assert done.metric_after <= done.metric_fit or said[-1].endswith("left as the approximation made it")


@pytest.mark.parametrize("parts, part", [(("train",), "train"), (("train", "val"), "val")])
def test_the_part_that_is_read_is_named(parts, part):
    task = regression()
    done = tknn.compress_(mlp(2), one(), tknn.Task(data={n: task.data[n] for n in parts}, loss=squares))
    assert done.part == part and f"loss on the {part} examples: dense" in str(done)


# -- without data -------------------------------------------------------------------------------------------------------
def test_without_a_task_there_is_the_approximation_alone(tmp_path):
    model = mlp()
    weight = model[0].weight.detach().clone()
    done = tknn.compress_(
        model, tknn.Compression(tknn.Layers("0", "mpo", 80), stage1=tknn.Stage1(steps=5)), out=tmp_path
    )
    off = float((model[0].weight.detach() - weight).norm() / weight.norm())
    assert done.error == pytest.approx(off, rel=1e-4) and done.metric is None and done.metric_after is None
    assert str(done).count("\n") == 3 and done.steps[0]["epochs"] == 0
    assert tknn.load_compressed_(mlp(seed=5), tmp_path / "model.safetensors")[0].weight.equal(model[0].weight)
    assert tknn.Compression.load(tmp_path / "recipe.toml").stage2 is None


def test_a_fine_tuning_that_was_asked_for_needs_a_task():
    with pytest.raises(
        ValueError,
        match="the recipe's stage2 is a fine-tuning on a task, but there is no task; give one, or stage2=None",
    ):
        tknn.compress_(mlp(), one())
    with pytest.raises(ValueError, match="stage2 is a fine-tuning"):
        tknn.compress_(
            mlp(), tknn.Compression.from_toml("[[layers]]\nselect='0'\nbudget=80\n[stage2]\nepochs=1\nlr=0.1")
        )
    with pytest.raises(ValueError, match="tune fine-tunes for the epochs of stage2, but the recipe's stage2 is None"):
        tknn.compress_(mlp(), one(stage2=None), tune=lambda *_: None)


@pytest.mark.parametrize("data", [DataLoader(TensorDataset(X, Y), 60), SPLIT, {"train": (X, Y)}])
def test_with_a_task_and_no_fine_tuning_the_metric_is_reported(data):
    model = mlp()
    expected = tknn.accuracy(model, (X[300:], Y[300:]) if data is SPLIT else (X, Y))
    done = tknn.compress_(model, one(stage2=None), data)
    assert done.metric_before == pytest.approx(expected) and done.metric_fit == done.metric_after


def entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def scores(model, batch):
    return nn.functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])


@pytest.mark.parametrize(
    "targets, loss, outputs",
    [
        (X[:, :1], squares, 1),
        ((X > 0).float(), scores, 16),
        (torch.where(Y == 0, -100, Y), entropy, 4),
    ],
    ids=["regression", "several labels", "labels that do not count"],
)
def test_targets_of_any_kind(targets, loss, outputs):
    model, task = mlp(outputs), tknn.Task(data={"train": (X, targets), "val": (X, targets)}, loss=loss)
    with torch.no_grad():
        expected = float(loss(model, (X, targets)))
    done = tknn.compress_(model, one(), task)
    assert done.metric_before == pytest.approx(expected, rel=0.1) and done.metric_after < done.metric_fit


def test_what_belongs_to_the_task_is_said():
    with pytest.raises(ValueError, match=r"a recipe has no 'loss'; it has layers, .*; tknn.Task\(loss=...\) takes it"):
        tknn.compress_(mlp(), one(), SPLIT, loss=entropy)
    with pytest.raises(
        ValueError, match=r"compress_: without a loss of its own a task is for classifiers, .*; tknn.Task\(loss="
    ):
        tknn.compress_(mlp(1), one(), {"train": (X, X[:, 0])})
    with pytest.raises(TypeError, match="compress_: data: train is a DataLoader, a Dataset, tensors"):
        tknn.compress_(mlp(), one(), 3)


def test_a_task_that_is_given_stands_for_that_of_the_recipe():
    done = tknn.compress_(mlp(), one(task="nowhere.py:task", stage2=None), SPLIT)
    assert done.metric_after is not None
    with pytest.raises(FileNotFoundError, match="recipe: task: no such file"):
        tknn.compress_(mlp(), one(task="nowhere.py:task", stage2=None))


# -- which weights ------------------------------------------------------------------------------------------------------
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True), 2)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(x[:, None])[:, 0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:the compressed model gives")
def test_weights_of_a_transformer_by_name_and_pattern(tmp_path):
    torch.manual_seed(0)
    model = Attention()
    patterns = ("encoder.layers.*.linear1.weight", "*.in_proj_weight", "encoder.layers.1.self_attn.out_proj")
    done = tknn.compress_(
        model, one(patterns, budget=150, stage2=replace_epochs(5), order="forward"), SPLIT, out=tmp_path
    )
    layer = "encoder.layers.{}.self_attn.in_proj_weight", "encoder.layers.{}.linear1"
    assert [r.layer for r in done.layers] == [
        layer[0].format(0), layer[1].format(0), layer[0].format(1), "encoder.layers.1.self_attn.out_proj", layer[1].format(1),
    ]  # fmt: skip
    assert (tmp_path / "stage1-encoder.layers.0.self_attn.in_proj_weight.tn").exists()
    again = tknn.load_compressed_(Attention(), tmp_path / "model.safetensors").eval()
    plain = tknn.dense(model).eval()
    assert torch.allclose(again(X), model.eval()(X)) and torch.allclose(plain(X), model(X), atol=1e-5)


def replace_epochs(epochs):
    return tknn.Recipe(epochs=epochs, lr=1e-2, batch=40)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x.unflatten(1, (4, 4)))[0][:, -1])


def test_the_weights_of_a_recurrent_module_are_trained(tmp_path):
    torch.manual_seed(0)
    model, task = Recurrent(), regression()
    done = tknn.compress_(
        model, one("rnn", "low_rank", 100, order="together", stage2=replace_epochs(4)), task, out=tmp_path
    )
    assert [r.layer for r in done.layers] == ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]
    assert done.steps[0]["history"][-1]["val_loss"] < done.steps[0]["history"][0]["val_loss"]
    model(X)  # with gradients: what torch keeps of it must not be in the way of copies
    made, again = tknn.dense(model), tknn.load_compressed_(Recurrent(), tmp_path / "model.safetensors")
    assert (
        type(made.rnn) is nn.LSTM and torch.allclose(made(X), model(X), atol=1e-6) and torch.equal(again(X), model(X))
    )


# -- the order of the forward pass --------------------------------------------------------------------------------------
class Reversed(nn.Module):
    """The head is made first, and called last."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 4)
        self.body = nn.Linear(16, 32)

    def forward(self, x):
        return self.head(self.body(x).relu())


@pytest.mark.slow
def test_orders_and_heads_follow_the_forward_pass():
    recipe = one(("head", "body"), budget=100, stage2=None)
    layers = {
        order: [r.layer for r in tknn.compress_(Reversed(), recipe, SPLIT, order=order).layers]
        for order in ("backward", "forward")
    }
    assert layers == {"backward": ["head", "body"], "forward": ["body", "head"]}
    assert [r.layer for r in tknn.compress_(Reversed(), recipe, order="forward").layers] == [
        "head",
        "body",
    ]  # nothing is called
    model = Reversed()
    weight = model.head.weight.clone()
    tknn.compress_(model, one("body", rest="head"), SPLIT)
    assert not torch.equal(weight, model.head.weight)
    model = Reversed()
    weight = model.body.weight.clone()
    tknn.compress_(model, one("head", rest="head"), SPLIT)
    assert torch.equal(weight, model.body.weight)


def test_what_a_head_is():
    model = Reversed()
    tknn.parametrize_(model.body, "weight", tk.low_rank((32, 16), 2))
    order = forward_order(model, lambda: model(X))
    groups = trained_groups(model, ["body.weight"], "head", 1e-3, order)
    assert [{n for n, _ in g.params} for g in groups][1] == {"body.bias", "head.weight", "head.bias"}


# -- frozen means frozen ------------------------------------------------------------------------------------------------
def test_other_peoples_parametrizations_elsewhere_are_kept(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(32, 4)))
    tknn.train(model, SPLIT, SHORT)
    fresh, before = copy.deepcopy(model), {n: v.clone() for n, v in model.state_dict().items()}
    tknn.compress_(model, one(), SPLIT, out=tmp_path)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items() if n.startswith("2."))
    again = tknn.load_compressed_(fresh, tmp_path / "model.safetensors")
    assert torch.equal(again.eval()(X), model.eval()(X))
    assert nn.utils.parametrize.is_parametrized(tknn.dense(model)[2])


@pytest.mark.slow
@pytest.mark.parametrize("norm", [nn.BatchNorm1d(16), nn.BatchNorm1d(16, affine=False)])
def test_statistics_of_frozen_layers_stand_still(norm):
    model = nn.Sequential(copy.deepcopy(norm), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    tknn.train(model, SPLIT, SHORT)
    mean = model[0].running_mean.clone()
    assert mean.any()
    tknn.compress_(model, one("1"), SPLIT)
    assert torch.equal(model[0].running_mean, mean)
    tknn.compress_(model, one("3", rest="all"), SPLIT)
    assert not torch.equal(model[0].running_mean, mean)


# -- weights of zeros ---------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("family", ["cp", "ring", "mpo", "adtn"])
def test_a_layer_that_begins_at_zero_is_trained(family):
    model = mlp()
    nn.init.zeros_(model[2].weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "layer .*: the approximation: the weight is zero, where no array")
        done = tknn.compress_(model, one("2", family, stage2=tknn.Recipe(epochs=10, lr=3e-2, batch=40)), SPLIT)
    assert done.layers[0].error < 1.1e-3 and float(model[2].weight.detach().norm()) > 1
    assert done.metric_after > done.metric_fit + 0.1


def test_a_network_that_cannot_be_zero_and_alive_says_so():
    model = mlp()
    nn.init.zeros_(model[2].weight)
    with pytest.warns(
        UserWarning, match="the weight is zero, where no array of this network has a gradient; it starts at"
    ):
        done = tknn.compress_(model, one("2", "adtn", stage2=None))
    assert done.layers[0].error == pytest.approx(1e-3)
    assert float(model[2].weight.detach().square().mean()) ** 0.5 == pytest.approx(1e-3, rel=0.5)

"""Compressions: what becomes what, in which order, what is trained; killed and restarted; there and back."""

import copy
import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.approximation.approximate import approximate
from tnkit_nn.approximation.methods import suited_method
from tnkit_nn.compression import tuning as module
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.compression.result import dense, load_compressed_
from tnkit_nn.data.splits import Split
from tnkit_nn.families import families
from tnkit_nn.training.evaluation import accuracy, answers
from tnkit_nn.training.goal import cross_entropy, goal_of
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe


def blank(seed=0):
    """A model, and data of three classes that a line through the origin does not tell apart."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(360, 12, generator=draw)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    torch.manual_seed(seed)
    layers = {
        "fc1": nn.Linear(12, 16),
        "act1": nn.ReLU(),
        "fc2": nn.Linear(16, 8),
        "act2": nn.ReLU(),
        "fc3": nn.Linear(8, 3),
    }
    split = Split("small", (x[:240], y[:240]), (x[240:300], y[240:300]), (x[300:], y[300:]))
    return nn.Sequential(OrderedDict(layers)), split


def small(seed=0):
    """The model, trained."""
    model, split = blank(seed)
    train(model, split, Recipe(epochs=5, lr=1e-2, batch=40))
    return model, split


RECIPE = Compression(
    (Layers(("fc1", "fc2"), "tt", 60),), stage1=Stage1(steps=20), stage2=Recipe(epochs=4, lr=2e-2, batch=40)
)


def values(model):
    return {n: p.detach().clone() for n, p in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def plain(result):
    """A report without times."""
    report = json.loads(json.dumps(result.report()))
    report.pop("seconds")
    for layer in report["layers"]:
        layer.pop("seconds")
    for step in report["steps"]:
        step.pop("seconds")
        for epoch in step["history"]:
            epoch.pop("seconds")
    return report


# -- what is done ---------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("order", ["backward", "forward", "together", ("fc2", "fc1")])
def test_order_and_equal_training(order):
    model, split = small()
    result = compress_(model, RECIPE, split, order=order)
    layers = [step["layers"] for step in result.steps]
    assert layers == {"backward": [["fc2"], ["fc1"]], "forward": [["fc1"], ["fc2"]], "together": [["fc1", "fc2"]]}.get(
        order, [["fc2"], ["fc1"]]
    )
    assert sum(step["epochs"] for step in result.steps) == 4 == sum(len(step["history"]) for step in result.steps)


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["none", "head", "all"])
def test_what_is_trained(rest):
    model, split = small()
    before = values(model)
    compress_(model, RECIPE, split, select="fc2", rest=rest)
    changed = {n for n, p in before.items() if n in values(model) and not torch.equal(p, values(model)[n])}
    assert (
        changed
        == {
            "none": set(),
            "head": {"fc2.bias", "fc3.weight", "fc3.bias"},
            "all": {"fc1.weight", "fc1.bias", "fc2.bias", "fc3.weight", "fc3.bias"},
        }[rest]
    )


@pytest.mark.slow
def test_networks_of_earlier_steps_are_tuned_on():
    model, split = small()
    seen = []
    original = module.train

    def spy(model, *args, groups, **options):
        seen.append(sorted({n.split(".")[0] for g in groups for n, _ in g.params}))
        return original(model, *args, groups=groups, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", spy)
        compress_(model, RECIPE, split)
    assert seen == [["fc2"], ["fc1", "fc2"]]


@pytest.mark.slow
def test_report_and_the_way_back(tmp_path):
    model, split = small()
    original, right = copy.deepcopy(model), accuracy(model, split.test)
    result = compress_(model, RECIPE, split, out=tmp_path)
    assert [r.layer for r in result.layers] == ["fc2", "fc1"]
    for r in result.layers:
        assert r.num_params == sum(p.numel() for p in model.get_submodule(r.layer).parametrizations.weight.parameters())
        assert (
            r.dense_params == original.get_submodule(r.layer).weight.numel()
            and r.ratio == r.dense_params / r.num_params
        )
        assert 0 < r.error < 1 and 0 < r.chance < 1 and r.seconds > 0
        assert r.bytes_before == 4 * r.dense_params and 4 * r.num_params < r.bytes_after < result.bytes_after
    weights = {r.layer: original.get_submodule(r.layer).weight.detach() for r in result.layers}
    off = sum((r.error * float(weights[r.layer].norm())) ** 2 for r in result.layers)
    assert result.error == pytest.approx((off / sum(float(w.norm()) ** 2 for w in weights.values())) ** 0.5, rel=1e-5)
    assert result.chance == pytest.approx((1 - sum(r.num_params for r in result.layers) / (192 + 128)) ** 0.5)
    assert result.report()["ratio"] == result.params_before / result.params_after
    assert all(step["seconds"] == sum(e["seconds"] for e in step["history"]) > 0 for step in result.steps)
    assert result.metric_before == right and result.metric_after == accuracy(model, split.test)
    assert result.params_before - result.params_after == sum(r.dense_params - r.num_params for r in result.layers)
    assert result.bytes_after == (tmp_path / "model.safetensors").stat().st_size
    assert json.loads((tmp_path / "report.json").read_text())["metric_after"] == result.metric_after
    assert "fc2" in str(result) and "after the fine-tuning" in str(result)
    assert Compression.load(tmp_path / "recipe.toml") == RECIPE

    made = dense(model)
    assert [type(m) for m in made.modules()] == [type(m) for m in original.modules()]
    assert values(made).keys() == values(original).keys()
    assert torch.equal(made(split.test[0]), model(split.test[0]))

    again = load_compressed_(copy.deepcopy(original), tmp_path / "model.safetensors")
    assert torch.equal(again(split.test[0]), model(split.test[0])) and same(values(again), values(model))
    with pytest.raises(ValueError, match="it has no networks"):
        tknn.zoo.save(original, tmp_path / "plain.safetensors")
        load_compressed_(copy.deepcopy(original), tmp_path / "plain.safetensors")


@pytest.mark.slow
def test_bars_and_logs_of_both_stages(tmp_path, capsys):
    model, split = small()
    recipe = replace(RECIPE, layers=(Layers("fc1", "tt", 60),), stage1=Stage1("gradient", steps=30))
    compress_(model, recipe, split, out=tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "approximate: 100%" in shown and "30/30" in shown and "training: 100%" in shown and "24/24" in shown
    first, second = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("stage1-fc1.jsonl", "step-0.jsonl")
    )
    assert [line["step"] for line in first] == list(range(1, 31)) and all(0 < line["error"] <= 1 for line in first)
    assert [line["step"] for line in second if "step" in line] == list(range(1, 25))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the compressed model gives")  # hardly trained
def test_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 2))
    x = torch.randn(60, 1, 8, 8)
    part = (x, (x.mean((1, 2, 3)) > 0).long())
    recipe = replace(RECIPE, layers=(Layers("2", "mpo", 200), Layers("*", "adtn", 60, depth=1)), order="together")
    result = compress_(model, recipe, Split("noise", part, part, part))
    assert [r.family for r in result.layers] == ["adtn depth 1", "mpo", "adtn depth 1"]
    assert dense(model)[2].weight.shape == (8, 8, 3, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the compressed model gives")  # hardly trained
def test_stage_two_left_out():
    model, split = small()
    result = compress_(model, RECIPE, split, stage2=None)
    assert result.metric_after == result.metric_fit and all(step["history"] == [] for step in result.steps)


@pytest.mark.slow
@pytest.mark.parametrize("harmed", [1, 9])
def test_fine_tuning_that_does_harm_is_undone(harmed, tmp_path, monkeypatch):
    model, split = small()
    rates = []

    def harmful(model, data, recipe, **options):
        rates.append(recipe.lr)
        history = train(model, data, recipe, **options)
        if len(rates) <= harmed:  # as a dead network does it: finite, and no better than guessing
            for p in model.fc2.parameters():
                p.data.zero_()
            return (*history[:-1], replace(history[-1], val_metric=0.0))
        return history

    monkeypatch.setattr(module, "train", harmful)
    with pytest.warns(
        UserWarning,
        match=r"step 0 \(fc2\): accuracy \d+.\d\d % on the validation part right before the fine-tuning, accuracy 0.00 % after it",
    ):
        result = compress_(model, RECIPE, split, select="fc2", out=tmp_path)
    (step,) = result.steps
    if harmed == 1:
        assert rates == [2e-2, 1e-2] and step["rate_factor"] == 0.5 and step["history"][-1]["val_metric"] > 0
    else:
        assert rates == [2e-2, 1e-2, 5e-3, 2.5e-3] and step["rate_factor"] == 0
        assert step["metric_after"] == step["metric_fit"] == result.metric_after


@pytest.mark.slow
def test_a_dead_network_is_told(monkeypatch):
    model, split = small()

    def deadly(model, data, recipe, **options):
        history = train(model, data, recipe, **options)
        for p in model.fc1.parameters():
            p.data.zero_()
        return history

    given = answers(model, goal_of(split, "test"))
    assert given.sum() == 60 and given.count_nonzero() > 1
    right = sum(int((model(x[None]).argmax(1) == y).sum()) for x, y in zip(*split.val, strict=True))
    assert right == round(60 * accuracy(model, split.val))
    monkeypatch.setattr(module, "train", deadly)
    with pytest.warns(UserWarning, match="gives every input one class: a network in it may be dead"):
        compress_(model, replace(RECIPE, order="together"), split)


@pytest.mark.slow
def test_a_stage_2_that_goes_wrong_is_tried_again_from_its_start(monkeypatch):
    """Even where train has put the model back to an epoch before that: it has hardly been trained by then."""
    model, split = blank()
    easy = [(x, (x[:, 0] > 0).long()) for x, _ in (split.train, split.val, split.test)]
    split = Split("easy", *easy, ("0", "1", "2"))
    train(model, split, Recipe(epochs=8, lr=1e-2, batch=40))
    rates = []

    def climbing(model, data, recipe, **options):
        rates.append(recipe.lr)
        calls = []

        def loss(model, batch):
            calls.extend([1] * torch.is_grad_enabled())
            wrong = torch.is_grad_enabled() and len(rates) == 1 and len(calls) > 7
            return cross_entropy(model, batch) * (-1000.0 if wrong else 1.0)

        return train(model, replace(data, loss=loss), recipe, **options)

    monkeypatch.setattr(module, "train", climbing)
    with pytest.warns(UserWarning) as told:
        recipe = replace(RECIPE, order="together", rest="all", rest_lr=5e-2, stage1=Stage1("svd"))
        compress_(model, recipe, split, stage2=Recipe(epochs=6, lr=5e-2, batch=40))
    said = [str(w.message) for w in told]
    assert any("training diverged" in text for text in said) and any(
        "again at 0.5 of the rates" in text for text in said
    )
    assert rates == [5e-2, 2.5e-2]


# -- the approximation ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    "family", families(["adtn", "mpo", "tt", "tucker", "cp", "ring", "tree", "low_rank"]), ids=lambda f: f.label
)
def test_stage_1_finds_a_weight_that_is_in_the_family(family):
    net = family.build((16, 12), 120)
    made = tk.contract(net, tk.init.normal(net, seed=3))
    weight = torch.as_tensor(
        tk.detensorize(made, (16, 12)) if made.size == 192 else made.reshape(-1)[:192].reshape(16, 12)
    )
    found = approximate(net, weight)
    expected = {"adtn": "gradient", "cp": "als", "ring": "als"}.get(family.name, "svd")
    assert suited_method(net) == expected or family.depth == 1
    if made.size == 192:
        assert found.error < (1e-4 if suited_method(net) == "svd" else 1e-2 if suited_method(net) == "als" else 0.9)
    out = tk.detensorize(tk.contract(net, found.arrays), (16, 12))
    assert float((torch.as_tensor(out) - weight).norm() / weight.norm()) == pytest.approx(found.error, abs=2e-5)
    sizes = [float((torch.as_tensor(found.arrays[n]) ** 2).mean()) ** 0.5 for n in net.parameters]
    assert max(sizes) < 20 * min(sizes)  # one learning rate suits them all


@pytest.mark.slow
def test_stage_1_starts_at_random_where_it_finds_nothing():
    weight = torch.as_tensor(hadamard(1024), dtype=torch.float32)  # orthogonal: rank 1 holds 1/1024 of its square
    net = tk.low_rank((1024, 1024), 1)
    assert approximate(net, weight, method="svd").error == pytest.approx((1 - 1 / 1024) ** 0.5, abs=1e-5)
    with pytest.warns(
        UserWarning, match="0.9995, nothing of the weight is found; the network starts at random instead"
    ):
        found = approximate(net, weight, seed=3)
    drawn = approximate(net, weight, method="skip", seed=3)
    assert all(np.array_equal(found.arrays[n], drawn.arrays[n]) for n in net.parameters)


@pytest.mark.slow
def test_stage_1_methods():
    weight = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
    net = tk.mpo((4, 4), (4, 3), 3)
    best = approximate(net, weight, method="svd").error
    assert approximate(net, weight, method="als").error <= best * 1.01
    assert approximate(net, weight, method="gradient", steps=500).error <= best * 1.05
    assert approximate(net, weight, method="skip").error > 0.99
    nearest = torch.as_tensor(tk.contract(net, approximate(net, weight).arrays)).flatten()
    assert float(nearest @ (weight.flatten() - nearest)) == pytest.approx(
        0, abs=1e-3
    )  # no factor would bring it nearer
    assert approximate(net, weight).error <= best
    with pytest.raises(
        ValueError,
        match="the approximation: method is one of auto, svd, als, gradient, lifted, skip, not 'guess'",
    ):
        approximate(net, weight, method="guess")
    with pytest.raises(ValueError, match="form a loop"):
        approximate(tk.ring((4, 4, 4, 3), 2), weight, method="svd")

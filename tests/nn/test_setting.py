"""Settings: features computed once are the slow way, models side by side are models one by one."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from tnkit_nn import setting as settings
from tnkit_nn import zoo
from tnkit_nn.setting import Task, cut, opened, prepare, tune
from tnkit_nn.stages import Job, row

from .test_data import write_mnist


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("mnist")
    write_mnist(folder, train=400, test=60)
    task = Task("lenet5", "mnist", "fc1", 2, 2, 2, 3, data_dir=str(folder))
    yield task, prepare(task)
    torch.set_num_threads(threads)


def slow(monkeypatch, setting):
    """The same setting, with nothing computed beforehand."""
    assert setting.features is not setting.images  # computed now, and kept
    monkeypatch.setattr(settings, "FEATURES", 0)
    other = replace(setting)
    assert other.features is other.images
    return other


@pytest.mark.parametrize(
    "model, layer", [("lenet5", "fc1"), ("lenet5", "conv2"), ("alexnet", "fc2"), ("vgg16", "classifier.2")]
)
def test_cut_is_the_model_in_two(model, layer):
    torch.manual_seed(0)
    net = zoo.build(model).eval()
    before, after = cut(net, layer)
    x = torch.randn(2, *((1, 28, 28) if model == "lenet5" else (3, 32, 32)))
    with torch.no_grad():
        assert torch.equal(after(before(x)), net(x))
    assert [n for m in (before, after) for n, _ in m.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert next(n for n, _ in after.named_parameters()) == f"{layer}.weight"


def test_features_give_what_images_give(lenet, monkeypatch):
    task, dense = lenet
    fast = opened(task, dense)
    full = slow(monkeypatch, fast)
    assert fast.features.own and fast.features.inputs["test"].shape == (2, 60, 400)
    for part in ("val", "test"):
        for_all = full.images.logits(full.dense, part)
        torch.testing.assert_close(fast.features.logits({**fast.rest(False), fast.key: fast.target}, part), for_all)
        for s in range(2):
            values = {n: p[s] for n, p in full.dense.items()}
            with torch.no_grad():
                alone = functional_call(full.model, values, (full.images.inputs[part],))
            torch.testing.assert_close(for_all[s], alone, rtol=1e-4, atol=1e-5)
    trained = []
    for setting in (fast, full):
        rest = {n: p.repeat(2, *[1] * (p.dim() - 1)) for n, p in setting.rest(False).items()}
        weight = {setting.key: setting.target}
        trained.append(tune(setting.view(False), 2, weight, {}, lambda p, rest=rest: {**rest, **p}, (1e-3, 1e-2), 3))
    torch.testing.assert_close(trained[0].params, trained[1].params, rtol=1e-3, atol=1e-5)


def test_what_is_trained(lenet, monkeypatch):
    task, dense = lenet
    whole, head = opened(task, dense), opened(replace(task, rest="head"), dense)
    assert whole.movable(False) == [] and len(whole.movable(True)) == 9
    assert head.movable(True) == ["fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"]
    assert whole.view(True) is whole.images and head.view(True) is head.features
    assert slow(monkeypatch, head).movable(True) == head.movable(True)


def test_a_model_without_values_before_the_layer_shares_its_features():
    setting = opened(Task(seeds=2), prepare(Task(seeds=2, dense_steps=1)))
    assert not setting.features.own and setting.view(True) is setting.features


@pytest.mark.parametrize("rest", ["all", "head"])
def test_the_layer_left_out_of_a_convolutional_model(lenet, rest):
    task, dense = lenet
    (first, _) = row(replace(task, rest=rest), dense, Job("removed", None))
    whole = sum(p.numel() for p in zoo.without(zoo.build("lenet5"), "fc1").parameters())
    assert first["model_params"] == whole and 0 <= first["accuracy_trained"] <= 1
    convolutions = 6 * 25 + 6 + 16 * 150 + 16
    assert first["trained_elsewhere"] == whole - (convolutions if rest == "head" else 0)


def test_a_layer_that_cannot_be_left_out(lenet):
    task, dense = lenet
    (first, _) = row(replace(task, layer="conv2"), dense, Job("removed", None))
    assert first["accuracy_trained"] is None and first["val_trained"] is None


def test_batches_are_the_same_for_every_copy_and_every_image_comes_once_an_epoch(lenet):
    task, dense = lenet
    view = opened(task, dense).features
    batch = view.batches(2, 3, 2)
    x, y = batch(0)
    assert x.shape == (6, 128, 400) and torch.equal(x[:2], x[4:]) and torch.equal(y[:2], y[2:4])
    assert not torch.equal(y[0], y[1])
    rows = torch.cat([batch(k)[0][0] for k in (0, 1)]).flatten(1)
    assert len(rows.unique(dim=0)) == 256

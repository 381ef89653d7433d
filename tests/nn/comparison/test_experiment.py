"""Experiments: features computed once are the slow way, models side by side are models one by one."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from tnkit_nn import data, zoo
from tnkit_nn.axes import Axes
from tnkit_nn.budgets import shares
from tnkit_nn.comparison import experiment as experiments
from tnkit_nn.comparison import tuning
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.fixture import Fixture
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import train_replicas
from tnkit_nn.comparison.row import row
from tnkit_nn.comparison.split import split_at
from tnkit_nn.families import CONTROLS, SHARED, families
from tnkit_nn.task import Task
from tnkit_nn.training.goal import goal_of

from ..test_data import write_cifar10, write_mnist

pytestmark = pytest.mark.filterwarnings("ignore:.*records, .* in the whole set")  # the files written here are small


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("mnist")
    write_mnist(folder, train=400, test=60)
    task = Task("lenet5", "mnist", data_dir=str(folder))
    yield with_dense_models(opened(task, Protocol("fc1", 2, 0, 2, 2, 3)))
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_replicas_of_convolutions_one_after_another_are_those_side_by_side():
    """In float64, losses and gradients: a CPU is spared the groups that ``vmap`` makes of a convolution."""
    model = zoo.build("lenet5", 10).double()
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(150, 1, 28, 28, generator=draw, dtype=torch.float64)
    y = torch.randint(10, (150,), generator=draw)
    goal = goal_of(data.Split("random", (x, y), (x, y), (x, y)), "test")
    fixture = Fixture(model, goal)
    assert fixture.convolves and fixture.apart.startswith("convolutions")
    assert not Fixture(split_at(model, "fc1")[1], goal).convolves
    params = {
        n: 0.1 * torch.randn(3, *p.shape, generator=draw, dtype=p.dtype).requires_grad_()
        for n, p in model.named_parameters()
    }
    axes, batches = Axes(seed=3), batches_of(goal.parts["train"], None, range(3), 1)
    found = [fixture.losses(params, {}, batches, axes, 0, alone=alone, state={}) for alone in (True, False)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    slopes = [torch.autograd.grad(y.sin().sum(), list(params.values())) for y in found]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)
    read = [fixture.read(params, {}, "test", axes, alone=alone) for alone in (True, False)]
    assert torch.equal(read[0].classes, read[1].classes)
    torch.testing.assert_close(read[0].loss, read[1].loss, rtol=1e-10, atol=1e-12)


def slow(monkeypatch, experiment):
    """The same experiment, with nothing computed beforehand."""
    assert experiment.tail is not experiment.full  # computed now, and kept
    monkeypatch.setattr(experiments, "FEATURES", 0)
    other = replace(experiment)
    assert other.tail is other.full
    return other


def other_task(experiment, **changes):
    """The same dense models and data for a task that differs in what has no say in them."""
    return replace(opened(experiment.task, replace(experiment.protocol, **changes)), dense=experiment.dense)


@pytest.mark.parametrize(
    "model, layer", [("lenet5", "fc1"), ("lenet5", "conv2"), ("alexnet", "fc2"), ("vgg16", "classifier.2")]
)
def test_cut_is_the_model_in_two(model, layer):
    torch.manual_seed(0)
    net = zoo.build(model).eval()
    before, after = split_at(net, layer)
    x = torch.randn(2, *((1, 28, 28) if model == "lenet5" else (3, 32, 32)))
    with torch.no_grad():
        assert torch.equal(after(before(x)), net(x))
    assert [n for m in (before, after) for n, _ in m.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert next(n for n, _ in after.named_parameters()) == f"{layer}.weight"


@pytest.mark.slow
def test_features_give_what_images_give(lenet, monkeypatch):
    fast, seeds = replace(lenet), Axes(seed=2)
    full = slow(monkeypatch, fast)
    assert fast.tail.own["test"].shape == (2, 60, 400)
    for part in ("val", "test"):
        for_all = full.full.outputs(full.dense, part, seeds)
        torch.testing.assert_close(fast.tail.outputs({**fast.others(False), **fast.targets}, part, seeds), for_all)
        for s in range(2):
            values = {n: p[s] for n, p in full.dense.items()}
            with torch.no_grad():
                alone = functional_call(full.model, values, (full.goal.parts[part].tree[0],))
            torch.testing.assert_close(for_all[s], alone, rtol=1e-4, atol=1e-5)
    found = []
    for experiment in (fast, full):
        start = {n: target[None] for n, target in experiment.targets.items()}
        found.append(
            train_replicas(
                experiment.fixture(False),
                range(2),
                start,
                lambda p, _: p,
                (1e-3, 1e-2),
                3,
                fixed=experiment.others(False),
            )
        )
    assert not found[0].alone and found[1].alone
    torch.testing.assert_close(found[0].params, found[1].params, rtol=1e-3, atol=1e-5)


def test_what_is_trained(lenet, monkeypatch):
    every, head = lenet, other_task(lenet, rest="head")
    assert every.trainable(False) == [] and len(every.trainable(True)) == 9
    assert head.trainable(True) == ["fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"]
    assert every.fixture(True) is every.full and head.fixture(True) is head.tail
    assert slow(monkeypatch, head).trainable(True) == head.trainable(True)


def test_a_model_without_values_before_the_layer_shares_its_features():
    experiment = with_dense_models(opened(Task("mlp", "digits"), Protocol(seeds=2, dense_steps=1)))
    assert not experiment.tail.own and experiment.fixture(True) is experiment.tail


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["all", "head"])
def test_the_layer_left_out_of_a_convolutional_model(lenet, rest):
    (first, _) = row(other_task(lenet, rest=rest), Job("removed", None))
    whole = sum(p.numel() for p in zoo.without(zoo.build("lenet5"), "fc1").parameters())
    assert first["model_params"] == whole and 0 <= first["test_trained"] <= 1
    convolutions = 6 * 25 + 6 + 16 * 150 + 16
    assert first["trained_elsewhere"] == whole - (convolutions if rest == "head" else 0)


def test_a_layer_that_cannot_be_left_out(lenet):
    (first, _) = row(other_task(lenet, layer="conv2"), Job("removed", None))
    assert first["test_trained"] is None and first["val_trained"] is None


def test_batches_are_the_same_for_every_row_and_every_image_comes_once_a_pass(lenet):
    fixture = lenet.tail
    batches = batches_of(fixture.goal.parts["train"], fixture.own["train"], range(2), 2)
    x, y = batches.stacked(0)
    assert x.shape == (2, 128, 400) and not torch.equal(y[0], y[1])
    assert torch.equal(batches.each(0)[1][0], x[1]) and torch.equal(batches.each(0)[1][1], y[1])
    rows = torch.cat([batches.stacked(k)[0][0] for k in (0, 1)]).flatten(1)
    assert len(rows.unique(dim=0)) == 256


@pytest.mark.slow
def test_later_seeds_are_the_same_seeds(lenet, monkeypatch):
    """A comparison from the seed 1 on has the rows that seed 1 has in one from 0 on, where there is one rate to choose from."""
    monkeypatch.setattr(tuning, "RATES", (0.02,))
    monkeypatch.setattr(tuning, "REST_RATES", (0.01,))
    later, found = with_dense_models(opened(lenet.task, replace(lenet.protocol, seeds=1, first_seed=1))), []
    torch.testing.assert_close(later.dense, {n: p[1:] for n, p in lenet.dense.items()})
    jobs = [
        Job(families(["mpo"])[0], 300),
        *(Job(c, 300 if c in SHARED else None) for c in CONTROLS if c != "small_dense"),
    ]
    for job in jobs:
        (one,), (*_, other) = row(later, job), row(lenet, job)
        assert one["seed"] == other["seed"] == 1 and one["error"] == pytest.approx(other["error"], abs=1e-5)
        several = ("frozen_from", "trained_from") if one["frozen_from"] else ("test_frozen", "test_trained")
        for reading in ("test_fit", *several):
            assert one[reading] == pytest.approx(other[reading], abs=0.02), (
                job,
                reading,
            )  # an image of 60, for rounding
        found.append(other)
    assert len({round(r["error"], 4) for r in found}) > 5


# -- several layers at once ---------------------------------------------------------------------------------------------
BOTH = ("fc2", "conv2", "fc1")  # in any order: the forward pass's counts
BOTH_IN_ORDER = ("conv2", "fc1", "fc2")


@pytest.mark.slow
def test_several_layers_are_replaced_together(lenet):
    several = other_task(lenet, layer=BOTH)
    assert several.weights == ("conv2.weight", "fc1.weight", "fc2.weight")
    assert list(several.targets) == list(several.shapes) == list(several.weights)
    assert several.tail.own["test"].shape == (2, 60, 6, 14, 14)  # cut before the first of them
    assert set(several.trainable(True)) == set(several.dense) - set(several.targets)
    (as_is, _) = row(several, Job("dense", None))
    whole = several.full.read(several.dense, {}, "test", Axes(seed=2), alone=True)
    assert as_is["test_frozen"] == pytest.approx(float(whole.metric[0])) and as_is["error"] == 0
    assert (as_is["layer"], as_is["layer_params"]) == ("conv2, fc1, fc2", 2400 + 48000 + 10080)


@pytest.mark.slow
def test_a_row_of_several_layers_is_what_its_layers_are(lenet):
    """Counts and errors from the row's parts, made again one by one.  A family that an SVD fits: it is the sums that are asked."""
    several = other_task(lenet, layer=BOTH)
    (family,) = families(["low_rank"])
    first, second = row(several, Job(family, 900))
    parts = shares(900, [2400, 48000, 10080])
    single = [row(other_task(lenet, layer=n), Job(family, b)) for n, b in zip(BOTH_IN_ORDER, parts, strict=True)]
    assert first["num_params"] == sum(r[0]["num_params"] for r in single)
    assert list(first["networks"]) == list(BOTH_IN_ORDER)
    assert first["model_params"] == 61706 - 60480 + first["num_params"]
    for s, mine in enumerate((first, second)):
        norms = [float(t[s].norm()) for t in several.targets.values()]
        off = sum((r[s]["error"] * n) ** 2 for r, n in zip(single, norms, strict=True))
        assert mine["error"] == pytest.approx((off / sum(n**2 for n in norms)) ** 0.5, rel=1e-5)
    (hashed, _) = row(several, Job("hashed", 900))
    assert hashed["num_params"] == 900 and not hashed["networks"]


@pytest.mark.slow
def test_all_that_several_layers_train_beside_them(lenet):
    """Trained rest, zero numbers: every replica has its own rest, though the weights are the seeds' alone."""
    for rest, count in (("all", 61706 - 58080), ("head", 120 + 84 + 850)):
        (picked, _) = row(other_task(lenet, layer=("fc1", "fc2"), rest=rest), Job("picked", None))
        assert picked["trained_elsewhere"] == count and picked["num_params"] == 0
        (gone, _) = row(other_task(lenet, layer=("fc1", "fc2"), rest=rest), Job("removed", None))
        whole = sum(p.numel() for p in zoo.without(zoo.build("lenet5"), "fc1", "fc2").parameters())
        assert gone["model_params"] == whole


def test_a_budget_is_shared_out_whole():
    assert shares(400, [48000]) == [400] and shares(2, [9, 9, 9]) == [1, 1, 1]
    assert shares(3000, [4096, 640]) == [2360, 640] and shares(9999, [30, 40]) == [
        30,
        40,
    ]  # no weight gets more than it has
    assert shares(3000, [4096, 640, 5]) == [2355, 640, 5]
    parts = shares(1000, [2400, 48000, 10080])
    assert sum(parts) == 1000
    assert parts == pytest.approx(
        [1000 * n**0.5 / (2400**0.5 + 48000**0.5 + 10080**0.5) for n in (2400, 48000, 10080)], abs=2
    )


@pytest.mark.parametrize(
    "layer, said",
    [
        (("fc1", "fc9"), "no layer 'fc9'"),
        (("fc1", "fc1"), "each named once"),
        ("relu1", "no layer 'relu1'"),
        ((3,), "each name is"),
    ],
)
def test_layers_that_cannot_be(lenet, layer, said):
    with pytest.raises((TypeError, ValueError), match=said):
        opened(lenet.task, replace(lenet.protocol, layer=layer))


@pytest.mark.slow
@pytest.mark.parametrize("job", [Job(families(["mpo"])[0], 200), Job("hashed", 200), Job("dense_trained_on", None)])
def test_no_choice_is_made_on_the_test_part(monkeypatch, job):
    """Rates, starts and the step that is kept are the same whatever the test part says; its accuracies are not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    protocol = Protocol(seeds=2, dense_steps=60, fit_steps=20, tune_steps=30, rest="all")
    found = []
    for shift in (0, 1, 2):
        plain = data.digits()

        def digits(root=None, plain=plain, shift=shift):
            return replace(plain, test=(plain.test[0], (plain.test[1] + shift) % 10))

        monkeypatch.setitem(data.DATA, "digits", digits)
        found.append(row(with_dense_models(opened(Task("mlp", "digits"), protocol)), job))
    torch.set_num_threads(threads)
    for key in ("chosen_frozen", "chosen_trained", "val_frozen", "val_trained", "error"):
        assert [r[key] for r in found[0]] == [r[key] for r in found[1]] == [r[key] for r in found[2]]
    assert all(r["test_trained"] > 0.5 for r in found[0]) and all(r["test_trained"] < 0.3 for r in found[1])


@pytest.mark.slow
def test_a_trained_model_with_running_statistics(tmp_path):
    """Its values are the file's in every seed, its features those of evaluation; only what comes after has to be plain."""
    write_cifar10(tmp_path)
    torch.manual_seed(3)
    model = zoo.build("vgg16")
    for module in model.modules():  # statistics that matter
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    zoo.save(model, tmp_path / "vgg16.safetensors")
    task = Task("vgg16", "cifar10", data_dir=str(tmp_path), limit=8, weights=str(tmp_path / "vgg16.safetensors"))
    protocol = Protocol("classifier.4", 2, 0, 1, 1, 1, "head")
    experiment = with_dense_models(opened(task, protocol))
    x, y = experiment.goal.parts["test"].tree
    with torch.no_grad():
        want = model.eval()(x)
    found = experiment.tail.outputs({**experiment.others(False), **experiment.targets}, "test", Axes(seed=2))
    torch.testing.assert_close(found, want.expand(2, *want.shape), rtol=1e-4, atol=1e-5)
    (dense, _) = row(experiment, Job("dense", None))
    assert dense["dense_steps"] == 0
    assert dense["test_frozen"] == pytest.approx(float((want.argmax(1) == y).float().mean()))
    last = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)][-1]
    (as_is, _) = row(with_dense_models(opened(task, replace(protocol, layer=last, rest="none"))), Job("dense", None))
    assert as_is["test_frozen"] == dense["test_frozen"]


@pytest.mark.slow
@pytest.mark.parametrize("rest, features", [("head", True), ("head", False), ("all", True)])
def test_the_layer_left_out_of_a_trained_model(tmp_path, monkeypatch, rest, features):
    """It begins with the trained values and goes through the second training alone; statistics before the layer stay as they are."""
    write_cifar10(tmp_path, count=20)
    name, layer = ("vgg16", "classifier.2") if rest == "head" else ("alexnet", "fc2")
    torch.manual_seed(0)
    zoo.save(zoo.build(name), tmp_path / "model.safetensors")
    task = Task(name, "cifar10", data_dir=str(tmp_path), limit=8, weights=str(tmp_path / "model.safetensors"))
    protocol = Protocol(layer, 2, 0, 99, 1, 1, rest)
    steps = []
    original = tuning.train_replicas

    def train(fixture, seeds, start, assemble, rates, count, **more):
        steps.append(count)
        return original(fixture, seeds, start, assemble, [1e-9] * len(rates), 1, **more)  # what it begins with

    monkeypatch.setattr(tuning, "train_replicas", train)
    monkeypatch.setattr("tnkit_nn.comparison.batches.BATCH", 8)
    if not features:
        monkeypatch.setattr(experiments, "FEATURES", 0)
    experiment = with_dense_models(opened(task, protocol))
    (found, _) = row(experiment, Job("removed", None))
    shorter = zoo.without(zoo.load(name, tmp_path / "model.safetensors"), layer)
    torch.manual_seed(500)
    shorter = zoo.without(zoo.load(name, tmp_path / "model.safetensors"), layer).eval()
    part = experiment.goal.parts["test"].tree
    with torch.no_grad():
        right = float((shorter(part[0]).argmax(1) == part[1]).float().mean())
    assert steps[-1] == 1 and found["test_trained"] == pytest.approx(right)
    head = [p for n, p in shorter.named_parameters() if rest == "all" or n.startswith("classifier.4")]
    assert found["trained_elsewhere"] == sum(p.numel() for p in head)


def test_weights_of_too_few_classes_are_refused(tmp_path):
    zoo.save(zoo.build("mlp", 4), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="a model of 4 classes; 'digits' has 10"):
        opened(Task("mlp", "digits", weights=str(tmp_path / "m.safetensors")), Protocol())


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_trained_weight_without_a_direction_is_refused(tmp_path, value):
    model = zoo.build("mlp", 10)
    model.fc1.weight.data.fill_(value)
    zoo.save(model, tmp_path / "m.safetensors")
    with pytest.raises(
        ValueError, match=rf"that of 'fc1', \(.*\) in .*m.safetensors, is {value}: nothing to compare to"
    ):
        opened(Task("mlp", "digits", weights=str(tmp_path / "m.safetensors")), Protocol())


def test_a_protocol_is_the_same_however_its_layers_are_given():
    assert Protocol(["fc1"]) == Protocol(("fc1",)) == Protocol("fc1")
    assert Protocol(["fc1", "fc2"]) == Protocol(("fc1", "fc2")) and hash(Protocol(["fc1", "fc2"]))


@pytest.mark.slow
def test_the_file_of_weights_is_part_of_a_study(tmp_path):
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        files.append(tmp_path / f"{seed}.safetensors")
        zoo.save(zoo.build("mlp"), files[-1])
    task = Task("mlp", "digits", weights=str(files[0]))
    steps = {"seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1, "rest": "none", "out": tmp_path / "out"}
    records = compare(task, ["low_rank"], [200], **steps)
    assert all(r["dense_steps"] == 0 for r in records)
    files[0].rename(tmp_path / "moved")
    assert compare(replace(task, weights=str(tmp_path / "moved")), ["low_rank"], [200], **steps) == records
    with pytest.raises(ValueError, match=r"holds another study: its task\.model is"):
        compare(replace(task, weights=str(files[1])), ["low_rank"], [200], **steps)


# -- in workers ---------------------------------------------------------------------------------------------------------
def test_a_worker_gets_the_dense_values_alone_and_opens_an_experiment_once():
    bare = opened(Task("mlp", "digits"), Protocol(seeds=2, dense_steps=1))
    experiment = with_dense_models(bare)
    sent = pickle.dumps(experiment)
    dense = sum(p.numel() * p.element_size() for p in experiment.dense.values())
    assert dense < len(sent) < dense + 3000
    untrained, there = pickle.loads(pickle.dumps(bare)), pickle.loads(sent)
    assert untrained.goal is there.goal  # read for the dense models' training, and not again for the rows
    assert pickle.loads(sent) is there and there.tail is pickle.loads(sent).tail
    assert there.protocol == experiment.protocol and there.weights == experiment.weights
    torch.testing.assert_close(there.dense, experiment.dense, rtol=0, atol=0)
    assert torch.equal(there.goal.parts["test"].tree[0], experiment.goal.parts["test"].tree[0])

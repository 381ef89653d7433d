"""The loop, against torch's own written out: what is trained, what is put back, what a restart ends with."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import Task, data, zoo
from tnkit_nn.storage import read_tensors, replacing, write_tensors
from tnkit_nn.training import loop
from tnkit_nn.training.evaluation import Reading, accuracy, evaluate, worse
from tnkit_nn.training.goal import ACCURACY, Goal, goal_of
from tnkit_nn.training.groups import Group
from tnkit_nn.training.loop import _TrainingLoop, train
from tnkit_nn.training.recipe import METHODS, SCHEDULES, Recipe

RECIPE = Recipe(epochs=4, lr=3e-3, batch=32)


pytestmark = pytest.mark.usefixtures("one_thread")


def images(count=96, classes=3):
    """Small images whose class is a bright channel."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    x = torch.randn(count, classes, 8, 8, generator=draw)
    x[torch.arange(count), y] += 0.5
    return data.Split("bright", (x, y), (x[:30], y[:30]), (x[30:60], y[30:60]))


def convnet(seed=0):
    """Everything that has a state: batch normalisation, dropout, momentum."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 3)
    )


def margin(model, batch):
    return F.multi_margin_loss(model(batch[0]), batch[1])


def same(a, b):
    return all(torch.equal(v, b.state_dict()[n]) for n, v in a.state_dict().items())


# -- the loop -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_network_learns(method, schedule):
    split = data.load("digits")
    torch.manual_seed(0)
    model = zoo.mlp()
    recipe = Recipe(epochs=8, lr=0.1 if method == "sgd" else 2e-2, method=method, schedule=schedule, batch=64)
    history = train(model, split, recipe)
    assert [e.epoch for e in history] == list(range(1, 9))
    assert history[-1].loss < 0.3 * history[0].loss and accuracy(model, split.test) > 0.93
    assert history[-1].val_metric == accuracy(model, split.val) and history[-1].rate_factor == 1.0


def test_the_loop_is_torchs_own_adamw_written_out():
    split, recipe = images(), Recipe(epochs=2, lr=1e-2, schedule="constant", batch=40, weight_decay=0.1)
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)) for _ in range(2))
    other.load_state_dict(model.state_dict())
    history = train(model, split, recipe, seed=7)
    weight, bias = other[1].weight, other[1].bias
    adam = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}], lr=1e-2, betas=(0.9, 0.99)
    )
    for epoch in (1, 2):
        order, total = torch.randperm(96, generator=torch.Generator().manual_seed(7 * 1_000_003 + epoch)), 0.0
        for k in range(2):  # the last 16 are left out
            chosen = order[40 * k : 40 * (k + 1)]
            loss = F.cross_entropy(other(split.train[0][chosen]), split.train[1][chosen])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() / 2
        assert history[epoch - 1].loss == pytest.approx(total)
    assert same(model, other)


def test_schedules():
    for name, fn in SCHEDULES.items():
        values = [fn(k / 1000) for k in range(1000)]
        assert min(values) >= 0 and max(values) == pytest.approx(1.0, abs=1e-3)
        assert name == "constant" or (values[-1] < 1e-3 and values[0] < 0.1)


def test_the_same_seed_gives_the_same_and_the_callers_generator_is_left_alone():
    split, recipe = images(), dataclasses.replace(RECIPE, augment="crop_flip", epochs=2)
    models = [convnet() for _ in range(3)]
    before = torch.random.get_rng_state()
    histories = [train(m, split, recipe, seed=s) for m, s in zip(models, (0, 0, 1), strict=True)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(models[0], models[1]) and histories[0] == histories[1]
    assert not same(models[0], models[2]) and histories[0] != histories[2]


def test_modes_and_needs_are_put_back():
    model = convnet().eval()
    model[0].weight.requires_grad_(False)
    kept = model[0].weight.clone()
    train(model, images(), RECIPE)
    assert not any(m.training for m in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert torch.equal(model[0].weight, kept)


# -- what is trained ------------------------------------------------------------------------------------------------------
def test_groups_train_alone_each_at_its_rate():
    split, recipe = images(), Recipe(epochs=1, lr=1e-2, method="sgd", schedule="constant", batch=96)
    model = convnet().eval()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    head = model[5]
    train(model, split, recipe, groups=[Group({"5.weight": head.weight}), Group([("5.bias", head.bias)], lr=1e-4)])
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"5.weight", "5.bias"}  # the running statistics of the frozen normalisation too are as they were
    steps = {n: (model.state_dict()[n] - before[n]).norm() for n in changed}
    assert steps["5.bias"] < 0.1 * steps["5.weight"]


def test_the_numbers_of_a_compressed_layer():
    split = data.load("digits")
    torch.manual_seed(0)
    model = zoo.mlp()
    tknn.parametrize_(model.fc1, "weight", tk.mpo(out=(8, 8), in_=(8, 8), rank=2))
    rest = model.fc2.weight.clone()
    params = [(n, p) for n, p in model.named_parameters() if n.startswith("fc1.parametrizations")]
    history = train(model, split, Recipe(epochs=5, lr=6e-2, batch=64), groups=[Group(params)])
    assert history[-1].loss < 0.6 * history[0].loss and torch.equal(model.fc2.weight, rest)


def test_weight_decay_is_for_matrices_unless_a_group_says_so():
    split, recipe = images(), Recipe(epochs=1, lr=0.5, method="sgd", schedule="constant", batch=96, weight_decay=1.0)
    task = Task(data=split, loss=lambda model, batch: model(batch[0]).sum() * 0)
    for groups, bias in ((None, 1.0), ([0.1], 1 - 0.5 * 0.1 * 1.9)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
        nn.init.ones_(model[1].weight), nn.init.ones_(model[1].bias)
        made = groups and [Group(model.named_parameters(), weight_decay=w) for w in groups]
        train(model, task, recipe, groups=made)
        assert model[1].bias[0].item() == pytest.approx(bias)
        assert model[1].weight[0, 0].item() == pytest.approx(bias if made else 1 - 0.5 * 1.9)


def test_groups_that_cannot_be():
    model, split = convnet(), images()
    with pytest.raises(ValueError, match="parameter 'w' is not the model's"):
        train(model, split, RECIPE, groups=[Group({"w": nn.Parameter(torch.zeros(2))})])
    with pytest.raises(ValueError, match=r"parameter '0.weight' is in two groups"):
        train(model, split, RECIPE, groups=[Group(model.named_parameters()), Group(model.named_parameters())])
    with pytest.raises(ValueError, match=r"two parameters of a group are called 'weight'; named_parameters\(prefix="):
        Group([*model[0].named_parameters(), *model[5].named_parameters()])
    with pytest.raises(ValueError, match="nothing to train"):
        train(model.requires_grad_(False), split, RECIPE)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"method": "lion"}, "method is one of sgd, adamw, not 'lion'"),
        ({"schedule": "step"}, "schedule is one of constant, cosine, onecycle, not 'step'"),
        ({"augment": "mixup"}, "augment is one of none, crop_flip, not 'mixup'"),
        ({"epochs": 0}, "epochs is a whole number of at least 1, not 0"),
        ({"lr": float("nan")}, "positive"),
        ({"weight_decay": -1.0}, "weight_decay is a number of at least 0, not -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing is a number of at least 0 and less than 1, not 1.0"),
    ],
)
def test_recipes_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"epochs": 1, "lr": 0.1} | wrong)


# -- no finite numbers ----------------------------------------------------------------------------------------------------
def disturbed(monkeypatch, factors, stop=None):
    """The loss of some steps times a factor, and Ctrl-C before one; steps are counted from 1, those done again too."""
    plain, count = _TrainingLoop._step, [0]

    def step(self, batch, draw):
        count[0] += 1
        if count[0] == stop:
            raise KeyboardInterrupt
        objective, factor = self.objective, factors.get(count[0], 1.0)
        self.objective = lambda model, batch: objective(model, batch) * factor
        try:
            return plain(self, batch, draw)
        finally:
            self.objective = objective

    monkeypatch.setattr(_TrainingLoop, "_step", step)


@pytest.mark.parametrize("when", [5, 6, "validation"])  # a step, the last step, the validation of the second epoch
def test_an_epoch_without_finite_loss_is_done_again_at_half_the_rate(tmp_path, monkeypatch, when):
    readings = []

    def evaluated(*args):
        readings.append(evaluate(*args))
        return dataclasses.replace(readings[-1], loss=float("nan")) if len(readings) == 2 else readings[-1]

    if when == "validation":
        monkeypatch.setattr(loop, "evaluate", evaluated)
    else:
        disturbed(monkeypatch, {when: float("nan")})
    model = convnet()
    with pytest.warns(
        UserWarning, match="epoch 2 gave no finite loss: put back to its beginning, and again at half the rate"
    ):
        history = train(model, images(), RECIPE, log=tmp_path / "log")
    assert [e.rate_factor for e in history] == [1.0, 0.5, 0.5, 0.5]
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "log").read_text().splitlines() if "step" in json.loads(line)
    ]
    assert steps == list(range(1, 13))


def test_no_rate_helps(monkeypatch):
    model = convnet()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    disturbed(monkeypatch, dict.fromkeys(range(1, 100), float("inf")))
    with (
        pytest.warns(UserWarning, match="epoch 1"),
        pytest.raises(FloatingPointError, match=r"epoch 1 gives no finite loss, even at the rate 9.4e-05"),
    ):
        train(model, images(), RECIPE)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_half_precision_that_no_rate_helps_is_named(monkeypatch):
    disturbed(monkeypatch, dict.fromkeys(range(1, 100), float("inf")))
    found = images()
    halved = {part: (x.half(), y) for part, (x, y) in (("train", found.train), ("val", found.val))}
    with (
        pytest.warns(UserWarning, match="epoch 1"),
        pytest.raises(FloatingPointError, match=r"parameters are float16: train in float32 \(`model.float\(\)`\)"),
    ):
        train(convnet().half(), halved, RECIPE)


# -- interrupted ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [2, 3, 6, 9])  # three steps an epoch
def test_a_restarted_run_ends_bit_by_bit_the_same(tmp_path, monkeypatch, method, stop):
    recipe = dataclasses.replace(RECIPE, method=method, augment="crop_flip", label_smoothing=0.1, weight_decay=1e-2)
    whole = convnet()
    history = train(whole, images(), recipe, seed=3, log=tmp_path / "whole")
    options = {"seed": 3, "checkpoint": tmp_path / "c", "log": tmp_path / "log"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        disturbed(patch, {}, stop)
        train(convnet(), images(), recipe, **options)
    again = convnet(seed=99)  # another start: all values are the checkpoint's
    assert train(again, images(), recipe, **options) == history
    assert same(again, whole)
    third = convnet(seed=98)  # nothing is left to do
    assert train(third, images(), recipe, **options) == history and same(third, whole)
    lines = [[json.loads(t) for t in (tmp_path / n).read_text().splitlines()] for n in ("log", "whole")]
    assert [{k: v for k, v in d.items() if k != "seconds"} for d in lines[0]] == [
        {k: v for k, v in d.items() if k != "seconds"} for d in lines[1]
    ]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["c", "log", "whole"]


def test_the_factor_of_a_diverged_epoch_survives_a_restart(tmp_path, monkeypatch):
    with (
        monkeypatch.context() as patch,
        pytest.warns(UserWarning, match="epoch 1"),
        pytest.raises(KeyboardInterrupt),
    ):
        disturbed(patch, {2: float("inf")}, 12)
        train(convnet(), images(), RECIPE, checkpoint=tmp_path / "c")
    history = train(convnet(), images(), RECIPE, checkpoint=tmp_path / "c")
    assert [e.rate_factor for e in history] == [0.5] * 4


CLIMB = dataclasses.replace(RECIPE, schedule="constant", lr=3e-2, method="sgd")


@pytest.mark.parametrize("stop", [None, 8, 11])
def test_a_training_that_diverges_to_finite_numbers_ends_at_its_best_epoch(tmp_path, monkeypatch, stop):
    """Epoch 3 of 4 climbs the loss: the model ends as epoch 2 left it, interrupted in epoch 3, in epoch 4 or never."""
    good = convnet()
    seen = train(good, images(), dataclasses.replace(CLIMB, epochs=2))
    model, options = convnet(), {"checkpoint": tmp_path / "c"}
    climb = dict.fromkeys((7, 8, 9), -1000.0)
    if stop:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            disturbed(patch, climb, stop)
            train(model, images(), CLIMB, **options)
        model = convnet(seed=9)  # begins with epoch 3, or 4
    disturbed(monkeypatch, {None: climb, 8: dict.fromkeys((1, 2, 3), -1000.0), 11: {}}[stop])
    with pytest.warns(UserWarning, match=r"training diverged: .* after epoch 2: put back to that one"):
        history = train(model, images(), CLIMB, **options)
    assert [e.val_metric for e in history[:2]] == [e.val_metric for e in seen]
    assert max(e.val_metric for e in history[2:]) < seen[-1].val_metric - 0.3
    assert same(model, good)
    again = convnet(seed=8)
    with pytest.warns(UserWarning, match="put back"):  # nothing left to do: the same end
        train(again, images(), CLIMB, **options)
    assert same(again, good)


def test_a_stream_to_validate_on_says_of_how_many_examples_it_is(monkeypatch):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(*images().val, strict=True))

    disturbed(monkeypatch, dict.fromkeys((7, 8, 9, 10, 11, 12), -1000.0))
    parts = {"train": images().train, "val": DataLoader(Stream(), 10)}
    with pytest.warns(UserWarning, match=r"training diverged: .* after epoch 2: put back to that one"):
        train(convnet(), parts, CLIMB)


@pytest.mark.slow
def test_what_a_killed_process_left_is_cleared(tmp_path):
    code = (
        "import os, sys; from tnkit_nn.storage import replacing\nwith replacing(sys.argv[1]): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")])
    assert len(list(tmp_path.glob(".*.part"))) == 1
    with replacing(tmp_path / "other"):  # a process at work: this one
        train(convnet(), images(), RECIPE, checkpoint=tmp_path / "c")
        assert len(list(tmp_path.glob(".*.part"))) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "other"]


def test_one_example_less_is_no_divergence():
    def worse_than(now, then, count):
        none = float("nan")
        return worse(Goal("x", {}), Reading(1.0, now, none, count), Reading(1.0, then, none, count))

    assert not worse_than(0.975, 1.0, 40) and worse_than(0.9, 1.0, 40)
    assert not worse_than(0.999, 1.0, 1000) and worse_than(0.8, 0.9, 1000) and not worse_than(0.88, 0.9, 100)


def test_checkpoints_of_other_runs_are_refused(tmp_path):
    path, split = tmp_path / "c", images()
    train(convnet(), split, RECIPE, checkpoint=path)
    other = data.Split("bright", (1 - split.train[0], split.train[1]), split.val, split.test)  # as many, but others
    with pytest.raises(ValueError, match="belongs to another run: its data is"):
        train(convnet(), other, RECIPE, checkpoint=path)

    def again(model=None, split=split, recipe=RECIPE, **options):
        train(model or convnet(), split, recipe, checkpoint=path, **options)

    with pytest.raises(ValueError, match=r"c: belongs to another run: its recipe.lr is 0.003, not 0.5"):
        again(recipe=dataclasses.replace(RECIPE, lr=0.5))
    with pytest.raises(ValueError, match=r"c: 4 epochs are done, and the recipe has 3; ask for as many or more"):
        again(recipe=dataclasses.replace(RECIPE, epochs=3))
    with pytest.raises(ValueError, match="its seed is 0, not 1"):
        again(seed=1)
    with pytest.raises(ValueError, match=r"its data is \['bright', 'train .*\], not \['bright', 'train "):
        again(split=images(60))
    with pytest.raises(ValueError, match="its groups is"):
        again(model=nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    with pytest.raises(ValueError, match=r"its loss is 'cross_entropy .*', not 'margin .*'"):
        again(split=Task(data=split, loss=margin, metric=ACCURACY))
    wide = convnet()
    wide[5] = nn.Linear(256, 4)
    with pytest.raises(
        ValueError,
        match=r"its structure.5 is 'Linear\(in_features=256, out_features=3, .*\)', not 'Linear\(.*out_features=4,",
    ):
        again(model=wide)
    write_tensors(path, read_tensors(path)[0])
    with pytest.raises(ValueError, match="c: not a checkpoint of a training"):
        again()
    write_tensors(path, {"a": torch.zeros(1)}, {"tnkit.train": json.dumps({"version": 9, "run": {}, "so_far": {}})})
    with pytest.raises(ValueError, match="c: version 9 of a checkpoint; this tnkit reads version 3"):
        again()


def test_a_finished_training_is_extended(tmp_path):
    """At a constant rate it ends as a whole one does; what is drawn in an epoch follows from its number."""
    short, long = (dataclasses.replace(RECIPE, schedule="constant", epochs=k) for k in (2, 4))
    whole, model = convnet(), convnet()
    history = train(whole, images(), long)
    assert train(model, images(), short, checkpoint=tmp_path / "c") == history[:2]
    assert train(model, images(), long, checkpoint=tmp_path / "c") == history and same(model, whole)
    with pytest.raises(ValueError, match=r"c: 4 epochs are done, and the recipe has 2; ask for as many or more"):
        train(model, images(), short, checkpoint=tmp_path / "c")


def test_another_loss_of_the_same_name_is_noticed(tmp_path):
    def losses(body):
        made = {}
        exec(compile(f"import torch.nn.functional as F\nmine = lambda model, batch: {body}", "<made>", "exec"), made)
        return made["mine"]

    bodies = ["F.cross_entropy(model(batch[0]), batch[1])", "F.multi_margin_loss(model(batch[0]), batch[1])"]
    one, other = map(losses, bodies)
    task = Task(data=images(), loss=one)
    train(convnet(), task, RECIPE, checkpoint=tmp_path / "c")
    train(convnet(), Task(data=images(), loss=losses(bodies[0])), RECIPE, checkpoint=tmp_path / "c")  # the same again
    with pytest.raises(
        ValueError, match=r"c: belongs to another run: its loss is '<lambda> \w{12}', not '<lambda> \w{12}'"
    ):
        train(convnet(), Task(data=images(), loss=other), RECIPE, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r"its metric is \['loss', '', False, .*\], not \['accuracy', '%', True, "):
        train(convnet(), Task(data=images(), loss=one, metric=ACCURACY), RECIPE, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("notes", [b"my own notes\n1,2,3\n", b"\xff\xfe\x00 no text\n"])
def test_a_file_that_is_no_log_is_left_alone(notes, tmp_path):
    log = tmp_path / "notes.txt"
    log.write_bytes(notes)
    with pytest.raises(ValueError, match=r"notes.txt: line 1 is of no training's log; choose another file"):
        train(convnet(), images(), RECIPE, log=log)
    assert log.read_bytes() == notes


def test_what_is_called_after_an_epoch_sees_it_kept(tmp_path):
    seen = []
    history = train(
        convnet(), images(), RECIPE, checkpoint=tmp_path / "c",
        after=lambda epoch: seen.append((epoch, len(json.loads(read_tensors(tmp_path / "c")[1]["tnkit.train"])["so_far"]["history"]))),
    )  # fmt: skip
    assert seen == [(epoch, epoch.epoch) for epoch in history]


def test_evaluate_is_the_plain_loop_and_leaves_the_mode():
    model, split = convnet(), images()
    got = evaluate(model, goal_of(split, "test"), batch=7)
    assert model.training
    model.eval()
    logits = model(split.val[0])
    losses = torch.stack([F.cross_entropy(a, b) for a, b in zip(logits.split(7), split.val[1].split(7), strict=True)])
    assert got.loss == pytest.approx(F.cross_entropy(logits, split.val[1]).item())
    assert got.metric == (logits.argmax(1) == split.val[1]).double().mean().item() == accuracy(model, split.val)
    assert got.spread == pytest.approx(losses.std().item() / 5**0.5) and got.count == 30


def test_events_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = convnet()
    history = train(model, images(), RECIPE, log=tmp_path / "log")
    events = EventAccumulator(str(tmp_path / "log.events")).Reload()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("loss")] == [(s["step"], s["loss"]) for s in steps]
    assert [e.value for e in events.Scalars("epoch/val_metric")] == pytest.approx([e.val_metric for e in history])

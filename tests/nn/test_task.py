"""A task: what it is made of, what it makes, what it refuses, and that it is the same in another process."""

import dataclasses
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tnkit_nn as tknn
from tnkit_nn import Metric, Recipe, Task, train, zoo
from tnkit_nn.data import Split
from tnkit_nn.storage import digest, write_tensors
from tnkit_nn.task import task_named

X = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
PARTS = {"train": (X[:20], Y[:20]), "val": (X[20:], Y[20:]), "test": (X[20:], Y[20:])}


def small(seed, width=4):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def mean_iou(model, loader):
    return 0.5


def values(model):
    return digest(model.state_dict())


# -- models -----------------------------------------------------------------------------------------------------------------
def test_models_of_a_seed():
    state = torch.get_rng_state()
    task = Task(small, PARTS)
    assert values(task.build(0)) == values(task.build(0)) != values(task.build(1))
    torch.manual_seed(5)
    expected = small(5)
    torch.set_rng_state(state)
    assert values(Task(partial(small, width=4), PARTS).build(5)) == values(expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert (
        not task.trained and task.model_name == "small" and Task(partial(small, width=3), PARTS).model_name == "small"
    )
    assert task.title == "small on data" and Task(small, PARTS, name="mine").title == "mine"
    assert Task(data=PARTS).title == "data"  # train and compress_ are given the model
    assert (
        repr(task) == "Task(small on data)"
        and repr(Task(small, PARTS, limit=3)) == "Task(small on data, at most 3 a part)"
    )


def test_a_model_that_is_one():
    model = small(0)
    task = Task(model, PARTS)
    made = task.build(3)
    assert task.trained and made is not model and values(made) == values(model) == values(task.build(4))
    train(made, task, Recipe(1, 1e-2, batch=5))
    assert values(made) != values(model) == values(task.build(0))  # a copy


def test_a_model_of_the_zoo_has_the_classes_of_the_data():
    x = torch.rand(12, 1, 8, 8)
    split = Split("s", *[(x, torch.arange(12) % 4)] * 3)
    assert Task("mlp", split).build(0)[-1].out_features == 4
    assert Task("mlp", {"train": (x, torch.arange(12) % 5)}).build(0)[-1].out_features == 5
    assert Task("mlp", split).title == "mlp on s"
    own = Task("mlp", split, loss=lambda model, batch: model(batch[0]).square().mean())  # whose data have no classes
    assert own.goal.classes == 0 and own.build(0)[-1].out_features == 10


@pytest.mark.parametrize("kind", ["function", "name"])
def test_values_of_a_file(kind, tmp_path):
    torch.manual_seed(3)
    made = small(0) if kind == "function" else zoo.mlp(3)
    write_tensors(tmp_path / "w.safetensors", made.state_dict())
    data = PARTS if kind == "function" else {"train": (torch.rand(6, 1, 8, 8), torch.arange(6) % 3)}
    task = Task(small if kind == "function" else "mlp", data, weights=tmp_path / "w.safetensors")
    assert task.trained and values(task.build(0)) == values(task.build(9)) == values(made)
    assert task.settings()["model"] != Task(task.model, data).settings()["model"]


def test_files_that_are_not_the_models(tmp_path):
    def build(path, model=small):
        Task(model, PARTS, weights=path).build(0)

    model = small(0)
    for name, options in (("new.pt", {}), ("old.pt", {"_use_new_zipfile_serialization": False})):
        torch.save(model.state_dict(), tmp_path / name, **options)
        for which in (small, "mlp"):
            with pytest.raises(
                ValueError,
                match=name + r": a pickle, .*, is never loaded: .*safetensors.torch.save_file\(.*\) makes the",
            ) as told:
                build(tmp_path / name, which)
            assert "\n" not in str(told.value)
    with pytest.raises(FileNotFoundError, match=r"none.safetensors: no such file"):
        build(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match="text: not a safetensors file, or a damaged one"):
        build(tmp_path / "text")
    write_tensors(tmp_path / "w", model.state_dict())
    with pytest.raises(ValueError, match=r"w: the file is not of this model: 0.weight is \(4, 6\), not \(5, 6\)"):
        build(tmp_path / "w", partial(small, width=5))


def fails(seed):
    raise KeyError("width")


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: Task(None, PARTS).build(0), ValueError, r"the task has no model: Task\(model=...\) is a function of a seed"),
        (lambda: Task(fails, PARTS).build(2), ValueError, r"Task: model is a function of a seed, but model\(2\) fails: KeyError: 'width'"),
        (lambda: Task(lambda seed: 3, PARTS).build(2), TypeError, r"makes an nn.Module; model\(2\) gives 3"),
        (lambda: Task(small, PARTS).build(-1), ValueError, "Task.build: seed is a whole number of at least 0, not -1"),
        (lambda: Task(small), TypeError, "Task: data is a Split, a name, or .*, not None"),
        (lambda: Task(nn.Linear, PARTS), TypeError, r"Task: model is a function of a seed, .*; lambda seed: MyModel\(\) makes one"),
        (lambda: Task("resnet", PARTS), ValueError, "Task: model, where it is a name, is one of mlp, .*, not 'resnet'"),
        (lambda: Task(small, "imagenet"), ValueError, "Task: data, where it is a name, is one of .*, not 'imagenet'"),
        (lambda: Task(small, PARTS, 3), TypeError, "Task: loss is a function, not 3"),
        (lambda: Task(small, PARTS, nn.MSELoss), TypeError, "Task: loss is a function, not .*MSELoss"),
        (lambda: Task(small, PARTS, nn.CrossEntropyLoss(torch.ones(3))), TypeError,
            r"Task: loss is called as loss\(model, batch\), but CrossEntropyLoss as loss\(output, target\); lambda model, batch: "),
        (lambda: Task(small, PARTS, metric=0.5), TypeError, "Task: metric, unless it is a Metric, is a function, not 0.5"),
        (lambda: Task(small(0), PARTS, weights="w"), ValueError, "a model that is an nn.Module has its values; weights are for"),
        (lambda: Task(small, PARTS, limit=0), ValueError, "Task: limit is a whole number of at least 1, not 0"),
        (lambda: Task(small, PARTS, without=3), TypeError, "Task: without is a function, not 3"),
        (lambda: Task(small, PARTS, smaller="x"), TypeError, "Task: smaller is a function, not 'x'"),
        (lambda: Task(small, PARTS, name=3), TypeError, "Task: name is a string, not 3"),
        (lambda: Task(small, {"train": DataLoader(TensorDataset(X, Y))}, limit=3), ValueError, "limit=3 is for tensors and Datasets; a DataLoader has"),
        (lambda: Metric(3), TypeError, "Metric: fn is a function, not 3"),
        (lambda: Metric(mean_iou, larger="no"), TypeError, "Metric: larger is True or False, not 'no'"),
        (lambda: Metric(mean_iou, unit=None), TypeError, "Metric: unit is a string, not None"),
    ],
)  # fmt: skip
def test_tasks_that_cannot_be(make, kind, said):
    with pytest.raises(kind, match=said) as told:
        make()
    assert "\n" not in str(told.value)


def test_limits():
    def counts(data, limit):
        return Task(small, data, limit=limit).goal.counts()

    assert counts(PARTS, 6) == {"train": 6, "val": 6, "test": 6} and counts(PARTS, 15)["val"] == 10
    assert counts(Split("s", *PARTS.values()), 6) == {"train": 6, "val": 6, "test": 6}
    assert counts({"train": TensorDataset(X, Y)}, 6) == {"train": 6}
    assert "at most 6 a part" in Task(small, Split("s", *PARTS.values()), limit=6).goal.name


# -- what results depend on ---------------------------------------------------------------------------------------------------
def test_settings_tell_tasks_apart():
    made = [
        Task(small, PARTS), Task(partial(small, width=5), PARTS), Task(small(0), PARTS), Task("mlp", PARTS), Task(None, PARTS),
        Task(small, {**PARTS, "val": (X, Y)}), Task(small, PARTS, loss), Task(small, PARTS, loss, mean_iou),
        Task(small, PARTS, loss, Metric(mean_iou, "IoU")), Task(small, PARTS, loss, Metric(mean_iou, larger=False)), Task(small, PARTS, limit=9),
    ]  # fmt: skip
    texts = [str(t.settings()) for t in made]
    assert len(set(texts)) == len(texts)
    assert (
        Task(small, dict(PARTS), name="other", examples="rows").settings() == made[0].settings()
    )  # names are for readers


TRAINED = small(0)
MADE = [
    Task(small, PARTS, loss, Metric(mean_iou, "IoU", "%")),
    Task(partial(small, width=5), {"train": TensorDataset(X, Y)}, partial(loss)),
    Task(TRAINED, Split("s", *PARTS.values()), limit=6),
    Task("mlp", {"train": DataLoader(TensorDataset(X, Y), 4, shuffle=True)}, loss, name="mine", examples="rows"),
]


@pytest.mark.parametrize("task", MADE)
def test_a_task_is_pickled(task):
    again = pickle.loads(pickle.dumps(task))
    assert again.settings() == task.settings() and (again.title, again.goal.examples) == (
        task.title,
        task.goal.examples,
    )
    if task.model != "mlp":
        assert values(again.build(2)) == values(task.build(2))


def test_a_lambda_is_a_model_until_it_has_to_be_sent():
    task = Task(lambda seed: small(seed), PARTS)
    assert values(task.build(1)) == values(Task(small, PARTS).build(1)) and task.model_name == "<lambda>"
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(task)


FILE = """
import torch
import torch.nn.functional as F
from torch import nn
import tnkit_nn as tknn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
    def forward(self, x):
        return self.layer(x)

x = torch.linspace(-1, 1, 120).reshape(20, 6)
y = (x[:, 0] > 0).long()
task = tknn.Task(lambda seed: Net(), {"train": (x, y), "val": (x, y)}, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
trained = tknn.Task(nn.Linear(6, 3), {"train": (x, y)})

def made():
    return tknn.Task(lambda seed: Net(), tknn.data.Split("s", (x, y), (x, y), (x, y)), name="made")

def broken():
    raise OSError("no disk")

number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_tasks_of_files(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    task = task_named("mine.py:task")
    assert (
        task.settings()
        == task_named(f"{file}:task").settings()
        == task_named("mine.py:task", folder=file.parent).settings()
    )
    again = pickle.loads(pickle.dumps(task))  # its lambdas go by the name of the file
    monkeypatch.chdir("/")
    assert again.settings() == task.settings() == pickle.loads(pickle.dumps(again)).settings()
    assert task_named(f"{file}:made").title == "made"
    changed = dataclasses.replace(task_named(f"{file}:trained"), limit=5)  # no longer what the file has
    assert pickle.loads(pickle.dumps(changed)).goal.counts() == {"train": 5}
    few = task_named(f"{file}:made", limit=6, weights=None)
    assert few.goal.counts()["train"] == 6 == pickle.loads(pickle.dumps(few)).goal.counts()["train"]


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        (
            "number",
            TypeError,
            "--task: .*mine.py:number is a Task, or a function of no arguments that makes one, not 3",
        ),
        ("Net", TypeError, "mine.py:Net is a Task, .*, not Net"),
        ("broken", ValueError, "--task: .*mine.py:broken fails: OSError: no disk"),
        ("other", ValueError, "--task: .*mine.py has no 'other'; it has Net, x, y, task, "),
    ],
)
def test_names_that_are_no_tasks(file, name, kind, said):
    with pytest.raises(kind, match=said):
        task_named(f"{file}:{name}", "--task")


def test_a_model_that_is_another_one_when_it_is_made_again(tmp_path):
    path = tmp_path / "unlike.py"
    path.write_text(
        FILE.replace("nn.Linear(6, 3), {", "FILLED, {").replace(
            "x = torch",
            "import time\nFILLED = Net()\nnn.init.constant_(FILLED.layer.bias, time.time_ns() % 1e6)\nx = torch",
        )
    )
    sent = pickle.dumps(task_named(f"{path}:trained"))
    assert pickle.loads(sent).trained  # run once a process
    del sys.modules[next(m for m in sys.modules if m.startswith("tnkit_file_unlike"))]
    with pytest.raises(
        ValueError, match=r"the model of .*unlike.py:trained has other values in another process; torch.manual_seed"
    ):
        pickle.loads(sent)


def what_it_is(task):
    model = task.build(3)
    if "val" in task.goal.parts:
        train(model, task, Recipe(1, 1e-2, batch=5))
    return task.settings(), values(model)


@pytest.mark.slow
def test_in_a_spawned_process_it_is_the_same(file):
    tasks = [MADE[0], MADE[2], *(task_named(f"{file}:{name}") for name in ("task", "trained", "made"))]
    here = [what_it_is(t) for t in tasks]
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        assert list(pool.map(what_it_is, tasks)) == here


def test_one_task_for_all_that_is_done_with_it():
    """Trained, judged by the loss of its own, and its parts are those that were given."""
    task = Task(small, PARTS, loss)
    model = task.build(0)
    history = train(model, task, Recipe(4, 2e-2, batch=5))
    assert history[-1].val_metric == pytest.approx(loss(model.eval(), PARTS["val"]).item())
    assert tknn.accuracy(model, PARTS["test"]) > 0.3

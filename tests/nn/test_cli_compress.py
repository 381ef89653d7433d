"""The commands train and compress: models, results, tasks of one's own; they go on, and refuse in one line."""

import json
import sys

import pytest
import torch

import tnkit_nn as tknn
from tnkit.cli import main
from tnkit_nn import accuracy, data, zoo
from tnkit_nn.families import CONTROLS
from tnkit_nn.storage import alone, read_tensors
from tnkit_nn.task import task_named

from .test_data import write_cifar10, write_mnist


def test_one_training_a_folder(tmp_path, capsys):
    with alone(tmp_path, "a test"), pytest.raises(SystemExit) as stop:
        main(["train", "--limit", "100", "--out", str(tmp_path)])
    assert stop.value.code == 2 and "a training is being run by another process" in capsys.readouterr().err


def test_train_writes_model_and_results_and_goes_on(tmp_path, capsys):
    run = ["train", "--model", "mlp", "--epochs", "2", "--seed", "3", "--limit", "100", "--out", str(tmp_path)]
    assert main([*run, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert [e["epoch"] for e in results["history"]] == [1, 2] and results["recipe"]["epochs"] == 2
    split = data.load("digits", limit=100)
    assert accuracy(zoo.load("mlp", tmp_path / "model.safetensors"), split.test) == results["value"]
    assert results["metric"] == {"name": "accuracy", "unit": "%", "larger": True} and results["part"] == "test"
    kept = (tmp_path / "model.safetensors").read_bytes()
    assert main(run) == 0  # nothing is left to do
    assert "% on the test images, seed 3" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").read_bytes() == kept
    with pytest.raises(SystemExit) as stop:
        main([*run, "--seed", "4"])
    assert stop.value.code == 2
    assert "belongs to another run: its seed is 3, not 4" in capsys.readouterr().err


RECIPE = """
[[layers]]
select = "fc1"
family = "mpo"
budget = 300
[stage2]
epochs = 1
lr = 0.03
"""


@pytest.mark.slow
def test_compress_writes_both_models_and_goes_on(tmp_path, capsys):
    weights, recipe, out = tmp_path / "model.safetensors", tmp_path / "recipe.toml", tmp_path / "out"
    torch.manual_seed(0)
    zoo.save(zoo.build("mlp"), weights)
    recipe.write_text(RECIPE)
    run = ["compress", "--weights", str(weights), "--recipe", str(recipe), "--limit", "100", "--out", str(out)]
    assert main([*run, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "results.json").read_text())
    assert results["layers"][0]["layer"] == "fc1" and results["layers"][0]["num_params"] < 400
    split = data.load("digits", limit=100)
    assert accuracy(zoo.load("mlp", out / "dense.safetensors"), split.test) == results["metric_after"]
    small = tknn.load_compressed_(zoo.build("mlp"), out / "model.safetensors")
    assert accuracy(small, split.test) == results["metric_after"]
    assert (out / "model.safetensors").stat().st_size < 0.5 * weights.stat().st_size
    assert main(run) == 0  # nothing is left to do
    assert "whole model: 4,810 -> " in capsys.readouterr().out
    assert main(["show", str(out / "model.safetensors"), "--out", str(tmp_path / "net.svg")]) == 0
    shown = capsys.readouterr().out
    assert "fc1.weight:" in shown and (tmp_path / "net.svg").exists()
    assert main(["show", str(out)]) == 0 and shown.startswith(capsys.readouterr().out)  # the folder stands for it
    with pytest.raises(SystemExit):
        main(["show", str(weights)])
    assert "no compressed model; it has no networks" in capsys.readouterr().err
    for change, message in {
        "--seed=4": "holds another compression: its recipe.seed is 0, not 4", "--order=up": "order is backward, forward", "--model=fc2": "the file is not of a model fc2",
    }.items():  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main([*run, change])
        assert stop.value.code == 2 and message in capsys.readouterr().err


WHOLE = """
[[layers]]
select = {select}
family = "adtn"
budget = 224
depth = 1
[stage1]
method = "skip"
[stage2]
epochs = 2
lr = 0.01
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*records, .* in the whole set", "ignore:the compressed model gives")
@pytest.mark.parametrize("model", ["fc2", "lenet5", "alexnet", "zfnet", "vgg16"])
def test_the_papers_models_are_trained_compressed_and_compared(model, tmp_path, capsys):
    """Each of its systems end to end by the commands, on a few small files of the true format; the two large layers as in the paper."""
    name = "mnist" if model in ("fc2", "lenet5") else "cifar10"
    write_mnist(tmp_path / "data", train=60, test=20) if name == "mnist" else write_cifar10(tmp_path / "data", count=8)
    layers = {"fc2": ["fc1"], "vgg16": ["classifier.0", "classifier.2"]}.get(model, ["fc1", "fc2"])
    common = ["--model", model, "--data", name, "--data-dir", str(tmp_path / "data"), "--limit", "16"]
    weights, recipe = tmp_path / "train" / "model.safetensors", tmp_path / "recipe.toml"
    assert main(["train", *common, "--epochs", "1", "--out", str(weights.parent)]) == 0
    recipe.write_text(WHOLE.format(select=json.dumps(layers)))
    capsys.readouterr()
    given = ["--weights", str(weights)]
    assert main(["compress", *common, *given, "--recipe", str(recipe), "--out", str(tmp_path / "small"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["layer"] for r in results["layers"]] == layers[::-1] and len(results["steps"]) == len(layers)
    if model in ("alexnet", "zfnet", "vgg16"):  # 2^24 weights in 224 numbers
        assert results["layers"][0]["num_params"] == 224 and results["layers"][0]["dense_params"] == 2**24
    split = data.load(name, tmp_path / "data", limit=16)
    assert accuracy(zoo.load(model, tmp_path / "small" / "dense.safetensors"), split.test) == results["metric_after"]
    if model != "alexnet":  # zfnet has the same layers
        return
    run = [
        "compare",
        *common,
        *given,
        "--layer",
        "conv5",
        "--shapes",
        "mpo",
        "--budgets",
        "2000",
        "--seeds",
        "1",
        "--steps",
        "1",
    ]
    assert main([*run, "--rest", "none", "--workers", "1", "--out", str(tmp_path / "compare"), "--json"]) == 0
    assert {r["label"] for r in json.loads(capsys.readouterr().out)} == {"mpo", *CONTROLS} - {"small_dense"}


def test_compress_refuses_in_one_line_and_loses_nothing(tmp_path, capsys):
    weights, recipe = tmp_path / "model.safetensors", tmp_path / "r.toml"
    zoo.save(zoo.build("mlp"), weights)
    recipe.write_text(RECIPE)
    given = weights.read_bytes()
    zoo.save(zoo.build("mlp", 5), tmp_path / "five.safetensors")
    for file, out, message in (
        (weights, tmp_path, "holds model.safetensors, which no compression wrote there; give an empty folder"),
        (tmp_path / "five.safetensors", tmp_path / "out", "a model of 5 classes; 'digits (at most 100 a part)' has 10"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["compress", "--weights", str(file), "--recipe", str(recipe), "--limit", "100", "--out", str(out)])
        assert stop.value.code == 2 and message in capsys.readouterr().err
    assert weights.read_bytes() == given and not (tmp_path / "out").exists()


OWN = """
import torch, tnkit_nn as tknn
from torch import nn

def make(seed):
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))

x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
y = x[:, :2].prod(1, keepdim=True)
data = {"train": (x[:200], y[:200]), "val": (x[200:250], y[200:250]), "test": (x[250:], y[250:])}

def squares(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()

def farthest(model, loader):
    return max((model(x) - y).abs().max().item() for x, y in loader)

task = tknn.Task(make, data, squares, tknn.Metric(farthest, "farthest", "mm", larger=False), name="products", examples="probes")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a task and a recipe, which is the working directory."""
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "r.toml").write_text(RECIPE.replace('"fc1"', '"0"').replace("300", "60"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_task_of_ones_own_is_trained_and_compressed(own, capsys):
    assert main(["train", "--task", "mine.py:task", "--epochs", "3", "--batch", "50", "--out", "a", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["title"], results["part"]) == ("products", "test")
    assert results["metric"] == {"name": "farthest", "unit": "mm", "larger": False}
    assert {k: results["recipe"][k] for k in ("epochs", "lr", "batch")} == {"epochs": 3, "lr": 1e-3, "batch": 50}
    found = task_named("mine.py:task", weights=str(own / "a" / "model.safetensors"))
    model = found.build(0)
    with torch.no_grad():
        assert results["value"] == pytest.approx(found.metric.fn(model, [found.data["test"]]))

    run = ["compress", "--task", "mine.py:task", "--recipe", "r.toml", "--weights", "a/model.safetensors", "--out", "b"]
    assert main([*run, "--json"]) == 0
    small = json.loads(capsys.readouterr().out)
    assert small["metric_before"] == pytest.approx(results["value"]) and small["layers"][0]["layer"] == "0"
    assert main(run) == 0
    assert "farthest on the test probes: dense" in capsys.readouterr().out
    plain = found.build(0)
    plain.load_state_dict(read_tensors(own / "b" / "dense.safetensors")[0])
    with torch.no_grad():
        assert small["metric_after"] == pytest.approx(found.metric.fn(plain, [found.data["test"]]), rel=1e-5)


@pytest.mark.slow
def test_a_recipe_may_name_the_task_and_the_task_its_values(own, capsys):
    (own / "r.toml").write_text('task = "mine.py:task"\n' + (own / "r.toml").read_text())
    with pytest.raises(SystemExit) as stop:
        main(["compress", "--recipe", "r.toml", "--out", "b"])
    assert stop.value.code == 2 and "--weights is the file of the model's trained values" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["compress", "--recipe", "r.toml", "--data", "digits", "--out", "b"])
    said = capsys.readouterr().err
    assert (
        stop.value.code == 2
        and "has its own model and data; leave out --data digits" in said
        and "recipe: task" in said
    )
    (own / "mine.py").write_text(
        OWN.replace("tknn.Task(make,", "tknn.Task(make(0),").replace(
            "import torch,", "import torch; torch.manual_seed(0); import"
        )
    )
    for name in [n for n in sys.modules if n.startswith("tnkit_file_mine")]:
        del sys.modules[name]
    assert main(["compress", "--recipe", "r.toml", "--out", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "products"


@pytest.mark.parametrize("kept", ["state", "model"])
def test_a_pickle_is_never_loaded(kept, tmp_path, capsys):
    model = zoo.build("mlp")
    torch.save(model.state_dict() if kept == "state" else model, tmp_path / "m.pt")
    (tmp_path / "r").write_text(RECIPE)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "compress",
                "--weights",
                str(tmp_path / "m.pt"),
                "--recipe",
                str(tmp_path / "r"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
    said = capsys.readouterr().err
    assert (
        stop.value.code == 2 and "a pickle, as torch.save writes it, is never loaded" in said and said.count("\n") == 1
    )

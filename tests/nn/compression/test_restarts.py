"""A compression that is killed, goes on, or is refused in the folder of another."""

import copy
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import tnkit_nn as tknn
from tnkit.core.writing import HOST
from tnkit_nn.compression import tuning as module
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.workdir import Folder
from tnkit_nn.storage import alone
from tnkit_nn.training.loop import train

from .test_compress import RECIPE, plain, same, small, values


# -- killed and restarted -----------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 3, 4, 6, 9, 12, 15])
def test_interrupted_and_resumed(moment, tmp_path):
    model, split = small()
    whole = compress_(copy.deepcopy(model), RECIPE, split)
    count = 0
    original = os.replace

    def replacing(a, b):
        nonlocal count
        count += 1
        if count == moment:
            raise KeyboardInterrupt
        original(a, b)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replacing)
        with pytest.raises(KeyboardInterrupt):
            compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    again = compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    assert plain(again) == plain(whole) and same(values(again.model), values(whole.model))
    third = compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)  # all is there: nothing is trained
    assert plain(third) == plain(whole) and third.seconds >= again.seconds


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError, OSError])
def test_a_model_is_compressed_or_as_it_was(error, tmp_path, monkeypatch):
    model, split = small()
    model.fc3.bias.requires_grad_(False)
    whole = compress_(copy.deepcopy(model), RECIPE, split, rest="all")
    before, classes = values(model), [type(m) for m in model.modules()]
    objects = [(n, id(p), id(p.grad)) for n, p in model.named_parameters()]
    calls = []

    def fails(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return train(*args, **options)

    monkeypatch.setattr(module, "train", fails)
    with pytest.raises(error):
        compress_(model, RECIPE, split, out=tmp_path, rest="all")
    monkeypatch.undo()
    assert same(values(model), before) and [type(m) for m in model.modules()] == classes and model.training
    assert [(n, id(p), id(p.grad)) for n, p in model.named_parameters()] == objects
    assert not model.fc3.bias.requires_grad and model.fc1.weight.requires_grad
    again = compress_(model, RECIPE, split, out=tmp_path, rest="all")  # the same model goes on
    assert plain(again) == plain(whole) and same(values(model), values(whole.model))


SCRIPT = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
import torch
from pathlib import Path
from test_compress import RECIPE, blank
from tnkit_nn import zoo
from tnkit_nn.compression.compress import compress_
from tnkit_nn.storage import fill_, read_tensors

torch.set_num_threads(1)
out, takes = Path(sys.argv[1]), float(sys.argv[3])
model, split = blank()
fill_(model, read_tensors(out / "start.safetensors")[0], "start")
draw, kills, folder = random.Random(0), 0, 0
while kills < 10 or not finished:  # this process trains nothing itself, so that its forks may
    child = os.fork()
    if not child:
        compress_(model, RECIPE, split, out=out / f"killed-{folder}")
        os._exit(0)
    if kills < 10:
        time.sleep(draw.random() * takes)
        os.kill(child, signal.SIGKILL)
    finished = os.waitpid(child, 0)[1] == 0
    kills, folder = kills + (not finished), folder + finished
print(folder)
"""


@pytest.mark.slow
def test_killed_ten_times(tmp_path):
    """SIGKILL at random moments; what comes out is what an uninterrupted run gives, bit by bit."""
    model, split = small()
    tknn.zoo.save(model, tmp_path / "start.safetensors")
    begin = time.perf_counter()
    whole = compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path / "whole")
    takes = str(time.perf_counter() - begin)
    run = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent), takes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    for folder in range(int(done.stdout)):
        again = compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path / f"killed-{folder}")
        assert plain(again) == plain(whole) and same(values(again.model), values(whole.model))


@pytest.mark.slow
def test_another_run_is_refused(tmp_path):
    model, split = small()
    compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    with pytest.raises(
        ValueError, match=r"holds another compression: its recipe.seed is 0, not 1; give an empty folder"
    ):
        compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path, seed=1)
    with pytest.raises(ValueError, match=r"holds another compression: its model.values is"):
        compress_(small(1)[0], RECIPE, split, out=tmp_path)
    other = replace(split, test=(-split.test[0], split.test[1]))  # as many examples, but others
    with pytest.raises(ValueError, match=r"holds another compression: its task.data is"):
        compress_(copy.deepcopy(model), RECIPE, other, out=tmp_path)
    with alone(tmp_path, "a test"), pytest.raises(ValueError, match="this compression is being run by another process"):
        compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)


@pytest.mark.slow
def test_another_structure_is_another_model(tmp_path):
    model, split = small()
    compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    other = copy.deepcopy(model)
    other.act1 = nn.Sigmoid()  # the same values
    with pytest.raises(
        ValueError, match=r"holds another compression: its model.structure.act1 is 'ReLU\(\)', not 'Sigmoid\(\)'; give"
    ):
        compress_(other, RECIPE, split, out=tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "dense.safetensors", "results.json"])
def test_no_file_of_another_is_written_over(tmp_path, name):
    model, split = small()
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {name}, which no compression wrote there; give an empty folder"):
        compress_(model, RECIPE, split, out=tmp_path)
    assert (tmp_path / name).read_text() == "mine" and isinstance(model.fc1.weight, nn.Parameter)


@pytest.mark.slow
def test_seconds_of_a_killed_stage_2_count(tmp_path, monkeypatch):
    model, split = small()
    clock = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))  # a second a look
    monkeypatch.setattr(Folder, "write", interrupted_at(Folder.write, "step-1-tuned"))
    with pytest.raises(KeyboardInterrupt):
        compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    monkeypatch.undo()
    done = compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    assert done.seconds > sum(step["seconds"] for step in done.steps) >= 4


def interrupted_at(write, moment):
    def writes(folder, name, value):
        if name == moment:
            raise KeyboardInterrupt
        write(folder, name, value)

    return writes


@pytest.mark.slow
def test_what_a_killed_run_left_is_cleared(tmp_path):
    model, split = small()
    compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    (tmp_path / f".model.safetensors.{HOST}-{2**31 - 1}.x1y2.part").write_bytes(b"half")  # no such process
    compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    (tmp_path / "stage1-fc1.json").write_text("{")
    with pytest.raises(ValueError, match=r"stage1-fc1.json: damaged, no JSON; delete it to have it made again"):
        compress_(copy.deepcopy(model), RECIPE, split, out=tmp_path)

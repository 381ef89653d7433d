"""What a notebook's functions are to the processes of an executor: unknown, which is said before one of them ends over it."""

import sys
import types
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from tnkit_nn import Task, compare
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.processes import check_sent
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.families import as_family

CELL = """
from torch import nn
import tnkit as tk

def made(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

def pair(shape, budget):
    return tk.low_rank(shape, 1)
"""
WORDS = (
    "compare: with a ProcessPoolExecutor .* here '{}' is of a notebook or of the interpreter, which they do not have$"
)


@pytest.fixture
def main(monkeypatch):
    """``__main__`` as in a notebook: of no file."""
    module = types.ModuleType("__main__")
    module.__spec__ = None
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(CELL, module.__dict__)
    return module


def executor(method):
    return ProcessPoolExecutor(1, get_context(method))


def test_a_task_of_a_notebook_is_refused_before_processes_start(main):
    task = Task(main.made, "digits", limit=60)
    few = dict(seeds=1, dense_steps=1, fit_steps=1, tune_steps=1)
    with executor("spawn") as pool, pytest.raises(ValueError, match=WORDS.format("made")):
        compare(task, ["low_rank"], [100], executor=pool, **few)
    assert not pool._processes


def test_what_is_refused_and_what_is_not(main, tmp_path):
    ours = opened(Task("mlp", "digits", limit=60), Protocol((), 1, 0, 1, 1, 1))
    theirs = opened(Task(main.made, "digits", limit=60), Protocol((), 1, 0, 1, 1, 1))
    own = Job(as_family(main.pair, "it"), 100)
    check_sent(None, theirs, [own])
    check_sent(ThreadPoolExecutor(1), theirs, [own])
    check_sent(executor("fork"), theirs, [own])  # its processes have what this one has
    check_sent(executor("spawn"), ours, [Job("dense", None), Job(as_family(lambda shape, budget: None, "it"), 100)])
    for sent, name in (((theirs, []), "made"), ((ours, [own]), "pair")):
        with pytest.raises(ValueError, match=WORDS.format(name)):
            check_sent(executor("spawn"), *sent)
    main.__file__ = str(tmp_path / "script.py")
    (tmp_path / "script.py").write_text(CELL)
    check_sent(executor("spawn"), theirs, [own])  # a script that processes run themselves
    main.__file__ = "<stdin>"
    with pytest.raises(ValueError, match=WORDS.format("made")):
        check_sent(executor("spawn"), theirs, [own])

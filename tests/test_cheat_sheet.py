"""The cheat sheet is true: every call on it runs as it is written, and every name is there."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import tnkit as tk

SHEET = Path(__file__).parents[1] / "docs" / "cheat-sheet.md"
ROWS = re.findall(r"^\| (`.*?) \|", SHEET.read_text(), re.MULTILINE)
SPANS = [span for row in ROWS for span in re.findall(r"`([^`]+)`", row) if not span.startswith("tnkit")]
#: Calls that train: their arguments are bound to the parameters, and not run.
LONG = ("tknn.train(", "tknn.compress_(", "tknn.compare(")


def names():
    """What the letters of the page stand for."""
    torch = pytest.importorskip("torch")
    import tnkit_nn as tknn

    net = tk.mps((2, 2, 2), rank=2)

    def make(seed):  # as a task takes it: with the seed
        return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    return {
        **{"tk": tk, "tknn": tknn, "N": net, "A": tk.init.normal(net, seed=0), "W": tk.mpo((8, 8), (8, 8), 2)},
        **{"M": tk.Network([tk.Node("M", ("i2", "out"))], ("i2", "out"), {"i2": 2, "out": 3}), "P": tk.plan(net)},
        **{"sizes": dict(i=2, j=3, r=2), "shape": (2, 3), "rank": 2, "terms": [(1.0, {0: np.eye(2)})], "dims": (2, 2)},
        **{"x": np.arange(8.0).reshape(2, 2, 2), "y": np.ones((2, 2)), "gate": np.eye(4)},
        **{
            "layer": torch.nn.Linear(64, 64),
            "model": make(0),
            "make": make,
            "data": tknn.data.digits(),
            "folder": "saved",
        },
        **{"loss": None, "metric": None, "recipe": None, "compression": None},
    }


@pytest.mark.slow
def test_calls_run_in_the_order_of_the_page(tmp_path, monkeypatch):
    given = names()
    monkeypatch.chdir(tmp_path)
    calls = [span for span in SPANS if "(" in span]
    assert len(calls) > 30
    for call in calls:
        if call.startswith("tk.einsum("):
            exec(call, {**given, "x": np.ones((2, 2))})
        elif call.startswith(LONG):
            function, _, arguments = call.partition("(")
            bind = inspect.signature(eval(function, given)).bind
            exec(f"bind({arguments}", {**given, "bind": bind})
        else:
            exec(call, given)


def test_names_are_there():
    given, dotted = names(), [span for span in SPANS if re.fullmatch(r"\w+\.[\w.]+", span)]
    assert len(dotted) > 30
    for name in dotted:
        eval(name, given)

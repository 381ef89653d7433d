"""What a function does as a text: the same in every process, another one for another body or for other values held."""

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tnkit_nn.fingerprint import fingerprint, value_text

FILE = '''
from functools import partial
import torch, torch.nn.functional as F
from torch import nn
ALPHA = {alpha}
TABLE = torch.arange({table})

def plain(model, batch):
    """Text."""
    return {body}

def reads(model, batch):
    return ALPHA * TABLE.sum()

def closed(width):
    def loss(model, batch):
        return width
    return loss

def default(model, batch, power={power}, names=frozenset({{"a", "b", "c", "d"}})):
    return power

class Called:
    def __init__(self, k):
        self.k = k
    def __call__(self, model, batch):
        return self.k
    def method(self, model, batch):
        return {body}

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.tensor([1.0, {power}]))
    def forward(self, model, batch):
        return {body}

one_line = lambda model, batch: {body}
in_set = lambda model, batch: model in {{"a", "b", "c", "d"}}
ALL = dict(plain=plain, reads=reads, closed=closed({width}), default=default, partial=partial(plain, batch={width}), called=Called({width}),
           method=Called(1).method, layer=Layer(), one_line=one_line, in_set=in_set)
'''
RIGHT = {"alpha": 0.5, "table": 3, "body": "F.mse_loss(model, batch)", "power": 2, "width": 4}


CODE = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
from tnkit_nn.fingerprint import fingerprint
for folder in sys.argv[1:]:
    spec = spec_from_file_location("losses", f"{folder}/losses.py")
    module = sys.modules["losses"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps({n: fingerprint(f) for n, f in module.ALL.items()}))
"""


def prints(folder, *files):
    """Of each file, given by its layout and changes: name -> fingerprint of its functions; one new process with another order of sets."""
    folders = []
    for layout, changes in files:
        folders.append(folder / f"{layout.strip()}{'-'.join(changes)}")
        folders[-1].mkdir(exist_ok=True)
        text = FILE.format(**{**RIGHT, **changes}).replace('"""Text."""\n', f'"""Text."""\n{layout}')
        (folders[-1] / "losses.py").write_text(text)
    done = subprocess.run([sys.executable, "-c", CODE, *folders], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.slow
def test_the_same_in_every_process_and_another_for_another_value(tmp_path):
    others = {"body": "F.l1_loss(model, batch)", "alpha": 0.25, "table": 4, "power": 3, "width": 5}
    (first,) = prints(tmp_path, ("", {}))
    second, *after = prints(
        tmp_path, ("    # a comment\n\n", {}), *(("", {name: value}) for name, value in others.items())
    )
    after = dict(zip(others, after, strict=True))
    assert first == second and len(set(first.values())) == 10
    changed = {
        "body": {"plain", "method", "layer", "one_line", "partial"}, "alpha": {"reads"}, "table": {"reads"},
        "power": {"default", "layer"}, "width": {"closed", "partial", "called"},
    }  # fmt: skip
    for name, which in changed.items():
        found = after[name]
        # an object's class is its source, so that called and method go together where that changes
        assert {n for n in found if found[n] != first[n]} - {"called"} == which - {"called"}, name
        assert ("called" in which) <= (found["called"] != first["called"])


def test_names():
    assert fingerprint(F.mse_loss).startswith("mse_loss ") and fingerprint(
        partial(F.mse_loss, reduction="sum")
    ).startswith("mse_loss ")
    assert fingerprint(nn.MSELoss()).startswith("MSELoss ") and fingerprint(lambda: 0).endswith(
        fingerprint(lambda: 0)[-12:]
    )
    assert fingerprint(lambda: 0) != fingerprint(lambda: 1)


def test_values_that_a_function_holds():
    x = torch.arange(4.0)
    values = [
        None, 1, 1.0, True, "1", b"1", x, x.double(), x.reshape(2, 2), x + 1, x.numpy(), np.float64(1), [1, 2], (1, 2, 3), {1, 2}, {"a": 1},
        {"a": {"b": [x]}}, nn.Linear(2, 2), math.sqrt, math, int, object(), len, F.relu, torch.float32,
    ]  # fmt: skip
    texts = [value_text(v) for v in values]
    assert len(set(texts)) == len(texts) and not any(" at 0x" in t for t in texts)
    assert value_text(x.to_sparse()) == value_text(x)
    loop = []
    loop.append(loop)
    assert value_text(loop) == value_text(loop)  # and it ends

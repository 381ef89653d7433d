"""Kernels for windows, run by Triton's interpreter on the CPU, against the plain plan in float64."""

import os

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning import fusion
from tnkit.planning import windows as orders
from tnkit.planning.planner import _plan
from tnkit.planning.steps import FusedStep
from tnkit_nn.engine import cuda

pytest.importorskip("triton")
interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="a CUDA device: see test_cuda.py")

WALLS = {
    "relu": dict(sites=12, dim=2, depth=3, activation="relu"),
    "tanh": dict(sites=13, dim=2, depth=3, activation="tanh"),
    "sin": dict(sites=12, dim=2, depth=2, activation="sin", start="vectors"),
    "linear": dict(sites=12, dim=2, depth=3, activation=None),
    "sigmoid": dict(sites=12, dim=2, depth=2, activation="sigmoid"),  # not known to the kernels
    "periodic": dict(sites=12, dim=2, depth=2, activation="relu", periodic=True),
    "four": dict(sites=6, dim=4, depth=2, activation="tanh"),
    "mixed": dict(sites=8, dim=[2, 3, 4, 2, 2, 3, 4, 2], depth=2, activation="relu"),
}


@pytest.fixture
def device(monkeypatch):
    """Chains run as on a device, kernels in the interpreter, on test-sized states."""
    monkeypatch.setattr(cuda, "on_device", lambda x: True)
    for name, value in dict(LARGE=2**40, KEPT=2**9, _NEIGHBOURS=2).items():
        monkeypatch.setattr(fusion, name, value)
    monkeypatch.setattr(orders, "_STATE", 2**9)


def made(plan, net, arrays, dtype):
    tensors = {n: torch.as_tensor(a, dtype=dtype).requires_grad_(n in net.parameters) for n, a in arrays.items()}
    result = tk.run(plan, tensors)
    with torch.no_grad():
        torch.testing.assert_close(tk.run(plan, tensors), result)
    seed = torch.as_tensor(np.random.default_rng(0).standard_normal(net.shape), dtype=dtype)
    params = [tensors[n] for n in net.parameters]
    first = torch.autograd.grad(result, params, seed, retain_graph=True)
    second = torch.autograd.grad(result, params, seed)  # what forward left is used up: run again
    assert all(map(torch.equal, first, second))
    return [result.detach().double(), *(g.double() for g in first)]


@pytest.mark.slow
@interpreted
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("name", WALLS)
def test_walls(name, sliced, device, monkeypatch):
    if sliced:
        monkeypatch.setattr(fusion, "LARGE", 2**10)
        monkeypatch.setattr(fusion, "SLICE", 2**9)
    net = tk.brick_wall(**WALLS[name])
    arrays = check_arrays(net, tk.init.normal(net, seed=1))
    plan = _plan(net, "auto", 4, None)
    groups = [s for s in plan.steps if isinstance(s, FusedStep)]
    runs = [r for g in groups for r in cuda.stages(g, kernels=True) if isinstance(r, cuda.TileRun)]
    assert runs or name in ("linear", "mixed")
    single, double = made(plan, net, arrays, torch.float32), made(plan, net, arrays, torch.float64)
    monkeypatch.setattr(cuda, "on_device", lambda x: False)
    want = made(plan, net, arrays, torch.float64)
    for got, close in ((single, 5e-5), (double, 1e-12)):
        for x, y in zip(got, want, strict=True):
            assert (x - y).norm() <= close * y.norm()


def test_runs_hold_several_windows_and_functions():
    net = tk.brick_wall(20, 2, 3, "relu")
    (group,) = (s for s in tk.plan(net, itemsize=4).steps if isinstance(s, FusedStep))
    found = cuda.stages(group, kernels=True)
    runs = [r for r in found if isinstance(r, cuda.TileRun)]
    assert sum(len(r.windows) for r in runs) == 10 and len(runs) <= 7
    assert sum(f is not None for r in runs for f in r.functions) == 2
    for run in runs:
        rows, columns, low, tiles = run.tiles()
        assert rows * columns * tiles == 2**20 and rows * columns <= 2**12
        assert all(w.stride >= low and w.stride * w.rows <= low * rows for w in run.windows)
    assert not any(isinstance(s, cuda.TileRun) for s in cuda.stages(group, kernels=False))

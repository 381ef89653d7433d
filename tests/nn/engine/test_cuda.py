"""What runs on the CPU runs on a CUDA device: the same values and gradients, and capture as a graph."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import tnkit as tk
import tnkit_nn as tnn
from tnkit.execution.inputs import check_arrays
from tnkit.planning import fusion, windows
from tnkit.planning.planner import _plan
from tnkit_nn import data, zoo
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.training.loop import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

WALLS = {
    "binary": dict(sites=10, dim=2, depth=3, activation="relu"),
    "linear": dict(sites=10, dim=2, depth=3, activation=None),
    "periodic": dict(sites=10, dim=2, depth=2, activation="sin", periodic=True),
    "mixed": dict(sites=6, dim=[2, 3, 4, 5, 2, 3], depth=3, activation="tanh"),
}


@pytest.mark.parametrize("large", [2**8, 2**40])
@pytest.mark.parametrize("name", WALLS)
def test_walls(name, large, monkeypatch):
    monkeypatch.setattr(fusion, "LARGE", large)
    monkeypatch.setattr(fusion, "SLICE", 2**7)
    monkeypatch.setattr(fusion, "KEPT", 2**6)
    monkeypatch.setattr(fusion, "_NEIGHBOURS", 2)
    monkeypatch.setattr(windows, "_STATE", 2**6)
    net = tk.brick_wall(**WALLS[name])
    arrays = check_arrays(net, tk.init.normal(net, seed=1))
    plan = _plan(net, "greedy", 8, None)
    seed = torch.as_tensor(np.random.default_rng(0).standard_normal(net.shape))
    found = []
    for device in ("cpu", "cuda"):
        tensors = {n: torch.as_tensor(a, device=device).requires_grad_(n in net.parameters) for n, a in arrays.items()}
        made = tk.run(plan, tensors)
        with torch.no_grad():
            torch.testing.assert_close(tk.run(plan, tensors), made)
        made.backward(seed.to(device))
        found.append({"made": made.detach().cpu(), **{n: tensors[n].grad.cpu() for n in net.parameters}})
    for n, want in found[0].items():
        assert (found[1][n] - want).norm() <= 1e-10 * want.norm(), n


@pytest.mark.parametrize("activation", ["relu", "tanh", "sin", None])
def test_windows_in_float32_and_their_capture(activation):
    net = tk.brick_wall(18, 2, 3, activation)
    plan = tk.plan(net, itemsize=4)
    arrays = check_arrays(net, tk.init.normal(net, seed=1))
    seed = torch.as_tensor(np.random.default_rng(0).standard_normal(net.shape))
    found = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        tensors = {n: torch.as_tensor(a, dtype=dtype, device=device) for n, a in arrays.items()}
        params = [tensors[n].requires_grad_() for n in net.parameters]
        ways = [lambda *_, t=tensors: tk.run(plan, t)]
        if device == "cuda":
            ways.append(torch.cuda.make_graphed_callables(ways[0], tuple(params)))
        for way in ways:
            made = way(*params)
            grads = torch.autograd.grad(made, params, seed.to(device, dtype))
            found.append([made.detach().cpu().double(), *(g.cpu().double() for g in grads)])
    for got in found[1:]:
        for x, want in zip(got, found[0], strict=True):
            assert (x - want).norm() <= 1e-4 * want.norm()


def test_layers_and_their_capture():
    layer, there = (tnn.TNLinear(256, 256, tk.mpo((4, 8, 8), (4, 8, 8), 3), dtype=torch.float64) for _ in range(2))
    there.cuda()
    there.load_state_dict(layer.state_dict())
    x = torch.randn(5, 256, dtype=torch.float64)
    layer(x).sin().sum().backward()
    there(x.cuda()).sin().sum().backward()
    wanted = [p.grad for p in layer.parameters()]
    torch.testing.assert_close([p.grad.cpu() for p in there.parameters()], wanted)
    captured = torch.cuda.make_graphed_callables(there, (x.cuda(),))
    there.zero_grad()
    captured(x.cuda()).sin().sum().backward()
    torch.testing.assert_close([p.grad.cpu() for p in there.parameters()], wanted)


def test_compress_and_train():
    split = data.load("digits")
    torch.manual_seed(0)
    model = zoo.build("mlp", 10).cuda()
    train(model, split, replace(zoo.TRAIN["mlp"], epochs=3))
    layers = (Layers("fc1", "mpo", 300), Layers("fc2", "adtn", 200, depth=2))
    for stage1 in (Stage1("auto", steps=20), Stage1("skip")):
        recipe = Compression(layers, stage1=stage1, stage2=replace(zoo.TRAIN["mlp"], epochs=20), rest="all")
        report = compress_(copy.deepcopy(model), recipe, split).report()
        assert report["metric_after"] > 0.3

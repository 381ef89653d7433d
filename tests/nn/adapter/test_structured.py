"""Structured matrices as layers: against a dense layer, at the cost that theory gives, and fitted to a weight."""

from math import log2

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.adapter.crossover import exact_split, input_routes

F64 = torch.float64
# network, in, out
LAYERS = {
    "kronecker": (tk.kronecker((4, 3), (2, 5), 3), 10, 12),
    "LoKr": (tk.kronecker((4, 6), (3, 5), factor_rank=(None, 2)), 15, 24),
    "btt": (tk.btt((2, 3, 2), (3, 2, 4), 2), 24, 12),
    "monarch": (tk.monarch((4, 6), (3, 5)), 15, 24),
    "butterfly": (tk.butterfly(32, 32), 32, 32),
    "rectangular": (tk.butterfly(8, 32), 32, 8),
    "kaleidoscope": (tk.butterfly(8, 8, passes=2), 8, 8),
    "block_term": (tk.block_term((4, 3, 2, 5), 2, 3), 10, 12),
    "augmented_tree": (tk.augmented_tree((4, 3, 2, 5), 3), 10, 12),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [1, 7])
def test_a_layer_is_the_dense_layer_of_its_weight(name, batch):
    """Values and gradients of every way to contract it with the input, of the weight built, and of a weight that is the network."""
    net, m, n = LAYERS[name]
    layer = tknn.TNLinear(m, n, net, bias=False, dtype=F64)
    x = torch.randn(batch, m, dtype=F64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def both(made, to):
        return [made, *torch.autograd.grad(made.square().sum(), [x, *to.parameters()])]

    want = both(F.linear(x, tk.contract(net, layer.tn.tensors()).reshape(n, m)), layer)
    ways = input_routes(net, net.output[exact_split(net, n, m) :], 64, "auto", 8)[2]
    assert any(not way.builds for way in ways)
    for route in [None, *(way.plan for way in ways)]:
        layer.routes = ((1, route),)
        for a, b in zip(both(layer(x), layer), want, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    replaced = nn.Linear(m, n, bias=False, dtype=F64)
    tknn.parametrize_(replaced, "weight", net, dict(layer.tn.tensors()))
    for a, b in zip(both(replaced(x), replaced), want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [64, 1024])
def test_a_row_costs_two_operations_a_parameter(n):
    """One after another the levels of a butterfly take 4 n log2 n, the blocks of a Monarch matrix 4 n sqrt(n), dense 2 n^2."""
    root = 2 ** (int(log2(n)) // 2)
    nets = {
        4 * n * int(log2(n)): tk.butterfly(n, n),
        4 * n * root: tk.monarch((root, root), (root, root)),
        8 * n * root: tk.btt((root, root), (root, root), 2),
    }
    for flops, net in nets.items():
        ins = tk.Node("x", tuple(i for i in net.output if i.startswith("i")), fixed=True)
        one = tk.Network((*net.nodes, ins), tuple(i for i in net.output if i.startswith("o")), net.sizes)
        assert flops == 2 * net.num_params
        assert tk.plan(one).flops <= 1.1 * flops


def test_a_layer_is_factorised_where_that_is_cheaper():
    """At one row as at hundreds the butterfly is faster than building a million weights, and takes fewer operations than dense."""
    layer = tknn.TNLinear(1024, 1024, tk.butterfly(1024, 1024))
    assert all(route is not None for _, route in layer.routes)
    for _, route in layer.routes:
        rows = route.network.array_shapes[layer._x][0]
        assert route.flops < 0.1 * 2 * 1024**2 * rows or rows == 1
    assert layer.routes[0][1].flops <= 1.1 * 4 * 1024 * 10


@pytest.mark.parametrize("name", ["monarch", "butterfly", "kronecker"])
def test_a_weight_of_its_kind_is_fitted_and_approximated(name):
    net, m, n = LAYERS[name] if name != "butterfly" else (tk.butterfly(8, 8), 8, 8)
    draw = np.random.default_rng(0)
    arrays = {k: draw.normal(size=s) for k, s in net.array_shapes.items()}
    weight = torch.as_tensor(tk.contract(net, arrays).reshape(n, m), dtype=torch.float32)
    assert tknn.approximate(net, weight).error < 1e-3
    module = nn.Linear(m, n, bias=False)
    with torch.no_grad():
        module.weight.copy_(weight)
    layer = tknn.TNLinear.from_module(module, net, steps=400)
    assert float((layer.weight.detach() - weight).norm() / weight.norm()) < 0.05

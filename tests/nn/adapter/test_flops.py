"""FLOPs of a forward, against torch's own counter, which sees every product of matrices and every convolution that runs."""

import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit_nn import TNConv2d, TNEmbedding, TNLinear
from tnkit_nn.adapter.flops import counted, forward_flops

LINEAR = {
    "low rank": (tk.low_rank((120, 400), 4), 400, 120),
    "TT-matrix": (tk.mpo((8, 8, 8), (4, 14, 14), 4), 784, 512),
    "TT-matrix of a high rank": (tk.mpo((8, 8, 8), (4, 14, 14), 40), 784, 512),
    "CP": (tk.cp((512, 784), 3), 784, 512),
}


@pytest.mark.parametrize("rows", [1, 64, 300])
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_layer_counts_what_it_runs(name, rows):
    """Whatever the number of rows that it was planned for."""
    net, ins, outs = LINEAR[name]
    layer, x = TNLinear(ins, outs, net, batch=64), torch.randn(rows, ins)
    found = forward_flops(layer, x)
    assert found.flops == counted(layer, x)
    weight = layer.weight.detach()
    dense = nn.Linear(ins, outs)
    assert found.if_built == layer.tn.plan.flops + counted(dense, x) and counted(dense, x) == 2 * rows * weight.numel()
    assert counted(dense, x) == counted(nn.Sequential(dense), x)  # by its sizes as by torch's counter
    assert found.flops == found.if_built if found.built else found.flops != found.if_built


def test_both_ways_are_among_them():
    rows = torch.randn(64, 784)
    layers = [TNLinear(784, 512, LINEAR[n][0], batch=64) for n in ("TT-matrix", "TT-matrix of a high rank")]
    assert [forward_flops(layer, rows).built for layer in layers] == [False, True]


def test_a_nonlinear_network_is_built():
    net = tk.circuit((8, 8, 8, 8), [[(0,), (1,)]], "tanh", start=tk.mpo((8, 8), (8, 8), 2))
    found = forward_flops(TNLinear(64, 64, net), torch.randn(10, 64))
    assert found.built and found.flops == found.if_built == tk.plan(net).flops + 2 * 10 * 64 * 64


CONVOLUTIONS = {
    "Tucker": (tk.tucker((64, 64, 3, 3), (8, 8, 3, 3)), 3, 1, 1),
    "TT, strided": (tk.tt((64, 64, 3, 3), (4, 4, 2)), 3, 1, 2),
    "CP": (tk.cp((64, 64, 3, 3), 8), 3, 1, 1),
    "a kernel of one row": (tk.tucker((64, 64, 1, 3), (8, 8, 1, 3)), (1, 3), (1, 1), (2, 1)),
    "built": (tk.low_rank((64, 576), 60), 3, 1, 1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_counts_every_output_position(name):
    net, kernel, padding, stride = CONVOLUTIONS[name]
    layer = TNConv2d(64, 64, kernel, net, padding=padding, stride=stride)
    x = torch.randn(8, 64, 16, 16)
    found, ran = forward_flops(layer, x), counted(layer, x)
    # torch does not count products entry by entry, of a hyperedge: 2 for each of the kernel's parameters at most
    assert 0 <= found.flops - ran <= 2 * net.num_params
    dense = nn.Conv2d(64, 64, kernel, padding=padding, stride=stride)
    assert found.if_built == layer.tn.plan.flops + counted(dense, x)
    assert found.built == (name == "built")


def test_an_embedding_counts_the_tokens():
    net, tokens = tk.mpo((10, 10, 10), (4, 4, 4), 4), torch.randint(1000, (7, 9))
    layer = TNEmbedding(1000, 64, net)
    found = forward_flops(layer, tokens)
    assert found.flops == counted(layer, tokens) == 63 * forward_flops(layer, tokens[:1, :1]).flops
    assert not found.built and found.if_built == tk.plan(net).flops

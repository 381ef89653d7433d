"""Chains of small convolutions against torch's convolution with the dense weight: every order of the nodes, not the cheapest alone."""

import re
from math import prod

import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit import Network, Node
from tnkit.testing import random_network
from tnkit_nn import TNConv1d, TNConv2d, TNConv3d
from tnkit_nn.adapter.conv_chain import _route, _Search
from tnkit_nn.adapter.conv_reading import ConvReading, read_as_convolution

F64 = torch.float64


def matrix_of_channels(out, in_, kernel, rank=2):
    """A TT-matrix of the channels, and one node of the kernel at its end."""
    n = len(out)
    nodes = [Node(f"C{k}", (*[f"b{k}"][: k > 0], f"o{k}", f"i{k}", f"b{k + 1}")) for k in range(n)]
    nodes.append(Node("K", (f"b{n}", *(f"k{k}" for k in range(len(kernel))))))
    sizes = {f"o{k}": s for k, s in enumerate(out)} | {f"i{k}": s for k, s in enumerate(in_)}
    sizes |= {f"k{k}": s for k, s in enumerate(kernel)} | {f"b{k + 1}": rank for k in range(n)}
    return Network(nodes, [*(i for c in "oi" for i in (f"{c}{k}" for k in range(n))), *(f"k{k}" for k in range(len(kernel)))], sizes)  # fmt: skip


# layer, in, out, kernel, groups, network
FAMILIES = {
    "tt": (TNConv2d, 6, 8, (3, 3), 1, tk.tt((8, 6, 3, 3), 3)),
    "tt, kernel as one index": (TNConv2d, 6, 8, (3, 3), 1, tk.tt((4, 2, 6, 9), 3)),
    "tt, channels split": (TNConv2d, 6, 8, (3, 2), 1, tk.tt((4, 2, 3, 2, 3, 2), 2)),
    "tt, kernel split": (TNConv1d, 4, 6, (4,), 1, tk.tt((6, 4, 2, 2), 2)),
    "cp": (TNConv2d, 6, 8, (3, 2), 1, tk.cp((8, 6, 3, 2), 5)),
    "tucker": (TNConv2d, 6, 8, (3, 3), 1, tk.tucker((8, 6, 3, 3), (3, 4, 2, 2))),
    "low rank": (TNConv2d, 6, 8, (3, 3), 1, tk.low_rank((8, 54), 3)),
    "low rank in groups": (TNConv2d, 6, 8, (3, 3), 2, tk.tt((2, 4, 27), 3)),
    "ring": (TNConv2d, 4, 5, (3, 3), 1, tk.ring((5, 4, 3, 3), 2)),
    "matrix of channels": (TNConv2d, 6, 4, (3, 2), 1, matrix_of_channels((2, 2), (3, 2), (3, 2))),
    "tt, three axes": (TNConv3d, 3, 4, (2, 3, 2), 1, tk.tt((4, 3, 2, 3, 2), 2)),
    "cp, three axes": (TNConv3d, 3, 4, (2, 1, 2), 1, tk.cp((4, 3, 2, 1, 2), 2)),
    "cp in groups": (TNConv2d, 6, 8, (2, 3), 2, tk.cp((2, 4, 3, 2, 3), 3)),
    "depthwise": (TNConv2d, 6, 6, (3, 3), 6, tk.tt((6, 3, 3), 2)),
    "depthwise, split": (TNConv1d, 6, 12, (3,), 6, tk.tt((2, 3, 2, 3), 2)),
    "pointwise": (TNConv2d, 6, 8, (1, 1), 1, tk.tt((4, 2, 6), 2)),
    "one channel in": (TNConv2d, 1, 6, (3, 3), 1, tk.cp((6, 3, 3), 3)),
    "one channel out": (TNConv2d, 6, 1, (3, 3), 1, tk.tt((1, 6, 3, 3), 3)),
}
CLASSES = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def dense(layer):
    """Torch's layer with this one's weight and bias."""
    made = CLASSES[len(layer.kernel_size)](
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups,
        layer.bias is not None, layer.padding_mode, dtype=layer.tn.like.dtype,
    )  # fmt: skip
    with torch.no_grad():
        made.weight.copy_(layer.weight)
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made


def every_chain(layer, most=20):
    """Routes through all ordered divisions of the parts, thinned out where there are many."""
    reading = read_as_convolution(layer.tn.network, layer._shape, layer.groups)
    assert isinstance(reading, ConvReading), reading
    search = _Search(reading, layer.stride, 8)

    def divided(done):
        left = units = search.all & ~done
        while units:
            for rest in divided(done | units) if units != left else [[]]:
                yield [search.step(done, units), *rest]
            units = (units - 1) & left

    found = [steps for steps in divided(0) if len(steps) > 1]
    return [_route(search, steps, "auto") for steps in found[:: max(1, len(found) // most)]]


def draw(layer, seed, batch=2, more=3):
    """An input a little larger than the kernel needs, another size on every axis."""
    sizes = [d * (k - 1) + 1 + more + n for n, (d, k) in enumerate(zip(layer.dilation, layer.kernel_size, strict=True))]
    made = torch.Generator().manual_seed(seed)
    return torch.randn(batch, layer.in_channels, *sizes, dtype=layer.tn.like.dtype, generator=made)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_chain_is_the_convolution(name):
    kind, ins, outs, kernel, groups, net = FAMILIES[name]
    sweep = [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same"}]
    for options in sweep:
        layer = kind(ins, outs, kernel, net, groups=groups, dtype=F64, **options)
        chains, x = every_chain(layer), draw(layer, 0)
        want = dense(layer)(x)
        assert chains
        for way in chains:
            torch.testing.assert_close(layer._chained(way.plan, x), want, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_random_networks():
    """Hyperedges, traces, sums, constants, tied arrays: an axis of length, and any split of the other outputs into channels."""
    compared = 0
    for seed in range(60):
        net, arrays = random_network(seed, max_space=3000)
        if len(net.output) < 3:
            continue
        first, second = 1 + seed % (len(net.output) - 2), len(net.output) - 1
        outs, ins = prod(net.shape[:first]), prod(net.shape[first:second])
        layer = TNConv1d(ins, outs, net.shape[-1], net, arrays=arrays, padding=1, dtype=F64)
        if isinstance(read_as_convolution(net, layer._shape, 1), str):
            continue
        x = draw(layer, seed)
        want = dense(layer)(x)
        for way in every_chain(layer, 8):
            torch.testing.assert_close(layer._chained(way.plan, x), want, rtol=1e-10, atol=1e-10)
            compared += 1
    assert compared > 50


def test_the_search_finds_the_cheapest_of_all_chains():
    """A shortest path against every ordered division; what copies cost depends on the path, and is left to it."""
    for name in ("tt, kernel as one index", "cp", "matrix of channels"):
        kind, ins, outs, kernel, groups, net = FAMILIES[name]
        layer = kind(ins, outs, kernel, net, groups=groups)
        best = {p: min(way.seconds(p) for way in every_chain(layer, 10**6)) for p in (1, 512, 8**6)}
        reading = read_as_convolution(net, layer._shape, groups)
        search = _Search(reading, layer.stride, 4)
        for positions, least in best.items():
            found = _route(search, search.shortest(positions), "auto").seconds(positions)
            assert found <= 1.1 * least


def test_many_nodes_are_joined_before_the_search():
    net = matrix_of_channels((2,) * 8, (2,) * 8, (3, 3))
    layer = TNConv2d(256, 256, 3, net, padding=1, dtype=F64, positions=1)
    reading = read_as_convolution(net, layer._shape, 1)
    assert len(reading.units) == 6 and sorted(n for unit in reading.units for n in unit) == sorted(
        n.name for n in net.nodes
    )
    x = draw(layer, 0, batch=1)
    want = dense(layer)(x)
    for way in every_chain(layer, 3):
        torch.testing.assert_close(layer._chained(way.plan, x), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("net", "shape", "groups", "why"),
    [
        (tk.tt((4, 9), 2), (6, 2, 3), 1, r"no split of \(4, 9\) makes 6 x 2 x 3"),
        (tk.tt((6, 2, 3), 2), (6, 2, 3), 4, "no split"),
        (tk.tt((3, 2, 2, 3), 2), (6, 2, 3), 2, r"no split of .* in 2 groups"),
        (tk.tt((8, 2, 3), 2).activate("tanh", "act"), (8, 2, 3), 1, "the network is nonlinear"),
        (Network([Node("A", "oik")], "oik", {"o": 6, "i": 2, "k": 3}), (6, 2, 3), 1, "one node holds"),
    ],
)
def test_what_is_no_chain_says_why(net, shape, groups, why):
    assert re.search(why, read_as_convolution(net, shape, groups))

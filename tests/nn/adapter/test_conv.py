"""TNConv1d, TNConv2d and TNConv3d as modules: torch's convolutions with the dense weight, in all that they take."""

import itertools
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
from tnkit_nn import TNConv1d, TNConv2d, TNConv3d
from tnkit_nn.adapter.conv_chain import chains
from tnkit_nn.adapter.conv_reading import read_as_convolution

from .test_conv_chains import CLASSES, F64, FAMILIES, dense, draw
from .test_parametrize import deep

WIDE = tk.tucker((32, 32, 3, 3), (4, 4, 3, 3))


def chained(layer):
    """The layer, which takes a chain for any input."""
    reading = read_as_convolution(layer.tn.network, layer._shape, layer.groups)
    layer.routes = layer.kept_routes = ((1, chains(reading, layer.stride, "auto", 8)[0].plan),)
    return layer


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("space", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_strides_padding_dilation_and_groups(space, mode):
    kind = (TNConv1d, TNConv2d, TNConv3d)[space - 1]
    kernel = (3, 2, 1)[:space]
    strides, paddings, dilations = (
        (1, (2, 1, 3)[:space]),
        (0, (1, 2, 1)[:space], "valid", "same"),
        (1, (2, 1, 2)[:space]),
    )
    for stride, padding, dilation, groups in itertools.product(strides, paddings, dilations, (1, 2)):
        if padding == "same" and stride != 1:
            continue
        net = tk.cp((groups, 6 // groups, 4 // groups, *kernel), 3)
        layer = kind(4, 6, kernel, net, stride, padding, dilation, groups, padding_mode=mode, dtype=F64)
        x = draw(layer, 1)
        want = dense(layer)(x)
        torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-12)
        torch.testing.assert_close(chained(layer)(x), want, rtol=0, atol=1e-12)
        torch.testing.assert_close(layer(x[0]), want[0], rtol=0, atol=1e-12)
        assert layer(x).shape == want.shape and layer(x[:0]).shape == want[:0].shape


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_the_dense_weight(name):
    kind, ins, outs, kernel, groups, net = FAMILIES[name]
    layer = kind(ins, outs, kernel, net, stride=2, padding=1, groups=groups, dtype=F64)
    x = draw(layer, 2).requires_grad_()
    params = [x, *layer.parameters()]
    built = layer._convolved(x, layer.weight)
    seed = torch.randn(built.shape, dtype=F64, generator=torch.Generator().manual_seed(3))
    want = torch.autograd.grad(built, params, seed)
    for route in dict.fromkeys(way for _, way in layer.routes):
        layer.routes = ((1, route),)
        for a, b in zip(torch.autograd.grad(layer(x), params, seed), want, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("net", [tk.cp((2, 3, 2, 2), 2), tk.tt((2, 3, 2, 2), 2)], ids=["cp", "tt"])
def test_gradcheck(net):
    layer = chained(TNConv2d(3, 2, 2, net, padding=1, dtype=F64, positions=1))
    names, params = zip(*layer.named_parameters(), strict=True)

    def fn(x, *ps):
        return torch.func.functional_call(layer, dict(zip(names, ps, strict=True)), (x,))

    args = (draw(layer, 4, batch=1, more=1).requires_grad_(), *[p.detach().requires_grad_() for p in params])
    assert torch.autograd.gradcheck(fn, args) and torch.autograd.gradgradcheck(fn, args)


@pytest.mark.parametrize("options", [
    {}, {"stride": (2, 1)}, {"padding": (0, 1)}, {"padding": "same"}, {"dilation": (1, 2)}, {"groups": 2}, {"bias": False},
    {"padding": 1, "padding_mode": "circular"},
], ids=str)  # fmt: skip
def test_its_text_begins_as_that_of_torch(options):
    net = tk.cp((options.get("groups", 1), 6 // options.get("groups", 1), 4 // options.get("groups", 1), 3, 3), 2)
    own, torchs = (kind(4, 6, 3, *given, **options) for kind, *given in ((TNConv2d, net), (nn.Conv2d,)))
    assert own.extra_repr().split("\n")[0] == torchs.extra_repr()


def test_the_cheaper_kind_is_chosen_and_the_text_says_so():
    """Measured (one thread): 2.3 against 20 ms factorised; of a TT-matrix whose bonds make more channels 35 against 23 ms."""
    layer = TNConv2d(64, 64, 3, tk.tucker((64, 64, 3, 3), (16, 16, 3, 3)), padding=1, positions=6272)
    assert re.search(
        r"positions 1 and up: factorised, predicted [\d.]+ ms; reconstructed [\d.]+ ms \(at 6272\)", repr(layer)
    )
    full = TNConv2d(64, 64, 3, tk.tucker((64, 64, 3, 3), (64, 64, 3, 3)), padding=1, positions=6272)
    assert "and up: reconstructed" in repr(full)
    first = "64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)\n"
    assert first in repr(layer) and first in repr(nn.Sequential(layer))


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (tk.tt((9, 6, 3, 3), 2), "a tensor of 9 x 6 x 3 x 3 is cut to a weight of 8 x 6 x 3 x 3"),
        (deep(8, 6, 3, 3), "the network is nonlinear"),
    ],
)
def test_a_weight_that_is_always_built_says_why(net, why):
    layer = TNConv2d(6, 8, 3, net, dtype=F64)
    assert f"any input: reconstructed, for {why}" in repr(layer)
    x = draw(layer, 5)
    torch.testing.assert_close(layer(x), dense(layer)(x), rtol=0, atol=1e-12)


def test_the_weights_scale_is_that_of_torch():
    layer = TNConv2d(32, 32, 3, WIDE)
    torch.testing.assert_close(layer.weight.std(), torch.tensor((3 * 32 * 9) ** -0.5), rtol=0.2, atol=0)
    assert layer.bias.abs().max() <= (32 * 9) ** -0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64, torch.complex128])
def test_dtypes(dtype):
    layer = TNConv2d(6, 8, 3, FAMILIES["tucker"][-1], padding=1, dtype=dtype)
    x, tol = draw(layer, 6), {torch.bfloat16: 0.1, torch.float32: 1e-5, torch.complex64: 1e-5}.get(dtype, 1e-12)
    want = dense(layer)(x)
    for y in (layer(x), chained(layer)(x)):
        assert y.dtype == want.dtype
        torch.testing.assert_close(y, want, rtol=tol, atol=tol)


@pytest.mark.parametrize("read", [list, np.array, torch.tensor, iter, torch.Size])
def test_one_number_an_axis_in_any_sequence(read):
    layer = TNConv2d(6, 8, read((3, 3)), tk.tt((8, 6, 3, 3), 2), read((2, 1)), read((1, 0)), read((1, 1)))
    assert (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((3, 3), (2, 1), (1, 0), (1, 1))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"kernel_size": (3, 3, 3)}, ValueError, r"TNConv2d: kernel_size has 2 numbers, or is one for all, not \(3, 3, 3\)"),
        ({"kernel_size": 0}, ValueError, "TNConv2d: kernel_size is a whole number of at least 1, not 0"),
        ({"stride": (1, 2.5)}, TypeError, "a number of TNConv2d: stride is a whole number of at least 1, not 2.5"),
        ({"padding": -1}, ValueError, "padding is a whole number of at least 0, not -1"),
        ({"padding": "some"}, ValueError, "padding, unless it is a number, is one of same, valid, not 'some'"),
        ({"padding": "same", "stride": 2}, ValueError, r"padding='same' needs stride 1, not \(2, 2\)"),
        ({"groups": 4}, ValueError, "groups divides the channels, 6 in and 8 out, which 4 does not"),
        ({"padding_mode": "mirror"}, ValueError, "padding_mode is one of zeros, reflect, replicate, circular, not 'mirror'"),
        ({"network": tk.tt((4, 6, 3, 3), 2)}, ValueError, "TNConv2d: the network's sizes multiply to the weight's, in order, but"),
    ],
)  # fmt: skip
def test_refusals(options, error, said):
    with pytest.raises(error, match=said):
        TNConv2d(**{"in_channels": 6, "out_channels": 8, "kernel_size": 3, "network": tk.tt((8, 6, 3, 3), 2)} | options)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (torch.ones(2, 5, 8, 8), {}, r"TNConv2d: x has shape \(batch, 6, height, width\), not \(2, 5, 8, 8\)"),
        (torch.ones(8, 8), {}, r"TNConv2d: x has shape \(batch, 6, height, width\), not \(8, 8\)"),
        (torch.ones(1, 6, 8, 2), {}, r"x has at least 3 entries on an axis of space, not 2: \(8, 2\)"),
        (torch.ones(1, 6, 2, 8), {"padding": 2, "padding_mode": "reflect"}, "x has at least 3 entries on an axis"),
        (torch.ones(1, 6, 2, 8), {"padding": 3, "padding_mode": "circular"}, "x has at least 3 entries on an axis"),
        (torch.ones(1, 6, 8, 8, dtype=F64), {}, "TNConv2d: x is torch.float64, the network's arrays are torch.float32"),
    ],
)
def test_inputs_that_are_refused(x, options, said):
    """Where torch refuses them too."""
    layer = TNConv2d(6, 8, 3, tk.tt((8, 6, 3, 3), 2), **options)
    with pytest.raises(RuntimeError):
        dense(layer)(x)
    with pytest.raises(ValueError, match=said):
        layer(x)


def test_small_inputs_that_torch_takes_are_taken():
    for mode, padding, least in (("zeros", 1, 1), ("reflect", 2, 3), ("circular", 2, 2), ("replicate", 2, 1)):
        layer = TNConv1d(6, 8, 3, tk.tt((8, 6, 3), 2), padding=padding, padding_mode=mode, dtype=F64)
        x = torch.ones(1, 6, least, dtype=F64)
        torch.testing.assert_close(layer(x), dense(layer)(x))
        with pytest.raises(RuntimeError):
            dense(layer)(x[..., 1:])
        with pytest.raises(ValueError, match=f"at least {least} entries"):
            layer(x[..., 1:])


@pytest.mark.parametrize("space", [1, 2, 3])
def test_from_module_takes_everything_over(space):
    kind, kernel = (TNConv1d, TNConv2d, TNConv3d)[space - 1], (3, 2, 2)[:space]
    torch.manual_seed(0)
    conv = CLASSES[space](4, 6, kernel, 2, 1, 1, 2, space != 2, "replicate", dtype=F64).eval()
    conv.weight.requires_grad_(False)
    net = tk.tt((6, 2, *kernel), 2)
    source = kind(4, 6, kernel, net, groups=2, dtype=F64)
    conv.weight.copy_(source.weight.detach())
    layer = kind.from_module(conv, net, arrays=dict(source.tn.tensors()), steps=30)
    assert type(layer) is kind and not layer.training and layer.tn.like.dtype == F64
    assert {p.requires_grad for p in layer.tn.parameters()} == {False}
    assert (layer.bias is None) == (conv.bias is None) and (layer.bias is None or torch.equal(layer.bias, conv.bias))
    x = draw(layer, 7)
    assert F.mse_loss(layer(x), conv(x)) < 1e-4 * conv(x).square().mean()
    exact = kind.from_module(conv, net, fit=False, arrays=dict(source.tn.tensors()))
    torch.testing.assert_close(exact(x), conv(x), rtol=0, atol=1e-12)


def test_from_module_refuses_by_name():
    for wrong in (nn.Conv1d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3), nn.Linear(4, 6), None):
        with pytest.raises(TypeError, match=r"TNConv2d\.from_module: module is a Conv2d, not"):
            TNConv2d.from_module(wrong, tk.tt((6, 4, 3, 3), 2))
    with pytest.raises(ValueError, match="the weight of LazyConv2d has a shape, but this one is lazy"):
        TNConv2d.from_module(nn.LazyConv2d(6, 3), tk.tt((6, 4, 3, 3), 2))

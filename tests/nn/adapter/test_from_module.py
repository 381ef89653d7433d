"""from_module of TNLinear and TNEmbedding: the weight fitted, and everything else as it was."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import TNEmbedding, TNLinear

from .test_layers import CP, F64, MPO
from .test_parametrize import deep, train


class Conv1D(nn.Module):
    """Stands in for that of transformers, which the tests do without."""

    def __init__(self, nf, nx, dtype=None):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(0.02 * torch.randn(nx, nf, dtype=dtype))
        self.bias = nn.Parameter(torch.randn(nf, dtype=dtype))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


# network, rows, columns: it reads as rows x columns
NETS = {
    "mpo": (MPO, 64, 60), "cp": (CP, 6, 12), "cropped": (train(4, 3, 2, 7), 11, 13), "deep": (deep(4, 3, 2, 7), 12, 14),
    "unaligned": (train(4, 9), 6, 6),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_from_linear(bias, dtype):
    linear = nn.Linear(12, 6, bias=bias, dtype=dtype)
    layer = TNLinear.from_module(linear, CP, fit=False)
    assert (layer.bias is not None) == bias and layer.tn.A.dtype == dtype
    if bias:
        assert torch.equal(layer.bias, linear.bias) and layer.bias is not linear.bias
    x = torch.randn(3, 12, dtype=dtype)
    assert layer(x).dtype == dtype
    assert torch.equal(linear.eval() and TNLinear.from_module(linear.eval(), CP, fit=False)(x), layer(x))
    assert not TNLinear.from_module(linear.eval(), CP, fit=False).training


@pytest.mark.slow
def test_from_linear_fits():
    linear = nn.Linear(12, 10).double()
    source = TNLinear(12, 10, train(5, 2, 3, 4, rank=2), dtype=F64)
    linear.weight.data = source.weight.detach()
    layer = TNLinear.from_module(linear, train(5, 2, 3, 4, rank=3), steps=1500)
    assert (layer.weight - linear.weight).norm() / linear.weight.norm() < 1e-6


@pytest.mark.parametrize("name", NETS)
def test_conv1d_of_transformers(name):
    """The network's tensor reads as the weight there, (in, out), whichever way it is multiplied."""
    net, ins, outs = NETS[name]
    module = Conv1D(outs, ins, F64)
    layer = TNLinear.from_module(module, net, fit=False, seed=3)
    assert (layer.in_features, layer.out_features, layer.transposed) == (ins, outs, True) and "transposed=True" in repr(
        layer
    )
    assert layer.weight.shape == module.weight.shape
    dense = tk.detensorize(tk.contract(net, dict(layer.tn.tensors())), (ins, outs))
    torch.testing.assert_close(layer.weight, dense, rtol=0, atol=1e-12)
    x = torch.randn(2, 5, ins, dtype=F64, requires_grad=True)
    with torch.no_grad():
        module.weight.copy_(layer.weight)
    torch.testing.assert_close(layer(x), module(x), rtol=0, atol=1e-12)
    params = [x, layer.bias, *layer.tn.parameters()]
    want = torch.autograd.grad((x @ layer.weight + layer.bias).square().sum(), params)
    for route in dict.fromkeys(way for _, way in layer.routes):
        layer.routes = ((1, route),)
        for a, b in zip(torch.autograd.grad(layer(x).square().sum(), params), want, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_conv1d_is_fitted_as_it_stands():
    module, net = Conv1D(10, 12, F64), train(3, 4, 5, 2, rank=2)
    source = TNLinear(12, 10, net, transposed=True, dtype=F64)
    module.weight.data = source.weight.detach()
    layer = TNLinear.from_module(module, train(3, 4, 5, 2, rank=3), steps=1500)
    assert (layer.weight - module.weight).norm() / module.weight.norm() < 1e-6
    x = torch.randn(4, 12, dtype=F64)
    torch.testing.assert_close(layer(x), module(x), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_conv1d_of_transformers_itself():
    utils = pytest.importorskip("transformers.pytorch_utils")
    module = utils.Conv1D(8, 12)
    layer = TNLinear.from_module(module, tk.mpo((3, 4), (2, 4), 12), steps=400)
    x = torch.randn(3, 12)
    assert F.mse_loss(layer(x), module(x)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("padding_idx", [None, 0, 3, -1])
@pytest.mark.parametrize("frozen", [True, False])
def test_from_embedding(padding_idx, frozen):
    table = nn.Embedding(10, 12, padding_idx=padding_idx, dtype=F64).eval()
    table.weight.requires_grad_(not frozen)
    net = train(5, 2, 3, 4, rank=10)
    layer = TNEmbedding.from_module(table, net, steps=600, lr=0.05)
    assert (layer.num_embeddings, layer.embedding_dim, layer.padding_idx) == (10, 12, table.padding_idx)
    assert layer.tn.like.dtype == F64 and not layer.training
    assert {p.requires_grad for p in layer.parameters()} == {not frozen}
    tokens = torch.tensor([[0, 3, 9], [1, 1, 7]])
    torch.testing.assert_close(layer(tokens), table(tokens), rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("scale", [1, 1e-30, 1e30])
@pytest.mark.parametrize(
    "net", [tk.mpo((4, 4), (4, 4), 16), tk.low_rank((16, 16), 16), tk.tucker((4, 4, 16), 16), tk.tree((4, 4, 4, 4), 16)]
)
def test_a_tree_begins_at_its_closed_form(net, scale, dtype):
    """A network that holds the weight has it after one step, whatever its conditioning; without it Adam is 0.001 off for one seed in thirty."""
    for seed in (43, 61, 298):
        torch.manual_seed(seed)
        module = nn.Linear(16, 16, bias=False, dtype=dtype)
        module.weight.data = torch.randn(16, 16, dtype=dtype) * scale
        layer = TNLinear.from_module(module, net, steps=1)
        off = (layer.weight.detach() / scale - module.weight.detach() / scale).norm() / 16
        assert off < 2e-6
        sizes = [float(x.detach().abs().square().mean().sqrt()) for x in layer.tn.tensors().values()]
        assert max(sizes) < 4 * min(sizes)  # one rate suits them all


@pytest.mark.filterwarnings("ignore:fit. relative error")  # of one step from a random start
def test_a_large_weight_has_the_closed_form_alone(monkeypatch):
    from tnkit_nn.adapter import replacement

    ran = []

    def fit(*args, **options):
        ran.append(options.get("steps"))
        return tknn.fit(*args, **{**options, "steps": 1})

    monkeypatch.setattr(replacement, "fit_arrays", fit)
    monkeypatch.setattr(replacement, "ONE_WAY", 24 * 20 - 1)
    module, net = nn.Linear(24, 20), train(4, 5, 4, 6, rank=3)
    layers = [TNLinear.from_module(module, net, **options) for options in ({}, {"steps": 7})]
    assert ran == [1, 7]
    weight = module.weight.detach().double()
    off = float((layers[0].weight.detach().double() - weight).norm() / weight.norm())
    assert off == pytest.approx(tk.tree_svd(weight.numpy().reshape(net.shape), net).error, rel=1e-5)
    TNLinear.from_module(module, tk.cp((4, 5, 24), 3))
    monkeypatch.setattr(replacement, "ONE_WAY", 24 * 20)
    TNLinear.from_module(module, net)
    assert ran[2:] == [None, None]


def test_the_fit_of_a_tree_is_as_near_as_its_closed_form():
    for seed in range(3):
        torch.manual_seed(seed)
        module = nn.Linear(24, 20)
        net = train(4, 5, 4, 6, rank=3)
        layer = TNLinear.from_module(module, net, steps=40)
        weight = module.weight.detach().double()
        off = float((layer.weight.detach().double() - weight).norm() / weight.norm())
        assert off <= tk.tree_svd(weight.numpy().reshape(net.shape), net).error * (1 + 1e-6)


@pytest.mark.parametrize(
    "net", [train(5, 2, 3, 4), deep(5, 2, 3, 4), train(6, 2, 3, 5)], ids=["rows", "built", "cropped"]
)
@pytest.mark.parametrize("padding_idx", [2, -1])
def test_the_padding_row_is_zero_and_has_no_gradient(net, padding_idx):
    """Against torch's own layer, with the other rows of the same table."""
    layer = TNEmbedding(10, 12, net, padding_idx=padding_idx, dtype=F64)
    row = padding_idx % 10
    assert layer.padding_idx == row and f"padding_idx={row}" in repr(layer)
    table = nn.Embedding(10, 12, padding_idx=padding_idx, dtype=F64, _weight=layer.weight.detach().clone())
    tokens, seed = torch.tensor([row, 0, row, 9, 5]), torch.randn(5, 12, dtype=F64)
    assert torch.equal(layer.weight[row], torch.zeros(12, dtype=F64)) and torch.equal(
        layer(tokens)[0], layer.weight[row]
    )
    torch.testing.assert_close(layer(tokens), table(tokens), rtol=0, atol=1e-12)
    table(tokens).backward(seed)
    params = list(layer.parameters())
    want = torch.autograd.grad(layer.weight, params, table.weight.grad)
    for a, b in zip(torch.autograd.grad(layer(tokens), params, seed), want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    none = torch.autograd.grad(layer(torch.tensor([row])), params, seed[:1])
    assert not any(g.any() for g in none)


def test_what_needs_the_rows_of_a_table_is_refused_by_name():
    net = train(5, 2, 3, 4)
    for options, said in (
        ({"max_norm": 1.0}, "max_norm=1.0"),
        ({"sparse": True}, "sparse=True"),
        ({"scale_grad_by_freq": True}, "scale_"),
    ):
        with pytest.raises(ValueError, match=rf"TNEmbedding\.from_module: module has {said}.*unset it first$"):
            TNEmbedding.from_module(nn.Embedding(10, 12, **options), net, fit=False)
    for row in (10, -11):
        with pytest.raises(ValueError, match=rf"TNEmbedding: padding_idx is a row, in -10\.\.9, not {row}"):
            TNEmbedding(10, 12, net, padding_idx=row)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: TNLinear.from_module(nn.Bilinear(3, 4, 6), CP), TypeError, "module is an nn.Linear, or a Conv1D of transformers, not"),
        (lambda: TNLinear.from_module(nn.Conv1d(12, 6, 1), CP), TypeError, "module is an nn.Linear"),
        (lambda: TNEmbedding.from_module(nn.EmbeddingBag(6, 12), CP), TypeError, "module is a Embedding, not"),
        (lambda: TNLinear.from_module(nn.LazyLinear(6), CP), ValueError, "the weight of LazyLinear has a shape, but this one is lazy"),
        (lambda: TNLinear.from_module(nn.Linear(12, 6), CP, fit=False, steps=3), ValueError, "steps are options of the fit"),
        (lambda: TNLinear.from_module(nn.Linear(12, 6), CP, fit=1), TypeError, "fit is True or False, not 1"),
        (lambda: TNLinear.from_module(nn.Linear(13, 6), CP), ValueError, "the network's sizes multiply to the weight's, in order, but"),
        (
            lambda: TNLinear.from_module(nn.Linear(12, 6), CP, fit=False, arrays={n: torch.ones(s, dtype=torch.complex64) for n, s in CP.array_shapes.items()}),
            ValueError, "array 'A' is torch.complex64, but the weight is torch.float32",
        ),
    ],
)  # fmt: skip
def test_refusals(call, error, said):
    with pytest.raises(error, match=re.escape(said).replace(r"\ ", " ")):
        call()

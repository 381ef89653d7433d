"""Layers among torch's tools: autocast, dtypes, vmap, compile, export, copies, the meta device, eval mode."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
from tnkit_nn import TNConv1d, TNConv2d, TNEmbedding, TNLinear, keep_weights
from tnkit_nn.adapter.crossover import route_for
from tnkit_nn.adapter.layer_weight import LayerWeight

from .test_layers import F64, MPO
from .test_parametrize import deep, train

TOKENS = 10


def _input(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _tokens(seed, *shape):
    return torch.randint(TOKENS, shape, generator=torch.Generator().manual_seed(seed))


CONV = tk.tt((8, 6, 3, 3), 3)
#: Layer by options, input by seed: layers that contract with their input, and those that build the weight.
MAKES = {
    "linear": (lambda **o: TNLinear(60, 64, MPO, **o), lambda seed, **o: _input(seed, 5, 60, **o)),
    "linear, transposed": (lambda **o: TNLinear(64, 60, MPO, transposed=True, **o), lambda seed, **o: _input(seed, 5, 64, **o)),
    "linear, built": (lambda **o: TNLinear(14, 12, deep(4, 3, 2, 7), **o), lambda seed, **o: _input(seed, 5, 14, **o)),
    "embedding": (lambda **o: TNEmbedding(TOKENS, 12, train(5, 2, 3, 4), padding_idx=1, **o), lambda seed, **o: _tokens(seed, 2, 3)),
    "embedding, built": (lambda **o: TNEmbedding(TOKENS, 12, deep(5, 2, 3, 4), **o), lambda seed, **o: _tokens(seed, 2, 3)),
    "conv": (lambda **o: TNConv2d(6, 8, 3, CONV, padding=1, positions=1, **o), lambda seed, **o: _input(seed, 2, 6, 5, 4, **o)),
    "conv, built": (lambda **o: TNConv1d(6, 8, 3, deep(8, 6, 3), **o), lambda seed, **o: _input(seed, 2, 6, 5, **o)),
    "conv, reflected": (lambda **o: TNConv1d(6, 8, 3, tk.cp((8, 6, 3), 2), padding=1, padding_mode="reflect", **o), lambda seed, **o: _input(seed, 2, 6, 5, **o)),
}  # fmt: skip


@pytest.fixture(params=MAKES)
def made(request):
    return MAKES[request.param]


def dense(layer, x, weight):
    """Torch's own function with a dense weight."""
    if isinstance(layer, TNEmbedding):
        return F.embedding(x, weight)
    if isinstance(layer, TNLinear):
        return F.linear(x, weight.mT if layer.transposed else weight, layer.bias)
    return layer._convolved(x, weight)


# -- precision -----------------------------------------------------------------------------------------------------------
def test_autocast_has_the_error_of_a_dense_layer(made):
    make, draw = made
    layer, x = make(), draw(0)
    exact = dense(layer.double(), x.double() if x.is_floating_point() else x, layer.weight).detach()
    layer = layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = layer(x), dense(layer, x, layer.weight.detach())
    assert ours.dtype == theirs.dtype
    errors = [(y.double() - exact).norm() / exact.norm() for y in (ours, theirs)]
    assert errors[0] <= 1.1 * errors[1] + 1e-6


def test_autocast_takes_what_a_layer_before_has_rounded():
    layer = TNLinear(60, 64, MPO)
    with torch.autocast("cpu", torch.bfloat16):
        once = nn.Linear(60, 60)(_input(0, 5, 60))
        assert once.dtype == torch.bfloat16
        for route in dict.fromkeys(way for _, way in layer.routes):
            layer.routes = ((1, route),)
            assert layer(once).dtype == torch.bfloat16
    double = TNLinear(60, 64, MPO, dtype=F64)
    with torch.autocast("cpu", torch.bfloat16):
        assert double(_input(0, 5, 60, dtype=F64)).dtype == F64  # as nn.Linear
        double.routes = ((1, next(way for _, way in double.routes if way)),)
        with pytest.raises(
            ValueError, match=r"x is torch.bfloat16, the network's arrays are torch.float64, which autocast leaves"
        ):
            double(once)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["linear", "linear, transposed", "embedding", "conv"])
def test_every_dtype_that_torch_takes(name, dtype):
    make, draw = MAKES[name]
    layer = make(dtype=dtype)
    x = draw(0, **({} if "embedding" in name else {"dtype": dtype}))
    y, want = layer(x), dense(layer, x, layer.weight.detach())
    assert y.dtype == want.dtype == dtype
    torch.testing.assert_close(y, want, rtol=0.05, atol=0.05)


def test_a_table_of_complex_numbers_has_gradients():
    """Torch's own has none."""
    table = TNEmbedding(6, 6, train(4, 9), dtype=torch.complex128)
    tokens = _tokens(0, 7) % 6
    params = list(table.parameters())
    assert table.plan is None and table(tokens[:0]).shape == (0, 6)
    found = torch.autograd.grad(table(tokens).abs().sum(), params)
    for a, b in zip(found, torch.autograd.grad(table.weight[tokens].abs().sum(), params), strict=True):
        torch.testing.assert_close(a, b)


# -- transforms ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shared", [True, False])
def test_vmap_over_stacked_parameters(made, shared):
    """An ensemble: stacked arrays, and one input or one each."""
    make, draw = made
    layers = [make(seed=k, dtype=F64).train(shared) for k in range(3)]
    params, buffers = torch.func.stack_module_state(layers)
    xs = [draw(0 if shared else k, dtype=F64) for k in range(3)]

    def one(params, buffers, x):
        return torch.func.functional_call(layers[0], (params, buffers), (x,))

    together = torch.func.vmap(one, in_dims=(0, 0, None if shared else 0))(
        params, buffers, xs[0] if shared else torch.stack(xs)
    )
    for k, (layer, x) in enumerate(zip(layers, xs, strict=True)):
        torch.testing.assert_close(together[k], layer(x), rtol=0, atol=1e-12)


def test_gradients_a_sample(made):
    make, draw = made
    layer, x = make(dtype=F64), draw(0, dtype=F64)
    params = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(params, x):
        return torch.func.functional_call(layer, params, (x.unsqueeze(0),)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, x)
    for k in range(len(x)):
        for name, want in torch.func.grad(loss)(params, x[k]).items():
            torch.testing.assert_close(found[name][k], want, rtol=0, atol=1e-10)


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 12),
    reason="torch before 2.12 says that it exports, too, where it compiles",
)
def test_compiled_code_compares_rows_and_an_exported_graph_does_not():
    class Which(nn.Module):
        def forward(self, x):
            return x + (1 if route_for(((4, "few"), (100, "many")), x.shape[0], 50) == "few" else 2)

    which, x = Which(), torch.zeros(3)
    assert torch.equal(torch.compile(which, fullgraph=True, backend="eager")(x), torch.ones(3))
    assert torch.equal(torch.export.export(which, (x,)).module()(x), torch.full((3,), 2.0))


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compiled_without_a_graph_break(made, training):
    make, draw = made
    layer, x = make(dtype=F64).train(training), draw(0, dtype=F64)
    torch._dynamo.reset()
    fast = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for seed in (0, 1):
        x = draw(seed, dtype=F64)
        torch.testing.assert_close(fast(x), layer(x), rtol=0, atol=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), layer(x), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_compiled_with_inductor():
    for name in ("conv", "embedding"):
        make, draw = MAKES[name]
        layer, x = make(), draw(0)
        torch._dynamo.reset()
        torch.testing.assert_close(torch.compile(layer, fullgraph=True)(x), layer(x))


@pytest.mark.slow
def test_exported_for_any_batch(made):
    make, draw = made
    layer, x = make(dtype=F64).eval(), draw(0, dtype=F64)
    exported = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    for batch in (x, torch.cat([x, x, x])):
        torch.testing.assert_close(exported.module()(batch), layer(batch), rtol=0, atol=1e-12)


# -- copies, devices, modes ----------------------------------------------------------------------------------------------
def test_copies_pickles_and_state(made):
    make, draw = made
    layer, x = make(), draw(0)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    other = make(seed=5)
    other.load_state_dict(layer.state_dict())
    for again in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(buffer, weights_only=False),
        other,
    ):
        assert torch.equal(again(x), layer(x)) and repr(again) == repr(layer)
        assert {p.data_ptr() for p in again.parameters()}.isdisjoint(p.data_ptr() for p in layer.parameters())


def test_in_eval_mode_the_same_to_rounding(made):
    make, draw = made
    layer = make(dtype=F64)
    x = draw(0, dtype=F64)
    want = layer(x)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(layer.eval()(x), want, rtol=0, atol=1e-12)
        for p in layer.parameters():
            p.mul_(1.1)
        torch.testing.assert_close(layer(x), layer.train()(x), rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.eval()(x), dense(layer, x, layer.weight), rtol=0, atol=1e-12)


def test_a_weight_is_built_once_in_eval_mode(made, monkeypatch):
    """Where it is built at all: not again until an array changes, also where that is written to behind torch's back."""
    make, draw = made
    layer, x, built = make(dtype=F64).eval(), draw(0, dtype=F64), []
    read_as = LayerWeight.read_as
    monkeypatch.setattr(LayerWeight, "read_as", lambda *a: built.append(1) or read_as(*a))
    with torch.no_grad():
        for _ in range(3):
            layer(x)
        assert len(built) <= 1
        first = next(iter(layer.tn.parameters()))
        first.data.view(-1)[0] += 1.0
        again = layer(x)
        assert len(built) in (0, 2)
        torch.testing.assert_close(again, dense(layer, x, layer.weight), rtol=0, atol=1e-12)
    assert layer(x).requires_grad  # outside of no_grad the arrays have gradients
    layer.requires_grad_(False)
    if x.is_floating_point():  # a frozen layer passes gradients on
        x.requires_grad_()
        found = torch.autograd.grad(layer(x).square().sum(), x)[0]
        torch.testing.assert_close(found, torch.autograd.grad(dense(layer, x, layer.weight).square().sum(), x)[0])


def test_what_does_not_fit_is_not_built_at_every_call():
    """A layer that may contract with its input does, where a weight that is built would not be kept."""
    layer = TNLinear(64, 64, tk.mpo((8, 8), (8, 8), 20)).eval()
    layer.routes, layer.kept_routes = ((1, layer.routes[0][1] or layer.kept_routes[0][1]),), ((1, None),)
    chain = layer.routes[0][1]
    assert chain is not None
    x, taken = _input(0, 1, 64), []
    layer._contracted = lambda *a: taken.append(1) or TNLinear._contracted(layer, *a)
    try:
        with torch.no_grad():
            layer(x)
            assert not taken
            keep_weights(64 * 64 * 4)  # its arrays are copied too
            layer(x)
            assert taken
    finally:
        keep_weights(2**31)


def test_made_on_the_meta_device(made):
    """Without values; then drawn as on another device, or loaded, in place or by assignment."""
    make, draw = made
    with torch.device("meta"):
        bare = make(dtype=F64)
    assert all(p.is_meta for p in bare.parameters()) and all(b.is_meta for b in bare.buffers())
    there, x = make(dtype=F64), draw(0, dtype=F64)
    loaded, drawn = copy.deepcopy(bare), copy.deepcopy(bare).to_empty(device="cpu")
    loaded.load_state_dict(there.state_dict(), assign=True)
    assert torch.equal(loaded(x), there(x))
    drawn.reset_parameters()
    if getattr(drawn, "bias", None) is not None:
        fan_in = there.in_features if isinstance(there, TNLinear) else there.weight[0].numel()
        assert 0 < drawn.bias.abs().max() <= fan_in**-0.5
        with torch.no_grad():
            drawn.bias.copy_(there.bias)
    assert torch.equal(drawn(x), there(x))  # the arrays are drawn from the seed


def test_a_layer_of_the_meta_device_whose_activation_bounds_its_scale():
    with torch.device("meta"):
        layer = TNLinear(8, 8, tk.tt((8, 8), 3).activate("sigmoid", "act"))
    layer.to_empty(device="cpu").reset_parameters()
    assert torch.equal(layer.weight, TNLinear(8, 8, tk.tt((8, 8), 3).activate("sigmoid", "act")).weight)


@pytest.mark.parametrize(
    ("module", "take", "net"),
    [
        (lambda: nn.Linear(12, 10, device="meta"), TNLinear, train(5, 2, 3, 4)),
        (lambda: nn.Embedding(10, 12, padding_idx=0, device="meta"), TNEmbedding, train(5, 2, 3, 4)),
        (lambda: nn.Conv2d(6, 8, 3, device="meta"), TNConv2d, CONV),
    ],
)
def test_from_module_of_one_without_values(module, take, net):
    layer = take.from_module(module(), net, fit=False)
    assert all(p.is_meta for p in layer.parameters())
    with pytest.raises(
        ValueError, match="has values where the network is fitted to it, but it is on the meta device: fit=False"
    ):
        take.from_module(module(), net)


# -- constants, writes ----------------------------------------------------------------------------------------------------
CONSTANTS = {
    "multilinear": tk.Network(
        (tk.Node("A", "ar"), tk.Node("D", "rst", fixed="delta"), tk.Node("B", "bs"), tk.Node("O", "u", fixed="ones"), tk.Node("C", "cdtu")),
        "abcd", dict(a=2, b=2, c=2, d=2, r=3, s=3, t=3, u=2),
    ),
    "deep": tk.adtn((2, 2, 2, 2), depth=2, dim=2, full=True),
}  # fmt: skip


@pytest.mark.parametrize("net", CONSTANTS.values(), ids=CONSTANTS)
def test_a_network_with_constants_is_in_every_layer_what_it_is(net):
    assert any(isinstance(leaf.fixed, str) for leaf in net.leaves)
    layers = [
        (TNLinear(4, 4, net), _input(0, 3, 4)),
        (TNEmbedding(4, 4, net), torch.tensor([0, 1, 2, 3])),
        (TNConv1d(2, 4, 2, net), _input(0, 3, 2, 5)),
    ]
    for layer, x in layers:
        arrays = {n: t.detach().numpy() for n, t in layer.tn.named_parameters()}
        weight = torch.as_tensor(tk.contract(net, arrays)).reshape(layer.weight.shape)
        torch.testing.assert_close(layer(x), dense(layer, x, weight))
        with torch.no_grad():
            torch.testing.assert_close(layer.eval()(x), dense(layer, x, weight))


def test_the_weight_of_a_layer_is_not_written_to(made):
    make, draw = made
    layer = make()
    before = layer(draw(0)).detach()
    for write in (lambda: layer.weight.zero_(), lambda: nn.init.ones_(layer.weight), lambda: layer.weight.data.mul_(2)):
        with (
            torch.no_grad(),
            pytest.raises(RuntimeError, match=r"the weight of TN\w+ is made by a network, .* layer.tn"),
        ):
            write()
    assert torch.equal(layer(draw(0)), before)

"""A network added to a frozen weight: the forward that contracts it is the product with the dense sum, whoever looks."""

import copy
import pickle

import pytest

import tnkit as tk

torch = pytest.importorskip("torch")
F = torch.nn.functional
from torch import nn  # noqa: E402
from torch.func import functional_call, stack_module_state, vmap  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

import tnkit_nn as tknn  # noqa: E402
from tnkit_nn.adapter import lora  # noqa: E402
from tnkit_nn.adapter.crossover import exporting  # noqa: E402
from tnkit_nn.adapter.lora import install  # noqa: E402

#: Networks of 24 x 36, one that is cut to it, one whose indices split it nowhere, and nonlinear ones.
NETS = {
    "low rank": tk.low_rank((24, 36), 3),
    "TT-matrix": tk.mpo((4, 6), (6, 6), 2),
    "TT": tk.tt((4, 6, 6, 6), 3),
    "CP": tk.cp((4, 6, 6, 6), 3),
    "Tucker": tk.tucker((4, 6, 6, 6), 2),
    "ring": tk.ring((24, 36), 2),
    "cut": tk.mpo((5, 5), (6, 7), 2),
    "across": tk.tt((32, 27), 3),
    "ADTN": tk.adtn((24, 36), depth=2),
    "sigmoid": tk.low_rank((24, 36), 3).activate("sigmoid", "f"),
}
CONTRACTED = ("low rank", "TT-matrix", "TT", "CP", "Tucker", "ring", "cut")


def drawn(net, seed):
    """Arrays of a weight that is not zero: 0.3 at root mean square, or what a sigmoid gives."""
    return tk.init.normal(net, seed=seed, std=None if net is NETS["sigmoid"] else 0.3)


def linear(net, seed=0, bias=True):
    """A layer in float64 with a network that is not zero, and its dense twin."""
    torch.manual_seed(seed)
    layer = nn.Linear(36, 24, bias=bias, dtype=torch.float64)
    arrays = drawn(net, seed + 1)
    old = layer.weight.detach().clone()
    tknn.parametrize_(layer, "weight", net, arrays, base=True)
    return layer, old


def ways(layer):
    """All routes of a layer: its plans, and the sum."""
    how = layer.parametrizations.weight.added
    return {id(p): p for _, p in (*how.routes, *how.kept_routes)}.values()


def forced(layer, route, apart=0):
    """The layer with one route for every number of rows."""
    from dataclasses import replace

    at = layer.parametrizations.weight
    at.added = replace(at.added, routes=((2**20, route),), kept_routes=((2**20, route),), apart=apart)
    return layer


def dense_of(layer):
    """The sum, as torch's own list of parametrizations makes it."""
    return layer.parametrizations.weight().detach().clone()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "rows", [(5,), *(pytest.param(r, marks=pytest.mark.slow) for r in ((2, 3), (), (1,), (300,), (0,)))]
)
def test_outputs_and_gradients_are_those_of_the_dense_sum(name, rows):
    layer, old = linear(NETS[name])
    net = layer.parametrizations.weight[0]
    x = torch.randn(*rows, 36, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(*rows, 24, dtype=torch.float64)
    arrays = {n: a.detach().clone().requires_grad_() for n, a in net.tensors().items() if a.requires_grad}
    held = {**{n: a.detach() for n, a in net.tensors().items()}, **arrays}
    dense = old + tk.detensorize(tk.contract(net.network, held), (24, 36))
    want = F.linear(x, dense, layer.bias.detach())
    wanted = torch.autograd.grad(want, [x, *arrays.values()], seed)
    for route in [*ways(layer), None]:
        for apart in (0, 2**20):
            forced(layer, route, apart)
            layer.zero_grad()
            x.grad = None
            got = layer(x)
            got.backward(seed)
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(x.grad, wanted[0], rtol=1e-11, atol=1e-11)
            for n, g in zip(arrays, wanted[1:], strict=True):
                torch.testing.assert_close(getattr(net, n).grad, g, rtol=1e-10, atol=1e-10)
            assert layer.parametrizations.weight.original.grad is None


@pytest.mark.parametrize("name", CONTRACTED)
def test_no_dense_update_is_built_where_the_input_is_contracted(name, monkeypatch):
    layer, _ = linear(NETS[name])
    plans = [p for p in ways(layer) if p is not None]
    assert plans
    monkeypatch.setattr(type(layer.parametrizations.weight[0]), "forward", refuse)
    forced(layer, plans[0])(torch.randn(7, 36, dtype=torch.float64)).sum().backward()


def refuse(*args):
    raise AssertionError("the update was built")


def test_low_rank_is_contracted_for_every_batch():
    layer = nn.Linear(1024, 1024)
    tknn.parametrize_(layer, "weight", tk.low_rank((1024, 1024), 4), base=True)
    assert all(route is not None for _, route in layer.parametrizations.weight.added.routes)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_a_drawn_network_begins_at_the_old_weight_and_learns(name):
    torch.manual_seed(0)
    layer = nn.Linear(36, 24, dtype=torch.float64)
    x = torch.randn(9, 36, dtype=torch.float64)
    want = layer(x).detach()
    tknn.parametrize_(layer, "weight", NETS[name], base=True, std=None if name == "sigmoid" else "match")
    assert not layer.parametrizations.weight.original.requires_grad
    torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-14)
    trained = [p for p in layer.parameters() if p.requires_grad]
    method, target = torch.optim.Adam(trained, lr=0.01), want + 1
    before = float((layer(x) - target).square().mean().detach())
    for _ in range(30):
        method.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        method.step()
    assert float(loss.detach()) < 0.9 * before


@pytest.mark.parametrize("name", NETS)
def test_merging_gives_the_same_function(name):
    layer, old = linear(NETS[name])
    x = torch.randn(11, 36, dtype=torch.float64)
    got, sum_ = layer(x).detach(), dense_of(layer)
    tknn.merge_(layer, "weight")
    assert type(layer) is nn.Linear and type(layer).forward is nn.Linear.forward
    torch.testing.assert_close(layer.weight.detach(), sum_, rtol=0, atol=0)
    torch.testing.assert_close(layer(x).detach(), got, rtol=1e-12, atol=1e-12)
    assert not torch.equal(old, layer.weight)


@pytest.mark.parametrize("name", NETS)
def test_state_dicts_go_to_a_layer_of_the_same_network(name):
    layer, _ = linear(NETS[name])
    other, _ = linear(NETS[name], seed=5)
    x = torch.randn(3, 36, dtype=torch.float64)
    assert not torch.equal(layer(x), other(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ["low rank", "ADTN"])
def test_copies_contract_too_and_are_their_own(name, copied, monkeypatch):
    layer, _ = linear(NETS[name])
    x = torch.randn(3, 36, dtype=torch.float64)
    other = copied(layer)
    assert torch.equal(layer(x), other(x)) and type(other).forward is lora._linear
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(2)
    assert not torch.equal(layer(x), other(x))
    tknn.merge_(other, "weight")
    assert type(layer).forward is lora._linear


@pytest.mark.parametrize("name", ["low rank", "TT-matrix", "cut", "ADTN"])
def test_vmap_over_stacked_layers(name):
    layers = [linear(NETS[name])[0]]
    for k in range(2):
        layers.append(copy.deepcopy(layers[0]))
        layers[-1].parametrizations.weight[0].load_state_dict(
            linear(NETS[name], k + 1)[0].parametrizations.weight[0].state_dict()
        )
    parameters, buffers = stack_module_state(layers)
    x = torch.randn(5, 36, dtype=torch.float64)
    got = vmap(lambda p, b: functional_call(layers[0], (p, b), (x,)))(parameters, buffers)
    for k, layer in enumerate(layers):
        torch.testing.assert_close(got[k], layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["low rank", "TT-matrix", "ADTN"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_compiled_layers_are_the_same(name, training):
    layer = linear(NETS[name])[0].train(training)
    x = torch.randn(5, 36, dtype=torch.float64)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-12, atol=1e-12)
    layer.zero_grad()
    compiled(x).square().sum().backward()
    grads = {n: p.grad for n, p in layer.named_parameters()}
    layer.zero_grad()
    layer(x).square().sum().backward()
    for n, p in layer.named_parameters():
        assert (grads[n] is None) == (p.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(grads[n], p.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["low rank", "ADTN"])
def test_exported_layers_are_the_same(name):
    layer = linear(NETS[name])[0].eval()
    rows = torch.export.Dim("rows", min=2, max=4096)
    made = torch.export.export(layer, (torch.randn(5, 36, dtype=torch.float64),), dynamic_shapes=({0: rows},)).module()
    for n in (2, 700):
        x = torch.randn(n, 36, dtype=torch.float64)
        torch.testing.assert_close(made(x), layer(x), rtol=1e-11, atol=1e-11)


def test_compiling_is_not_taken_for_exporting():
    """Of a compiled layer the rows are known, and choose the route."""
    assert exporting is getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


@pytest.mark.slow
def test_exported_embeddings_take_any_number_of_tokens():
    table = nn.Embedding(24, 36, dtype=torch.float64)
    tknn.parametrize_(table, "weight", NETS["TT-matrix"], drawn(NETS["TT-matrix"], 1), base=True)
    table.eval()
    count = torch.export.Dim("count", min=2, max=4096)
    made = torch.export.export(table, (torch.arange(5),), dynamic_shapes=({0: count},)).module()
    for n in (2, 700):
        tokens = torch.arange(n) % 24
        torch.testing.assert_close(made(tokens), table(tokens), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["low rank", "TT-matrix", "ADTN"])
def test_under_autocast_the_error_is_that_of_a_dense_layer(name):
    layer = linear(NETS[name])[0].float()
    x = torch.randn(64, 36)
    with torch.no_grad():
        exact = F.linear(x.double(), dense_of(layer).double(), layer.bias.double())
    for route in [*ways(layer), None]:
        forced(layer, route, apart=2**20)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = layer(x)
            dense = F.linear(x, dense_of(layer), layer.bias)
        assert got.dtype == dense.dtype == torch.bfloat16
        error, usual = (float((y.detach().double() - exact).norm()) for y in (got, dense))
        assert error < 1.3 * usual


@pytest.mark.parametrize("name", NETS)
def test_in_use_an_update_is_kept_until_an_array_changes(name):
    layer = linear(NETS[name])[0].eval()
    x = torch.randn(3, 36, dtype=torch.float64)
    with torch.no_grad():
        for route in [*ways(layer), None]:
            forced(layer, route, apart=2**20)
            first = layer(x)
            assert torch.equal(first, layer(x))
            for p in layer.parameters():
                p.data.mul_(1.1)
            torch.testing.assert_close(layer(x), F.linear(x, dense_of(layer), layer.bias), rtol=1e-12, atol=1e-12)


def test_whatever_else_changes_the_weight_gets_the_sum():
    """A second parametrization, a hook of the network, an input that is no plain tensor."""
    layer, _ = linear(NETS["low rank"])
    x = torch.randn(3, 36, dtype=torch.float64)
    want = layer(x).detach()

    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    hooked, _ = linear(NETS["low rank"])
    hooked.parametrizations.weight[0].register_forward_hook(lambda module, args, out: 3 * out)
    stacked = layer
    parametrize.register_parametrization(stacked, "weight", Doubled())
    torch.testing.assert_close(stacked(x) - layer.bias, 2 * (want - layer.bias), rtol=1e-12, atol=1e-12)
    other, _ = linear(NETS["low rank"])
    torch.testing.assert_close(hooked(x) - hooked.bias, 3 * (other(x) - other.bias), rtol=1e-12, atol=1e-12)
    with pytest.raises(RuntimeError):
        other(x.to_sparse()[:, :5])


def test_errors_of_wrong_inputs_are_torchs_own():
    layer, plain = linear(NETS["low rank"])[0], nn.Linear(36, 24, dtype=torch.float64)
    for wrong in (torch.randn(3, 35, dtype=torch.float64), torch.randn(3, 36), torch.tensor(1.0, dtype=torch.float64)):
        with pytest.raises(RuntimeError) as mine:
            layer(wrong)
        with pytest.raises(RuntimeError) as its:
            plain(wrong)
        assert str(mine.value) == str(its.value)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_layers_are_the_same():
    layer = linear(NETS["low rank"])[0].eval()
    x = torch.randn(3, 36, dtype=torch.float64)
    with torch.no_grad():
        traced = torch.jit.trace(layer, x)
        y = torch.randn(9, 36, dtype=torch.float64)
        torch.testing.assert_close(traced(y), layer(y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.complex128])
def test_dtypes_of_the_layer_are_kept(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(36, 24, dtype=dtype)
    net = NETS["TT-matrix"]
    arrays = {n: torch.randn(s, dtype=dtype) / 4 for n, s in net.array_shapes.items()}
    tknn.parametrize_(layer, "weight", net, arrays, base=True)
    x = torch.randn(3, 36, dtype=dtype)
    got, want = layer(x), F.linear(x, dense_of(layer), layer.bias)
    assert got.dtype == dtype
    torch.testing.assert_close(
        got, want, rtol=0.05 if dtype == torch.bfloat16 else 1e-5, atol=0.1 if dtype == torch.bfloat16 else 1e-5
    )


def test_a_class_with_a_forward_of_its_own_keeps_it():
    class Mine(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    torch.manual_seed(0)
    layer = Mine(36, 24)
    tknn.parametrize_(layer, "weight", NETS["low rank"], base=True)
    assert not install(layer, "weight") and type(layer).forward is Mine.forward
    x = torch.randn(2, 36)
    torch.testing.assert_close(layer(x), F.linear(x, dense_of(layer), layer.bias) + 1)


# -- embeddings, Conv1D --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embeddings_are_rows_of_the_dense_sum(name, padding_idx):
    torch.manual_seed(0)
    table = nn.Embedding(24, 36, padding_idx, dtype=torch.float64)
    tknn.parametrize_(table, "weight", NETS[name], drawn(NETS[name], 1), base=True)
    net, dense = table.parametrizations.weight[0], table.parametrizations.weight()
    old = table.parametrizations.weight.original
    if padding_idx is not None:
        assert torch.equal(dense[padding_idx], old[padding_idx])
    for tokens in (
        torch.randint(24, (3, 4)),
        torch.tensor(22),
        torch.arange(24),
        torch.arange(24).repeat(3),
        torch.tensor([2, 23], dtype=torch.int32),
    ):
        for p in net.parameters():
            p.grad = None
        got, want = table(tokens), F.embedding(tokens, dense)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        seed = torch.randn_like(got)
        wanted = torch.autograd.grad(
            F.embedding(tokens, table.parametrizations.weight(), table.padding_idx),
            list(net.parameters()),
            seed,
            allow_unused=True,
        )
        got.backward(seed)
        for p, g in zip(net.parameters(), wanted, strict=True):
            torch.testing.assert_close(p.grad, g, rtol=1e-10, atol=1e-10)
        assert old.grad is None
    assert table(torch.empty(0, dtype=torch.long)).shape == (0, 36)
    with pytest.raises(IndexError):
        table(torch.tensor([24]))


def test_a_table_and_a_head_that_are_tied_share_the_network():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(24, 36), nn.Linear(36, 24, bias=False)
            self.head.weight = self.table.weight

        def forward(self, tokens):
            return self.head(self.table(tokens))

    torch.manual_seed(0)
    model = Model().double()
    net = NETS["TT-matrix"]
    tknn.parametrize_(model.table, "weight", net, drawn(net, 1), model=model, base=True)
    assert type(model.table).forward is lora._embedding and type(model.head).forward is lora._linear
    tokens = torch.randint(24, (4, 5))
    dense = model.table.parametrizations.weight()
    torch.testing.assert_close(model(tokens), F.embedding(tokens, dense) @ dense.T, rtol=1e-11, atol=1e-11)
    tknn.merge_(model.table, "weight", model=model)
    assert model.head.weight is model.table.weight
    torch.testing.assert_close(model(tokens), F.embedding(tokens, dense) @ dense.T, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CONTRACTED)
def test_conv1d_of_transformers(name, monkeypatch):
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    torch.manual_seed(0)
    layer = conv1d(36, 24).double()  # its weight is (24, 36): inputs first
    nn.init.normal_(layer.bias)
    tknn.parametrize_(layer, "weight", NETS[name], drawn(NETS[name], 1), base=True)
    assert type(layer).forward is lora._conv1d
    dense, x = dense_of(layer), torch.randn(2, 5, 24, dtype=torch.float64)
    for route in [*ways(layer), None]:
        for apart in (0, 2**20):
            torch.testing.assert_close(forced(layer, route, apart)(x), x @ dense + layer.bias, rtol=1e-11, atol=1e-11)
    contracted = [p for p in ways(layer) if p is not None]
    at = layer.parametrizations.weight
    looked = at.register_forward_hook(lambda *_: None)  # which is told the sum
    torch.testing.assert_close(layer(x), x @ dense + layer.bias, rtol=1e-11, atol=1e-11)
    looked.remove()
    monkeypatch.setattr(type(at[0]), "forward", refuse)
    for route in contracted:
        forced(layer, route)(x)

"""parametrize_ and merge_: any weight of any module, and back, exactly."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

import tnkit as tk
import tnkit_nn as tknn
from tnkit import Network, Node
from tnkit.execution.weights import detensorize
from tnkit_nn import merge_, parametrize_
from tnkit_nn.adapter.guard import GeneratedWeight
from tnkit_nn.adapter.norms import norm, root_mean_square


def pair(rows, cols, rank=3):
    return Network((Node("A", "ir"), Node("B", "rj")), "ij", dict(i=rows, j=cols, r=rank))


def train(*shape, rank=3):
    names = [
        Node(f"G{k}", (*[f"r{m}" for m in (k - 1, k) if 0 <= m < len(shape) - 1], f"i{k}")) for k in range(len(shape))
    ]
    sizes = {f"i{k}": n for k, n in enumerate(shape)} | {f"r{k}": rank for k in range(len(shape) - 1)}
    return Network(tuple(names), tuple(f"i{k}" for k in range(len(shape))), sizes)


def deep(*shape):
    inner = train(*shape)
    top = Network(
        (Node("D", (f"i{len(shape) - 1}", "o")),),
        (f"i{len(shape) - 1}", "o"),
        {f"i{len(shape) - 1}": shape[-1], "o": shape[-1]},
    )
    return inner.activate("relu", "act").join(top, on=(f"i{len(shape) - 1}",))


MODULES = {
    "linear": (lambda: nn.Linear(12, 10), "weight", train(5, 2, 3, 4), (7, 12)),
    "prime": (lambda: nn.Linear(13, 11), "weight", train(4, 3, 2, 7), (7, 13)),
    "deep": (lambda: nn.Linear(13, 11), "weight", deep(4, 3, 2, 7), (7, 13)),
    "conv": (lambda: nn.Conv2d(6, 8, 3), "weight", train(4, 2, 6, 3, 3), (2, 6, 5, 5)),
    "grouped": (lambda: nn.Conv2d(6, 9, 3, groups=3), "weight", train(3, 3, 2, 9), (2, 6, 5, 5)),
    "conv1d": (lambda: nn.Conv1d(1, 4, 5), "weight", train(2, 2, 5), (2, 1, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3), "weight", train(4, 6, 9), (2, 4, 5, 5)),
}


@pytest.mark.parametrize("make, name, net, shape", MODULES.values(), ids=MODULES)
def test_weight_and_forward(make, name, net, shape):
    torch.manual_seed(0)
    module = make().double()
    rms = module.weight.square().mean().sqrt()
    parametrize_(module, name, net)
    assert type(module.weight) is GeneratedWeight and module.weight.dtype == torch.float64
    arrays = {n: t for n, t in module.parametrizations.weight[0].tensors().items()}
    dense = detensorize(
        torch.as_tensor(tk.contract(net, {n: a.detach().numpy() for n, a in arrays.items()})), module.weight.shape
    )
    torch.testing.assert_close(module.weight, dense, rtol=0, atol=1e-10)
    torch.testing.assert_close(module.weight.square().mean().sqrt(), rms, rtol=0.3, atol=0)
    keys = [k for k in module.state_dict() if k != "bias"]
    assert sorted(keys) == sorted(f"parametrizations.weight.0.{n}" for n in net.parameters)
    x = torch.randn(shape, dtype=torch.float64)
    y = module(x)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    value = module.weight.detach().clone()
    assert merge_(module, name) is module
    assert torch.equal(module.weight, value) and isinstance(module.weight, nn.Parameter)
    assert torch.equal(module(x), y) and type(module) is type(make())
    assert sorted(module.state_dict()) == ["bias", "weight"] and module.weight.is_contiguous()


def test_std_matches_exactly_where_nothing_is_padded():
    layer = nn.Linear(12, 10).double()
    rms = layer.weight.square().mean().sqrt()
    parametrize_(layer, "weight", train(5, 2, 3, 4))
    torch.testing.assert_close(layer.weight.square().mean().sqrt(), rms)
    merge_(layer, "weight")
    parametrize_(layer, "weight", train(5, 2, 3, 4), std=2.0)
    assert abs(float(layer.weight.detach().square().mean().sqrt()) - 2) < 1e-6


def test_embedding_and_other_names():
    emb = nn.Embedding(10, 6)
    parametrize_(emb, "weight", pair(10, 6))
    t = torch.tensor([[1, 9], [0, 3]])
    torch.testing.assert_close(emb(t), F.embedding(t, emb.weight))
    rnn = nn.LSTMCell(4, 5)
    parametrize_(rnn, "weight_hh", pair(20, 5))
    assert rnn(torch.randn(3, 4))[0].shape == (3, 5)


def test_single_node_merge_is_a_copy():
    layer = nn.Linear(4, 3, bias=False)
    parametrize_(layer, "weight", Network((Node("W", "ij"),), "ij", dict(i=3, j=4)))
    core = layer.parametrizations.weight[0].W
    merge_(layer, "weight")
    assert layer.weight.data_ptr() != core.data_ptr() and torch.equal(layer.weight, core)


def test_given_arrays_dtype_and_frozen_part():
    net = Network((Node("A", "ir"), Node("B", "rj", fixed=True)), "ij", dict(i=3, j=4, r=2))
    arrays = {"A": torch.randn(3, 2).numpy(), "B": torch.randn(2, 4)}
    layer = parametrize_(nn.Linear(4, 3, dtype=torch.bfloat16), "weight", net, arrays)
    assert layer.weight.dtype == torch.bfloat16
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.0.A"]


def test_state_dict_and_deepcopy_and_merge_of_a_copy():
    make = lambda seed: parametrize_(nn.Linear(4, 3), "weight", pair(3, 4), seed=seed)  # noqa: E731
    a, b = make(0), make(1)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.weight, b.weight)
    c = copy.deepcopy(a)
    merge_(c, "weight")
    assert torch.equal(a.weight, c.weight) and not isinstance(a.weight, nn.Parameter)
    with torch.no_grad():
        a.parametrizations.weight[0].A.zero_()
    assert c.weight.abs().sum() > 0


def test_cached_contracts_once():
    layer = parametrize_(nn.Linear(4, 3), "weight", pair(3, 4))
    calls = []
    layer.parametrizations.weight[0].register_forward_hook(lambda *a: calls.append(1))
    with parametrize.cached():
        layer(layer(torch.randn(2, 4)).repeat(1, 2)[:, :4])
        assert len(calls) == 1
    layer.weight  # noqa: B018
    assert len(calls) == 2


def test_functional_call_and_vmap():
    layer = parametrize_(nn.Linear(4, 3, bias=False), "weight", pair(3, 4)).double()
    key, x = "parametrizations.weight.0.A", torch.randn(2, 4, dtype=torch.float64)
    a = layer.parametrizations.weight[0].A.detach()
    torch.testing.assert_close(torch.func.functional_call(layer, {key: 3 * a}, (x,)), 3 * layer(x))
    many = torch.func.vmap(lambda a: torch.func.functional_call(layer, {key: a}, (x,)))(torch.stack([a, 2 * a]))
    torch.testing.assert_close(many[1], 2 * layer(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prime", "deep", "conv"])
def test_compile_has_no_graph_break(name):
    make, weight, net, shape = MODULES[name]
    module = parametrize_(make(), weight, net)
    x = torch.randn(shape)
    torch._dynamo.reset()
    assert torch._dynamo.explain(module)(x).graph_break_count == 0
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x))


def test_autocast():
    layer = parametrize_(nn.Linear(4, 3), "weight", pair(3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 4)).dtype == torch.bfloat16


def test_clear_errors():
    layer = nn.Linear(4, 3)
    with pytest.raises(ValueError, match="Linear has no parameter 'wait'"):
        parametrize_(layer, "wait", pair(3, 4))
    with pytest.raises(ValueError, match=r"too large|fill"):
        parametrize_(layer, "weight", pair(2, 2))
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_(layer, "weight")
    with pytest.raises(ValueError, match="give it in arrays"):
        parametrize_(layer, "weight", Network((Node("A", "ij", fixed=True),), "ij", dict(i=3, j=4)))
    with pytest.raises(ValueError, match="give std"):
        zero = nn.Linear(4, 3)
        nn.init.zeros_(zero.weight)
        parametrize_(zero, "weight", pair(3, 4))
    assert list(layer.state_dict()) == ["weight", "bias"]  # nothing half done
    parametrize_(layer, "weight", pair(3, 4))
    with pytest.raises(ValueError, match="already"):
        parametrize_(layer, "weight", pair(3, 4))
    with pytest.raises(RuntimeError, match="cannot be assigned"):
        layer.weight = torch.zeros(3, 4)


def test_a_complex_weight_is_matched_as_a_whole():
    layer = nn.Linear(6, 6, dtype=torch.complex64)
    layer.weight.data = torch.complex(1e-3 * torch.randn(6, 6), torch.randn(6, 6))
    before = layer.weight.detach().abs().square().mean().sqrt()
    parametrize_(layer, "weight", tk.tt((6, 6), 3))
    after = layer.weight.detach()
    assert float(after.abs().square().mean().sqrt()) == pytest.approx(float(before), rel=1e-5)
    assert after.imag.abs().max() > 0.1 * before and after.real.abs().max() > 0.1 * before


def test_what_registering_contracts(monkeypatch):
    """Nothing for functions that are known; a function of one's own is checked once, without a graph."""
    from tnkit_nn.adapter import generated as adapter

    seen = []
    forward = adapter.Generated.forward
    monkeypatch.setattr(
        adapter.Generated, "forward", lambda self: (seen.append(torch.is_grad_enabled()), forward(self))[1]
    )

    def net(fn):
        return train(4, 3).activate(fn, "act")

    def half(xp, x):
        return xp.astype(x, xp.float16) if hasattr(xp, "astype") else x.to(torch.float16)

    parametrize_(nn.Linear(3, 4), "weight", net("relu"), std=1.0)
    assert seen == []
    module = parametrize_(nn.Linear(3, 4), "weight", net(lambda xp, x: xp.sin(x) * 3), std=1.0)
    assert seen == [False] and module.weight.requires_grad and not module.parametrizations.weight.unsafe
    module = nn.Linear(3, 4)
    with pytest.raises(ValueError, match="may not change the dtype"):
        parametrize_(module, "weight", net(half), std=1.0)
    assert type(module.weight) is nn.Parameter and not parametrize.is_parametrized(module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_the_scale_that_is_matched(dtype):
    weight = torch.randn(300, 301, dtype=dtype, generator=torch.Generator().manual_seed(0)).T
    want = float(weight.abs().double().square().mean().sqrt())
    assert root_mean_square(weight) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    "dtype, size",
    [
        (torch.float32, 1e-38),
        (torch.float32, 1e38),
        (torch.bfloat16, 1e-30),
        (torch.float16, 6e4),
        (torch.float64, 1e-300),
        (torch.float64, 1e300),
        (torch.complex64, 1e-30),
        (torch.complex128, 1e-250),
    ],
)
def test_sizes_whose_squares_are_no_numbers(dtype, size):
    weight = torch.full((40, 3), size, dtype=dtype)
    entry = float(weight.abs()[0, 0])
    assert norm(weight) == pytest.approx(entry * 120**0.5, rel=1e-6)
    assert root_mean_square(weight) == pytest.approx(entry, rel=1e-6)
    assert norm(torch.zeros(3, 0)) == root_mean_square(torch.zeros(3, 0)) == norm(torch.zeros(2, 2)) == 0
    assert norm(torch.tensor([1e300, torch.nan], dtype=torch.float64)) != 0  # NaN


@pytest.mark.slow
@pytest.mark.parametrize("kind, gates", [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_modules_use_the_network_and_can_be_copied(kind, gates):
    torch.manual_seed(0)
    module, plain = kind(8, 16, 2), kind(8, 16, 2)
    x = torch.randn(5, 3, 8)
    names = ("weight_ih_l0", "weight_hh_l0", "weight_hh_l1")
    for name in names:
        parametrize_(module, name, tk.low_rank(tuple(getattr(plain, name).shape), 2))
    values = {n: getattr(module, n).detach().clone() for n in plain.state_dict()}
    plain.load_state_dict(values)
    module(x)[0].square().sum().backward()
    plain(x)[0].square().sum().backward()
    assert torch.allclose(module(x)[0], plain(x)[0], atol=1e-6)
    for name in names:  # what torch's own gradient of the dense weight gives the network
        weight, params = getattr(module, name), list(module.parametrizations[name].parameters())
        expected = torch.autograd.grad(weight, params, getattr(plain, name).grad)
        assert all(torch.allclose(p.grad, g, atol=1e-5) for p, g in zip(params, expected, strict=True))
    twin = copy.deepcopy(module)  # after a forward with gradients
    with torch.no_grad():
        next(twin.parametrizations["weight_hh_l1"].parameters()).mul_(2)
    assert torch.allclose(module(x)[0], plain(x)[0], atol=1e-6) and not torch.allclose(
        twin(x)[0], plain(x)[0], atol=1e-3
    )
    with parametrize.cached():
        assert torch.equal(module(x)[0], module(x)[0])
    copy.deepcopy(module.double())  # moving it makes the weights too
    for name in names:
        merge_(module, name)
    assert type(module) is kind and torch.allclose(module(x.double())[0], plain(x)[0].double(), atol=1e-5)
    assert all(w.is_leaf for w in module._flat_weights) and copy.deepcopy(module)(x.double())[0].shape == (5, 3, 16)


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("row", [0, -1])
def test_the_padding_of_an_embedding_stays_zero_and_is_not_trained(kind, row, tmp_path):
    torch.manual_seed(0)
    table = kind(20, 12, padding_idx=row)
    net = tk.mpo((4, 5), (3, 4), 3)
    tknn.parametrize_(table, "weight", net)
    assert not table.weight[row].any() and table.weight[3].any()
    tokens = torch.tensor([[row % 20, 3, 5]])
    plain = nn.Embedding(20, 12) if kind is nn.Embedding else nn.EmbeddingBag(20, 12, padding_idx=row)
    with torch.no_grad():
        plain.weight.copy_(table.weight)
    torch.testing.assert_close(table(tokens), plain(tokens))
    adam = torch.optim.SGD(table.parameters(), 0.1)
    for _ in range(2):
        adam.zero_grad()
        (table(tokens) - 1).square().sum().backward()
        adam.step()
    assert not table.weight[row].any()
    copied = copy.deepcopy(table).double()
    assert not copied.weight[row].any() and "padding" not in "".join(table.state_dict())
    tknn.save_compressed(nn.Sequential(table), tmp_path / "t")
    again = tknn.load_compressed_(nn.Sequential(kind(20, 12, padding_idx=row)), tmp_path / "t")
    assert torch.equal(again[0].weight, table.weight)
    tknn.merge_(table, "weight")
    assert not table.weight[row].any()


def test_sparse_gradients_are_refused_by_name():
    table = nn.Embedding(20, 12, sparse=True)
    with pytest.raises(
        ValueError, match="Embedding asks for sparse gradients, which a network has not; set sparse=False first"
    ):
        tknn.parametrize_(table, "weight", tk.mpo((4, 5), (3, 4), 3))
    assert isinstance(table.weight, nn.Parameter)


@pytest.mark.parametrize("size", [27_000.0, 40_000.0])
def test_drawn_entries_beyond_half_precision_are_refused(size):
    """A root mean square that the dtype holds, and entries that it does not."""
    model = nn.Sequential(nn.ReLU(), nn.Linear(32, 32)).half()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)).sign() * size)
    words = "torch.float16 holds numbers up to 65504, but a network drawn with root mean square .* larger entries: give a smaller std="
    with pytest.raises(ValueError, match=f"parametrize_: {words}"):
        parametrize_(model[1], "weight", tk.tt((32, 32), 4))
    with pytest.raises(ValueError, match=r"for 'weight' of '1', a Linear has larger entries"):
        tknn.tensorize_(model, {"1": "tt"}, budget=500, fit=False)
    assert type(model[1]) is nn.Linear
    parametrize_(model[1], "weight", tk.tt((32, 32), 4), std=2500.0)  # its bound is above 65,504, its entries are not
    assert model[1].weight.isfinite().all() and model[1].weight.dtype == torch.float16


@pytest.mark.parametrize("base", [True, False])
def test_the_text_says_whether_it_is_added(base):
    layer = parametrize_(nn.Linear(6, 4), "weight", pair(4, 6), base=base)
    assert ("added to the original weight" in str(layer)) == base

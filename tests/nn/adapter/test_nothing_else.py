"""What a network in the place of a weight leaves as it was: ties, order, dtypes, devices, other parametrizations, files, copies."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import merge_, parametrize_

NET = tk.mpo((4, 5), (3, 4), 3)  # 20 x 12
DEEP = tk.adtn((4, 5, 3, 4), depth=2, activation="tanh")


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.mid, self.head = nn.Embedding(20, 12), nn.Linear(12, 12), nn.Linear(12, 20)
        self.head.weight = self.emb.weight

    def forward(self, tokens):
        return self.head(self.mid(self.emb(tokens)).tanh())


def made_by(module):
    return module.parametrizations.weight[0]


TOKENS = torch.tensor([[0, 3, 19], [7, 7, 1]])


# -- ties -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("net", [NET, DEEP], ids=["mpo", "adtn"])
@pytest.mark.parametrize("base", [False, True])
def test_a_tied_weight_is_one_network_for_all_that_share_it(net, base):
    torch.manual_seed(0)
    model = Language().double()
    parametrize_(model.emb, "weight", net, model=model, base=base)
    assert made_by(model.emb).owners == 2
    assert all(p is q for p, q in zip(made_by(model.emb).parameters(), made_by(model.head).parameters(), strict=True))
    rest = sum(p.numel() for p in (*model.mid.parameters(), model.head.bias))
    assert sum(p.numel() for p in model.parameters()) == rest + net.num_params + base * 240
    if base:
        with torch.no_grad():
            for p in made_by(model.emb).parameters():
                p.add_(torch.randn_like(p) * 0.1)
    dense = Language().double()
    with torch.no_grad():
        dense.emb.weight.copy_(model.emb.weight)
        dense.mid.load_state_dict(model.mid.state_dict())
        dense.head.bias.copy_(model.head.bias)
    torch.testing.assert_close(model(TOKENS), dense(TOKENS), rtol=1e-12, atol=1e-12)
    model(TOKENS).square().sum().backward()
    dense(TOKENS).square().sum().backward()
    made = made_by(model.emb)
    want = torch.autograd.grad(made.update(), made.parameters(), dense.emb.weight.grad)
    for p, w in zip(made.parameters(), want, strict=True):
        torch.testing.assert_close(p.grad, w, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        doubled = {n: 2 * p for n, p in model.named_parameters()}
        before = model(TOKENS)
        assert not torch.allclose(torch.func.functional_call(model, doubled, (TOKENS,)), before)
        assert torch.equal(model(TOKENS), before) and all(isinstance(p, nn.Parameter) for p in made.parameters())
        copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
        assert torch.equal(copied(TOKENS), before) and len(list(copied.parameters())) == len(list(model.parameters()))
    merge_(model.head, "weight", model=model)
    assert model.emb.weight is model.head.weight and [n for n, _ in model.named_parameters()] == [
        n for n, _ in dense.named_parameters()
    ]
    torch.testing.assert_close(model(TOKENS), dense(TOKENS), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_ties_outside_of_what_is_given_are_told_of():
    model = Language()
    with pytest.raises(
        ValueError, match=r"'weight' of Embedding is shared with Linear.*parametrize_\(\.\.\., model=model\)"
    ):
        parametrize_(model.emb, "weight", NET)
    assert model.emb.weight is model.head.weight and isinstance(model.emb.weight, nn.Parameter)
    parametrize_(model.emb, "weight", NET, model=model)
    with pytest.raises(ValueError, match="shared by 2 weights, 1 of them in the module given; give the whole model"):
        merge_(model.emb, "weight")
    with pytest.raises(ValueError, match="model has no 'weight' of this Linear"):
        parametrize_(model.mid, "weight", tk.mpo((3, 4), (3, 4), 2), model=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="merge_: model has no 'weight' of this"):
        merge_(model.emb, "weight", model=nn.Linear(2, 2))
    gone = Language()
    lonely, _ = gone.emb, gone.head
    del gone, _
    gc.collect()
    parametrize_(lonely, "weight", NET)  # the other owner is no more
    held = nn.Linear(12, 20)
    groups = [{"params": [held.weight]}, {"params": list(held.parameters())}]  # as an optimiser holds them
    parametrize_(held, "weight", NET)
    assert groups


@pytest.mark.parametrize(
    ("kept", "spoken"),
    [
        (lambda model: setattr(model, "kept", [model.mid.weight]), "'kept' of Language, a list,"),
        (lambda model: setattr(model.emb, "kept", (None, model.mid.weight)), "'kept' of 'emb', a tuple,"),
        (lambda model: setattr(model, "kept", {"mid": model.mid.weight}), "'kept' of Language, a dict,"),
        (lambda model: vars(model).update(kept=model.mid.weight), "'kept' of Language, a Parameter,"),
        (lambda model: model.register_buffer("kept", model.mid.weight), "'_buffers' of Language, a dict,"),
    ],
)
@pytest.mark.parametrize("base", [False, True])
def test_a_weight_that_is_held_elsewhere_in_the_model(kept, spoken, base):
    """What reads it there would go on with the dense weight."""
    model = Language()
    kept(model)
    message = f"'weight' of Linear is also held by {spoken} which would keep the dense weight"
    with pytest.raises(ValueError, match=message):
        parametrize_(model.mid, "weight", tk.mpo((3, 4), (3, 4), 2), model=model, base=base)
    assert type(model.mid) is nn.Linear
    parametrize_(model.emb, "weight", NET, model=model)  # the others can be networks
    recurrent = nn.LSTM(4, 4)  # torch's list of its weights is made anew
    parametrize_(recurrent, "weight_ih_l0", tk.low_rank((16, 4), 2))


def test_two_names_in_one_module_and_tying_again():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = self.two = nn.Parameter(torch.randn(20, 12))

    twice = parametrize_(Twice(), "one", NET)
    assert torch.equal(twice.one, twice.two) and len(list(twice.parameters())) == len(NET.parameters)
    merge_(twice, "two")
    assert twice.one is twice.two and list(twice._parameters) == ["one", "two"]
    model = Language()
    parametrize_(model.emb, "weight", NET, model=model)
    model.head.weight = model.emb.weight  # what tie_weights() does
    with pytest.raises(
        RuntimeError,
        match=r"the weight of Linear is made by a network and cannot be assigned; merge_\(module, 'weight'\)",
    ):
        model.head.weight = torch.zeros(20, 12)
    with pytest.raises(RuntimeError, match="cannot be assigned"):
        model.head.weight = nn.Parameter(torch.zeros(20, 12))


# -- order and gradients --------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("order", [("weight_ih_l0", "weight_hh_l0"), ("weight_hh_l0", "weight_ih_l0")])
@pytest.mark.parametrize("back", [0, 1])
def test_parameters_are_in_their_old_order(order, back):
    lstm = nn.LSTM(5, 5)
    before = list(lstm._parameters)
    for name in order:
        parametrize_(lstm, name, tk.mpo((4, 5), (5, 1), 2))
    for name in order if back else order[::-1]:
        merge_(lstm, name)
    assert list(lstm._parameters) == before and type(lstm) is nn.LSTM


def test_parameters_that_came_later_are_in_their_order():
    layer = parametrize_(nn.Linear(12, 20), "weight", NET)
    layer.first, layer.second = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    parametrize_(layer, "first", tk.low_rank((4, 4), 1))
    for name in ("weight", "first"):
        merge_(layer, name)
    assert list(layer._parameters) == ["weight", "bias", "first", "second"]


def test_the_state_of_an_optimiser_fits_after_a_round_trip():
    layer = nn.Linear(12, 20)
    adam = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 12)).sum().backward()
    adam.step()
    state = copy.deepcopy(adam.state_dict())
    merge_(parametrize_(layer, "weight", NET), "weight")
    again = torch.optim.Adam(layer.parameters())
    again.load_state_dict(state)
    layer(torch.ones(1, 12)).sum().backward()
    again.step()
    assert [tuple(again.state[p]["exp_avg"].shape) for p in layer.parameters()] == [(20, 12), (20,)]


@pytest.mark.parametrize("needs", [True, False])
def test_requires_grad_stays(needs):
    layer = nn.Linear(12, 20).requires_grad_(needs)
    parametrize_(layer, "weight", NET)
    assert {p.requires_grad for p in layer.parameters()} == {needs}
    assert merge_(layer, "weight").weight.requires_grad is needs


# -- a base that stays ----------------------------------------------------------------------------------------------------
KINDS = {
    "linear": (lambda: nn.Linear(12, 20), "weight", NET, lambda m: m(torch.ones(2, 12, dtype=torch.float64))),
    "conv": (lambda: nn.Conv2d(3, 8, 2), "weight", tk.tt((8, 3, 2, 2), 2), lambda m: m(torch.ones(1, 3, 4, 4, dtype=torch.float64))),
    "embedding": (lambda: nn.Embedding(20, 12, padding_idx=2), "weight", NET, lambda m: m(TOKENS)),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", tk.tt((12, 4), 2), lambda m: m(*[torch.ones(3, 1, 4, dtype=torch.float64)] * 3)[0]),
    "lstm": (lambda: nn.LSTM(12, 5), "weight_ih_l0", NET, lambda m: m(torch.ones(2, 1, 12, dtype=torch.float64))[0]),
    "tanh": (lambda: nn.Linear(12, 20), "weight", DEEP, lambda m: m(torch.ones(2, 12, dtype=torch.float64))),
    "sigmoid": (lambda: nn.Linear(12, 20), "weight", NET.activate("sigmoid", "s"), lambda m: m(torch.ones(2, 12, dtype=torch.float64))),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_stays_and_the_network_is_added(kind):
    make, name, net, call = KINDS[kind]
    torch.manual_seed(0)
    module = make().double()
    w0, before = getattr(module, name), call(module).detach()
    old = w0.detach().clone()
    parametrize_(module, name, net, base=True, std=None if kind == "sigmoid" else "match")
    assert module.parametrizations[name].original is w0 and not w0.requires_grad
    torch.testing.assert_close(call(module), before, rtol=1e-13, atol=1e-13)
    if kind != "sigmoid":
        assert torch.equal(w0, old)
    sgd = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 1e-3)
    for _ in range(3):
        sgd.zero_grad()
        (call(module) - 1).square().sum().backward()
        sgd.step()
    made = module.parametrizations[name][0]
    assert w0.grad is None and all(p.grad.abs().sum() > 0 for p in made.parameters())  # all arrays are reached
    want = getattr(module, name).detach()
    assert (want - old).abs().max() > 1e-6
    after = call(module).detach()
    assert getattr(merge_(module, name), name) is w0 and w0.requires_grad
    torch.testing.assert_close(w0.detach(), want, rtol=0, atol=1e-12)
    torch.testing.assert_close(call(module), after, rtol=1e-12, atol=1e-12)
    if kind == "embedding":
        assert torch.equal(w0[2], old[2])


def test_given_arrays_of_a_base_are_taken_as_they_are():
    layer = nn.Linear(12, 20).double()
    old, arrays = layer.weight.detach().clone(), tk.init.normal(NET, seed=1)
    parametrize_(layer, "weight", NET, arrays, base=True)
    update = torch.as_tensor(tk.contract(NET, arrays)).reshape(20, 12)
    torch.testing.assert_close(layer.weight.detach(), old + update, rtol=1e-12, atol=1e-12)
    made_by(layer).reset_parameters()
    assert torch.equal(layer.weight, old)


# -- other people's parametrizations --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "norm", [parametrizations.spectral_norm, parametrizations.weight_norm, parametrizations.orthogonal]
)
@pytest.mark.parametrize("base", [False, True])
def test_a_norm_that_is_there_stays_upon_the_network(norm, base):
    torch.manual_seed(0)
    layer = norm(nn.Linear(12, 20).double()).eval()
    x, keys = torch.randn(3, 12, dtype=torch.float64), set(layer.state_dict())
    kept = "original1" if norm is parametrizations.weight_norm else "original"
    theirs = layer.parametrizations.weight
    v = getattr(theirs, kept).detach().clone()
    parametrize_(layer, "weight", NET, base=base)
    assert layer.parametrizations.weight is theirs and len(theirs) == 1
    with torch.no_grad():
        other = copy.deepcopy(layer)
        before = layer(x)
        made = theirs.parametrizations[kept][0]
        merge_(other, "weight")
        assert set(other.state_dict()) == keys and type(other.parametrizations.weight[0]) is type(theirs[0])
        torch.testing.assert_close(other(x), before, rtol=1e-12, atol=1e-12)
        if base:
            assert torch.equal(getattr(theirs, kept), v)
    layer.train()
    layer(x).square().sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    state = copy.deepcopy(layer.state_dict())
    fresh = parametrize_(norm(nn.Linear(12, 20).double()), "weight", NET, base=base, seed=5)
    fresh.load_state_dict(state)
    torch.testing.assert_close(fresh.eval()(x), layer.eval()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", [False, True])
def test_a_norm_that_comes_later_stays_when_the_network_goes(base):
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(parametrize_(nn.Linear(12, 20).double(), "weight", NET, base=base)).eval()
    x = torch.randn(3, 12, dtype=torch.float64)
    before = layer(x)
    torch.testing.assert_close(
        torch.linalg.matrix_norm(layer.weight, 2), torch.ones((), dtype=torch.float64), rtol=0.2, atol=0
    )
    merge_(layer, "weight")
    assert [type(m).__name__ for m in layer.parametrizations.weight] == ["_SpectralNorm"]
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)
    parametrize.remove_parametrizations(layer, "weight")
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)


def test_a_third_one_is_appended_where_a_network_is_beneath_the_first():
    layer = parametrize_(parametrizations.spectral_norm(nn.Linear(12, 20)).eval(), "weight", NET)
    before = layer.weight.detach().clone()

    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    parametrize.register_parametrization(layer, "weight", Doubled())
    torch.testing.assert_close(layer.weight, 2 * before)
    with pytest.raises(ValueError, match="'weight' of Linear is a network already"):
        parametrize_(layer, "weight", NET)


# -- devices and dtypes ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("assign", [True, False])
def test_the_meta_device(assign):
    net = tk.cp((20, 12), 3)
    real = parametrize_(nn.Linear(12, 20), "weight", net)
    with torch.device("meta"):
        made = parametrize_(nn.Linear(12, 20), "weight", net)
    later = parametrize_(nn.Linear(12, 20, device="meta"), "weight", net)
    for layer in (made, later):
        assert all(t.is_meta for t in (*layer.parameters(), *layer.buffers()))
        assert layer(torch.ones(2, 12, device="meta")).shape == (2, 20)
        if assign:
            layer.load_state_dict(real.state_dict(), assign=True)
        else:
            layer.to_empty(device="cpu")
            layer.load_state_dict(real.state_dict())
        torch.testing.assert_close(layer(torch.ones(2, 12)), real(torch.ones(2, 12)))
        assert not any(t.is_meta for t in layer.buffers())


def test_constants_follow_the_arrays_and_draws_come_back_after_to_empty():
    net = tk.Network(
        (tk.Node("A", "ir"), tk.Node("e", "r", fixed="ones"), tk.Node("B", "rj")), "ij", dict(i=20, j=12, r=3)
    )
    with torch.device("meta"):
        module = tknn.TNModule(net, seed=3)
    assert module().is_meta
    module.to_empty(device="cpu").reset_parameters()
    torch.testing.assert_close(module(), tknn.TNModule(net, seed=3)())
    assert torch.equal(module.tensors()["e"], torch.ones(3)) and not list(module.buffers())
    assert module.double()().dtype == module.tensors()["e"].dtype == torch.float64
    arrays = {n: a.detach() for n, a in tknn.TNModule(net, seed=5).named_parameters()}
    late = parametrize_(nn.Linear(12, 20, device="meta"), "weight", net, arrays)
    torch.testing.assert_close(late.weight.detach(), tknn.TNModule(net, arrays)())
    given = {n: a.numpy() for n, a in arrays.items()}
    torch.testing.assert_close(
        tknn.TNModule(net, {**given, "e": torch.ones(3).numpy()})(), tknn.TNModule(net, arrays)()
    )
    with pytest.raises(ValueError, match="array 'e' is the constant 'ones' of shape"):
        tknn.TNModule(net, {**given, "e": torch.zeros(3).numpy()})


@pytest.mark.parametrize("kind", ["e0", "ones", "delta"])
@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 2, 4), (2, 2, 2, 2)])
def test_constants_are_those_of_the_core(kind, shape):
    inds = "abcd"[: len(shape)]
    net = tk.Network((tk.Node("c", inds, fixed=kind),), inds, dict(zip(inds, shape, strict=True)))
    module = tknn.TNModule(net, dtype=torch.float64)
    assert torch.equal(module(), torch.as_tensor(tk.contract(net, {}))) and module().dtype == torch.float64
    assert torch.equal(module.float()(), module()) and module().dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.complex128, torch.bfloat16])
def test_dtypes(dtype):
    layer = nn.Linear(12, 20, dtype=dtype)
    parametrize_(layer, "weight", NET)
    assert layer.weight.dtype == dtype and {p.dtype for p in layer.parameters()} == {dtype}
    assert merge_(layer, "weight").weight.dtype == dtype


MIXED = {
    "linear": (lambda: nn.Linear(12, 20), lambda m: m(X)), "conv": (lambda: nn.Conv1d(12, 20, 1), lambda m: m(X.T[None])),
    "embedding": (lambda: nn.Embedding(20, 12), lambda m: m(TOKENS)), "bilinear": (lambda: nn.Bilinear(4, 3, 20), lambda m: m(X[:, :4], X[:, :3])),
}  # fmt: skip
X = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", MIXED)
def test_autocast_rounds_a_weight_once(kind):
    make, call = MIXED[kind]
    torch.manual_seed(0)
    module = make()
    deep = tk.adtn((4, 5, 3, 4), depth=6, activation="tanh")
    parametrize_(module, "weight", deep)
    exact, dense = call(module).detach(), merge_(copy.deepcopy(module), "weight")
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = call(module), call(dense)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs) or (ours - exact).abs().max() <= 1.05 * (theirs - exact).abs().max()
    ours.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in made_by(module).parameters())

"""TNLinear and TNEmbedding against dense layers."""

import copy
import re
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
from tnkit import Network, Node, plan
from tnkit.execution.codegen import source
from tnkit.paths.optimizers import find_path
from tnkit.planning.calibration import Rates
from tnkit_nn import TNEmbedding, TNLinear, merge_, parametrize_
from tnkit_nn.adapter.crossover import route_for, with_input
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.engine.launches import ADD, CAST, LAYER, RESHAPE, launches

from .test_parametrize import deep, pair, train

F64 = torch.float64
MPO = Network(
    (Node("A", "oir"), Node("B", "pjrs"), Node("C", "qks")), "opqijk", dict(o=4, p=4, q=4, i=3, j=4, k=5, r=2, s=2)
)
CP = Network((Node("A", "oz"), Node("B", "iz"), Node("C", "jz")), "oij", dict(o=6, i=3, j=4, z=5))
OUTER = Network((Node("A", "oi"), Node("B", "pj")), "opij", dict(o=4, p=4, i=3, j=4))
TIED = Network((Node("A", "or"), Node("B", "ri", array="A")), "oi", dict(o=4, r=4, i=4))
# network, in, out, factorised?
CASES = {
    "mpo": (MPO, 60, 64, True),
    "cp": (CP, 12, 6, True),
    "outer": (OUTER, 12, 16, True),
    "tied": (TIED, 4, 4, True),
    "rank": (pair(64, 96, 2), 96, 64, True),
    "prime": (train(4, 3, 2, 7), 13, 11, False),
    "unaligned": (train(4, 9), 6, 6, False),
    "deep": (deep(4, 3, 2, 7), 14, 12, False),
}


@pytest.mark.parametrize("net, m, n, factorised", CASES.values(), ids=CASES)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (300,), (0,)], ids=str)
def test_against_dense(net, m, n, factorised, lead):
    layer = TNLinear(m, n, net, dtype=F64)
    assert (any(route for _, route in layer.routes)) == factorised or net is TIED
    x = torch.randn(*lead, m, dtype=F64, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, F.linear(x, layer.weight, layer.bias), rtol=0, atol=1e-10)
    params = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad(y.square().sum(), params),
        torch.autograd.grad(F.linear(x, layer.weight, layer.bias).square().sum(), params),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_every_route_gives_the_same():
    layer = TNLinear(60, 64, MPO, dtype=F64)
    x = torch.randn(7, 60, dtype=F64)
    expected = F.linear(x, layer.weight, layer.bias)
    for _, route in layer.routes:
        layer.routes = ((1, route),)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


WIDE = Network((Node("A", "oir"), Node("B", "rpj")), "opij", dict(o=32, p=32, i=32, j=32, r=32))


def test_the_batch_decides_and_the_text_says_so():
    text = repr(TNLinear(1024, 1024, WIDE))
    assert re.search(r"batch 1 to \d+: factorised, predicted [\d.]+ .?s; reconstructed [\d.]+ .?s \(at 1\)", text)
    assert re.search(r"batch \d+ and up: reconstructed, predicted [\d.]+ ms; factorised [\d.]+ ms \(at \d+\)", text)
    text = repr(TNLinear(1024, 1024, pair(1024, 1024, 2)))  # rank 2: factorised is cheaper at any batch
    assert "batch 1 and up: factorised" in text and "(at 256)" in text


# network, sizes of in and out, rows -> the faster kind as measured (by 10 % and more; one thread of an AMD EPYC)
CHOICES = {
    "mpo 16": (tk.mpo((4, 4), (4, 4), 8), 16, {16: "reconstructed", 256: "reconstructed"}),
    "mpo 64": (tk.mpo((8, 8), (8, 8), 8), 64, {1: "factorised", 256: "reconstructed"}),
    "mpo 128": (tk.mpo((4, 4, 8), (4, 4, 8), 8), 128, {1: "factorised", 256: "reconstructed"}),
    "mpo 1024": (tk.mpo((4, 8, 8, 4), (4, 8, 8, 4), 2), 1024, {1: "factorised", 16: "factorised", 256: "factorised"}),
    "low rank 128": (tk.low_rank((128, 128), 2), 128, {1: "factorised", 16: "factorised", 256: "factorised"}),
    "cp 64": (tk.cp((8, 8, 8, 8), 8), 64, {1: "factorised", 16: "factorised", 256: "factorised"}),
    "tucker 128": (tk.tucker((128, 128), 8), 128, {1: "factorised", 16: "factorised", 256: "factorised"}),
}


def kind(layer, rows):
    """Whether a call with so many rows builds the weight: alone, or as all steps of a plan but the last."""
    route = route_for(layer.routes, rows, rows)
    x = None if route is None else route.inputs.index(layer._x)
    built = route is None or all(x not in step.operands for step in route.steps[:-1])
    return "reconstructed" if built else "factorised"


@pytest.mark.parametrize("net, n, expected", CHOICES.values(), ids=CHOICES)
def test_the_faster_kind_is_chosen(net, n, expected):
    assert {rows: kind(TNLinear(n, n, net, batch=rows), rows) for rows in expected} == expected


@pytest.mark.slow
def test_what_calls_cost_decides_where_little_is_computed(monkeypatch):
    """Measured: 121 us factorised, 132 us reconstructed."""
    net = tk.tucker((2, 5, 4, 4), 2)
    assert kind(TNLinear(16, 10, net), 256) == "factorised"
    monkeypatch.setattr("tnkit.planning.calibration._known", [Rates(call=1e-15)])
    assert kind(TNLinear(16, 10, net), 256) == "reconstructed"


@pytest.mark.parametrize("net, n, expected", CHOICES.values(), ids=CHOICES)
def test_no_prediction_is_shorter_than_the_calls(net, n, expected, monkeypatch):
    """Of a machine that computes and moves at once; twice the time of a call is twice the time."""

    def predicted(call):
        monkeypatch.setattr("tnkit.planning.calibration._known", [Rates(1e30, 1e30, call)])
        return TNLinear(n, n, net, batch=1)._seconds

    assert predicted(1e-6) > 1e-6 * (LAYER + 2 * len(net.nodes)) and predicted(2e-6) == pytest.approx(
        2 * predicted(1e-6)
    )


@pytest.mark.parametrize(
    "name, m, n, why",
    [
        ("prime", 13, 11, "a tensor of 12 x 14 is cut to a weight of 11 x 13, which leaves 15 % of its entries unused"),
        ("unaligned", 6, 6, r"no split of \(4, 9\) makes 6 x 6"),
        ("deep", 14, 12, "nonlinear"),
    ],
)
def test_a_weight_that_is_always_built_says_why(name, m, n, why):
    assert re.search(f"any batch: reconstructed, for .*{why}", repr(TNLinear(m, n, CASES[name][0])))


def test_a_call_never_searches(monkeypatch):
    searches = []
    monkeypatch.setattr(
        sys.modules["tnkit.planning.builder"], "find_path", lambda *a: searches.append(a[-1]) or find_path(*a)
    )
    layer = TNLinear(
        60, 64, MPO, batch=11, optimizer="greedy"
    )  # one for the weight, one for 11 rows, one for a single row
    assert 0 < sum(how == "greedy" for how in searches) <= 3
    searches.clear()
    for rows in (1, 2, 7, 11, 100, 5000):
        layer(torch.zeros(rows, 60))
    assert not searches


def starts(way):
    """Seconds to start a plan's operations, and the layer's own around it."""
    return way.rates.call * (launches(way.steps, way._memory) + LAYER + 2 * RESHAPE + CAST + ADD)


@pytest.mark.slow
def test_predictions_are_those_of_plans_made_for_that_batch():
    """A way's time, read off its line, against the plan lowered for so many rows."""
    sizes = {**MPO.sizes, "b": 40}
    net = MPO.join(Network((Node("x", "bijk", fixed=True),), "bijk", {i: sizes[i] for i in "bijk"}), "bopq", on="ijk")
    compared = 0
    for way in with_input(MPO, ("i", "j", "k"), "x", "b", 8, "auto", 4):
        again = plan(net, lambda *a, way=way: list(way.plan.paths[0]), itemsize=4, dynamic="b")
        if source(again.program, TORCH) == source(way.plan.program, TORCH):
            assert way.seconds(40) == pytest.approx(sum(again.seconds) + starts(again), rel=1e-12)
            compared += 1
        at = way.plan.network.sizes["b"]
        assert at in (1, 8) and way.seconds(at) == pytest.approx(sum(way.plan.seconds) + starts(way.plan), rel=1e-12)
    assert compared


@pytest.mark.slow
def test_gradcheck():
    layer = TNLinear(12, 6, CP, dtype=F64)
    x = torch.randn(3, 12, dtype=F64, requires_grad=True)
    names, params = zip(*layer.named_parameters(), strict=True)

    def fn(x, *ps):
        return torch.func.functional_call(layer, dict(zip(names, ps, strict=True)), (x,))

    args = (x, *[p.detach().requires_grad_() for p in params])
    assert torch.autograd.gradcheck(fn, args) and torch.autograd.gradgradcheck(fn, args)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mpo", "deep", "prime"])
def test_compile_has_no_graph_break(name):
    net, m, n, _ = CASES[name]
    layer = TNLinear(m, n, net, dtype=F64)
    torch._dynamo.reset()
    assert torch._dynamo.explain(layer)(torch.randn(5, m, dtype=F64)).graph_break_count == 0
    fast = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for lead in ((5,), (8,), (500,), (2, 3)):
        x = torch.randn(*lead, m, dtype=F64)
        torch.testing.assert_close(fast(x), layer(x))


@pytest.mark.slow
def test_compile_with_inductor():
    layer = TNLinear(60, 64, MPO)
    x = torch.randn(5, 60)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(x), layer(x))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 300])
def test_autocast_gives_what_nn_linear_gives(name, batch):
    net, m, n, _ = CASES[name]
    layer, x = TNLinear(m, n, net), torch.randn(batch, m)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.1, atol=0.1)


def test_state_copy_vmap_and_export():
    layer, other = TNLinear(60, 64, MPO, seed=0), TNLinear(60, 64, MPO, seed=1)
    assert sorted(layer.state_dict()) == ["bias", "tn.A", "tn.B", "tn.C"]
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 60)
    assert torch.equal(layer(x), other(x)) and torch.equal(copy.deepcopy(layer)(x), layer(x))
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))
    exported = torch.export.export(layer, (x[0],), dynamic_shapes=({0: torch.export.Dim("b", min=2, max=15)},))
    torch.testing.assert_close(exported.module()(x.reshape(12, 60)), layer(x).reshape(12, 64))


def test_the_weights_scale_is_that_of_nn_linear():
    layer = TNLinear(60, 64, MPO)
    torch.testing.assert_close(layer.weight.std(), torch.tensor((3 * 60) ** -0.5), rtol=0.05, atol=0)


def test_clear_errors():
    with pytest.raises(ValueError, match="fill"):
        TNLinear(60, 64, CP)
    with pytest.raises(ValueError, match="give it in arrays"):
        TNLinear(4, 3, Network((Node("A", "oi", fixed=True),), "oi", dict(o=3, i=4)))
    with pytest.raises(ValueError, match=r"TNLinear: x has shape \(\.\.\., 60\), not \(3, 61\)"):
        TNLinear(60, 64, MPO)(torch.zeros(3, 61))
    with pytest.raises(ValueError, match="options of the fit"):
        TNLinear.from_module(nn.Linear(12, 6), CP, fit=False, steps=3)


EMB = {
    "train": (train(5, 2, 3, 4), 10, 12, True),
    "padded": (train(4, 3, 2, 7), 11, 13, True),
    "tied": (TIED, 4, 4, True),
    "cp": (CP, 6, 12, True),
    "deep": (deep(4, 3, 2, 7), 11, 13, False),
    "unaligned": (train(4, 9), 6, 6, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("net, num, dim, factorised", EMB.values(), ids=EMB)
def test_embedding(net, num, dim, factorised):
    layer = TNEmbedding(num, dim, net, dtype=F64)
    assert (layer.plan is not None) == factorised
    for shape in ((), (7,), (2, 3), (0,)):
        t = torch.randint(num, shape)
        torch.testing.assert_close(layer(t), F.embedding(t, layer.weight), rtol=0, atol=1e-10)
    t = torch.arange(num)
    params = list(layer.parameters())
    got = torch.autograd.grad(layer(t).square().sum(), params)
    for a, b in zip(got, torch.autograd.grad(layer.weight.square().sum(), params), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(t), layer(t))
    for bad in (-1, num):
        with pytest.raises(ValueError, match=f"not {bad}$"):
            layer(torch.tensor([bad]))


def test_tokens_of_every_whole_kind():
    table = TNEmbedding(300, 4, tk.tt((15, 20, 2, 2), 3))
    tokens = torch.tensor([4, 4, 4, 0, 100, 127])
    for kind in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        torch.testing.assert_close(table(tokens.to(kind)), table.weight[tokens])
    torch.testing.assert_close(table(torch.tensor([200, 255], dtype=torch.uint8)), table.weight[[200, 255]])
    for wrong in (torch.tensor([1.0]), torch.tensor([True])):
        with pytest.raises(TypeError, match="tokens are whole numbers, not torch"):
            table(wrong)


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2)])
def test_a_table_of_one_row(shape):
    table = TNEmbedding(1, 4, tk.tt(shape, 2))
    torch.testing.assert_close(table(torch.tensor([[0, 0]])), table.weight[torch.tensor([[0, 0]])])


@pytest.mark.parametrize("fn", ["tanh", "sigmoid", "softplus"])
def test_the_default_scale_where_an_activation_is_outermost(fn):
    """That of nn.Linear where the activation reaches it, else that of init.normal."""
    net, size = tk.tt((8, 8), 3).activate(fn, "act"), (3 * 8) ** -0.5
    expected = size if fn == "tanh" else tk.init.rms(net, tk.init.normal(net))
    assert TNLinear(8, 8, net).weight.detach().square().mean().sqrt() == pytest.approx(expected, rel=1e-5)
    drawn = parametrize_(nn.Linear(8, 8), "weight", net, std=None).weight.detach()
    assert drawn.square().mean().sqrt() == pytest.approx(tk.init.rms(net, tk.init.normal(net)), rel=1e-5)


@pytest.mark.parametrize("frozen", ["weight", "bias", "both", "none"])
def test_what_is_frozen_stays_frozen(frozen):
    layer = nn.Linear(64, 64)
    layer.weight.requires_grad_(frozen in ("bias", "none"))
    layer.bias.requires_grad_(frozen in ("weight", "none"))
    want = layer.weight.requires_grad, layer.bias.requires_grad
    made = TNLinear.from_module(layer, WIDER, fit=False)
    assert ({p.requires_grad for p in made.tn.parameters()}, made.bias.requires_grad) == ({want[0]}, want[1])
    parametrize_(layer, "weight", WIDER)
    assert {p.requires_grad for p in layer.parametrizations.parameters()} == {want[0]}
    assert layer.weight.requires_grad == want[0]
    merge_(layer, "weight")
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == want


# -- a network larger than the weight ------------------------------------------------------------------------------------
WIDER = tk.mpo((8, 8), (8, 8), 3)  # 64 x 64
TAKES = {
    "TNLinear": lambda n: TNLinear(64, n, WIDER),
    "TNLinear.from_module": lambda n: TNLinear.from_module(nn.Linear(64, n), WIDER, fit=False),
    "TNEmbedding": lambda n: TNEmbedding(n, 64, WIDER),
    "parametrize_": lambda n: parametrize_(nn.Linear(64, n), "weight", WIDER),
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_what_is_cut_off_is_said(take):
    """In the repr whenever something is; in one warning, at the caller's line, where an axis is cut to half or less."""
    assert "unused" not in repr(take(64))  # pytest makes an error of a warning
    assert repr(take(63)).count("which leaves 1.6 % of its entries unused") == 1
    assert repr(take(33)).count("a tensor of 64 x 64 is cut to a weight of 33 x 64") == 1
    for n, percent in ((32, "50"), (9, "86")):
        with pytest.warns(UserWarning, match=f"cut to a weight of {n} x 64, which leaves {percent} % of its") as told:
            layer = take(n)
        assert len(told) == 1 and told[0].filename == __file__
        assert f"leaves {percent} % of its entries unused" in repr(layer)


def test_what_builders_pad_is_no_warning():
    layer = parametrize_(nn.Conv2d(6, 16, 5), "weight", tk.adtn((16, 6, 5, 5), depth=2, dim=2))
    assert "leaves 71 % of its entries unused" in repr(layer)

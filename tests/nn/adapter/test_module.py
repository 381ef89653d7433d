"""TNModule: values, gradients, transforms, state, errors."""

import copy

import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

import tnkit as tk
from tnkit import Network, Node
from tnkit_nn import TNModule

SIZES = {"i": 2, "j": 3, "k": 4, "r": 3, "s": 2}
CHAIN = Network((Node("A", "ir"), Node("B", "rsj"), Node("C", "sk")), "ijk", SIZES)
DATA = Network((Node("A", "or"), Node("B", "ri"), Node("x", "bi", fixed=True)), "bo", dict(o=5, r=2, i=3, b=8))
TIED = Network((Node("A", "ij"), Node("B", "jk", array="A")), "ik", dict(i=3, j=3, k=3))
E0 = Network((Node("v", "a", fixed="e0"), Node("A", "abc"), Node("C", "bd")), "dc", dict(a=3, b=2, c=4, d=5))
DEEP = CHAIN.activate("tanh", "act").join(Network((Node("D", "kl"),), "kl", dict(k=4, l=3)), on="k")
CASES = {"chain": CHAIN, "tied": TIED, "e0": E0, "deep": DEEP}


def make(net, **kw):
    return TNModule(net, dtype=torch.float64, **kw)


@pytest.mark.parametrize("net", CASES.values(), ids=CASES)
def test_value_gradients_and_second_gradients(net):
    module = make(net)
    arrays = {n: t.detach().numpy() for n, t in module.tensors().items()}
    np.testing.assert_allclose(module().detach().numpy(), tk.contract(net, arrays), rtol=0, atol=1e-10)
    names, params = zip(*module.named_parameters(), strict=True)

    def fn(*ps):
        return functional_call(module, dict(zip(names, ps, strict=True)))

    params = tuple(p.detach().requires_grad_() for p in params)
    assert torch.autograd.gradcheck(fn, params)
    assert torch.autograd.gradgradcheck(fn, params)


def test_chain_against_einsum():
    m = make(CHAIN)
    expected = torch.einsum("ir,rsj,sk->ijk", m.A, m.B, m.C)
    torch.testing.assert_close(m(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("net", CASES.values(), ids=CASES)
def test_state(net):
    module = make(net, seed=1)
    assert sorted(module.state_dict()) == sorted(net.parameters)  # constants follow from the structure
    assert sum(p.numel() for p in module.parameters()) == net.num_params
    other = make(net, seed=2)
    assert not torch.equal(module(), other())
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(), other())
    twin = copy.deepcopy(module)
    module()
    assert sorted(module.state_dict()) == sorted(net.parameters)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert not torch.equal(module(), twin())


def test_pickle(tmp_path):
    module = make(DEEP)
    torch.save(module, tmp_path / "m.pt")
    again = torch.load(tmp_path / "m.pt", weights_only=False)
    assert torch.equal(module(), again())


def test_functional_call_uses_the_swapped_weights():
    m = make(CHAIN)
    double = {"A": 2 * m.A.detach()}
    torch.testing.assert_close(functional_call(m, double, ()), 2 * m())


def test_tied_gradient_is_the_sum_of_both_uses():
    m = make(TIED)
    m().sum().backward()
    a = m.A.detach().clone().requires_grad_()
    (a @ a).sum().backward()
    torch.testing.assert_close(m.A.grad, a.grad, rtol=0, atol=1e-10)
    assert list(m.state_dict()) == ["A"]


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_dynamic_batch(batch):
    m = make(DATA, dynamic="b")
    x = torch.randn(batch, 3, dtype=torch.float64)
    expected = torch.einsum("or,ri,bi->bo", m.A, m.B, x)
    torch.testing.assert_close(m(x=x), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(m(x), expected, rtol=0, atol=1e-10)


def test_vmap_over_data_and_over_models():
    m = make(DATA)
    xs = torch.randn(4, 8, 3, dtype=torch.float64)
    torch.testing.assert_close(vmap(m)(xs), torch.stack([m(x) for x in xs]))
    models = [make(CHAIN, seed=k) for k in range(3)]
    params, buffers = torch.func.stack_module_state(models)
    got = vmap(lambda p, b: functional_call(models[0], (p, b), ()))(params, buffers)
    torch.testing.assert_close(got, torch.stack([m() for m in models]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64])
def test_dtypes(dtype):
    for net in (CHAIN, E0) if dtype.is_complex else CASES.values():
        out = TNModule(net, dtype=dtype)()
        assert out.dtype == dtype
        out.abs().sum().backward()
    assert make(E0).to(torch.bfloat16)().dtype == torch.bfloat16


def test_frozen_arrays_are_buffers_and_data_are_inputs():
    x = np.ones((8, 3))
    m = make(DATA, arrays={"x": x})
    assert m.inputs == () and "x" in dict(m.named_buffers()) and "x" in m.state_dict()
    assert make(DATA).inputs == ("x",)
    arrays = tk.init.normal(CHAIN, seed=3)
    assert TNModule(CHAIN, arrays).A.dtype == torch.float32  # numpy: torch's default dtype
    assert TNModule(CHAIN, {n: torch.tensor(a) for n, a in arrays.items()}).A.dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep", "e0", "data"])
def test_compile_has_no_graph_break(name):
    m = make(DATA, dynamic="b") if name == "data" else make(CASES[name])
    args = (torch.randn(5, 3, dtype=torch.float64),) if name == "data" else ()
    torch._dynamo.reset()
    assert torch._dynamo.explain(m)(*args).graph_break_count == 0
    fast = torch.compile(m, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(*args), m(*args))
    fast(*args).sum().backward()
    if args:
        more = torch.randn(9, 3, dtype=torch.float64)
        torch.testing.assert_close(fast(more), m(more))


def test_arrays_of_a_function_that_needs_an_order_are_real():
    net = tk.low_rank((4, 6), 2).activate("relu", "f")
    arrays = tk.init.normal(net, seed=0)
    np.testing.assert_allclose(TNModule(net, arrays)().detach().numpy(), tk.contract(net, arrays), atol=1e-6)
    with pytest.raises(ValueError, match=r"node 'f': relu takes real numbers, not torch\.complex"):
        TNModule(net, {name: x + 0j for name, x in arrays.items()})


def test_autocast():
    m = TNModule(DATA, dynamic="b")
    with torch.autocast("cpu", torch.bfloat16):
        y = m(torch.randn(4, 3))
    assert y.dtype == torch.bfloat16


def test_tnkit_contract_with_torch():
    arrays = {n: torch.tensor(a) for n, a in tk.init.normal(DEEP).items()}
    np.testing.assert_allclose(tk.contract(DEEP, arrays).numpy(), tk.contract(DEEP, tk.init.normal(DEEP)))


@pytest.mark.parametrize("name", ["forward", "training", "T_destination", "network", "state_dict", "_held", "a.b"])
def test_names_that_torch_cannot_hold(name):
    with pytest.raises(ValueError, match="relabel"):
        TNModule(Network((Node(name, "ij"),), "ij", dict(i=2, j=2)))


@pytest.mark.parametrize("name", ["weight", "bias", "A b", "self", "x1", "é"])
def test_other_names_work(name):
    net = Network((Node(name, "ij"), Node("self_", "jk", fixed=True)), "ik", dict(i=2, j=2, k=2))
    m = TNModule(net)
    assert list(m.state_dict()) == [name]
    assert m(torch.eye(2)).shape == (2, 2)
    data = TNModule(Network((Node("A", "ij"), Node(name, "jk", fixed=True)), "ik", dict(i=2, j=2, k=2)))
    assert data(torch.eye(2)).shape == (2, 2)


def test_clear_errors():
    m = make(DATA, dynamic="b")
    f64 = torch.float64
    with pytest.raises(ValueError, match=r"input 'x' is missing: node 'x', indices \('b', 'i'\) of sizes \(8, 3\)"):
        m()
    with pytest.raises(ValueError, match=r"node 'x': index 'i' has size 3, but array 'x' has shape \(8, 4\)"):
        m(torch.zeros(8, 4, dtype=f64))
    with pytest.raises(ValueError, match="has indices"):
        m(torch.zeros(8, dtype=f64))
    with pytest.raises(ValueError, match="unknown input 'y'"):
        m(torch.zeros(8, 3, dtype=f64), y=1)
    with pytest.raises(ValueError, match="2 inputs given"):
        m(1, 2)
    with pytest.raises(ValueError, match="given twice"):
        m(torch.zeros(8, 3, dtype=f64), x=torch.zeros(8, 3))
    with pytest.raises(ValueError, match=r"torch\.float32.*torch\.float64"):
        m(torch.zeros(8, 3))
    with pytest.raises(ValueError, match="index 'b' has size 8"):
        make(DATA)(torch.zeros(7, 3, dtype=f64))
    two = Network((Node("x", "bi", fixed=True), Node("y", "bi", fixed=True), Node("A", "i")), "b", dict(b=2, i=3))
    with pytest.raises(ValueError, match="size 4 in one input and 5"):
        make(two, dynamic="b")(torch.zeros(4, 3, dtype=f64), torch.zeros(5, 3, dtype=f64))


def test_clear_errors_of_arrays():
    arrays = tk.init.normal(CHAIN)
    with pytest.raises(ValueError, match="trained array 'C' is missing"):
        TNModule(CHAIN, {"A": arrays["A"], "B": arrays["B"]})
    with pytest.raises(ValueError, match="'Z' belongs to no node"):
        TNModule(CHAIN, {**arrays, "Z": arrays["A"]})
    with pytest.raises(ValueError, match="node 'A': index 'i' has size 2"):
        TNModule(CHAIN, {**arrays, "A": np.ones((3, 3))})
    with pytest.raises(ValueError, match="one dtype"):
        TNModule(CHAIN, {n: torch.tensor(a, dtype=torch.float32 if n == "A" else None) for n, a in arrays.items()})
    with pytest.raises(ValueError, match="dynamic"):
        TNModule(CHAIN, dynamic="q")


@pytest.mark.slow
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_module_that_never_ran_compiles(activation):
    """Whatever it computes once and keeps is computed when it is made."""
    net = tk.tt((4, 6), 2)
    module = TNModule(net if activation is None else net.activate(activation, "act"), seed=3)
    torch._dynamo.reset()
    made = torch.compile(module, fullgraph=True, backend="aot_eager")()
    torch.testing.assert_close(made, module())

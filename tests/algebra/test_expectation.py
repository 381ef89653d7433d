"""What is measured of a state: every figure against dense matrices in double precision."""

from functools import reduce

import numpy as np
import pytest
import torch
from dense import EPS, X, Y, Z, as_matrix, dense, drawn, ising, random_terms, value, wide

import tnkit as tk

OUT, IN = (3, 2, 4, 2, 3), (2, 3, 2, 2, 3)
OP, STATE = tk.mpo(OUT, IN, 3), tk.tt(IN, 3)


# -- what is measured -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize(
    "net", [tk.tt((2,) * 6, 4), tk.tree((2,) * 6, 3), tk.ring((2,) * 6, 2)], ids=["tt", "tree", "ring"]
)
def test_expectations(net, dtype, torch_too):
    terms = random_terms((2,) * 6, 5, complex_=dtype.startswith("complex"))
    matrix = dense(terms, (2,) * 6)
    given = [(c, {k: x.astype(dtype) for k, x in f.items()}) for c, f in terms]
    given = [(c, {k: torch.from_numpy(x) for k, x in f.items()}) for c, f in given] if torch_too else given
    op = tk.operator(given, (2,) * 6)
    a, b = drawn(net, 0, dtype, torch_too), drawn(net, 1, dtype, torch_too)
    x, y = (as_matrix(net, s, 64).reshape(-1) for s in (a, b))
    tolerance = 1e3 * EPS[dtype]
    size = np.linalg.norm(matrix)
    found = tk.expect(*op, net, a)
    assert abs(complex(found) - x.conj() @ matrix @ x / (x.conj() @ x)) <= tolerance * size
    found = tk.inner(net, a, net, b, op=op)
    assert abs(complex(found) - x.conj() @ matrix @ y) <= tolerance * size * np.linalg.norm(x) * np.linalg.norm(y)


def test_inner_products_match_the_names_of_the_operator():
    op, ket = drawn(OP, 0), drawn(STATE, 1)
    wanted = as_matrix(OP, op, 144) @ as_matrix(STATE, ket, 72).reshape(-1)
    bra = tk.tt(OUT, 2).relabel({f"i{k}": f"o{k}" for k in range(5)})
    turned = tk.Network(bra.nodes, bra.output[::-1], bra.sizes)
    arrays = drawn(bra, 2)
    product = value(bra, arrays).reshape(-1) @ wanted
    assert float(tk.inner(bra, arrays, STATE, ket, op=(OP, op))) == pytest.approx(product, rel=1e-12)
    assert float(tk.inner(turned, arrays, STATE, ket, op=(OP, op))) == pytest.approx(product, rel=1e-12)
    plain = tk.tt(OUT, 2)
    assert float(tk.inner(plain, arrays, STATE, ket, op=(OP, op))) == pytest.approx(product, rel=1e-12)
    backwards = tk.Network(STATE.nodes, STATE.output[::-1], STATE.sizes)
    assert float(tk.inner(turned, arrays, backwards, ket, op=(OP, op))) == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize("power", [1e-30, 1e30])
def test_expectations_at_any_scale(power):
    net = tk.tt((2,) * 40, 4)
    op = tk.operator([(c, {k: x.astype("float32") for k, x in f.items()}) for c, f in ising(40)], (2,) * 40)
    state, plain = drawn(net, 0, "float32", scale=power), wide(drawn(net, 0, "float32"))
    wanted = float(tk.expect(*op, net, plain))
    assert float(tk.expect(*op, net, state)) == pytest.approx(wanted, rel=1e-4)
    found, exponent = tk.expect(*op, net, state, strip_exponent=True)
    assert float(found) * 10**exponent == pytest.approx(wanted, rel=1e-4)
    rho = tk.density_matrix(net, state, ["i3", "i20"])
    assert np.allclose(rho, tk.density_matrix(net, plain, ["i3", "i20"]), atol=1e-5)
    found = tk.local_expectation(net, state, {("i3", "i4"): np.kron(Z, Z)})
    assert found["i3", "i4"] == pytest.approx(
        tk.local_expectation(net, plain, {("i3", "i4"): np.kron(Z, Z)})["i3", "i4"], rel=1e-3
    )


NETS = [
    tk.tt((2, 3, 2, 2, 3), 3),
    tk.tree((2, 3, 2, 2, 3), 3),
    tk.ring((2, 3, 2, 2, 3), 2),
    tk.tt((2, 3, 2, 2, 3), 3).activate("square", "f"),
]


def reduced(x, axes):
    rest = [k for k in range(x.ndim) if k not in axes]
    shape = [x.shape[k] for k in axes]
    m = x.transpose([*axes, *rest]).reshape(np.prod(shape), -1)
    rho = m @ m.conj().T
    return (rho / np.trace(rho)).reshape(*shape, *shape)


@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.parametrize("net", NETS, ids=["tt", "tree", "ring", "nonlinear"])
def test_density_matrices_and_local_expectations(net, dtype, torch_too):
    arrays = drawn(net, 0, dtype, torch_too)
    x, draw = value(net, arrays), np.random.default_rng(2)
    tolerance = 100 * EPS[dtype]
    for axes in ([0], [4], [1, 2], [3, 0], [4, 1, 2], [0, 1, 2, 3, 4]):
        kept = [net.output[k] for k in axes]
        found = np.asarray(tk.density_matrix(net, arrays, kept))
        assert np.abs(found - reduced(x, axes)).max() <= tolerance
    gates = {}
    for axes in ([0], [1, 2], [4, 0], [2, 3, 1]):
        side = np.prod([x.shape[k] for k in axes])
        gates[tuple(net.output[k] for k in axes)] = draw.normal(size=(side, side))
    gates["i3"] = Y if dtype == "complex128" else X
    given = {key: torch.from_numpy(g) if torch_too else g for key, g in gates.items()}
    found = tk.local_expectation(net, arrays, given)
    assert list(found) == list(gates)
    for key, gate in gates.items():
        axes = [net.output.index(i) for i in ((key,) if isinstance(key, str) else key)]
        side = len(gate)
        wanted = np.trace(gate @ reduced(x, axes).reshape(side, side))
        assert abs(complex(found[key]) - wanted) <= tolerance * np.linalg.norm(gate)


def test_many_local_expectations_of_a_long_chain():
    net = tk.tt((2,) * 60, 6)
    state, terms = drawn(net, 0), ising(60)
    gates = {tuple(f"i{k}" for k in f): c * reduce(np.kron, f.values()) for c, f in terms}
    gates["i0", "i59"] = np.kron(Z, Z)
    found = tk.local_expectation(net, state, gates)
    assert found.pop(("i0", "i59")) == pytest.approx(
        float(tk.expect(*tk.operator([(1, {0: Z, 59: Z})], (2,) * 60), net, state)), abs=1e-12
    )
    assert sum(found.values()) == pytest.approx(float(tk.expect(*tk.operator(terms, (2,) * 60), net, state)), rel=1e-10)


def test_gradients_of_local_expectations():
    net = tk.tt((2,) * 4, 2)
    state = {n: x.requires_grad_() for n, x in drawn(net, 0, torch_too=True).items()}

    def values(*cores):
        given = dict(zip(state, cores, strict=True))
        found = tk.local_expectation(net, given, {"i1": torch.tensor(X), ("i0", "i3"): torch.tensor(np.kron(Z, Z))})
        return (*found.values(), tk.density_matrix(net, given, ["i2"]))

    assert torch.autograd.gradcheck(values, tuple(state.values()))


def test_a_state_of_zeros_has_no_expectation():
    net = tk.tt((2, 2), 2)
    state = {n: 0 * x for n, x in drawn(net, 0).items()}
    assert np.isnan(tk.expect(*tk.operator(ising(2), (2, 2)), net, state))
    assert np.isnan(tk.density_matrix(net, state, ["i0"])).all()
    assert np.isnan(tk.local_expectation(net, state, {"i0": X})["i0"])


def test_nan_comes_out_as_nan():
    net = tk.tt((2, 2, 2), 2)
    state = drawn(net, 0)
    state["core_1"][0, 0, 0] = np.nan
    op = tk.operator(ising(3), (2,) * 3)
    assert np.isnan(tk.expect(*op, net, state)) and np.isnan(tk.inner(net, state, net, state, op=op))
    assert np.isnan(tk.density_matrix(net, state, ["i0"])).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda net, s: tk.density_matrix(net, s, ["i0", "zz"]), "'zz' is no open index; there are i0, i1"),
        (lambda net, s: tk.density_matrix(net, s, ["i0", "i0"]), "each index is given once"),
        (lambda net, s: tk.density_matrix(net, s, []), "at least one open index"),
        (lambda net, s: tk.local_expectation(net, s, {"i0": np.eye(3)}), r"the gate of 'i0' has shape \(3, 3\), not \(2, 2\)"),
        (lambda net, s: tk.expect(OP, drawn(OP, 0), STATE, drawn(STATE, 0)), "a square operator is needed; index 'o0' out has size 3"),
        (lambda net, s: tk.inner(net, s, net, s, op=(OP, drawn(OP, 0))), "meets a state of 5"),
    ],
)  # fmt: skip
def test_measures_that_cannot_be(call, words):
    net = tk.tt((2, 2), 2)
    with pytest.raises(ValueError, match=words):
        call(net, drawn(net, 0))


def test_expectations_between_operators():
    """An operator in the place of the state: the trace of X^H O X over that of X^H X."""
    net, op = tk.mpo((2, 3, 2), (3, 2, 2), 3), tk.mpo((2, 3, 2), (2, 3, 2), 3)
    x, o = drawn(net, 0, "complex128"), drawn(op, 1, "complex128")
    m, matrix = as_matrix(net, x, 12), as_matrix(op, o, 12)
    wanted = np.trace(m.conj().T @ matrix @ m)
    assert tk.expect(op, o, net, x) == pytest.approx(wanted / np.linalg.norm(m) ** 2, rel=1e-12)
    assert tk.inner(net, x, net, x, op=(op, o)) == pytest.approx(wanted, rel=1e-12)


def test_measures_of_every_kind_of_number():
    net = tk.tt((2,) * 4, 2)
    whole = {n: np.random.default_rng(0).integers(-2, 3, s) for n, s in net.array_shapes.items()}
    x = as_matrix(net, whole, 16)[:, 0]
    wanted = x @ dense([(1.0, {0: X})], (2,) * 4) @ x / (x @ x)
    op = tk.operator([(1, {0: X.astype(int)})], (2,) * 4)
    assert tk.expect(*op, net, whole) == pytest.approx(wanted, rel=1e-12)
    half = {n: torch.as_tensor(a, dtype=torch.bfloat16) for n, a in whole.items()}
    op = tk.operator([(1, {0: torch.as_tensor(X, dtype=torch.bfloat16)})], (2,) * 4)
    assert float(tk.expect(*op, net, half)) == pytest.approx(wanted, rel=1e-5)
    assert tk.local_expectation(net, whole, {"i0": X.astype(int)})["i0"] == pytest.approx(wanted, rel=1e-12)


def test_libraries_of_the_array_standard():
    xp = pytest.importorskip("array_api_strict")
    net = tk.tt((2,) * 4, 2)
    state = {n: xp.asarray(a) for n, a in drawn(net, 0).items()}
    op = tk.operator([(c, {k: xp.asarray(m) for k, m in f.items()}) for c, f in ising(4)], (2,) * 4)
    x, matrix = as_matrix(net, drawn(net, 0), 16)[:, 0], dense(ising(4), (2,) * 4)
    assert float(tk.expect(*op, net, state)) == pytest.approx(x @ matrix @ x / (x @ x), rel=1e-12)
    for method in ("svd", "zipup", "fit"):
        cut = tk.apply(*op, net, state, rank=2, method=method)
        y = np.asarray(tk.contract(*cut)).reshape(-1)
        assert np.linalg.norm(y - matrix @ x) <= 0.9 * np.linalg.norm(matrix @ x)


def test_a_batch_of_states_under_vmap():
    net = tk.tree((2,) * 6, 3)
    op = tk.operator([(c, {k: torch.tensor(m) for k, m in f.items()}) for c, f in ising(6)], tree=net)
    each = [drawn(net, seed, torch_too=True) for seed in range(3)]
    batch = {n: torch.stack([x[n] for x in each]) for n in each[0]}
    for measure in (
        lambda x: tk.expect(*op, net, x),
        lambda x: tk.local_expectation(net, x, {"i3": torch.tensor(Z)})["i3"],
    ):
        found = torch.vmap(measure)(batch)
        assert torch.allclose(found, torch.stack([torch.as_tensor(measure(x)) for x in each]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_gives_nan_without_a_warning(bad):
    net = tk.tt((2, 3, 2), 2)
    arrays = {n: np.ones(shape) for n, shape in net.array_shapes.items()}
    arrays["core_1"][0, 0, 0] = bad
    assert np.isnan(tk.density_matrix(net, arrays, ["i0"])).all()
    assert np.isnan(tk.local_expectation(net, arrays, {"i0": np.eye(2)})["i0"])

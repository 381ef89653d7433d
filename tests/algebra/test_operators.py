"""Operators, what they act on, entrywise products: every figure against dense matrices in double precision."""

import numpy as np
import pytest
import torch
from dense import (
    EPS,
    RAISE,
    X,
    Y,
    Z,
    as_matrix,
    bond_ranks,
    bonds,
    dense,
    drawn,
    heisenberg,
    ising,
    random_terms,
    value,
    wide,
)

import tnkit as tk


# -- operators ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "terms, widest",
    [
        (ising(8), 3),
        (heisenberg(8), 5),
        ([(0.7 ** (j - i), {i: Z, j: Z}) for i in range(8) for j in range(i + 1, 8)], 3),
        ([(0.7 ** (j - i) + 0.2 ** (j - i), {i: Z, j: Z}) for i in range(8) for j in range(i + 1, 8)], 4),
        ([(1.0, {i: P, j: P}) for i in range(8) for j in range(i + 1, 8) for P in (X, Y, Z)], 5),
        # matrices that are sums of others, written out and not
        ([t for k in range(7) for t in ((0.5, {k: RAISE, k + 1: RAISE.T}), (0.5, {k: RAISE.T, k + 1: RAISE}))]
         + [(1.0, {k: X}) for k in range(8)], 4),
        ([(2.0, {0: Z}), (-2.0, {0: Z, 3: np.eye(2)}), (1.0, {7: X})], 1),
    ],
)  # fmt: skip
def test_sums_of_products_have_the_smallest_bonds(terms, widest):
    net, arrays = tk.operator(terms, (2,) * 8)
    wanted = dense(terms, (2,) * 8)
    assert net.output == tk.mpo((2,) * 8, (2,) * 8, 1).output
    assert np.abs(as_matrix(net, arrays, 256) - wanted).max() <= 1e-14 * np.abs(wanted).max()
    assert max(bonds(net)) == widest
    assert bonds(net) == bond_ranks(wanted, (2,) * 8)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_sums_on_chains_and_trees(seed, complex_):
    dims = (2, 3, 2, 4, 2)
    terms = random_terms(dims, seed, complex_=complex_)
    wanted = dense(terms, dims)
    net, arrays = tk.operator(terms, dims)
    assert np.abs(as_matrix(net, arrays, 96) - wanted).max() <= 1e-13 * np.abs(wanted).max()
    assert bonds(net) == bond_ranks(wanted, dims)
    tree = tk.tree(dims, 2)
    net, arrays = tk.operator(terms, tree=tree)
    assert np.abs(as_matrix(net, arrays, 96) - wanted).max() <= 1e-13 * np.abs(wanted).max()
    assert [n.name for n in net.nodes] == [n.name for n in tree.nodes]
    assert bonds(tk.round(net, arrays, tol=1e-12)[0]) == bonds(net)


def test_small_terms_are_not_lost_beside_large_ones():
    terms = [*[(1e12, {k: Z, k + 1: Z}) for k in range(7)], *[(1e-12, {k: X}) for k in range(8)]]
    state = {k: np.array([1.0, 1.0]) for k in range(8)}
    net = tk.tt((2,) * 8, 1)
    arrays = {f"core_{k}": x.reshape(net.array_shapes[f"core_{k}"]) for k, x in state.items()}
    assert float(tk.expect(*tk.operator(terms, (2,) * 8), net, arrays)) == pytest.approx(8e-12, rel=1e-12)


def test_the_arrays_of_a_chain_are_its_matrices():
    _, arrays = tk.operator(ising(6), (2,) * 6)
    entries = np.unique(np.abs(np.concatenate([x.reshape(-1) for x in arrays.values()])))
    assert set(entries) <= {0.0, 0.5, 1.0, 2.0}


def test_long_chains_and_many_pairs():
    assert max(bonds(tk.operator(heisenberg(100), (2,) * 100)[0])) == 5
    draw = np.random.default_rng(0)
    pairs = [(draw.normal(), {i: Z, j: Z}) for i in range(40) for j in range(i + 1, 40)]
    net, arrays = tk.operator(pairs, (2,) * 40)
    assert max(bonds(net)) == 22
    up = tk.tt((2,) * 40, 1)
    signs = draw.choice([-1, 1], 40)
    state = {
        f"core_{k}": np.array([1.0 + s, 1.0 - s]).reshape(up.array_shapes[f"core_{k}"]) for k, s in enumerate(signs)
    }
    energy = sum(c * np.prod([signs[k] for k in f]) for c, f in pairs)
    assert float(tk.expect(net, arrays, up, state)) == pytest.approx(energy, rel=1e-12)


def test_the_dtype_and_the_library_are_those_of_the_matrices():
    assert tk.operator([(1, {0: Z.astype("float32")})], (2, 2))[1]["core_0"].dtype == np.float32
    assert tk.operator([(1j, {0: Z.astype("float32")})], (2, 2))[1]["core_0"].dtype == np.complex64
    assert tk.operator([(1, {0: np.array([[0, 1], [1, 0]])})], (2, 2))[1]["core_0"].dtype == np.float64
    assert tk.operator([(1, {0: Z})], (2, 2), dtype="complex64")[1]["core_1"].dtype == np.complex64
    made = tk.operator([(1.0, {0: torch.tensor(Z), 1: torch.tensor(X)})], (2, 2))
    assert all(isinstance(x, torch.Tensor) and x.dtype == torch.float64 for x in made[1].values())
    assert np.array_equal(as_matrix(*made, 4), np.kron(Z, X))


def test_no_terms_and_no_factors():
    assert np.array_equal(as_matrix(*tk.operator([(2.0, {})], (2, 3)), 6), 2 * np.eye(6))
    assert np.array_equal(as_matrix(*tk.operator([], (2, 3)), 6), np.zeros((6, 6)))
    assert np.array_equal(as_matrix(*tk.operator([(1.0, {0: Z}), (-1.0, {0: Z})], (2, 3)), 6), np.zeros((6, 6)))
    assert np.array_equal(as_matrix(*tk.operator([(3.0, {0: X})], (2,)), 2), 3 * X)


@pytest.mark.parametrize(
    "terms, dims, kind, words",
    [
        ([(1.0, {0: Z, 5: Z})], (2, 2), ValueError, r"term 0: a site is at most 1, not 5"),
        ([(1.0, {0: np.eye(3)})], (2, 2), ValueError, r"term 0, site 0: the matrix has shape \(3, 3\), but the site has size 2"),
        ([(1.0, {0: Z}), (float("nan"), {0: Z})], (2, 2), ValueError, "term 1: the coefficient is a finite number"),
        ([(1.0, {0: np.full((2, 2), np.inf)})], (2, 2), ValueError, "term 0, site 0: the matrix has entries that are not finite"),
        ([{0: Z}], (2, 2), TypeError, "term 0 is a pair"),
        ([(1.0, {0: torch.tensor(Z, requires_grad=True)})], (2, 2), ValueError, "requires a gradient"),
        ([(1.0, {0: Z, 1: torch.tensor(Z)})], (2, 2), TypeError, "of one library"),
        ([(1.0, {0: Z})], None, TypeError, "dims are the sizes of the sites"),
        ([(1.0, {0: Z * 1e300}), (1.0, {0: X.astype("float32")})], (2,), None, ""),
    ],
)  # fmt: skip
def test_terms_that_cannot_be(terms, dims, kind, words):
    if kind is None:
        assert np.isfinite(tk.operator(terms, dims)[1]["core_0"]).all()
        with pytest.raises(ValueError, match="beyond the range of float32"):
            tk.operator(terms, dims, dtype="float32")
        return
    with pytest.raises(kind, match=words):
        tk.operator(terms, dims)


def test_complex_terms_in_a_real_dtype_are_refused():
    with pytest.raises(ValueError, match="holds no complex numbers"):
        tk.operator([(1.0, {0: Y})], (2, 2), dtype="float64")


# -- apply --------------------------------------------------------------------------------------------------------------
OUT, IN = (3, 2, 4, 2, 3), (2, 3, 2, 2, 3)
OP, STATE = tk.mpo(OUT, IN, 3), tk.tt(IN, 3)
TREE = tk.tree((2, 3, 2, 4, 2, 3), 3)


def error_of(made, wanted):
    x = value(*made).reshape(wanted.shape)
    return np.linalg.norm(x - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("dtype", EPS)
def test_apply_is_the_matrix_times_the_vector(dtype, torch_too):
    op, state = drawn(OP, 0, dtype, torch_too), drawn(STATE, 1, dtype, torch_too)
    wanted = as_matrix(OP, op, 144) @ as_matrix(STATE, state, 72).reshape(-1)
    made = tk.apply(OP, op, STATE, state)
    assert made.error == 0 and made[0].output == STATE.output and made[0].shape == OUT
    assert [n.inds for n in made[0].nodes] == [n.inds for n in STATE.nodes]
    assert error_of(made, wanted) <= 20 * EPS[dtype]
    best = tk.round(*made, rank=3).error
    for method, slack in (("svd", 1.01), ("zipup", 1.6), ("fit", 1.01)):
        cut = tk.apply(OP, op, STATE, state, rank=3, method=method)
        found = error_of(cut, wanted)
        assert found <= slack * best and max(bonds(cut[0])) <= 3
        assert cut[1]["core_0"].dtype == state["core_0"].dtype
        assert cut.error == pytest.approx(found, rel=1e-3)
    for tol in (0.3, 1e-5):
        cut = tk.apply(OP, op, STATE, state, tol=tol)
        assert error_of(cut, wanted) <= tol * 1.001
        assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-2, abs=1e-6)


def test_every_way_to_compress_agrees_on_chains_and_trees(monkeypatch):
    monkeypatch.setattr("tnkit.algebra.application._FORMED", 0)
    for net, seed in ((TREE, 0), (TREE, 1), (tk.tt((2,) * 8, 4), 2)):
        for dtype in ("float64", "complex128"):
            terms = random_terms(net.shape, seed, 9, dtype == "complex128")
            op, arrays = tk.operator(terms, tree=net)
            state = drawn(net, seed, dtype)
            wanted = as_matrix(op, arrays, np.prod(net.shape)) @ as_matrix(net, state, np.prod(net.shape)).reshape(-1)
            best = tk.round(*tk.apply(op, arrays, net, state), rank=3).error
            for method, slack in (("svd", 1.02), ("zipup", 4), ("fit", 1.001)):
                cut = tk.apply(op, arrays, net, state, rank=3, method=method, sweeps=30)
                assert error_of(cut, wanted) <= slack * best and max(bonds(cut[0])) <= 3
                assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-6)
            cut = tk.apply(op, arrays, net, state, tol=0.1)
            assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-6) and cut.error <= 0.1


def test_small_errors_of_zip_up():
    """Below what norms tell, what the cuts took for it."""
    net = tk.tt((2,) * 8, 8)
    state = tk.round(*tk.add(net, drawn(net, 4), net, drawn(net, 5), weights=(1, 1e-8)), tol=1e-15)
    op = tk.operator([(1.0, {}), *[(1e-9 * c, f) for c, f in random_terms((2,) * 8, 3)]], (2,) * 8)
    cut = tk.apply(*op, *state, rank=8, method="zipup")
    true = tk.distance(*cut, *tk.apply(*op, *state)) / tk.norm(*state)
    assert 1e-10 < cut.error < 1e-7 and 0.3 < cut.error / float(true) < 3


def test_small_errors_are_told_as_they_are():
    """Below what density matrices resolve the product is formed."""
    net = tk.tt((2,) * 10, 16)
    state = tk.round(net, drawn(net, 0), tol=1e-14)
    terms = [(1.0, {}), *[(1e-9, {k: X, k + 1: X}) for k in range(9)]]
    op = tk.operator(terms, (2,) * 10)
    cut = tk.apply(*op, *state, rank=16)
    wanted = dense(terms, (2,) * 10) @ as_matrix(*state, 1024).reshape(-1)
    assert 1e-11 < cut.error < 1e-8
    assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-3)
    cut = tk.apply(*op, *state, tol=1e-8)
    assert error_of(cut, wanted) <= 1e-8


def test_operators_on_operators():
    mid = tk.mpo(IN, (3,) * 5, 2)
    op, other = drawn(OP, 0), drawn(mid, 1)
    wanted = as_matrix(OP, op, 144) @ as_matrix(mid, other, 72)
    made = tk.apply(OP, op, mid, other)
    assert made[0].output == mid.output and made[0].shape == (*OUT, *(3,) * 5)
    assert error_of(made, wanted) < 1e-14
    cut = tk.apply(OP, op, mid, other, rank=4)
    assert max(bonds(cut[0])) <= 4
    assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-6)


def test_indices_meet_by_name_where_all_are_the_same():
    op, state = drawn(OP, 0), drawn(STATE, 1)
    turned = tk.Network(STATE.nodes, STATE.output[::-1], STATE.sizes)
    made = tk.apply(OP, op, turned, state, tol=0.0)
    straight = tk.apply(OP, op, STATE, state)
    assert made[0].output == STATE.output[::-1] and made[0].shape == OUT[::-1]
    assert np.allclose(tk.contract(*made), np.transpose(tk.contract(*straight)), rtol=1e-12)
    named = STATE.relabel({i: f"x{i}" for i in STATE.output})
    assert np.allclose(tk.contract(*tk.apply(OP, op, named, state)), tk.contract(*straight), rtol=1e-12)


@pytest.mark.parametrize("dtype, power", [("float32", 1e-12), ("float32", 1e12), ("float64", 1e-30), ("float64", 1e30)])
def test_apply_at_any_scale(dtype, power):
    """Norms up to 1e300 and 1e120, each beyond the square root of what the dtype holds."""
    op, state = drawn(OP, 0, dtype, scale=power), drawn(STATE, 1, dtype, scale=power)
    for options in ({}, {"rank": 3}, {"tol": 1e-3}, {"rank": 3, "method": "zipup"}, {"rank": 3, "method": "fit"}):
        cut = tk.apply(OP, op, STATE, state, **options)
        assert all(np.isfinite(x).all() for x in cut[1].values())
        reference = tk.apply(OP, wide(op, power), STATE, wide(state, power), **options)
        assert cut.error == pytest.approx(reference.error, rel=1e-3, abs=1e-6)
        found, exponent = tk.norm(*cut, strip_exponent=True)
        wanted = np.log10(float(tk.norm(*reference))) + 10 * np.log10(power)
        assert np.log10(float(found)) + exponent == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("power", [1e-30, 1e30])
def test_a_product_that_no_arrays_hold_is_refused(power):
    op, state = drawn(OP, 0, "float32", scale=power), drawn(STATE, 1, "float32", scale=power)
    for options in ({}, {"rank": 3}, {"rank": 3, "method": "zipup"}, {"rank": 3, "method": "fit"}):
        with pytest.raises(
            ValueError, match=r"norm of the product, about 1e[+-]\d+, is beyond what 5 arrays of float32 hold"
        ):
            tk.apply(OP, op, STATE, state, **options)


def test_any_two_networks_are_joined_where_nothing_is_cut():
    ring, grid = tk.ring((2, 2, 2, 2), 2), drawn(tk.mpo((2,) * 4, (2,) * 4, 2), 0)
    op, state = tk.mpo((2,) * 4, (2,) * 4, 2), drawn(ring, 1)
    made = tk.apply(op, grid, ring, state)
    wanted = as_matrix(op, grid, 16) @ as_matrix(ring, state, 16).reshape(-1)
    assert made[0].output == ring.output and error_of(made, wanted) < 1e-14
    with pytest.raises(ValueError, match=r"to cut bonds, two trees of one shape are needed: .*loop"):
        tk.apply(op, grid, ring, state, rank=2)
    bent = tk.tt((2,) * 4, 2).activate("tanh", "f")
    made = tk.apply(op, grid, bent, drawn(bent, 2))
    x = np.tanh(tk.testing.oracle(tk.tt((2,) * 4, 2), drawn(bent, 2))).reshape(-1)
    assert error_of(made, as_matrix(op, grid, 16) @ x) < 1e-14
    with pytest.raises(ValueError, match="nonlinear"):
        tk.apply(op, grid, bent, drawn(bent, 2), tol=0.1)
    tree = tk.tree((2,) * 4, 2)
    with pytest.raises(ValueError, match=r"part the sites otherwise|has sites"):
        tk.apply(op, grid, tree, drawn(tree, 0), rank=2)


def test_apply_to_tied_and_fixed_arrays():
    nodes = [tk.Node("a", "ir"), tk.Node("b", "rjs", fixed=True), tk.Node("c", "ks", array="a")]
    net = tk.Network(nodes, "ijk", {"i": 2, "j": 2, "k": 2, "r": 3, "s": 3})
    state = drawn(net, 0)
    op = tk.operator(ising(3), (2,) * 3)
    wanted = dense(ising(3), (2,) * 3) @ as_matrix(net, state, 8).reshape(-1)
    made = tk.apply(*op, net, state)
    assert error_of(made, wanted) < 1e-14 and [n.name for n in made[0].nodes] == ["a", "b", "c"]
    assert error_of(tk.apply(*op, net, state, tol=1e-10), wanted) < 1e-10


def test_gradients_through_apply_and_expect():
    net = tk.tt((2,) * 4, 2)
    op = tk.operator([(c, {k: torch.tensor(x) for k, x in f.items()}) for c, f in ising(4)], (2,) * 4)
    state = {n: x.requires_grad_() for n, x in drawn(net, 0, torch_too=True).items()}

    def energy(*cores):
        return tk.expect(*op, net, dict(zip(state, cores, strict=True)))

    assert torch.autograd.gradcheck(energy, tuple(state.values()))

    def size(*cores):
        return tk.norm(*tk.apply(*op, net, dict(zip(state, cores, strict=True)), rank=2))

    assert torch.autograd.gradcheck(size, tuple(state.values()))
    made = tk.apply(*op, net, state, rank=2)
    grads = torch.autograd.grad(tk.norm(*made), list(state.values()))
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize(
    "op, net, words",
    [
        (tk.tt((2, 2, 2), 2), tk.tt((2, 2, 2), 2), "half and half"),
        (OP, tk.tt((2, 3, 2), 2), "meets a state of 5 open indices or an operator of 10, not 3"),
        (OP, tk.tt((2, 3, 3, 2, 3), 2), "index 'i2' has size 2, 'i2' of the network 3"),
    ],
)
def test_indices_that_do_not_meet(op, net, words):
    with pytest.raises(ValueError, match=words):
        tk.apply(op, drawn(op, 0), net, drawn(net, 1))


def test_arrays_that_are_not_finite_are_named():
    state = drawn(STATE, 0)
    state["core_2"][0, 0, 0] = np.nan
    for options in ({}, {"rank": 2}, {"rank": 2, "method": "fit"}):
        with pytest.raises(ValueError, match="apply: array 'core_2' has entries that are not finite"):
            tk.apply(OP, drawn(OP, 0), STATE, state, **options)


def test_zeros():
    state = {n: 0 * x for n, x in drawn(STATE, 0).items()}
    for method in ("svd", "zipup", "fit"):
        cut = tk.apply(OP, drawn(OP, 0), STATE, state, rank=2, method=method)
        assert cut.error == 0 and float(tk.norm(*cut)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_project_starts_from_the_rounded_product(dtype):
    """Onto a chain and a tree, from an operator that stands on a state, and from the product itself."""
    for net in (tk.tt((2, 3, 2, 4, 2, 3), 3), tk.tree((2, 3, 2, 4, 2, 3), 3)):
        op = tk.operator(random_terms(net.shape, 3, 6, dtype == "complex128"), tree=net)
        state = drawn(net, 0, dtype)
        product = tk.apply(*op, net, state)
        wanted = value(*product)
        ring = tk.Network([*net.nodes, tk.Node("one", ["b1"])], net.output, net.sizes) if "b1" in net.sizes else net
        target = tk.apply(*op, ring, state | ({"one": np.ones(net.sizes["b1"])} if ring is not net else {}))
        assert len(target[0].nodes) > len(net.nodes) or ring is net
        for given in (product, target):
            found = tk.project(*given, net)
            assert found[0] == net and found.error == pytest.approx(error_of(found, value(*given)), rel=1e-6)
            if given is product:
                assert error_of(found, wanted) <= 1.0001 * tk.apply(*op, net, state, rank=3, method="fit").error
    near = tk.project(*product, tk.tree((2, 3, 2, 4, 2, 3), 48))
    assert near.error < 1e-12


# -- entrywise products ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("torch_too", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("build", [tk.tt, tk.tree])
def test_products_entry_by_entry(build, dtype, torch_too):
    a, b = build((2, 3, 2, 4, 2, 3), 3), build((2, 3, 2, 4, 2, 3), 5)
    left, right = drawn(a, 0, dtype, torch_too), drawn(b, 1, dtype, torch_too)
    wanted = value(a, left) * value(b, right)
    made = tk.multiply(a, left, b, right)
    assert made[0].output == a.output and made.error == 0 and error_of(made, wanted) < 1e-14
    best = tk.round(*made, rank=4).error
    for method, worse in (("svd", 1.05), ("fit", 1.05), ("zipup", 2)):
        cut = tk.multiply(a, left, b, right, rank=4, method=method)
        assert cut.error == pytest.approx(error_of(cut, wanted), rel=1e-6) or method == "zipup"
        assert error_of(cut, wanted) <= worse * best and max(bonds(cut[0])) <= 4
    near = tk.multiply(a, left, b, right, tol=1e-3)
    assert error_of(near, wanted) <= 1e-3 and near[0].num_params < made[0].num_params


def test_products_match_by_name_and_refuse_other_trees():
    a, left = tk.tt((2, 3, 4), 2), drawn(tk.tt((2, 3, 4), 2), 0)
    turned = tk.Network(a.nodes, a.output[::-1], a.sizes)
    assert np.allclose(tk.contract(*tk.multiply(a, left, turned, left)), tk.contract(a, left) ** 2)
    tree = tk.tree((2, 3, 4, 2), 2)
    chain = tk.tt((2, 3, 4, 2), 2)
    with pytest.raises(ValueError, match="multiply: two trees of one shape are needed"):
        tk.multiply(chain, drawn(chain, 0), tree, drawn(tree, 0))

"""What decompositions take and refuse, alike in all of them; and how near Tucker and rings come."""

import numpy as np
import pytest
import torch

import tnkit as tk

X = np.random.default_rng(0).standard_normal((4, 3, 5))
OF_ARRAYS = {
    "tt_svd": tk.tt_svd, "tree_svd": tk.tree_svd, "ring_svd": tk.ring_svd, "tucker_svd": tk.tucker_svd,
    "low_rank_svd": tk.low_rank_svd, "cp_als": lambda x, rank=2, **o: tk.cp_als(x, rank, **o),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ARRAYS)
def test_ranks_are_read_alike(name):
    find = OF_ARRAYS[name]
    bonds = 1 if name == "cp_als" else len([i for i in find(X, rank=2).network.sizes if not i.startswith("i")])
    right = find(X, rank=2)
    for rank in (np.int64(2), np.array(2), [2] * bonds, (2,) * bonds, np.array([2] * bonds), [np.int32(2)] * bonds):
        found = find(X, rank=rank)
        assert found.network == right.network and found.error == pytest.approx(right.error, rel=1e-9)
    for rank, kind in ((True, TypeError), (1.5, TypeError), ("2", TypeError), ({2}, TypeError), (b"2", TypeError), (0, ValueError),
                       (np.array([[2]] * bonds), TypeError), ([2.5] * bonds, TypeError), ([2] * (bonds + 1), ValueError)):  # fmt: skip
        with pytest.raises(kind, match=f"{name}: (rank is a whole number|{bonds + 1} ranks given|.*is a whole number)"):
            find(X, rank=rank)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", OF_ARRAYS)
def test_arrays_are_read_as_numpy_reads_them(name):
    find, flat = OF_ARRAYS[name], X.reshape(4, 15)
    right = find(flat, rank=2).error
    for x in (flat.tolist(), np.matrix(flat), np.ma.masked_array(flat, False), tuple(map(tuple, flat))):
        assert find(x, rank=2).error == pytest.approx(right, rel=1e-9)
    whole = np.arange(60, dtype=np.uint8).reshape(4, 3, 5)
    assert find(whole, rank=1).error == pytest.approx(find(whole.astype(float), rank=1).error, rel=1e-6, abs=1e-7)
    assert find(torch.as_tensor(whole > 30), rank=1).error == pytest.approx(
        find(np.float64(whole > 30), rank=1).error, rel=1e-6
    )
    for x in (None, "x", b"x", {1, 2}, {"a": 1}, object(), [["a"]], [[1, 2], [3]], np.array([None]), X.astype(np.longdouble),
              np.ma.masked_array(X, X > 0), torch.ones(2, 2).to_sparse()):  # fmt: skip
        with pytest.raises(TypeError, match=f"{name}: (x|array 'x') ") as error:
            find(x, rank=2)
        assert "\n" not in str(error.value)
    for x in (np.float64(1), np.zeros((2, 0)), X * np.nan, X * np.inf):
        with pytest.raises(ValueError, match=f"{name}: x (is a scalar|of shape)"):
            find(x, rank=2)


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize(
    ("option", "bad"),
    [
        ("tol", (-1, np.nan, np.inf, "a", [1], True, 1j)), ("budget", (1.5, "a", True, [5], np.nan)), ("backend", ("numpy", 3)),
        ("method", (None, 3, "x", ["svd"])), ("sweeps", (-1, 1.5, "a", True)), ("restarts", (0, 1.5)), ("seed", (-1, 1.5, "a")),
        ("center", (3, "", "zz", ["core_0"])),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(name, option, bad):
    known = {
        "tt_svd": "method center",
        "tree_svd": "method center",
        "tucker_svd": "method sweeps",
        "cp_als": "sweeps restarts seed",
    }
    if option not in ("tol budget backend " + known.get(name, "method")).split():
        pytest.skip(f"{name} has no {option}")
    for value in bad:
        options = {"rank": None} if option == "budget" else {}
        with pytest.raises((TypeError, ValueError), match=f"{name}: (no )?{option}|{name}: no node"):
            OF_ARRAYS[name](X, **{**options, option: value})


@pytest.mark.parametrize("find", [f for n, f in OF_ARRAYS.items() if n != "cp_als"])
def test_arrays_of_numpy_are_taken_by_torch(find):
    for a in find(X, rank=2).arrays.values():
        assert np.array_equal(torch.as_tensor(a).numpy(), a)


# -- how near -------------------------------------------------------------------------------------------------------
def unfolded(x, k):
    return np.moveaxis(x, k, 0).reshape(x.shape[k], -1)


def orthogonal_iteration(x, ranks):
    """The oracle: HOOI from the HOSVD, run to convergence (De Lathauwer et al. 2000)."""
    factors = [np.linalg.svd(unfolded(x, k), full_matrices=False)[0][:, :r] for k, r in enumerate(ranks)]
    error, before = 1.0, 2.0
    while before - error > 1e-8:
        for k, r in enumerate(ranks):
            y = x
            for j, u in enumerate(factors):
                y = y if j == k else np.moveaxis(np.tensordot(y, u, (j, 0)), -1, j)
            factors[k] = np.linalg.svd(unfolded(y, k), full_matrices=False)[0][:, :r]
        core = np.tensordot(y, factors[k], (k, 0))
        before, error = error, np.sqrt(1 - np.sum(core**2) / np.sum(x**2))
    return error


@pytest.mark.parametrize(
    ("shape", "ranks"), [((10, 10, 10), (4, 4, 4)), ((8, 9, 10, 7), (3,) * 4), ((12, 12, 12), (2, 3, 6))]
)
def test_tucker_of_noise_is_a_converged_one(shape, ranks):
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(shape)
        assert tk.tucker_svd(x, rank=ranks).error <= 1.001 * orthogonal_iteration(x, ranks)


@pytest.mark.parametrize("seed", range(3))
def test_a_ring_with_more_parameters_than_entries_is_exact(seed):
    x = np.random.default_rng(seed).standard_normal((6, 2, 3, 2, 6))
    net = tk.ring(x.shape, (3, 2, 4, 12, 18))
    assert net.num_params > 2 * x.size
    found = tk.als(x, net)
    assert found.error < 1e-9
    assert np.linalg.norm(tk.contract(*found) - x) < 1e-9 * np.linalg.norm(x)


def test_a_mapping_of_the_functions_own_stands_beside_a_decomposition():
    """What isel takes, and local_expectation, and unfuse, is no arrays: it may follow the pair; arrays may not."""
    state = tk.tt_svd(np.random.default_rng(3).standard_normal((2, 3, 2)))
    i, j, _ = state.network.output
    dense = tk.contract(state)
    assert np.allclose(tk.contract(*tk.isel(state, {j: 2})), dense[:, 2])
    found = tk.local_expectation(state, {(i,): np.diag([1.0, 0.0])})
    assert found[(i,)] == pytest.approx(np.sum(dense[0] ** 2) / np.sum(dense**2))
    split = tk.unfuse(tk.tt_svd(np.arange(24.0).reshape(4, 6)), {"i1": {"a": 2, "b": 3}})
    assert tk.contract(*split).shape == (4, 2, 3)
    for wrong in (lambda: tk.contract(state, state.arrays), lambda: tk.isel(state, state.arrays, {j: 2})):
        with pytest.raises(TypeError, match="no arrays are given beside it"):
            wrong()
    with pytest.raises(ValueError, match="isel: no index 'core_0'"):
        tk.isel(state, state.arrays)


STATE, OPERATOR = (
    (net, tk.init.normal(net, seed=0)) for net in (tk.mps((2, 2, 2), 2), tk.mpo((2, 2, 2), (2, 2, 2), 2))
)


@pytest.mark.parametrize(
    "call",
    [
        lambda state, op: tk.norm(state),
        lambda state, op: tk.norm(net=state),
        lambda state, op: tk.contract(state),
        lambda state, op: tk.contract(tk.add(state, state)),
        lambda state, op: tk.inner(state, tk.conj(state)),
        lambda state, op: list(tk.bond_entropy(state).values()),
        lambda state, op: tk.contract(tk.isel(state, {"i0": 0})),
        lambda state, op: tk.contract(tk.merge(state, ["core_0", "core_1"], "both")),
        lambda state, op: tk.contract(tk.canonicalize(state, "core_1")),
        lambda state, op: tk.round(tk.add(state, state), rank=2).error,
        lambda state, op: tk.contract(tk.apply(op, state)),
        lambda state, op: tk.expect(op, state),
        lambda state, op: tk.als(np.ones((2, 2, 2)), state, sweeps=1, seed=0).error,
    ],
)
def test_a_plain_pair_stands_for_both(call):
    """What a move returns is given to the next as it is, as a Decomposition is."""
    found, same = call(STATE, OPERATOR), call(tk.Decomposition(*STATE, 0.0), tk.Decomposition(*OPERATOR, 0.0))
    assert np.array_equal(found, same) and np.all(np.isfinite(found))


@pytest.mark.parametrize("wrong", [tk.norm, tk.contract, tk.bond_entropy, lambda pair: tk.isel(pair, {"i0": 0})])
def test_a_network_beside_anything_but_arrays_is_no_pair(wrong):
    with pytest.raises(
        TypeError, match=r"a Network is needed.*the arrays beside it map names to values, they are not \[1\.0\]"
    ):
        wrong((STATE[0], [1.0]))
    with pytest.raises(TypeError, match="a pair stands for a network and its arrays; no arrays are given beside it"):
        tk.norm(STATE, STATE[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda pair: tk.norm(pair),
        lambda pair: tk.norm(net=pair),
        lambda pair: tk.add(STATE, pair),
        lambda pair: tk.inner(a=STATE, b=pair),
        lambda pair: tk.expect(pair, STATE),
        lambda pair: tk.apply_gate(pair, np.eye(2), ["i0"]),
        lambda pair: tk.isel(net=pair, values={"i0": 0}),
        lambda pair: tk.linear_operator(pair, ["i0"], ["i1", "i2"]),
    ],
)
@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ((STATE[0], None), "; the arrays beside it map names to values, they are not None"),
        ([*STATE], "; a network and its arrays are a pair as a tuple, not as a list"),
        ((STATE, STATE[1]), ""),
        ([], ""),
    ],
    ids=["half", "list", "nested", "empty"],
)
def test_what_is_no_pair_is_told_so_in_every_place(call, wrong, hint):
    """In another place than the first, by name, or in a list it was an argument missing that nobody forgot."""
    with pytest.raises(TypeError, match=r"^\w+: a Network is needed, not .*" + hint + "$"):
        call(wrong)

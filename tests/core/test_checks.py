"""What users give: taken, or refused by a message that states the rule, then the value."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tnkit as tk
import tnkit_nn as tknn
from tnkit.core import checks

NET = tk.tt((2, 3), 2)


def test_right_values_come_back():
    assert checks.a_network(NET, "f") is NET and checks.shown(np.float32).startswith("<class")
    assert (
        checks.flag(np.True_, "x") is True and checks.text("a", "x") == "a" and checks.text("", "x", empty=True) == ""
    )
    assert checks.one_of("b", "x", ("a", "b")) == "b" and checks.sequence([1, 2], "x") == (1, 2)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: checks.a_network("ij,jk->ik", "f"), TypeError, "f: a Network is needed, not 'ij,jk->ik'; a builder such as tk.tt makes one, tk.from_einsum one of an equation"),
        (lambda: checks.a_network((NET, {}), "f"), TypeError, "its first is one"),
        (lambda: checks.a_network(tk.plan(NET), "f"), TypeError, "f: a Network is needed, not Plan.*; its .network is one$"),
        (lambda: checks.a_network(np.ones((2, 3)), "f"), TypeError, "not a ndarray of shape \\(2, 3\\)"),
        (lambda: checks.a_mapping([1], "f"), TypeError, "f: arrays map names to values, as a dict does; they are not \\[1\\]"),
        (lambda: checks.flag(1, "f: labels"), TypeError, "f: labels is True or False, not 1"),
        (lambda: checks.text("", "f: name"), TypeError, "f: name is a non-empty string, not ''"),
        (lambda: checks.one_of("c", "f: method", "ab"), ValueError, "f: method is one of a, b, not 'c'"),
        (lambda: checks.one_of(3, "f: method", "ab"), TypeError, "f: method is one of a, b, not 3"),
        (lambda: checks.sequence({1, 2}, "f: dims"), TypeError, "a set has no order"),
        (lambda: checks.sequence("ab", "f: dims"), TypeError, "f: dims is a sequence, a tuple or a list, not 'ab'"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_a_repr_that_fails_hides_no_rule():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(TypeError, match="x is True or False, not a Odd"):
        checks.flag(Odd(), "x")


def test_a_decomposition_stands_for_its_pair():
    d = tk.tt_svd(np.random.default_rng(0).standard_normal((4, 5, 6)), rank=2)
    assert tk.norm(d) == tk.norm(*d)
    assert tk.inner(d, d) == tk.inner(*d, *d) and tk.distance(d, *d) == tk.distance(*d, d) == 0
    assert np.array_equal(tk.contract(d), tk.contract(*d))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("norm", lambda d, **beside: tk.norm(net=d, **beside)),
        ("contract", lambda d, **beside: tk.contract(net=d, **beside)),
        ("isel", lambda d, **beside: tk.isel(net=d, values={"i0": 1}, **beside)[1]["core_0"]),
        ("apply_gate", lambda d, **beside: tk.apply_gate(net=d, gate=np.eye(4), inds=["i0"], **beside)[1]["core_0"]),
    ],
)
def test_a_decomposition_stands_for_its_pair_by_name_too(name, call):
    d = tk.tt_svd(np.random.default_rng(0).standard_normal((4, 5, 6)), rank=2)
    assert np.array_equal(call(d), call(d.network, arrays=d.arrays))
    with pytest.raises(TypeError, match=f"^{name}: a pair stands for .*no arrays are given beside it"):
        call(d, arrays=d.arrays)


def test_two_decompositions_are_given_by_place_and_by_name():
    d = tk.tt_svd(np.random.default_rng(0).standard_normal((4, 5, 6)), rank=2)
    want = tk.inner(*d, *d)
    assert (
        tk.inner(a=d, b=d) == tk.inner(d, b=d) == tk.inner(*d, b=d) == tk.inner(b=d, a=d.network, a_arrays=d[1]) == want
    )


DRAWN = tk.init.normal(NET)


@pytest.mark.parametrize(
    "call",
    [
        lambda i: tk.directions(NET, inputs=i),
        lambda i: tk.linear_operator(NET, DRAWN, i, ["i1"]).matmat(np.eye(3)).tolist(),
        lambda i: tk.linear_operator(NET, DRAWN, ["i1"], i).matmat(np.eye(2)).tolist(),
        lambda i: NET.join(tk.Network([tk.Node("s", ["z"])], ["z"], {"z": 2}), i),
        lambda i: tk.density_matrix(NET, DRAWN, i).tolist(),
        lambda i: tk.squeeze(*tk.isel(NET, DRAWN, {"i0": slice(1)}), i)[0],
        lambda i: tk.apply_gate(NET, DRAWN, np.eye(2), i)[0],
    ],
)
def test_a_string_that_is_the_name_of_an_index_is_that_index(call):
    assert call("i0") == call(["i0"])


def test_a_direction_is_an_index_by_its_name():
    both = tk.init.orthogonal(NET, toward={"core_0": "b1"}), tk.init.orthogonal(NET, toward={"core_0": ["b1"]})
    assert all(np.array_equal(both[0][n], both[1][n]) for n in DRAWN)
    module = tknn.isometric_(tknn.TNModule(NET), {"core_0": "b1"})
    assert torch.allclose(module.core_0.T @ module.core_0, torch.eye(2), atol=1e-6)


SQUARE = np.random.default_rng(0).standard_normal((4, 6))
SITES = ((2, 2), (2, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda read: tk.tensorize(SQUARE, read((2, 2, 2, 3))),
        lambda read: tk.tensorize(SQUARE, read(map(read, SITES))),
        lambda read: tk.detensorize(tk.tensorize(SQUARE, SITES), read((4, 6)), dims=read(map(read, SITES))),
        lambda read: tk.detensorize(SQUARE, (4, 6), dims=read((4, 6))),
        lambda read: tk.contract(tk.mpo_svd(SQUARE, read((2, 2)), read((2, 3)))),
    ],
)
def test_sizes_of_an_iterator_are_read_once(call):
    assert np.array_equal(call(iter), call(tuple))


X = np.random.default_rng(0).standard_normal((2, 3, 2))
RING = tk.ring((2, 3, 2), 2)
CHAIN = tk.tt_svd(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda **tol: tk.tt_svd(X, rank=1, **tol),
        lambda **tol: tk.mpo_svd(SQUARE, (2, 2), (2, 3), **tol),
        lambda **tol: tk.tree_svd(X, budget=20, **tol),
        lambda **tol: tk.low_rank_svd(SQUARE, **tol),
        lambda **tol: tk.tucker_svd(X, rank=1, **tol),
        lambda **tol: tk.ring_svd(X, budget=20, **tol),
        lambda **tol: tk.cp_als(X, 1, restarts=1, **tol),
        lambda **tol: tk.cp_als(X, budget=20, restarts=1, sweeps=2, **tol),
        lambda **tol: tk.als(X, RING, restarts=1, sweeps=2, **tol),
        lambda **tol: tk.project(*CHAIN, RING, restarts=1, sweeps=2, **tol),
        lambda **tol: tk.round(CHAIN, rank=1, **tol),
        lambda **tol: tk.multiply(CHAIN, CHAIN, **tol),
        lambda **tol: tk.multiply(CHAIN, CHAIN, rank=1, method="fit", **tol),
        lambda **tol: tk.apply(tk.mpo_svd(SQUARE, (2, 2), (3, 2)), tk.tt_svd(X[0]), **tol),
        lambda **tol: tk.split(*CHAIN, "core_1", ["b1"], **tol),
        lambda **tol: tk.apply_gate(CHAIN, np.eye(6), ["i0", "i1"], **tol),
        lambda **tol: tk.from_arrays({"x": (tk.contract_approx(CHAIN, max_bond=1, **tol), "ijk")}, "ijk"),
    ],
)  # fmt: skip
def test_no_tolerance_is_none_or_zero(call):
    (net, want), (other, found), (_, plain) = call(tol=None), call(tol=0.0), call()
    assert net == other and all(np.array_equal(want[n], found[n]) and np.array_equal(want[n], plain[n]) for n in want)


FOUND = tk.tt_svd(np.arange(12.0).reshape(3, 4), rank=2)
NODE = tk.Node("A", "ij")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: tk.Node("A", np.array(2)), TypeError, "node 'A': indices are a string or a sequence of names, not array\\(2\\)"),
        (lambda: tk.Network({NODE: 1}, "ij", {"i": 2, "j": 2}), TypeError, "nodes are a sequence of nodes, not a dict"),
        (lambda: tk.Elementwise("f", "tanh", {NET: 1}), TypeError, "elementwise node 'f': bodies are a sequence of networks"),
        (lambda: NET.relabel(int), TypeError, "relabel: inds are a mapping from names to names, or a function, not <class 'int'>"),
        (lambda: FOUND.scaled("x", 2), KeyError, "scaled: no array 'x'; there are core_0, core_1"),
        (lambda: FOUND.scaled(3, 2), TypeError, "scaled: array is the name of an array, not 3"),
        (lambda: FOUND.scaled("core_0", True), TypeError, "scaled: by is a finite number, not True"),
        (lambda: FOUND.scaled("core_0", 10**400), ValueError, "scaled: by is a finite number, not 1000"),
        (lambda: tk.norm(FOUND, FOUND.arrays), TypeError, "a pair stands for a network and its arrays"),
        (lambda: tk.init.to_rms(FOUND, FOUND.arrays), TypeError, "a pair stands for a network and its arrays"),
        (lambda: tk.environment(NET, np.ones(2)), TypeError, "environment: node is a non-empty string, not a ndarray"),
        (lambda: tk.check_arrays(NET, {}, dynamic=["x"]), TypeError, "check_arrays: dynamic is a non-empty string"),
        (lambda: tk.tensorize(np.ones((2, 3)), None), TypeError, "tensorize: dims is a sequence of whole numbers, not None"),
        (lambda: tk.tensorize(np.ones((2, 3)), (2.5, 3)), TypeError, "a size of tensorize: dims is a whole number of at least 0, not 2.5"),
        (lambda: tk.tensorize(np.ones((2, 3)), (10**30, 3)), ValueError, "more than any array has"),
        (lambda: tk.detensorize(np.ones((2, 3)), {6}), TypeError, "detensorize: shape is a sequence .* a set has no order"),
        (lambda: tk.detensorize(np.ones((2, 3)), (7,)), ValueError, "detensorize: a tensor of shape \\(2, 3\\) does not fill"),
        (lambda: tk.ring_svd([1.0, 2.0]), ValueError, "ring_svd: x has at least 2 axes, not 1"),
        (lambda: tk.cp_als(np.ones((2, 2)), 1, restarts=10**30), ValueError, "cp_als: restarts is at most 1000000, not 1000"),
        (lambda: tk.Decomposition(NET, [1], 0.0), TypeError, "Decomposition: arrays map names to values"),
        (lambda: replace(tk.NUMPY, norm=3), TypeError, "Backend: norm is a function, not 3"),
        (lambda: replace(tk.NUMPY, xp=[]), TypeError, "Backend: xp is a namespace"),
        (lambda: replace(tk.NUMPY, methods={"x": "y"}), ValueError, "Backend: a name in methods is one of permute"),
        (lambda: tk.to_tensornetwork(NET, {n: np.full(s, None) for n, s in NET.array_shapes.items()}), TypeError, "has dtype object"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, said):
    with pytest.raises(error, match=said) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "call", [tk.tt_svd, tk.tree_svd, tk.tucker_svd, tk.ring_svd, tk.low_rank_svd, lambda x: tk.cp_als(x, 1)]
)
def test_a_tensor_without_values_is_named(call):
    with pytest.raises(TypeError, match="x is on the meta device, where there are no values"):
        call(torch.ones(2, 3, device="meta"))


def test_arrays_without_values_are_named():
    bare = {n: torch.ones(s, device="meta") for n, s in NET.array_shapes.items()}
    for call in (tk.init.rms, tk.init.to_rms):
        with pytest.raises(TypeError, match="rms: array 'core_0' is on the meta device"):
            call(NET, bare)
    with pytest.raises(TypeError, match="als: array 'core_0' is on the meta device"):
        tk.als(torch.ones(2, 3), NET, bare)


def test_a_factor_keeps_the_precision():
    single = tk.tt_svd(np.arange(12, dtype="float32").reshape(3, 4), rank=2)
    found = single.scaled("core_0", np.float64(-2))
    assert {a.dtype.name for a in found.arrays.values()} == {"float32"}
    assert np.allclose(tk.contract(*found), -2 * tk.contract(*single))


def test_a_search_goes_on_from_a_decomposition():
    x = np.random.default_rng(0).normal(size=(4, 5, 4))
    begin = tk.tt_svd(x, rank=2)
    found = tk.als(x, begin)
    assert found.network == begin.network and found.error <= begin.error * (1 + 1e-9)
    with pytest.raises(TypeError, match="als: arrays are given once"):
        tk.als(x, begin, begin.arrays)


@pytest.mark.slow
def test_numbers_of_every_form_are_seeds():
    x = np.random.default_rng(0).normal(size=(3, 3, 3))
    want = tk.cp_als(x, 2, seed=2, restarts=2).arrays
    for seed in (np.int64(2), np.array(2), torch.tensor(2)):
        found = tk.cp_als(x, 2, seed=seed, restarts=2).arrays
        assert all(np.array_equal(found[n], want[n]) for n in want)

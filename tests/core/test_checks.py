"""What users give: taken, or refused by a message that states the rule, then the value."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tnkit as tk
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
        (lambda: checks.a_network((NET, {}), "f"), TypeError, "give them as two arguments"),
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
        (lambda: tk.norm(FOUND, FOUND.arrays), TypeError, "a Decomposition stands for a network and its arrays"),
        (lambda: tk.init.to_rms(FOUND, FOUND.arrays), TypeError, "a Decomposition stands for a network and its arrays"),
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
    with pytest.raises(ValueError, match="als: arrays are given once"):
        tk.als(x, begin, begin.arrays)


@pytest.mark.slow
def test_numbers_of_every_form_are_seeds():
    x = np.random.default_rng(0).normal(size=(3, 3, 3))
    want = tk.cp_als(x, 2, seed=2, restarts=2).arrays
    for seed in (np.int64(2), np.array(2), torch.tensor(2)):
        found = tk.cp_als(x, 2, seed=seed, restarts=2).arrays
        assert all(np.array_equal(found[n], want[n]) for n in want)

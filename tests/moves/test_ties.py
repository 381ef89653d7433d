"""Moves that touch one of several nodes that share an array, the array bearing the name of the node that is touched; or a constant."""

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.testing import oracle

NODES = [tk.Node("A", "ab"), tk.Node("B", "bc", "A"), tk.Node("C", "ca", "A"), tk.Node("D", "c")]
NET = tk.Network(NODES, "ac", dict(a=3, b=3, c=3))
ARRAYS = {"A": np.random.default_rng(0).standard_normal((3, 3)), "D": np.arange(3.0)}


@pytest.mark.parametrize("i", NET.output)
def test_one_place_of_an_index(i):
    found = tk.isel(NET, ARRAYS, {i: 1})
    assert np.allclose(oracle(*found), oracle(NET, ARRAYS).take(1, axis=NET.output.index(i)), rtol=1e-13)
    assert "A" in ARRAYS and ARRAYS["A"].shape == (3, 3)


def test_a_bond_grown():
    net, arrays = tk.expand_bonds(NET, ARRAYS, {"b": 5})
    assert net.sizes["b"] == 5
    assert np.allclose(oracle(net, arrays), oracle(NET, ARRAYS), rtol=1e-13)


@pytest.mark.parametrize("seed", [2, 38, 218])
def test_networks_with_hyperedges_and_ties(seed):
    net, arrays = tk.testing.random_network(seed)
    full = tk.check_arrays(net, arrays)
    whole = oracle(net, full)
    for i in net.output:
        part, some = tk.isel(net, arrays, {i: 0})
        assert np.allclose(oracle(part, tk.check_arrays(part, some)), whole.take(0, axis=net.output.index(i)))
    for i in set(net.sizes) - set(net.output):
        grown, more = tk.expand_bonds(net, arrays, {i: net.sizes[i] + 2})
        assert np.allclose(oracle(grown, tk.check_arrays(grown, more)), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int64"])
@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    "move",
    [
        lambda net, a: tk.merge(net, a, ["e"]),
        lambda net, a: tk.split(net, a, "e", "b"),
        lambda net, a: tk.expand_bonds(net, a, {"c": 4}),
        lambda net, a: tk.unfuse(net, a, {"c": {"p": 2, "q": 1}}),
    ],
)
def test_a_constant_that_is_touched_alone_has_the_dtype_of_the_others(move, library, dtype):
    nodes = [tk.Node("A", "ab"), tk.Node("e", "bc", fixed="ones"), tk.Node("d", "cd", fixed="delta")]
    net = tk.Network(nodes, "ad", dict(a=2, b=3, c=2, d=2))
    x = np.arange(6).reshape(2, 3).astype(dtype)
    made, arrays = move(net, {"A": library(x)})[:2]
    if dtype != "int64":
        assert {str(a.dtype).removeprefix("torch.") for a in arrays.values()} == {dtype}
    wanted = np.repeat(x.sum(1)[:, None], 2, 1)
    assert np.allclose(np.asarray(tk.contract(made, arrays)), wanted, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_noise_beside_what_is_not_finite_is_refused(bad):
    spoiled = ARRAYS | {"D": np.array([1.0, bad, 0.0])}
    net = tk.Network(NODES, "a", NET.sizes)
    with pytest.raises(ValueError, match="expand_bonds: array 'D' has entries that are not finite"):
        tk.expand_bonds(net, spoiled, {"c": 5}, noise=0.1)
    grown = tk.expand_bonds(net, spoiled, {"c": 5})[1]["D"]
    assert np.array_equal(grown[:3], spoiled["D"], equal_nan=True) and not grown[3:].any()

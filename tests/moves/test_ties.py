"""Moves that touch one of several nodes that share an array, the array bearing the name of the node that is touched."""

import numpy as np
import pytest

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

"""Operators applied: what the error tells in single precision, and which index meets which."""

import numpy as np
import pytest
import torch
from dense import X, Z, as_matrix, dense, drawn

import tnkit as tk


def error_of(cut, wanted):
    """Of a vector, relative."""
    x = as_matrix(cut.network, cut.arrays, wanted.size).reshape(-1)
    return np.linalg.norm(x - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("method", ["zipup", "fit", "svd"])
@pytest.mark.parametrize("torch_too", [False, True])
def test_errors_in_single_precision_are_told_as_they_are(method, torch_too):
    """No root of what single precision leaves of 1, which is 3e-4."""
    net, terms = tk.tt((2,) * 8, 8), [(1.0, {}), *((1e-4, {k: X, k + 1: X}) for k in range(7))]
    state = tk.round(net, drawn(net, 4), tol=1e-14)
    wanted = dense(terms, (2,) * 8) @ as_matrix(*state, 256).reshape(-1)
    single = {n: x.astype("float32") for n, x in state.arrays.items()}
    op, op_arrays = tk.operator(terms, (2,) * 8, dtype="float32")
    if torch_too:
        single, op_arrays = ({n: torch.from_numpy(x) for n, x in a.items()} for a in (single, op_arrays))
    cut = tk.apply(op, op_arrays, state.network, single, rank=8, method=method)
    assert {str(x.dtype).removeprefix("torch.") for x in cut.arrays.values()} == {"float32"}
    assert 1e-6 < error_of(cut, wanted) < 1e-3
    assert cut.error == pytest.approx(error_of(cut, wanted), rel=0.05)


@pytest.mark.parametrize("build", [tk.tt, tk.tree])
def test_site_k_of_a_tree_is_its_output_index_k_whatever_it_is_called(build):
    """Names i0, i1, ... in another order, as a transposed state has them: no operator meets them by its own numbers."""
    net = build((2, 2, 2, 2), 2)
    net = tk.transpose(net.relabel({i: f"i{k}" for k, i in enumerate(net.output)}), ("i2", "i0", "i3", "i1"))
    state, terms = drawn(net, 0), [(1.0, {0: X, 1: Z}), (0.5, {3: Z}), (0.3, {2: X})]
    op = tk.operator(terms, tree=net)
    vector, matrix = as_matrix(net, state, 16).reshape(-1), dense(terms, (2,) * 4)
    assert np.allclose(as_matrix(*op, 16), matrix)
    assert np.allclose(as_matrix(*tk.apply(*op, net, state), 16).reshape(-1), matrix @ vector)
    assert np.allclose(tk.expect(*op, net, state), vector @ matrix @ vector / (vector @ vector))
    assert np.allclose(tk.inner(net, state, net, state, op=op), vector @ matrix @ vector)
    assert np.allclose(as_matrix(*tk.apply(*op, *op), 16), matrix @ matrix)
    assert error_of(tk.apply(*op, net, state, rank=3), matrix @ vector) < 1


@pytest.mark.parametrize("seed", range(2))
def test_more_sweeps_fit_better(seed):
    net = tk.tt((2,) * 8, 6)
    x, y = tk.init.normal(net, seed=seed), tk.init.normal(net, seed=seed + 9)
    errors = [tk.multiply(net, x, net, y, rank=4, method="fit", sweeps=n).error for n in (1, 2, 20)]
    assert errors[0] > errors[1] > errors[2]


def test_networks_without_open_indices_are_numbers():
    """They ended in a KeyError of an empty name."""
    net = tk.Network([tk.Node("A", "b"), tk.Node("B", "b")], (), {"b": 2})
    pair = net, {"A": np.array([1.0, 2.0]), "B": np.array([3.0, 4.0])}
    assert tk.contract(tk.apply(pair, pair)) == pytest.approx(11.0**2)
    assert tk.expect(pair, pair) == pytest.approx(11.0)
    for cut in (lambda: tk.multiply(pair, pair), lambda: tk.apply(pair, pair, rank=1)):
        with pytest.raises(ValueError, match="two trees of one shape are needed: no index is open"):
            cut()

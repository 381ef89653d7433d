"""Operators as stages, and the starts that follow: orthogonal blocks give orthogonal matrices, identities the identity."""

from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.core.stages import Stage, operator_stages

SQUARE = {
    "butterfly": tk.butterfly(64, 64),
    "kaleidoscope": tk.butterfly((2, 3, 2), (2, 3, 2), passes=3),
    "monarch": tk.monarch((3, 4), (3, 4)),
    "btt": tk.btt((3, 2, 4), (3, 2, 4), 1),
}
OTHERS = {
    "mpo": tk.mpo((2, 3), (2, 3), 2),
    "cp": tk.cp((2, 3, 2, 3), 4),
    "tucker": tk.tucker((2, 3, 2, 3), 2),
    "two Kronecker factors": tk.kronecker((2, 3), (2, 3), 3),
    "odd output": tk.cp((2, 3, 4), 3),
    "wall": tk.brick_wall(4, 2, 2, start="open"),
    "nonlinear": tk.tree((2, 2, 2, 2), 2, activation="sin"),
}


def matrix(net, arrays):
    half = len(net.output) // 2
    return tk.contract(net, arrays).reshape(prod(net.shape[:half]), -1)


def test_what_a_level_leaves_gives_out_and_takes_in():
    net = tk.butterfly(8, 8)
    found = operator_stages(net)
    for k, node in enumerate(net.nodes):
        beside, outs, ins = ([node.inds[axis] for axis in axes] for axes in found[node.name])
        assert (outs, ins) == ([f"o{k}"], [f"i{k}"])
        assert set(beside) == {f"o{j}" for j in range(k)} | {f"i{j}" for j in range(k + 1, 3)}
    chain = operator_stages(tk.btt((2, 2), (2, 2), 3))
    assert chain == {"core_1": Stage((0,), (1,), (2, 3)), "core_0": Stage((0,), (1, 2), (3,))}
    terms = operator_stages(tk.kronecker((2, 3, 2), (2, 3, 2), 3))
    assert set(terms.values()) == {Stage((0,), (1,), (2,))} and len(terms) == 3


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_none(name):
    assert operator_stages(OTHERS[name]) == {}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", SQUARE)
def test_orthogonal_blocks_make_an_orthogonal_matrix(name, dtype):
    net = SQUARE[name]
    made = matrix(net, tk.init.orthogonal(net, seed=1, std=0.5, dtype=dtype))
    n = len(made)
    np.testing.assert_allclose(made.conj().T @ made, n * 0.25 * np.eye(n), atol=1e-10)
    other = matrix(net, tk.init.orthogonal(net, seed=2, std=0.5, dtype=dtype))
    assert np.linalg.norm(made - other) > 0.1 * np.linalg.norm(made)


def test_blocks_that_are_no_squares_have_orthonormal_rows_or_columns():
    net = tk.monarch((3, 2), (2, 5))
    arrays = tk.init.orthogonal(net, seed=0)
    for block in (arrays["block_0"].swapaxes(1, 2), arrays["block_1"]):  # (i1, i0, o0), (o0, o1, i1): wide
        products = block @ block.swapaxes(1, 2)
        scale = products[0, 0, 0]
        np.testing.assert_allclose(products, np.broadcast_to(scale * np.eye(2), products.shape), atol=1e-12)


@pytest.mark.parametrize("net", [*SQUARE.values(), tk.btt((3, 2), (3, 2), 2)], ids=[*SQUARE, "btt of rank 2"])
def test_near_identity_begins_at_the_identity(net):
    made = matrix(net, tk.init.near_identity(net, noise=0))
    np.testing.assert_allclose(made, np.eye(len(made)), atol=1e-12)

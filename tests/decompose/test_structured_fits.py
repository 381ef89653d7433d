"""Structured matrices fitted to arrays: exact where the array is of their kind, the closed form where there is one."""

import numpy as np
import pytest
import torch

import tnkit as tk

NETS = {
    "kronecker": tk.kronecker((4, 3), (3, 4), 2),
    "LoKr": tk.kronecker((3, 4), (4, 3), factor_rank=(None, 2)),
    "btt": tk.btt((3, 4), (4, 3), 2),
    "btt of three": tk.btt((2, 3, 2), (3, 2, 2), 2),
    "monarch": tk.monarch((4, 4), (4, 4)),
    "monarch of three": tk.monarch((2, 3, 2), (3, 2, 2)),
    "butterfly": tk.butterfly(8, 8),
    "kaleidoscope": tk.butterfly(4, 4, passes=2),
    "block_term": tk.block_term((4, 4, 4), 2, 2),
    "augmented_tree": tk.augmented_tree((2, 3, 2, 3), 2),
}


def drawn(net, seed=0):
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape) for name, shape in net.array_shapes.items()}


def off(net, arrays, x):
    return np.linalg.norm(np.asarray(tk.contract(net, arrays)) - x) / np.linalg.norm(x)


def by_blocks(x, rank=1):
    """The nearest BTT of two cores to x (o0, o1, i0, i1), by the SVD of (o1, i0) for every o0 and i1: its relative error."""
    s = np.linalg.svd(x.transpose(0, 3, 1, 2), compute_uv=False)
    return np.sqrt((s[..., rank:] ** 2).sum() / (s**2).sum())


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", NETS)
def test_what_is_of_its_kind_is_found_exactly(name, library):
    net = NETS[name]
    x = tk.contract(net, drawn(net))
    found = tk.als(x if library == "numpy" else torch.as_tensor(x), net)
    assert found.error < 1e-10 and off(net, found.arrays, x) < 1e-10


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_the_nearest_monarch_and_btt_are_truncated_block_by_block(rank, dtype):
    draw = np.random.default_rng(1)
    x = draw.normal(size=(3, 4, 5, 2)) + (1j * draw.normal(size=(3, 4, 5, 2)) if dtype == "complex128" else 0)
    net = tk.monarch((3, 4), (5, 2)) if rank == 1 else tk.btt((3, 4), (5, 2), rank)
    found = tk.als(x, net)
    assert found.error == pytest.approx(by_blocks(x, rank), rel=1e-6)
    assert off(net, found.arrays, x) == pytest.approx(found.error, rel=1e-9)


def test_the_nearest_sum_of_kronecker_products_is_the_rearranged_svd():
    """Van Loan and Pitsianis 1993."""
    x = np.random.default_rng(2).normal(size=(3, 4, 2, 5))
    s = np.linalg.svd(x.transpose(0, 2, 1, 3).reshape(6, 20), compute_uv=False)
    for rank in (1, 2, 4):
        want = np.sqrt((s[rank:] ** 2).sum() / (s**2).sum())
        assert tk.als(x, tk.kronecker((3, 4), (2, 5), rank)).error == pytest.approx(want, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["butterfly", "monarch"])
def test_a_network_is_projected_on_a_structured_one(name):
    """A TT-matrix projected without being formed, against the fit of the same matrix formed."""
    digits = (2, 2, 2) if name == "butterfly" else (4, 4)
    chain, net = tk.mpo(digits, digits, 2), NETS[name]
    arrays = drawn(chain, 3)
    x = tk.contract(chain, arrays)
    found = tk.project(chain, arrays, net)
    assert found.error == pytest.approx(off(net, found.arrays, x), rel=1e-6)
    assert found.error == pytest.approx(tk.als(x, net).error, rel=1e-3)

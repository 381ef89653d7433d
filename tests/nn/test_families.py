"""Families near their budgets: counts, choice of candidate, shapes that fill the weight."""

from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.core.shapes import split_axes
from tnkit.execution.weights import detensorize
from tnkit_nn.budgets import balanced, matrix_shape, near_budget
from tnkit_nn.families import BASELINES, CONTROLS, FREE, KINDS, SHARED, adtn_near, circuit_near, families, full_count

SHAPES = [(64, 64), (784, 512), (120, 400), (16, 6, 5, 5)]
BUDGETS = [100, 300, 1000]
#: Where no candidate is within 5 %: the largest count below the budget, or the smallest of all, and why.
NEAREST = {
    "low_rank": "one rank costs rows + columns",
    "mpo": "rank 1 is already past the smallest budgets, or ranks step by many numbers",
    "ring": "as mpo",
    "tucker": "the core grows as a power",
    "cp": "one rank costs the sum of the factor sizes",
    "tt": "one more bond costs tens of numbers",
    "circuit": "the least that a depth needs is past the smallest budgets",
    "adtn": "bricks are 16 numbers each; a shallow wall of merged sites ends",
    "tree": "a rank more is one on every bond",
    "mera": "its disentanglers make the smallest one hundreds of parameters",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", families(list(KINDS)), ids=lambda f: f.label)
def test_near_the_budget_and_fills_the_weight(family, shape):
    for budget in BUDGETS:
        net = family.build(shape, budget)
        assert net == family.build(shape, budget)
        split_axes(net.shape, shape) if prod(net.shape) != prod(shape) else None
        assert detensorize(np.broadcast_to(np.int8(0), net.shape), shape).shape == shape
        if abs(net.num_params - budget) > 0.05 * budget:
            assert family.name in NEAREST
            # far off only where the smallest network of the family is past the budget, or the largest short of it
            smaller, larger = family.build(shape, budget // 2), family.build(shape, budget * 2)
            assert smaller.num_params <= net.num_params <= larger.num_params
        if net.num_params > 1.05 * budget:  # only where nothing is smaller
            assert family.build(shape, 1).num_params == net.num_params


def test_low_rank_takes_the_largest_rank_within_the_budget():
    for shape in SHAPES:
        for budget in BUDGETS:
            rank = max(1, int(1.05 * budget) // sum(matrix_shape(shape)))
            assert BASELINES["low_rank"](shape, budget).num_params == rank * sum(matrix_shape(shape))


@pytest.mark.parametrize("shape", [(97, 89), (97, 64, 3, 3), (64, 97, 3, 3), (6, 89, 3), (97, 1, 1)], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_prime_sizes_are_padded_so_that_the_weight_is_filled(name, shape):
    (family,) = families([name], [3])
    net = family.build(shape, prod(shape) // 10)
    values = tk.contract(net, tk.init.normal(net, seed=0))
    made = tk.detensorize(values, shape)
    assert made.shape == shape
    leading = tk.tensorize(made, net.shape)  # padded with zeros, at the places that the weight does not use
    assert np.array_equal(leading[leading != 0], values[leading != 0])


@pytest.mark.parametrize("share", [None, 2])
@pytest.mark.parametrize("depth", [1, 3])
def test_full_count_is_that_of_whole_bricks(depth, share):
    for dim in (None, 2):
        net, whole = (tk.adtn((8, 12), depth=depth, dim=dim, share=share, full=full) for full in (False, True))
        assert full_count(net) == whole.num_params > net.num_params


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_adtn_has_the_depth_asked_for_and_shares_below_its_own_count(depth):
    for budget in (20, 100, 1000):
        net = adtn_near((64, 64), budget, depth)
        levels, inner = 1, net
        while not inner.multilinear:
            (inner,) = next(n for n in inner.nodes if isinstance(n, tk.Elementwise)).bodies
            levels += 1
        assert levels == depth
    tied = adtn_near((64, 64), 40, depth)
    assert len({leaf.array for leaf in tied.leaves}) < len(tied.leaves)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_circuit_is_a_tt_matrix_under_columns_of_single_gates(depth):
    net = circuit_near((64, 48), 400, depth)
    levels, inner, gates = 1, net, 0
    while not inner.multilinear:
        gates += sum(isinstance(n, tk.Node) and len(n.inds) == 2 for n in inner.nodes)
        (inner,) = next(n for n in inner.nodes if isinstance(n, tk.Elementwise)).bodies
        levels += 1
    assert levels == depth and gates == (depth - 1) * len(inner.nodes) and 380 <= net.num_params <= 420
    half = len(inner.output) // 2
    bonds = [inner.sizes[i] for i in inner.edges if i not in inner.output]
    assert tk.mpo(inner.shape[:half], inner.shape[half:], bonds).num_params == inner.num_params


def test_balanced():
    for n in (1, 7, 12, 64, 512, 784, 1009):
        for parts in (1, 2, 3, 4):
            f = balanced(n, parts)
            assert len(f) == parts and n <= prod(f) < 1.2 * n + 2 and list(f) == sorted(f, reverse=True)
    assert balanced(64, 3) == (4, 4, 4) and balanced(512, 3) == (8, 8, 8)


def test_nearest():
    nets = [tk.cp((10, 10), r) for r in (1, 9, 5, 50)]
    assert near_budget(nets, 98) == nets[2]  # the first within 5 %, here 100
    assert near_budget(nets, 150) == nets[2]  # none is: the largest below, 100
    assert near_budget(nets, 10) == nets[0]  # none is below: the smallest, 20
    with pytest.raises(ValueError, match="no network for a budget of 7"):
        near_budget([], 7)


def test_families():
    assert [f.label for f in families(["tt", "adtn"], depths=(1, 4))] == ["tt", "adtn depth 1", "adtn depth 4"]
    assert [f.depth for f in families(["tt", "adtn"], depths=(1, 4))] == [None, 1, 4]
    assert {*FREE, *SHARED, "dense", "dense_trained_on", "rank1"} == set(CONTROLS) and all(CONTROLS.values())
    assert [f.label for f in families(["circuit"], depths=(1, 2, 3))] == ["circuit depth 2", "circuit depth 3"]
    with pytest.raises(ValueError, match="circuit has depth 2 or more; depth 1 is mpo itself"):
        families(["circuit"], depths=(1,))
    with pytest.raises(
        ValueError,
        match=r"shapes: each family is one of adtn, circuit, mpo, tt, tucker, cp, ring, tree, low_rank, .*, not 'mps'",
    ):
        families(["mps"])


@pytest.mark.parametrize("name", KINDS)
def test_a_budget_past_the_weight_is_the_weights(name):
    (family,) = families([name], [3])
    huge, whole = family.build((12, 20), 10**12), family.build((12, 20), 240)
    assert huge == whole


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("shape", "budget", "said"),
    [
        ((12, 20), 0, "budget is a whole number of at least 1, not 0"),
        ((12, 20), 2.5, "budget is a whole number of at least 1, not 2.5"),
        ((), 10, "shape has one axis or more, not none"),
        ((12, 0), 10, "shape: size of axis 1 is a whole number of at least 1, not 0"),
        ({12, 20}, 10, "a set has no order"),
    ],
)
def test_a_shape_and_a_budget_that_cannot_be(name, shape, budget, said):
    (family,) = families([name], [3])
    with pytest.raises((TypeError, ValueError), match=said):
        family.build(shape, budget)

"""Families near their budgets: counts, choice of candidate, shapes that fill the weight."""

from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.core.shapes import split_axes
from tnkit.execution.weights import detensorize
from tnkit_nn.budgets import balanced, matrix_shape, near_budget, step_ranks
from tnkit_nn.families import BASELINES, CONTROLS, FREE, KINDS, SHARED, families, made_by
from tnkit_nn.searches.deep import adtn_near, circuit_near, full_count

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
    "augmented_tree": "its disentanglers make the smallest one hundreds of parameters",
    "block_term": "a rank more of two terms is tens of numbers",
    "mera": "its disentanglers make the smallest one hundreds of parameters",
    "kronecker": "a product more costs the sum of the factors' sizes",
    "lokr": "as low_rank, of a factor",
    "monarch": "no rank: counts are those that digits give",
    "butterfly": "no rank: counts are those of one pass, two, three",
    "btt": "at rank 1 it is Monarch",
    "deep_tree": "as tree",
    "deep_mera": "as mera",
    "deep_augmented_tree": "as mera",
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
            assert family.name in NEAREST, (
                f"{net.num_params} parameters for {budget}: say in NEAREST why none is nearer"
            )
            # far off only where the smallest network of the family is past the budget, or the largest short of it
            smaller, larger = family.build(shape, budget // 2), family.build(shape, budget * 2)
            assert smaller.num_params <= net.num_params <= larger.num_params
        if net.num_params > 1.05 * budget:  # only where nothing is smaller
            assert family.build(shape, 1).num_params == net.num_params


def test_low_rank_takes_the_nearest_rank_within_the_budget():
    for shape in SHAPES:
        one = sum(matrix_shape(shape))
        for budget in (*BUDGETS, prod(shape) // 4, prod(shape) // 2):
            counts = range(one, 2 * budget + 2 * one, one)
            near = min(counts, key=lambda n: abs(n - budget))
            want = near if abs(near - budget) <= 0.05 * budget else max([one, *(n for n in counts if n <= budget)])
            assert BASELINES["low_rank"](shape, budget).num_params == want


def test_half_a_weight_is_half_a_weight():
    """Of the ranks within 5 % the nearest is taken, not the first: 47.5 % for a budget of a half it was."""
    for shape in ((784, 512), (384, 384), (1536, 384)):
        for part in (0.5, 0.25):
            budget = int(part * prod(shape))
            assert abs(BASELINES["low_rank"](shape, budget).num_params - budget) <= sum(shape) / 2
            assert abs(BASELINES["tucker"](shape, budget).num_params - budget) <= 0.05 * budget


@pytest.mark.parametrize("shape", [(120, 400), (16, 6, 5, 5)], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_at_least_is_no_fewer_and_hardly_more(name, shape):
    """Beside every network that the family gives for larger budgets: within 5 %, or none of so many parameters has fewer."""
    (family,) = families([name], [3])
    for count in (90, 400):
        net = family.build(shape, count, at_least=True)
        assert detensorize(np.broadcast_to(np.int8(0), net.shape), shape).shape == shape
        near = [family.build(shape, budget).num_params for budget in range(count, 2 * count, count // 5)]
        enough = [n for n in near if n >= count]
        assert net.num_params >= count or not enough
        assert net.num_params <= max(1.05 * count, min(enough, default=prod(shape)))
        assert made_by(family.build, shape, count, "mine", at_least=True) == net


def test_a_function_of_ones_own_is_asked_for_more_until_it_is_enough():
    asked = []

    def halves(shape, budget):
        asked.append(budget)
        return tk.low_rank(shape, max(1, budget // 2 // sum(shape)))

    net = made_by(halves, (10, 10), 80, "mine", at_least=True)
    assert net.num_params == 80 and asked[0] == 80 and asked == sorted(asked) and asked[-1] == 160
    few = made_by(lambda shape, budget: tk.low_rank(shape, 2), (10, 10), 80, "mine", at_least=True)
    assert few.num_params == 40  # it has no larger one
    with pytest.raises(ValueError, match=r"mine fails for \(10, 10\) and 80: ZeroDivisionError"):
        made_by(lambda shape, budget: 1 / 0, (10, 10), 80, "mine", at_least=True)
    assert made_by(lambda shape, budget: "none", (10, 10), 80, "mine", at_least=True) == "none"


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 64), (120, 400), (16, 6, 5, 5), (97, 64, 3, 3)], ids=str)
@pytest.mark.parametrize("budget", [1, 400, 3000, 10**9])
def test_structured_families_have_the_counts_of_their_formulas(shape, budget):
    def made(name):
        (family,) = families([name])
        net = family.build(shape, budget)
        half = len(net.shape) // 2
        return net, net.shape[:half], net.shape[half:]

    def stages(out, in_, ranks):
        return sum(ranks[k] * ranks[k + 1] * prod(out[: k + 1]) * prod(in_[k:]) for k in range(len(out)))

    net, out, in_ = made("kronecker")
    (terms,) = {net.sizes.get("r", 1)}
    assert net.num_params == terms * sum(o * i for o, i in zip(out, in_, strict=True))
    net, out, in_ = made("monarch")
    assert net.num_params == stages(out, in_, [1] * (len(out) + 1)) and 1 not in (len(out), len(in_))
    net, out, in_ = made("btt")
    bonds = [net.sizes.get(f"b{k}", 1) for k in range(len(out) + 1)]
    assert net.num_params == stages(out, in_, bonds)
    net, out, in_ = made("butterfly")
    assert net.num_params == tk.butterfly(out, in_, (len(net.nodes) - 1) // max(1, len(out) - 1)).num_params
    net, *_ = made("block_term")
    core = [net.sizes[f"r{k}"] for k in range(len(net.shape))]
    terms = net.sizes["t"]
    assert terms > 1 and net.num_params == terms * (
        prod(core) + sum(n * r for n, r in zip(net.shape, core, strict=True))
    )
    net, out, in_ = made("lokr")
    (low,) = {n.name for n in net.nodes if n.name.startswith("left_")}
    k, terms = int(low.removeprefix("left_")), net.sizes.get("r", 1)
    dense = sum(o * i for j, (o, i) in enumerate(zip(out, in_, strict=True)) if j != k)
    assert net.num_params == terms * (dense + net.sizes[f"f{k}"] * (out[k] + in_[k]))


@pytest.mark.parametrize("name", ["deep_tree", "deep_mera", "deep_augmented_tree"])
def test_deep_trees_have_activations_between_their_levels(name):
    (deep,), (relu,) = families([name]), families([name], activation="relu")
    (shallow,) = families([name.removeprefix("deep_")])
    nets = [f.build((64, 64), 1000) for f in (deep, relu, shallow)]
    assert [net.multilinear for net in nets] == [False, False, True] and nets[0] != nets[1]
    assert {net.num_params for net in nets} == {nets[2].num_params} and (deep.depth, shallow.depth) == (2, None)


@pytest.mark.slow
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
    assert near_budget(nets, 98, at_least=True) == nets[2]
    assert near_budget(nets, 101, at_least=True) == nets[1]  # none within 5 % above: the smallest above, 180
    assert near_budget(nets, 2000, at_least=True) == nets[3]  # none above: the largest, 1,000
    preferred = [tk.cp((10, 10), 5), tk.cp((5, 5, 2, 2), 7), tk.cp((5, 5), 10)]  # 100, 98, 100
    assert near_budget(preferred, 97, at_least=True) == preferred[1]  # nearer, and after the first within 5 %
    assert near_budget([*preferred[2:], tk.cp((10, 10), 9), preferred[1]], 97, at_least=True) == preferred[2]


def test_ranks_one_apart_are_tried_from_both_ends():
    """A TT-matrix of three digits a side is within 6 % of 397 with its larger rank at the end alone."""
    found = [net.num_params for net in step_ranks(lambda r: tk.mpo((6, 5, 4), (10, 8, 5), r), 2, 500)]
    assert found == [120, 220, 180, 320, 460, 420, 600]  # ranks 1 1, 2 1, 1 2, 2 2, 3 2, 2 3, 3 3
    assert KINDS["mpo"].build((120, 400), 397, at_least=True).num_params == 420
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
        match=rf"shapes: each family is one of {', '.join(KINDS)}, not 'mps'",
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


@pytest.mark.parametrize("fn", ["tanh", "relu", "square"])
@pytest.mark.parametrize("name", KINDS)
def test_a_name_with_an_activation_has_it_outermost_and_a_scale(name, fn):
    plain, made = families([name], [2])[0], families([f"{name}+{fn}"], [2])[0]
    assert (made.name, made.depth) == (f"{name}+{fn}", 3 if plain.depth else 2)
    for budget in (200, 600):
        inner, net = plain.build((32, 32), budget - 1), made.build((32, 32), budget)
        (scale,) = [n for n in net.nodes if isinstance(n, tk.Node)]
        (outermost,) = [n for n in net.nodes if isinstance(n, tk.Elementwise)]
        assert scale.inds == () and outermost.fn == fn and outermost.bodies == (inner,)
        assert net.num_params == inner.num_params + 1
        arrays = tk.init.normal(net, std=3.0)
        assert tk.init.rms(net, arrays) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "name, said",
    [
        ("tt+", "activation is one of relu, .* not ''"),
        ("tt+add", "activation is one of relu, .* not 'add'"),
        ("nonsense+tanh", "in 'nonsense\\+tanh', is one of adtn, .* not 'nonsense'"),
        ("tt+tanh+relu", "not 'tanh\\+relu'"),
        ("+tanh", "not ''"),
    ],
)
def test_names_with_an_activation_that_cannot_be(name, said):
    with pytest.raises(ValueError, match=said):
        families([name])

"""Orders that users give, and optimisers of other libraries: used as they are, slices included, or refused by name."""

import cotengra as ctg
import networkx as nx
import numpy as np
import opt_einsum as oe
import pytest
from work import counted

import tnkit as tk
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.paths.given import read_order
from tnkit.testing import oracle, random_network

FOUR = tk.from_einsum("ab,bc,cd,de->ae", dict(a=2, b=3, c=4, d=5, e=6))
SHAPES = [(2, 3), (3, 4), (4, 5), (5, 6)]
PATH = [(2, 3), (0, 1), (0, 1)]
GRAPH = tk.from_graph(nx.random_regular_graph(3, 20, seed=1), bond=3)


def views():
    """The same network as the terms of other libraries."""
    letters = {i: oe.get_symbol(k) for k, i in enumerate(GRAPH.sizes)}
    return [tuple(letters[i] for i in n.inds) for n in GRAPH.nodes], (), {letters[i]: n for i, n in GRAPH.sizes.items()}


def tree(**slices):
    found = ctg.GreedyOptimizer().search(*views())
    return found.slice(**slices) if slices else found


def hyper(**options):
    return ctg.HyperOptimizer(methods=["greedy"], max_repeats=2, parallel=False, progbar=False, **options)


# -- paths ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        PATH,
        tuple(PATH),
        np.array(PATH),
        [list(step) for step in PATH],
        [np.array(step) for step in PATH],
        ["einsum_path", *PATH],
        np.einsum_path("ab,bc,cd,de->ae", *map(np.ones, SHAPES), optimize=["einsum_path", *PATH]),
        oe.contract_path("ab,bc,cd,de->ae", *SHAPES, shapes=True, optimize=PATH),
        oe.contract_path("ab,bc,cd,de->ae", *SHAPES, shapes=True, optimize=PATH)[1],
        [(2, 3), (0, 1), (4, 5)],  # SSA
        [PATH],
        tk.plan(FOUR, PATH).path,
        tk.plan(FOUR, PATH).paths,
    ],
    ids=lambda given: type(given).__name__,
)
def test_every_form_of_a_path_is_followed(given):
    plan = tk.plan(FOUR, given)
    assert plan.path == PATH
    assert plan == tk.plan(FOUR, PATH)
    assert [step.equation for step in plan.steps] == ["ab,bc->ac", "ab,bc->ac", "ab,bc->ac"]


@pytest.mark.parametrize("seed", range(20))
def test_the_paths_of_a_plan_make_it_again(seed):
    net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    plan = tk.plan(net, "greedy")
    again = tk.plan(net, plan.paths)
    assert again.paths == plan.paths
    np.testing.assert_allclose(tk.run(again, tk.check_arrays(net, arrays)), oracle(net, arrays), atol=1e-9)


def test_numbered_results_are_told_from_positions():
    n, rng = len(GRAPH.nodes), np.random.default_rng(0)
    for _ in range(20):
        live, numbered, placed = list(range(n)), [], []
        while len(live) > 1:
            a, b = sorted(rng.choice(len(live), 2, replace=False).tolist())
            placed.append((a, b))
            numbered.append((live[a], live[b]))
            live = [k for p, k in enumerate(live) if p not in (a, b)] + [n + len(numbered) - 1]
        assert read_order(numbered, GRAPH) == read_order(placed, GRAPH)
        assert read_order(placed, GRAPH).paths == (tuple(placed),)


ACT = FOUR.activate("tanh", "f")
BAD = [
    ([(0, 4), (0, 1), (0, 1)], ValueError, "the path has step (0, 4) where only 4 terms are left (step 0 of the path)"),
    ([(0, 1), (0, 3), (0, 1)], ValueError, "the path has step (0, 3) where only 3 terms are left (step 1 of the path)"),
    ([(0, 1), (1, 1), (0, 1)], ValueError, "the path has step (1, 1), which names a term twice (step 1 of the path)"),
    ([(0, 1), (0, 1)], ValueError, "the path ends with 2 of 4 terms left"),
    ([], ValueError, "the path ends with 4 of 4 terms left"),
    ([(0, 1), (0, 1), (0, 1), (0, 1)], ValueError, "has step (0, 1) where only 1 terms are left (step 3 of the path)"),
    ([(0, 1), (2, 5), (3, 4)], ValueError, "plan: step 1 of the path, (2, 5), uses result 5 before it is made"),
    ([(0, 1.5), (0, 1), (0, 1)], TypeError, "plan: step 0 of the path is a tuple of positions, not (0, 1.5)"),
    ([(0, 1), (0, True), (0, 1)], TypeError, "plan: step 1 of the path is a tuple of positions, not (0, True)"),
    ([(0, 1), {0, 1}, (0, 1)], TypeError, "plan: step 1 of the path is a tuple of positions, not {0, 1}"),
    ([("A", "B"), (0, 1), (0, 1)], TypeError, "plan: step 0 of the path is a tuple of positions, not ('A', 'B')"),
    ([("A", "B")], TypeError, "plan: step 0 of the path is a tuple of positions, not ('A', 'B')"),
    ({(0, 1)}, TypeError, "plan: optimizer is a name, a path, a contraction tree, or a function"),
    ([PATH, PATH], ValueError, "plan: 2 paths given for 1 region"),
    (oe.RandomGreedy, TypeError, "not the class RandomGreedy: make an optimizer of it"),
    (len, TypeError, "plan: optimizer is a name, a path, a contraction tree, or a function"),
    (lambda *_: 1 / 0, ValueError, "failed (ZeroDivisionError: division by zero)"),
    (lambda *_: [(0, 1.5)], TypeError, "the optimizer gave [(0, 1.5)], which is no list of tuples of positions"),
    (lambda *_: [(0, 9)], ValueError, "the optimizer's path has step (0, 9) where only 4 terms are left"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "words"), BAD, ids=[words[-40:] for *_, words in BAD])
def test_an_order_that_does_not_fit_is_refused_with_its_step(given, kind, words):
    with pytest.raises(kind) as caught:
        tk.plan(FOUR, given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_nonlinear_network_takes_one_path_a_region():
    with pytest.raises(ValueError, match=r"one path is given for 2 regions; give one a region, as plan.paths"):
        tk.plan(ACT, PATH)
    with pytest.raises(ValueError, match="the path of region 0 has step"):
        tk.plan(ACT, [[(7, 8)], []])
    assert tk.plan(ACT, [PATH, []]).paths == (tuple(PATH), ((0,),))


# -- optimisers and trees of other libraries ----------------------------------------------------------------------------
@pytest.mark.slow
def test_an_object_that_reuses_is_asked_itself():
    search = ctg.ReusableHyperOptimizer(methods=["greedy"], max_repeats=64, parallel=False, progbar=False)
    (first, _), (again, plan) = (counted(tk.plan, GRAPH, search) for _ in range(2))
    assert again < first / 50
    path = plan.path
    assert path == [tuple(step) for step in search.search(*views()).get_path()]


def test_an_object_can_be_asked_for_what_it_found():
    search = hyper()
    plan = tk.plan(GRAPH, search)
    assert plan.path == [tuple(sorted(step)) for step in search.get_tree().get_path()]
    assert tk.plan(GRAPH, search.get_tree()).path == plan.path


def test_an_object_that_remembers_another_contraction_is_refused():
    search = oe.RandomGreedy(max_repeats=2)
    assert len(tk.plan(FOUR, search).path) == len(tk.plan(FOUR, search).path) == 3
    with pytest.raises(
        ValueError, match="may remember another contraction: make a new one a network, or pass a function"
    ):
        tk.plan(GRAPH, search)
    tk.plan(
        ACT.join(ACT.relabel(lambda i: f"{i}2", lambda n: f"{n}2", lambda n: f"{n}2")),
        lambda *asked: oe.RandomGreedy()(*asked),
    )


@pytest.mark.parametrize("given", ["slicing_opts", "tree"])
@pytest.mark.parametrize("nodes", [2, 20])
def test_slices_asked_of_cotengra_are_kept(given, nodes):
    net = GRAPH if nodes == 20 else tk.from_einsum("ab,bc->", dict(a=9, b=9, c=9))
    arrays = tk.init.normal(net, seed=0)
    if given == "tree":
        letters = {i: oe.get_symbol(k) for k, i in enumerate(net.sizes)}
        terms = [tuple(letters[i] for i in n.inds) for n in net.nodes]
        order = (
            ctg.GreedyOptimizer()
            .search(terms, (), {letters[i]: n for i, n in net.sizes.items()})
            .slice(target_slices=9)
        )
        names = {letter: i for i, letter in letters.items()}
        sliced = {names[i] for i in order.sliced_inds}
    else:
        order = hyper(slicing_opts={"target_slices": 9})
    plan = tk.plan(net, order)
    assert plan.sliced is not None and np.prod(plan.sliced.counts) >= 9
    if given == "tree":
        assert set(plan.sliced.equation.split()[2:]) == sliced
    np.testing.assert_allclose(tk.run(plan, arrays), tk.contract(net, arrays), rtol=1e-9)


def test_a_sliced_output_index_is_put_together():
    net = tk.from_einsum("ab,bc,cd->ad", dict(a=4, b=3, c=3, d=5))
    order = ctg.GreedyOptimizer().search([("a", "b"), ("b", "c"), ("c", "d")], ("a", "d"), dict(a=4, b=3, c=3, d=5))
    order = order.remove_ind("a").remove_ind("c")
    arrays = tk.init.normal(net, seed=0)
    plan = tk.plan(net, order)
    assert sorted(plan.sliced.equation.split()[2:]) == ["a", "c"]
    np.testing.assert_allclose(tk.run(plan, arrays), oracle(net, arrays), rtol=1e-12)


def test_slices_that_cannot_be_kept_are_refused():
    with pytest.raises(
        ValueError, match=r"the order's own 9 slices \(.*\) take .*; they are kept as they are, and slices=99 needs"
    ):
        tk.plan(GRAPH, tree(target_slices=9), slices=99)
    with pytest.raises(ValueError, match=r"memory_limit=.* needs more"):
        tk.plan(GRAPH, tree(target_slices=9), memory_limit=10)
    with pytest.raises(ValueError, match="the contraction tree is of another network: its tensors have"):
        tk.plan(FOUR, tree())
    net = Network([Node("A", "aa"), Node("B", "a"), Node("C", "a")], "", dict(a=9))
    order = ctg.GreedyOptimizer().search([("x",), ("x",), ("x",)], (), dict(x=9)).remove_ind("x")
    with pytest.raises(ValueError, match="the order slices index 'a', which is a trace or inside an activation"):
        tk.plan(net, order)
    batch = tk.from_einsum("ab,bc->ac", dict(a=2, b=3, c=4))
    order = ctg.GreedyOptimizer().search([("a", "b"), ("b", "c")], ("a", "c"), dict(a=2, b=3, c=4)).remove_ind("b")
    with pytest.raises(ValueError, match="the order slices index 'b'; with a dynamic index nothing is sliced"):
        tk.plan(batch, order, dynamic="a")
    both = batch.activate("tanh", "f")
    with pytest.raises(ValueError, match="a contraction tree slices index 'b' inside an activation"):
        tk.plan(both, [order, []])
    with pytest.raises(ValueError, match="is of a compressed contraction"):
        tk.plan(GRAPH, ctg.HyperCompressedOptimizer(4, max_repeats=2, parallel=False, progbar=False))

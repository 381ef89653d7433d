"""Paths: complete, pairwise, as cheap as the best for small networks, for any shape of answer."""

import functools
import itertools
from math import prod

import networkx as nx
import numpy as np
import opt_einsum as oe
import pytest
from work import counted

import tnkit as tk
from tnkit.paths.bisection import _bisected, halved
from tnkit.paths.contraction_tree import ContractionTree, linear_path, numbered_steps, refine_
from tnkit.paths.optimizers import OPTIMIZERS, WRITE, find_path
from tnkit.paths.searchable import connected_parts
from tnkit.testing import oracle, path_flops, random_network


def terms(seed, max_nodes=7):
    """Inputs without traces and without indices of one node alone, as plan() hands them on."""
    net, _ = random_network(seed, max_nodes=max_nodes)
    inputs = [tuple(dict.fromkeys(n.inds)) for n in net.nodes]
    count = {i: sum(i in t for t in (*inputs, net.output)) for i in net.sizes}
    return [tuple(i for i in t if count[i] > 1) for t in inputs], net.output, dict(net.sizes)


def check(path, n):
    assert len(path) == n - 1
    for left, step in zip(range(n, 1, -1), path, strict=True):
        a, b = step
        assert 0 <= a < b < left


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_complete_and_pairwise(name):
    for seed in range(10 if name == "hyper" else 40):
        inputs, output, sizes = terms(seed)
        check(find_path(inputs, output, sizes, name), len(inputs))


@pytest.mark.parametrize("seed", range(30))
def test_optimal_is_no_worse_than_exhaustive_search_allows(seed):
    inputs, output, sizes = terms(seed, max_nodes=5)
    best = path_flops(inputs, output, sizes, find_path(inputs, output, sizes, oe.paths.optimal))
    for name in ("optimal", "auto"):
        assert path_flops(inputs, output, sizes, find_path(inputs, output, sizes, name)) <= 2 * best


def orders(inputs, output):
    """Every pairwise order without an outer product, as (path, pairs of index sets that are multiplied)."""
    if len(inputs) == 1:
        yield [], []
    for i, j in itertools.combinations(range(len(inputs)), 2):
        a, b = set(inputs[i]), set(inputs[j])
        rest = [t for k, t in enumerate(inputs) if k not in (i, j)]
        if a & b:
            made = [*rest, tuple(x for x in a | b if x in output or any(x in t for t in rest))]
            for path, steps in orders(made, output):
                yield [(i, j), *path], [a | b, *steps]


@pytest.mark.parametrize("seed", range(4))
def test_optimal_is_the_best_order_without_outer_products(seed):
    rng = np.random.default_rng(seed)
    inputs, output = [("a", "b"), ("b", "c", "d"), ("d", "e", "a"), ("e", "f", "c"), ("f", "g")], ("g",)
    sizes = {i: int(rng.integers(2, 12)) for i in "abcdefg"}
    cost = {tuple(path): sum(prod(sizes[i] for i in s) for s in steps) for path, steps in orders(inputs, output)}
    assert cost[tuple(find_path(inputs, output, sizes, "optimal"))] == min(cost.values())


def test_an_outer_product_can_be_cheaper_than_optimal():
    """The limit that the docstring of ``optimal`` and docs/concepts/plan.md name; such an order is given by hand."""
    net = tk.from_einsum("a,b,abc,cd->d", dict(a=2, b=2, c=100, d=2))
    by_hand = tk.plan(net, [(0, 1), (0, 2), (0, 1)])
    assert by_hand.flops < tk.plan(net, "optimal").flops < 2 * by_hand.flops


def hypernetwork(seed, nodes):
    """Hyperedges, open indices, scalars, equal terms, indices of size 1, parts without a connection."""
    rng = np.random.default_rng(seed)
    names = [f"i{k}" for k in range(int(rng.integers(2, 2 * nodes)))]
    inputs = [tuple(rng.permutation(names)[: rng.integers(0, 4)].tolist()) for _ in range(nodes)]
    inputs[0] = inputs[1]
    used = [i for i in names if any(i in t for t in inputs)]
    return inputs, tuple(i for i in used if rng.random() < 0.15), {i: int(rng.integers(1, 5)) for i in used}


def regular(nodes, bond, seed):
    net = tk.from_graph(nx.random_regular_graph(3, nodes, seed=seed), bond=bond)
    return [node.inds for node in net.nodes], net.output, dict(net.sizes)


def chain(nodes):
    names = [f"b{k}" for k in range(nodes + 1)]
    leaves = [tk.Node(f"A{k}", tuple(names[max(k, 1) : min(k + 2, nodes)])) for k in range(nodes)]
    return tk.Network(tuple(leaves), (), dict.fromkeys(names[1:-1], 2))


def binary_tree(nodes):
    legs = [[] for _ in range(nodes)]
    for k in range(1, nodes):
        legs[k].append(f"e{k}")
        legs[(k - 1) // 2].append(f"e{k}")
    leaves = tuple(tk.Node(f"A{k}", tuple(t)) for k, t in enumerate(legs))
    return tk.Network(leaves, (), {f"e{k}": 2 for k in range(1, nodes)})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_random_hypernetworks_of_any_kind(name):
    for seed in range(12):
        asked = hypernetwork(seed, 10 + seed % 3)
        path = find_path(*asked, name)
        check(path, len(asked[0]))
        best = path_flops(*asked, find_path(*asked, "optimal"))
        excess = np.log10(path_flops(*asked, path) / best)
        # ``auto`` takes what a few greedy trees give where all of it is a few hundred operations
        assert excess <= {"auto": 0.4, "hyper": 0.3, "optimal": 0.0, "random-greedy": 1.0, "greedy": 2.0}[name]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_deterministic(name):
    asked = terms(11) if name == "optimal" else regular(40, 2, 0)
    assert find_path(*asked, name) == find_path(*asked, name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_searches_are_worth_their_time(seed):
    asked = regular(40, 3, seed)
    flops = {name: path_flops(*asked, find_path(*asked, name)) for name in OPTIMIZERS if name != "optimal"}
    assert flops["hyper"] <= 1.3 * flops["auto"] <= 1.7 * flops["random-greedy"]
    assert flops["auto"] < flops["greedy"]


@pytest.mark.slow
def test_large_lattices_are_no_worse_than_greedy():
    net = tk.from_graph(nx.grid_2d_graph(14, 14), bond=2)
    asked = [node.inds for node in net.nodes], net.output, dict(net.sizes)
    greedy = path_flops(*asked, find_path(*asked, "greedy"))
    for name in ("auto", "hyper"):
        assert path_flops(*asked, find_path(*asked, name)) <= 1.1 * greedy


def test_a_refined_tree_is_a_tree_and_costs_less():
    for seed in range(8):
        inputs, output, sizes = hypernetwork(seed, 14)
        steps = halved(inputs, sizes, 0.3)
        tree = ContractionTree(inputs, output, sizes, steps, WRITE)
        before = tree.total
        assert path_flops(inputs, output, sizes, linear_path(steps, 14)) == pytest.approx(tree.weighed(0).total)
        refine_(tree, 6, 100)
        check(tree.path, 14)
        assert tree.total <= before
        assert sum(tree.costs.values()) == pytest.approx(
            ContractionTree(inputs, output, sizes, numbered_steps(tree.path, 14), WRITE).total
        )
        assert path_flops(inputs, output, sizes, tree.path) == pytest.approx(tree.weighed(0).total)


def test_no_node_is_better_in_the_other_half():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        half = np.triu(rng.random((12, 12)) * (rng.random((12, 12)) < 0.4), 1)
        weights = half + half.T
        side = np.array(_bisected(weights, weights, 0.2))
        cut = weights[side][:, ~side].sum()
        assert 2 <= side.sum() <= 10
        for k in range(12):
            other = side ^ (np.arange(12) == k)
            assert not 2 <= other.sum() <= 10 or weights[other][:, ~other].sum() > cut - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("make", [chain, binary_tree])
@pytest.mark.parametrize("nodes", [2_000, 5_000])
def test_thousands_of_nodes(make, nodes):
    net = make(nodes)
    plan = tk.plan(net)
    check(plan.path, nodes)
    assert plan.largest <= 4  # leaves first: no bond but those of one node is open
    ones = {name: np.full(shape, 0.5) for name, shape in net.array_shapes.items()}  # 2^(nodes - 1) terms of 2^-nodes
    assert tk.contract(net, ones) == 0.5


@pytest.mark.slow
def test_a_chain_is_contracted_from_its_ends():
    bond, nodes = 16, 300
    names = [f"b{k}" for k in range(nodes + 1)]
    inputs = [tuple(names[max(k, 1) : min(k + 2, nodes)]) for k in range(nodes)]
    for name in ("auto", "hyper", "random-greedy"):
        flops = path_flops(
            inputs, (), dict.fromkeys(names, bond), find_path(inputs, (), dict.fromkeys(names, bond), name)
        )
        assert flops <= nodes * bond**2


@pytest.mark.slow
def test_an_outer_product_of_any_size_has_a_path():
    inputs = [(f"i{k}",) for k in range(1_200)]
    names = tuple(i for t in inputs for i in t)
    check(find_path(inputs, names, dict.fromkeys(names, 2), "auto"), 1_200)  # 2^1200 entries: more than a float holds


@pytest.mark.parametrize("name", ["auto", "hyper"])
def test_larger_networks_are_contracted_right(name):
    for seed in range(6):
        net, arrays = random_network(seed, max_nodes=16, max_size=2)
        np.testing.assert_allclose(tk.contract(net, arrays, optimizer=name), oracle(net, arrays), atol=1e-9)


def test_matrix_chain():
    sizes = dict(a=1000, b=2, c=1000, d=2)
    assert find_path(["ab", "bc", "cd"], ("a", "d"), sizes, "auto")[0] == (1, 2)


def test_any_length_of_step_and_any_function():
    inputs, output, sizes = [("a", "b")] * 4, (), dict(a=2, b=2)
    for path in ([], [(0, 1, 2, 3)], [(0,), (1, 2), (0, 1, 2)], [(3, 0), (1, 0), (1, 0)], np.array([[0, 1]] * 3)):
        check(find_path(inputs, output, sizes, lambda *_, path=path: path), 4)
    three = functools.partial(
        lambda i, o, s, scale: oe.paths.greedy([frozenset(t) for t in i], frozenset(o), s), scale=1
    )
    check(find_path(inputs, output, sizes, three), 4)


def test_names_of_any_length_and_number():
    inputs = [(f"bond {k}", f"bond {k + 1}") for k in range(300)]
    sizes = {f"bond {k}": 2 for k in range(301)}
    for name in ("auto", "greedy", "random-greedy"):
        check(find_path(inputs, ("bond 0", "bond 300"), sizes, name), 300)


SEARCH = oe.DynamicProgramming()


def test_one_object_serves_many_networks():
    for seed in range(6):
        inputs, output, sizes = terms(seed)
        check(find_path(inputs, output, sizes, SEARCH), len(inputs))


def test_connected_parts_are_counted():
    for seed in range(8):
        graph = nx.gnp_random_graph(9, 0.3, seed=seed)
        near = [sum(1 << v for v in graph[k]) for k in range(9)]
        every = (s for n in range(1, 10) for s in itertools.combinations(range(9), n))
        found = sum(nx.is_connected(graph.subgraph(s)) for s in every)
        assert connected_parts(near, 10**6) == found
        assert connected_parts(near, found - 1) == found


@pytest.mark.parametrize(
    "net",
    [
        tk.from_graph(nx.random_regular_graph(3, 60, seed=0), bond=2),
        tk.from_graph(nx.complete_graph(20), bond=2),
        tk.from_graph(nx.star_graph(40), bond=2),
        tk.cp((2,) * 30, 2),
    ],
    ids=["regular", "complete", "star", "hyperedge"],
)
def test_optimal_refuses_at_once_what_it_would_not_finish(net):
    def refused():
        with pytest.raises(
            ValueError, match=f"optimizer 'optimal': {len(net.nodes)} nodes with more than 32,768 connected parts"
        ):
            tk.plan(net, "optimal")

    assert counted(refused)[0] < 500_000  # .1 s


@pytest.mark.slow
def test_optimal_finishes_what_it_takes():
    for net in (chain(60), tk.from_graph(nx.grid_2d_graph(4, 6), bond=2), binary_tree(31)):
        asked = [n.inds for n in net.nodes], net.output, dict(net.sizes)
        path = find_path(*asked, "optimal")
        check(path, len(net.nodes))
        assert path_flops(*asked, path) <= path_flops(*asked, find_path(*asked, "hyper"))

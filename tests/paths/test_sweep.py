"""Sweeps: complete steps for any network, and orders of lattices that do not hang on the order of the nodes."""

import math
import random

import networkx as nx
import numpy as np
import pytest
from work import counted

import tnkit as tk
from tnkit.paths.contraction_tree import ContractionTree, linear_path
from tnkit.paths.optimizers import find_path
from tnkit.paths.sweep import swept_steps
from tnkit.testing import oracle, path_flops, random_network


def ising(rows, columns, seed=None):
    """One hyperedge a spin, one matrix a bond; vertical bonds first, or shuffled."""
    pairs = [((i, j), (i + 1, j)) for i in range(rows - 1) for j in range(columns)]
    pairs += [((i, j), (i, j + 1)) for i in range(rows) for j in range(columns - 1)]
    if seed is not None:
        random.Random(seed).shuffle(pairs)
    nodes = [tk.Node(f"{a}{b}", (f"s{a}", f"s{b}")) for a, b in pairs]
    return tk.Network(tuple(nodes), (), {i: 2 for node in nodes for i in node.inds})


def asked(net):
    return [tuple(dict.fromkeys(node.inds)) for node in net.nodes], net.output, dict(net.sizes)


def widest(tree):
    """Bits of the largest tensor of a tree."""
    return max(sum(math.log2(tree.sizes[i]) for i in legs) for legs in tree.legs)


@pytest.mark.parametrize("seed", range(20))
def test_steps_contract_everything_and_rightly(seed):
    net, arrays = random_network(seed, max_nodes=8)
    steps = swept_steps(*asked(net))
    assert sorted(k for step in steps for k in step) == list(range(2 * len(net.nodes) - 2))
    path = linear_path(steps, len(net.nodes))
    if len(net.nodes) > 1:
        np.testing.assert_allclose(tk.contract(net, arrays, optimizer=path), oracle(net, arrays), atol=1e-9)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_sweep_of_a_lattice_is_as_wide_as_the_lattice(seed):
    for rows, columns in ((9, 9), (5, 14)):
        inputs, output, sizes = asked(ising(rows, columns, seed))
        tree = ContractionTree(inputs, output, sizes, swept_steps(inputs, output, sizes), 0)
        assert widest(tree) <= min(rows, columns)
    grid = tk.from_graph(nx.grid_2d_graph(10, 10), bond=2)
    order = list(grid.nodes)
    random.Random(seed).shuffle(order)
    inputs, output, sizes = asked(tk.Network(tuple(order), grid.output, grid.sizes))
    assert widest(ContractionTree(inputs, output, sizes, swept_steps(inputs, output, sizes), 0)) <= 11


@pytest.mark.slow
def test_orders_of_lattices_beat_row_by_row_whatever_the_order_of_the_nodes():
    rows = 20
    found = []
    for seed in (None, 0, 1):
        net = ising(rows, rows, seed)
        found.append(math.log10(path_flops(*asked(net), find_path(*asked(net), "auto"))))
    assert max(found) - min(found) <= 0.3
    one_spin_at_a_time = rows * (rows - 1) * (2.0 ** (rows + 1) + 2.0**rows)
    assert max(found) <= math.log10(one_spin_at_a_time)


@pytest.mark.slow
def test_a_limit_that_no_slices_keep_is_refused_in_seconds():
    def refused():
        with pytest.raises(
            ValueError,
            match=r"memory_limit=1GB cannot be planned.* no slices were found that fit, of up to 1,048,576; without slices the order takes",
        ):
            tk.plan(ising(40, 40), memory_limit=1e9)

    assert counted(refused)[0] < 12_000_000  # 6 million, in 10 s

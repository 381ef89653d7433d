"""Paths: complete, pairwise, as cheap as the best for small networks, for any shape of answer."""

import functools

import numpy as np
import opt_einsum as oe
import pytest

from tnkit.ordering import OPTIMIZERS, find_path, path_flops
from tnkit.testing import random_network


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
    for seed in range(4 if name == "hyper" else 40):
        inputs, output, sizes = terms(seed)
        check(find_path(inputs, output, sizes, name), len(inputs))


@pytest.mark.parametrize("seed", range(30))
def test_optimal_is_no_worse_than_exhaustive_search_allows(seed):
    inputs, output, sizes = terms(seed, max_nodes=5)
    best = path_flops(inputs, output, sizes, find_path(inputs, output, sizes, oe.paths.optimal))
    for name in ("optimal", "auto"):
        assert path_flops(inputs, output, sizes, find_path(inputs, output, sizes, name)) <= 2 * best


@pytest.mark.parametrize("name", ["auto", "greedy", "optimal", "random-greedy"])
def test_deterministic(name):
    inputs, output, sizes = terms(11)
    assert find_path(inputs, output, sizes, name) == find_path(inputs, output, sizes, name)


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


def test_one_object_serves_many_networks():
    search = oe.RandomGreedy(max_repeats=2)
    for seed in range(6):
        inputs, output, sizes = terms(seed)
        check(find_path(inputs, output, sizes, search), len(inputs))

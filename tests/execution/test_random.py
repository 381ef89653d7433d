"""Seeded random networks against the oracle: numpy, torch, gradients, dtypes, every optimiser."""

import cotengra as ctg
import numpy as np
import opt_einsum as oe
import pytest
import torch

from tnkit.core.activations import ACTIVATIONS
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.inputs import check_arrays, constant
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import contract, run
from tnkit.paths.optimizers import OPTIMIZERS
from tnkit.planning.planner import plan
from tnkit.testing import oracle, random_network


def close(got, want, rtol=1e-10):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    scale = np.max(np.abs(want), initial=0)
    assert np.max(np.abs(got - want), initial=0) <= rtol * scale + 1e-280


def tensors(arrays, **kw):
    return {name: torch.tensor(a, **kw) for name, a in arrays.items()}


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("block", range(10))
def test_against_the_oracle(block, nonlinear):
    for seed in range(20 * block, 20 * block + 20):
        net, arrays = random_network(seed, nonlinear=nonlinear)
        want = oracle(net, arrays)
        assert want.shape == net.shape
        close(contract(net, arrays), want)
        if arrays:
            got = contract(net, tensors(arrays))
            assert got.dtype == torch.float64
            close(got, want)


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("dtype", [np.complex128, np.int64, np.float32])
def test_dtypes(dtype, nonlinear):
    for seed in range(500, 540):
        net, arrays = random_network(seed, nonlinear=nonlinear, dtype=dtype)
        if not arrays:
            continue
        want = oracle(net, arrays)
        got, got_torch = contract(net, arrays), contract(net, tensors(arrays))
        assert got.dtype == dtype and got_torch.numpy().dtype == dtype
        if dtype == np.int64:
            assert np.array_equal(got, want) and np.array_equal(got_torch, want)
        elif dtype == np.complex128:
            close(got, want)
            close(got_torch, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_kept(dtype):
    for seed in range(20):
        net, arrays = random_network(seed, nonlinear=True)
        if arrays:
            assert contract(net, tensors(arrays, dtype=dtype)).dtype == dtype


def test_bool_networks_are_any_and_all():
    net = Network([Node("A", "ij"), Node("B", "jk"), Node("C", "l")], "ik", dict(i=3, j=4, k=2, l=2))
    rng = np.random.default_rng(0)
    arrays = {name: rng.random(shape) < 0.5 for name, shape in net.array_shapes.items()}
    got = contract(net, arrays)
    assert got.dtype == bool
    assert np.array_equal(got, oracle(net, arrays))


def einsum_torch(net, arrays):
    """The oracle in torch: one einsum a region over sublists, differentiated by autograd."""
    number = {i: k for k, i in enumerate(net.sizes)}
    operands = []
    for node in net.nodes:
        if isinstance(node, Node):
            if node.array in arrays:
                x = arrays[node.array]
            else:
                x = torch.from_numpy(constant(node.fixed, tuple(net.sizes[i] for i in node.inds)))
        else:
            bodies = [einsum_torch(b, arrays).permute([b.output.index(i) for i in node.inds]) for b in node.bodies]
            x = ACTIVATIONS[node.fn](torch, *bodies)
        operands += [x, [number[i] for i in node.inds]]
    return torch.einsum(*operands, [number[i] for i in net.output])


@pytest.mark.parametrize("seed", range(60))
def test_gradients(seed):
    net, arrays = random_network(1000 + seed, nonlinear=bool(seed % 2), max_nodes=5)
    if not arrays:
        pytest.skip("constants alone")
    mine, theirs = tensors(arrays, requires_grad=True), tensors(arrays, requires_grad=True)
    weight = torch.randn(net.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    got = torch.autograd.grad((contract(net, mine) * weight).sum(), list(mine.values()), allow_unused=True)
    want = torch.autograd.grad((einsum_torch(net, theirs) * weight).sum(), list(theirs.values()), allow_unused=True)
    scale = max((w.abs().max().item() for w in want if w is not None), default=0.0)
    for g, w in zip(got, want, strict=True):
        assert (g is None) == (w is None)
        if g is not None:
            assert (g - w).abs().max().item() <= 1e-10 * scale


def left_to_right(inputs, output, sizes, memory_limit):
    return [(0, 1)] * (len(inputs) - 1)


def all_at_once(inputs, output, sizes, memory_limit):
    return [tuple(range(len(inputs)))]


def nothing(inputs, output, sizes, memory_limit):
    return []


def hyper(inputs, output, sizes, memory_limit):
    """One object a contraction: it remembers what it found."""
    search = ctg.HyperOptimizer(methods=["greedy"], max_repeats=2, parallel=False, progbar=False, optlib="random")
    return search(inputs, output, sizes)


USERS = {
    "oe.greedy": oe.paths.greedy,
    "oe.auto": oe.paths.auto,
    "oe.RandomGreedy": lambda *asked: oe.RandomGreedy(max_repeats=4)(*asked),
    "oe.DynamicProgramming": oe.DynamicProgramming(),
    "ctg.GreedyOptimizer": ctg.GreedyOptimizer(),
    "ctg.OptimalOptimizer": ctg.OptimalOptimizer(),
    "ctg.ReusableHyperOptimizer": ctg.ReusableHyperOptimizer(
        methods=["greedy"], max_repeats=2, parallel=False, progbar=False, optlib="random"
    ),
    "ctg.HyperOptimizer": hyper,
    "left to right": left_to_right,
    "all at once": all_at_once,
    "empty path": nothing,
}


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *USERS])
def test_every_optimizer(optimizer):
    count = 6 if "hyper" in optimizer.lower() else 15
    for seed in range(2000, 2000 + count):
        for nonlinear in (False, True):
            net, arrays = random_network(seed, nonlinear=nonlinear)
            p = plan(net, USERS.get(optimizer, optimizer))
            close(run(p, check_arrays(net, arrays)), oracle(net, arrays))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_on_more_than_nine_nodes(optimizer):
    for seed in range(2100, 2103):
        net, arrays = random_network(seed, max_nodes=14)
        close(contract(net, arrays, optimizer=optimizer), oracle(net, arrays))


def test_seeded():
    one, two, other = random_network(3, nonlinear=True), random_network(3, nonlinear=True), random_network(4)
    assert one[0] == two[0] and one[0] != other[0]
    assert all(np.array_equal(one[1][name], two[1][name]) for name in one[1])


def test_everything_occurs():
    """The generator draws each thing that the reading rule allows."""
    seen = set()
    for seed in range(200):
        net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
        for region in net.regions():
            uses = [set(node.inds) for node in region.nodes]
            for i, size in region.sizes.items():
                times = sum(i in u for u in uses)
                seen |= {"size 1"} if size == 1 else set()
                seen |= {"hyperedge"} if times > 2 else set()
                seen |= {"batch"} if times > 1 and i in region.output else set()
                seen |= {"open"} if times == 1 and i in region.output else set()
                seen |= {"summed alone"} if times == 1 and i not in region.output else set()
            seen |= {"trace" for node in region.nodes if len(set(node.inds)) < len(node.inds)}
            seen |= {"scalar" for node in region.nodes if not node.inds}
        seen |= {"tied"} if len(net.leaves) > len(net.array_shapes) else set()
        seen |= {str(leaf.fixed) for leaf in net.leaves}
        depth = max(len(list(net.regions())), 1)
        seen |= {"nested"} if depth > 3 else set()
        assert set(arrays) == {leaf.array for leaf in net.leaves if not isinstance(leaf.fixed, str)}
        assert check_arrays(net, arrays, NUMPY).keys() == net.array_shapes.keys()
    assert seen >= {"size 1", "hyperedge", "batch", "open", "summed alone", "trace", "scalar", "tied", "e0", "ones", "delta", "True", "nested"}  # fmt: skip

"""The engine with every threshold lowered: what runs on tensors of millions of entries, on tensors of a few.

Sizes from which a way pays are choices of speed, never of correctness.  So each is lowered until test-sized networks take
that way, and values and gradients are compared with one einsum a region and with the plain plan.
"""

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.execution.inputs import check_arrays
from tnkit.planning import builder, fusion, lowering, windows
from tnkit.planning.planner import _plan
from tnkit.planning.steps import ContractStep, FusedStep
from tnkit.testing import oracle, random_network
from tnkit_nn.engine import shared_matmul

NEVER = 2**40
LOWERED = [
    (fusion, "SLICE", 8), (fusion, "KEPT", 4), (fusion, "_NEIGHBOURS", 1), (windows, "_STATE", 8), (windows, "_TIMES", 2),
    (windows, "WIDENED", 8), (windows, "LEAST_COLUMNS", 2), (lowering, "WIDENED", 8), (lowering, "LEAST_COLUMNS", 2),
    (builder, "_WORTH_ORDERS", 2), (shared_matmul, "_WORTH_A_FUNCTION", 1), (shared_matmul, "_AT_ONCE", 8),
]  # fmt: skip


@pytest.fixture(params=["sliced", "kept", "copied"])
def lowered(request, monkeypatch):
    for module, name, value in LOWERED:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(fusion, "LARGE", NEVER if request.param == "kept" else 2**5)
    monkeypatch.setattr(fusion, "HUGE", 2**5 if request.param == "copied" else NEVER)
    return request.param


def in_turn(inputs, *_, **__):
    """The path that multiplies the first tensor by each of the others in turn."""
    return [(0, 1)] + [(0, len(inputs) - 1 - k) for k in range(1, len(inputs) - 1)]


def chain(seed):
    """A tensor, and small ones on neighbouring axes of it, which it is multiplied by; every other one inside a tanh."""
    rng = np.random.default_rng(seed)
    now = [f"x{k}" for k in range(rng.integers(2, 5))]
    sizes = {i: int(rng.integers(2, 4)) for i in now}
    nodes = [tk.Node("S", tuple(now))]
    for g in range(rng.integers(2, 6)):
        width = int(rng.integers(1, min(3, len(now)) + 1))
        at = int(rng.integers(0, len(now) - width + 1))
        new = [f"y{g}_{k}" for k in range(rng.integers(1, 4))]
        sizes |= {i: int(rng.integers(2, 4)) for i in new}
        nodes.append(tk.Node(f"G{g}", tuple(map(str, rng.permutation([*new, *now[at : at + width]])))))
        now[at : at + width] = new
        if np.prod([sizes[i] for i in now]) > 3000:
            break
    output = tuple(map(str, rng.permutation(now))) if seed % 3 else tuple(now)
    net = tk.Network(nodes, output, sizes)
    if seed % 2 == 0:
        return net
    net = net.activate("tanh", "f")
    head = tk.Node("H", (now[0], "z"))
    return tk.Network([*net.nodes, head], (*(i for i in net.output if i != now[0]), "z"), {**net.sizes, "z": 3})


def compare(net, arrays, plan, monkeypatch):
    """Values against the oracle, forward alone and with gradients; gradients against a plan without groups."""
    want = oracle(net, arrays)
    np.testing.assert_allclose(tk.run(plan, arrays), want, atol=1e-9)
    tensors = {n: torch.as_tensor(a).clone() for n, a in arrays.items()}
    if not tensors:
        return
    np.testing.assert_allclose(tk.run(plan, tensors).numpy(), want, atol=1e-9)
    for x in tensors.values():
        x.requires_grad_()
    made = tk.run(plan, tensors)
    np.testing.assert_allclose(made.detach().numpy(), want, atol=1e-9)
    seed = torch.randn(made.shape, dtype=made.dtype, generator=torch.Generator().manual_seed(0))
    with monkeypatch.context() as patch:
        patch.setattr(fusion, "LARGE", NEVER)
        patch.setattr(fusion, "KEPT", NEVER)
        plain = _plan(net, "greedy", 8, None)
    assert not any(isinstance(s, FusedStep) for s in plain.steps)
    ways = [tk.run(way, tensors) for way in (plan, plain)]
    if not made.requires_grad:
        return
    found, right = (torch.autograd.grad(y, [*tensors.values()], seed, allow_unused=True) for y in ways)
    for name, a, b in zip(tensors, found, right, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(60), 100, 239, 269, 326])
def test_random_chains_with_every_threshold_lowered(seed, lowered, monkeypatch):
    net = chain(seed)
    arrays = tk.init.normal(net, seed=seed)
    for optimizer in ("auto", "greedy", in_turn):
        compare(net, arrays, _plan(net, optimizer, 8, None), monkeypatch)


@pytest.mark.parametrize("seed", [*range(60), 100])
def test_random_networks_with_every_threshold_lowered(seed, lowered, monkeypatch):
    net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    compare(net, check_arrays(net, arrays), _plan(net, "auto", 8, None), monkeypatch)


@pytest.mark.parametrize("length", ["kept", "sliced"])
def test_a_chain_whose_own_tensor_is_spread_over_neighbours(length, monkeypatch):
    """Both ways are reached: the tensor of the chain is the small matrix, and the one outside is the large tensor."""
    for module, name, value in LOWERED:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(fusion, "LARGE", 2**5 if length == "sliced" else NEVER)
    spread = 0
    for seed in (100, 206, 207, 239, 269, 326, *range(330, 400)):
        net = chain(seed)
        for optimizer in ("auto", "greedy", in_turn):
            plan = _plan(net, optimizer, 8, None)
            inside = [
                step for group in plan.steps if isinstance(group, FusedStep) for step in group.body.steps
                if isinstance(step, ContractStep)
                and any(v.beside != (1, 1) and s >= len(group.operands) for s, v in zip(step.operands, step.views, strict=True))
            ]  # fmt: skip
            if inside:
                spread += 1
                compare(net, tk.init.normal(net, seed=seed), plan, monkeypatch)
    assert spread

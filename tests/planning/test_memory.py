"""What autograd keeps, and the gradients that it copies, as plans count them, against what torch keeps and copies."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tnkit as tk
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.planning.memory import kept_for_backward, turned_gradients
from tnkit.planning.steps import ReduceStep
from tnkit.testing import random_network


def saved_entries(plan, arrays):
    """Entries that are alive once torch has run the plan: inputs, the result, and what backward needs."""
    x = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        y = tk.run(plan, x)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in (*held, *x.values(), y)}
    return sum(s.nbytes() for s in storages.values()) // y.element_size()


def kept_entries(plan):
    memory = plan._memory
    begun, first = kept_for_backward(memory, plan.steps)
    result = 0 if memory.base[plan.output] in first else memory.sizes[plan.output]
    return sum(memory.sizes[: memory.inputs]) + sum(begun) + result


def test_what_torch_keeps_of_contractions():
    """To the entry; where an operand is copied it may be less, as matmul reads some of them as they are."""
    equal = more = 0
    for seed in range(100):
        net, arrays = random_network(seed)
        plan, full = tk.plan(net), tk.check_arrays(net, arrays)
        if not full or not plan.steps or isinstance(plan.steps[-1], ReduceStep):  # the result may be a view of an input
            continue
        kept, saved, copied = kept_entries(plan), saved_entries(plan, full), sum(map(sum, plan._memory.copied))
        assert kept - copied <= saved <= kept and (copied or saved == kept), seed
        equal, more = equal + (not copied), more + bool(copied)
    assert equal > 20 and more > 20


class Clones(TorchDispatchMode):
    """Counts the entries of the tensors that torch clones."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.entries += made.numel() if func is torch.ops.aten.clone.default else 0
        return made


def pair(rng):
    """Two tensors that share indices, their axes and the result's in any order."""
    shared = [f"s{k}" for k in range(rng.integers(1, 3))]
    kept = ["z"] * int(rng.integers(2))
    a, b = ([f"{name}{k}" for k in range(rng.integers(1, 4))] for name in "ab")
    sizes = {i: int(rng.integers(2, 5)) for i in (*shared, *kept, *a, *b)}
    first, second, output = (
        [str(i) for i in rng.permutation(v)] for v in ((*shared, *kept, *a), (*shared, *kept, *b), (*kept, *a, *b))
    )
    return Network([Node("A", first), Node("B", second)], output, sizes)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_that_torch_copies(seed):
    rng, some = np.random.default_rng(seed), 0
    for _ in range(25):
        net = pair(rng)
        plan = tk.plan(net)
        x = {n: torch.ones(s, dtype=torch.float64, requires_grad=True) for n, s in net.array_shapes.items()}
        y = tk.run(plan, x)
        with Clones() as clones:
            torch.autograd.grad(y, list(x.values()), torch.ones(y.shape, dtype=y.dtype))
        assert sum(turned_gradients(plan._memory, plan.steps, plan.output)) == clones.entries, net
        some += clones.entries > 0
    assert 5 < some < 25

"""The calls that a plan is counted as, against the calls that torch sees when it runs."""

from math import prod

import pytest
import torch
from torch.overrides import TorchFunctionMode

import tnkit as tk
from tnkit import Network, Node
from tnkit.execution.run import run
from tnkit_nn.engine import launches as costs
from tnkit_nn.engine.backend import TORCH


class Watch(TorchFunctionMode):
    """Adds up the costs of the calls; those that a broadcast product makes inside are its own."""

    def __init__(self):
        super().__init__()
        self.total, self.seen = 0.0, set()

    def __torch_function__(self, fn, types, args=(), kwargs=None):
        made = fn(*args, **(kwargs or {}))
        name = "mT" if getattr(fn, "__self__", None) is torch.Tensor.mT else fn.__name__
        cost = {
            "permute": costs.PERMUTE, "reshape": costs.RESHAPE, "mT": costs.SWAP, "mul": costs.MULTIPLY, "bmm": costs.BROADCAST,
            "sum": costs.SUM, "diagonal": costs.DIAGONAL, "relu": costs.FUNCTION,
        }  # fmt: skip
        if name == "matmul":
            self.total += costs.BATCHED if max(x.ndim for x in args) > 2 else costs.MATMUL
        else:
            self.total += cost.get(name, 0.0)
        if name == "reshape" and made.data_ptr() != args[0].data_ptr():
            self.total += costs.COPY
            name = "copy"
        self.seen.add(name)
        return made


TRACE = Network((Node("A", "iij"), Node("B", "jk")), "k", dict(i=3, j=4, k=5))
SUMMED = Network((Node("A", "ijs"), Node("B", "jk")), "ik", dict(i=3, j=4, k=5, s=2))
NETS = {
    "mpo": (tk.mpo((4, 5), (3, 4), 2), {"matmul", "reshape", "permute"}),
    "low_rank": (tk.low_rank((6, 7), 3), {"matmul"}),
    "cp": (tk.cp((3, 4, 5), 2), {"matmul", "mul"}),
    "tucker": (tk.tucker((3, 4, 5), 2), {"matmul", "reshape"}),
    "adtn": (tk.adtn((16, 16), depth=3, dim=2), {"copy", "bmm", "relu", "mT"}),
    "trace": (TRACE, {"diagonal"}),
    "summed": (SUMMED, {"sum"}),
}


@pytest.mark.parametrize("net, kinds", NETS.values(), ids=NETS)
def test_every_call_is_counted(net, kinds):
    plan = tk.plan(net, itemsize=4)
    generator = torch.Generator().manual_seed(0)
    arrays = {name: torch.randn(shape, generator=generator) for name, shape in net.array_shapes.items()}
    with torch.no_grad(), Watch() as watch:
        run(plan, arrays, TORCH)
    assert kinds <= watch.seen
    assert costs.launches(plan.steps, plan._memory) == pytest.approx(watch.total)


@pytest.mark.parametrize("slices", [2, 8])
def test_a_slice_is_a_run_of_the_body(slices):
    plan = tk.plan(tk.mpo((4, 4, 4), (4, 4, 4), 3), slices=slices)
    body = sum(costs.step_launches(step, (), ()) for step in plan.sliced.body.steps)
    assert prod(plan.sliced.counts) >= slices and body > 0
    assert costs.launches(plan.steps, plan._memory) == costs.GROUP + prod(plan.sliced.counts) * body

"""What torch and Python take to start the operations of a plan, whatever their sizes.

>>> launches(plan.steps, memory)  # in calls: times rates().call, these are seconds

A product of two 4 x 4 matrices takes as long as one of two 8 x 8 matrices: the time is that of the call.  Costs are ratios to
one small product of numpy (:attr:`tnkit.Rates.call`), for torch 2.13 on a CPU without gradients.  They are those of
operations repeated alone, times 2: in layers called by turns they took 2.4 times as long, for their code was not at hand, and in
one layer called over and over 1.6 times.  The ratios of operations were equal within 10 % on a core at full and at half its clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tnkit.execution.stepwise import folds
from tnkit.planning.memory import Memory
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, ReduceStep, Step
from tnkit.planning.strides import View
from tnkit_nn.engine.backend import TORCH

__all__ = ["ADD", "CAST", "CONV", "COPY", "LAYER", "LINEAR", "MATCH", "MODULE", "RESHAPE", "launches", "step_launches"]

PERMUTE, RESHAPE, SWAP = 1.8, 1.5, 1.4
#: What a reshape takes in addition where it copies.
COPY = 2.8
MATMUL, MULTIPLY = 2.8, 2.0
#: ``torch.matmul`` of more than two axes: it makes views of its own.
BATCHED = 6.0
#: A matrix times each matrix of a batch (:func:`tnkit_nn.engine.shared_matmul.broadcast_matmul`).
BROADCAST = 6.8
SUM, DIAGONAL, FUNCTION = 4.4, 1.8, 2.0
#: A group of steps: a Python function of autograd around them.
GROUP = 20.0
ADD, CAST, LINEAR, CONV = 2.2, 1.6, 6.0, 12.0
#: An array among those that are compared with the copies of which a kept weight was made.
MATCH = 3.0
#: Python of a layer's call with its checks, and of a module that it calls.
LAYER, MODULE = 16.0, 7.0


def launches(steps: Sequence[Step], memory: Memory) -> float:
    """Calls that it takes to start all steps, once."""
    return sum(map(step_launches, steps, memory.copied, memory.product))


def step_launches(step: Step, copied: Sequence[int], product: Sequence[int]) -> float:
    """Of one step: its views, its copies and its operation.

    Parameters
    ----------
    step
        A step of a plan.
    copied
        Entries that it copies, an operand (:attr:`tnkit.planning.memory.Memory.copied`).
    product
        Shape of its matrices' product.
    """
    copies = COPY * sum(entries > 0 for entries in copied)
    if isinstance(step, ContractStep):
        if TORCH.folds and folds(step):
            return BATCHED + _viewed(step.views[1]) + copies
        views = sum(map(_viewed, (*step.views, step.result)))
        if step.multiply:
            return MULTIPLY + views + copies
        return (BROADCAST if step.broadcast else BATCHED if len(product) > 2 else MATMUL) + views + copies
    if isinstance(step, ReduceStep):
        summed = SUM if step.axes else 0.0
        return DIAGONAL * len(step.diagonals) + summed + _viewed(View(permute=step.permute))
    if isinstance(step, ApplyStep):
        return FUNCTION
    assert isinstance(step, FusedStep)
    # copies and batches inside are left out: a group's tensors are large, and its calls short beside them
    return GROUP + prod(step.counts) * sum(step_launches(inner, (), ()) for inner in step.body.steps)


def _viewed(view: View) -> float:
    permuted, reshaped = view.permute is not None, view.reshape is not None
    return PERMUTE * permuted + RESHAPE * reshaped + SWAP * view.swap

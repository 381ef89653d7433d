"""Chains of steps in torch: forward and backward, slice by slice, in a few buffers that are used again and again.

A state of a million entries costs as much to be allocated as to be multiplied by a small matrix.  Here the tensors inside a
group, and the gradients of them, are written over those of the slice before.  What is called for a slice is made once
(:mod:`tnkit_nn.engine.slice_calls`); between slices, pieces are copied in and results out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from tnkit.execution.slices import fronted, part
from tnkit.planning.steps import FusedStep
from tnkit_nn.engine.pages import empty
from tnkit_nn.engine.slice_calls import SliceCalls, piece_of

__all__ = ["backward", "forward"]


def forward(group: FusedStep, operands: Sequence[Tensor]) -> Tensor:
    """The group's result."""
    one = SliceCalls(group, operands, keep=False)
    assert one.result is not None
    result = empty(group.shape, one.result)
    out = fronted(result, group.out_axes, torch.permute)
    views = {s: fronted(operands[s], group.axes[s], torch.permute) for s in one.pieces}
    for at in product(*map(range, group.counts)):
        for s, view in views.items():
            one.pieces[s].copy_(view[part(at, group.axes[s])])
        for call in one.calls:
            call()
        out[part(at, group.out_axes)].copy_(one.result)
    return result


def backward(
    group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the wanted operands; every slice is run again."""
    needed = list(wanted)
    for step in group.body.steps:
        needed.append(any(needed[s] for s in step.operands))
    one = SliceCalls(group, operands, keep=True)
    given = one.backward(piece_of(grad, group.out_axes), needed)
    views = {s: fronted(operands[s], group.axes[s], torch.permute) for s in one.pieces}
    grads: dict[int, Tensor] = {}
    for s, x in enumerate(operands):
        if s in one.found and None not in group.axes[s]:  # each entry is in one slice: written, not added to
            grads[s] = empty(tuple(x.shape), x)
        elif wanted[s]:
            grads[s] = torch.zeros_like(x)
    slots = {s: fronted(grads[s], group.axes[s], torch.permute) for s in one.found}
    grad = fronted(grad, group.out_axes, torch.permute)
    for at in product(*map(range, group.counts)):
        for s, view in views.items():
            one.pieces[s].copy_(view[part(at, group.axes[s])])
        given.copy_(grad[part(at, group.out_axes)])
        for call in one.calls:
            call()
        for s, found in one.found.items():
            slot = slots[s][part(at, group.axes[s])]
            if None in group.axes[s]:
                slot += found
            else:
                slot.copy_(found)
    for s, total in one.sums:
        grads[s] += total()
    return tuple(grads.get(s) if w else None for s, w in enumerate(wanted))

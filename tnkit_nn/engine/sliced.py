"""Groups of any steps in torch, slice by slice: what a slice keeps for backward is autograd's, and is gone with the slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from tnkit.execution.slices import by_slices, fronted, part
from tnkit.planning.steps import FusedStep, Program
from tnkit_nn.engine.pages import empty

__all__ = ["backward", "forward"]

Run = Callable[[Program, Sequence[Tensor]], Tensor]


def forward(group: FusedStep, operands: Sequence[Tensor], run: Run) -> Tensor:
    """The group's result."""
    if not group.counts:
        return run(group.body, operands)

    def start(made: Tensor) -> Tensor:
        result = empty(group.shape, made)
        return result.zero_() if group.summed else result

    found: Tensor = by_slices(group, operands, lambda pieces: run(group.body, pieces), torch.permute, start)
    return found


def backward(
    group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor, run: Run
) -> list[Tensor | None]:
    """Gradients of the wanted operands; every slice is run again."""
    if not group.counts:
        return _gradients(group, operands, wanted, grad, run)
    views = [fronted(x, axes, torch.permute) for x, axes in zip(operands, group.axes, strict=True)]
    once = [None not in axes for axes in group.axes]  # every entry is in one slice: written, not added to
    grads = [empty(tuple(x.shape), x) if o else torch.zeros_like(x) for x, o in zip(operands, once, strict=True)]
    slots = [fronted(g, axes, torch.permute) for g, axes in zip(grads, group.axes, strict=True)]
    grad = fronted(grad, group.out_axes, torch.permute)
    for at in product(*map(range, group.counts)):
        places = [part(at, axes) for axes in group.axes]
        pieces = [x[p] for x, p in zip(views, places, strict=True)]
        found = _gradients(group, pieces, wanted, grad[part(at, group.out_axes)], run)
        for slot, p, o, g in zip(slots, places, once, found, strict=True):
            if g is not None and o:
                slot[p] = g
            elif g is not None:
                slot[p] += g
    return [g if w else None for g, w in zip(grads, wanted, strict=True)]


def _gradients(
    group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor, run: Run
) -> list[Tensor | None]:
    """Run the body again on these operands, and back."""
    leaves = [x.detach().requires_grad_(w) for x, w in zip(operands, wanted, strict=True)]
    with torch.enable_grad():
        made = run(group.body, leaves)
    found = iter(torch.autograd.grad(made, [x for x in leaves if x.requires_grad], grad))
    return [next(found) if w else None for w in wanted]

"""Groups of any steps in torch, slice by slice: what a slice keeps for backward is autograd's, and is gone with the slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from tnkit.lower import Group, Program
from tnkit.ops import fronted, part
from tnkit_nn.products import empty

__all__ = ["backward", "forward"]

Run = Callable[[Program, Sequence[Tensor]], Tensor]


def forward(group: Group, operands: Sequence[Tensor], run: Run) -> Tensor:
    """The group's result."""
    if not group.counts:
        return run(group.body, operands)
    views = [fronted(x, axes, torch.permute) for x, axes in zip(operands, group.axes, strict=True)]
    result = out = None
    for at in product(*map(range, group.counts)):
        made = run(group.body, [x[part(at, axes)] for x, axes in zip(views, group.axes, strict=True)])
        if out is None:
            result = empty(group.shape, made)
            out = fronted(result.zero_() if group.summed else result, group.out_axes, torch.permute)
        if group.summed:
            out[part(at, group.out_axes)] += made
        else:
            out[at] = made
    assert result is not None
    return result


def backward(
    group: Group, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor, run: Run
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
    group: Group, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor, run: Run
) -> list[Tensor | None]:
    """Run the body again on these operands, and back."""
    leaves = [x.detach().requires_grad_(w) for x, w in zip(operands, wanted, strict=True)]
    with torch.enable_grad():
        made = run(group.body, leaves)
    found = iter(torch.autograd.grad(made, [x for x in leaves if x.requires_grad], grad))
    return [next(found) if w else None for w in wanted]

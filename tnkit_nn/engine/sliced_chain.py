"""Chains of steps in torch: forward and backward, slice by slice, in a few buffers that are used again and again.

A state of a million entries costs as much to be allocated as to be multiplied by a small matrix.  Here the tensors inside a
group, and the gradients of them, are written over those of the slice before; the matrices that all slices share are brought
into place once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from tnkit.execution.slices import by_slices, fronted, part
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep
from tnkit_nn.engine.activations import IN_PLACE, value
from tnkit_nn.engine.matmul import as_matrix, empty, multiplied, restored, slopes, undone

__all__ = ["backward", "forward"]


# -- one slice --------------------------------------------------------------------------------------------------------
class _Body:
    """What the slices of one call share: the buffers, and the matrices of operands that no slice cuts.

    With ``keep``, every tensor on the way has a buffer of its own and the last product, which no gradient needs, is left out.
    """

    def __init__(self, group: FusedStep, operands: Sequence[Tensor], keep: bool) -> None:
        self.steps, self.n, self.keep = group.body.steps, len(operands), keep
        self.largest = max(step.size for step in self.steps)
        self.whole = [all(axis is None for axis in axes) for axes in group.axes]
        products = [(k, s) for k, s in enumerate(self.steps) if isinstance(s, ContractStep)]
        self.turn = {k: j % 2 for j, (k, _) in enumerate(products)}
        some = [k for k, s in products if not (keep and s is self.steps[-1])]
        # one allocation: given back whole, its pages stay at hand for the next call
        arena = empty((len(some) if keep else 2, self.largest), operands[0])
        self.buffers = {k: arena[j if keep else j % 2] for j, k in enumerate(some)}
        self.matrices = {
            (k, o): as_matrix(operands[s], step.views[o])
            for k, step in products
            for o, s in enumerate(step.operands)
            if s < self.n and self.whole[s]
        }

    def run(self, operands: Sequence[Tensor], needed: Sequence[bool] = ()) -> tuple[list[Any], list[tuple[Any, ...]]]:
        """All slots of one slice, and with ``keep`` what each step's gradient wants."""
        slots: list[Any] = list(operands)
        tape: list[tuple[Any, ...]] = []
        for k, step in enumerate(self.steps):
            if isinstance(step, ContractStep):
                a, b = (
                    self.matrices[k, o] if (k, o) in self.matrices else as_matrix(slots[s], step.views[o])
                    for o, s in enumerate(step.operands)
                )
                slots.append(multiplied(step, a, b, self.buffers[k]) if k in self.buffers else None)
                saved: tuple[Any, ...] = (a, b)
            else:
                assert isinstance(step, ApplyStep)
                made, saved = self.apply(step, [slots[s] for s in step.operands], needed)
                slots.append(made)
            if self.keep:
                tape.append(saved)
        return slots, tape

    def apply(self, step: ApplyStep, given: list[Tensor], needed: Sequence[bool]) -> tuple[Tensor, tuple[Any, ...]]:
        """The function's result, written over its argument where that is a product's."""
        inner = step.operands[0] - self.n
        if step.fn in IN_PLACE and inner >= 0 and isinstance(self.steps[inner], ContractStep):
            y = IN_PLACE[step.fn][0](given[0])
            return y, (y,)
        if not self.keep:
            return value(step.fn, *given), ()
        # data, not detach(): a count of versions of its own, for other rows of the arena are written meanwhile
        leaves = [x.data.requires_grad_(needed[s]) for x, s in zip(given, step.operands, strict=True)]
        with torch.enable_grad():
            y = value(step.fn, *leaves)
        return y.detach(), (leaves, y)

    def back(
        self, grad: Tensor, slots: Sequence[Any], tape: Sequence[tuple[Any, ...]], needed: Sequence[bool],
        spare: Tensor, found: Callable[[int, int, int, Tensor], None],
    ) -> None:  # fmt: skip
        """Gradients of one slice: ``found(step, operand, slot, gradient)`` is told those of the group's operands."""
        for k in reversed(range(len(self.steps))):
            step, mine = self.steps[k], grad
            if not needed[step.target]:  # nor is anything before it: a group is a chain
                return
            if isinstance(step, ContractStep):
                slopes = self.product_slopes(k, step, mine, tape[k], needed, spare)
                grads = [
                    restored(g, v, tuple(slots[s].shape)) if s >= self.n or not self.whole[s] else g
                    for g, v, s in zip(slopes, step.views, step.operands, strict=True)
                    if g is not None
                ]
            elif len(tape[k]) == 1:
                behind = self.steps[k + 1 : k + 2]  # only a product's gradient is ours to write over
                free = mine if behind and isinstance(behind[0], ContractStep) else None
                grads = [IN_PLACE[step.fn][1](mine, tape[k][0], free)]  # type: ignore[union-attr]
            else:
                leaves, y = tape[k]
                grads = list(
                    torch.autograd.grad(y, [x for x in leaves if x.requires_grad], mine, materialize_grads=True)
                )
            wanted = [(o, s) for o, s in enumerate(step.operands) if needed[s]]
            for (o, s), g in zip(wanted, grads, strict=True):
                if s < self.n:
                    found(k, o, s, g)
                else:
                    grad = g

    def product_slopes(
        self,
        k: int,
        step: ContractStep,
        grad: Tensor,
        tape: tuple[Any, ...],
        needed: Sequence[bool],
        spare: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        a, b = tape
        b = b if b.ndim > 1 else b[:, None]
        buffers: list[Tensor | None] = [None, None]
        for o, s in enumerate(step.operands):
            if s >= self.n or (not self.whole[s] and step.operands[1 - o] < self.n):
                buffers = [None, None]
                if step.views[o].beside == (1, 1):  # a matrix that is spread is larger than any buffer
                    buffers[o] = spare[self.turn[k]]
        return slopes(step, undone(step, grad, a, b), a, b, [needed[s] for s in step.operands], buffers)


# -- all slices -------------------------------------------------------------------------------------------------------
def forward(group: FusedStep, operands: Sequence[Tensor]) -> Tensor:
    """The group's result."""
    body = _Body(group, operands, keep=False)
    found: Tensor = by_slices(
        group, operands, lambda pieces: body.run(pieces)[0][-1], torch.permute, lambda made: empty(group.shape, made)
    )
    return found


def backward(
    group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the wanted operands; every slice is run again."""
    body = _Body(group, operands, keep=True)
    needed = list(wanted)
    for step in body.steps:
        needed.append(any(needed[s] for s in step.operands))
    views, grads, slots, once = [], [], [], []
    for x, axes in zip(operands, group.axes, strict=True):
        once.append(None not in axes)  # each entry is in one slice: written, not added to
        grads.append(empty(tuple(x.shape), x) if once[-1] else torch.zeros_like(x))
        views.append(fronted(x, axes, torch.permute))
        slots.append(fronted(grads[-1], axes, torch.permute))
    spare = empty(
        (2, max(body.largest, *(x.numel() // n for x, n in zip(operands, _segment_ends(group), strict=True)))), grad
    )
    sums: dict[tuple[int, int], Tensor] = {}
    grad = fronted(grad, group.out_axes, torch.permute)
    for at in product(*map(range, group.counts)):
        places = [part(at, axes) for axes in group.axes]
        written: set[int] = set()

        def found(
            k: int, o: int, s: int, g: Tensor, places: list[tuple[int, ...]] = places, written: set[int] = written
        ) -> None:
            if body.whole[s] and isinstance(body.steps[k], ContractStep):
                sums[k, o] = sums[k, o].add_(g) if (k, o) in sums else g
            elif once[s] and s not in written:
                slots[s][places[s]] = g
                written.add(s)
            else:
                slots[s][places[s]] += g

        made, tape = body.run([x[p] for x, p in zip(views, places, strict=True)], needed)
        body.back(grad[at], made, tape, needed, spare, found)
    for (k, o), g in sums.items():
        step = body.steps[k]
        assert isinstance(step, ContractStep)
        s = step.operands[o]
        grads[s] += restored(g, step.views[o], tuple(operands[s].shape))
    return tuple(g if w else None for g, w in zip(grads, wanted, strict=True))


def _segment_ends(group: FusedStep) -> list[int]:
    """Into how many slices each operand is cut."""
    return [prod(n for n, a in zip(group.counts, axes, strict=True) if a is not None) for axes in group.axes]

"""Chains of steps in torch, all at once, in memory that is asked for once.

A tensor of a million entries costs as much to be allocated as to be multiplied by a small matrix.  What backward wants of a
chain lies in rows of one allocation; the gradients are then written over the tensors that are no longer needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep
from tnkit.planning.strides import View
from tnkit_nn.engine.activations import FROM_ARGUMENT, IN_PLACE, OVER, value
from tnkit_nn.engine.matmul import as_matrix, multiplied, restored, slopes
from tnkit_nn.engine.pages import empty, fresh

__all__ = ["ChainTape", "backward", "forward"]

Shape = tuple[int, ...]

#: The allocation of the call before, at most one and of at most so many bytes: its pages are at hand, new ones cost as much as
#: the products on them.
_SPARE: list[Tensor] = []
_MOST_SPARE = 2**27


def _is_plain(x: Tensor) -> bool:
    return x.device.type == "cpu" and type(x) in (Tensor, torch.nn.Parameter)


def _workspace(entries: int, like: Tensor) -> Tensor:
    """Unwritten memory for so many entries at least."""
    if not _is_plain(like):
        return fresh((entries,), like)
    try:
        spare = _SPARE.pop()
    except IndexError:
        spare = None
    if spare is None or spare.numel() < entries * like.itemsize:
        return fresh((-(-entries // 16) * 16,), like)  # whole entries of any dtype
    return spare.view(like.dtype)


def _returned(arena: Tensor) -> None:
    if _is_plain(arena) and not arena.is_inference() and arena.numel() * arena.itemsize <= _MOST_SPARE:
        _SPARE[:] = [arena.view(torch.uint8)]


@dataclass
class _SavedStep:
    """Of one step: the tensor that came down the chain as it was used, the row it lies in, its shape before."""

    given: Any
    row: Tensor | None
    shape: Shape


class _Buffers:
    """Buffers: those given back first, then parts of one allocation, then new ones."""

    def __init__(self, entries: int, like: Tensor) -> None:
        self.arena, self.at = _workspace(entries, like), 0
        self.free: list[Tensor] = []

    def take(self, entries: int, like: Tensor) -> Tensor:
        for k, row in enumerate(self.free):
            if row.numel() >= entries:
                return self.free.pop(k)
        if self.at + entries > self.arena.numel():
            return empty((entries,), like)
        self.at += entries
        return self.arena[self.at - entries : self.at]

    def give(self, row: Tensor | None) -> None:
        if row is not None:
            self.free.append(row)

    def matrix(self, x: Tensor, view: View) -> tuple[Tensor, Tensor | None]:
        """``x`` as the matrix that ``view`` makes of it, and the row that it was copied to if that had to be."""
        if view.beside != (1, 1):
            return as_matrix(x, view), None  # larger than what it is made of, which keeps its own row
        x, copied = self.laid(x if view.permute is None else x.permute(view.permute), view.reshape)
        return (x.mT if view.swap else x), copied

    def laid(self, x: Tensor, shape: Sequence[int] | None) -> tuple[Tensor, Tensor | None]:
        """``x`` in this shape, and the row that it was copied to if that had to be."""
        if shape is None:
            return x, None
        try:
            return x.view(shape), None
        except RuntimeError:
            row = self.take(x.numel(), x)
            return row[: x.numel()].view(x.shape).copy_(x).view(shape), row


@dataclass
class ChainTape:
    """What forward leaves to the first backward, which uses it up; a second one runs forward again."""

    rows: _Buffers | None = None
    tape: list[_SavedStep] = field(default_factory=list)


class _ForwardPass:
    """One run through a group's steps; what backward wants of each is on the tape."""

    def __init__(self, group: FusedStep, operands: Sequence[Tensor]) -> None:
        self.steps, self.operands, self.n = group.body.steps, operands, len(operands)
        sizes = [s.size for s in self.steps[:-1] if isinstance(s, ContractStep)]
        self.rows = _Buffers(sum(sizes) + max(sizes, default=0), operands[0])
        self.tape: list[_SavedStep] = []
        self.now: Tensor = operands[0]
        self.row: Tensor | None = None

    def run(self, last: bool = True) -> Tensor:
        """The result, or what its product is made of where ``last`` is not wanted."""
        for k, step in enumerate(self.steps):
            if isinstance(step, ContractStep):
                a, b = self.pair(step)
                if step is not self.steps[-1]:
                    out = self.rows.take(step.size, self.now)
                elif last:
                    out = empty((step.size,), self.now)
                else:
                    break
                self.now = multiplied(step, a, b, out)
                self.row = out
            else:
                assert isinstance(step, ApplyStep)
                self.apply(step, isinstance(self.steps[k - 1], ContractStep))
        return self.now.data  # no view of a buffer: autograd would forbid to change it in place

    def pair(self, step: ContractStep) -> list[Tensor]:
        """Both matrices; a copy of the one in the chain takes the place of what it is a copy of."""
        pair, saved = [], _SavedStep(None, None, ())
        for s, view in zip(step.operands, step.views, strict=True):
            if s < self.n:
                pair.append(as_matrix(self.operands[s], view))
                continue
            shape = tuple(self.now.shape)
            x, copied = self.rows.matrix(self.now, view)
            if copied is not None:
                before = self.tape[-1]
                if before.row is self.row and isinstance(before.given, Tensor):
                    before.given, before.row = restored(x, view, shape), copied
                if not isinstance(before.given, list):  # what a function was given may be what it gave
                    self.rows.give(self.row)
                self.row = copied
            pair.append(x)
            saved = _SavedStep(x, self.row if view.beside == (1, 1) else None, shape)
        self.tape.append(saved)
        return pair

    def apply(self, step: ApplyStep, on_product: bool) -> None:
        """The function's result, over its argument where a product alone made that."""
        if on_product and step.fn in IN_PLACE:
            self.now = IN_PLACE[step.fn][0](self.now)
            saved: Any = self.now
        else:
            saved = [self.operands[s] if s < self.n else self.now for s in step.operands]
            self.now = value(step.fn, *saved)
        self.tape.append(_SavedStep(saved, self.row, tuple(self.now.shape)))
        self.row = self.row if self.row is not None and _overlaps(self.now, self.row) else None


def forward(group: FusedStep, operands: Sequence[Tensor], held: ChainTape | None) -> Tensor:
    """The group's result; what backward wants is left in ``held``, if there is to be one."""
    if held is None:
        return _forward_alone(group, operands)
    chain = _ForwardPass(group, operands)
    result = chain.run()
    held.rows, held.tape = chain.rows, chain.tape
    return result


def _forward_alone(group: FusedStep, operands: Sequence[Tensor]) -> Tensor:
    """The group's result by way of two buffers in turn; what a function makes of an operand outside is its own memory."""
    steps, n, now, row = group.body.steps, len(operands), operands[0], None
    sizes = [s.size for s in steps[:-1] if isinstance(s, ContractStep)]
    rows = _Buffers(min(2, len(sizes)) * max(sizes, default=0), now)
    for step in steps:
        if isinstance(step, ApplyStep):
            if row is not None and step.fn in OVER:
                now = OVER[step.fn](now)
                continue
            now = value(step.fn, *(operands[s] if s < n else now for s in step.operands))
            if row is not None and not _overlaps(now, row):
                rows.give(row)
                row = None
            continue
        assert isinstance(step, ContractStep)
        pair = []
        for s, view in zip(step.operands, step.views, strict=True):
            if s < n:
                pair.append(as_matrix(operands[s], view))
                continue
            x, copied = rows.matrix(now, view)
            if copied is not None:
                rows.give(row)
                row = copied
            pair.append(x)
        out = empty((step.size,), now) if step is steps[-1] else rows.take(step.size, now)
        a, b = pair
        now = multiplied(step, a, b, out)
        rows.give(row)
        row = out
    _returned(rows.arena)
    return now.data


def _overlaps(x: Tensor, row: Tensor) -> bool:
    return x.untyped_storage().data_ptr() == row.untyped_storage().data_ptr()


def backward(
    group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor, held: ChainTape
) -> tuple[Tensor | None, ...]:
    """Gradients of the wanted operands."""
    rows, tape = held.rows, held.tape
    held.rows, held.tape = None, []
    if rows is None:
        chain = _ForwardPass(group, operands)
        chain.run(last=False)
        rows, tape = chain.rows, chain.tape
    found = _BackwardPass(group, operands, wanted, rows).run(grad, tape)
    _returned(rows.arena)
    return found


class _BackwardPass:
    """The way back through a chain: one gradient, in a row of its own."""

    def __init__(self, group: FusedStep, operands: Sequence[Tensor], wanted: Sequence[bool], rows: _Buffers) -> None:
        self.steps, self.operands, self.n, self.rows = group.body.steps, operands, len(operands), rows
        self.wanted, self.needed = wanted, list(wanted)
        for step in self.steps:
            self.needed.append(any(self.needed[s] for s in step.operands))
        self.found: dict[int, Tensor] = {}
        self.row: Tensor | None = None

    def run(self, grad: Tensor, tape: list[_SavedStep]) -> tuple[Tensor | None, ...]:
        products = [False, *(isinstance(a, ContractStep) for a, _ in pairwise(self.steps))]
        for k in reversed(range(len(self.steps))):
            step, saved = self.steps[k], tape.pop()
            if not self.needed[step.target]:  # nor is anything before it
                break
            if isinstance(step, ContractStep):
                grad = self.product(step, grad, saved, products[k])
                continue
            assert isinstance(step, ApplyStep)
            grad = self.apply(step, grad, saved)
            if products[k]:  # what made it needs it no more
                self.rows.give(saved.row)
        return tuple(self.found.get(s) if w else None for s, w in enumerate(self.wanted))

    def product(self, step: ContractStep, grad: Tensor, saved: _SavedStep, free: bool) -> Tensor:
        """The gradients of a product's operands: first of the one outside, then, perhaps over it, of the one in the chain."""
        a, b = (
            as_matrix(self.operands[s], v) if s < self.n else saved.given
            for s, v in zip(step.operands, step.views, strict=True)
        )
        b = b if b.ndim > 1 else b[:, None]
        if step.result.permute is not None:
            grad = grad.permute(sorted(range(grad.ndim), key=step.result.permute.__getitem__))
        shape = (b.shape[0], a.shape[0], b.shape[2]) if step.broadcast else (*a.shape[:-1], b.shape[-1])
        grad, copied = self.rows.laid(grad, shape)
        if copied is not None:
            self.rows.give(self.row)
            self.row = copied
        inside = [s >= self.n for s in step.operands]
        outside = [self.needed[s] and s < self.n for s in step.operands]
        for s, view, slope in zip(
            step.operands, step.views, slopes(step, grad, a, b, outside, (None, None)), strict=True
        ):
            if slope is not None:
                self.add(s, restored(slope, view, tuple(self.operands[s].shape)))
        if not any(self.needed[s] for s in step.operands if s >= self.n):
            return grad
        o = inside.index(True)
        into = saved.row if free and saved.row is not None else self.rows.take(saved.given.numel(), grad)
        slope = slopes(step, grad, a, b, inside, [into if i else None for i in inside])[o]
        assert slope is not None
        self.rows.give(self.row)
        self.row = into
        return restored(slope, step.views[o], saved.shape)

    def apply(self, step: ApplyStep, grad: Tensor, saved: _SavedStep) -> Tensor:
        if isinstance(saved.given, Tensor):
            return IN_PLACE[step.fn][1](grad, saved.given, grad if self.row is not None else None)
        if step.fn in FROM_ARGUMENT:
            return FROM_ARGUMENT[step.fn](grad, saved.given[0], grad if self.row is not None else None)
        leaves = [x.data.requires_grad_(self.needed[s]) for x, s in zip(saved.given, step.operands, strict=True)]
        with torch.enable_grad():
            y = value(step.fn, *leaves)
        some = [(s, x) for s, x in zip(step.operands, leaves, strict=True) if x.requires_grad]
        grads = torch.autograd.grad(y, [x for _, x in some], grad, materialize_grads=True)
        mine = grad
        for (s, _), g in zip(some, grads, strict=True):
            if s < self.n:
                self.add(s, g.clone() if self.inside(g) else g)
            else:
                mine = g
        if not self.inside(mine):
            self.rows.give(self.row)
            self.row = None
        return mine

    def inside(self, x: Tensor) -> bool:
        """Whether it lies in a row: some gradients are the one that they are made of."""
        return self.row is not None and _overlaps(x, self.row)

    def add(self, s: int, grad: Tensor) -> None:
        self.found[s] = self.found[s] + grad if s in self.found else grad

"""The calls of one slice of a chain, on fixed buffers: made once, run again for every slice.

>>> one = SliceCalls(group, operands, keep=True)
>>> one.backward(grad, needed)  # the calls of backward too
>>> for call in one.calls: call()  # of every slice, once its pieces are in one.pieces

Views cost as much as a product of a few thousand entries.  Here all of them are made before the first slice, so a slice of
2^18 entries is a few calls into a library and stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from tnkit.core.activations import Activation
from tnkit.execution.slices import fronted
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep
from tnkit.planning.strides import View
from tnkit_nn.engine.activations import FROM_ARGUMENT, IN_PLACE, OVER, value
from tnkit_nn.engine.matmul import as_matrix, restored
from tnkit_nn.engine.shared_matmul import summed_outer

__all__ = ["SliceCalls", "piece_of"]

#: Entries of the products that are added to the same few, which then stay in the cache.
_AT_ONCE = 2**18


def piece_of(x: Tensor, axes: Sequence[int | None]) -> Tensor:
    """The first slice of an operand, as a view."""
    cut = sum(axis is not None for axis in axes)
    piece: Tensor = fronted(x, tuple(axes), torch.permute)[(0,) * cut]
    return piece


class _Pool:
    """Flat buffers, given out again once they are given back."""

    def __init__(self, like: Tensor) -> None:
        self.like, self.free = like, list[Tensor]()

    def take(self, entries: int, dtype: torch.dtype | None = None) -> Tensor:
        dtype = self.like.dtype if dtype is None else dtype
        fits = [k for k, x in enumerate(self.free) if x.numel() >= entries and x.dtype == dtype]
        if fits:
            return self.free.pop(min(fits, key=lambda k: self.free[k].numel()))
        return torch.empty(entries, dtype=dtype, device=self.like.device)

    def give(self, flat: Tensor) -> None:
        self.free.append(flat)


class SliceCalls:
    """One slice's calls, forward and, with ``keep``, backward.

    With ``keep``, every tensor on the way has a buffer of its own and the last product, which no gradient needs, is left out.

    Attributes
    ----------
    calls
        To run in their order, for every slice.
    pieces
        Slot of a cut operand -> where its piece is to be copied before.
    result
        Where the slice's result lies afterwards.
    found
        Slot of a cut operand -> where its gradient lies afterwards.
    sums
        Slot of a whole operand -> what gives the sum of its gradients over all slices so far.
    """

    def __init__(self, group: FusedStep, operands: Sequence[Tensor], keep: bool) -> None:
        self.steps, self.n, self.keep, self.operands = group.body.steps, len(operands), keep, operands
        self.pool = _Pool(operands[0])
        self.calls: list[Callable[[], Any]] = []
        self.pieces: dict[int, Tensor] = {}
        self.found: dict[int, Tensor] = {}
        self.sums: list[tuple[int, Callable[[], Tensor]]] = []
        self.slots: list[Any] = []
        for s, (x, axes) in enumerate(zip(operands, group.axes, strict=True)):
            if any(axis is not None for axis in axes):
                piece = piece_of(x, axes)
                self.pieces[s] = self.pool.take(piece.numel()).view(piece.shape)
            self.slots.append(self.pieces.get(s, x))
        #: What the gradient of each step wants; the flat buffer of the tensor that is in the chain now.
        self.tape: list[Any] = []
        self.flat: Tensor | None = None
        for step in self.steps:
            if keep and step is self.steps[-1] and isinstance(step, ContractStep):
                self.tape.append(self._pair(step))
                self.slots.append(None)
            elif isinstance(step, ContractStep):
                self._product(step)
            else:
                assert isinstance(step, ApplyStep)
                self._function(step)
        self.result: Tensor | None = self.slots[-1]

    def _used_once(self, s: int) -> bool:
        return sum(step.operands.count(s) for step in self.steps) == 1

    # -- forward ------------------------------------------------------------------------------------------------------
    def _pair(self, step: ContractStep) -> tuple[Tensor, Tensor]:
        a, b = (
            as_matrix(self.operands[s], view)
            if s < self.n and s not in self.pieces
            else self._matrix(self.slots[s], view)
            for s, view in zip(step.operands, step.views, strict=True)
        )
        return a, b

    def _matrix(self, x: Tensor, view: View) -> Tensor:
        """``x`` as the matrix that ``view`` makes of it: read in place, or copied in every slice."""
        made = as_matrix(x, view)
        if _shares(made, x):
            return made
        if view.beside != (1, 1):  # small: spread anew
            flat = self.pool.take(made.numel()).view(made.mT.shape if view.swap else made.shape)
            kept = flat.mT if view.swap else flat
            self.calls.append(lambda: kept.copy_(as_matrix(x, view)))
            return kept
        x = x if view.permute is None else x.permute(view.permute)
        laid = self._laid(x, view.reshape or tuple(x.shape))[0]
        return laid.mT if view.swap else laid

    def _laid(self, x: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """``x`` in this shape, and the buffer that it is copied to if that has to be."""
        try:
            return x.view(shape), None
        except RuntimeError:
            flat = self.pool.take(x.numel(), x.dtype)
            self.calls.append(partial(flat[: x.numel()].view(x.shape).copy_, x))
            return flat[: x.numel()].view(shape), flat

    def _moved(self, flat: Tensor | None) -> None:
        """The chain's tensor lies in another buffer now; without a tape the one before is free."""
        if not self.keep and self.flat is not None:
            self.pool.give(self.flat)
        self.flat = flat

    def _product(self, step: ContractStep) -> None:
        a, b = self._pair(step)
        flat = self.pool.take(step.size)
        if step.broadcast:
            out = flat[: step.size].view(b.shape[0], a.shape[0], b.shape[2])
            self.calls.append(partial(torch.bmm, a.expand(b.shape[0], *a.shape), b, out=out))
        else:
            out = flat[: step.size].view((*a.shape[:-1], *b.shape[max(b.ndim - 1, 1) :]))
            self.calls.append(partial(torch.mul if step.multiply else torch.matmul, a, b, out=out))
        self._moved(flat)
        self.tape.append((a, b))
        out = out if step.result.reshape is None else out.view(step.result.reshape)
        self.slots.append(out if step.result.permute is None else out.permute(step.result.permute))

    def _function(self, step: ApplyStep) -> None:
        """The function's result, written over its argument where that is ours and no gradient needs it."""
        given = [self.slots[s] for s in step.operands]
        first = step.operands[0]
        made = first >= self.n and isinstance(self.steps[first - self.n], ContractStep)
        ours = made or (first in self.pieces and self._used_once(first))
        over = IN_PLACE[step.fn][0] if step.fn in IN_PLACE else None if self.keep else OVER.get(step.fn)
        if ours and over is not None and len(given) == 1:
            self.calls.append(partial(over, given[0]))
            self.tape.append(given[0])
            self.slots.append(given[0])
            return
        known = step.fn in FROM_ARGUMENT or not self.keep
        flat = self.pool.take(given[0].numel(), given[0].dtype if isinstance(step.fn, str) else _dtype(step.fn, given))
        out = flat[: given[0].numel()].view(given[0].shape)
        if known:
            self.calls.append(lambda: out.copy_(value(step.fn, *given)))
            self.tape.append(tuple(given))
        else:
            self.tape.append(self._recorded(step, given, out))
        self._moved(flat)
        self.slots.append(out)

    def _recorded(self, step: ApplyStep, given: Sequence[Tensor], out: Tensor) -> list[Any]:
        """A function whose gradient is autograd's: a list of its arguments and its result, of the slice that is at work."""
        record: list[Any] = [None, None]

        def call() -> None:
            # data, not detach(): a count of versions of its own, for the buffers are written again and again
            record[0] = [x.data.requires_grad_(self.needed[s]) for x, s in zip(given, step.operands, strict=True)]
            with torch.enable_grad():
                record[1] = value(step.fn, *record[0])
            out.copy_(record[1].detach())

        self.calls.append(call)
        return record

    # -- backward -----------------------------------------------------------------------------------------------------
    needed: Sequence[bool] = ()

    def backward(self, grad: Tensor, needed: Sequence[bool]) -> Tensor:
        """Add the calls of backward; the buffer for a slice's gradient, shaped as the result's piece ``grad``."""
        self.needed = needed
        self.flat = self.pool.take(grad.numel(), grad.dtype)
        begun = now = self.flat[: grad.numel()].view(grad.shape)
        for k in reversed(range(len(self.steps))):
            step, saved = self.steps[k], self.tape[k]
            if not needed[step.target]:  # nor is anything before it: a group is a chain
                break
            if isinstance(step, ContractStep):
                found = self._product_back(step, now, saved)
            else:
                assert isinstance(step, ApplyStep)
                found = self._function_back(step, now, saved)
            if found is None:
                break
            now = found
        return begun

    def _product_back(self, step: ContractStep, grad: Tensor, saved: tuple[Tensor, Tensor]) -> Tensor | None:
        """Calls for the gradients of a product's operands; that of the one in the chain, if it is wanted."""
        a, b = saved
        b = b if b.ndim > 1 else b[:, None]
        if step.result.permute is not None:
            grad = grad.permute(sorted(range(grad.ndim), key=step.result.permute.__getitem__))
        shape = (b.shape[0], a.shape[0], b.shape[2]) if step.broadcast else (*a.shape[:-1], b.shape[-1])
        grad, copied = self._laid(grad, shape)
        if copied is not None:
            self._replaced(copied)
        chained = None
        outside = sorted(range(2), key=lambda o: step.operands[o] >= self.n)  # the chain's last: it takes over
        for o in outside:
            s = step.operands[o]
            if not self.needed[s]:
                continue
            if s < self.n and s not in self.pieces:
                self._summed(step, o, grad, a, b)
                continue
            flat = self.pool.take((a, b)[o].numel())
            slope = self._slope(step, o, grad, a, b, flat)
            mine = restored(slope, step.views[o], tuple(self.slots_shape(s)))
            if not _shares(mine, flat):
                flat, mine = self._restored_again(slope, step.views[o], s)
            if s < self.n:
                self._contributed(s, mine)
            else:
                chained = mine
                self._replaced(flat)
        return chained

    def slots_shape(self, s: int) -> Sequence[int]:
        """Shape of a slot in one slice."""
        return tuple(self.slots[s].shape)

    def _restored_again(self, slope: Tensor, view: View, s: int) -> tuple[Tensor, Tensor]:
        """A gradient that has to be added up or moved to be that of its tensor, in every slice."""
        shape = tuple(self.slots_shape(s))
        flat = self.pool.take(prod(shape), slope.dtype)
        mine = flat[: prod(shape)].view(shape)
        self.calls.append(lambda: mine.copy_(restored(slope, view, shape)))
        return flat, mine

    def _replaced(self, flat: Tensor) -> None:
        if self.flat is not None:
            self.pool.give(self.flat)
        self.flat = flat

    def _slope(self, step: ContractStep, o: int, grad: Tensor, a: Tensor, b: Tensor, flat: Tensor) -> Tensor:
        """The gradient of one matrix, written into the buffer in every slice."""
        if step.broadcast and o == 0:
            out = flat[: a.numel()].view(a.shape)
            self.calls.append(lambda: out.copy_(summed_outer(grad, b)))
            return out
        if step.broadcast:
            out = flat[: b.numel()].view(b.shape)
            self.calls.append(partial(torch.bmm, a.mH.expand(b.shape[0], *a.mH.shape), grad, out=out))
            return out
        left, right = (grad, b.mH) if o == 0 else (a.mH, grad)
        swap = step.views[o].swap
        left, right = (right.mT, left.mT) if swap else (left, right)
        shape = (*left.shape[:-1], right.shape[-1])
        out = flat[: prod(shape)].view(shape)
        self.calls.append(partial(torch.matmul, left, right, out=out))
        return out.mT if swap else out

    def _summed(self, step: ContractStep, o: int, grad: Tensor, a: Tensor, b: Tensor) -> None:
        """Calls that add the gradient of a whole operand's matrix to those of the slices before."""
        s, view, matrix = step.operands[o], step.views[o], (a, b)[o]
        shape = tuple(self.operands[s].shape)
        if matrix.itemsize < 4 or (step.broadcast and o == 1) or matrix.ndim > 2:
            # half precision is added up in single
            kind = torch.float32 if matrix.itemsize < 4 else matrix.dtype
            total = torch.zeros(matrix.shape, dtype=kind, device=matrix.device)
            slope = self._slope(step, o, grad, a, b, self.pool.take(matrix.numel()))
            self.calls.append(partial(total.add_, slope))
        elif step.broadcast:
            (f, n, g), k = grad.shape, b.shape[1]
            some = min(f, max(1, _AT_ONCE // (max(n, k) * max(g, n, k))))
            parts = torch.zeros(some, n, k, dtype=matrix.dtype, device=matrix.device)
            for left, right in zip(grad.split(some), b.split(some), strict=True):
                self.calls.append(partial(parts[: left.shape[0]].baddbmm_, left, right.mH))
            self.sums.append((s, lambda: restored(parts.sum(0), view, shape)))
            return
        else:
            left, right = (grad, b.mH) if o == 0 else (a.mH, grad)
            total = torch.zeros(left.shape[0], right.shape[1], dtype=matrix.dtype, device=matrix.device)
            self.calls.append(partial(total.addmm_, left, right))
        self.sums.append((s, lambda: restored(total.to(matrix.dtype), view, shape)))

    def _contributed(self, s: int, grad: Tensor) -> None:
        """Part of a cut operand's gradient."""
        if s in self.found:
            self.calls.append(partial(self.found[s].add_, grad))
        else:
            self.found[s] = grad

    def _function_back(self, step: ApplyStep, grad: Tensor, saved: Any) -> Tensor | None:
        """Calls for the gradients of a function's arguments: over the gradient that came, where one step makes it."""
        if isinstance(saved, Tensor):
            self.calls.append(partial(IN_PLACE[step.fn][1], grad, saved, grad))
            return self._handed(step.operands[0], grad)
        if isinstance(saved, tuple):
            self.calls.append(partial(FROM_ARGUMENT[step.fn], grad, saved[0], grad))
            return self._handed(step.operands[0], grad)
        chained = None
        wanted = [s for s in step.operands if self.needed[s]]
        slopes = [self.pool.take(prod(self.slots_shape(s)), self.slots[s].dtype) for s in wanted]
        shaped = [x[: prod(self.slots_shape(s))].view(self.slots_shape(s)) for x, s in zip(slopes, wanted, strict=True)]

        def call() -> None:
            leaves = [x for x in saved[0] if x.requires_grad]
            found = torch.autograd.grad(saved[1], leaves, grad, materialize_grads=True)
            for out, g in zip(shaped, found, strict=True):
                out.copy_(g)
            saved[:] = None, None

        self.calls.append(call)
        for s, flat, mine in zip(wanted, slopes, shaped, strict=True):
            if s >= self.n:
                chained = mine
                self._replaced(flat)
            else:
                self._handed(s, mine)
        return chained

    def _handed(self, s: int, grad: Tensor) -> Tensor | None:
        """The gradient of a function's argument, handed to where it belongs."""
        if s >= self.n:
            return grad
        if s in self.pieces:
            self._contributed(s, grad)
        else:
            kind = torch.float32 if grad.itemsize < 4 else grad.dtype
            total = torch.zeros(grad.shape, dtype=kind, device=grad.device)
            self.calls.append(partial(total.add_, grad))
            self.sums.append((s, lambda: total.to(grad.dtype)))
        return None


def _dtype(fn: Activation, given: Sequence[Tensor]) -> torch.dtype:
    """What a function that is not known makes of such arguments."""
    return value(fn, *(x.new_ones((1,) * x.ndim) for x in given)).dtype


def _shares(x: Tensor, y: Tensor) -> bool:
    """Whether both lie in the same memory."""
    return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

"""torch as an array library that runs plans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tnkit.lower import Group
from tnkit.ops import Ops, fronted, part
from tnkit.straight import execute
from tnkit_nn.spread import spread

__all__ = ["TORCH", "to_tensor"]


def _like(a: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(a, dtype=x.dtype, device=x.device)


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Unwritten memory; numpy asks for huge pages for large arrays, torch does not (a third of the page faults' time)."""
    if like.device.type == "cpu" and like.dtype in _HUGE:
        return torch.from_numpy(np.empty(shape, _HUGE[like.dtype]))
    return torch.empty(shape, dtype=like.dtype, device=like.device)


_HUGE = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}


class _Group(torch.autograd.Function):
    """A group's slices, one after another; backward keeps the operands alone and runs every slice again."""

    @staticmethod
    def forward(step: Group, *operands: Tensor) -> Tensor:
        if not step.counts:
            return execute(step.body, operands, TORCH)
        views = [fronted(x, axes, torch.permute) for x, axes in zip(operands, step.axes, strict=True)]
        result = out = None
        for at in product(*map(range, step.counts)):
            made = execute(step.body, [x[part(at, axes)] for x, axes in zip(views, step.axes, strict=True)], TORCH)
            if out is None:
                result = _empty(step.shape, made)
                out = fronted(result.zero_() if step.summed else result, step.out_axes, torch.permute)
            if step.summed:
                out[part(at, step.out_axes)] += made
            else:
                out[at] = made
        assert result is not None
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        step, operands, wanted = ctx.step, ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # a gradient of this gradient may be asked for
            result = execute(step.whole, operands, TORCH)
            found = iter(
                torch.autograd.grad(
                    result, [x for x, w in zip(operands, wanted, strict=True) if w], grad, create_graph=True
                )
            )
            return None, *(next(found) if w else None for w in wanted)
        if not step.counts:
            return None, *_gradients(step, operands, wanted, grad)
        views = [fronted(x, axes, torch.permute) for x, axes in zip(operands, step.axes, strict=True)]
        sliced = [None not in axes for axes in step.axes]  # every entry is in one slice: written, not added to
        grads = [_empty(tuple(x.shape), x) if s else torch.zeros_like(x) for x, s in zip(operands, sliced, strict=True)]
        slots = [fronted(g, axes, torch.permute) for g, axes in zip(grads, step.axes, strict=True)]
        grad = fronted(grad, step.out_axes, torch.permute)
        for at in product(*map(range, step.counts)):
            places = [part(at, axes) for axes in step.axes]
            pieces = [x[p] for x, p in zip(views, places, strict=True)]
            found = _gradients(step, pieces, wanted, grad[part(at, step.out_axes)])
            for slot, p, s, g in zip(slots, places, sliced, found, strict=True):
                if g is not None and s:
                    slot[p] = g
                elif g is not None:
                    slot[p] += g
        return None, *(g if w else None for g, w in zip(grads, wanted, strict=True))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        operands = ctx.saved_tensors
        given = tuple(torch.zeros_like(x) if t is None else t for x, t in zip(operands, tangents, strict=True))
        return torch.func.jvp(lambda *x: execute(ctx.step.whole, x, TORCH), tuple(operands), given)[1]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], step: Group, *operands: Tensor) -> tuple[Tensor, int]:
        whole = torch.vmap(lambda *x: execute(step.whole, x, TORCH), in_dims[1:], randomness=info.randomness)
        return whole(*operands), 0


def _gradients(step: Group, operands: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor) -> list[Tensor | None]:
    """Run the body again on these operands, and back."""
    leaves = [x.detach().requires_grad_(w) for x, w in zip(operands, wanted, strict=True)]
    with torch.enable_grad():
        made = execute(step.body, leaves, TORCH)
    found = iter(torch.autograd.grad(made, [x for x in leaves if x.requires_grad], grad))
    return [next(found) if w else None for w in wanted]


def _group(step: Group, operands: list[Tensor]) -> Tensor:
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(operands[0].device.type):
        return execute(step.whole, operands, TORCH)
    return _Group.apply(step, *operands)


#: For ``tnkit.run(plan, tensors, TORCH)`` and ``tnkit.contract(net, tensors, ops=TORCH)``.
TORCH = Ops(
    name="torch",
    xp=torch,
    permute=torch.permute,
    swap=lambda x: x.mT,
    like=_like,
    zeros=lambda shape, x: torch.zeros(shape, dtype=x.dtype, device=x.device),
    spread=spread,
    group=_group,
    own={"relu": torch.relu},
    array=Tensor,
    methods={"permute": "{x}.permute({axes})", "swap": "{x}.mT"},
    home="tnkit_nn.ops:TORCH",
)


def to_tensor(array: object, dtype: torch.dtype | None = None) -> Tensor:
    """A detached copy of a numpy array or tensor.

    ``dtype`` is the precision: a complex array stays complex.  By default a tensor keeps its dtype and a numpy array takes
    torch's default one.
    """
    tensor = array.detach() if isinstance(array, Tensor) else torch.as_tensor(np.asarray(array))
    if dtype is None:
        dtype = tensor.dtype if isinstance(array, Tensor) else torch.get_default_dtype()
    if tensor.is_complex() and not dtype.is_complex:
        dtype = dtype.to_complex()
    return tensor.to(dtype, copy=True)

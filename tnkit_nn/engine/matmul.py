"""Products of a plan and their gradients in torch, written into buffers that are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from tnkit.planning.steps import ContractStep
from tnkit.planning.strides import View
from tnkit_nn.engine.shared_matmul import summed_outer

__all__ = ["as_matrix", "multiplied", "restored", "slopes"]

Shape = tuple[int, ...]


# -- views of operands as matrices, and back --------------------------------------------------------------------------
def as_matrix(x: Tensor, view: View) -> Tensor:
    """The operand brought into place."""
    x = x if view.permute is None else x.permute(view.permute)
    x = x if view.reshape is None else x.reshape(view.reshape)
    if view.beside != (1, 1):
        p, q = view.beside
        wide = x.new_zeros(p, x.shape[0], q, p, x.shape[1], q)
        wide.diagonal(dim1=0, dim2=3).diagonal(dim1=1, dim2=3).copy_(x[:, :, None, None])
        x = wide.view(p * x.shape[0] * q, -1)
    return x.mT if view.swap else x


def restored(x: Tensor, view: View, shape: Shape) -> Tensor:
    """The gradient of a tensor from that of its matrix."""
    x = x.mT if view.swap else x
    if view.beside != (1, 1):
        p, q = view.beside
        wide = x.reshape(p, x.shape[0] // (p * q), q, p, x.shape[1] // (p * q), q)
        x = wide.diagonal(dim1=0, dim2=3).diagonal(dim1=1, dim2=3).sum((2, 3))
    if view.permute is None:
        return x.reshape(shape)
    back = sorted(range(len(shape)), key=view.permute.__getitem__)
    return x.reshape([shape[k] for k in view.permute]).permute(back)


def multiplied(step: ContractStep, a: Tensor, b: Tensor, buffer: Tensor) -> Tensor:
    """The step's product, written into the buffer."""
    shape = (b.shape[0], a.shape[0], b.shape[2]) if step.broadcast else (*a.shape[:-1], *b.shape[max(b.ndim - 1, 1) :])
    out = buffer[: prod(shape)].view(shape)
    if step.broadcast:
        torch.bmm(a.expand(b.shape[0], *a.shape), b, out=out)
    elif step.multiply:
        torch.mul(a, b, out=out)
    else:
        torch.matmul(a, b, out=out)
    out = out if step.result.reshape is None else out.reshape(step.result.reshape)
    return out if step.result.permute is None else out.permute(step.result.permute)


def _product_into(a: Tensor, b: Tensor, swap: bool, buffer: Tensor | None) -> Tensor:
    """``a @ b``, laid out so that its transpose is contiguous if ``swap``, in the buffer if there is one."""
    if swap:
        return _product_into(b.mT, a.mT, False, buffer).mT
    if buffer is None:
        return torch.matmul(a, b)
    shape = (*a.shape[:-1], b.shape[-1])
    return torch.matmul(a, b, out=buffer[: prod(shape)].view(shape))


def slopes(
    step: ContractStep, grad: Tensor, a: Tensor, b: Tensor, wanted: Sequence[bool], buffers: Sequence[Tensor | None]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the two matrices of a product."""
    first = second = None
    if step.broadcast:
        if wanted[0]:
            first = summed_outer(grad, b)
        if wanted[1]:
            into = torch.empty_like(b) if buffers[1] is None else buffers[1][: b.numel()].view(b.shape)
            second = torch.bmm(a.mH.expand(b.shape[0], *a.mH.shape), grad, out=into)
        return first, second
    if wanted[0]:
        first = _product_into(grad, b.mH, step.views[0].swap, buffers[0])
    if wanted[1]:
        second = _product_into(a.mH, grad, step.views[1].swap, buffers[1])
    return first, second

"""One matrix times every matrix of a batch, with the matrix's gradient summed product by product.

torch's own gradient makes one product a matrix of the batch, as large as the whole batch, and then sums them; adding each
to one result in the processor's cache takes half to three quarters of that time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["spread"]

#: Multiply-adds of one product from which a call a product costs less than the memory that it spares.
_WORTH_A_CALL = 2**17
#: Multiply-adds of all products from which the gradient gains more than a Python function of autograd costs.
_WORTH_A_FUNCTION = 2**25


def spread(a: Tensor, b: Tensor) -> Tensor:
    """``(n, k)`` times each of ``(f, k, g)``."""
    if torch.compiler.is_compiling():  # expand would fix the size of a dynamic batch
        return torch.matmul(a, b)
    if torch.is_grad_enabled() and a.requires_grad and _worth_it(a, b):
        product: Tensor = _Spread.apply(a, b)
        return product
    return _plain(a, b)


def _worth_it(a: Tensor, b: Tensor) -> bool:
    (n, k), (f, _, g) = a.shape, b.shape
    return (
        n * k * g >= _WORTH_A_CALL
        and f * n * k * g >= _WORTH_A_FUNCTION
        and a.device.type == "cpu"
        and a.dtype == b.dtype
        and a.dtype in (torch.float32, torch.float64)  # half precision is better summed at once
        and not torch.is_autocast_enabled("cpu")
    )


def _plain(a: Tensor, b: Tensor) -> Tensor:
    # matmul would fold the batch into the columns, by a copy, as soon as a needs a gradient
    return torch.bmm(a.expand(b.shape[0], *a.shape), b)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _plain(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        to_a = to_b = None
        if ctx.needs_input_grad[1]:
            to_b = _plain(a.mT.contiguous(), grad)
        if ctx.needs_input_grad[0] and torch.is_grad_enabled():  # a gradient of this gradient may be asked for
            to_a = torch.bmm(grad, b.mT).sum(0)
        elif ctx.needs_input_grad[0]:
            total = b[:1].sum(0) @ grad[:1].sum(0).mT  # zeros of an empty batch
            for left, right in zip(b[1:].unbind(), grad[1:].unbind(), strict=True):
                total.addmm_(left, right.mT)
            to_a = total.mT
        return to_a, to_b

    @staticmethod
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None) -> Tensor | None:
        a, b = ctx.saved_tensors
        parts = ([] if da is None else [_plain(da, b)]) + ([] if db is None else [_plain(a, db)])
        return sum(parts[1:], parts[0]) if parts else None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], a: Tensor, b: Tensor) -> tuple[Tensor, int]:
        return torch.vmap(_plain, in_dims, randomness=info.randomness)(a, b), 0

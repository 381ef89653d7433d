"""One matrix times every matrix of a batch, with the matrix's gradient summed product by product.

torch's own gradient makes one product a matrix of the batch, as large as the whole batch, and then sums them; adding the
products of a few hundred matrices at a time to the same few in the processor's cache takes half to three quarters of that time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["broadcast_matmul", "summed_outer"]

#: Entries of a batch whose products are added to those of the batch before: a call costs less than what it reads.
_AT_ONCE = 2**18
#: Multiply-adds of all products from which the gradient gains more than a Python function of autograd costs.
_WORTH_A_FUNCTION = 2**25


def broadcast_matmul(a: Tensor, b: Tensor) -> Tensor:
    """``(n, k)`` times each of ``(f, k, g)``."""
    if torch.compiler.is_compiling():  # expand would fix the size of a dynamic batch
        return torch.matmul(a, b)
    if torch.is_grad_enabled() and a.requires_grad and _worth_it(a, b):
        product: Tensor = _BroadcastMatmul.apply(a, b)
        return product
    return _batched(a, b)


def _worth_it(a: Tensor, b: Tensor) -> bool:
    (n, k), (f, _, g) = a.shape, b.shape
    return (
        f * n * k * g >= _WORTH_A_FUNCTION
        and a.device.type == "cpu"
        and a.dtype == b.dtype
        and a.dtype in (torch.float32, torch.float64)  # half precision is better summed at once
        and not torch.is_autocast_enabled("cpu")
    )


def summed_outer(left: Tensor, right: Tensor) -> Tensor:
    """``sum_f left[f] @ right[f].mH``, a batch of the products at a time."""
    (f, n, g), k = left.shape, right.shape[1]
    some = max(1, _AT_ONCE // (max(n, k) * max(g, n, k)))
    if f <= some or f * n * k <= _AT_ONCE or left.itemsize < 4:  # half precision is better summed at once
        return torch.bmm(left, right.mH).sum(0)
    total = torch.bmm(left[:some], right[:some].mH)
    for a, b in zip(left[some:].split(some), right[some:].split(some), strict=True):
        total[: a.shape[0]].baddbmm_(a, b.mH)
    return total.sum(0)


def _batched(a: Tensor, b: Tensor) -> Tensor:
    # matmul would fold the batch into the columns, by a copy, as soon as a needs a gradient
    return torch.bmm(a.expand(b.shape[0], *a.shape), b)


class _BroadcastMatmul(torch.autograd.Function):
    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _batched(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        to_a = to_b = None
        if ctx.needs_input_grad[1]:
            to_b = _batched(a.mT.contiguous(), grad)
        if ctx.needs_input_grad[0] and torch.is_grad_enabled():  # a gradient of this gradient may be asked for
            to_a = torch.bmm(grad, b.mT).sum(0)
        elif ctx.needs_input_grad[0]:
            to_a = summed_outer(grad, b)
        return to_a, to_b

    @staticmethod
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None) -> Tensor | None:
        a, b = ctx.saved_tensors
        parts = ([] if da is None else [_batched(da, b)]) + ([] if db is None else [_batched(a, db)])
        return sum(parts[1:], parts[0]) if parts else None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], a: Tensor, b: Tensor) -> tuple[Tensor, int]:
        return torch.vmap(_batched, in_dims)(a, b), 0

"""Left singular vectors whose gradients stay finite where singular values coincide or vanish."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["left"]


class _Left(torch.autograd.Function):
    """``u`` and ``s`` of the thin ``m = u s vh``.

    Backward (Giles 2008, section 3; complex: Wan and Zhang 2019) divides by differences of squared singular values and by
    the values themselves.  Where one is zero to rounding, its reciprocal is taken as zero: what depends on the choice of a
    basis among equal singular values gets no gradient, and a loss that does not depend on it gets the right one.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor) -> tuple[Tensor, Tensor]:
        u, s, _ = torch.linalg.svd(m, full_matrices=False)
        return u, s

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad_u: Tensor | None, grad_s: Tensor | None) -> Tensor:
        m, u, s = ctx.saved_tensors
        zero = torch.finfo(s.dtype).eps * max(m.shape)
        squares, inverse = s * s, _reciprocal(s, zero * s[..., :1])
        vh = u.mH @ m * inverse[..., None]
        inner = torch.zeros_like(u[..., : s.shape[-1], :])
        if grad_s is not None:
            inner = inner + torch.diag_embed(grad_s).to(u.dtype)
        if grad_u is None:
            return u @ inner @ vh
        apart = squares[..., None, :] - squares[..., :, None]
        j = _reciprocal(apart, zero * squares[..., :1, None]) * (u.mH @ grad_u)
        inner = inner + (j + j.mH) * s[..., None, :]
        outside = (grad_u - u @ (u.mH @ grad_u)) * inverse[..., None, :]
        return (u @ inner + outside) @ vh


def _reciprocal(x: Tensor, least: Tensor) -> Tensor:
    zero = x.abs() <= least
    return torch.where(zero, 0, 1 / torch.where(zero, 1, x))


def left(m: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors and singular values of a matrix.

    Parameters
    ----------
    m
        Of shape (rows, columns), real or complex.

    Returns
    -------
    Tensor, Tensor
        ``u`` (rows, k) and ``s`` (k), k = min(rows, columns), falling.  Differentiable, twice too; gradients are finite at
        equal and at zero singular values, and those of a loss that does not depend on the phase or basis of ``u`` are right.
    """
    found: tuple[Tensor, Tensor] = _Left.apply(m)
    return found

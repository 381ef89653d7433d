"""Kernels for runs of windows on one tile of a state at a time, in Triton: what lies between two windows stays in registers.

A state ``(F, R, G)`` is cut into tiles of ``(R, C)`` entries; every window of the run multiplies some neighbouring digits of
R.  At most three windows a run, each a matrix of ``K x K`` on the middle axis of a tile seen as ``(A, K, B)``; a function
before each of them and one after the last.  Imported only where a CUDA device is used (or Triton's interpreter).
"""

# ruff: noqa: SIM108

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["backward", "forward", "shared_memory"]

#: Programs of a backward pass at most, a power of two as the number of tiles is: each adds up its own gradients of the
#: windows, summed in the end (no atomics: the same bits in every run).
_PROGRAMS = 1024


@triton.jit
def _tanh(x):
    u = tl.abs(x)
    t = 1 - 2 / (tl.exp(2 * u) + 1)
    q = u * u
    near = u * (1 + q * (-0.33333333333 + q * (0.13333333333 + q * (-0.05396825397 + q * 0.02186948854))))
    t = tl.where(u < 0.1, near, t)
    return tl.where(x < 0, -t, t)


@triton.jit
def _fn(x, FN: tl.constexpr):
    # in the order of tnkit_nn.engine.cuda._NAMES
    if FN == 1:
        x = tl.where(x < 0, 0.0, x)
    elif FN == 2:
        x = _tanh(x)
    elif FN == 3:
        x = tl.sin(x)
    return x


@triton.jit
def _slope(g, x, FN: tl.constexpr):
    """The gradient of ``_fn`` at ``x``."""
    if FN == 1:
        g = tl.where(x > 0, g, 0.0)
    elif FN == 2:
        t = _tanh(x)
        g = g * (1 - t * t)
    elif FN == 3:
        g = g * tl.cos(x)
    return g


@triton.jit
def _rows(x, A: tl.constexpr, K: tl.constexpr, B: tl.constexpr):
    """A tile ``(A, K, B)`` as ``(K, A * B)``."""
    if A == 1:
        x = tl.reshape(x, (K, B))
    else:
        x = tl.reshape(tl.permute(tl.reshape(x, (A, K, B)), (1, 0, 2)), (K, A * B))
    return x


@triton.jit
def _tile(x, A: tl.constexpr, K: tl.constexpr, B: tl.constexpr):
    """The way back."""
    if A == 1:
        x = tl.reshape(x, (K * B,))
    else:
        x = tl.reshape(tl.permute(tl.reshape(x, (K, A, B)), (1, 0, 2)), (A * K * B,))
    return x


@triton.jit
def _matrix(W, at: tl.constexpr, K: tl.constexpr):
    k = tl.arange(0, K)
    return tl.load(W + at + k[:, None] * K + k[None, :])


@triton.jit
def _times(w, x, T: tl.constexpr, K: tl.constexpr, B: tl.constexpr, PREC: tl.constexpr):
    """A matrix times the window's digits of a tile of T entries."""
    A: tl.constexpr = T // (K * B)
    return _tile(tl.dot(w, _rows(x, A, K, B), input_precision=PREC), A, K, B)


@triton.jit
def _gram(g, x, T: tl.constexpr, K: tl.constexpr, B: tl.constexpr, PREC: tl.constexpr):
    """A tile's part of a matrix's gradient."""
    A: tl.constexpr = T // (K * B)
    return tl.dot(_rows(g, A, K, B), tl.trans(_rows(x, A, K, B)), input_precision=PREC)


@triton.jit
def _forward(
    X, W, Y, G,
    R: tl.constexpr, C: tl.constexpr,
    K0: tl.constexpr, B0: tl.constexpr, F0: tl.constexpr,
    K1: tl.constexpr, B1: tl.constexpr, F1: tl.constexpr,
    K2: tl.constexpr, B2: tl.constexpr, F2: tl.constexpr,
    FL: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    T: tl.constexpr = R * C
    i = tl.arange(0, T)
    tile = tl.program_id(0)
    columns = G // C
    base = (tile // columns).to(tl.int64) * R * G + (tile % columns) * C
    place = base + (i // C) * G + i % C
    x = _times(_matrix(W, 0, K0), _fn(tl.load(X + place), F0), T, K0, B0, PREC)
    if K1 > 0:
        x = _times(_matrix(W, K0 * K0, K1), _fn(x, F1), T, K1, B1, PREC)
    if K2 > 0:
        x = _times(_matrix(W, K0 * K0 + K1 * K1, K2), _fn(x, F2), T, K2, B2, PREC)
    tl.store(Y + place, _fn(x, FL))


@triton.jit
def _backward(
    X, W, DY, DX, DW, G,
    R: tl.constexpr, C: tl.constexpr,
    K0: tl.constexpr, B0: tl.constexpr, F0: tl.constexpr,
    K1: tl.constexpr, B1: tl.constexpr, F1: tl.constexpr,
    K2: tl.constexpr, B2: tl.constexpr, F2: tl.constexpr,
    FL: tl.constexpr, PREC: tl.constexpr, DX_TOO: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    T: tl.constexpr = R * C
    i = tl.arange(0, T)
    columns = G // C
    w0 = _matrix(W, 0, K0)
    d0 = tl.zeros((K0, K0), tl.float32)
    if K1 > 0:
        w1 = _matrix(W, K0 * K0, K1)
        d1 = tl.zeros((K1, K1), tl.float32)
    if K2 > 0:
        w2 = _matrix(W, K0 * K0 + K1 * K1, K2)
        d2 = tl.zeros((K2, K2), tl.float32)
    for turn in range(EACH):
        tile = tl.program_id(0) * EACH + turn
        base = (tile // columns).to(tl.int64) * R * G + (tile % columns) * C
        place = base + (i // C) * G + i % C
        x = tl.load(X + place)
        g = tl.load(DY + place)
        h0 = _fn(x, F0)
        if K1 > 0:
            z0 = _times(w0, h0, T, K0, B0, PREC)
            h1 = _fn(z0, F1)
            if K2 > 0:
                z1 = _times(w1, h1, T, K1, B1, PREC)
                h2 = _fn(z1, F2)
                if FL > 0:
                    g = _slope(g, _times(w2, h2, T, K2, B2, PREC), FL)
                d2 += _gram(g, h2, T, K2, B2, PREC)
                g = _slope(_times(tl.trans(w2), g, T, K2, B2, PREC), z1, F2)
            elif FL > 0:
                g = _slope(g, _times(w1, h1, T, K1, B1, PREC), FL)
            d1 += _gram(g, h1, T, K1, B1, PREC)
            g = _slope(_times(tl.trans(w1), g, T, K1, B1, PREC), z0, F1)
        elif FL > 0:
            g = _slope(g, _times(w0, h0, T, K0, B0, PREC), FL)
        d0 += _gram(g, h0, T, K0, B0, PREC)
        if DX_TOO:
            tl.store(DX + place, _slope(_times(tl.trans(w0), g, T, K0, B0, PREC), x, F0))
    out = DW + tl.program_id(0) * (K0 * K0 + K1 * K1 + K2 * K2)
    k0 = tl.arange(0, K0)
    tl.store(out + k0[:, None] * K0 + k0[None, :], d0)
    if K1 > 0:
        k1 = tl.arange(0, K1)
        tl.store(out + K0 * K0 + k1[:, None] * K1 + k1[None, :], d1)
    if K2 > 0:
        k2 = tl.arange(0, K2)
        tl.store(out + K0 * K0 + K1 * K1 + k2[:, None] * K2 + k2[None, :], d2)


def forward(x: Tensor, matrices: Tensor, geometry: tuple[int, ...], sizes: dict[str, Any]) -> Tensor:
    """The run on a contiguous state; ``matrices`` holds the windows' entries, one after another."""
    group, tiles, warps = geometry
    y = torch.empty_like(x)
    _forward[(tiles,)](x, matrices, y, group, **sizes, num_warps=warps, num_stages=1)
    return y


def backward(
    x: Tensor, matrices: Tensor, grad: Tensor, geometry: tuple[int, ...], sizes: dict[str, Any], wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """The gradients of the state, if it is wanted, and of the windows' entries; the run is done again."""
    group, tiles, warps = geometry
    programs = min(tiles, _PROGRAMS)
    parts = torch.empty((programs, matrices.numel()), dtype=x.dtype, device=x.device)
    dx = torch.empty_like(x) if wanted else None
    _backward[(programs,)](
        x, matrices, grad, x if dx is None else dx, parts, group,
        **sizes, DX_TOO=wanted, EACH=tiles // programs, num_warps=warps, num_stages=1,
    )  # fmt: skip
    return dx, parts.sum(0)


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a block can have on a device."""
    index = torch.cuda.current_device() if device.index is None else device.index
    found: int = triton.runtime.driver.active.utils.get_device_properties(index)["max_shared_mem"]
    return found

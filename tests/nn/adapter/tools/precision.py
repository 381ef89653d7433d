"""Dtypes: autocast and conversions, with no more error than the dense layer has."""

from __future__ import annotations

import copy

import torch

from .kinds import Kind, gradients, oracle, pair, same


def _error(got: torch.Tensor, want: torch.Tensor) -> float:
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm())


def autocast(kind: Kind) -> None:
    """Outputs and gradients in bfloat16: dtypes as the dense twin's, errors not above three times its own."""
    module, dense, inputs = pair(kind)
    exact, slopes = dense(*inputs), oracle(kind, module, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got, want = module(*inputs), dense(*inputs)
        found, usual = gradients(module, inputs), oracle(kind, module, inputs)
    assert got.dtype == want.dtype
    assert _error(got, exact) <= 3 * _error(want, exact) + 1e-6
    for name, g in found.items():
        assert g.dtype == slopes[name].dtype, name
        if slopes[name].norm() > 1e-3:
            assert _error(g, slopes[name]) <= 3 * _error(usual[name], slopes[name]) + 1e-2, name


def converted(kind: Kind) -> None:
    """To float64, to half, to bfloat16, and back: what is computed is of that dtype, and as near as the dense twin's."""
    module, dense, inputs = pair(kind)
    exact = dense(*inputs)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        other, twin = copy.deepcopy(module).to(dtype), copy.deepcopy(dense).to(dtype)
        given = tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)
        got, want = other(*given), twin(*given)
        assert got.dtype == want.dtype == dtype == kind.weight(other).dtype
        assert all(p.dtype == dtype for p in other.parameters())
        eps = torch.finfo(dtype).eps if dtype != torch.float64 else 1e-6
        assert _error(got, exact) <= 3 * _error(want, exact) + 8 * eps, dtype
        loss = got.square().sum()
        loss.backward()
        assert all(p.grad.dtype == dtype for p in other.parameters() if p.grad is not None)
    back = copy.deepcopy(module).double().float()
    same(back(*inputs), exact)

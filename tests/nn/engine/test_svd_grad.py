"""Gradients of left singular vectors: torch's own where singular values are apart, numerical ones, finite where they coincide."""

import pytest
import torch

from tnkit_nn.engine.svd_grad import left

SHAPES = {"tall": (5, 3), "wide": (3, 5), "square": (4, 4), "a batch": (2, 4, 3)}


def drawn(shape, dtype):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()


def projected(u, s):
    """What does not depend on the phases of the vectors: a weighted sum of projectors."""
    weights = torch.linspace(0.5, 2.0, s.shape[-1], dtype=s.dtype) * s
    made = (u * weights[..., None, :].to(u.dtype)) @ u.mH
    probe = torch.randn(made.shape[-2:], dtype=made.dtype, generator=torch.Generator().manual_seed(1))
    return (made * probe).sum().abs()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_are_those_of_torch_and_numerical_ones(shape, dtype):
    m = drawn(shape, dtype)
    u, s, _ = torch.linalg.svd(m, full_matrices=False)
    (want,) = torch.autograd.grad(projected(u, s), m)
    (found,) = torch.autograd.grad(projected(*left(m)), m)
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(lambda x: projected(*left(x)), (m,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_are_finite_where_singular_values_coincide_or_vanish(dtype):
    for m in (torch.eye(4, dtype=dtype), torch.zeros(4, 3, dtype=dtype), torch.ones(3, 4, dtype=dtype)):
        x = m.clone().requires_grad_()
        u, s = left(x)
        (found,) = torch.autograd.grad((u.abs().square().sum() + s.sum()), x)
        assert found.isfinite().all()

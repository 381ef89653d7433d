"""One matrix times a batch: its gradients against those of einsum."""

import pytest
import torch

import tnkit_nn.engine.shared_matmul as module
from tnkit_nn.engine.shared_matmul import broadcast_matmul

F64 = torch.float64


@pytest.fixture(params=[True, False], ids=["own gradient", "torch's"])
def worth(request, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_A_FUNCTION", 0 if request.param else 10**9)
    monkeypatch.setattr(module, "_AT_ONCE", 32)  # the batches of these tests in parts


def plain(a, b):
    return torch.einsum("nk,fkg->fng", a, b)


def pair(seed=0, shape=(3, 4), batch=(5, 4, 2), dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*s, dtype=dtype, generator=generator).requires_grad_() for s in (shape, batch)]


def test_gradients(worth):
    a, b = pair()
    torch.testing.assert_close(broadcast_matmul(a, b), plain(a, b))
    for x in ((a,), (b,), (a, b)):
        got = torch.autograd.grad(broadcast_matmul(a, b).sin().sum(), x)
        torch.testing.assert_close(got, torch.autograd.grad(plain(a, b).sin().sum(), x))
    a.requires_grad_(False)
    torch.testing.assert_close(*(torch.autograd.grad(f(a, b).sin().sum(), b) for f in (broadcast_matmul, plain)))
    assert broadcast_matmul(a, b[:0]).shape == (0, 3, 2)


def test_the_gradient_of_no_matrices_is_zero(worth):
    a, b = pair(batch=(0, 4, 2))
    assert not torch.autograd.grad(broadcast_matmul(a, b).sum(), a)[0].any()


def test_gradcheck(worth):
    assert torch.autograd.gradcheck(broadcast_matmul, pair(), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(broadcast_matmul, pair())


def test_transforms(worth):
    a, b = (x.detach() for x in pair())
    many = torch.stack([b, 2 * b, b.cos()])
    loss = lambda f: lambda a, b: f(a, b).sin().sum()  # noqa: E731
    for dims, x in (
        ((None, 0), (a, many)),
        ((0, None), (torch.stack([a, -a]), b)),
        ((0, 0), (torch.stack([a] * 3), many)),
    ):
        torch.testing.assert_close(torch.vmap(broadcast_matmul, dims)(*x), torch.vmap(plain, dims)(*x))
        both = [torch.vmap(torch.func.grad(loss(f), (0, 1)), dims)(*x) for f in (broadcast_matmul, plain)]
        torch.testing.assert_close(*both)
    leaf = a.clone().requires_grad_()
    torch.testing.assert_close(
        torch.vmap(broadcast_matmul, (None, 0))(leaf, many), torch.vmap(plain, (None, 0))(leaf, many)
    )
    torch.testing.assert_close(*(torch.func.hessian(loss(f))(a, b) for f in (broadcast_matmul, plain)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64])
def test_other_dtypes(worth, dtype):
    a, b = pair(dtype=dtype)
    got, want = (torch.autograd.grad(f(a, b).abs().sum(), (a, b)) for f in (broadcast_matmul, plain))
    torch.testing.assert_close(
        got, want, rtol=0.1 if dtype == torch.bfloat16 else 1e-5, atol=1e-1 if dtype == torch.bfloat16 else 1e-5
    )


@pytest.mark.slow
def test_autocast_and_compile(worth):
    a, b = pair(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = broadcast_matmul(a, b)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert a.grad.shape == a.shape
    torch.testing.assert_close(torch.compile(broadcast_matmul, fullgraph=True, backend="aot_eager")(a, b), plain(a, b))

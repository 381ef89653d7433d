from itertools import zip_longest
from math import prod

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.core.shapes import cut_off, factorize, site_dims, split_axes
from tnkit_nn import TORCH


@pytest.mark.parametrize("seed", range(100))
def test_round_trip(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 7, 10, 12, 30, 31, 101], size=rng.integers(1, 4)))
    dim = [None, 2, 3, 4][seed % 4]
    dims = [d for n in shape for d in site_dims(n, dim)]
    w = rng.standard_normal(shape)
    t = tk.tensorize(w, dims)
    assert t.shape == tuple(dims)
    assert np.array_equal(tk.detensorize(t, shape), w)
    assert np.sum(t**2) == pytest.approx(np.sum(w**2))  # padding is zero
    tt = tk.tensorize(torch.as_tensor(w), dims)
    assert np.array_equal(tk.detensorize(tt, shape).numpy(), w)


def test_padding_gets_no_gradient():
    t = torch.ones(2, 2, 2, requires_grad=True)
    tk.detensorize(t, (5,)).sum().backward()
    assert t.grad.sum() == 5


@pytest.mark.parametrize("n", [1, 2, 12, 97, 784, 1009, 4096])
def test_factors(n):
    assert prod(factorize(n)) == n
    padded = factorize(n, largest=5)
    assert n <= prod(padded) < 1.1 * n + 3 and max(padded, default=1) <= 5
    assert split_axes(padded, (n,)) == [padded]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: factorize(0), "cannot factorize 0"),
        (lambda: site_dims(8, 1), "at least 2, not 1"),
        (lambda: tk.detensorize(np.zeros((2, 2)), (5,)), r"shape \(2, 2\) does not fill a weight of shape \(5,\)"),
        (lambda: tk.detensorize(np.zeros((2, 2, 2, 2)), (5,)), r"too large for a weight of shape \(5,\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_gradients_dtype_and_vmap_go_through_both_ways():
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    dims = (2, 3, 2, 2, 2)
    weights = torch.arange(48, dtype=torch.float64).reshape(dims)
    for backend in (None, TORCH):
        t = tk.tensorize(w, dims, backend)
        assert t.dtype == w.dtype
        (grad,) = torch.autograd.grad((t * weights).sum(), w)
        assert torch.equal(grad, weights.reshape(6, 8)[:5, :7])
    many = torch.stack([w, 2 * w]).detach()
    both = torch.func.vmap(lambda x: tk.detensorize(tk.tensorize(x, dims), (5, 7)))(many)
    assert torch.equal(both, many)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: factorize(6, largest=1), "no prime factor is at most 1"),
        (lambda: site_dims(0, 2), "an axis has size 0"),
        (lambda: tk.tensorize(np.ones((5, 5)), (2, 2, 2)), "does not fill a weight of shape"),
        (lambda: tk.tensorize(np.ones((5, 5)), (5, 5, 5)), "too large for a weight of shape"),
    ],
)
def test_more_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("seed", range(30))
def test_what_is_cut_off(seed):
    """The entries that reading as a weight and back sets to zero, counted."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 30, rng.integers(1, 4)))
    dims = [d for n in shape for d in site_dims(n, int(rng.integers(2, 6)))]
    back = tk.tensorize(tk.detensorize(np.ones(dims), shape), dims)
    unused, says = cut_off(dims, shape)
    assert unused == pytest.approx(1 - back.mean()) and bool(says) == bool(unused > 0)
    assert all(prod(group) < 2 * n or n == 1 for group, n in zip(split_axes(dims, shape), shape, strict=True))


def test_what_is_cut_off_is_said():
    assert cut_off((8, 8, 8, 8), (64, 64)) == (0.0, "")
    says = "a tensor of 64 x 64 is cut to a weight of 63 x 64, which leaves 1.6 % of its entries unused"
    assert cut_off((8, 8, 8, 8), (63, 64)) == (1 / 64, says)
    with pytest.raises(ValueError, match="does not fill a weight"):
        cut_off((8, 8), (65,))


@pytest.mark.parametrize("seed", range(60))
def test_sites_that_merge_digits_of_several_axes_round_trip(seed):
    """Against each entry's own digits, one after another; padded shapes too."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 6, 7, 8, 12], size=rng.integers(1, 4)))
    digits = [site_dims(n, [None, 2, 3][seed % 3]) for n in shape]
    sites = tuple(zip_longest(*digits, fillvalue=1)) or ((1,) * len(shape),)
    w = rng.standard_normal(shape)
    t = tk.tensorize(w, sites)
    assert t.shape == tuple(map(prod, sites))
    assert np.array_equal(tk.detensorize(t, shape, dims=sites), w)
    for place in list(np.ndindex(shape))[:: max(1, w.size // 20)]:
        each = [np.unravel_index(i, [s[axis] for s in sites]) for axis, i in enumerate(place)]
        at = tuple(int(np.ravel_multi_index([d[k] for d in each], site)) for k, site in enumerate(sites))
        assert t[at] == w[place]
    assert np.sum(t**2) == pytest.approx(np.sum(w**2))  # padding is zero
    again = tk.tensorize(torch.as_tensor(w), sites)
    assert np.array_equal(tk.detensorize(again, shape, dims=sites).numpy(), w)


def test_quad_sites_of_an_image():
    image = np.arange(64.0).reshape(8, 8)
    t = tk.tensorize(image, ((2, 2),) * 3)
    assert t.shape == (4, 4, 4)
    np.testing.assert_array_equal(t[3].ravel()[:4], [36, 37, 44, 45])  # the lower right quarter, its first 2 x 2
    apart = tk.tensorize(image, ((2, 1), (1, 2)) * 3)  # the digits in turn, not merged
    np.testing.assert_array_equal(apart.reshape(4, 4, 4), t)
    assert np.linalg.matrix_rank(tk.tensorize(np.ones((8, 8)), ((2, 2),) * 3).reshape(4, 16)) == 1


@pytest.mark.parametrize(
    "call, said",
    [
        (
            lambda w: tk.tensorize(w, ((2, 2), (2,))),
            "a site has one digit of each of the 2 axes .*; site 1 is \\(2,\\)",
        ),
        (
            lambda w: tk.tensorize(w, ((2, 2), (2, 1))),
            "tensorize: the digits of axis 1 are \\(2, 1\\), 2 in all, for a size of 4",
        ),
        (lambda w: tk.tensorize(w, ((2, 2), (2**40, 2**40))), "more than any array has"),
        (
            lambda w: tk.detensorize(w, (4, 4), dims=((2, 2), (3, 2))),
            "shape \\(4, 4\\), the sites of dims have \\(4, 6\\)",
        ),
        (
            lambda w: tk.detensorize(w, (4, 4), dims=(2, 2, 4)),
            "the tensor has shape \\(4, 4\\), not that of dims \\(2, 2, 4\\)",
        ),
    ],
)
def test_sites_that_cannot_be(call, said):
    with pytest.raises(ValueError, match=said):
        call(np.ones((4, 4)))

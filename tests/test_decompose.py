from itertools import pairwise

import numpy as np
import pytest

import tnkit as tk


@pytest.mark.parametrize("seed", range(200))
def test_exact_at_full_rank(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4, 5, 7], size=rng.integers(1, 6)))
    x = rng.standard_normal(shape)
    if seed % 2:
        x = x + 1j * rng.standard_normal(shape)
    net, arrays = tk.tt_svd(x)
    assert np.linalg.norm(tk.contract(net, arrays) - x) <= 1e-10 * np.linalg.norm(x)
    assert {n: a.shape for n, a in arrays.items()} == net.array_shapes


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 100])
def test_network_is_the_builders(rank):
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2))
    net, _ = tk.tt_svd(x, rank=rank)
    assert net == tk.tt(x.shape, rank=rank)


def test_error_falls_with_rank_and_is_below_the_discarded_tails():
    x = np.random.default_rng(1).standard_normal((4, 5, 6, 4))
    errors = []
    for rank in range(1, 21):
        net, arrays = tk.tt_svd(x, rank=rank)
        tails = 0.0
        for k in range(1, 4):
            s = np.linalg.svd(x.reshape(int(np.prod(x.shape[:k])), -1), compute_uv=False)
            tails += np.sum(s[rank:] ** 2)
        errors.append(np.linalg.norm(tk.contract(net, arrays) - x))
        assert errors[-1] <= np.sqrt(tails) + 1e-10
    assert all(a >= b - 1e-10 for a, b in pairwise(errors))


@pytest.mark.parametrize("tol", [0.5, 0.1, 1e-3, 1e-8])
def test_tolerance_is_kept(tol):
    rng = np.random.default_rng(2)
    core = rng.standard_normal((4, 2)) @ rng.standard_normal((2, 60)) + 0.05 * rng.standard_normal((4, 60))
    x = core.reshape(4, 3, 4, 5)
    net, arrays = tk.tt_svd(x, tol=tol)
    assert np.linalg.norm(tk.contract(net, arrays) - x) <= tol * np.linalg.norm(x) * (1 + 1e-12)


@pytest.mark.parametrize(
    "x, options, message",
    [
        (np.float64(3), {}, "x is a scalar"),
        (np.ones((2, 2)), {"tol": -1}, "tol -1 is negative"),
        (np.ones((2, 2)), {"rank": 0}, "rank 0 is below 1"),
        (np.ones((2, 2, 2)), {"rank": [2]}, "tt_svd: 1 ranks given for 2 bonds"),
        (np.ones((2, 2)), {"rank": 1.5}, "rank 1.5 is neither a whole number nor"),
        (np.array([1.0, np.nan]), {}, "some that are not finite"),
        (np.ones((2, 0)), {}, "has no entries"),
    ],
)
def test_refusals(x, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tk.tt_svd(x, **options)


def test_cores_are_isometries_and_small_cases():
    x = np.random.default_rng(3).standard_normal((3, 4, 5)).astype(np.float32)
    net, arrays = tk.tt_svd(x, rank=(np.int64(2), 3))
    assert net == tk.tt((3, 4, 5), (2, 3)) and {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    for k in range(2):
        q = arrays[f"core_{k}"].reshape(-1, arrays[f"core_{k}"].shape[-1])
        assert np.allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-5)
    assert tk.tt_svd(x, rank=np.int64(2))[0] == tk.tt(x.shape, 2)
    zero, _ = tk.tt_svd(np.zeros((2, 3, 2)))
    assert zero == tk.tt((2, 3, 2), 1)
    one, arrays = tk.tt_svd(np.arange(4))
    assert one == tk.tt((4,), 1) and np.array_equal(tk.contract(one, arrays), np.arange(4.0))

"""Starts near the identity, and arrays brought to a root mean square."""

import numpy as np
import pytest
from data_chains import data_chain

import tnkit as tk
from tnkit.testing import oracle, random_network

# -- near the identity ------------------------------------------------------------------------------------------------
#: Builders of sums of products: entries of 1 without noise.
ONES = ["tt", "mps", "ring", "peps", "tucker", "cp", "low_rank", "tree"]


@pytest.mark.parametrize("name", ONES)
def test_near_identity_begins_at_ones(name):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    assert np.allclose(tk.contract(net, tk.init.near_identity(net, noise=0)), 1, atol=1e-12)
    x = tk.contract(net, tk.init.near_identity(net, noise=1e-3))
    assert 1e-5 < abs(x - 1).max() < 0.1


@pytest.mark.slow
def test_near_identity_of_long_chains_is_of_size_one():
    for net in (tk.mps((2,) * 200, 16), tk.ring((2,) * 200, 8)):
        arrays = tk.init.near_identity(net, noise=1e-4)
        size, exponent = tk.norm(net, arrays, strip_exponent=True)
        assert np.log(size) + exponent * np.log(10) == pytest.approx(100 * np.log(2), rel=0.02)


def test_near_identity_of_operators_is_the_identity():
    net = tk.mpo((2, 3, 2), (2, 4, 2), 4)
    one = [np.eye(2), np.eye(3, 4), np.eye(2)]
    wanted = np.einsum("ai,bj,ck->abcijk", *one)
    assert np.allclose(tk.contract(net, tk.init.near_identity(net, noise=0)), wanted, atol=1e-12)
    wall = tk.brick_wall(6, depth=3, start="open")
    assert np.allclose(tk.contract(wall, tk.init.near_identity(wall, noise=0)).reshape(64, 64), np.eye(64), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"full": True}, {"start": "vectors"}, {"periodic": True}])
def test_near_identity_of_a_wall_is_its_start(options):
    net = tk.brick_wall(6, depth=3, **options)
    x = tk.contract(net, tk.init.near_identity(net, noise=0))
    assert x[(0,) * 6] == pytest.approx(1) and np.count_nonzero(abs(x) > 1e-12) == 1


def test_near_identity_reads_its_data():
    """Features (1, x) give 1 without being seen; (cos x, sin x) where they are, of however many examples."""
    net, rng = data_chain(12, 4), np.random.default_rng(0)
    x = rng.uniform(size=(5, 12))
    plain = {f"x_{k}": np.stack([np.ones(5), x[:, k]], 1) for k in range(12)}
    assert np.allclose(tk.contract(net, tk.init.near_identity(net, noise=0) | plain), 1, atol=1e-12)
    turned = {f"x_{k}": np.stack([np.cos(x[:, k] / 9), np.sin(x[:, k] / 9)], 1) for k in range(12)}
    found = tk.contract(net, tk.init.near_identity(net, noise=0, arrays=turned) | turned)
    assert np.allclose(found, 1, atol=0.05)
    two = {n: a[:2] for n, a in turned.items()}
    seen = tk.contract(net, tk.init.near_identity(net, noise=0, arrays=two) | turned)
    assert np.allclose(seen[:2], 1, atol=1e-9) and seen.shape == (5, 3)
    assert tk.init.rms(net, tk.init.near_identity(net, std=0.3, arrays=turned) | turned) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="near_identity: std is that of the result, for which array 'x_0' is needed"):
        tk.init.near_identity(net, std=1.0)
    with pytest.raises(ValueError, match=r"near_identity: array 'x_0' has shape \(5, 3\), not \(5, 2\)"):
        tk.init.near_identity(net, arrays={"x_0": np.ones((5, 3))})
    with pytest.raises(ValueError, match="array 'core_0' is of a trained node, and drawn"):
        tk.init.near_identity(net, arrays={"core_0": np.ones((2, 4))})


@pytest.mark.parametrize("seed", range(30))
def test_near_identity_of_any_network(seed):
    """Shapes, dtypes and seeds, on networks of every kind; noise is what is added."""
    net, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    given = {n: a for n, a in arrays.items() if n not in net.parameters}
    quiet, a, b, other = (
        tk.init.near_identity(net, seed=s, noise=n, arrays=given) for s, n in ((0, 0), (0, 0.5), (0, 0.5), (1, 0.5))
    )
    wanted = {n: s for n, s in net.array_shapes.items() if n not in given}
    assert {n: x.shape for n, x in a.items()} == wanted
    assert all(np.array_equal(a[n], b[n]) for n in a) and all(np.isfinite(x).all() for x in quiet.values())
    assert not net.parameters or any((a[n] != other[n]).any() for n in net.parameters)
    added = np.concatenate([np.zeros(1), *((a[n] - quiet[n]).ravel() for n in net.parameters)])
    if added.size > 60:
        assert 0.3 < added.std() < 0.7
    assert tk.contract(net, {**given, **a}).shape == net.shape


@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e30), ("complex64", 1e30), ("float64", 1e280)])
def test_to_rms_of_arrays_of_sizes_far_apart(dtype, far):
    net = tk.tt((2, 3, 2), 2)
    drawn = tk.init.normal(net, seed=1, dtype=dtype)
    sizes = dict(zip(drawn, (1 / far, 1 / far, far), strict=True))
    made = tk.init.to_rms(net, {n: (a * sizes[n]).astype(dtype) for n, a in drawn.items()}, 0.5)
    assert {a.dtype for a in made.values()} == {np.dtype(dtype)} and all(np.isfinite(a).all() for a in made.values())
    assert tk.init.rms(net, made) == pytest.approx(0.5, rel=1e-5)


def test_to_rms_refuses_what_the_dtype_cannot_hold():
    net = tk.tt((2, 3), 2)
    with pytest.raises(
        ValueError, match=r"init: array 'core_[01]' would have entries up to .* which float32 cannot hold"
    ):
        tk.init.to_rms(net, tk.init.normal(net, dtype="float32"), 1e-200)


def test_rms_of_a_nonlinear_network_without_open_indices():
    net = tk.from_einsum("ij,ij->", dict(i=2, j=3)).activate("sin", "act")
    arrays = tk.init.normal(net, seed=0)
    assert tk.init.rms(net, arrays) == pytest.approx(abs(float(oracle(net, arrays))))

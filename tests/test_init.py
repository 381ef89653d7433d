import numpy as np
import pytest

import tnkit as tk
from tnkit.testing import oracle, random_network


@pytest.mark.parametrize("draw", [tk.init.normal, tk.init.orthogonal])
@pytest.mark.parametrize("name", tk.BUILDERS)
@pytest.mark.parametrize("seed, std", [(0, 1.0), (1, 0.03), (2, 50.0)])
def test_scale_is_exact_for_every_builder(name, draw, seed, std):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    x = tk.contract(net, draw(net, seed=seed, std=std))
    assert np.sqrt(np.mean(x**2)) == pytest.approx(std, rel=1e-9)


@pytest.mark.parametrize("name", [n for n in tk.BUILDERS if n not in ("tucker", "low_rank")])
def test_std_within_five_per_cent(name):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    found = [tk.contract(net, tk.init.normal(net, seed=s)).std() for s in range(20)]
    assert np.median(found) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("fn", ["relu", "tanh", "sin"])
def test_every_activation_sees_unit_scale(fn):
    net = tk.brick_wall(8, depth=4, activation=fn)
    arrays = tk.init.orthogonal(net, seed=3, std=0.2)
    seen = 0
    while not net.multilinear:
        (act,) = [n for n in net.nodes if isinstance(n, tk.Elementwise)]
        (net,) = act.bodies
        x = tk.contract(net, {n: arrays[n] for n in net.array_shapes})
        assert np.sqrt(np.mean(x**2)) == pytest.approx(1.0, rel=1e-9)
        seen += 1
    assert seen == 3


def test_huge_tensors_are_never_formed():
    net = tk.tt((10,) * 30, rank=4)
    arrays = tk.init.normal(net, std=2.0)
    assert tk.init.rms(net, arrays) == pytest.approx(2.0, rel=1e-9)
    tree = tk.tree((10,) * 32, rank=3)
    assert tk.init.rms(tree, tk.init.normal(tree)) == pytest.approx(1.0, rel=1e-9)


def test_norm_network_agrees_with_the_formed_tensor(monkeypatch):
    net = tk.ring((4, 3, 5, 2), rank=3)
    arrays = tk.init.normal(net, seed=4, dtype="complex128")
    formed = tk.init.rms(net, arrays)
    monkeypatch.setattr("tnkit.init._FORM", 0)
    assert tk.init.rms(net, arrays) == pytest.approx(formed, rel=1e-10)


def test_expected_variance_before_calibration(monkeypatch):
    """Independent entries: the bond's sizes and the nodes' variances multiply, a hyperedge counts once."""
    monkeypatch.setattr("tnkit.init.to_rms", lambda net, arrays, std: dict(arrays))
    net = tk.cp((6, 6, 6), rank=8)
    squares = [np.mean(tk.contract(net, tk.init.normal(net, seed=s)) ** 2) for s in range(400)]
    assert np.mean(squares) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtype_and_seed(dtype):
    net = tk.adtn((8, 8), depth=2)
    a, b, c = (tk.init.normal(net, seed=s, dtype=dtype) for s in (7, 7, 8))
    assert set(a) == set(net.array_shapes)
    assert all(x.dtype == dtype and x.shape == net.array_shapes[n] for n, x in a.items())
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert not all(np.array_equal(a[n], c[n]) for n in net.parameters)


def test_constants_stay_and_tied_arrays_are_scaled_once():
    net = tk.brick_wall(6, depth=2, share=1, full=True)
    arrays = tk.init.normal(net, std=3.0)
    assert np.array_equal(arrays["start_2"], [1.0, 0.0])
    x = tk.contract(net, arrays)
    assert np.sqrt(np.mean(x**2)) == pytest.approx(3.0, rel=1e-9)


def test_orthogonal_bricks():
    net = tk.brick_wall(6, dim=3, depth=2)
    arrays = tk.init.orthogonal(net)
    brick = arrays["brick_3_1"].reshape(9, 9)
    gram = brick @ brick.T
    assert np.allclose(gram, gram[0, 0] * np.eye(9), atol=1e-12)


def test_integers_are_refused():
    with pytest.raises(ValueError, match="floating or complex numbers, not int64"):
        tk.init.normal(tk.tt((2, 2), 1), dtype="int64")


@pytest.mark.parametrize("name", tk.BUILDERS)
@pytest.mark.parametrize("dtype, rel", [("float32", 1e-6), ("complex64", 1e-6), ("complex128", 1e-9)])
def test_scale_in_every_precision(name, dtype, rel):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    if dtype.startswith("complex") and not net.multilinear:
        net = tk.brick_wall(5, depth=2, activation="square")  # relu has no meaning for complex numbers
    for draw in (tk.init.normal, tk.init.orthogonal):
        arrays = draw(net, seed=5, std=0.7, dtype=dtype)
        assert {a.dtype for a in arrays.values()} == {np.dtype(dtype)}
        x = tk.contract(net, {n: a.astype(np.result_type(a, np.float64)) for n, a in arrays.items()})
        assert np.sqrt(np.mean(np.abs(x) ** 2)) == pytest.approx(0.7, rel=rel)


@pytest.mark.parametrize("name", tk.BUILDERS)
def test_pooled_std(name):
    """The standard deviation over many draws: no builder has a mean to speak of."""
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    x = np.stack([tk.contract(net, tk.init.normal(net, seed=s, std=2.0)) for s in range(40)])
    assert x.std() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed):
    """Hyperedges, traces, tied arrays, constants, disconnected parts: exact wherever one region owns an array."""
    net, given = random_network(seed, nonlinear=seed % 2 == 1)
    data = {leaf.array: given[leaf.array] for leaf in net.leaves if leaf.fixed is True}
    arrays = tk.init.normal(net, seed=seed, std=3.0, arrays=data)
    x = oracle(net, {**arrays, **data})
    outer = {n.array for n in net.nodes if isinstance(n, tk.Node)} & set(net.parameters)
    inner = {leaf.array for leaf in net.leaves if leaf.name not in {n.name for n in net.nodes}}
    if outer - inner and np.any(x):
        assert np.sqrt(np.mean(x**2)) == pytest.approx(3.0, rel=1e-9)


@pytest.mark.parametrize("dims", [(2,) * 1300, (10,) * 400])
def test_products_of_sizes_past_the_largest_float(dims):
    net = tk.tt(dims, rank=2)
    arrays = tk.init.normal(net, std=0.5)
    core = np.ones((1, 1))  # <T, T> / entries, from the left, by hand
    for k, n in enumerate(dims):
        a = arrays[f"core_{k}"].reshape(core.shape[0], n, -1)
        core = np.einsum("ab,aic,bid->cd", core, a, a) / n
    assert np.sqrt(core[0, 0]) == pytest.approx(0.5, rel=1e-6)


def test_norm_network_with_constants_ties_and_hyperedges(monkeypatch):
    nets = [tk.BUILDERS[n](**tk.EXAMPLES[n]) for n in tk.BUILDERS]
    nets = [n for n in nets if n.multilinear] + [tk.brick_wall(6, depth=2, share=1), tk.brick_wall(5, 3, 1, full=True)]
    formed = [(n, a, tk.init.rms(n, a)) for n in nets for a in [tk.init.normal(n, seed=1, std=0.3)]]
    monkeypatch.setattr("tnkit.init._FORM", 0)
    for net, arrays, value in formed:
        assert tk.init.rms(net, arrays) == pytest.approx(value, rel=1e-9)


def test_a_relu_of_nothing_but_negative_entries_is_turned():
    net = tk.adtn((1, 7), depth=2)
    for seed in range(40):
        x = tk.contract(net, tk.init.normal(net, seed=seed))
        assert np.sqrt(np.mean(x**2)) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("make", [tk.cp, tk.tt, tk.tucker])
def test_expected_variance_is_the_product_of_variances_and_summed_sizes(make, monkeypatch):
    monkeypatch.setattr("tnkit.init.to_rms", lambda net, arrays, std: dict(arrays))
    net = make((6, 6, 6), rank=3)
    arrays = tk.init.normal(net)
    variance = np.prod([np.mean(a**2) for a in arrays.values()])
    summed = np.prod([n for i, n in net.sizes.items() if i not in net.output])
    assert variance * summed == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_a_std_that_makes_no_sense_is_refused(std):
    with pytest.raises(ValueError, match="is not a finite number from 0 up"):
        tk.init.normal(tk.tt((2, 2), 1), std=std)


def test_the_scale_of_a_large_network_whatever_its_names():
    """Networks too large to be formed are measured beside a conjugate one, whose names must be new."""
    for name in ("m", "k*", "*k"):
        nodes = [tk.Node("A", ("i", "k")), tk.Node("A*", ("k", name)), tk.Node("C", (name, "j"))]
        net = tk.Network(nodes, ("i", "j"), {"i": 4096, "k": 3, name: 3, "j": 2048})
        made = tk.contract(net, tk.init.normal(net, seed=0))
        assert np.sqrt(np.mean(made**2)) == pytest.approx(1, rel=1e-9)

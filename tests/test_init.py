import sys

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
    monkeypatch.setattr("tnkit.execution.region_scale._FORM", 0)
    assert tk.init.rms(net, arrays) == pytest.approx(formed, rel=1e-10)


def test_expected_variance_before_calibration(monkeypatch):
    """Independent entries: the bond's sizes and the nodes' variances multiply, a hyperedge counts once."""
    monkeypatch.setattr("tnkit.init.calibrated", lambda net, arrays, std, kind: dict(arrays))
    net = tk.cp((6, 6, 6), rank=8)
    squares = [np.mean(tk.contract(net, tk.init.normal(net, seed=s)) ** 2) for s in range(400)]
    assert np.mean(squares) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtype_and_seed(dtype):
    net = tk.adtn((8, 8), depth=2, activation="tanh")
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
    with pytest.raises(
        ValueError,
        match="dtype is a floating or complex dtype, such as 'float32' and up to double precision, not int64",
    ):
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
    try:
        arrays = tk.init.normal(net, seed=seed, std=3.0, arrays=data)
    except ValueError as error:  # an activation is outermost
        assert "init: std 3 cannot be reached: the outermost node" in str(error) and len(net.nodes) == 1
        arrays = tk.init.normal(net, seed=seed, arrays=data)
    x = oracle(net, {**arrays, **data})
    outer = {n.array for n in net.nodes if isinstance(n, tk.Node)} & set(net.parameters)
    inner = {leaf.array for leaf in net.leaves if leaf.name not in {n.name for n in net.nodes}}
    if outer - inner and np.any(x):
        assert np.sqrt(np.mean(x**2)) == pytest.approx(3.0, rel=1e-9)


@pytest.mark.slow
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
    monkeypatch.setattr("tnkit.execution.region_scale._FORM", 0)
    for net, arrays, value in formed:
        assert tk.init.rms(net, arrays) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("make", [tk.cp, tk.tt, tk.tucker])
def test_expected_variance_is_the_product_of_variances_and_summed_sizes(make, monkeypatch):
    monkeypatch.setattr("tnkit.init.calibrated", lambda net, arrays, std, kind: dict(arrays))
    net = make((6, 6, 6), rank=3)
    arrays = tk.init.normal(net)
    variance = np.prod([np.mean(a**2) for a in arrays.values()])
    summed = np.prod([n for i, n in net.sizes.items() if i not in net.output])
    assert variance * summed == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_a_std_that_makes_no_sense_is_refused(std):
    with pytest.raises(ValueError, match="init: std is a number of at least 0, not"):
        tk.init.normal(tk.tt((2, 2), 1), std=std)


@pytest.mark.slow
def test_the_scale_of_a_large_network_whatever_its_names():
    """Networks too large to be formed are measured beside a conjugate one, whose names must be new."""
    for name in ("m", "k*", "*k"):
        nodes = [tk.Node("A", ("i", "k")), tk.Node("A*", ("k", name)), tk.Node("C", (name, "j"))]
        net = tk.Network(nodes, ("i", "j"), {"i": 4096, "k": 3, name: 3, "j": 2048})
        made = tk.contract(net, tk.init.normal(net, seed=0))
        assert np.sqrt(np.mean(made**2)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("std", [1e-300, 1e-200, 1e-100, 1e100, 1e200, 1e300])
@pytest.mark.parametrize(
    "make",
    [
        lambda: tk.tt((4, 5, 3), 2),
        lambda: tk.brick_wall(6, 2, 3, "relu"),
        lambda: tk.tt((64,) * 5, 3),
        lambda: tk.Network([tk.Node("A", "ij")], "ij", {"i": 4, "j": 3}),
    ],
)
def test_the_smallest_and_largest_scales(make, std):
    net = make()
    arrays = tk.init.normal(net, seed=0, std=std)
    assert tk.init.rms(net, arrays) == pytest.approx(std, rel=1e-9)
    back = tk.init.to_rms(net, arrays, 2.0)
    assert tk.init.rms(net, back) == pytest.approx(2.0, rel=1e-9)


def test_a_scale_that_the_dtype_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"init: std 1e-60 is outside the range of float32, 1\.18e-38 to 3\.4e\+38"):
        tk.init.normal(tk.tt((4, 5, 3), 2), std=1e-60, dtype="float32")


def log_norm(net, arrays):
    """Log of the root mean square of a tensor train, core by core with the scale taken out: <T, T> / entries."""
    core, logs = np.ones((1, 1)), 0.0
    for k, n in enumerate(net.shape):
        a = arrays[f"core_{k}"].reshape(core.shape[0], n, -1).astype(float)
        unit = abs(a).max()
        core = np.einsum("ab,aic,bid->cd", core, a / unit, a / unit) / n
        size = abs(core).max()
        core, logs = core / size, logs + np.log(size) + 2 * np.log(unit)
    return (logs + np.log(core[0, 0])) / 2


@pytest.mark.slow
def test_thousands_of_sites():
    """The sample's norm leaves the range of floats long before: other factors are looked for."""
    net = tk.tt((2,) * 4000, 2)
    for dtype, rel in (("float64", 1e-6), ("float32", 1e-2)):
        assert log_norm(net, tk.init.normal(net, std=0.5, dtype=dtype)) == pytest.approx(np.log(0.5), rel=rel)


def test_arrays_of_any_size_are_brought_to_scale():
    net = tk.tt((3, 4, 5, 2), 2)
    arrays = {n: a * 10.0 ** (140 * (-1) ** k) for k, (n, a) in enumerate(tk.init.normal(net).items())}
    for scale in (1e-160, 1.0, 1e100):
        made = tk.init.to_rms(net, {n: a * scale for n, a in arrays.items()}, 0.7)
        assert log_norm(net, made) == pytest.approx(np.log(0.7), rel=1e-9)


def test_one_pass_through_a_deep_network(monkeypatch):
    """Every region is contracted once, so the work grows with the depth and not with its square."""
    from tnkit.execution import region_scale

    done = []
    monkeypatch.setattr(
        region_scale,
        "_used_up",
        lambda plan, arrays, way=region_scale._used_up: done.append(plan.flops) or way(plan, arrays),
    )
    for depth in (20, 40):
        done.clear()
        net = tk.brick_wall(4, 2, depth, "tanh")
        arrays = tk.init.normal(net, seed=0)
        assert len(done) == depth and sum(done) <= tk.plan(net).flops
        assert tk.init.rms(net, arrays) == pytest.approx(1.0, rel=1e-9)


def test_large_tensors_are_measured_in_the_dtype_asked_for(monkeypatch):
    """The same arrays up to rounding, whichever precision the regions are formed in."""
    from tnkit.execution import region_scale

    net = tk.brick_wall(9, 2, 3, "relu")
    wide = tk.init.normal(net, seed=0, std=0.1, dtype="float32")
    seen = set()
    monkeypatch.setattr(region_scale, "_WIDE", 1)
    monkeypatch.setattr(
        region_scale,
        "_used_up",
        lambda plan, arrays, way=region_scale._used_up: (
            seen.update(a.dtype.name for a in arrays.values()) or way(plan, arrays)
        ),
    )
    for name, a in tk.init.normal(net, seed=0, std=0.1, dtype="float32").items():
        np.testing.assert_allclose(a, wide[name], rtol=1e-5, atol=1e-6)
    assert seen == {"float32"}


NET = tk.tt((2, 3), 2)


@pytest.mark.parametrize("call, kind, message", [
    (lambda: tk.init.normal(3), TypeError, "init: a Network is needed, not 3"),
    (lambda: tk.init.rms("ij,jk", {}), TypeError, "rms: a Network is needed, not 'ij,jk'"),
    (lambda: tk.init.to_rms(None, {}), TypeError, "to_rms: a Network is needed, not None"),
    (lambda: tk.init.normal(NET, seed="a"), TypeError, "init: seed is a whole number of at least 0, not 'a'"),
    (lambda: tk.init.normal(NET, seed=-1), ValueError, "init: seed is a whole number of at least 0, not -1"),
    (lambda: tk.init.normal(NET, seed=1.5), TypeError, "init: seed"),
    (lambda: tk.init.normal(NET, std="match"), TypeError, "init: std is a number of at least 0, not 'match'"),
    (lambda: tk.init.normal(NET, std=True), TypeError, "init: std is a number of at least 0, not True"),
    (lambda: tk.init.normal(NET, std=1j), TypeError, "init: std is a number of at least 0, not 1j"),
    (lambda: tk.init.normal(NET, dtype="float3"), TypeError, "init: dtype is a floating or complex dtype, such as 'float32', not 'float3'"),
    (lambda: tk.init.normal(NET, dtype=None), TypeError, "init: dtype"),
    (lambda: tk.init.normal(NET, dtype=object()), TypeError, "init: dtype"),
    (lambda: tk.init.normal(NET, dtype=object), ValueError, "not object"),
    (lambda: tk.init.normal(NET, dtype="longdouble"), ValueError, "up to double precision, not"),
    (lambda: tk.init.normal(NET, arrays={"core_0": np.ones((2, 2))}), ValueError, "init: array 'core_0' is of a trained node, and drawn"),
    (lambda: tk.init.normal(NET, arrays=[1]), TypeError, "init: arrays map names to values"),
    (lambda: tk.init.normal(NET, arrays={"x": np.ones(2)}), ValueError, "array 'x' belongs to no node"),
    (lambda: tk.init.to_rms(NET, {"core_0": np.ones(3), "core_1": np.ones((2, 3))}), ValueError, r"array 'core_0' has shape \(3,\), not \(2, 2\)"),
    (lambda: tk.init.to_rms(NET, {"core_0": np.ones((2, 2))}), KeyError, "to_rms: no array 'core_1' for node 'core_1'"),
    (lambda: tk.init.to_rms(NET, {"core_0": np.ones((2, 2)), "core_1": np.full((2, 3), "a")}), TypeError, "array 'core_1' has dtype <U1, which is no dtype of numbers"),
    (lambda: tk.init.to_rms(NET, {"core_0": np.ones((2, 2)), "core_1": np.full((2, 3), np.nan)}), ValueError, "array 'core_1' has entries that are not finite"),
])  # fmt: skip
def test_wrong_arguments_are_refused_in_one_line(call, kind, message):
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# -- networks of any depth and length ---------------------------------------------------------------------------------
class Name(str):
    """An index name that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def tower(levels):
    net = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk")], "ik", dict(i=2, j=3, k=2))
    for k in range(levels):
        net = net.activate("tanh", f"f{k}")
    return net.join(tk.Network([tk.Node("C", "l")], "l", dict(l=2)))


def work_of(call):
    """Functions entered, and names compared."""
    calls, before = 0, Name.compared

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls + Name.compared - before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tower", "wall", "chain"])
def test_the_work_grows_with_the_network_and_no_faster(kind):
    make = {
        "tower": tower,
        "wall": lambda n: tk.brick_wall(4, 2, n, "tanh"),
        "chain": lambda n: tk.tt((2,) * n, 2).relabel(lambda i: Name(i)),
    }[kind]

    def work(n):
        net = make(n)
        arrays = {**tk.check_arrays(net, tk.init.normal(net))}  # plans are made, and kept
        return [
            work_of(lambda: tk.init.normal(net, std=1e-300)),
            work_of(lambda: tk.init.orthogonal(net, std=1e300)),
            work_of(lambda: tk.init.to_rms(net, arrays, 0.5)),
            work_of(lambda: tk.init.rms(net, arrays)),
        ]

    for small, large in zip(work(60), work(240), strict=True):
        assert large < 4.5 * small


@pytest.mark.slow
@pytest.mark.parametrize("draw", [tk.init.normal, tk.init.orthogonal])
@pytest.mark.parametrize("std", [1e-300, 0.5, 1e300])
def test_more_activations_than_calls_within_calls(draw, std):
    net = tower(1200)
    arrays = draw(net, std=std)
    assert tk.init.rms(net, arrays) == pytest.approx(std, rel=1e-9)
    x = arrays["A"] @ arrays["B"]
    assert np.sqrt(np.mean(x**2)) == pytest.approx(1.0, rel=1e-9)
    for _ in range(1200):
        x = np.tanh(x)
    want = np.multiply.outer(x, arrays["C"] / std)
    assert np.allclose(tk.contract(net, arrays) / std, want, rtol=1e-9)
    again = tk.init.to_rms(net, {n: 3 * a for n, a in arrays.items()}, 0.25)
    assert tk.init.rms(net, again) == pytest.approx(0.25, rel=1e-9)


@pytest.mark.slow
def test_a_wall_of_more_blocks_than_calls_within_calls():
    net = tk.brick_wall(4, 2, 1200, "tanh")
    arrays = tk.init.normal(net, std=1e-300)
    x = tk.contract(net, arrays) * 1e300
    assert np.sqrt(np.mean(x**2)) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.slow
def test_a_chain_whose_scale_is_past_any_float(std=1e300):
    """Bonds of 2 between 3,000 sites: entries are sums of 2^2999 terms, and a float ends at 2^1024."""
    net = tk.tt((2,) * 3000, 2)
    assert tk.init.rms(net, tk.init.normal(net, std=std)) == pytest.approx(std, rel=1e-8)

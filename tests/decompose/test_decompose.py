"""Every family by singular values: exact at full rank, errors as reported, promises kept, in numpy and torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import tnkit as tk
import tnkit_nn as tknn
from tnkit.decompose import truncate

FAMILIES = [
    name for name in tk.DECOMPOSITIONS if name != "cp_als"
]  # a search, tested in test_als.py; these are exact at full rank
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
LIBRARIES = ["numpy", "torch"]


def decompose(family, x, library="numpy", **options):
    """The decomposition, its arrays as numpy ones."""
    if library == "numpy":
        return tk.DECOMPOSITIONS[family](x, **options)
    found = tk.DECOMPOSITIONS[family](torch.from_numpy(x), **options)
    assert {a.dtype for a in found.arrays.values()} == {torch.from_numpy(x).dtype}
    arrays = {n: a.numpy() for n, a in found.arrays.items()}
    return type(found)(found.network, arrays, found.error, found.methods)


def relative(x, found):
    net, arrays = found
    assert {n: a.shape for n, a in arrays.items()} == net.array_shapes
    wide = {n: a.astype(np.complex128) for n, a in arrays.items()}
    return float(np.linalg.norm(tk.contract(net, wide) - x) / np.linalg.norm(x))


def noisy(shape, rank=3, noise=0.1, seed=0, dtype=np.float64):
    """A chain of this rank and noise of this relative norm."""
    rng = np.random.default_rng(seed)
    x = tk.contract(tk.tt(shape, rank), tk.init.normal(tk.tt(shape, rank), seed=seed))
    e = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x, e = x * np.exp(1j * rng.standard_normal(shape[-1])), e + 1j * rng.standard_normal(shape)
    return (x / np.linalg.norm(x) + noise * e / np.linalg.norm(e)).astype(dtype)


def random_shape(seed, least=1):
    rng = np.random.default_rng(seed)
    return tuple(int(n) for n in rng.choice([1, 2, 3, 4, 5, 7], size=rng.integers(least, 6)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(200))
def test_exact_at_full_rank(family, seed):
    shape = random_shape(seed, least=1 if family in ("tt_svd", "tucker_svd", "tree_svd") else 2)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if seed % 2:
        x = x + 1j * rng.standard_normal(shape)
    found = decompose(family, x, LIBRARIES[seed // 2 % 2])
    assert relative(x, found) <= 1e-12
    assert found.error == 0


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 100])
def test_network_is_the_builders(rank):
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2))
    assert tk.tt_svd(x, rank=rank).network == tk.tt(x.shape, rank=rank)
    assert tk.tree_svd(x, rank=rank).network == tk.tree(x.shape, rank=rank)
    assert tk.tucker_svd(x, rank=rank).network == tk.tucker(x.shape, rank=rank)
    assert tk.low_rank_svd(x, rank=rank).network == tk.low_rank(x.shape, rank=min(rank, 3))
    assert tk.mpo_svd(x.reshape(12, 10), (3, 4), (5, 2), rank=rank).network == tk.mpo((3, 4), (5, 2), rank=rank)
    ring = tk.ring_svd(x, rank=rank).network
    assert ring == tk.ring(x.shape, [ring.sizes[f"b{k}"] for k in range(4)]) and max(ring.sizes.values()) <= max(
        rank, 5
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_error_is_as_reported_and_falls_with_rank(family, dtype, library):
    x = noisy((4, 5, 6, 4), dtype=dtype)
    errors = []
    for rank in range(1, 21):
        found = decompose(family, x, library, rank=rank)
        errors.append(relative(x, found))
        slack = 1e-12 if np.finfo(dtype).eps < 1e-10 else 2e-6
        assert found.error == pytest.approx(errors[-1], rel=1e-3, abs=slack)
        assert set(found.arrays) == set(found.network.array_shapes)
    if family != "ring_svd":  # whose ranks are shared between two bonds
        assert all(a >= b - 1e-6 for a, b in pairwise(errors))
    assert errors[-1] < 0.75 * errors[0]


@pytest.mark.parametrize("method", ["auto", "exact", "gram", "svd", "randomised"])
def test_error_is_below_the_discarded_tails(method):
    x = noisy((12, 11, 10), rank=4)
    for rank in range(1, 12):
        tails = 0.0
        for k in range(1, 3):
            s = np.linalg.svd(x.reshape(int(np.prod(x.shape[:k])), -1), compute_uv=False)
            tails += np.sum(s[rank:] ** 2)
        bound = np.sqrt(tails) / np.linalg.norm(x)
        assert relative(x, tk.tt_svd(x, rank=rank, method=method)) <= bound * (1 + 1e-6) + 1e-7
        assert relative(x, tk.tree_svd(x, tk.tt(x.shape, rank), method=method)) <= bound * (1 + 1e-6) + 1e-7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tol", [0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-10])
@pytest.mark.parametrize("family", FAMILIES)
def test_tolerance_is_kept(family, tol, dtype):
    decay = np.exp(-np.add.outer(np.add.outer(np.arange(6), np.arange(7)), np.add.outer(np.arange(6), np.arange(5))))
    x = (noisy((6, 7, 6, 5), rank=6, noise=1, dtype=np.dtype(dtype)) * decay).astype(dtype)
    found = decompose(family, x, tol=tol)
    rounding = 30 * np.finfo(dtype).eps
    assert relative(x, found) <= tol + rounding
    assert found.error <= tol
    if tol >= 1e-2 and family != "ring_svd":  # and not by keeping everything
        assert found.network.num_params < decompose(family, x).network.num_params


def test_float32_keeps_its_accuracy_and_says_how():
    x = noisy((40, 30, 50), rank=5, noise=1e-5, dtype=np.float32)
    found = tk.tt_svd(x, rank=5)
    assert set(found.methods.values()) <= {"gram64", "randomised64", "svd"}
    assert relative(x, found) <= 1.01e-5
    assert set(tk.tt_svd(noisy((40, 30, 50), rank=5, dtype=np.float32), rank=5).methods.values()) == {"gram"}
    assert "by gram64" in repr(found) and "error" in repr(found)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fall", [0.5, 0.9, 0.99, 1.0])
def test_leading_eigenvectors_alone_are_those_of_all(fall, dtype, library, monkeypatch):
    """Of a Gram matrix far larger than the rank, whether its eigenvalues fall fast, slowly or not at all."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((200, 200)))[0] for _ in range(2))
    x = ((u * np.maximum(fall ** np.arange(200), 0.03)) @ v).astype(dtype)
    few = decompose("low_rank_svd", x, library, rank=5, method="gram")
    monkeypatch.setattr(truncate, "_LEADING", 1e9)
    every = decompose("low_rank_svd", x, library, rank=5, method="gram")
    slack = 1e-9 if np.finfo(dtype).eps < 1e-10 else 1e-4
    assert relative(x, few) == pytest.approx(relative(x, every), rel=slack)
    assert few.error == pytest.approx(relative(x, few), rel=slack * 10)


def test_a_missed_eigenvector_is_noticed(monkeypatch):
    """A start without the largest one: subspace iteration settles on others, and the proof fails."""

    class Blind:
        def __init__(self, seed):
            self.drawn = np.random.RandomState(seed)

        def standard_normal(self, shape):
            return self.drawn.standard_normal(shape) * (np.arange(shape[0]) > 0)[:, None]

    x = np.diag(0.5 ** np.arange(200.0))
    monkeypatch.setattr(np.random, "default_rng", Blind)
    assert truncate._leading(x @ x, 5, tk.NUMPY) is None
    assert tk.low_rank_svd(x, rank=5, method="gram").error == pytest.approx(0.5**5)


@pytest.mark.parametrize(
    "shape, rank",
    [
        ((8, 16, 16, 8), (2, 1, 4, 4)),
        ((6, 8, 4), (2, 2, 3)),
    ],  # .6 and more at the last two; .21 and more at the last two
)
def test_a_ring_opens_where_its_bonds_cut_most(shape, rank):
    assert tk.ring_svd(noisy(shape, rank=2), rank=rank).error < 0.1


def test_randomised_comes_close_to_exact_and_is_repeatable():
    x = noisy((16, 20, 20, 16), rank=8, noise=0.5)
    exact, fast = tk.tt_svd(x, rank=8, method="exact"), tk.tt_svd(x, rank=8)
    assert "randomised" in fast.methods.values() and "randomised" not in exact.methods.values()
    assert relative(x, fast) <= 1.002 * relative(x, exact)
    again = tk.tt_svd(x, rank=8)
    assert all(np.array_equal(a, again.arrays[n]) for n, a in fast.arrays.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_budget_is_kept_and_used(family):
    x = noisy((6, 8, 8, 6), rank=4, noise=0.05)
    last = 1.1
    for budget in (400, 800, 1200) if family == "low_rank_svd" else (100, 200, 400, 800):
        found = decompose(family, x, budget=budget)
        assert found.network.num_params <= budget
        assert found.error == pytest.approx(relative(x, found), rel=1e-6)
        assert found.error <= last + 1e-12
        last = found.error
    assert last < 0.9


def test_budget_beats_equal_ranks():
    # bonds of very different need: equal ranks waste numbers
    rng = np.random.default_rng(0)
    left = np.kron(rng.standard_normal((4, 8)), rng.standard_normal((8, 1))).reshape(4, 8, 8)
    x = np.einsum("abr,rcd->abcd", left, rng.standard_normal((8, 8, 8)))
    for rank in (1, 2, 3, 4):
        equal = tk.tt_svd(x, rank=rank)
        found = tk.tt_svd(x, budget=equal.network.num_params)
        assert found.error <= equal.error + 1e-12
    assert found.error < 0.9 * equal.error
    best = min(
        (tk.tt_svd(x, rank=r) for r in np.ndindex(5, 12, 9) if all(r) and tk.tt(x.shape, r).num_params <= 150),
        key=lambda d: d.error,
    )
    assert tk.tt_svd(x, budget=150).error <= 1.05 * best.error


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", range(20))
def test_any_tree(seed, library):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    bonds = [(f"b{k}", int(rng.integers(k)), k) for k in range(1, count)]  # a random recursive tree
    inds = [[b for b, u, v in bonds if k in (u, v)] for k in range(count)]
    sizes = {b: int(rng.integers(1, 5)) for b, _, _ in bonds}
    for k in range(int(rng.integers(1, 6))):
        inds[int(rng.integers(count))].append(f"i{k}")
        sizes[f"i{k}"] = int(rng.integers(1, 6))
    for legs in inds:
        rng.shuffle(legs)
    output = [i for i in sizes if i[0] == "i"]
    rng.shuffle(output)
    net = tk.Network([tk.Node(f"n{k}", legs) for k, legs in enumerate(inds)], output, sizes)
    exact = tk.testing.oracle(net, arrays := tk.init.normal(net, seed=seed))
    backend = tk.NUMPY if library == "numpy" else tknn.TORCH
    x = exact if library == "numpy" else torch.from_numpy(exact)
    found = tk.tree_svd(x, net, backend=backend)
    assert relative(exact, type(found)(found.network, {n: np.asarray(a) for n, a in found.arrays.items()}, 0)) <= 1e-7
    center = f"n{rng.integers(count)}"
    _, arrays = tk.tree_svd(x, net, tol=1e-9, center=center, backend=backend)
    assert float((abs(arrays[center]) ** 2).sum()) == pytest.approx(float((exact**2).sum()))  # the centre has the norm


def test_cores_are_isometries_towards_the_centre():
    x = np.random.default_rng(3).standard_normal((3, 4, 5, 3)).astype(np.complex64)
    for center in range(4):
        net, arrays = tk.tt_svd(x, rank=(np.int64(2), 3, 2), center=f"core_{center}")
        assert net == tk.tt(x.shape, (2, 3, 2)) and {a.dtype for a in arrays.values()} == {np.dtype(np.complex64)}
        for k in set(range(4)) - {center}:
            core = arrays[f"core_{k}"]
            q = core.reshape(-1, core.shape[-1]) if k < center else core.reshape(core.shape[0], -1).T
            assert np.allclose(q.conj().T @ q, np.eye(q.shape[1]), atol=1e-5)
    last = tk.tt_svd(x, rank=2).arrays["core_3"]
    assert np.linalg.norm(last) == pytest.approx(np.sqrt(1 - tk.tt_svd(x, rank=2).error ** 2) * np.linalg.norm(x))


def test_small_cases():
    for family in FAMILIES:
        zero = decompose(family, np.zeros((2, 3, 2)))
        assert zero.error == 0 and {zero.network.sizes[b] for b in zero.methods} == {1}
        assert not tk.contract(*zero).any()
    one, arrays = tk.tt_svd(np.arange(4))
    assert one == tk.tt((4,), 1) and np.array_equal(tk.contract(one, arrays), np.arange(4.0))
    unit, arrays = tk.mpo_svd(np.eye(6), (2, 3), (2, 3), tol=1e-9)
    assert unit == tk.mpo((2, 3), (2, 3), 1)  # the unit matrix is a product
    assert np.allclose(tk.contract(unit, arrays).reshape(6, 6), np.eye(6))
    assert tk.tree_svd(np.ones((2, 2, 2, 2)), tol=1e-6).network.num_params == 2 * 4 + 1
    assert tk.tt_svd([[1.0, 2.0], [3.0, 4.0]], rank=1).network == tk.tt((2, 2), 1)
    assert tk.tt_svd(np.ones((2, 2), np.float16)).arrays["core_0"].dtype == np.float32


def test_hooi_improves_on_st_hosvd():
    x = noisy((10, 12, 14), rank=6, noise=0.5)
    plain, better = (tk.tucker_svd(x, rank=4, sweeps=n) for n in (0, 3))
    assert relative(x, better) < relative(x, plain)
    for k in range(3):
        u = better.arrays[f"factor_{k}"]
        assert np.allclose(u.T @ u, np.eye(4))


def net_of(nodes, output, size=2):
    nodes = [tk.Node(name, inds, **more) for name, inds, more in nodes]
    return tk.Network(nodes, output, {i: size for n in nodes for i in n.inds})


@pytest.mark.parametrize(
    "net, message",
    [
        (tk.ring((2, 2, 2), 2), "nodes 'core_0', 'core_1', 'core_2' form a loop"),
        (tk.cp((2, 2, 2), 2), "index 'r' is on 3 nodes, 'factor_0', 'factor_1', 'factor_2': a hyperedge"),
        (tk.brick_wall(4, 2, 2, "relu"), "node '.*' is an Elementwise"),
        (net_of([("a", "ir", {}), ("b", "jr", {"array": "a"})], "ij"), "nodes 'a' and 'b' share array 'a'"),
        (net_of([("a", "irs", {}), ("b", "jrs", {})], "ij"), "nodes 'a' and 'b' are joined by both 'r' and 's'"),
        (net_of([("a", "i", {}), ("b", "j", {})], "ij"), "no bond joins nodes 'a' and 'b'"),
        (net_of([("a", "ir", {}), ("b", "jr", {"fixed": True})], "ij"), "node 'b' is fixed"),
        (net_of([("a", "irr", {}), ("b", "ij", {})], "j"), "node 'a' has index 'r' twice"),
        (net_of([("a", "irs", {}), ("b", "js", {})], "ij"), "index 'r' of node 'a' is summed there alone"),
        (net_of([("a", "ir", {}), ("b", "jr", {})], "ijr"), "index 'r' is open and on two nodes, 'a', 'b'"),
    ],
)
def test_what_is_no_tree(net, message):
    with pytest.raises(ValueError, match=message):
        tk.tree_svd(np.ones(net.shape), net)
    with pytest.raises(ValueError, match=message):
        tk.canonicalize(net, tk.init.normal(net, seed=0))
    if "joined by both" not in message:  # round makes one of bonds that join the same nodes
        with pytest.raises(ValueError, match=message):
            tk.round(net, tk.init.normal(net, seed=0), rank=1)


@pytest.mark.parametrize(
    "x, options, message",
    [
        (np.float64(3), {}, "x is a scalar"),
        (np.ones((2, 2)), {"tol": -1}, "tol is a number of at least 0, not -1"),
        (np.ones((2, 2)), {"tol": np.nan}, "tol is a number of at least 0, not nan"),
        (np.ones((2, 2)), {"rank": 0}, "rank is a whole number of at least 1, not 0"),
        (np.ones((2, 2, 2)), {"rank": [2]}, "tt_svd: 1 rank given for 2 bonds"),
        (np.ones((2, 2)), {"rank": 1.5}, "rank is a whole number or a sequence of them, not 1.5"),
        (np.ones((2, 2)), {"rank": {"b7": 2}}, "rank names 'b7', which is no bond; there are b1"),
        (np.ones((2, 2)), {"budget": 3}, "not even ranks of 1 fit a budget of 3: they take 4"),
        (np.ones((2, 2)), {"budget": 9.5}, "budget is a whole number, not 9.5"),
        (np.ones((2, 2)), {"budget": 9, "rank": 2}, "give it alone"),
        (np.ones((2, 2)), {"method": "magic"}, "no method 'magic'; there are auto, exact"),
        (np.ones((2, 2)), {"center": "core_9"}, "no node 'core_9' to be the centre; there are core_0, core_1"),
        (np.array([1.0, np.nan]), {}, "some entries that are not finite"),
        (np.array([1.5e308, 1.5e308]), {}, "norm overflows"),
        (np.ones((2, 0)), {}, "has no entries"),
        ("text", {}, "x is an array, not 'text'"),
    ],
)
def test_refusals(x, options, message):
    with np.errstate(over="ignore"), pytest.raises((ValueError, TypeError), match=message):
        tk.tt_svd(x, **options)


def test_more_refusals():
    with pytest.raises(ValueError, match=r"x has shape \(2, 2\), the network \(2, 3\)"):
        tk.tree_svd(np.ones((2, 2)), tk.tt((2, 3), 1))
    with pytest.raises(ValueError, match="neither"):
        tk.mpo_svd(np.ones((4, 5)), (2, 2), (2, 2))
    with pytest.raises(ValueError, match="not even ranks of 1"):
        tk.ring_svd(np.ones((4, 5)), budget=3)
    with pytest.raises(ValueError, match="tucker_svd: sweeps is a whole number of at least 0, not -1"):
        tk.tucker_svd(np.ones((4, 5)), sweeps=-1)
    with pytest.raises(TypeError, match="a Network is needed"):
        tk.tree_svd(np.ones((2, 2)), "tree")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_through_truncation(family, dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 3, dtype=dtype, requires_grad=True)
    w = torch.randn(3, 4, 3, dtype=dtype)

    def loss(x):
        net, arrays = tk.DECOMPOSITIONS[family](x, rank=2)
        return (tk.contract(net, arrays) * w).sum().abs()

    # a ring cut open and HOOI choose bases that the result depends on: those are told apart below
    if family not in ("ring_svd",):
        assert torch.autograd.gradcheck(loss, x, atol=1e-5)
    (grad,) = torch.autograd.grad(loss(x), x)
    assert torch.isfinite(grad).all() and grad.abs().max() > 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "x",
    [
        torch.eye(4).reshape(2, 2, 2, 2),
        torch.zeros(3, 2, 4),
        torch.ones(3, 3, 2),
        torch.diag(torch.tensor([2.0, 2, 1, 0])),
    ],
)
def test_gradients_are_finite_where_singular_values_coincide_or_vanish(family, x):
    x = x.double().requires_grad_()
    net, arrays = tk.DECOMPOSITIONS[family](x, rank=3)
    (tk.contract(net, arrays) ** 2).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_gradient_at_degenerate_values_is_right():
    """Kept values that coincide do not matter to the product: its derivative is that of the projection."""
    x = torch.diag(torch.tensor([2.0, 2, 1, 1, 0])).double().requires_grad_()
    w = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(x):
        net, arrays = tk.low_rank_svd(x, rank=2)
        return (tk.contract(net, arrays) * w).sum()

    assert torch.autograd.gradcheck(loss, x)


def test_gradgradcheck():
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def product(x):
        net, arrays = tk.tt_svd(x, rank=2)
        return tk.contract(net, arrays)

    assert torch.autograd.gradgradcheck(product, x, atol=1e-4)


# -- any scale ------------------------------------------------------------------------------------------------------------
AT_ANY_SCALE = {
    "tt_svd": lambda x, backend: tk.tt_svd(x, rank=3, backend=backend),
    "tt_svd within a tolerance": lambda x, backend: tk.tt_svd(x, tol=0.6, backend=backend),
    "tt_svd within a budget": lambda x, backend: tk.tt_svd(x, budget=60, backend=backend),
    "tucker_svd": lambda x, backend: tk.tucker_svd(x, rank=3, backend=backend),
    "ring_svd": lambda x, backend: tk.ring_svd(x, budget=80, backend=backend),
    "round": lambda x, backend: tk.round(*tk.tt_svd(x, backend=backend), rank=3, backend=backend),
    "als": lambda x, backend: tk.als(x, tk.tt(x.shape, 2), restarts=2, backend=backend),
    "als from a start": lambda x, backend: tk.als(x, *tk.tt_svd(x, rank=2, backend=backend), backend=backend),
    "cp_als": lambda x, backend: tk.cp_als(x, rank=2, restarts=2, backend=backend),
}


@pytest.mark.parametrize("what", AT_ANY_SCALE)
@pytest.mark.parametrize("backend", [tk.NUMPY, tknn.TORCH], ids=lambda o: o.name)
@pytest.mark.parametrize(("dtype", "scales"), [("float32", (1e-30, 1e30)), ("float64", (1e-250, 1e250))])
def test_a_decomposition_is_as_good_at_any_scale(what, backend, dtype, scales):
    """Squares of small entries vanish, of large ones overflow: neither is zeros, nor without an error."""
    base = np.random.default_rng(5).standard_normal((5, 6, 4))
    as_it_is = AT_ANY_SCALE[what](backend.like(base, like(backend, dtype)), backend).error
    for scale in scales:
        x = (base * scale).astype(dtype)
        found = AT_ANY_SCALE[what](backend.like(x, like(backend, dtype)), backend)
        made = tk.contract(found.network, {n: np.asarray(a, np.float64) for n, a in found.arrays.items()})
        true = np.linalg.norm(made / scale - x.astype(np.float64) / scale) / np.linalg.norm(base)
        assert found.error == pytest.approx(true, rel=1e-4) and found.error == pytest.approx(as_it_is, rel=1e-2)
        assert 0.1 < found.error < 1


def like(backend, dtype):
    return np.zeros(1, dtype) if backend is tk.NUMPY else torch.zeros(1, dtype=getattr(torch, dtype))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_norms_and_distances_at_any_scale(scale):
    net = tk.tt((4,) * 9, 3)  # more entries than are formed
    arrays = tk.init.normal(net, seed=0)
    small = {**arrays, "core_0": arrays["core_0"] * scale}
    want = float(tk.norm(net, arrays))
    assert float(tk.norm(net, small)) == pytest.approx(want * scale, rel=1e-12)
    other = {**small, "core_0": 2 * small["core_0"]}
    assert float(tk.distance(net, small, net, other)) == pytest.approx(want * scale, rel=1e-9)
    one = tk.tt((3, 4), 2)
    few = {n: a * scale**0.5 for n, a in tk.init.normal(one, seed=0).items()}
    assert float(tk.norm(one, few)) == pytest.approx(scale * np.linalg.norm(tk.contract(one, few) / scale), rel=1e-12)


def test_the_error_of_a_ring_is_the_true_one():
    """Where its first core is padded, what the chain has in those rows is no error of the ring."""
    padded = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(tuple(rng.integers(2, 6, 3)))
        d = tk.ring_svd(x, rank=int(rng.integers(1, 4)))
        assert d.error == pytest.approx(np.linalg.norm(x - tk.contract(*d)) / np.linalg.norm(x), abs=1e-12)
        padded += any((np.abs(a).sum(1) == 0).any() for a in d.arrays.values())
    assert padded > 0

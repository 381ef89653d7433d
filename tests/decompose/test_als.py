from dataclasses import replace

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.decompose.fitting import Problem
from tnkit.decompose.messages import Messages
from tnkit.testing import oracle, random_network
from tnkit_nn import TORCH


def relative(x, found):
    """The error by an oracle, in double precision."""
    net, arrays = found
    wide = {n: np.asarray(a, np.complex128) for n, a in arrays.items()}
    return float(np.linalg.norm(oracle(net, wide) - x) / np.linalg.norm(x))


def target(net, seed, dtype=np.float64):
    return np.asarray(oracle(net, tk.init.normal(net, seed=1000 + seed, dtype=dtype)))


def untied(seed, dtype=np.float64):
    """A random network without ties, and its arrays."""
    net, arrays = random_network(seed, dtype=dtype, max_nodes=6)
    own = tuple(n if isinstance(n.fixed, str) else replace(n, array=n.name) for n in net.nodes)
    return replace(net, nodes=own), {n.name: arrays[n.array] for n in net.nodes if not isinstance(n.fixed, str)}


RANDOM = [s for s in range(60) if untied(s)[0].parameters and untied(s)[0].output]


# -- environments that are kept -------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_messages_are_environments_whatever_changed(seed):
    """Of one node and of two, after arrays were given anew in any order."""
    rng = np.random.default_rng(seed)
    ring = tk.ring((2, 3, 2, 3, 2), 2)
    net = tk.Network((*ring.nodes, tk.Node("x", ring.output)), (), ring.sizes)
    arrays = {n.name: rng.standard_normal([net.sizes[i] for i in n.inds]) for n in net.nodes}
    messages = Messages(net, arrays, tk.NUMPY)
    for _ in range(12):
        name, other = (str(n) for n in rng.choice(list(arrays), 2, replace=False))
        arrays[name] = rng.standard_normal(arrays[name].shape)
        messages.set(name, arrays[name])
        rest = tk.environment(net, other)
        found = messages.into(other)
        assert np.allclose(oracle(rest, {n: arrays[n] for n in rest.array_shapes}), found)
        both = [n for n in net.nodes if n.name not in (name, other)]
        kept = {i for n in both for i in n.inds}
        output = tuple(i for i in dict.fromkeys(net[name].inds + net[other].inds) if i in kept)
        expected = oracle(
            tk.Network(both, output, {i: net.sizes[i] for i in kept}), {n.name: arrays[n.name] for n in both}
        )
        assert np.allclose(messages.between(name, other, output, {}), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("seed", RANDOM[:12])
def test_gradients_and_gauss_newton_blocks(seed, dtype):
    """Against a Jacobian that is formed, column by column."""
    net, arrays = untied(seed, dtype)
    full = {n: np.asarray(a, dtype) for n, a in tk.check_arrays(net, arrays).items()}
    x = np.random.default_rng(seed).standard_normal(net.shape).astype(dtype)
    one = tk.Network([tk.Node("x", net.output)], net.output, {i: net.sizes[i] for i in net.output})
    problem = Problem(net, full, one, {"x": x}, 1.0, lambda a: 0.0, tk.NUMPY)
    columns = {}
    for name, node in problem.nodes.items():
        steps = np.eye(full[node.array].size, dtype=dtype).reshape(-1, *full[node.array].shape)
        columns[name] = np.stack([oracle(net, {**full, node.array: s}).reshape(-1) for s in steps], 1)
    left = x - oracle(net, full)
    for row in problem.nodes:
        gradient = columns[row].conj().T @ left.reshape(-1)
        assert np.allclose(problem.gradient(row).reshape(-1), gradient, atol=1e-9 * max(1, abs(gradient).max()))
        for column in problem.nodes:
            expected = columns[row].conj().T @ columns[column]
            assert np.allclose(problem.block(row, column), expected, atol=1e-9 * max(1, abs(expected).max()))


# -- als ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("seed", RANDOM)
def test_any_network_finds_what_it_can_be(seed, library):
    """Traces, hyperedges, shared open indices, scalars, fixed nodes, constants."""
    dtype = np.complex128 if seed % 2 else np.float64
    net, arrays = untied(seed, dtype)
    x = np.asarray(oracle(net, arrays), dtype)
    fixed = {n: a for n, a in arrays.items() if n not in net.parameters}
    if library == "numpy":
        found = tk.als(x, net, fixed)
    else:
        tensors = {n: torch.as_tensor(a) for n, a in fixed.items()}
        found = tk.als(torch.as_tensor(x), net, tensors)
        assert all(isinstance(a, torch.Tensor) for a in found.arrays.values())
    assert found.network == net and set(found.arrays) == set(arrays)
    assert relative(x, found) < 1e-6 and found.error == pytest.approx(relative(x, found), abs=1e-12)


LOOPS = {
    "ring": tk.ring((4, 4, 4, 4), 3),
    "peps": tk.peps(2, 3, 3, 2),
    "cp": tk.cp((4, 5, 6), 6),
    "tt": tk.tt((4, 5, 3, 4), 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LOOPS)
def test_exact_targets_are_found_in_spite_of_loops(name, seed, dtype):
    x = target(LOOPS[name], seed, dtype)
    found = tk.als(x, LOOPS[name])
    assert found.error < 1e-8 and relative(x, found) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
def test_single_precision_keeps_its_digits(dtype):
    net = LOOPS["tt" if dtype == "float16" else "ring"]
    x = target(net, 0, "complex128" if dtype == "complex64" else "float64").astype(dtype)
    own = {"float16": "float32"}.get(dtype, dtype)
    for backend, y in ((tk.NUMPY, x), (TORCH, torch.as_tensor(x))):
        found = tk.als(y, net, backend=backend)
        assert {str(a.dtype).removeprefix("torch.") for a in found.arrays.values()} == {own}
        assert relative(x.astype(own), found) < (2e-3 if dtype == "float16" else 1e-6)


def test_noise_is_reached_and_a_matrix_is_as_by_svd():
    rng = np.random.default_rng(0)
    x = target(LOOPS["tt"], 0)
    noise = 0.05 * rng.standard_normal(x.shape)
    found = tk.als(x + noise, LOOPS["tt"])
    assert found.error <= np.linalg.norm(noise) / np.linalg.norm(x + noise)
    y = rng.standard_normal((12, 9))
    s = np.linalg.svd(y, compute_uv=False)
    best = np.linalg.norm(s[4:]) / np.linalg.norm(s)
    assert tk.als(y, tk.low_rank(y.shape, 4)).error == pytest.approx(best, rel=1e-5)
    bond = tk.tt_svd(x + noise, rank=3)
    better = tk.als(x + noise, LOOPS["tt"], bond.arrays)
    assert better.error <= bond.error


def test_large_arrays_are_swept_alone():
    """Too many unknowns for Gauss-Newton: extrapolated sweeps."""
    net = tk.ring((20, 20, 20), 6)
    assert tk.als(target(net, 0), net, restarts=2).error < 1e-6


def test_a_start_fixed_arrays_zeros_and_repetition():
    net = tk.Network(
        [tk.Node("A", "ir"), tk.Node("M", "rs", fixed=True), tk.Node("B", "sj")], "ij", dict(i=4, j=5, r=3, s=3)
    )
    full = {**tk.init.normal(net, seed=1), "M": np.arange(9.0).reshape(3, 3) + np.eye(3)}
    x = oracle(net, full)
    start = {n: a + 0.1 for n, a in full.items()} | {"M": full["M"]}
    found = tk.als(x, net, start)
    assert found.error < 1e-8 and found.arrays["M"] is start["M"]
    assert found.methods == {"A": "als", "B": "als"}
    for a, b in zip(
        tk.als(x, net, {"M": full["M"]}).arrays.values(), tk.als(x, net, {"M": full["M"]}).arrays.values(), strict=True
    ):
        assert np.array_equal(a, b)
    zero = tk.als(np.zeros((4, 5)), net, {"M": full["M"]})
    assert zero.error == 0 and not oracle(net, zero.arrays).any()
    assert tk.als(x, net, {"M": full["M"]}, tol=0.5, restarts=1).error <= 0.5


# -- more parameters than entries -----------------------------------------------------------------------------------
OVER = {
    "ring": tk.ring((6, 2, 3, 2, 6), (3, 2, 4, 12, 18)), "a ring near the count": tk.ring((6, 6, 6), (4, 4, 4)),
    "cp": tk.cp((4, 5, 6), 25), "tucker": tk.tucker((4, 5, 6), (5, 6, 7)), "tt": tk.tt((4, 4, 4), (6, 6)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.parametrize("name", OVER)
def test_more_parameters_than_entries_are_exact(name, dtype):
    """Of noise; single precision keeps its digits as well, for arrays do not grow where nothing is gained."""
    net, rng = OVER[name], np.random.default_rng(1)
    x = rng.standard_normal(net.shape)
    x = (x + 1j * rng.standard_normal(net.shape) if dtype == "complex128" else x).astype(dtype)
    assert net.num_params > x.size
    found = tk.als(x, net)
    assert relative(x, found) == pytest.approx(found.error, rel=0.2, abs=3e-6 if dtype == "float32" else 1e-12)
    assert relative(x, found) <= (3e-6 if dtype == "float32" else 2e-12)


def test_refusals():
    net = tk.tt((2, 3), 2)
    x = np.ones((2, 3))
    tied = tk.Network([tk.Node("A", "ir"), tk.Node("B", "jr", array="A")], "ij", dict(i=2, j=2, r=3))
    fixed = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj", fixed=True)], "ij", dict(i=2, j=3, r=2))
    cases = [
        (ValueError, "index 'i1' .shape .2, 4.., the network .2, 3.", lambda: tk.als(np.ones((2, 4)), net)),
        (ValueError, "x has shape .2,., the network .2, 3.", lambda: tk.als(np.ones(2), net)),
        (ValueError, "not finite", lambda: tk.als(np.full((2, 3), np.nan), net)),
        (ValueError, "node 'act' is an Elementwise", lambda: tk.als(x, net.activate("tanh", "act"))),
        (ValueError, "'A' and 'B' share array 'A'", lambda: tk.als(np.ones((2, 2)), tied)),
        (KeyError, "no array 'B' for node 'B'", lambda: tk.als(x, fixed)),
        (KeyError, "'core_0' is there, 'core_1' is not", lambda: tk.als(x, net, {"core_0": np.ones((2, 2))})),
        (ValueError, "belongs to no node", lambda: tk.als(x, net, {"C": x})),
        (ValueError, "array 'B' has entries that are not finite", lambda: tk.als(x, fixed, {"B": x * np.inf})),
        (ValueError, "array 'B' is complex128, but the target is real", lambda: tk.als(x, fixed, {"B": np.ones((2, 3)) * 1j})),
        (ValueError, "als: tol is a number of at least 0, not -1", lambda: tk.als(x, net, tol=-1)),
        (ValueError, "als: ridge is a number of at least 0, not -1", lambda: tk.als(x, net, ridge=-1)),
        (ValueError, "als: sweeps is a whole number of at least 1, not 0", lambda: tk.als(x, net, sweeps=0)),
        (TypeError, "a Network is needed", lambda: tk.als(x, "tt")),
        (TypeError, "x is a Tensor, which is no array of numpy; convert it", lambda: tk.als(torch.ones(2, 3), net, backend=tk.NUMPY)),
        (TypeError, "array 'B' is a torch.Tensor, which is no array of numpy", lambda: tk.als(x, fixed, {"B": torch.ones(2, 3)})),
        (ValueError, "x requires a gradient", lambda: tk.als(torch.ones(2, 3, requires_grad=True), net)),
        (ValueError, "output index 'i1' has size 3, but 'i1' at its place has 4", lambda: tk.project(tk.tt((2, 4), 1), {}, net)),
        (ValueError, "target.: node 'act'", lambda: tk.project(net.activate("tanh", "act"), {}, net)),
        (ValueError, "give a rank, a tol or a budget", lambda: tk.cp_als(x)),
        (ValueError, "cp_als: rank is a whole number of at least 1, not 0", lambda: tk.cp_als(x, 0)),
        (ValueError, "budget 4 is below the 5 parameters of one term", lambda: tk.cp_als(x, budget=4)),
        (TypeError, "cp_als: rank is a whole number or a sequence of them, not 1.5", lambda: tk.cp_als(x, 1.5)),
        (ValueError, "x is a scalar", lambda: tk.cp_als(np.float64(1), 1)),
        (ValueError, "no entries", lambda: tk.cp_als(np.ones((2, 0)), 1)),
    ]  # fmt: skip
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()


# -- project --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_projecting_is_fitting(library, dtype):
    """A target held as another network, against the same target formed."""
    net, ring = tk.tt((3, 4, 3, 4), 3), tk.ring((3, 4, 3, 4), 3)
    arrays = tk.init.normal(ring, seed=3, dtype=dtype)
    x = np.asarray(oracle(ring, arrays))
    backend = TORCH if library == "torch" else tk.NUMPY
    given = {n: torch.as_tensor(a) for n, a in arrays.items()} if library == "torch" else arrays
    found = tk.project(ring, given, net, backend=backend)
    assert found.error == pytest.approx(tk.als(x, net).error, rel=1e-4)
    assert found.error == pytest.approx(relative(x, found), rel=1e-9)


@pytest.mark.slow
def test_projecting_what_never_fits_in_memory():
    net, small = tk.tt((4,) * 40, 6), tk.tt((4,) * 40, 3)
    arrays = tk.init.normal(net, seed=0, std=1e-12)
    for k in range(1, 40):
        a = arrays[f"core_{k}"]
        arrays[f"core_{k}"] = a * (0.4 ** np.arange(len(a))).reshape(-1, *[1] * (a.ndim - 1))
    cut = tk.round(net, arrays, rank=3)
    found = tk.project(net, arrays, small, cut.arrays)
    assert 0 < found.error < cut.error
    off = float(tk.distance(net, arrays, small, found.arrays)) / float(tk.norm(net, arrays))
    assert found.error == pytest.approx(off, rel=1e-6)
    same = tk.project(net, arrays, net, {n: a * (1 + 1e-3) for n, a in arrays.items()})
    assert same.error < 1e-10


# -- cp -------------------------------------------------------------------------------------------------------------
def exact(shape, rank, dtype, cosine, seed):
    """A CP tensor whose terms have this cosine (about that, where the rank is above the size) in every factor."""
    rng = np.random.default_rng(seed)
    factors = []
    for n in shape:
        f = rng.standard_normal((n, rank)) + (1j * rng.standard_normal((n, rank)) if dtype == "complex128" else 0)
        if cosine and n >= rank:
            f = np.linalg.qr(f)[0] @ np.linalg.cholesky(np.full((rank, rank), cosine) + (1 - cosine) * np.eye(rank)).T
        elif cosine:
            f = f / np.linalg.norm(f, axis=0) * np.sqrt(1 - cosine) + np.sqrt(cosine / n)
        factors.append(f)
    return np.asarray(oracle(tk.cp(shape, rank), {f"factor_{k}": f for k, f in enumerate(factors)}))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("cosine", [0.0, 0.9])
@pytest.mark.parametrize(
    "shape, rank", [((10, 12, 14), 2), ((10, 12, 14), 5), ((10, 12, 14), 8), ((6, 6, 6, 6), 4), ((4, 5, 6), 6)]
)
def test_exact_cp_is_found(shape, rank, cosine, dtype):
    for seed in range(2):
        x = exact(shape, rank, dtype, cosine, seed)
        found = tk.cp_als(x, rank)
        assert found.network == tk.cp(shape, rank)
        assert found.error < 1e-6 and relative(x, found) < 1e-6


@pytest.mark.parametrize("cosine", [0.0, 0.9])
def test_noisy_cp_reaches_the_noise(cosine):
    for seed in range(3):
        x = exact((15, 20, 18), 5, "float64", cosine, seed)
        noise = np.random.default_rng(seed).standard_normal(x.shape)
        noise *= 0.1 * np.linalg.norm(x) / np.linalg.norm(noise)
        found = tk.cp_als(x + noise, 5)
        assert found.error <= 1.0 * np.linalg.norm(noise) / np.linalg.norm(x + noise)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_cp_in_torch(dtype):
    x = exact((8, 9, 30), 4, "complex128" if dtype == "complex64" else "float64", 0.0, 0).astype(dtype)
    found = tk.cp_als(torch.as_tensor(x), 4)
    assert {a.dtype for a in found.arrays.values()} == {getattr(torch, dtype)}
    assert relative(x, found) < 1e-6


@pytest.mark.slow
def test_cp_by_tolerance_and_by_budget():
    x = exact((7, 8, 9), 4, "float64", 0.0, 1)
    found = tk.cp_als(x, tol=1e-5)
    assert found.network == tk.cp(x.shape, 4) and found.error <= 1e-5
    loose = tk.cp_als(x, tol=0.7)
    assert loose.error <= 0.7 and loose.network.num_params < found.network.num_params
    capped = tk.cp_als(x, 2, tol=1e-5)
    assert capped.network == tk.cp(x.shape, 2) and 1e-5 < capped.error == pytest.approx(tk.cp_als(x, 2).error, rel=1e-4)
    assert tk.cp_als(x, budget=80).network == tk.cp(x.shape, 3)
    assert tk.cp_als(x, 2, budget=80).network == tk.cp(x.shape, 2)


def test_cp_of_few_axes_of_zeros_and_its_terms():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((8, 11))
    s = np.linalg.svd(y, compute_uv=False)
    assert tk.cp_als(y, 3).error == pytest.approx(np.linalg.norm(s[3:]) / np.linalg.norm(s), rel=1e-6)
    assert tk.cp_als(np.arange(1, 5), 2).error < 1e-10
    zero = tk.cp_als(np.zeros((2, 3, 4)), 2)
    assert zero.network == tk.cp((2, 3, 4), 2) and zero.error == 0 and not oracle(*zero).any()
    found = tk.cp_als(exact((5, 6, 7), 3, "float64", 0.0, 0), 3)
    norms = np.array([np.linalg.norm(a, axis=0) for a in found.arrays.values()])
    assert np.allclose(norms, norms[0]) and (np.diff(norms[0]) <= 0).all()
    again = tk.cp_als(exact((5, 6, 7), 3, "float64", 0.0, 0), 3)
    assert all(np.array_equal(a, again.arrays[n]) for n, a in found.arrays.items())


# -- an error per sweep ---------------------------------------------------------------------------------------------
def _searches():
    x = np.random.default_rng(0).standard_normal((6, 7, 5))
    ring, target = tk.ring((6, 7, 5), 3), tk.tt((6, 7, 5), 4)
    arrays = tk.init.normal(target, seed=0)
    return {
        "als": lambda **options: tk.als(x, ring, sweeps=30, **options),
        "als, dear steps": lambda **options: tk.als(np.resize(x, (20, 20, 20)), tk.ring((20,) * 3, 8), sweeps=30, **options),
        "cp_als": lambda **options: tk.cp_als(x, 3, sweeps=30, **options),
        "cp_als by tolerance": lambda **options: tk.cp_als(x, tol=0.5, sweeps=30, **options),
        "project": lambda **options: tk.project(target, arrays, tk.tt((6, 7, 5), 2), sweeps=30, **options),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", _searches())
def test_every_sweep_is_told_and_can_be_the_last(name):
    search, told = _searches()[name], []
    found = search(callback=lambda sweep, error: told.append((sweep, error)))
    assert [k for k, _ in told] == list(range(1, len(told) + 1))
    assert found.error == search().error  # who is told changes nothing
    errors = [e for _, e in told]
    if name == "cp_als by tolerance":  # ranks above the one returned have smaller errors
        assert min(abs(e - found.error) for e in errors) < 1e-3
    else:
        assert min(errors) == pytest.approx(found.error, rel=1e-3, abs=1e-9)
    last = []
    found = search(callback=lambda sweep, error: last.append(error) or sweep == 4)
    assert len(last) == 4 and last == errors[:4]
    if name != "cp_als by tolerance":  # whose first ranks may be better than the one it was at
        assert found.error == pytest.approx(min(last), rel=1e-6)


def test_an_error_in_a_callback_comes_out():
    def callback(sweep, error):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        tk.als(np.ones((2, 3)), tk.low_rank((2, 3), 1), callback=callback)
    with pytest.raises(TypeError, match="als: callback is a function, not 3"):
        tk.als(np.ones((2, 3)), tk.low_rank((2, 3), 1), callback=3)

"""Results of any size: mantissa and exponent against exact numbers, and contraction right whatever leaves the range on the way."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import inf, log

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.execution.library import backend_of
from tnkit.execution.powers import aligned
from tnkit.testing import oracle, random_network

LIBRARIES = {"numpy": lambda a: a, "torch": torch.tensor}


def value(found):
    """A pair as exact numbers."""
    mantissa, exponent = found
    assert float(exponent) == round(float(exponent))
    scale = Fraction(10) ** int(exponent)
    return np.vectorize(lambda x: Fraction(float(x)) * scale, otypes=[object])(np.asarray(mantissa))


def close(found, want, tol):
    """Whether exact numbers agree, beside the largest."""
    most = max(abs(w) for w in np.ravel(want)) or 1
    return all(abs(f - w) <= Fraction(tol) * most for f, w in zip(np.ravel(found), np.ravel(want), strict=True))


def ising(rows, columns, beta):
    """Network and array of the partition function of a lattice of spins."""
    weights = np.exp(beta * np.array([[1.0, -1.0], [-1.0, 1.0]]))
    spins = [(i, j) for i in range(rows) for j in range(columns)]
    bonds = [
        ((i, j), (i + di, j + dj))
        for i, j in spins
        for di, dj in ((0, 1), (1, 0))
        if i + di < rows and j + dj < columns
    ]
    nodes = [tk.Node(f"{a}{b}", (str(a), str(b)), array="W") for a, b in bonds]
    return tk.Network(nodes, (), {str(s): 2 for s in spins}), {"W": weights}


def log_partition(rows, columns, beta):
    """By the transfer matrix, in logarithms."""
    row = np.array([[1 - 2 * (k >> j & 1) for j in range(columns)] for k in range(2**columns)])
    along, across = np.exp(beta * (row[:, 1:] * row[:, :-1]).sum(1)), np.exp(beta * row @ row.T)
    state, total = along, 0.0
    for _ in range(rows - 1):
        state = along * (across @ state)
        total, state = total + log(state.max()), state / state.max()
    return total + log(state.sum())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", range(40))
def test_random_networks_of_any_size(seed, library):
    """Arrays times powers of ten: the same mantissa, the exponents' sum."""
    net, arrays = random_network(seed)
    rng = np.random.default_rng(seed)
    powers = {name: int(rng.integers(-250, 250)) for name in arrays}
    uses = [leaf.array for leaf in net.leaves]
    scaled = {n: LIBRARIES[library](a * 10.0 ** powers[n]) for n, a in arrays.items()}
    exact = sum(powers.get(n, 0) for n in uses)
    want = np.vectorize(lambda x: Fraction(float(x)) * Fraction(10) ** exact, otypes=[object])(oracle(net, arrays))
    got = tk.contract(net, scaled, strip_exponent=True)
    assert close(value(got), want, 1e-11)
    assert close(value(tk.run(tk.plan(net), tk.check_arrays(net, scaled), strip_exponent=True)), want, 1e-11)
    largest = float(abs(np.asarray(got[0])).max())
    assert largest == 0 or 1 <= largest < 10
    assert isinstance(got[1], float) if library == "numpy" else got[1].dtype == torch.float64


@pytest.mark.parametrize("seed", range(30))
def test_nonlinear_networks_too(seed):
    net, arrays = random_network(seed, nonlinear=True)
    want, plain = oracle(net, arrays), tk.run(tk.plan(net), tk.check_arrays(net, arrays))
    tol = max(1e-11, 10 * float(np.max(abs(plain - want)) / np.max(abs(want))))  # some are next to nothing but rounding
    assert tol < 1e-6
    assert close(value(tk.contract(net, arrays, strip_exponent=True)), want, tol)
    tensors = {n: torch.tensor(a) for n, a in arrays.items()}
    assert close(value(tk.contract(net, tensors, strip_exponent=True)), want, tol)


@pytest.mark.parametrize("fn", tk.ACTIVATIONS)
def test_activations_of_large_and_small_values(fn):
    """A product of 1e-200 and 1e200 twice is formed small first; the activation sees its value."""
    x = np.array([0.3, -0.7, 2.0])
    rows = [tk.Node(f"{k}{n}", ("i",), array=f"{k}{n}") for k in "ab" for n in range(2)]
    body = tk.Network(rows, "i", dict(i=3))
    bodies = (body,) if fn in tk.core.activations.UNARY else (body, body.relabel(nodes=lambda n: n + "'"))
    net = tk.Network((tk.Elementwise("f", fn, bodies),), "i")
    arrays = {"a0": x * 1e-200, "a1": np.full(3, 1e-200), "b0": np.full(3, 1e200), "b1": np.full(3, 1e200)}
    want = tk.ACTIVATIONS[fn](np, *([x] * len(bodies)))
    for optimizer in ("auto", lambda inputs, output, sizes, limit: [(0, 1), (0, 1), (0, 1)]):
        assert np.allclose(tk.contract(net, arrays, optimizer=optimizer), want, rtol=1e-12)
    mantissa, exponent = tk.contract(net, arrays, strip_exponent=True)
    assert np.allclose(mantissa * 10.0**exponent, want, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_partition_function_of_a_long_lattice(library):
    net, arrays = ising(250, 6, 0.4)
    want = log_partition(250, 6, 0.4)
    assert abs(want - 1288.652746587) < 1e-9
    for dtype, tol in (("float64", 1e-13), ("float32", 1e-7)):
        given = {n: LIBRARIES[library](a.astype(dtype)) for n, a in arrays.items()}
        mantissa, exponent = tk.contract(net, given, strip_exponent=True)
        assert log(mantissa) + float(exponent) * log(10) == pytest.approx(want, rel=tol)
        with pytest.warns(
            RuntimeWarning, match=rf"contract: .*about 1e\+559.7, above the range of {dtype}; strip_exponent"
        ):
            assert tk.contract(net, given) == inf


def test_the_gradient_of_a_free_energy():
    net, _ = ising(60, 4, 0.4)
    beta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    weights = torch.exp(beta * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64))
    mantissa, exponent = tk.contract(net, {"W": weights}, strip_exponent=True)
    (slope,) = torch.autograd.grad(mantissa.log() + exponent * log(10), beta)
    assert float(slope) == pytest.approx(
        (log_partition(60, 4, 0.4 + 1e-5) - log_partition(60, 4, 0.4 - 1e-5)) / 2e-5, rel=1e-8
    )


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_gradients(size):
    """Those of the mantissa, the exponent standing still; and those of the value, though the order takes A.B first."""
    nodes = [tk.Node(n, i) for n, i in zip("ABCD", ("ir", "rs", "st", "tj"), strict=True)]
    net = tk.Network(nodes, "ij", dict(i=2, j=3, r=2, s=2, t=2))
    rng = np.random.default_rng(0)
    one = [torch.tensor(rng.normal(size=s), requires_grad=True) for s in net.array_shapes.values()]

    def contracted(a, b, c, d, **options):
        scaled = {"A": a * size, "B": b * size, "C": c / size, "D": d / size}
        return tk.contract(net, scaled, optimizer=lambda *_: [(0, 1), (0, 1), (0, 1)], **options)

    want = torch.autograd.grad((one[0] @ one[1] @ one[2] @ one[3]).square().sum(), one)
    for got, right in zip(torch.autograd.grad(contracted(*one).square().sum(), one), want, strict=True):
        assert torch.allclose(got, right, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda *xs: contracted(*xs, strip_exponent=True)[0], tuple(one))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("power", range(-36, 37, 3))
def test_what_leaves_the_range_on_the_way_only(power, library):
    """A.B.C.D of float32: the order takes two of one kind first; whatever their size, the result is 8."""
    net = tk.Network(
        [tk.Node(n, i) for n, i in zip("ABCD", ("ab", "bc", "cd", "de"), strict=True)], "ae", dict.fromkeys("abcde", 2)
    )
    one = np.ones((2, 2), np.float32)
    arrays = {n: LIBRARIES[library](one * np.float32(10.0 ** (power if n in "AB" else -power))) for n in "ABCD"}
    got = tk.contract(net, arrays)
    assert np.allclose(got, 8, rtol=1e-5) and str(got.dtype).endswith("float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64", "complex128", "float64"])
def test_every_dtype(dtype):
    net = tk.Network(
        [tk.Node(n, i) for n, i in zip("ABC", ("ab", "bc", "cd"), strict=True)], "ad", dict.fromkeys("abcd", 3)
    )
    rng = np.random.default_rng(1)
    wide = {n: rng.normal(size=(3, 3)) + (1j * rng.normal(size=(3, 3)) if "complex" in dtype else 0) for n in "ABC"}
    scale = {"A": 3.0, "B": 3.0, "C": -5.0} if dtype == "float16" else {"A": 25.0, "B": 25.0, "C": -30.0}
    arrays = {n: torch.tensor(a * 10.0 ** scale[n]).to(getattr(torch, dtype)) for n, a in wide.items()}
    mantissa, exponent = tk.contract(net, arrays, strip_exponent=True)
    want = wide["A"] @ wide["B"] @ wide["C"]
    got = np.asarray(mantissa.to(torch.complex128 if "complex" in dtype else torch.float64)) * 10.0 ** (
        float(exponent) - sum(scale.values())
    )
    assert np.allclose(got, want, atol={"float16": 5e-2, "bfloat16": 3e-1, "complex64": 1e-5}.get(dtype, 1e-12))


def test_zeros_nan_and_inf_stay():
    net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj")], "ij", dict(i=2, j=2, r=2))
    one = np.eye(2)
    for bad in (0.0, np.nan, inf):
        with np.errstate(invalid="ignore"):
            mantissa, exponent = tk.contract(
                net, {"A": one * bad if not bad else np.full((2, 2), bad), "B": np.ones((2, 2))}, strip_exponent=True
            )
            plain = tk.contract(net, {"A": np.full((2, 2), bad), "B": np.ones((2, 2))})
        assert exponent == 0 and np.array_equal(mantissa, np.full((2, 2), bad), equal_nan=True)
        assert np.array_equal(plain, np.full((2, 2), bad), equal_nan=True)
    ints = tk.contract(net, {"A": np.full((2, 2), 3), "B": np.full((2, 2), 40)}, strip_exponent=True)
    assert np.allclose(ints[0], 2.4) and ints[1] == 2


def test_a_result_out_of_range_is_said_by_name():
    net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj")], "ij", dict(i=2, j=2, r=2))
    for power, said in (
        (200, r"about 1e\+400.3, above the range of float64"),
        (-200, r"about 1e-399.7, below the range of float64"),
    ):
        with pytest.warns(RuntimeWarning, match=said):
            got = tk.contract(net, {n: np.full((2, 2), 10.0**power) for n in "AB"})
        assert np.all(got == (inf if power > 0 else 0))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("output", ["", "ai", "a"])
def test_slices_and_executors(library, output):
    """Slices of very different sizes, summed and put beside one another."""
    letters = "abcdefghi"
    nodes = [tk.Node(f"N{k}", letters[k : k + 2]) for k in range(len(letters) - 1)]
    net = tk.Network(nodes, output, dict.fromkeys(letters, 4))
    rng = np.random.default_rng(3)
    arrays = {n: rng.normal(size=s) * 10.0 ** rng.integers(-40, 40, size=s) for n, s in net.array_shapes.items()}
    exact = np.vectorize(Fraction, otypes=[object])
    want = exact(arrays["N0"])
    for k in range(1, len(nodes)):
        want = want.dot(exact(arrays[f"N{k}"]))
    want = {"ai": want, "a": want.sum(1), "": want.sum()}[output]
    given = {n: LIBRARIES[library](a) for n, a in arrays.items()}
    p = tk.plan(net, slices=8)
    assert p.sliced is not None
    assert close(value(tk.run(p, given, strip_exponent=True)), want, 1e-11)
    with ThreadPoolExecutor(2) as executor:
        assert close(value(tk.run(p, given, executor=executor, strip_exponent=True)), want, 1e-11)


@pytest.mark.slow
def test_where_values_cannot_be_read():
    """Under vmap, compiled, and in other libraries of the standard."""
    net, _ = ising(40, 3, 0.3)
    p = tk.plan(net)
    betas = torch.tensor([0.1, 0.3, 0.5], dtype=torch.float64)
    weights = torch.exp(betas[:, None, None] * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64))
    mantissa, exponent = torch.vmap(lambda w: tk.run(p, {"W": w}, strip_exponent=True))(weights)
    want = [log_partition(40, 3, float(b)) for b in betas]
    assert np.allclose(mantissa.log() + exponent * log(10), want, rtol=1e-12)
    contracted = torch.vmap(lambda w: tk.contract(net, {"W": w}))(weights)
    assert np.allclose(contracted.log(), want, rtol=1e-12)
    slope = torch.vmap(torch.func.grad(lambda w: tk.run(p, {"W": w}, strip_exponent=True)[0]))(weights)
    assert slope.isfinite().all()


@pytest.mark.slow
def test_the_standard_library():
    strict = pytest.importorskip("array_api_strict")
    net, arrays = ising(250, 6, 0.4)
    mantissa, exponent = tk.contract(net, {"W": strict.asarray(arrays["W"])}, strip_exponent=True)
    assert log(float(mantissa)) + float(exponent) * log(10) == pytest.approx(1288.652746587, rel=1e-12)


@pytest.mark.slow
def test_jax_under_jit():
    jax = pytest.importorskip("jax")
    net, arrays = ising(40, 3, 0.3)
    p = tk.plan(net)
    mantissa, exponent = jax.jit(lambda w: tk.run(p, {"W": w}, strip_exponent=True))(jax.numpy.asarray(arrays["W"]))
    assert log(float(mantissa)) + float(exponent) * log(10) == pytest.approx(log_partition(40, 3, 0.3), rel=1e-5)


def test_ordinary_arrays_run_as_they_are():
    """No tensor is looked at on the way where none can leave the range: the result is run's own, bit for bit."""
    for seed in range(10):
        net, arrays = random_network(seed)
        assert np.array_equal(tk.contract(net, arrays), tk.run(tk.plan(net), tk.check_arrays(net, arrays)))


@pytest.mark.parametrize("library", LIBRARIES)
def test_zeros_of_any_exponent_do_not_hide_what_is_small(library):
    """What a slice of zeros has taken off on its way says nothing of its size."""
    backend = backend_of(None, {"x": LIBRARIES[library](np.ones(2))})
    zeros, ones = (LIBRARIES[library](x) for x in (np.zeros(2), np.ones(2)))
    (none, all_), power = aligned([(zeros, 3000.0), (ones, -20.0)], backend)
    assert power == -20.0 and np.array_equal(none, [0, 0]) and np.array_equal(all_, [1, 1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_sums_of_terms_that_are_small_in_different_ways(library):
    """float32: the first term is 2^-110 with an exponent taken off, the second 2^-100 with another; both count."""
    small, large = np.float32(2.0) ** -30, np.float32(2.0) ** 30
    terms = [tk.Node(f"{t}{k}", ("a",), array=f"{t}{k}") for t in "xy" for k in range(8)]
    bodies = [tk.Network(terms[:8], "a", dict(a=2)), tk.Network(terms[8:], "a", dict(a=2))]
    net = tk.Network((tk.Elementwise("sum", "add", bodies),), "a")
    factors = {"x": [small] * 7 + [large], "y": [large] * 3 + [small] * 5}
    given = {f"{t}{k}": LIBRARIES[library](np.full(2, factors[t][k])) for t in "xy" for k in range(8)}
    want = Fraction(2) ** -180 + Fraction(2) ** -60
    assert close(value(tk.contract(net, given, strip_exponent=True)), np.array([want, want]), 1e-6)
    assert np.allclose(tk.contract(net, given), float(want), rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_sum_of_many_terms_that_each_fit(library):
    """4096 products of 2^120 are 2^132, which no float32 holds; each of them, and the result, it does."""
    net = tk.from_einsum("ak,kb,bc->ac", {"a": 2, "k": 4096, "b": 2, "c": 2})
    arrays = {n: np.full(net.array_shapes[n], 2.0**p, np.float32) for n, p in (("A", 60), ("B", 60), ("C", -80))}
    given = {n: LIBRARIES[library](a) for n, a in arrays.items()}
    for order in ([(0, 1), (0, 1)], "auto"):
        found = tk.contract(net, given, optimizer=order if isinstance(order, str) else lambda *_, order=order: order)
        assert np.allclose(found, 2.0**53, rtol=1e-6)

"""A network as scipy's linear operator, against the matrix that it is."""

import subprocess
import sys
from math import prod

import numpy as np
import pytest

import tnkit as tk
from tnkit.testing import oracle, random_network

sla = pytest.importorskip("scipy.sparse.linalg")


def in_library(library, arrays):
    if library == "numpy":
        return arrays
    torch = pytest.importorskip("torch")
    return {n: torch.from_numpy(np.array(x)) for n, x in arrays.items()}


def drawn(net, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in net.array_shapes.items():
        x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.startswith("complex") else 0)
        made[name] = x.astype(dtype)
    return made


def matrix(net, arrays, rows, columns):
    full = oracle(net, arrays).transpose([net.output.index(i) for i in (*rows, *columns)])
    return full.reshape(prod(net.sizes[i] for i in rows), -1)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(30))
def test_random_networks(seed, library):
    net, arrays = random_network(seed, max_space=4000)
    rng = np.random.default_rng(seed)
    order = [net.output[k] for k in rng.permutation(len(net.output))]
    cut = int(rng.integers(0, len(order) + 1))
    rows, columns = order[:cut], order[cut:]
    a = matrix(net, arrays, rows, columns)
    op = tk.linear_operator(net, in_library(library, arrays), rows, columns)
    assert op.shape == a.shape
    x, y = rng.standard_normal((a.shape[1], 3)), rng.standard_normal((a.shape[0], 3))
    close = {"rtol": 1e-9, "atol": 1e-9 * np.abs(a).max()}
    for _ in range(2):
        np.testing.assert_allclose(op.matvec(x[:, 0]), a @ x[:, 0], **close)
        np.testing.assert_allclose(op.rmatvec(y[:, 0]), a.conj().T @ y[:, 0], **close)
    np.testing.assert_allclose(op.matmat(x), a @ x, **close)
    np.testing.assert_allclose(op.rmatmat(y), a.conj().T @ y, **close)
    np.testing.assert_allclose(op @ (x[:, :1] + 2j), a @ (x[:, :1] + 2j), **close)
    np.testing.assert_allclose(op.adjoint() @ y, a.conj().T @ y, **close)
    np.testing.assert_allclose(op.H.H @ x, a @ x, **close)
    assert op.matmat(x[:, :0]).shape == (a.shape[0], 0)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtypes(dtype, library):
    net = tk.mpo((2, 3), (3, 2), 2)
    arrays = drawn(net, dtype=dtype)
    a = matrix(net, {n: x.astype("complex128") for n, x in arrays.items()}, ("o0", "o1"), ("i0", "i1"))
    op = tk.linear_operator(net, in_library(library, arrays), ("o0", "o1"), ("i0", "i1"))
    assert op.dtype == dtype
    x = np.random.default_rng(1).standard_normal(6) * (1 + 2j)
    np.testing.assert_allclose(op @ x, a @ x, rtol=1e-4)
    np.testing.assert_allclose(op.H @ x, a.conj().T @ x, rtol=1e-4)


def test_bfloat16_is_float32_for_scipy():
    torch = pytest.importorskip("torch")
    net = tk.mpo((2, 3), (3, 2), 2)
    arrays = {n: torch.asarray(x).to(torch.bfloat16) for n, x in drawn(net, dtype="float32").items()}
    a = matrix(net, {n: x.double().numpy() for n, x in arrays.items()}, ("o0", "o1"), ("i0", "i1"))
    op = tk.linear_operator(net, arrays, ("o0", "o1"), ("i0", "i1"))
    assert op.dtype == "float32"
    x = np.random.default_rng(1).standard_normal(6)
    np.testing.assert_allclose(op @ x, a @ x, atol=0.03 * np.linalg.norm(a))


def test_lowest_eigenvalue_of_an_ising_chain():
    """``eigsh`` finds the lowest eigenvalue of the transverse-field Ising chain, whose energy is known."""
    n, x, z, one = 8, np.array([[0.0, 1], [1, 0]]), np.diag([1.0, -1]), np.eye(2)
    core = np.zeros((3, 3, 2, 2))
    core[0, 0] = core[2, 2] = one
    core[0, 1], core[1, 2], core[0, 2] = -z, z, -x
    net = tk.mpo((2,) * n, (2,) * n, 3)
    arrays = {}
    for k, node in enumerate(net.nodes):
        own = core[:1] if k == 0 else core[:, 2:] if k == n - 1 else core
        names = [f"b{k}", f"b{k + 1}", f"o{k}", f"i{k}"]
        own, names = (
            (own[0], names[1:]) if k == 0 else (own[:, 0], [names[0], *names[2:]]) if k == n - 1 else (own, names)
        )
        arrays[node.name] = np.ascontiguousarray(own.transpose([names.index(i) for i in node.inds]))
    op = tk.linear_operator(net, arrays, [f"o{k}" for k in range(n)], [f"i{k}" for k in range(n)])
    energy = sla.eigsh(op, 1, which="SA", return_eigenvectors=False)[0]
    assert energy == pytest.approx(1 - 1 / np.sin(np.pi / (2 * (2 * n + 1))), abs=1e-10)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_any_scale(scale, library):
    net = tk.mpo((2,) * 4, (2,) * 4, 2)
    rows, columns = [f"o{k}" for k in range(4)], [f"i{k}" for k in range(4)]
    arrays = drawn(net)
    a = matrix(net, arrays, rows, columns)
    given = {n: x * (scale if k % 2 else 1 / scale) for k, (n, x) in enumerate(arrays.items())}
    op = tk.linear_operator(net, in_library(library, given), rows, columns)
    x = np.random.default_rng(0).standard_normal(16)
    for factor in (1.0, 1e-250, 1e250, 0.0):
        np.testing.assert_allclose(op @ (x * factor), (a @ x) * factor, rtol=1e-9)
    assert np.isnan(op @ (x * np.nan)).all()


def test_a_nonlinear_network_and_names_that_are_taken():
    net = tk.Network(
        [tk.Node("x", ("o", "column")), tk.Node("y", ("column", "i"))], "oi", dict(o=3, column=2, i=4)
    ).activate("tanh", "f")
    arrays = drawn(net)
    op = tk.linear_operator(net, arrays, "o", "i")
    want = np.tanh(arrays["x"] @ arrays["y"])
    np.testing.assert_allclose(op @ np.eye(4), want)
    np.testing.assert_allclose(tk.linear_operator(tk.low_rank_svd(want, rank=3), ["i0"], ["i1"]) @ np.eye(4), want)


def test_whole_numbers_do_not_wrap_around():
    net = tk.from_einsum("ij->ij", dict(i=2, j=2))
    op = tk.linear_operator(net, {"A": np.full((2, 2), 200, np.uint8)}, "i", "j")
    assert op.dtype == "float64"
    np.testing.assert_allclose(op @ np.ones(2), [400, 400])


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ("o", "", "open index 'i' is in neither"),
        ("oi", "i", "index 'i' is given twice, in rows and in columns"),
        ("oo", "i", "index 'o' is given twice, in rows and in rows"),
        ("or", "i", "rows: index 'r' is not open; there are o, i"),
    ],
)
def test_indices_that_do_not_fit(rows, columns, message):
    net = tk.Network([tk.Node("A", "or"), tk.Node("B", "ri")], "oi", dict(o=3, r=2, i=4))
    with pytest.raises(ValueError, match=f"linear_operator: {message}"):
        tk.linear_operator(net, drawn(net), rows, columns)


def test_an_order_is_refused_at_once_and_a_vector_of_another_size_by_scipy():
    net = tk.Network([tk.Node("A", "or"), tk.Node("B", "ri")], "oi", dict(o=3, r=2, i=4))
    with pytest.raises(ValueError, match="unknown optimizer 'best'"):
        tk.linear_operator(net, drawn(net), "o", "i", optimizer="best")
    with pytest.raises(ValueError, match=r"(?i)dimension mismatch"):
        tk.linear_operator(net, drawn(net), "o", "i") @ np.ones(3)
    op = tk.linear_operator(net, drawn(net), "o", "i", optimizer=[(1, 2), (0, 1)])
    np.testing.assert_allclose(op @ np.ones(4), matrix(net, drawn(net), "o", "i") @ np.ones(4))


@pytest.mark.slow
def test_scipy_is_imported_when_it_is_asked_for():
    code = "import sys, tnkit; assert not [m for m in sys.modules if m.startswith('scipy')]"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

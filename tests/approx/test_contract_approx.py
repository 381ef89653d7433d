"""Approximate contraction: exact where nothing is cut, near the exact solution of the Ising model, errors by name."""

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit.testing import oracle, random_network

BETA = 0.44  # near the critical point


def log_z(height, width, beta):
    """ln Z of an open Ising lattice, by the determinant of Kac and Ward: exact on any planar graph."""
    sites = [(y, x) for y in range(height) for x in range(width)]
    ways = [(a, b) for a in sites for b in sites if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1]
    ways = {way: k for k, way in enumerate(ways)}
    matrix = np.eye(len(ways), dtype=complex)
    for (a, b), k in ways.items():
        for y, x in ((b[0] + 1, b[1]), (b[0] - 1, b[1]), (b[0], b[1] + 1), (b[0], b[1] - 1)):
            if (b, (y, x)) in ways and (y, x) != a:
                turn = np.angle(complex(x - b[1], y - b[0]) / complex(b[1] - a[1], b[0] - a[0]))
                matrix[k, ways[b, (y, x)]] = -np.tanh(beta) * np.exp(0.5j * turn)
    pairs = len(ways) // 2
    return len(sites) * np.log(2) + pairs * np.log(np.cosh(beta)) + np.linalg.slogdet(matrix)[1] / 2


def ising(height, width, beta, seed=0, field=None):
    """One hyperedge a spin, one matrix a bond, in any order."""
    nodes = []
    for y in range(height):
        for x in range(width):
            nodes += [tk.Node(f"v{y}_{x}", (f"s{y}_{x}", f"s{y + 1}_{x}"), array="B")] if y + 1 < height else []
            nodes += [tk.Node(f"h{y}_{x}", (f"s{y}_{x}", f"s{y}_{x + 1}"), array="B")] if x + 1 < width else []
    np.random.default_rng(seed).shuffle(nodes)
    sizes = {f"s{y}_{x}": 2 for y in range(height) for x in range(width)}
    return tk.Network(nodes, (), sizes), {"B": np.exp(beta * np.array([[1.0, -1], [-1, 1]]))}


def sites(height, width, beta, seed):
    """One tensor a spin, in random bases of the bonds, names and order shuffled."""
    rng = np.random.default_rng(seed)
    net = tk.peps(height, width, 2, 2)
    ones, arrays = {}, {}
    for i in net.sizes:
        if i[0] != "i":
            ones[i] = rng.standard_normal((2, 2)) + 2 * np.eye(2)
    values, vectors = np.linalg.eigh(np.exp(beta * np.array([[1.0, -1], [-1, 1]])))
    root = vectors * np.sqrt(values)
    nodes = []
    for node in net.nodes:
        bonds = node.inds[1:]
        x = np.ones(2)
        y0, x0 = map(int, node.name.split("_")[1:])
        for i in bonds:
            mine = i[1:] == f"{y0}_{x0}"  # the first end of the bond
            x = x[..., None] * (root @ (ones[i] if mine else np.linalg.inv(ones[i]).T)).reshape(
                2, *(1,) * (x.ndim - 1), 2
            )
        arrays[node.name] = x.sum(0)
        nodes.append(tk.Node(node.name, bonds))
    order = rng.permutation(len(nodes))
    return tk.Network([nodes[k] for k in order], (), {i: 2 for i in ones}), arrays


def log_of(found):
    return np.log(float(found.value)) + float(found.exponent) * np.log(10)


def test_the_oracle_is_right():
    net, arrays = ising(3, 4, BETA)
    assert np.log(oracle(net, arrays)) == pytest.approx(log_z(3, 4, BETA), abs=1e-12)


# -- exact where nothing is cut -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32", "int64"])
@pytest.mark.parametrize("method", ["auto", "compressed"])
@pytest.mark.parametrize("seed", range(25))
def test_random_networks_are_exact(seed, method, dtype):
    net, arrays = random_network(seed, dtype=dtype)
    exact = oracle(net, arrays)
    found = tk.contract_approx(net, arrays, max_bond=10**6, method=method, full=True)
    near = 1e-4 if dtype == "float32" else 1e-10
    assert found.value.shape == exact.shape and found.value.dtype == (exact.dtype if dtype != "int64" else np.float64)
    assert np.allclose(found.value, exact, rtol=near, atol=near * np.abs(exact).max())
    assert found.error < 1e-13 and found.converged


def test_full_results_are_compared_as_objects():
    net, arrays = random_network(0)
    one, two = (tk.contract_approx(net, arrays, max_bond=4, full=True) for _ in range(2))
    assert one == one and one != two and len({one, two}) == 2


@pytest.mark.parametrize("seed", range(10))
def test_belief_propagation_is_exact_on_trees(seed):
    net = tk.tree((3,) * 8, 3)
    arrays = tk.init.normal(net, seed=seed, dtype="complex128")
    ends = [tk.Node(f"end_{i}", (i,)) for i in net.output[1:]]
    closed = tk.Network((*net.nodes, *ends), net.output[:1], net.sizes)
    rng = np.random.default_rng(seed)
    arrays |= {node.name: rng.standard_normal(3) + 1j * rng.standard_normal(3) for node in ends}
    assert np.allclose(tk.contract_approx(closed, arrays, method="bp"), tk.contract(closed, arrays), rtol=1e-10, atol=0)


# -- lattices -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("height, width", [(3, 3), (3, 17), (4, 9), (6, 6), (12, 5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_lattice_is_found_whatever_its_order(height, width, seed):
    for net, arrays in (ising(height, width, BETA, seed), sites(height, width, BETA, seed)):
        found = tk.contract_approx(net, arrays, max_bond=64, strip_exponent=True, full=True)
        assert found.method == "boundary" and log_of(found) == pytest.approx(log_z(height, width, BETA), abs=1e-11)


@pytest.mark.parametrize(
    "make, near",
    [(lambda: ising(16, 16, BETA), 4e-9), (lambda: sites(16, 16, BETA, 3), 5e-8)],
    ids=["hyperedges", "sites"],
)
def test_ising_16_at_bond_8(make, near):
    found = tk.contract_approx(*make(), max_bond=8, full=True, strip_exponent=True)
    assert abs(log_of(found) - log_z(16, 16, BETA)) < near
    assert found.method == "boundary" and found.largest_bond == 8 and 1e-6 < found.error < 1e-4


@pytest.mark.slow
def test_more_bonds_and_smaller_tolerances_lose_less():
    net, arrays = sites(10, 10, BETA, 0)
    exact = log_z(10, 10, BETA)
    by_bond = [tk.contract_approx(net, arrays, max_bond=m, full=True, strip_exponent=True) for m in (2, 4, 8)]
    by_tol = [tk.contract_approx(net, arrays, tol=t, full=True, strip_exponent=True) for t in (1e-2, 1e-4, 1e-6)]
    for some in (by_bond, by_tol):
        assert some[0].error > some[1].error > some[2].error > 0
        errors = [abs(log_of(f) - exact) for f in some]
        assert errors[0] > errors[1] > errors[2]
    assert [f.largest_bond for f in by_bond] == [2, 4, 8]


# -- any graph ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [float, complex])
def test_a_random_regular_graph(dtype):
    import networkx as nx

    net = tk.from_graph(nx.random_regular_graph(3, 60, seed=1), bond=2)
    rng = np.random.default_rng(0)
    arrays = {n: rng.random(s) + (0.2j * rng.random(s) if dtype is complex else 0) for n, s in net.array_shapes.items()}
    exact, exponent = tk.contract(net, arrays, strip_exponent=True)
    errors = []
    for m in (2, 4, 8):
        value, other = tk.contract_approx(net, arrays, max_bond=m, strip_exponent=True)
        errors.append(abs(value * 10 ** (other - exponent) / exact - 1))
    assert errors[0] < 1e-2 and errors[1] < 1e-4 and errors[2] < 1e-7
    value, other = tk.contract_approx(net, arrays, method="bp", strip_exponent=True)
    assert abs(value * 10 ** (other - exponent) / exact - 1) < 0.2


@pytest.mark.slow
def test_open_indices_of_a_lattice():
    net, arrays = ising(7, 7, BETA, 2)
    for output in (("s3_3",), ("s0_0", "s6_6"), ("s2_2", "s2_3", "s4_4")):
        some = tk.Network(net.nodes, output, net.sizes)
        exact = tk.contract(some, arrays)
        found = tk.contract_approx(some, arrays, max_bond=16, full=True)
        assert found.method == "compressed" and np.allclose(found.value, exact, rtol=1e-6, atol=0)
    net, arrays = ising(7, 7, 0.3, 2)  # below 0.44, where messages must choose a sign
    marginal = tk.contract_approx(tk.Network(net.nodes, ("s3_3",), net.sizes), arrays, method="bp")
    assert marginal.shape == (2,) and marginal[0] == pytest.approx(marginal[1], rel=1e-6)


# -- scale, kinds, gradients ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
@pytest.mark.parametrize("method", ["boundary", "compressed", "bp"])
def test_any_scale(method, scale, dtype):
    net, arrays = ising(6, 6, 0.3)
    want = tk.contract_approx(net, arrays, max_bond=8, method=method, strip_exponent=True, full=True)
    for library in (np.asarray, torch.as_tensor):
        given = {"B": library((scale * arrays["B"]).astype(dtype))}
        value, exponent = tk.contract_approx(net, given, max_bond=8, method=method, strip_exponent=True)
        assert str(value.dtype).rpartition(".")[2] == dtype
        shift = 60 * np.log10(np.asarray(scale, dtype.replace("complex64", "float32")).astype(float))
        log = np.log10(abs(complex(value))) + float(exponent)
        assert log == pytest.approx(log_of(want) / np.log(10) + shift, abs=1e-5 if dtype != "float64" else 1e-9)


@pytest.mark.slow
def test_beyond_the_range_of_float32():
    net, arrays = ising(40, 40, BETA)
    given = {"B": torch.as_tensor(arrays["B"], dtype=torch.float32)}
    with pytest.warns(RuntimeWarning, match=r"contract_approx: the largest entry .* above the range of float32"):
        assert tk.contract_approx(net, given, max_bond=4) == torch.inf


@pytest.mark.parametrize("method", ["boundary", "compressed", "bp"])
def test_not_finite_and_zero(method):
    net, arrays = ising(4, 4, BETA)
    assert np.isnan(tk.contract_approx(net, {"B": arrays["B"] * np.nan}, max_bond=4, method=method))
    assert not np.isfinite(tk.contract_approx(net, {"B": arrays["B"] * np.inf}, max_bond=4, method=method))
    assert tk.contract_approx(net, {"B": 0 * arrays["B"]}, max_bond=4, method=method) == 0


@pytest.mark.parametrize("method, net", [("boundary", 0), ("compressed", 1), ("compressed", 2)])
def test_gradients(method, net):
    net, arrays = [ising(5, 5, BETA), ising(4, 6, BETA), sites(4, 5, BETA, 1)][net]
    given = {n: torch.tensor(x, requires_grad=True) for n, x in arrays.items()}
    value, _ = tk.contract_approx(net, given, max_bond=6, method=method, strip_exponent=True)
    exact, _ = tk.contract(net, given, strip_exponent=True)
    mine = torch.autograd.grad(value.log(), list(given.values()))
    want = torch.autograd.grad(exact.log(), list(given.values()))
    for a, b in zip(mine, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


@pytest.mark.slow
def test_the_gradient_of_belief_propagation_is_that_of_its_value():
    net, arrays = ising(4, 4, 0.3)
    x = torch.tensor(arrays["B"], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(tk.contract_approx(net, {"B": x}, method="bp").log(), x)
    for k in np.ndindex(2, 2):
        step = np.zeros((2, 2))
        step[k] = 1e-5
        up, down = (np.log(tk.contract_approx(net, {"B": arrays["B"] + s * step}, method="bp")) for s in (1, -1))
        assert float(gradient[k]) == pytest.approx((up - down) / 2e-5, rel=1e-6)


def test_gradients_in_single_precision_are_finite():
    net, arrays = ising(8, 8, BETA)
    x = torch.tensor(arrays["B"], dtype=torch.float32, requires_grad=True)
    value, _ = tk.contract_approx(net, {"B": x}, max_bond=3, strip_exponent=True)
    value.log().backward()
    assert value.dtype == x.grad.dtype == torch.float32 and torch.isfinite(x.grad).all() and x.grad.abs().max() > 1


# -- what is refused, and what is said ------------------------------------------------------------------------------
def test_refusals():
    net, arrays = ising(4, 4, BETA)
    with pytest.raises(ValueError, match="max_bond or tol says what is cut; neither was given"):
        tk.contract_approx(net, arrays)
    deep = tk.brick_wall(4, 2, 2, "tanh")
    with pytest.raises(ValueError, match=r"node '.*' is a function"):
        tk.contract_approx(deep, tk.init.normal(deep, seed=0), max_bond=4)
    ring = tk.ring((2,) * 4, 2)
    with pytest.raises(ValueError, match=r"method 'boundary' is for a square lattice .*: indices i0, i1, i2 are open"):
        tk.contract_approx(ring, tk.init.normal(ring, seed=0), max_bond=4, method="boundary")
    with pytest.raises(
        ValueError, match="method 'bp' takes open indices of one tensor alone; 'i0' and 'i1' are on two"
    ):
        tk.contract_approx(ring, tk.init.normal(ring, seed=0), method="bp")


@pytest.mark.slow
def test_a_tensor_that_is_too_large_is_refused():
    net = tk.tt((2,) * 60, 2)
    with pytest.raises(MemoryError, match=r"a tensor on the way has .* entries, .*; give a smaller max_bond"):
        tk.contract_approx(net, tk.init.normal(net, seed=0), max_bond=4)


def test_messages_that_do_not_stand_still_are_told():
    net, arrays = ising(6, 6, BETA)
    with pytest.warns(RuntimeWarning, match=r"the messages still change by .* after 2 rounds"):
        found = tk.contract_approx(
            net, {"B": arrays["B"] * [[1, 2], [3, 4]]}, method="bp", rounds=2, full=True, strip_exponent=True
        )
    assert not found.converged and found.error > 1e-10


def test_values_that_cannot_be_read_are_refused():
    net, arrays = ising(3, 3, BETA)
    given = torch.as_tensor(arrays["B"])
    with pytest.raises(TypeError, match="the values of the arrays cannot be read here"):
        torch.vmap(lambda b: tk.contract_approx(net, {"B": b}, max_bond=2))(torch.stack([given, given]))
    with pytest.raises(TypeError, match="is on the meta device"):
        tk.contract_approx(net, {"B": given.to("meta")}, max_bond=2)
    with pytest.raises(TypeError, match="cannot be read here"):
        torch.func.grad(lambda b: tk.contract_approx(net, {"B": b}, max_bond=2))(given)

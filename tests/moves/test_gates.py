"""Gates on any indices of any network, against one product with the whole tensor; errors are those made; the rest is not touched."""

import networkx as nx
import numpy as np
import pytest
import torch
from held import DTYPES, checked, near, random, untouched, value, with_torch

import tnkit as tk

NETS = {
    "mps": tk.mps((2, 3, 2, 3, 2), 4),
    "ring": tk.ring((2, 3, 2, 3), 3),
    "two joined twice": tk.ring((2, 3), 2),
    "tree": tk.tree((2, 3, 2, 3, 2), 3),
    "mpo": tk.mpo((2, 3, 2), (2, 2, 3), 3),
    "peps": tk.peps(2, 3, 2, 2),
    "hyperedge": tk.cp((2, 3, 2), 2),
    "tucker": tk.tucker((2, 3, 2), 2),
    "graph": tk.from_graph(nx.random_regular_graph(3, 6, seed=0), bond=2, open={k: 2 for k in range(6)}),
    "apart": tk.Network([tk.Node("A", "ij"), tk.Node("B", "k"), tk.Node("C", "l")], "ijkl", dict(i=2, j=3, k=2, l=2)),
}


def drawn(net, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return {n: draw(rng, s, dtype) for n, s in net.array_shapes.items()}


def draw(rng, shape, dtype):
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype.startswith("complex") else x).astype(dtype)


def acted(net, x, gate, inds):
    """The whole tensor times the gate."""
    n, sizes = len(inds), [net.sizes[i] for i in inds]
    axes = [net.output.index(i) for i in inds]
    y = np.tensordot(np.asarray(gate).reshape(*sizes, *sizes), x, axes=(range(n, 2 * n), axes))
    return np.moveaxis(y, range(n), axes)


def sets(net, seed):
    rng = np.random.default_rng(seed)
    for n in (1, 2, 2, 2, 3):
        if n <= len(net.output):
            yield tuple(str(i) for i in rng.permutation(net.output)[:n])


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_a_gate_is_a_product_with_the_whole_tensor(name, dtype, library):
    net = NETS[name]
    arrays = drawn(net, dtype)
    x, rng = value(net, arrays), np.random.default_rng(1)
    held = with_torch(arrays) if library == "torch" else arrays
    for inds in sets(net, 2):
        size = int(np.prod([net.sizes[i] for i in inds]))
        gate = draw(rng, (size, size), dtype)
        given = torch.as_tensor(gate) if library == "torch" else gate
        for absorb in ("left", "right"):
            found = tk.apply_gate(net, held, given, inds, absorb=absorb)
            assert near(value(*found), acted(net, x, gate, inds), dtype, 3) and found.error < 1e-6
            assert found.network.output == net.output and checked(found.network)
            assert [n.name for n in found.network.nodes] == [n.name for n in net.nodes]
            assert {v.dtype for v in found.arrays.values()} == {v.dtype for v in held.values()}
        axes = given.reshape(*(net.sizes[i] for i in (*inds, *inds)))
        assert near(value(*tk.apply_gate(net, held, axes, inds)), value(*tk.apply_gate(net, held, given, inds)), dtype)


@pytest.mark.parametrize("seed", range(30))
def test_gates_on_random_networks(seed):
    net, arrays = random(seed)
    x, rng = value(net, arrays), np.random.default_rng(seed)
    single = [i for i in net.output if len(net.edges[i]) == 1]
    for n in range(1, len(single) + 1):
        inds = tuple(str(i) for i in rng.permutation(single)[:n])
        size = int(np.prod([net.sizes[i] for i in inds]))
        gate = rng.normal(size=(size, size))
        found = tk.apply_gate(net, arrays, gate, inds)
        assert near(value(*found), acted(net, x, gate, inds), factor=10) and checked(found.network)
        if n <= 2:
            names = [n.name for n in net.nodes if set(n.inds) & set(inds)]
            assert n == 2 or untouched((net, arrays), found, names)
    for i in set(net.output) - set(single):
        with pytest.raises(ValueError, match=f"apply_gate: index '{i}' is on nodes"):
            tk.apply_gate(net, arrays, np.eye(net.sizes[i]), [i])


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.parametrize("name", ["mps", "tree", "tucker"])
def test_with_a_centre_the_error_is_that_of_the_whole_tensor_and_the_least_there_is(name, dtype):
    net = NETS[name]
    rng = np.random.default_rng(5)
    for center in [n.name for n in net.nodes]:
        form = tk.canonicalize(net, drawn(net, dtype, 3), center)
        x = value(*form)
        for inds in sets(net, 4):
            size = int(np.prod([net.sizes[i] for i in inds]))
            gate = draw(rng, (size, size), dtype)
            wanted = acted(net, x, gate, inds)
            for options in ({"rank": 2}, {"tol": 0.3}):
                found = tk.apply_gate(*form, gate, inds, center=center, **options)
                error = np.linalg.norm(value(*found) - wanted) / np.linalg.norm(wanted)
                assert found.error == pytest.approx(error, abs=1e-5 if dtype == "float32" else 1e-10)
                assert error <= options.get("tol", 1) * 1.001
                if len(found.methods) == 1 and "rank" in options:
                    (bond,) = found.methods
                    assert error == pytest.approx(
                        least(found.network, wanted, bond, 2), abs=1e-5 if dtype == "float32" else 1e-10
                    )
                holder = next(n.name for n in net.nodes if inds[-1] in n.inds)
                assert is_canonical(*found, holder, 1e-4 if dtype == "float32" else 1e-10)


def least(net, x, bond, rank):
    """The relative error of the best tensor of a rank across a bond, by numpy."""
    side, queue = set(), [net.edges[bond][0]]
    while queue:
        here = queue.pop()
        side.add(here)
        queue += [n for i in net[here].inds if i != bond for n in net.edges[i] if n not in side]
    rows = [k for k, i in enumerate(net.output) if net.edges[i][0] in side]
    m = np.moveaxis(x, rows, range(len(rows)))
    s = np.linalg.svd(m.reshape(int(np.prod(m.shape[: len(rows)])), -1), compute_uv=False)
    return np.sqrt(np.sum(s[rank:] ** 2) / np.sum(s**2))


def is_canonical(net, arrays, center, tol):
    """Whether every other node is an isometry from its bond towards the centre."""
    seen, queue = {center}, [center]
    while queue:
        here = queue.pop()
        for i in net[here].inds:
            for n in net.edges[i]:
                if n not in seen and i not in net.output:
                    seen.add(n)
                    queue.append(n)
                    x = np.moveaxis(np.asarray(arrays[net[n].array]), net[n].inds.index(i), -1)
                    m = x.reshape(-1, x.shape[-1])
                    if not np.allclose(m.conj().T @ m, np.eye(m.shape[1]), atol=tol):
                        return False
    return True


def test_what_a_gate_does_not_touch_stays_the_same_object():
    net = tk.mps((2,) * 12, 4)
    arrays = tk.init.normal(net, seed=0)
    gate = np.random.default_rng(0).normal(size=(4, 4))
    for inds, changed in ((("i3", "i4"), (3, 4)), (("i6", "i3"), (3, 4, 5, 6)), (("i0", "i2"), (0, 1, 2))):
        found = tk.apply_gate(net, arrays, gate, inds, rank=4)
        assert [k for k in range(12) if found.arrays[f"core_{k}"] is not arrays[f"core_{k}"]] == list(changed)
        assert found.network.nodes is net.nodes and list(found.arrays) == list(arrays)
    form = tk.canonicalize(net, arrays, "core_2")
    found = tk.apply_gate(*form, gate, ("i5", "i6"), rank=4, center="core_2")
    assert [k for k in range(12) if found.arrays[f"core_{k}"] is not form[1][f"core_{k}"]] == [2, 3, 4, 5, 6]
    assert found.network.sizes == net.sizes


@pytest.mark.parametrize("name", ["mps", "ring", "tree", "peps", "graph", "hyperedge"])
def test_without_a_centre_the_error_is_that_of_the_nodes_touched(name):
    net = NETS[name]
    arrays, rng = drawn(net, seed=7), np.random.default_rng(7)
    for inds in sets(net, 8):
        size = int(np.prod([net.sizes[i] for i in inds]))
        gate = rng.normal(size=(size, size))
        for options in ({"rank": 2}, {"tol": 0.2}, {"rank": 1, "absorb": "left"}):
            found = tk.apply_gate(net, arrays, gate, inds, **options)
            if set(net.sizes) != set(found.network.sizes):
                continue  # a new bond
            names = [n for n in arrays if found.arrays[n] is not arrays[n]]
            before, after = (alone(a, b, names, found.methods) for a, b in ((net, arrays), found))
            wanted = acted(before[0], value(*before), gate, inds)
            error = np.linalg.norm(value(*after) - wanted) / np.linalg.norm(wanted)
            assert found.error == pytest.approx(error, abs=1e-10) and error <= options.get("tol", 1) * 1.000001
            assert all(found.network.sizes[i] <= options.get("rank", 99) for i in found.methods)
            assert bool(found.methods) == (len(names) > 1)


def alone(net, arrays, names, bonds):
    """Some nodes of a network joined by these bonds, all other indices cut open, each end by itself."""
    nodes = [
        tk.Node(n, [i if i in bonds or i in net.output else f"{n} {i}" for i in net[n].inds], net[n].array)
        for n in names
    ]
    sizes = {j: net.sizes[i] for node in nodes for j, i in zip(node.inds, net[node.name].inds, strict=True)}
    return tk.Network(nodes, [i for i in sizes if i not in bonds], sizes), {
        net[n].array: arrays[net[n].array] for n in names
    }


def test_zeros_stay_zeros():
    net = tk.mps((2,) * 4, 2)
    zeros = {n: np.zeros(s) for n, s in net.array_shapes.items()}
    gate = np.random.default_rng(0).normal(size=(4, 4))
    for held, g in ((zeros, gate), (drawn(net), 0 * gate)):
        for inds in (("i1", "i2"), ("i0", "i3")):
            for options in ({}, {"rank": 2}, {"tol": 0.1}):
                for absorb in ("left", "right"):
                    found = tk.apply_gate(net, held, g, inds, absorb=absorb, **options)
                    assert found.error == 0 and not tk.contract(*found).any()
    assert not tk.contract(*tk.split(net, zeros, "core_1", ["i1"], tol=0.1, absorb="both")).any()


def test_a_long_circuit_of_gates_on_a_chain_is_exact_where_nothing_has_to_be_cut():
    net = tk.mps((2,) * 6, 1)
    arrays = {n: np.zeros(s) for n, s in net.array_shapes.items()}
    for x in arrays.values():
        x.reshape(-1)[0] = 1
    state, x, rng = (net, arrays), np.zeros((2,) * 6), np.random.default_rng(0)
    x[(0,) * 6] = 1
    for _ in range(40):
        a, b = (int(k) for k in rng.choice(6, 2, replace=False))
        gate = np.linalg.qr(draw(rng, (4, 4), "complex128"))[0]
        state = tk.apply_gate(*state, gate, (f"i{a}", f"i{b}"), tol=1e-13)
        x = acted(net, x, gate, (f"i{a}", f"i{b}"))
    assert near(tk.contract(*state), x) and max(state[0].sizes.values()) <= 8


@pytest.mark.parametrize("kind", ["pair", "decomposition", "list", "whole"])
def test_kinds_of_gates(kind):
    net = tk.mps((2, 2, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    cnot = np.eye(4)[[0, 1, 3, 2]]
    op = tk.mpo_svd(cnot, (2, 2), (2, 2), rank=4)
    gate = {
        "pair": (op.network, op.arrays),
        "decomposition": op,
        "list": cnot.tolist(),
        "whole": cnot.astype(np.uint8),
    }[kind]
    for inds in (("i0", "i1"), ("i2", "i0")):
        for found in (
            tk.apply_gate(net, arrays, gate, inds),
            tk.apply_gate(tk.Decomposition(net, arrays, 0.0), gate, inds),
        ):
            assert near(tk.contract(*found), acted(net, tk.contract(net, arrays), cnot, inds))
            assert {x.dtype for x in found.arrays.values()} == {np.dtype(float)}


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_dtypes_of_a_gate_and_of_a_state(library):
    net = tk.mps((2,) * 4, 2)
    arrays = drawn(net, "float32")
    held = with_torch(arrays) if library == "torch" else arrays
    gate = draw(np.random.default_rng(0), (4, 4), "complex128")
    given = torch.as_tensor(gate) if library == "torch" else gate
    found = tk.apply_gate(net, held, given, ("i1", "i2"))
    assert str(found.arrays["core_1"].dtype).endswith("complex64")
    assert near(np.asarray(tk.contract(*found)), acted(net, value(net, arrays), gate, ("i1", "i2")), "float32")
    assert all(str(x.dtype).endswith("complex64") for x in found.arrays.values()) or library == "numpy"


def test_ties_and_constants_become_arrays_of_their_own():
    nodes = [tk.Node("A", "ia", "W"), tk.Node("B", "jab", "V"), tk.Node("C", "kb", "W"), tk.Node("z", "l", fixed="e0")]
    net = tk.Network(nodes, "ijkl", dict(i=2, j=2, k=2, l=2, a=3, b=3))
    arrays = drawn(tk.Network(nodes[:3], "ijk", dict(i=2, j=2, k=2, a=3, b=3)))
    x, gate = value(net, arrays), draw(np.random.default_rng(0), (4, 4), "float64")
    for inds in (("i", "j"), ("k", "i"), ("l", "i")):
        found = tk.apply_gate(net, arrays, gate, inds)
        assert near(value(*found), acted(net, x, gate, inds)) and not found.network.tied and checked(found.network)
    assert tk.apply_gate(net, arrays, gate, ("i", "j")).arrays["W"] is arrays["W"]
    assert found.network["z"].fixed is False


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_any_scale(library, scale):
    net = tk.mps((2,) * 12, 3)
    arrays = {n: x * np.float32(scale) for n, x in drawn(net, "float32").items()}
    held = with_torch(arrays) if library == "torch" else arrays
    x, exponent = tk.contract(net, arrays, strip_exponent=True)
    gate = draw(np.random.default_rng(0), (4, 4), "float32")
    given = torch.as_tensor(gate) if library == "torch" else gate
    for inds in (("i3", "i4"), ("i7", "i2")):
        wanted = acted(net, np.asarray(x, float), gate, inds)
        for options in ({}, {"rank": 6}):
            found = tk.apply_gate(net, held, given, inds, **options)
            y, e = tk.contract(*found, strip_exponent=True)
            error = np.linalg.norm(np.asarray(y, float) * 10.0 ** (float(e) - exponent) - wanted) / np.linalg.norm(
                wanted
            )
            assert error < 1e-5 if not options else np.isfinite(error)
    huge = {n: v.astype(float) * 1e270 for n, v in drawn(net).items()}  # a norm of 1e3240
    found = tk.apply_gate(net, huge, gate.astype(float) * 1e200, ("i3", "i4"), rank=3)
    small = tk.apply_gate(net, drawn(net), gate.astype(float), ("i3", "i4"), rank=3)
    assert found.error == pytest.approx(small.error, rel=1e-9)
    y, e = tk.contract(*found, strip_exponent=True)
    z, f = tk.contract(*small, strip_exponent=True)
    assert e - f == pytest.approx(12 * 270 + 200, abs=1.1) and near(y / np.linalg.norm(y), z / np.linalg.norm(z))


@pytest.mark.slow
def test_gradients():
    net = tk.mps((2, 2, 2, 2), 2)
    arrays = {n: torch.tensor(x, requires_grad=True) for n, x in drawn(net).items()}
    gate = torch.tensor(draw(np.random.default_rng(0), (4, 4), "float64"), requires_grad=True)
    for inds, options in (
        (("i1", "i2"), {"rank": 2}),
        (("i1", "i2"), {"rank": 2, "absorb": "both"}),
        (("i3", "i1"), {"rank": 2}),
        (("i3", "i1"), {}),
    ):

        def moved(g, *values, inds=inds, options=options):
            found = tk.apply_gate(net, dict(zip(arrays, values, strict=True)), g, inds, **options)
            return tk.contract(*found)

        assert torch.autograd.gradcheck(moved, (gate, *arrays.values()))
    product = {n: torch.zeros(s, dtype=torch.float64) for n, s in net.array_shapes.items()}
    for x in product.values():
        x.reshape(-1)[0] = 1
    product = {n: x.requires_grad_() for n, x in product.items()}  # singular values 1, 0, 0 ...
    swap = torch.eye(4, dtype=torch.float64)[[0, 2, 1, 3]].requires_grad_()
    for inds in (("i1", "i2"), ("i0", "i3")):
        for absorb in ("left", "right"):
            for rank in (None, 2):
                found = tk.apply_gate(net, product, swap, inds, rank, absorb=absorb)
                grads = torch.autograd.grad(tk.contract(*found).square().sum(), (swap, *product.values()))
                assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mps", "tree"])
def test_a_centre_moves_between_two_nodes_alone(name, dtype, library):
    net = NETS[name]
    arrays = drawn(net, dtype)
    held = with_torch(arrays) if library == "torch" else arrays
    x, names = value(net, arrays), [n.name for n in net.nodes]
    for start in names:
        form = tk.canonicalize(net, held, start)
        for center in names:
            found = tk.canonicalize(*form, center, start=start)
            assert near(value(*found), x, dtype) and checked(found[0])
            assert is_canonical(
                *found, center, 1e-4 if "32" in dtype or (dtype[-2:] == "64" and "complex" in dtype) else 1e-10
            )
            graph = nx.Graph([tuple(net.edges[i]) for i in net.sizes if i not in net.output])
            path = nx.shortest_path(graph, start, center) if start != center else []
            assert {n for n in names if found[1][n] is not form[1][n]} == set(path)


def test_a_centre_of_any_scale():
    net = tk.mps((2,) * 10, 3)
    arrays = {n: x * 1e200 for n, x in drawn(net).items()}
    form, held, _ = tk.canonicalize(net, arrays, "core_2", strip_exponent=True)
    held["core_2"] = held["core_2"] * 1e-300
    found = tk.canonicalize(form, held, "core_5", start="core_2")
    assert is_canonical(*found, "core_5", 1e-10) and np.linalg.norm(found[1]["core_5"] * 1e300) == pytest.approx(
        np.linalg.norm(held["core_2"] * 1e300)
    )
    held["core_3"][0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="canonicalize: array 'core_3' has entries that are not finite"):
        tk.canonicalize(form, held, "core_5", start="core_2")


def test_refusals():
    net = tk.mps((2, 3, 2), 2)
    arrays = tk.init.normal(net, seed=0)
    for call, words in (
        (
            lambda: tk.apply_gate(net, arrays, np.eye(4), ("i0", "i1")),
            r"gate has shape \(4, 4\); on indices \('i0', 'i1'\) of sizes \(2, 3\) it is",
        ),
        (lambda: tk.apply_gate(net, arrays, np.eye(2), ("b1",)), "index 'b1' is summed; a gate acts on open indices"),
        (lambda: tk.apply_gate(net, arrays, np.eye(4), ("i0", "i0")), "none of them twice"),
        (lambda: tk.apply_gate(net, arrays, np.eye(2), ("i9",)), "no index 'i9'; there are"),
        (
            lambda: tk.apply_gate(net, arrays, np.eye(2) * np.nan, ("i0",)),
            "array 'gate' has entries that are not finite",
        ),
        (
            lambda: tk.apply_gate(net, arrays, np.eye(2), ("i0",), center="core_9"),
            "apply_gate: center: no node 'core_9'",
        ),
        (
            lambda: tk.apply_gate(net, arrays, np.eye(4), ("i0", "i2"), absorb="both"),
            "absorb='both' is for two neighbours",
        ),
        (
            lambda: tk.canonicalize(net, arrays, start="core_0"),
            "canonicalize: start is where the weight is; center says where it goes",
        ),
        (lambda: tk.canonicalize(net, arrays, "core_1", start="core_7"), "canonicalize: start: no node 'core_7'"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    for gate in (net, "x", {"gate": np.eye(2)}, torch.eye(2), None):
        with pytest.raises(
            TypeError, match="apply_gate: gate is an array of numpy, or a pair of a network and its arrays, not"
        ):
            tk.apply_gate(net, arrays, gate, ("i0",))

import numpy as np
import pytest
import torch
from work import counted

import tnkit as tk
from tnkit.testing import oracle, random_network
from tnkit_nn import TORCH

LIBRARIES = [(tk.NUMPY, lambda a: a), (TORCH, torch.as_tensor)]


def converted(arrays, convert):
    return {n: convert(a) for n, a in arrays.items()}


def closed(net, arrays):
    """A weighted sum of the entries of a network's tensor, as a network of two nodes or more."""
    ones = (tk.Node("weight", ()), *(tk.Node(f"one {i}", (i,)) for i in net.output))
    more = {"weight": np.array(1.5)} | {
        f"one {i}": np.random.default_rng(k).normal(size=net.sizes[i]) for k, i in enumerate(net.output)
    }
    return tk.Network((*net.nodes, *ones), (), net.sizes), {**arrays, **more}


# -- environments ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_an_environment_is_the_gradient(seed, nonlinear):
    net, arrays = closed(*random_network(seed, nonlinear=nonlinear, max_nodes=5))
    arrays = {**arrays, **{n: a for n, a in tk.check_arrays(net, arrays).items() if n not in arrays}}
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    tk.contract(net, tensors).backward()
    found = {}
    for node in net.nodes:
        if not isinstance(node, tk.Node):
            continue
        rest = tk.environment(net, node.name)
        value = np.asarray(tk.contract(rest, {n: arrays[n] for n in rest.array_shapes}))
        # broadcast along what only the node has, on the diagonal of what it has twice
        distinct = tuple(dict.fromkeys(node.inds))
        value = value.reshape([net.sizes[i] if i in rest.output else 1 for i in distinct])
        value = np.broadcast_to(value, [net.sizes[i] for i in distinct])
        full = np.zeros([net.sizes[i] for i in node.inds])
        for at in np.ndindex(value.shape):
            full[tuple(at[distinct.index(i)] for i in node.inds)] = value[at]
        found[node.array] = found.get(node.array, 0) + full
    inside = {n.array for f in net.nodes if isinstance(f, tk.Elementwise) for b in f.bodies for n in b.leaves}
    checked = [name for name in found if name not in inside]
    assert checked
    for name in checked:
        assert np.allclose(found[name], tensors[name].grad.numpy(), rtol=1e-9, atol=1e-9), name


def test_the_output_of_an_environment():
    net = tk.tt((3, 4, 5), 2)
    rest = tk.environment(net, "core_1")
    assert rest.output == ("b1", "b2", "i0", "i2") and [n.name for n in rest.nodes] == ["core_0", "core_2"]
    batch = tk.Network([tk.Node("A", "bir"), tk.Node("B", "br")], "bi", dict(b=2, i=3, r=4))
    assert tk.environment(batch, "A").output == ("b", "r")
    assert tk.environment(batch, "B").output == ("b", "r", "i")
    with pytest.raises(KeyError, match="no node 'D'; there are core_0, core_1, core_2"):
        tk.environment(net, "D")
    with pytest.raises(ValueError, match="node 'A' is the only one"):
        tk.environment(tk.Network([tk.Node("A", "i")], "i", {"i": 2}), "A")


# -- inner products, norms, distances -------------------------------------------------------------------------------
def twin(seed, dtype, nonlinear, shape):
    """Another random network, joined to nodes that give it this shape."""
    net, arrays = random_network(seed, nonlinear=nonlinear, dtype=dtype, max_nodes=4)
    nodes = [tk.Node(f"leg{k}", (*net.output[k : k + 1], f"leg{k}")) for k in range(len(shape))]
    rng = np.random.default_rng(seed)
    sizes = {**net.sizes, **{f"leg{k}": n for k, n in enumerate(shape)}}
    more = {n.name: rng.normal(size=[sizes[i] for i in n.inds]).astype(dtype) for n in nodes}
    return tk.Network((*net.nodes, *nodes), tuple(n.name for n in nodes), sizes), {**arrays, **more}


@pytest.mark.parametrize("backend, convert", LIBRARIES, ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("seed", range(10))
def test_inner_norm_and_distance_of_any_networks(seed, dtype, backend, convert):
    a, x = random_network(seed, nonlinear=seed % 2 == 1, dtype=dtype)
    b, y = twin(seed + 100, dtype, seed % 4 == 3, a.shape)
    tx, ty = np.asarray(oracle(a, x), dtype), np.asarray(oracle(b, y), dtype)
    x, y = converted(x, convert), converted(y, convert)
    scale = np.linalg.norm(tx) * np.linalg.norm(ty) + 1e-300
    assert abs(complex(tk.inner(a, x, b, y, backend=backend)) - np.vdot(tx, ty)) <= 1e-10 * scale
    assert float(tk.norm(a, x, backend=backend)) == pytest.approx(np.linalg.norm(tx), rel=1e-7)
    assert float(tk.distance(a, x, b, y, backend=backend)) == pytest.approx(np.linalg.norm(tx - ty), rel=1e-6)


def test_real_and_complex_meet():
    a, b = tk.tt((3, 4), 2), tk.cp((3, 4), 2)
    x, y = tk.init.normal(a, seed=0), tk.init.normal(b, seed=1, dtype="complex128")
    expected = np.vdot(oracle(b, y), oracle(a, x))
    for backend, convert in LIBRARIES:
        found = tk.inner(b, converted(y, convert), a, converted(x, convert), backend=backend)
        assert complex(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("which", ["core_0", "core_1", "core_2"])
def test_one_complex_array_among_real_ones(which):
    net = tk.tt((2, 3, 2), 2)
    b = tk.init.normal(net, seed=1, dtype="complex128")
    a = {**tk.init.normal(net, seed=0), which: b[which]}
    x, y = oracle(net, a), oracle(net, b)
    assert tk.norm(net, a) == pytest.approx(np.linalg.norm(x), rel=1e-12)
    assert tk.inner(net, a, net, b) == pytest.approx(np.vdot(x, y), rel=1e-12)
    assert tk.distance(net, a, net, b) == pytest.approx(np.linalg.norm(x - y), rel=1e-12)


def test_shapes_that_differ_are_named():
    a, b = tk.tt((3, 4), 2), tk.tt((3, 5), 2)
    x, y = tk.init.normal(a), tk.init.normal(b)
    for function in (tk.inner, tk.distance):
        with pytest.raises(ValueError, match="output index 'i1' has size 4, but 'i1' at its place has 5"):
            function(a, x, b, y)
    with pytest.raises(ValueError, match=r"of shape \(3, 4\) and .* of shape \(3,\) do not match"):
        tk.inner(a, x, tk.tt((3,), 1), {"core_0": np.ones(3)})


@pytest.mark.parametrize("net", [tk.tt((10,) * 100, 4), tk.tree((10,) * 64, 3)], ids=["chain", "tree"])
def test_what_has_more_entries_than_fit(net):
    x = tk.init.normal(net, seed=0, std=1e-30)
    near = {**x, net.parameters[3]: x[net.parameters[3]] * (1 + 1e-9)}
    tk.norm(net, x), tk.distance(net, x, net, near)
    work, (size, off) = counted(lambda: (float(tk.norm(net, x)), float(tk.distance(net, x, net, near))))
    assert work < 300_000  # by sites, not by entries
    assert size == pytest.approx(1e-30 * np.sqrt(float(np.prod([float(n) for n in net.shape]))), rel=1e-6)
    assert off == pytest.approx(1e-9 * size, rel=1e-4)  # by inner products it would be rounding


@pytest.mark.parametrize("function", ["inner", "norm", "distance"])
def test_gradients_are_right_and_finite(function):
    net = tk.ring((3, 4, 3), 2)
    a, b = tk.init.normal(net, seed=0), tk.init.normal(net, seed=1)

    def value(core):
        x = {**converted(a, torch.as_tensor), "core_1": core}
        y = converted(b, torch.as_tensor)
        made = {
            "inner": lambda: tk.inner(net, x, net, y),
            "norm": lambda: tk.norm(net, x),
        }
        return made.get(function, lambda: tk.distance(net, x, net, y))()

    core = torch.tensor(a["core_1"], requires_grad=True)
    assert torch.autograd.gradcheck(value, core)
    zero = torch.zeros_like(core, requires_grad=True)
    value(zero).backward()
    assert torch.isfinite(zero.grad).all()


# -- sums -----------------------------------------------------------------------------------------------------------
DELTA = tk.Network(
    [tk.Node("A", "ir"), tk.Node("B", "js"), tk.Node("C", "kt"), tk.Node("D", "rst", fixed="delta")],
    "ijk", dict(i=3, j=4, k=2, r=3, s=3, t=3),
)  # fmt: skip
TRACE = tk.Network([tk.Node("A", "irrs"), tk.Node("B", "sjx"), tk.Node("C", "jx")], "ij", dict(i=3, j=4, r=2, s=3, x=2))
STRUCTURES = {
    "tt": tk.tt((3, 4, 2), 2), "ring": tk.ring((3, 4, 2), 2), "peps": tk.peps(2, 2, 2, 2), "cp": tk.cp((3, 4, 2), 3),
    "tree": tk.tree((2, 3, 2, 2), 2), "tucker": tk.tucker((3, 4), 2), "one": tk.tt((4,), 1), "delta": DELTA, "trace": TRACE,
}  # fmt: skip


def other_bonds(net):
    """The same structure with summed indices of other sizes."""
    sizes = {i: n if i in net.output else n + 1 for i, n in net.sizes.items()}
    return tk.Network(net.nodes, net.output, sizes)


@pytest.mark.parametrize("backend, convert", LIBRARIES, ids=["numpy", "torch"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_sum_is_the_sum(name, backend, convert):
    a = STRUCTURES[name]
    b = other_bonds(a)
    x, y = tk.init.normal(a, seed=0), tk.init.normal(b, seed=1, dtype="complex128" if name == "tt" else "float64")
    net, arrays = tk.add(a, converted(x, convert), b, converted(y, convert), weights=(2.5, -0.5), backend=backend)
    expected = 2.5 * oracle(a, x) - 0.5 * oracle(b, y)
    assert net.num_params > max(a.num_params, b.num_params) or name == "one"
    assert np.allclose(backend.numpy(tk.contract(net, arrays, backend=backend)), expected, atol=1e-12)
    assert float(tk.distance(a, converted(x, convert), b, converted(y, convert), backend=backend)) == pytest.approx(
        np.linalg.norm(oracle(a, x) - oracle(b, y)), rel=1e-9
    )


def test_sums_that_would_be_wrong_are_refused():
    chain = tk.tt((2, 3), 2)
    x = tk.init.normal(chain)

    def refused(net, message, other=None):
        with pytest.raises(ValueError, match=message):
            tk.add(net, tk.init.normal(net), other or net, tk.init.normal(other or net))

    refused(chain, "output index 'i1' has size 3, but 'i1' at its place has 4", tk.tt((2, 4), 2))
    refused(chain.activate("tanh", "act"), "'act' is an Elementwise")
    apart = tk.Network([tk.Node("A", "i"), tk.Node("B", "ij")], "ij", dict(i=2, j=3))
    refused(apart, "no summed index joins nodes 'A' and 'B'")
    tied = tk.Network([tk.Node("A", "ir"), tk.Node("B", "jr", array="A")], "ij", dict(i=2, j=2, r=3))
    refused(tied, "'A' and 'B' share array 'A'")
    ones = tk.Network(
        [tk.Node("A", "ir"), tk.Node("B", "rs", fixed="ones"), tk.Node("C", "sj")], "ij", dict(i=2, j=2, r=3, s=3)
    )
    refused(ones, "node 'B' is fixed")
    with pytest.raises(KeyError, match="no array 'core_1'"):
        tk.add(chain, {"core_0": x["core_0"]}, chain, x)


def test_a_difference_of_trees_keeps_its_digits():
    net = tk.tree((3, 4, 3, 2), 3)
    x = tk.init.normal(net, seed=0, dtype="complex128")
    for off in (1e-3, 1e-7, 1e-11):
        y = {**x, "node_0_0": x["node_0_0"] * (1 + off)}
        assert float(tk.distance(net, x, net, y)) == pytest.approx(off * np.linalg.norm(oracle(net, x)), rel=1e-4)
    assert float(tk.distance(net, x, net, x)) <= 1e-14 * float(tk.norm(net, x))


def test_inner_of_a_complex_network_whose_names_look_like_conjugates():
    body = tk.Network([tk.Node("x", "i", "A"), tk.Node("y", "i", "conj.A")], "i", {"i": 4})
    net = tk.Network(
        [tk.Elementwise("f", "sin", (body,)), tk.Node("z", "ij", "B"), tk.Node("w", "i", "A")], "j", {"i": 4, "j": 3}
    )
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal(s) + 1j * rng.standard_normal(s) for n, s in net.array_shapes.items()}
    made = tk.contract(net, arrays)
    assert complex(tk.inner(net, arrays, net, arrays)) == pytest.approx(np.vdot(made, made))

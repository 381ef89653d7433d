import subprocess
import sys

import numpy as np
import pytest
import tensornetwork as tn
from opt_einsum import get_symbol

import tnkit as tk
from tnkit.interop.einsum import from_einsum, to_einsum
from tnkit.interop.tensornetwork import from_tensornetwork, to_tensornetwork
from tnkit.testing import oracle, random_network

LIBRARIES = ["numpy", "torch"]
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def in_library(arrays, library):
    if library == "numpy":
        return arrays
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}


def contract_tn(nodes, output):
    return np.asarray(tn.contractors.auto(nodes, output_edge_order=output).tensor)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# -- einsum ---------------------------------------------------------------------------------------------------------
EQUATIONS = [
    "ab,bc->ac", "ab,bc", "ba", "ab,ab", "aab,b->", "aab->ab", "ab,ac,ad->bcd", "ab,ac,ad->abcd", "a,b,->ba", "->", ",",
    "Ab,bA", "bA,c", "abc->b", " a b , b c -> c a ", "é a,aé", "ab,bc,cd,de,ea->",
]  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_means_what_numpy_means(equation):
    sizes = {c: 2 + k for k, c in enumerate(sorted(set(equation) - set(" ,->")))}
    net = from_einsum(equation, sizes)
    arrays = {n.name: normal(*(sizes[i] for i in n.inds), seed=k) for k, n in enumerate(net.nodes)}
    plain = equation.replace(" ", "").replace("é", "z")  # é, like z, sorts after a
    np.testing.assert_allclose(tk.contract(net, arrays), np.einsum(plain, *arrays.values()), **CLOSE)
    assert from_einsum(to_einsum(net), sizes) == net
    assert to_einsum(net).split("->")[0] == equation.replace(" ", "").split("->")[0]


def test_einsum_names():
    net = from_einsum(",".join("a" * 28) + "->a", {"a": 3})
    assert [n.name for n in net.nodes][24:] == ["Y", "Z", "T26", "T27"]


@pytest.mark.parametrize("seed", range(40))
def test_to_einsum_of_random_networks(seed):
    net, arrays = random_network(seed)
    full = tk.check_arrays(net, arrays)
    got = np.einsum(to_einsum(net), *(full[n.array] for n in net.nodes))
    np.testing.assert_allclose(got, oracle(net, arrays), **CLOSE)


def test_to_einsum_beyond_52_indices():
    net = tk.Network([tk.Node(f"n{k}", (f"bond {k}", f"bond {k + 1}")) for k in range(80)], ("bond 80", "bond 0"),
                     {f"bond {k}": 2 for k in range(81)})  # fmt: skip
    text = to_einsum(net)
    again = from_einsum(text, {get_symbol(k): 2 for k in range(81)})
    assert to_einsum(again) == text
    assert text.endswith(f"->{get_symbol(80)}a")


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("...a,ab->b", "ellipsis"),
        ("ab->a->b", "more than one '->'"),
        ("a1->a", "'1' is no letter"),
        ("ab>a", "'>' is no letter"),
        ("ab,cd->a", "no size for 'b', 'c', 'd'"),
        ("a->b", "output index 'b' is on no node"),
        ("a->aa", "twice"),
    ],
)
def test_bad_equations(equation, message):
    with pytest.raises(ValueError, match=message):
        from_einsum(equation, {"a": 2})


def test_nonlinear_networks_are_refused_by_name():
    net = from_einsum("ab->ab", {"a": 2, "b": 2}).activate("relu", "act")
    with pytest.raises(ValueError, match=r"to_einsum: node 'act' is an Elementwise"):
        to_einsum(net)
    with pytest.raises(ValueError, match=r"to_tensornetwork: node 'act' is an Elementwise"):
        to_tensornetwork(net, {"A": np.ones((2, 2))})


# -- to tensornetwork -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("library", LIBRARIES)
def test_random_networks_there_and_back(seed, library):
    net, arrays = random_network(seed, max_space=4000)
    given = in_library(arrays, library)
    nodes, output = to_tensornetwork(net, given)
    assert [n.name for n in nodes[: len(net.nodes)]] == [n.name for n in net.nodes]
    assert [e.name for e in output] == list(net.output)
    for leaf, node in zip(net.nodes, nodes, strict=False):
        if leaf.array in given:
            assert node.tensor is given[leaf.array]
    back, same = from_tensornetwork(nodes, output)
    # Names, indices and sizes survive; ties and fixed do not, since nodes there are arrays.
    assert back == tk.Network([tk.Node(n.name, n.inds) for n in net.nodes], net.output, net.sizes)
    assert all(same[n.name] is node.tensor for n, node in zip(net.nodes, nodes, strict=False))
    want = oracle(net, arrays)
    numpy_same = {name: np.asarray(a) for name, a in same.items()}
    np.testing.assert_allclose(tk.contract(back, numpy_same), want, **CLOSE)
    np.testing.assert_allclose(contract_tn(nodes, output), want, **CLOSE)


def test_complex_copy_nodes_and_mixed_dtypes():
    net = from_einsum("ab,ac,ad->bcd", dict.fromkeys("abcd", 2))
    arrays = {"A": normal(2, 2), "B": 1j * normal(2, 2, seed=1), "C": np.arange(4).reshape(2, 2)}
    nodes, output = to_tensornetwork(net, arrays)
    assert isinstance(nodes[3], tn.CopyNode)
    assert nodes[3].dtype == np.complex128
    np.testing.assert_allclose(contract_tn(nodes, output), tk.contract(net, arrays), **CLOSE)


def test_torch_constants_keep_dtype_and_gradient():
    torch = pytest.importorskip("torch")
    net = tk.Network(
        [tk.Node("w", "ab"), tk.Node("x", "ac"), tk.Node("o", "ab", fixed="ones")], "c", dict.fromkeys("abc", 2)
    )
    w = torch.nn.Parameter(torch.rand(2, 2, dtype=torch.bfloat16))
    nodes, output = to_tensornetwork(net, {"w": w, "x": torch.rand(2, 2, dtype=torch.bfloat16)})
    assert nodes[0].tensor is w
    assert {n.tensor.dtype for n in nodes} == {torch.bfloat16}
    tn.contractors.auto(nodes, output_edge_order=output).tensor.sum().backward()
    assert w.grad is not None


def test_to_tensornetwork_refuses_what_does_not_fit():
    net = from_einsum("ab,bc->ac", dict.fromkeys("abc", 2))
    with pytest.raises(KeyError, match="no array 'B'"):
        to_tensornetwork(net, {"A": np.ones((2, 2))})
    with pytest.raises(ValueError, match="index 'b' has size 2"):
        to_tensornetwork(net, {"A": np.ones((2, 3)), "B": np.ones((2, 2))})
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="array 'A' is of numpy, array 'B' of torch"):
        to_tensornetwork(net, {"A": np.ones((2, 2)), "B": torch.ones(2, 2)})


def test_names_of_hubs_do_not_clash():
    net = tk.Network([tk.Node("i", "i"), tk.Node("j", "ij"), tk.Node("k", "ij")], "", {"i": 2, "j": 3})
    nodes, _ = to_tensornetwork(net, {"i": normal(2), "j": normal(2, 3), "k": normal(2, 3)})
    assert [n.name for n in nodes] == ["i", "j", "k", "i_2"]


# -- from tensornetwork ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("library", LIBRARIES)
def test_chain_with_ncon(library):
    arrays = in_library({"a": normal(2, 3), "b": normal(3, 4, 5), "c": normal(5, 2)}, library)
    backend = {"numpy": "numpy", "torch": "pytorch"}[library]
    a, b, c = (tn.Node(x, name=n, backend=backend) for n, x in arrays.items())
    tn.connect(a[1], b[0], name="left")
    tn.connect(b[2], c[0], name="right")
    net, same = from_tensornetwork([a, b, c])
    assert net["b"].inds == ("left", net.output[1], "right")
    assert all(same[n] is arrays[n] for n in "abc")
    want = tn.ncon(list(arrays.values()), [(-1, 1), (1, -2, 2), (2, -3)], backend=backend)
    np.testing.assert_allclose(tk.contract(net, {n: np.asarray(x) for n, x in same.items()}), np.asarray(want), **CLOSE)
    turned, _ = from_tensornetwork([a, b, c], [c[1], a[0], b[1]])
    assert turned.shape == (2, 2, 4)


def test_trace_parallel_edges_and_disconnected_nodes():
    a, b, s = tn.Node(normal(3, 3, 2, 4)), tn.Node(normal(2, 4)), tn.Node(np.array(2.0), name="s")
    v = tn.Node(normal(3))
    a[0] ^ a[1]
    a[2] ^ b[0]
    a[3] ^ b[1]
    net, arrays = from_tensornetwork([a, b, s, v])
    assert [n.name for n in net.nodes] == ["T0", "T1", "s", "T2"]
    i, j, k, m = net["T0"].inds
    assert (i, len({i, k, m}), net["T1"].inds) == (j, 3, (k, m))
    want = np.einsum("aabc,bc,,d->d", a.tensor, b.tensor, s.tensor, v.tensor)
    np.testing.assert_allclose(tk.contract(net, arrays), want, **CLOSE)


def test_unique_names_are_kept_and_others_made():
    a = tn.Node(normal(2, 2), name="x", axis_names=["in", "out"])
    b = tn.Node(normal(2, 2), name="x", axis_names=["in2", "out"])
    c = tn.Node(normal(2), name="x_2")
    a[1] ^ b[0]
    net, _ = from_tensornetwork([a, b, c])
    assert [n.name for n in net.nodes] == ["x", "x_3", "x_2"]
    assert net["x"].inds[0] == "in"
    assert len(net.sizes) == 4
    assert "out" not in net.sizes  # a's edge and b's dangling leg are both called so


def copies(dangling):
    """Three matrices on a chain of two copy nodes with ``dangling`` legs left, and what einsum says of none."""
    mats = [tn.Node(normal(3, 2, seed=k), name=f"m{k}") for k in range(3)]
    first, second = tn.CopyNode(3, 3, name="c"), tn.CopyNode(2 + dangling, 3, name="d")
    mats[0][0] ^ first[0]
    mats[1][0] ^ first[1]
    first[2] ^ second[0]
    mats[2][0] ^ second[1]
    want = np.einsum("ia,ib,ic->iabc", *(m.tensor for m in mats))
    return mats, first, second, want


@pytest.mark.parametrize("dangling", range(4))
@pytest.mark.parametrize("last", [False, True])
def test_copy_nodes(dangling, last):
    mats, first, second, by_copy = copies(dangling)
    nodes = [*mats, first, second]
    legs = [second[2 + k] for k in range(dangling)]
    order = [*(m[1] for m in mats), *legs[::-1]] if last else None
    net, arrays = from_tensornetwork(nodes, order)
    assert set(arrays) == {"m0", "m1", "m2"}
    assert len(net.nodes) == 3 + (dangling > 1)
    got = tk.contract(net, arrays)
    want = contract_tn(nodes, order or [*(m[1] for m in mats), *legs])
    np.testing.assert_allclose(got, want, **CLOSE)
    if dangling == 0:
        np.testing.assert_allclose(got, by_copy.sum(0), **CLOSE)


def test_copy_nodes_alone():
    free, ring, point = tn.CopyNode(3, 4, name="free"), tn.CopyNode(2, 5, name="ring"), tn.CopyNode(1, 3)
    ring[0] ^ ring[1]
    net, arrays = from_tensornetwork([free, ring, point])
    assert arrays == {}
    want = np.multiply.outer(tk.execution.inputs.constant("delta", (4, 4, 4)), 5.0 * np.ones(3))
    np.testing.assert_allclose(tk.contract(net, arrays), want, **CLOSE)


def test_copy_node_on_two_axes_of_one_node_is_a_diagonal():
    a, c = tn.Node(normal(3, 3, 2)), tn.CopyNode(3, 3)
    a[0] ^ c[0]
    a[1] ^ c[1]
    net, arrays = from_tensornetwork([a, c], [c[2], a[2]])
    np.testing.assert_allclose(tk.contract(net, arrays), np.einsum("iij->ij", a.tensor), **CLOSE)


def test_a_dangling_leg_names_its_wire():
    a, c = tn.Node(normal(3, 2), name="a"), tn.CopyNode(3, 3, axis_names=["x", "first", "second"])
    tn.connect(a[0], c[0], name="inner")
    net, _ = from_tensornetwork([a, c])
    assert net["a"].inds == ("first", net.output[0])
    assert net.output[1:] == ("first", "second")
    assert from_tensornetwork([a, c], [c[2], c[1], a[1]])[0].output[:2] == ("second", "first")


def test_a_part_of_a_tensornetwork_is_read_where_its_edges_are_named():
    """A ring of four with legs, cut in two: both parts joined are the whole."""
    nodes = [tn.Node(normal(2, 3, 2), name=n) for n in "abcd"]
    for k in range(4):
        tn.connect(nodes[k][2], nodes[(k + 1) % 4][0], name=f"bond{k}")
    legs = [node[1] for node in nodes]
    for k, leg in enumerate(legs):
        leg.name = f"leg{k}"
    cut = [nodes[1][2], nodes[3][2]]
    left, left_arrays = from_tensornetwork(nodes[:2], [*legs[:2], *cut])
    right, right_arrays = from_tensornetwork(nodes[2:], [*cut, *legs[2:]])
    assert left.output == ("leg0", "leg1", "bond1", "bond3") and right.output == ("bond1", "bond3", "leg2", "leg3")
    whole, arrays = from_tensornetwork(nodes, legs)
    parts = left.join(right, output=("leg0", "leg1", "leg2", "leg3"), on=("bond1", "bond3"))
    np.testing.assert_allclose(tk.contract(parts, left_arrays | right_arrays), oracle(whole, arrays), rtol=1e-12)
    with pytest.raises(ValueError, match="leads to a node that is not given; name its edge in output_edges"):
        from_tensornetwork(nodes[:2], [*legs[:2], cut[0]])
    with pytest.raises(ValueError, match="not the 4 edges that leave the nodes, each once"):
        from_tensornetwork(nodes[:2], [*legs[:2], *cut, nodes[0][2]])


def test_one_table_of_sizes_serves_many_equations():
    table = dict(a=2, b=np.int64(3), c=4, zz=5)
    net = from_einsum("ab,bc", table)
    assert net.sizes == dict(a=2, b=3, c=4) and all(type(n) is int for n in net.sizes.values())
    for bad in (True, 2.5, "3", None, [3], np.float64(3)):
        with pytest.raises(TypeError, match="the size of index 'b' is a whole number of at least 1"):
            from_einsum("ab,bc", table | {"b": bad})
    with pytest.raises(TypeError, match="from_einsum: sizes map names to values, as a dict does"):
        from_einsum("ab,bc", [2, 3, 4])


def test_arrays_that_are_none_are_refused_with_their_node():
    a = np.ones((2, 2))
    for given, words in [
        ([a], "from_arrays: arrays map names to values"),
        ({"A": a}, "node 'A' needs a pair"),
        ({"A": ([[1.0]], "ij")}, "node 'A' needs an array of a library, not"),
        ({"A": (a, {"i", "j"})}, "the indices of node 'A' is a sequence, .*: a set has no order"),
        ({"A": (a, ("i", 3))}, "the indices of node 'A': an index is a non-empty string, not 3"),
        ({3: (a, "ij")}, "the name of a node is a non-empty string, not 3"),
    ]:
        with pytest.raises(TypeError, match=words):
            tk.from_arrays(given, "ij")
    with pytest.raises(TypeError, match=r"from_arrays: output is a sequence.*a set has no order"):
        tk.from_arrays({"A": (a, "ij")}, {"i", "j"})


def test_from_tensornetwork_refuses():
    a, b = tn.Node(np.ones((2, 2)), name="a"), tn.Node(np.ones((2, 2)), name="b")
    a[1] ^ b[0]
    with pytest.raises(
        ValueError, match="axis 1 of node 'a' leads to a node that is not given; name its edge in output_edges"
    ):
        from_tensornetwork([a])
    with pytest.raises(ValueError, match="given twice"):
        from_tensornetwork([a, b, a])
    for order in ([a[0]], [a[0], a[0]], [a[0], a[1]], [a[0], b[1], a[1]]):
        with pytest.raises(ValueError, match="not the 2 edges that leave the nodes"):
            from_tensornetwork([a, b], order)
    with pytest.raises(TypeError, match="nodes are nodes of tensornetwork, not a ndarray of shape"):
        from_tensornetwork([np.ones(2)])
    with pytest.raises(ValueError, match="at least one node"):
        from_tensornetwork([])


@pytest.mark.slow
def test_importing_loads_neither_tensornetwork_nor_torch():
    code = "import tnkit.interop.einsum, tnkit.interop.tensornetwork, tnkit.interop.networkx, tnkit.interop.files, sys; print({'torch', 'tensornetwork'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.slow
def test_an_equation_of_thousands_of_indices_reads_back():
    net = tk.tt((1,) * 6000, 1)
    equation = tk.to_einsum(net)
    assert not any(c.isspace() for c in equation)
    symbols = {c for c in equation if c not in ",->"}
    back = tk.from_einsum(equation, dict.fromkeys(symbols, 1))
    assert len(back.nodes) == 6000 and len(symbols) == len(net.sizes)

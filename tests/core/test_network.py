"""Networks as values: equality, hashing, pickling, joining, relabelling, regions, text."""

import copy
import pickle

import numpy as np
import pytest

from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.execution.run import contract
from tnkit.testing import oracle, random_network

SIZES = dict(i=2, j=3, r=4)


def net():
    return Network([Node("A", "ir"), Node("B", "rj")], "ij", SIZES)


def test_reading():
    n = net()
    assert n.shape == (2, 3) and n.num_params == 20 and n.multilinear
    assert n.edges == {"i": ("A",), "r": ("A", "B"), "j": ("B",)}
    assert n.parameters == ("A", "B") and n["A"].inds == ("i", "r")
    assert repr(n) == "Network(2 nodes, 2x3, 20 params)"
    assert "A(i:2, r:4)" in str(n) and "-> (i:2, j:3)" in str(n)
    assert n._repr_html_().startswith("<pre>")


def test_tied_and_fixed_are_counted_once_and_never():
    n = Network(
        [Node("A", "ij"), Node("B", "jk", array="A"), Node("x", "k", fixed=True), Node("e", "i", fixed="e0")],
        "",
        dict(i=3, j=3, k=3),
    )
    assert n.num_params == 9 and n.parameters == ("A",)
    assert n.array_shapes == {"A": (3, 3), "x": (3,), "e": (3,)}


def test_sizes_may_be_numpys_and_are_stored_as_int():
    n = Network([Node("A", "i")], "i", {"i": np.int64(3)})
    assert type(n.sizes["i"]) is int and n == Network([Node("A", "i")], "i", dict(i=3))


@pytest.mark.parametrize("seed", range(12))
def test_a_network_is_a_value(seed):
    one, _ = random_network(seed, nonlinear=seed % 2 == 1)
    two, _ = random_network(seed, nonlinear=seed % 2 == 1)
    assert one is not two and one == two and hash(one) == hash(two) and {one: 1}[two] == 1
    assert pickle.loads(pickle.dumps(one)) == one and hash(pickle.loads(pickle.dumps(one))) == hash(one)
    assert copy.deepcopy(one) == one and copy.copy(one) == one
    assert one != one.relabel(nodes=lambda n: n + "'")
    with pytest.raises(AttributeError):
        one.output = ()


def test_the_callers_dict_is_not_shared():
    sizes = dict(SIZES)
    n = Network([Node("A", "ir"), Node("B", "rj")], "ij", sizes)
    sizes["i"] = 9
    assert n.sizes["i"] == 2 and n == net()


@pytest.mark.parametrize("seed", range(24))
def test_invariances(seed):
    """Order of nodes, names, and order of the output do not change the tensor."""
    n, arrays = random_network(seed, nonlinear=seed % 2 == 1)
    want = contract(n, arrays)
    scale = 1e-12 + 1e-10 * np.max(np.abs(want), initial=0)
    rng = np.random.default_rng(seed)
    nodes = [n.nodes[k] for k in rng.permutation(len(n.nodes))]
    assert np.allclose(contract(Network(nodes, n.output, n.sizes), arrays), want, atol=scale)
    renamed = n.relabel(inds=lambda i: i + "'", nodes=lambda m: "n" + m)
    assert np.allclose(contract(renamed, arrays), want, atol=scale)
    other = n.relabel(arrays=lambda a: "x" + a)
    assert np.allclose(contract(other, {"x" + k: v for k, v in arrays.items()}), want, atol=scale)
    axes = rng.permutation(len(n.output))
    turned = Network(n.nodes, [n.output[k] for k in axes], n.sizes)
    assert np.allclose(contract(turned, arrays), want.transpose(axes), atol=scale)
    assert n.relabel() == n


def test_swapping_two_names_is_legal():
    swapped = net().relabel(inds=dict(i="j", j="i"), nodes=dict(A="B", B="A"))
    assert swapped["B"].inds == ("j", "r") and swapped["B"].array == "A"


@pytest.mark.parametrize("seed", range(24))
def test_join_is_einsum_of_the_contractions(seed):
    a, x = random_network(seed, nonlinear=seed % 2 == 1)
    b, y = random_network(seed + 7, nonlinear=seed % 3 == 1)
    tag = lambda n, t: n.relabel(*[lambda s: t + s] * 3)  # noqa: E731
    a, x = tag(a, "a"), {"a" + k: v for k, v in x.items()}
    b, y = tag(b, "b"), {"b" + k: v for k, v in y.items()}
    pairs, free = {}, list(a.output)
    for j in b.output:
        match = [i for i in free if a.sizes[i] == b.sizes[j]]
        if match and len(pairs) < 2:
            pairs[j] = match[0]
            free.remove(match[0])
    b = b.relabel(inds=pairs)
    on = tuple(pairs.values())
    numbers = {i: k for k, i in enumerate(dict.fromkeys((*a.output, *b.output)))}
    operands = (contract(a, x), [numbers[i] for i in a.output], contract(b, y), [numbers[i] for i in b.output])
    joined = a.join(b, on=on)
    assert joined.output == tuple(i for i in (*a.output, *b.output) if i not in on)
    for n in (joined, a.join(b, (*joined.output, *on), on=on)):  # summed, and kept as a batch
        want = np.einsum(*operands, [numbers[i] for i in n.output])
        assert np.allclose(contract(n, {**x, **y}), want, rtol=1e-9, atol=1e-9 * np.abs(want).max(initial=0))


def test_activate_and_residual():
    n = net()
    arrays = {name: np.random.default_rng(0).normal(size=s) for name, s in n.array_shapes.items()}
    w = np.random.default_rng(1).normal(size=(2, 3))
    lora = Elementwise(
        "f", "add", (Network([Node("w0", "ij", fixed=True)], "ij", dict(i=2, j=3)), n.activate("tanh", "g"))
    )
    total = Network([lora], "ij")
    assert total.num_params == 20 and not total.multilinear and "nonlinear" in repr(total)
    assert np.allclose(contract(total, {**arrays, "w0": w}), w + np.tanh(arrays["A"] @ arrays["B"]))


@pytest.mark.parametrize("seed", range(20))
def test_regions(seed):
    """Each region is multilinear, and together they hold every leaf once; contracted inside out they give the network."""
    n, arrays = random_network(seed, nonlinear=True)
    regions = list(n.regions())
    assert all(r.multilinear for r in regions) and len(regions) > 1
    names = [m.name for r in regions for m in r.nodes]
    assert len(set(names)) == len(names) and {leaf.name for leaf in n.leaves} < set(names)
    assert regions[0].output == n.output
    inner = {m.name: oracle(Network([m], m.inds), arrays) for m in n.nodes if isinstance(m, Elementwise)}
    top = {m.array: arrays[m.array] for m in n.nodes if isinstance(m, Node) and m.array in arrays}
    want = oracle(n, arrays)
    assert np.allclose(contract(regions[0], {**top, **inner}), want, atol=1e-9 * np.abs(want).max(initial=0))


def test_names_of_any_kind_and_letters_of_any_script():
    """A sequence has names of any kind; a string's letters may be of any script, as those of opt_einsum's equations are."""
    odd = [",", " ", "i,j", "->", "row", "\N{MULTIPLICATION SIGN}", "'"]
    n = Network([Node("A", odd)], odd[::-1], dict.fromkeys(odd, 2))
    assert n.output == tuple(odd[::-1]) and Node("A", iter(odd)).inds == tuple(odd)
    assert Node("A", "iJ2\N{LATIN SMALL LETTER E WITH ACUTE}\N{GREEK SMALL LETTER ALPHA}\N{MULTIPLICATION SIGN}").inds[
        2:4
    ] == ("2", "é")
    assert Node("A", dict(i=2, j=3).keys()).inds == ("i", "j")  # in the order of the dict


def test_sizes_beyond_what_arrays_hold():
    n = Network([Node("A", "ij")], "ij", dict(i=2**62, j=2**70))
    assert n.num_params == 2**132 and n.shape == (2**62, 2**70)


def test_hyperedges_and_dangling_indices_are_marked():
    n = Network(
        [Node("A", "irr"), Node("B", "is"), Node("C", "s"), Node("D", "st"), Node("E", "uv")],
        "iv",
        dict(i=2, r=2, s=3, t=4, u=3, v=4),
    )
    lines = str(n).splitlines()
    assert lines[1:6] == [
        "  A(i:2*, r:2, r:2)", "  B(i:2*, s:3*)", "  C(s:3*)", "  D(s:3*, t:4?)", "  E(u:3?, v:4)",
    ]  # fmt: skip
    assert lines[6:] == [
        "  -> (i:2, v:4)",
        "  ? on one node alone, and summed there: a misspelt name, often",
        "  * a hyperedge: it ends at three nodes or more, the output counted",
    ]
    assert "?" not in str(net()) and "*" not in str(net())  # no mark, no word about marks
    inside = Network([Elementwise("f", "tanh", n)], "iv")
    assert "  | D(s:3*, t:4?)" in str(inside) and str(inside).splitlines()[-2:] == lines[-2:]

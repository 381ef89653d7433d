"""Networks as values: equality, hashing, pickling, joining, relabelling, regions, text."""

import copy
import json
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
    shown = n._repr_mimebundle_()
    assert shown["text/plain"] == str(n) and shown["image/svg+xml"].startswith("<svg")


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


@pytest.mark.parametrize("name", ["sizes", "array_shapes", "edges", "places"])
def test_what_a_network_says_of_itself_does_not_change(name):
    made = net()
    said = getattr(made, name)
    before, key = dict(said), next(iter(said))
    for change in (said.clear, lambda: said.pop(key), lambda: said.update({key: 1}), lambda: said.setdefault("x", 1)):
        with pytest.raises(TypeError, match=r"do(es)? not change"):
            change()
    assert (
        getattr(made, name) == before
        and repr(said) == repr(before)
        and json.loads(json.dumps(said)).keys() == said.keys()
    )
    for same in (pickle.loads(pickle.dumps(said)), copy.copy(said), copy.deepcopy(said)):
        assert same == before
    assert type(said | {}) is type(said.copy()) is dict


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


@pytest.mark.parametrize("seed", range(10))
def test_join_by_a_mapping_keeps_the_places(seed):
    """Gates on the network, their new indices where the replaced ones stood, by einsum."""
    a, x = random_network(seed, nonlinear=seed % 2 == 1)
    rng = np.random.default_rng(seed)
    for i in a.output:
        k, n, m = a.output.index(i), a.sizes[i], int(rng.integers(1, 4))
        gate = Network([Node("gate", ("new", "old"))], ("new", "old"), {"new": m, "old": n})
        joined, held = a.join(gate, on={i: "old"}), {**x, "gate": rng.normal(size=(m, n))}
        assert joined.output == (*a.output[:k], "new", *a.output[k + 1 :])
        want = np.moveaxis(np.tensordot(held["gate"], contract(a, x), (1, k)), 0, k)
        assert np.allclose(contract(joined, held), want, rtol=1e-9, atol=1e-9 * np.abs(want).max(initial=0))
        same = gate.relabel({"new": i})  # the new index may have the name of the replaced one
        joined = a.join(same, on={i: "old"})
        assert joined.output == a.output and np.allclose(
            contract(joined, held), want, atol=1e-9 * np.abs(want).max(initial=0)
        )


def test_join_by_a_mapping():
    a = net()
    assert a.output == ("i", "j")
    two = Network([Node("G", ("p", "q", "x", "y"))], "pqxy", {"p": 5, "q": 6, "x": a.sizes["i"], "y": a.sizes["j"]})
    assert a.join(two, on={"i": "x", "j": "y"}).output == ("p", "q")
    assert a.join(two, on={"j": "y", "i": "x"}).output == ("q", "p")  # one by one, in the order of the mapping
    named = two.relabel({"p": "j", "q": "i"})
    assert a.join(named, on={"i": "x", "j": "y"}).output == ("i", "j")  # by name, where the names are the same
    one = Network([Node("V", ("x", "p", "q"))], "xpq", {"x": a.sizes["i"], "p": 5, "q": 3})
    assert a.join(one, on={"i": "x"}).output == ("p", "q", "j")
    assert a.join(one, ("j", "q", "p"), on={"i": "x"}).output == ("j", "q", "p")
    for on, words in (
        ({"z": "x"}, "join: index 'z' .with 'x'. of on= is not in both outputs"),
        ({"i": "p"}, "join: index 'i' .with 'p'. has size"),
        ({"i": "x", "j": "x"}, "join: on names an index of the other network twice"),
    ):
        with pytest.raises(ValueError, match=words):
            a.join(one, on=on)
    with pytest.raises(TypeError, match="join: on maps names of indices"):
        a.join(one, on={"i": 3})
    with pytest.raises(ValueError, match="join: both networks have index 'j'"):
        a.join(one.relabel({"q": "j"}), on={"i": "x"})


def test_inner_add_and_distance_of_a_network_with_a_replaced_site():
    """An identity joined to one site changes nothing: outputs are matched by name, whatever their order."""
    import tnkit as tk

    psi = tk.mps((2, 3, 2, 3), 2)
    arrays = tk.init.normal(psi, seed=0)
    for k, n in enumerate(psi.shape):
        gate = tk.Network([tk.Node("one", (f"i{k}", "x"))], (f"i{k}", "x"), {f"i{k}": n, "x": n})
        kept, held = psi.join(gate, on={f"i{k}": "x"}), {**arrays, "one": np.eye(n)}
        last = psi.relabel({f"i{k}": "x"}).join(gate, on=["x"])  # as before: the replaced site comes last
        assert kept.output == psi.output and set(last.output) == set(psi.output)
        for other in (kept, last):
            assert tk.inner(psi, arrays, other, held) == pytest.approx(tk.norm(psi, arrays) ** 2)
            assert tk.distance(psi, arrays, other, held) < 1e-7 * tk.norm(psi, arrays)
    turned = tk.transpose(psi, psi.output[::-1])
    assert np.allclose(tk.contract(*tk.add(psi, arrays, turned, arrays)), 2 * tk.contract(psi, arrays))


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


def test_text_names_arrays_that_are_not_called_as_their_node():
    n = Network([Node("A", "ij", fixed=True), Node("B", "jk", array="A", fixed=True)], "ik", dict.fromkeys("ijk", 2))
    assert str(n).splitlines()[1:3] == ["  A(i:2, j:2) fixed", "  B(j:2, k:2) = A fixed"]


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
        "  -> (i:2, v:4), summed over r, s, t, u",
        "  ? on one node alone, and summed there: a misspelt name, often",
        "  * a hyperedge: it ends at three nodes or more, the output counted",
    ]
    assert "?" not in str(net()) and "*" not in str(net())  # no mark, no word about marks
    inside = Network([Elementwise("f", "tanh", n)], "iv")
    assert "  | D(s:3*, t:4?)" in str(inside) and str(inside).splitlines()[-2:] == lines[-2:]

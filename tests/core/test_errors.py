"""Bad inputs, each with the words of its message: node, index and sizes are named."""

import numpy as np
import pytest
import torch

import tnkit as tk
import tnkit_nn as tknn
from tnkit.core.explain import explain
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.execution.inputs import check_arrays, constant
from tnkit.execution.run import contract
from tnkit.paths.optimizers import find_path
from tnkit.planning.planner import plan

A, B = Node("A", "ir"), Node("B", "rj")
SIZES = dict(i=2, j=3, r=4)
NET = Network([A, B], "ij", SIZES)
ARRAYS = {"A": np.ones((2, 4)), "B": np.ones((4, 3))}
OTHER = Network([Node("C", "jk")], "jk", dict(j=3, k=2))
ACT = NET.activate("relu", "f")
THREE = Network([A, B, Node("D", "j")], "i", SIZES)


def path(*steps):
    return lambda inputs, output, sizes, memory_limit: list(steps)


CASES = [
    # a node
    (lambda: Node("", "ij"), TypeError, "a node's name is a non-empty string, not ''"),
    (lambda: Node(3, "ij"), TypeError, "a node's name is a non-empty string, not 3"),
    (lambda: Node("A", (1, 2)), TypeError, "node 'A': index 1 is not a string"),
    (lambda: Node("A", 5), TypeError, "node 'A': indices are a string or a sequence of names, not 5"),
    (lambda: Node("A", "i", fixed="zeros"), ValueError, "node 'A': fixed='zeros' is not True, False or one of"),
    (lambda: Node("A", "i", fixed=3), ValueError, "node 'A': fixed=3 is not True, False or one of"),
    (lambda: Node("A", "i", array=7), TypeError, "node 'A': array is the name of an array, not a int"),
    # an elementwise node
    (lambda: Elementwise("f", "rely", (NET,)), ValueError, "unknown activation 'rely'; known: relu, "),
    (lambda: Elementwise("f", 3, (NET,)), TypeError, "an activation is a name or a function fn(xp, *x), not int"),
    (lambda: Elementwise("f", "relu", ()), ValueError, "elementwise node 'f' has no body"),
    (lambda: Elementwise("f", "relu", (A,)), TypeError, "elementwise node 'f': a body is a Network, not a Node"),
    (lambda: Elementwise("", "relu", (NET,)), TypeError, "an elementwise node's name is a non-empty string"),
    (lambda: Elementwise("f", "add", (NET, OTHER)), ValueError, "node 'f': its bodies' outputs differ, ('i', 'j') and ('j', 'k')"),
    # a network
    (lambda: Network([], ""), ValueError, "a network has at least one node"),
    (lambda: Network(A, "ir", SIZES), TypeError, "a network's nodes are a sequence of nodes, not a Node"),
    (lambda: Network([A, "B"], "i", SIZES), TypeError, "a network's nodes are Node or Elementwise, as Node('A', 'ij'), not 'B'"),
    (lambda: Network([A], "ir", [2, 4]), TypeError, "sizes map index names to sizes; they are not a list"),
    (lambda: Network([A], "ir", dict(i=2)), ValueError, "node 'A': index 'r' has no size"),
    (lambda: Network([A], "ir", dict(i=2, r=0)), ValueError, "index 'r' has size 0; a size is a whole number from 1 up"),
    (lambda: Network([A], "ir", dict(i=2, r=2.0)), TypeError, "index 'r' has size 2.0; a size is a whole number from 1 up"),
    (lambda: Network([A], "ir", dict(i=2, r=-1)), ValueError, "index 'r' has size -1; a size is a whole number"),
    (lambda: Network([A, B], "ik", SIZES), ValueError, "output index 'k' is on no node"),
    # letters that were meant to be one index
    (lambda: Network([Node("A", "b1")], "b1", dict(b1=2)), ValueError,
        "node 'A': index 'b' has no size; a string has one letter an index, and ('b1',) is one index of this name"),
    (lambda: Network([Node("A", ["b1"])], "b1", dict(b1=2)), ValueError,
        "output index 'b' is on no node; a string has one letter an index, and ('b1',) is one index of this name"),
    (lambda: Network([A, B], "iij", SIZES), ValueError, "output ('i', 'i', 'j') names an index twice"),
    (lambda: Network([A, B], 7, SIZES), TypeError, "output: indices are a string or a sequence of names, not 7"),
    (lambda: Network([A, B], "ij", dict(SIZES, z=3)), ValueError, "sizes: index 'z' is on no node"),
    (lambda: Network([A, Node("A", "rj")], "ij", SIZES), ValueError, "two nodes are called 'A'; node names are unique"),
    (
        lambda: Network([A, Node("B", "rj", array="A")], "ij", SIZES),
        ValueError,
        "nodes 'A' and 'B' share array 'A' but have shapes (2, 4) and (4, 3)",
    ),
    (
        lambda: Network([A, Node("B", "ir", array="A", fixed=True)], "i", dict(i=2, r=4)),
        ValueError,
        "nodes 'A' and 'B' share array 'A' but fixed=False and True",
    ),
    (
        lambda: Network([*ACT.nodes, Node("C", "i", array="f")], "ij"),
        ValueError,
        "elementwise node 'f' has the name of node 'C''s array",
    ),
    (
        lambda: Network([*ACT.nodes, Node("C", "j")], "ij", dict(i=2, j=4)),
        ValueError,
        "node 'f': index 'j' has size 3 here and 4 elsewhere",
    ),
    (
        lambda: Network([*ACT.nodes, Node("C", "r")], "ij", dict(r=4)),
        ValueError,
        "index 'r' is summed inside elementwise node 'f' and used outside it, on node 'C'",
    ),
    (
        lambda: Network([*ACT.nodes, *NET.relabel(nodes=dict(A="C", B="D")).activate("tanh", "g").nodes], "ij"),
        ValueError,
        "index 'r' is summed inside elementwise node 'g' and used outside it, inside 'f'",
    ),
    (
        lambda: Elementwise("f", "add", (NET, NET.relabel(nodes=dict(A="C", B="D")))) and Network(
            [Elementwise("f", "add", (NET, NET.relabel(nodes=dict(A="C", B="D"))))], "ij"
        ),
        ValueError,
        "index 'r' is summed inside elementwise node 'f' and used outside it, in another body of it",
    ),
    (
        lambda: Network([Elementwise("f", "add", (NET, Network([Node("C", "ij")], "ij", dict(i=2, j=5))))], "ij"),
        ValueError,
        "node 'f': index 'j' has size 3 and 5 in its bodies",
    ),
    (lambda: NET.activate("relu", "A"), ValueError, "two nodes are called 'A'"),
    (lambda: NET["Z"], KeyError, "no node 'Z'; there are A, B"),
    (lambda: NET.sizes.update(i=3), TypeError, "the sizes of a network do not change; build a new network"),
    # join and relabel
    (lambda: NET.join(OTHER), ValueError, "join: both networks have index 'j'; declare it in on=, or relabel one"),
    (lambda: NET.join(OTHER, on="jk"), ValueError, "join: index 'k' of on= is not in both outputs, ('i', 'j') and ('j', 'k')"),
    (
        lambda: NET.join(Network([Node("C", "jk")], "jk", dict(j=5, k=2)), on="j"),
        ValueError,
        "join: index 'j' has size 3 here and 5 there",
    ),
    (lambda: NET.join(OTHER, "iz", on="j"), ValueError, "output index 'z' is on no node"),
    (lambda: NET.join(OTHER, on=["q"]), ValueError, "join: index 'q' of on= is not in both outputs, ('i', 'j') and ('j', 'k')"),
    (lambda: NET.join(OTHER, on="q0"), ValueError, "join: index 'q0' of on= is not in both outputs"),
    (lambda: NET.relabel(inds=dict(i="j")), ValueError, "relabel: two indices would get the same name"),
    (lambda: NET.relabel(nodes=dict(A="B")), ValueError, "two nodes are called 'B'"),
    # what has no order, what is no letter
    (lambda: Node("A", {"i", "r"}), TypeError, "node 'A': indices are a string or a sequence of names, not {"),
    (lambda: Node("A", frozenset("i")), TypeError, "not frozenset({'i'}): a set has no order"),
    (lambda: Node("A", dict(i=2).items() - {1}), TypeError, "node 'A': indices are a string or a sequence of names"),
    (lambda: Node("A", b"ir"), TypeError, "node 'A': indices are a string or a sequence of names, not b'ir'"),
    (lambda: Node("A", bytearray(b"ir")), TypeError, "node 'A': indices are a string or a sequence of names, not bytearray"),
    (lambda: Node("A", dict(i=2)), TypeError, "node 'A': indices are a string or a sequence of names, not {'i': 2}"),
    (lambda: Node("A", np.arange(2)), TypeError, "node 'A': index "),
    (lambda: Node("A", "i,r"), ValueError, "node 'A': a string of indices has one letter or digit an index, and 'i,r' has ','; "
        "give longer names as a sequence, as in ('i', 'r')"),
    (lambda: Node("A", "row col"), ValueError, "'row col' has ' '; give longer names as a sequence, as in ('row', 'col')"),
    (lambda: Node("A", "i_1"), ValueError, "'i_1' has '_'; give longer names as a sequence, as in ('i_1',)"),
    (lambda: Node("A", "i->"), ValueError, "'i->' has '-'"),
    (lambda: Node("A", "i\n"), ValueError, "has '\\n'"),
    (lambda: Node("A", "i\u3001j"), ValueError, "has '\u3001'"),
    (lambda: Node("A", ["i", ""]), ValueError, "node 'A': an index is a non-empty string, not ''"),
    (lambda: Network([A, B], {"i", "j"}, SIZES), TypeError, "output: indices are a string or a sequence of names, not {"),
    (lambda: Network([A, B], "i,j", SIZES), ValueError, "output: a string of indices has one letter or digit an index"),
    (lambda: Network([A, B], SIZES, SIZES), TypeError, "output: indices are a string or a sequence of names, not {'i': 2"),
    (lambda: Network({A, B}, "ij", SIZES), TypeError, "a network's nodes are a sequence of nodes, not a set: a set has no order"),
    (lambda: Network("AB", "ij", SIZES), TypeError, "a network's nodes are a sequence of nodes, not a str"),
    (lambda: Elementwise("f", "add", {NET}), TypeError, "elementwise node 'f': bodies are a sequence of networks, not {"),
    (lambda: Elementwise("f", "add", 3), TypeError, "elementwise node 'f': bodies are a sequence of networks, not 3"),
    (lambda: Elementwise(3, "add", NET), TypeError, "an elementwise node's name is a non-empty string, not 3"),
    (lambda: NET.activate("relu", ""), TypeError, "an elementwise node's name is a non-empty string, not ''"),
    (lambda: NET.activate("relu", None), TypeError, "an elementwise node's name is a non-empty string, not None"),
    (lambda: NET.activate(None, "f"), TypeError, "an activation is a name or a function fn(xp, *x), not NoneType"),
    # sizes
    *[
        (lambda size=size: Network([A], "ir", dict(i=2, r=size)), kind, "index 'r' has size ")
        for size, kind in [
            (True, TypeError), (np.True_, TypeError), (2.5, TypeError), (float("nan"), TypeError), (np.float64(2), TypeError),
            ("2", TypeError), (None, TypeError), ([2], TypeError), (np.array([2, 3]), TypeError), (2j, TypeError),
            (np.int8(0), ValueError), (np.int64(-2), ValueError),
        ]
    ],
    (lambda: Network([A], "ir", {"i": 2, "r": 4, 3: 5}), TypeError, "sizes map index names to sizes; 3 is no string"),
    # join and relabel
    (lambda: NET.join(3), TypeError, "join: a Network is needed, not 3"),
    (lambda: NET.join(A), TypeError, "join: a Network is needed, not Node(name='A'"),
    (lambda: NET.join(OTHER, on={"j"}), TypeError, "join: on: indices are a string or a sequence of names, not {'j'}"),
    (lambda: NET.join(OTHER, on=3), TypeError, "join: on: indices are a string or a sequence of names, not 3"),
    (lambda: NET.join(OTHER, {"i"}, on="j"), TypeError, "join: output: indices are a string or a sequence of names, not {'i'}"),
    (lambda: NET.relabel(inds=dict(zz="q")), ValueError, "relabel: inds names 'zz', and the network has no index of that name"),
    (lambda: NET.relabel(nodes=dict(zz="q")), ValueError, "relabel: nodes names 'zz', and the network has no node of that name"),
    (lambda: NET.relabel(arrays={3: "q"}), ValueError, "relabel: arrays names 3, and the network has no array of that name"),
    (lambda: NET.relabel(inds=[("i", "q")]), TypeError, "relabel: inds are a mapping from names to names, or a function, not [("),
    (lambda: NET.relabel(nodes="A"), TypeError, "relabel: nodes are a mapping from names to names, or a function, not 'A'"),
    (lambda: NET.relabel(inds=dict(i=3)), TypeError, "relabel: the new name of index 'i' is a non-empty string, not 3"),
    (lambda: NET.relabel(nodes=lambda n: None), TypeError, "relabel: the new name of node 'A' is a non-empty string, not None"),
    (lambda: NET.relabel(arrays=dict(A="")), TypeError, "relabel: the new name of array 'A' is a non-empty string, not ''"),
    (lambda: explain([A, B]), TypeError, "explain: a Network is needed, not [Node(name='A'"),
    # orders and plans
    (lambda: plan(NET, "gredy"), ValueError, "unknown optimizer 'gredy'; known: auto, greedy, "),
    (lambda: plan(NET, 3), TypeError, "plan: optimizer is a name, a path, a contraction tree, or a function (inputs, output, sizes, memory_limit), not 3"),
    (lambda: plan(THREE, path((0, 3))), ValueError, "the optimizer's path has step (0, 3) where only 3 terms are left"),
    (lambda: plan(THREE, path((1, 1))), ValueError, "the optimizer's path has step (1, 1), which names a term twice"),
    (lambda: plan(THREE, path(0, 1)), TypeError, "the optimizer gave [0, 1], which is no list of tuples of positions"),
    (lambda: plan(NET, dynamic="r"), ValueError, "dynamic index 'r' is not in the output ('i', 'j')"),
    (
        lambda: plan(Network([A, Node("E", "r", fixed="ones")], "ir", dict(i=2, r=4)), dynamic="r"),
        ValueError,
        "dynamic index 'r' is on node 'E', a constant of fixed shape",
    ),
    (lambda: plan([A, B]), TypeError, "plan: a Network is needed, not [Node("),
    (lambda: plan(ACT).path, ValueError, "is nonlinear: it has one path a region, in plan.paths"),
    (lambda: find_path([("a",)] * 3, (), dict(a=2), path((-1, 0))), ValueError, "the optimizer's path has step (-1, 0)"),
    # arrays
    (lambda: contract(NET, {"A": ARRAYS["A"]}), KeyError, "no array 'B' for node 'B' of shape (4, 3)"),
    (
        lambda: contract(NET, {**ARRAYS, "B": np.ones((4, 5))}),
        ValueError,
        "node 'B': index 'j' has size 3, but its array has 5 there (shape (4, 5))",
    ),
    (
        lambda: contract(NET, {**ARRAYS, "B": np.ones(12)}),
        ValueError,
        "node 'B' has indices ('r', 'j'), but its array has 1 axis (12,)",
    ),
    (lambda: contract(NET, {**ARRAYS, "C": np.ones(1)}), ValueError, "array 'C' belongs to no node; the network has A, B"),
    (lambda: contract(NET, {**ARRAYS, "B": "x"}), TypeError, "array 'B' is a str, which is no array of numpy"),
    (
        lambda: contract(NET, {**ARRAYS, "B": torch.ones(4, 3)}),
        TypeError,
        "the arrays of one call are of one library: array 'A' is of numpy, array 'B' of torch; convert one of them",
    ),
    (
        lambda: contract(NET, {"A": torch.ones(2, 4), "B": torch.ones(4, 3).double()}),
        ValueError,
        "torch does not mix dtypes: array 'A' is torch.float32, array 'B' is torch.float64",
    ),
    (
        lambda: check_arrays(
            Network([Node("x", "bi"), Node("y", "bj")], "bij", dict(b=2, i=2, j=2)),
            {"x": np.ones((5, 2)), "y": np.ones((1, 2))},
            dynamic="b",
        ),
        ValueError,
        "dynamic index 'b' has size 5 on node 'x' and 1 on 'y'",
    ),
    (lambda: constant("zeros", (2,)), ValueError, "unknown constant 'zeros'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "words"), CASES, ids=[words[:60] for _, _, words in CASES])
def test_message(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    message = caught.value.args[0]
    assert words in message
    assert len(message) < 400


def test_the_oracle_says_how_many_indices_it_can_take():
    net = tk.mps((2,) * 30, 1)  # 30 open indices and 29 bonds
    with pytest.raises(ValueError, match=r"oracle: a region has at most 52 indices.* has 59"):
        tk.testing.oracle(net, tk.init.normal(net, seed=0))


def test_names_of_numpys_strings_read_as_plain_ones():
    net = tk.tt((2, 3, 2), 2)
    arrays, s = tk.init.normal(net), np.str_
    assert repr(tk.Node(s("A"), [s("i")])) == repr(tk.Node("A", ["i"]))
    calls = [
        lambda: tk.isel(net, arrays, {s("i9"): 0}),
        lambda: tk.merge(net, arrays, [s("zz"), "core_0"]),
        lambda: tk.split(net, arrays, "core_1", [s("i9")]),
        lambda: tk.apply_gate(net, arrays, np.eye(3), s("i0")),
        lambda: tk.transpose(net, (s("i9"),)),
        lambda: tk.unfuse(net, arrays, {s("i0"): {s("a"): 1, s("b"): 3}}),
        lambda: tk.expand_bonds(net, arrays, {s("b1"): 1}),
        lambda: tk.round(net, arrays, rank={s("zz"): 2}),
        lambda: tk.contract(net, {**arrays, s("zz"): 1}),
        lambda: tk.plan(net, dynamic=s("zz")),
        lambda: tk.directions(net, s("zz")),
        lambda: net.join(tk.tt((2, 3), 2), on={s("i9"): s("i0")}),
        lambda: net.activate(s("zz"), s("q")),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as found:
            call()
        assert "np.str_" not in str(found.value)


def test_functions_that_refuse_nonlinear_networks_name_the_node():
    net = tk.tt((2, 2), 2).activate("sin", "act")
    arrays = tk.init.normal(net)
    with pytest.raises(ValueError, match=r"multiply: .*node 'act' is an Elementwise"):
        tk.multiply(net, arrays, net, arrays)
    with pytest.raises(ValueError, match=r"conj: array 'core_0' is complex, .* node 'act' is an Elementwise"):
        tk.conj(net, {n: a * 1j for n, a in arrays.items()})


X = np.random.default_rng(0).normal(size=(2, 3, 2))
FOUND = tk.tt_svd(X)


@pytest.mark.parametrize(
    "call, who",
    [
        (lambda **o: tk.tree_svd(X, **o), "tree_svd"),
        (lambda **o: tk.tt_svd(X, **o), "tt_svd"),
        (lambda **o: tk.mpo_svd(np.eye(4), (2, 2), (2, 2), **o), "mpo_svd"),
        (lambda **o: tk.low_rank_svd(X, **o), "low_rank_svd"),
        (lambda **o: tk.ring_svd(X, **o), "ring_svd"),
        (lambda **o: tk.tucker_svd(X, **o), "tucker_svd"),
        (lambda **o: tk.round(FOUND, **o), "round"),
        (lambda **o: tk.split(FOUND, "core_1", ["b1"], **o), "split"),
        (lambda **o: tk.apply_gate(FOUND, np.eye(6), ["i0", "i1"], **o), "apply_gate"),
        (lambda **o: tk.multiply(FOUND, FOUND, **o), "multiply"),
        (lambda **o: tk.apply(*tk.operator([(1.0, {0: np.eye(2)})], (2, 3, 2)), *FOUND, **o), "apply"),
    ],
)
def test_what_contract_approx_calls_max_bond_is_a_rank_elsewhere(call, who):
    with pytest.raises(TypeError, match=f"^{who}: the keyword is rank=, not max_bond=$"):
        call(max_bond=1)
    assert call(rank=1) is not None
    with pytest.raises(TypeError, match=r"^contract_approx: the keyword is max_bond=, not rank=$"):
        tk.contract_approx(FOUND, rank=1)


def test_a_network_is_called_as_its_taker_calls_it():
    net, linear = tk.mpo((2, 2), (2, 2), 2), torch.nn.Linear(4, 4)
    for call in (
        lambda **o: tknn.TNModule(**o),
        lambda **o: tknn.parametrize_(linear, "weight", **o),
        lambda **o: tknn.fit(target=np.eye(4).reshape(2, 2, 2, 2), steps=1, **o),
    ):
        with pytest.raises(TypeError, match=r"^(TNModule|parametrize_|fit): the keyword is net=, not network=$"):
            call(network=net)
        assert call(net=net) is not None
    image = tk.tt((3, 3, 2, 2), 2)
    for kind, sizes, its in (
        (tknn.TNLinear, (4, 4), net),
        (tknn.TNEmbedding, (4, 4), net),
        (tknn.TNConv2d, (3, 3, 2), image),
    ):
        with pytest.raises(TypeError, match=f"^{kind.__name__}: the keyword is network=, not net=$"):
            kind(*sizes, net=its)
        assert kind(*sizes, network=its).weight is not None


@pytest.mark.parametrize(
    "call, who",
    [
        (lambda **o: plan(NET, **o), "plan"),
        (lambda **o: contract(NET, ARRAYS, **o), "contract"),
        (lambda **o: tk.einsum("ij->i", np.ones((2, 3)), **o), "einsum"),
        (lambda **o: tk.linear_operator(NET, ARRAYS, "i", "j", **o), "linear_operator"),
    ],
)
def test_the_keyword_of_numpy_is_refused_with_ours(call, who):
    with pytest.raises(TypeError, match=f"^{who}: the keyword is optimizer=, not optimize=$"):
        call(optimize="greedy")
    assert call(optimizer="greedy") is not None

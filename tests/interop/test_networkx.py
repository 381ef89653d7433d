import networkx as nx
import numpy as np
import pytest

import tnkit as tk
from tnkit.interop.networkx import from_graph, to_graph
from tnkit.testing import oracle, random_network


def arrays_for(net, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in net.array_shapes.items()}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("nonlinear", [False, True])
def test_round_trip_of_random_networks(seed, nonlinear):
    net, arrays = random_network(seed, nonlinear=nonlinear)
    again = from_graph(to_graph(net))
    assert again == net
    assert [n.name for n in again.nodes] == [n.name for n in net.nodes]
    np.testing.assert_allclose(tk.contract(again, arrays), oracle(net, arrays), rtol=1e-10, atol=1e-10)


ODD = {
    "scalar": ([tk.Node("s", "")], "", {}),
    "trace": ([tk.Node("a", "iij")], "j", {"i": 3, "j": 2}),
    "open twice on one node": ([tk.Node("a", "iij")], "ji", {"i": 3, "j": 2}),
    "triple trace": ([tk.Node("a", "iii")], "", {"i": 3}),
    "trace shared": ([tk.Node("a", "iij"), tk.Node("b", "ki")], "jk", {"i": 3, "j": 2, "k": 2}),
    "crossed": ([tk.Node("a", "ij"), tk.Node("b", "ji")], "", {"i": 3, "j": 2}),
    "batch": ([tk.Node("x", "bi", fixed=True), tk.Node("w", "ij")], "bj", {"b": 5, "i": 3, "j": 2}),
    "pair in output": ([tk.Node("x", "b"), tk.Node("y", "b")], "b", {"b": 5}),
    "summed on one": ([tk.Node("a", "ij")], "j", {"i": 3, "j": 2}),
    "tied": ([tk.Node("a", "ij", array="w"), tk.Node("b", "kj", array="w")], "ki", {"i": 2, "j": 3, "k": 2}),
    "constants": ([tk.Node("a", "i", fixed="e0"), tk.Node("d", "ijk", fixed="delta")], "kj", {"i": 3, "j": 3, "k": 3}),
    "disconnected, size 1": ([tk.Node("a", "i"), tk.Node("b", "j"), tk.Node("c", "")], "ji", {"i": 1, "j": 2}),
    "index named as a node": ([tk.Node("i", "ij"), tk.Node("('index', 'j')", "j")], "i", {"i": 2, "j": 2}),
    "interleaved": (
        [tk.Node("a", "klij"), tk.Node("b", "jkil"), tk.Node("c", "lmm")],
        "",
        {"i": 2, "j": 3, "k": 2, "l": 2, "m": 2},
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_round_trip_of_odd_networks(case):
    nodes, output, sizes = ODD[case]
    net = tk.Network(nodes, output, sizes)
    assert from_graph(to_graph(net)) == net


def test_elementwise_vertex_keeps_its_value():
    body = tk.Network([tk.Node("a", "ir"), tk.Node("b", "rj")], "ij", {"i": 2, "r": 3, "j": 2})
    net = body.activate("relu", "f").join(tk.Network([tk.Node("c", "jk")], "jk", {"j": 2, "k": 4}), on="j")
    graph = to_graph(net)
    assert graph.nodes["f"] == {"kind": "elementwise", "value": net["f"]}
    assert from_graph(graph) == net
    graph.remove_edge("f", "c")
    with pytest.raises(
        ValueError, match=r"elementwise vertex 'f' has indices \('i', 'j'\), but its edges say \('i',\)"
    ):
        from_graph(graph)
    graph.nodes["f"]["value"] = "relu"
    with pytest.raises(ValueError, match="'f' of kind='elementwise' needs value"):
        from_graph(graph)


def test_to_graph_reads_as_said():
    net = tk.Network(
        [tk.Node("a", "ij"), tk.Node("b", "jkb"), tk.Node("c", "kb")], "bi", {"i": 2, "j": 3, "k": 4, "b": 5}
    )
    graph = to_graph(net)
    assert sorted(map(str, graph)) == ["('index', 'b')", "('index', 'i')", "a", "b", "c"]
    assert graph.nodes["index", "b"] == {"kind": "index", "index": "b", "size": 5, "output": 0}
    assert [d["index"] for *_, d in graph.edges("a", data=True)] == ["i", "j"]
    assert nx.is_connected(graph)


def test_petersen():
    net = from_graph(nx.petersen_graph(), bond=2, open={5: 4, 0: 3})
    assert net.shape == (4, 3)
    assert net.output == ("o5", "o0")
    assert [n.name for n in net.nodes] == [str(k) for k in range(10)]
    assert len(net.sizes) == 15 + 2
    assert net["0"].inds == ("0-1", "0-4", "0-5", "o0")
    arrays = arrays_for(net)
    np.testing.assert_allclose(tk.contract(net, arrays), oracle(net, arrays), rtol=1e-10)


def test_parallel_edges_self_loops_isolated_vertices_and_sizes():
    graph = nx.MultiGraph()
    graph.add_nodes_from(["u", "v", "w"])
    graph.add_edge("u", "v", size=3)
    graph.add_edge("u", "v")
    graph.add_edge("v", "v", size=np.int64(4))
    net = from_graph(graph, bond=5)
    assert net["u"].inds == ("u-v", "u-v.1")
    assert net["v"].inds == ("u-v", "u-v.1", "v-v", "v-v")
    assert net["w"].inds == ()
    assert dict(net.sizes) == {"u-v": 3, "u-v.1": 5, "v-v": 4}
    a = arrays_for(net)
    want = np.einsum("ab,abcc,->", a["u"], a["v"], a["w"])
    np.testing.assert_allclose(tk.contract(net, a), want, rtol=1e-10)


def test_given_names_come_before_made_up_ones():
    graph = nx.Graph()
    graph.add_edge("a", "b")
    graph.add_edge("b", "c", index="a-b")
    assert from_graph(graph)["b"].inds == ("a-b.1", "a-b")


@pytest.mark.parametrize(
    "graph", [nx.path_graph(5), nx.complete_graph(4), nx.grid_2d_graph(2, 3), nx.Graph([(0, 0), (0, 1)])]
)
def test_plain_graph_round_trip(graph):
    net = from_graph(graph, open={next(iter(graph)): 2})
    assert from_graph(to_graph(net)) == net


def test_index_vertices_by_hand():
    graph = nx.Graph([("a", "h"), ("b", "h"), ("c", "h")])
    graph.nodes["h"].update(kind="index", size=3, output=0)
    net = from_graph(graph)
    assert net == tk.Network([tk.Node(n, ["h"]) for n in "abc"], ["h"], {"h": 3})


def two(**data):
    return nx.Graph([("u", "v", data)])


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (nx.DiGraph([(0, 1)]), {}, "directed"),
        (nx.MultiDiGraph([(0, 1)]), {}, "directed"),
        (nx.Graph([(0, 1)]), {"open": {7: 2}}, "open names 7"),
        (nx.Graph([(0, 1)]), {"open": {"0": 2}}, "open names '0'"),
        (nx.Graph([(0, 1)]), {"open": {0: 0}}, "open index of vertex 0 has size 0"),
        (nx.Graph([(0, 1)]), {"bond": 0}, "bond is a whole number of at least 1, not 0"),
        (two(size=-1), {}, "edge 'u' - 'v' has size -1"),
        (nx.Graph([(1, "1")]), {}, "vertices 1 and '1' would both be node '1'"),
        (nx.Graph(), {}, "at least one node"),
        (two(axes=(("x", 0),)), {}, "axes name vertex 'x'"),
        (nx.Graph([(0, 1, {"index": "i"}), (1, 2, {"index": "i"})]), {}, "two edges are called 'i'"),
        (nx.Graph([(0, 1, {"axes": ((1, 0),)}), (1, 2, {"axes": ((1, 0),)})]), {}, "vertex 1 claim the same axis"),
    ],
)
def test_bad_graphs(graph, options, message):
    with pytest.raises(ValueError, match=message):
        from_graph(graph, **options)


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (two(size=2.0), {}, "edge 'u' - 'v' has size 2.0"),
        (nx.Graph([(0, 1)]), {"bond": True}, "bond is a whole number of at least 1, not True"),
        (nx.Graph([(0, 1)]), {"bond": 2.5}, "bond is a whole number of at least 1, not 2.5"),
        (nx.Graph([(0, 1)]), {"open": [0]}, "the vertices in open map names to values, as a dict does; they are not"),
        ([(0, 1)], {}, r"graph is a networkx graph or multigraph, not \[\(0, 1\)\]; nx.Graph\(edges\) makes one"),
        (nx.Graph, {}, "graph is a networkx graph or multigraph, not <class"),
        (None, {}, "graph is a networkx graph or multigraph, not None"),
    ],
)
def test_what_is_no_graph_and_no_number(graph, options, message):
    with pytest.raises(TypeError, match=f"from_graph: .*{message}|from_graph: {message}"):
        from_graph(graph, **options)


def test_bad_index_vertices():
    graph = nx.Graph([("a", "h"), ("h", "k")])
    graph.nodes["h"].update(kind="index", size=3)
    graph.nodes["k"].update(kind="index", size=3)
    with pytest.raises(ValueError, match="joins two index vertices"):
        from_graph(graph)
    graph.nodes["k"]["index"] = "h"
    with pytest.raises(ValueError, match="two index vertices are called 'h'"):
        from_graph(graph)
    graph.remove_node("k")
    with pytest.raises(ValueError, match="open names 'h', which is no node"):
        from_graph(graph, open={"h": 2})
    graph.edges["a", "h"]["size"] = 4
    with pytest.raises(ValueError, match="edge 'a' - 'h' disagrees"):
        from_graph(graph)
    graph.remove_edge("a", "h")
    with pytest.raises(ValueError, match="index 'h' is on no node"):
        from_graph(graph)

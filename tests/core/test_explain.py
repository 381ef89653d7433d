"""tk.explain against the reading rule, written a second time: an index is what its ends are."""

import numpy as np
import pytest

import tnkit as tk
from tnkit.testing import random_network


def every(net):
    """The network and all inside it, by recursion."""
    yield net
    for node in net.nodes:
        for body in getattr(node, "bodies", ()):
            yield from every(body)


@pytest.mark.parametrize("seed", range(60))
def test_every_index_is_explained(seed):
    net, _ = random_network(seed, nonlinear=seed % 2 == 1)
    found = tk.explain(net)
    for level, said in zip(every(net), (found, *found.levels), strict=True):
        assert tuple(said.kept) == level.output
        for i in level.sizes:
            times = {n.name: n.inds.count(i) for n in level.nodes if i in n.inds}
            kept = i in level.output
            kinds = {
                "dangling": not kept and list(times.values()) == [1],
                "edges": not kept and len(times) == 2,
                "hyperedges": len(times) + kept > 2,
                "traces": len(times) == 1 and max(times.values()) > 1,
            }
            assert {kind: i in getattr(said, kind) for kind in kinds} == kinds
            assert sum(kinds.values()) == (0 if kept and list(times.values()) == [1] else 1)
            assert said.sizes[i] == level.sizes[i]
            for kind in ("edges", "hyperedges"):
                assert set(getattr(said, kind).get(i, times)) == set(times)
        assert sorted(n for part in said.parts for n in part) == sorted(n.name for n in level.nodes)


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_connected_components(seed):
    net, _ = random_network(seed)
    names = [n.name for n in net.nodes]
    joined = np.array([[bool(set(a.inds) & set(b.inds)) or a is b for b in net.nodes] for a in net.nodes])
    reached = np.linalg.matrix_power(joined.astype(float), len(names)) > 0
    want = {frozenset(np.array(names)[row]) for row in reached}
    assert {frozenset(part) for part in tk.explain(net).parts} == want


def test_a_misspelt_index_is_shown():
    net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "qj")], "ij", dict(i=2, j=3, r=4, q=4))
    found = tk.explain(net)
    assert found.dangling == {"r": "A", "q": "B"} and found.parts == (("A",), ("B",)) and not found.edges
    assert str(found) == (
        "Network(2 nodes, 2x3, 20 params)\n"
        "  kept          i:2, j:3\n"
        "  dangling      r:4 (A), q:4 (B): summed on one node alone; a misspelt name?\n"
        "  outer product A x B"
    )
    assert (
        found._repr_html_() == f"<pre>{found}</pre>" and repr(found) == "Explanation(Network(2 nodes, 2x3, 20 params))"
    )


def test_constants_tied_arrays_and_levels():
    inner = tk.Network([tk.Node("a", "ij", array="w"), tk.Node("b", "jk", array="w")], "ik", dict(i=2, j=2, k=2))
    net = tk.Network(
        [*inner.activate("tanh", "act").nodes, tk.Node("c", "kz", array="w"), tk.Node("d", "zz", fixed="delta")],
        "i",
        dict(k=2, z=2),
    )
    found = tk.explain(net)
    assert found.functions == {"act": "tanh"} and found.constants == {"d": "delta"}
    assert found.tied == {"w": ("a", "b", "c")} == found.levels[0].tied
    assert [level.place for level in found.levels] == ["body 0 of act = tanh"]
    assert found.levels[0].edges == {"j": ("a", "b")} and found.edges == {"k": ("act", "c"), "z": ("c", "d")}
    assert "tied          w fills a b c" in str(found) and "constants     d = delta" in str(found)
    assert "kept          nothing: the result is a number" in str(tk.explain(tk.Network([tk.Node("s", "")], "")))

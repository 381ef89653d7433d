"""Directions of a network: isometries along them leave the norm to the nodes where the weight ends."""

import numpy as np
import pytest
import torch

import tnkit as tk

#: Through the hyperedges of the others goes no isometry (tests/core/test_stages.py has theirs); a lattice has no direction.
HAVE = [n for n in tk.BUILDERS if n not in ("block_term", "btt", "butterfly", "cp", "kronecker", "monarch", "peps")]


def matrix(node, shape, x, toward):
    axes = [k for k, i in enumerate(node.inds) if i in toward]
    return np.moveaxis(x, axes, range(-len(axes), 0)).reshape(-1, int(np.prod([shape[k] for k in axes])))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", HAVE)
def test_isometries_leave_the_norm_to_the_centres(name, dtype):
    net = tk.BUILDERS[name](**tk.EXAMPLES[name])
    if not net.multilinear:  # the piece behind the last function, its argument being open
        piece = next(iter(net.regions()))
        nodes = [n for n in piece.nodes if not n.fixed]
        ends = [i for n in nodes for i in n.inds]
        net = tk.Network(nodes, [i for i in ends if ends.count(i) == 1], {i: piece.sizes[i] for i in ends})
    toward = tk.directions(net)
    arrays = tk.init.orthogonal(net, toward=toward, dtype=dtype, seed=1)
    for node in net.nodes:
        if node.name in toward:
            m = matrix(node, net.array_shapes[node.array], arrays[node.array], toward[node.name])
            assert np.allclose(m.conj().T @ m, np.eye(m.shape[1]), atol=1e-12)
    ends = [n for n in net.nodes if n.name not in toward]
    wanted = np.prod([np.linalg.norm(arrays[n.array]) for n in ends])
    assert np.linalg.norm(tk.contract(net, arrays)) == pytest.approx(wanted, rel=1e-10)
    assert tk.init.rms(net, arrays) == pytest.approx(1.0) or not ends


def test_directions_of_the_builders():
    assert tk.directions(tk.tt((2, 2, 2), 2), "core_0") == {"core_2": ("b2",), "core_1": ("b1",)}
    mera = tk.directions(tk.mera((2,) * 8, 4))
    assert all(
        inds[0].startswith("u") == node.startswith("u") and len(inds) == (2 if node[0] == "u" else 1)
        for node, inds in mera.items()
    )
    assert "top_4_0" not in mera and len(mera) == 10
    wall = tk.brick_wall(4, depth=2, start="open")
    both, rows = tk.directions(wall), tk.directions(wall, inputs=["x0", "x1", "x2", "x3"])
    assert both == {n: i for n, i in rows.items() if n in both} and set(rows) == {n.name for n in wall.nodes}
    assert rows["brick_0_0"] == ("x0", "x1")
    unitary = tk.contract(wall, tk.init.orthogonal(wall, toward=rows)).reshape(16, 16)
    assert np.allclose(unitary @ unitary.T, np.eye(16), atol=1e-12)
    deep = tk.brick_wall(4, depth=3, activation="tanh")
    assert {"brick_5_1", "brick_2_0", "brick_1_1"} <= set(tk.directions(deep))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: tk.directions(tk.cp((2, 2, 2), 2)), "index 'r' of node 'factor_0' is a trace or a hyperedge"),
        (lambda: tk.directions(tk.peps(3, 3, 2, 2)), "has no direction: node 'peps_0_0'"),
        (lambda: tk.directions(tk.tt((2, 2, 2), [4, 4])), "node 'core_2' cannot be an isometry: towards 'b2' its size is 4"),
        (lambda: tk.directions(tk.ring((2, 2, 2), 2), "core_0"), "directions: center is of a tree: nodes .* form a loop"),
        (lambda: tk.directions(tk.ring((2, 3, 2), 4).activate("sin", "act")), "directions: inside of 'act': .*has no direction: node 'core_0'"),
        (lambda: tk.directions(tk.cp((2, 2, 2), 2).activate("sin", "act")), "inside of 'act': index 'r' of node 'factor_0'"),
        (lambda: tk.directions(tk.tt((2, 2), [9]).activate("sin", "act")), "inside of 'act': node '.*' cannot be an isometry"),
        (lambda: tk.directions(tk.tt((2, 2), 2), "core_9"), "no node 'core_9' to be the centre"),
        (lambda: tk.directions(tk.tt((2, 2), 2), inputs=["q"]), "inputs are open indices, i0, i1; 'q' is not"),
        (lambda: tk.init.orthogonal(tk.tt((2, 2), 2), toward={"A": "i"}), "toward: no node 'A'"),
        (lambda: tk.init.orthogonal(tk.tt((2, 2), 2), toward={"core_0": ["i1"]}), "node 'core_0' has indices .*'i1' is not once"),
        (lambda: tk.init.orthogonal(tk.tt((2, 2), [3]), toward={"core_0": ["b1"]}), "node 'core_0' cannot be an isometry"),
        (lambda: tk.init.orthogonal(tk.tt((2,), 1), std=2.0, toward={"core_0": []}), "std is given by arrays that are no isometries"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_centre_takes_the_scale():
    net = tk.mera((2,) * 6, 3)
    arrays = tk.init.orthogonal(net, toward=tk.directions(net), std=2.0**-3)
    assert np.linalg.norm(tk.contract(net, arrays)) == pytest.approx(1.0)
    assert torch.as_tensor(arrays["u_0_1"]).isfinite().all()


def test_names_inside_of_an_elementwise_are_those_that_print_shows():
    net = tk.tt((2, 2, 2), 2).activate("sin", "act").activate("tanh", "out")
    found = tk.directions(net)
    assert found.keys() < {leaf.name for leaf in net.leaves} and all(f"| {name}(" in str(net) for name in found)
    with pytest.raises(
        KeyError, match="no node 'core_0' at this level: it is inside of 'out', in one of its bodies; there are out"
    ):
        net["core_0"]
    with pytest.raises(KeyError, match="no node 'core_9'; there are out"):
        net["core_9"]

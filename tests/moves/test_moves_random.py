"""Every move on random networks, with ties, traces, constants and nonlinear parts: the tensor is right, and so is the network.

A network that a move makes is not checked again when it is made; here the constructor checks it.
"""

import numpy as np
import pytest
from held import near, value

import tnkit as tk

#: What is not legal on these networks, and says so.
REFUSALS = ("is an Elementwise", "a gate acts on an index of one node", "fused indices are on the same nodes")


def right(move, wanted):
    """The network made, its caches, and its tensor; False where the move is refused by name."""
    try:
        net, arrays = move()
    except ValueError as error:
        assert any(words in str(error) for words in REFUSALS), error
        return False
    fresh = tk.Network(net.nodes, net.output, net.sizes)
    assert net == fresh and hash(net) == hash(fresh) and list(net.sizes) == list(fresh.sizes)
    assert net.edges == fresh.edges and net.tied == fresh.tied and net.places == fresh.places
    assert list(net.inside.rows()) == list(fresh.inside.rows())
    tk.check_arrays(net, arrays)
    assert near(value(net, arrays), wanted) and near(tk.contract(net, arrays), wanted)
    return True


def product(gate, x, axes):
    n = len(axes)
    sizes = [x.shape[k] for k in axes]
    y = np.tensordot(gate.reshape(*sizes, *sizes), x, axes=(range(n, 2 * n), axes))
    return np.moveaxis(y, range(n), axes)


@pytest.mark.parametrize("seed", [*range(40), 207, 220, 247, 253])
def test_every_move(seed):
    nonlinear, rng = seed % 2 == 1, np.random.default_rng(seed)
    net, arrays = tk.testing.random_network(seed, nonlinear=nonlinear)
    x, names = value(net, arrays), [n.name for n in net.nodes]
    some = list(rng.choice(names, size=rng.integers(1, len(names) + 1), replace=False))
    done = [right(lambda: tk.merge(net, arrays, some, "new"), x)]
    for node in net.nodes:
        inds = sorted(set(node.inds))
        for absorb in ("left", "right", "both") if len(inds) > 1 else ():
            done.append(right(lambda n=node.name, i=inds[0], a=absorb: tk.split(net, arrays, n, [i], absorb=a), x))
    assert right(lambda: tk.fuse(net, arrays), x) and right(lambda: tk.expand_bonds(net, arrays, 4), x)
    if not nonlinear:
        assert right(lambda: tk.squeeze(net, arrays), np.squeeze(x)) and right(lambda: tk.conj(net, arrays), x)
    for i in net.output:
        k, n = net.output.index(i), net.sizes[i]
        done.append(right(lambda i=i: tk.isel(net, arrays, {i: 0}), np.take(x, 0, k)))
        gate = rng.normal(size=(n, n))
        done.append(right(lambda i=i, g=gate: tk.apply_gate(net, arrays, g, (i,)), product(gate, x, [k])))
        for j in set(net.output) - {i}:
            gate = rng.normal(size=(n * net.sizes[j], n * net.sizes[j]))
            wanted = product(gate, x, [k, net.output.index(j)])
            done.append(right(lambda i=i, j=j, g=gate: tk.apply_gate(net, arrays, g, (i, j)), wanted))
    assert nonlinear or all(done) or any(len(net.edges[i]) > 1 for i in net.output)

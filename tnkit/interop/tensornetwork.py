"""Networks from and to Google's tensornetwork.

Arrays are passed on as they are: never copied, and of whatever library they came from.  tensornetwork has edges with two
ends, so a hyperedge (or an index summed on one node) is a ``CopyNode`` there and a plain index here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, sequence, shown
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import check_multilinear
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays, constant
from tnkit.execution.library import backend_of

__all__ = ["from_tensornetwork", "to_tensornetwork"]

#: How tensornetwork calls the libraries that it knows too.
_NAMES = {"numpy": "numpy", "torch": "pytorch", "jax": "jax"}


# -- from tensornetwork ---------------------------------------------------------------------------------------------
def from_tensornetwork(
    nodes: Iterable[Any], output_edges: Sequence[Any] | None = None
) -> tuple[Network, dict[str, Any]]:
    """Read a network of google's tensornetwork.

    >>> import tensornetwork
    >>> a = tensornetwork.Node(np.ones((2, 4)), name="a", axis_names=["i", "r"])
    >>> b = tensornetwork.Node(np.ones((4, 3)), name="b", axis_names=["r", "j"])
    >>> edge = a["r"] ^ b["r"]
    >>> net, arrays = tk.from_tensornetwork([a, b])
    >>> net.shape, np.array_equal(tk.contract(net, arrays), np.full((2, 3), 4.0))
    ((2, 3), True)

    Parameters
    ----------
    nodes
        All nodes of a network, or a part of it.  A ``CopyNode`` becomes an index that its neighbours share; where it has several
        dangling legs (or no neighbour), a Node with ``fixed="delta"`` holds those.
    output_edges
        The edges that leave the nodes in the order wanted: the dangling ones, and of a part of a network those that lead to the
        rest.  By default the dangling ones, node by node, axis by axis.

    Returns
    -------
    net
        Names of nodes and edges are kept where they are given and unique.
    arrays
        Node name -> ``node.tensor``, the same object.

    Raises
    ------
    TypeError
        Something that is no tensornetwork node.
    ValueError
        A node given twice, an edge to a node that is not given and that ``output_edges`` do not name, block-sparse tensors, or
        ``output_edges`` that are not exactly the edges that leave the nodes.
    """
    import tensornetwork as tn

    nodes = list(sequence(nodes, "from_tensornetwork: nodes"))
    _check_tn_nodes(nodes, tn.AbstractNode)
    edges = list(dict.fromkeys(e for node in nodes for e in node.edges))
    output = _leaving(nodes, edges, output_edges, tn.Edge)
    plain = [node for node in nodes if not isinstance(node, tn.CopyNode)]
    copies = [node for node in nodes if isinstance(node, tn.CopyNode)]
    wire = _wires(edges, copies)
    # The first dangling leg of a wire is its index; each further one has an index of its own, tied by a delta.
    legs: dict[int, list[Any]] = {w: [] for w in wire.values()}
    for e in output:
        legs[wire[e]].append(e)
    key = {e: (w, legs[w].index(e) if e in legs[w] else 0) for e, w in wire.items()}
    index = _index_names([*output, *edges], key)
    deltas = _deltas(copies, wire, legs, carried={wire[e] for node in plain for e in node.edges})
    keys = {node: tuple(key[e] for e in node.edges) for node in plain} | deltas
    name = dict(zip(nodes, _unique([node.name for node in nodes]), strict=True))
    made = tuple(
        Node(name[node], tuple(index[k] for k in keys[node]), fixed="delta" if node in deltas else False)
        for node in nodes
        if node in keys
    )
    sizes = {index[k]: int(e.dimension) for e, k in key.items()}
    return Network(made, tuple(index[key[e]] for e in output), sizes), {name[n]: n.tensor for n in plain}


def _leaving(nodes: list[Any], edges: list[Any], given: Any, kind: Any) -> list[Any]:
    """The edges that leave the nodes, in the order wanted: dangling ones, and, where they are named, those to nodes not given."""
    inside = set(nodes)
    dangling = [e for e in edges if e.is_dangling()]
    cut = [e for e in edges if not e.is_dangling() and not {e.node1, e.node2} <= inside]
    output = dangling if given is None else list(sequence(given, "from_tensornetwork: output_edges"))
    wrong = next((e for e in output if not isinstance(e, kind)), None)
    if wrong is not None:
        raise TypeError(f"from_tensornetwork: output_edges are edges of tensornetwork, not {shown(wrong)}")
    unnamed = next((e for e in cut if e not in output), None)
    if unnamed is not None:
        node, axis = next((n, n.edges.index(unnamed)) for n in nodes if unnamed in n.edges)
        raise ValueError(
            f"from_tensornetwork: axis {axis} of node {node.name!r} leads to a node that is not given; name its edge in output_edges"
        )
    if len(output) != len(dangling) + len(cut) or set(output) != {*dangling, *cut}:
        raise ValueError(
            f"from_tensornetwork: output_edges are not the {len(dangling) + len(cut)} edges that leave the nodes, each once"
        )
    return output


def _check_tn_nodes(nodes: list[Any], kind: Any) -> None:
    for node in nodes:
        if not isinstance(node, kind):
            raise TypeError(f"from_tensornetwork: nodes are nodes of tensornetwork, not {shown(node)}")
        if node.backend.name == "symmetric":
            raise ValueError(f"from_tensornetwork: node {node.name!r} is block-sparse; pass a dense one")
    if len(set(nodes)) < len(nodes):
        raise ValueError("from_tensornetwork: a node is given twice")


def _wires(edges: list[Any], copies: list[Any]) -> dict[Any, int]:
    """Edge -> number of its wire: edges that CopyNodes join, directly or in a row, are one."""
    wire = {e: k for k, e in enumerate(edges)}
    for copy in copies:
        joined = {wire[e] for e in copy.edges}
        wire = {e: min(joined) if w in joined else w for e, w in wire.items()}
    return wire


def _deltas(
    copies: list[Any], wire: dict[Any, int], legs: dict[int, list[Any]], carried: set[int]
) -> dict[Any, tuple[tuple[int, int], ...]]:
    """CopyNode -> keys of the delta that stands for it; one for each wire whose index alone does not say it."""
    deltas: dict[Any, tuple[tuple[int, int], ...]] = {}
    told: set[int] = set()
    for copy in copies:
        w = wire[copy.edges[0]] if copy.edges else None
        if w is None:
            deltas[copy] = ()
        elif w not in told and (len(legs[w]) > 1 or w not in carried):
            deltas[copy] = tuple((w, k) for k in range(max(1, len(legs[w]))))
            told.add(w)
    return deltas


def _index_names(edges: list[Any], key: dict[Any, tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Key -> index name: that of its first named edge if no other key has it, else ``e0``, ``e1``, ..."""
    wanted: dict[tuple[int, int], str] = {}
    owner: dict[str, set[tuple[int, int]]] = {}
    for e in edges:
        if e.name != "__unnamed_edge__":
            wanted.setdefault(key[e], e.name)
            owner.setdefault(wanted[key[e]], set()).add(key[e])
    names = {k: n for k, n in wanted.items() if len(owner[n]) == 1}
    free = (f"e{k}" for k in count() if f"e{k}" not in owner)
    return {k: names[k] if k in names else next(free) for k in dict.fromkeys(key.values())}


def _unique(names: list[str]) -> list[str]:
    """Node names: the first of each kept, a number behind its repetitions, "T" and a number for no name."""
    taken, seen, out = set(names), set(), []
    for name in names:
        unnamed = name in ("", "__unnamed_node__")
        if unnamed or name in seen:
            stem = "T" if unnamed else f"{name}_"
            name = next(f"{stem}{k}" for k in count(0 if unnamed else 2) if f"{stem}{k}" not in taken)
            taken.add(name)
        seen.add(name)
        out.append(name)
    return out


# -- to tensornetwork -----------------------------------------------------------------------------------------------
@paired
def to_tensornetwork(net: Network, arrays: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Write a multilinear network as nodes and edges of google's tensornetwork.

    >>> import tensornetwork
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> nodes, output_edges = tk.to_tensornetwork(tk.tt_svd(x))
    >>> [node.name for node in nodes]
    ['core_0', 'core_1']
    >>> result = tensornetwork.contractors.auto(nodes, output_edge_order=output_edges)
    >>> np.allclose(result.tensor, x)
    True

    Parameters
    ----------
    net
        Names of nodes and indices are kept.
    arrays
        Array name -> array of numpy, torch or jax, which tensornetwork knows too; constants may be left out.

    Returns
    -------
    nodes
        A ``Node`` for each node in order, its tensor the given array itself; then a ``CopyNode`` for each hyperedge,
        and one of a single leg (a vector of ones) for each index summed on one node.
    output_edges
        The dangling edges in the order of ``net.output``, as ``tensornetwork.contractors.auto`` takes them.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`tnkit.check_arrays`; an Elementwise node; arrays of a library that tensornetwork does not know.
    """
    import tensornetwork as tn

    a_network(net, "to_tensornetwork")
    leaves = check_multilinear(net, "to_tensornetwork", tied=True)
    library = backend_of(None, arrays)
    if library.name not in _NAMES:
        raise ValueError(f"to_tensornetwork: arrays of {' or '.join(_NAMES)} are taken, not of {library}")
    backend = _NAMES[library.name]
    full = check_arrays(net, arrays, library if library.mixes else replace(library, mixes=True))
    if backend == "numpy":
        full = {name: np.asarray(array) for name, array in full.items()}
    nodes: list[Any] = [tn.Node(full[n.array], name=n.name, backend=backend) for n in leaves]
    ends: dict[str, list[Any]] = {i: [] for i in net.sizes}
    for leaf, node in zip(leaves, nodes, strict=True):
        for i, end in zip(leaf.inds, node.edges, strict=True):
            ends[i].append(end)
    hubs = [i for i in ends if len(ends[i]) + (i in net.output) != 2]
    hub_names = _unique([n.name for n in leaves] + hubs)[len(leaves) :]
    for i, name in zip(hubs, hub_names, strict=True):
        hub = _copy_node(len(ends[i]) + (i in net.output), net.sizes[i], name, library, full)
        nodes.append(hub)
        # connect puts a new edge on the hub, so its legs are listed before.
        legs = list(hub.edges)
        for end in ends[i]:
            tn.connect(end, legs.pop(0), name=i)
        ends[i] = legs
    for i, free in ends.items():
        if len(free) == 2:
            tn.connect(*free, name=i)
        elif free:
            free[0].name = i
    return nodes, [ends[i][0] for i in net.output]


def _copy_node(rank: int, size: int, name: str, library: Backend, arrays: Mapping[str, Any]) -> Any:
    import tensornetwork as tn

    backend = _NAMES[library.name]
    if backend == "numpy":
        return tn.CopyNode(rank, size, name=name, backend=backend, dtype=np.result_type(*arrays.values()))
    node = tn.CopyNode(rank, size, name=name, backend=backend)
    # Left to itself it makes a numpy array on the CPU, of a dtype that numpy knows: not what a GPU or bfloat16 needs.
    node.tensor = library.like(constant("delta", (size,) * rank), next(iter(arrays.values())))
    return node

"""Networks from arrays, and from and to einsum equations and Google's tensornetwork.

Both ways, arrays are passed on as they are: never copied, and of whatever library they came from.  tensornetwork has
edges with two ends, so a hyperedge (or an index summed on one node) is a ``CopyNode`` there and a plain index here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from string import ascii_letters, ascii_uppercase
from typing import Any

import numpy as np

from tnkit.core.network import Network, Node, Sizes
from tnkit.execution.run import NUMPY, check_arrays, constant

__all__ = ["from_arrays", "from_einsum", "from_tensornetwork", "to_einsum", "to_tensornetwork"]


# -- arrays and einsum ----------------------------------------------------------------------------------------------
def from_arrays(
    arrays: Mapping[str, tuple[Any, Iterable[str]]], output: Iterable[str]
) -> tuple[Network, dict[str, Any]]:
    """A network of given arrays, the sizes read from them.

    Parameters
    ----------
    arrays
        Node name -> (array, its indices): ``{"A": (a, "ir"), "B": (b, "rj")}``.
    output
        Indices kept.

    Returns
    -------
    Network, dict
        The network, and node name -> array (shared, not copied).

    Raises
    ------
    ValueError
        An array with another number of axes than indices, or a size that disagrees; node, index and sizes are named.
    """
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    nodes = []
    for name, (array, inds) in arrays.items():
        node = Node(name, tuple(inds))
        shape = tuple(array.shape)
        if len(shape) != len(node.inds):
            raise ValueError(f"node {name!r} has indices {node.inds}, but its array has {len(shape)} axes {shape}")
        for i, n in zip(node.inds, shape, strict=True):
            if sizes.setdefault(i, n) != n:
                raise ValueError(f"index {i!r} has size {sizes[i]} on node {first[i]!r} and {n} on node {name!r}")
            first.setdefault(i, name)
        nodes.append(node)
    return Network(tuple(nodes), tuple(output), Sizes(sizes)), {name: array for name, (array, _) in arrays.items()}


def from_einsum(equation: str, sizes: Mapping[str, int]) -> Network:
    """Read an einsum equation: operands become nodes "A", "B", ..., "Z", "T26", ..., letters become indices.

    Parameters
    ----------
    equation
        As ``"ab,bc->ac"``; blanks are skipped.  Letters are ASCII letters or any other non-ASCII symbol, as
        ``opt_einsum.get_symbol`` gives them.  Without ``->`` the output is, as in numpy, the letters that occur once,
        sorted.  A letter twice in an operand is a trace.
    sizes
        Letter -> size.

    Raises
    ------
    ValueError
        An ellipsis, a character that is no letter, letters without a size, and what :class:`Network` refuses (an
        output letter of no operand or given twice).
    """
    if "." in equation:
        raise ValueError(f"from_einsum: {equation!r} has an ellipsis; write its indices as letters")
    left, *right = "".join(equation.split()).split("->")
    if len(right) > 1:
        raise ValueError(f"from_einsum: {equation!r} has more than one '->'")
    terms = left.split(",")
    bad = [c for c in "".join(terms + right) if not _is_letter(c)]
    if bad:
        raise ValueError(f"from_einsum: {equation!r}: {bad[0]!r} is no letter")
    letters = "".join(terms)
    missing = sorted(set(letters) - set(sizes))
    if missing:
        raise ValueError(f"from_einsum: {equation!r}: no size for {', '.join(map(repr, missing))}")
    output = right[0] if right else sorted(c for c in set(letters) if letters.count(c) == 1)
    names = [ascii_uppercase[k] if k < 26 else f"T{k}" for k in range(len(terms))]
    return Network(tuple(Node(n, tuple(t)) for n, t in zip(names, terms, strict=True)), tuple(output), sizes)


def to_einsum(net: Network) -> str:
    """Equation of a multilinear network, with one operand for each node in order.

    Indices keep their names where all are single letters; otherwise they are lettered as they occur, with
    ``opt_einsum.get_symbol`` (which goes on beyond the 52 letters that numpy knows).

    Raises
    ------
    ValueError
        A network with an Elementwise node, which no equation says.
    """
    from opt_einsum import get_symbol

    nodes = _linear(net, "to_einsum")
    if all(len(i) == 1 and _is_letter(i) for i in net.sizes):
        letter = {i: i for i in net.sizes}
    else:
        letter = dict(zip(net.sizes, filter(_is_letter, map(get_symbol, count())), strict=False))
    terms = ",".join("".join(letter[i] for i in node.inds) for node in nodes)
    return f"{terms}->{''.join(letter[i] for i in net.output)}"


def _is_letter(c: str) -> bool:
    # Beyond ASCII anything goes: get_symbol counts through code points such as the multiplication sign.
    return c in ascii_letters or (ord(c) > 127 and not c.isspace())


def _linear(net: Network, where: str) -> tuple[Node, ...]:
    nodes = tuple(node for node in net.nodes if isinstance(node, Node))
    if len(nodes) < len(net.nodes):
        name = next(node.name for node in net.nodes if not isinstance(node, Node))
        raise ValueError(f"{where}: elementwise node {name!r} is not multilinear; see net.regions()")
    return nodes


# -- from tensornetwork ---------------------------------------------------------------------------------------------
def from_tensornetwork(
    nodes: Iterable[Any], output_edges: Sequence[Any] | None = None
) -> tuple[Network, dict[str, Any]]:
    """Read a network of google's tensornetwork.

    Parameters
    ----------
    nodes
        All nodes of a network.  A ``CopyNode`` becomes an index that its neighbours share; where it has several
        dangling legs (or no neighbour), a Node with ``fixed="delta"`` holds those.
    output_edges
        The dangling edges in the order wanted; by default node by node, axis by axis.

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
        A node given twice, an edge that leaves the given nodes, block-sparse tensors, or ``output_edges`` that are not
        exactly the dangling edges.
    """
    import tensornetwork as tn

    nodes = list(nodes)
    _check_tn_nodes(nodes, tn.AbstractNode)
    edges = list(dict.fromkeys(e for node in nodes for e in node.edges))
    dangling = [e for e in edges if e.is_dangling()]
    output = dangling if output_edges is None else list(output_edges)
    if len(output) != len(dangling) or set(output) != set(dangling):
        raise ValueError(f"from_tensornetwork: output_edges are not the {len(dangling)} dangling edges of the nodes")
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


def _check_tn_nodes(nodes: list[Any], kind: Any) -> None:
    for node in nodes:
        if not isinstance(node, kind):
            raise TypeError(f"from_tensornetwork: {type(node).__name__} is no node of tensornetwork")
        if node.backend.name == "symmetric":
            raise ValueError(f"from_tensornetwork: node {node.name!r} is block-sparse; pass a dense one")
    inside = set(nodes)
    if len(inside) < len(nodes):
        raise ValueError("from_tensornetwork: a node is given twice")
    for node in nodes:
        for axis, e in enumerate(node.edges):
            if not e.is_dangling() and not {e.node1, e.node2} <= inside:
                raise ValueError(
                    f"from_tensornetwork: axis {axis} of node {node.name!r} leads to a node that is not given"
                )


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
def to_tensornetwork(net: Network, arrays: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Write a multilinear network as nodes and edges of google's tensornetwork.

    Parameters
    ----------
    net
        Names of nodes and indices are kept.
    arrays
        Array name -> numpy array or torch tensor (then ``backend="pytorch"``); constants may be left out.

    Returns
    -------
    nodes
        A ``Node`` for each node in order, its tensor the given array itself; then a ``CopyNode`` for each hyperedge,
        and one of a single leg (a vector of ones) for each index summed on one node.
    output_edges
        The dangling edges in the order of ``net.output``, as ``tensornetwork.contractors.auto`` takes them.

    Raises
    ------
    KeyError, ValueError
        As :func:`tnkit.execution.run.check_arrays`; an Elementwise node; arrays of several libraries, or of others than numpy
        and torch.
    """
    import tensornetwork as tn

    leaves = _linear(net, "to_tensornetwork")
    backend = _backend(arrays)
    full = check_arrays(net, arrays, replace(NUMPY, like=_like, array=object))
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
        hub = _copy_node(len(ends[i]) + (i in net.output), net.sizes[i], name, backend, full)
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


def _backend(arrays: Mapping[str, Any]) -> str:
    """Library of the arrays, as tensornetwork calls it; told by their types, so that nothing is imported."""
    backends: dict[str, str] = {}
    for name, array in arrays.items():
        root = type(array).__module__.split(".")[0]
        backend = "pytorch" if _is_torch(array) else "numpy"
        if backend == "numpy" and not isinstance(array, np.ndarray) and root not in ("numpy", "builtins"):
            raise ValueError(f"to_tensornetwork: array {name!r} is of {root}; numpy and torch are supported")
        backends.setdefault(backend, name)
    if len(backends) > 1:
        raise ValueError(
            f"to_tensornetwork: array {backends['numpy']!r} is of numpy and {backends['pytorch']!r} of torch"
        )
    return next(iter(backends), "numpy")


def _is_torch(array: Any) -> bool:
    # By the bases, since torch.nn.Parameter and tensors of other packages are subclasses of torch.Tensor.
    return any(f"{base.__module__}.{base.__qualname__}" == "torch.Tensor" for base in type(array).__mro__)


def _like(a: np.ndarray, x: Any) -> Any:
    # new_tensor keeps the dtype and device of x.
    return x.new_tensor(a) if _is_torch(x) else NUMPY.like(a, x)


def _copy_node(rank: int, size: int, name: str, backend: str, arrays: Mapping[str, Any]) -> Any:
    import tensornetwork as tn

    if backend == "numpy":
        return tn.CopyNode(rank, size, name=name, backend=backend, dtype=np.result_type(*arrays.values()))
    node = tn.CopyNode(rank, size, name=name, backend=backend)
    # Left to itself it makes a numpy array on the CPU, of a dtype that numpy knows: not what a GPU or bfloat16 needs.
    node.tensor = _like(constant("delta", (size,) * rank), next(iter(arrays.values())))
    return node

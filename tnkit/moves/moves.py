"""Moves on a network held as arrays: nodes merged and split, axes put in order, entries conjugated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from tnkit.core.checks import a_mapping, a_network, one_of, sequence, shown, text
from tnkit.core.decomposition import Decomposition
from tnkit.core.editing import edited, trusted
from tnkit.core.inside import NODE
from tnkit.core.keywords import keywords_of
from tnkit.core.names import free_name
from tnkit.core.network import Network
from tnkit.core.node import Node, Sizes, indices_among
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired
from tnkit.decompose.ranks import check_tol
from tnkit.decompose.rounding import check_truncation
from tnkit.execution.arrays import conj as conjugate
from tnkit.execution.arrays import is_complex, one_dtype
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.scaled import binary
from tnkit.moves.factors import ABSORB, factored
from tnkit.moves.touched import all_names, leaf, linear, placed_power, put_back, taken, unit_size
from tnkit.planning.planner import plan

__all__ = ["conj", "merge", "split", "transpose"]

Arrays = Mapping[str, Any]


@paired
def merge(
    net: Network, arrays: Arrays, nodes: Iterable[str], name: str | None = None, *, backend: Backend | None = None
) -> tuple[Network, dict[str, Any]]:
    """Contract some nodes into one; the tensor stays the same.

    >>> net = tk.tt((2, 3, 4), 2)
    >>> arrays = tk.init.normal(net)
    >>> pair, merged = tk.merge(net, arrays, ["core_0", "core_1"], "pair")
    >>> pair["pair"].inds, np.allclose(tk.contract(pair, merged), tk.contract(net, arrays))
    (('i0', 'i1', 'b2'), True)

    Parameters
    ----------
    net
        Any network; the nodes are its own, none of them an Elementwise.
    arrays
        Its arrays; those of the other nodes stay the same objects.
    nodes
        Names of the nodes.  No index need join them.
    name
        Of the new node; by default the first one's.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The new node stands where the first of them stood in the network.  It has the indices of theirs that are open or on
        other nodes too, in the order of ``nodes``; the others are summed.  Where the product is beyond the range of its dtype,
        the other arrays take a part of its scale.  Whole numbers and bools are computed with in float64, half precision in float32.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such node, one named twice, an Elementwise; a name that is taken; arrays of the nodes that do not fit.
    MemoryError
        A product that cannot fit in memory.
    """
    what = "merge"
    a_network(net, what)
    if isinstance(nodes, str):
        raise TypeError(f"merge: nodes are a sequence of names, not {shown(nodes)}")
    old = [leaf(net, n, what) for n in sequence(nodes, "merge: nodes")]
    if not old or len({n.name for n in old}) < len(old):
        raise ValueError(f"merge: nodes are one name or more, none of them twice, not {shown(nodes)}")
    name = old[0].name if name is None else text(name, "merge: name")
    _check_new(net, [name], old, what)
    values, backend = taken(net, old, arrays, what, backend)
    values = one_dtype(linear(values, what, backend), backend)
    part = trusted(
        tuple(Node(n.name, n.inds) for n in old), _kept(net, old), Sizes({i: net.sizes[i] for n in old for i in n.inds})
    )
    way = plan(part)
    x, power = binary(way, [values[n] for n in way.inputs], backend, what)
    new = Node(name, part.output, fixed=all(n.fixed for n in old))
    gone = {n.name: () for n in old}
    values, others = placed_power(edited(net, gone, {}, ()), arrays, {name: x}, name, power, what, backend)
    first = min(old, key=lambda n: net.places[n.name]).name
    return put_back(net, others, {**gone, first: (new,)}, values, backend)


def _kept(net: Network, old: Iterable[Node]) -> tuple[str, ...]:
    """Indices of some nodes that are open or on others too, in their order."""
    names, held = {n.name for n in old}, set(net.output)
    every = dict.fromkeys(i for n in old for i in n.inds)
    return tuple(i for i in every if i in held or not names.issuperset(net.edges[i]))


def _check_new(net: Network, names: Iterable[str], old: Iterable[Node], what: str) -> None:
    """ValueError for the name of a new node that another one has."""
    others = set(net.places if net.multilinear else net.inside.names(NODE)) - {n.name for n in old}
    for name in names:
        if name in others:
            raise ValueError(f"{what}: another node is called {shown(name)}; give a new node a name that is free")
        others.add(name)


@keywords_of(max_bond="rank")
@paired
def split(
    net: Network,
    arrays: Arrays,
    node: str,
    left: Iterable[str],
    rank: int | None = None,
    tol: float | None = None,
    *,
    absorb: str = "right",
    names: Iterable[str] | None = None,
    bond: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Split a node into two with a bond between them, by a singular value decomposition; by QR where nothing is to be cut.

    >>> net = tk.Network([tk.Node("pair", "ij")], "ij", dict(i=3, j=3))
    >>> cut = tk.split(net, {"pair": np.diag([3.0, 2.0, 0.1])}, "pair", ["i"], rank=2, names=("left", "right"), bond="b")
    >>> cut.network.array_shapes, round(cut.error, 4)
    ({'left': (3, 2), 'right': (2, 3)}, 0.0277)

    Parameters
    ----------
    net
        Any network; the node is its own, no Elementwise.
    arrays
        Its arrays; those of the other nodes stay the same objects.
    node
        Name of the node.
    left
        Its indices that go to the left node; the others go to the right one.
    rank
        Largest size of the bond.
    tol
        Relative error, of the node's array in the Frobenius norm, that is kept.
    absorb
        Where the weight goes: ``"right"`` or ``"left"``, the other node being an isometry towards the bond; or ``"both"``, a root of
        the singular values to each.
    names
        Of the two nodes; by default the node's with ``_left`` and ``_right``.
    bond
        Name of the new index; by default the node's with ``_bond``.
    method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        Network and arrays, the two nodes in the place of the one: the indices of each in their order, the bond last on the left
        one and first on the right one.  ``error`` is that of the node's array, relative to its norm.  It is that of the whole
        tensor where the network is in canonical form about the node.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such node or index, an Elementwise, no index for one side, a name that is taken, rank, tolerance, absorb or method
        that cannot be, an array with entries that are not finite.
    """
    what = "split"
    a_network(net, what)
    old = leaf(net, node, what)
    rows = _left_of(old, left)
    rank = None if rank is None else whole_number(rank, "split: rank", 1)
    tol = check_tol(tol, what)
    one_of(absorb, "split: absorb", ABSORB)
    check_truncation(method, what)
    pair, bond = _new_names(net, old, names, bond)
    columns = tuple(i for i in old.inds if i not in rows)
    rows = tuple(i for i in old.inds if i in rows)
    values, backend = taken(net, [old], arrays, what, backend)
    x = linear(values, what, backend)[node]
    x, power = unit_size(x, node, what, backend)
    order = sorted(range(len(old.inds)), key=lambda k: old.inds[k] in columns)
    shape = [x.shape[k] for k in order]
    x = backend.permute(x, tuple(order)) if order != sorted(order) else x
    ends = shape[: len(rows)], shape[len(rows) :]
    found = factored(backend.reshape(x, prod(ends[0]), prod(ends[1])), rank, tol, absorb, method, backend)
    r = int(found.left.shape[1])
    made = {
        pair[0]: backend.reshape(found.left, *ends[0], r),
        pair[1]: backend.reshape(found.right, r, *ends[1]),
    }
    holder = pair[0] if absorb == "left" else pair[1]
    fixed = old.fixed is True
    new = (Node(pair[0], (*rows, bond), fixed=fixed), Node(pair[1], (bond, *columns), fixed=fixed))
    made, others = placed_power(edited(net, {node: ()}, {}, ()), arrays, made, holder, power, what, backend)
    return Decomposition(*put_back(net, others, {node: new}, made, backend), found.error, {bond: found.method})


def _left_of(old: Node, left: Any) -> tuple[str, ...]:
    found = indices_among(left, old.inds, "split: left")
    for i in found:
        if i not in old.inds:
            raise ValueError(f"split: left names index {i!r}, which node {old.name!r} does not have; it has {old.inds}")
    if not found or set(found) == set(old.inds):
        raise ValueError(f"split: left is some indices of node {old.name!r}, not none and not all of {old.inds}")
    return found


def _new_names(net: Network, old: Node, names: Any, bond: Any) -> tuple[tuple[str, ...], str]:
    """Names of the two nodes and of the bond: those given, or free ones."""
    known = all_names(net)
    if names is None:
        pair = tuple(free_name(f"{old.name}_{side}", known) for side in ("left", "right"))
    else:
        pair = tuple(text(n, "split: a name") for n in sequence(names, "split: names"))
        if len(pair) != 2:
            raise ValueError(f"split: names are two names of nodes, not {shown(names)}")
        _check_new(net, pair, [old], "split")
    if bond is None:
        return pair, free_name(f"{old.name}_bond", known | set(pair))
    if text(bond, "split: bond") in net.sizes or (not net.multilinear and bond in known):
        raise ValueError(f"split: bond {shown(bond)} is an index of the network already")
    return pair, bond


def transpose(net: Network, output: Iterable[str]) -> Network:
    """The same network with its open indices in another order.

    >>> x = np.arange(24.0).reshape(2, 3, 4)
    >>> net, arrays = tk.tt_svd(x)
    >>> np.allclose(tk.contract(tk.transpose(net, ("i2", "i0", "i1")), arrays), x.transpose(2, 0, 1))
    True

    Parameters
    ----------
    net
        Any network.
    output
        Its open indices in the order wanted.

    Returns
    -------
    Network
        It takes the same arrays.

    Raises
    ------
    TypeError, ValueError
        No names, or names that are not those of the open indices.
    """
    a_network(net, "transpose")
    output = indices_among(output, net.output, "transpose: output")
    if sorted(output) != sorted(net.output):
        raise ValueError(f"transpose: output {shown(output)} has not the open indices {net.output}, each once")
    return edited(net, {}, {}, output)


@paired
def conj(net: Network, arrays: Arrays, *, backend: Backend | None = None) -> tuple[Network, dict[str, Any]]:
    """The complex conjugate of a tensor: of each of its arrays.

    >>> net = tk.tt((2,), 1)
    >>> net, arrays = tk.conj(net, {"core_0": np.array([1j, 2.0])})
    >>> tk.contract(net, arrays)
    array([0.-1.j, 2.-0.j])

    Parameters
    ----------
    net
        A multilinear network; any network of real arrays.
    arrays
        Its arrays; real ones stay the same objects.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The same network, other arrays.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`check_arrays`; a complex array in a nonlinear network: a function need not commute with conjugation.
    """
    a_network(net, "conj")
    backend = backend_of(backend, a_mapping(arrays, "conj"))
    full = check_arrays(net, arrays, backend)
    if not net.multilinear:
        node = next(n.name for n in net.nodes if not isinstance(n, Node))
        for name in arrays:
            if is_complex(full[name]):
                raise ValueError(
                    f"conj: array {name!r} is complex, and the network is nonlinear: node {node!r} is an Elementwise"
                )
    return net, {name: conjugate(full[name], backend) if is_complex(full[name]) else arrays[name] for name in arrays}

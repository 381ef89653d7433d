"""Which way a network can be isometric: of each node, the indices towards which the weight goes.

A node is an isometry from some of its indices, those *towards* the centre, to the rest.  Where every node is one, and none of
them follows itself, the tensor's norm is that of the centre (Vidal 2007 for MERA; the canonical form of a tree).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import prod
from typing import Any

from tnkit.core.checks import a_mapping, a_network, text
from tnkit.core.network import AnyNode, Elementwise, Network, levels
from tnkit.core.node import Node, indices_among
from tnkit.core.structure import TreeNetwork, as_tree, tree_or_none
from tnkit.core.wording import shown

__all__ = ["axes_toward", "directions", "gates_of"]


def directions(net: Network, center: str | None = None, inputs: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Node -> its indices towards the centre, for every node that can be an isometry from them to its other indices.

    >>> net = tk.tt((2, 2, 2), 2)
    >>> tk.directions(net) == {"core_0": ("b1",), "core_2": ("b2",)}  # core_1 is the centre
    True
    >>> arrays = tk.init.orthogonal(net, toward=tk.directions(net))
    >>> core = arrays["core_0"]  # (i0, b1)
    >>> np.allclose(core.T @ core, np.eye(2))
    True

    Trees have their directions from the centre.  In MERA, brick walls and other networks, a node is taken as soon as the indices
    of it that are open, or lead to nodes taken before, are no fewer in size than the others, which it then is towards.

    Parameters
    ----------
    net
        Any network; each multilinear piece of a nonlinear one for itself.
    center
        Of a tree, the node that holds the weight; one in the middle by default.
    inputs
        Open indices that the weight goes towards as well: those of the columns of an operator, whose nodes are isometries then.

    Returns
    -------
    dict
        Without the nodes at which the weight ends: the centre of a tree, the top of a MERA, the starts of a wall.  Fixed nodes have
        none.  Nodes inside of an Elementwise have the names that ``print(net)`` shows below it; ``net.leaves`` has them too.

    Raises
    ------
    TypeError
        No Network, a center that is no name, inputs that are no names.
    ValueError
        No such direction: a bond is larger than what a node can use, or no node can come next (a ring, a lattice).  A center of
        a network that is no tree, or has no such node.
    """
    what = "directions"
    inputs = indices_among(inputs, a_network(net, what).output, f"{what}: inputs")
    for i in inputs:
        if i not in net.output:
            raise ValueError(
                f"{what}: inputs are open indices, {', '.join(net.output) or 'of which there is none'}; {i!r} is not"
            )
    if center is not None:
        return _of_tree(_centered(net, text(center, f"{what}: center"), what), center, what)
    found: dict[str, tuple[str, ...]] = {}
    inner = _inner_names(net)
    for level in levels(net):
        what = f"directions: {inner[id(level)]}" if id(level) in inner else "directions"
        tree = None if inputs else tree_or_none(level)
        if tree is None or gates_of(level)[0]:
            found |= _peeled(level, inputs, what)[0]
        else:
            found |= _of_tree(tree, tree.middle(), what)
    return found


def _inner_names(net: Network) -> dict[int, str]:
    """Of each network that is inside of an Elementwise, which one, for messages: its nodes are named there, not among ``net.nodes``."""
    owners = (node for level in levels(net) for node in level.nodes if isinstance(node, Elementwise))
    return {id(body): f"inside of {node.name!r}" for node in owners for body in node.bodies}


def gates_of(net: Network) -> tuple[dict[str, int], frozenset[str]]:
    """Gates at the top level of a network, with how many indices each has on a side, and the nodes that they start from.

    Of an operator, whose output reads (outs..., ins...), every node is a gate.
    """
    trained = {n.name for n in net.nodes if isinstance(n, Node) and not n.fixed}
    for inputs in (net.output[len(net.output) // 2 :], ()):
        try:
            found, gates = _peeled(net, inputs, "")
        except ValueError:  # none has a direction
            continue
        if gates and (not inputs or trained == gates.keys()):
            return gates, frozenset(trained.difference(found))
    return {}, frozenset()


def axes_toward(net: Network, toward: Any, who: str) -> dict[str, tuple[int, ...]]:
    """Array name -> the axes that its isometry is towards, of nodes and their indices towards the centre.

    Raises
    ------
    TypeError
        No mapping from nodes to indices.
    ValueError
        No trained node of this name, or an index that it has not; indices larger than its others; tied nodes that differ.
    """
    what = f"{who}: toward"
    owners = {leaf.name: (leaf, owner) for leaf, owner in net._walk()}
    found: dict[str, tuple[int, ...]] = {}
    for name, given in a_mapping(toward, who, "toward").items():
        if name not in owners:
            raise ValueError(f"{what}: no node {shown(name)}; there are {', '.join(owners)}")
        node, owner = owners[name]
        inds = indices_among(given, node.inds, f"{what}[{name!r}]")
        if node.fixed:
            raise ValueError(f"{what}: node {name!r} is fixed; an isometry is of a trained node")
        for i in inds:
            if node.inds.count(i) != 1 or inds.count(i) != 1:
                raise ValueError(
                    f"{what}: node {name!r} has indices {node.inds}, and {i!r} is not once among them and in {inds}"
                )
        _check_room(owner, name, inds, [i for i in node.inds if i not in inds], what)
        axes = tuple(k for k, i in enumerate(node.inds) if i in inds)
        if found.setdefault(node.array, axes) != axes:
            raise ValueError(
                f"{what}: nodes that share array {node.array!r} are towards indices of one place; {name!r} is not"
            )
    return found


def _centered(net: Network, center: str, what: str) -> TreeNetwork:
    tree = as_tree(net, f"{what}: center is of a tree")
    if center not in tree.links:
        raise ValueError(f"{what}: no node {shown(center)} to be the centre; there are {', '.join(tree.links)}")
    return tree


def _of_tree(tree: TreeNetwork, center: str, what: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node, _, bond in reversed(tree.down(center)):
        rest = [i for i in tree.inds[node] if i != bond]
        _check_room(tree.net, node, (bond,), rest, what)
        found[node] = (bond,)
    return found


def _check_room(net: Network, node: str, toward: tuple[str, ...], rest: list[str], what: str) -> None:
    size, room = (prod(net.sizes[i] for i in inds) for inds in (toward, rest))
    if size > room:
        raise ValueError(
            f"{what}: node {node!r} cannot be an isometry: towards {', '.join(map(repr, toward))} its size is {size}, but that of its "
            f"other indices is {room}; tk.canonicalize makes such bonds smaller"
        )


def _peeled(net: Network, inputs: Collection[str], what: str) -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """Directions from the output on, and the gates among the nodes with how many indices each has on a side.

    Gates come first: their indices read (outs..., ins...), and go from the ins to the outs.  Then those with the largest free
    indices: starts of a wall, which have little of their own, are where the weight ends.
    """
    left = {n.name: n for n in net.nodes if isinstance(n, Node) and not n.fixed}
    for node in left.values():
        _check_edges(net, node, what)
    data = {i for n in net.nodes if isinstance(n, Node) and n.fixed is True for i in n.inds}
    free = {*net.output, *data}.difference(inputs)
    found: dict[str, tuple[str, ...]] = {}
    gates: dict[str, int] = {}
    while left:
        room = {n.name: r for n in left.values() if (r := _room(net, n, free))}
        if not room:
            raise ValueError(_refusal(net, next(iter(left.values())), what))
        now = [n for n in room if _is_gate(net, left[n], free)]
        gates |= {n: len(left[n].inds) // 2 for n in now}
        for name in now or [n for n, r in room.items() if r == max(room.values())]:
            node = left.pop(name)
            if toward := tuple(i for i in node.inds if i not in free):
                found[name] = toward
            free.update(node.inds)  # of two neighbours the first one only is towards the other
    return found, gates


def _is_gate(net: Network, node: Node, free: set[str]) -> bool:
    half = len(node.inds) // 2
    outs, ins = node.inds[:half], node.inds[half:]
    same = [net.sizes[i] for i in outs] == [net.sizes[i] for i in ins]
    return half > 1 and same and free.issuperset(outs) and free.isdisjoint(ins)


def _check_edges(net: Network, node: Node, what: str) -> None:
    for i in node.inds:
        ends = len(net.edges[i]) + (i in net.output)
        if ends != 2:
            kind = "a trace or a hyperedge" if ends > 2 else "summed there alone"
            raise ValueError(f"{what}: index {i!r} of node {node.name!r} is {kind}, through which no isometry goes")


def _room(net: Network, node: Node, free: set[str]) -> int:
    """Size of a node's free indices, 0 where that of the others is larger."""
    room = prod(net.sizes[i] for i in node.inds if i in free)
    return room if room >= prod(net.sizes[i] for i in node.inds if i not in free) else 0


def _refusal(net: Network, node: AnyNode, what: str) -> str:
    return (
        f"{what}: {net!r} has no direction: node {node.name!r} with indices {node.inds} of sizes "
        f"{tuple(net.sizes[i] for i in node.inds)} has fewer open entries than the rest of it, and no node comes before it"
    )

"""Which networks a decomposition takes, and a tree-shaped one as parents and children.

Refusals name the reason, the node and the index: a function that needs a tree does not guess at a loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tnkit.core.activations import ORDERED
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node

__all__ = ["TreeNetwork", "as_tree", "check_multilinear", "check_ordered", "only_function", "resized", "tree_or_none"]


def check_multilinear(net: Network, what: str, tied: bool = False) -> tuple[Node, ...]:
    """The nodes of a network that is linear in every one of its arrays (``tied``: in every one of its nodes).

    Raises
    ------
    TypeError
        No Network.
    ValueError
        An Elementwise node, or (unless ``tied``) an array of two nodes.
    """
    if not isinstance(net, Network):
        raise TypeError(f"{what}: a Network is needed, not a {type(net).__name__}")
    first: dict[str, str] = {}
    nodes = []
    for node in net.nodes:
        if not isinstance(node, Node):
            raise ValueError(
                f"{what}: node {node.name!r} is an Elementwise (nonlinear); take a multilinear piece, from net.regions()"
            )
        if not tied and first.setdefault(node.array, node.name) != node.name:
            raise ValueError(
                f"{what}: nodes {first[node.array]!r} and {node.name!r} share array {node.array!r}; "
                "untie them first (the network is not linear in a tied array)"
            )
        nodes.append(node)
    return tuple(nodes)


def check_ordered(net: Network, array: str, dtype: object) -> None:
    """ValueError where a network has a function that complex numbers do not have, and an array of it is complex.

    numpy would compare real parts first and answer; torch refuses in words of its own.
    """
    inside = [net]
    while inside:
        for node in inside.pop().nodes:
            if isinstance(node, Elementwise):
                if node.fn in ORDERED:
                    raise ValueError(
                        f"node {node.name!r}: {node.fn} takes real numbers, not {dtype} as of array {array!r}; "
                        "complex ones have no order (tanh, sin and square take them)"
                    )
                inside += node.bodies


def resized(net: Network, sizes: Mapping[str, int]) -> Network:
    """The same network with other sizes of some indices."""
    return replace(net, sizes={**net.sizes, **sizes})


@dataclass(frozen=True)
class TreeNetwork:
    """A tree-shaped network.

    Attributes
    ----------
    net
        The network.
    links
        Node -> its neighbours -> the bond to each, in the order of the nodes' indices.
    """

    net: Network
    links: Mapping[str, dict[str, str]]

    @cached_property
    def inds(self) -> dict[str, tuple[str, ...]]:
        """Node -> its indices."""
        return {node.name: node.inds for node in self.net.nodes}

    @cached_property
    def array(self) -> dict[str, str]:
        """Node -> its array's name."""
        return {node.name: node.array for node in self.net.nodes if isinstance(node, Node)}

    @cached_property
    def bonds(self) -> tuple[str, ...]:
        """The inner indices, in the network's order."""
        kept = set(self.net.output)
        return tuple(i for i in self.net.sizes if i not in kept)

    def down(self, root: str) -> list[tuple[str, str, str]]:
        """(node, its parent, their bond) for all nodes but the root, parents first."""
        order, seen, queue = [], {root}, deque([root])
        while queue:
            parent = queue.popleft()
            for node, bond in self.links[parent].items():
                if node not in seen:
                    seen.add(node)
                    order.append((node, parent, bond))
                    queue.append(node)
        return order

    def middle(self) -> str:
        """A node from which the farthest one is nearest."""
        far = self.down(next(iter(self.links)))
        end = far[-1][0] if far else next(iter(self.links))
        steps = self.down(end)
        if not steps:
            return end
        parent, path = {n: p for n, p, _ in steps}, [steps[-1][0]]
        while path[-1] != end:
            path.append(parent[path[-1]])
        return path[len(path) // 2]


def as_tree(net: Network, what: str) -> TreeNetwork:
    """Read a network as a tree.

    Raises
    ------
    TypeError, ValueError
        As :func:`check_multilinear`; a fixed node; a trace; an index on three nodes, on two and in the output, or summed on
        one; a loop (two nodes joined twice are one); parts that no bond joins.
    """
    nodes = check_multilinear(net, what)
    links: dict[str, dict[str, str]] = {node.name: {} for node in nodes}
    ends: dict[str, list[str]] = {}
    for node in nodes:
        if node.fixed:
            raise ValueError(f"{what}: node {node.name!r} is fixed; a decomposition sets every node's array")
        for i in node.inds:
            ends.setdefault(i, []).append(node.name)
    kept = set(net.output)
    for node in nodes:
        for i in node.inds:
            _check_index(i, ends[i], i in kept, what)
            if len(ends[i]) == 2:
                (other,) = (n for n in ends[i] if n != node.name)
                if other in links[node.name]:
                    raise ValueError(
                        f"{what}: nodes {node.name!r} and {other!r} are joined by both {links[node.name][other]!r} and {i!r}: "
                        "a loop, where a tree is needed"
                    )
                links[node.name][other] = i
    tree = TreeNetwork(net, links)
    reached = {nodes[0].name, *(n for n, _, _ in tree.down(nodes[0].name))}
    if len(reached) < len(nodes):
        apart = next(n.name for n in nodes if n.name not in reached)
        raise ValueError(f"{what}: no bond joins nodes {nodes[0].name!r} and {apart!r}; a tree is connected")
    if len(tree.bonds) >= len(nodes):
        raise ValueError(f"{what}: nodes {', '.join(map(repr, _loop(links)))} form a loop, where a tree is needed")
    return tree


def tree_or_none(net: Network) -> TreeNetwork | None:
    """A network as a tree; None for one that is no tree."""
    try:
        return as_tree(net, "")
    except ValueError:
        return None


def _check_index(i: str, ends: list[str], kept: bool, what: str) -> None:
    if len(set(ends)) < len(ends):
        raise ValueError(f"{what}: node {ends[0]!r} has index {i!r} twice (a trace), where a tree is needed")
    if len(ends) == (1 if kept else 2):
        return
    where = ", ".join(map(repr, ends))
    if len(ends) > 2:
        raise ValueError(f"{what}: index {i!r} is on {len(ends)} nodes, {where}: a hyperedge, where a tree is needed")
    if kept:
        raise ValueError(f"{what}: index {i!r} is open and on two nodes, {where}, where a tree is needed")
    raise ValueError(f"{what}: index {i!r} of node {where} is summed there alone, where a tree is needed")


def _loop(links: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The nodes that stay when ends are taken off again and again: those on loops, or between two."""
    rest = {n: set(near) for n, near in links.items()}
    ends = [n for n, near in rest.items() if len(near) < 2]
    while ends:
        node = ends.pop()
        for other in rest.pop(node):
            rest[other].discard(node)
            if len(rest[other]) == 1:
                ends.append(other)
    return list(rest)


def only_function(net: Network) -> Elementwise | None:
    """The function whose value is the network's, where it is the one node."""
    (node, *others) = net.nodes
    return node if isinstance(node, Elementwise) and not others else None

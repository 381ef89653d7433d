"""A tree of nodes inside any network, all other indices cut open: where a centre moves, where a gate acts.

What stands around it is not touched: a truncation here is optimal for the whole tensor where the network is in canonical form about
one of these nodes, and for this part alone where it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tnkit.core.editing import trusted
from tnkit.core.network import Network
from tnkit.core.node import Node, Sizes
from tnkit.core.structure import TreeNetwork
from tnkit.decompose.gauge import push
from tnkit.execution.arrays import one_dtype
from tnkit.execution.backend import Backend
from tnkit.moves.touched import computed, leaf, linear, placed_power, put_back, scaled, taken

__all__ = ["center_moved_along", "local_tree", "path_between", "spanning"]


def _bond(net: Network, i: str, kept: set[str], here: str) -> str | None:
    """The neighbour at the other end of an ordinary bond: on two nodes, not open; None for other indices."""
    ends = net.edges[i]
    if len(ends) != 2 or i in kept:
        return None
    other = ends[1] if ends[0] == here else ends[0]
    return other if other != here and isinstance(net.nodes[net.places[other]], Node) else None


def _outwards(net: Network, root: str) -> Iterator[tuple[str, str, str]]:
    """(node, the one that it was reached from, their bond) for all that bonds reach, the nearest first."""
    reached, kept, queue = {root}, set(net.output), deque([root])
    while queue:
        here = queue.popleft()
        for i in net.nodes[net.places[here]].inds:
            other = _bond(net, i, kept, here)
            if other is not None and other not in reached:
                reached.add(other)
                queue.append(other)
                yield other, here, i


def spanning(net: Network, root: str, wanted: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Node -> its parent and their bond, for those on shortest paths from the root to those wanted; what no bond reaches is left out."""
    parents: dict[str, tuple[str, str]] = {}
    left, ways = set(wanted) - {root}, _outwards(net, root)
    while left and (way := next(ways, None)) is not None:
        parents[way[0]] = way[1:]
        left.discard(way[0])
    found: dict[str, tuple[str, str]] = {}
    for name in wanted:
        while name in parents and name not in found:
            found[name] = parents[name]
            name = parents[name][0]
    return found


def path_between(net: Network, start: str, ends: Iterable[str]) -> list[tuple[str, str, str]]:
    """(node, the next one, their bond) from a node to the nearest one of some; none where no bond leads there."""
    ends = set(ends)
    if start in ends:
        return []
    parents: dict[str, tuple[str, str]] = {}
    for here, before, bond in _outwards(net, start):
        parents[here] = before, bond
        if here in ends:
            path = []
            while here != start:
                before, bond = parents[here]
                path.append((before, here, bond))
                here = before
            return path[::-1]
    return []


def local_tree(nodes: Sequence[Node], links: dict[str, dict[str, str]], values: dict[str, Any]) -> TreeNetwork:
    """Nodes as a tree with these links, each with an array of its own name; an index that is no link is open, on each apart."""
    bonds = {bond for near in links.values() for bond in near.values()}
    made: list[Node] = []
    sizes: dict[str, int] = {}
    for node in nodes:
        inds = tuple(i if i in bonds else f"{node.name} {k}" for k, i in enumerate(node.inds))
        made.append(Node(node.name, inds))
        sizes |= dict(zip(inds, map(int, values[node.name].shape), strict=True))
    output = tuple(i for i in sizes if i not in bonds)
    return TreeNetwork(trusted(tuple(made), output, Sizes(sizes)), links)


def center_moved_along(
    net: Network, arrays: Mapping[str, Any], start: str, ends: Iterable[str], what: str, backend: Backend | None
) -> tuple[Network, dict[str, Any]]:
    """The weight from a node to the nearest one of some, by QR of those on the way; all other arrays stay the same objects.

    Raises
    ------
    KeyError, TypeError, ValueError
        No way there, an Elementwise, arrays of these nodes that do not fit or are not finite.
    """
    path = path_between(net, start, ends)
    if not path:
        if start not in set(ends):
            raise ValueError(f"{what}: no bonds lead from node {start!r} to {', '.join(map(repr, ends))}")
        return net, dict(arrays)
    nodes = [leaf(net, name, what) for name in (start, *(to for _, to, _ in path))]
    values, backend = taken(net, nodes, arrays, what, backend)
    values, power = scaled(one_dtype(linear(values, what, backend), backend), what, backend)
    links: dict[str, dict[str, str]] = {node.name: {} for node in nodes}
    for here, to, bond in path:
        links[here][to] = links[to][here] = bond
    tree, moved = local_tree(nodes, links, values), dict(values)
    for here, to, bond in path:
        push(tree, moved, here, to, bond, backend)
    moved, others = placed_power(net, arrays, moved, nodes[-1].name, power, what, backend)
    return put_back(net, others, {node.name: (computed(node),) for node in nodes}, moved, backend)

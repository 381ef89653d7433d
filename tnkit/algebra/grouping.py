"""A network read as a tree of another one's shape: its nodes in groups, one a node of the tree, what joins two groups one bond."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from tnkit.algebra.pairs import Legs, Pair
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.structure import TreeNetwork
from tnkit.execution.backend import Backend
from tnkit.execution.local import contracted
from tnkit.execution.powers import unit

__all__ = ["grouped"]

Arrays = Mapping[str, Any]

#: Entries of a group up to which it is contracted.
_LARGEST = 2**24


def grouped(target: Network, arrays: Arrays, tree: TreeNetwork, backend: Backend) -> Pair | None:
    """A network's nodes contracted in groups, as a tree with the nodes, bonds and open indices of another.

    Returns
    -------
    Pair
        With ones in the place of a second tree; None where groups do not join as the tree's nodes do, or are too large.
    """
    kept = set(tree.net.output)
    owner = _owners(target, {i: n for n, inds in tree.inds.items() for i in inds if i in kept})
    if owner is None or set(owner.values()) != set(tree.links):
        return None
    bonds = _joints(target, owner, tree)
    if bonds is None:
        return None
    legs: dict[str, tuple[Legs, Legs]] = {}
    made, power = {}, 0.0
    for node, inds in tree.inds.items():
        output = [j for i in inds for j in ([i] if i in kept else bonds[i])]
        if prod(target.sizes[i] for i in output) > _LARGEST:
            return None
        parts = [(arrays[n.array], n.inds) for n in target.nodes if isinstance(n, Node) and owner[n.name] == node]
        x, more = unit(contracted(parts, output, backend), backend)
        sizes = [target.sizes[i] if i in kept else prod(target.sizes[j] for j in bonds[i]) for i in inds]
        mine = [i for i in inds if i not in kept]
        legs[node] = tuple(i if i in kept else (1, i) for i in inds), tuple((2, i) for i in mine)
        one = backend.reshape(backend.eye(1, x), *(1 for _ in mine))
        made[node], power = (backend.reshape(x, *sizes), one), power + more
    return Pair(tree, legs, made, {i: tree.net.sizes[i] for i in tree.net.output}, power, backend)


def _owners(target: Network, place: Mapping[str, str]) -> dict[str, str] | None:
    """Node of the target -> node of the tree: that of its open indices, else that of what it is joined with most."""
    owner: dict[str, str] = {}
    for node in target.nodes:
        mine = {place[i] for i in node.inds if i in place}
        if len(mine) > 1:
            return None
        if mine:
            owner[node.name] = mine.pop()
    left = [n for n in target.nodes if n.name not in owner]
    while left:
        found: dict[str, str] = {}
        for node in left:
            weight: dict[str, int] = {}
            for i in node.inds:
                for other in set(target.edges[i]) & owner.keys():
                    weight[owner[other]] = weight.get(owner[other], 1) * target.sizes[i]
            if weight:
                found[node.name] = max(weight, key=lambda n: weight[n])
        if not found:
            return None
        owner |= found
        left = [n for n in left if n.name not in owner]
    return owner


def _joints(target: Network, owner: Mapping[str, str], tree: TreeNetwork) -> dict[str, list[str]] | None:
    """Bond of the tree -> the indices that join the groups at its ends; None where some join others, or three."""
    found: dict[str, list[str]] = {b: [] for b in tree.bonds}
    opened = set(target.output)
    for i, ends in target.edges.items():
        groups = list(dict.fromkeys(owner[n] for n in ends))
        if i in opened and len(groups) > 1:
            return None
        if len(groups) > 2 or (len(groups) == 2 and groups[1] not in tree.links[groups[0]]):
            return None
        if len(groups) == 2:
            found[tree.links[groups[0]][groups[1]]].append(i)
    return found

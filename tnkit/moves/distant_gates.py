"""Gates on nodes that are no neighbours, or on more than two: split along the bonds between them, which are then rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from tnkit.core.names import free_name
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.decompose.ranks import Limits
from tnkit.decompose.rounding import rounded
from tnkit.decompose.svd import tree_svd
from tnkit.execution.arrays import is_single
from tnkit.execution.backend import Backend
from tnkit.execution.run import contract
from tnkit.moves.gate_parts import GatePart, How, given_gate
from tnkit.moves.local_tree import local_tree, spanning
from tnkit.moves.reshaping import fuse
from tnkit.moves.touched import all_names

__all__ = ["on_tree"]

Arrays = Mapping[str, Any]
#: Relative error at which a gate is split: rounding's.
_EXACT = {True: 3e-7, False: 1e-15}


def on_tree(
    net: Network, arrays: Arrays, gate: Any, inds: Sequence[str], names: Sequence[str], how: How, backend: Backend | None
) -> GatePart:  # fmt: skip
    """A gate on nodes of which some are no neighbours; bonds lead from one to another, or a new one does.

    Raises
    ------
    ValueError
        Weight that is to go to both sides, of which there are more here.
    """
    if how.absorb == "both":
        raise ValueError(
            f"apply_gate: absorb='both' is for two neighbours, and the gate acts on nodes {', '.join(names)}; 'left' or 'right'"
        )
    parents = spanning(net, names[0], names[1:])
    net, arrays = _without_parallel(net, arrays, parents, backend)
    every = [names[0], *parents, *(n for n in names[1:] if n not in parents)]
    nodes, values, g, power, backend = given_gate(net, arrays, every, gate, inds, backend)
    nodes, values, parents = _with_new_bonds(net, nodes, values, names, parents, backend)
    links: dict[str, dict[str, str]] = {node.name: {} for node in nodes}
    for node, (parent, bond) in parents.items():
        links[node][parent] = links[parent][node] = bond
    operator, parts = _along(g, net, inds, nodes, links, backend)
    values = {node.name: _times(node, values[node.name], operator, parts, links, inds, backend) for node in nodes}
    tree = local_tree(nodes, links, values)
    caps = {} if how.rank is None else dict.fromkeys(tree.bonds, how.rank)
    holder = names[0] if how.absorb == "left" else names[-1]
    found = rounded(tree, values, holder, 0.0, Limits(caps, how.tol, None), how.method, backend)
    return GatePart(net, arrays, nodes, dict(found.arrays), power, backend, found.error, found.methods)


def _without_parallel(
    net: Network, arrays: Arrays, parents: Mapping[str, tuple[str, str]], backend: Backend | None
) -> tuple[Network, Arrays]:
    """One bond between two nodes of the tree."""
    groups: dict[str, list[str]] = {}
    for node, (parent, bond) in parents.items():
        ends = {(node, parent), (parent, node)}
        some = [i for i in net[parent].inds if net.edges[i] in ends and i not in net.output]
        if len(some) > 1:
            groups[bond] = [bond, *(i for i in some if i != bond)]
    return fuse(net, arrays, groups, backend=backend) if groups else (net, arrays)


def _with_new_bonds(
    net: Network, nodes: Sequence[Node], values: dict[str, Any], names: Sequence[str],
    parents: Mapping[str, tuple[str, str]], backend: Backend,
) -> tuple[list[Node], dict[str, Any], dict[str, tuple[str, str]]]:  # fmt: skip
    """Nodes that no bonds join to the first one get one of size 1."""
    made, parents, root = {node.name: node for node in nodes}, dict(parents), names[0]
    known = all_names(net) if len(parents) + 1 < len(nodes) else set()
    for name in names[1:]:
        if name in parents:
            continue
        bond = free_name(f"{root}_{name}", known)
        known.add(bond)
        parents[name] = root, bond
        for end in (root, name):
            made[end] = replace(made[end], inds=(*made[end].inds, bond))
            values = {**values, end: backend.reshape(values[end], *values[end].shape, 1)}
    return list(made.values()), values, parents


def _along(
    g: Any, net: Network, inds: Sequence[str], nodes: Sequence[Node], links: Mapping[str, dict[str, str]], backend: Backend
) -> tuple[dict[str, Any], dict[str, Node]]:  # fmt: skip
    """The gate as a tree of the same links: output ("out", i), input ("in", i), bonds ("gate", b)."""
    parts = {}
    for node in nodes:
        own = [i for i in inds if i in node.inds]
        bonds = [f"gate {b}" for b in links[node.name].values()]
        parts[node.name] = Node(node.name, [*(f"out {i}" for i in own), *(f"in {i}" for i in own), *bonds])
    sizes = {i: 1 for part in parts.values() for i in part.inds if i.startswith("gate ")}
    sizes |= {f"{side} {i}": net.sizes[i] for i in inds for side in ("out", "in")}
    shape = Network(list(parts.values()), [f"{side} {i}" for side in ("out", "in") for i in inds], sizes)
    found = tree_svd(backend.reshape(g, *shape.shape), shape, tol=_EXACT[is_single(g)], backend=backend)
    return found.arrays, parts


def _times(
    node: Node, x: Any, operator: Mapping[str, Any], parts: Mapping[str, Node], links: Mapping[str, dict[str, str]],
    inds: Sequence[str], backend: Backend,
) -> Any:  # fmt: skip
    """A node's array times its part of the gate, bonds of both fused."""
    op, bonds = operator[node.name], set(links[node.name].values())
    part = parts[node.name]
    mine = [f"in {i}" if i in inds else f"rest {k}" if i not in bonds else f"bond {i}" for k, i in enumerate(node.inds)]
    output: list[str] = []
    shape = []
    sizes = dict(zip(part.inds, map(int, op.shape), strict=True)) | dict(zip(mine, map(int, x.shape), strict=True))
    for here, i in zip(mine, node.inds, strict=True):
        axes = [f"gate {i}", here] if i in bonds else [f"out {i}" if i in inds else here]
        output += axes
        shape.append(prod(sizes[axis] for axis in axes))
    both = Network([Node("gate", part.inds), Node("x", mine)], output, sizes)
    return backend.reshape(contract(both, {"gate": op, "x": x}, backend=backend), *shape)

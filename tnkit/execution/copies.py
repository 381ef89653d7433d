"""Arrays of a network that passes on what it is given: nodes that copy one bond to the others, gates that change nothing.

A node on two bonds is the identity between them; on more, 1 where all bonds are equal (a copy tensor).  So the network is a
sum of products, one term for every place of the bonds, and its value does not vanish however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import numpy as np

from tnkit.core.directions import gates_of
from tnkit.core.network import Network, levels
from tnkit.core.node import Node
from tnkit.core.stages import Stage, operator_stages

__all__ = ["copying"]

Arrays = dict[str, np.ndarray]


def copying(net: Network, data: Mapping[str, np.ndarray]) -> Arrays:
    """Array name -> array of every trained node, in double precision.

    Parameters
    ----------
    net
        Any network.
    data
        Arrays of its data nodes, where they are known: along an index to one of them a node has the vector whose product with all
        its rows is nearest to 1, by default [1, 0, ...].
    """
    found: Arrays = {}
    for level in levels(net):
        for name, array in _of_level(level, data).items():
            found.setdefault(name, array)  # that of the first of tied nodes
    return found


def _of_level(net: Network, data: Mapping[str, np.ndarray]) -> Arrays:
    nodes = [n for n in net.nodes if isinstance(n, Node) and not n.fixed]
    leaves = {n.name: n for n in net.nodes if isinstance(n, Node) and n.fixed is True}
    feeds = {i: leaves[e[0]] for i, ends in net.edges.items() for e in [[k for k in ends if k in leaves]] if e}
    bonds = {i for i, ends in net.edges.items() if len([k for k in ends if k not in leaves]) > 1}
    (gates, starts), pairs = gates_of(net), _pairs(net)
    acting = {} if pairs else operator_stages(net)
    found: Arrays = {}
    for node in nodes:
        shape = net.array_shapes[node.array]
        if node.name in gates:
            array = np.eye(prod(shape[: gates[node.name]])).reshape(shape)
        elif node.name in acting:
            array = _identities(net, node, acting[node.name])
        elif node.name in starts:
            array = np.zeros(shape)
            array[(0,) * len(shape)] = 1.0
        else:
            vectors = {i: _vector(net, i, feeds, data) for i in node.inds if i not in bonds and i not in pairs}
            array = _copy(net, node, bonds, pairs, vectors)
        found.setdefault(node.array, array)
    _share_out(net, [n for n in nodes if not {n.name} & (gates.keys() | starts | acting.keys())], bonds, found)
    return found


def _identities(net: Network, node: Node, stage: Stage) -> np.ndarray:
    """The identity from what a node takes in to what it gives out; of its bonds it uses the first place."""
    outs, ins = (sorted(axes, key=lambda k: node.inds[k] in net.output) for axes in (stage.outs, stage.ins))
    sizes = {k: net.sizes[i] for k, i in enumerate(node.inds)}
    order = [*stage.beside, *outs, *ins]
    one = np.eye(prod(sizes[k] for k in outs), prod(sizes[k] for k in ins)).reshape([sizes[k] for k in (*outs, *ins)])
    return np.moveaxis(np.broadcast_to(one, [sizes[k] for k in order]), range(len(order)), order)


def _pairs(net: Network) -> dict[str, str]:
    """Index -> the other one of its node, where the output reads (outs..., ins...) and every node has both of a place."""
    half = len(net.output) // 2
    outs, ins = net.output[:half], net.output[half:]
    if (
        not half
        or len(ins) != half
        or any(net.edges[o] != net.edges[i] or len(net.edges[o]) != 1 for o, i in zip(outs, ins, strict=True))
    ):
        return {}
    return dict(zip(outs, ins, strict=True)) | dict(zip(ins, outs, strict=True))


def _vector(net: Network, i: str, feeds: Mapping[str, Node], data: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a node has along an index that is no bond."""
    size = net.sizes[i]
    if i not in feeds:
        return np.ones(size) if i in net.output else np.full(size, 1 / size)
    rows = data.get(feeds[i].array)
    if rows is None or feeds[i].inds.count(i) > 1:
        return np.asarray(np.eye(size)[0])
    rows = np.moveaxis(rows, feeds[i].inds.index(i), -1).reshape(-1, size)
    rows = rows.astype("complex128" if rows.dtype.kind == "c" else "float64")
    found = np.asarray(np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0])
    return found if found.any() else np.asarray(np.eye(size)[0])


def _copy(
    net: Network, node: Node, bonds: Collection[str], pairs: Mapping[str, str], vectors: Mapping[str, np.ndarray]
) -> np.ndarray:
    """1 where all bonds of a node are equal, times a vector along each other index, and where paired indices are equal."""
    axes = {i: k for k, i in enumerate(dict.fromkeys(node.inds))}
    operands: list[Any] = []
    groups = [[i for i in axes if i in bonds], *([i, pairs[i]] for i in axes if i in pairs and i < pairs[i])]
    for group in groups:
        equal = np.zeros([net.sizes[i] for i in group])
        for k in range(min(equal.shape, default=0)):
            equal[(k,) * len(group)] = 1.0
        operands += [equal, [axes[i] for i in group]] if group else []
    for i, vector in vectors.items():
        operands += [vector, [axes[i]]]
    array = np.einsum(*operands, list(axes.values())) if operands else np.ones(())
    return _with_traces(array, node, list(axes))


def _with_traces(array: np.ndarray, node: Node, inds: list[str]) -> np.ndarray:
    """The array of a node that may have an index several times: its values stand on the diagonal."""
    if len(inds) == len(node.inds):
        return array
    full = np.zeros([array.shape[inds.index(i)] for i in node.inds])
    grid = np.indices(array.shape)
    full[tuple(grid[inds.index(i)] for i in node.inds)] = array
    return full


def _share_out(net: Network, nodes: list[Node], bonds: set[str], arrays: Arrays) -> None:
    """Divide by the number of terms of the sum, so that the network is about 1: the nodes of fewest bonds take it."""
    left = {n.name: n for n in nodes if bonds.intersection(n.inds)}
    while left:
        part, seen = [left.pop(next(iter(left)))], set[str]()
        for node in part:
            seen.update(bonds.intersection(node.inds))
            part += [left.pop(n) for i in node.inds if i in bonds for n in net.edges[i] if n in left]
        least = min(len(bonds.intersection(n.inds)) for n in part)
        ends = dict.fromkeys(n.array for n in part if len(bonds.intersection(n.inds)) == least)
        uses = sum(n.array in ends for n in part)
        for name in ends:
            arrays[name] = arrays[name] * min(net.sizes[i] for i in seen) ** (-1 / uses)

"""Sums of networks of one structure, as direct sums of their bonds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnkit.core.decomposition import paired
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.structure import check_multilinear, resized
from tnkit.execution.arrays import one_dtype, padded
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of

__all__ = ["add", "differs"]

Arrays = Mapping[str, Any]


@paired
def add(
    a: Network,
    a_arrays: Arrays,
    b: Network,
    b_arrays: Arrays,
    *,
    weights: tuple[Any, Any] = (1, 1),
    backend: Backend | None = None,
) -> tuple[Network, dict[str, Any]]:
    """Weighted sum of two networks of one structure, as a direct sum of their bonds (Oseledets 2011, section 4.1).

    Parameters
    ----------
    a, b
        Multilinear networks with the same nodes, indices and output: trees, loops, hyperedges.  Sizes of summed indices may
        differ.  Constants may be deltas on summed indices of one size.
    a_arrays, b_arrays
        Their arrays.
    weights
        Numbers that multiply them.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The same structure, the sizes of every summed index added; each array has those of ``a`` and ``b`` as blocks.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`.
    ValueError
        Structures that differ, a nonlinear node, a tied array, a fixed node other than such a delta, or parts that no summed
        index joins (the product of two sums is not the sum of two products).
    """
    nodes, backend = _check_sum(a, b), backend_of(backend, a_arrays, b_arrays)
    left, right = check_arrays(a, a_arrays, backend), check_arrays(b, b_arrays, backend)
    bonds = [i for i in a.sizes if i not in a.output]
    arrays: dict[str, Any] = {}
    for node in nodes:
        if node.fixed:
            continue
        x, y = left[node.array], right[node.array]
        if not arrays:  # any one node takes the weights
            x, y = x * weights[0], y * weights[1]
        arrays[node.array] = _blocks(x, y, [i in bonds for i in node.inds], backend)
    if not arrays:
        raise ValueError("add: every node is fixed; there is no array to add")
    return resized(a, {i: a.sizes[i] + b.sizes[i] for i in bonds}), one_dtype(arrays, backend)


def differs(a: Network, b: Network) -> str:
    """How the structures of two multilinear networks differ; nothing where they do not."""
    if a.output != b.output:
        return f"outputs {a.output} and {b.output}"
    mine, theirs = {n.name: n for n in a.nodes}, {n.name: n for n in b.nodes}
    for name in (*mine, *theirs):
        if name not in mine or name not in theirs:
            return f"node {name!r}, which only one has"
        if mine[name] != theirs[name]:
            return f"node {name!r}, {mine[name]} and {theirs[name]}"
    for i in a.output:
        if a.sizes[i] != b.sizes[i]:
            return f"open index {i!r}, of size {a.sizes[i]} and {b.sizes[i]}"
    return ""


def _check_sum(a: Network, b: Network) -> tuple[Node, ...]:
    nodes = check_multilinear(a, "add")
    check_multilinear(b, "add")
    if reason := differs(a, b):
        raise ValueError(f"add: the structures differ in {reason}")
    for node in nodes:
        for net in (a, b):
            if node.fixed and not (
                node.fixed == "delta"
                and len({net.sizes[i] for i in node.inds}) == 1
                and not set(node.inds) & set(net.output)
            ):
                raise ValueError(
                    f"add: node {node.name!r} is fixed ({node.fixed!r}); only a delta on summed indices of one size is "
                    "the sum of its like"
                )
    reached, rest = set(nodes[0].inds) - set(a.output), list(nodes[1:])
    while near := [n for n in rest if reached.intersection(n.inds)]:
        reached |= {i for n in near for i in n.inds if i not in a.output}
        rest = [n for n in rest if n not in near]
    if rest:
        raise ValueError(
            f"add: no summed index joins nodes {nodes[0].name!r} and {rest[0].name!r}; "
            "a sum of products of parts is not the product of their sums"
        )
    return nodes


def _blocks(x: Any, y: Any, summed: list[bool], backend: Backend) -> Any:
    """``x`` and ``y`` as blocks along the diagonal of the summed axes."""
    ends = tuple(x.shape), tuple(y.shape)
    for axis, apart in enumerate(summed):
        if apart:
            x = padded(x, axis, ends[1][axis], backend)
            y = padded(y, axis, ends[0][axis], backend, before=True)
    return x + y

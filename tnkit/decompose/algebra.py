"""Sums, inner products, norms and environments of networks held as arrays; no tensor larger than 2^16 is formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from tnkit.core.network import AnyNode, Elementwise, Network, Node, unused
from tnkit.core.structure import as_tree, check_multilinear, resized
from tnkit.decompose.dtypes import dtype_name, is_complex
from tnkit.decompose.gauge import canonicalize
from tnkit.decompose.truncate import frobenius
from tnkit.execution.backend import Ops
from tnkit.execution.run import NUMPY, check_arrays, contract, run
from tnkit.planning.plan import plan

__all__ = ["add", "distance", "environment", "inner", "norm", "padded", "renamed", "resolves"]

Arrays = Mapping[str, Any]

#: Tensors of so many entries are formed: that is cheaper than an inner product, and nothing cancels.
_FORM = 2**16


def environment(net: Network, node: str) -> Network:
    """The network less one node: what the result's derivative by that node is.

    Parameters
    ----------
    net
        A network of at least two nodes; any of them may be Elementwise.
    node
        Name of a node at the top level.

    Returns
    -------
    Network
        The other nodes.  Output: the node's indices that another node carries, each once and in the node's order, then the
        other indices of ``net.output`` that are left.  For a closed network (no output) its contraction is the gradient by
        the node's tensor: constant along indices that only the node has, and on the diagonal of an index that it has twice
        (elsewhere the gradient is 0).  The gradient by a tied array is the sum over its nodes.

    Raises
    ------
    KeyError
        No such node at the top level; the message names those there are.
    ValueError
        The network's only node.
    """
    if not isinstance(net, Network):
        raise TypeError(f"environment: a Network is needed, not a {type(net).__name__}")
    gone = net[node]
    rest = tuple(n for n in net.nodes if n is not gone)
    if not rest:
        raise ValueError(f"environment: node {node!r} is the only one; its environment is the number 1, not a network")
    left = dict.fromkeys(i for n in rest for i in n.inds)
    output = [i for i in dict.fromkeys((*gone.inds, *net.output)) if i in left]
    return Network(rest, tuple(output), {i: net.sizes[i] for i in left})


def inner(a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *, ops: Ops = NUMPY) -> Any:
    """Inner product ``sum(conj(a) * b)`` of what two networks contract to.

    Parameters
    ----------
    a, b
        Any networks of one shape; output indices are matched by position, and no other names matter.
    a_arrays, b_arrays
        Their arrays; constants may be left out.
    ops
        The array library.

    Returns
    -------
    array
        A scalar of the library (differentiable with torch), complex if an array is.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`.
    ValueError
        Shapes that differ: the indices and sizes are named.
    """
    _check_shapes(a, b, "inner")
    left, right = check_arrays(a, a_arrays, ops), check_arrays(b, b_arrays, ops)
    bra, bra_arrays = _conjugated(a, left, ops)
    bra, ket = renamed(bra, "a"), renamed(b, "b")
    both = Network((*bra.nodes, *ket.nodes), (), {**bra.sizes, **ket.sizes})
    arrays = {f"a.{n}": x for n, x in bra_arrays.items()} | {f"b.{n}": x for n, x in right.items()}
    return run(plan(both), _one_dtype(arrays, ops), ops)


def norm(net: Network, arrays: Arrays, *, ops: Ops = NUMPY) -> Any:
    """Frobenius norm of what a network contracts to.

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; constants may be left out.
    ops
        The array library.

    Returns
    -------
    array
        A real scalar of the library.  Right to rounding for trees (by the canonical form) and for up to 65,536 entries.
        Otherwise the square root of :func:`inner`, in which what is left of parts that cancel is lost below 1e-8 of them
        (float64; 3e-4 in float32).

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`.
    """
    net, arrays = _untied(net, arrays, ops)
    if prod(net.shape) <= _FORM:
        return frobenius(contract(net, arrays, ops=ops), ops)
    if _is_tree(net):
        center = as_tree(net, "norm").middle()
        return frobenius(canonicalize(net, arrays, center, ops=ops)[1][center], ops)
    return _root(inner(net, arrays, net, arrays, ops=ops), ops)


def add(
    a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *, weights: tuple[Any, Any] = (1, 1), ops: Ops = NUMPY
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
    ops
        The array library.

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
    nodes = _check_sum(a, b)
    left, right = check_arrays(a, a_arrays, ops), check_arrays(b, b_arrays, ops)
    bonds = [i for i in a.sizes if i not in a.output]
    arrays: dict[str, Any] = {}
    for node in nodes:
        if node.fixed:
            continue
        x, y = left[node.array], right[node.array]
        if not arrays:  # any one node takes the weights
            x, y = x * weights[0], y * weights[1]
        arrays[node.array] = _blocks(x, y, [i in bonds for i in node.inds], ops)
    if not arrays:
        raise ValueError("add: every node is fixed; there is no array to add")
    return resized(a, {i: a.sizes[i] + b.sizes[i] for i in bonds}), _one_dtype(arrays, ops)


def distance(a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *, ops: Ops = NUMPY) -> Any:
    """Frobenius norm of the difference of what two networks contract to.

    Parameters
    ----------
    a, b
        Any networks of one shape; output indices are matched by position.
    a_arrays, b_arrays
        Their arrays.
    ops
        The array library.

    Returns
    -------
    array
        A real scalar.  Right to rounding for two trees of one structure (the norm of their difference) and for up to 65,536
        entries.  Otherwise ``sqrt(<a|a> + <b|b> - 2 Re <a|b>)``, in which distances below 1e-8 of the norms (float64; 3e-4 in
        float32) are lost.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`inner`.
    """
    _check_shapes(a, b, "distance")
    (a, left), (b, right) = _untied(a, a_arrays, ops), _untied(b, b_arrays, ops)
    if prod(a.shape) <= _FORM:
        return frobenius(contract(a, left, ops=ops) - contract(b, right, ops=ops), ops)
    if _is_tree(a) and not _differs(a, b):
        return norm(*add(a, left, b, right, weights=(1, -1), ops=ops), ops=ops)
    square = inner(a, left, a, left, ops=ops) + inner(b, right, b, right, ops=ops)
    return _root(square - 2 * ops.xp.real(inner(a, left, b, right, ops=ops)), ops)


def resolves(a: Network, b: Network) -> bool:
    """Whether :func:`distance` is right to rounding for these two."""
    return prod(a.shape) <= _FORM or (
        a.multilinear and b.multilinear and _is_tree(_bare(a)) and not _differs(_bare(a), _bare(b))
    )


def _root(square: Any, ops: Ops) -> Any:
    """Square root of what should be real and from 0 up: rounding can leave less, and at 0 the root has no slope."""
    square = ops.xp.real(square)
    some = square > 0
    return ops.xp.where(some, ops.xp.sqrt(ops.xp.where(some, square, 1)), ops.zeros((), square))


# -- names and arrays -----------------------------------------------------------------------------------------------
def _check_shapes(a: Network, b: Network, what: str) -> None:
    for net in (a, b):
        if not isinstance(net, Network):
            raise TypeError(f"{what}: a Network is needed, not a {type(net).__name__}")
    if len(a.output) != len(b.output):
        raise ValueError(
            f"{what}: outputs {a.output} of shape {a.shape} and {b.output} of shape {b.shape} do not match"
        )
    for i, j in zip(a.output, b.output, strict=True):
        if a.sizes[i] != b.sizes[j]:
            raise ValueError(
                f"{what}: output index {i!r} has size {a.sizes[i]}, but {j!r} at its place has {b.sizes[j]}"
            )


def renamed(net: Network, mark: str) -> Network:
    """The same network with names that only it has: output index k is ``o.k``, all else begins with the mark."""
    place = {i: f"o.{k}" for k, i in enumerate(net.output)}
    return net.relabel(lambda i: place.get(i, f"{mark}.{i}"), lambda n: f"{mark}.{n}", lambda n: f"{mark}.{n}")


def _conj(xp: Any, x: Any) -> Any:
    return xp.conj(x)


def _conjugated(net: Network, arrays: dict[str, Any], ops: Ops) -> tuple[Network, dict[str, Any]]:
    """The complex conjugate of a network: of every array at its top level, and of every function's value."""
    if not any(map(is_complex, arrays.values())):
        return net, arrays
    nodes: list[AnyNode] = []
    made, conj = dict(arrays), unused("conj.", net)
    for node in net.nodes:
        if isinstance(node, Node):
            nodes.append(replace(node, array=f"{conj}{node.array}"))
            made[f"{conj}{node.array}"] = ops.xp.conj(arrays[node.array])
        else:
            value = Network((node,), node.inds, {i: net.sizes[i] for i in node.inds})
            nodes.append(Elementwise(f"{conj}{node.name}", _conj, (value,)))
    twin = replace(net, nodes=tuple(nodes))
    return twin, {name: made[name] for name in twin.array_shapes}


def _one_dtype(arrays: dict[str, Any], ops: Ops) -> dict[str, Any]:
    """The arrays, all of the narrowest dtype that holds them."""
    names = set(map(dtype_name, arrays.values()))
    if len(names) < 2:
        return arrays
    widest = np.result_type(*names).name
    return {n: ops.cast(x, widest) for n, x in arrays.items()}


def _untied(net: Network, arrays: Arrays, ops: Ops) -> tuple[Network, dict[str, Any]]:
    """A multilinear network with an array of its own for each node, none fixed; others as they are."""
    full = check_arrays(net, arrays, ops)
    nodes = [node for node in net.nodes if isinstance(node, Node)]
    if len(nodes) < len(net.nodes):
        return net, full
    return _bare(net), _one_dtype({node.name: full[node.array] for node in nodes}, ops)


def _bare(net: Network) -> Network:
    """The structure without ties and constants."""
    return replace(net, nodes=tuple(Node(node.name, node.inds) for node in net.nodes))


def _is_tree(net: Network) -> bool:
    try:
        as_tree(net, "")
    except ValueError:
        return False
    return True


# -- direct sums ----------------------------------------------------------------------------------------------------
def _differs(a: Network, b: Network) -> str:
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
    if differs := _differs(a, b):
        raise ValueError(f"add: the structures differ in {differs}")
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


def _blocks(x: Any, y: Any, summed: list[bool], ops: Ops) -> Any:
    """``x`` and ``y`` as blocks along the diagonal of the summed axes."""
    ends = tuple(x.shape), tuple(y.shape)
    for axis, apart in enumerate(summed):
        if apart:
            x = padded(x, axis, ends[1][axis], ops)
            y = padded(y, axis, ends[0][axis], ops, before=True)
    return x + y


def padded(x: Any, axis: int, count: int, ops: Ops, before: bool = False) -> Any:
    """``x`` with so many zeros behind it, or before it, along an axis."""
    if not count:
        return x
    zeros = ops.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x)
    return ops.xp.concatenate((zeros, x) if before else (x, zeros), axis)

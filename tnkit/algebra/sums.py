"""Sums of networks of one structure, as direct sums of their bonds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import frexp, inf, isfinite
from typing import Any

import numpy as np

from tnkit.algebra.matching import matched
from tnkit.core.checks import a_mapping, a_network, sequence, shown
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import check_multilinear, resized
from tnkit.execution.arrays import dtype_name, floating, is_complex, is_single, one_dtype, padded
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import Power, even_powers, larger, largest, seen, times, unit

__all__ = ["add", "differs", "weighted_sum"]

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

    >>> x, y = np.arange(8.0).reshape(2, 2, 2), np.ones((2, 2, 2))
    >>> a, b = tk.tt_svd(x), tk.tt_svd(y)
    >>> net, arrays = tk.add(a, b, weights=(0.5, -1))
    >>> np.allclose(tk.contract(net, arrays), 0.5 * x - y)
    True
    >>> a.network.sizes["b1"], b.network.sizes["b1"], net.sizes["b1"]  # bonds add up
    (2, 2, 4)

    Parameters
    ----------
    a, b
        Multilinear networks with the same nodes and indices: trees, loops, hyperedges.  Sizes of summed indices may differ, and
        so may the order of the outputs: indices are matched by name.  Constants may be deltas on summed indices of one size.
    a_arrays, b_arrays
        Their arrays.
    weights
        Two numbers that multiply them: Python's, numpy's, or scalars of the library, through which gradients pass.  They do not
        change the precision of the arrays.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The same structure, with the output of ``a``, the sizes of every summed index added; each array has those of ``a`` and
        ``b`` as blocks.  Whole numbers become float64.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`; weights that are no pair of numbers.
    ValueError
        Structures that differ, a nonlinear node, a tied array, a fixed node other than such a delta, parts that no summed
        index joins (the product of two sums is not the sum of two products), or a weight that is not finite.
    """
    a, b = a_network(a, "add"), a_network(b, "add")
    if set(a.output) == set(b.output):
        b = matched(a, b, "add")
    nodes = _check_sum(a, b)
    backend = backend_of(backend, a_mapping(a_arrays, "add"), a_mapping(b_arrays, "add"))
    left = check_arrays(a, floating(a_arrays, backend), backend)
    right = check_arrays(b, floating(b_arrays, backend), backend)
    pairs = sequence(weights, "add: weights")
    if len(pairs) != 2:
        raise ValueError(f"add: weights are two numbers, not {shown(weights)}")
    names = [n.array for n in nodes if not n.fixed]
    if not names:
        raise ValueError("add: every node is fixed; there is no array to add")
    left, right = (
        _weighted(_levelled(arrays, names, backend), names, _weight(w, backend), backend)
        for arrays, w in zip((left, right), pairs, strict=True)
    )
    return _direct_sum(a, left, b, right, backend)


def weighted_sum(
    a: Network, left: Arrays, p: Power, b: Network, right: Arrays, q: Power, weight: float, backend: Backend
) -> tuple[Network, dict[str, Any], Power]:
    """``a + weight b`` of two trees of one structure, as a tree, its arrays, and the power of two that they are to be multiplied by.

    The arrays given are of size about 1, to be multiplied by two to the powers ``p`` and ``q``; an array of zeros has no size.
    """
    if not all(isfinite(seen(power, backend) or 0.0) for power in (p, q)):
        return *_direct_sum(a, left, b, right, backend), p + q
    zero = [any(seen(largest(x, backend), backend) == 0 for x in arrays.values()) for arrays in (left, right)]
    most = q if zero[0] else p if zero[1] else larger(p, q, backend)
    left = left if zero[0] else _powered(left, list(left), p - most, backend)
    right = right if zero[1] else _powered(right, list(right), q - most, backend)
    first = next(iter(right))
    return *_direct_sum(a, left, b, {**right, first: right[first] * weight}, backend), most


def _powered(arrays: Arrays, names: Sequence[str], power: Power, backend: Backend) -> dict[str, Any]:
    """Arrays whose network is two to a power times as large, these sharing it."""
    each = dict(zip(names, even_powers(power, len(names), backend), strict=True))
    return {n: times(x, each[n], backend) if n in each else x for n, x in arrays.items()}


def _levelled(arrays: Arrays, names: Sequence[str], backend: Backend) -> dict[str, Any]:
    """The arrays, of one size where their sizes are far apart: beside a large block of one array a small one would be lost."""
    given = [arrays[n] for n in names]
    far = 2.0 ** (30 if any(is_single(x) for x in given) else 200)
    if backend.unseen(given) or 0 < max(norms := backend.norms(given)) < far * min(norms) < inf:
        return dict(arrays)
    found = {n: unit(arrays[n], backend, keep=True) for n in names}
    power = sum((power for _, power in found.values()), 0.0)
    return _powered({**arrays, **{n: x for n, (x, _) in found.items()}}, names, power, backend)


def _weight(w: Any, backend: Backend) -> Any:
    """A finite Python number, or a scalar of the library whose gradient may be asked for."""
    if isinstance(w, (np.generic, np.ndarray)) and w.shape == () and w.dtype.kind in "iufc":
        w = w.item()
    if isinstance(w, (int, float, complex)) and not isinstance(w, bool):
        w = w if isinstance(w, complex) else _as_float(w)
        if not isfinite(abs(w)):
            raise ValueError(f"add: weights are finite numbers, not {w!r}")
        return w
    if backend is NUMPY or not backend.holds(w) or tuple(w.shape):
        raise TypeError(f"add: weights are two numbers, not {shown(w)}")
    return w


def _as_float(w: int | float) -> float:
    try:
        return float(w)
    except OverflowError:
        raise ValueError("add: weights are numbers in the range of float64, not a larger whole number") from None


def _weighted(arrays: Arrays, names: Sequence[str], weight: Any, backend: Backend) -> dict[str, Any]:
    """Arrays whose network is so many times as large: the first takes the weight, all share a power of two that is large."""
    first, power = names[0], 0.0
    if not isinstance(weight, (int, float, complex)):
        weight, power = unit(weight, backend)
        weight = weight if is_complex(weight) else backend.cast(weight, dtype_name(arrays[first]))
    elif weight and not 1e-6 < abs(weight) < 1e6:
        power = float(frexp(abs(weight))[1])
        weight = weight * 2.0 ** -(power // 2) * 2.0 ** -(power - power // 2)
    made = _powered({**arrays, first: arrays[first] * weight}, names, power, backend)
    for n in names if isinstance(power, float) and power else ():
        before, after = (seen(largest(x[n], backend), backend) for x in (arrays, made))
        if (
            after is not None
            and weight
            and isfinite(before or 0.0)
            and not (isfinite(after) and bool(after) == bool(before))
        ):
            raise ValueError(f"add: a weight takes array {n!r} beyond the range of {dtype_name(made[n])}")
    return made


def _direct_sum(
    a: Network, left: Arrays, b: Network, right: Arrays, backend: Backend
) -> tuple[Network, dict[str, Any]]:
    bonds = {i for i in a.sizes if i not in a.output}
    arrays = {
        node.array: _blocks(left[node.array], right[node.array], [i in bonds for i in node.inds], backend)
        for node in a.nodes
        if isinstance(node, Node) and not node.fixed
    }
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

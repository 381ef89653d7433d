"""Trees held as arrays: canonical forms, spectra of their bonds, rounding; the tensor itself is never formed.

A tree is in canonical form about a centre when every other node is an isometry from its bond towards the centre to the rest
of its indices (Schollwoeck 2011 for chains; Shi, Duan and Vidal 2006 for trees).  Then norms, inner products and errors of the
tensor are those of the centre's array, and truncating it is optimal for its bond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, sqrt
from typing import Any

import numpy as np

from tnkit.core.network import Network
from tnkit.core.structure import Tree, as_tree, resized
from tnkit.decompose.dtypes import widened
from tnkit.decompose.ranks import Limits, Rank, limits, ranks_within
from tnkit.decompose.result import Decomposition
from tnkit.decompose.truncate import METHODS, adjoint, cut, in_range, orthogonal
from tnkit.execution.backend import Ops
from tnkit.execution.run import NUMPY, check_arrays

__all__ = ["bond_entropy", "bond_spectrum", "canonicalize", "round"]


def canonicalize(
    net: Network, arrays: Mapping[str, Any], center: str | None = None, *, ops: Ops = NUMPY
) -> tuple[Network, dict[str, Any]]:
    """Canonical form about a node: the same tensor, every other node an isometry towards it.

    Parameters
    ----------
    net
        A tree-shaped network.
    arrays
        Its arrays.
    center
        Name of the node that holds the weight; one in the middle by default.
    ops
        Array library.

    Returns
    -------
    Network, dict
        Bonds larger than what a node can use become smaller.

    Raises
    ------
    ValueError
        No tree (the reason, node and index are named), no node of this name.
    """
    tree, arrays, center = _held(net, arrays, center, "canonicalize", ops)
    gathered(tree, arrays, center, ops)
    return measured(net, arrays)


def bond_spectrum(net: Network, arrays: Mapping[str, Any], *, ops: Ops = NUMPY) -> dict[str, Any]:
    """Singular values of the tensor across each bond of a tree (Schmidt values, falling).

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays.
    ops
        Array library.

    Returns
    -------
    dict
        Bond -> array of at most its size: the singular values of the tensor read as a matrix, one side of the bond against
        the other.  The squares of each sum to the square of the tensor's norm.

    Raises
    ------
    ValueError
        No tree.
    """
    tree, arrays, center = _held(net, arrays, None, "bond_spectrum", ops)
    gathered(tree, arrays, center, ops)
    found = {}
    # each parent's array stays the centre for all its children: nothing has to move back
    for node, parent, bond in tree.down(center):
        matrix, _ = unfold(tree, arrays, parent, bond, ops)
        _, r = orthogonal(matrix, ops)
        found[bond] = ops.left(r)[1]
        absorb(tree, arrays, node, bond, r, ops)
    return {bond: found[bond] for bond in tree.bonds}


def bond_entropy(net: Network, arrays: Mapping[str, Any], *, order: float = 1.0, ops: Ops = NUMPY) -> dict[str, Any]:
    """Entanglement entropy across each bond of a tree, in nats.

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays; the tensor need not be normalised.
    order
        Of the Renyi entropy log(sum p^order) / (1 - order), with p the normalised squares of :func:`bond_spectrum`; 1 is von
        Neumann's, -sum p log p, and infinity -log max p.
    ops
        Array library.

    Returns
    -------
    dict
        Bond -> scalar; 0 for a product across it, at most log(size of the bond).

    Raises
    ------
    ValueError
        No tree; an order that is not positive.
    """
    if not order > 0:
        raise ValueError(f"bond_entropy: order {order!r} is not positive")
    xp, found = ops.xp, {}
    for bond, s in bond_spectrum(net, arrays, ops=ops).items():
        p = s * s / xp.sum(s * s)
        p = xp.where(p > 0, p, xp.ones_like(p))  # a value of zero counts nothing, and has no gradient
        logs = xp.log(p)
        top = xp.max(xp.where(s > 0, logs, -inf * xp.ones_like(p)))
        if order == 1:
            found[bond] = -xp.sum(p * logs)
        elif order == inf:
            found[bond] = -top
        elif abs(order - 1) < 0.1:  # sum p = 1, so nothing cancels near Neumann's
            some = xp.where(s > 0, p * xp.expm1((order - 1) * logs), xp.zeros_like(p))
            found[bond] = -xp.log1p(xp.sum(some)) / (order - 1)
        else:
            powers = xp.where(s > 0, xp.exp(order * (logs - top)), xp.zeros_like(p))  # of the largest 1: none overflows
            found[bond] = (order * top + xp.log(xp.sum(powers))) / (1 - order)
    return found


def round(
    net: Network,
    arrays: Mapping[str, Any],
    *,
    rank: Rank = None,
    tol: float = 0.0,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    ops: Ops = NUMPY,
) -> Decomposition:
    """Recompress a tree held as arrays (Oseledets 2011, algorithm 2, on any tree; Grasedyck 2010).

    Every bond is truncated by the singular values of the whole tensor across it, from the ends on; the errors are orthogonal,
    so that the error reported is exact.

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays.
    rank
        Largest bond sizes: an int for all, a sequence in the network's order, or a mapping from bonds.
    tol
        Relative Frobenius error that the result keeps.
    budget
        Most numbers stored: the ranks that give the least error found for that count.
    center
        Node that ends as the centre; one in the middle by default.
    method
        As for :func:`tree_svd`.
    ops
        Array library.

    Returns
    -------
    Decomposition
        The network with the bonds found, arrays in canonical form about the centre.

    Raises
    ------
    ValueError, TypeError
        No tree, no such node or method, ranks, tolerance or budget that cannot be.
    """
    what = "round"
    check_method(method, what)
    tree, arrays, center = _held(net, arrays, center, what, ops)
    bounds = limits(tree, rank, tol, budget, what)
    found = _rounded(tree, arrays, center, bounds, method, ops)
    if bounds.budget is None:
        return found
    return _rounded(tree, arrays, center, within(found, bounds.budget, ops), method, ops)


def within(found: Decomposition, budget: int, ops: Ops) -> Limits:
    """The ranks for a budget, from a decomposition with more."""
    tree = as_tree(found.network, "budget")
    if not tree.bonds:
        return Limits({}, 0.0, None)
    spectra = bond_spectrum(*found, ops=ops)
    values = {b: np.asarray(ops.numpy(s), np.float64) for b, s in spectra.items()}
    # ranks do not depend on the scale, whose square may overflow
    largest = max(s.max() for s in values.values()) or 1.0
    squares = {b: (s / largest) ** 2 for b, s in values.items()}
    arrays, center = check_arrays(*found, ops), tree.middle()

    def lost(ranks: Mapping[str, int]) -> float:
        return _rounded(tree, arrays, center, Limits(ranks, 0.0, None), "exact", ops).error

    return Limits(ranks_within(tree, squares, budget, lost), 0.0, None)


def check_method(method: str, what: str) -> None:
    """One of the ways of :mod:`tnkit.decompose.truncate`."""
    if method not in METHODS:
        raise ValueError(f"{what}: no method {method!r}; there are {', '.join(METHODS)}")


# -- moves ----------------------------------------------------------------------------------------------------------
def unfold(tree: Tree, arrays: Mapping[str, Any], node: str, bond: str, ops: Ops) -> tuple[Any, tuple[int, ...]]:
    """A node's array as a matrix, the bond its columns; and the shape of its rows."""
    axis = tree.inds[node].index(bond)
    x = arrays[tree.array[node]]
    if axis == 0:  # a view
        return ops.swap(x.reshape(x.shape[0], -1)), tuple(x.shape[1:])
    if axis < len(x.shape) - 1:
        x = ops.permute(x, (*range(axis), *range(axis + 1, len(x.shape)), axis))
    return x.reshape(-1, x.shape[-1]), tuple(x.shape[:-1])


def fold(
    tree: Tree, arrays: dict[str, Any], node: str, bond: str, matrix: Any, rows: tuple[int, ...], ops: Ops
) -> None:
    """Set a node's array from such a matrix."""
    axis, last = tree.inds[node].index(bond), len(rows)
    if axis == 0:
        arrays[tree.array[node]] = ops.swap(matrix).reshape(matrix.shape[1], *rows)
        return
    x = matrix.reshape(*rows, matrix.shape[1])
    arrays[tree.array[node]] = x if axis == last else ops.permute(x, (*range(axis), last, *range(axis, last)))


def absorb(tree: Tree, arrays: dict[str, Any], node: str, bond: str, m: Any, ops: Ops) -> None:
    """Multiply a node's array along a bond by ``m`` (new size, old size)."""
    if tree.inds[node][0] == bond:
        x = arrays[tree.array[node]]
        arrays[tree.array[node]] = (m @ x.reshape(x.shape[0], -1)).reshape(m.shape[0], *x.shape[1:])
        return
    matrix, rows = unfold(tree, arrays, node, bond, ops)
    fold(tree, arrays, node, bond, matrix @ ops.swap(m), rows, ops)


def push(tree: Tree, arrays: dict[str, Any], node: str, to: str, bond: str, ops: Ops) -> None:
    """Make a node an isometry, its weight going to a neighbour."""
    matrix, rows = unfold(tree, arrays, node, bond, ops)
    q, r = orthogonal(matrix, ops)
    fold(tree, arrays, node, bond, q, rows, ops)
    absorb(tree, arrays, to, bond, r, ops)


def gathered(tree: Tree, arrays: dict[str, Any], center: str, ops: Ops) -> None:
    """All weight to the centre."""
    for node, parent, bond in reversed(tree.down(center)):
        push(tree, arrays, node, parent, bond, ops)


def moved(tree: Tree, arrays: dict[str, Any], start: str, center: str, ops: Ops) -> None:
    """The weight from one node to another, along the path between them."""
    up = {node: (parent, bond) for node, parent, bond in tree.down(center)}
    while start != center:
        parent, bond = up[start]
        push(tree, arrays, start, parent, bond, ops)
        start = parent


def measured(net: Network, arrays: dict[str, Any]) -> tuple[Network, dict[str, Any]]:
    """The network with the sizes that its arrays have."""
    sizes = {i: int(n) for node in net.nodes for i, n in zip(node.inds, arrays[node.array].shape, strict=True)}  # type: ignore[union-attr]
    return resized(net, sizes), arrays


def _held(
    net: Network, arrays: Mapping[str, Any], center: str | None, what: str, ops: Ops
) -> tuple[Tree, dict[str, Any], str]:
    tree, held = as_tree(net, what), check_arrays(net, arrays, ops)
    return tree, {n: widened(a, ops) for n, a in held.items()}, check_center(tree, center, what)


def check_center(tree: Tree, center: str | None, what: str) -> str:
    """A node of the tree, one in the middle by default."""
    if center is None:
        return tree.middle()
    if center not in tree.links:
        raise ValueError(f"{what}: no node {center!r} to be the centre; there are {', '.join(tree.links)}")
    return center


def _tour(tree: Tree, root: str) -> Iterator[tuple[str, str, str, bool]]:
    """A walk over all bonds and back to the root: (from, to, bond, whether upwards), each bond down once, up once."""
    stack: list[tuple[str, str, str, bool]] = [
        (root, child, bond, False) for child, bond in reversed(tree.links[root].items())
    ]
    while stack:
        here, to, bond, up = move = stack.pop()
        yield move
        if not up:
            stack.append((to, here, bond, True))
            stack += [(to, c, b, False) for c, b in reversed(tree.links[to].items()) if c != here]


def _rounded(
    tree: Tree, arrays: Mapping[str, Any], center: str, bounds: Limits, method: str, ops: Ops
) -> Decomposition:
    """Bonds truncated on the way up of a tour.

    Truncated upwards only, a node's subtree is final when its bond is cut, so that all errors are orthogonal.  The tour is from
    an end: from the middle of a chain its second half would be walked down before its bonds are cut, and in full.
    """
    arrays, down = dict(arrays), tree.down(center)
    root = down[-1][0] if len(tree.links[center]) > 1 else center
    tour = list(_tour(tree, root))
    # the walk starts at the first end that it comes to
    first = next((k for k, move in enumerate(tour) if move[3]), len(tour))
    start = tour[first][0] if tour else root
    gathered(tree, arrays, start, ops)
    holder = tree.array[start]
    arrays[holder], total, scale = in_range(arrays[holder], "round", ops)
    lost, left = 0.0, len(tree.links) - 1
    if not total:
        bounds = Limits(dict.fromkeys(tree.bonds, 1), 0.0, None)
    methods = {}
    for here, to, bond, up in tour[first:]:
        if not up:
            push(tree, arrays, here, to, bond, ops)
            continue
        matrix, rows = unfold(tree, arrays, here, bond, ops)
        allowed = max(bounds.tol**2 * total - lost, 0.0) / left
        found = cut(matrix, bounds.caps.get(bond), allowed, total, method, ops)
        left, lost, methods[bond] = left - 1, lost + found.lost, found.method
        if found.u is not None:
            fold(tree, arrays, here, bond, found.u, rows, ops)
            rest = adjoint(found.u, ops) @ matrix if found.rest is None else found.rest
            absorb(tree, arrays, to, bond, rest, ops)
        else:  # square, or wide: an orthonormal basis of all rows
            push(tree, arrays, here, to, bond, ops)
    moved(tree, arrays, root, center, ops)
    made = Decomposition(*measured(tree.net, arrays), sqrt(lost / total) if total else 0.0, methods)
    return made.scaled(tree.array[center], scale)

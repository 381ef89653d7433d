"""Bonds of a tree held as arrays truncated: by rank, by tolerance, by a budget; the tensor itself is never formed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

import numpy as np

from tnkit.core.decomposition import Decomposition
from tnkit.core.network import Network
from tnkit.core.structure import TreeNetwork, as_tree
from tnkit.decompose.gauge import absorb, fold, gathered, held, measured, moved, push, unfold
from tnkit.decompose.ranks import Limits, ranks_within
from tnkit.decompose.truncate import METHODS, in_range, orthonormal, truncated
from tnkit.execution.arrays import adjoint
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays

__all__ = ["check_truncation", "ranks_for_budget", "rounded", "spectra"]


def spectra(net: Network, arrays: Mapping[str, Any], what: str, backend: Backend) -> dict[str, Any]:
    """Bond -> singular values of the tensor across it, falling."""
    tree, arrays, center = held(net, arrays, None, what, backend)
    gathered(tree, arrays, center, backend)
    found = {}
    # each parent's array stays the centre for all its children: nothing has to move back
    for node, parent, bond in tree.down(center):
        matrix, _ = unfold(tree, arrays, parent, bond, backend)
        _, r = orthonormal(matrix, backend)
        found[bond] = backend.left(r)[1]
        absorb(tree, arrays, node, bond, r, backend)
    return {bond: found[bond] for bond in tree.bonds}


def check_truncation(method: str, what: str) -> None:
    """One of the ways of :mod:`tnkit.decompose.truncate`."""
    if method not in METHODS:
        raise ValueError(f"{what}: no method {method!r}; there are {', '.join(METHODS)}")


def ranks_for_budget(found: Decomposition, budget: int, backend: Backend) -> Limits:
    """The ranks for a budget, from a decomposition with more."""
    tree = as_tree(found.network, "budget")
    if not tree.bonds:
        return Limits({}, 0.0, None)
    values_of = spectra(*found, "budget", backend)
    values = {b: np.asarray(backend.numpy(s), np.float64) for b, s in values_of.items()}
    # ranks do not depend on the scale, whose square may overflow
    largest = max(s.max() for s in values.values()) or 1.0
    squares = {b: (s / largest) ** 2 for b, s in values.items()}
    arrays, center = check_arrays(*found, backend), tree.middle()

    def lost(ranks: Mapping[str, int]) -> float:
        return rounded(tree, arrays, center, Limits(ranks, 0.0, None), "exact", backend).error

    return Limits(ranks_within(tree, squares, budget, lost), 0.0, None)


def _tour(tree: TreeNetwork, root: str) -> Iterator[tuple[str, str, str, bool]]:
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


def rounded(
    tree: TreeNetwork, arrays: Mapping[str, Any], center: str, bounds: Limits, method: str, backend: Backend
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
    gathered(tree, arrays, start, backend)
    holder = tree.array[start]
    arrays[holder], total, scale = in_range(arrays[holder], "round", backend)
    lost, left = 0.0, len(tree.links) - 1
    if not total:
        bounds = Limits(dict.fromkeys(tree.bonds, 1), 0.0, None)
    methods = {}
    for here, to, bond, up in tour[first:]:
        if not up:
            push(tree, arrays, here, to, bond, backend)
            continue
        matrix, rows = unfold(tree, arrays, here, bond, backend)
        allowed = max(bounds.tol**2 * total - lost, 0.0) / left
        found = truncated(matrix, bounds.caps.get(bond), allowed, total, method, backend)
        left, lost, methods[bond] = left - 1, lost + found.lost, found.method
        if found.u is not None:
            fold(tree, arrays, here, bond, found.u, rows, backend)
            rest = adjoint(found.u, backend) @ matrix if found.rest is None else found.rest
            absorb(tree, arrays, to, bond, rest, backend)
        else:  # square, or wide: an orthonormal basis of all rows
            push(tree, arrays, here, to, bond, backend)
    moved(tree, arrays, root, center, backend)
    made = Decomposition(*measured(tree.net, arrays), sqrt(lost / total) if total else 0.0, methods)
    return made.scaled(tree.array[center], scale)

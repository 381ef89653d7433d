"""Bonds of a tree held as arrays truncated: by rank, by tolerance, by a budget; the tensor itself is never formed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

import numpy as np

from tnkit.core.checks import shown
from tnkit.core.decomposition import Decomposition
from tnkit.core.network import Network
from tnkit.core.structure import TreeNetwork, as_tree
from tnkit.decompose.budgets import ranks_within
from tnkit.decompose.gauge import absorb, center_moved, fold, gathered, held, placed, push, unfold
from tnkit.decompose.ranks import Limits
from tnkit.decompose.truncate import METHODS, norm2, orthonormal, truncated
from tnkit.execution.arrays import adjoint
from tnkit.execution.backend import Backend
from tnkit.execution.powers import unit

__all__ = ["check_truncation", "ranks_for_budget", "rounded", "spectra", "tour"]


def spectra(net: Network, arrays: Mapping[str, Any], what: str, backend: Backend) -> tuple[dict[str, Any], Any]:
    """Bond -> singular values of the tensor across it, falling, all over one power of two, which is the second; of size about 1.

    The power is not finite where an entry is not; the values then mean nothing.
    """
    tree, arrays, center, power = held(net, arrays, None, what, backend)
    power = gathered(tree, arrays, center, power, backend)
    found = {}
    # each parent's array stays the centre for all its children: nothing has to move back
    for node, parent, bond in tree.down(center):
        matrix, _ = unfold(tree, arrays, parent, bond, backend)
        _, r = orthonormal(matrix, backend)
        found[bond] = backend.left(r)[1]
        absorb(tree, arrays, node, bond, r, backend)
    return {bond: found[bond] for bond in tree.bonds}, power


def check_truncation(method: str, what: str) -> None:
    """One of the ways of :mod:`tnkit.decompose.truncate`."""
    if not isinstance(method, str) or method not in METHODS:
        kind = ValueError if isinstance(method, str) else TypeError
        raise kind(f"{what}: no method {shown(method)}; there are {', '.join(METHODS)}")


def ranks_for_budget(found: Decomposition, budget: int, backend: Backend) -> Limits:
    """The ranks for a budget, from a decomposition with more."""
    tree = as_tree(found.network, "budget")
    if not tree.bonds:
        return Limits({}, 0.0, None)
    values_of, _ = spectra(*found, "budget", backend)
    values = {b: np.asarray(backend.numpy(s), np.float64) for b, s in values_of.items()}
    # ranks do not depend on the scale, whose square may overflow
    largest = max(s.max() for s in values.values()) or 1.0
    squares = {b: (s / largest) ** 2 for b, s in values.items()}
    _, arrays, center, power = held(*found, None, "budget", backend)
    _, start, moves = _walk(tree, center)
    gathered(tree, arrays, start, power, backend)

    def lost(ranks: Mapping[str, int]) -> float:
        return _cut(tree, dict(arrays), start, moves, Limits(ranks, 0.0, None), "exact", backend)[0]

    return Limits(ranks_within(tree, squares, budget, lost), 0.0, None)


def tour(tree: TreeNetwork, root: str) -> Iterator[tuple[str, str, str, bool]]:
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


def _walk(tree: TreeNetwork, center: str) -> tuple[str, str, list[tuple[str, str, str, bool]]]:
    """A tour as :func:`tour` that begins where the first bond is cut: the node where it ends, that where it begins, its moves.

    It is from an end: from the middle of a chain its second half would be walked down before its bonds are cut, and in full.
    """
    down = tree.down(center)
    root = down[-1][0] if len(tree.links[center]) > 1 else center
    moves = list(tour(tree, root))
    # the walk starts at the first end that it comes to
    first = next((k for k, move in enumerate(moves) if move[3]), len(moves))
    return root, moves[first][0] if moves else root, moves[first:]


def rounded(
    tree: TreeNetwork, arrays: Mapping[str, Any], center: str, power: Any, bounds: Limits, method: str, backend: Backend
) -> Decomposition:
    """Bonds truncated on the way up of a tour; the tensor is that of the arrays times two to the power."""
    arrays, (root, start, moves) = dict(arrays), _walk(tree, center)
    power = gathered(tree, arrays, start, power, backend)
    error, cut, methods = _cut(tree, arrays, start, moves, bounds, method, backend)
    center_moved(tree, arrays, root, center, backend)
    return Decomposition(*placed(tree, arrays, center, power + cut, backend), error, methods)


def _cut(
    tree: TreeNetwork, arrays: dict[str, Any], start: str, moves: list[tuple[str, str, str, bool]], bounds: Limits,
    method: str, backend: Backend,
) -> tuple[float, Any, dict[str, str]]:  # fmt: skip
    """Truncate arrays in canonical form about ``start`` along moves.

    Truncated upwards only, a node's subtree is final when its bond is cut, so that all errors are orthogonal.

    Returns
    -------
    float, scalar, dict
        Relative error, the power of two that was taken out, bond -> what ran.
    """
    total = size = norm2(arrays[tree.array[start]], backend)
    lost, left, cut = 0.0, len(tree.links) - 1, 0.0
    if not total:
        bounds = Limits(dict.fromkeys(tree.bonds, 1), 0.0, None)
    methods = {}
    for here, to, bond, up in moves:
        if not up:
            push(tree, arrays, here, to, bond, backend)
            continue
        matrix, rows = unfold(tree, arrays, here, bond, backend)
        allowed = max(bounds.tol**2 * total - lost, 0.0) / left * 2.0 ** min(-2 * cut, 900)
        found = truncated(matrix, bounds.caps.get(bond), allowed, size, method, backend)
        left, lost, methods[bond] = left - 1, lost + found.lost * 2.0 ** max(2 * cut, -900), found.method
        if found.u is not None:
            fold(tree, arrays, here, bond, found.u, rows, backend)
            rest = adjoint(found.u, backend) @ matrix if found.rest is None else found.rest
            absorb(tree, arrays, to, bond, rest, backend)
            # many cuts leave less of the tensor than a dtype holds beside the whole
            arrays[tree.array[to]], more = unit(arrays[tree.array[to]], backend)
            cut, size = cut + more, norm2(arrays[tree.array[to]], backend) if more else size
        else:  # square, or wide: an orthonormal basis of all rows
            push(tree, arrays, here, to, bond, backend)
    return min(sqrt(lost / total), 1.0) if total else 0.0, cut, methods

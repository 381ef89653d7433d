"""Trees held as arrays: canonical forms, spectra and entropies of their bonds, rounding; the tensor itself is never formed."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from tnkit.core.decomposition import Decomposition, paired
from tnkit.core.network import Network
from tnkit.decompose.gauge import gathered, held, measured
from tnkit.decompose.ranks import Rank, limits
from tnkit.decompose.rounding import check_truncation, ranks_for_budget, rounded, spectra
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of

__all__ = ["bond_entropy", "bond_spectrum", "canonicalize", "round"]


@paired
def canonicalize(
    net: Network, arrays: Mapping[str, Any], center: str | None = None, *, backend: Backend | None = None
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
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        Bonds larger than what a node can use become smaller.

    Raises
    ------
    ValueError
        No tree (the reason, node and index are named), no node of this name.
    """
    backend = backend_of(backend, arrays)
    tree, arrays, center = held(net, arrays, center, "canonicalize", backend)
    gathered(tree, arrays, center, backend)
    return measured(net, arrays)


@paired
def bond_spectrum(net: Network, arrays: Mapping[str, Any], *, backend: Backend | None = None) -> dict[str, Any]:
    """Singular values of the tensor across each bond of a tree (Schmidt values, falling).

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays.
    backend
        The array library; by default that of the arrays.

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
    return spectra(net, arrays, "bond_spectrum", backend_of(backend, arrays))


@paired
def bond_entropy(
    net: Network, arrays: Mapping[str, Any], *, order: float = 1.0, backend: Backend | None = None
) -> dict[str, Any]:
    """Entanglement entropy across each bond of a tree, in nats.

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays; the tensor need not be normalised.
    order
        Of the Renyi entropy log(sum p^order) / (1 - order), with p the normalised squares of :func:`bond_spectrum`; 1 is von
        Neumann's, -sum p log p, and infinity -log max p.
    backend
        The array library; by default that of the arrays.

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
    backend = backend_of(backend, arrays)
    xp, found = backend.xp, {}
    for bond, s in bond_spectrum(net, arrays, backend=backend).items():
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


@paired
def round(
    net: Network,
    arrays: Mapping[str, Any],
    *,
    rank: Rank = None,
    tol: float = 0.0,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
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
        Most parameters: the ranks that give the least error found for that count.
    center
        Node that ends as the centre; one in the middle by default.
    method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.

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
    check_truncation(method, what)
    backend = backend_of(backend, arrays)
    tree, arrays, center = held(net, arrays, center, what, backend)
    bounds = limits(tree, rank, tol, budget, what)
    found = rounded(tree, arrays, center, bounds, method, backend)
    if bounds.budget is None:
        return found
    return rounded(tree, arrays, center, ranks_for_budget(found, bounds.budget, backend), method, backend)

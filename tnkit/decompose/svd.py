"""Decompositions of an array by singular values, along any tree: TT, TT-matrix, Tucker, hierarchical Tucker, low rank.

One sweep serves them all.  The ends of the tree are taken off one after another: the array is read as a matrix, the end's
indices against all others; its leading left singular vectors become the end's array, an isometry, and what is left is a
smaller array over the bond and the other indices (ST-HOSVD: Vannieuwenhoven, Vandebril and Meerbergen 2012; on a chain, in
this order, TT-SVD: Oseledets 2011).  The errors are orthogonal: their squares add up to the square of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.builders import chains, trees
from tnkit.core.network import Network
from tnkit.core.structure import Tree, as_tree
from tnkit.decompose.gauge import check_center, measured, moved
from tnkit.decompose.ranks import Limits, Rank, limits
from tnkit.decompose.result import Decomposition
from tnkit.decompose.rounding import check_method, within
from tnkit.decompose.truncate import Cut, cut, in_range
from tnkit.execution.arrays import adjoint, dtype_name, widened
from tnkit.execution.backend import Backend
from tnkit.execution.library import library
from tnkit.execution.numpy import NUMPY

__all__ = ["check_target", "low_rank_svd", "mpo_svd", "sweep", "tree_svd", "tt_svd"]


def tree_svd(
    x: Any,
    net: Network | None = None,
    *,
    rank: Rank = None,
    tol: float = 0.0,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Decompose an array along any tree-shaped network.

    Parameters
    ----------
    x
        Array of shape ``net.shape``, real or complex; integers are read as floating-point numbers.
    net
        A tree: multilinear, no tied or fixed arrays, no loops, traces or hyperedges.  ``tree(x.shape, ...)`` by default.
    rank
        Largest bond sizes: an int for all, a sequence in the network's order, or a mapping from bonds.  With neither rank nor
        tolerance nor budget, the sizes that ``net`` has (no bound without ``net``).
    tol
        Relative Frobenius error that the result keeps.
    budget
        Most numbers stored: the ranks that give the least error found for that count.
    center
        The node that holds the weight, all others being isometries; by default the last one left, where the sweep is cheap.
    method
        ``auto``, ``exact`` (never randomised), or ``gram``, ``svd``, ``randomised`` at every bond: see
        :mod:`tnkit.decompose.truncate`.  The randomised way is seeded: equal calls give equal results.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``net`` with the bonds found, its arrays; the exact relative error, and what ran at each bond.  Arrays are on the device of
        ``x``, in its dtype (half precision: float32), and differentiable in it where the library is.

    Raises
    ------
    TypeError, ValueError
        A network that is no tree (reason, node and index are named), a shape that disagrees, no entries or some that are not
        finite, ranks, a tolerance or a budget that cannot be.
    """
    x, backend = check_target(x, "tree_svd", backend)
    if net is None:
        net = trees.tree(tuple(x.shape), 1)
    elif rank is None and not tol and budget is None:
        rank = {b: net.sizes[b] for b in as_tree(net, "tree_svd").bonds}
    return sweep(x, net, rank, tol, budget, center, method, backend, "tree_svd")


def tt_svd(
    x: Any,
    *,
    rank: Rank = None,
    tol: float = 0.0,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Tensor train (Oseledets 2011).

    Parameters
    ----------
    x
        An array of at least one axis, real or complex.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.
    center
        The core that holds the weight, the last one by default.

    Returns
    -------
    Decomposition
        ``tnkit.tt(x.shape, rank=the bonds found)`` and its arrays; every core but the centre is an isometry towards it.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`.
    """
    x, backend = check_target(x, "tt_svd", backend)
    net = chains.tt(tuple(x.shape), 1)
    return sweep(x, net, rank, tol, budget, center or net.nodes[-1].name, method, backend, "tt_svd")


def mpo_svd(
    x: Any,
    out: Sequence[int],
    in_: Sequence[int],
    *,
    rank: Rank = None,
    tol: float = 0.0,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """TT-matrix of a matrix (Novikov et al. 2015), the same as a matrix product operator.

    Parameters
    ----------
    x
        Matrix (prod(out), prod(in_)), or any array of the shape (*out, *in_).
    out, in_
        Sizes of the row and of the column indices, equally many.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.
    center
        The core that holds the weight, the last one by default.

    Returns
    -------
    Decomposition
        ``tnkit.mpo(out, in_, rank=the bonds found)`` and its arrays.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`; a shape that is neither the matrix's nor the array's.
    """
    net = chains.mpo(out, in_, 1)
    x, backend = check_target(x, "mpo_svd", backend)
    if tuple(x.shape) not in ((prod(out), prod(in_)), net.shape):
        raise ValueError(
            f"mpo_svd: x has shape {tuple(x.shape)}, which is neither {(prod(out), prod(in_))} nor {net.shape}"
        )
    return sweep(
        backend.reshape(x, *net.shape), net, rank, tol, budget, center or net.nodes[-1].name, method, backend, "mpo_svd"
    )


def low_rank_svd(
    x: Any,
    *,
    rank: int | None = None,
    tol: float = 0.0,
    budget: int | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """A matrix as a product of two, by its leading singular values (Eckart and Young 1936).

    Parameters
    ----------
    x
        Matrix; further axes count as columns.
    rank, tol, budget, method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        ``tnkit.low_rank(x.shape, rank)``: ``left`` is an isometry.

    Raises
    ------
    TypeError, ValueError
        As :func:`tree_svd`; an array of fewer than two axes.
    """
    x, backend = check_target(x, "low_rank_svd", backend)
    return sweep(x, trees.low_rank(tuple(x.shape), 1), rank, tol, budget, "right", method, backend, "low_rank_svd")


def check_target(x: Any, what: str, backend: Backend | None) -> tuple[Any, Backend]:
    """An array to decompose, in floating point, and its library; lists are read by numpy.

    Raises
    ------
    TypeError
        No array of the library.
    ValueError
        A scalar, or no entries.
    """
    if isinstance(x, (list, tuple)) and backend in (None, NUMPY):
        x = np.asarray(x)
    backend = backend or library(x)
    if backend is None or not backend.holds(x):
        of = f" of {backend}" if backend else ""
        raise TypeError(f"{what}: x is a {type(x).__name__}, which is no array{of}; convert it")
    if len(x.shape) == 0:
        raise ValueError(f"{what}: x is a scalar; it has no axes to decompose")
    if prod(x.shape) == 0:
        raise ValueError(f"{what}: x of shape {tuple(x.shape)} has no entries")
    name = dtype_name(x)
    if not name.startswith(("float", "complex", "bfloat")):
        x = backend.cast(x, "float64")
    return widened(x, backend), backend


def sweep(
    x: Any,
    net: Network,
    rank: Rank,
    tol: float,
    budget: int | None,
    center: str | None,
    method: str,
    backend: Backend,
    what: str,
) -> Decomposition:
    """What all of these are, for a checked ``x``; ``what`` is the caller's name."""
    check_method(method, what)
    tree = as_tree(net, what)
    if tuple(x.shape) != net.shape:
        raise ValueError(f"{what}: x has shape {tuple(x.shape)}, the network {net.shape} (indices {net.output})")
    bounds = limits(tree, rank, tol, budget, what)
    if center is not None:
        check_center(tree, center, what)
    found = _swept(x, tree, bounds, center, method, backend, what)
    if bounds.budget is None:
        return found
    return _swept(x, tree, within(found, bounds.budget, backend), center, method, backend, what)


def _swept(
    x: Any, tree: Tree, bounds: Limits, center: str | None, method: str, backend: Backend, what: str
) -> Decomposition:
    state = _State(x, tree, bounds, method, backend, what)
    while len(state.near) > 1:
        state.take_off(state.cheapest())
    last = next(iter(state.near))
    state.close(last)
    if center is not None:
        moved(tree, state.arrays, last, center, backend)
    error = sqrt(state.lost / state.total) if state.total else 0.0
    found = Decomposition(*measured(tree.net, state.arrays), error, {b: state.methods[b] for b in tree.bonds})
    return found.scaled(tree.array[center or last], state.scale)


@dataclass
class _State:
    """What is left of the array while ends are taken off."""

    rest: Any
    tree: Tree
    bounds: Limits
    method: str
    backend: Backend
    what: str

    def __post_init__(self) -> None:
        self.legs = list(self.tree.net.output)
        self.near = {node: dict(links) for node, links in self.tree.links.items()}
        self.arrays: dict[str, Any] = {}
        self.methods: dict[str, str] = {}
        self.rest, self.total, self.scale = in_range(self.rest, self.what, self.backend)
        self.lost = 0.0
        if not self.total:
            self.bounds = Limits(dict.fromkeys(self.tree.bonds, 1), 0.0, None)

    def rows(self, node: str) -> list[str]:
        """The legs of the array that belong to a node."""
        return [i for i in self.legs if i in self.tree.inds[node]]

    def cheapest(self) -> str:
        """The end whose matrix has the smallest short side, and of those the one with the fewest rows."""
        sizes, whole = dict(zip(self.legs, self.rest.shape, strict=True)), prod(self.rest.shape)

        def side(node: str) -> tuple[int, int]:
            rows: int = prod(sizes[i] for i in self.rows(node))
            return min(rows, whole // rows), rows

        return min((node for node, near in self.near.items() if len(near) == 1), key=side)

    def take_off(self, node: str) -> None:
        """Cut an end's bond; its array becomes an isometry, the rest is multiplied by the adjoint of it."""
        ((other, bond),) = self.near.pop(node).items()
        del self.near[other][node]
        backend, rows = self.backend, self.rows(node)
        sizes = dict(zip(self.legs, self.rest.shape, strict=True))
        others = [i for i in self.legs if i not in rows]
        last = self.legs[len(others) :] == rows  # the rows are the last axes: nothing is permuted
        if not last and self.legs[: len(rows)] != rows:
            self.rest = backend.permute(self.rest, tuple(self.legs.index(i) for i in (*rows, *others)))
        height = prod(sizes[i] for i in rows)
        flat = backend.reshape(self.rest, *((-1, height) if last else (height, -1)))
        allowed = max(self.bounds.tol**2 * self.total - self.lost, 0.0) / len(self.near)
        found = cut(
            backend.swap(flat) if last else flat, self.bounds.caps.get(bond), allowed, self.total, self.method, backend
        )
        self.lost, self.methods[bond] = self.lost + found.lost, found.method
        u = backend.like(np.eye(height), flat) if found.u is None else found.u
        self._set(node, [*rows, bond], backend.reshape(u, *(sizes[i] for i in rows), u.shape[1]))
        rest = _rest(found, flat, last, backend)
        kept = [sizes[i] for i in others]
        self.rest = backend.reshape(rest, *((*kept, u.shape[1]) if last else (u.shape[1], *kept)))
        self.legs = [*others, bond] if last else [bond, *others]

    def close(self, node: str) -> None:
        """The last node takes what is left."""
        self._set(node, self.legs, self.rest)

    def _set(self, node: str, inds: Sequence[str], x: Any) -> None:
        order = tuple(inds.index(i) for i in self.tree.inds[node])
        self.arrays[self.tree.array[node]] = x if order == tuple(range(len(order))) else self.backend.permute(x, order)


def _rest(found: Cut, flat: Any, last: bool, backend: Backend) -> Any:
    """``u^H`` times the matrix, in the layout of ``flat``: the matrix, or its transpose where the rows came last."""
    if found.u is None:
        return flat
    if found.rest is not None:
        return backend.swap(found.rest) if last else found.rest
    return flat @ backend.swap(adjoint(found.u, backend)) if last else adjoint(found.u, backend) @ flat

"""One sweep of singular value decompositions along any tree.

The ends of the tree are taken off one after another: the array is read as a matrix, the end's
indices against all others; its leading left singular vectors become the end's array, an isometry, and what is left is a
smaller array over the bond and the other indices (ST-HOSVD: Vannieuwenhoven, Vandebril and Meerbergen 2012; on a chain, in
this order, TT-SVD: Oseledets 2011).  The errors are orthogonal: their squares add up to the square of the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, shown
from tnkit.core.decomposition import Decomposition
from tnkit.core.network import Network
from tnkit.core.structure import TreeNetwork, as_tree
from tnkit.decompose.gauge import center_moved, check_center, measured
from tnkit.decompose.ranks import Limits, Rank, limits
from tnkit.decompose.rounding import check_truncation, ranks_for_budget
from tnkit.decompose.truncate import Truncation, safely_scaled, truncated
from tnkit.execution.arrays import DTYPES, LINEAR, adjoint, dtype_name, floating, widened
from tnkit.execution.backend import Backend
from tnkit.execution.library import library, plain
from tnkit.execution.numpy import NUMPY

__all__ = ["check_target", "sweep"]


def check_target(x: Any, what: str, backend: Backend | None, axes: int = 1) -> tuple[Any, Backend]:
    """An array of so many axes at least to decompose, in floating point, and its library; lists are read by numpy.

    Raises
    ------
    TypeError
        No array of the library, entries that are no numbers or masked, values that cannot be read.
    ValueError
        A scalar, too few axes, or no entries.
    """
    if backend is not None and not isinstance(backend, Backend):
        raise TypeError(
            f"{what}: backend is an array library as a tnkit.Backend, tk.NUMPY for example, not {shown(backend)}"
        )
    if isinstance(x, (set, frozenset, str, bytes, bytearray, Mapping)) or x is None:
        raise TypeError(f"{what}: x is an array, not {shown(x)}")
    if isinstance(x, (list, tuple)) and backend in (None, NUMPY):
        backend = NUMPY
    backend = backend or library(x)
    if backend is None or not (backend.holds(x) or (backend is NUMPY and isinstance(x, (list, tuple)))):
        of = f" of {backend}" if backend else ""
        raise TypeError(f"{what}: x is a {type(x).__name__}, which is no array{of}; convert it")
    if reason := backend.unread(x):
        raise TypeError(f"{what}: x {reason}")
    x = floating({"x": x}, backend)["x"]  # torch multiplies no bools
    try:
        x = plain("x", x, backend)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    if len(x.shape) == 0:
        raise ValueError(f"{what}: x is a scalar; it has no axes to decompose")
    if len(x.shape) < axes:
        raise ValueError(f"{what}: x has at least {axes} axes, not {len(x.shape)} (shape {tuple(x.shape)})")
    if prod(x.shape) == 0:
        raise ValueError(f"{what}: x of shape {tuple(x.shape)} has no entries")
    if dtype_name(x) not in DTYPES:
        raise TypeError(
            f"{what}: x has dtype {dtype_name(x)}; there is linear algebra of {', '.join(sorted(LINEAR))}; convert it"
        )
    return widened(x, backend), backend


def sweep(
    x: Any,
    net: Network,
    rank: Rank,
    tol: float | None,
    budget: int | None,
    center: str | None,
    method: str,
    backend: Backend,
    what: str,
) -> Decomposition:
    """What all of these are, for a checked ``x``; ``what`` is the caller's name."""
    check_truncation(method, what)
    tree = as_tree(a_network(net, what), what)
    if tuple(x.shape) != net.shape:
        raise ValueError(f"{what}: x has shape {tuple(x.shape)}, the network {net.shape} (indices {net.output})")
    bounds = limits(tree, rank, tol, budget, what)
    if center is not None:
        check_center(tree, center, what)
    found = _swept(x, tree, bounds, center, method, backend, what)
    if bounds.budget is None:
        return found
    return _swept(x, tree, ranks_for_budget(found, bounds.budget, backend), center, method, backend, what)


def _swept(
    x: Any, tree: TreeNetwork, bounds: Limits, center: str | None, method: str, backend: Backend, what: str
) -> Decomposition:
    state = _State(x, tree, bounds, method, backend, what)
    while len(state.near) > 1:
        state.take_off(state.cheapest())
    last = next(iter(state.near))
    state.close(last)
    if center is not None:
        center_moved(tree, state.arrays, last, center, backend)
    error = sqrt(state.lost / state.total) if state.total else 0.0
    found = Decomposition(*measured(tree.net, state.arrays), error, {b: state.methods[b] for b in tree.bonds})
    return found.scaled(tree.array[center or last], state.scale)


@dataclass
class _State:
    """What is left of the array while ends are taken off."""

    rest: Any
    tree: TreeNetwork
    bounds: Limits
    method: str
    backend: Backend
    what: str

    def __post_init__(self) -> None:
        self.legs = list(self.tree.net.output)
        self.near = {node: dict(links) for node, links in self.tree.links.items()}
        self.arrays: dict[str, Any] = {}
        self.methods: dict[str, str] = {}
        self.rest, self.total, self.scale = safely_scaled(self.rest, self.what, self.backend)
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
        found = truncated(
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


def _rest(found: Truncation, flat: Any, last: bool, backend: Backend) -> Any:
    """``u^H`` times the matrix, in the layout of ``flat``: the matrix, or its transpose where the rows came last."""
    if found.u is None:
        return flat
    if found.rest is not None:
        return backend.swap(found.rest) if last else found.rest
    return flat @ backend.swap(adjoint(found.u, backend)) if last else adjoint(found.u, backend) @ flat

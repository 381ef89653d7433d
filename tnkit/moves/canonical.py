"""Trees held as arrays: canonical forms, spectra and entropies of their bonds, rounding; the tensor itself is never formed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from math import inf, isfinite, nan
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, flag
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.numbers import real_number
from tnkit.core.pairing import paired
from tnkit.decompose.gauge import check_finite, gathered, held, measured
from tnkit.decompose.ranks import Rank, limits
from tnkit.decompose.rounding import check_truncation, ranks_for_budget, rounded, spectra
from tnkit.execution.arrays import dtype_name
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of
from tnkit.execution.powers import decimal, fits, seen, times
from tnkit.moves.local_tree import center_moved_along
from tnkit.moves.reshaping import fuse, parallel
from tnkit.moves.touched import leaf

__all__ = ["bond_entropy", "bond_spectrum", "canonicalize", "round"]


@paired
def canonicalize(
    net: Network,
    arrays: Mapping[str, Any],
    center: str | None = None,
    *,
    start: str | None = None,
    strip_exponent: bool = False,
    backend: Backend | None = None,
) -> Any:
    """Canonical form about a node: the same tensor, every other node an isometry towards it.

    >>> net = tk.tt((2, 3, 2), 2)
    >>> arrays = tk.init.normal(net)
    >>> form, moved = tk.canonicalize(net, arrays, "core_2")
    >>> np.allclose(np.linalg.norm(moved["core_2"]), tk.norm(net, arrays))  # the centre has the norm
    True
    >>> q = moved["core_1"].reshape(-1, form.sizes["b2"])
    >>> np.allclose(q.T @ q, np.eye(2))
    True
    >>> form, again = tk.canonicalize(form, moved, "core_1", start="core_2")  # these two nodes alone
    >>> again["core_0"] is moved["core_0"]
    True

    Parameters
    ----------
    net
        A tree-shaped network.
    arrays
        Its arrays.
    center
        Name of the node that holds the weight; one in the middle by default.
    start
        A node about which the network is in canonical form already, which is not checked: only the nodes between the two are
        touched, and all other arrays stay the same objects.
    strip_exponent
        Return the scale apart: the tensor is that of the arrays times ``10**exponent``, and entries of the centre's array are of
        size about 1.  So is the form of a tensor whose norm is no number of the dtype.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        Bonds larger than what a node can use become smaller.  With ``strip_exponent`` the exponent follows: a float for numpy,
        a 0-d array for others.

    Raises
    ------
    KeyError, TypeError, ValueError
        No network, an array that is missing or does not fit; no tree (the reason, node and index are named), no node of this name, an array with entries that are not finite; without
        ``strip_exponent`` a norm beyond the range of the dtype.
    """
    what, strip = "canonicalize", flag(strip_exponent, "canonicalize: strip_exponent")
    if start is not None:
        return _from_start(net, arrays, center, start, strip, backend)
    backend = backend_of(backend, arrays)
    tree, held_arrays, center, power = held(net, arrays, center, what, backend)
    check_finite(arrays, power, what, backend)
    power, holder = gathered(tree, held_arrays, center, power, backend), tree.array[center]
    if strip:
        held_arrays[holder], exponent = decimal(held_arrays[holder], power, backend)
        return *measured(net, held_arrays), exponent
    if not fits(held_arrays[holder], power, backend):
        raise _out_of_range(what, held_arrays[holder], power, backend)
    held_arrays[holder] = times(held_arrays[holder], power, backend)
    return measured(net, held_arrays)


def _from_start(
    net: Network, arrays: Mapping[str, Any], center: str | None, start: str, strip: bool, backend: Backend | None
) -> Any:
    what = "canonicalize"
    leaf(a_network(net, what), start, "canonicalize: start")
    if center is None:
        raise ValueError(
            "canonicalize: start is where the weight is; center says where it goes, and has to be given too"
        )
    leaf(net, center, "canonicalize: center")
    if strip:
        raise ValueError(
            "canonicalize: strip_exponent is for start=None; a moved centre has the size of the one before"
        )
    return center_moved_along(net, arrays, start, (center,), what, backend)


def _out_of_range(what: str, x: Any, power: Any, backend: Backend) -> ValueError:
    size, exponent = decimal(backend.norm(backend.constant(x)), power, backend)
    return ValueError(
        f"{what}: the tensor's norm, {float(size):.3g} * 10**{float(exponent):.0f}, is beyond the range of {dtype_name(x)}; "
        "strip_exponent=True returns the scale apart"
    )


@paired
def bond_spectrum(
    net: Network, arrays: Mapping[str, Any], *, strip_exponent: bool = False, backend: Backend | None = None
) -> Any:
    """Singular values of the tensor across each bond of a tree (Schmidt values, falling).

    >>> x = np.diag([3.0, 2.0, 1.0])
    >>> tk.bond_spectrum(tk.tt_svd(x))["b1"].round(6)
    array([3., 2., 1.])

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays.
    strip_exponent
        Return the scale apart: the values are those of the dict times ``10**exponent``, one exponent for all bonds.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    dict
        Bond -> array of at most its size: the singular values of the tensor read as a matrix, one side of the bond against
        the other.  The squares of each sum to the square of the tensor's norm.  With ``strip_exponent`` a pair, with the exponent.

    Raises
    ------
    KeyError, TypeError, ValueError
        No network, an array that is missing or does not fit; no tree; entries that are not finite; without ``strip_exponent`` values beyond the range of the dtype.
    """
    what, strip = "bond_spectrum", flag(strip_exponent, "bond_spectrum: strip_exponent")
    backend = backend_of(backend, arrays)
    found, power = spectra(net, arrays, what, backend)
    check_finite(arrays, power, what, backend)
    if strip:
        return _decimal_of_all(found, power, backend)
    for bond, s in found.items():
        if not fits(s, power, backend):
            raise _out_of_range(what, s, power, backend)
        found[bond] = times(s, power, backend)
    return found


def _decimal_of_all(found: dict[str, Any], power: Any, backend: Backend) -> tuple[dict[str, Any], Any]:
    """Arrays times two to a power as what is multiplied by ten to one exponent."""
    if not found:
        return {}, 0.0
    sizes = [int(s.shape[0]) for s in found.values()]
    every, exponent = decimal(backend.concat(list(found.values()), 0), power, backend)
    ends = list(accumulate(sizes))
    return {b: every[end - n : end] for b, n, end in zip(found, sizes, ends, strict=True)}, exponent


@paired
def bond_entropy(
    net: Network, arrays: Mapping[str, Any], *, order: float = 1.0, backend: Backend | None = None
) -> dict[str, Any]:
    """Entanglement entropy across each bond of a tree, in nats.

    >>> bell = tk.tt_svd(np.eye(2) / np.sqrt(2))
    >>> round(float(tk.bond_entropy(bell)["b1"] / np.log(2)), 6)  # one bit
    1.0

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays; the tensor need not be normalised, and its norm may be no number of the dtype.
    order
        Of the Renyi entropy log(sum p^order) / (1 - order), with p the normalised squares of :func:`bond_spectrum`; 1 is von
        Neumann's, -sum p log p, and infinity -log max p.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    dict
        Bond -> scalar; 0 for a product across it and for a tensor of zeros, at most log(size of the bond), never negative.  NaN
        for all where an array has entries that are not finite.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`bond_spectrum`; an order that is not positive.
    """
    order = _checked_order(order)
    backend = backend_of(backend, arrays)
    found, power = spectra(net, arrays, "bond_entropy", backend)
    undefined = not isfinite(seen(power, backend) or 0.0)  # an entry is not finite
    entropies = {bond: _entropy(s, order, backend) for bond, s in found.items()}
    return {b: (h * nan if undefined else h)[()] for b, h in entropies.items()}


def _checked_order(order: Any) -> float:
    if isinstance(order, (int, float, np.number)) and not isinstance(order, bool) and order == inf:
        return inf
    return real_number(order, "bond_entropy: order")


def _entropy(s: Any, order: float, backend: Backend) -> Any:
    """Of singular values of any scale."""
    xp = backend.xp
    some = s > 0  # a value of zero counts nothing, and has no gradient
    size = backend.norm(s)
    logs = 2 * xp.log(xp.where(some, s, xp.ones_like(s)) / xp.where(size > 0, size, xp.ones_like(size)))
    zeros = xp.zeros_like(s)
    p = xp.where(some, xp.exp(logs), zeros)
    top = xp.max(xp.where(some, logs, -inf * xp.ones_like(s)))
    if order == 1:
        found = -xp.sum(p * xp.where(some, logs, zeros))
    elif order == inf:
        found = -top
    elif abs(order - 1) < 0.1:  # sum p = 1, so nothing cancels near Neumann's
        found = -xp.log1p(xp.sum(p * xp.expm1((order - 1) * xp.where(some, logs, zeros)))) / (order - 1)
    else:
        powers = xp.where(
            some, xp.exp(order * (xp.where(some, logs, zeros) - top)), zeros
        )  # of the largest 1: none overflows
        found = (order * top + xp.log(xp.sum(powers))) / (1 - order)
    return xp.where((found > 0) & (size > 0), found, xp.zeros_like(found))


@keywords_of(max_bond="rank")
@paired
def round(
    net: Network,
    arrays: Mapping[str, Any],
    *,
    rank: Rank = None,
    tol: float | None = None,
    budget: int | None = None,
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Recompress a tree held as arrays (Oseledets 2011, algorithm 2, on any tree; Grasedyck 2010).

    >>> x = np.diag([3.0, 2.0, 0.1])
    >>> state = tk.tt_svd(x)
    >>> cut = tk.round(state, rank=2)
    >>> cut.network.sizes["b1"], np.allclose(cut.error, 0.1 / np.linalg.norm(x))
    (2, True)
    >>> tk.round(state, tol=0.1).network.sizes["b1"]
    2

    Every bond is truncated by the singular values of the whole tensor across it, from the ends on; the errors are orthogonal,
    so that the error reported is exact.

    Parameters
    ----------
    net, arrays
        A tree-shaped network and its arrays.  Bonds that join the same two nodes are fused first, as by :func:`fuse`.
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
        The network with the bonds found, arrays in canonical form about the centre.  Where the norm is no number of the dtype,
        all arrays share it, the others being isometries times a number.

    Raises
    ------
    KeyError, TypeError, ValueError
        No array of a node; no tree, no such node or method, ranks, tolerance or budget that cannot be, an array with entries that are not finite.
    """
    what = "round"
    check_truncation(method, what)
    backend = backend_of(backend, arrays)
    if parallel(a_network(net, what)):
        net, arrays = fuse(net, arrays, backend=backend)
    tree, units, center, power = held(net, arrays, center, what, backend)
    check_finite(arrays, power, what, backend)
    bounds = limits(tree, rank, tol, budget, what)
    found = rounded(tree, units, center, power, bounds, method, backend)
    if bounds.budget is None:
        return found
    return rounded(tree, units, center, power, ranks_for_budget(found, bounds.budget, backend), method, backend)

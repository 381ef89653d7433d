"""Operators applied, and tensors multiplied entry by entry: networks for networks, the bonds cut on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite, log10, sqrt
from typing import Any

from tnkit.algebra.acting import Meeting, joined, meeting
from tnkit.algebra.fitted_pair import improved
from tnkit.algebra.matching import matched
from tnkit.algebra.pairs import Legs, Pair, compressed_product, in_double, one_shape, product, squared_norm
from tnkit.core.checks import a_mapping, one_of
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired
from tnkit.core.structure import TreeNetwork, as_tree
from tnkit.decompose.gauge import check_finite, held, placed
from tnkit.decompose.ranks import Limits, Rank, check_tol, limits
from tnkit.decompose.rounding import rounded
from tnkit.execution.arrays import dtype_name, floating, is_single, one_dtype
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.powers import entry_size, seen

__all__ = ["NoPairError", "apply", "meeting_pair", "multiply"]

Arrays = Mapping[str, Any]

#: How a product is compressed.
_METHODS = ("svd", "zipup", "fit")
#: Relative errors that eigenvalues of density matrices in double precision tell from rounding.
_TOLD = 1e-6
#: Bonds of the product up to which it is formed.
_FORMED = 12


@keywords_of(max_bond="rank")
@paired
def apply(
    op: Network, op_arrays: Arrays, net: Network, arrays: Arrays, *,
    rank: Rank = None, tol: float | None = None, method: str = "svd", sweeps: int = 10, backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """An operator on a state, or on an operator, with bonds cut by rank or tolerance.

    >>> Z, X = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> ising = tk.operator([(-1, {k: Z, k + 1: Z}) for k in range(7)] + [(-1, {k: X}) for k in range(8)], (2,) * 8)
    >>> state = tk.mps((2,) * 8, 4)
    >>> arrays = tk.init.normal(state)
    >>> exact = tk.apply(*ising, state, arrays)  # bonds multiply: 3 x 4
    >>> cut = tk.apply(*ising, state, arrays, rank=6)
    >>> max(exact.network.sizes.values()), max(cut.network.sizes.values())
    (12, 6)
    >>> lost = float(tk.distance(exact, cut) / tk.norm(exact))
    >>> exact.error < 1e-12, abs(lost - cut.error) < 1e-6
    (True, True)

    Parameters
    ----------
    op, op_arrays
        An operator and its arrays: its output is (out..., in...), half and half, as of :func:`operator` and :func:`mpo`.
    net, arrays
        A state with as many open indices as the operator has in, or an operator, whose out indices meet it.  They meet by name
        where all names are the same, else by position.
    rank, tol
        Largest bond sizes, and the relative error that the result keeps, as for :func:`round`.  With neither nothing is cut.
    method
        ``"svd"``: each bond is cut by its singular values in the whole product.  ``"zipup"``: by those in the network alone, without
        the operator beyond the bond; cheapest for large bonds.  ``"fit"``: what ``"svd"`` gives, improved node by node.
    sweeps
        Most sweeps of ``"fit"``.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        With the nodes, the open indices and their order of ``net``; open sizes are the operator's out.  ``error`` is relative to the
        norm of the exact product.  It is the true one (of ``"zipup"`` below 1e-6 what its cuts took for it).
        Where nothing is cut any two networks are taken; if they are no trees of one shape, the operator's nodes stand beside the others.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; indices that do not meet; to be cut, networks that are no trees, or trees that part the
        sites otherwise; arrays with entries that are not finite.
    """
    what = "apply"
    met = meeting(op, net, what)
    backend = backend_of(backend, a_mapping(op_arrays, what, "op_arrays"), a_mapping(arrays, what))
    one_of(method, f"{what}: method", _METHODS)
    sweeps = whole_number(sweeps, f"{what}: sweeps", 1)
    tol = check_tol(tol, what)
    exact = rank is None and not tol
    try:
        pair = meeting_pair(op, op_arrays, net, arrays, met, backend, what)
    except NoPairError as reason:
        if not exact:
            raise ValueError(f"{what}: to cut bonds, two trees of one shape are needed: {reason}") from None
        left = check_arrays(op, floating(op_arrays, backend), backend)
        right = check_arrays(net, floating(arrays, backend), backend)
        return Decomposition(*joined(op, left, net, right, met, backend), 0.0)
    return _made(pair, rank, tol, exact, method, sweeps, what)


@keywords_of(max_bond="rank")
@paired
def multiply(
    a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *,
    rank: Rank = None, tol: float | None = None, method: str = "svd", sweeps: int = 10, backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """The entrywise product of two trees of one shape, with bonds cut by rank or tolerance.

    >>> x = np.arange(8.0).reshape(2, 2, 2)
    >>> net, arrays = tk.tt_svd(x)
    >>> square = tk.multiply(net, arrays, net, arrays, tol=1e-6)
    >>> np.allclose(tk.contract(square), x**2)
    True

    Parameters
    ----------
    a, b
        Trees whose bonds part the open indices alike, chains for example; these are matched as for :func:`inner`: by name where
        the names are the same, by position where none is.
    a_arrays, b_arrays
        Their arrays.
    rank, tol, method, sweeps
        As for :func:`apply`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        With the nodes and the output of ``a``; ``error`` as for :func:`apply`, relative to the norm of the exact product.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; networks that are no trees, or trees that part the indices otherwise; to be cut, arrays with
        entries that are not finite.
    """
    what = "multiply"
    b = matched(a, b, what)
    backend = backend_of(backend, a_mapping(a_arrays, what, "a_arrays"), a_mapping(b_arrays, what, "b_arrays"))
    one_of(method, f"{what}: method", _METHODS)
    sweeps = whole_number(sweeps, f"{what}: sweeps", 1)
    tol = check_tol(tol, what)
    exact = rank is None and not tol
    same = dict(zip(b.output, a.output, strict=True))
    sites = {i: k for k, i in enumerate(a.output)}, {j: k for k, j in enumerate(b.output)}
    sizes = {i: a.sizes[i] for i in a.output}
    try:
        pair = _pair((b, b_arrays, sites[1], same), (a, a_arrays, sites[0], {}), sizes, backend, what)
    except NoPairError as reason:
        raise ValueError(f"{what}: two trees of one shape are needed: {reason}") from None
    return _made(pair, rank, tol, exact, method, sweeps, what)


# -- the pair -----------------------------------------------------------------------------------------------------------
class NoPairError(Exception):
    """Two networks that are no trees of one shape; the reason is its text."""


def meeting_pair(
    op: Network, op_arrays: Arrays, net: Network, arrays: Arrays, met: Meeting, backend: Backend, what: str
) -> Pair:
    """An operator and what it acts on, both trees of one shape; NoPairError for others."""
    places = {j: k for k, j in enumerate(met.ins)}
    sites = {i: places[j] for of in (met.ins, met.outs) for j, i in of.items()}
    for j in met.ins:
        ends = {n.name for n in op.nodes for i in n.inds if i in (met.ins[j], met.outs[j])}
        if len(ends) > 1:
            raise NoPairError(f"indices {met.outs[j]!r} out and {met.ins[j]!r} in are on two nodes")
    names: dict[str, Any] = {i: (0, j) for j, i in met.ins.items()} | {o: j for j, o in met.outs.items()}
    sizes = {j: op.sizes[met.outs[j]] if j in met.outs else net.sizes[j] for j in net.output}
    return _pair(
        (op, op_arrays, sites, names), (net, arrays, places, {j: (0, j) for j in met.ins}), sizes, backend, what
    )


def _pair(
    first: tuple[Network, Arrays, Mapping[str, int], Mapping[str, Any]],
    second: tuple[Network, Arrays, Mapping[str, int], Mapping[str, Any]],
    sizes: Mapping[str, int], backend: Backend, what: str,
) -> Pair:  # fmt: skip
    """Two trees; of each the network, its arrays, the site of an open index, and the leg that stands for it."""
    trees, arrays, powers, sites = [], [], [], []
    for net, given, place, _ in (first, second):
        full = check_arrays(net, floating(given, backend), backend)
        tree, own, power = _held(net, full, backend, what)
        trees.append(tree)
        arrays.append(own)
        powers.append(power)
        sites.append({n: tuple(sorted({place[i] for i in inds if i in place})) for n, inds in tree.inds.items()})
    same = one_shape(trees[0], sites[0], trees[1], sites[1])
    if isinstance(same, str):
        raise NoPairError(same)
    bonds = {
        trees[0].links[same[n]][same[other]]: bond for n, near in trees[1].links.items() for other, bond in near.items()
    }
    both = one_dtype({f"{k} {n}": x for k, of in enumerate(arrays) for n, x in of.items()}, backend)
    legs, held_arrays = {}, {}
    for n, inds in trees[1].inds.items():
        one: Legs = tuple((1, bonds[i]) if i in bonds else first[3].get(i, i) for i in trees[0].inds[same[n]])
        two: Legs = tuple(second[3].get(i, i) if i in second[0].output else (2, i) for i in inds)
        legs[n] = one, two
        held_arrays[n] = both[f"0 {trees[0].array[same[n]]}"], both[f"1 {trees[1].array[n]}"]
    return Pair(trees[1], legs, held_arrays, sizes, powers[0] + powers[1], backend, powers[0])


def _held(net: Network, full: Arrays, backend: Backend, what: str) -> tuple[TreeNetwork, dict[str, Any], Any]:
    """A network as a tree, each node with an array of its own."""
    nodes = [n for n in net.nodes if isinstance(n, Node)]
    if len(nodes) < len(net.nodes):
        name = next(n.name for n in net.nodes if not isinstance(n, Node))
        raise NoPairError(f"node {name!r} is an Elementwise (nonlinear)")
    if any(n.fixed for n in nodes) or len({n.array for n in nodes}) < len(nodes):
        net, full = (
            replace(net, nodes=tuple(Node(n.name, n.inds) for n in nodes)),
            {n.name: full[n.array] for n in nodes},
        )
    try:
        as_tree(net, what)
    except ValueError as reason:
        raise NoPairError(str(reason).removeprefix(f"{what}: ")) from None
    tree, arrays, _, power = held(net, full, None, what, backend)
    if not isfinite(seen(power, backend) or 0.0):
        check_finite(full, power, what, backend)
    return tree, arrays, power


# -- the product ----------------------------------------------------------------------------------------------------------
def _made(pair: Pair, rank: Rank, tol: float, exact: bool, method: str, sweeps: int, what: str) -> Decomposition:
    """The product, cut where that is asked for."""
    tree, backend = pair.tree, pair.backend
    bounds = limits(tree, rank, tol, None, what)
    if exact or not tree.bonds:
        made, arrays = product(pair)
        return _in_range(Decomposition(*placed(made, arrays, tree.middle(), pair.power, backend), 0.0), pair, what)
    tracked = any(backend.tracked(x) for both in pair.arrays.values() for x in both)
    seen_through = not tracked and not any(backend.unseen(both) for both in pair.arrays.values())
    if seen_through and method == "zipup":
        return _zipped(pair, bounds, what)
    found = None
    if seen_through and (max(_bonds(pair)) > _FORMED or method == "fit") and (rank is not None or tol >= _TOLD):
        found = _by_density(pair, bounds, what)
    if found is None or (found.error < _TOLD and tol < _TOLD):
        made, arrays = product(pair)
        return _in_range(rounded(made, arrays, tree.middle(), pair.power, bounds, "auto", backend), pair, what)
    return improved(pair, found, _end(tree), sweeps) if method == "fit" else found


def _in_range(found: Decomposition, pair: Pair, what: str) -> Decomposition:
    """A result whose arrays hold its norm; ValueError where that is beyond what they hold together."""
    backend = pair.backend
    for x in found.arrays.values():
        size = entry_size(x, backend)
        if size is not None and not (isfinite(size) and size):
            scale = _decimals(pair)
            if scale is not None:
                raise ValueError(
                    f"{what}: the norm of the product, about 1e{scale:+.0f}, is beyond what {len(found.arrays)} arrays of "
                    f"{dtype_name(x)} hold; scale the arrays given, or convert them"
                )
    return found


def _decimals(pair: Pair) -> float | None:
    """Decimal logarithm of the norm of the product; None where it is 0, or hidden."""
    square, power = squared_norm(pair)
    size, known = seen(square, pair.backend), seen(power, pair.backend)
    return (log10(size) + known * log10(2)) / 2 if size and known is not None else None


def _bonds(pair: Pair) -> list[int]:
    """Sizes of the pairs of bonds."""
    sizes = {i: n for n in pair.legs for x, legs in pair.parts(n) for i, n in zip(legs, x.shape, strict=True)}
    return [sizes[1, b] * sizes[2, b] for b in pair.tree.bonds]


def _end(tree: TreeNetwork) -> str:
    """A node at an end."""
    way = tree.down(tree.middle())
    return way[-1][0] if way else tree.middle()


def _by_density(pair: Pair, bounds: Limits, what: str) -> Decomposition:
    """By density matrices, in double precision."""
    backend, root = pair.backend, _end(pair.tree)
    some = next(iter(pair.arrays.values()))[0]
    tree, arrays, power, error = compressed_product(in_double(pair), root, bounds, True)
    if is_single(some):
        arrays = {n: backend.cast(x, dtype_name(some)) for n, x in arrays.items()}
    made = placed(tree, arrays, root, power, backend)
    return _in_range(Decomposition(*made, error, dict.fromkeys(tree.bonds, "density")), pair, what)


def _zipped(pair: Pair, bounds: Limits, what: str) -> Decomposition:
    """By zip-up at half as much again of the rank, then rounded; the centre is set to what is best for it, which tells the error."""
    backend, root = pair.backend, _end(pair.tree)
    wide = Limits({b: r + (r + 1) // 2 for b, r in bounds.caps.items()}, bounds.tol / 2, None)
    tree, arrays, power, error = compressed_product(pair, root, wide, False)
    left = sqrt(max(bounds.tol**2 - error**2, 0.0))
    found = rounded(tree, arrays, root, power, Limits(bounds.caps, left, None), "auto", backend)
    error = sqrt(min(error**2 + (1 - error**2) * found.error**2, 1.0))
    best = improved(pair, found, root, 0)
    if best.error > _TOLD:  # below it the cuts say more
        found, error = best, best.error
    found = Decomposition(found.network, found.arrays, error, dict.fromkeys(tree.bonds, "zipup"))
    return _in_range(found, pair, what)

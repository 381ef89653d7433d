"""Two trees of one shape multiplied node by node: an operator and what it acts on, or two tensors entry by entry.

The product has a pair of bonds where each of the two has one.  It is formed (:func:`product`), or compressed while it is formed
(:func:`compressed_product`): from the ends to a root each node becomes an isometry, what is left going to the next; which states of a pair
of bonds count is weighed by what lies beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import expm1, log1p, prod, sqrt
from typing import Any

import numpy as np

from tnkit.core.structure import TreeNetwork, as_tree, resized
from tnkit.decompose.gauge import measured
from tnkit.decompose.ranks import Limits
from tnkit.decompose.truncate import orthonormal, truncated
from tnkit.execution.arrays import adjoint, conj, double_name, is_single, real
from tnkit.execution.backend import Backend
from tnkit.execution.local import contracted
from tnkit.execution.powers import Power, unit

__all__ = ["Pair", "between", "compressed_product", "in_double", "one_shape", "product", "squared_norm"]

Leg = Hashable
Legs = tuple[Leg, ...]
Held = tuple[Any, Power]


@dataclass(frozen=True)
class Pair:
    """Two trees of one shape, and how their nodes meet.

    Attributes
    ----------
    tree
        The second one: the product has its nodes, bonds and open indices.
    legs
        Node -> legs of the first one's array there, and of the second's: an open index of the product by its name, bond b as
        ``(1, b)`` and ``(2, b)``, what is summed as ``(0, index)``.
    arrays
        Node -> both arrays, of size about 1.
    sizes
        Of the open indices of the product.
    power
        The tensor is that of the arrays times two to this power.
    backend
        The array library.
    above
        What of the power is the first one's.
    """

    tree: TreeNetwork
    legs: Mapping[str, tuple[Legs, Legs]]
    arrays: Mapping[str, tuple[Any, Any]]
    sizes: Mapping[str, int]
    power: Power
    backend: Backend
    above: Power = 0.0

    def parts(self, node: str, mark: str = "") -> list[tuple[Any, Legs]]:
        """Both arrays of a node with their legs; with a mark conjugated, all legs apart from the unmarked but the open ones."""
        pairs = zip(self.arrays[node], self.legs[node], strict=True)
        if not mark:
            return list(pairs)
        return [
            (conj(x, self.backend), tuple(i if isinstance(i, str) else (mark, i) for i in legs)) for x, legs in pairs
        ]

    def open(self, node: str) -> Legs:
        """The open indices of the product at a node."""
        kept = set(self.tree.net.output)
        return tuple(i for i in self.tree.inds[node] if i in kept)


def in_double(pair: Pair) -> Pair:
    """The pair with its arrays in double precision."""
    if not is_single(next(iter(pair.arrays.values()))[0]):
        return pair
    cast = pair.backend.cast
    wide = {n: (cast(x, double_name(x)), cast(y, double_name(y))) for n, (x, y) in pair.arrays.items()}
    return replace(pair, arrays=wide)


def one_shape(
    a: TreeNetwork, a_sites: Mapping[str, tuple[int, ...]], b: TreeNetwork, b_sites: Mapping[str, tuple[int, ...]]
) -> dict[str, str] | str:
    """Node of ``b`` -> the node of ``a`` with the same sites, such that bonds agree; or what differs, as a text."""
    if not any(a_sites.values()):
        return "no index is open, which would say which node stands beside which"
    starts = [next((n for n, sites in of.items() if 0 in sites), "") for of in (a_sites, b_sites)]
    least = [_least_sites(t, s, start) for t, s, start in zip((a, b), (a_sites, b_sites), starts, strict=True)]
    found, todo = {}, [(starts[0], "", starts[1], "")]
    while todo:
        here, before, there, above = todo.pop()
        if sorted(a_sites[here]) != sorted(b_sites[there]):
            return f"node {here!r} has sites {a_sites[here]}, node {there!r} {b_sites[there]}"
        found[there] = here
        mine = {least[0][n]: n for n in a.links[here] if n != before}
        theirs = {least[1][n]: n for n in b.links[there] if n != above}
        if mine.keys() != theirs.keys() or None in mine or len(a.links[here]) != len(b.links[there]):
            return f"the bonds of node {here!r} and those of node {there!r} part the sites otherwise"
        todo += [(n, here, theirs[k], there) for k, n in mine.items()]
    return found


def _least_sites(tree: TreeNetwork, sites: Mapping[str, tuple[int, ...]], start: str) -> dict[str, int | None]:
    """Node -> the first site behind it, seen from the start; None where there is none."""
    least: dict[str, int | None] = {n: min(s, default=None) for n, s in sites.items()}
    for node, parent, _ in reversed(tree.down(start)):
        here, there = least[node], least[parent]
        if here is not None and (there is None or here < there):
            least[parent] = here
    return least


def product(pair: Pair) -> tuple[TreeNetwork, dict[str, Any]]:
    """The product as a tree held as arrays, its bonds the products of the bonds; the power is the pair's."""
    tree, arrays, backend = pair.tree, {}, pair.backend
    for node, inds in tree.inds.items():
        kept = [leg for i in inds for leg in ((i,) if i in pair.sizes else ((1, i), (2, i)))]
        x = contracted(pair.parts(node), kept, backend)
        sizes = dict(zip(kept, x.shape, strict=True))
        shape = [sizes[i] if i in pair.sizes else sizes[1, i] * sizes[2, i] for i in inds]
        arrays[tree.array[node]] = backend.reshape(x, *shape)
    return as_tree(measured(resized(tree.net, pair.sizes), arrays)[0], ""), arrays


def compressed_product(
    pair: Pair, root: str, bounds: Limits, exact: bool
) -> tuple[TreeNetwork, dict[str, Any], Power, float]:
    """The product compressed while it is formed.

    Parameters
    ----------
    root
        The node that ends as the centre.
    bounds
        What may be kept and lost.
    exact
        Whether states of a pair of bonds are weighed by all that lies beyond them (the density-matrix algorithm: McCulloch 2007, and
        what is lost is known to 1e-8 of the whole), or by the second tree alone (zip-up: Stoudenmire and White 2010, on any tree).

    Returns
    -------
    tree, arrays, power, error
        The relative error, or what zip-up takes for it.
    """
    backend, tree = pair.backend, pair.tree
    beyond = _environments(pair, root) if exact else _roots(pair, root)
    arrays: dict[str, Any] = {}
    rest: dict[str, tuple[Held, Legs]] = {}
    left, kept = len(tree.links) - 1, 0.0  # the logarithm of the part of the squared norm that is kept
    whole: tuple[float, Power] | None = None  # the squared norm of the product
    for node, _, bond in reversed(tree.down(root)):
        below = [b for b in tree.links[node].values() if b != bond]
        rows: Legs = (*((3, b) for b in below), *pair.open(node))
        x, power = _with_children(pair, node, [rest.pop(b) for b in below], (*rows, (1, bond), (2, bond)))
        shape = x.shape[: len(rows)]
        matrix = backend.reshape(x, prod(shape), -1)
        allowed = max(bounds.tol**2 + expm1(kept), 0.0) / left
        cut, (weight, scale) = _weighed if exact else _zipped, beyond[bond]
        u, total, lost = cut(matrix, x.shape[-2:], weight, bounds.caps.get(bond), allowed, backend)
        left, kept = left - 1, kept + log1p(-min(lost, 1.0 - 1e-16))
        whole = whole or (total, 2 * power + scale)
        arrays[tree.array[node]] = _in_order(u, shape, (*rows, (3, bond)), tree.inds[node], backend)
        made, more = unit(adjoint(u, backend) @ matrix, backend)
        rest[bond] = ((backend.reshape(made, -1, *x.shape[-2:]), power + more), ((3, bond), (1, bond), (2, bond)))
    below = list(tree.links[root].values())
    legs = tuple(i if i in pair.sizes else (3, i) for i in tree.inds[root])
    x, power = _with_children(pair, root, [rest[b] for b in below], legs)
    arrays[tree.array[root]] = x
    error = sqrt(-expm1(kept))
    if exact and whole and whole[0]:  # cuts of several branches are not told apart by what each loses
        error = sqrt(max(1.0 - float(backend.norm(x)) ** 2 * 2.0 ** (2 * power - whole[1]) / whole[0], 0.0))
    return as_tree(measured(resized(tree.net, pair.sizes), arrays)[0], ""), arrays, power + pair.power, error


def _with_children(pair: Pair, node: str, below: list[tuple[Held, Legs]], output: Legs) -> tuple[Any, Power]:
    """A node's pair with what its children left over."""
    parts = [*pair.parts(node), *((x, legs) for (x, _), legs in below)]
    x, power = unit(contracted(parts, output, pair.backend), pair.backend)
    return x, sum((p for (_, p), _ in below), power)


def _in_order(u: Any, shape: tuple[int, ...], legs: Legs, inds: tuple[str, ...], backend: Backend) -> Any:
    """An isometry as a node's array."""
    x = backend.reshape(u, *shape, u.shape[1])
    names = [i if isinstance(i, str) else i[1] for i in legs]  # type: ignore[index]
    return backend.permute(x, tuple(names.index(i) for i in inds))


def _weighed(
    matrix: Any, shape: tuple[int, int], beyond: Any, cap: int | None, allowed: float, backend: Backend
) -> tuple[Any, float, float]:
    """Leading eigenvectors of ``matrix beyond matrix^H``, the trace, and the part of it that is lost."""
    density = matrix @ backend.reshape(beyond, matrix.shape[1], -1) @ adjoint(matrix, backend)
    values, vectors = backend.xp.linalg.eigh((density + adjoint(density, backend)) / 2)
    squares = np.maximum(np.asarray(backend.numpy(values), np.float64)[::-1], 0.0)
    total = float(squares.sum())
    full = min(len(squares), prod(shape))
    cap = full if cap is None else min(cap, full)
    if not total > 0:
        return backend.flip(vectors, 1)[:, :1], 0.0, 0.0
    tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0) / total
    r = max(1, min(cap, int(np.sum(tails > max(allowed, 1e-15)))))
    return backend.flip(vectors, 1)[:, :r], total, float(tails[r])


def _zipped(
    matrix: Any, shape: tuple[int, int], beyond: Any, cap: int | None, allowed: float, backend: Backend
) -> tuple[Any, float, float]:
    """Leading left singular vectors, the second tree's bond weighed; the square of the norm, and the part of it that is lost."""
    some = backend.reshape(backend.reshape(matrix, -1, shape[1]) @ beyond, matrix.shape[0], -1)
    total = float(backend.norm(some)) ** 2
    if not total > 0:
        return backend.eye(matrix.shape[0], matrix)[:, :1], 0.0, 0.0
    found = truncated(some, cap, allowed * total, total, "exact", backend)
    if found.u is None:  # all rows are kept
        every = some.shape[0] <= some.shape[1]
        return (backend.eye(matrix.shape[0], matrix) if every else orthonormal(some, backend)[0]), total, 0.0
    return found.u, total, found.lost / total


# -- what lies beyond a bond ------------------------------------------------------------------------------------------
def _environments(pair: Pair, root: str) -> dict[str, Held]:
    """Bond -> the Gram matrix of all on the root's side of it, of axes (1, 2, conjugated 1, conjugated 2), and its power."""
    return _beyond(pair.tree, root, lambda node, to, near: _gram(pair, node, to, near))


def squared_norm(pair: Pair) -> Held:
    """The square of the norm of the product, and its power of two."""
    x, power = _to_the_middle(pair.tree, lambda node, to, near: _gram(pair, node, to, near))
    return real(x, pair.backend), power + 2 * pair.power


def between(pair: Pair, first: bool = True) -> Held:
    """``<second|first second>``, or ``<second|second>``, of the arrays as they are; and its power of two."""

    def passed(node: str, bond: str, near: Mapping[str, Held]) -> Held:
        ket = pair.parts(node)
        x, legs = ket[1]
        bra = tuple(i if isinstance(i, str) else i[1] if i[0] == 0 else (3, i[1]) for i in legs)  # type: ignore[index]
        if not first:
            ket = [(x, tuple(i[1] if not isinstance(i, str) and i[0] == 0 else i for i in legs))]  # type: ignore[index]
        return _passed_on(pair, [*ket, (conj(x, pair.backend), bra)], bond, near, partial(_legs_between, first=first))

    return _to_the_middle(pair.tree, passed)


def _to_the_middle(tree: TreeNetwork, passed: Callable[[str, str, Mapping[str, Held]], Held]) -> Held:
    """What a node in the middle makes of all that is passed to it; ``passed(node, bond, what came)``, its own bond being ``""``."""
    root, inner = tree.middle(), dict[str, Held]()
    for node, bond in [*((n, b) for n, _, b in reversed(tree.down(root))), (root, "")]:
        inner[bond] = passed(node, bond, {b: inner.pop(b) for b in tree.links[node].values() if b != bond})
    return inner[""]


def _gram(pair: Pair, node: str, to: str, near: Mapping[str, Held]) -> Held:
    """What a node passes on of the product times its conjugate, of axes (1, 2, conjugated 1, conjugated 2)."""
    return _passed_on(pair, [*pair.parts(node), *pair.parts(node, "*")], to, near, _gram_legs)


def _passed_on(
    pair: Pair, own: list[tuple[Any, Legs]], to: str, near: Mapping[str, Held], legs: Callable[[str], Legs]
) -> Held:
    """A node's arrays with what came over its other bonds; ``legs`` are those of what goes over a bond."""
    parts = [*own, *((x, legs(b)) for b, (x, _) in near.items())]
    x, power = unit(contracted(parts, legs(to), pair.backend), pair.backend)
    return x, sum((p for _, p in near.values()), power)


def _legs_between(bond: str, first: bool) -> Legs:
    if not bond:
        return ()
    return ((3, bond), (1, bond), (2, bond)) if first else ((3, bond), (2, bond))


def _gram_legs(bond: str) -> Legs:
    return ((1, bond), (2, bond), ("*", (1, bond)), ("*", (2, bond))) if bond else ()


def _roots(pair: Pair, root: str) -> dict[str, Held]:
    """Bond -> a matrix whose rows are the bond of the second tree: a root of the Gram matrix of that tree beyond the bond."""
    tree, backend = pair.tree, pair.backend

    def reduced(node: str, bond: str, near: Mapping[str, Held]) -> Held:
        x, inds = pair.arrays[node][1], [i if isinstance(i, str) else i[1] for i in pair.legs[node][1]]  # type: ignore[index]
        for b, (r, _) in near.items():
            x = contracted([(x, inds), (r, (b, "new"))], [i if i != b else "new" for i in inds], backend)
        axis = inds.index(bond)
        x = backend.permute(x, (*(k for k in range(len(inds)) if k != axis), axis))
        r = orthonormal(backend.reshape(x, -1, x.shape[-1]), backend)[1]
        return unit(backend.swap(r), backend)

    return _beyond(tree, root, reduced)


def _beyond(tree: TreeNetwork, root: str, passed: Callable[[str, str, Mapping[str, Held]], Held]) -> dict[str, Held]:
    """Bond -> what is passed over it from the root's side; ``passed(node, bond, what came over its other bonds)``."""
    way = tree.down(root)
    above = {node: (parent, bond) for node, parent, bond in way}
    needed = set()  # nodes from which something goes up, to come down another branch
    for node, parent, _ in way:
        branches = len(tree.links[parent]) - (parent != root)
        if branches > 1 or parent in needed:
            needed.add(node)
    inner: dict[str, Held] = {}
    found: dict[str, Held] = {}
    for node, _, bond in reversed(way):
        if node in needed:
            inner[bond] = passed(node, bond, {b: inner[b] for b in tree.links[node].values() if b != bond})
    for _, parent, bond in way:
        up = above[parent][1] if parent in above else None
        others = [b for b in tree.links[parent].values() if b != bond]
        found[bond] = passed(parent, bond, {b: found[b] if b == up else inner[b] for b in others})
    return found

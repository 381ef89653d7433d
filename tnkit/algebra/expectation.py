"""What is measured of a state: expectations of operators, reduced density matrices, many local expectations at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any

import numpy as np

from tnkit.algebra.acting import Meeting, joined, meeting
from tnkit.algebra.application import NoPairError, meeting_pair
from tnkit.algebra.inner import bra_and_ket, formed, given_arrays, inner_product
from tnkit.algebra.pairs import Pair, between
from tnkit.core.checks import a_mapping, a_network, flag, shown
from tnkit.core.network import Network
from tnkit.core.node import Node, indices_among
from tnkit.core.pairing import paired
from tnkit.core.structure import TreeNetwork, tree_or_none
from tnkit.execution.arrays import LINEAR, as_numbers, conj, dtype_name, one_dtype, widened
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, library, plain
from tnkit.execution.local import contracted
from tnkit.execution.numpy import NUMPY, quiet
from tnkit.execution.powers import entry_size, unit, whole

__all__ = ["density_matrix", "expect", "local_expectation"]

Arrays = Mapping[str, Any]
#: The most open indices on the way of a gate, as a number of entries, that are carried along a tree.
_CARRIED = 2**16


@paired
def expect(
    op: Network, op_arrays: Arrays, net: Network, arrays: Arrays, *,
    strip_exponent: bool = False, backend: Backend | None = None,
) -> Any:  # fmt: skip
    """Expectation of an operator in a state, ``<x|O|x> / <x|x>``.

    >>> Z = np.diag([1.0, -1.0])
    >>> state = tk.tt_svd(np.array([[3.0, 0.0], [0.0, 4.0]]))  # of any norm
    >>> op, op_arrays = tk.operator([(1.0, {0: Z})], (2, 2))
    >>> round(float(tk.expect(op, op_arrays, state)), 6)  # (9 - 16) / 25
    -0.28

    Parameters
    ----------
    op, op_arrays
        An operator and its arrays: output (out..., in...), sizes out as in.
    net, arrays
        A state and its arrays, of any norm; any network.  Indices meet as in :func:`apply`.
    strip_exponent
        Return a pair: the expectation is ``value * 10**exponent``.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A scalar of the library (differentiable with torch), complex where an array is: of a Hermitian operator its imaginary part
        is rounding.  NaN for a state of zeros.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; indices that do not meet, an operator that is not square.
    """
    what, strip = "expect", flag(strip_exponent, "expect: strip_exponent")
    met = meeting(op, net, what, square=True)
    backend = backend_of(backend, a_mapping(op_arrays, what, "op_arrays"), a_mapping(arrays, what))
    left, right = given_arrays(op, op_arrays, backend), given_arrays(net, arrays, backend)
    pair = _pair_of_trees(op, left, net, right, met, backend)
    if pair is not None:  # node by node: nothing is planned but small steps
        (above, p), (below, q) = between(pair), between(pair, False)
        p = p + pair.above
    else:
        ket, ket_arrays = joined(op, left, net, right, met, backend)
        above, p = inner_product(net, right, ket, ket_arrays, backend)
        below, q = inner_product(net, right, net, right, backend)
    with quiet(backend):
        return whole(above / below, p - q, strip, what, backend)


def _pair_of_trees(
    op: Network, left: Arrays, net: Network, right: Arrays, met: Meeting, backend: Backend
) -> Pair | None:
    """Two trees of one shape with finite arrays of linear algebra; None for others."""
    every = [*left.values(), *right.values()]
    if any(map(backend.tracked, every)) or backend.unseen(every) or not {dtype_name(x) for x in every} <= LINEAR:
        return None
    if not all(isfinite(entry_size(x, backend) or 0.0) for x in every):
        return None
    try:
        return meeting_pair(op, left, net, right, met, backend, "expect")
    except NoPairError:
        return None


@paired
def density_matrix(net: Network, arrays: Arrays, inds: Iterable[str], *, backend: Backend | None = None) -> Any:
    """Reduced density matrix of some open indices of a state, of trace 1.

    >>> bell = tk.tt_svd(np.eye(2))  # of any norm
    >>> tk.density_matrix(bell, ["i0"]).round(6)
    array([[0.5, 0. ],
           [0. , 0.5]])

    Parameters
    ----------
    net, arrays
        A state and its arrays, of any norm; any network.
    inds
        Open indices that are kept; the others are traced out.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        Axes (kets..., bras...), each in the order of ``inds``: of ``x`` the sum of ``x conj(x)`` over the other indices, over its
        trace.  NaN for a state of zeros.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; no open index of this name, or one twice.
    MemoryError
        A matrix that cannot fit in memory.
    """
    what = "density_matrix"
    a_network(net, what)
    kept = _open_inds(net, inds, f"{what}: inds", what)
    backend = backend_of(backend, a_mapping(arrays, what))
    full = given_arrays(net, arrays, backend)
    tree = _as_bare_tree(net)
    with quiet(backend):
        if tree is not None and prod(net.sizes[i] for i in kept) ** 2 <= _CARRIED:
            return _Reduced(tree, _of_nodes(net, full, backend), backend).of(kept)
        return _formed_density(net, full, kept, backend)


@paired
def local_expectation(
    net: Network, arrays: Arrays, gates: Mapping[Any, Any], *, backend: Backend | None = None
) -> dict[Any, Any]:
    """Expectations of many local operators in one state; in a tree, what lies around them is contracted once.

    >>> Z, zero = np.diag([1.0, -1.0]), np.array([1.0, 0.0])
    >>> state = tk.tt_svd(np.einsum("i,j,k->ijk", zero, zero, zero[::-1]))  # |001>
    >>> found = tk.local_expectation(*state, {"i0": Z, "i2": Z, ("i0", "i2"): np.kron(Z, Z)})
    >>> {key: round(float(value), 6) for key, value in found.items()}
    {'i0': 1.0, 'i2': -1.0, ('i0', 'i2'): -1.0}

    Parameters
    ----------
    net, arrays
        A state and its arrays, of any norm; any network.  Trees are fast; others are contracted once for each group of indices.
    gates
        Open index, or a tuple of them, -> operator: an array (outs..., ins...), or a matrix over the indices in their order.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    dict
        The same keys -> scalars, complex where an array is: ``<x|G|x> / <x|x>``.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; no open index of this name, or one twice; a gate that does not fit its indices.
    """
    what = "local_expectation"
    a_network(net, what)
    backend = backend_of(backend, a_mapping(arrays, what))
    full = given_arrays(net, arrays, backend)
    wanted = {
        key: _gate(net, key, gate, next(iter(full.values()), None), backend)
        for key, gate in a_mapping(gates, what, "gates").items()
    }
    tree = _as_bare_tree(net)
    reduced = None if tree is None else _Reduced(tree, _of_nodes(net, full, backend), backend)
    found: dict[tuple[str, ...], Any] = {}
    with quiet(backend):
        for kept, _ in wanted.values():
            if kept not in found:
                small = prod(net.sizes[i] for i in kept) ** 2 <= _CARRIED
                found[kept] = reduced.of(kept) if reduced and small else _formed_density(net, full, kept, backend)
        return {key: _traced(gate, found[kept], len(kept), backend) for key, (kept, gate) in wanted.items()}


def _traced(gate: Any, density: Any, count: int, backend: Backend) -> Any:
    """The trace of a gate times a density matrix."""
    both = one_dtype({"gate": gate, "density": density}, backend)
    outs, ins = tuple(range(count)), tuple(range(count, 2 * count))
    value = contracted([(both["gate"], outs + ins), (both["density"], ins + outs)], (), backend)
    return value[()] if backend is NUMPY else value


# -- what is given ----------------------------------------------------------------------------------------------------
def _open_inds(net: Network, inds: Iterable[str], where: str, what: str) -> tuple[str, ...]:
    found = indices_among(inds, net.output, where)
    for i in found:
        if i not in net.output:
            raise ValueError(f"{what}: {i!r} is no open index; there are {', '.join(net.output)}")
    if len(set(found)) < len(found):
        raise ValueError(f"{what}: each index is given once, not {found}")
    if not found:
        raise ValueError(f"{what}: at least one open index is needed")
    return found


def _gate(net: Network, key: Any, gate: Any, like: Any, backend: Backend) -> tuple[tuple[str, ...], Any]:
    """The indices of a gate, and its array of axes (outs..., ins...)."""
    what = "local_expectation"
    kept = _open_inds(net, key, f"{what}: a key of gates", what)
    here = f"{what}: the gate of {shown(key)}"
    own = library(gate)
    if own is NUMPY and backend is not NUMPY and like is not None:
        x = widened(np.asarray(plain("gate", gate, NUMPY)), NUMPY)
        if dtype_name(x) not in LINEAR:
            raise TypeError(f"{here} has dtype {x.dtype}, which {backend} has not; convert it")
        name = np.result_type(x.dtype, "complex64").name if x.dtype.kind == "c" else dtype_name(like)
        gate = backend.like(x, backend.cast(backend.constant(like), name))
    elif own is not backend:
        raise TypeError(f"{here} is an array of {backend}, not {shown(gate)}")
    if reason := backend.unread(gate):
        raise TypeError(f"{here} {reason}")
    gate = widened(plain("gate", as_numbers(gate, backend), backend), backend)
    sizes = tuple(net.sizes[i] for i in kept)
    side = prod(sizes)
    if tuple(gate.shape) not in ((*sizes, *sizes), (side, side)):
        raise ValueError(f"{here} has shape {tuple(gate.shape)}, not {(*sizes, *sizes)} or {(side, side)}")
    return kept, backend.reshape(gate, *sizes, *sizes)


# -- density matrices -------------------------------------------------------------------------------------------------
def _formed_density(net: Network, full: dict[str, Any], kept: Sequence[str], backend: Backend) -> Any:
    """Of any network, in one contraction."""
    places = {f"o.{net.output.index(i)}": f"ko.{net.output.index(i)}" for i in kept}
    both, arrays = bra_and_ket(net, full, net, full, backend, places)
    return _of_trace_one(formed(replace(both, output=(*places, *places.values())), arrays, backend)[0], backend)


def _of_trace_one(x: Any, backend: Backend) -> Any:
    side = prod(x.shape[: len(x.shape) // 2])
    trace = backend.xp.sum(backend.diagonal(backend.reshape(x, side, side), 0, 1))
    return x / trace


def _as_bare_tree(net: Network) -> TreeNetwork | None:
    """A tree with an array of its own for each node; None for other networks."""
    if not net.multilinear:
        return None
    return tree_or_none(Network([Node(n.name, n.inds) for n in net.nodes], net.output, net.sizes))


def _of_nodes(net: Network, full: Arrays, backend: Backend) -> dict[str, Any]:
    arrays = {n.name: unit(full[n.array], backend, keep=True)[0] for n in net.nodes if isinstance(n, Node)}
    return one_dtype(arrays, backend)


@dataclass(frozen=True)
class _Passed:
    """What lies behind a bond, of axes (ket, bra, more...), the legs of the open indices that are kept behind it."""

    x: Any
    legs: tuple[Any, ...]


class _Reduced:
    """Density matrices of a tree: the Gram matrices behind its bonds are made when they are needed, and kept."""

    def __init__(self, tree: TreeNetwork, arrays: Mapping[str, Any], backend: Backend) -> None:
        self.tree, self.arrays, self.backend = tree, arrays, backend
        self.holder = {i: n for n, inds in tree.inds.items() for i in inds if i in tree.net.output}
        self.grams: dict[tuple[str, str], _Passed] = {}
        root = next(iter(tree.links))
        self.root, self.way = root, tree.down(root)
        self.above = {n: (p, b) for n, p, b in self.way}
        self.deep = {root: 0}
        for n, p, _ in self.way:
            self.deep[n] = self.deep[p] + 1

    def of(self, kept: Sequence[str]) -> Any:
        """The density matrix of some open indices, of axes (kets..., bras...)."""
        top, nodes = self._between({self.holder[i] for i in kept})
        passed: dict[str, list[_Passed]] = {n: [] for n in nodes}
        for node in sorted(nodes - {top}, key=lambda n: -self.deep[n]):
            parent, bond = self.above[node]
            passed[parent].append(self._pass(node, bond, self._around(node, nodes, passed), set(kept)))
        legs = (*(("ket", i) for i in kept), *(("bra", i) for i in kept))
        return _of_trace_one(self._closed(top, self._around(top, nodes, passed), set(kept), legs), self.backend)

    def _between(self, ends: set[str]) -> tuple[str, set[str]]:
        """The nodes on the ways between some, and the one of them next to the root."""
        nodes, front = set(ends), set(ends)
        while len(front) > 1:
            low = max(front, key=lambda n: self.deep[n])
            front.discard(low)
            up = self.above[low][0]
            nodes.add(up)
            front.add(up)
        return next(iter(front)), nodes

    def _around(self, node: str, nodes: set[str], passed: Mapping[str, list[_Passed]]) -> list[_Passed]:
        """All that comes to a node but over the bond to its parent, where that is one of the nodes."""
        found = list(passed[node])
        for n, bond in self.tree.links[node].items():
            if n not in nodes:
                found.append(self._gram(n, node, bond))
        return found

    def _gram(self, node: str, to: str, bond: str) -> _Passed:
        """Ket and bra behind a bond, all open indices traced out."""
        todo = [(node, to, bond)]
        while todo:
            here, there, over = todo[-1]
            behind = [(n, here, b) for n, b in self.tree.links[here].items() if n != there]
            missing = [edge for edge in behind if (edge[0], edge[1]) not in self.grams]
            if missing:
                todo += missing
                continue
            todo.pop()
            if (here, there) not in self.grams:
                self.grams[here, there] = self._pass(here, over, [self.grams[n, h] for n, h, _ in behind], set())
        return self.grams[node, to]

    def _pass(self, node: str, bond: str, near: list[_Passed], kept: set[str]) -> _Passed:
        here = [i for i in self.tree.inds[node] if i in kept]
        more = [leg for x in near for leg in x.legs[2:]] + [(side, i) for i in here for side in ("ket", "bra")]
        legs = (("ket", bond), ("bra", bond), *more)
        return _Passed(self._closed(node, near, kept, legs), legs)

    def _closed(self, node: str, near: list[_Passed], kept: set[str], output: tuple[Any, ...]) -> Any:
        x, inds = self.arrays[node], self.tree.inds[node]
        apart = {i for i in inds if i in kept or i not in self.holder}
        ket = tuple(("ket", i) if i in apart else i for i in inds)
        bra = tuple(("bra", i) if i in apart else i for i in inds)
        parts = [(x, ket), (conj(x, self.backend), bra), *((p.x, p.legs) for p in near)]
        return unit(contracted(parts, output, self.backend), self.backend, keep=True)[0]

"""A tensor as a distribution over its entries: logarithms of probabilities, and the distribution of each open index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log, nan, prod
from typing import Any

import numpy as np

from tnkit.algebra.inner import bra_and_ket, inner, untied
from tnkit.core.checks import a_mapping, a_network, flag
from tnkit.core.names import unused
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import TreeNetwork, check_multilinear, tree_or_none
from tnkit.decompose.gauge import absorb
from tnkit.execution.arrays import conj, real
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, values
from tnkit.execution.numpy import quiet
from tnkit.execution.powers import seen, unit, units
from tnkit.execution.run import contract

__all__ = ["log_likelihood", "marginals", "messages_up", "nonnegative"]


@paired
def log_likelihood(
    net: Network, arrays: Mapping[str, Any], samples: Any, *, born: bool = True, backend: Backend | None = None
) -> Any:
    """Natural logarithms of the probabilities of entries of a tensor, of any scale; with torch, the loss of a Born machine.

    >>> state = tk.tt_svd(np.array([[3.0, 0.0], [0.0, 4.0]]))
    >>> np.exp(tk.log_likelihood(state, [[0, 0], [1, 1], [0, 1]])).round(6)  # 9/25, 16/25, 0
    array([0.36, 0.64, 0.  ])

    Parameters
    ----------
    net, arrays
        Any network and its arrays.  In a tree each sample has a scale of its own; in other networks the entries of one call may differ
        by the range of the dtype.
    samples
        Whole numbers of shape (samples, open indices), in the order of ``net.output``.
    born
        The probability of an entry is the square of its modulus over the square of the norm; if False, the entry itself, none being
        negative, over the sum of all.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        Of shape (samples,); -inf for an entry that is 0, NaN where an array is not finite.

    Raises
    ------
    TypeError, ValueError
        Arrays as for :func:`tnkit.contract`; samples that are no whole numbers, of another shape, or beyond an index; with
        ``born=False`` a negative entry.
    """
    who = "log_likelihood"
    backend, born = backend_of(backend, a_mapping(arrays, who)), flag(born, f"{who}: born")
    digits = _digits(a_network(net, who), samples, who)
    net, full = untied(net, arrays, backend)
    tree = tree_or_none(net)
    value, logs = _entries(net, full, digits, backend) if tree is None else _amplitudes(tree, full, digits, backend)
    if not born:
        _check_sign(value, who, backend)
        total, exponent = contract(replace(net, output=()), full, strip_exponent=True, backend=backend)
    else:
        total, exponent = inner(net, full, net, full, strip_exponent=True, backend=backend)
    with quiet(backend):
        found = _log(value, backend) + logs
        return (2 if born else 1) * found - _log(total, backend) - exponent * log(10)


def _digits(net: Network, samples: Any, who: str) -> np.ndarray:
    """Samples as whole numbers, each within its index."""
    found = values("samples", samples, who)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{who}: samples are whole numbers, not {found.dtype}")
    if found.ndim != 2 or found.shape[1] != len(net.output):
        raise ValueError(
            f"{who}: samples have shape (samples, {len(net.output)}), one column an open index, not {found.shape}"
        )
    for i, size, column in zip(net.output, net.shape, found.T, strict=True):
        if len(column) and not 0 <= column.min() <= column.max() < size:
            wrong = column[(column < 0) | (column >= size)][0]
            raise ValueError(f"{who}: samples: open index {i!r} has places 0 to {size - 1}, not {wrong}")
    return found


def _log(value: Any, backend: Backend) -> Any:
    """Of the modulus; -inf, without a slope, at 0."""
    xp, size = backend.xp, backend.xp.abs(value)
    none = size == 0
    return xp.where(none, -np.inf * xp.ones_like(size), xp.log(xp.where(none, xp.ones_like(size), size)))


def _check_sign(value: Any, who: str, backend: Backend) -> None:
    least = seen(backend.xp.min(real(backend.constant(value), backend)), backend) if value.shape[0] else 0.0
    if least is not None and least < 0:
        raise ValueError(
            f"{who}: born=False reads entries as probabilities, and one is negative; born=True takes their squares"
        )


def _entries(net: Network, arrays: dict[str, Any], digits: np.ndarray, backend: Backend) -> tuple[Any, Any]:
    """Entries of any network, and the logarithm of what they are to be multiplied by."""
    mark, like = unused("sample.", net), next(iter(arrays.values()))
    rows = {
        f"{mark}{i}": backend.like(np.eye(n)[column], like)
        for i, n, column in zip(net.output, net.shape, digits.T, strict=True)
    }
    given = [Node(f"{mark}{i}", (mark, i), fixed=True) for i in net.output]
    if not given:
        given, rows = [Node(mark, (mark,), fixed=True)], {mark: backend.like(np.ones(len(digits)), like)}
    asked = Network((*net.nodes, *given), (mark,), {**net.sizes, mark: len(digits)})
    value, exponent = contract(asked, {**arrays, **rows}, strip_exponent=True, backend=backend)
    return value, exponent * log(10)


def _amplitudes(tree: TreeNetwork, arrays: Mapping[str, Any], digits: np.ndarray, backend: Backend) -> tuple[Any, Any]:
    """Entries of a tree, from its ends to the middle; each sample has its own scale, the logarithm of which is returned."""
    held, power = units(arrays, backend)
    root, up = tree.middle(), dict[str, Any]()
    logs: Any = power * log(2)
    for node, bond in [*((n, b) for n, _, b in reversed(tree.down(root))), (root, "")]:
        y = _picked(tree, held, node, bond, up, digits, backend)
        size = backend.xp.sum(backend.xp.abs(backend.constant(y)), axis=1)
        some = backend.xp.where(size > 0, size, backend.xp.ones_like(size))
        up[bond], logs = y / some[:, None], logs + backend.xp.log(some)
    return up[""][:, 0], logs


def _picked(
    tree: TreeNetwork,
    arrays: Mapping[str, Any],
    node: str,
    bond: str,
    up: dict[str, Any],
    digits: np.ndarray,
    backend: Backend,
) -> Any:
    """(samples, bond): a node at the places of its sites, times the vectors of its other bonds, which are let go of."""
    xp, inds, out, sizes = backend.xp, tree.inds[node], tree.net.output, tree.net.sizes
    sites, kids = [i for i in inds if i in out], [i for i in inds if i not in out and i != bond]
    order = (*kids[:1], *sites, *kids[1:], *([bond] if bond else []))
    x = arrays[tree.array[node]]
    x = backend.permute(x, tuple(inds.index(i) for i in order)) if order else x
    count, places = len(digits), prod(sizes[i] for i in sites)
    columns = [digits[:, out.index(i)] for i in sites]
    place = np.ravel_multi_index(columns, [sizes[i] for i in sites]) if sites else np.zeros(count, np.int64)
    width = prod(sizes[i] for i in (*kids[1:], *([bond] if bond else [])))
    if kids:
        y = up.pop(kids[0]) @ backend.reshape(x, sizes[kids[0]], -1)
        place = np.arange(count) * places + place
        y = backend.take(backend.reshape(y, count * places, width), place, 0)
    else:
        y = backend.take(backend.reshape(x, places, -1), place, 0)
    for kid in kids[1:]:
        width //= sizes[kid]
        y = xp.sum(up.pop(kid)[:, :, None] * backend.reshape(y, count, sizes[kid], width), axis=1)
    return y


# -- marginals --------------------------------------------------------------------------------------------------------
@paired
def marginals(
    net: Network, arrays: Mapping[str, Any], *, born: bool = True, backend: Backend | None = None
) -> dict[str, Any]:
    """The distribution of every open index, the others summed over.

    >>> state = tk.tt_svd(np.array([[3.0, 0.0], [0.0, 4.0]]))
    >>> tk.marginals(state)["i0"].round(6)
    array([0.36, 0.64])

    Parameters
    ----------
    net, arrays
        A multilinear network and its arrays, of any scale.  A tree is passed through once up and once down for all indices; other
        networks are contracted once an index.
    born
        As for :func:`tnkit.sample`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    dict
        Open index -> real array of its size, which sums to 1; differentiable with torch.  NaN where an array is not finite, or all
        entries are 0.

    Raises
    ------
    TypeError, ValueError
        Arrays as for :func:`tnkit.contract`; an Elementwise node; with ``born=False`` a negative probability.
    """
    who = "marginals"
    backend, born = backend_of(backend, a_mapping(arrays, who)), flag(born, f"{who}: born")
    check_multilinear(a_network(net, who), who, tied=True)
    net, full = untied(net, arrays, backend)
    tree = tree_or_none(net)
    with quiet(backend):
        if tree is None:
            found = {i: _one_index(net, full, i, born, backend) for i in net.output}
        else:
            found = _of_tree(tree, {n: unit(x, backend, keep=True)[0] for n, x in full.items()}, born, backend)
        return {i: _normalised(found[i], born, who, backend) for i in net.output}


def _normalised(x: Any, born: bool, who: str, backend: Backend) -> Any:
    if not born:
        _check_sign(x, who, backend)
    x, xp = real(x, backend), backend.xp
    total = xp.sum(x)
    return x / xp.where(xp.isfinite(total), total, nan * xp.ones_like(total))


def _one_index(net: Network, arrays: dict[str, Any], i: str, born: bool, backend: Backend) -> Any:
    """The weights of the places of an index."""
    if not born:
        return contract(replace(net, output=(i,)), arrays, strip_exponent=True, backend=backend)[0]
    both, of_both = bra_and_ket(net, arrays, net, arrays, backend)
    both = replace(both, output=(f"o.{net.output.index(i)}",))
    return contract(both, of_both, strip_exponent=True, backend=backend)[0]


def _of_tree(tree: TreeNetwork, arrays: Mapping[str, Any], born: bool, backend: Backend) -> dict[str, Any]:
    """Weights of the places of every open index, by messages up to a root and down again."""
    root = tree.middle()
    up, down = messages_up(tree, arrays, root, born, backend), dict[str, Any]()
    found: dict[str, Any] = {}
    above = {node: bond for node, _, bond in tree.down(root)}
    for node in (root, *above):
        around = {b: down[b] if b == above.get(node) else up[b] for b in tree.links[node].values()}
        for bond in around.keys() - {above.get(node)}:
            down[bond] = _message(tree, arrays, node, bond, around, born, backend)
        for i in tree.inds[node]:
            if i in tree.net.output:
                found[i] = _message(tree, arrays, node, i, around, born, backend, place=True)
    return found


def messages_up(
    tree: TreeNetwork, arrays: Mapping[str, Any], root: str, born: bool, backend: Backend
) -> dict[str, Any]:
    """Bond -> what the nodes away from the root are summed to, over its size."""
    found: dict[str, Any] = {}
    for node, _, bond in reversed(tree.down(root)):
        found[bond] = _message(tree, arrays, node, bond, found, born, backend)
    return found


def _message(
    tree: TreeNetwork, arrays: Mapping[str, Any], node: str, to: str, around: Mapping[str, Any], born: bool, backend: Backend,
    place: bool = False,
) -> Any:  # fmt: skip
    """A node with the messages of its other bonds, summed over all but one index.

    With ``born`` a matrix (conjugate, own) of a bond, or with ``place`` the vector of its diagonal, of an open index.
    """
    own = {tree.array[node]: arrays[tree.array[node]]}
    for bond in tree.links[node].values():
        if bond != to:
            m = around[bond] if born else backend.reshape(around[bond], 1, -1)
            absorb(tree, own, node, bond, m, backend)
    axis, y = tree.inds[node].index(to), own[tree.array[node]]
    order = (axis, *(k for k in range(len(y.shape)) if k != axis))
    y = backend.reshape(backend.permute(y, order), y.shape[axis], -1)
    if not born:
        found = backend.xp.sum(y, axis=1)
    else:
        x = arrays[tree.array[node]]
        x = conj(backend.reshape(backend.permute(x, order), x.shape[axis], -1), backend)
        found = backend.xp.sum(x * y, axis=1) if place else x @ backend.swap(y)
    return found if place else unit(found, backend, keep=True)[0]


def nonnegative(tree: TreeNetwork, arrays: Mapping[str, Any], who: str, backend: Backend) -> None:
    """ValueError where an array has an entry that is no probability."""
    for node, name in tree.array.items():
        x = arrays[name]
        if (real(x, backend) != x).any() or (real(x, backend) < 0).any():
            raise ValueError(
                f"{who}: born=False reads entries as probabilities, but array of node {node!r} has entries that are negative or "
                "complex; born=True takes their squares"
            )

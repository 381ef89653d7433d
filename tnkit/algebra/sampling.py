"""Perfect samples from a tree held as arrays: every site is drawn given those before it, all samples at once (Ferris and Vidal 2012).

In canonical form about the first node, all that is not drawn yet is an isometry, and counts for nothing.  Then follows node by node
what is left of the tensor, given the sites drawn so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tnkit.algebra.inner import untied
from tnkit.algebra.likelihoods import messages_up, nonnegative
from tnkit.core.checks import a_mapping, a_network, flag
from tnkit.core.network import Network
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired
from tnkit.core.structure import TreeNetwork
from tnkit.decompose.gauge import check_finite, gathered, held
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, values
from tnkit.execution.numpy import NUMPY

__all__ = ["Samples", "sample"]

#: Most entries of what is held for the samples that are drawn at once.
_ENTRIES = 2**19
_ZERO = "sample: the network's tensor is zero, which is no distribution"
#: Most samples of a call.
_MOST = 10**9
#: Added to a density matrix, over its trace, so that rounding leaves it positive.
_LIFT = 1e-14


class Samples(NamedTuple):
    """What :func:`sample` returns.

    >>> state = tk.tt_svd(np.array([[3.0, 0.0], [0.0, 4.0]]))
    >>> drawn = tk.sample(state, 5)
    >>> isinstance(drawn, tk.Samples), drawn.values.shape, drawn.log_likelihood.shape
    (True, (5, 2), (5,))
    >>> np.allclose(drawn.log_likelihood, tk.log_likelihood(state, drawn.values))
    True

    Attributes
    ----------
    values
        Whole numbers of shape (samples, open indices), in the order of the network's output.
    log_likelihood
        The natural logarithm of the probability of each.
    """

    values: np.ndarray
    log_likelihood: np.ndarray


@paired
def sample(
    net: Network, arrays: Mapping[str, Any], n: int, seed: int = 0, *, born: bool = True, backend: Backend | None = None
) -> Samples:
    """Independent samples of the entries of a tensor: perfect ones, without a Markov chain.

    >>> state = tk.tt_svd(np.array([[3.0, 0.0], [0.0, 4.0]]))
    >>> values, log_likelihood = tk.sample(state, 1000, seed=0)
    >>> values.shape, np.array_equal(values[:, 0], values[:, 1])
    ((1000, 2), True)
    >>> bool(abs(values[:, 0].mean() - 16 / 25) < 0.05)
    True

    Parameters
    ----------
    net, arrays
        A tree-shaped network, such as a chain, and its arrays, of any scale.
    n
        How many.
    seed
        Equal seeds give equal samples.
    born
        The probability of an entry is the square of its modulus over the square of the norm (Born's rule); if False, the entry itself,
        none being negative, over the sum of all.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Samples
        A pair of numpy arrays, ``values`` of shape (n, open indices) and ``log_likelihood`` of shape (n,).  Computed in double
        precision; not differentiable (:func:`tnkit.log_likelihood` is).

    Raises
    ------
    KeyError, TypeError, ValueError
        No array of a node; no tree; entries that are not finite; a tensor of zeros; with ``born=False`` negative entries.
    """
    who = "sample"
    count, seed = whole_number(n, f"{who}: n", 1, _MOST), whole_number(seed, f"{who}: seed", 0)
    born, net = flag(born, f"{who}: born"), a_network(net, who)
    backend_of(backend, a_mapping(arrays, who))
    wide = {name: values(name, x, who) for name, x in arrays.items()}
    tree, held_arrays = _prepared(net, {k: x.astype(np.result_type(x, np.float64)) for k, x in wide.items()}, born)
    rng = np.random.default_rng(seed)
    step = max(1, _ENTRIES // max(x.size for x in held_arrays.values()))
    parts = [_drawn(tree, held_arrays, min(step, count - k), rng, born) for k in range(0, count, step)]
    return Samples(np.concatenate([p.values for p in parts]), np.concatenate([p.log_likelihood for p in parts]))


def _prepared(net: Network, arrays: Mapping[str, np.ndarray], born: bool) -> tuple[TreeNetwork, dict[str, np.ndarray]]:
    """The tree and its arrays, all weight on the first node that has one neighbour."""
    bare, own = untied(net, arrays, NUMPY)
    tree, held_arrays, _, power = held(bare, own, None, "sample", NUMPY)
    check_finite(own, power, "sample", NUMPY)
    if born:
        gathered(tree, held_arrays, _first(tree), power, NUMPY)
    else:
        nonnegative(tree, held_arrays, "sample", NUMPY)
        held_arrays = {n: x.real for n, x in held_arrays.items()}
    if not all(x.any() for x in held_arrays.values()):
        raise ValueError(_ZERO)
    return tree, held_arrays


def _first(tree: TreeNetwork) -> str:
    return min(tree.links, key=lambda node: len(tree.links[node]) > 1)


@dataclass
class _Visit:
    """A node whose own sites are drawn.

    Attributes
    ----------
    left
        The bonds to nodes that are not drawn yet, in the order of the axes.
    state
        (samples, k, *left): what is left of the tensor; the sum of its squares over k counts.
    own
        (samples, bond to the parent, *left), or (1, ...) where it is the same of all: what the parent is to be multiplied with; None
        where nobody asks.
    """

    bond: str
    left: list[str]
    state: np.ndarray
    own: np.ndarray | None


def _drawn(
    tree: TreeNetwork, arrays: Mapping[str, np.ndarray], count: int, rng: np.random.Generator, born: bool
) -> Samples:
    root = _first(tree)
    sums = {} if born else messages_up(tree, arrays, root, False, NUMPY)
    below = {bond: node for node, _, bond in tree.down(root)}
    found = Samples(np.zeros((count, len(tree.net.output)), np.int64), np.zeros(count))
    walk = [_entered(tree, arrays, root, "", np.ones((count, 1, 1)), False, born, sums, rng, found)]
    while walk:
        visit = walk[-1]
        if visit.left:
            bond = visit.left[0]
            before = _before(visit, sums, born)
            asked = visit.own is not None or len(visit.left) > 1
            walk.append(_entered(tree, arrays, below[bond], bond, before, asked, born, sums, rng, found))
            continue
        walk.pop()
        if walk:
            _returned(walk[-1], visit)
    return found


def _entered(
    tree: TreeNetwork, arrays: Mapping[str, np.ndarray], node: str, bond: str, before: np.ndarray, asked: bool, born: bool,
    sums: Mapping[str, np.ndarray], rng: np.random.Generator, found: Samples,
) -> _Visit:  # fmt: skip
    """Draw the sites of a node, given what is left of the tensor before it: (samples, k, bond)."""
    inds, out = tree.inds[node], tree.net.output
    sites, left = [i for i in inds if i in out], [i for i in inds if i not in out and i != bond]
    x = arrays[tree.array[node]].transpose([inds.index(i) for i in (*([bond] if bond else []), *sites, *left)])
    sizes = [tree.net.sizes[i] for i in sites]
    shape = x.shape[x.ndim - len(left) :]  # bonds that were larger than what a node can use are smaller now
    count, k = before.shape[:2]
    x = x.reshape(before.shape[2], prod(sizes), prod(shape))
    state = (before.reshape(count * k, -1) @ x.reshape(len(x), -1)).reshape(count, k, *x.shape[1:])
    place: Any = np.zeros(1, np.int64)  # of all samples
    if sites:
        weights = _weights(state, [sums[i] for i in left] if not born else None)
        place, scale = _choice(weights, rng, found.log_likelihood)
        state = state[np.arange(count), :, place]
        state /= (np.sqrt(scale) if born else scale)[:, None, None]
    for i, digit in zip(sites, np.unravel_index(place, sizes) if sizes else (), strict=True):
        found.values[:, out.index(i)] = digit
    own = x[:, place].swapaxes(0, 1).reshape(len(place), -1, *shape) if asked else None
    return _Visit(bond, left, state.reshape(count, k, *shape), own)


def _weights(state: np.ndarray, sums: list[np.ndarray] | None) -> np.ndarray:
    """(samples, places): how likely each place is."""
    if sums is None:
        squares = np.square(state.real) + np.square(state.imag) if state.dtype.kind == "c" else np.square(state)
        return np.asarray(squares.sum((1, 3)))
    over = np.ones(1)
    for vector in sums:
        over = np.multiply.outer(over, vector).reshape(-1)
    return np.asarray((state @ over)[:, 0])


def _choice(weights: np.ndarray, rng: np.random.Generator, log_likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A place of each row, as likely as its weight, and that weight; the logarithm of its probability is added to what there is."""
    ends = weights.cumsum(1)
    if not (ends[:, -1] > 0).all():
        raise ValueError(_ZERO)
    place = (ends <= rng.random((len(ends), 1)) * ends[:, -1:]).sum(1)
    place = np.minimum(place, weights.shape[1] - 1)
    taken = np.take_along_axis(weights, place[:, None], 1)[:, 0]
    if not taken.all():  # rounded up to the end
        place = np.where(taken > 0, place, weights.argmax(1))
        taken = np.take_along_axis(weights, place[:, None], 1)[:, 0]
    log_likelihood += np.log(taken / ends[:, -1])
    return place, taken


def _before(visit: _Visit, sums: Mapping[str, np.ndarray], born: bool) -> np.ndarray:
    """What is left of the tensor before the first of the bonds: (samples, k, bond), with k no larger than the bond."""
    state = np.moveaxis(visit.state, 2, -1)
    if not born:
        for bond in visit.left[1:]:
            state = np.einsum("nkb...,b->nk...", state, sums[bond])
        return state
    state = state.reshape(len(state), -1, state.shape[-1])
    size = state.shape[2]
    if state.shape[1] <= size:
        return state
    density = state.conj().swapaxes(1, 2) @ state
    lift = _LIFT * np.einsum("nbb->n", density).real
    root = np.linalg.cholesky(density + lift[:, None, None] * np.eye(size))
    return np.asarray(root.conj().swapaxes(1, 2))


def _returned(visit: _Visit, child: _Visit) -> None:
    """Multiply a node by the subtree that was drawn last."""
    del visit.left[0]
    if child.own is None:  # nobody asks: the rest of the walk goes back through here alone
        return
    vector = _scaled(child.own)
    visit.state = _scaled(_times(visit.state, vector))
    if visit.own is not None:
        visit.own = _scaled(_times(visit.own, vector))


def _times(state: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(samples, k, bond, ...) times (samples, bond): (samples, k, ...)."""
    if len(state) == 1:  # the same of all samples
        return np.asarray(np.tensordot(vector, state[0], (1, 1)))
    rows = state.reshape(*state.shape[:3], -1)
    found = (vector[:, None, None, :] @ rows)[:, :, 0]
    return np.asarray(found.reshape(*state.shape[:2], *state.shape[3:]))


def _scaled(state: np.ndarray) -> np.ndarray:
    """Every sample over its largest entry."""
    size = np.abs(state).max(axis=tuple(range(1, state.ndim)), keepdims=True)
    return np.asarray(state / np.where(size > 0, size, 1))

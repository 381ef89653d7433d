"""Contraction trees from above: a network is cut in two where the least passes between, and each half again.

Greedy searches build a tree from below and lose their way in networks without a shape (random graphs); cuts by the Fiedler
vector of the network's graph, each mended by moving single nodes, are good starts for exactly those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import numpy as np

from tnkit.paths.contraction_tree import Steps

__all__ = ["halved"]

#: An index on more nodes than this binds none of them to another.
_MANY_USERS = 16

#: So few nodes are taken off one by one, the least bound first: what they cost is little, and refined later.
_FEW = 4

Matrix = np.ndarray[Any, np.dtype[Any]]


def halved(
    inputs: Sequence[Sequence[str]],
    sizes: Mapping[str, int],
    balance: float,
    rng: np.random.Generator | None = None,
) -> Steps:
    """Steps between numbered tensors (results from ``len(inputs)`` on).

    Parameters
    ----------
    inputs, sizes
        The network.
    balance
        The least share of the nodes that a half has, below 1/2.
    rng
        Perturbs the weights by which cuts are found, for trees that differ.
    """
    weights = _shared_weights(inputs, sizes)
    seen = weights
    if rng is not None:
        noise = np.triu(rng.normal(0.0, 0.2, weights.shape), 1)
        seen = weights * np.exp(noise + noise.T)
    steps: Steps = []
    made: dict[tuple[int, ...], int] = {}
    stack = [(tuple(range(len(inputs))), False)]
    halves: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
    while stack:
        nodes, cut = stack.pop()
        if len(nodes) == 1:
            made[nodes] = nodes[0]
        elif cut:
            a, b = halves[nodes]
            steps.append((made[a], made[b]))
            made[nodes] = len(inputs) + len(steps) - 1
        else:
            inside = np.ix_(nodes, nodes)
            side = _bisected(weights[inside], seen[inside], balance)
            a, b = (tuple(k for k, s in zip(nodes, side, strict=True) if s == which) for which in (False, True))
            halves[nodes] = a, b
            stack += [(nodes, True), (a, False), (b, False)]
    return steps


def _shared_weights(inputs: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> Matrix:
    """Bits shared by every two nodes; a hyperedge's are divided among its pairs."""
    users: dict[str, list[int]] = {}
    for k, t in enumerate(inputs):
        for i in t:
            users.setdefault(i, []).append(k)
    weights = np.zeros((len(inputs), len(inputs)))
    for i, on in users.items():
        if 1 < len(on) <= _MANY_USERS:
            weights[np.ix_(on, on)] += log2(sizes[i]) / (len(on) - 1)
    np.fill_diagonal(weights, 0.0)
    return weights


def _bisected(weights: Matrix, seen: Matrix, balance: float) -> list[bool]:
    """For each node whether it is in the second half: the best cut along the Fiedler vector, then single moves."""
    n = len(weights)
    if n <= _FEW:
        first = int(np.argmin(weights.sum(1)))
        return [k == first for k in range(n)]
    order = np.argsort(np.linalg.eigh(np.diag(seen.sum(1)) - seen)[1][:, 1], kind="stable")
    sorted_ = weights[np.ix_(order, order)]
    passing = np.cumsum(sorted_.sum(1) - 2 * np.tril(sorted_).sum(1))[:-1]
    least = max(1, int(balance * n))
    cuts = np.arange(least, n - least + 1)
    at = cuts[np.argmin(passing[cuts - 1] + 1e-3 * np.abs(cuts - n / 2))]
    side = np.ones(n)
    side[order[:at]] = -1.0
    for _ in range(2 * n):
        gain = -side * (weights @ side)  # what a node shares with the other half, less what with its own
        room = {-1.0: np.sum(side < 0) > least, 1.0: np.sum(side > 0) > least}
        gain[side < 0] -= 0.0 if room[-1.0] else np.inf
        gain[side > 0] -= 0.0 if room[1.0] else np.inf
        k = int(np.argmax(gain))
        if not gain[k] > 1e-9:
            break
        side[k] = -side[k]
    return [bool(s) for s in side > 0]

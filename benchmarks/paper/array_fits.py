"""Networks near an array, shallow and deep: closed forms, lifted starts, and the one polish that all of them get.

An array is read as a tensor first (:data:`READINGS`).  A shallow network starts at its closed form, a deep one at the closed form of a
smaller shallow one; both then take the same Adam steps at the same rates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tnkit as tk
from tnkit.execution.run import run
from tnkit.planning.planner import plan
from tnkit_nn.adapter.descent import cosine, minimise
from tnkit_nn.engine.backend import TORCH

Array = np.ndarray
Arrays = dict[str, Any]
Pair = tuple[tk.Network, Arrays]

#: Adam, the same for every network.
RATES, STEPS = (0.003, 0.01, 0.03), 600
#: Root mean square of the tensor at the start: an activation is nearly linear there.
AMPLITUDE = 0.5
#: Sites with gates, the coarsest three of the seven, and parameters of a column of them.
GATED, COLUMN = 3, 3 * 16


# -- readings --------------------------------------------------------------------------------------------------------------
def quads(x: Array) -> Array:
    """One binary digit of the row and one of the column at every site, coarsest first: 4 x 4 x 4 x 4 x 4 x 4 x 4."""
    n = x.shape[0].bit_length() - 1
    return x.reshape((2,) * (2 * n)).transpose([a for k in range(n) for a in (k, k + n)]).reshape((4,) * n)


def coarse_and_fine(x: Array, rows: int, cols: int) -> Array:
    """A block a row, so that a sum of Kronecker products is a low rank: rows x cols blocks."""
    blocks = x.reshape(rows, x.shape[0] // rows, cols, x.shape[1] // cols).swapaxes(1, 2)
    return blocks.reshape(rows * cols, -1)


#: Reading -> the tensor of an array.
READINGS: dict[str, Callable[[Array], Array]] = {
    "quad sites": quads,
    "binary digits in turn": lambda x: quads(x).reshape((2,) * 14),
    "binary digits, rows first": lambda x: x.reshape((2,) * 14),
    "blocks 16, 16, 64": lambda x: quads(x).reshape(16, 16, 64),
    "blocks 64, 16, 16": lambda x: quads(x).reshape(64, 16, 16),
    "rows and columns in halves": lambda x: x.reshape(8, 16, 8, 16),
    "matrix": lambda x: x,
    "coarse and fine, 256 x 64": lambda x: quads(x).reshape(256, 64),
    "coarse and fine, 64 x 256": lambda x: quads(x).reshape(64, 256),
    "coarse and fine, wide blocks": lambda x: coarse_and_fine(x, 16, 8),
    "coarse and fine, tall blocks": lambda x: coarse_and_fine(x, 8, 16),
}


# -- shallow networks in closed form: at least so many parameters, or at most --------------------------------------------------
#: ``(tensor, budget, whether at least) -> (network, arrays)``.
Closed = Callable[..., Pair]


def by_svd(decompose: Callable[..., Any]) -> Closed:
    """Singular values choose the bonds within a budget; for at least as many parameters the budget grows until they are."""

    def closed(x: Array, budget: int, least: bool) -> Pair:
        now = budget
        while True:
            net, arrays = decompose(x, budget=now)
            if not least or net.num_params >= budget or now > 2 * budget:
                return net, arrays
            now += max(1, budget // 50)

    return closed


def rank_of(budget: int, terms: int, least: bool) -> int:
    """Terms of so many parameters each, at least the budget or at most (one, where that is more)."""
    return -(-budget // terms) if least else max(1, budget // terms)


def cp(x: Array, budget: int, least: bool) -> Pair:
    net, arrays = tk.cp_als(x, rank_of(budget, sum(x.shape), least), sweeps=50, restarts=2)
    return net, arrays


def low_rank(x: Array, budget: int, least: bool) -> Pair:
    """The best matrix of a rank, as :func:`tnkit.low_rank`."""
    rank = min(rank_of(budget, sum(x.shape), least), *x.shape)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    root, net = np.sqrt(s[:rank]), tk.low_rank(x.shape, rank)
    left, right = (node.array for node in net.leaves)
    return net, {left: u[:, :rank] * root, right: root[:, None] * v[:rank]}


def block_term(x: Array, budget: int, least: bool) -> Pair:
    """Two Tucker terms of the same ranks, the second of what the first leaves; of all ranks near the budget those of least error."""
    near = near_ranks(x.shape, budget, least)
    held = energies(tk.tucker_svd(x, rank=x.shape).arrays["core"])
    promising = sorted(near, key=lambda ranks: -held[tuple(r - 1 for r in ranks)])[:8]
    return min((two_terms(x, ranks) for ranks in promising), key=lambda pair: distance(*pair, x))


def energies(core: Array) -> Array:
    """Sum of squares of every leading block of a core."""
    total = np.square(core)
    for axis in range(core.ndim):
        total = total.cumsum(axis)
    return total


def near_ranks(shape: Sequence[int], budget: int, least: bool) -> list[tuple[int, ...]]:
    """Tucker ranks of two terms that have at least a budget and at most a twentieth more, or the fewest; or at most and no less."""

    def size(ranks: Sequence[int]) -> int:
        return 2 * (prod(ranks) + sum(n * r for n, r in zip(shape, ranks, strict=True)))

    every = [r for r in product(*(range(1, n + 1) for n in shape)) if prod(r) >= max(r) ** 2]
    fit = [r for r in every if (size(r) >= budget if least else size(r) <= budget)] or [min(every, key=size)]
    nearest = min(abs(size(r) - budget) for r in fit)
    return [r for r in fit if abs(size(r) - budget) <= max(nearest, 0.05 * budget)]


def two_terms(x: Array, ranks: Sequence[int]) -> Pair:
    """A block-term decomposition: a Tucker decomposition, and another of the rest."""
    parts, left = [], x
    for _ in range(2):
        net, arrays = tk.tucker_svd(left, rank=ranks)
        left = left - tk.contract(net, arrays)
        parts.append((net, arrays))
    one, stack = padded(parts)  # ranks that a term cannot use are zero
    both = tk.Network([tk.Node(n.name, (*n.inds, "term")) for n in one.leaves], one.output, {**one.sizes, "term": 2})
    return both, {n.name: np.moveaxis(stack[n.array], 0, -1) for n in one.leaves}


#: Family -> its readings, and its closed form.
SHALLOW: dict[str, tuple[tuple[str, ...], Closed]] = {
    "TT": (("quad sites", "binary digits in turn", "binary digits, rows first"), by_svd(tk.tt_svd)),
    "TT-matrix": (("blocks 16, 16, 64", "blocks 64, 16, 16"), by_svd(tk.tt_svd)),
    "CP": (("quad sites", "blocks 64, 16, 16"), cp),
    "Tucker": (("rows and columns in halves", "blocks 64, 16, 16"), by_svd(tk.tucker_svd)),
    "block term": (("rows and columns in halves", "blocks 64, 16, 16"), block_term),
    "ring": (("quad sites", "blocks 64, 16, 16"), by_svd(tk.ring_svd)),
    "tree": (("quad sites", "binary digits in turn"), by_svd(tk.tree_svd)),
    "low rank": (("matrix",), low_rank),
    "sum of Kronecker products": (
        ("coarse and fine, 256 x 64", "coarse and fine, 64 x 256", "coarse and fine, wide blocks", "coarse and fine, tall blocks"),
        low_rank,
    ),
}  # fmt: skip


def distance(net: tk.Network, arrays: Arrays, x: Array) -> float:
    """Relative error."""
    return float(np.linalg.norm(x - tk.contract(net, arrays)) / np.linalg.norm(x))


# -- deep networks, lifted ---------------------------------------------------------------------------------------------------
def lifted(net: tk.Network, depth: int, activation: str | None) -> tk.Network:
    """A shallow network on quad sites under columns of gates, an activation before each."""
    columns = [[(s,) for s in range(min(GATED, len(net.shape)))]] * (depth - 1)
    return tk.circuit(net.shape, columns, activation, start=net)


def balanced(net: tk.Network, arrays: Arrays) -> Arrays:
    """Arrays of one root mean square, whose tensor has :data:`AMPLITUDE`."""
    size = {n: float(np.sqrt(np.mean(np.square(a)))) for n, a in arrays.items()}
    rms = float(np.sqrt(np.mean(np.square(tk.contract(net, arrays)))))
    if not rms:
        return dict(arrays)
    level = (np.prod(list(size.values())) * AMPLITUDE / rms) ** (1 / len(size))
    return {n: np.ascontiguousarray(a * (level / size[n])) for n, a in arrays.items()}


# -- networks of one structure side by side ------------------------------------------------------------------------------------
def padded(pairs: Sequence[Pair]) -> Pair:
    """Networks that differ in their bonds, as one with the largest of each: arrays (network, ...), zero where a bond is smaller.

    The zeros of a bond meet zeros on its other side, so their gradients are zero: they stay zero, and are no parameters.
    """
    first = pairs[0][0]
    for net, _ in pairs:
        if [(n.name, n.inds) for n in net.leaves] != [(n.name, n.inds) for n in first.leaves]:
            raise ValueError("padded: networks of one structure, please")
    sizes = {i: max(net.sizes[i] for net, _ in pairs) for i in first.sizes}
    whole = tk.Network(first.nodes, first.output, sizes)
    return whole, stacked(whole.array_shapes, [arrays for _, arrays in pairs])


def stacked(shapes: Mapping[str, Sequence[int]], each: Sequence[Arrays]) -> Arrays:
    """Arrays of several networks in arrays of these shapes, zeros behind them."""
    found = {name: np.zeros((len(each), *shape)) for name, shape in shapes.items()}
    for k, arrays in enumerate(each):
        for name, a in arrays.items():
            found[name][(k, *map(slice, a.shape))] = a
    return found


@dataclass(frozen=True)
class Fit:
    """What a polish found.

    Attributes
    ----------
    start, error
        Relative errors at the start and at the best rate, with the scale of least error.
    rate
        The best rate.
    """

    start: float
    error: float
    rate: float


def polish(
    net: tk.Network, stack: Mapping[str, Array], targets: Sequence[Array], steps: int = STEPS, rates: Sequence[float] = RATES
) -> list[Fit]:  # fmt: skip
    """Adam on 1 - cos^2 from given arrays, all rates and targets side by side, the scale in closed form."""
    way, many = plan(net), len(targets)
    unit = np.stack([x.reshape(-1) / np.linalg.norm(x) for x in targets])
    goal = torch.as_tensor(unit, dtype=torch.float32).repeat_interleave(len(rates), 0)

    def loss(params: dict[str, Tensor], one: Tensor) -> Tensor:
        w = run(way, params, TORCH).reshape(-1)
        return 1 - torch.dot(w, one).square() / torch.dot(w, w).clamp(min=1e-30)

    side = torch.func.vmap(loss)
    begin = {n: torch.as_tensor(stack[n], dtype=torch.float32).repeat_interleave(len(rates), 0) for n in net.parameters}
    rate = dict.fromkeys(begin, torch.tensor(list(rates) * many, dtype=torch.float64))
    done = minimise(lambda p, _: side(p, goal), begin, rate, steps, schedule=cosine, every=10)
    errors = done.score.clamp(min=0).sqrt().reshape(many, len(rates))
    starts = done.history[0].clamp(min=0).sqrt().reshape(many, len(rates))[:, 0]
    best = errors.argmin(1)
    return [Fit(float(starts[k]), float(errors[k, b]), rates[b]) for k, b in enumerate(best.tolist())]

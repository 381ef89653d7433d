"""Slicing: a contraction that does not fit in memory, as a loop over the values of a few indices.

Fixing an index in every node that carries it leaves a smaller network; the slices are summed where the index is summed, and
put beside one another where it is in the output.  Which indices to slice is searched on the order that was found: the fewest
operations and bytes over all slices together, for intermediates that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log2, prod

import numpy as np

from tnkit.core.names import unused
from tnkit.core.network import AnyNode, Elementwise, Network, folded
from tnkit.core.node import Node
from tnkit.planning.fusion import Made
from tnkit.planning.steps import FusedStep, Program

__all__ = ["candidates", "choose", "sliced_step", "without_indices"]

Inds = tuple[str, ...]

#: Operations in the time of starting a slice.
_PER_SLICE = 1e6
#: Operations in the time of moving one entry.
_PER_ENTRY = 168.0
#: Searches: the first takes the best index every time, the others the best after some noise.
_TRIALS = 24


def candidates(net: Network, dynamic: str | None = None) -> Inds:
    """Indices that can be sliced: those of the outermost region, but for traces (on one node twice) and a dynamic one."""
    traced = {i for leaf in net.leaves for i in leaf.inds if leaf.inds.count(i) > 1}
    return tuple(i for i, n in net.sizes.items() if i not in traced and i != dynamic and n > 1)


def without_indices(net: Network, gone: Sequence[str], names: dict[tuple[str, Inds], str], mark: str) -> Network:
    """The network of one slice: without the indices in ``gone``.

    ``names`` collects (array, its indices) -> the name of the slice's array, ``mark`` and a number: tied nodes are cut apart where
    their indices differ.
    """

    def cut(level: Network, bodies: list[Network]) -> Network:
        nodes: list[AnyNode] = []
        inner = iter(bodies)
        for node in level.nodes:
            if isinstance(node, Elementwise):
                nodes.append(Elementwise(node.name, node.fn, [next(inner) for _ in node.bodies]))
                continue
            at = tuple(i if i in gone else "" for i in node.inds)
            rest = tuple(i for i in node.inds if i not in gone)
            nodes.append(Node(node.name, rest, names.setdefault((node.array, at), f"{mark}{len(names)}"), fixed=True))
        left = {i for node in nodes for i in node.inds}
        output = tuple(i for i in level.output if i not in gone)
        return Network(nodes, output, {i: n for i, n in level.sizes.items() if i in left})

    return folded(net, cut)


def choose(made: Sequence[Made], allowed: Sequence[str], entries: float, count: int, most: float) -> Inds | None:
    """The indices to slice so that no step's tensors exceed ``entries`` together, in ``count`` to about ``most`` slices.

    In the order of ``allowed``.  None where it cannot be done.
    """
    sizes: dict[str, int] = {}
    for m in made:
        sizes |= m.sizes
    usable = [i for i in allowed if i in sizes]
    if not usable:
        return None
    search = _SliceSearch(made, usable, sizes)
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is beyond any float does not fit
        trials = [search.run(entries, count, most, rng, 0.3 * (trial > 0)) for trial in range(_TRIALS)]
    found = [t for t in trials if t is not None]
    return tuple(i for i in usable if i in min(found)[1]) if found else None


class _SliceSearch:
    """Tables of the steps' indices, from which a choice is costed without lowering anything.

    Which index is on which tensor is held as pairs of numbers: of thousands of steps on thousands of indices few are.
    """

    def __init__(self, made: Sequence[Made], usable: Sequence[str], sizes: Mapping[str, int]) -> None:
        names = [*usable, *(i for i in sizes if i not in set(usable))]
        place = {i: k for k, i in enumerate(names)}
        self.names, self.usable = names, len(usable)
        self.log = np.array([log2(sizes[i]) for i in names])  # not numpy's, which takes no size beyond 64 bits
        terms: list[list[set[int]]] = [[], [], [], []]
        for m in made:
            tensors = (*m.operands[:2], m.result) if len(m.operands) > 1 else (*m.operands, (), m.result)
            each = [{place[i] for i in inds} for inds in tensors]
            for held, one in zip(terms, (*each, set().union(*each)), strict=True):
                held.append(one)
        self.tables = [
            _Table(held, self.log) for held in terms
        ]  # two operands, the result, and all that a step runs over
        self.at = [set().union(*one) for one in zip(*terms[:3], strict=True)]

    def cost(self, logs: Sequence[np.ndarray], sliced: float) -> float:
        """Log of the operations of all slices together; ``logs``: of each step's tensors and its space in one slice."""
        one = 2 * (2.0 ** logs[3]).sum() + _PER_ENTRY * (2.0 ** logs[2]).sum() + _PER_SLICE
        return float(sliced + np.log2(one))

    def run(
        self, entries: float, count: int, most: float, rng: np.random.Generator, noise: float
    ) -> tuple[float, Inds] | None:
        """Add the index that costs least for what it divides, until everything fits."""
        chosen: list[int] = []
        logs = [table.full.copy() for table in self.tables]
        sliced = 0.0
        while True:
            held = 2.0 ** logs[0] + 2.0 ** logs[1] + 2.0 ** logs[2]
            if held.max() <= entries and sliced >= np.log2(count) - 1e-9:
                return self.cost(logs, sliced), tuple(self.names[k] for k in chosen)
            where = range(self.usable) if held.max() <= entries else self.at[int(held.argmax())]
            options = [k for k in sorted(where) if k < self.usable and k not in chosen]
            if not options or sliced > np.log2(most):
                return None
            gone = 1 - 2.0**-self.log  # the part of a tensor that a slice of the index has not
            space, written = (self.tables[t].on(2.0 ** logs[t], len(self.log)) * gone for t in (3, 2))
            now = 2 * (2.0 ** logs[3]).sum() + _PER_ENTRY * (2.0 ** logs[2]).sum() + _PER_SLICE
            score = 1 + (np.log2(now - 2 * space - _PER_ENTRY * written) - np.log2(now))[options] / self.log[options]
            k = options[int(np.argmin(score + noise * rng.gumbel(size=len(options))))]
            chosen.append(k)
            sliced += float(self.log[k])
            for one, table in zip(logs, self.tables, strict=True):
                one[table.steps[table.inds == k]] -= self.log[k]


class _Table:
    """For one tensor a step: the pairs of a step and an index that its tensor has, and the log of its entries."""

    def __init__(self, terms: Sequence[set[int]], log: np.ndarray) -> None:
        self.steps = np.repeat(np.arange(len(terms)), np.array([len(t) for t in terms], int))
        self.inds = np.array([i for t in terms for i in sorted(t)], int)
        self.full = np.bincount(self.steps, log[self.inds], len(terms)).astype(
            float
        )  # of no pair at all: whole numbers

    def on(self, values: np.ndarray, count: int) -> np.ndarray:
        """For each index the sum of the values of the steps that have it."""
        return np.bincount(self.inds, values[self.steps], count)


def sliced_step(
    net: Network, sliced: Inds, slots: Mapping[str, int], whole: Program, target: int,
    build: Callable[[Network], tuple[tuple[str, ...], Program]],
) -> FusedStep:  # fmt: skip
    """One step that runs the plan of a slice for every value of ``sliced``.

    ``build`` plans the network of one slice and gives the names of its inputs and its program.
    """
    names: dict[tuple[str, Inds], str] = {}
    inputs, body = build(without_indices(net, sliced, names, unused("#", net)))
    array = {name: key for key, name in names.items()}
    axes = tuple(tuple(at.index(i) if i in at else None for i in sliced) for _, at in (array[n] for n in inputs))
    counts = tuple(net.sizes[i] for i in sliced)
    slices = prod(counts)
    return FusedStep(
        tuple(slots[array[n][0]] for n in inputs), target, f"for every {' '.join(sliced)}", axes, counts, net.shape,
        tuple(net.output.index(i) if i in net.output else None for i in sliced), body, whole,
        flops=slices * sum(s.flops for s in body.steps), read=slices * sum(s.read + s.size for s in body.steps),
        size=prod(net.shape), sliced=sliced,
    )  # fmt: skip

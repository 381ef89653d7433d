"""Path optimisers behind one call: ``(inputs, output, sizes, memory_limit) -> path`` (opt_einsum's own).

``inputs`` are tuples of distinct index names, ``output`` a tuple, ``path`` a list of pairs of positions, each pair
removed from the list and its result appended.  Any optimiser of opt_einsum is such a function already; those of other libraries
are asked in :mod:`tnkit.paths.foreign`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import opt_einsum as oe

from tnkit.core.checks import shown
from tnkit.paths.bisection import halved
from tnkit.paths.contraction_tree import ContractionTree, numbered_steps, pairwise_steps, refine_
from tnkit.paths.foreign import RULE, ask, pairwise_path
from tnkit.paths.searchable import check_searchable

__all__ = ["OPTIMIZERS", "Optimizer", "find_order", "find_path"]

Inds = tuple[str, ...]
Path = list[tuple[int, ...]]
Optimizer = Callable[[Sequence[Any], Any, Mapping[str, int], Any], Any]

#: Multiply-adds in the time of writing one entry and reading it again (the default ``tnkit.planning.calibration``, 4 bytes an entry; twice
#: that for float64): a tree of a few more operations is faster if it writes less.
WRITE = 84
#: The same while trees are sought: the best for operations are near the best for both, and easier to find.
_SOUGHT = 8
#: From this cost on, in multiply-adds (ten seconds), a second or two of search is cheaper than contracting a poor path.
_WORTH_A_SEARCH = 5e11
#: Up to this many nodes the exact order is found within milliseconds.
_FEW_NODES = 9
#: Up to this many nodes networks are cut in halves (the eigenvectors' cost grows as the cube).
_HALVED_NODES = 128


def greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The greedy path of opt_einsum: milliseconds, for any size of network."""
    return list(oe.paths.greedy([frozenset(i) for i in inputs], frozenset(output), dict(sizes), memory_limit))


def optimal(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The path of fewest operations, by dynamic programming over connected parts (cotengrust's).

    Networks that take more than about a minute are refused at once: what can be done depends on the number of connected parts (100
    nodes in a chain, 32 of a lattice, 14 on one hyperedge).
    """
    from cotengrust import optimize_optimal

    check_searchable(inputs)
    letter: dict[str, str] = {}
    for i in chain.from_iterable(inputs):
        letter.setdefault(i, oe.get_symbol(len(letter)))
    found = optimize_optimal(
        [[letter[i] for i in t] for t in inputs], [letter[i] for i in output], {letter[i]: sizes[i] for i in letter},
        minimize="flops", simplify=False, use_ssa=False,
    )  # fmt: skip
    return [tuple(step) for step in found]


def random_greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """Best of up to 128 randomised greedy paths (cotengrust's); seeded."""
    return _sampled(inputs, output, sizes, max(1, min(128, 50_000 // len(inputs))), 0).path


def hyper(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """Many greedy trees and many made of halves, refined, and the best of them refined further: about a second for 100 nodes.

    ``optimal`` up to 9 nodes.
    """
    if len(inputs) <= _FEW_NODES:
        return optimal(inputs, output, sizes, memory_limit)
    return _searched(inputs, output, sizes).path


def auto(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """``optimal`` up to 9 nodes; else the best of a few refined trees, and ``hyper`` where contracting that takes long."""
    n = len(inputs)
    if n <= _FEW_NODES:
        return optimal(inputs, output, sizes, memory_limit)
    trees = [_sampled(inputs, output, sizes, max(1, min(16, 6_400 // n)), 0), *_greedy_trees(inputs, output, sizes)]
    if n <= _HALVED_NODES:
        trees += [
            ContractionTree(inputs, output, sizes, halved(inputs, sizes, balance), _SOUGHT) for balance in (0.25, 0.4)
        ]
    tree = min((refine_(tree, 6, 20) for tree in trees), key=lambda t: t.total)
    tree = refine_(refine_(tree, 8, max(40, min(n // 2, 200))).weighed(WRITE), 6, 30)
    if tree.total > _WORTH_A_SEARCH:
        tree = min(tree, _searched(inputs, output, sizes), key=lambda t: t.total)
    return tree.path


def _searched(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> ContractionTree:
    """The tree of :func:`hyper`; bounded by trials, not by the clock, so that equal questions have equal answers."""
    n, rng = len(inputs), np.random.default_rng(0)
    trees = _greedy_trees(inputs, output, sizes)
    for seed in range(max(1, min(16, 3_200 // n))):
        wild = seed % 2 == 0 and n <= _HALVED_NODES
        ranges: dict[str, Any] = {"costmod": (0.3, 1.5), "temperature": (0.1, 1.0)} if wild else {}
        trees.append(_sampled(inputs, output, sizes, max(1, min(32, 20_000 // n)), seed, **ranges))
        if n <= 4 * _HALVED_NODES:
            trees.append(
                ContractionTree(inputs, output, sizes, halved(inputs, sizes, rng.uniform(0.1, 0.48), rng), _SOUGHT)
            )
    for leaves, solves, best in ((6, 100, len(trees)), (8, 200, 6)):
        trees = sorted((refine_(tree, leaves, solves) for tree in trees[:best]), key=lambda t: t.total)
    return min((refine_(tree.weighed(WRITE), 8, 200) for tree in trees[:4]), key=lambda t: t.total)


def _sampled(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], trials: int, seed: int, **ranges: Any
) -> ContractionTree:
    """The tree of fewest operations among randomised greedy ones; ``ranges`` of their ``costmod`` and ``temperature``."""
    from cotengrust import optimize_random_greedy_track_flops

    if len(inputs) > _HALVED_NODES:  # wild trials make tensors of thousands of axes there, in seconds
        ranges = {"costmod": (0.1, 1.0), "temperature": (0.001, 0.1)} | ranges
    letter: dict[str, str] = {}
    for i in chain.from_iterable(inputs):
        letter.setdefault(i, oe.get_symbol(len(letter)))
    steps, _ = optimize_random_greedy_track_flops(
        [[letter[i] for i in t] for t in inputs], [letter[i] for i in output], {letter[i]: sizes[i] for i in letter},
        ntrials=trials, seed=seed, use_ssa=True, **ranges,
    )  # fmt: skip
    return ContractionTree(inputs, output, sizes, pairwise_steps(steps, len(inputs)), _SOUGHT)


def _greedy_trees(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> list[ContractionTree]:
    """The greedy tree that keeps results small before all: the best for chains and trees; of large networks, ``greedy``'s too.

    It suits lattices; small ones have better trees among the sampled ones.
    """
    cool = _sampled(inputs, output, sizes, 1, 0, costmod=(0.3, 0.5), temperature=(0.001, 0.002))
    if len(inputs) <= _HALVED_NODES:
        return [cool]
    steps = numbered_steps(pairwise_path(greedy(inputs, output, sizes), len(inputs), "greedy"), len(inputs))
    return [cool, ContractionTree(inputs, output, sizes, steps, _SOUGHT)]


OPTIMIZERS: dict[str, Optimizer] = {
    "auto": auto,
    "greedy": greedy,
    "optimal": optimal,
    "random-greedy": random_greedy,
    "hyper": hyper,
}


def find_path(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], optimizer: str | Optimizer = "auto"
) -> Path:
    """A complete pairwise path for any inputs, by a name of :data:`OPTIMIZERS` or any optimiser object.

    Raises
    ------
    ValueError
        An unknown name, or an optimiser that returned a path which does not contract everything.
    TypeError
        An optimiser that is neither a name nor callable.
    """
    return find_order(inputs, output, sizes, optimizer)[0]


def find_order(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], optimizer: str | Optimizer = "auto"
) -> tuple[Path, Inds]:
    """As :func:`find_path`, and the indices that the optimiser slices.

    Index names are translated to single characters first, since some optimisers take no others.
    """
    if isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {optimizer!r}; known: {', '.join(OPTIMIZERS)}, or pass a path or an optimizer object"
        )
    if not callable(optimizer) and not isinstance(optimizer, str):
        raise TypeError(f"{RULE}, not {shown(optimizer)}")
    if len(inputs) == 1:
        return [], ()
    if len(inputs) == 2 and isinstance(optimizer, str):
        return [(0, 1)], ()
    letters: dict[str, str] = {}
    for term in inputs:
        for i in term:
            letters.setdefault(i, oe.get_symbol(len(letters)))
    short = [tuple(dict.fromkeys(letters[i] for i in term)) for term in inputs]
    problem = (short, tuple(letters[i] for i in output), {letters[i]: sizes[i] for i in letters})
    if isinstance(optimizer, str):
        return pairwise_path(OPTIMIZERS[optimizer](*problem, None), len(inputs), f"the path of {optimizer}"), ()
    path, sliced = ask(optimizer, *problem)
    name = {letter: i for i, letter in letters.items()}
    return path, tuple(name[i] for i in sliced)

"""Path optimisers behind one call: ``(inputs, output, sizes, memory_limit) -> path`` (opt_einsum's own).

``inputs`` are tuples of distinct index names, ``output`` a tuple, ``path`` a list of pairs of positions, each pair
removed from the list and its result appended.  Any optimiser of opt_einsum is such a function already; those of other libraries
are asked in :mod:`tnkit.paths.foreign`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import opt_einsum as oe

from tnkit.core.checks import shown
from tnkit.paths.bisection import halved
from tnkit.paths.contraction_tree import (
    ContractionTree,
    Steps,
    linear_path,
    numbered_steps,
    pairwise_steps,
    refine_,
)
from tnkit.paths.foreign import RULE, ask, pairwise_path
from tnkit.paths.searchable import check_searchable
from tnkit.paths.sweep import swept_steps

__all__ = ["OPTIMIZERS", "Optimizer", "find_order", "find_path"]

Inds = tuple[str, ...]
Path = list[tuple[int, ...]]
Optimizer = Callable[[Sequence[Any], Any, Mapping[str, int], Any], Any]

#: Multiply-adds in the time of writing one entry and reading it again (the default ``tnkit.planning.calibration``, 4 bytes an entry; twice
#: that for float64): a tree of a few more operations is faster if it writes less.
WRITE = 84
#: The same while trees are sought: the best for operations are near the best for both, and easier to find.
_SOUGHT = 8
#: The weight of long contractions: 1.5 times fewer operations than with all of ``WRITE``, for 10-20 % more of the time predicted on one
#: thread; more threads multiply faster, and write no faster.
_BOTH = 20
#: From this cost on, in multiply-adds (ten seconds), a second or two of search is cheaper than contracting a poor path.
_WORTH_A_SEARCH = 5e11
#: Up to this many nodes the exact order is found within milliseconds.
_FEW_NODES = 9
#: Up to this many nodes a few greedy trees are nearly the best: more search is for those whose products take longer than their calls.
_WELL_SAMPLED = 48
#: Multiply-adds of such a network that take no longer than its calls; of larger ones, a node.
_CHEAP, _CHEAP_NODE = 1.5e5, 1e3
#: Multiply-adds that take less time than arranging a part of a tree anew.
_TINY = 3e4
#: Multiply-adds a node from which a few sweeps of large networks are tried; from fifty times that on, of any, and more.
_A_SWEEP = 2e5
#: Multiply-adds in the time of arranging one part of a tree anew.
_A_SOLUTION = 2e7
#: So many parts are worth it only where contracting takes long.
_LONG = 40
#: And so many are as good as all.
_MOST = 2_000
#: Sizes are compared up to this one: cotengrust counts in single precision, and panics where a size is infinite there.
_LARGEST = 2**100
#: How the greedy tree that keeps results small before all is sought.
_COOL: dict[str, Any] = {"costmod": (0.3, 0.5), "temperature": (0.001, 0.002)}
#: Up to this many nodes networks are cut in halves (the eigenvectors' cost grows as the cube).
_HALVED_NODES = 128


def greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The greedy path of opt_einsum: milliseconds for a hundred nodes; its time grows faster than the network."""
    return list(oe.paths.greedy([frozenset(i) for i in inputs], frozenset(output), dict(sizes), memory_limit))


def optimal(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The path of fewest multiply-adds among those of connected parts, by dynamic programming (cotengrust's; Pfeifer et al. 2014).

    Tensors without a common index are multiplied at the end alone, when nothing else is left, as in the ``dp`` of opt_einsum.  Where
    small tensors meet one large one, an earlier outer product can take fewer; of three tensors all orders are compared.

    Networks that take more than about a minute are refused at once: what can be done depends on the number of connected parts (100
    nodes in a chain, 32 of a lattice, 14 on one hyperedge).
    """
    if len(inputs) == 3:
        return _of_three(inputs, output, sizes)
    from cotengrust import optimize_optimal

    check_searchable(inputs)
    found = optimize_optimal(*_one_letter(inputs, output, sizes), minimize="flops", simplify=False, use_ssa=False)
    return [tuple(step) for step in found]


def _of_three(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> Path:
    """As :func:`optimal`, the three orders that there are compared: asking for it takes longer."""
    best, found = None, (0, 1)
    for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        both, rest = {*inputs[a], *inputs[b]}, {*inputs[c]}
        kept = rest.union([i for i in both if i in output])
        last = rest | (both & kept)
        cost = prod([sizes[i] for i in both]) + prod([sizes[i] for i in last])
        if best is None or cost < best:
            best, found = cost, (a, b)
    return [found, (0, 1)]


def random_greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """Best of up to 128 randomised greedy paths (cotengrust's); seeded."""
    return _sampled(inputs, output, sizes, max(1, min(128, 50_000 // len(inputs))), 0).path


def hyper(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """Many greedy trees, sweeps and halves, refined, and the best of them refined further: about a second for 100 nodes.

    ``optimal`` up to 9 nodes.
    """
    if len(inputs) <= _FEW_NODES:
        return optimal(inputs, output, sizes, memory_limit)
    return _searched(inputs, output, sizes).path


def auto(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """``optimal`` up to 9 nodes; else the best of a few refined trees, and ``hyper`` where contracting that takes long.

    A search takes about as long as it may spare: a few greedy trees where those are cheap, sweeps and a longer refinement where
    contracting takes longer than they do.
    """
    n = len(inputs)
    if n <= _FEW_NODES:
        return optimal(inputs, output, sizes, memory_limit)
    steps, flops = _quick_steps(inputs, output, sizes)
    if flops <= _TINY:
        return linear_path(steps, n)
    tree = ContractionTree(inputs, output, sizes, steps, _SOUGHT)
    if flops <= (_CHEAP if n <= _WELL_SAMPLED else n * _CHEAP_NODE):
        return refine_(tree, 6, 6).path
    trees = [tree, *_greedy_trees(inputs, output, sizes)]
    if n <= _HALVED_NODES:
        trees += [
            ContractionTree(inputs, output, sizes, halved(inputs, sizes, balance), _SOUGHT) for balance in (0.25, 0.4)
        ]
    tree = min((refine_(tree, 6, 20) for tree in trees), key=lambda t: t.total)
    large = tree.total > 50 * n * _A_SWEEP
    if large or (n > _HALVED_NODES and tree.total > n * _A_SWEEP):
        ends = 4 if large else 2
        sweep = ContractionTree(inputs, output, sizes, swept_steps(inputs, output, sizes, ends), _SOUGHT)
        tree = min(tree, refine_(sweep, 6, max(20, n // 4)), key=lambda t: t.total)
    tree = refine_(tree, 8, max(40, min(n // 2, 200)))
    more = int(min(2 * n, _MOST, tree.total / _A_SOLUTION))
    tree = refine_(tree.weighed(WRITE), 6, 30) if more < _LONG else refine_(tree.weighed(_last_weight(n)), 8, more)
    if tree.total > _WORTH_A_SEARCH and n <= 4 * _HALVED_NODES:  # of larger ones all trees were seen
        tree = min(tree, _searched(inputs, output, sizes), key=lambda t: t.weighed(WRITE).total)
    return tree.path


def _last_weight(n: int) -> int:
    return WRITE if n <= 4 * _HALVED_NODES else _BOTH


def _quick_steps(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> tuple[Steps, float]:
    """The best of a few greedy trees, and its multiply-adds: under a millisecond up to 40 nodes."""
    n = len(inputs)
    several = _sampled_steps(inputs, output, sizes, max(1, min(16, 6_400 // n)), 0)
    return min(several, _sampled_steps(inputs, output, sizes, 1, 0, **_COOL), key=lambda found: found[1])


def _searched(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> ContractionTree:
    """The tree of :func:`hyper`; bounded by trials, not by the clock, so that equal questions have equal answers."""
    n, rng = len(inputs), np.random.default_rng(0)
    trees = _greedy_trees(inputs, output, sizes)
    trees.append(ContractionTree(inputs, output, sizes, swept_steps(inputs, output, sizes), _SOUGHT))
    for seed in range(max(1, min(16, 3_200 // n))):
        wild = seed % 2 == 0 and n <= _HALVED_NODES
        ranges: dict[str, Any] = {"costmod": (0.3, 1.5), "temperature": (0.1, 1.0)} if wild else {}
        trees.append(_sampled(inputs, output, sizes, max(1, min(32, 20_000 // n)), seed, **ranges))
        if n <= 4 * _HALVED_NODES:
            trees.append(
                ContractionTree(inputs, output, sizes, halved(inputs, sizes, rng.uniform(0.1, 0.48), rng), _SOUGHT)
            )
    for leaves, solves, best in ((6, max(100, n // 4), len(trees)), (8, max(200, n // 4), 6)):
        trees = sorted((refine_(tree, leaves, solves) for tree in trees[:best]), key=lambda t: t.total)
    return min(
        (refine_(tree.weighed(_last_weight(n)), 8, max(200, min(n, _MOST))) for tree in trees[:4]),
        key=lambda t: t.total,
    )


def _sampled(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], trials: int, seed: int, **ranges: Any
) -> ContractionTree:
    """The tree of fewest operations among randomised greedy ones; ``ranges`` of their ``costmod`` and ``temperature``."""
    steps, _ = _sampled_steps(inputs, output, sizes, trials, seed, **ranges)
    return ContractionTree(inputs, output, sizes, steps, _SOUGHT)


def _sampled_steps(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], trials: int, seed: int, **ranges: Any
) -> tuple[Steps, float]:
    """The steps of :func:`_sampled`, and their multiply-adds."""
    from cotengrust import optimize_random_greedy_track_flops

    if len(inputs) > _HALVED_NODES:  # wild trials make tensors of thousands of axes there, in seconds
        ranges = {"costmod": (0.1, 1.0), "temperature": (0.001, 0.1)} | ranges
    short = _one_letter(inputs, output, sizes)
    steps, flops = optimize_random_greedy_track_flops(*short, ntrials=trials, seed=seed, use_ssa=True, **ranges)
    return pairwise_steps(steps, len(inputs)), 10.0 ** min(flops, 300.0)


def _one_letter(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]
) -> tuple[Sequence[Sequence[str]], Sequence[str], Mapping[str, int]]:
    """The network with indices of one letter each, which cotengrust wants; as it is where they are that."""
    if max(sizes.values(), default=1) > _LARGEST:
        sizes = {i: min(n, _LARGEST) for i, n in sizes.items()}
    if all(len(i) == 1 for i in sizes):
        return inputs, output, sizes
    letter: dict[str, str] = {}
    for i in chain.from_iterable(inputs):
        letter.setdefault(i, oe.get_symbol(len(letter)))
    return [[letter[i] for i in t] for t in inputs], [letter[i] for i in output], {letter[i]: sizes[i] for i in letter}


def _greedy_trees(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]) -> list[ContractionTree]:
    """The greedy tree that keeps results small before all: the best for chains and trees; of large networks, ``greedy``'s too.

    It suits lattices; small ones have better trees among the sampled ones.
    """
    cool = _sampled(inputs, output, sizes, 1, 0, **_COOL)
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
"""The searches for an order by name, for ``optimizer=`` of :func:`plan`: name -> ``f(inputs, output, sizes, memory_limit) -> path``.

>>> sorted(tk.OPTIMIZERS)
['auto', 'greedy', 'hyper', 'optimal', 'random-greedy']
>>> net = tk.from_einsum("ab,bc,cd->ad", dict(a=2, b=100, c=3, d=100))
>>> tk.plan(net, "optimal").flops <= tk.plan(net, "greedy").flops
True

``auto``: as ``optimal`` up to 9 nodes, else as much search as the contraction is worth.  ``greedy``: opt_einsum's.  ``optimal``: the
fewest multiply-adds of all orders without early outer products; larger networks than it can finish are refused.  ``random-greedy``: the
best of up to 128 greedy orders.  ``hyper``: many orders, refined, for contractions that take long.
"""


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
            f"unknown optimizer {shown(optimizer)}; known: {', '.join(OPTIMIZERS)}, or pass a path or an optimizer object"
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

"""Path optimisers behind one call: ``(inputs, output, sizes, memory_limit) -> path`` (opt_einsum's own).

``inputs`` are tuples of distinct index names, ``output`` a tuple, ``path`` a list of pairs of positions, each pair
removed from the list and its result appended.  Any optimiser of opt_einsum is such a function already; cotengra's, which
take no memory limit, are called without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from inspect import signature
from typing import Any

import opt_einsum as oe

__all__ = ["OPTIMIZERS", "Optimizer", "find_path", "path_flops"]

Inds = tuple[str, ...]
Path = list[tuple[int, ...]]
Optimizer = Callable[[Sequence[Any], Any, Mapping[str, int], Any], Any]

#: Above this many multiply-adds a second of hyper-search is cheaper than contracting a poor path.
_WORTH_A_SEARCH = 1e9


def greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The greedy path of opt_einsum: milliseconds, for any size of network."""
    return list(oe.paths.greedy([frozenset(i) for i in inputs], frozenset(output), dict(sizes), memory_limit))


def optimal(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The path of fewest operations, by dynamic programming; practical to about 20 nodes."""
    return list(
        oe.DynamicProgramming(minimize="flops")(
            [frozenset(i) for i in inputs], frozenset(output), dict(sizes), memory_limit
        )
    )


def random_greedy(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """Best of up to 128 randomised greedy paths (cotengra's, in Rust); seeded."""
    from cotengra.pathfinders.path_basic import optimize_random_greedy_track_flops

    # repeated equal terms and names are fine here, and so are disconnected networks
    trials = max(8, min(128, 25_000 // len(inputs)))  # under a second for thousands of nodes
    path, _ = optimize_random_greedy_track_flops(
        list(inputs), output, dict(sizes), ntrials=trials, seed=0, use_ssa=False
    )
    return [tuple(p) for p in path]


def hyper(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """The hyper-optimised search of cotengra (Gray and Kourtis, arXiv 2002.01935): about a second, the best orders."""
    import cotengra as ctg

    search = ctg.HyperOptimizer(
        methods=["greedy"],
        max_repeats=64,
        max_time=2.0,
        parallel=False,
        progbar=False,
        optlib="random",
        minimize="combo-64",
    )
    return [tuple(p) for p in search(list(inputs), output, dict(sizes), memory_limit)]


def auto(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], memory_limit: Any = None) -> Path:
    """``optimal`` up to 9 nodes, else ``random-greedy``, and ``hyper`` where the estimate says that a search pays."""
    if len(inputs) <= 9:
        return optimal(inputs, output, sizes, memory_limit)
    path = random_greedy(inputs, output, sizes, memory_limit)
    flops = path_flops(inputs, output, sizes, path)
    if flops > _WORTH_A_SEARCH:
        other = hyper(inputs, output, sizes, memory_limit)
        path = min(path, other, key=lambda p: path_flops(inputs, output, sizes, p))
    return path


OPTIMIZERS: dict[str, Optimizer] = {
    "auto": auto,
    "greedy": greedy,
    "optimal": optimal,
    "random-greedy": random_greedy,
    "hyper": hyper,
}


def path_flops(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], path: Sequence[Sequence[int]]) -> float:
    """Multiply-adds of a path: the product of all sizes at every pairwise step, summed."""
    terms = [frozenset(i) for i in inputs]
    count: dict[str, int] = {}
    for term in (*terms, frozenset(output)):
        for i in term:
            count[i] = count.get(i, 0) + 1
    total = 0.0
    for step in path:
        gone = [terms.pop(k) for k in sorted(step, reverse=True)]
        every = frozenset().union(*gone)
        cost = 1.0
        for i in every:
            cost *= sizes[i]
        total += cost
        for t in gone:
            for i in t:
                count[i] -= 1
        result = frozenset(i for i in every if count[i])
        for i in result:
            count[i] += 1
        terms.append(result)
    return total


def find_path(
    inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], optimizer: str | Optimizer = "auto"
) -> Path:
    """A complete pairwise path for any inputs, by a name of :data:`OPTIMIZERS` or any optimiser object.

    Index names are translated to single characters first, since some optimisers take no others.

    Raises
    ------
    ValueError
        An unknown name, or an optimiser that returned a path which does not contract everything.
    TypeError
        An optimiser that is neither a name nor callable.
    """
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ValueError(
                f"unknown optimizer {optimizer!r}; known: {', '.join(OPTIMIZERS)}, or pass an optimiser object"
            )
        optimizer = OPTIMIZERS[optimizer]
    if not callable(optimizer):
        raise TypeError(
            f"an optimizer is a name or a function (inputs, output, sizes, memory_limit), not {type(optimizer).__name__}"
        )
    if len(inputs) == 1:
        return []
    if len(inputs) == 2:
        return [(0, 1)]
    letters: dict[str, str] = {}
    for term in inputs:
        for i in term:
            letters.setdefault(i, oe.get_symbol(len(letters)))
    short = [tuple(dict.fromkeys(letters[i] for i in term)) for term in inputs]
    problem = (short, tuple(letters[i] for i in output), {letters[i]: sizes[i] for i in letters})
    return _pairwise(_call(optimizer, *problem), len(inputs))


def _fresh(optimizer: Optimizer) -> Optimizer:
    """A copy that shares no state, except for what cannot be copied (modules, pools)."""
    new = copy(optimizer)
    if new is not optimizer:  # functions copy to themselves
        for name, value in getattr(new, "__dict__", {}).items():
            with suppress(Exception):
                new.__dict__[name] = deepcopy(value)
    return new


def _call(
    optimizer: Optimizer, inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int]
) -> Sequence[Sequence[int]]:
    """Call an optimiser: a copy of it, for search objects remember one contraction; cotengra's take no memory limit."""
    optimizer = _fresh(optimizer)
    arguments: list[Any] = [list(inputs), output, dict(sizes), None]
    try:
        signature(optimizer).bind(*arguments)
    except TypeError:
        arguments.pop()
    except ValueError:  # compiled: no signature to be read
        pass
    path = optimizer(*arguments)
    try:
        return [tuple(int(k) for k in step) for step in path]
    except TypeError:
        raise TypeError(f"the optimizer gave {path!r}, which is no list of tuples of positions") from None


def _pairwise(path: Sequence[Sequence[int]], n: int) -> Path:
    """The path with every step a pair: single-term steps dropped, larger ones folded, the rest joined at the end."""
    order = list(range(n))  # which live term stands at each position
    live, nxt = list(range(n)), n
    out: Path = []

    def merge(a: int, b: int) -> int:
        nonlocal nxt
        i, j = sorted((live.index(a), live.index(b)))
        out.append((i, j))
        live.pop(j)
        live.pop(i)
        live.append(nxt)
        nxt += 1
        return nxt - 1

    for step in path:
        if any(not 0 <= k < len(order) for k in step):
            raise ValueError(f"the optimizer's path has step {tuple(step)} where only {len(order)} terms are left")
        if len(set(step)) != len(step):
            raise ValueError(f"the optimizer's path has step {tuple(step)}, which names a term twice")
        terms = [order.pop(k) for k in sorted(step, reverse=True)]
        while len(terms) > 1:
            terms.append(merge(terms.pop(0), terms.pop(0)))
        order.extend(terms)
    while len(order) > 1:
        order.append(merge(order.pop(0), order.pop(0)))
    return out

"""How large each bond may be: by rank, by tolerance, by a budget of parameters."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tnkit.core.checks import sequence, shown
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import TreeNetwork

__all__ = [
    "Limits", "Rank", "check_alone", "check_budget", "check_tol", "limits", "parameters_at", "ranks_of", "ranks_within",
]  # fmt: skip

#: Ranks whose error is looked at in a search.
_TRIALS = 300

#: One bound for all bonds, one a bond in the network's order, or some bonds by name.
Rank = int | Sequence[int] | Mapping[str, int] | None


@dataclass(frozen=True)
class Limits:
    """What a truncation may keep and lose.

    Attributes
    ----------
    caps
        Bond -> largest size; a bond that is not in it has none.
    tol
        Relative error that may be added.
    budget
        Most parameters, or None.
    """

    caps: Mapping[str, int]
    tol: float
    budget: int | None


def check_tol(tol: float, what: str) -> float:
    """A relative error: ValueError where it is negative or no number."""
    return real_number(tol, f"{what}: tol", positive=False)


def check_alone(budget: Any, rank: Any, tol: float, what: str) -> None:
    """ValueError where a budget stands beside a rank or a tolerance."""
    if budget is not None and (rank is not None or check_tol(tol, what)):
        raise ValueError(f"{what}: a budget chooses the ranks; give it alone, without rank or tol")


def check_budget(budget: Any, what: str) -> int:
    """A count of parameters: TypeError for what is no whole number."""
    return whole_number(budget, f"{what}: budget")


def ranks_of(rank: Any, bonds: int, what: str) -> tuple[int, ...]:
    """One rank a bond, from one whole number for all or from a sequence: a tuple, a list, an array."""
    if isinstance(rank, np.ndarray) and not rank.shape:
        rank = rank.item()
    if hasattr(rank, "__index__") and not getattr(rank, "shape", ()):
        return (whole_number(rank, f"{what}: rank", 1),) * bonds
    try:
        given = sequence(rank, f"{what}: rank")
    except TypeError:
        raise TypeError(f"{what}: rank is a whole number or a sequence of them, not {shown(rank)}") from None
    if len(given) != bonds:
        raise ValueError(f"{what}: {len(given)} ranks given for {bonds} bonds")
    return tuple(whole_number(r, f"{what}: rank", 1) for r in given)


def limits(tree: TreeNetwork, rank: Rank, tol: float, budget: int | None, what: str) -> Limits:
    """Check what the caller allows.

    Raises
    ------
    TypeError, ValueError
        A rank below 1, for a bond that is not there, or too few or many; a tolerance that is none; a budget beside a rank or a
        tolerance, or one that not even ranks of 1 keep.
    """
    bonds = tree.bonds
    check_alone(budget, rank, tol, what)
    if rank is None:
        caps = {}
    elif isinstance(rank, Mapping):
        for name in rank:
            if name not in bonds:
                raise ValueError(f"{what}: rank names {name!r}, which is no bond; there are {', '.join(bonds)}")
        caps = dict(zip(rank, ranks_of(list(rank.values()), len(rank), what), strict=True))
    else:
        caps = dict(zip(bonds, ranks_of(rank, len(bonds), what), strict=True))
    if budget is not None:
        budget = check_budget(budget, what)
        caps = _caps(tree, budget, what)
    return Limits(caps, check_tol(tol, what), budget)


def parameters_at(tree: TreeNetwork, ranks: Mapping[str, int] | None = None) -> int:
    """Numbers stored at these ranks; at ranks of 1 by default."""
    sizes = {**tree.net.sizes, **(dict.fromkeys(tree.bonds, 1) if ranks is None else ranks)}
    return sum(prod(sizes[i] for i in node.inds) for node in tree.net.nodes)


def _caps(tree: TreeNetwork, budget: int, what: str) -> dict[str, int]:
    """Largest size of each bond within a budget, the others being 1."""
    ones = dict.fromkeys(tree.bonds, 1)
    floor = parameters_at(tree, ones)
    if floor > budget:
        raise ValueError(f"{what}: not even ranks of 1 fit a budget of {budget}: they take {floor} parameters")
    return {b: 1 + (budget - floor) // (parameters_at(tree, {**ones, b: 2}) - floor) for b in ones}


def ranks_within(
    tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int, lost: Callable[[Mapping[str, int]], float]
) -> dict[str, int]:
    """The ranks within a budget that lose least, as far as a search found.

    The sum over bonds of the discarded squared singular values bounds the square of the error and stands for it first.  Three
    starts: all values above one bound, as a tolerance keeps them; ranks of 1; equal ranks; each filled up by what is gained a
    number stored.  The best is then mended, one bond lowered or raised at a time and the others adapted, by the true error.

    Parameters
    ----------
    tree
        The network, its bonds as large as the singular values say.
    squares
        Bond -> squared singular values across it.
    budget
        Most parameters.
    lost
        The error at these ranks, or what rises with it.
    """
    seen: dict[tuple[int, ...], float] = {}

    def value(ranks: Mapping[str, int]) -> float:
        key = tuple(ranks.values())
        if key not in seen:
            seen[key] = lost(ranks)
        return seen[key]

    best = min((_filled(tree, squares, budget, start) for start in _rank_starts(tree, squares, budget)), key=value)
    while len(seen) < _TRIALS:
        near = sorted(
            _near(tree, squares, budget, best), key=lambda r: sum(s[r[b] :].sum() for b, s in squares.items())
        )
        found = min(near[: min(_TRIALS - len(seen), 60)], key=value, default=best)
        if value(found) >= value(best) * (1 - 1e-9):
            break
        best = found
    return _useful(tree, best)


def _rank_starts(tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int) -> list[dict[str, int]]:
    def last(ranks: Callable[[int], dict[str, int]], count: int) -> dict[str, int]:
        """The largest of these ranks that fit: their count rises with k."""
        return ranks(bisect(range(count), budget, key=lambda k: parameters_at(tree, ranks(k))) - 1)

    bounds = np.unique(np.concatenate(list(squares.values())))[::-1]
    ones = dict.fromkeys(squares, 1)
    level = last(
        lambda k: {b: max(1, int(np.sum(s >= bounds[k - 1]))) for b, s in squares.items()} if k else ones,
        len(bounds) + 1,
    )
    equal = last(lambda k: {b: min(k + 1, len(s)) for b, s in squares.items()}, max(map(len, squares.values())))
    return [level, ones, equal]


def _near(
    tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int, ranks: dict[str, int]
) -> list[dict[str, int]]:
    """One bond raised, others lowered for it; or one lowered and another raised as far as that fits."""
    found = []
    for b, s in squares.items():
        if ranks[b] < len(s):
            found.append(_lowered(tree, squares, budget, {**ranks, b: ranks[b] + 1}, b))
        for c, t in squares.items() if ranks[b] > 1 else ():
            other = {**ranks, b: ranks[b] - 1}
            while c != b and other[c] < len(t) and parameters_at(tree, {**other, c: other[c] + 1}) <= budget:
                other[c] += 1
            found.append(other)
    return [_filled(tree, squares, budget, r) for r in found if r is not None]


def _lowered(
    tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int, ranks: dict[str, int], kept: str
) -> dict[str, int] | None:
    """Less for the bonds that lose least a number stored, all but one, until the ranks fit."""
    ranks = dict(ranks)
    while (count := parameters_at(tree, ranks)) > budget:
        costs = {
            b: s[ranks[b] - 1] / (count - parameters_at(tree, {**ranks, b: ranks[b] - 1}))
            for b, s in squares.items()
            if ranks[b] > 1 and b != kept
        }
        if not costs:
            return None
        ranks[min(costs, key=lambda b: costs[b])] -= 1
    return ranks


def _filled(tree: TreeNetwork, squares: Mapping[str, np.ndarray], budget: int, ranks: dict[str, int]) -> dict[str, int]:
    """One more for the bond that gains most a number stored, until nothing fits."""
    ranks = dict(ranks)
    while True:
        count, best, gain = parameters_at(tree, ranks), None, 0.0
        for b, s in squares.items():
            if ranks[b] < len(s):
                cost = parameters_at(tree, {**ranks, b: ranks[b] + 1}) - count
                if count + cost <= budget and s[ranks[b]] / cost > gain:
                    best, gain = b, s[ranks[b]] / cost
        if best is None:
            return ranks
        ranks[best] += 1


def _useful(tree: TreeNetwork, ranks: dict[str, int]) -> dict[str, int]:
    """No bond larger than the other indices of a node at its end."""
    ranks, changed = dict(ranks), True
    while changed:
        changed = False
        for node in tree.net.nodes:
            sizes = {**tree.net.sizes, **ranks}
            for b in tree.links[node.name].values():
                others = prod(sizes[i] for i in node.inds if i != b)
                if ranks[b] > others:
                    ranks[b], changed = others, True
                    sizes[b] = others
    return ranks

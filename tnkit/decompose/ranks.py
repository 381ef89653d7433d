"""How large each bond may be: by rank, by tolerance, by a budget of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tnkit.core.checks import sequence, shown
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import TreeNetwork
from tnkit.core.wording import plural

__all__ = ["Limits", "Rank", "check_alone", "check_budget", "check_tol", "limits", "ranks_of"]

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


def check_tol(tol: float | None, what: str) -> float:
    """A relative error, 0 for None: ValueError where it is negative or no number."""
    return 0.0 if tol is None else real_number(tol, f"{what}: tol", positive=False)


def check_alone(budget: Any, rank: Any, tol: float | None, what: str) -> None:
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
        raise ValueError(f"{what}: {plural(len(given), 'rank')} given for {plural(bonds, 'bond')}")
    return tuple(whole_number(r, f"{what}: rank", 1) for r in given)


def limits(tree: TreeNetwork, rank: Rank, tol: float | None, budget: int | None, what: str) -> Limits:
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
                raise ValueError(f"{what}: rank names {shown(name)}, which is no bond; there are {', '.join(bonds)}")
        caps = dict(zip(rank, ranks_of(list(rank.values()), len(rank), what), strict=True))
    else:
        caps = dict(zip(bonds, ranks_of(rank, len(bonds), what), strict=True))
    if budget is not None:
        budget = check_budget(budget, what)
        caps = _caps(tree, budget, what)
    return Limits(caps, check_tol(tol, what), budget)


def _caps(tree: TreeNetwork, budget: int, what: str) -> dict[str, int]:
    """Largest size of each bond within a budget, the others being 1."""
    bonds = set(tree.bonds)
    free = {node: prod(tree.net.sizes[i] for i in inds if i not in bonds) for node, inds in tree.inds.items()}
    floor = sum(free.values())
    if floor > budget:
        raise ValueError(f"{what}: not even ranks of 1 fit a budget of {budget}: they take {floor} parameters")
    each = dict.fromkeys(tree.bonds, 0)
    for node, links in tree.links.items():
        for bond in links.values():
            each[bond] += free[node]
    return {b: 1 + (budget - floor) // n for b, n in each.items()}

"""A budget for several weights together: shared out in proportion to their sizes, within what their families can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from tnkit_nn.budgets import SLACK, keeps

__all__ = ["shared"]

#: A budget -> what a weight becomes, which has a ``net``.
Make = Callable[[int], Any]


def shared(total: int, shapes: Mapping[str, Sequence[int]], makes: Mapping[str, Make]) -> dict[str, tuple[int, Any]]:
    """Name -> its part of the budget, and what it becomes.

    Each weight has its size's share of the budget.  A weight whose smallest network is larger than its share, or that is itself
    smaller, gets what it needs, and the others share the rest.  What is over at the end goes to those that can use it, the largest
    first.

    Parameters
    ----------
    total
        Parameters of all networks together.
    shapes
        Of the weights, by name.
    makes
        By the same names, what makes a network of at most about so many parameters.
    """
    sizes, found, rest = {name: prod(shapes[name]) for name in makes}, dict[str, tuple[int, Any]](), total
    while len(found) < len(makes):
        free = [name for name in makes if name not in found]
        whole = sum(sizes[name] for name in free)
        parts = {name: max(1, min(sizes[name], round(rest * sizes[name] / whole))) for name in free}
        made = {name: (parts[name], makes[name](parts[name])) for name in free}
        # networks larger than their part first: what they take is missing for the others
        settled = {name: pair for name, pair in made.items() if not keeps(_count(pair), parts[name])}
        settled = settled or {name: pair for name, pair in made.items() if parts[name] == sizes[name]} or made
        found |= settled
        rest = max(0, rest - sum(map(_count, settled.values())))
    return _filled(total, sizes, makes, {name: found[name] for name in makes})


def _count(pair: tuple[int, Any]) -> int:
    count: int = pair[1].net.num_params
    return count


def _filled(
    total: int, sizes: Mapping[str, int], makes: Mapping[str, Make], found: dict[str, tuple[int, Any]]
) -> dict[str, tuple[int, Any]]:
    """The same, with larger networks where a part of the budget is not used: families have counts in steps."""
    for name in sorted(found, key=lambda name: -sizes[name]):
        over = total - sum(map(_count, found.values()))
        if over <= SLACK * total:
            break
        part = min(sizes[name], _count(found[name]) + over)
        larger = (part, makes[name](part))
        if _count(found[name]) < _count(larger) <= part:
            found[name] = larger
    return found

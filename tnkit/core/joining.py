"""Which index of one network meets which of another, and where the indices that are left stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tnkit.core.inside import all_indices
from tnkit.core.node import indices_among
from tnkit.core.wording import shown

__all__ = ["join_networks", "joined_output", "pairs_on"]


def join_networks(
    net: Any, other: Any, output: Iterable[str] | None, on: Iterable[str] | Mapping[str, str]
) -> tuple[tuple[Any, ...], tuple[str, ...], dict[str, int]]:
    """Nodes, output and sizes of two networks as one; see :meth:`tnkit.Network.join`."""
    pairs, mine = pairs_on(on, all_indices(net) & all_indices(other)), net
    _check_joined(net, other, pairs)
    if isinstance(on, Mapping):
        mine = net.relabel({i: j for i, j in pairs.items() if i != j})
    shared = (all_indices(mine) & all_indices(other)) - set(pairs.values())
    if shared:
        i = min(shared)
        raise ValueError(f"join: both networks have index {i!r}; declare it in on=, or relabel one")
    if output is None:
        output = joined_output(net.output, other.output, pairs, isinstance(on, Mapping))
    sizes = {**mine.sizes, **other.sizes}
    return (*mine.nodes, *other.nodes), indices_among(output, sizes, "join: output"), sizes


def pairs_on(on: Iterable[str] | Mapping[str, str], shared: set[str]) -> dict[str, str]:
    """Index of the first network -> index of the second one; ``shared`` are the names that both have.

    Raises
    ------
    TypeError
        Names that are no strings.
    ValueError
        An index of the second one twice.
    """
    if not isinstance(on, Mapping):
        return {i: i for i in indices_among(on, shared, "join: on")}
    for i, j in on.items():
        if not isinstance(i, str) or not isinstance(j, str):
            raise TypeError(f"join: on maps names of indices to names of indices, not {shown(i)} to {shown(j)}")
    if len(set(on.values())) != len(on):
        raise ValueError(f"join: on names an index of the other network twice, {tuple(on.values())}")
    return dict(on)


def _check_joined(mine: Any, other: Any, pairs: Mapping[str, str]) -> None:
    """ValueError where a pair is not open on both sides, sizes differ, or a new name is one of the first network's already."""
    for i, j in pairs.items():
        which = shown(i) if i == j else f"{shown(i)} (with {shown(j)})"
        if i not in mine.output or j not in other.output:
            raise ValueError(f"join: index {which} of on= is not in both outputs, {mine.output} and {other.output}")
        if mine.sizes[i] != other.sizes[j]:
            raise ValueError(f"join: index {which} has size {mine.sizes[i]} here and {other.sizes[j]} there")
        if i != j and j in mine.sizes and j not in pairs:
            raise ValueError(f"join: both networks have index {j!r}; relabel one")


def joined_output(
    mine: Sequence[str], theirs: Sequence[str], pairs: Mapping[str, str], places: bool
) -> tuple[str, ...]:
    """The open indices of both that are left: those of the second one last, or in the places of the pairs.

    >>> joined_output(("i0", "i1", "i2"), ("o", "x"), {"i1": "x"}, True)
    ('i0', 'o', 'i2')
    """
    new = [j for j in theirs if j not in pairs.values()]
    if not places or not pairs:
        return (*(i for i in mine if i not in pairs), *new)
    replaced = [i for i in mine if i in pairs] if set(new) == set(pairs) else list(pairs)
    order = replaced if set(new) == set(pairs) else new
    at: dict[str, list[str]] = {i: [] for i in replaced}
    for k, j in enumerate(order):
        at[replaced[min(k, len(replaced) - 1)]].append(j)
    return tuple(j for i in mine for j in at.get(i, [i]))

"""Which networks an exact search finishes: it visits every connected part, and a count of those tells before it begins."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["check_searchable", "connected_parts"]

#: Connected parts that are searched through within a minute, whatever the sizes (14 nodes joined all to all have 16,383: 15 s).
_MOST_PARTS = 2**15
#: (nodes, neighbours of each) of sparse networks, in most of whose parts the search finds at once that nothing is gained: seconds.
_SPARSE = ((32, 3), (24, 4))


def check_searchable(inputs: Sequence[Sequence[str]]) -> None:
    """ValueError for a network that an exact search would not finish; quick for any network.

    >>> check_searchable([("a", "b"), ("b", "c"), ("c", "a")])
    """
    near = _neighbours(inputs)
    most = max((n.bit_count() for n in near), default=0)
    if any(len(inputs) <= nodes and most <= neighbours for nodes, neighbours in _SPARSE):
        return
    if connected_parts(near, _MOST_PARTS) > _MOST_PARTS:
        raise ValueError(
            f"optimizer 'optimal': {len(inputs)} nodes with more than {_MOST_PARTS:,} connected parts are not searched through in a "
            "minute; take 'auto' or 'hyper'"
        )


def connected_parts(near: Sequence[int], most: int) -> int:
    """Connected sets of nodes, counted up to just above ``most``; ``near`` has a bit for each neighbour of each node."""
    count = 0
    for first in range(len(near)):  # parts whose least node this is: each is met once, as a tree of what may still join
        closed = (2 << first) - 1
        stack = [(near[first] & ~closed, closed)]
        while stack:
            border, closed = stack.pop()
            count += 1
            if count > most:
                return count
            while border:
                low = border & -border
                border ^= low
                closed |= low
                stack.append(((border | near[low.bit_length() - 1]) & ~closed, closed))
    return count


def _neighbours(inputs: Sequence[Sequence[str]]) -> list[int]:
    users: dict[str, int] = {}
    for k, term in enumerate(inputs):
        for i in term:
            users[i] = users.get(i, 0) | 1 << k
    near = []
    for k, term in enumerate(inputs):
        bits = 0
        for i in term:
            bits |= users[i]
        near.append(bits & ~(1 << k))
    return near

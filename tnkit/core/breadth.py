"""Breadth-first search in a graph of neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

__all__ = ["distances"]

_V = TypeVar("_V", bound=Hashable)


def distances(near: Mapping[_V, Iterable[_V]], *starts: _V) -> dict[_V, int]:
    """Vertex -> steps from the nearest start, nearest ones first."""
    found = dict.fromkeys(starts, 0)
    todo = deque(starts)
    while todo:
        v = todo.popleft()
        for u in near[v]:
            if u not in found:
                found[u] = found[v] + 1
                todo.append(u)
    return found

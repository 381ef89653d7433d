"""Trees of any depth, walked without recursion: Python's stack ends near a thousand levels, a network does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["equal", "folded", "inside_out", "outside_in"]

T = TypeVar("T")
R = TypeVar("R")


def outside_in(root: T, inner: Callable[[T], Sequence[T]]) -> list[T]:
    """Every part before what is inside it, from left to right.

    >>> outside_in(3, lambda n: range(n))
    [3, 0, 1, 0, 2, 0, 1, 0]
    """
    found, todo = [], [root]
    while todo:
        part = todo.pop()
        found.append(part)
        todo += reversed(inner(part))
    return found


def inside_out(root: T, inner: Callable[[T], Sequence[T]]) -> list[T]:
    """Every part after what is inside it, from left to right."""
    found, todo = [], [root]
    while todo:
        part = todo.pop()
        found.append(part)
        todo += inner(part)
    found.reverse()
    return found


def folded(root: T, inner: Callable[[T], Sequence[T]], make: Callable[[T, list[R]], R]) -> R:
    """``make(part, what was made of the parts inside it)``, of every part, the inner ones first.

    >>> folded(3, lambda n: range(n), lambda n, below: 1 + sum(below))
    8
    """
    made: list[R] = []
    for part in inside_out(root, inner):
        split = len(made) - len(inner(part))
        below = made[split:]
        del made[split:]
        made.append(make(part, below))
    return made[0]


def equal(one: object, two: object, opened: Callable[[Any], tuple[object, Sequence[object]]]) -> bool:
    """Equality by value; ``opened`` gives what a part is of its own, and the parts inside it.  What differs has another
    hash, mostly.
    """
    todo = [(one, two)]
    while todo:
        a, b = todo.pop()
        if a is b:
            continue
        if type(a) is not type(b) or hash(a) != hash(b):
            return False
        (own, inner), (other, others) = opened(a), opened(b)
        if own != other or len(inner) != len(others):
            return False
        todo += zip(inner, others, strict=True)
    return True

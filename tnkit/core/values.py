"""Values that users give, checked where they come in: the value itself, or an error that states the rule, then the value.

Nothing here knows what a network is, so that networks and nodes check what they are made of with it too.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set
from typing import Any

import numpy as np

__all__ = ["flag", "one_of", "sequence", "shown", "text", "unordered"]


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its repr on one line, cut; of an array its type and shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    try:
        found = " ".join(repr(value).split())
    except Exception:  # a repr of its own that fails is no reason to hide the rule
        found = f"a {type(value).__name__}"
    return found if len(found) <= most else f"{found[: most - 3]}..."


def unordered(value: Any) -> bool:
    """Whether the items come in no order of their own: sets of every kind, but not the keys of a dict.

    >>> unordered({"i"}), unordered({"i": 2}.keys())
    (True, False)
    """
    return isinstance(value, Set) and not isinstance(value, (KeysView, ItemsView, Sequence))


def flag(value: Any, what: str) -> bool:
    """True or False (numpy's too), and no other value that has a truth."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{what} is True or False, not {shown(value)}")


def text(value: Any, what: str, empty: bool = False) -> str:
    """A string, by default not an empty one."""
    if isinstance(value, str) and (value or empty):
        return value
    raise TypeError(f"{what} is a {'' if empty else 'non-empty '}string, not {shown(value)}")


def one_of(value: Any, what: str, known: Iterable[str]) -> str:
    """A name among those known; TypeError for no string, ValueError for an unknown one."""
    names = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{what} is one of {', '.join(names)}, not {shown(value)}")
    if value not in names:
        raise ValueError(f"{what} is one of {', '.join(names)}, not {value!r}")
    return value


def sequence(value: Any, what: str) -> tuple[Any, ...]:
    """The items in their order, as a tuple; TypeError for what has no order (a set), and for bytes and strings."""
    if unordered(value):
        raise TypeError(f"{what} is a sequence, a tuple or a list, not {shown(value)}: a set has no order")
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{what} is a sequence, a tuple or a list, not {shown(value)}")
    return tuple(value)

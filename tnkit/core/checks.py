"""What users give, checked where it comes in: the value itself, or an error that states the rule, then the value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tnkit.core.network import Network
from tnkit.core.node import has_order, unordered
from tnkit.core.wording import plain_name, shown

__all__ = ["a_file_name", "a_function", "a_mapping", "a_network", "flag", "one_of", "sequence", "shown", "text"]


def a_network(value: Any, who: str) -> Network:
    """A Network; TypeError for anything else, with the way from what is often given instead.

    >>> net = tk.tt((2, 3), 2)
    >>> a_network(net, "norm") is net
    True
    """
    if isinstance(value, Network):
        return value
    hint = ""
    if isinstance(value, str):
        hint = "; a builder such as tk.tt makes one, tk.from_einsum one of an equation, tk.load one of a file"
    elif isinstance(getattr(value, "network", None), Network):
        hint = "; its .network is one"
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Network):
        paired = isinstance(value[1], Mapping)
        hint = (
            "; its first is one"
            if paired
            else f"; the arrays beside it map names to values, they are not {shown(value[1])}"
        )
    elif isinstance(value, list) and len(value) == 2 and isinstance(value[0], Network):
        hint = "; a network and its arrays are a pair as a tuple, not as a list"
    raise TypeError(f"{who}: a Network is needed, not {shown(value)}{hint}")


def a_mapping(value: Any, who: str, what: str = "arrays") -> Mapping[str, Any]:
    """A mapping from names; TypeError for anything else."""
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise TypeError(f"{who}: {what} map names to values, as a dict does; they are not {shown(value)}")


def a_function(value: Any, what: str) -> Callable[..., Any]:
    """What can be called; TypeError for anything else, classes included, which are seldom meant."""
    if callable(value) and not isinstance(value, type):
        return value  # type: ignore[no-any-return]
    raise TypeError(f"{what} is a function, not {shown(value)}")


def flag(value: Any, what: str) -> bool:
    """True or False (numpy's too), and no other value that has a truth."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{what} is True or False, not {shown(value)}")


def text(value: Any, what: str, empty: bool = False) -> str:
    """A string, by default not an empty one."""
    if isinstance(value, str) and (value or empty):
        return str(plain_name(value))
    raise TypeError(f"{what} is a {'' if empty else 'non-empty '}string, not {shown(value)}")


def one_of(value: Any, what: str, known: Iterable[str]) -> str:
    """A name among those known; TypeError for no string, ValueError for an unknown one."""
    names = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{what} is one of {', '.join(names)}, not {shown(value)}")
    name = str(plain_name(value))
    if name not in names:
        raise ValueError(f"{what} is one of {', '.join(names)}, not {name!r}")
    return name


def sequence(value: Any, what: str) -> tuple[Any, ...]:
    """The items in their order, as a tuple; TypeError for what has no order (a set), and for bytes and strings."""
    hint = ""
    if has_order(value):
        try:
            return tuple(value)
        except TypeError:  # what says that it has items, and has none
            pass
    elif unordered(value):
        hint = ": a set has no order"
    raise TypeError(f"{what} is a sequence, a tuple or a list, not {shown(value)}{hint}")


def a_file_name(path: Any, who: str) -> str:
    """A path as a string, ``~`` being the user's home; TypeError for numbers and bytes, which open() would take for something else."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(name := os.fspath(path), str) or not name:
        raise TypeError(f"{who}: path is a non-empty string or a path, not {shown(path)}")
    try:
        if b"\0" not in os.fsencode(name):
            return os.path.expanduser(name)
    except UnicodeEncodeError:
        pass
    raise ValueError(f"{who}: path {shown(name)} has a character that no file's name can have")

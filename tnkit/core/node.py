"""A leaf of a network: a name, its indices, and the array that fills it."""

from __future__ import annotations

from collections.abc import Container, ItemsView, Iterable, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar
from unicodedata import category

import numpy as np

from tnkit.core.wording import plain_name, shown

__all__ = [
    "CONSTANTS",
    "Fixed",
    "Node",
    "Sizes",
    "has_order",
    "indices",
    "indices_among",
    "plain_node",
    "store",
    "unordered",
]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: What ``Node.fixed`` may name: constants that the structure itself knows (see :func:`tnkit.init.constant`).
CONSTANTS = ("e0", "ones", "delta")


class Fixed(dict[_Key, _Value]):
    """A dict that does not change: what a network says of itself, which it says again.

    >>> shapes = tk.tt((2, 3), 2).array_shapes
    >>> shapes, shapes | {"core_0": ()}
    ({'core_0': (2, 2), 'core_1': (2, 3)}, {'core_0': (), 'core_1': (2, 3)})
    """

    _rule = "what a network says of itself does not change; dict(...) is a copy that does"

    def _refuse(self, *args: object, **kwargs: object) -> None:
        raise TypeError(self._rule)

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type, tuple[dict[_Key, _Value]]]:
        return type(self), (dict(self),)


class Sizes(Fixed[str, int]):
    """A dict that does not change and can be hashed, so that a network can be a key."""

    _rule = "the sizes of a network do not change; build a new network"

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def unordered(value: object) -> bool:
    """Whether the items come in no order of their own: sets of every kind, but not the keys of a dict.

    >>> unordered({"i"}), unordered({"i": 2}.keys())
    (True, False)
    """
    return isinstance(value, Set) and not isinstance(value, (KeysView, ItemsView, Sequence))


def has_order(value: object) -> bool:
    """Whether a value has items that come in an order: no set, no mapping, no text, and no array without axes.

    >>> has_order(["i", "j"]), has_order({"i": 2}), has_order("ij"), has_order(np.array(2))
    (True, False, False, False)
    """
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or unordered(value):
        return False
    return isinstance(value, Iterable) and getattr(value, "shape", None) != ()


def indices(inds: Iterable[str], where: str) -> tuple[str, ...]:
    """The names as a tuple: of a string its letters, of a sequence its items.

    >>> indices("ij", "node 'A'"), indices(["row", "i,j"], "node 'A'")
    (('i', 'j'), ('row', 'i,j'))

    Raises
    ------
    TypeError
        What has no order, or is no sequence of strings; the message names ``where``.
    ValueError
        A string with a comma, a space or another sign in it, or an empty name.
    """
    if not isinstance(inds, (str, tuple, list)):
        _check_ordered(inds, where)
    if isinstance(inds, str):
        for i in inds:
            if _is_sign(i):
                raise ValueError(
                    f"{where}: a string of indices has one letter or digit an index, and {shown(inds)} has {i!r}; "
                    f"give longer names as a sequence, as in {_split_up(inds)}"
                )
        return tuple(inds)
    inds = tuple(map(plain_name, inds))
    for i in inds:
        if not isinstance(i, str):
            raise TypeError(f"{where}: index {shown(i)} is not a string")
        if not i:
            raise ValueError(f"{where}: an index is a non-empty string, not ''")
    return inds


def indices_among(inds: Iterable[str], known: Container[str], where: str) -> tuple[str, ...]:
    """As :func:`indices`, but a string is one index where one of ``known`` has this name, or none has that of a letter.

    >>> indices_among("i3", ("i3", "i4"), "split: left"), indices_among("ab", ("a", "b"), "split: left")
    (('i3',), ('a', 'b'))
    """
    inds = plain_name(inds)
    if isinstance(inds, str) and inds in known:
        return (inds,)
    found = indices(inds, where)
    return (inds,) if isinstance(inds, str) and inds and not any(i in known for i in found) else found


def _check_ordered(inds: object, where: str) -> None:
    rule = f"{where}: indices are a string or a sequence of names, not {shown(inds)}"
    if unordered(inds):
        raise TypeError(f"{rule}: a set has no order")
    if not has_order(inds):
        raise TypeError(rule)


def _is_sign(letter: str) -> bool:
    """Whether a character is punctuation, a space or a control character, or any ASCII sign."""
    return not letter.isalnum() and (letter.isascii() or category(letter)[0] in "PZC")


def _split_up(inds: str) -> str:
    """What a string with commas or spaces in it was meant to be, for a message."""
    return shown(tuple("".join(" " if _is_sign(i) and i != "_" else i for i in inds).split()) or ("i", "j"))


def plain_node(name: str, inds: tuple[str, ...]) -> Node:
    """A node of names that are known to be right, unchecked."""
    made: Node = object.__new__(Node)
    made.__dict__.update(name=name, inds=inds, array=name, fixed=False)
    return made


def store(value: object, **fields: object) -> None:
    """Set the fields of a frozen value that is being made."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


@dataclass(frozen=True, init=False)
class Node:
    """A leaf: a slot that the array called ``array`` fills.

    >>> tk.Node("A", "ij")
    Node(name='A', inds=('i', 'j'), array='A', fixed=False)
    >>> tk.Node("A", "ij").array  # the array that fills it
    'A'
    >>> tk.Node("e", ["row"], fixed="ones").fixed  # a constant: it needs no array
    'ones'

    Parameters
    ----------
    name
        Unique in its network.
    inds
        One index name an axis; ``"ij"`` is ``("i", "j")``.  A name twice is a trace.  In a string every letter or digit
        is an index, and no other sign is taken; a sequence has names of any kind, none of them empty.
    array
        Key of the array, the node's name by default.  Nodes with equal ``array`` are tied: one array fills them all.
    fixed
        False: trained, counted in ``num_params``.  True: data or a frozen weight, given by the caller.
        One of :data:`CONSTANTS`: an array that follows from the shape: ``"e0"`` (1 at the origin, 0 elsewhere),
        ``"ones"``, ``"delta"`` (1 where all indices are equal).
    """

    name: str
    inds: tuple[str, ...]
    array: str = ""
    fixed: bool | str = False

    def __init__(self, name: str, inds: Iterable[str], array: str = "", fixed: bool | str = False) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a node's name is a non-empty string, not {shown(name)}")
        name, array, fixed = plain_name(name), plain_name(array), plain_name(fixed)
        inds = indices(inds, f"node {name!r}")
        if not isinstance(array, str):
            raise TypeError(f"node {name!r}: array is the name of an array, not a {type(array).__name__}")
        fixed = bool(fixed) if isinstance(fixed, np.bool_) else fixed
        if not isinstance(fixed, (bool, str)) or (isinstance(fixed, str) and fixed not in CONSTANTS):
            raise ValueError(f"node {name!r}: fixed={shown(fixed)} is not True, False or one of {CONSTANTS}")
        store(self, name=name, inds=inds, array=array or name, fixed=fixed)

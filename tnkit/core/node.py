"""A leaf of a network: a name, its indices, and the array that fills it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CONSTANTS", "Node", "Sizes", "indices", "store"]

#: What ``Node.fixed`` may name: constants that the structure itself knows (see :func:`tnkit.init.constant`).
CONSTANTS = ("e0", "ones", "delta")


class Sizes(dict[str, int]):
    """A dict that does not change and can be hashed, so that a network can be a key."""

    def _refuse(self, *args: object, **kwargs: object) -> None:
        raise TypeError("the sizes of a network do not change; build a new network")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[str, int]]]:
        return Sizes, (dict(self),)


def indices(inds: Iterable[str], where: str) -> tuple[str, ...]:
    """The names as a tuple; TypeError, naming ``where``, for what is no sequence of strings."""
    if not isinstance(inds, Iterable):
        raise TypeError(f"{where}: indices are a string or a sequence of names, not {inds!r}")
    inds = tuple(inds)
    for i in inds:
        if not isinstance(i, str):
            raise TypeError(f"{where}: index {i!r} is not a string")
    return inds


def store(value: object, **fields: object) -> None:
    """Set the fields of a frozen value that is being made."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


@dataclass(frozen=True, init=False)
class Node:
    """A leaf: a slot that the array called ``array`` fills.

    Parameters
    ----------
    name
        Unique in its network.
    inds
        One index name an axis; ``"ij"`` is ``("i", "j")``.  A name twice is a trace.
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
            raise TypeError(f"a node's name is a non-empty string, not {name!r}")
        inds = indices(inds, f"node {name!r}")
        if not isinstance(array, str):
            raise TypeError(f"node {name!r}: array is the name of an array, not a {type(array).__name__}")
        if not isinstance(fixed, (bool, str)) or (isinstance(fixed, str) and fixed not in CONSTANTS):
            raise ValueError(f"node {name!r}: fixed={fixed!r} is not True, False or one of {CONSTANTS}")
        store(self, name=name, inds=inds, array=array or name, fixed=fixed)

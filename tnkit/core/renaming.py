"""New names for old ones, as a table: what :meth:`tnkit.Network.relabel` is given, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tnkit.core.wording import shown

__all__ = ["name_table"]


def name_table(
    argument: str, kind: str, names: Mapping[str, str] | Callable[[str], str] | None, old: list[str]
) -> dict[str, str]:
    """Old name -> new name, of all of one kind.

    Parameters
    ----------
    argument, kind
        What it is called, and what it names, for messages.
    names
        A mapping (names it lacks stay), a function, or None.
    old
        The names there are.

    Raises
    ------
    ValueError
        A mapping from a name that is not there.
    TypeError
        Neither a mapping nor a function, or a new name that is no string.
    """
    if names is None:
        return {name: name for name in old}
    if isinstance(names, Mapping):
        known = set(old)
        for name in names:
            if name not in known:
                raise ValueError(f"relabel: {argument} names {shown(name)}, and the network has no {kind} of that name")
        found = {name: names.get(name, name) for name in old}
    elif callable(names) and not isinstance(names, type):  # a class makes a value of its own kind
        found = {name: names(name) for name in old}
    else:
        raise TypeError(f"relabel: {argument} are a mapping from names to names, or a function, not {shown(names)}")
    for name, new in found.items():
        if not isinstance(new, str) or not new:
            raise TypeError(f"relabel: the new name of {kind} {name!r} is a non-empty string, not {shown(new)}")
    return found

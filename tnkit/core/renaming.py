"""New names for old ones, as a table: what :meth:`tnkit.Network.relabel` is given, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tnkit.core.inside import ARRAY, NODE, all_indices
from tnkit.core.node import Node
from tnkit.core.wording import shown

__all__ = ["name_tables", "relabelled"]

#: Names for others: a mapping (names it lacks stay), a function, or None.
Names = Mapping[str, str] | Callable[[str], str] | None
#: Old name -> new name of indices, of nodes and of arrays.
Tables = tuple[dict[str, str], dict[str, str], dict[str, str]]


def name_tables(net: Any, inds: Names, nodes: Names, arrays: Names) -> Tables:
    """New names for all that a network has, at every depth; ValueError where two indices would get one name."""
    tables = (
        _name_table("inds", "index", inds, sorted(all_indices(net))),
        _name_table("nodes", "node", nodes, list(net.inside.names(NODE))),
        _name_table("arrays", "array", arrays, list(net.inside.names(ARRAY))),
    )
    if len(set(tables[0].values())) != len(tables[0]):
        raise ValueError("relabel: two indices would get the same name and become connected")
    return tables


def relabelled(
    net: Any, bodies: Sequence[Any], tables: Tables, function: Callable[..., Any]
) -> tuple[list[Any], tuple[str, ...], dict[str, int]]:
    """Nodes, output and sizes of one level under its new names, its ``bodies`` having theirs; ``function`` makes an Elementwise."""
    inds, nodes, arrays = tables
    below, made = iter(bodies), list[Any]()
    for n in net.nodes:
        if isinstance(n, Node):
            made.append(Node(nodes[n.name], tuple(inds[i] for i in n.inds), arrays[n.array], n.fixed))
        else:
            made.append(function(nodes[n.name], n.fn, [next(below) for _ in n.bodies]))
    return made, tuple(inds[i] for i in net.output), {inds[i]: s for i, s in net.sizes.items()}


def _name_table(argument: str, kind: str, names: Names, old: list[str]) -> dict[str, str]:
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

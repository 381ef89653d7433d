"""Names of nodes, indices and arrays: those that are there, and those that are free."""

from __future__ import annotations

from collections.abc import Container

from tnkit.core.inside import ARRAY, NODE, all_indices
from tnkit.core.network import Network

__all__ = ["free_name", "names_in", "renamed", "unused"]


def names_in(net: Network) -> set[str]:
    """Names of the nodes, indices and arrays, those in bodies too."""
    return {*all_indices(net), *net.inside.names(NODE), *net.inside.names(ARRAY)}


def unused(mark: str, net: Network) -> str:
    """``mark``, as often as it takes for no name of the network to begin or end with it."""
    made, names = mark, names_in(net)
    while any(name.startswith(made) or name.endswith(made) for name in names):
        made += mark
    return made


def renamed(net: Network, mark: str) -> Network:
    """The same network with names that only it has: output index k is ``o.k``, all else begins with the mark."""
    place = {i: f"o.{k}" for k, i in enumerate(net.output)}
    return net.relabel(lambda i: place.get(i, f"{mark}.{i}"), lambda n: f"{mark}.{n}", lambda n: f"{mark}.{n}")


def free_name(name: str, taken: Container[str]) -> str:
    """``name``, with a number behind it where that is taken."""
    k, free = 1, name
    while free in taken:
        free, k = f"{name}.{k}", k + 1
    return free

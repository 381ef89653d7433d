"""What users give, checked where it comes in: networks and mappings here, plain values in :mod:`tnkit.core.values`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnkit.core.network import Network
from tnkit.core.values import flag, one_of, sequence, shown, text

__all__ = ["a_mapping", "a_network", "flag", "one_of", "sequence", "shown", "text"]


def a_network(value: Any, who: str) -> Network:
    """A Network; TypeError for anything else, with the way from what is often given instead.

    >>> a_network(net, "norm")
    Network(3 nodes, 4x4x4, 84 params)
    """
    if isinstance(value, Network):
        return value
    hint = ""
    if isinstance(value, str):
        hint = "; make one of an equation with tk.from_einsum, of a file with tk.load"
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Network):
        hint = "; it is a pair of a network and its arrays: give them as two arguments"
    raise TypeError(f"{who}: a Network is needed, not {shown(value)}{hint}")


def a_mapping(value: Any, who: str, what: str = "arrays") -> Mapping[str, Any]:
    """A mapping from names; TypeError for anything else."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"{who}: {what} map names to values, as a dict does; they are not {shown(value)}")

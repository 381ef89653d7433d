"""A network changed in a few places, at the cost of those places: what is not touched was checked when it was made.

A chain of a thousand nodes that is changed at two of them, again and again, is not read a thousand times a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tnkit.core.network import AnyNode, Network
from tnkit.core.node import Sizes, store

__all__ = ["edited", "trusted"]

#: What networks of the same nodes share, once one of them has it.
_SHARED = ("edges", "leaves", "places", "tied", "parameters")


def edited(
    net: Network,
    nodes: Mapping[str, Sequence[AnyNode]],
    sizes: Mapping[str, int],
    output: tuple[str, ...] | None = None,
) -> Network:
    """A network with other nodes in the places of some, other sizes, and another output.

    ::

        edited(net, {"core_1": (left, right)}, {"bond": 3})

    The caller has checked what is new: names that are free, sizes of every index, ties of one shape, and that no Elementwise has
    an index whose size changes.

    Parameters
    ----------
    net
        The network.
    nodes
        Name of a node -> what stands in its place: nothing, a node, or several.
    sizes
        Sizes that are new or changed.
    output
        Open indices, by default as before.
    """
    output = net.output if output is None else output
    if not nodes:
        same = all(net.sizes[i] == n for i, n in sizes.items())
        if same and output == net.output:
            return net
        made = trusted(net.nodes, output, net.sizes if same else Sizes({**net.sizes, **sizes}))
        made.__dict__.update({name: net.__dict__[name] for name in _SHARED if name in net.__dict__})
        return made
    found = tuple(new for node in net.nodes for new in nodes.get(node.name, (node,)))
    known = {**net.sizes, **sizes}
    return trusted(found, output, Sizes({i: known[i] for node in found for i in node.inds}))


def trusted(nodes: tuple[AnyNode, ...], output: tuple[str, ...], sizes: Mapping[str, int]) -> Network:
    """A network of parts that are known to agree, unchecked."""
    made: Network = object.__new__(Network)
    store(made, nodes=nodes, output=output, sizes=sizes, _hash=None)
    return made

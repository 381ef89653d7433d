"""What a network computes, in a short text: a state of one network is not taken for that of another."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b

from tnkit.core.network import Network, folded
from tnkit.core.node import Node
from tnkit.core.spelling import function_name

__all__ = ["network_digest"]


@lru_cache(maxsize=256)
def network_digest(net: Network) -> str:
    """Arrays by name, edges, sizes, functions, constants and output; what nodes and indices are called does not count."""
    return folded(net, _of_level)


def _of_level(net: Network, below: list[str]) -> str:
    """One level, given what was made of the networks inside it."""
    places: dict[str, int] = {}
    inner, parts = iter(below), list[object]()

    def placed(inds: tuple[str, ...]) -> list[list[int]]:
        return [[places.setdefault(i, len(places)), net.sizes[i]] for i in inds]

    output = placed(net.output)
    for node in net.nodes:
        if isinstance(node, Node):
            parts.append([node.array, placed(node.inds), str(node.fixed)])
        else:
            parts.append([function_name(node.fn), [[next(inner), placed(body.output)] for body in node.bodies]])
    return blake2b(json.dumps([parts, output]).encode(), digest_size=16).hexdigest()

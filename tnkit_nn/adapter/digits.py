"""Rows of a table that is a network: the digits of a token pick a slice of every array that carries them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tnkit.core.network import Network
from tnkit.core.node import Node

__all__ = ["pick", "picked"]


def picked(net: Network, digits: tuple[str, ...], b: str, batch: int) -> Network:
    """The network after a batch of tokens has picked a slice of every array that carries a digit."""
    nodes = []
    for node in net.nodes:
        assert isinstance(node, Node)  # multilinear
        rest = tuple(i for i in node.inds if i not in digits)
        nodes.append(Node(node.name, (b, *rest) if len(rest) < len(node.inds) else rest, fixed=True))
    used = {i for node in nodes for i in node.inds}
    sizes = {i: s for i, s in {**net.sizes, b: batch}.items() if i in used}
    return Network(tuple(nodes), (b, *net.output[len(digits) :]), sizes)


def pick(array: Tensor, inds: tuple[str, ...], where: Mapping[str, Tensor]) -> Tensor:
    """``array[..., digit, ...]`` for a batch of digits, the batch axis first."""
    axes = [k for k, i in enumerate(inds) if i in where]
    if not axes:
        return array
    rest = [k for k in range(len(inds)) if k not in axes]
    return array.permute(*axes, *rest)[tuple(where[inds[k]] for k in axes)]

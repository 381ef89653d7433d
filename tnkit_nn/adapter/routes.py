"""What layers that contract a network with their input share: where a network's indices split, and which route a call takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.shapes import split_axes
from tnkit.planning.plan import Plan

__all__ = ["chosen", "exporting", "pick", "picked", "split_at"]

#: Whether ``torch.export`` is at work (torch before 2.7 cannot tell it from ``torch.compile``).
exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def split_at(net: Network, shape: Sequence[int]) -> int | None:
    """How many output indices make up the first axis of a matrix, padding included; None where they do not.

    >>> split_at(tk.mpo((8, 8), (4, 4), 2), (64, 16)), split_at(tk.mpo((8, 8), (4, 4), 2), (63, 16))
    (2, 2)
    """
    rows, cols = shape
    if prod(net.shape) != rows * cols:
        return len(split_axes(net.shape, shape)[0])
    for k in range(len(net.shape) + 1):
        if prod(net.shape[:k]) == rows and prod(net.shape[k:]) == cols:
            return k
    return None


def chosen(routes: Sequence[tuple[int, Plan | None]], rows: int, typical: int) -> Plan | None:
    """The plan for so many rows: the first one below whose number they are; None builds the weight."""
    if exporting():  # one graph for every batch: to compare rows would bound them
        rows = typical
    if rows > 0:  # torch cannot infer a size from an empty tensor
        for below, route in routes:
            if rows < below:
                return route
    return None if rows == 0 else routes[-1][1]


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

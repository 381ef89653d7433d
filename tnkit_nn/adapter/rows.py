"""Rows of a table that is a network: the digits of a token pick slices of the arrays, and what is left is contracted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan
from tnkit_nn.adapter.crossover import matrix_split
from tnkit_nn.engine.backend import TORCH, ready

__all__ = ["TableRows", "planned_rows"]


@dataclass(frozen=True)
class TableRows:
    """How rows are picked: the network, the indices of a token's digits, and what contracts the slices."""

    network: Network
    digits: tuple[str, ...]
    plan: Plan

    def __call__(self, arrays: Mapping[str, Tensor], tokens: Tensor, dim: int) -> Tensor:
        """The rows of ``tokens``, of which there is one at least and each has a row: ``(*tokens.shape, dim)``."""
        flat, where = tokens.reshape(-1).long(), {}  # digits of a narrower kind would overflow
        for i in reversed(self.digits):
            size = self.network.sizes[i]
            where[i] = flat % size
            flat = flat // size
        slices = {leaf.name: _pick(arrays[leaf.array], leaf.inds, where) for leaf in self.network.leaves}
        made: Tensor = run(self.plan, slices, TORCH)
        return made.reshape(tokens.numel(), -1)[:, :dim].reshape(*tokens.shape, dim)


def planned_rows(network: Network, num: int, dim: int, batch: int, optimizer: str | Optimizer) -> TableRows | None:
    """For a table of ``num`` rows of ``dim`` entries; None where it has to be built: a nonlinear one, or one without digits."""
    k = matrix_split(network, num, dim) if network.multilinear else None
    if not k:  # one row has no digits
        return None
    digits, b = network.output[:k], free_name("b", names_in(network))
    return TableRows(network, digits, ready(plan(_picked(network, digits, b, batch), optimizer, dynamic=b)))


def _picked(net: Network, digits: tuple[str, ...], b: str, batch: int) -> Network:
    """The network after a batch of tokens has picked a slice of every array that carries a digit."""
    nodes = []
    for node in net.nodes:
        assert isinstance(node, Node)  # multilinear
        rest = tuple(i for i in node.inds if i not in digits)
        nodes.append(Node(node.name, (b, *rest) if len(rest) < len(node.inds) else rest, fixed=True))
    used = {i for node in nodes for i in node.inds}
    sizes = {i: s for i, s in {**net.sizes, b: batch}.items() if i in used}
    return Network(tuple(nodes), (b, *net.output[len(digits) :]), sizes)


def _pick(array: Tensor, inds: tuple[str, ...], where: Mapping[str, Tensor]) -> Tensor:
    """``array[..., digit, ...]`` for a batch of digits, the batch axis first."""
    axes = [k for k, i in enumerate(inds) if i in where]
    if not axes:
        return array
    rest = [k for k in range(len(inds)) if k not in axes]
    return array.permute(*axes, *rest)[tuple(where[inds[k]] for k in axes)]

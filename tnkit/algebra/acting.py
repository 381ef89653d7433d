"""An operator beside what it acts on: which indices meet, and both as one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tnkit.core.checks import a_network
from tnkit.core.names import unused
from tnkit.core.network import Network
from tnkit.execution.arrays import one_dtype
from tnkit.execution.backend import Backend

__all__ = ["Meeting", "joined", "matched_bra", "meeting"]


@dataclass(frozen=True)
class Meeting:
    """Which indices of an operator belong to which open ones of a network.

    Attributes
    ----------
    ins, outs
        Open index of the network -> the operator's index that is summed with it, and the one that takes its place.
    """

    ins: Mapping[str, str]
    outs: Mapping[str, str]


def meeting(op: Network, net: Network, what: str, square: bool = False) -> Meeting:
    """The indices that meet: the second half of the operator's output, by name where all names are the same, else by position.

    Parameters
    ----------
    op
        Of output (out..., in...).
    net
        A state of as many open indices as the operator has in; or an operator, whose out indices meet.
    square
        Whether sizes out and in have to be equal.

    Raises
    ------
    TypeError
        No networks.
    ValueError
        An odd number of indices, numbers that do not fit, sizes that differ: the indices are named.
    """
    op, net = a_network(op, f"{what}: op"), a_network(net, what)
    half, odd = divmod(len(op.output), 2)
    if odd:
        raise ValueError(f"{what}: an operator's output is (out..., in...), half and half, not {op.output}")
    outs, ins = op.output[:half], op.output[half:]
    if len(net.output) not in (half, 2 * half):
        raise ValueError(
            f"{what}: an operator of {half} indices in meets a state of {half} open indices or an operator of {2 * half}, not "
            f"{len(net.output)}, {net.output}"
        )
    met = net.output[:half]
    into = dict(zip(ins, outs, strict=True))
    if set(ins) == set(met):
        ins = met
    for i, j in zip(ins, met, strict=True):
        if op.sizes[i] != net.sizes[j]:
            raise ValueError(
                f"{what}: the operator's index {i!r} has size {op.sizes[i]}, {j!r} of the network {net.sizes[j]}"
            )
        if square and op.sizes[into[i]] != op.sizes[i]:
            raise ValueError(
                f"{what}: a square operator is needed; index {into[i]!r} out has size {op.sizes[into[i]]}, {i!r} in {op.sizes[i]}"
            )
    return Meeting(dict(zip(met, ins, strict=True)), {j: into[i] for j, i in zip(met, ins, strict=True)})


def joined(
    op: Network, op_arrays: Mapping[str, Any], net: Network, arrays: Mapping[str, Any], met: Meeting, backend: Backend
) -> tuple[Network, dict[str, Any]]:
    """The operator on the network as one network, with the open indices of the network in their places."""
    mark = unused("op.", net)
    into = {i: f"{mark}{j}" for j, i in met.ins.items()} | {o: j for j, o in met.outs.items()}
    above = op.relabel(lambda i: into.get(i, f"{mark}{i}."), lambda n: f"{mark}{n}", lambda n: f"{mark}{n}")
    below = net.relabel({j: f"{mark}{j}" for j in met.ins})
    both = Network((*below.nodes, *above.nodes), net.output, {**below.sizes, **above.sizes})
    made = dict(arrays) | {f"{mark}{n}": x for n, x in op_arrays.items()}
    return both, one_dtype(made, backend)


def matched_bra(a: Network, b: Network, met: Meeting) -> Network:
    """``a`` with its output in the order of ``b``'s where it has the operator's names of it."""
    if set(a.output) == set(met.outs.values()) and set(a.output) != set(b.output) and set(b.output) == set(met.outs):
        return replace(a, output=tuple(met.outs[j] for j in b.output))
    return a

"""Operators as stages: what every node takes in, gives out and leaves as it is, where indices are shared by several nodes.

A butterfly's level takes one digit in and gives one out, for every value of the other digits.  Those are indices of the level too
(hyperedges), so its array is one small matrix for each of their values.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tnkit.core.network import Network
from tnkit.core.node import Node

__all__ = ["Stage", "operator_stages"]


class Stage(NamedTuple):
    """Axes of a node: those that it leaves as they are, gives out, and takes in."""

    beside: tuple[int, ...]
    outs: tuple[int, ...]
    ins: tuple[int, ...]


def operator_stages(net: Network) -> dict[str, Stage]:
    """Node -> its axes, where the output reads (outs..., ins...) and every node acts on some indices for every value of others.

    >>> operator_stages(tk.butterfly(4, 4))
    {'level_1': Stage(beside=(0,), outs=(1,), ins=(2,)), 'level_0': Stage(beside=(0,), outs=(1,), ins=(2,))}

    Empty for every other network, one without hyperedges among them: there a node leaves nothing as it is.
    """
    left = {n.name: n for n in net.nodes if isinstance(n, Node) and not n.fixed and len(set(n.inds)) == len(n.inds)}
    half, ends = len(net.output) // 2, Counter(i for n in left.values() for i in n.inds)
    inputs, seen, kept = set(net.output[half:]), set(net.output[:half]), set(net.output)
    if len(left) < len(net.nodes) or 2 * half != len(net.output) or all(n + (i in kept) < 3 for i, n in ends.items()):
        return {}
    terms = {i for i, n in ends.items() if n > 2 and i not in kept}
    sums = terms if all(terms <= set(n.inds) for n in left.values()) else set()  # one small network a term
    found: dict[str, Stage] = {}
    while left:
        for name in reversed(left):
            inds = left[name].inds
            ins = tuple(k for k, i in enumerate(inds) if i not in seen and i not in sums)
            outs = tuple(k for k, i in enumerate(inds) if i in seen and ends[i] == 1 and i not in inputs)
            if ins and outs:
                break
        else:
            return {}
        found[name] = Stage(tuple(k for k in range(len(inds)) if k not in (*ins, *outs)), outs, ins)
        seen.update(i for i in inds if i not in sums)
        ends.subtract(left.pop(name).inds)
    return found if any(stage.beside for stage in found.values()) else {}

"""Belief propagation: the value that a graph has if it is a tree seen from every tensor (Bethe's approximation).

On every bond stand two messages, each what one side contracts to.  Where they no longer change, the value is the product of what
every tensor makes of its messages, over the product of what the two messages of every bond make of each other (Alkabetz and
Arad 2021).  It does not change with the messages to first order, so that they are constants for gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tnkit.approx.simple_graph import Graph, Tracked
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import unit

__all__ = ["Rounds", "bethe"]

Messages = dict[tuple[int, int], np.ndarray]


@dataclass
class Rounds:
    """How the messages ended: rounds, and the largest change in the last of them."""

    rounds: int = 0
    change: float = 0.0


def bethe(graph: Graph, rounds: int, still: float, damping: float, settled: Rounds) -> tuple[Tracked, float]:
    """The value of a connected graph, of size about 1, its axes as ``graph.output``; and the power of two to multiply it by."""
    messages = _messages(graph, rounds, still, damping, settled)
    open_, power = Tracked(np.ones(())), graph.power
    inds: tuple[str, ...] = ()
    number = Tracked(np.ones((1, 1)))
    for v in graph.tensors:
        x, kept = _among(graph, messages, v)
        if kept:
            open_, inds = x, kept
            continue
        number, more = number.times(x.reshaped(1, 1)).scaled()
        power += more
    for v in graph.tensors:
        for w in graph.near(v):
            if v < w:
                value, more = unit(np.dot(messages[v, w], messages[w, v]).reshape(1, 1), NUMPY)
                with np.errstate(divide="ignore", invalid="ignore"):
                    number, less = number.times(1 / value).scaled()
                power += less - more
    shape = open_.value.shape
    x, more = open_.reshaped(-1, 1).times(number).scaled()
    return x.reshaped(*shape).permuted([inds.index(i) for i in graph.output]), power + more


def _messages(graph: Graph, rounds: int, still: float, damping: float, settled: Rounds) -> Messages:
    """Messages of norm 1 that stand still, or those after the last round."""
    messages: Messages = {}
    for v in graph.tensors:
        for w in graph.near(v):
            n = graph.size(_bond(graph, v, w), v)
            messages[v, w] = np.full(n, n**-0.5)
    for turn in range(rounds):
        change = 0.0
        for v in graph.tensors:
            for w in graph.near(v):
                new = _message(graph, messages, v, w, damping)
                change = max(change, float(np.abs(new - messages[v, w]).max()))
                messages[v, w] = new
        settled.rounds = max(settled.rounds, turn + 1)
        if change <= still:
            break
    settled.change = max(settled.change, change)
    return messages


def _message(graph: Graph, messages: Messages, v: int, w: int, damping: float) -> np.ndarray:
    """The message from ``v`` to ``w``, of norm 1 and of the phase that it had."""
    old, x = messages[v, w], graph.tensors[v].value
    for axis in range(x.ndim - 1, -1, -1):
        (u,) = (
            (u for u in graph.ends[graph.inds[v][axis]] if u != v)
            if len(graph.ends[graph.inds[v][axis]]) > 1
            else (None,)
        )
        if u is None:  # open: as if it were summed
            x = x.sum(axis)
        elif u != w:
            x = np.tensordot(x, messages[u, v], (axis, 0))
    new = np.asarray(x)
    size = float(np.linalg.norm(new))
    if not size:
        return old
    phase = np.vdot(new, old)
    new = new / size * (phase / abs(phase) if abs(phase) > 1e-9 * size else 1.0)
    new = (1 - damping) * new + damping * old
    made: np.ndarray = new / (np.linalg.norm(new) or 1.0)
    return made


def _among(graph: Graph, messages: Messages, v: int) -> tuple[Tracked, tuple[str, ...]]:
    """A tensor times the messages that come to it, and the open indices that are left."""
    x, kept = graph.tensors[v], graph.inds[v]
    for i in graph.inds[v]:
        u = next((u for u in graph.ends[i] if u != v), None)
        if u is not None:
            shape = [n for j, n in zip(kept, x.value.shape, strict=True) if j != i]
            axes = [kept.index(j) for j in kept if j != i] + [kept.index(i)]
            x = (
                x.permuted(axes)
                .reshaped(-1, x.value.shape[kept.index(i)])
                .times(messages[u, v][:, None])
                .reshaped(*shape)
            )
            kept = tuple(j for j in kept if j != i)
    return x, kept


def _bond(graph: Graph, v: int, w: int) -> str:
    return next(i for i in graph.inds[v] if i in graph.inds[w])

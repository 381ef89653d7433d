"""Families with one activation outermost and a scale: of arrays that are binary, sparse or never negative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tnkit as tk
from tnkit.core.names import free_name, names_in
from tnkit_nn.budgets import asked

__all__ = ["activated", "activated_near"]


def activated(net: tk.Network, fn: str) -> tk.Network:
    """The activation of every entry of a network's tensor, times a factor ``scale`` that is trained.

    >>> activated(tk.tt((4, 4, 4), 2), "tanh")
    Network(4 nodes, 4x4x4, 33 params, nonlinear)

    The scale is one parameter.  Without it a tanh would reach no entry beyond 1, and nothing would set the size of the weight.
    """
    taken = names_in(net)
    body = net.activate(fn, free_name("outermost", taken))
    return tk.Network((*body.nodes, tk.Node(free_name("scale", taken), ())), body.output)


def activated_near(
    build: Callable[..., tk.Network], fn: str, shape: Sequence[int], budget: int, *, at_least: bool = False, **options: Any
) -> tk.Network:  # fmt: skip
    """A family's network of the budget less one, its activation, and a scale.

    ::

        activated_near(tt_near, "tanh", (64, 64), 400)
    """
    shape, budget = asked(shape, budget)
    if at_least:
        options["at_least"] = True
    return activated(build(shape, max(1, budget - 1), **options), fn)

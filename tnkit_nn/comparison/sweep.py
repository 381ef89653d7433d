"""The sweep of learning rates: three at first, and further ones where the best is the lowest or the highest of those tried.

A best rate at an edge may have a better one beyond it, and a family that finds its own there would be held back: the sweep goes on alike
for every row, dense controls too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tnkit_nn.comparison.replicas import Trained

__all__ = ["FURTHER", "STEP", "Sweep", "swept"]

#: How many rates are tried beyond each edge.
FURTHER = 2
#: What a rate is multiplied or divided by to be the next one.
STEP = 4.0

#: Rates of the weight's parameters, and of what else is trained with each of these -> replicas.
Train = Callable[[Sequence[float], Sequence[float]], Trained]


@dataclass(frozen=True)
class Sweep:
    """What was trained at all rates, in increasing order: ``rates`` of the weight's parameters, ``others`` of what else is trained."""

    trained: Trained
    rates: tuple[float, ...]
    others: tuple[float, ...]


def swept(train: Train, rates: Sequence[float], others: Sequence[float]) -> Sweep:
    """Train at these rates, then at one further as long as the best (of all starts, by the mean score over seeds) is at an edge.

    At most :data:`FURTHER` rates are tried beyond each edge.  A single rate is a choice, and stays alone.
    """
    found = Sweep(train(rates, others), tuple(rates), tuple(others))
    left = {0: FURTHER, -1: FURTHER} if len(rates) > 1 else {}
    while left.get(edge := _place(found), 0):
        left[edge] -= 1
        by = STEP if edge else 1 / STEP
        rate, other = found.rates[edge] * by, found.others[edge] * by
        more = Sweep(train([rate], [other]), (rate,), (other,))
        found = _joined(found, more) if edge else _joined(more, found)
    return found


def _place(found: Sweep) -> int:
    """Where the best rate is: its number, -1 for the last."""
    rate, _ = found.trained.best()
    return -1 if rate == len(found.rates) - 1 else rate


def _joined(low: Sweep, high: Sweep) -> Sweep:
    """Trainings at some rates and at higher ones, as one."""
    a, b = low.trained, high.trained
    trained = replace(
        a,
        axes=replace(a.axes, rate=a.axes.rate + b.axes.rate),
        params=_stacked(a.params, b.params), state=_stacked(a.state, b.state), score=torch.cat([a.score, b.score]),
        history=torch.cat([a.history, b.history], 1), seen=torch.cat([a.seen, b.seen], 1), alone=a.alone or b.alone,
    )  # fmt: skip
    return Sweep(trained, low.rates + high.rates, low.others + high.others)


def _stacked(low: Mapping[str, Tensor], high: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replicas by name, those of the lower rates first: the rate is the slowest of their axes."""
    return {name: torch.cat([x, high[name]]) for name, x in low.items()}

"""Training of replicas of a model, at several learning rates, from several starts, by several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from tnkit_nn.adapter.descent import Params, minimise
from tnkit_nn.axes import RATE, SEED, Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.fixture import Fixture, Readings
from tnkit_nn.engine.devices import dtype_there

__all__ = ["REST_RATES", "Trained", "train_replicas"]

#: Learning rates of dense parameters: of the other layers, and of a dense layer.
REST_RATES = (2e-3, 1e-2, 5e-2)
#: Steps between looks at the validation part.
EVERY = 25

#: Bytes up to which values that are not trained are repeated for all replicas side by side.
COPIES = 2**30
#: Scores are not larger, so that their mean is finite.
_MOST = 1e300

Assemble = Callable[[Params, Axes], Params]


@dataclass(frozen=True)
class Trained:
    """Replicas after their training.

    Attributes
    ----------
    axes
        Of the replicas.
    params
        Name -> (replicas, ...): the values of the best validation score, replica by replica.
    state
        Name -> (replicas, ...): the running statistics with them.
    score
        (rate, start, seed): that score, lower being better.
    alone
        Why replicas went one after another; empty where they went side by side.
    history
        (steps, replicas): the training losses.
    seen
        (looks, replicas): the metric on the validation part, every 25 steps and at the end.
    """

    axes: Axes
    params: Params
    state: Params
    score: Tensor
    alone: str
    history: Tensor
    seen: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def best_rates(self) -> list[int]:
        """For each start, the rate that has the best mean score over the seeds."""
        found: list[int] = self.score.mean(SEED).argmin(RATE).tolist()
        return found

    def best(self) -> tuple[int, int]:
        """The rate and the start that have the best mean score over the seeds."""
        mean = self.score.mean(SEED)
        rate, start = torch.unravel_index(mean.argmin(), mean.shape)
        return int(rate), int(start)

    def standing(self, fixed: Params, statistics: Params) -> Params:
        """What is the same at every rate and from every start: fixed values, and the statistics that did not move."""
        return {**fixed, **{n: x for n, x in statistics.items() if n not in self.state}}

    def curve(self, rate: int, start: int, seed: int) -> list[list[float | None]]:
        """How one replica learned: rows of a step, the mean training loss since the row before, and the validation metric."""
        sizes = self.axes.sizes
        losses, seen = (x.unflatten(1, sizes)[:, rate, start, seed].tolist() for x in (self.history, self.seen))
        rows: list[list[float | None]] = []
        before = 0
        for k, metric in enumerate(seen):
            step = min(k * EVERY, len(losses))
            since, before = losses[before:step], step
            rows.append([step, _short(sum(since) / len(since)) if since else None, _short(metric)])
        return rows


def _short(x: float) -> float:
    return float(f"{x:.5g}")


def score(fixture: Fixture, readings: Readings) -> Tensor:
    """What is best on validation examples, lower being better: the metric; an accuracy's ties go to the lower loss."""
    if fixture.goal.classifies:
        return 1 - readings.metric + 1e-3 * torch.tanh(readings.loss)
    lower = -readings.metric if fixture.goal.metric.larger else readings.metric
    # an infinitely good value (a PSNR of no error) is better than any other; what is no number stays one, and is never taken
    return lower.double().clamp(-_MOST, _MOST).where(~lower.isposinf(), inf)


def _too_much(fixed: Params, axes: Axes) -> str:
    """Why what stays as it is is not repeated for replicas side by side; empty where it can be."""
    size = sum(x[0].numel() * x.element_size() for x in fixed.values()) * axes.replicas
    return f"values that are not trained, {size / 1e9:.1f} GB side by side" if size > COPIES else ""


def train_replicas(
    fixture: Fixture, seeds: Sequence[int], start: Mapping[str, Tensor], assemble: Assemble, rates: Sequence[float], steps: int, *,
    fixed: Params | None = None, others: Mapping[str, Tensor] | None = None, other_rates: Sequence[float] = REST_RATES,
    trained: Sequence[str] = (), statistics: Params | None = None, factors: Mapping[str, float] | None = None,
) -> Trained:  # fmt: skip
    """Train all rates, starts and seeds; each keeps its values of the best validation score.

    Parameters
    ----------
    fixture
        The model and what it sees.
    seeds
        Each has its own order of the data.
    start
        Name -> (start, seed, ...) values, trained at each of ``rates``.
    assemble
        ``(what is trained, axes) -> the model's parameters`` that differ from replica to replica, (replicas, ...).
    rates, steps
        Learning rates and Adam steps.
    fixed
        Name -> (seed, ...) parameters and buffers that stay as they are.
    others
        Name -> (seed, ...) values that are trained too (the other layers'), at ``other_rates``, one for each of ``rates``.
    trained
        Names of the model's parameters that are trained: the statistics of what they belong to move.
    statistics
        Name -> (seed, ...) buffers that the model may change as it is trained.
    factors
        Name of some of ``start`` -> what its learning rates are multiplied by.
    """
    if not start and not others:
        raise ValueError("compare: nothing is trained: no parameter of the model requires a gradient")
    several = next((len(x) for x in start.values()), 1)
    axes = Axes(rate=len(rates), start=several, seed=len(seeds))
    fixture, batches = (
        fixture.training(trained),
        batches_of(fixture.goal.parts["train"], fixture.own.get("train"), seeds, steps),
    )
    moves = {n: statistics[n] for n in fixture.moving} if statistics else {}
    still = {**{n: x for n, x in (statistics or {}).items() if n not in moves}, **(fixed or {})}
    state = {n: axes.by_seed(x).clone() for n, x in moves.items()}
    values = {n: axes.flatten(x[None]) for n, x in start.items()}
    values |= {n: axes.by_seed(x) for n, x in (others or {}).items()}
    alone = fixture.alone() or _too_much(still, axes)
    seen: list[Tensor] = []

    def losses(params: Params, step: int) -> Tensor:
        return fixture.losses(assemble(params, axes), still, batches, axes, step, alone=bool(alone), state=state)

    def judged(params: Params) -> Tensor:
        found = fixture.read(assemble(params, axes), still, "val", axes, alone=bool(alone), state=state)
        seen.append(found.metric)
        scores = score(fixture, found)
        return scores.to(fixture.device, dtype_there(scores.dtype, fixture.device))

    speeds = {n: axes.by_rate(rates) * (factors or {}).get(n, 1.0) for n in start}
    speeds |= dict.fromkeys(others or {}, axes.by_rate(other_rates[: len(rates)]))
    found = minimise(losses, values, speeds, steps, score=judged, every=EVERY, state=state)
    return Trained(
        axes, found.params, found.state, axes.unflatten(found.score), alone, found.history, torch.stack(seen)
    )  # fmt: skip

"""Training of replicas of a model side by side, at several learning rates, from several starts, by several seeds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tnkit_nn.adapter.descent import Params, minimise
from tnkit_nn.axes import RATE, SEED, Axes
from tnkit_nn.comparison.task import loss, metric, score

__all__ = ["BATCH", "REST_RATES", "Fixture", "Trained", "split_at", "through", "train_replicas"]

#: Learning rates of dense parameters: of the other layers, and of a dense layer.
REST_RATES = (2e-3, 1e-2, 5e-2)
BATCH = 128
#: Examples times replicas that go through a model at once where no gradient is needed.
CHUNK = 8192


@dataclass(frozen=True)
class Fixture:
    """A model, or its last layers, and what it sees: the data, or what the layers before it make of them.

    Attributes
    ----------
    model
        Called with the values that its parameters' names have.
    inputs
        Part -> (count, ...) inputs; (seed, count, ...) where ``own``, each seed having its own.
    labels
        Part -> (count,).
    own
        Whether each seed has its own inputs.
    """

    model: nn.Module
    inputs: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]
    own: bool

    def batches(self, seeds: Sequence[int], axes: Axes, steps: int) -> Callable[[int], tuple[Tensor, Tensor]]:
        """Step -> inputs (replicas, batch, ...) and labels: each seed has its own order, the same for every row."""
        x, y = self.inputs["train"], self.labels["train"]
        rows = []
        for seed in seeds:
            draw = torch.Generator().manual_seed(1000 + seed)
            epochs = -(-steps * BATCH // len(y))
            rows.append(torch.cat([torch.randperm(len(y), generator=draw) for _ in range(epochs)])[: steps * BATCH])
        order, each = torch.stack(rows).view(len(seeds), steps, BATCH), torch.arange(len(seeds))[:, None]

        def batch(step: int) -> tuple[Tensor, Tensor]:
            now = order[:, min(step, steps - 1)]
            return axes.by_seed(x[each, now] if self.own else x[now]), axes.by_seed(y[now])

        return batch

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, shared: bool = False) -> Tensor:
        """(replicas, batch, ...) outputs; ``shared``: all replicas see the same inputs."""

        def call(p: Params, z: Tensor) -> Tensor:
            return cast(Tensor, functional_call(self.model, p, (z,)))

        if not (x.device.type == "cpu" and self.convolves):
            return vmap(call, in_dims=(0, None if shared else 0))(dict(params), x)
        # side by side a convolution has groups, which a CPU does at half the speed of one after another
        each = {n: p.unbind() for n, p in params.items()}
        replicas = len(next(iter(each.values())))
        return torch.stack([call({n: p[k] for n, p in each.items()}, x if shared else x[k]) for k in range(replicas)])

    @cached_property
    def convolves(self) -> bool:
        """Whether the model has a convolution."""
        return any(isinstance(m, nn.Conv2d) for m in self.model.modules())

    def outputs(self, params: Mapping[str, Tensor], part: str, axes: Axes) -> Tensor:
        """Of all of a part, without gradient, a few examples at a time."""
        size, x = max(1, CHUNK // axes.replicas), self.inputs[part]
        with torch.no_grad():
            if not self.own:
                return torch.cat([self(params, piece, shared=True) for piece in x.split(size)], 1)
            return torch.cat([self(params, axes.by_seed(piece)) for piece in x.split(size, 1)], 1)

    def metric(self, params: Mapping[str, Tensor], part: str, axes: Axes) -> Tensor:
        """(replicas,): the task's metric on a part."""
        return metric(self.outputs(params, part, axes), self._labels(part, axes))

    def score(self, params: Mapping[str, Tensor], axes: Axes) -> Tensor:
        """(replicas,): the task's score on the validation part."""
        return score(self.outputs(params, "val", axes), self._labels("val", axes))

    def _labels(self, part: str, axes: Axes) -> Tensor:
        return self.labels[part].expand(axes.replicas, -1)


def split_at(model: nn.Module, layer: str) -> tuple[nn.Sequential, nn.Module]:
    """What stands before a layer, and the layer with what stands after it, both under the model's names.

    Nothing stands before a layer that is not in a chain of ``nn.Sequential``.
    """
    name, _, inner = layer.partition(".")
    if not isinstance(model, nn.Sequential):
        return nn.Sequential(), model
    members = list(model.named_children())
    k = [n for n, _ in members].index(name)
    before, after = OrderedDict(members[:k]), OrderedDict(members[k:])
    if inner:
        first, after[name] = split_at(after[name], inner)
        if len(first):
            before[name] = first
    return nn.Sequential(before), nn.Sequential(after)


def through(before: nn.Module, values: Params, x: Tensor, seeds: int) -> Tensor:
    """Inputs through the layers before, seed by seed (once, where they have no values)."""

    def run(params: Params) -> Tensor:
        return torch.cat([functional_call(before, params, (piece,)) for piece in x.split(1024)])

    with torch.no_grad():
        return torch.stack([run({n: p[s] for n, p in values.items()}) for s in range(seeds)]) if seeds else run({})


@dataclass(frozen=True)
class Trained:
    """Replicas after their training.

    Attributes
    ----------
    axes
        Of the replicas.
    params
        Name -> (replicas, ...): the values of the best validation score, replica by replica.
    score
        (rate, start, seed): that score.
    """

    axes: Axes
    params: Params
    score: Tensor

    def best_rates(self) -> list[int]:
        """For each start, the rate that has the best mean score over the seeds."""
        found: list[int] = self.score.mean(SEED).argmin(RATE).tolist()
        return found

    def best(self) -> tuple[int, int]:
        """The rate and the start that have the best mean score over the seeds."""
        mean = self.score.mean(SEED)
        rate, start = torch.unravel_index(mean.argmin(), mean.shape)
        return int(rate), int(start)


def train_replicas(
    fixture: Fixture, seeds: Sequence[int], start: Mapping[str, Tensor], assemble: Callable[[Params, Axes], Params],
    rates: Sequence[float], steps: int, *, others: Mapping[str, Tensor] | None = None, other_rates: Sequence[float] = REST_RATES,
) -> Trained:  # fmt: skip
    """Train all rates, starts and seeds side by side; each keeps its values of the best validation score.

    Parameters
    ----------
    fixture
        The model and what it sees.
    seeds
        Each has its own order of the data.
    start
        Name -> (start, seed, ...) values, trained at each of ``rates``.
    assemble
        ``(what is trained, axes) -> the model's parameters``, all (replicas, ...).
    rates, steps
        Learning rates and Adam steps.
    others
        Name -> (seed, ...) values that are trained too (the other layers'), at ``other_rates``, one for each of ``rates``.
    """
    several = next((len(x) for x in start.values()), 1)
    axes = Axes(rate=len(rates), start=several, seed=len(seeds))
    batch = fixture.batches(seeds, axes, steps)

    def losses(params: Params, step: int) -> Tensor:
        x, y = batch(step)
        return loss(fixture(assemble(params, axes), x), y)

    values = {n: axes.flatten(x[None]) for n, x in start.items()}
    values |= {n: axes.by_seed(x) for n, x in (others or {}).items()}
    speeds = dict.fromkeys(start, axes.by_rate(rates))
    speeds |= dict.fromkeys(others or {}, axes.by_rate(other_rates[: len(rates)]))
    found = minimise(losses, values, speeds, steps, score=lambda params: fixture.score(assemble(params, axes), axes))
    return Trained(axes, found.params, axes.unflatten(found.score))

"""What a model of a comparison sees, and its training: all replicas (learning rates times seeds) side by side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tnkit_nn.generators import times
from tnkit_nn.replicas import Swept, minimise

__all__ = ["BATCH", "REST_RATES", "Params", "View", "cut", "through", "tune"]

#: Learning rates of dense numbers: of the rest of a model, and of a dense layer.
REST_RATES = (2e-3, 1e-2, 5e-2)
BATCH = 128
#: Examples times replicas that go through a model at once where no gradient is needed.
CHUNK = 8192

Params = dict[str, Tensor]


@dataclass(frozen=True)
class View:
    """A model and what it sees: images, or what the layers before it make of them.

    Attributes
    ----------
    model
        Called with the values that its parameters' names have.
    inputs
        Part -> (count, ...) inputs; (seeds, count, ...) where ``own``, each seed having its own.
    labels
        Part -> (count,).
    own
        Whether each seed has its own inputs.
    """

    model: nn.Module
    inputs: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]
    own: bool

    def batches(self, seeds: Sequence[int], copies: int, steps: int) -> Callable[[int], tuple[Tensor, Tensor]]:
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
            return times(x[each, now] if self.own else x[now], copies), y[now].repeat(copies, 1)

        return batch

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, shared: bool = False) -> Tensor:
        """(replicas, batch, classes); ``shared``: all replicas see the same inputs."""

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

    def logits(self, params: Mapping[str, Tensor], part: str) -> Tensor:
        """Of a whole part, without gradient, a few examples at a time."""
        replicas, x = len(next(iter(params.values()))), self.inputs[part]
        with torch.no_grad():
            if not self.own:
                pieces = x.split(max(1, CHUNK // replicas))
                return torch.cat([self(params, piece, shared=True) for piece in pieces], 1)
            pieces = x.split(max(1, CHUNK // replicas), 1)
            return torch.cat([self(params, times(piece, replicas // len(x))) for piece in pieces], 1)

    def accuracy(self, params: Mapping[str, Tensor], part: str) -> Tensor:
        """(replicas,): the fraction of a part that is classified correctly."""
        return (self.logits(params, part).argmax(-1) == self.labels[part]).float().mean(1)


def cut(model: nn.Module, layer: str) -> tuple[nn.Sequential, nn.Module]:
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
        first, after[name] = cut(after[name], inner)
        if len(first):
            before[name] = first
    return nn.Sequential(before), nn.Sequential(after)


def through(before: nn.Module, values: Params, x: Tensor, seeds: int) -> Tensor:
    """Inputs through the layers before, seed by seed (once, where they have no values)."""

    def run(params: Params) -> Tensor:
        return torch.cat([functional_call(before, params, (piece,)) for piece in x.split(1024)])

    with torch.no_grad():
        return torch.stack([run({n: p[s] for n, p in values.items()}) for s in range(seeds)]) if seeds else run({})


def tune(
    view: View, seeds: Sequence[int], start: Mapping[str, Tensor], slow: Mapping[str, Tensor], full: Callable[[Params], Params],
    rates: Sequence[float], steps: int, slow_rates: Sequence[float] = REST_RATES,
) -> Swept:  # fmt: skip
    """Cross entropy on ``full(params)``, all rates and seeds side by side; the best validation score is kept."""
    several = next(iter({**start, **slow}.values()))
    batch = view.batches(seeds, len(rates) * len(several) // len(seeds), steps)

    def losses(params: Params, step: int) -> Tensor:
        x, y = batch(step)
        return _entropy(view(full(params), x), y)

    def score(params: Params) -> Tensor:
        logits, y = view.logits(full(params), "val"), view.labels["val"]
        wrong = (logits.argmax(-1) != y).float().mean(1)
        return wrong + 1e-3 * torch.tanh(_entropy(logits, y.expand(len(logits), -1)))  # ties go to the lower entropy

    return minimise(losses, start, rates, steps, slow=slow, slow_rates=slow_rates[: len(rates)], score=score)


def _entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of each replica."""
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return loss.view(y.shape).mean(1)

"""What is approximated, what is found, and the better of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import tnkit as tk
from tnkit_nn.adapter.descent import Params
from tnkit_nn.axes import Axes
from tnkit_nn.engine.backend import from_numpy
from tnkit_nn.generators import Generator, along, regauged, weight_rms

__all__ = ["Approximation", "Progress", "Targets", "nearest", "scaled_each", "stacked_arrays"]

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Approximation:
    """Arrays near several weights of one shape.

    Attributes
    ----------
    params
        Array name -> (seed, ...), in a gauge in which one learning rate suits them all (:func:`tnkit_nn.generators.regauged`).
    error
        (seed,): relative errors.
    methods
        What each was found by.
    history
        (steps, seed): relative errors of gradient steps at the best rate, where that is what was asked for.
    """

    params: Params
    error: Tensor
    methods: tuple[str, ...]
    history: Tensor | None = None

    def scaled(self, by: Tensor, outer: Sequence[str]) -> Approximation:
        """Arrays near so many times the weights: the factor (seed,) is shared out over the arrays that scale the result."""
        share = by ** (1 / len(outer))
        params = {n: scaled_each(x, share) if n in outer else x for n, x in self.params.items()}
        return replace(self, params=params)

    def found_by(self, method: str) -> Approximation:
        """The same, said to be found by something else."""
        return replace(self, methods=(method,) * len(self.methods), history=None)

    def there(self, device: torch.device) -> Approximation:
        """The arrays on a device."""
        return replace(self, params={n: x.to(device) for n, x in self.params.items()}, error=self.error.to(device))


@dataclass(frozen=True)
class Targets:
    """A network, the weights (seed, ...) that it is to be near, how it makes weights, and the effort."""

    net: tk.Network
    targets: Tensor
    generator: Generator
    first_seed: int
    steps: int
    progress: Progress

    def found(self, values: Mapping[str, Tensor], method: str, history: Tensor | None = None) -> Approximation:
        """Values in their gauge, with the factor of the least error."""
        return self.measured(regauged(self.generator, dict(values), self.targets, self.net), method, history)

    def measured(self, values: Params, method: str, history: Tensor | None = None) -> Approximation:
        """Values as they are, and their errors."""
        with torch.no_grad():
            off = self.generator.weight(values, Axes(seed=len(self.targets))) - self.targets
        size = weight_rms(self.targets)
        error = weight_rms(off) / torch.where(size > 0, size, 1.0)
        return Approximation(values, error, (method,) * len(self.targets), history)


def nearest(*found: Approximation) -> Approximation:
    """For each weight the approximation of the least error."""
    best = torch.stack([f.error for f in found]).argmin(0).tolist()
    seeds = range(len(best))
    params = {n: torch.stack([found[k].params[n][s] for s, k in enumerate(best)]) for n in found[0].params}
    error = torch.stack([found[k].error[s] for s, k in enumerate(best)])
    return Approximation(params, error, tuple(found[best[s]].methods[s] for s in seeds))


def stacked_arrays(each: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Params:
    """Name -> (seed, ...): each of these arrays of several networks, stacked."""
    return {
        n: torch.stack([a if isinstance(a := arrays[n], Tensor) else from_numpy(a) for arrays in each]) for n in names
    }


def scaled_each(x: Tensor, by: Tensor) -> Tensor:
    """(seed, ...) times a factor (seed,) in double precision, which may be no number of the dtype of ``x``."""
    wide = x.to(torch.promote_types(x.dtype, torch.float64))
    return (wide * along(by, wide)).to(x.dtype)

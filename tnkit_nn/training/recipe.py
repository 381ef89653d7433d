"""How to train: length, rates, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Any

import torch
from torch.optim import Optimizer

from tnkit.core.checks import one_of
from tnkit.core.numbers import real_number
from tnkit_nn.checks import a_size
from tnkit_nn.data.augment import AUGMENT

__all__ = ["METHODS", "SCHEDULES", "Recipe"]


def _cosine_schedule(t: float, warm: float = 0.05) -> float:
    return (t + 1e-3) / (warm + 1e-3) if t < warm else (1 + cos(pi * (t - warm) / (1 - warm))) / 2


def _onecycle(t: float, rise: float = 0.3) -> float:
    return 0.04 + 0.96 * (1 - cos(pi * t / rise)) / 2 if t < rise else (1 + cos(pi * (t - rise) / (1 - rise))) / 2


#: Part of the training done, in 0..1 -> factor of the rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "cosine": _cosine_schedule,
    "onecycle": _onecycle,
}

#: Parameter groups with ``lr`` and ``weight_decay`` -> optimiser.
METHODS: dict[str, Callable[[list[dict[str, Any]]], Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, betas=(0.9, 0.99)),  # 0.999 remembers longer than short runs last
}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    >>> recipe = tknn.Recipe(epochs=5, lr=3e-3, batch=64)
    >>> recipe.method, recipe.schedule
    ('adamw', 'cosine')
    >>> tknn.Recipe(epochs=5, lr=3e-3, method="adagrad")
    Traceback (most recent call last):
        ...
    ValueError: method is one of sgd, adamw, not 'adagrad'

    Attributes
    ----------
    epochs
        Passes over the training part.
    lr
        Highest learning rate.
    method, schedule, augment
        Names in :data:`METHODS`, :data:`SCHEDULES` and :data:`tnkit_nn.data.AUGMENT`.
    batch
        Examples a step; what is left at the end of an epoch's order is left out, other examples in each epoch.
    weight_decay
        Of matrices and kernels; vectors (biases, normalisation) have none.
    label_smoothing
        Of the cross entropy.

    Raises
    ------
    ValueError
        An unknown name, or a number out of range.
    """

    epochs: int
    lr: float
    method: str = "adamw"
    schedule: str = "cosine"
    batch: int = 128
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: str = "none"

    def __post_init__(self) -> None:
        for what, known in (("method", METHODS), ("schedule", SCHEDULES), ("augment", AUGMENT)):
            one_of(getattr(self, what), what, known)
        store = partial(object.__setattr__, self)  # plain numbers: they are kept as JSON
        store("epochs", a_size(self.epochs, "epochs"))
        store("batch", a_size(self.batch, "batch"))
        store("lr", real_number(self.lr, "lr"))
        store("weight_decay", real_number(self.weight_decay, "weight_decay", positive=False))
        store("label_smoothing", real_number(self.label_smoothing, "label_smoothing", positive=False, below=1))

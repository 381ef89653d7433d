"""The setting of a study: model, data and protocol in one value, kept with its results as it is written here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from four_convs import four_convolutions
from joint import joint_lenet5
from small import smaller_of
from torch import nn

from tnkit_nn import zoo
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.task import Task

#: Models beside the zoo's: what a seed makes.
MODELS: dict[str, Any] = {"lenet5, one weight": joint_lenet5, "four convolutions": four_convolutions}


def model_of(name: str) -> nn.Module:
    """A model of :data:`MODELS`, or of the zoo, that no data is needed for."""
    made: nn.Module = MODELS[name](0) if name in MODELS else zoo.build(name)
    return made


@dataclass(frozen=True)
class Setup:
    """What is compared, and for how long everything trains.

    ``model``: a name of the zoo, or of :data:`MODELS`.
    """

    model: str
    data: str
    layer: str | tuple[str, ...]
    seeds: int
    dense_steps: int
    fit_steps: int
    tune_steps: int
    data_dir: str | None = None
    limit: int | None = None
    rest: str = "all"
    first_seed: int = 0

    def task(self, small: bool = False) -> Task:
        """Model and data; ``small``: with small dense models as a control."""
        smaller = partial(smaller_of, self.model) if small else None
        return Task(
            MODELS.get(self.model, self.model), self.data, data_dir=self.data_dir, limit=self.limit, smaller=smaller
        )

    def options(self) -> dict[str, Any]:
        """The arguments of ``compare``."""
        names = ("layer", "seeds", "first_seed", "dense_steps", "fit_steps", "tune_steps", "rest")
        return {name: getattr(self, name) for name in names}

    def protocol(self) -> Protocol:
        """The same as a value."""
        return Protocol(**self.options())

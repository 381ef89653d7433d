"""What a comparison is about: a model, data, a loss and a metric, and how long everything trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

from tnkit.core.checks import one_of, sequence, shown, text
from tnkit.core.numbers import whole_number
from tnkit_nn import data as datasets
from tnkit_nn import zoo
from tnkit_nn.checks import a_path, a_size

__all__ = ["Task", "build_model", "chosen_layers", "loss", "metric", "read_data", "score"]

#: Validation examples that scores are read from: a fixed part, by class.
VALIDATION = 2000


@dataclass(frozen=True)
class Task:
    """What is compressed, and how long everything trains.

    Attributes
    ----------
    model, data
        Names in :mod:`tnkit_nn.zoo` and :mod:`tnkit_nn.data`.
    layer
        Module whose ``weight`` is replaced, or several that are replaced together, their budget shared out; None for the largest.
    seeds
        Number of seeds: each has its own dense model, start values and data order.
    dense_steps, fit_steps, tune_steps
        Adam steps of the dense training, of the approximation by gradients and of the fine-tuning.
    data_dir
        Folder with the data's files (:func:`tnkit_nn.data.load`); workers read it too.
    limit
        At most so many examples of each part.
    rest
        Which other layers are fine-tuned together with the compressed one: ``"all"``, or ``"head"``, the (first) layer's bias and
        what stands after it, or ``"none"``: that reading is left out, which more than halves the time.
    weights
        A file of trained values (:func:`tnkit_nn.zoo.save`) instead of the dense training: all seeds share that dense model, and
        differ in starts and data order.  What is not trained then may keep running statistics, and is as in evaluation.
    first_seed
        The first of the seeds: what was chosen on some seeds is to be judged on others.
    approximation
        How networks are brought near the trained weights (:func:`tnkit_nn.approximation.approximate`): ``"auto"``, the best way for
        each, or one method for all: ``"gradient"``.

    Raises
    ------
    TypeError, ValueError
        An unknown name, a number of seeds or steps that is no whole number of at least 1, a path or a layer that is none.
    """

    model: str = "mlp"
    data: str = "digits"
    layer: str | tuple[str, ...] | None = None
    seeds: int = 3
    dense_steps: int = 400
    fit_steps: int = 200
    tune_steps: int = 200
    data_dir: str | None = None
    limit: int | None = None
    rest: str = "all"
    weights: str | None = None
    first_seed: int = 0
    approximation: str = "auto"

    @property
    def each(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def __post_init__(self) -> None:
        store = partial(object.__setattr__, self)
        one_of(self.model, "Task: model", zoo.ZOO)
        one_of(self.data, "Task: data", datasets.DATA)
        one_of(self.rest, "Task: rest", ("all", "head", "none"))
        one_of(self.approximation, "Task: approximation", ("auto", "gradient"))  # what suits any network
        for name in ("seeds", "dense_steps", "fit_steps", "tune_steps"):
            store(name, a_size(getattr(self, name), f"Task: {name}"))
        store("first_seed", whole_number(self.first_seed, "Task: first_seed", 0))
        if self.limit is not None:
            store("limit", a_size(self.limit, "Task: limit"))
        for name in ("data_dir", "weights"):
            if (given := getattr(self, name)) is not None:
                store(name, str(a_path(given, f"Task: {name}")))
        if self.layer is not None:
            names = (self.layer,) if isinstance(self.layer, str) else sequence(self.layer, "Task: layer")
            layers = tuple(text(name, "Task: each name of a layer") for name in names)
            if not layers or len(set(layers)) < len(layers):
                raise ValueError(f"Task: layers are one or more, each named once, not {shown(layers)}")
            store("layer", layers[0] if len(layers) == 1 else layers)


# -- loss and metric, of replicas side by side -------------------------------------------------------------------------
def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy: (replicas, examples, classes) and (replicas, examples) -> (replicas,)."""
    each = nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def metric(outputs: Tensor, labels: Tensor) -> Tensor:
    """Accuracy, larger being better: (replicas, examples, classes) and (replicas, examples) -> (replicas,)."""
    return (outputs.argmax(-1) == labels).float().mean(1)


def score(outputs: Tensor, labels: Tensor) -> Tensor:
    """What is best on validation examples, lower being better: the metric, ties going to the lower loss."""
    return 1 - metric(outputs, labels) + 1e-3 * torch.tanh(loss(outputs, labels))


# -- data and model ----------------------------------------------------------------------------------------------------
def read_data(task: Task) -> datasets.Split:
    """The task's data, of the validation part a fixed piece.

    Raises
    ------
    FileNotFoundError
        Its files are not there.
    ValueError
        An unknown name.
    """
    split = datasets.load(task.data, task.data_dir, limit=task.limit)
    x, y = split.val
    chosen = datasets.stratified(y)[:VALIDATION].sort().values
    return replace(split, val=(x[chosen], y[chosen])) if len(y) > VALIDATION else split


def build_model(task: Task, split: datasets.Split) -> nn.Module:
    """The model, of the values that are given or that the seed 0 draws, in evaluation."""
    torch.manual_seed(0)
    model = zoo.load(task.model, task.weights) if task.weights else zoo.build(task.model, split.num_classes)
    model.eval()
    for name in chosen_layers(task, model) if task.weights else ():
        size = float(model.get_parameter(f"{name}.weight").detach().double().norm())
        if not 0 < size < inf:
            raise ValueError(f"{task.weights}: the weight of {name} has the norm {size}: nothing to compare to")
    return model


def chosen_layers(task: Task, model: nn.Module) -> tuple[str, ...]:
    """The task's layers in the model's order; ValueError for one that is not there or has no weight."""
    weights = {n.removesuffix(".weight"): p.numel() for n, p in model.named_parameters() if n.endswith(".weight")}
    if task.layer is None:
        return (max(weights, key=lambda n: weights[n]),)
    chosen = (task.layer,) if isinstance(task.layer, str) else tuple(task.layer)
    for name in chosen:
        if name not in weights:
            raise ValueError(f"model {task.model!r} has no layer {name!r} with a weight; it has {', '.join(weights)}")
    return tuple(n for n in weights if n in chosen)

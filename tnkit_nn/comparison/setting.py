"""The setting of a comparison: data, dense models, the layer, and what stands before it computed once.

Everything is kept for all seeds together: values have a leading seeds axis, or a replicas axis that is a multiple of it (see
:mod:`tnkit_nn.replicas`).  A worker opens the setting again from the task and the dense values, once a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import inf, prod

import safetensors.torch
import torch
from torch import nn

from tnkit_nn import data as datasets
from tnkit_nn import zoo
from tnkit_nn.comparison.view import Params, View, cut, through, tune

__all__ = ["Setting", "Task", "checked", "drawn", "forget", "opened", "prepare", "stacked"]

#: Validation images that scores are read from: a fixed part, by class.
VALIDATION = 2000
#: Bytes of what the layers before give for all images and seeds, up to which it is computed once and kept.
FEATURES = 2**30


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
        Adam steps of the dense training, of stage 1 and of stage 2.
    data_dir
        Folder with the data's files (:func:`tnkit_nn.data.load`); workers read it too.
    limit
        At most so many examples of each part.
    rest
        What "rest trained" trains beside the layer: ``"all"``, or ``"head"``, the (first) layer's bias and what stands after it, or
        ``"none"``: that reading is left out, which more than halves the time.
    weights
        A file of trained values (:func:`tnkit_nn.zoo.save`) instead of the dense training: all seeds share that dense model, and
        differ in starts and data order.  What is not trained then may keep running statistics, and is as in evaluation.
    first_seed
        The first of the seeds: what was chosen on some seeds is to be judged on others.
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

    @property
    def each(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def __post_init__(self) -> None:
        if self.layer is not None and not isinstance(self.layer, str):
            layers = tuple(self.layer)
            object.__setattr__(self, "layer", layers[0] if len(layers) == 1 else layers)


@dataclass(frozen=True)
class Setting:
    """The dense models (one a seed, stacked), the data and the layers, in the model's order: what every row of a comparison needs."""

    task: Task
    split: datasets.Split
    model: nn.Module
    layers: tuple[str, ...]
    dense: Params

    @property
    def targets(self) -> Params:
        """Name of a weight -> (seeds, *weight shape): the trained weights."""
        return {f"{n}.weight": self.dense[f"{n}.weight"] for n in self.layers}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of a weight -> its shape."""
        return {name: tuple(target.shape[1:]) for name, target in self.targets.items()}

    @property
    def model_params(self) -> int:
        """Numbers of the dense model."""
        return sum(prod(p.shape[1:]) for p in self.dense.values())

    @cached_property
    def images(self) -> View:
        """The whole model, and images."""
        return _view(self.model, self.split)

    @cached_property
    def features(self) -> View:
        """The model from the first layer on, and what stands before it, computed once; :attr:`images` where that is too large."""
        before, after = cut(self.model, self.layers[0])
        if not len(before):
            return self.images
        own = any(True for _ in before.parameters()) and not self.task.weights  # one model given: one set of features
        parts = _parts(self.split)
        fixed = {n: self.dense[n] for n, _ in before.named_parameters()}
        probe = before(parts["val"][0][:1])
        count = sum(len(y) for _, y in parts.values()) * (self.task.seeds if own else 1)
        if count * probe.numel() * 4 > FEATURES:
            return self.images
        inputs = {name: through(before, fixed, x, self.task.seeds if own else 0) for name, (x, _) in parts.items()}
        return View(after, inputs, {name: y for name, (_, y) in parts.items()}, own)

    def view(self, trained: bool) -> View:
        """Features where nothing before the layer is trained, else images."""
        moves = (
            trained and self.task.rest == "all" and any(True for _ in cut(self.model, self.layers[0])[0].parameters())
        )
        return self.images if moves else self.features

    def rest(self, trained: bool) -> Params:
        """The dense values, weights apart, of the model of :meth:`view`."""
        return {n: self.dense[n] for n, _ in self.view(trained).model.named_parameters() if n not in self.targets}

    def movable(self, trained: bool) -> list[str]:
        """Which of :meth:`rest` are trained."""
        if not trained:
            return []
        before = (
            {n for n, _ in cut(self.model, self.layers[0])[0].named_parameters()} if self.task.rest == "head" else set()
        )
        return [n for n in self.rest(trained) if n not in before]


def _parts(split: datasets.Split) -> dict[str, datasets.Part]:
    return {"train": split.train, "val": split.val, "test": split.test}


def _view(model: nn.Module, split: datasets.Split) -> View:
    parts = _parts(split)
    return View(model, {n: x for n, (x, _) in parts.items()}, {n: y for n, (_, y) in parts.items()}, False)


def stacked(models: Sequence[nn.Module]) -> Params:
    """Values of several models, stacked by name."""
    values = [dict(m.named_parameters()) for m in models]
    return {n: torch.stack([v[n].detach() for v in values]) for n in values[0]}


def drawn(task: Task, classes: int, offset: int) -> Iterator[nn.Sequential]:
    """The task's model with new values, one a seed; ``offset`` is added to each seed."""
    for seed in task.each:
        torch.manual_seed(offset + seed)
        yield zoo.build(task.model, classes)


def checked(task: Task) -> str:
    """A digest of the data that a task reads, once the task is known to make sense.

    Raises
    ------
    FileNotFoundError
        The data's files are not there.
    ValueError
        An unknown name, a model that cannot be trained side by side, or data that it does not take.
    """
    split = _data(task)
    _checked(task, split)
    return split.digest()


def prepare(task: Task) -> bytes:
    """Train the dense models, one a seed, side by side, or read them: their values as the bytes of a safetensors file."""
    split = _data(task)
    model = _checked(task, split)
    if task.weights:
        values = stacked([model] * task.seeds)
        return safetensors.torch.save({n: p.contiguous() for n, p in values.items()})
    start = stacked(list(drawn(task, split.num_classes, 0)))
    found = tune(_view(model, split), task.each, start, {}, lambda p: p, (3e-3,), task.dense_steps)
    return safetensors.torch.save({n: p.contiguous() for n, p in found.params.items()})


@lru_cache(maxsize=1)
def opened(task: Task, dense: bytes) -> Setting:
    """The setting of a task with trained dense values."""
    split = _data(task)
    model = _checked(task, split)
    return Setting(task, split, model, _layers(task, model), safetensors.torch.load(dense))


def forget() -> None:
    """Let go of the data and the setting that this process has open."""
    opened.cache_clear()
    _read.cache_clear()


@lru_cache(maxsize=1)
def _read(name: str, root: str | None, limit: int | None) -> datasets.Split:
    split = datasets.load(name, root, limit=limit)
    x, y = split.val
    chosen = datasets.stratified(y)[:VALIDATION].sort().values
    return replace(split, val=(x[chosen], y[chosen])) if len(y) > VALIDATION else split


def _data(task: Task) -> datasets.Split:
    return _read(task.data, task.data_dir, task.limit)


def _layers(task: Task, model: nn.Module) -> tuple[str, ...]:
    """The task's layers in the model's order; ValueError for one that is not there or has no weight, and for one named twice."""
    weights = {n.removesuffix(".weight"): p.numel() for n, p in model.named_parameters() if n.endswith(".weight")}
    if task.layer is None:
        return (max(weights, key=lambda n: weights[n]),)
    chosen = (task.layer,) if isinstance(task.layer, str) else tuple(task.layer)
    for name in chosen:
        if name not in weights:
            raise ValueError(f"model {task.model!r} has no layer {name!r} with a weight; it has {', '.join(weights)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"layers are one or more, each named once, not {chosen}")
    return tuple(n for n in weights if n in chosen)


def _together(task: Task, model: nn.Module, first: str) -> nn.Module:
    """What is trained side by side beside the layers: everything, what comes from the first on, or nothing."""
    if not task.weights or task.rest == "all":
        return model
    return cut(model, first)[1] if task.rest == "head" else nn.Sequential()


def _checked(task: Task, split: datasets.Split) -> nn.Module:
    """The model's structure, if it can be compared."""
    if task.rest not in ("all", "head", "none"):
        raise ValueError(f"rest is 'all', 'head' or 'none', not {task.rest!r}")
    torch.manual_seed(0)
    model = zoo.load(task.model, task.weights) if task.weights else zoo.build(task.model, split.num_classes)
    model.eval()
    layers = _layers(task, model)
    for name in layers if task.weights else ():
        size = float(model.get_parameter(f"{name}.weight").detach().double().norm())
        if not 0 < size < inf:
            raise ValueError(f"{task.weights}: the weight of {name} has the norm {size}: nothing to compare to")
    for name, module in _together(task, model, layers[0]).named_modules():
        if any(True for _ in module.buffers(recurse=False)):
            raise ValueError(
                f"model {task.model!r} cannot be compared: {name} ({type(module).__name__}) keeps running statistics, and "
                "the seeds and learning rates that are trained side by side would have to share them; with trained weights "
                "(weights=, --weights) rest 'none' allows them, and rest 'head' before the layer"
            )
    zoo.check_takes(model, split.val[0], task.weights or task.model, task.data, split.num_classes)
    return model

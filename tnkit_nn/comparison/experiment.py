"""The experiment, the one object that travels: task, data, model, layers, dense models, and what is computed once for all rows.

Everything is kept for all seeds together: values have a leading seed axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from tnkit.core.checks import shown
from tnkit_nn import data as datasets
from tnkit_nn import zoo
from tnkit_nn.adapter.descent import Params
from tnkit_nn.comparison.job_store import Progress, Study, run_jobs, silent
from tnkit_nn.comparison.replicas import Fixture, split_at, through, train_replicas
from tnkit_nn.comparison.task import Task, build_model, chosen_layers, read_data
from tnkit_nn.storage import misfit

__all__ = ["Experiment", "fresh_models", "opened", "stacked_values", "with_dense_models"]

#: Bytes of what the layers before give for all examples and seeds, up to which it is computed once and kept.
FEATURES = 2**30


@dataclass(frozen=True)
class Experiment:
    """What every row of a comparison needs.  Workers get the task and the dense values, and open it once a process.

    Attributes
    ----------
    task, split, model
        The task, its data, and its model in evaluation.
    layers
        Names of the layers that are replaced, in the model's order.
    dense
        Parameter -> (seed, *shape): the trained dense models; nothing before they are trained (:func:`with_dense_models`).
    """

    task: Task
    split: datasets.Split
    model: nn.Module
    layers: tuple[str, ...]
    dense: Params = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.task, self._packed)

    @cached_property
    def _packed(self) -> bytes:
        return safetensors.torch.save({n: p.contiguous() for n, p in self.dense.items()})

    # -- the weights ----------------------------------------------------------------------------------------------------
    @property
    def targets(self) -> Params:
        """Name of a weight -> (seed, *weight shape): the trained weights."""
        return {f"{n}.weight": self.dense[f"{n}.weight"] for n in self.layers}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of a weight -> its shape."""
        return {f"{n}.weight": tuple(self.model.get_parameter(f"{n}.weight").shape) for n in self.layers}

    @property
    def model_params(self) -> int:
        """Parameters of the dense model."""
        return sum(prod(p.shape[1:]) for p in self.dense.values())

    # -- what is trained on what ----------------------------------------------------------------------------------------
    @cached_property
    def full(self) -> Fixture:
        """All of the model, and the data."""
        return _fixture(self.model, self.split)

    @cached_property
    def tail(self) -> Fixture:
        """The model from the first layer on, and what stands before it, computed once; :attr:`full` where that is too large."""
        before, after = split_at(self.model, self.layers[0])
        if not len(before):
            return self.full
        own = any(True for _ in before.parameters()) and not self.task.weights  # one model given: one set of features
        parts = _split_parts(self.split)
        fixed = {n: self.dense[n] for n, _ in before.named_parameters()}
        probe = before(parts["val"][0][:1])
        count = sum(len(y) for _, y in parts.values()) * (self.task.seeds if own else 1)
        if count * probe.numel() * 4 > FEATURES:
            return self.full
        inputs = {name: through(before, fixed, x, self.task.seeds if own else 0) for name, (x, _) in parts.items()}
        return Fixture(after, inputs, {name: y for name, (_, y) in parts.items()}, own)

    def fixture(self, tuned: bool) -> Fixture:
        """The tail where nothing before the layer is trained, else the full model; ``tuned``: other layers are trained too."""
        moves = (
            tuned
            and self.task.rest == "all"
            and any(True for _ in split_at(self.model, self.layers[0])[0].parameters())
        )
        return self.full if moves else self.tail

    def others(self, tuned: bool) -> Params:
        """The dense values of the other layers of :meth:`fixture`'s model."""
        return {n: self.dense[n] for n, _ in self.fixture(tuned).model.named_parameters() if n not in self.shapes}

    def trainable(self, tuned: bool) -> list[str]:
        """Which of :meth:`others` are trained."""
        if not tuned:
            return []
        before = set[str]()
        if self.task.rest == "head":
            before = {n for n, _ in split_at(self.model, self.layers[0])[0].named_parameters()}
        return [n for n in self.others(tuned) if n not in before]


#: The experiment that a worker has open under "last": rows that come one after another read the data and pass the layers before once.
_OPEN: dict[str, Experiment] = {}


def _reopened(task: Task, dense: bytes) -> Experiment:
    """An experiment in a worker, from what was sent of it."""
    last = _OPEN.get("last")
    if last is None or last.task != task:
        last = opened(task)
    if last._packed != dense:
        last = replace(last, dense=safetensors.torch.load(dense))
    _OPEN["last"] = last
    return last


def _split_parts(split: datasets.Split) -> dict[str, datasets.Part]:
    return {"train": split.train, "val": split.val, "test": split.test}


def _fixture(model: nn.Module, split: datasets.Split) -> Fixture:
    parts = _split_parts(split)
    return Fixture(model, {n: x for n, (x, _) in parts.items()}, {n: y for n, (_, y) in parts.items()}, False)


def stacked_values(models: Sequence[nn.Module]) -> Params:
    """Values of several models, stacked by name."""
    values = [dict(m.named_parameters()) for m in models]
    return {n: torch.stack([v[n].detach() for v in values]) for n in values[0]}


def fresh_models(experiment: Experiment, seeds: Sequence[int], offset: int = 0) -> Iterator[nn.Sequential]:
    """The task's model with new values, one a seed; ``offset`` is added to each seed."""
    for seed in seeds:
        torch.manual_seed(offset + seed)
        yield zoo.build(experiment.task.model, experiment.split.num_classes)


# -- from a task to an experiment --------------------------------------------------------------------------------------
def opened(task: Task) -> Experiment:
    """The experiment of a task, its dense models not trained yet.

    Raises
    ------
    FileNotFoundError
        The data's files are not there.
    ValueError
        An unknown name, a model that cannot be trained side by side, or data that it does not take.
    """
    split = read_data(task)
    model = build_model(task, split)
    layers = chosen_layers(task, model)
    for name, module in _side_by_side(task, model, layers[0]).named_modules():
        if any(True for _ in module.buffers(recurse=False)):
            raise ValueError(
                f"model {task.model!r} cannot be compared: {name} ({type(module).__name__}) keeps running statistics, and "
                "the seeds and learning rates that are trained side by side would have to share them; with trained weights "
                "(weights=, --weights) rest 'none' allows them, and rest 'head' before the layer"
            )
    zoo.check_takes(model, split.val[0], task.weights or task.model, task.data, split.num_classes)
    return Experiment(task, split, model, layers)


def _side_by_side(task: Task, model: nn.Module, first: str) -> nn.Module:
    """What is trained side by side beside the layers: everything, what comes from the first on, or nothing."""
    if not task.weights or task.rest == "all":
        return model
    return split_at(model, first)[1] if task.rest == "head" else nn.Sequential()


def with_dense_models(
    experiment: Experiment, study: Study | None = None, executor: Executor | None = None, progress: Progress = silent
) -> Experiment:
    """The experiment with its dense models: those that are given, or each trained as a job of its own, once a study."""
    task = experiment.task
    if task.weights:
        return replace(experiment, dense=stacked_values([experiment.model] * task.seeds))
    each = {f"dense model of seed {seed}": (experiment, [seed]) for seed in task.each}
    options: dict[str, Any] = {"study": study, "executor": executor, "progress": progress}
    found = run_jobs(each, dense_models, **options, wrong=lambda _, kept: _wrong_dense(experiment, kept)).values()
    models = [safetensors.torch.load(values) for values in found]
    return replace(experiment, dense={name: torch.cat([m[name] for m in models]) for name in models[0]})


def _wrong_dense(experiment: Experiment, kept: Any) -> str:
    """What keeps a kept result from being the dense model of one seed."""
    if not isinstance(kept, bytes):
        return f"it is {shown(kept)}, not a model's values"
    try:
        values = safetensors.torch.load(kept)
    except safetensors.SafetensorError as error:
        return f"no safetensors ({error})"
    return misfit({n: p[None] for n, p in experiment.model.named_parameters()}, values)


def dense_models(experiment: Experiment, seeds: Sequence[int]) -> bytes:
    """Train dense models side by side, one a seed: their values as the bytes of a safetensors file."""
    start = {n: x[None] for n, x in stacked_values(list(fresh_models(experiment, seeds))).items()}
    found = train_replicas(experiment.full, seeds, start, lambda p, _: p, (3e-3,), experiment.task.dense_steps)
    return safetensors.torch.save({n: p.contiguous() for n, p in found.params.items()})

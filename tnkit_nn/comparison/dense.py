"""The dense models of a comparison: those that are given, or one a seed, trained at the rate that is best for it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from tnkit.core.checks import shown
from tnkit_nn.axes import RATE
from tnkit_nn.comparison.experiment import TURN, Experiment
from tnkit_nn.comparison.job_store import Progress, Study, run_jobs, silent
from tnkit_nn.comparison.models import called_once, fresh_models, stacked_values, values_of
from tnkit_nn.comparison.replicas import REST_RATES, Trained, train_replicas
from tnkit_nn.comparison.sweep import swept
from tnkit_nn.storage import misfit
from tnkit_nn.task import Task
from tnkit_nn.training.evaluation import device_of

__all__ = ["dense_models", "dense_rates", "with_dense_models"]


def with_dense_models(
    experiment: Experiment, study: Study | None = None, executor: Executor | None = None, progress: Progress = silent
) -> Experiment:
    """The experiment with its dense models: those that are given, or each trained as a job of its own, once a study."""
    if experiment.task.trained:
        return replace(experiment, dense=stacked_values([experiment.model] * experiment.protocol.seeds))
    each = {f"dense model of seed {seed}": (experiment, [seed]) for seed in experiment.protocol.each}
    options: dict[str, Any] = {"study": study, "executor": executor, "progress": progress}
    found = run_jobs(each, dense_models, **options, wrong=lambda _, kept: _wrong_dense(experiment, kept)).values()
    models = [safetensors.torch.load(values) for values in found]
    device = device_of(experiment.model)  # files are read on the processor
    return replace(experiment, dense={name: torch.cat([m[name] for m in models]).to(device) for name in models[0]})


def _wrong_dense(experiment: Experiment, kept: Any) -> str:
    """What keeps a kept result from being the dense model of one seed."""
    if not isinstance(kept, bytes):
        return f"it is {shown(kept)}, not a model's values"
    try:
        values = safetensors.torch.load(kept)
    except safetensors.SafetensorError as error:
        return f"no safetensors ({error})"
    return misfit({n: p[None] for n, p in values_of(experiment.model).items()}, values)


def dense_rates(task: Task) -> tuple[float, ...]:
    """Learning rates that dense models choose from: the zoo's own, or those that the other dense controls choose from.

    One rate for all would be too low or too high for some model of one's own, which any network that may choose would then beat.
    """
    return (3e-3,) if isinstance(task.model, str) else REST_RATES


def dense_models(experiment: Experiment, seeds: Sequence[int]) -> bytes:
    """Train dense models, one a seed: their values as the bytes of a safetensors file.

    Each at the rate that is best for it on validation (:func:`dense_rates`).
    """
    with TURN:
        return _dense_models(experiment, seeds)


def _dense_models(experiment: Experiment, seeds: Sequence[int]) -> bytes:
    models = list(fresh_models(experiment.task, seeds))
    for seed, model in zip(seeds, models, strict=True):
        _check_seed(experiment, seed, model)
    values = stacked_values(models)
    trained = [n for n, p in experiment.parameters.items() if p.requires_grad]
    start = {n: values[n][None] for n in trained}
    fixed = {n: x for n, x in values.items() if n in experiment.parameters and n not in start}
    statistics = {n: x for n, x in values.items() if n not in experiment.parameters}
    rates = dense_rates(experiment.task)

    def train(own: Sequence[float], _: Sequence[float]) -> Trained:
        return train_replicas(
            experiment.full, seeds, start, lambda p, _: p, own, experiment.protocol.dense_steps, fixed=fixed, trained=trained,
            statistics=statistics,
        )  # fmt: skip

    found = swept(train, rates, rates).trained
    best, each = found.score[:, 0].argmin(RATE), torch.arange(len(seeds), device=found.score.device)
    values |= {n: found.axes.unflatten(x)[best, 0, each] for n, x in (*found.params.items(), *found.state.items())}
    return safetensors.torch.save({n: p.cpu().contiguous() for n, p in values.items()})


def _check_seed(experiment: Experiment, seed: int, model: nn.Module) -> None:
    """ValueError where the model of a seed is no other model of the same kind."""
    first, name = experiment.protocol.first_seed, experiment.task.model_name
    if seed != first and model is experiment.model:
        raise ValueError(
            f"compare: {name} makes a new model for each seed, but gives one and the same; Task(model) takes a trained module itself"
        )
    if values_of(model).keys() < values_of(experiment.model).keys():  # some buffers are made when it is first called
        called_once(experiment.task, model, seed)
    wrong = misfit(values_of(experiment.model), values_of(model))
    if wrong:
        raise ValueError(f"compare: {name}({seed}) is not of the structure of {name}({first}): {wrong}")

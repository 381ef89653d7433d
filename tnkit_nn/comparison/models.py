"""Models of a task, made anew for each seed, and their values side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tnkit_nn.adapter.descent import Params
from tnkit_nn.checks import an_open_module
from tnkit_nn.data.draws import seeded
from tnkit_nn.task import Task
from tnkit_nn.training.evaluation import looking, sample_batch

__all__ = ["called_once", "fresh_models", "settled", "stacked_values", "values_of"]


def fresh_models(task: Task, seeds: Sequence[int], offset: int = 0) -> Iterator[nn.Module]:
    """The task's model with new values, one a seed, lazy ones too; ``offset`` is added to each seed.

    Raises
    ------
    ValueError
        A lazy model does not take the data.
    """
    for seed in seeds:
        model = task.build(offset + seed)
        an_open_module(model, f"compare: the model that {task.model_name} makes")
        settled(task, model, offset + seed)
        yield model


def settled(task: Task, model: nn.Module, seed: int) -> None:
    """Give a lazy model its values, drawn by the seed."""
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        called_once(task, model, seed)


def called_once(task: Task, model: nn.Module, seed: int) -> None:
    """The loss of one batch, for what a model makes only when it is first called."""
    batch = sample_batch(task.goal, model, "compare")
    try:
        with seeded(None, seed), looking(model):
            task.goal.loss(model, batch)
    except Exception as error:  # whatever a model of the user's raises
        raise ValueError(f"compare: {task.model_name}, made anew, fails on the first batch: {error}") from error


def values_of(model: nn.Module) -> Params:
    """Parameters and buffers of a model by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def stacked_values(models: Sequence[nn.Module]) -> Params:
    """Parameters and buffers of several models, stacked by name."""
    values = [values_of(m) for m in models]
    return {n: torch.stack([v[n].detach() for v in values]) for n in values[0]}

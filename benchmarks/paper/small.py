"""The control of whole models: a small dense one, of as many numbers in all, trained as long as the others were in all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tnkit_nn import zoo
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.experiment import Experiment, stacked_values
from tnkit_nn.comparison.replicas import REST_RATES, train_replicas
from tnkit_nn.storage import write_json


def _lenet5(scale: float) -> nn.Module:
    one, two, three, four = (max(1, round(scale * n)) for n in (6, 16, 120, 84))
    return zoo.lenet5(widths=(one, two, three, four))


def _fc2(scale: float) -> nn.Module:
    return zoo.MLP((784, max(1, round(scale * 512)), 10))


#: Model -> the same of other widths.
NARROW: dict[str, Callable[[float], nn.Module]] = {"lenet5": _lenet5, "fc2": _fc2}


def count(model: nn.Module) -> int:
    """Numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def narrowed(name: str, total: int) -> Callable[[], nn.Module]:
    """Draws the widest model of at most ``total`` numbers (the narrowest, where that has more)."""
    make = NARROW[name]
    scale = max((k / 1024 for k in range(1, 1025) if count(make(k / 1024)) <= total), default=1 / 1024)
    return lambda: make(scale)


def small_dense(experiment: Experiment, total: int, budget: int, path: Path) -> list[dict[str, Any]]:
    """Records of it, one a seed: read where they are kept, else found, at the rate that validation prefers."""
    if path.exists():
        kept: list[dict[str, Any]] = json.loads(path.read_text())
        return kept
    task, models = experiment.task, []
    make = narrowed(task.model, total)
    for seed in task.each:
        torch.manual_seed(700 + seed)
        models.append(make())
    fixture, start = replace(experiment.full, model=models[0]), {n: x[None] for n, x in stacked_values(models).items()}
    found = train_replicas(fixture, task.each, start, lambda p, _: p, REST_RATES, task.dense_steps + task.tune_steps)
    rate, first = found.best()
    params, seeds = found.axes.at(found.params, rate, first), Axes(seed=task.seeds)
    val, test = (fixture.metric(params, part, seeds) for part in ("val", "test"))
    size = count(models[0])
    records = [
        {
            "label": "small dense", "family": "small dense", "depth": None, "budget": budget, "num_params": size, "model_params": size,
            "seed": seed, "val_frozen": float(val[s]), "test_frozen": float(test[s]), "val_trained": None, "test_trained": None,
            "chosen_frozen": {"rest_rate": REST_RATES[rate]},
        }
        for s, seed in enumerate(task.each)
    ]  # fmt: skip
    write_json(path, records)
    return records

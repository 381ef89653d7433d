"""The control of whole models: a small dense one, of as many numbers in all, trained as long as the others were in all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tnkit_nn import zoo
from tnkit_nn.comparison.setting import Task, opened, stacked
from tnkit_nn.comparison.view import REST_RATES, View, tune
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


def small_dense(task: Task, dense: bytes, total: int, budget: int, path: Path) -> list[dict[str, Any]]:
    """Records of it, one a seed: read where they are kept, else found, at the rate that validation prefers."""
    if path.exists():
        kept: list[dict[str, Any]] = json.loads(path.read_text())
        return kept
    setting, make, models = opened(task, dense), narrowed(task.model, total), []
    for seed in task.each:
        torch.manual_seed(700 + seed)
        models.append(make())
    images = setting.images
    view = View(models[0], images.inputs, images.labels, images.own)
    swept = tune(view, task.each, stacked(models), {}, lambda p: p, REST_RATES, task.dense_steps + task.tune_steps)
    k, params = swept.preferred(task.seeds)
    val, test = (view.accuracy(params, part) for part in ("val", "test"))
    size = count(models[0])
    records = [
        {
            "label": "small dense", "family": "small dense", "depth": None, "budget": budget, "num_params": size, "model_params": size,
            "seed": seed, "val_frozen": float(val[s]), "accuracy_frozen": float(test[s]), "val_trained": None, "accuracy_trained": None,
            "chosen_frozen": {"rest_rate": REST_RATES[k]},
        }
        for s, seed in enumerate(task.each)
    ]  # fmt: skip
    write_json(path, records)
    return records

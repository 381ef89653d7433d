"""What one cell of a study is made of, a trained dense model and a compression's report, and the bar while cells are run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from tnkit_nn import data, zoo
from tnkit_nn.comparison import job_store
from tnkit_nn.comparison.job_store import Progress
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression
from tnkit_nn.data.splits import Split
from tnkit_nn.training.loop import train

Cell = dict[str, Any]

#: What else is trained, in the words of the committed results -> in those of a recipe.
OTHER_LAYERS = {"frozen": "none", "all": "all"}


def bar(what: str) -> Progress:
    """A progress bar with the time left."""
    return lambda jobs, total: tqdm(jobs, total=total, desc=what, unit="job", mininterval=5)


def compressed(model: nn.Module, recipe: Compression, split: Split, out: Path) -> dict[str, Any]:
    """What a compression reports, under the names of the committed results, and its recipe."""
    report = compress_(model, recipe, split, out=out).report()
    figures = {"accuracy_before": "metric_before", "accuracy_stage1": "metric_fit", "accuracy_after": "metric_after"}
    return {**report, **{name: report[key] for name, key in figures.items()}, "recipe": asdict(recipe)}


def loaded(name: str, args: argparse.Namespace) -> Split:
    """A data set where the models are."""
    return _loaded(name, args.data_dir, args.limit, args.device)


@cache
def _loaded(name: str, folder: str, limit: int | None, device: str) -> Split:
    split = data.load(name, folder, limit=limit)
    parts = ((x.to(device), y.to(device)) for x, y in (split.train, split.val, split.test))
    return Split(split.name, *parts, split.classes)


def dense(name: str, split: Split, seed: int, folder: Path, epochs: int = 4, batch: int | None = None) -> nn.Module:
    """The trained model of a seed, trained once where the data are."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = replace(zoo.TRAIN[name], epochs=epochs, batch=batch or zoo.TRAIN[name].batch)
    known = f"{name}-{seed}-{epochs}-{recipe.batch}-{len(split.train[1])}"  # another training is another file
    path = folder / f"{known}.safetensors"
    if path.exists():
        return zoo.load(name, path)
    torch.manual_seed(seed)
    model = zoo.build(name, split.num_classes).to(split.train[0].device)
    train(model, split, recipe, seed=seed, checkpoint=folder / f"{known}.checkpoint")
    zoo.save(model, path)
    return model


def denses(
    name: str, args: argparse.Namespace, folder: Path, models: Iterable[tuple[str, int]], pool: Executor | None,
    epochs: int = 4, batch: int | None = None,
) -> None:  # fmt: skip
    """The dense models of a study, (model, seed), on a data set, each trained once."""
    todo = {f"{model}, {seed}": (name, args, model, seed, folder, epochs, batch) for model, seed in models}
    job_store.run_jobs(todo, _one_dense, executor=pool, progress=bar("dense models"))


def _one_dense(
    name: str, args: argparse.Namespace, model: str, seed: int, folder: Path, epochs: int, batch: int | None
) -> str:
    dense(model, loaded(name, args), seed, folder, epochs, batch)
    return "done"

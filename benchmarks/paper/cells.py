"""What one cell of a study is made of, a trained dense model and a compression's report, and the bar while cells are run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from tnkit_nn import data, zoo
from tnkit_nn.compress import compress_
from tnkit_nn.data import Split
from tnkit_nn.jobs import Progress
from tnkit_nn.recipe import Compression
from tnkit_nn.train import train

Cell = dict[str, Any]


def bar(what: str) -> Progress:
    """A progress bar with the time left."""
    return lambda jobs, total: tqdm(jobs, total=total, desc=what, unit="job", mininterval=5)


def compressed(model: nn.Module, recipe: Compression, split: Split, out: Path) -> dict[str, Any]:
    """What a compression reports, and its recipe."""
    return {**compress_(model, recipe, split, out=out).report(), "recipe": asdict(recipe)}


def dense(name: str, split: Split, seed: int, folder: Path, epochs: int = 4) -> nn.Module:
    """The trained model of a seed, trained once."""
    folder.mkdir(parents=True, exist_ok=True)
    known = f"{name}-{seed}-{epochs}-{len(split.train[1])}"  # another training is another file
    path = folder / f"{known}.safetensors"
    if path.exists():
        return zoo.load(name, path)
    torch.manual_seed(seed)
    model = zoo.build(name, split.num_classes)
    train(
        model,
        split,
        replace(zoo.TRAIN[name], epochs=epochs),
        seed=seed,
        checkpoint=folder / f"{known}.checkpoint",
    )
    zoo.save(model, path)
    return model


def denses(
    name: str, args: argparse.Namespace, folder: Path, models: Iterable[tuple[str, int]], epochs: int = 4
) -> None:
    """The dense models of a study, (model, seed), on a data set, each trained once."""
    split = data.load(name, args.data_dir, limit=args.limit)
    for model, seed in dict.fromkeys(models):
        dense(model, split, seed, folder, epochs)

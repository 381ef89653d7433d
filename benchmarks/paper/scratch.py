"""CIFAR-100 on an AlexNet and a ZFNet that are trained on it here, from scratch: half an hour to an hour on one core.

The cells of the studies ``cifar100-alexnet-head`` and ``cifar100-zfnet-head`` of ``benchmarks/paper/studies.py``: what the convolutions
make of the images is computed once, then the two large linear layers are replaced, as those of ``vgg16-head`` are.
"""

from __future__ import annotations

import argparse
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import torch
from cells import Cell, dense
from heads import BATCH, RANDOM_CELLS, REST, headed, tuned
from torch import nn
from transfer import QUICK, once

from tnkit_nn import data
from tnkit_nn.data.splits import Split
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.recipe import Recipe


def cells(name: str) -> list[Cell]:
    """A cell a head and seed."""
    return [{"model": name, **cell} for cell in RANDOM_CELLS]


def cifar100_scratch(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One head of one model at one seed; ``--limit`` is of the training images of the heads alone."""
    split = features(cell["model"], args, out.parent)
    x, y = split.train
    split = Split(split.name, (x[: args.limit], y[: args.limit]), split.val, split.test)
    head = halves(trained(cell["model"], args, out.parent))[1]
    if cell["head"] != "small dense":
        return headed(cell, args, out, split, head)
    width, classes = head[0].in_features, head[-1].out_features
    torch.manual_seed(cell["seed"])
    small = nn.Sequential(nn.Linear(width, 1), nn.ReLU(), nn.Linear(1, classes))
    recipe = Recipe(epochs=args.epochs, lr=REST, batch=BATCH, schedule="onecycle")
    tuned(small, dict(small.named_parameters()), REST, split, recipe, cell["seed"])
    return {"accuracy": accuracy(small, split.test), "numbers": width}


def prepared(name: str, args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """All that is made once: the model and its features."""
    features(name, args, folder)


def halves(model: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """What makes the features, and the linear layers: ``"0"`` and ``"2"`` are the two large ones."""
    layers = dict(model.named_children())
    cut = list(layers).index("flatten") + 1
    parts = list(layers.values())
    return nn.Sequential(*parts[:cut]), nn.Sequential(*parts[cut:])


def trained(name: str, args: argparse.Namespace, folder: Path) -> Any:
    """The model, trained once."""
    return dense(name, images(args.data_dir, args.quick), 0, folder, args.dense_epochs, BATCH)


def images(folder: str, quick: bool) -> Split:
    """All of CIFAR-100."""
    return data.load("cifar100", folder, limit=QUICK if quick else None)


def features(name: str, args: argparse.Namespace, folder: Path) -> Split:
    """What a model's convolutions make of CIFAR-100: 1,024 numbers an image."""
    return once(
        folder / f"features-{args.dense_epochs}.safetensors",
        lambda: (images(args.data_dir, args.quick), halves(trained(name, args, folder))[0]),
    )

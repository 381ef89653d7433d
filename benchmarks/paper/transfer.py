"""CIFAR-100 on convolutions that were trained on CIFAR-10: a VGG-16 from scratch takes 36 minutes an epoch on two cores.

The cells of the study ``cifar100-head`` of ``benchmarks/paper/studies.py``.  What the trained VGG-16 makes of the images up to its fourth
pool is computed once.  The last three convolutions and the three linear layers are trained on CIFAR-100 from there, without
augmentation.  Then the two large linear layers are replaced, as those of ``vgg16-head`` are.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from cells import Cell
from heads import headed
from torch import Tensor, nn
from tqdm import tqdm

from tnkit_nn import data, zoo
from tnkit_nn.data.splits import Split
from tnkit_nn.storage import fill_, read_tensors, write_tensors
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe

#: The pool behind which layers are trained on CIFAR-100.
POOL = 4
#: Images a part of ``--quick``.
QUICK = 300
PARTS = ("train", "val", "test")


def cifar100_head(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One head at one seed on the features behind all convolutions; ``--limit`` is of the training images of the heads alone."""
    split = features(args, out.parent)
    train_x, train_y = split.train
    split = Split(split.name, (train_x[: args.limit], train_y[: args.limit]), split.val, split.test)
    return headed(cell, args, out, split, tail(args, out.parent).classifier)


def prepared(args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """All that is made once: both sets of features, and the tail between them."""
    features(args, folder)


def at_pool(model: nn.Sequential, pool: int = POOL) -> tuple[nn.Sequential, nn.Sequential]:
    """The convolutional part of a VGG-16 up to a pool, and behind it."""
    layers = list(model.features)
    pools = list(accumulate(isinstance(m, nn.MaxPool2d) for m in layers))
    cut = pools.index(pool) + 1
    return nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:])


def tail(args: argparse.Namespace, folder: Path) -> Any:
    """Layers ``features``, ``flatten`` and ``classifier`` of a VGG-16 behind its fourth pool, trained on CIFAR-100 once."""
    known = f"tail-{args.dense_epochs}"
    path = folder / f"{known}.safetensors"
    torch.manual_seed(0)
    fresh, ten = zoo.vgg16(num_classes=100), zoo.load("vgg16", args.vgg16)
    ten.classifier[-1] = fresh.classifier[-1]  # the one layer that is of the classes
    parts = {"features": at_pool(ten)[1], "flatten": nn.Flatten(), "classifier": ten.classifier}
    model = nn.Sequential(OrderedDict(parts))
    if path.exists():
        fill_(model, read_tensors(path)[0], f"{path}: the file is not of the tail")
        return model
    recipe = Recipe(
        epochs=args.dense_epochs,
        lr=0.02,
        method="sgd",
        schedule="onecycle",
        batch=128,
        weight_decay=5e-4,
        label_smoothing=0.05,
    )
    train(model, taps(args, folder), recipe, seed=0, checkpoint=folder / f"{known}.checkpoint", after=print)
    write_tensors(path, model.state_dict())
    return model


def taps(args: argparse.Namespace, folder: Path) -> Split:
    """What the trained VGG-16 makes of CIFAR-100 up to its fourth pool, (512, 2, 2) an image."""

    def made() -> tuple[Split, nn.Module]:
        split = data.load("cifar100", args.data_dir, limit=QUICK if args.quick else None)
        return split, at_pool(zoo.load("vgg16", args.vgg16))[0]

    return once(folder / f"pool{POOL}.safetensors", made)


def features(args: argparse.Namespace, folder: Path) -> Split:
    """What all convolutions make of CIFAR-100, the last of them trained on it: 512 numbers an image."""
    return once(
        folder / f"features-{args.dense_epochs}.safetensors",
        lambda: (taps(args, folder), nn.Sequential(tail(args, folder).features, nn.Flatten())),
    )


def once(path: Path, make: Callable[[], tuple[Split, nn.Module]]) -> Split:
    """What a model makes of the three parts of a split, kept in a file."""
    if not path.exists():
        split, body = make()
        tensors: dict[str, Tensor] = {}
        body.eval()
        for name, (x, y) in zip(PARTS, (split.train, split.val, split.test), strict=True):
            with torch.no_grad():
                made = [body(batch) for batch in tqdm(x.split(250), desc=f"{path.stem} of {name}", mininterval=10)]
            tensors |= {f"{name}.x": torch.cat(made), f"{name}.y": y}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors)
    found, _ = read_tensors(path)
    return Split("features", *((found[f"{n}.x"], found[f"{n}.y"]) for n in PARTS))

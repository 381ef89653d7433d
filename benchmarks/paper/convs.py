"""VGG-16's convolutions, all but the first, in about a thousand numbers each: layers that a model cannot go without.

The cells of the study ``vgg16-convs`` of ``benchmarks/paper/studies.py``.  The two large linear layers are left out: they add nothing
(``cifar-whole``).
"""

from __future__ import annotations

import argparse
from bisect import bisect_right
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import torch
from cells import Cell, compressed, dense, denses, loaded
from heads import BATCH, FREE, TWO, control, learned, tuned, tuning
from small import count
from torch import nn

from tnkit_nn import zoo
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.training.evaluation import accuracy

#: Numbers of each convolution.
BUDGET = 1000
NETWORKS = ("adtn", "circuit", "mpo", "cp")
#: Learning rates of the numbers that are compared, all tried; that of the rest is ``REST`` of it.
RATES = (5e-3, 2e-2)
REST = 0.2
CELLS: list[Cell] = [
    {"convs": what, "rate": rate, "seed": seed}
    for seed in range(3)
    for what in (*NETWORKS, "hashed", "frozen random", "small dense")
    for rate in RATES
]


def vgg16_convs(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One kind of convolution at one rate and seed, everything else trained with it."""
    split, what, seed = loaded("cifar10", args), cell["convs"], cell["seed"]
    recipe, rest = tuning(args, cell["rate"]), REST * cell["rate"]
    torch.manual_seed(seed)
    model = headless(dense("vgg16", split, 0, out.parent, args.dense_epochs, BATCH)).to(args.device)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)][1:]
    weights = sum(model.get_submodule(n).weight.numel() for n in names)
    if what in NETWORKS:
        plan = Compression(
            tuple(Layers(name, what, BUDGET, depth=3) for name in names),
            order="together", stage1=Stage1("skip"), stage2=recipe, rest="all", rest_lr=rest, seed=seed,
        )  # fmt: skip
        compressed(model, plan, split, out)
    elif what == "small dense":
        model = narrow(BUDGET * len(names) + count(model) - weights).to(args.device)
        tuned(model, dict(model.named_parameters()), cell["rate"], split, recipe, seed)
    else:
        for k, name in enumerate(names):
            control(model.get_submodule(name), what, BUDGET, len(names) * seed + k)  # no two draws are the same
        tuned(model, learned(model, what, names), rest, split, recipe, seed, cell["rate"])
    val, test = (accuracy(model, part) for part in (split.val, split.test))
    return {"accuracy": test, "val": val, "numbers": count(model) - (weights if what in FREE else 0)}


def headless(model: nn.Module) -> nn.Module:
    """The model without its two large linear layers."""
    found = zoo.without(model, *TWO["vgg16"])
    assert found is not None
    return found


def narrow(total: int) -> nn.Module:
    """The widest VGG-16 without the two layers that has at most ``total`` numbers."""

    def made(channels: int) -> nn.Module:
        return headless(zoo.vgg16(scale=channels / 512))

    return made(bisect_right(range(512), total, key=lambda channels: count(made(channels))) - 1)


def model(args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """The dense model, trained once; what is compressed begins with its first convolution and its normalisations."""
    denses("cifar10", args, folder, [("vgg16", 0)], pool, args.dense_epochs, BATCH)

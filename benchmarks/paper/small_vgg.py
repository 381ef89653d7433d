"""A small VGG's convolutions in few numbers each, trained until validation gains no more, every kind at its own best learning rate.

The cells of the study ``small-vgg-convs`` of ``benchmarks/paper/studies.py``: a VGG-16 of a quarter of the channels, without its two large
linear layers, on CIFAR-10.  Rates are tried at seed 0, one further each time the best is at the edge; four more seeds have the best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, loaded
from convs import headless, narrow
from deep import no_fewer
from heads import BATCH, FREE, control, learned
from small import count
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn import zoo
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.families import BASELINES
from tnkit_nn.storage import fill_, read_tensors, write_tensors
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.groups import Group
from tnkit_nn.training.loop import Epoch, train
from tnkit_nn.training.recipe import Recipe

SCALE = 0.25
#: Numbers of each convolution of the deep networks; no shallow one, and no hash, has fewer than the larger of these.
BUDGET = 500
DEEP = ("adtn", "circuit")
SHALLOW = ("mpo", "tt", "tucker", "cp", "ring", "tree", "low_rank")
KINDS = (*DEEP, *SHALLOW, "hashed", "frozen random", "small dense", "dense trained on")
#: The rates that all kinds begin with, at seed 0; the next ones are ``STEP`` times the best, within ``BOUNDS``.
RATES, STEP, BOUNDS = (5e-3, 2e-2, 8e-2), 4, (1e-4, 2.0)
SEEDS = 5
#: All else is trained at so much of the rate.
REST = 0.2
#: Epochs without a better validation accuracy after which a training ends.
PATIENCE = 10


# -- which cells --------------------------------------------------------------------------------------------------------
def next_cells(found: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """What is to be run next: each kind's further rates at seed 0, then its best rate at the other seeds."""
    cells: list[Cell] = [{"convs": what, "rate": rate, "seed": 0} for what in KINDS for rate in RATES]
    for what in KINDS:
        tried = {c["rate"]: c["result"]["val"] for c in found if c["convs"] == what and c["seed"] == 0}
        if not set(RATES) <= tried.keys():
            continue
        best = max(tried, key=lambda rate: tried[rate])
        further = {min(tried): best / STEP, max(tried): best * STEP}.get(best)
        if further is not None and BOUNDS[0] <= further <= BOUNDS[1]:
            cells.append({"convs": what, "rate": further, "seed": 0})
        else:
            cells += [{"convs": what, "rate": best, "seed": seed} for seed in range(1, SEEDS)]
    return cells


# -- one cell -----------------------------------------------------------------------------------------------------------
def small_vgg_convs(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One kind of convolution at one rate and seed, everything else trained with it, until validation gains no more."""
    split, what, seed, rate = loaded("cifar10", args), cell["convs"], cell["seed"], cell["rate"]
    model = trained_model(args, out.parent)
    torch.manual_seed(seed)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)][1:]
    shapes = {n: tuple(model.get_submodule(n).weight.shape) for n in names}
    weights = sum(model.get_submodule(n).weight.numel() for n in names)
    if what in (*DEEP, *SHALLOW):
        plan = Compression(
            tuple(Layers(name, network(what, shape)) for name, shape in shapes.items()),
            order="together", stage1=Stage1("skip"), stage2=None, seed=seed,
        )  # fmt: skip
        compress_(model, plan)
    elif what == "small dense":
        model = narrow(sum(map(largest_deep, shapes.values())) + count(model) - weights).to(args.device)
    elif what != "dense trained on":
        for k, (name, shape) in enumerate(shapes.items()):
            control(model.get_submodule(name), what, largest_deep(shape), len(names) * seed + k)
    trained = learned(model, what, names)
    own = [n for n in trained if ".parametrizations." in n]
    rates = {rate: own, REST * rate: [n for n in trained if n not in own]} if own else {rate: list(trained)}
    groups = [Group({n: trained[n] for n in each}, lr=lr) for lr, each in rates.items() if each]
    recipe = Recipe(args.epochs, rate, batch=BATCH, augment="crop_flip", label_smoothing=0.05)
    epochs = until_no_better(model, partial(train, model, split, recipe, seed=seed, groups=groups))
    numbers = count(model) - (weights if what in FREE else 0)
    val, test = (accuracy(model, part) for part in (split.val, split.test))
    return {"accuracy": test, "val": val, "numbers": numbers, "epochs": epochs}


def network(what: str, shape: Sequence[int]) -> tk.Network:
    """A deep network near the budget, or the smallest shallow one with no fewer numbers than the larger of the deep ones."""
    return BASELINES[what](shape, BUDGET) if what in DEEP else no_fewer(shape, BUDGET, what, largest_deep(shape))


def largest_deep(shape: Sequence[int]) -> int:
    """Numbers of the larger of the deep networks."""
    return max(BASELINES[what](shape, BUDGET).num_params for what in DEEP)


class _Enough(Exception):
    """Validation gains no more."""


def until_no_better(model: nn.Module, run: Callable[..., object], patience: int = PATIENCE) -> int:
    """Train until so many epochs bring nothing to validation; the model is left at its best epoch, whose number is returned."""
    best: dict[str, Any] = {"epoch": 0, "val": -1.0, "values": {}}

    def after(epoch: Epoch) -> None:
        if (epoch.val_metric or 0.0) > best["val"]:
            values: dict[str, Tensor] = {n: x.detach().clone() for n, x in model.state_dict().items()}
            best.update(epoch=epoch.epoch, val=epoch.val_metric, values=values)
        elif epoch.epoch - best["epoch"] >= patience:
            raise _Enough

    with suppress(_Enough):
        run(after=after)
    model.load_state_dict(best["values"])
    return int(best["epoch"])


def trained_model(args: argparse.Namespace, folder: Path) -> nn.Module:
    """The dense small VGG, trained once."""
    known = f"small-vgg-{args.dense_epochs}"
    path = folder / f"{known}.safetensors"
    torch.manual_seed(0)
    model = headless(zoo.vgg16(scale=SCALE)).to(args.device)
    if path.exists():
        fill_(model, read_tensors(path)[0], f"{path}: the file is not of the small VGG")
        return model
    recipe = replace(zoo.TRAIN["vgg16"], epochs=args.dense_epochs)
    train(model, loaded("cifar10", args), recipe, seed=0, checkpoint=folder / f"{known}.checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(path, model.state_dict())
    return model


def prepared(args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """The dense model."""
    trained_model(args, folder)

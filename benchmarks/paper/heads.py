"""The two large linear layers of VGG-16, AlexNet and ZFNet: networks of 424 numbers in all, or a control, instead of them.

The cells of the studies ``vgg16-head`` and ``cifar-whole`` of ``benchmarks/paper/studies.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, cast

import torch
from cells import Cell, compressed, dense, denses, loaded
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tqdm import tqdm

from tnkit_nn import data, zoo
from tnkit_nn.axes import Axes
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.data.splits import Split
from tnkit_nn.generators import fixed_generator, hashed_generator, random_start
from tnkit_nn.storage import read_tensors, write_tensors
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.groups import Group
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe

#: Learning rate of a network's numbers, and of a hash's.
OWN = 2e-2
#: Of the last layer and the biases behind frozen features: at 1e-3 networks of few numbers take hundreds of steps to start.
REST = 1e-2
#: Of all else where everything is trained on.
WHOLE_REST = 3e-4
#: Images a step of whole models.
BATCH = 256


# -- what stands in the place of the two layers -------------------------------------------------------------------------
def small_head(
    model: nn.Module, cell: Cell, split: Split, recipe: Recipe, names: tuple[str, ...], rest: str, rest_lr: float, out: Path,
    steps: int = 300,
) -> dict[str, Any]:  # fmt: skip
    """Two networks of 424 numbers in all instead of the two layers."""
    family = cell["head"].split()[0]
    way = {"adtn": "gradient", "mpo": "svd"}[family] if cell["head"].endswith("fitted first") else "skip"
    layers = tuple(Layers(n, family, b, depth=1) for n, b in zip(names, (200, 224), strict=True))
    plan = Compression(
        layers,
        order="together",
        stage1=Stage1(way, steps=steps),
        stage2=recipe,
        rest=rest,
        rest_lr=rest_lr,
        seed=cell["seed"],
    )
    report = compressed(model, plan, split, out)
    numbers = sum(r["num_params"] for r in report["layers"])
    return {"accuracy": report["accuracy_after"], "numbers": numbers, "recipe": report["recipe"]}


def controlled(model: nn.Module, cell: Cell, names: tuple[str, str]) -> tuple[nn.Module, int]:
    """The model with a control instead of its two layers, and the control's count."""
    torch.manual_seed(cell["seed"])
    what, numbers = cell["head"], 0
    seeds = [2 * cell["seed"], 2 * cell["seed"] + 1]  # the two layers' draws are not the same
    if what == "left out":
        found = zoo.without(model, *names)
        assert found is not None
        model = found
    elif what == "small dense":  # 512 -> 1 -> classes: as few numbers as a dense layer can have
        classes = [m for m in model.modules() if isinstance(m, nn.Linear)][-1].out_features
        small = nn.Sequential(nn.Linear(512, 1), nn.ReLU(), nn.Linear(1, classes)).to(next(model.parameters()).device)
        parent = names[0].rpartition(".")[0]
        if parent:
            model.set_submodule(parent, small)
        else:
            model = small
        numbers = 512
    elif what in FREE or what == "hashed 424":
        counts = (0, 0) if what in FREE else (200, 224)
        numbers = sum(counts)
        for name, count, seed in zip(names, counts, seeds, strict=True):
            control(model.get_submodule(name), what, count, seed)
    return model, numbers


def control(layer: nn.Module, what: str, count: int, seed: int) -> None:
    """A layer's weight becomes one of :data:`FREE`, or a hash of so many numbers."""
    weight = cast(Tensor, layer.weight)
    if what in FREE:
        made = fixed_generator(FREE[what], weight.detach()[None].cpu(), seed).weight({}, Axes())[0]
        weight.data = made.to(weight)
    else:
        parametrize.register_parametrization(layer, "weight", Hashed(weight, count, seed))


#: How torch calls a hash's numbers.
NUMBERS = "parametrizations.weight.original"
#: Controls of no numbers, as ``tnkit_nn.generators.fixed_generator`` calls them.
FREE = {"frozen random": "frozen_random", "picked": "picked"}


class Hashed(nn.Module):
    """The control: a weight of as many random-signed shared numbers, placed by a random hash (Chen et al. 2015)."""

    def __init__(self, weight: Tensor, count: int, seed: int) -> None:
        super().__init__()
        self.generator = hashed_generator(count, tuple(weight.shape), weight.detach()[None], seed)
        self.start = random_start(self.generator, weight.detach()[None], seed)["values"][0]

    def forward(self, values: Tensor) -> Tensor:
        """Values (count,) -> weight."""
        return self.generator.weight({"values": values[None]}, Axes())[0]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The start."""
        return self.start


def learned(model: nn.Module, what: str, names: Sequence[str]) -> dict[str, nn.Parameter]:
    """All that is trained: everything but the weights of a control that has no numbers."""
    still = {f"{name}.weight" for name in names} if what in FREE else set()
    return {n: p for n, p in model.named_parameters() if n not in still}


def tuned(
    model: nn.Module,
    trained: dict[str, nn.Parameter],
    rest_lr: float,
    split: Split,
    recipe: Recipe,
    seed: int,
    lr: float = OWN,
) -> None:
    """Train these: a hash's numbers at ``lr``, as a network's, all else at ``rest_lr``."""
    own = [n for n in trained if n.endswith(NUMBERS)]
    rates = {lr: own, rest_lr: [n for n in trained if n not in own]}
    groups = [Group({n: trained[n] for n in names}, lr=lr) for lr, names in rates.items() if names]
    train(model, split, recipe, seed=seed, groups=groups)


# -- vgg16-head: a trained VGG-16, on features computed once --------------------------------------------------------------
HEAD_CELLS: list[Cell] = [
    {"head": head, "seed": seed}
    for head in (
        "dense", "dense trained on", "adtn 424", "adtn 424, fitted first", "mpo 424", "mpo 424, fitted first", "hashed 424",
        "frozen random", "picked", "left out", "small dense",
    )
    for seed in range(3)
    if head != "dense" or seed == 0
]  # fmt: skip


#: Those that begin at random: on CIFAR-10 the approximation of these two layers only harms, and it takes most of the time.
RANDOM_CELLS = [cell for cell in HEAD_CELLS if not cell["head"].endswith("fitted first")]


def vgg16_head(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One head at one seed; what is not said to be trained is the last layer and the biases, in every row."""
    return headed(cell, args, out, features(args, out.parent), zoo.load("vgg16", args.vgg16).classifier)


def headed(cell: Cell, args: argparse.Namespace, out: Path, split: Split, head: nn.Module) -> dict[str, Any]:
    """One head at one seed on features, its layers 0 and 2 replaced."""
    recipe = Recipe(epochs=args.epochs, lr=OWN, batch=256, schedule="onecycle")
    what = cell["head"]
    if what.startswith(("adtn", "mpo")):
        return small_head(head, cell, split, recipe, ("0", "2"), "head", REST, out, 1 if args.quick else 300)
    head, numbers = controlled(head, cell, ("0", "2"))
    if what != "dense":
        tuned(head, learned(head, what, ("0", "2")), REST, split, recipe, cell["seed"])
    return {"accuracy": accuracy(head, split.test), "numbers": numbers}


def features(args: argparse.Namespace, folder: Path, pool: Executor | None = None) -> Split:
    """What the convolutional part of the trained VGG-16 makes of the images, computed once."""
    path = folder / f"features-{args.limit}.safetensors"
    if not path.exists():
        split = data.load("cifar10", args.data_dir, limit=args.limit)
        full = data.load("cifar10", args.data_dir) if args.limit else split
        body = nn.Sequential(*list(zoo.load("vgg16", args.vgg16).children())[:-1]).eval()
        tensors = {}
        for name, (x, y) in {"train": split.train, "val": split.val, "test": full.test}.items():
            with torch.no_grad():
                made = [body(batch) for batch in tqdm(x.split(250), desc=f"features of {name}", mininterval=10)]
            tensors |= {f"{name}.x": torch.cat(made), f"{name}.y": y}
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors)
    found, _ = read_tensors(path)
    return Split("features", *((found[f"{n}.x"], found[f"{n}.y"]) for n in ("train", "val", "test")))


# -- cifar-whole: models that are trained here, and then trained on with another head -----------------------------------
#: Model -> the two layers.
TWO = {"vgg16": ("classifier.0", "classifier.2"), "alexnet": ("fc1", "fc2"), "zfnet": ("fc1", "fc2")}
WHOLE_CELLS: list[Cell] = [
    {"model": model, "head": head, "seed": seed}
    for seed in range(3)
    for model in TWO
    for head in (
        "dense", "dense trained on", "adtn 424", "mpo 424", "hashed 424", "frozen random", "picked", "left out",
    )
    if head != "dense" or seed == 0
]  # fmt: skip


def cifar_whole(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One head of one model at one seed, then everything trained on: the paper's second stage."""
    split, names = loaded(args.data, args), TWO[cell["model"]]
    model = dense(cell["model"], split, 0, out.parent, args.dense_epochs, BATCH).to(args.device)
    recipe = tuning(args)
    what = cell["head"]
    if what.startswith(("adtn", "mpo")):
        return small_head(model, cell, split, recipe, names, "all", WHOLE_REST, out)
    model, numbers = controlled(model, cell, names)
    if what != "dense":
        tuned(model, learned(model, what, names), WHOLE_REST, split, recipe, cell["seed"])
    return {"accuracy": accuracy(model, split.test), "numbers": numbers}


def tuning(args: argparse.Namespace, lr: float = OWN) -> Recipe:
    """The second stage on images."""
    return Recipe(
        epochs=args.epochs, lr=lr, batch=BATCH, schedule="onecycle", augment="crop_flip", label_smoothing=0.05
    )


def whole_models(args: argparse.Namespace, folder: Path, pool: Executor | None) -> None:
    """The dense models of :func:`cifar_whole`, each trained once."""
    denses(args.data, args, folder, ((model, 0) for model in TWO), pool, args.dense_epochs, BATCH)

"""The paper's systems on real data: each study one command that goes on where it was interrupted.

``python benchmarks/paper/studies.py orders --data-dir DIR``, ``figures`` and ``grown`` likewise (MNIST), ``vgg16-head --data-dir DIR --vgg16 FILE`` (CIFAR-10 and a trained
VGG-16), ``cifar100-head --data-dir DIR --vgg16 FILE --dense-epochs 8`` (CIFAR-100 on the same VGG-16's convolutions),
``cifar100-alexnet-head`` and ``cifar100-zfnet-head --data-dir DIR --dense-epochs 8`` (trained on CIFAR-100 from scratch), ``cifar-whole --data-dir DIR --epochs 3
--dense-epochs 16 --device cuda --workers 8`` (VGG-16, AlexNet and ZFNet, everything trained on; ``--data cifar100`` too)
and ``vgg16-convs`` likewise (VGG-16's convolutions), ``small-vgg-convs --data-dir DIR --epochs 100`` (those of a small VGG, until validation gains no more) keep every finished cell under ``out/paper/<study>/``, then write
``benchmarks/paper/<study>.json`` with all of them, from which ``benchmarks/paper/tables.py`` renders docs/paper.md.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import convs
import grown
import heads
import scratch
import small_vgg
import torch
import transfer
from cells import OTHER_LAYERS, Cell, bar, compressed, dense, denses
from digests import kept_in, place

from tnkit_nn import data
from tnkit_nn.comparison import job_store
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.storage import replacing
from tnkit_nn.training.recipe import Recipe
from tnkit_nn.versions import versions

HERE = Path(__file__).parent


# -- orders: LeNet-5 on MNIST, its three large layers at about 2,000 numbers ------------------------------------------
LAYERS = {"conv2": 400, "fc1": 1000, "fc2": 600}
ORDER_CELLS: list[Cell] = [
    {"family": family, "order": order, "stage1": stage1, "rest": rest, "seed": seed}
    for family in ("adtn", "mpo", "circuit", "cp")
    for order, stage1, rest in (
        ("backward", "auto", "all"), ("forward", "auto", "all"), ("together", "auto", "all"), ("together", "skip", "all"),
        ("together", "auto", "frozen"),
    )
    for seed in range(3)
]  # fmt: skip


def orders(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One order at one seed: the same epochs in all, whatever the order."""
    split = data.load("mnist", args.data_dir, limit=args.limit)
    model = dense("lenet5", split, cell["seed"], out.parent)
    recipe = Compression(
        tuple(Layers(name, cell["family"], budget, depth=3) for name, budget in LAYERS.items()),
        order=cell["order"], stage1=Stage1(cell["stage1"], steps=500),
        stage2=Recipe(epochs=args.epochs, lr=2e-2, batch=256, schedule="onecycle"), rest=OTHER_LAYERS[cell["rest"]], rest_lr=1e-3, seed=cell["seed"],
    )  # fmt: skip
    return compressed(model, recipe, split, out)


# -- figures: how good one deep network is within minutes on one core, on all images --------------------------------------
#: What is compressed -> model, its layers' budgets, epochs of fine-tuning, and what else is trained (a head at REST, as elsewhere).
FIGURES: dict[str, tuple[str, dict[str, int], int, str]] = {
    **{f"LeNet-5, fc1, {n}": ("lenet5", {"fc1": n}, 6, "none") for n in (385, 640, 1800, 2650, 9500)},
    "LeNet-5, conv2 to fc3": ("lenet5", {"conv2": 300, "fc1": 900, "fc2": 500, "fc3": 300}, 8, "all"),
    "FC-2, fc1, 750": ("fc2", {"fc1": 750}, 8, "head"),
}
FIGURE_CELLS: list[Cell] = [
    {"what": what, "family": family, "seed": seed}
    for what in FIGURES
    for family in (("adtn", "mpo") if "to" in what or "FC-2" in what else ("adtn",))
    for seed in range(3)
]


def figures(cell: Cell, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One compression from a random start, together; the ADTN has sines and depth 3."""
    name, budgets, epochs, rest = FIGURES[cell["what"]]
    split = data.load("mnist", args.data_dir, limit=args.limit)
    model = dense(name, split, cell["seed"], out.parent)
    recipe = Compression(
        tuple(Layers(layer, cell["family"], budget, depth=3) for layer, budget in budgets.items()),
        order="together", stage1=Stage1("skip"), stage2=Recipe(epochs=epochs, lr=3e-2, batch=256), rest=rest,
        rest_lr=heads.REST if rest == "head" else 2e-3, seed=cell["seed"],
    )  # fmt: skip
    return compressed(model, recipe, split, out)


# -- running ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cells:
    """Cells (those to begin with, or a function of the finished ones), what runs one, and what is made once before the workers begin."""

    cells: list[Cell] | Callable[[Sequence[Mapping[str, Any]]], list[Cell]]
    run: Callable[[Cell, argparse.Namespace, Path], dict[str, Any]]
    before: Callable[[argparse.Namespace, Path, Executor | None], object] = lambda args, folder, pool: None

    def known(self, found: Sequence[Mapping[str, Any]]) -> list[Cell]:
        """All cells that are known, given the results of the finished ones."""
        return self.cells(found) if callable(self.cells) else self.cells


def mnist_models(args: argparse.Namespace, folder: Path, pool: Executor | None, models: list[tuple[str, int]]) -> None:
    """Dense models, each trained once."""
    denses("mnist", args, folder, models, pool)


STUDIES = {
    "orders": Cells(ORDER_CELLS, orders, partial(mnist_models, models=[("lenet5", c["seed"]) for c in ORDER_CELLS])),
    "figures": Cells(
        FIGURE_CELLS, figures, partial(mnist_models, models=[(FIGURES[c["what"]][0], c["seed"]) for c in FIGURE_CELLS])
    ),
    "vgg16-head": Cells(heads.HEAD_CELLS, heads.vgg16_head, heads.features),
    "cifar100-head": Cells(heads.RANDOM_CELLS, transfer.cifar100_head, transfer.prepared),
    **{
        f"cifar100-{name}-head": Cells(scratch.cells(name), scratch.cifar100_scratch, partial(scratch.prepared, name))
        for name in ("alexnet", "zfnet")
    },
    "grown": Cells(grown.CELLS, grown.grown, grown.prepared),
    "cifar-whole": Cells(heads.WHOLE_CELLS, heads.cifar_whole, heads.whole_models),
    "vgg16-convs": Cells(convs.CELLS, convs.vgg16_convs, convs.model),
    "small-vgg-convs": Cells(small_vgg.next_cells, small_vgg.small_vgg_convs, small_vgg.prepared),
}  # fmt: skip


#: The code that a study depends on beside its own (``digests.PARTS``).
SOURCES = ("families", "approximation", "compression", "training")


def one(study: str, cell: Cell, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A cell and its result."""
    return {**cell, "result": STUDIES[study].run(cell, args, folder / named(cell))}


def named(cell: Cell) -> str:
    """A cell in one word."""
    return "-".join(re.sub("[^A-Za-z0-9.]+", "_", str(v)) for v in cell.values())


def pool_of(workers: int) -> AbstractContextManager[Executor | None]:
    """So many processes of one thread each; none, this one."""
    if not workers:
        return nullcontext()
    return ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,))


def run_cells(args: argparse.Namespace, kept: job_store.Study, pool: Executor | None) -> dict[str, dict[str, Any]]:
    """The results of all cells, where those that are finished say which come next, too."""
    study, found = STUDIES[args.study], dict[str, dict[str, Any]]()
    while True:
        known = study.known([] if args.quick else list(found.values()))
        first = min(cell["seed"] for cell in known)
        cells = {named(cell): cell for cell in known if not args.quick or cell["seed"] == first}
        todo = {key: (args.study, cell, args, kept.folder) for key, cell in cells.items() if key not in found}
        todo = {key: job for key, job in todo.items() if re.search(args.only, key)}
        if not todo:
            return found
        found |= job_store.run_jobs(todo, one, study=kept, executor=pool, progress=bar(args.study))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data-dir", required=True, help="folder of the data set")
    parser.add_argument("--data", choices=["cifar10", "cifar100"], default="cifar10", help="of cifar-whole")
    parser.add_argument("--vgg16", help="trained VGG-16 as safetensors")
    parser.add_argument("--epochs", type=int, default=6, help="of stage 2, in all")
    parser.add_argument("--limit", type=int, help="at most so many examples a part")
    parser.add_argument("--dense-epochs", type=int, default=40, help="of the models on CIFAR-10, trained here")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, of the studies of whole models; workers share it")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0: this one")
    parser.add_argument("--only", default="", help="cells whose names have this pattern; results stay in --out")
    parser.add_argument("--out", default="out/paper")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one seed, one epoch on few images, to see that all runs; results stay in --out",
    )
    args = parser.parse_args()
    if args.data != "cifar10" and args.study != "cifar-whole":
        parser.error("--data is of cifar-whole")
    if args.quick:
        args.limit, args.epochs, args.dense_epochs = transfer.QUICK, 1, 1
    study = args.study if args.data == "cifar10" else f"{args.study}-{args.data}"
    out = Path(args.out) / (f"{study}-quick" if args.quick else study)
    options = {"epochs": args.epochs, "dense_epochs": args.dense_epochs, "limit": args.limit, "device": args.device}
    options |= {} if args.data == "cifar10" else {"data": args.data}
    settings = {"options": options, "versions": versions()}
    kept = job_store.Study(out, settings)
    digests = kept_in(kept.folder, place(STUDIES[args.study].run), *SOURCES)
    with kept.alone(), pool_of(args.workers) as pool:
        STUDIES[args.study].before(args, kept.folder, pool)
        found = run_cells(args, kept, pool)
    with replacing((out if args.quick or args.only else HERE) / f"{study}.json") as temporary:
        temporary.write_text(json.dumps({**settings, "digests": digests, "cells": list(found.values())}))


if __name__ == "__main__":
    main()

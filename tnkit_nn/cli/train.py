"""``tnkit train``: train a model of the zoo by its recipe."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace

import torch

from tnkit.cli import positive, seed
from tnkit_nn import data, zoo
from tnkit_nn.cli.options import add_model_and_data, add_out, finish, listed
from tnkit_nn.storage import alone
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.loop import train
from tnkit_nn.versions import versions

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = listed(
        "Train a model of the zoo by its recipe. Run again with the same options, it goes on from where it was interrupted. "
        "Data sets are read from a folder, never downloaded."
    )
    add_model_and_data(parser)
    parser.add_argument("--epochs", type=positive, help="the recipe's, if not given")
    parser.add_argument(
        "--seed", type=seed, default=0, help="seed of the start and of all that is drawn (default: %(default)s)"
    )
    add_out(parser, "out/train", "model.safetensors, results.json, log.jsonl and the checkpoint")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    recipe = zoo.TRAIN[args.model]
    recipe = replace(recipe, epochs=args.epochs or recipe.epochs)
    split = data.load(args.data, args.data_dir, limit=args.limit)
    torch.manual_seed(args.seed)
    model = zoo.build(args.model, split.num_classes)
    zoo.check_takes(model, split.val[0], args.model, args.data, split.num_classes)
    args.out.mkdir(parents=True, exist_ok=True)
    files = {"checkpoint": args.out / "checkpoint.safetensors", "log": args.out / "log.jsonl"}
    with alone(args.out, "a training"):
        history = train(model, split, recipe, seed=args.seed, progress=True, **files)
        results = {
            "model": args.model, "data": split.name, "seed": args.seed, "test_accuracy": accuracy(model, split.test),
            "parameters": sum(p.numel() for p in model.parameters()), "recipe": asdict(recipe),
            "history": [asdict(epoch) for epoch in history], "versions": versions(),
        }  # fmt: skip
        zoo.save(model, args.out / "model.safetensors")
        line = (
            f"{args.model} on {split.name}: {100 * results['test_accuracy']:.2f} % of the test images, seed {args.seed}"
        )
        return finish(args, results, line, "model.safetensors")

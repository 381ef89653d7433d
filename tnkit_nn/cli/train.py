"""``tnkit train``: train a model of the zoo by its recipe, or a task of one's own."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from tnkit.cli.arguments import above_zero, positive, seed
from tnkit_nn import zoo
from tnkit_nn.cli.options import add_model_and_data, add_out, finish, listed, task_of
from tnkit_nn.cli.run_page import training_page, write_page
from tnkit_nn.storage import alone
from tnkit_nn.task import Task
from tnkit_nn.training.evaluation import judged
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe
from tnkit_nn.versions import versions

__all__ = ["configure"]

#: How a task of one's own is trained, where the options say nothing.
OWN = Recipe(epochs=10, lr=1e-3)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = listed(
        "Train a model of the zoo by its recipe, or a task of your own. Run again with the same options, it goes on from where it was "
        "interrupted. Data sets are read from a folder, never downloaded."
    )
    add_model_and_data(parser)
    add = parser.add_argument
    add("--epochs", type=positive, help=f"the recipe's, if not given; of a task of your own {OWN.epochs}")
    add(
        "--lr",
        type=above_zero,
        help=f"the highest learning rate: the recipe's, if not given; of a task of your own {OWN.lr:g}",
    )
    add(
        "--batch",
        type=positive,
        help=f"examples a step: the recipe's; of a task of your own {OWN.batch}; a DataLoader has its own",
    )
    add("--seed", type=seed, default=0, help="seed of the start and of all that is drawn (default: %(default)s)")
    add_out(parser, "out/train", "model.safetensors, results.json, index.html, log.jsonl and the checkpoint")
    parser.set_defaults(run=_run)


def _recipe(args: argparse.Namespace, task: Task) -> Recipe:
    recipe = OWN if args.task or not isinstance(task.model, str) else zoo.TRAIN[task.model]
    given = {name: getattr(args, name) for name in ("epochs", "lr", "batch")}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _run(args: argparse.Namespace) -> int:
    task = task_of(args)
    recipe, goal, model = _recipe(args, task), task.goal, task.build(args.seed)
    part = next(part for part in ("test", "val", "train") if part in goal.parts)
    args.out.mkdir(parents=True, exist_ok=True)
    files = {"checkpoint": args.out / "checkpoint.safetensors", "log": args.out / "log.jsonl"}
    with alone(args.out, "a training"):
        history = train(model, task, recipe, seed=args.seed, progress=True, **files)
        value = judged(model, goal, part)
        results: dict[str, Any] = {
            "title": task.title, "model": task.model_name, "data": goal.name, "seed": args.seed, "metric": goal.metric.described(),
            "value": value, "part": part, "parameters": sum(p.numel() for p in model.parameters()), "recipe": asdict(recipe),
            "history": [asdict(epoch) for epoch in history], "versions": versions(),
        }  # fmt: skip
        zoo.save(model, args.out / "model.safetensors")
        metric = f"{goal.metric.name} {goal.metric.shown(value)}"
        said = f"{task.title}: {metric} on the {part} {goal.examples}, seed {args.seed}"
        written = write_page(args.out / "index.html", training_page(results, goal.examples))
        return finish(args, results, said, "model.safetensors", *written)

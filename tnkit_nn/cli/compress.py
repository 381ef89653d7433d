"""``tnkit compress``: compress a trained model by a recipe."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from tnkit.cli.arguments import add_file, comma_separated, seed
from tnkit_nn import zoo
from tnkit_nn.cli.options import add_model_and_data, add_out, finish, listed, task_of
from tnkit_nn.cli.run_page import compression_page, write_page
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import ORDERS, Compression
from tnkit_nn.compression.result import dense
from tnkit_nn.placing import networks_of
from tnkit_nn.versions import versions

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = listed(
        "Replace weights of a trained model by networks (approximation) and fine-tune them, as a TOML recipe says. Run again with "
        "the same options, it goes on from where it was interrupted.",
        families=True,
    )
    add_model_and_data(parser)
    add_file(
        parser, "--weights",
        help="the model's trained values, the model.safetensors of tnkit train; a task of your own may have a trained model",
    )  # fmt: skip
    add_file(parser, "--recipe", required=True, help="a TOML file of tnkit_nn.Compression; it may name the task")
    parser.add_argument("--order", help=f"instead of the recipe's: {', '.join(ORDERS)}, or layers by commas")
    parser.add_argument("--seed", type=seed, help="instead of the recipe's")
    add_out(parser, "out/compress", "model.safetensors, dense.safetensors, results.json, index.html, logs")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    changes: dict[str, Any] = {} if args.seed is None else {"seed": args.seed}
    if args.order:
        changes["order"] = args.order if args.order in ORDERS else tuple(comma_separated(args.order))
    recipe = Compression.load(args.recipe)
    task = task_of(args, recipe.task, weights=args.weights)
    if not task.trained:
        raise ValueError(
            "--weights is the file of the model's trained values, which tnkit train writes; it is not given"
        )
    recipe = replace(recipe, **changes)
    done = compress_(task.build(recipe.seed), recipe, task, out=args.out, progress=True)
    zoo.save(dense(done.model), args.out / "dense.safetensors")
    results = {
        "title": task.title, "model": task.model_name, "data": task.goal.name, **done.report(), "versions": versions(),
    }  # fmt: skip
    nets = {name.removesuffix(".weight"): placed.network for name, placed in networks_of(done.model).items()}
    kept = args.out / "recipe.toml"  # with the options in it; missing where it has functions of one's own
    text = (kept if kept.exists() else Path(args.recipe)).read_text(encoding="utf-8")
    page = compression_page(results, nets, text)
    written = write_page(args.out / "index.html", page)
    return finish(args, results, str(done), "model.safetensors", "dense.safetensors", *written)

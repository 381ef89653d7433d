"""What the commands have in common: the model and the data, the names that exist, the results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from tnkit.cli.arguments import add_file, known, positive, say
from tnkit_nn.data.sources import DATA
from tnkit_nn.families import CONTROLS, KINDS
from tnkit_nn.storage import write_json
from tnkit_nn.strict import strict
from tnkit_nn.task import Task, task_named
from tnkit_nn.zoo.registry import ZOO

__all__ = ["MODEL_AND_DATA", "add_model_and_data", "add_out", "finish", "listed", "task_of"]

WIDTH = 100


#: The model and the data, where no others are named.
MODEL_AND_DATA = ("mlp", "digits")


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """``--task``, or ``--model``, ``--data`` and ``--data-dir``; ``--limit``."""
    parser.add_argument(
        "--task", metavar="FILE:NAME",
        help='a tnkit_nn.Task of your own instead of --model and --data: "file.py:name" or "module:name"; its code is run',
    )  # fmt: skip
    _add_name(parser, "--model", ZOO, MODEL_AND_DATA[0], "the model")
    _add_name(parser, "--data", DATA, MODEL_AND_DATA[1], "the data set")
    add_file(parser, "--data-dir", help="the folder with its files, which are never downloaded; digits need none")
    parser.add_argument("--limit", type=positive, help="at most so many examples of each part, for a quick run")


def _add_name(parser: argparse.ArgumentParser, flag: str, among: Collection[str], default: str, what: str) -> None:
    parser.add_argument(
        flag,
        type=known(among),
        choices=list(among),
        metavar="NAME",
        help=f"{what}: {', '.join(among)} (default: {default})",
    )


def task_of(args: argparse.Namespace, place: str | None = None, **changes: Any) -> Task:
    """The task that a command is given: that of ``--task`` (or of ``place``, a recipe's), or a model and a data set by name.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        There is no such task, or ``--model``, ``--data`` or ``--data-dir`` beside it.
    """
    place, what = args.task or place, "--task" if args.task else "recipe: task"
    if place is None:
        model, data = (given or default for given, default in zip((args.model, args.data), MODEL_AND_DATA, strict=True))
        return Task(model, data, data_dir=args.data_dir, limit=args.limit, **changes)
    for flag, given in (("--model", args.model), ("--data", args.data)):
        if given is not None:
            raise ValueError(f"{what} {place!r} has its own model and data; leave out {flag} {given}")
    return task_named(place, what, data_dir=args.data_dir, limit=args.limit, **changes)


def add_out(parser: argparse.ArgumentParser, default: str, files: str) -> None:
    """``--out`` and ``--json``, and what is said when the command is interrupted."""
    add_file(parser, "--out", type=Path, default=Path(default), help=f"folder for {files} (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(parser=parser, goes_on="the same command goes on from what it has kept in --out")


def listed(about: str, *, families: bool = False, controls: bool = False) -> str:
    """A command's description: what it does, and the models, data sets, families and controls that there are."""
    named = [("models", list(ZOO)), ("data sets", list(DATA))] + ([("families", list(KINDS))] if families else [])
    lines = [fill(about, WIDTH), "", *(f"{what}: {', '.join(names)}" for what, names in named)]
    if controls:
        rows = (fill(f"{name:17}{what}", WIDTH - 2, subsequent_indent=" " * 17) for name, what in CONTROLS.items())
        lines += ["controls:", *(indent(row, "  ") for row in rows)]
    return "\n".join(lines)


def finish(args: argparse.Namespace, results: dict[str, Any], text: str, *files: str) -> int:
    """Write results.json and say what was found and written."""
    results = strict(results)
    write_json(args.out / "results.json", results)
    if args.json:
        say(json.dumps(results, allow_nan=False))
    else:
        say(text, *(f"wrote {args.out / name}" for name in (*files, "results.json")), sep="\n")
    return 0

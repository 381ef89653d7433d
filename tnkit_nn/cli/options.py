"""What the commands have in common: the model and the data, the names that exist, the results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from tnkit.cli import add_file, known, positive, say
from tnkit_nn.data.sources import DATA
from tnkit_nn.families import CONTROLS, KINDS
from tnkit_nn.storage import write_json
from tnkit_nn.zoo.registry import ZOO

__all__ = ["add_model_and_data", "add_out", "finish", "listed"]

WIDTH = 100


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """``--model``, ``--data``, ``--data-dir``, ``--limit``."""
    _add_name(parser, "--model", ZOO, "mlp", "the model")
    _add_name(parser, "--data", DATA, "digits", "the data set")
    add_file(parser, "--data-dir", help="the folder with its files, which are never downloaded; digits need none")
    parser.add_argument("--limit", type=positive, help="at most so many examples of each part, for a quick run")


def _add_name(parser: argparse.ArgumentParser, flag: str, among: Collection[str], default: str, what: str) -> None:
    parser.add_argument(
        flag, type=known(among), choices=list(among), default=default, metavar="NAME",
        help=f"{what}: {', '.join(among)} (default: %(default)s)",
    )  # fmt: skip


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
    write_json(args.out / "results.json", results)
    if args.json:
        say(json.dumps(results))
    else:
        say(text, *(f"wrote {args.out / name}" for name in (*files, "results.json")), sep="\n")
    return 0

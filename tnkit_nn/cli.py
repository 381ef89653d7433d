"""The command ``tnkit``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tnkit_nn.families import BASELINES

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Bad use: one clear line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(n) for n in _names(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers from 1 up, such as 100,300")
    return numbers


def _positive(text: str) -> int:
    return _numbers(text)[0] if "," not in text else _numbers("")[0]


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 0..2^63 - 1")
    return int(text)


def _add_model_and_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mlp", help="a model of tnkit_nn.zoo")
    parser.add_argument("--data", default="digits", help="a data set of tnkit_nn.data")
    parser.add_argument("--data-dir", help="the folder with its files; digits need none")
    parser.add_argument("--limit", type=_positive, help="at most so many examples of each part, for a quick run")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tnkit", description="Tensor networks in neural networks: compare families at equal budgets.")
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=_Parser, metavar="{compare,train,compress,show}"
    )
    for add in (_add_compare, _add_train, _add_compress, _add_show):
        add(commands)
    return parser


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="deep against shallow networks as a layer's weight, with controls",
        description="Replace a layer's weight, or those of several, by tensor networks of equal counts; compare them with controls. "
        "The defaults take about two minutes on one core and need no download. Run again with the same options it continues "
        "from where it was interrupted.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_model_and_data(parser)
    parser.add_argument(
        "--layer",
        type=_names,
        help="the layer whose weight is replaced, or several by commas; the largest, if not given",
    )
    parser.add_argument(
        "--weights", help="trained values, the model.safetensors of tnkit train, instead of --dense-steps"
    )
    parser.add_argument("--shapes", type=_names, default=",".join(BASELINES), help="families, by commas")
    parser.add_argument(
        "--budgets",
        type=_numbers,
        default="100,300,1000",
        help="numbers stored for the weight (of all layers together), by commas",
    )
    parser.add_argument("--depths", type=_numbers, default="1,2,3", help="depths of adtn and circuit, by commas")
    parser.add_argument("--seeds", type=_positive, default=3, help="number of seeds")
    parser.add_argument(
        "--first-seed", type=_seed, default=0, help="the first of them: judge on others what was chosen on some"
    )
    parser.add_argument("--steps", type=_positive, default=200, help="optimiser steps of each stage")
    parser.add_argument("--dense-steps", type=_positive, default=400, help="optimiser steps of the dense models")
    parser.add_argument(
        "--rest",
        choices=("all", "head", "none"),
        default="all",
        help="what 'rest trained' trains beside the layer: all, or its bias and what stands after it (much faster), or none: no "
        "such reading",
    )
    parser.add_argument("--workers", type=_positive, default=2, help="processes; 1 runs everything in this one")
    parser.add_argument(
        "--out", default="out/compare", help="folder for results.json, tables, plots, index.html and finished jobs"
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON instead of the table")
    parser.set_defaults(run=_compare, parser=parser)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model of the zoo on a data set",
        description="Train a model of the zoo by its recipe. Run again with the same options it continues from where it was "
        "interrupted. Data sets are read from a folder, never downloaded.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_model_and_data(parser)
    parser.add_argument("--epochs", type=_positive, help="the recipe's, if not given")
    parser.add_argument("--seed", type=_seed, default=0, help="seed of the start and of all that is drawn")
    parser.add_argument(
        "--out", default="out/train", help="folder for model.safetensors, results.json, log.jsonl and the checkpoint"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=_train, parser=parser)


def _add_compress(commands: Any) -> None:
    parser = commands.add_parser(
        "compress",
        help="compress a trained model by a recipe",
        description="Replace weights of a trained model by networks (stage 1) and fine-tune them (stage 2), as a TOML recipe says. "
        "Run again with the same options it continues from where it was interrupted.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_model_and_data(parser)
    parser.add_argument("--weights", required=True, help="its trained values: the model.safetensors of tnkit train")
    parser.add_argument("--recipe", required=True, help="a TOML file of tnkit_nn.Compression")
    parser.add_argument("--order", help="instead of the recipe's: backward, forward, together, or layers by commas")
    parser.add_argument("--seed", type=_seed, help="instead of the recipe's")
    parser.add_argument(
        "--out", default="out/compress", help="folder for model.safetensors, dense.safetensors, results.json, logs"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=_compress, parser=parser)


def _add_show(commands: Any) -> None:
    parser = commands.add_parser("show", help="print, and draw, networks kept in a file")
    parser.add_argument(
        "network",
        help="a .json file of tnkit.to_json, a file of tnkit.save, or the model.safetensors of tnkit compress",
    )
    parser.add_argument("--out", help="write the drawing to this .svg file")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=_show, parser=parser)


def _compare(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext
    from multiprocessing import get_context

    import torch
    from tqdm import tqdm

    from tnkit_nn.comparison.compare import compare
    from tnkit_nn.comparison.report.files import write_report
    from tnkit_nn.comparison.report.tables import table
    from tnkit_nn.comparison.statistics import verdict
    from tnkit_nn.comparison.task import Task
    from tnkit_nn.families import families

    _check_names(args, parser)
    try:
        families(args.shapes)
    except ValueError as error:
        parser.error(f"argument --shapes: {error}")

    def progress(jobs: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(jobs, total=total, desc="compare", unit="job", file=sys.stderr, mininterval=0.5)

    task = Task(
        args.model, args.data, args.layer, args.seeds, args.dense_steps, args.steps, args.steps, args.data_dir, args.limit,
        args.rest, args.weights, args.first_seed,
    )  # fmt: skip
    torch.set_num_threads(1)  # one thread a process: the tensors are small, and the workers share the cores
    # spawned, not forked: torch's threads do not survive a fork
    many = args.workers > 1
    with (
        ProcessPoolExecutor(args.workers, get_context("spawn"), torch.set_num_threads, (1,))
        if many
        else nullcontext() as pool
    ):
        try:
            records = compare(task, args.shapes, args.budgets, args.depths, pool, progress, args.out)
        except (OSError, TypeError, ValueError) as error:
            parser.error(_said(error))
    files = write_report(records, args.out, f"Deep or shallow? {args.model} on {args.data}")
    if args.json:
        print(json.dumps(records))
    else:
        print(table(records), "", *verdict(records), "", *(f"wrote {path}" for path in files.values()), sep="\n")
    return 0


def _train(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from dataclasses import asdict, replace

    import torch

    from tnkit_nn import data, zoo
    from tnkit_nn.comparison.compare import versions
    from tnkit_nn.training.evaluation import accuracy
    from tnkit_nn.training.loop import train

    _check_names(args, parser)
    out, recipe = Path(args.out), zoo.TRAIN[args.model]
    recipe = replace(recipe, epochs=args.epochs or recipe.epochs)
    try:
        split = data.load(args.data, args.data_dir, limit=args.limit)
        torch.manual_seed(args.seed)
        model = zoo.build(args.model, split.num_classes)
        zoo.check_takes(model, split.val[0], args.model, args.data, split.num_classes)
        out.mkdir(parents=True, exist_ok=True)
        history = train(
            model,
            split,
            recipe,
            seed=args.seed,
            checkpoint=out / "checkpoint.safetensors",
            log=out / "log.jsonl",
            progress=True,
        )
    except (OSError, TypeError, ValueError) as error:
        parser.error(_said(error))
    except FloatingPointError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    results = {
        "model": args.model, "data": split.name, "seed": args.seed, "test_accuracy": accuracy(model, split.test),
        "parameters": sum(p.numel() for p in model.parameters()), "recipe": asdict(recipe),
        "history": [asdict(epoch) for epoch in history], "versions": versions(),
    }  # fmt: skip
    zoo.save(model, out / "model.safetensors")
    line = f"{args.model} on {split.name}: {100 * results['test_accuracy']:.2f} % of the test images, seed {args.seed}"
    _finish(args, results, line, "model.safetensors")
    return 0


def _compress(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from tnkit_nn import data, zoo
    from tnkit_nn.comparison.compare import versions
    from tnkit_nn.compression.compress import compress_
    from tnkit_nn.compression.recipe import ORDERS
    from tnkit_nn.compression.result import dense

    _check_names(args, parser)
    changes: dict[str, Any] = {} if args.seed is None else {"seed": args.seed}
    if args.order:
        changes["order"] = args.order if args.order in ORDERS else tuple(_names(args.order))
    try:
        model = zoo.load(args.model, args.weights)
        split = data.load(args.data, args.data_dir, limit=args.limit)
        zoo.check_takes(model, split.val[0], args.weights, args.data, split.num_classes)
        done = compress_(model, args.recipe, split, out=args.out, progress=True, **changes)
    except (OSError, TypeError, ValueError) as error:
        parser.error(_said(error))
    except FloatingPointError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    zoo.save(dense(done.model), Path(args.out) / "dense.safetensors")
    results = {"model": args.model, "data": split.name, **done.report(), "versions": versions()}
    _finish(args, results, str(done), "model.safetensors", "dense.safetensors")
    return 0


def _check_names(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from tnkit_nn.data import DATA
    from tnkit_nn.zoo import ZOO

    for option, value, known in (("--model", args.model, ZOO), ("--data", args.data, DATA)):
        if value not in known:
            parser.error(f"argument {option}: unknown name {value!r}; known: {', '.join(known)}")


def _finish(args: argparse.Namespace, results: dict[str, Any], text: str, *files: str) -> None:
    """Write results.json and say what was found and written."""
    from tnkit_nn.storage import write_json

    write_json(Path(args.out) / "results.json", results)
    if args.json:
        print(json.dumps(results))
    else:
        print(text, *(f"wrote {Path(args.out) / name}" for name in (*files, "results.json")), sep="\n")


def _show(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    import tnkit as tk

    try:
        nets = _networks(Path(args.network))
    except (OSError, TypeError, ValueError) as error:
        parser.error(_said(error))
    plans = {name: tk.plan(net) for name, net in nets.items()}
    if args.json:
        figures = {
            name: {
                "shape": net.shape,
                "num_params": net.num_params,
                "flops": plans[name].flops,
                "largest": plans[name].largest,
            }
            for name, net in nets.items()
        }
        print(json.dumps(next(iter(figures.values())) if len(nets) == 1 else figures))
    else:
        for name, net in nets.items():
            print(*([f"{name}:"] if name else []), net, plans[name], sep="\n\n", end="\n\n" if len(nets) > 1 else "\n")
    if args.out:
        out = Path(args.out)
        try:
            for name, net in nets.items():
                (out if len(nets) == 1 else out.with_name(f"{out.stem}-{name}{out.suffix}")).write_text(tk.to_svg(net))
        except OSError as error:
            parser.error(_said(error))
    return 0


def _networks(path: Path) -> dict[str, Any]:
    """The networks of a file by name; one that has no name is called nothing."""
    import tnkit as tk
    from tnkit_nn.compression.result import networks

    if path.suffix == ".safetensors":
        return networks(path)
    try:
        return {"": tk.from_json(path.read_text()) if path.suffix == ".json" else tk.load(path)[0]}
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _said(error: OSError | TypeError | ValueError) -> str:
    """An error in words: a missing file's by its name, without the number of the system's message."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status (bad use exits with 2)."""
    args = _parser().parse_args(argv)
    status: int = args.run(args, args.parser)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""The command ``tnkit``: show, view and plan networks here, train, compress and compare in ``tnkit_nn``, loaded when asked for.

Exit status: 0 done, 2 wrong usage, 1 what cannot be done (a package that is missing, a full disk, numbers that are not finite),
130 stopped by Ctrl-C.  Each says so in one line on stderr; of a run that keeps what it has done, that the same command goes on.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

import tnkit as tk
from tnkit.core.extras import MissingExtra, need
from tnkit.core.interrupts import INTERRUPTED, raised

__all__ = ["Parser", "above_zero", "add_file", "comma_separated", "known", "main", "numbers", "positive", "say", "seed"]

#: The commands of ``tnkit_nn.cli``: what each one does, its extra, and what it needs of that before it begins.
APPLICATIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "train": ("train a model on a data set", "nn", ("torch", "safetensors", "tqdm", "filelock")),
    "compress": ("compress a trained model by a recipe", "nn", ("torch", "safetensors", "tqdm", "filelock", "tomli_w")),
    "compare": (
        "compare deep and shallow networks as a layer's weight, with controls",
        "compare",
        ("torch", "safetensors", "tqdm", "filelock", "scipy", "matplotlib", "jinja2"),
    ),
}

#: Errors of the system that no other usage would mend.
_CANNOT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM}


# -- what arguments may be ------------------------------------------------------------------------------------------
class Parser(argparse.ArgumentParser):
    """Wrong usage: one clear line, exit status 2; descriptions as they are written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the help is."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def comma_separated(text: str) -> list[str]:
    """Names by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    """Whole numbers from 1 up, by commas."""
    try:
        found = [int(n) for n in comma_separated(text)]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers from 1 up, such as 100,300")
    return found


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return found


def seed(text: str) -> int:
    """A seed of torch's and numpy's generators."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 0..2^63 - 1")
    return int(text)


def known(among: Collection[str]) -> Callable[[str], str]:
    """One of some names; a message that lists them where it is another."""

    def check(text: str) -> str:
        if text not in among:
            raise argparse.ArgumentTypeError(f"unknown name {text!r}; known: {', '.join(among)}")
        return text

    return check


def _sizes_given(text: str) -> dict[str, int] | int:
    """``i=2,j=3``, or one size for all."""
    if text.isdecimal() and int(text):
        return int(text)
    pairs = [item.partition("=") for item in comma_separated(text)]
    if not pairs or not all(name.strip() and size.strip().isdecimal() and int(size) for name, _, size in pairs):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size for each index, such as i=8,j=16, or one for all, such as 8"
        )
    return {name.strip(): int(size) for name, _, size in pairs}


def _path(text: str) -> list[tuple[int, ...]]:
    """``[[0,1],[0,1]]``: an order as opt_einsum writes it."""
    try:
        found = json.loads(text)
        return [tuple(map(int, pair)) for pair in found]
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path, such as [[0,1],[0,1]]") from None


def _bytes(text: str) -> float:
    """``2e9``, ``500MB``, ``2GiB``."""
    found = re.fullmatch(r"(\d+\.?\d*(?:e\d+)?)\s*([kMGT]?)(i?)B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 2e9, 500MB or 2GiB")
    power: int = (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
    count = float(found[1]) * power
    if isinf(count):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes: it is too large for one")
    return count


def say(*values: Any, sep: str = " ", end: str = "\n") -> None:
    """Print, at once, so that what stdout cannot take is an error here that names it."""
    try:
        print(*values, sep=sep, end=end, flush=True)
    except OSError as error:
        error.filename = "standard output"
        raise


def add_file(parser: argparse.ArgumentParser, *flags: str, **options: Any) -> None:
    """Add an argument that is the name of a file or folder: shells complete it so."""
    action: Any = parser.add_argument(*flags, **options)
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # where shtab looks


# -- the commands of the base install -------------------------------------------------------------------------------
def _add_show(commands: Any) -> None:
    parser = commands.add_parser(
        "show",
        help="print, and draw, networks kept in a file",
        description="Print the networks of a file and their plans; draw them with --out.",
    )
    add_file(
        parser,
        "network",
        help="a .json file of tnkit.to_json, a file of tnkit.save, or the model.safetensors of tnkit compress, or its folder",
    )
    add_file(
        parser,
        "--out",
        type=Path,
        help="draw to this .svg or .png file (a .png needs matplotlib: pip install 'tnkit[plot]')",
    )
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=_show, parser=parser)


def _add_view(commands: Any) -> None:
    parser = commands.add_parser(
        "view",
        help="write a page that steps through the contraction of a network",
        description="Write one page, for any browser, that steps through the contraction of a network.\n\n"
        "  tnkit view net.json --out net.html\n"
        "  tnkit view net.json --optimizer auto,greedy --path [[0,1],[0,1]]",
    )
    add_file(parser, "network", help="a file, as of tnkit show")
    add_file(parser, "--out", type=Path, help="the page (default: the file's name with .html, in this folder)")
    parser.add_argument(
        "--optimizer", type=comma_separated, default=[], metavar="NAMES",
        help=f"the orders to show, by commas: {', '.join(tk.OPTIMIZERS)} (default: auto, greedy and the nodes as listed)",
    )  # fmt: skip
    parser.add_argument("--path", type=_path, help="an order of your own to show: pairs as opt_einsum writes them")
    parser.set_defaults(run=_view, parser=parser)


def _add_plan(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="print the plan of a network or an einsum equation: steps, FLOPs, memory",
        description="Print the plan of a network: its steps, FLOPs, bytes moved and peak memory.\n\n"
        "  tnkit plan net.json --memory-limit 500MB\n"
        '  tnkit plan "ij,jk,kl->il" --sizes i=8,j=64,k=64,l=8',
    )
    add_file(parser, "network", help="a file, as of tnkit show; or an einsum equation, with --sizes")
    parser.add_argument("--sizes", type=_sizes_given, help="sizes of an equation's indices: i=8,j=16, or one for all")
    parser.add_argument(
        "--optimizer", type=known(tk.OPTIMIZERS), choices=list(tk.OPTIMIZERS), default="auto", metavar="NAME",
        help=f"how the order is searched: {', '.join(tk.OPTIMIZERS)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-limit",
        type=_bytes,
        metavar="BYTES",
        help="slice indices until a forward takes at most so much: 2e9, 500MB",
    )
    parser.add_argument("--slices", type=positive, default=1, help="at least so many slices (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", type=_bytes, nargs="?", const=True, default=False, metavar="BYTES",
        help="rematerialise in backward: as little memory as can be, or at most so much",
    )  # fmt: skip
    parser.add_argument("--itemsize", type=positive, default=8, help="bytes of an entry (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=_plan_command, parser=parser)


def _add_completion(commands: Any) -> None:
    parser = commands.add_parser(
        "completion",
        help="print a script that completes this command in a shell",
        # shtab, not argcomplete: a script written once completes at once; argcomplete would import torch at every TAB
        description='Print a completion script (needs shtab: pip install "tnkit[cli]").\n\n'
        '  eval "$(tnkit completion bash)"                        # in ~/.bashrc\n'
        "  tnkit completion zsh > ~/.zfunc/_tnkit                 # a folder of $fpath",
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(run=_completion, parser=parser)


def _show(args: argparse.Namespace) -> int:
    nets = _networks_in(
        Path(args.network), f"tnkit plan {shlex.quote(args.network)} --sizes 8 shows an equation's plan"
    )
    plans = {name: tk.plan(net) for name, net in nets.items()}
    if args.json:
        figures = {
            name: {
                "shape": net.shape, "num_params": net.num_params, "flops": plans[name].flops, "largest": plans[name].largest,
            }
            for name, net in nets.items()
        }  # fmt: skip
        say(json.dumps(next(iter(figures.values())) if len(nets) == 1 else figures))
    else:
        for name, net in nets.items():
            say(*([f"{name}:"] if name else []), net, plans[name], sep="\n\n", end="\n\n" if len(nets) > 1 else "\n")
    if args.out:
        for name, net in nets.items():
            _draw_to_file(
                net, args.out if len(nets) == 1 else args.out.with_name(f"{args.out.stem}-{name}{args.out.suffix}")
            )
    return 0


def _view(args: argparse.Namespace) -> int:
    nets = _networks_in(Path(args.network), "save it with tk.save(path, tk.from_einsum(equation, sizes), arrays)")
    wrong = next((name for name in args.optimizer if name not in tk.OPTIMIZERS), None)
    if wrong is not None:
        raise ValueError(f"argument --optimizer: unknown name {wrong!r}; known: {', '.join(tk.OPTIMIZERS)}")
    if args.path is not None and len(nets) > 1:
        raise ValueError(f"argument --path: an order of one network; {args.network} has {len(nets)}")
    orders: list[tuple[str, Any]] = [(name, name) for name in args.optimizer]
    orders += [("your path", args.path)] if args.path is not None else []
    if args.path is not None and not args.optimizer:
        orders.insert(0, ("auto", "auto"))
    values: list[tk.Network | tk.Plan] = []
    names: list[str] = []
    for name, net in nets.items():
        if name and not orders:
            names.append(name)
        values += [tk.plan(net, order) for _, order in orders] or [net]
        names += [f"{name}, {order}" if name else order for order, _ in orders]
    page = tk.view(*values, names=names or None, title=f"{Path(args.network).name}, step by step")
    say(page.save(args.out or Path(f"{Path(args.network).stem}.html")))
    return 0


def _draw_to_file(net: tk.Network, path: Path) -> None:
    if path.suffix == ".png":
        tk.draw(net).figure.savefig(path, dpi=150)
    elif path.suffix == ".svg":
        path.write_text(tk.to_svg(net))
    else:
        raise ValueError(f"argument --out: a drawing is a .svg or .png file, not {path.name!r}")


def _plan_command(args: argparse.Namespace) -> int:
    if args.sizes is None:
        nets = _networks_in(Path(args.network), "an equation needs its sizes, such as --sizes i=8,j=16")
    else:
        letters = [c for c in args.network if c not in ",->. "]
        sizes = dict.fromkeys(letters, args.sizes) if isinstance(args.sizes, int) else args.sizes
        nets = {"": tk.from_einsum(args.network, sizes)}
    options = {n: getattr(args, n) for n in ("itemsize", "memory_limit", "slices", "checkpoint")}
    plans = {name: tk.plan(net, args.optimizer, **options) for name, net in nets.items()}
    if args.json:
        figures = {
            name: {
                n: getattr(plan, n)
                for n in ("flops", "bytes_moved", "largest", "peak", "peak_backward", "recomputed", "paths")
            }
            for name, plan in plans.items()
        }
        say(json.dumps(next(iter(figures.values())) if len(plans) == 1 else figures))
    else:
        for name, plan in plans.items():
            say(*([f"{name}:\n"] if name else []), plan, sep="\n", end="\n\n" if len(plans) > 1 else "\n")
    return 0


def _networks_in(path: Path, hint: str) -> dict[str, tk.Network]:
    """The networks of a file by name; one that has no name is called nothing.  A compression's folder stands for its model.

    ``hint`` is what is said of an equation.
    """
    if path.is_dir():
        inside = path / "model.safetensors"
        if not inside.exists():
            named = sorted(p.name for p in path.iterdir() if p.suffix in (".tn", ".json", ".safetensors"))[:3]
            there = f"; it holds {', '.join(named)}" if named else ""
            raise ValueError(f"{path}: a folder without the model.safetensors of tnkit compress; give a file{there}")
        path = inside
    if path.suffix == ".safetensors":
        need("a compressed model", "torch", "safetensors")
        found: dict[str, tk.Network] = import_module("tnkit_nn.compression.result").networks(path)
        return found
    if not path.exists() and ("->" in str(path) or "," in str(path)):
        raise ValueError(f"{str(path)!r} is no file; {hint}")
    try:
        return {"": tk.from_json(path.read_text()) if path.suffix == ".json" else tk.load(path)[0]}
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _completion(args: argparse.Namespace) -> int:
    need("tnkit completion", "shtab")
    import shtab

    say(shtab.complete(_parser(tuple(APPLICATIONS), strict=False), args.shell))
    return 0


# -- the whole ------------------------------------------------------------------------------------------------------
def _parser(applications: Collection[str], strict: bool = True) -> Parser:
    """The parser; the options of those applications are loaded, or, not ``strict``, of those of them that can be."""
    parser = Parser(
        prog="tnkit",
        description="Tensor networks: show, view and plan them, and put them into neural networks.",
        epilog="tnkit compare --help lists the models, data sets, families and controls.  train and compress need\n"
        "pip install 'tnkit[nn]', compare pip install 'tnkit[compare]', show --out x.png pip install 'tnkit[plot]'.",
    )
    parser.add_argument("--version", action="version", version=f"tnkit {tk.__version__}")
    every = ("show", "view", "plan", *APPLICATIONS, "completion")
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=Parser, metavar=f"{{{','.join(every)}}}"
    )
    _add_show(commands)
    _add_view(commands)
    _add_plan(commands)
    for name, (about, extra, needs) in APPLICATIONS.items():
        added = commands.add_parser(name, help=about)
        if name in applications:
            try:
                need(f"tnkit {name}", *needs, extra=extra)
                import_module(f"tnkit_nn.cli.{name}").configure(added)
            except MissingExtra:
                if strict:
                    raise
    _add_completion(commands)
    return parser


def _said(error: BaseException) -> str:
    """An error in words: that of a file by its name, without the number of the system's message."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status, 0; all others are raised, as SystemExit.

    Parameters
    ----------
    argv
        Its arguments; None: those of this process, which is then the command's own, and ends when it does.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    now = _Now(Parser(prog="tnkit"))
    with raised(now.interrupted) if argv is None else nullcontext():
        try:
            args = _parser([word for word in words if word in APPLICATIONS][:1]).parse_args(words)
            now.parser, now.goes_on = args.parser, getattr(args, "goes_on", "")
            status: int = args.run(args)
            return status
        except KeyboardInterrupt:
            now.parser.exit(INTERRUPTED, f"{now.interrupted()}\n")
        except (MissingExtra, FloatingPointError, MemoryError, OSError, TypeError, ValueError) as error:
            _fail(now, error)


@dataclass
class _Now:
    """Which command is at work, and how it goes on after an interruption."""

    parser: Parser
    goes_on: str = ""

    def interrupted(self) -> str:
        """What is said of Ctrl-C."""
        return "; ".join(filter(None, (f"{self.parser.prog}: interrupted", self.goes_on)))


def _fail(now: _Now, error: Exception) -> NoReturn:
    """Leave with one line, and the status that the error calls for."""
    parser = now.parser
    if isinstance(error, OSError) and error.filename == "standard output":
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again at the end
        if isinstance(error, BrokenPipeError):  # who read the output has read enough
            parser.exit(1)
    if isinstance(error, MissingExtra):  # of a command as a whole, it begins with its name
        parser.exit(1, f"{error}\n" if str(error).startswith(f"{parser.prog} ") else f"{parser.prog}: {error}\n")
    if isinstance(error, OSError) and error.errno in _CANNOT:
        parser.exit(1, "; ".join(filter(None, (f"{parser.prog}: {_said(error)}", now.goes_on))) + "\n")
    if isinstance(error, (FloatingPointError, MemoryError)):
        parser.exit(1, f"{parser.prog}: {_said(error)}\n")
    parser.error(_said(error).removeprefix(f"{parser.prog.split()[-1]}: "))  # the command has said its name

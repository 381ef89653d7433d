"""The commands of networks, which need no torch: ``tnkit show``, ``tnkit view`` and ``tnkit plan``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import tnkit as tk
from tnkit.cli.arguments import add_file, byte_count, comma_separated, known, path_given, positive, say, sizes_given
from tnkit.core.checks import a_file_name, shown
from tnkit.core.extras import need
from tnkit.core.writing import replacing

#: Kinds of files that networks are drawn to: png and pdf need matplotlib.
DRAWINGS = ("svg", "tex", "png", "pdf")
#: The commands of this module, as the help lists them.
COMMANDS = ("show", "view", "plan")


def add_commands(commands: Any) -> None:
    """Add the commands of networks to the subparsers of ``tnkit``."""
    _add_show(commands)
    _add_view(commands)
    _add_plan(commands)


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
        help="draw to this .svg, .tex (TikZ), .png or .pdf file (the last two need matplotlib: pip install 'tnkit[plot]')",
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
    parser.add_argument("--path", type=path_given, help="an order of your own to show: pairs as opt_einsum writes them")
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
    parser.add_argument("--sizes", type=sizes_given, help="sizes of an equation's indices: i=8,j=16, or one for all")
    parser.add_argument(
        "--optimizer", type=known(tk.OPTIMIZERS), choices=list(tk.OPTIMIZERS), default="auto", metavar="NAME",
        help=f"how the order is searched: {', '.join(tk.OPTIMIZERS)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-limit",
        type=byte_count,
        metavar="BYTES",
        help="slice indices until a forward takes at most so much: 2e9, 500MB",
    )
    parser.add_argument("--slices", type=positive, default=1, help="at least so many slices (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", type=byte_count, nargs="?", const=True, default=False, metavar="BYTES",
        help="rematerialise in backward: as little memory as can be, or at most so much",
    )  # fmt: skip
    parser.add_argument("--itemsize", type=positive, default=8, help="bytes of an entry (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=_plan_command, parser=parser)


def _show(args: argparse.Namespace) -> int:
    if args.out:
        _drawing_kind(args.out)
    nets = _networks_in(args.network, f"tnkit plan {shlex.quote(args.network)} --sizes 8 shows an equation's plan")
    plans = {name: tk.plan(net) for name, net in nets.items()}
    if args.json:
        figures = {
            name: {
                "shape": net.shape, "num_params": net.num_params, "flops": plans[name].flops, "largest": plans[name].largest,
            }
            for name, net in nets.items()
        }  # fmt: skip
        _say_figures(figures)
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
    nets = _networks_in(args.network, "save it with tk.save(path, tk.from_einsum(equation, sizes), arrays)")
    wrong = next((name for name in args.optimizer if name not in tk.OPTIMIZERS), None)
    if wrong is not None:
        raise ValueError(f"argument --optimizer: unknown name {shown(wrong)}; known: {', '.join(tk.OPTIMIZERS)}")
    twice = next((name for name in args.optimizer if args.optimizer.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"argument --optimizer: {twice!r} is given twice")
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


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: no text in UTF-8, as tnkit.to_json gives it") from None


def _drawing_kind(path: Path) -> str:
    kind = Path(a_file_name(path, "argument --out")).suffix.removeprefix(".")
    if kind not in DRAWINGS:
        raise ValueError(f"argument --out: a drawing is a .svg, .tex, .png or .pdf file, not {shown(path.name)}")
    return kind


def _draw_to_file(net: tk.Network, path: Path) -> None:
    kind = _drawing_kind(path)
    with replacing(path) as temporary:
        if kind in ("png", "pdf"):
            tk.draw(net).figure.savefig(temporary, dpi=150, format=kind)
        else:
            temporary.write_text({"svg": tk.to_svg, "tex": tk.to_tikz}[kind](net), encoding="utf-8")


def _plan_command(args: argparse.Namespace) -> int:
    if args.sizes is None:
        nets = _networks_in(args.network, "an equation needs its sizes, such as --sizes i=8,j=16")
    else:
        if os.path.isfile(a_file_name(args.network, "argument network")):
            raise ValueError(
                f"argument --sizes: of an equation alone; {args.network} is a file, whose network has sizes"
            )
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
        _say_figures(figures)
    else:
        for name, plan in plans.items():
            say(*([f"{name}:\n"] if name else []), plan, sep="\n", end="\n\n" if len(plans) > 1 else "\n")
    return 0


def _say_figures(figures: dict[str, Any]) -> None:
    """Print figures as JSON: those of one network alone without its name."""
    try:
        text = json.dumps(next(iter(figures.values())) if len(figures) == 1 else figures)
    except ValueError:
        raise ValueError("argument --json: a figure has thousands of digits, which Python does not write") from None
    say(text)


def _networks_in(name: str, hint: str) -> dict[str, tk.Network]:
    """The networks of a file by name; one that has no name is called nothing.  A compression's folder stands for its model.

    ``hint`` is what is said of an equation.
    """
    path = Path(a_file_name(name, "argument network"))
    if os.path.isdir(path):
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
    # os.path's, for which the name of an equation is never too long
    if not os.path.exists(path) and ("->" in str(path) or "," in str(path)):
        raise ValueError(f"{str(path)!r} is no file; {hint}")
    try:
        return {"": tk.from_json(_text_of(path)) if path.suffix == ".json" else tk.load(path)[0]}
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

"""The program ``tnkit``: which commands there are, and how each one ends.

Exit status: 0 done, 2 wrong usage, 1 what cannot be done (a package that is missing, a full disk, numbers that are not finite),
130 stopped by Ctrl-C.  Each says so in one line on stderr; of a run that keeps what it has done, that the same command goes on.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import tnkit as tk
from tnkit.cli import networks
from tnkit.cli.arguments import Parser, say, streams_there
from tnkit.core.extras import MissingExtra, need
from tnkit.core.interrupts import INTERRUPTED, raised

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


def _completion(args: argparse.Namespace) -> int:
    need("tnkit completion", "shtab")
    import shtab

    say(shtab.complete(_parser(tuple(APPLICATIONS), strict=False), args.shell))
    return 0


def _parser(applications: Collection[str], strict: bool = True) -> Parser:
    """The parser; the options of those applications are loaded, or, not ``strict``, of those of them that can be."""
    parser = Parser(
        prog="tnkit",
        description="Tensor networks: show, view and plan them, and put them into neural networks.",
        epilog="tnkit compare --help lists the models, data sets, families and controls.  train and compress need\n"
        "pip install 'tnkit[nn]', compare pip install 'tnkit[compare]', show --out x.png pip install 'tnkit[plot]'.",
    )
    parser.add_argument("--version", action="version", version=f"tnkit {tk.__version__}")
    every = (*networks.COMMANDS, *APPLICATIONS, "completion")
    commands = parser.add_subparsers(
        dest="command", required=True, parser_class=Parser, metavar=f"{{{','.join(every)}}}"
    )
    networks.add_commands(commands)
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
    with streams_there(), raised(now.interrupted) if argv is None else nullcontext():
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

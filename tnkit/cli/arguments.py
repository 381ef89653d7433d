"""What the arguments of commands may be, each refused in one line; what commands print."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from math import isinf
from typing import Any, NoReturn

from tnkit.core.wording import shown


class Parser(argparse.ArgumentParser):
    """Wrong usage: one clear line, exit status 2; descriptions as they are written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the help is."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help and versions as all that is printed: argparse itself is silent where stdout cannot take them."""
        if message and file is sys.stdout:
            say(message, end="")
        else:
            super()._print_message(message, file)


def comma_separated(text: str) -> list[str]:
    """Names by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def natural_number(text: str) -> int:
    """A whole number from 0 up; -1 for any other text, and for one of more digits than Python reads."""
    try:
        return int(text) if text.isdecimal() else -1
    except ValueError:
        return -1


def numbers(text: str) -> list[int]:
    """Whole numbers from 1 up, by commas."""
    found = [natural_number(n) for n in comma_separated(text)]
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a list of whole numbers from 1 up, such as 100,300")
    return found


def positive(text: str) -> int:
    """A whole number from 1 up."""
    found = natural_number(text)
    if found < 1:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number from 1 up")
    return found


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number above 0")
    return found


def seed(text: str) -> int:
    """A seed of torch's and numpy's generators."""
    found = natural_number(text)
    if not 0 <= found < 2**63:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number in 0..2^63 - 1")
    return found


def known(among: Collection[str]) -> Callable[[str], str]:
    """One of some names; a message that lists them where it is another."""

    def check(text: str) -> str:
        if text not in among:
            raise argparse.ArgumentTypeError(f"unknown name {shown(text)}; known: {', '.join(among)}")
        return text

    return check


def sizes_given(text: str) -> dict[str, int] | int:
    """``i=2,j=3``, or one size for all."""
    if natural_number(text) > 0:
        return natural_number(text)
    pairs = [item.partition("=") for item in comma_separated(text)]
    if not pairs or not all(name.strip() and natural_number(size.strip()) > 0 for name, _, size in pairs):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a size for each index, such as i=8,j=16, or one for all, such as 8"
        )
    return {name.strip(): int(size) for name, _, size in pairs}


def path_given(text: str) -> list[tuple[int, ...]]:
    """``[[0,1],[0,1]]``: an order as opt_einsum writes it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if type(found) is not list or not all(type(pair) is list and all(type(k) is int for k in pair) for pair in found):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a path, such as [[0,1],[0,1]]")
    return [tuple(pair) for pair in found]


def byte_count(text: str) -> float:
    """``2e9``, ``500MB``, ``2GiB``."""
    found = re.fullmatch(r"(\d+\.?\d*(?:e\d+)?)\s*([kMGT]?)(i?)B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of bytes, such as 2e9, 500MB or 2GiB")
    power: int = (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
    count = float(found[1]) * power
    if isinf(count):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of bytes: it is too large for one")
    return count


def say(*values: Any, sep: str = " ", end: str = "\n") -> None:
    """Print, at once, so that what stdout cannot take is an error here that names it; letters that it has not are escaped."""
    text = sep.join(map(str, values)) + end
    code = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(code, "backslashreplace").decode(code), end="", flush=True)
    except OSError as error:
        error.filename = "standard output"
        raise


@contextmanager
def streams_there() -> Iterator[None]:
    """Standard streams that are there: of a process without them (``>&-``, Windows' ``pythonw``) what is said is said to nobody."""
    with ExitStack() as closing:
        for name, redirected in (("stdout", redirect_stdout), ("stderr", redirect_stderr)):
            if getattr(sys, name) is None:
                closing.enter_context(redirected(closing.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield


def add_file(parser: argparse.ArgumentParser, *flags: str, **options: Any) -> None:
    """Add an argument that is the name of a file or folder: shells complete it so."""
    action: Any = parser.add_argument(*flags, **options)
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # where shtab looks

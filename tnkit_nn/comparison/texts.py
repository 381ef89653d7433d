"""Tables as text: whatever a label has in it, a row stays one row of as many cells as there are headers."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

__all__ = ["text_table"]

#: Styles in which a bar ends a cell.
_BARS = ("github", "pipe")


def text_table(body: Sequence[Sequence[str]], headers: Sequence[str], style: str) -> str:
    r"""A table in any of tabulate's styles.

    >>> print(text_table([("a|b", "1")], ("family", "budget"), "github"))
    | family   | budget   |
    |----------|----------|
    | a\|b     | 1        |
    """
    bar = r"\|" if style in _BARS else "|"
    lines = [[" ".join(cell.split()).replace("|", bar) for cell in line] for line in body]
    return str(tabulate(lines, [header.strip() for header in headers], tablefmt=style, disable_numparse=True))

"""The table of a plan's steps as text: names of nodes and indices, cut where a line would be too long."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from shutil import get_terminal_size

from tnkit.planning.calibration import spelled_count
from tnkit.planning.timeline import TimelineStep

__all__ = ["step_table"]

#: Characters of a line that the figures take, and those of a column at least.
_FIGURES, _LEAST = 52, 8
#: How the rest is parted: operands, what is summed, the result's indices.
_PARTS = (9, 6, 10)


def step_table(steps: Sequence[TimelineStep], style: str) -> str:
    """The table in one of tabulate's styles; as text no wider than the terminal, or 120 characters where there is none."""
    from tabulate import tabulate  # when asked for: it is a sixth of what importing tnkit takes

    grouped = any(step.group for step in steps)
    headers = ["step", "does", *(["in"] if grouped else []), "of", "sums", "result", "FLOPs", "entries", "alive"]
    width = 10**9 if style == "html" else get_terminal_size((120, 24)).columns
    room = [max(_LEAST, (width - _FIGURES - 12 * grouped) * part // sum(_PARTS)) for part in _PARTS]
    rows = [_row(step, room, grouped) for step in steps]
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _row(step: TimelineStep, room: Sequence[int], grouped: bool) -> list[str]:
    times = f"{step.times} " if step.times > 1 else ""
    return [
        step.name,
        _action(step),
        *([times + step.group] if grouped else []),
        *(
            _fitted(" ".join(names), n)
            for names, n in zip((step.operands, step.summed, step.result), room, strict=True)
        ),
        spelled_count(step.flops),
        spelled_count(prod(step.shape)),
        f"{spelled_count(step.live)}B",
    ]


def _fitted(names: str, room: int) -> str:
    """Names by spaces; of those that do not fit, how many are left out.

    >>> _fitted("alpha beta gamma delta", 16)
    'alpha beta ... 2'
    """
    if len(names) <= room:
        return names
    words = names.split(" ")
    for kept in range(len(words) - 1, 0, -1):
        short = f"{' '.join(words[:kept])} ... {len(words) - kept}"
        if len(short) <= room:
            return short
    return f"{names[: max(room - 3, 1)]}..."


def _action(step: TimelineStep) -> str:
    """What a step does, and how many times the work of its equation that is."""
    does = {"contract": "matmul", "apply": step.function}.get(step.kind, step.kind)
    return f"{does} x{step.widened}" if step.widened > 1 else does

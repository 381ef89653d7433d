"""What all rendered tables are made of: their form, accuracies with their spread, paired differences, what results say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan
from statistics import mean
from typing import Any

from tnkit_nn.comparison.paired import difference as paired

IMAGES = 10_000  # of every test set


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *lines])


def row(values: Sequence[float]) -> str:
    """Mean and spread, per cent."""
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * mean(values):.2f}" + (f" ({low:.2f} to {high:.2f})" if len(values) > 1 else "")


def difference(one: Sequence[float], other: Sequence[float], images: int = IMAGES) -> str:
    """Mean paired difference with its 95 % interval, in points, and what that says."""
    points, low, high = (100 * x for x in paired(one, other, images)[:3])
    if isnan(low):
        return f"{points:+.2f}, one seed"
    said = "no significant difference" if low <= 0 <= high else "more" if low > 0 else "less"
    return f"{points:+.2f} ({low:+.2f} to {high:+.2f}): {said}"


def noted(found: dict[str, Any]) -> str:
    """What a results file says of itself."""
    return f" {found['note']}" if found.get("note") else ""

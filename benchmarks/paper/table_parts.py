"""What all rendered tables are made of: their form, accuracies with their spread, paired differences, what results say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from statistics import mean
from typing import Any, NamedTuple

from tnkit_nn.comparison.paired import difference as paired
from tnkit_nn.comparison.paired import holm, p_shown, stated

IMAGES = 10_000  # of every test set

#: How tables say it, whose columns have less room.
_WORDS = {"better": "more", "worse": "less"}

#: Seed -> accuracy.
Seeds = Mapping[int, float]


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *lines])


def row(values: Sequence[float]) -> str:
    """Mean and spread, per cent."""
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * mean(values):.2f}" + (f" ({low:.2f} to {high:.2f})" if len(values) > 1 else "")


class Gap(NamedTuple):
    """One row less another, in points, with its 95 % interval; the p-value is corrected for all that it was asked with."""

    points: float
    low: float
    high: float
    p: float
    words: str

    def __str__(self) -> str:
        if isnan(self.low):
            return f"{self.points:+.2f}, one seed"
        return f"{self.points:+.2f} ({self.low:+.2f} to {self.high:+.2f}), {p_of(self.p)}: {self.words}"


def p_of(p: float, equals: str = "") -> str:
    """A p-value as tables have it; in sentences ``equals`` stands before the number."""
    text = p_shown(p)
    return f"p < {text[1:]}" if text[0] == "<" else f"p {equals}{text}"


def in_pairs(one: Seeds, other: Seeds) -> tuple[list[float], list[float]]:
    """The values of two rows over the seeds that both have."""
    seeds = sorted(one.keys() & other.keys())
    return [one[s] for s in seeds], [other[s] for s in seeds]


def gaps(
    pairs: Mapping[str, tuple[Seeds, Seeds]], counts: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, Gap]:
    """Differences of rows, paired over the seeds that both have; Holm's method corrects the p-values for their number.

    ``counts``: the numbers of both rows, where it matters who has more: of such a one that is ahead nothing is said.
    """
    found = {label: paired(*in_pairs(*rows), IMAGES) for label, rows in pairs.items()}
    ps, out = holm([gap[3] for gap in found.values()]), {}
    for (label, gap), p in zip(found.items(), ps, strict=True):
        words = stated(p, gap[0] > 0, (counts or {}).get(label, (0, 0)))
        out[label] = Gap(*(100 * x for x in gap[:3]), p, _WORDS.get(words, words))
    return out


def noted(found: dict[str, Any]) -> str:
    """What a results file says of itself."""
    return f" {found['note']}" if found.get("note") else ""

"""What all rendered tables are made of: their form, accuracies with their spread, paired differences, what results say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from statistics import mean
from typing import Any, NamedTuple

from tnkit_nn.comparison.paired import NO_STATEMENT, NONE, holm, may_lead, p_shown
from tnkit_nn.comparison.paired import difference as paired

IMAGES = 10_000  # of every test set

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


def p_of(p: float) -> str:
    """A p-value as tables have it."""
    return f"p {p_shown(p).replace('<', '< ')}"


def gaps(
    pairs: Mapping[str, tuple[Seeds, Seeds]], counts: Mapping[str, tuple[int, int]] | None = None, images: int = IMAGES
) -> dict[str, Gap]:
    """Differences of rows, paired over the seeds that both have; Holm's method corrects the p-values for their number.

    ``counts``: the numbers of both rows, where it matters who has more: of such a one that is ahead nothing is said.
    """
    found = {}
    for label, (one, other) in pairs.items():
        seeds = sorted(one.keys() & other.keys())
        found[label] = paired([one[s] for s in seeds], [other[s] for s in seeds], images)
    ps = holm([gap[3] for gap in found.values()])
    return {
        label: Gap(*(100 * x for x in gap[:3]), p, _said(p, gap[0], (counts or {}).get(label, (0, 0))))
        for (label, gap), p in zip(found.items(), ps, strict=True)
    }


def _said(p: float, points: float, counts: tuple[int, int]) -> str:
    if p >= 0.05:
        return NONE
    if not may_lead(*(counts if points > 0 else counts[::-1])):
        return NO_STATEMENT
    return "more" if points > 0 else "less"


def noted(found: dict[str, Any]) -> str:
    """What a results file says of itself."""
    return f" {found['note']}" if found.get("note") else ""

"""The difference of values paired over seeds: its interval, its p-value, what it says in words, and Holm's correction.

That one row is better is said only where it has no more parameters than the other (:func:`may_lead`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import floor, isfinite, log10, nan
from statistics import stdev

from tnkit.core.checks import sequence
from tnkit.core.extras import need
from tnkit.core.numbers import whole_number
from tnkit_nn.comparison.measure import Measure, average

__all__ = [
    "NONE",
    "NOT_COMPARED",
    "NO_STATEMENT",
    "UNEQUAL",
    "Difference",
    "difference",
    "holm",
    "may_lead",
    "p_shown",
    "stated",
]

LEVEL = 0.95
#: From this p-value on, nothing is said.  As it is written: 1 - 0.95 is a little more in binary.
_ALPHA = 0.05
#: Parts of the largest value below which two values are one: many metrics are computed in single precision.
_ROUNDING = 2.0**-21
NONE = "no significant difference"
#: Where the row that is significantly ahead has more parameters than the other.
NO_STATEMENT = "no statement"
#: Where a value is not finite: the metric gave NaN, or a loss overflowed.
NOT_COMPARED = "not compared"
#: From this ratio on, two counts are called unequal.
UNEQUAL = 1.1


def may_lead(ahead: int, behind: int) -> bool:
    """Whether a row of so many parameters may be called better than one of so many others: it has no more of them.

    A control without parameters is held against networks of any count: what they add to nothing is the question.
    """
    return ahead <= behind or not behind


def stated(p: float, ahead: bool, counts: tuple[int, int]) -> str:
    """What a p-value says of a row that is ahead of another, or behind, and of their numbers of parameters.

    >>> stated(0.01, True, (100, 120)), stated(0.01, False, (100, 120)), stated(0.2, True, (100, 120))
    ('better', 'no statement', 'no significant difference')
    """
    if p >= _ALPHA:
        return NONE
    if not may_lead(*(counts if ahead else counts[::-1])):
        return NO_STATEMENT
    return "better" if ahead else "worse"


@dataclass(frozen=True)
class Difference:
    """One row less another, in the metric's own values, paired over seeds.

    Attributes
    ----------
    mean, low, high
        The mean and its 95 % interval (Student's t); NaN bounds with one seed, and where a value is not finite.
    p
        Of no difference, two-sided; 1 with one seed.  Corrected, except where it comes from :func:`difference`.
    seeds
        Number of pairs.
    counts
        Parameters of the weight in the two rows; of the whole model, where one of them is a whole model.
    measure
        How differences are worded, and which is better.
    """

    one: str
    other: str
    budget: int | None
    reading: str
    mean: float
    low: float
    high: float
    p: float
    seeds: int
    counts: tuple[int, int]
    measure: Measure

    @property
    def words(self) -> str:
        """Better, worse, no significant difference, no statement, or not compared: what ``p``, the counts and the values say."""
        return stated(self.p, self.ahead, self.counts) if isfinite(self.mean) else NOT_COMPARED

    @property
    def ahead(self) -> bool:
        """Whether the mean of the first row is the better one."""
        return self.measure.sign * self.mean > 0

    @property
    def refused(self) -> str:
        """Why there is no statement, or nothing."""
        if self.words == NOT_COMPARED:
            return "a value is not finite"
        if self.words != NO_STATEMENT:
            return ""
        one, other = self.counts
        return (
            f"ahead, but has more parameters, {one} against {other}"
            if self.ahead
            else f"behind one with more parameters, {one} against {other}"
        )

    @property
    def unequal(self) -> bool:
        """Whether the two counts differ by more than 10 %, where neither is of a control without parameters."""
        return min(self.counts) > 0 and max(self.counts) > UNEQUAL * min(self.counts)

    @property
    def careful(self) -> str:
        """A warning of unequal counts, or nothing."""
        said = self.unequal and self.words != NO_STATEMENT  # there the counts are told anyway
        return f" [careful: {self.counts[0]} parameters against {self.counts[1]}]" if said else ""

    @property
    def fine(self) -> Measure:
        """The measure, with more digits where an interval that leaves zero out would end at zero as it is written."""
        if not (self.low > 0 or self.high < 0):
            return self.measure
        nearest = self.measure.factor * min(abs(self.low), abs(self.high))
        if float(f"{nearest:.{self.measure.digits}f}") or not isfinite(nearest):
            return self.measure
        return replace(self.measure, digits=-floor(log10(nearest)))

    @property
    def gap(self) -> str:
        """The mean, as text."""
        return self.fine.gap(self.mean)

    @property
    def number(self) -> str:
        """The mean, as text without its unit."""
        return self.fine.number(self.mean, "+")

    @property
    def bounds(self) -> str:
        """The interval, as text."""
        if not (isfinite(self.low) and isfinite(self.high)):
            return "–"
        return f"{self.fine.number(self.low, '+')} to {self.fine.number(self.high, '+')}"

    @property
    def interval(self) -> str:
        """The mean and the interval, as text."""
        return f"{self.gap}, one seed" if self.seeds < 2 else f"{self.gap}, 95 % CI {self.bounds}"

    @property
    def p_text(self) -> str:
        """The p-value as it is shown everywhere."""
        return p_shown(self.p)


def p_shown(p: float) -> str:
    """A p-value as text: with more digits where three would hide on which side of 0.05 it is.

    >>> p_shown(0.0317), p_shown(0.04996), p_shown(1e-9)
    ('0.032', '0.04996', '<0.001')
    """
    if p < 0.0005:
        return "<0.001"
    texts = (f"{p:.{digits}f}" for digits in range(3, 17))
    return next((text for text in texts if (float(text) < _ALPHA) == (p < _ALPHA)), f"{p!r}")


def difference(
    one: Sequence[float], other: Sequence[float], examples: int | None = None
) -> tuple[float, float, float, float]:
    """Mean difference of paired values, its 95 % interval, and the p-value of no difference.

    ``examples``: where the values are fractions of so many test examples, the spread over seeds is never taken to be below one of
    them: a few seeds that agree by chance would make any difference look certain.  Where that number is not known, and all seeds have
    the same difference, the spread is taken to be the least difference between two of the values.  Of values that are not finite
    nothing can be said: NaN bounds, p 1.

    Raises
    ------
    TypeError, ValueError
        Not as many values of the one as of the other, none at all, no number of examples.
    """
    one, other = sequence(one, "difference: one"), sequence(other, "difference: other")
    if len(one) != len(other) or not len(one):
        raise ValueError(
            f"difference: one and other are paired, one value a seed each, not {len(one)} and {len(other)}"
        )
    least = 0.0 if examples is None else 1 / whole_number(examples, "difference: examples", 1)
    need("a comparison's verdict", "scipy")
    from scipy.stats import t

    gaps = [a - b for a, b in zip(one, other, strict=True)]
    n, centre = len(gaps), average(gaps)
    if n < 2 or not all(map(isfinite, gaps)):
        return centre, nan, nan, 1.0
    sizes = [*map(abs, one), *map(abs, other)]
    if not least and stdev(gaps) <= _ROUNDING * max(sizes):
        least = _step(one, other)
        if not least:  # a constant, but for rounding
            return centre, centre, centre, 1.0
    error = max(stdev(gaps), least) / n**0.5
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return centre, centre - half, centre + half, float(2 * t.sf(abs(centre) / error, n - 1))


def _step(one: Sequence[float], other: Sequence[float]) -> float:
    """The least difference between two of the values that is more than rounding; 0 where there is none."""
    values = sorted([*one, *other])
    rounding = _ROUNDING * max(map(abs, values))
    return min((b - a for a, b in pairwise(values) if b - a > rounding), default=0.0)


def holm(ps: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down method: the chance of any false alarm among them all stays below the level."""
    for k, p in enumerate(ps):
        if not 0 <= p <= 1:
            raise ValueError(f"holm: ps[{k}] is a p-value in 0..1, not {p!r}")
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    out, largest = [0.0] * len(ps), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[k]))
        out[k] = largest
    return out

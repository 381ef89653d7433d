"""The metric of a comparison in tables and sentences: its values, their differences, which is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, isnan, log10, nan
from statistics import mean, median, stdev
from typing import Any

from tnkit_nn.comparison.records import Records

__all__ = ["Measure", "average", "best_of", "measure_of", "spread"]

#: From here on a number is written with a power of ten.
_LONG = 1e7


@dataclass(frozen=True)
class Measure:
    """A metric, and the examples it is read on: ``Measure("perplexity", larger=False).gap(-1.5)`` is "-1.5".

    Attributes
    ----------
    name, unit, larger
        See :class:`tnkit_nn.Metric`.  With the unit "%" values are fractions, shown times 100, and differences are points.
    examples, count
        What the test examples are called, and how many they are; None where that is not known.
    digits
        Behind the point, in all tables and sentences.
    """

    name: str
    unit: str = ""
    larger: bool = True
    examples: str = "examples"
    count: int | None = None
    digits: int = 1

    # -- which is better ----------------------------------------------------------------------------------------------
    @property
    def sign(self) -> int:
        """1 where larger is better, else -1."""
        return 1 if self.larger else -1

    def order(self, value: float) -> float:
        """A key to sort by: larger is better, and no number is the worst."""
        return -float("inf") if isnan(value) else self.sign * value

    @property
    def step(self) -> int | None:
        """How many test examples a fraction is of: below one of them there is no spread; None where values are no fractions."""
        return self.count if self.percent else None

    # -- as text ------------------------------------------------------------------------------------------------------
    @property
    def percent(self) -> bool:
        """Whether values are fractions, shown in per cent."""
        return self.unit == "%"

    @property
    def factor(self) -> int:
        """What values are shown times."""
        return 100 if self.percent else 1

    def number(self, value: float, sign: str = "") -> str:
        """A value without its unit; ``sign="+"`` shows that of a difference."""
        value = self.factor * value
        if isnan(value):
            return "–"
        return f"{value:{sign}.{self.digits}f}" if abs(value) < _LONG else f"{value:{sign}.4g}"

    def value(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def reached(self, value: float) -> str:
        """A value in a sentence: that of an accuracy speaks for itself, any other has its name before it."""
        own = self.percent and self.name == "accuracy"
        return self.value(value) if own else f"{self.name} {self.value(value)}"

    def gap(self, value: float) -> str:
        """A difference with its unit."""
        return f"{self.number(value, '+')} {'points' if self.percent else self.unit}".rstrip()

    @property
    def gaps(self) -> str:
        """Header of a column of differences."""
        return "points" if self.percent else f"difference, {self.unit}".removesuffix(", ")

    @property
    def of_unit(self) -> str:
        """Its unit behind a comma, or nothing."""
        return f", {self.unit}" if self.unit else ""

    @property
    def plural(self) -> str:
        """Several values: "accuracies", "RMSE values"."""
        word = self.name.islower() and self.name.isalpha() and self.name.endswith("y")
        return f"{self.name[:-1]}ies" if word else f"{self.name} values"

    @property
    def said(self) -> str:
        """The metric in a sentence; nothing of an accuracy, which is what readers expect."""
        if self.percent and self.name == "accuracy":
            return ""
        way = "larger" if self.larger else "smaller"
        return f"Metric: {self.name}{self.of_unit} ({way} is better), on {self.count or 'the'} test {self.examples}."

    @property
    def direction(self) -> str:
        """In brackets, that smaller is better; nothing where larger is, as everywhere."""
        return "" if self.larger else " (smaller is better)"


def measure_of(records: Records) -> Measure:
    """The one metric of some records.

    Raises
    ------
    ValueError
        They are of several.
    """
    first = records[0]
    name, unit, larger = (first["metric"][key] for key in ("name", "unit", "larger"))
    for r in records:
        if r["metric"] != first["metric"] or r["examples"] != first["examples"]:
            other = f"{r['metric']['name']} on {r['examples']}"
            raise ValueError(
                f"records are of one metric and one task, not of {name} on {first['examples']} and {other}"
            )
    digits = _digits_of_fractions(records) if unit == "%" else _digits(records)
    return Measure(name, unit, larger, first["examples"], first["test_examples"], digits)


def _groups(records: Records) -> list[list[float]]:
    """The finite values of every row and reading."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for r in records:
        for key in ("test_fit", "test_frozen", "test_trained"):
            if r[key] is not None and isfinite(r[key]):
                groups.setdefault((key, r["label"], r["budget"]), []).append(r[key])
    return list(groups.values())


def _digits_of_fractions(records: Records) -> int:
    """One, in per cent; up to three where the middle spread over seeds would be 0.0."""
    spreads = [100 * s for values in _groups(records) if len(values) > 1 and (s := stdev(values))]
    return min(max(1, -floor(log10(median(spreads)))), 3) if spreads and median(spreads) < 0.05 else 1


def _digits(records: Records) -> int:
    """Three significant digits of the middle value, up to five where the spread over seeds has its first two only then."""
    groups = _groups(records)
    sizes = [abs(v) for values in groups for v in values if v]
    spreads = [s for values in groups if len(values) > 1 and (s := stdev(values))]
    if not sizes:
        return 1
    place = -floor(log10(median(sizes)))
    fine = 1 - floor(log10(median(spreads))) if spreads else 0
    return min(max(place + 2, min(fine, place + 4), 0), 15)


def average(values: Iterable[float]) -> float:
    """The mean; infinite or no number where a value is."""
    found: Sequence[float] = list(values)
    return mean(found) if all(map(isfinite, found)) else sum(found)


def _deviation(values: Iterable[float]) -> float:
    """The sample standard deviation; NaN of one value, and where a value is not finite."""
    found = list(values)
    return stdev(found) if len(found) > 1 and all(map(isfinite, found)) else nan


def spread(values: Sequence[Any]) -> tuple[float, float] | None:
    """Mean and sample standard deviation; None where a value is missing."""
    return None if any(v is None for v in values) else (average(values), _deviation(values))


def best_of(values: Mapping[Any, float], measure: Measure) -> Any:
    """The key of the best value; None of none."""
    return max(values, key=lambda k: measure.order(values[k]), default=None)

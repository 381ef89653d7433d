"""Committed results, and how the pages name and write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tables  # of benchmarks/paper: the page of all results, whose p-values are shown here too
from digests import BEFORE, older

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
RESULTS = ROOT / "benchmarks" / "paper"

Records = list[dict[str, Any]]

#: Label in the results -> what a reader calls it.
NAMES = {
    "mpo": "TT-matrix", "tt": "TT", "tucker": "Tucker", "cp": "CP", "ring": "ring", "tree": "tree", "low_rank": "low rank", "rank1": "rank 1",
    "hashed": "hash", "hashed 424": "hash", "subspace": "random subspace", "frozen_random": "frozen random", "picked": "picked features",
    "pooled": "pooled features", "removed": "layer left out", "dense": "dense", "dense_trained_on": "dense, trained on", "small_dense": "small dense model",
    "adtn depth 3": "ADTN, ReLU, depth 3", "adtn 424": "ADTN", "mpo 424": "TT-matrix", "adtn": "ADTN", "circuit": "circuit", "small dense": "small dense model",
    "kronecker": "Kronecker", "block_term": "block terms",
}  # fmt: skip
READINGS = {"frozen": "other layers frozen", "trained": "other layers fine-tuned"}


def name(label: str) -> str:
    """A row's name: ``adtn sin depth 3`` is "ADTN, sine, depth 3"."""
    if label in NAMES:
        return NAMES[label]
    for short, long in {"adtn": "ADTN", "sin": "sine", "relu": "ReLU", **NAMES}.items():
        label = re.sub(rf"\b{short}\b", long, label)
    label = label.replace(", no fewer", " (no fewer)").replace(" on its digits", " on the circuit's digits")
    return re.sub(r"(?<! a)(?<!without) (sine|ReLU|linear|depth)", r", \1", label)


@cache
def results(study: str) -> dict[str, Any]:
    """A study's committed file."""
    found: dict[str, Any] = json.loads((RESULTS / f"{study}.json").read_text(encoding="utf-8"))
    return found


@cache
def example(name: str) -> dict[str, Any]:
    """What a script of ``examples/`` found at full size."""
    found: dict[str, Any] = json.loads((ROOT / "examples" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def aged(*names: str) -> str:
    """A sentence on the examples whose code has changed since they were run at full size; nothing where none has."""
    ages: dict[str, list[str]] = {}
    for name in names:
        ages.setdefault(older(example(name).get("digests")), []).append(name)
    words = {BEFORE: "made before results had digests"}
    return "".join(f" {', '.join(each)}: {words.get(age, age)}." for age, each in ages.items() if age)


def groups(study: str, budget: int) -> dict[str, Records]:
    """Rows of a budget, and those without one: label -> records."""
    return tables.grouped([r for r in tables.with_whole_counts(results(study)) if r["budget"] in (budget, None)])


def percent(values: Iterable[float], digits: int = 1) -> str:
    """The mean, per cent."""
    return f"{100 * mean(values):.{digits}f}"


def accuracy(rows: Records, reading: str = "frozen") -> str:
    """Mean test accuracy over the seeds, per cent."""
    return percent(r[f"test_{reading}"] for r in rows)


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation, per cent."""
    found = [100 * v for v in values]
    return f"{mean(found):.1f} ± {stdev(found):.1f}"

"""The table of ``rates.json``: how far apart the best learning rates of unlike networks are, and what one rate for all of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

__all__ = ["best_rate", "common", "rates"]

#: Reading of a rate -> the cells' rule, and what it is.  A scale for each network needs no training of its own: its rates are shifted.
READINGS = {
    "equal": ("equal", "one rate for all arrays"),
    "structured": ("structured", "1 / fan-in, the mean kept"),
    "scaled": ("structured", "1 / fan-in, that of the dense layer being 1"),
    "sized": (
        "structured, with its starts",
        '1 / fan-in, the mean kept; starts as in that paper (`rates="structured"`)',
    ),
    "paper": ("structured, with its starts", "1 / fan-in, that of the dense layer being 1; starts as in that paper"),
}
_STARTS = {"fit": "from the approximation", "random": "from a random start"}


def best_rate(rates: Sequence[float], scores: Sequence[float]) -> float:
    """Log10 of the rate with the best score, of a parabola through it and its neighbours; at an edge, the edge.

    >>> round(best_rate([0.01, 0.1, 1.0], [0.8, 0.9, 0.8]), 6)
    -1.0
    """
    x = [log10(rate) for rate in rates]
    k = max(range(len(x)), key=lambda k: scores[k])
    if not 0 < k < len(x) - 1:
        return x[k]
    left, top, right = scores[k - 1 : k + 2]
    below = (top - left) / (x[k] - x[k - 1]), (top - right) / (x[k + 1] - x[k])
    if sum(below) <= 0:  # as good as its neighbours
        return x[k]
    turn = (below[0] * (x[k] + x[k + 1]) + below[1] * (x[k - 1] + x[k])) / (2 * sum(below))
    return turn


def common(grids: Sequence[Sequence[float]], curves: Sequence[Sequence[float]]) -> tuple[float, list[float]]:
    """The log10 rate that is best for all curves together, each over its own grid of log10 rates, and what each loses at it.

    Between the rates of a grid a curve is straight; beyond its ends it keeps its last value.
    """
    points = sorted({x for grid in grids for x in grid})
    at = {x: [_at(x, grid, curve) for grid, curve in zip(grids, curves, strict=True)] for x in points}
    chosen = max(points, key=lambda x: mean(at[x]))
    return chosen, [max(curve) - now for curve, now in zip(curves, at[chosen], strict=True)]


def _at(x: float, grid: Sequence[float], curve: Sequence[float]) -> float:
    if x <= grid[0]:
        return curve[0]
    for a, b, low, high in zip(grid, grid[1:], curve, curve[1:], strict=False):
        if x <= b:
            return low + (high - low) * (x - a) / (b - a)
    return curve[-1]


def _curve(cell: dict[str, Any], start: str) -> list[float]:
    """The mean score over seeds, a rate each."""
    place = cell["starts"].index(start)
    return [mean(each[place]) for each in cell["score"]]


def _line(found: dict[str, Any], start: str, reading: str) -> tuple[str, ...]:
    """One row: of one start and one reading of the rate."""
    rates, (rule, what) = found["rates"], READINGS[reading]
    cells = [c for c in found["cells"] if c["rule"] == rule]
    shifts = [log10(c["mean_factor"]) if reading in ("scaled", "paper") else 0.0 for c in cells]
    curves = [_curve(c, start) for c in cells]
    best = [best_rate(rates, curve) - shift for curve, shift in zip(curves, shifts, strict=True)]
    chosen, lost = common([[log10(r) - shift for r in rates] for shift in shifts], curves)
    return (
        _STARTS[start], what, f"{10 ** mean(best):.2g}", f"{stdev(best):.2f}", f"{max(best) - min(best):.2f}",
        f"{100 * mean(map(max, curves)):.1f}", f"{10**chosen:.2g}", f"{100 * mean(lost):.2f}", f"{100 * max(lost):.2f}",
    )  # fmt: skip


def complete(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of networks that were trained by every rule, so that all rows are of the same ones."""
    rules: dict[tuple[Any, ...], set[str]] = {}
    for c in cells:
        rules.setdefault(_network(c), set()).add(c["rule"])
    whole = [c for c in cells if rules[_network(c)] == {rule for rule, _ in READINGS.values()}]
    found = {
        (c["place"], c["family"], c["num_params"], c["rule"]): c for c in reversed(whole)
    }  # one smallest network, asked for twice
    return list(reversed(found.values()))


def _network(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["place"], cell["budget"], cell["family"]


def rates(found: dict[str, Any]) -> str:
    """The section of the page."""
    cells = complete(found["cells"])
    starts, found = cells[0]["starts"], {**found, "cells": cells}
    networks = len({_network(c) for c in cells})
    body = [_line(found, start, reading) for start in starts for reading in READINGS]
    header = [
        "start", "rates of a network's arrays", "best rate, mean", "its spread, decades", "its range", "accuracy at its own", "one rate for all",
        "lost by it, mean", "lost, most",
    ]  # fmt: skip
    table = tabulate(body, header, tablefmt="github", disable_numparse=True)
    places = ", ".join(dict.fromkeys(f"{c['place']} ({c['budget']} parameters)" for c in cells))
    families = ", ".join(f"`{name}`" for name in dict.fromkeys(c["family"] for c in cells))
    fit, steps = found["steps"][1:]
    counts = [c["num_params"] for c in cells]
    return f"""## Learning rates by structure

Does a rate by fan-in ([Compute Better Spent](https://arxiv.org/abs/2406.06248)) bring the best rates of unlike networks together? Layers: {places}.
{networks} networks of {families}, each as near the budget as it comes ({min(counts)} to {max(counts)} parameters). Seven rates from {found["rates"][0]:g} to {found["rates"][-1]:g}
are trained for {steps} steps, after {fit} of approximation or from a random start, on {found["seeds"]} seeds, the other layers frozen. Accuracies and what is lost are
per cent and points of validation images: nothing here was chosen on others, and no network is compared with another. A spread is the standard deviation over networks and
layers of log10 of the best rate, by a parabola through it and its neighbours. What one rate for all loses is counted from each network's best of the seven.
Our arrays start as large as each other; a start and a rate that are scaled together change nothing under Adam, so the paper's starts and rates are
the rule of `compare(rates="structured")`.

{table}
"""

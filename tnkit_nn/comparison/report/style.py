"""What all plots of a comparison share: a family's colour, the controls' dashes, the axis of the metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tnkit_nn.comparison.measure import Measure

__all__ = ["COLOURS", "DASHES", "colours_of", "cost_axis", "score_axis"]

COLOURS = {
    "adtn depth 1": "#9ecae1", "adtn depth 2": "#4292c6", "adtn depth 3": "#08519c", "mpo": "#d94801", "tt": "#fd8d3c",
    "tucker": "#238b45", "cp": "#74c476", "ring": "#a63603", "low_rank": "#7a5195", "hashed": "#636363", "subspace": "#bdbdbd",
    "circuit depth 2": "#fa9fb5", "circuit depth 3": "#dd3497", "circuit depth 4": "#ae017e", "circuit depth 5": "#49006a",
    "tree": "#17becf", "augmented_tree": "#0b6e7a", "mera": "#8dd3c7", "kronecker": "#bcbd22", "lokr": "#7f7f00", "monarch": "#8c6d31",
    "butterfly": "#000000", "btt": "#e7ba52", "block_term": "#00441b",
}  # fmt: skip
#: Of further depths, of activated families and of networks of one's own, in turn.
FURTHER = ("#e41a1c", "#00c46a", "#c5b0d5", "#1b1bff", "#ff9896", "#525200", "#9467bd", "#b8a9c9", "#ff00ff", "#5f9ea0")
#: Of the controls' lines, in their order.
DASHES = ((8, 2), (4, 2), (1, 1), (1, 3), (6, 2, 1, 2), (6, 2, 1, 1, 1, 2), (2, 4))


def colours_of(labels: Iterable[str]) -> dict[str, str]:
    """Label -> colour: a family has the same one in every plot."""
    others = [label for label in dict.fromkeys(labels) if label not in COLOURS]
    return COLOURS | {label: FURTHER[k % len(FURTHER)] for k, label in enumerate(others)}


def cost_axis(axis: Any) -> None:
    """A logarithmic axis of costs, with plain numbers at 1, 2, 5 of each decade where it spans few."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    if high < 100 * low:
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def score_axis(axis: Any, measure: Measure) -> None:
    """The axis of the metric; that of fractions of which more is better is stretched towards 100 %, where the differences are."""
    label = f"test {measure.name}{measure.of_unit}"
    if measure.percent and measure.larger:
        axis.set_yscale("function", functions=(lambda a: -np.log10(102 - np.minimum(a, 101)), lambda y: 102 - 10.0**-y))
        axis.set_yticks([10, 50, 70, 80, 90, 95, 98, 100])
        label += " (axis stretched near 100)"
    axis.set_ylabel(label + measure.direction)

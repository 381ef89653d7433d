"""Learning rates by structure: every array of a network has a rate of its own, by the matrix that it is on the way through the network.

The rule for structured layers of "Compute better spent" (arXiv 2406.06248): a matrix of ``ins`` inputs and ``outs`` outputs inside a
layer starts with the standard deviation ``sqrt(min(ins, outs)) / ins``, and Adam's rate is in proportion to ``1 / ins``.  Our arrays
start as large as each other.  Under Adam a start and a rate that are scaled together change nothing, so the same rule is here a rate
in proportion to ``1 / sqrt(min(ins, outs))``.

A network has no order of its own, so the way from the column digits to the row digits gives one: an array is a matrix from what comes
from the columns' side to what goes to the rows' side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import exp, log, prod

import tnkit as tk
from tnkit.core.shapes import split_axes
from tnkit_nn.adapter.crossover import exact_split

__all__ = ["RULES", "fan_ins", "fan_outs", "rate_factors", "rates_by_name"]

#: How the learning rates of a network's arrays are chosen: one for all of them, or by structure.
RULES = ("equal", "structured")


def rate_factors(net: tk.Network, shape: Sequence[int]) -> dict[str, float]:
    """Array name -> what a learning rate is multiplied by: ``1 / sqrt(min(ins, outs))``, divided by the geometric mean over the arrays.

    So the mean rate is the one that was asked for, and only differences between arrays come from here: a network of one array has 1,
    and so have both factors of a low-rank matrix, each of which has the rank on its smaller side.

    >>> {name: round(x, 6) for name, x in rate_factors(tk.tucker((120, 400), (4, 16)), (120, 400)).items()}
    {'core': 1.259921, 'factor_0': 1.259921, 'factor_1': 0.629961}
    """
    ins, outs = fan_ins(net, shape), fan_outs(net, shape)
    logs = {name: -log(min(fan, outs[name])) / 2 for name, fan in ins.items()}
    mean = sum(logs.values()) / max(len(logs), 1)
    return {name: exp(x - mean) for name, x in logs.items()}


def rates_by_name(nets: Mapping[str, tk.Network], shapes: Mapping[str, Sequence[int]], rule: str) -> dict[str, float]:
    """``weight name/array name`` -> the factor, of several weights; none of equal rates."""
    if rule == "equal":
        return {}
    return {f"{w}/{name}": x for w, net in nets.items() for name, x in rate_factors(net, shapes[w]).items()}


def fan_ins(net: tk.Network, shape: Sequence[int]) -> dict[str, float]:
    """Trained array -> how many entries an entry of its result sums over, on the way from the columns to the rows.

    An array takes in its column digits, and the bonds that it shares with arrays nearer to the columns.  What another array still
    nearer to the rows shares too is passed on to that one.  A bond between arrays that are as near counts as the square root of its
    size, the geometric mean of both directions; an array in several places as the geometric mean of these.  Activations change no
    direction.  Where no split of the network's digits makes the weight's rows and columns, nothing has one, and all are 1.

    Parameters
    ----------
    net
        A network whose tensor reads as the weight.
    shape
        The weight's: rows first, all else columns.
    """
    k = _rows(net, shape)
    return _fans(net, set(net.output[k:] if k else ()))


def fan_outs(net: tk.Network, shape: Sequence[int]) -> dict[str, float]:
    """The same on the way back: of a matrix between columns and rows, its outputs."""
    k = _rows(net, shape)
    return _fans(net, set(net.output[:k] if k else ()))


def _fans(net: tk.Network, columns: set[str]) -> dict[str, float]:
    """Trained array -> the entries that it sums over on the way from these open indices to the others."""
    rows, leaves = set(net.output) - columns, net.leaves
    if not columns or not rows:
        return dict.fromkeys(net.parameters, 1.0)
    sides = (_distances(net, columns), _distances(net, rows))
    places = [a - b for a, b in zip(*sides, strict=True)]
    holders: dict[str, list[int]] = {}
    for number, leaf in enumerate(leaves):
        for i in set(leaf.inds):
            holders.setdefault(i, []).append(number)
    sizes = _sizes(net)
    found: dict[str, list[float]] = {name: [] for name in net.parameters}
    for number, leaf in enumerate(leaves):
        if leaf.array in found:
            share = {
                i: _share([places[h] for h in holders[i] if h != number], places[number], i in columns, i in net.output)
                for i in set(leaf.inds)
            }
            found[leaf.array].append(sum(part * log(sizes[i]) for i, part in share.items()))
    return {name: exp(sum(logs) / len(logs)) for name, logs in found.items()}


def _share(others: Sequence[int], mine: int, column: bool, open_: bool) -> float:
    """What power of an index's size an array sums over: 1, 0, or a half where it has no direction."""
    if (open_ and not column) or max(others, default=mine) > mine:
        return 0.0
    if open_ or not others or min(others) < mine:
        return 1.0
    return 0.5


def _rows(net: tk.Network, shape: Sequence[int]) -> int | None:
    """How many of the network's digits are the weight's rows; None where no number is."""
    if prod(net.shape) == prod(shape):
        return exact_split(net, shape[0], prod(shape[1:]))
    for sizes in (shape, (shape[0], prod(shape[1:]))):
        with suppress(ValueError):
            return len(split_axes(net.shape, sizes)[0])
    return None


def _distances(net: tk.Network, open_inds: set[str]) -> list[int]:
    """Of every leaf, the number of bonds to the nearest one that has such an index to itself; 0 where none is to be reached."""
    leaves, holders = net.leaves, dict[str, list[int]]()
    for number, leaf in enumerate(leaves):
        for i in leaf.inds:
            holders.setdefault(i, []).append(number)
    alone = [holders[i] for i in open_inds if len(holders.get(i, ())) == 1]
    start = {number for each in alone or [holders.get(i, []) for i in open_inds] for number in each}
    found, todo = dict.fromkeys(start, 0), deque(sorted(start))
    while todo:
        now = todo.popleft()
        for i in leaves[now].inds:
            for other in holders[i]:
                if other not in found:
                    found[other] = found[now] + 1
                    todo.append(other)
    return [found.get(number, 0) for number in range(len(leaves))]


def _sizes(net: tk.Network) -> dict[str, int]:
    """Index -> size, at every depth."""
    return {i: n for region in net.regions() for i, n in region.sizes.items()}

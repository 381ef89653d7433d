"""What the viewer's page is told: a network's nodes and where they stand, and the steps of its orders, as plain values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, prod, sqrt
from sys import float_info
from typing import Any

from tnkit.core.network import Network, levels
from tnkit.core.node import Node
from tnkit.core.numbers import as_float
from tnkit.core.wording import count_text
from tnkit.drawing.boxes import boxes_of
from tnkit.drawing.placement import placed_of
from tnkit.drawing.wires import wires_of
from tnkit.planning.plan import Plan
from tnkit.planning.timeline import TimelineStep

__all__ = ["Order", "network_data"]

#: From so many nodes on, a network is placed in rows: a search for places would take minutes.
_ROWS = 250
#: Up to so many nodes readers choose pairs themselves.
_GAME = 150
#: A picture so much wider than high is folded into rows.
_LONG = 22
_POWERS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Order:
    """A plan, its name and a few words about it."""

    name: str
    about: str
    plan: Plan


def network_data(net: Network, orders: Sequence[Order], key: str) -> dict[str, Any]:
    """One network and its orders, for the page's script.

    Indices are numbers, places in ``indices`` and ``sizes``; so are slots, the nodes first, then one a step.  A node is its
    name, its label, its indices, its place, its region, and where its open legs point.
    """
    sizes = {i: n for level in levels(net) for i, n in level.sizes.items()}
    number = {i: k for k, i in enumerate(sizes)}
    regions, homes = _regions(net, number)
    at, aims, boxes = _places(net)
    itemsize = orders[0].plan.itemsize
    labels = _labels([leaf.name for leaf in net.leaves])
    nodes = [
        [
            leaf.name,
            labels[leaf.name],
            [number[i] for i in leaf.inds],
            at[leaf.name],
            homes[leaf.name],
            *aims.get(leaf.name, ()),
        ]
        for leaf in net.leaves
    ]
    slots = {leaf.name: k for k, leaf in enumerate(net.leaves)}
    made = [_order_data(order, slots, number) for order in orders]
    return {
        "key": key,
        "title": f"{len(net.leaves):,} nodes, {_shape(net.shape)}",
        "about": _about(net),
        "indices": list(sizes),
        "sizes": list(sizes.values()),
        "output": [number[i] for i in net.output],
        "itemsize": _figure(itemsize),
        "given": _figure(sum(map(prod, net.array_shapes.values())) * itemsize),
        "game": net.multilinear and 2 < len(nodes) <= _GAME and any(not drawn["sliced"] for drawn in made),
        "regions": regions,
        "boxes": boxes,
        "nodes": nodes,
        "orders": made,
    }


def _about(net: Network) -> str:
    kind = (
        ""
        if net.multilinear
        else " Brackets are barriers: what is between them becomes one tensor before the function is applied."
    )
    return f"{len(net.leaves):,} nodes, {count_text(net.num_params, ',')} parameters, result {_shape(net.shape)}.{kind}"


def _shape(shape: tuple[int, ...]) -> str:
    """Sizes, equal neighbours as a power.

    >>> _shape((2, 2, 2, 5))
    '2³×5'
    """
    runs = [(n, len(list(equal))) for n, equal in groupby(shape)]
    powers = [f"{n}{str(k).translate(_POWERS) if k > 1 else ''}" for n, k in runs]
    more = f" ... ({len(shape)} axes)" if len(powers) > 8 else ""
    return ("×".join(powers[:8]) or "a number") + more


def _regions(net: Network, number: dict[str, int]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The multilinear pieces, outermost first, and the piece of each node."""
    found: list[dict[str, Any]] = [{"parent": -1, "barrier": "", "output": [number[i] for i in net.output]}]
    place = {id(net): 0}
    homes: dict[str, int] = {}
    for level in levels(net):
        for node in level.nodes:
            if isinstance(node, Node):
                homes[node.name] = place[id(level)]
                continue
            for body in node.bodies:
                place[id(body)] = len(found)
                output = [number[i] for i in body.output]
                found.append({"parent": place[id(level)], "barrier": node.name, "output": output})
    return found, homes


def _order_data(order: Order, slots: dict[str, int], number: dict[str, int]) -> dict[str, Any]:
    """An order's totals and its steps."""
    steps = order.plan.timeline
    known = slots | {step.name: len(slots) + k for k, step in enumerate(steps)}
    return {
        "name": order.name,
        "about": order.about,
        "flops": _figure(order.plan.flops),
        "peak": _figure(order.plan.peak),
        "widened": any(step.widened > 1 for step in steps),
        "sliced": any(step.sliced for step in steps),
        "steps": [_step_data(step, known, number) for step in steps],
    }


def _step_data(step: TimelineStep, known: dict[str, int], number: dict[str, int]) -> list[Any]:
    """Operands, indices of the result, FLOPs, bytes moved and alive; and what few steps have."""
    rare: dict[str, Any] = {
        "fn": step.function, "widened": step.widened if step.widened > 1 else 0, "group": step.group,
        "sliced": [number[i] for i in step.sliced], "times": step.times if step.times > 1 else 0,
    }  # fmt: skip
    rare = {name: value for name, value in rare.items() if value}
    data = [
        [known[name] for name in step.operands],
        [number[i] for i in step.result],
        _figure(step.flops),
        _figure(step.bytes_moved),
        _figure(step.live),
    ]
    return [*data, rare] if rare else data


def _figure(count: int) -> int | float:
    """A count as the page's script reads it, which has floats alone: at most the largest."""
    return count if count < 2**63 else min(as_float(count), float_info.max)


# -- places and labels ------------------------------------------------------------------------------------------------
def _places(net: Network) -> tuple[dict[str, list[float]], dict[str, list[float]], list[dict[str, Any]]]:
    """Where the nodes stand, where their open legs point, and the boxes of nonlinear nodes; down is positive, as on a page."""
    names = [leaf.name for leaf in net.leaves]
    if len(names) > _ROWS:
        return _rows(names), {}, []
    spots = placed_of(net, wires_of(net)).spots
    at = {name: spots[name][0] for name in names}
    xs, ys = [z.real for z in at.values()], [z.imag for z in at.values()]
    if net.multilinear and max(xs) - min(xs) > _LONG * max(max(ys) - min(ys), 1.0):
        return _rows(sorted(names, key=lambda name: at[name].real)), {}, []
    kept = set(net.output)
    aims = {
        leaf.name: [round(aim.real, 3), round(-aim.imag, 3)]
        for leaf in net.leaves
        if kept.intersection(leaf.inds) and (aim := spots[leaf.name][1])
    }
    boxes = [
        {"name": name, "fn": fn, "at": [round(x, 3) for x in (rim[0], -rim[3], rim[2], -rim[1])]}
        for name, fn, rim, _ in reversed(boxes_of(net, spots))
    ]
    return {name: [round(z.real, 3), round(-z.imag, 3)] for name, z in at.items()}, aims, boxes


def _rows(names: Sequence[str]) -> dict[str, list[float]]:
    """In rows from left to right and back, so that neighbours in the list are neighbours on the page."""
    columns = max(ceil(sqrt(1.7 * len(names))), 2)
    found = {}
    for k, name in enumerate(names):
        row, column = divmod(k, columns)
        found[name] = [float(columns - 1 - column if row % 2 else column), float(row)]
    return found


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Short names for circles: the name itself, or the numbers at its end, where they tell the nodes apart."""
    if all(len(name) <= 4 for name in names):
        return {name: name for name in names}
    short = {
        name: found[1].strip("_").replace("_", ",") + found[2]
        for name in names
        if (found := re.search(r"([\d_]*\d)(\W*)$", name))
    }
    counts = list(short.values())
    return {name: short[name] if name in short and counts.count(short[name]) == 1 else name for name in names}

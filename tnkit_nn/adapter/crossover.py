"""Which way to multiply by a weight that is a network, for how many rows: contracted with the input, or built first.

Every way is lowered, and its time predicted by the machine's rates (:mod:`tnkit.planning.calibration`): what every operation
computes, moves and copies, and what it takes to start it (:mod:`tnkit_nn.engine.launches`).  All is decided when a layer is made:
a call only compares its number of rows with the crossovers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import inf, prod
from typing import Generic, TypeVar

import torch

from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.shapes import split_axes
from tnkit.execution.codegen import source
from tnkit.paths.contraction_tree import linear_path
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.calibration import rates, spelled_seconds
from tnkit.planning.memory import layouts
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan
from tnkit.planning.steps import ContractStep
from tnkit.planning.strides import contiguous
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.engine.launches import (
    ADD,
    CAST,
    COPY,
    LAYER,
    LINEAR,
    MATCH,
    MODULE,
    RESHAPE,
    launches,
)

__all__ = [
    "WeightRoute",
    "crossovers",
    "described",
    "exact_split",
    "exporting",
    "input_routes",
    "kept_way",
    "matrix_split",
    "plan_seconds",
    "route_for",
    "way_flops",
    "weight_first",
    "with_input",
]  # fmt: skip

Path = tuple[tuple[int, ...], ...]
Way = TypeVar("Way")
Way_co = TypeVar("Way_co", covariant=True)

#: Whether ``torch.export`` is at work.  Torch before 2.12 says so within ``torch.compile`` too: there a typical number of rows decides.
exporting = torch.compiler.is_exporting

#: The crossover between ways is looked for up to this many rows.
MOST_ROWS = 2**20
#: Up to so many nodes, every division of them into runs is tried.
_FEW_NODES = 4
#: A matrix that is only read goes so many times as fast as a copy into fresh memory, of which the machine's rate is.
_READ = 3.0
#: Calls of :meth:`TNLinear.forward` around a plan: its input and its result reshaped, the bias added.
_JOINED = LAYER + 2 * RESHAPE + CAST + ADD
#: And around a weight that is built: a module called, its result reshaped and multiplied by.
_BUILT = LAYER + MODULE + RESHAPE + LINEAR


@dataclass(frozen=True)
class WeightRoute(Generic[Way_co]):
    """One way and its predicted seconds: ``one`` for a single row, else ``fixed + row * rows``.

    Without a plan the weight is built and multiplied by; a plan that takes the input last ``builds`` it too.
    """

    plan: Way_co | None
    builds: bool
    one: float
    fixed: float
    row: float

    def seconds(self, rows: int) -> float:
        """Predicted time of a forward for so many rows."""
        return self.one if rows == 1 else self.fixed + self.row * rows


def exact_split(net: Network, rows: int, cols: int) -> int | None:
    """How many output indices make up ``rows``, the others making up ``cols``; None where they do not factorise."""
    for k in range(len(net.shape) + 1):
        if prod(net.shape[:k]) == rows and prod(net.shape[k:]) == cols:
            return k
    return None


def matrix_split(net: Network, rows: int, cols: int) -> int | None:
    """The same, padding included: of a tensor larger than the matrix, whose axes are then cut.

    >>> exact_split(tk.mpo((8, 8), (4, 4), 2), 63, 16), matrix_split(tk.mpo((8, 8), (4, 4), 2), 63, 16)
    (None, 2)
    """
    if prod(net.shape) != rows * cols:
        return len(split_axes(net.shape, (rows, cols))[0])
    return exact_split(net, rows, cols)


def input_routes(
    net: Network, ins: tuple[str, ...], batch: int, optimizer: str | Optimizer, itemsize: int
) -> tuple[str, tuple[int, ...], list[WeightRoute[Plan]]]:
    """What the input is called among the arrays, its sizes there, and the ways to contract the network with it."""
    taken = names_in(net)
    x, b = free_name("x", taken), free_name("b", taken)
    return x, tuple(net.sizes[i] for i in ins), with_input(net, ins, x, b, batch, optimizer, itemsize)


def with_input(
    net: Network, ins: tuple[str, ...], x: str, b: str, batch: int, optimizer: str | Optimizer, itemsize: int
) -> list[WeightRoute[Plan]]:
    """Ways with the input in the network, as node ``x`` with batch index ``b``.

    Two searches, for a single row and for ``batch``; with ``auto``, the sweeps of the input over the nodes beside them.  All
    are lowered for both numbers of rows.
    """

    def with_rows(rows: int, how: str | Optimizer) -> Plan:
        sizes = {i: net.sizes[i] for i in ins}
        data = Network((Node(x, (b, *ins), fixed=True),), (b, *ins), {b: rows, **sizes})
        return plan(
            net.join(data, (b, *(i for i in net.output if i not in ins)), on=ins), how, itemsize=itemsize, dynamic=b
        )

    counts = tuple(dict.fromkeys((1, batch)))
    found = [with_rows(rows, optimizer) for rows in counts]
    orders = dict.fromkeys(way.paths[0] for way in found)
    if optimizer == "auto":
        orders |= dict.fromkeys(_sweeps(len(net.nodes)))
    found += [with_rows(rows, _fixed(order)) for order in orders for rows in counts]
    return [_predicted(way, x) for way in {source(way.program, TORCH): way for way in found}.values()]


def plan_seconds(way: Plan, itemsize: int, copied: int = 0) -> float:
    """Predicted time of a plan whose result is copied into another order, so many entries of it."""
    speed, last = rates(), way.steps[-1] if way.steps else None
    moved = way.bytes_moved // way.itemsize
    if not (isinstance(last, ContractStep) and last.result.permute is not None):
        copied = 0
    shapes = [(shape, contiguous(shape)) for shape in way.shapes]
    calls = launches(way.steps, layouts(shapes, way.steps)) + COPY * (copied > 0)
    return speed.seconds(way.flops, (moved + 2 * copied) * itemsize) + calls * speed.call


def weight_first(way: Plan, rows: int, cols: int, itemsize: int) -> WeightRoute[Plan]:
    """The weight built by ``way``, then multiplied by."""
    speed = rates()
    fixed = plan_seconds(way, itemsize, rows * cols) + speed.seconds(0, rows * cols * itemsize) + _BUILT * speed.call
    row = speed.seconds(2 * rows * cols, itemsize * (rows + cols))
    return WeightRoute(None, True, fixed + row, fixed, row)


def kept_way(built: WeightRoute[Way], net: Network, entries: int, itemsize: int, calls: float) -> WeightRoute[Way]:
    """The same with a weight that is there from the call before: its arrays are found to be the same, ``calls`` multiply."""
    speed, arrays = rates(), net.array_shapes.values()
    moved = entries / _READ + 2 * sum(map(prod, arrays))
    fixed = speed.seconds(0, moved * itemsize) + (LAYER + calls + MATCH * len(arrays)) * speed.call
    return WeightRoute(built.plan, True, fixed + built.row, fixed, built.row)


def route_for(routes: Sequence[tuple[int, Way | None]], rows: int, typical: int) -> Way | None:
    """The way below whose crossover so many rows are; None, which builds the weight, for no rows."""
    if exporting():  # one graph for every batch: to compare rows would bound them
        rows = typical
    if rows == 0:  # torch cannot infer a size from an empty tensor
        return None
    for below, way in routes:
        if rows < below:
            return way
    return routes[-1][1]


def crossovers(ways: Sequence[WeightRoute[Way]]) -> tuple[tuple[int, Way | None], ...]:
    """The fastest for every power of two of rows, equal neighbours merged: ``(below, plan)``, None where it is built."""
    spans: list[tuple[int, Way | None]] = []
    rows = 1
    while rows <= MOST_ROWS:
        best = min(ways, key=lambda way, rows=rows: way.seconds(rows)).plan  # type: ignore[misc]
        if spans and spans[-1][1] is best:
            spans.pop()
        spans.append((2 * rows, best))
        rows *= 2
    return tuple(spans)


def described(
    routes: Sequence[tuple[int, Way | None]], ways: Sequence[WeightRoute[Way]], typical: int, what: str = "batch"
) -> Iterable[str]:
    """A line a kind and span: which, and the predicted times of it and of the best of the other kind."""
    names = ("factorised", "reconstructed")
    builds = [next(w.builds for w in ways if w.plan is chosen) for _, chosen in routes]
    start = 1
    for k, (below, _) in enumerate(routes):
        last = k == len(routes) - 1
        if not last and builds[k] == builds[k + 1]:
            continue  # the same kind in another order
        at = typical if start <= typical and (last or typical < below) else start
        took = [min((w.seconds(at) for w in ways if w.builds == kind), default=inf) for kind in (False, True)]
        mine, other = builds[k], not builds[k]
        span = f"{start} and up" if last else f"{start} to {below - 1}" if below > start + 1 else f"{start}"
        line = f"{what} {span}: {names[mine]}, predicted {spelled_seconds(took[mine])}"
        line += f"; {names[other]} {spelled_seconds(took[other])}" if took[other] < inf else ""
        yield line if span == str(at) else f"{line} (at {at})"
        start = below


def _sweeps(n: int) -> Iterable[Path]:
    """Orders in which the input takes ``n`` nodes from either end: in runs, each fused before it is taken."""
    for cuts in _compositions(n):
        runs = [range(a, b) for a, b in zip((0, *cuts), (*cuts, n), strict=True)]
        for taken in (runs, runs[::-1]):
            steps: list[tuple[int, int]] = []
            merge = _merger(steps, n + 1)
            reduce(merge, [n, *(reduce(merge, run) for run in taken)])
            yield tuple(linear_path(steps, n + 1))


def _compositions(n: int) -> Iterable[tuple[int, ...]]:
    """Where runs begin: anywhere among a few nodes, else runs of one, of two, and two halves."""
    if n <= _FEW_NODES:
        return [cuts for k in range(1, n) for cuts in combinations(range(1, n), k)]
    return [tuple(range(size, n, size)) for size in (1, 2, (n + 1) // 2)]


def _merger(steps: list[tuple[int, int]], n: int) -> Callable[[int, int], int]:
    def merge(a: int, c: int) -> int:
        steps.append((a, c))
        return n + len(steps) - 1

    return merge


def _fixed(order: Path) -> Optimizer:
    """An optimiser that gives this order, whatever the sizes."""

    def given(inputs: object, output: object, sizes: object, memory_limit: object = None) -> list[tuple[int, ...]]:
        return list(order)

    return given


def _predicted(way: Plan, x: str) -> WeightRoute[Plan]:
    """The time of a plan by its number of rows: what descends from the input grows with them."""
    one = sum(_seconds(way, x, 1))
    fixed, two = _seconds(way, x, 2)  # a single row's axis stands in no one's way: it may copy less
    return WeightRoute(way, _builds(way, x), one, fixed, two / 2)


def _builds(way: Plan, x: str) -> bool:
    """Whether the input is taken last, when the others are one tensor."""
    first = next(k for k, step in enumerate(way.steps) if way.inputs.index(x) in step.operands)
    return first == len(way.steps) - 1 and first > 0


def way_flops(way: Plan, x: str, rows: int) -> tuple[int, bool]:
    """Floating-point operations of a plan for so many rows of its input ``x``, and whether it builds the weight for them."""
    planned, grows = _input_shapes(way)[x][0], _growing(way, x)
    return sum(s.flops * rows // planned if grows[s.target] else s.flops for s in way.steps), _builds(way, x)


def _growing(way: Plan, x: str) -> list[bool]:
    """Slot -> whether it descends from the input, and so grows with the number of rows."""
    grows = [name == x for name in way.inputs] + [False] * len(way.steps)
    for step in way.steps:
        grows[step.target] = any(grows[s] for s in step.operands)
    return grows


def _seconds(way: Plan, x: str, rows: int) -> tuple[float, float]:
    """Seconds for so many rows, of what is the same for any number and of what grows with it."""
    shapes = [(rows, *s[1:]) if name == x else s for name, s in _input_shapes(way).items()]
    scale = rows / _input_shapes(way)[x][0]
    grows = _growing(way, x)
    flops, moved = [0.0, 0.0], [0.0, 0.0]
    memory = layouts([(s, contiguous(s)) for s in shapes], way.steps)
    for step, copied in zip(way.steps, memory.copied, strict=True):
        live = grows[step.target]
        flops[live] += step.flops * (scale if live else 1)
        for slot in (*step.operands, step.target):
            moved[grows[slot]] += way.slot_sizes[slot] * (scale if grows[slot] else 1)
        for slot, entries in zip(step.operands, copied, strict=True):
            moved[grows[slot]] += 2 * entries
    fixed, growing = (way.rates.seconds(f, m * way.itemsize) for f, m in zip(flops, moved, strict=True))
    calls = launches(way.steps, memory) + _JOINED
    return fixed + calls * way.rates.call, growing


def _input_shapes(way: Plan) -> dict[str, tuple[int, ...]]:
    shapes = way.network.array_shapes
    return {name: shapes[name] for name in way.inputs}

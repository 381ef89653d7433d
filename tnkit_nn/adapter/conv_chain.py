"""A convolution by a network as a chain of small ones: each is built of a few nodes, and the cheapest chain is a shortest path.

>>> # TT over out | in | kernel:  in -> bonds (pointwise), kernel (one small convolution), bonds -> out (pointwise)

A state is the set of nodes that are applied by now; a step to a larger set applies the nodes between them to the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import Tensor

from tnkit.core.network import Network
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.calibration import Rates, rates
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan
from tnkit_nn.adapter.conv_reading import ConvReading, free_inds
from tnkit_nn.adapter.crossover import MOST_ROWS, WeightRoute, plan_seconds
from tnkit_nn.engine.backend import TORCH, ready
from tnkit_nn.engine.launches import ADD, CONV, COPY, LAYER, MATMUL, PERMUTE, RESHAPE
from tnkit_nn.engine.shared_matmul import broadcast_matmul

__all__ = ["ConvChain", "Slide", "chains", "conv_row_seconds"]

Inds = tuple[str, ...]

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
#: Seconds of a convolution with a kernel over those of a product of matrices with as many operations, its channels in runs of
#: ``_VECTOR``, and with as many bytes, which are put into blocks and back; and of one channel by itself.  Measured with oneDNN
#: in float32, 1 to 256 channels: mostly within a factor of 2.
_SPATIAL, _VECTOR, _BLOCKED, _DEPTHWISE = 2.5, 8, 8.0, 8.0


@dataclass(frozen=True)
class Slide:
    """How a kernel goes over the input: per axis of space its stride, the zeros on either side, and its dilation."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True)
class _Order:
    """Channel axes of these sizes, put at other places."""

    sizes: tuple[int, ...]
    places: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """``(batch, channels, *space)`` with the channels in the new order."""
        batch, channels, *space = x.shape
        x = x.reshape(batch, *self.sizes, *space)
        x = x.permute(0, *self.places, *range(1 + len(self.sizes), x.dim()))
        return x.reshape(batch, channels, *space)


@dataclass(frozen=True)
class _Stage:
    """One convolution: the plan of its weight, the order of channels that it needs, and its sizes.

    ``passed`` channels are left alone, ``groups`` are on both and stay, ``made`` are new, ``taken`` are summed.  The ``axes`` of
    space are those whose kernel it has.
    """

    plan: Plan
    order: _Order | None
    passed: int
    groups: int
    made: int
    taken: int
    axes: tuple[int, ...]
    kernel: tuple[int, ...]

    def __call__(self, arrays: Mapping[str, Tensor], x: Tensor, slide: Slide) -> Tensor:
        """The input, ``(batch, channels, *space)``, with the stage's nodes applied."""
        x = x if self.order is None else self.order(x)
        batch, space = x.shape[0], x.shape[2:]
        weight = run(self.plan, arrays, TORCH)
        if not self.axes and self.groups == 1:
            weight = weight.reshape(self.made, self.taken)
            y = broadcast_matmul(weight, x.reshape(batch * self.passed, self.taken, prod(space)))
            return y.reshape(batch, self.passed * self.made, *space)
        here = [k in self.axes for k in range(len(space))]
        stride = [s if h else 1 for s, h in zip(slide.stride, here, strict=True)]
        padding = [p if h else 0 for p, h in zip(slide.padding, here, strict=True)]
        weight = weight.reshape(self.groups * self.made, self.taken, *self.kernel)
        x = x.reshape(batch * self.passed, self.groups * self.taken, *space)
        y = CONVOLUTIONS[len(space)](x, weight, None, stride, padding, slide.dilation, self.groups)
        return y.reshape(batch, self.passed * self.groups * self.made, *y.shape[2:])

    def flops(self, positions: int) -> int:
        """Floating-point operations: of its weight, and of so many positions of its result."""
        one = 2 * self.passed * self.groups * self.made * self.taken * prod(self.kernel)
        return self.plan.flops + one * positions


@dataclass(frozen=True, eq=False)
class ConvChain:
    """Stages, and the order of the result's channels."""

    stages: tuple[_Stage, ...]
    order: _Order | None

    def __deepcopy__(self, memo: object) -> ConvChain:
        """Itself: a value."""
        return self

    def __call__(self, arrays: Mapping[str, Tensor], x: Tensor, slide: Slide) -> Tensor:
        """The convolution of ``(batch, channels, *space)``, padded where ``slide`` says so."""
        for stage in self.stages:
            x = stage(arrays, x, slide)
        return x if self.order is None else self.order(x)

    def flops(self, batch: int, before: Sequence[int], after: Sequence[int]) -> int:
        """Floating-point operations for a batch of inputs of these sizes in space, and of those of the result."""
        space, total = list(before), 0
        for stage in self.stages:
            space = [after[k] if k in stage.axes else n for k, n in enumerate(space)]
            total += stage.flops(batch * prod(space))
        return total


# -- what a chain costs ----------------------------------------------------------------------------------------------------
def conv_row_seconds(
    speed: Rates, itemsize: int, taken: int, made: int, groups: int, kernel: int, before: float, after: float
) -> float:
    """Seconds of a convolution a position: ``before`` and ``after`` are positions of its input and its result."""
    flops = 2.0 * groups * taken * made * kernel * after
    moved = itemsize * groups * (taken * before + made * after)
    if kernel == groups == 1:
        return speed.seconds(flops, moved)
    if taken == made == 1:
        return speed.seconds(_DEPTHWISE * flops, moved)
    return speed.seconds(_SPATIAL * flops * -(-made // _VECTOR) * _VECTOR / made, _BLOCKED * moved)


@dataclass(frozen=True)
class _Step:
    """A stage before its plan is made: what it does to the channel indices, and its predicted time."""

    units: int
    passed: Inds
    grouped: Inds
    made: Inds
    taken: Inds
    axes: tuple[int, ...]
    fixed: float
    row: float
    copied: float

    @property
    def before(self) -> Inds:
        """The order of the input's channel indices that it needs."""
        return (*self.passed, *self.grouped, *self.taken)

    @property
    def after(self) -> Inds:
        """The order in which those of its result come out."""
        return (*self.passed, *self.grouped, *self.made)


class _Search:
    """Chains of one reading: sets of units are bits of a number."""

    def __init__(self, reading: ConvReading, stride: Sequence[int], itemsize: int) -> None:
        self.reading, self.stride, self.itemsize, self.speed = reading, stride, itemsize, rates()
        net, self.all = reading.network, 2 ** len(reading.units) - 1
        kernel = {i for block, _ in reading.blocks for i in block}
        self.holders: dict[str, int] = {}
        for k, unit in enumerate(reading.units):
            inds = {i for name in unit for i in net[name].inds}
            if reading.channel and inds & {*reading.mixed}:
                inds.add(reading.channel)
            for i in inds - kernel:
                self.holders[i] = self.holders.get(i, 0) | 1 << k
        names = sorted(
            self.holders, key=[*net.sizes, reading.channel].index
        )  # a channel index stands before its kernel
        self.place = {i: k for k, i in enumerate(names)}
        self.step, self.joined = cache(self._step), cache(self._joined)

    def nodes(self, units: int) -> Inds:
        """Names of the nodes of a set."""
        return tuple(name for k, unit in enumerate(self.reading.units) if units >> k & 1 for name in unit)

    def axes(self, units: int) -> tuple[int, ...]:
        """The axes of space whose kernel a set has."""
        mine = {i for name in self.nodes(units) for i in self.reading.network[name].inds}
        return tuple(axis for inds, axes in self.reading.blocks if mine & {*inds} for axis in axes)

    def state(self, done: int) -> set[str]:
        """Channel indices when a set is applied: what came in or was made, and is still needed."""
        read = self.reading
        return {
            i for i, holders in self.holders.items()
            if (i in read.carried or holders & done) and (i in read.kept or holders & ~done & self.all)
        }  # fmt: skip

    def _step(self, done: int, units: int) -> _Step:
        read, before, after = self.reading, self.state(done), self.state(done | units)
        mine = {
            i for i, holders in self.holders.items()
            if holders & units and (i in read.carried or i in read.kept or holders & ~units & self.all)
        }  # fmt: skip
        passed, grouped, made, taken = (
            tuple(sorted(some, key=self.place.__getitem__))
            for some in (before - mine, before & mine & after, mine - before, (before & mine) - after)
        )
        axes = self.axes(units)
        sizes = [prod(read.sizes[i] for i in some) for some in (passed, grouped, made, taken)]
        kernel = prod(read.kernel[k] for k in axes)
        later = [k for k in range(len(self.stride)) if k not in self.axes(done)]
        wide = float(prod(self.stride[k] for k in later))
        narrow = float(prod(self.stride[k] for k in later if k not in axes))
        row = sizes[0] * conv_row_seconds(self.speed, self.itemsize, sizes[3], sizes[2], sizes[1], kernel, wide, narrow)
        calls = (CONV if axes or sizes[1] > 1 else MATMUL + RESHAPE) + 3 * RESHAPE
        fixed = self.joined(units) + calls * self.speed.call
        copied = self.speed.seconds(0, 2 * self.itemsize * wide * prod(read.sizes[i] for i in before))
        return _Step(units, passed, grouped, made, taken, axes, fixed, row, copied)

    def _joined(self, units: int) -> float:
        """Seconds to build the tensor of a set, a node after another."""
        nodes = self.nodes(units)
        net, seconds, inds = self.reading.network, 0.0, free_inds(self.reading.network, nodes[:1])
        for k in range(1, len(nodes)):
            new = free_inds(net, nodes[: k + 1])
            every = {*inds, *net[nodes[k]].inds}
            moved = sum(prod(net.sizes[i] for i in some) for some in (inds, net[nodes[k]].inds, new))
            flops = 2.0 * prod(net.sizes[i] for i in every)
            seconds += self.speed.seconds(flops, moved * self.itemsize) + (MATMUL + 2 * RESHAPE) * self.speed.call
            inds = new
        return seconds

    def shortest(self, positions: int) -> list[_Step]:
        """The chain of two stages or more that is cheapest for so many positions of the result."""
        best: dict[int, tuple[float, Inds, list[_Step]]] = {0: (0.0, self.reading.carried, [])}
        for done in range(self.all):
            if done not in best:
                continue
            spent, order, steps = best[done]
            left = self.all & ~done
            units = left if done else (left - 1) & left  # all at once is the weight, built
            while units:
                step = self.step(done, units)
                total = spent + step.fixed + step.row * positions
                if order != step.before:
                    total += (PERMUTE + COPY) * self.speed.call + step.copied * positions
                if done | units not in best or total < best[done | units][0]:
                    best[done | units] = (total, step.after, [*steps, step])
                units = (units - 1) & left
        return best[self.all][2]


def chains(
    reading: ConvReading, stride: Sequence[int], optimizer: str | Optimizer, itemsize: int
) -> list[WeightRoute[ConvChain]]:
    """The chains that are cheapest for some number of positions, each with its predicted time."""
    search, found = _Search(reading, stride, itemsize), dict[tuple[int, ...], list[_Step]]()
    positions = 1
    while positions <= MOST_ROWS:
        steps = search.shortest(positions)
        found[tuple(step.units for step in steps)] = steps
        positions *= 8
    return [_route(search, steps, optimizer) for steps in found.values()]


def _route(search: _Search, steps: Sequence[_Step], optimizer: str | Optimizer) -> WeightRoute[ConvChain]:
    """The chain of these steps, their weights planned."""
    read, state, stages = search.reading, search.reading.carried, []
    fixed, row = (LAYER + ADD) * search.speed.call, 0.0
    for step in steps:
        way = _weight_plan(search, step, optimizer)
        order = _ordered(read, state, step.before)
        passed, groups, made, taken = (
            prod(read.sizes[i] for i in some) for some in (step.passed, step.grouped, step.made, step.taken)
        )
        kernel = tuple(n if k in step.axes else 1 for k, n in enumerate(read.kernel))
        stages.append(_Stage(way, order, passed, groups, made, taken, step.axes, kernel))
        fixed += step.fixed - search.joined(step.units) + plan_seconds(way, search.itemsize)
        row += step.row
        if order is not None:
            fixed, row = fixed + (PERMUTE + COPY) * search.speed.call, row + step.copied
        state = step.after
    chain = ConvChain(tuple(stages), _ordered(read, state, read.kept))
    return WeightRoute(chain, False, fixed + row, fixed, row)


def _ordered(read: ConvReading, before: Inds, after: Inds) -> _Order | None:
    """What brings channel indices into an order that they do not have."""
    if before == after:
        return None
    return _Order(tuple(read.sizes[i] for i in before), tuple(1 + before.index(i) for i in after))


def _weight_plan(search: _Search, step: _Step, optimizer: str | Optimizer) -> Plan:
    """The plan that builds a stage's weight: groups, new channels, old channels, kernel."""
    read = search.reading
    names = search.nodes(step.units)
    nodes = tuple(read.network[name] for name in names)
    mine = {i for node in nodes for i in node.inds}
    kernel = tuple(i for inds, _ in read.blocks if mine & {*inds} for i in inds)
    taken = tuple(i for i in step.taken if i != read.channel)
    sizes = {i: read.network.sizes[i] for i in read.network.sizes if i in mine}
    net = Network(nodes, (*step.grouped, *step.made, *taken, *kernel), sizes)
    return ready(plan(net, optimizer, itemsize=search.itemsize))

"""From a network to steps: every region's order found and lowered, the inner regions first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from tnkit.core.network import Elementwise, Network, inside_out
from tnkit.core.node import Node
from tnkit.core.numbers import as_float
from tnkit.core.spelling import function_name
from tnkit.paths.optimizers import Optimizer, Path, find_order, find_path
from tnkit.planning.calibration import Rates
from tnkit.planning.fusion import Made
from tnkit.planning.lowering import lower_pair, lower_single
from tnkit.planning.memory import layouts
from tnkit.planning.steps import ApplyStep, Step
from tnkit.planning.strides import contiguous
from tnkit.planning.windows import intervals, large_term, places, windows

__all__ = ["StepBuilder"]

Inds = tuple[str, ...]
Orders = dict[int, Inds]

#: From so many entries on, a result is worth looking at more orders than the optimizer's own.
_WORTH_ORDERS = 2**10
#: And from so many seconds on, as the optimizer's own is lowered.
_WORTH_SECONDS = 5e-5


class StepBuilder:
    """Slots and steps of the plan under construction."""

    def __init__(
        self, net: Network, optimizer: str | Optimizer, itemsize: int, dynamic: str | None, speed: Rates,
        given: Iterable[Path] | None = None,
    ) -> None:  # fmt: skip
        self.given = None if given is None else iter(given)  # a path a region, instead of a search
        self.inputs = tuple(dict.fromkeys(leaf.array for leaf in net.leaves))
        self.slots = {name: k for k, name in enumerate(self.inputs)}
        self.steps: list[Step] = []
        self.made: list[Made] = []
        self.paths: list[tuple[tuple[int, ...], ...]] = []
        self.optimizer, self.itemsize, self.dynamic, self.rates = optimizer, itemsize, dynamic, speed
        self.asked: Inds = ()  # indices that the optimizer slices
        self.leftwards = False  # the next sweep of windows starts where the last one ended

    @property
    def next_slot(self) -> int:
        """Where the next step writes."""
        return len(self.inputs) + len(self.steps)

    def add(self, step: Step, made: Made) -> int:
        """Append a step; its slot."""
        self.steps.append(step)
        self.made.append(made)
        return step.target

    def contract(self, net: Network, order: Inds) -> int:
        """Steps for ``net`` and all inside it, its result's axes in ``order``; returns the slot."""
        parts = inside_out(net)
        orders = {id(body): part.inds for part in parts if isinstance(part, Elementwise) for body in part.bodies}
        orders[id(net)] = order
        slots: dict[int, int] = {}  # of the parts whose result nothing has read yet; names are unique, and so are parts
        for part in parts:
            if isinstance(part, Elementwise):
                slots[id(part)] = self.apply(part, tuple(slots.pop(id(body)) for body in part.bodies))
            else:
                terms = [(self.slots[n.array] if isinstance(n, Node) else slots.pop(id(n)), n.inds) for n in part.nodes]
                slots[id(part)] = self.region(part, terms, orders[id(part)])
        return slots[id(net)]

    def region(self, net: Network, terms: list[tuple[int, Inds]], order: Inds) -> int:
        """Steps for one multilinear piece whose terms stand in slots; returns the slot."""
        count = _carriers([inds for _, inds in terms], net.output)
        terms = [self.single(slot, inds, count, net) for slot, inds in terms]
        path, begin = self.first_path(terms, net), len(self.steps)
        slot, last = self.follow(path, terms, net, order, {}, {})
        if self.dynamic is not None or self.takes_long(begin):  # then axes are put where they cost least
            del self.steps[begin:], self.made[begin:]
            rank = places([inds for _, inds in terms], order, net.sizes)
            path, orders = self.best(path, terms, net, order, rank)
            slot, last = self.follow(path, terms, net, order, rank, orders)
        self.paths.append(tuple(path) or ((0,),))
        if last != order:  # one node alone
            step, _ = lower_single(last, order, net.sizes, slot, self.next_slot)
            slot = self.add(step, Made(net.sizes, (last,), order))
        return slot

    def first_path(self, terms: list[tuple[int, Inds]], net: Network) -> Path:
        """The path that is given, or the optimizer's; a quick one where a state makes windows likely."""
        if self.given is not None:
            path = list(next(self.given))
            return path if len(terms) > 1 else []
        inds = [t for _, t in terms]
        if not isinstance(self.optimizer, str):
            path, sliced = find_order(inds, net.output, net.sizes, self.optimizer)
            self.asked += sliced
            return path
        windowed = self.searched(terms) and large_term(inds, net.sizes) is not None
        return find_path(inds, net.output, net.sizes, "greedy" if windowed else self.optimizer)

    def searched(self, terms: Sequence[object]) -> bool:
        """Whether other orders than the first one are looked for."""
        return self.given is None and self.optimizer == "auto" and len(terms) > 2

    def takes_long(self, begin: int) -> bool:
        """Whether the steps from one on take so long that more orders are worth a look."""
        steps = self.steps[begin:]
        moved = self.itemsize * sum([step.read + step.size for step in steps])
        flops = sum([step.flops for step in steps])
        return moved > _WORTH_SECONDS * self.rates.bytes or flops > _WORTH_SECONDS * self.rates.flops

    def best(
        self, path: Path, terms: list[tuple[int, Inds]], net: Network, order: Inds, rank: dict[str, float]
    ) -> tuple[Path, Orders]:
        """The path; with ``auto``, the cheapest of it and of those that follow the axes of the result.

        With it, the order of the axes of those results where it is not that of their places.
        """
        inds = [t for _, t in terms]
        if not self.searched(terms) or _largest(inds, order, net) < _WORTH_ORDERS:
            return path, {}
        state = large_term(inds, net.sizes) is not None
        sweep = windows(inds, order, net.sizes, self.leftwards) if state else None
        if state and sweep is None:  # a long search pays where nothing is known of the network's shape
            path = find_path(inds, net.output, net.sizes, "auto")
        other = intervals(inds, order, net.sizes) if sweep is None else None
        others: list[tuple[Path, Orders]] = [(p, {}) for p in (path, other) if p is not None]
        best = min([*others, *([] if sweep is None else [sweep])], key=lambda p: self.cost(p, terms, net, order, rank))
        if best is sweep:
            self.leftwards = not self.leftwards
        return best

    def cost(
        self,
        found: tuple[Path, Orders],
        terms: list[tuple[int, Inds]],
        net: Network,
        order: Inds,
        rank: dict[str, float],
    ) -> float:
        """Seconds of a path as lowered: its copies count, and what they and the steps move."""
        trial = StepBuilder.__new__(StepBuilder)
        trial.inputs, trial.steps, trial.made, trial.dynamic = tuple(map(str, range(len(terms)))), [], [], None
        path, orders = found
        trial.follow(path, [(k, t) for k, (_, t) in enumerate(terms)], net, order, rank, orders)
        shapes = [tuple(net.sizes[i] for i in t) for _, t in terms]
        copied = layouts([(shape, contiguous(shape)) for shape in shapes], trial.steps).copied
        moved = sum(s.read + s.size for s in trial.steps) + 2 * sum(map(sum, copied))
        flops = sum(s.flops for s in trial.steps)
        return as_float(flops) / self.rates.flops + as_float(self.itemsize * moved) / self.rates.bytes

    def follow(
        self,
        path: Path,
        terms: list[tuple[int, Inds]],
        net: Network,
        order: Inds,
        rank: dict[str, float],
        orders: Orders,
    ) -> tuple[int, Inds]:
        """The pairwise steps of a path; the slot and axes of what is left."""
        live = list(terms)
        count = _carriers([inds for _, inds in live], net.output)
        for position, (a, b) in enumerate(path):
            sb, ib = live.pop(b)  # a < b: find_path sorts them
            sa, ia = live.pop(a)
            for i in (*ia, *ib):
                count[i] -= 1
            keep = frozenset([i for i in (*ia, *ib) if count[i]])
            last = order if position == len(path) - 1 else orders.get(position)
            step, inds = lower_pair(ia, ib, keep, net.sizes, (sa, sb), self.next_slot, self.dynamic, last, rank)
            for i in inds:
                count[i] += 1
            ordered = (ia, ib) if step.operands == (sa, sb) else (ib, ia)
            live.append((self.add(step, Made(net.sizes, ordered, inds, keep, rank)), inds))
        return live[0]

    def single(self, slot: int, inds: Inds, count: dict[str, int], net: Network) -> tuple[int, Inds]:
        """Traces and sums of one tensor before any pair is contracted."""
        keep = [i for i in dict.fromkeys(inds) if count[i] > 1 or i in net.output]
        if len(keep) == len(inds):
            return slot, inds
        step, out = lower_single(inds, keep, net.sizes, slot, self.next_slot)
        return self.add(step, Made(net.sizes, (inds,), out)), out

    def apply(self, node: Elementwise, slots: tuple[int, ...]) -> int:
        """The step of an Elementwise node, whose bodies' results stand in slots."""
        size = prod(node.bodies[0].sizes[i] for i in node.inds)
        fn = function_name(node.fn)
        inds = (node.inds,) * len(slots)
        step = ApplyStep(
            slots, self.next_slot, f"{fn}({len(node.inds)} axes)", node.fn, size, size * len(slots), size,
            (*inds, node.inds),
        )  # fmt: skip
        return self.add(step, Made(node.bodies[0].sizes, inds, node.inds))


def _largest(terms: Sequence[Inds], output: Inds, net: Network) -> int:
    size = net.sizes.__getitem__
    return max(prod(map(size, t)) for t in (*terms, output))


def _carriers(terms: list[Inds], output: Inds) -> dict[str, int]:
    """Index -> number of tensors (and the output) that carry it."""
    count: dict[str, int] = {}
    for term in (*terms, output):
        for i in term if len(term) < 2 else set(term):
            count[i] = count.get(i, 0) + 1
    return count

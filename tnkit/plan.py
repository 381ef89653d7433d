"""A plan: a network and an order, lowered to a static list of array operations, with what it costs.

``plan(net)`` finds an order for every multilinear region, inner regions first, and lowers it.  Plans are values: equal
questions give the same plan, from a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

from tabulate import tabulate

from tnkit.checkpoint import checkpointed
from tnkit.fuse import Made, fused
from tnkit.lower import Apply, Group, Program, Reduce, Step, dense, last_use, lower_pair, lower_single
from tnkit.memory import Memory, backward_peak, forward_peak, layouts
from tnkit.network import Elementwise, Network, Node
from tnkit.ordering import Optimizer, Path, find_path
from tnkit.rates import DEFAULT, Rates, rates, spelled
from tnkit.slicing import candidates, choose, sliced_step
from tnkit.sweep import intervals, places, windows

__all__ = ["Plan", "plan"]

Inds = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Plan:
    """What :func:`tnkit.run` executes.  Slots are numbered: first the inputs, then one a step.

    Attributes
    ----------
    network
        The network that is contracted.
    inputs
        Array name of each input slot.
    steps
        :class:`~tnkit.lower.Reduce`, :class:`~tnkit.lower.Contract` and :class:`~tnkit.lower.Apply`, in order.
    output
        Slot of the result.
    paths
        One opt_einsum path a region, in the order in which they run.
    itemsize
        Bytes of one entry, for the figures in bytes.
    dynamic
        The index whose size is read from the arrays when the plan runs, or None.
    rates
        The speeds by which its orders were compared.
    """

    network: Network
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    output: int
    paths: tuple[tuple[tuple[int, ...], ...], ...]
    itemsize: int = 8
    dynamic: str | None = None
    last_use: tuple[tuple[int, ...], ...] = field(default=(), compare=False)
    rates: Rates = field(default=DEFAULT, compare=False)

    @cached_property
    def program(self) -> Program:
        """The steps, as what :func:`tnkit.straight.execute` runs."""
        return Program(self.steps, self.output, self.last_use)

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        """Itself: a value."""
        return self

    # -- costs ------------------------------------------------------------------------------------------------------
    @property
    def path(self) -> list[tuple[int, ...]]:
        """opt_einsum's path of a multilinear network; ValueError for a nonlinear one (see ``paths``)."""
        if not self.network.multilinear:
            raise ValueError(f"{self.network!r} is nonlinear: it has one path a region, in plan.paths")
        return list(self.paths[0])

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one forward: 2 a multiply-add, 1 an entry of a product, sum or activation."""
        return sum(step.flops for step in self.steps)

    @cached_property
    def bytes_moved(self) -> int:
        """Bytes read and written by the steps, copies that permutations force included."""
        entries = sum(step.read + step.size for step in self.steps)
        return (entries + 2 * sum(map(sum, self._memory.copied))) * self.itemsize

    @property
    def seconds(self) -> tuple[float, float]:
        """Predicted time of one forward by ``rates``: of the operations, and of the bytes moved."""
        return self.flops / self.rates.flops, self.bytes_moved / self.rates.bytes

    @cached_property
    def slot_sizes(self) -> tuple[int, ...]:
        """Entries of the tensor in each slot."""
        return self._memory.sizes

    @cached_property
    def largest(self) -> int:
        """Entries of the largest tensor made on the way, the result included (the inputs if there is no step)."""
        return max((step.size for step in _every(self.steps)), default=self.slot_sizes[self.output])

    @cached_property
    def peak(self) -> int:
        """Bytes alive at most during one forward: inputs, live intermediates, the copies of the running step.

        Temporaries inside an activation are not counted.
        """
        return forward_peak(self._memory, self.steps, self.last_use) * self.itemsize

    @cached_property
    def peak_backward(self) -> int:
        """Bytes alive at most during forward and backward: what autograd keeps, the result, the gradients alive.

        As if every input needed a gradient; an activation is taken to keep its arguments and its result.
        """
        return backward_peak(self._memory, self.steps, self.output, self.last_use) * self.itemsize

    @cached_property
    def recomputed(self) -> int:
        """Floating-point operations that backward does a second time, because a slice's intermediates are not kept."""
        return sum(step.flops for step in self.steps if isinstance(step, Group))

    @property
    def sliced(self) -> Group | None:
        """The one step of a plan that runs slice by slice as a whole, which an executor can share out."""
        step = self.steps[0] if len(self.steps) == 1 else None
        return step if isinstance(step, Group) and step.counts else None

    @cached_property
    def _memory(self) -> Memory:
        shapes = self.network.array_shapes
        return layouts([(shapes[name], dense(shapes[name])) for name in self.inputs], self.steps)

    # -- text -------------------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Plan({len(self.steps)} steps, {_short(self.flops)} FLOPs, largest {_short(self.largest)} entries)"

    def __str__(self) -> str:
        return f"{self._summary()}\n{self._table('simple')}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self._summary())}</pre>{self._table('html')}"

    def _summary(self) -> str:
        lines = [
            repr(self),
            f"  bytes moved {_short(self.bytes_moved)}B, peak {_short(self.peak)}B forward, "
            f"{_short(self.peak_backward)}B forward + backward ({self.itemsize} bytes an entry)",
            f"  predicted {spelled(sum(self.seconds))}: compute {spelled(self.seconds[0])}, "
            f"memory {spelled(self.seconds[1])} (at {self.rates})",
        ]
        if self.sliced is not None:
            at_once = sum(step.flops for step in self.sliced.whole.steps)
            lines.append(
                f"  {prod(self.sliced.counts)} slices, {self.sliced.equation} ({' x '.join(map(str, self.sliced.counts))}): "
                f"{self.flops / max(at_once, 1):.3g}x the FLOPs of the contraction at once"
            )
        if self.recomputed:
            lines.append(f"  backward runs {_short(self.recomputed)} FLOPs again")
        return "\n".join(lines)

    def _table(self, style: str) -> str:
        rows = _rows(self.steps, list(self.inputs), "")
        headers = ("result", "step", "of", "equation", "FLOPs", "entries")
        return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _rows(steps: Sequence[Step], names: list[str], mark: str) -> list[tuple[str, ...]]:
    """A line a step; those of a group, below it, are numbered within it."""
    rows: list[tuple[str, ...]] = []
    for k, step in enumerate(steps):
        new = f"{mark}#{k}"
        names.append(new)
        of = [names[s] for s in step.operands]
        rows.append((new, _kind(step), " ".join(of), step.equation, _short(step.flops), _short(step.size)))
        if isinstance(step, Group):
            rows += _rows(step.body.steps, of, f"{new}.")
    return rows


def _every(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, Group):
            yield from _every(step.body.steps)


def _kind(step: Step) -> str:
    if isinstance(step, Group):
        return f"{prod(step.counts)} slices" if step.counts else "checkpoint"
    if isinstance(step, Apply):
        return step.fn if isinstance(step.fn, str) else getattr(step.fn, "__name__", "fn")
    return "reduce" if isinstance(step, Reduce) else "multiply" if step.multiply else "matmul"


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if number < 1000:
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}Z"


# -- making one -------------------------------------------------------------------------------------------------------
#: Choices of slices that are planned before a limit is given up.
_ATTEMPTS = 60
#: A limit that needs more slices than this is refused: it would take days.
_MOST_SLICES = 2**20
#: From so many entries on, a result is worth looking at more orders than the optimizer's own.
_WORTH_ORDERS = 2**10


class _Builder:
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
        self.leftwards = False  # the next sweep of windows starts where the last one ended

    @property
    def next_slot(self) -> int:
        return len(self.inputs) + len(self.steps)

    def add(self, step: Step, made: Made) -> int:
        self.steps.append(step)
        self.made.append(made)
        return step.target

    def contract(self, net: Network, order: Inds) -> int:
        """Steps for ``net``, its result's axes in ``order``; returns the slot."""
        terms: list[tuple[int, Inds]] = []
        for node in net.nodes:
            if isinstance(node, Node):
                terms.append((self.slots[node.array], node.inds))
            else:
                terms.append((self.apply(node), node.inds))
        count = _counts([inds for _, inds in terms], net.output)
        terms = [self.single(slot, inds, count, net) for slot, inds in terms]
        rank = places([inds for _, inds in terms], order, net.sizes)
        path = self.find(terms, net, order, rank)
        self.paths.append(tuple(path) or ((0,),))
        slot, inds = self.follow(path, terms, net, order, rank)
        if inds != order:  # one node alone
            step, _ = lower_single(inds, order, net.sizes, slot, self.next_slot)
            slot = self.add(step, Made(net.sizes, (inds,), order))
        return slot

    def find(self, terms: list[tuple[int, Inds]], net: Network, order: Inds, rank: dict[str, float]) -> Path:
        """The optimizer's path; with ``auto``, the cheapest of it and of those that follow the axes of the result."""
        if self.given is not None:
            path = list(next(self.given))
            return path if len(terms) > 1 else []
        inds = [t for _, t in terms]
        if self.optimizer != "auto" or len(terms) < 3 or _largest(inds, order, net) < _WORTH_ORDERS:
            return find_path(inds, net.output, net.sizes, self.optimizer)
        sweep = windows(inds, order, net.sizes, self.leftwards)
        # a long search pays where nothing is known of the network's shape
        path = find_path(inds, net.output, net.sizes, "auto" if sweep is None else "greedy")
        other = intervals(inds, order, net.sizes) if sweep is None else sweep
        others = [] if other is None else [other]
        best = min([path, *others], key=lambda p: self.cost(p, terms, net, order, rank))
        if best is sweep:
            self.leftwards = not self.leftwards
        return best

    def cost(
        self, path: Path, terms: list[tuple[int, Inds]], net: Network, order: Inds, rank: dict[str, float]
    ) -> float:
        """Seconds of a path as lowered: its copies count, and what they and the steps move."""
        trial = _Builder.__new__(_Builder)
        trial.inputs, trial.steps, trial.made, trial.dynamic = tuple(map(str, range(len(terms)))), [], [], None
        trial.follow(path, [(k, t) for k, (_, t) in enumerate(terms)], net, order, rank)
        shapes = [tuple(net.sizes[i] for i in t) for _, t in terms]
        copied = layouts([(shape, dense(shape)) for shape in shapes], trial.steps).copied
        moved = sum(s.read + s.size for s in trial.steps) + 2 * sum(map(sum, copied))
        return self.rates.seconds(sum(s.flops for s in trial.steps), self.itemsize * moved)

    def follow(
        self, path: Path, terms: list[tuple[int, Inds]], net: Network, order: Inds, rank: dict[str, float]
    ) -> tuple[int, Inds]:
        """The pairwise steps of a path; the slot and axes of what is left."""
        live = list(terms)
        count = _counts([inds for _, inds in live], net.output)
        for position, (a, b) in enumerate(path):
            sb, ib = live.pop(b)  # a < b: find_path sorts them
            sa, ia = live.pop(a)
            for i in (*ia, *ib):
                count[i] -= 1
            keep = frozenset(i for i in (*ia, *ib) if count[i])
            last = order if position == len(path) - 1 else None
            step, inds = lower_pair(ia, ib, sorted(keep), net.sizes, (sa, sb), self.next_slot, self.dynamic, last, rank)
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

    def apply(self, node: Elementwise) -> int:
        """Steps for an Elementwise node: its bodies, then the function."""
        slots = tuple(self.contract(body, node.inds) for body in node.bodies)
        size = prod(node.bodies[0].sizes[i] for i in node.inds)
        fn = node.fn if isinstance(node.fn, str) else getattr(node.fn, "__name__", "fn")
        step = Apply(slots, self.next_slot, f"{fn}({len(node.inds)} axes)", node.fn, size, size * len(slots), size)
        return self.add(step, Made(node.bodies[0].sizes, (node.inds,) * len(slots), node.inds))


def _largest(terms: Sequence[Inds], output: Inds, net: Network) -> int:
    return max(prod(net.sizes[i] for i in t) for t in (*terms, output))


def _counts(terms: list[Inds], output: Inds) -> dict[str, int]:
    """Index -> number of tensors (and the output) that carry it."""
    count: dict[str, int] = {}
    for term in (*terms, output):
        for i in set(term):
            count[i] = count.get(i, 0) + 1
    return count


def _plan(
    net: Network, optimizer: str | Optimizer, itemsize: int, dynamic: str | None, memory_limit: float | None = None,
    slices: int = 1, checkpoint: bool | float = False, speed: Rates = DEFAULT,
) -> Plan:  # fmt: skip
    _check_dynamic(net, dynamic, memory_limit is not None or slices > 1 or checkpoint is not False)
    builder = _Builder(net, optimizer, itemsize, dynamic, speed)
    output = builder.contract(net, net.output)
    steps = builder.steps
    if dynamic is None:
        steps, output = fused(steps, builder.made, len(builder.inputs), output)
    made = Plan(
        net, builder.inputs, tuple(steps), output, tuple(builder.paths), itemsize, dynamic, last_use(steps, output), speed
    )  # fmt: skip
    if slices > 1 or (memory_limit is not None and made.peak > memory_limit):
        made = _sliced(made, builder, optimizer, memory_limit, slices)
    return made if checkpoint is False else _checkpointed(made, None if checkpoint is True else checkpoint)


def _check_dynamic(net: Network, dynamic: str | None, bounded: bool) -> None:
    if dynamic is None:
        return
    if dynamic not in net.output:
        raise ValueError(f"dynamic index {dynamic!r} is not in the output {net.output}")
    for leaf in net.leaves:
        if isinstance(leaf.fixed, str) and dynamic in leaf.inds:
            raise ValueError(f"dynamic index {dynamic!r} is on node {leaf.name!r}, a constant of fixed shape")
    if bounded:
        raise ValueError(
            f"dynamic index {dynamic!r}: what has no size cannot be bounded; plan one batch size, or no limit"
        )


def _sliced(whole: Plan, builder: _Builder, optimizer: str | Optimizer, limit: float | None, slices: int) -> Plan:
    """The cheapest plan by slices that stays within ``limit`` bytes."""
    net, itemsize = whole.network, whole.itemsize
    end = builder.next_slot - 1 if builder.steps else whole.output
    program = Program(tuple(builder.steps), end, last_use(builder.steps, end))
    allowed = sorted(
        candidates(net), key=lambda i: i not in net.output
    )  # the output's first: sums end one after another
    given = sum(prod(s) for s in net.array_shapes.values()) + prod(net.shape)
    room = float("inf") if limit is None else limit / itemsize - given
    least = whole

    def planned(sliced: Inds, paths: Iterable[Path] | None) -> Plan:
        def build(one: Network) -> tuple[tuple[str, ...], Program]:
            part = _Builder(one, optimizer, itemsize, None, builder.rates, paths)
            end = part.contract(one, one.output)
            steps, end = fused(part.steps, part.made, len(part.inputs), end)
            return part.inputs, Program(tuple(steps), end, last_use(steps, end))

        step = sliced_step(net, sliced, builder.slots, program, len(whole.inputs), build)
        return replace(whole, steps=(step,), output=step.target, last_use=last_use((step,), step.target))

    before = None
    for _ in range(_ATTEMPTS):
        sliced = choose(builder.made, allowed, room, slices) if room > 0 else None
        if sliced is None or prod(net.sizes[i] for i in sliced) > max(_MOST_SLICES, slices):
            break
        if sliced != before:
            found = planned(sliced, map(list, whole.paths))
            least = min(least, found, key=lambda p: p.peak)
            if limit is None or found.peak <= limit:
                again = planned(sliced, None)  # a slice may have a better order of its own
                return min(
                    (p for p in (found, again) if limit is None or p.peak <= limit), key=lambda p: sum(p.seconds)
                )
        before, room = sliced, 0.7 * room  # what is alive beside a step's own tensors is known of a plan only
    wanted = [f"memory_limit={_short(limit)}B"] if limit is not None else []
    wanted += [f"{slices} slices"] if slices > 1 else []
    raise ValueError(
        f"{net!r}: {' in '.join(wanted)} cannot be planned; inputs and result alone take {_short(given * itemsize)}B, and the "
        f"least that was found takes {_short(least.peak)}B"
    )


def _checkpointed(whole: Plan, limit: float | None) -> Plan:
    shapes = whole.network.array_shapes
    inputs = [(shapes[name], dense(shapes[name])) for name in whole.inputs]
    entries = None if limit is None else limit / whole.itemsize
    steps, output, peak = checkpointed(whole.steps, inputs, whole.output, entries)
    if entries is not None and peak > entries:
        raise ValueError(
            f"checkpoint: forward and backward take {_short(peak * whole.itemsize)}B at least, not {_short(limit or 0)}B"
        )
    return replace(whole, steps=tuple(steps), output=output, last_use=last_use(steps, output))


_cached_plan = lru_cache(maxsize=1024)(_plan)


def plan(
    net: Network, optimizer: str | Optimizer = "auto", *, itemsize: int = 8, dynamic: str | None = None,
    memory_limit: float | None = None, slices: int = 1, checkpoint: bool | float = False,
) -> Plan:  # fmt: skip
    """Order and lower the contraction of ``net``.

    Parameters
    ----------
    net
        Any network; nonlinear ones are planned region by region.
    optimizer
        A key of :data:`tnkit.OPTIMIZERS`, or any function or opt_einsum / cotengra optimiser with the call
        ``(inputs, output, sizes, memory_limit) -> path``.
    itemsize
        Bytes of one entry, for the reported bytes and the limits (8: float64; 4: float32).
    dynamic
        An output index (a batch) whose size may differ when the plan runs; ``net.sizes`` has its typical size.
    memory_limit
        Bytes that a forward may take, inputs and result included (:attr:`Plan.peak`).  Where the plan takes more, indices
        are sliced: the contraction is run for each of their values and the results are summed or put together, at the cost
        that ``print(plan)`` shows.  A backward pass runs every slice again.
    slices
        At least so many slices, for :func:`tnkit.run` with an executor.
    checkpoint
        What backward keeps.  False: all that autograd does.  A number: of the choices whose forward and backward take at most
        so many bytes (:attr:`Plan.peak_backward`), the one that computes least twice (:attr:`Plan.recomputed`).
        True: the one that takes least memory.

    Returns
    -------
    Plan
        From a cache by value when ``optimizer`` is a name.  ``torch.compile``, ``vmap`` and double backward run the whole
        contraction at once, without slices or checkpoints.

    Raises
    ------
    ValueError
        An unknown optimizer, a path that is none, a dynamic index that is not in the output, or a limit that cannot be kept.
    """
    if not isinstance(net, Network):
        raise TypeError(f"plan: expected a Network, not {type(net).__name__}")
    if isinstance(optimizer, str):
        return _cached_plan(net, optimizer, itemsize, dynamic, memory_limit, slices, checkpoint, rates())
    return _plan(net, optimizer, itemsize, dynamic, memory_limit, slices, checkpoint, rates())

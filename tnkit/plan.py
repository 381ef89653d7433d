"""A plan: a network and an order, lowered to a static list of array operations, with what it costs.

``plan(net)`` finds an order for every multilinear region, inner regions first, and lowers it.  Plans are values: equal
questions give the same plan, from a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import prod

from tabulate import tabulate

from tnkit.lower import Apply, Contract, Reduce, Step, lower_pair, lower_single
from tnkit.network import Elementwise, Network, Node
from tnkit.ordering import Optimizer, Path, find_path

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
    """

    network: Network
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    output: int
    paths: tuple[tuple[tuple[int, ...], ...], ...]
    itemsize: int = 8
    dynamic: str | None = None
    last_use: tuple[tuple[int, ...], ...] = field(default=(), compare=False)

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
        entries = 0
        for step in self.steps:
            entries += step.read + step.size
            if isinstance(step, Contract):
                entries += 2 * _copied(step, self.slot_sizes)
        return entries * self.itemsize

    @cached_property
    def slot_sizes(self) -> tuple[int, ...]:
        """Entries of the tensor in each slot."""
        shapes = self.network.array_shapes
        return tuple([prod(shapes[name]) for name in self.inputs] + [step.size for step in self.steps])

    @cached_property
    def largest(self) -> int:
        """Entries of the largest tensor made on the way, the result included (the inputs if there is no step)."""
        return max((step.size for step in self.steps), default=self.slot_sizes[self.output])

    @cached_property
    def peak(self) -> int:
        """Bytes alive at most during one forward: inputs, live intermediates, the copies of the running step."""
        inputs = len(self.inputs)
        live = top = sum(self.slot_sizes[:inputs])
        for step, dead in zip(self.steps, self.last_use, strict=True):
            top = max(top, live + step.size + _copied(step, self.slot_sizes))
            live += step.size - sum(self.slot_sizes[s] for s in dead if s >= inputs)
        return top * self.itemsize

    @cached_property
    def peak_backward(self) -> int:
        """Bytes alive at most during forward and backward: what autograd keeps plus the gradients alive."""
        inputs = len(self.inputs)
        saved = sum(self.slot_sizes) + sum(_copied(step, self.slot_sizes) for step in self.steps)
        grads: dict[int, int] = {self.output: self.slot_sizes[self.output]}
        top = saved
        for step in reversed(self.steps):
            for s in step.operands:
                grads[s] = self.slot_sizes[s]
            top = max(top, saved + sum(grads.values()))
            if step.target not in step.operands:
                grads.pop(step.target, None)
                saved -= self.slot_sizes[step.target] + _copied(step, self.slot_sizes)
        return max(top, saved + sum(self.slot_sizes[:inputs])) * self.itemsize

    # -- text -------------------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Plan({len(self.steps)} steps, {_short(self.flops)} FLOPs, largest {_short(self.largest)} entries)"

    def __str__(self) -> str:
        return f"{self._summary()}\n{self._table('simple')}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self._summary())}</pre>{self._table('html')}"

    def _summary(self) -> str:
        return (
            f"{self!r}\n"
            f"  bytes moved {_short(self.bytes_moved)}B, peak {_short(self.peak)}B forward, "
            f"{_short(self.peak_backward)}B forward + backward ({self.itemsize} bytes an entry)"
        )

    def _table(self, style: str) -> str:
        names = list(self.inputs) + [f"#{k}" for k in range(len(self.steps))]
        rows = [
            (names[step.target], _kind(step), " ".join(names[s] for s in step.operands), step.equation, _short(step.flops), _short(step.size))
            for step in self.steps
        ]  # fmt: skip
        headers = ("result", "step", "of", "equation", "FLOPs", "entries")
        return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _kind(step: Step) -> str:
    if isinstance(step, Apply):
        return step.fn if isinstance(step.fn, str) else getattr(step.fn, "__name__", "fn")
    return "reduce" if isinstance(step, Reduce) else "multiply" if step.multiply else "matmul"


def _copied(step: Step, sizes: tuple[int, ...]) -> int:
    """Entries that a step copies to bring its tensors into place."""
    if not isinstance(step, Contract):
        return 0
    copied = sum(sizes[s] for s, view in zip(step.operands, step.views, strict=True) if view.copies)
    return copied


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if number < 1000:
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}Z"


# -- making one -------------------------------------------------------------------------------------------------------
class _Builder:
    """Slots and steps of the plan under construction."""

    def __init__(self, net: Network, find: Callable[..., Path], dynamic: str | None) -> None:
        self.inputs = tuple(dict.fromkeys(leaf.array for leaf in net.leaves))
        self.slots = {name: k for k, name in enumerate(self.inputs)}
        self.steps: list[Step] = []
        self.paths: list[tuple[tuple[int, ...], ...]] = []
        self.find = find
        self.dynamic = dynamic

    @property
    def next_slot(self) -> int:
        return len(self.inputs) + len(self.steps)

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
        path = self.find([inds for _, inds in terms], net.output, net.sizes)
        self.paths.append(tuple(path) or ((0,),))
        live = terms
        for position, (a, b) in enumerate(path):
            (sa, ia), (sb, ib) = live[a], live[b]
            live = [t for k, t in enumerate(live) if k not in (a, b)]
            elsewhere = set(net.output).union(*(inds for _, inds in live)) if live else set(net.output)
            last = position == len(path) - 1
            step, inds = lower_pair(ia, ib, [i for i in (*ia, *ib) if i in elsewhere], net.sizes, (sa, sb), self.next_slot, self.dynamic, order if last else None)  # fmt: skip
            self.steps.append(step)
            live.append((step.target, inds))
        slot, inds = live[0]
        if inds != order:  # one node alone
            step1, _ = lower_single(inds, order, net.sizes, slot, self.next_slot)
            self.steps.append(step1)
            slot = step1.target
        return slot

    def single(self, slot: int, inds: Inds, count: dict[str, int], net: Network) -> tuple[int, Inds]:
        """Traces and sums of one tensor before any pair is contracted."""
        keep = [i for i in dict.fromkeys(inds) if count[i] > 1 or i in net.output]
        if len(keep) == len(inds):
            return slot, inds
        step, out = lower_single(inds, keep, net.sizes, slot, self.next_slot)
        self.steps.append(step)
        return step.target, out

    def apply(self, node: Elementwise) -> int:
        """Steps for an Elementwise node: its bodies, then the function."""
        slots = tuple(self.contract(body, node.inds) for body in node.bodies)
        size = prod(node.bodies[0].sizes[i] for i in node.inds)
        fn = node.fn if isinstance(node.fn, str) else getattr(node.fn, "__name__", "fn")
        self.steps.append(Apply(slots, self.next_slot, f"{fn}({len(node.inds)} axes)", node.fn, size, size * len(slots), size))
        return self.steps[-1].target


def _counts(terms: list[Inds], output: Inds) -> dict[str, int]:
    """Index -> number of tensors (and the output) that carry it."""
    count: dict[str, int] = {}
    for term in (*terms, output):
        for i in set(term):
            count[i] = count.get(i, 0) + 1
    return count


def _last_use(steps: list[Step], output: int) -> tuple[tuple[int, ...], ...]:
    """After each step, the slots that nothing reads any more."""
    last: dict[int, int] = {}
    for k, step in enumerate(steps):
        for s in step.operands:
            last[s] = k
    return tuple(tuple(s for s, k in last.items() if k == at and s != output) for at in range(len(steps)))


def _plan(net: Network, optimizer: str | Optimizer, itemsize: int, dynamic: str | None) -> Plan:
    def find(inputs: list[Inds], output: Inds, sizes: dict[str, int]) -> Path:
        return find_path(inputs, output, sizes, optimizer)

    if dynamic is not None and dynamic not in net.output:
        raise ValueError(f"dynamic index {dynamic!r} is not in the output {net.output}")
    builder = _Builder(net, find, dynamic)
    output = builder.contract(net, net.output)
    return Plan(
        net, builder.inputs, tuple(builder.steps), output, tuple(builder.paths), itemsize, dynamic,
        _last_use(builder.steps, output),
    )  # fmt: skip


_cached_plan = lru_cache(maxsize=1024)(_plan)


def plan(
    net: Network, optimizer: str | Optimizer = "auto", *, itemsize: int = 8, dynamic: str | None = None
) -> Plan:
    """Order and lower the contraction of ``net``.

    Parameters
    ----------
    net
        Any network; nonlinear ones are planned region by region.
    optimizer
        A key of :data:`tnkit.OPTIMIZERS`, or any function or opt_einsum / cotengra optimiser with the call
        ``(inputs, output, sizes, memory_limit) -> path``.
    itemsize
        Bytes of one entry, for the reported bytes (8: float64; 4: float32).
    dynamic
        An output index (a batch) whose size may differ when the plan runs; ``net.sizes`` has its typical size.

    Returns
    -------
    Plan
        From a cache by value when ``optimizer`` is a name.

    Raises
    ------
    ValueError
        An unknown optimizer, a path that is none, or a dynamic index that is not in the output.
    """
    if isinstance(optimizer, str):
        return _cached_plan(net, optimizer, itemsize, dynamic)
    return _plan(net, optimizer, itemsize, dynamic)

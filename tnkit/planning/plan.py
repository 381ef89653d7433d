"""A plan: a network and an order, lowered to a static list of array operations, with what it costs.

``plan(net)`` finds an order for every multilinear region, inner regions first, and lowers it.  Plans are values: equal
questions give the same plan, from a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tnkit.core.lazy import cached_property, state_of
from tnkit.core.network import Network
from tnkit.core.numbers import as_float
from tnkit.core.wording import count_text, plural
from tnkit.planning.calibration import DEFAULT, Rates, spelled_count, spelled_seconds
from tnkit.planning.memory import Memory, backward_peak, forward_peak, layouts
from tnkit.planning.step_table import step_table
from tnkit.planning.steps import FusedStep, Program, Step
from tnkit.planning.strides import contiguous
from tnkit.planning.timeline import TimelineStep, timeline_of

__all__ = ["Plan"]

Inds = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Plan:
    """What :func:`tnkit.run` executes.  Slots are numbered: first the inputs, then one a step.

    >>> net = tk.from_einsum("ab,bc,cd->ad", dict(a=10, b=20, c=30, d=40))
    >>> plan = tk.plan(net)
    >>> isinstance(plan, tk.Plan), plan.path, plan.flops  # A and B first: 2*10*20*30 + 2*10*30*40
    (True, [(0, 1), (0, 1)], 36000)
    >>> plan.inputs, plan.shapes, plan.output
    (('A', 'B', 'C'), ((10, 20), (20, 30), (30, 40)), 4)
    >>> plan.largest, plan.slot_sizes  # entries
    (400, (200, 600, 1200, 300, 400))
    >>> plan.peak, plan.peak_backward, plan.bytes_moved, plan.entries  # bytes; entries
    (21600, 37600, 24000, 2700)
    >>> [step.equation for step in plan.program.steps]
    ['ab,bc->ac', 'ab,bc->ac']
    >>> compute, memory = plan.seconds
    >>> compute + memory > 0
    True
    >>> sliced = tk.plan(net, slices=2)
    >>> sliced.sliced.counts, plan.sliced, plan.recomputed
    ((10,), None, 0)

    Attributes
    ----------
    network
        The network that is contracted.
    inputs
        Array name of each input slot.
    steps
        :class:`~tnkit.planning.steps.ReduceStep`, :class:`~tnkit.planning.steps.ContractStep` and :class:`~tnkit.planning.steps.ApplyStep`, in order.
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
        """The steps, as what :func:`tnkit.execution.codegen.execute` runs."""
        return Program(self.steps, self.output, self.last_use)

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        """Itself: a value."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """As it is now: what is found out of it meanwhile is no part of it."""
        return state_of(self)

    # -- costs ------------------------------------------------------------------------------------------------------
    @property
    def path(self) -> list[tuple[int, ...]]:
        """opt_einsum's path of a multilinear network; ValueError for a nonlinear one (see ``paths``)."""
        if not self.network.multilinear:
            raise ValueError(f"{self.network!r} is nonlinear: it has one path a region, in plan.paths")
        return list(self.paths[0])

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one forward: 2 a multiply-add, 1 an entry of a product, sum or activation; complex ones count alike."""
        return sum(step.flops for step in self.steps)

    @cached_property
    def bytes_moved(self) -> int:
        """Bytes read and written by the steps, copies that permutations force included."""
        entries = sum(step.read + step.size for step in self.steps)
        return (entries + 2 * sum(map(sum, self._memory.copied))) * self.itemsize

    @property
    def seconds(self) -> tuple[float, float]:
        """Predicted time of one forward by ``rates``: of the operations, and of the bytes moved; infinite beyond any float."""
        return as_float(self.flops) / self.rates.flops, as_float(self.bytes_moved) / self.rates.bytes

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

        What activations take for themselves is counted (:mod:`tnkit.planning.temporaries`): nothing for those of
        ``ACTIVATIONS``, two tensors of the result's size for a function of your own.
        """
        return forward_peak(self._memory, self.last_use) * self.itemsize

    @cached_property
    def peak_backward(self) -> int:
        """Bytes alive at most during forward and backward: what autograd keeps, the result, the gradients alive.

        As if every input needed a gradient; an activation keeps what :mod:`tnkit.planning.temporaries` says.
        """
        return backward_peak(self._memory, self.steps, self.output, self.last_use) * self.itemsize

    @cached_property
    def recomputed(self) -> int:
        """Floating-point operations that backward does a second time, because a slice's intermediates are not kept."""
        return sum(step.again for step in self.steps if isinstance(step, FusedStep))

    @cached_property
    def entries(self) -> int:
        """Entries of all tensors, arguments and what steps make, within a slice too: more than are alive at once."""
        return sum(prod(shape) for shape in self.shapes) + sum(step.size for step in _every(self.steps))

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the array in each input slot."""
        return tuple(self.network.array_shapes[name] for name in self.inputs)

    @property
    def sliced(self) -> FusedStep | None:
        """The one step of a plan that runs slice by slice as a whole, which an executor can share out."""
        step = self.steps[0] if len(self.steps) == 1 else None
        return step if isinstance(step, FusedStep) and step.counts else None

    @cached_property
    def _memory(self) -> Memory:
        return layouts([(shape, contiguous(shape)) for shape in self.shapes], self.steps)

    @cached_property
    def timeline(self) -> tuple[TimelineStep, ...]:
        """The steps one after another in the network's own names, groups opened: what :func:`tnkit.view` shows.

        >>> for step in tk.plan(tk.tt((2, 3, 2), 2)).timeline:
        ...     print(step.name, step.kind, step.equation, step.flops)
        #0 contract core_0[i0 b1], core_1[b1 i1 b2] -> [i0 i1 b2] 48
        #1 contract #0[i0 i1 b2], core_2[b2 i2] -> [i0 i1 i2] 48
        """
        return timeline_of(self.network, self.inputs, self.program, self._memory, self.itemsize)

    # -- text -------------------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Plan({plural(len(self.steps), 'step')}, {spelled_count(self.flops)} FLOPs, largest {spelled_count(self.largest)} entries)"

    def __str__(self) -> str:
        return f"{self._summary()}\n{step_table(self.timeline, 'simple')}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self._summary())}</pre>{step_table(self.timeline, 'html')}"

    def _summary(self) -> str:
        lines = [
            repr(self),
            f"  bytes moved {spelled_count(self.bytes_moved)}B, peak {spelled_count(self.peak)}B forward, "
            f"{spelled_count(self.peak_backward)}B forward + backward ({count_text(self.itemsize)} bytes an entry)",
            f"  predicted {spelled_seconds(sum(self.seconds))}: compute {spelled_seconds(self.seconds[0])}, "
            f"memory {spelled_seconds(self.seconds[1])} (at {self.rates})",
        ]
        if self.sliced is not None:
            at_once = sum(step.flops for step in self.sliced.whole.steps)
            lines.append(
                f"  {prod(self.sliced.counts)} slices, {self.sliced.equation} ({' x '.join(map(str, self.sliced.counts))}): "
                f"{self.flops / max(at_once, 1):.3g}x the FLOPs of the contraction at once"
            )
        if self.recomputed:
            lines.append(f"  backward runs {spelled_count(self.recomputed)} FLOPs again")
        return "\n".join(lines)


def _every(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, FusedStep):
            yield from _every(step.body.steps)

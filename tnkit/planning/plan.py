"""A plan: a network and an order, lowered to a static list of array operations, with what it costs.

``plan(net)`` finds an order for every multilinear region, inner regions first, and lowers it.  Plans are values: equal
questions give the same plan, from a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, shown, text
from tnkit.core.network import Network
from tnkit.core.numbers import whole_number
from tnkit.paths.foreign import has_memory
from tnkit.paths.given import GivenOrder, read_order
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.axes import check_arrays_exist, check_steps_exist
from tnkit.planning.builder import StepBuilder
from tnkit.planning.calibration import DEFAULT, Rates, rates, spelled_count, spelled_seconds
from tnkit.planning.checkpointing import checkpointed
from tnkit.planning.fusion import fused
from tnkit.planning.memory import Memory, backward_peak, forward_peak, layouts
from tnkit.planning.sliced_plans import MOST_SLICES, sliced_as_asked, sliced_to_fit
from tnkit.planning.steps import ApplyStep, FusedStep, Program, ReduceStep, Step, last_use
from tnkit.planning.strides import contiguous

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

        What activations take for themselves is counted (:mod:`tnkit.planning.temporaries`): nothing for those of
        ``ACTIVATIONS``, two tensors of the result's size for a function of your own.
        """
        return forward_peak(self._memory, self.steps, self.last_use) * self.itemsize

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

    # -- text -------------------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"Plan({len(self.steps)} steps, {spelled_count(self.flops)} FLOPs, largest {spelled_count(self.largest)} entries)"

    def __str__(self) -> str:
        return f"{self._summary()}\n{self._table('simple')}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self._summary())}</pre>{self._table('html')}"

    def _summary(self) -> str:
        lines = [
            repr(self),
            f"  bytes moved {spelled_count(self.bytes_moved)}B, peak {spelled_count(self.peak)}B forward, "
            f"{spelled_count(self.peak_backward)}B forward + backward ({self.itemsize} bytes an entry)",
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

    def _table(self, style: str) -> str:
        from tabulate import tabulate  # when asked for: it is a sixth of what importing tnkit takes

        rows = _table_rows(self.steps, list(self.inputs), "")
        headers = ("result", "step", "of", "equation", "FLOPs", "entries")
        return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True))


def _table_rows(steps: Sequence[Step], names: list[str], mark: str) -> list[tuple[str, ...]]:
    """A line a step; those of a group, below it, are numbered within it."""
    rows: list[tuple[str, ...]] = []
    for k, step in enumerate(steps):
        new = f"{mark}#{k}"
        names.append(new)
        of = [names[s] for s in step.operands]
        rows.append(
            (new, _step_name(step), " ".join(of), step.equation, spelled_count(step.flops), spelled_count(step.size))
        )
        if isinstance(step, FusedStep):
            rows += _table_rows(step.body.steps, of, f"{new}.")
    return rows


def _every(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, FusedStep):
            yield from _every(step.body.steps)


def _step_name(step: Step) -> str:
    if isinstance(step, FusedStep):
        return f"{prod(step.counts)} slices" if step.counts else "chain" if step.kept else "checkpoint"
    if isinstance(step, ApplyStep):
        return step.fn if isinstance(step.fn, str) else getattr(step.fn, "__name__", "fn")
    return "reduce" if isinstance(step, ReduceStep) else "multiply" if step.multiply else "matmul"


# -- making one -------------------------------------------------------------------------------------------------------


def _plan(
    net: Network, optimizer: str | Optimizer | GivenOrder, itemsize: int, dynamic: str | None, memory_limit: float | None = None,
    slices: int = 1, checkpoint: bool | float = False, speed: Rates = DEFAULT,
) -> Plan:  # fmt: skip
    _check_dynamic(net, dynamic, memory_limit is not None or slices > 1 or checkpoint is not False)
    check_arrays_exist(net)
    given = optimizer if isinstance(optimizer, GivenOrder) else None
    search = "auto" if isinstance(optimizer, GivenOrder) else optimizer
    paths = None if given is None else map(list, given.paths)
    builder = StepBuilder(net, search, itemsize, dynamic, speed, paths)
    output = builder.contract(net, net.output)
    steps = builder.steps
    if dynamic is None:
        steps, output = fused(steps, builder.made, len(builder.inputs), output, checkpoint is False)
    made = Plan(
        net, builder.inputs, tuple(steps), output, tuple(builder.paths), itemsize, dynamic, last_use(steps, output), speed
    )  # fmt: skip
    asked = tuple(dict.fromkeys(builder.asked)) if given is None else given.sliced
    if asked:
        made = sliced_as_asked(made, builder, asked, memory_limit, slices)
    elif slices > 1 or (memory_limit is not None and made.peak > memory_limit):
        again = given is None and not has_memory(search)
        made = sliced_to_fit(made, builder, memory_limit, slices, again)
    else:
        check_steps_exist(builder)
    return made if checkpoint is False else _with_checkpoints(made, None if checkpoint is True else checkpoint)


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


def _with_checkpoints(whole: Plan, limit: float | None) -> Plan:
    inputs = whole._memory.layout[: len(whole.inputs)]
    entries = None if limit is None else limit / whole.itemsize
    steps, output, peak = checkpointed(whole.steps, inputs, whole.output, entries)
    if entries is not None and peak > entries:
        raise ValueError(
            f"checkpoint: forward and backward take {spelled_count(peak * whole.itemsize)}B at least, not {spelled_count(limit or 0)}B"
        )
    return replace(whole, steps=tuple(steps), output=output, last_use=last_use(steps, output))


def _byte_limit(x: Any, what: str) -> float:
    """A number of bytes from 0 up, which may be infinite."""
    if isinstance(x, (bool, np.bool_)) or not isinstance(x, (int, float, np.integer, np.floating)):
        raise TypeError(f"plan: {what} is a number of bytes, not {shown(x)}")
    if not x >= 0:
        raise ValueError(f"plan: {what} is {x}, which is no number of bytes")
    try:
        return float(x)
    except OverflowError:
        return float("inf")


_cached_plan = lru_cache(maxsize=1024, typed=True)(_plan)  # checkpoint=True is no limit of 1 byte


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
        An unknown optimizer, a path that is none, a dynamic index that is not in the output, a limit that cannot be kept, or a
        number out of range.
    TypeError
        No Network, or an argument that is no number.
    """
    a_network(net, "plan")
    itemsize, slices = whole_number(itemsize, "plan: itemsize", 1), whole_number(slices, "plan: slices", 1)
    if slices > 2 * MOST_SLICES**2:
        raise ValueError(f"plan: slices is at most {2 * MOST_SLICES**2}, not {shown(slices)}")
    dynamic = None if dynamic is None else text(dynamic, "plan: dynamic")
    memory_limit = None if memory_limit is None else _byte_limit(memory_limit, "memory_limit")
    checkpoint = bool(checkpoint) if isinstance(checkpoint, (bool, np.bool_)) else _byte_limit(checkpoint, "checkpoint")
    order = read_order(optimizer, net)
    if isinstance(optimizer, str) or order is not None:
        return _cached_plan(net, order or optimizer, itemsize, dynamic, memory_limit, slices, checkpoint, rates())
    return _plan(net, optimizer, itemsize, dynamic, memory_limit, slices, checkpoint, rates())

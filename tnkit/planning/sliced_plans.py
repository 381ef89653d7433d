"""Plans that run slice by slice: with the slices that an order asks for, or the cheapest that stay within a limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from tnkit.core.network import Network
from tnkit.core.numbers import as_float
from tnkit.paths.optimizers import Path
from tnkit.planning.axes import check_steps_exist
from tnkit.planning.builder import StepBuilder
from tnkit.planning.calibration import spelled_count
from tnkit.planning.fusion import fused
from tnkit.planning.slicing import candidates, choose, sliced_step
from tnkit.planning.steps import Program, last_use

if TYPE_CHECKING:
    from tnkit.planning.plan import Plan

__all__ = ["MOST_SLICES", "sliced_as_asked", "sliced_to_fit"]

Inds = tuple[str, ...]

#: Choices of slices that are planned before a limit is given up.
_ATTEMPTS = 60
#: A limit that needs more slices than this is refused: it would take days.
MOST_SLICES = 2**20


def _planned_by_slices(whole: Plan, builder: StepBuilder, sliced: Inds, paths: Iterable[Path] | None) -> Plan:
    """The plan that runs one slice after another, by these paths or by those that the optimizer finds for a slice."""
    net = whole.network
    end = builder.next_slot - 1 if builder.steps else whole.output
    program = Program(tuple(builder.steps), end, last_use(builder.steps, end))

    def build(one: Network) -> tuple[tuple[str, ...], Program]:
        part = StepBuilder(one, builder.optimizer, whole.itemsize, None, builder.rates, paths)
        end = part.contract(one, one.output)
        check_steps_exist(part)
        steps, end = fused(part.steps, part.made, len(part.inputs), end)
        return part.inputs, Program(tuple(steps), end, last_use(steps, end))

    step = sliced_step(net, sliced, builder.slots, program, len(whole.inputs), build)
    return replace(whole, steps=(step,), output=step.target, last_use=last_use((step,), step.target))


def sliced_as_asked(whole: Plan, builder: StepBuilder, asked: Inds, limit: float | None, slices: int) -> Plan:
    """The plan with the slices of the order itself; ValueError where they cannot be had, or are not enough."""
    net = whole.network
    if whole.dynamic is not None:
        raise ValueError(f"plan: the order slices index {asked[0]!r}; with a dynamic index nothing is sliced")
    wrong = [i for i in asked if i not in candidates(net) and net.sizes.get(i, 2) > 1]
    if wrong:
        raise ValueError(
            f"plan: the order slices index {wrong[0]!r}, which is a trace or inside an activation; ask for slices by memory_limit="
        )
    asked = tuple(sorted((i for i in asked if net.sizes[i] > 1), key=lambda i: i not in net.output))
    made = _planned_by_slices(whole, builder, asked, map(list, whole.paths)) if asked else whole
    count = prod(net.sizes[i] for i in asked)
    if count < slices or (limit is not None and made.peak > limit):
        raise ValueError(
            f"plan: the order's own {count} slices ({' '.join(asked)}) take {spelled_count(made.peak)}B; they are kept as they are, and "
            f"{f'slices={slices}' if count < slices else f'memory_limit={spelled_count(limit or 0)}B'} needs more: give an order without slices"
        )
    return made


def sliced_to_fit(whole: Plan, builder: StepBuilder, limit: float | None, slices: int, again: bool) -> Plan:
    """The cheapest plan by slices that stays within ``limit`` bytes; ``again``: a slice may have an order of its own."""
    net, itemsize = whole.network, whole.itemsize
    allowed = sorted(
        candidates(net), key=lambda i: i not in net.output
    )  # the output's first: sums end one after another
    given = sum(prod(s) for s in net.array_shapes.values()) + prod(net.shape)
    room = float("inf") if limit is None else limit / as_float(itemsize) - as_float(given)
    least, before = whole, None
    for _ in range(_ATTEMPTS):
        sliced = choose(builder.made, allowed, room, slices, max(MOST_SLICES, slices)) if room > 0 else None
        if sliced is None or prod(net.sizes[i] for i in sliced) > max(MOST_SLICES, slices):
            break
        if sliced != before:
            found = _planned_by_slices(whole, builder, sliced, map(list, whole.paths))
            least = min(least, found, key=lambda p: p.peak)
            if limit is None or found.peak <= limit:
                both = [found, _planned_by_slices(whole, builder, sliced, None)] if again else [found]
                return min((p for p in both if limit is None or p.peak <= limit), key=lambda p: sum(p.seconds))
        before, room = sliced, 0.7 * room  # what is alive beside a step's own tensors is known of a plan only
    wanted = [f"memory_limit={spelled_count(limit)}B"] if limit is not None else []
    wanted += [f"{slices} slices"] if slices > 1 else []
    most = f"up to {MOST_SLICES:,}"
    tried = (
        f"no slices were found that fit, of {most}; without slices the order"
        if least is whole
        else f"the least that was found in {most} slices"
    )
    raise ValueError(
        f"{net!r}: {' in '.join(wanted)} cannot be planned; inputs and result alone take {spelled_count(given * itemsize)}B, and "
        f"{tried} takes {spelled_count(least.peak)}B"
    )

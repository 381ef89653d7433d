"""The steps of a plan in the network's own words: which nodes, over which indices, at what cost, and what is alive meanwhile.

A plan counts on slots and letters; here every step names its operands by node, its axes by index.  Groups (slices, chains,
checkpoints) are opened, so the list is flat: carried out one after another, as one einsum or one function each, the records
give the contraction.  Nothing is estimated: FLOPs, bytes and memory are the plan's own, and add up to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from tnkit.core.network import Elementwise, Network, inside_out, levels
from tnkit.core.node import Node
from tnkit.core.spelling import function_name
from tnkit.planning.memory import Memory, forward_live, slice_memory
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, ReduceStep, Step

__all__ = ["TimelineStep", "timeline_of"]

Inds = tuple[str, ...]


@dataclass(frozen=True)
class TimelineStep:
    """One step of a plan, in the network's names.

    Attributes
    ----------
    name
        ``#0``, ``#1``, ...: what later steps call its result.
    kind
        ``contract``, ``multiply`` (of two tensors, nothing is summed), ``reduce`` (of one: traces, sums, a new order of its
        axes), ``apply`` (a function), or ``slice`` (of a slice that needs no step of its own).
    function
        Name of the function that is applied, else empty.
    operands, inds
        Name of each operand, a node's or an earlier step's, and its indices.
    result, shape
        The indices of the result, and the shape that is computed: without the indices in ``sliced``.
    summed
        The indices that end here; of slices that are added up, their indices too, at the last step.
    leaves
        Names of the nodes that are in the result.
    region
        The nonlinear node inside which it happens, with the body's number where it has several; empty outside all of them.
    barrier
        Of a function: the nonlinear node that ends here.
    flops, bytes_moved, live
        As the plan counts: the sums over all steps are ``plan.flops`` and ``plan.bytes_moved``, the largest ``live`` is
        ``plan.peak``.
    widened
        How many times the operations of its equation it does, to spare the copy of a large tensor: a small matrix is spread
        over neighbouring axes, with zeros between.  1, mostly.
    group
        ``slices``, ``chain`` or ``checkpoint`` where it runs as a part of such a group, else empty.
    sliced, times
        The indices whose values are taken one at a time, and how often the step runs.
    """

    name: str
    kind: str
    function: str
    operands: tuple[str, ...]
    inds: tuple[Inds, ...]
    result: Inds
    shape: tuple[int, ...]
    summed: Inds
    leaves: tuple[str, ...]
    region: str
    barrier: str
    flops: int
    bytes_moved: int
    live: int
    widened: int = 1
    group: str = ""
    sliced: Inds = ()
    times: int = 1

    @property
    def equation(self) -> str:
        """As ``A[i r], B[r j] -> [i j]``."""
        of = ", ".join(f"{name}[{' '.join(inds)}]" for name, inds in zip(self.operands, self.inds, strict=True))
        return f"{of} -> [{' '.join(self.result)}]"

    def as_dict(self) -> dict[str, Any]:
        """Its fields and its equation, of strings, numbers and tuples, as JSON takes them."""
        return {**asdict(self), "equation": self.equation}


def timeline_of(
    net: Network, inputs: Sequence[str], program: Program, memory: Memory, itemsize: int
) -> tuple[TimelineStep, ...]:
    """The records of a plan's steps, in the order in which they run."""
    walk = _Walk(net, itemsize)
    copied = [2 * sum(copies) for copies in memory.copied]
    moved = [step.read + step.size + extra for step, extra in zip(program.steps, copied, strict=True)]
    live = forward_live(memory, program.last_use)
    slots: list[_Slot] = [_Input(name, (None,) * len(net.array_shapes[name])) for name in inputs]
    walk.steps(program.steps, slots, memory, _Frame(live, moved))
    return tuple(walk.records)


# -- what stands in slots ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Input:
    """An array that nodes are filled from: of a slice, the index of each axis that is fixed, None for the others."""

    array: str
    fixed: tuple[str | None, ...]


@dataclass(frozen=True)
class _Value:
    """A node's tensor or a step's result."""

    name: str
    inds: Inds
    region: int
    leaves: tuple[str, ...]


_Slot = _Input | _Value


@dataclass(frozen=True)
class _Frame:
    """Steps that run together: what is alive while each of them runs and what it moves, in entries; and how they run."""

    live: Sequence[int]
    moved: Sequence[int]
    times: int = 1
    group: str = ""
    sliced: Inds = ()


@dataclass
class _Region:
    """A multilinear piece: the nonlinear node that it is a body of, what stands around it, and how many tensors it has left."""

    label: str
    barrier: str
    parent: int
    left: int


class _Walk:
    """The records so far, and the nodes that no step has read yet."""

    def __init__(self, net: Network, itemsize: int) -> None:
        self.records: list[TimelineStep] = []
        self.itemsize = itemsize
        self.sizes = {i: n for level in levels(net) for i, n in level.sizes.items()}
        self.regions: list[_Region] = []
        self.unread: dict[tuple[str, Inds], list[_Value]] = {}
        homes = self._homes(net)
        for part in inside_out(net):  # the order in which a plan reads them
            for node in part.nodes if isinstance(part, Network) else ():
                if isinstance(node, Node):
                    value = _Value(node.name, node.inds, homes[id(part)], (node.name,))
                    self.unread.setdefault((node.array, node.inds), []).append(value)

    def _homes(self, net: Network) -> dict[int, int]:
        """The regions, outermost first: which one each level of the network is."""
        homes = {id(net): 0}
        self.regions.append(_Region("", "", -1, len(net.nodes)))
        for level in levels(net):
            for node in (n for n in level.nodes if isinstance(n, Elementwise)):
                for k, body in enumerate(node.bodies):
                    homes[id(body)] = len(self.regions)
                    label = f"{node.name}[{k}]" if len(node.bodies) > 1 else node.name
                    self.regions.append(_Region(label, node.name, homes[id(level)], len(body.nodes)))
        return homes

    def steps(self, steps: Sequence[Step], slots: list[_Slot], memory: Memory, frame: _Frame) -> None:
        """Record the steps; their results are added to ``slots``."""
        for k, step in enumerate(steps):
            if isinstance(step, FusedStep):
                slots.append(self.group(step, k, slots, memory, frame))
            else:
                slots.append(self.step(step, [slots[s] for s in step.operands], frame, k))

    def step(self, step: Step, slots: Sequence[_Slot], frame: _Frame, k: int) -> _Value:
        """Record a step that is no group; its result."""
        assert not isinstance(step, FusedStep)
        *own, out = step.inds
        of = self.read(slots, own, isinstance(step, ApplyStep))
        carried = tuple(i for i in frame.sliced if any(i in value.inds for value in of))
        region = self.regions[of[0].region]
        ends = tuple(i for i in dict.fromkeys(i for inds in own for i in inds) if i not in out)
        function = function_name(step.fn) if isinstance(step, ApplyStep) else ""
        kind = "apply" if function else "reduce" if isinstance(step, ReduceStep) else "contract"
        summed = ends
        if isinstance(step, ContractStep):
            kind = "multiply" if step.multiply else "contract"
            summed = tuple(i for i in ends if all(i in inds for inds in own))  # others have size 1, and are left out
        region.left -= 0 if function else len(of) - 1
        made = _Value(
            f"#{len(self.records)}", (*carried, *out), region.parent if function else of[0].region,
            tuple(leaf for value in of for leaf in value.leaves),
        )  # fmt: skip
        self.records.append(TimelineStep(
            made.name, kind, function, tuple(v.name for v in of), tuple(v.inds for v in of), made.inds,
            tuple(self.sizes[i] for i in out), summed, made.leaves, region.label, region.barrier if function else "",
            frame.times * step.flops, frame.moved[k] * self.itemsize, frame.live[k] * self.itemsize,
            prod(max(view.beside for view in step.views)) if isinstance(step, ContractStep) else 1,
            frame.group, frame.sliced, frame.times,
        ))  # fmt: skip
        return made

    def read(self, slots: Sequence[_Slot], inds: Sequence[Inds], applied: bool) -> list[_Value]:
        """The values in the slots; of an array that fills several nodes, the node that a step with these indices reads."""
        known = next((slot.region for slot in slots if isinstance(slot, _Value)), None)
        found: list[_Value] = []
        for slot, own in zip(slots, inds, strict=True):
            value = slot if isinstance(slot, _Value) else self.node(slot, own, None if applied else known, applied)
            known = value.region
            found.append(value)
        if not applied and len({value.region for value in found}) > 1:  # equal nodes of two regions: take the other one
            first = slots[0]
            assert isinstance(first, _Input)
            self.unread[(first.array, found[0].inds)].insert(0, found[0])
            found[0] = self.node(first, inds[0], found[1].region, False)
        return found

    def node(self, slot: _Input, inds: Inds, region: int | None, applied: bool) -> _Value:
        """The first node that nothing has read, filled from an array and of these indices, in that region if one is known."""
        rest = iter(inds)
        full = tuple(next(rest) if i is None else i for i in slot.fixed)
        unread = self.unread[(slot.array, full)]
        allowed = [
            value
            for value in unread
            if (region is None or value.region == region)
            and (not applied or (value.region > 0 and self.regions[value.region].left == 1))
        ]
        value = (allowed or unread)[0]
        unread.remove(value)
        return value

    def group(self, group: FusedStep, k: int, slots: list[_Slot], memory: Memory, frame: _Frame) -> _Value:
        """Record the steps of a group; its result."""
        inner, sliced = slice_memory(group, memory.layout), group.sliced
        given, steps = sum(inner.sizes[: inner.inputs]), group.body.steps
        times = frame.times * prod(group.counts)
        if group.kept:  # one allocation, for as long as the chain runs
            live = [frame.live[k]] * len(steps)
        else:
            base = frame.live[k] - memory.inside[k] - given - (0 if group.counts else group.size)
            live = [base + entries for entries in forward_live(inner, group.body.last_use)]
        kind = "slices" if group.counts else "chain" if group.kept else "checkpoint"
        kind = f"{frame.group}, {kind}" if frame.group else kind
        here = _Frame(live, _moved(group, frame.moved[k], times, inner.sizes), times, kind, (*frame.sliced, *sliced))
        own = [_cut(slots[s], axes, sliced) for s, axes in zip(group.operands, group.axes, strict=True)]
        if steps:
            self.steps(steps, own, inner, here)
        else:
            own[group.body.output] = self.whole(own[group.body.output], frame, k, here)
        value = own[group.body.output]
        assert isinstance(value, _Value)
        if not group.counts:
            return value
        inds = [i for i in value.inds if i not in sliced]
        for at, i in sorted((at, i) for at, i in zip(group.out_axes, sliced, strict=True) if at is not None):
            inds.insert(at + sum(i in frame.sliced for i in value.inds), i)
        return self.ended(value, tuple(inds), sliced)

    def whole(self, slot: _Slot, frame: _Frame, k: int, here: _Frame) -> _Value:
        """Record slices that need no step: they are an operand's."""
        assert isinstance(slot, _Input)
        full = next(inds for (array, inds), left in self.unread.items() if array == slot.array and left)
        of = self.node(slot, tuple(i for i, fixed in zip(full, slot.fixed, strict=True) if fixed is None), 0, False)
        made = _Value(f"#{len(self.records)}", of.inds, of.region, of.leaves)
        shape = tuple(self.sizes[i] for i in of.inds if i not in here.sliced)
        self.records.append(TimelineStep(
            made.name, "slice", "", (of.name,), (of.inds,), made.inds, shape, (), made.leaves, "", "", 0,
            frame.moved[k] * self.itemsize, frame.live[k] * self.itemsize, 1, here.group, here.sliced, here.times,
        ))  # fmt: skip
        return made

    def ended(self, value: _Value, inds: Inds, sliced: Inds) -> _Value:
        """The result of all slices together, which the last step of a slice adds to, or puts into its place."""
        last = self.records[-1]
        ended = tuple(i for i in sliced if i in last.result and i not in inds)
        changed = {**last.__dict__, "result": inds, "summed": (*last.summed, *ended)}
        self.records[-1] = TimelineStep(**changed)
        return _Value(value.name, inds, value.region, value.leaves)


def _cut(slot: _Slot, axes: Sequence[int | None], sliced: Inds) -> _Slot:
    """What a slice sees of a slot: an array with more axes fixed; values keep all their indices."""
    if isinstance(slot, _Value):
        return slot
    free = [k for k, fixed in enumerate(slot.fixed) if fixed is None]
    at = {free[axis]: i for axis, i in zip(axes, sliced, strict=True) if axis is not None} if sliced else {}
    return _Input(slot.array, tuple(at.get(k, fixed) for k, fixed in enumerate(slot.fixed)))


def _moved(group: FusedStep, total: int, times: int, entries: Sequence[int]) -> list[int]:
    """The entries that a group moves, a step of it: all that its steps move, or what goes in and comes out alone."""
    steps = group.body.steps
    own = [times * (step.read + step.size) for step in steps]
    if sum(own) > total:  # between its steps nothing leaves the cache: operands are read once, the result is written
        own, seen = [0] * len(steps), set()
        for k, step in enumerate(steps):
            for s in step.operands:
                if s < len(group.operands) and s not in seen:
                    seen.add(s)
                    without = prod(n for n, axis in zip(group.counts, group.axes[s], strict=True) if axis is None)
                    own[k] += times * entries[s] // without  # slices of an index that an operand has not read it once
    if own:
        own[-1] += total - sum(own)
    return own

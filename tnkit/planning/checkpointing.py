"""Checkpointing: which intermediates a backward pass keeps, and which it makes again.

The steps of a plan are parted into segments; each becomes one group that keeps its operands alone and runs a second time in
backward.  How much a segment may spare is the one number that is searched: small segments keep much and peak little, large
ones the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

from tnkit.core.numbers import as_float
from tnkit.planning.fusion import at_once
from tnkit.planning.memory import Layout, Memory, backward_peak, kept_for_backward, layouts
from tnkit.planning.steps import FusedStep, Step, last_use, renumbered

__all__ = ["checkpointed"]

#: Sizes of segments that are tried: all that autograd keeps, times these.
_PARTS = tuple(0.75**k for k in range(24))


def checkpointed(
    steps: Sequence[Step], inputs: Sequence[Layout], output: int, limit: float | None
) -> tuple[list[Step], int, int]:
    """The steps in segments, the slot of the result, and the entries alive at most in forward and backward.

    Parameters
    ----------
    steps, inputs, output
        The plan's steps, the layouts of its inputs, the slot of its result.
    limit
        Entries: the fewest operations done twice within it, or the smallest peak if none is.  None: the smallest peak.
    """
    memory = layouts(inputs, steps)
    peak = backward_peak(memory, steps, output, last_use(steps, output))
    tries: list[tuple[int, int, list[Step], int]] = [(peak, _twice(steps), list(steps), output)]
    if limit is None or peak > limit:
        total = as_float(sum(kept_for_backward(memory, steps)[0]))
        for partition in dict.fromkeys(_segments(steps, memory, output, total * part) for part in _PARTS):
            new, out = _in_segments(steps, partition, memory, output)
            peak = backward_peak(layouts(inputs, new), new, out, last_use(new, out))
            tries.append((peak, _twice(new), new, out))
    least = min(t[0] for t in tries)
    allowed = least + least // 100 if limit is None else max(limit, least)  # a per cent of memory is not worth work
    peak, _, best, out = min((t for t in tries if t[0] <= allowed), key=lambda t: (t[1], t[0]))
    return best, out, peak


def _twice(steps: Sequence[Step]) -> int:
    return sum(step.again for step in steps if isinstance(step, FusedStep))


def _segments(steps: Sequence[Step], memory: Memory, output: int, most: float) -> tuple[int, ...]:
    """For each step the last step of its segment: joined to its operands' segments while they spare at most ``most``."""
    n = memory.inputs
    begun, _ = kept_for_backward(memory, steps)
    users = [0] * (n + len(steps))
    for step in steps:
        for s in set(step.operands):
            users[s] += 1
    spared = list(begun)  # of the segment that ends at a step
    owner = list(range(len(steps)))
    for k, step in enumerate(steps):
        inner = {s - n for s in step.operands if s >= n and users[s] == 1 and s != output}
        for j in sorted(inner, key=lambda j: spared[j]):
            if spared[k] + spared[j] <= most:
                spared[k] += spared[j]
                owner[j] = k
    for k in reversed(range(len(steps))):
        owner[k] = owner[owner[k]]
    return tuple(owner)


def _in_segments(steps: Sequence[Step], owner: Sequence[int], memory: Memory, output: int) -> tuple[list[Step], int]:
    """Every segment of several steps as one group, where its last step stood."""
    n = memory.inputs
    slot = {s: s for s in range(n)}
    out: list[Step] = []
    for k, last in enumerate(steps):
        if owner[k] != k:
            continue
        members = [steps[j] for j in range(k + 1) if owner[j] == k]
        new = at_once(members, f"{len(members)} steps, again in backward", kept=False) if len(members) > 1 else last
        out.append(renumbered(new, tuple(slot[s] for s in new.operands), n + len(out)))
        slot[last.target] = out[-1].target
    return out, slot[output]

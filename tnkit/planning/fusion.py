"""Runs of steps on large tensors, executed slice by slice so that what lies between them stays in the cache.

A step that contracts some axes of a large tensor leaves the others alone; steps that follow one another and all leave the
same axes alone can be run for one slice of those axes at a time.  A brick wall's windows and activations are such runs: the
weight is then read and written once a run, not once a step.  On tensors that are not so large a run is one slice, whose
buffers are used again (:mod:`tnkit_nn.engine.chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from tnkit.planning.lowering import lower_pair
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, ReduceStep, Step, last_use, renumbered

__all__ = ["Made", "at_once", "fused"]

Inds = tuple[str, ...]

#: Entries of a tensor worth slicing (below it, what a slice saves is lost to its overhead), and of a slice of it.
LARGE, SLICE = 2**23, 2**18
#: Entries of a result beside which the copy of an operand is made a slice at a time, and how many slices.
HUGE, _COPIES = 2**28, 16
#: Entries from which steps that follow one another share buffers: below it, memory costs nothing.
KEPT = 2**17
#: Entries of a slice at least: below it, starting the slice costs more than what is done in it.
LEAST_SLICE = 2**15
#: Neighbouring entries in memory that a slice has at least: fewer waste the cache lines that they are on.
_NEIGHBOURS = 64


@dataclass(frozen=True)
class Made:
    """The indices of a step, from which it can be lowered again for a slice."""

    sizes: Mapping[str, int]
    operands: tuple[Inds, ...]
    result: Inds
    keep: frozenset[str] = frozenset()
    rank: Mapping[str, float] = field(default_factory=dict)


def fused(
    steps: Sequence[Step], made: Sequence[Made], inputs: int, output: int, kept: bool = True
) -> tuple[list[Step], int]:
    """The steps with runs on large tensors replaced by groups, renumbered; with ``kept``, those on smaller ones too."""
    if all(step.size < min(KEPT, LARGE) for step in steps):  # as of nearly all contractions
        return list(steps), output
    out: list[tuple[Step, int]] = []  # a step, and the slot of its result before
    k = 0
    users: dict[int, int] = {}
    for step in steps:
        for s in step.operands:
            users[s] = users.get(s, 0) + 1
    while k < len(steps):
        run, between = _large_run(steps, made, k, users, output)
        sliced = _slices([made[r] for r in run]) if run else None
        if len(run) == 1 and isinstance(steps[k], ContractStep):
            # slices of a product alone are smaller products and nothing that stays in the cache: it gains memory that is
            # asked for as a whole, but for one whose copy would be a third tensor of gigabytes
            sliced = (_copied_slices(steps[k], made[k]) or ()) if kept else None
        elif sliced is None and kept:
            run, between = _medium_run(steps, k, users, output)
            sliced = () if run else None
        if sliced is None:
            out.append((steps[k], steps[k].target))
            k += 1
            continue
        out += [(steps[b], steps[b].target) for b in between]
        members = [steps[r] for r in run]
        spelled = " ; ".join(step.equation for step in members)
        group = (
            _fused_slices(members, [made[r] for r in run], sliced) if sliced else at_once(members, spelled, kept=True)
        )
        out.append((group, steps[run[-1]].target))
        k = run[-1] + 1
    slot = {s: s for s in range(inputs)}
    result: list[Step] = []
    for step, old in out:
        slot[old] = inputs + len(result)
        operands = tuple(slot[s] for s in step.operands)
        result.append(renumbered(step, operands, slot[old]))
    return result, slot[output]


def _large_run(
    steps: Sequence[Step], made: Sequence[Made], first: int, users: Mapping[int, int], output: int
) -> tuple[list[int], list[int]]:
    """Positions of the steps that form a run from ``first`` on, and of those in between that do not depend on it."""
    return _followed(steps, first, users, output, _large, lambda run: _slices([made[r] for r in run]) is not None)


def _medium_run(
    steps: Sequence[Step], first: int, users: Mapping[int, int], output: int
) -> tuple[list[int], list[int]]:
    """The same for a run of one slice: from a product to a product."""
    if not isinstance(steps[first], ContractStep) or steps[first].size >= LARGE:
        return [], []
    run, between = _followed(steps, first, users, output, _medium, lambda run: steps[run[-1]].size < LARGE)
    while run and not isinstance(steps[run[-1]], ContractStep):
        run.pop()
    return (run, [b for b in between if b < run[-1]]) if len(run) > 1 else ([], [])


def _followed(
    steps: Sequence[Step], first: int, users: Mapping[int, int], output: int,
    large: Callable[[Step], bool], allowed: Callable[[list[int]], bool],
) -> tuple[list[int], list[int]]:  # fmt: skip
    """A run of steps on ``large`` tensors, each acting on the one before, and what is in between."""
    if not large(steps[first]):
        return [], []
    run, between, inner = [first], [], {steps[first].target}
    for k in range(first + 1, len(steps)):
        step, now = steps[k], steps[run[-1]].target
        if now not in step.operands:
            if inner & set(step.operands) or large(step):
                break
            between.append(k)
            continue
        alone = users[now] == 1 and now != output and step.operands.count(now) == 1
        if not alone or not large(step) or not allowed([*run, k]):
            break
        run.append(k)
        inner.add(step.target)
    return run, [b for b in between if b < run[-1]]


def _medium(step: Step) -> bool:
    return not isinstance(step, (ReduceStep, FusedStep)) and step.size >= KEPT


def at_once(steps: Sequence[Step], equation: str, kept: bool) -> FusedStep:
    """One group of steps that are not sliced, on the slots where they stand."""
    inner = {step.target for step in steps}
    outside = tuple(dict.fromkeys(s for step in steps for s in step.operands if s not in inner))
    local = {s: k for k, s in enumerate([*outside, *(step.target for step in steps)])}
    last = steps[-1]
    own = tuple(renumbered(step, tuple(local[s] for s in step.operands), local[step.target]) for step in steps)
    body = Program(own, local[last.target], last_use(own, local[last.target]))
    return FusedStep(
        outside, last.target, equation, ((),) * len(outside), (), (), (), body, body,
        flops=sum(s.flops for s in steps), read=sum(s.read + s.size for s in steps) - last.size, size=last.size,
        kept=kept,
    )  # fmt: skip


def _large(step: Step) -> bool:
    return not isinstance(step, (ReduceStep, FusedStep)) and step.size >= LARGE


def _slices(run: Sequence[Made]) -> Inds | None:
    """The indices to slice: neighbours on every tensor of the run, carried along, outermost where possible."""
    sizes: dict[str, int] = {}
    for m in run:
        sizes |= m.sizes
    axes = run[0].result
    large = [
        t for m in run for t in m.operands if prod(sizes[i] for i in t) >= LARGE
    ]  # none is read whole for every slice
    shared = set(axes).intersection(*(m.result for m in run), *large)
    most = max(prod(sizes[i] for i in m.result) for m in run)
    need = most // SLICE
    for start in range(len(axes)):
        chosen: list[str] = []
        for i in axes[start:]:
            if i not in shared or prod(sizes[c] for c in chosen) >= need:
                break
            chosen.append(i)
        after = prod(sizes[i] for i in run[-1].result[run[-1].result.index(chosen[-1]) + 1 :]) if chosen else 0
        count = prod(sizes[i] for i in chosen)
        if chosen and count >= need and most // count >= min(LEAST_SLICE, SLICE) and after >= _NEIGHBOURS:
            return tuple(chosen)
    return None


def _copied_slices(step: Step, made: Made) -> Inds | None:
    """The indices to slice where a huge product copies an operand whose axes are in another order; else None."""
    if (
        not isinstance(step, ContractStep)
        or step.size < HUGE
        or step.multiply
        or step.broadcast
        or all(view.permute is None for view in step.views)
    ):
        return None
    large = max(made.operands, key=lambda t: prod(made.sizes[i] for i in t))
    chosen: list[str] = []
    for i in made.result:
        if prod(made.sizes[c] for c in chosen) >= _COPIES:
            break
        chosen += [i] if i in large else []
    return tuple(chosen) or None


def _fused_slices(steps: Sequence[Step], made: Sequence[Made], sliced: Inds) -> FusedStep:
    """One step that runs ``steps`` for every slice."""
    inner = {step.target for step in steps}
    # a tied array may be read twice, by different indices: one operand each
    outside = list(
        dict.fromkeys(
            (s, t)
            for step, m in zip(steps, made, strict=True)
            for s, t in zip(step.operands, m.operands, strict=True)
            if s not in inner
        )
    )
    local: dict[tuple[int, Inds] | int, int] = {key: k for k, key in enumerate(outside)}
    local |= {step.target: len(outside) + k for k, step in enumerate(steps)}
    held = {local[key]: tuple(i for i in key[1] if i not in sliced) for key in outside}
    cut: list[Step] = []
    uncut: list[Step] = []
    for k, (step, m) in enumerate(zip(steps, made, strict=True)):
        keys = zip(step.operands, m.operands, strict=True)
        operands, target = tuple(local[s if s in inner else (s, t)] for s, t in keys), local[step.target]
        uncut.append(renumbered(step, operands, target))
        ordered = k == len(steps) - 1 or isinstance(steps[k + 1], ApplyStep)  # the axes of a function's arguments agree
        if isinstance(step, ContractStep):
            a, b = (held[s] for s in operands)
            wanted = tuple(i for i in m.result if i not in sliced)
            keep = [i for i in m.keep if i not in sliced]
            new, result = lower_pair(
                a, b, keep, m.sizes, (operands[0], operands[1]), target, None, wanted if ordered else None, m.rank
            )
            cut.append(new)
            held[target] = result
        else:
            assert isinstance(step, ApplyStep)
            size = prod(m.sizes[i] for i in m.result if i not in sliced)
            held[target] = held[operands[0]]
            cut.append(
                replace(
                    step,
                    operands=operands,
                    target=target,
                    size=size,
                    read=size * len(operands),
                    flops=size,
                    inds=(held[target],) * (len(operands) + 1),
                )
            )
    result = made[-1].result
    axes = tuple(tuple(t.index(i) if i in t else None for i in sliced) for _, t in outside)
    sizes = {i: n for m in made for i, n in m.sizes.items()}
    counts = tuple(sizes[i] for i in sliced)
    return FusedStep(
        tuple(s for s, _ in outside), steps[-1].target, " ; ".join(step.equation for step in steps), axes, counts,
        tuple(sizes[i] for i in result), tuple(result.index(i) for i in sliced),
        Program(tuple(cut), local[steps[-1].target], last_use(cut, local[steps[-1].target])),
        Program(tuple(uncut), local[steps[-1].target], last_use(uncut, local[steps[-1].target])),
        flops=prod(counts) * sum(s.flops for s in cut), read=sum(prod(sizes[i] for i in t) for _, t in outside),
        size=steps[-1].size, sliced=sliced,
    )  # fmt: skip

"""The steps that a plan is made of.

Every step is a frozen value of numbers, so ``torch.compile`` and ``vmap`` see constants.  No einsum string is evaluated
at run time: letters exist for the reader only, and no step is limited to 52 of them.  A shape entry of -1 stands for the
one dynamic index (a batch whose size is known only when the plan runs).  ``inds`` are the network's names: of the indices of
each operand, then of the result; nothing is computed from them, so they are no part of what makes two steps equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

from tnkit.core.activations import Activation
from tnkit.core.lazy import cached_property, state_of
from tnkit.planning.strides import View

Inds = tuple[str, ...]

__all__ = ["ApplyStep", "ContractStep", "FusedStep", "Program", "ReduceStep", "Step", "last_use", "renumbered"]


@dataclass(frozen=True)
class ReduceStep:
    """One tensor alone: diagonals of its traces, then sums over ``axes``, then a permutation."""

    operand: int
    target: int
    equation: str
    diagonals: tuple[tuple[int, int], ...]
    axes: tuple[int, ...]
    permute: tuple[int, ...] | None
    flops: int
    read: int
    size: int
    inds: tuple[Inds, ...] = field(default=(), compare=False, repr=False)

    @property
    def operands(self) -> tuple[int, ...]:
        """Slots read."""
        return (self.operand,)


@dataclass(frozen=True)
class ContractStep:
    """Two tensors into one: ``(batch, m, k) @ (batch, k, n)``, or their outer product where no index is summed.

    ``result`` is applied the other way round: reshaped first (never a copy), then permuted.  With ``broadcast``, one matrix
    ``(n, k)`` times every matrix of a batch ``(f, k, g)``.
    """

    operands: tuple[int, int]
    target: int
    equation: str
    views: tuple[View, View]
    multiply: bool
    result: View
    flops: int
    read: int
    size: int
    broadcast: bool = False
    inds: tuple[Inds, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class ApplyStep:
    """``fn`` on tensors whose axes already agree."""

    operands: tuple[int, ...]
    target: int
    equation: str
    fn: str | Activation
    flops: int
    read: int
    size: int
    inds: tuple[Inds, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Program:
    """Steps on slots of their own: the arguments come first, then one slot a step."""

    steps: tuple[Step, ...]
    output: int
    last_use: tuple[tuple[int, ...], ...]

    @cached_property
    def runners(self) -> dict[Any, Any]:
        """The code made of it, by the library's key (:mod:`tnkit.execution.codegen`)."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """Itself: a value."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the code, which is made again where it is needed."""
        return {k: v for k, v in state_of(self).items() if k != "runners"}


@dataclass(frozen=True)
class FusedStep:
    """Several steps run together, slice by slice of some indices, or all at once where ``counts`` is empty.

    Between the first and the last, tensors exist in slices alone; a backward pass keeps the operands and runs every slice
    again.  Slices of an index that is not in the result are summed.  A group that is ``kept`` is one slice of which backward
    keeps every tensor: what it spares is memory asked for at every step.

    Attributes
    ----------
    axes
        For each operand, its axes of the sliced indices, in their order; None where it has not the index.
    counts
        Sizes of the sliced indices.
    shape, out_axes
        Shape of the result and its axes of the sliced indices; None for one that is summed.
    body
        The steps for one slice.
    whole
        The same steps for all slices at once.
    kept
        Whether backward keeps the tensors between the steps.
    sliced
        The network's names of the sliced indices.
    """

    operands: tuple[int, ...]
    target: int
    equation: str
    axes: tuple[tuple[int | None, ...], ...]
    counts: tuple[int, ...]
    shape: tuple[int, ...]
    out_axes: tuple[int | None, ...]
    body: Program
    whole: Program
    flops: int
    read: int
    size: int
    kept: bool = False
    sliced: Inds = field(default=(), compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """As it is now: what is found out of it meanwhile is no part of it."""
        return state_of(self)

    @property
    def summed(self) -> bool:
        """Whether slices are added up, rather than put beside one another."""
        return None in self.out_axes

    @property
    def again(self) -> int:
        """Operations that backward does again, those of groups inside included; no gradient wants a chain's last product."""
        if self.kept:
            return 0
        inside = (s.again for s in self.body.steps if isinstance(s, FusedStep))
        last = self.body.steps[-1] if self.body.steps else None  # a slice may be an operand's, as it is
        spared = last.flops if self.chain and isinstance(last, ContractStep) else 0
        return self.flops + prod(self.counts) * (sum(inside) - spared)

    @cached_property
    def chain(self) -> bool:
        """Whether it is sliced, not summed, and each of its products and functions acts on the result of the one before."""
        steps = self.body.steps
        return (
            bool(self.counts and steps)
            and not self.summed
            and all(isinstance(step, (ContractStep, ApplyStep)) for step in steps)
            and all(a.target in b.operands for a, b in pairwise(steps))
            and steps[-1].target == self.body.output
        )


Step = ReduceStep | ContractStep | ApplyStep | FusedStep


def renumbered(step: Step, operands: tuple[int, ...], target: int) -> Step:
    """The same step on other slots."""
    if isinstance(step, ReduceStep):
        return replace(step, operand=operands[0], target=target)
    return replace(step, operands=operands, target=target)  # type: ignore[arg-type]


def last_use(steps: Sequence[Step], output: int) -> tuple[tuple[int, ...], ...]:
    """After each step, the slots that nothing reads any more."""
    dead: list[tuple[int, ...]] = []
    seen = {output}
    for step in reversed(steps):
        new = tuple([s for s in dict.fromkeys(step.operands) if s not in seen])
        seen.update(new)
        dead.append(new)
    return tuple(reversed(dead))

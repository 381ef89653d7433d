"""How much memory a chain takes that runs in buffers: the rows of torch's engine (:mod:`tnkit_nn.engine.chain`), counted.

A chain of products and functions writes every tensor into a row of one allocation, or over its argument.  Which rows are
taken and given back depends on sizes alone, so the plan takes and gives back the same ones, without memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tnkit.planning.steps import ApplyStep, ContractStep, Step
from tnkit.planning.temporaries import temporaries

__all__ = ["Chain", "chain_memory"]


@dataclass
class _Rows:
    """Rows given back first, then parts of one allocation, then new ones: their sizes."""

    entries: int
    at: int = 0
    new: int = 0
    free: list[int] = field(default_factory=list)

    def take(self, entries: int) -> int:
        for k, row in enumerate(self.free):
            if row >= entries:
                return self.free.pop(k)
        if self.at + entries > self.entries:
            self.new += entries
        else:
            self.at += entries
        return entries

    def give(self, row: int | None) -> None:
        if row is not None:
            self.free.append(row)

    @property
    def taken(self) -> int:
        """Entries that were written to at least once: they stay until the chain is done."""
        return self.at + self.new


@dataclass(frozen=True)
class Chain:
    """Entries that a chain takes beside its operands and its result.

    Attributes
    ----------
    alone
        In a forward that keeps nothing.
    taped
        In a forward that a backward follows.
    held
        From then on until that backward.
    back
        In that backward, beside what is held and the gradients of operands and result.
    spare
        Of ``alone``, the allocation that the engine keeps for the next chain.
    """

    alone: int
    taped: int
    held: int
    back: int
    spare: int


def chain_memory(steps: Sequence[Step], copied: Sequence[Sequence[int]], inputs: int) -> Chain:
    """What the steps of a chain take; ``copied``: what each copies, an operand."""
    alone, spare, _ = _followed(steps, copied, inputs, False)
    taped, _, held = _followed(steps, copied, inputs, True)
    return Chain(alone, taped, held, _back(steps, copied, inputs), spare)


def _back(steps: Sequence[Step], copied: Sequence[Sequence[int]], inputs: int) -> int:
    """The first gradient in the chain (the others are written over what is held), and what one step takes at most."""
    first = max((s.size for s in steps[:-1]), default=0)
    again = [0]
    for k, step in enumerate(steps):
        if isinstance(step, ContractStep):  # operands outside are brought into place again
            again.append(sum(n for s, n in zip(step.operands, copied[k], strict=True) if s < inputs))
        elif isinstance(step, ApplyStep):
            taken = temporaries(step.fn, len(step.operands))
            runs = not (taken.over or taken.passes)  # it is computed again
            again.append(((1 + taken.kept if runs else 0) + taken.backward) * step.size)
    return first + max(again)


def _followed(
    steps: Sequence[Step], copied: Sequence[Sequence[int]], inputs: int, tape: bool
) -> tuple[int, int, int]:
    """Entries alive at most, of the allocation, and kept to the end."""
    sizes = [s.size for s in steps[:-1] if isinstance(s, ContractStep)]
    most = max(sizes, default=0)
    rows = _Rows(sum(sizes) + most if tape else min(2, len(sizes)) * most)
    row: int | None = None
    fresh = kept = top = 0  # the tensor in the chain if it has no row; what the tape keeps beside rows
    on_list = False  # whether the row is what a function was given, and stays
    for k, step in enumerate(steps):
        if isinstance(step, ApplyStep):
            taken = temporaries(step.fn, len(step.operands))
            over = row is not None and (taken.in_place and isinstance(steps[k - 1], ContractStep) if tape else taken.over)
            if over or step.fn == "identity":
                on_list = on_list or (tape and not over)
                continue
            top = max(top, rows.taken + kept + fresh + (1 + taken.forward) * step.size)
            if tape:
                kept += fresh
            else:
                rows.give(row)
            row, fresh, on_list = None, step.size, tape
            continue
        assert isinstance(step, ContractStep)
        outside = 0
        for s, n in zip(step.operands, copied[k], strict=True):
            if s < inputs or n == 0:
                outside += n if s < inputs else 0
                continue
            new = rows.take(n)
            if not (tape and on_list):
                rows.give(row)
            row, on_list = new, False
        last = step is steps[-1]
        out = None if last else rows.take(step.size)
        top = max(top, rows.taken + kept + fresh + outside)
        if tape:
            kept += fresh
        else:
            rows.give(row)
        row, fresh, on_list = out, 0, False
    return top, rows.entries, rows.taken + kept

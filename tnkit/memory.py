"""Where a plan's tensors lie in memory: what each step reads in place, and what it has to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tnkit.lower import Contract, Group, Reduce, Step, View, dense, viewed

__all__ = ["Memory", "layouts"]

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Memory:
    """Entries that each step copies, an operand; and for each slot the slot whose memory it reads (itself, mostly)."""

    copied: tuple[tuple[int, ...], ...]
    base: tuple[int, ...]


def layouts(shapes: Sequence[Ints], steps: Sequence[Step]) -> Memory:
    """Follow shapes and strides through the steps: what is a view and what is a copy."""
    layout = [(shape, dense(shape)) for shape in shapes]
    base, copied = list(range(len(layout))), []
    for step in steps:
        copies, owner = (0,) * len(step.operands), step.target
        if isinstance(step, Contract):
            a, b = (viewed(v, *layout[s]) for s, v in zip(step.operands, step.views, strict=True))
            copies = tuple(prod(x[0]) if x[2] or not (step.multiply or _blas(*x[:2])) else 0 for x in (a, b))
            shape = (b[0][0], a[0][0], b[0][2]) if step.spread else (*a[0][:-1], *b[0][max(len(b[0]) - 1, 1) :])
            shape = viewed(View(reshape=step.result.reshape), shape, dense(shape))[0]
            layout.append(viewed(View(step.result.permute), shape, dense(shape))[:2])
        elif isinstance(step, Group):
            slices = prod(step.counts)
            copies = tuple(
                2 * max(s.size for s in step.whole.steps) // slices if k == 0 else 0 for k in range(len(step.operands))
            )
            layout.append((step.shape, dense(step.shape)))
        elif isinstance(step, Reduce):
            layout.append(_reduced(step, *layout[step.operand]))
            owner = step.target if step.axes else base[step.operand]
        else:
            shape, strides = layout[step.operands[0]]
            layout.append((shape, _like(shape, strides)))
            owner = base[step.operands[0]] if step.fn == "identity" else owner
        copied.append(copies)
        base.append(owner)
    return Memory(tuple(copied), tuple(base))


def _blas(shape: Ints, strides: Ints) -> bool:
    """Whether matmul reads matrices of these strides without a copy: rows or columns are contiguous, or it is a vector."""
    return len(shape) == 1 or any(n == 1 or s == 1 for n, s in zip(shape[-2:], strides[-2:], strict=True))


def _like(shape: Ints, strides: Ints) -> Ints:
    """Strides of a new array whose axes lie in memory in the order of these."""
    order = sorted(range(len(shape)), key=lambda k: -strides[k])
    packed = dict(zip(order, dense([shape[k] for k in order]), strict=True))
    return tuple(packed[k] for k in range(len(shape)))


def _reduced(step: Reduce, shape: Ints, strides: Ints) -> tuple[Ints, Ints]:
    axes = list(zip(shape, strides, strict=True))
    for i, j in step.diagonals:
        both = (axes[i][0], axes[i][1] + axes[j][1])
        axes = [x for k, x in enumerate(axes) if k not in (i, j)] + [both]
    axes = [x for k, x in enumerate(axes) if k not in step.axes]
    shape, strides = tuple(n for n, _ in axes), tuple(s for _, s in axes)
    if step.axes:
        strides = _like(shape, strides)
    order = step.permute or range(len(axes))
    return tuple(shape[k] for k in order), tuple(strides[k] for k in order)

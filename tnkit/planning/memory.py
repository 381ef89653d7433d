"""Where a plan's tensors lie in memory: what each step reads in place and what it copies, and how much is alive at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tnkit.planning.buffers import chain_memory
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, ReduceStep, Step
from tnkit.planning.strides import View, contiguous, reshaped, viewed
from tnkit.planning.temporaries import temporaries

__all__ = [
    "Layout",
    "Memory",
    "backward_peak",
    "forward_live",
    "forward_peak",
    "kept_for_backward",
    "layouts",
    "passes",
    "slice_memory",
]

Ints = tuple[int, ...]
#: Of a step that takes nothing inside, keeps nothing and leaves nothing.
_NOTHING: Ints = (0, 0, 0, 0)
#: Shape and strides, in entries.
Layout = tuple[Ints, Ints]


@dataclass(frozen=True)
class Memory:
    """What the steps do with memory, in entries.

    Attributes
    ----------
    inputs
        How many of the slots are inputs.
    layout
        Shape and strides of the tensor in each slot.
    sizes
        Its entries.
    copied
        What each step copies, an operand.
    base
        For each slot, the slot whose memory it reads (itself, mostly).
    inside, inside_backward
        What a function, or the slice that a group is at, takes beside operands and result, forward and in backward.
    held
        What a function or a group keeps for backward beside operands and result.
    spare
        What a group leaves allocated for the next one.
    product
        Of each step that contracts, the shape of its matrices' product.
    """

    inputs: int
    layout: tuple[Layout, ...]
    sizes: Ints
    copied: tuple[Ints, ...]
    base: Ints
    inside: Ints
    inside_backward: Ints
    held: Ints
    spare: Ints
    product: tuple[Ints, ...]


def layouts(inputs: Sequence[Layout], steps: Sequence[Step]) -> Memory:
    """Follow shapes and strides through the steps."""
    layout = list(inputs)
    base, copied = list(range(len(layout))), []
    product: list[Ints] = []
    inside: list[Ints] = []
    for step in steps:
        product.append(())
        copies, owner, within = (0,) * len(step.operands), step.target, _NOTHING
        if isinstance(step, ContractStep):
            a, b = (viewed(v, *layout[s]) for s, v in zip(step.operands, step.views, strict=True))
            copies = tuple(prod(x[0]) if x[2] or not (step.multiply or _blas(*x[:2])) else 0 for x in (a, b))
            shape = (b[0][0], a[0][0], b[0][2]) if step.broadcast else (*a[0][:-1], *b[0][max(len(b[0]) - 1, 1) :])
            product[-1] = shape
            shape = viewed(View(reshape=step.result.reshape), shape, contiguous(shape))[0]
            layout.append(viewed(View(step.result.permute), shape, contiguous(shape))[:2])
        elif isinstance(step, FusedStep):
            inner = slice_memory(step, layout)
            within = _inside(step, inner)
            layout.append((step.shape, contiguous(step.shape)) if step.counts else inner.layout[step.body.output])
        elif isinstance(step, ReduceStep):
            layout.append(_reduced(step, *layout[step.operand]))
            owner = step.target if step.axes else base[step.operand]
        else:
            shape, strides = layout[step.operands[0]]
            taken = temporaries(step.fn, len(step.operands))
            within = (taken.forward * step.size, taken.backward * step.size, taken.kept * step.size, 0)
            layout.append((shape, _strides_as(shape, strides)))
            owner = base[step.operands[0]] if step.fn == "identity" else owner
        copied.append(copies)
        base.append(owner)
        inside.append(within)
    sizes = (*(prod(shape) for shape, _ in inputs), *(step.size for step in steps))
    forward, backward, held, spare = zip(*inside, strict=True) if inside else ((),) * len(_NOTHING)
    return Memory(
        len(inputs), tuple(layout), sizes, tuple(copied), tuple(base), forward, backward, held, spare, tuple(product)
    )


def slice_memory(step: FusedStep, layout: Sequence[Layout]) -> Memory:
    """What one slice of a group does with memory."""
    held = []
    for s, axes in zip(step.operands, step.axes, strict=True):
        shape, strides = layout[s]
        rest = [k for k in range(len(shape)) if k not in axes]
        held.append((tuple(shape[k] for k in rest), tuple(strides[k] for k in rest)))
    return layouts(held, step.body.steps)


def _inside(step: FusedStep, memory: Memory) -> Ints:
    """Entries that one slice of a group takes at most beside the operands and the result, forward and in backward; what it
    leaves to backward; and what to the next group.
    """
    given, result = sum(memory.sizes[: memory.inputs]), memory.sizes[step.body.output]
    forward = forward_peak(memory, step.body.last_use) - given
    if step.kept:
        chain = chain_memory(step.body.steps, memory.copied, memory.inputs)
        turned = sum(
            turned_gradients(memory, step.body.steps, step.body.output)[-1:]
        )  # the others are written into rows
        return max(forward - result, chain.alone), chain.back + turned, chain.held, chain.spare
    backward = backward_peak(memory, step.body.steps, step.body.output, step.body.last_use) - given
    # where nothing is sliced, a slice's result and gradients are those of the step itself
    return (forward, backward, 0, 0) if step.counts else (forward - result, backward - result - given, 0, 0)


def forward_peak(memory: Memory, last_use: Sequence[Ints]) -> int:
    """Entries alive at most while the steps run: inputs, intermediates that are still needed, copies of the running step."""
    return max([sum(memory.sizes[: memory.inputs]), *forward_live(memory, last_use)])


def forward_live(memory: Memory, last_use: Sequence[Ints]) -> list[int]:
    """Entries alive while each step runs: of these :func:`forward_peak` is the largest."""
    sizes, n = memory.sizes, memory.inputs
    found: list[int] = []
    users = [0] * len(sizes)  # slots alive that read a slot's memory
    live = sum(sizes[:n])
    spare = 0  # chains leave their allocation to the next one
    for k, dead in enumerate(last_use):
        target = memory.base[n + k]
        users[target] += 1
        live += sizes[target] if target == n + k else 0
        now = max(spare, memory.inside[k]) if memory.spare[k] else spare + memory.inside[k]
        found.append(live + sum(memory.copied[k]) + now)
        spare = max(spare, memory.spare[k])
        for s in dead:
            base = memory.base[s]
            users[base] -= 1
            live -= sizes[base] if base >= n and users[base] == 0 else 0
    return found


def backward_peak(memory: Memory, steps: Sequence[Step], output: int, last_use: Sequence[Ints]) -> int:
    """Entries alive at most during forward and backward, as if every input needed a gradient.

    What autograd keeps, the result, the gradients alive, and what functions take for themselves.
    """
    sizes, n = memory.sizes, memory.inputs
    begun, first = kept_for_backward(memory, steps)
    # the result is the caller's for as long as backward runs, kept by autograd or not
    kept = sum(sizes[:n]) + sum(begun) + (0 if output < n or memory.base[output] in first else sizes[output])
    grads = {output: sizes[output]}
    turned = turned_gradients(memory, steps, output)
    top = max(forward_peak(memory, last_use), kept + sizes[output])
    for k in reversed(range(len(steps))):
        step = steps[k]
        made = sum(sizes[s] for s in step.operands) if not passes(step) else 0
        top = max(top, kept + sum(grads.values()) + made + memory.inside_backward[k] + turned[k])
        grads.pop(step.target, None)
        grads.update({s: sizes[s] for s in step.operands})
        kept -= begun[k]
    return top


def turned_gradients(memory: Memory, steps: Sequence[Step], output: int) -> list[int]:
    """Entries of the gradient that each step copies, because its axes do not lie in memory as the product's do."""
    found = [0] * len(steps)
    strides = {output: contiguous(memory.layout[output][0])}  # of gradients; without: as the tensor itself
    for k in reversed(range(len(steps))):
        step, shape = steps[k], memory.layout[memory.inputs + k][0]
        if not isinstance(step, ContractStep):
            continue
        order = step.result.permute or range(len(shape))
        back = sorted(range(len(shape)), key=order.__getitem__)
        given = strides.get(step.target, memory.layout[step.target][1])
        inplace = reshaped([shape[i] for i in back], [given[i] for i in back], memory.product[k])
        found[k] = step.size if inplace is None else 0
        for s, view in zip(step.operands, step.views, strict=True):
            if view.permute is not None:  # the gradient of a matrix, its axes brought back
                dense = contiguous([memory.layout[s][0][i] for i in view.permute])
                strides[s] = tuple(dense[view.permute.index(i)] for i in range(len(dense)))
            else:
                strides[s] = contiguous(memory.layout[s][0])
    return found


def kept_for_backward(memory: Memory, steps: Sequence[Step]) -> tuple[list[int], dict[int, int]]:
    """Entries that autograd begins to keep at each step, beside the inputs, and the step at which a slot's begin."""
    begun, first = [0] * len(steps), {}
    for k, step in enumerate(steps):
        slots: list[int] = []
        if isinstance(step, ContractStep):
            begun[k] += sum(memory.copied[k])
            slots = [s for s, copied in zip(step.operands, memory.copied[k], strict=True) if not copied]
        elif isinstance(step, FusedStep):
            slots = list(step.operands)
            begun[k] += memory.held[k]
        elif isinstance(step, ApplyStep):
            taken = temporaries(step.fn, len(step.operands))
            slots = [*(step.operands if taken.arguments else ()), *((step.target,) if taken.result else ())]
            begun[k] += memory.held[k]
        for base in {memory.base[s] for s in slots}:
            if base >= memory.inputs and base not in first:
                first[base] = k
                begun[k] += memory.sizes[base]
    return begun, first


def passes(step: Step) -> bool:
    """Whether a step's gradient is the result's own, so that nothing is kept and nothing is made."""
    return isinstance(step, ApplyStep) and temporaries(step.fn, len(step.operands)).passes


def _blas(shape: Ints, strides: Ints) -> bool:
    """Whether matmul reads matrices of these strides without a copy: rows or columns are contiguous, or it is a vector."""
    return len(shape) == 1 or any(n == 1 or s == 1 for n, s in zip(shape[-2:], strides[-2:], strict=True))


def _strides_as(shape: Ints, strides: Ints) -> Ints:
    """Strides of a new array whose axes lie in memory in the order of these."""
    order = sorted(range(len(shape)), key=lambda k: -strides[k])
    packed = dict(zip(order, contiguous([shape[k] for k in order]), strict=True))
    return tuple(packed[k] for k in range(len(shape)))


def _reduced(step: ReduceStep, shape: Ints, strides: Ints) -> Layout:
    axes = list(zip(shape, strides, strict=True))
    for i, j in step.diagonals:
        both = (axes[i][0], axes[i][1] + axes[j][1])
        axes = [x for k, x in enumerate(axes) if k not in (i, j)] + [both]
    axes = [x for k, x in enumerate(axes) if k not in step.axes]
    shape, strides = tuple(n for n, _ in axes), tuple(s for _, s in axes)
    if step.axes:
        strides = _strides_as(shape, strides)
    order = step.permute or range(len(axes))
    return tuple(shape[k] for k in order), tuple(strides[k] for k in order)

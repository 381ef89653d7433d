"""Numbers of any size: every tensor as a mantissa and a binary exponent, so that nothing over- or underflows on the way.

A :class:`Guard` knows bounds of each tensor's largest entry.  Where those of a product could leave the range of the dtype, its
operands are divided by powers of two, exactly; so a tensor is looked at only every few steps.  Where values cannot be looked at
(``vmap``, ``torch.compile``, ``jax.jit``) the guard divides at every step, and exponents are arrays.  Gradients see exponents
as constants: an exponent is one in a neighbourhood of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import isfinite, log2, prod
from typing import Any

import numpy as np

from tnkit.execution.arrays import dtype_name
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute, growth, guarded
from tnkit.execution.distributed import shared_out
from tnkit.execution.powers import Power, aligned, decimal, dtype_range, times, unit, whole
from tnkit.execution.slices import Place, fronted, part, piece, together
from tnkit.planning.plan import Plan
from tnkit.planning.steps import ApplyStep, FusedStep, Program

__all__ = ["binary", "in_range", "scientific"]

#: Binary exponent taken off a tensor, and bounds of the binary logarithm of its largest entry as it stands.
Size = tuple[Power, float, float]
Pair = tuple[Any, Size]
_FRESH: Size = (0.0, 0.0, 0.0)

#: Bits that the largest entry of a product of two tensors is taken to fall below the product of their largest at most.
_SLACK = 8.0
#: Activations whose results are no larger than their arguments, but for a bit.
_BOUNDED = frozenset(("relu", "leaky_relu", "tanh", "sin", "sigmoid", "gelu", "softplus", "identity", "add"))
#: Those with f(c x) = c f(x) for c > 0.
_HOMOGENEOUS = frozenset(("relu", "leaky_relu"))


@dataclass(frozen=True)
class Guard:
    """Watches the sizes of tensors while a program runs.

    Attributes
    ----------
    backend
        The array library.
    bottom, top
        Binary logarithms: a tensor whose largest entry is between them keeps its precision.
    traced
        Whether values cannot be read.
    """

    backend: Backend
    bottom: float
    top: float
    traced: bool = False

    def given(self, x: Any) -> Pair:
        """An argument, measured by its norm, which costs less than its largest entry."""
        if self.traced:
            return x, _FRESH
        norm = float(self.backend.constant(self.backend.norm(x)))
        if norm and isfinite(norm) and self.bottom < log2(norm) < self.top:
            return x, (0.0, log2(norm) - 0.5 * log2(max(1, prod(x.shape))), log2(norm))
        return self.unit(x, _FRESH)

    def product(self, a: Any, of_a: Size, b: Any, of_b: Size, grown: float) -> tuple[Any, Size, Any, Size, Size]:
        """Both operands of a product, divided where the product could leave the range; and its size."""
        low, high = of_a[1] + of_b[1] - _SLACK, of_a[2] + of_b[2] + grown
        if self.traced or low < self.bottom or high > self.top:
            a, of_a = self.unit(a, of_a)
            b, of_b = self.unit(b, of_b)
            low, high = of_a[1] + of_b[1] - _SLACK, of_a[2] + of_b[2] + grown
        return a, of_a, b, of_b, (of_a[0] + of_b[0], low, high)

    def total(self, x: Any, of_x: Size, grown: float) -> tuple[Any, Size, Size]:
        """The operand of a sum or a trace, and the size of the result."""
        if self.traced or of_x[1] - _SLACK < self.bottom or of_x[2] + grown > self.top:
            x, of_x = self.unit(x, of_x)
        return x, of_x, (of_x[0], of_x[1] - _SLACK, of_x[2] + grown)

    def applied(self, name: str, fn: Callable[..., Any], pairs: Sequence[Pair]) -> Pair:
        """A function of tensors: of their mantissas where it allows that, else of their values."""
        call = self.backend.own.get(name) or partial(fn, self.backend.xp)
        if name in _HOMOGENEOUS:
            ((x, size),) = pairs
            return call(x), (size[0], size[1] - _SLACK, size[2])
        if name in ("multiply", "square"):
            made = pairs[0]
            for x, size in pairs[1:] if name == "multiply" else pairs:
                a, _, b, _, of = self.product(*made, x, size, 0.0)
                made = a * b, of
            return made
        if name == "add":
            xs, (exponent, low, high) = self.aligned(pairs)
            return call(*xs), (exponent, low - _SLACK, high + log2(len(pairs)))
        return self.unit(call(*(times(x, size[0], self.backend) for x, size in pairs)), _FRESH)

    def fused(self, step: FusedStep, pairs: Sequence[Pair]) -> Pair:
        """A group of steps, slice by slice."""
        if not step.counts:
            made: Pair = guarded(step.body, self.backend)(pairs, self)
            return made
        views = [
            (fronted(x, axes, self.backend.permute), size) for (x, size), axes in zip(pairs, step.axes, strict=True)
        ]
        every = product(*map(range, step.counts))
        return self.together(step, ((part(at, step.out_axes), self._one_slice(step, views, at)) for at in every))

    def _one_slice(self, step: FusedStep, views: Sequence[Pair], at: Place) -> Pair:
        operands = []
        for (x, size), axes in zip(views, step.axes, strict=True):
            some = piece(x, at, axes)
            operands.append((x, size) if some is x else self.part(some, size))
        made: Pair = guarded(step.body, self.backend)(operands, self)
        return made

    def part(self, x: Any, size: Size) -> Pair:
        """A part of a tensor that has this size; it can be far smaller than the tensor."""
        x, own = self.given(x)
        return x, (size[0] + own[0], *own[1:])

    def together(self, step: FusedStep, made: Iterable[tuple[Place, Pair]]) -> Pair:
        """Slices' results by their places, those of one place added, with one exponent."""
        parts: dict[Place, Pair] = {}
        for place, pair in made:
            parts[place] = self.added(parts[place], pair) if place in parts else pair
        places = list(parts)
        xs, size = self.aligned([parts.pop(place) for place in places])
        xs.reverse()
        return together(step, ((place, xs.pop()) for place in places), self.backend), size  # each goes as it is written

    def added(self, a: Pair, b: Pair) -> Pair:
        """The sum of two tensors of any sizes."""
        if not self.traced and max(a[1][2], b[1][2]) + 1 > self.top:
            a, b = self.unit(*a), self.unit(*b)
        (x, y), (exponent, low, high) = self.aligned((a, b))
        return x + y, (exponent, low - _SLACK, high + 1)

    def aligned(self, pairs: Sequence[Pair]) -> tuple[list[Any], Size]:
        """Tensors with one exponent, the largest where they differ: what is lost of the others is below rounding."""
        if self.traced or len({size[0] for _, size in pairs}) > 1:
            pairs = [self.unit(*pair) for pair in pairs]  # a large exponent may stand beside a small mantissa
        xs, exponent = aligned([(x, size[0]) for x, size in pairs], self.backend)
        return xs, (exponent, min(size[1] for _, size in pairs), max(size[2] for _, size in pairs))

    def unit(self, x: Any, size: Size) -> Pair:
        """A tensor over the power of two at its largest entry; zeros, NaN and inf as they are."""
        x, power = unit(x, self.backend, keep=True)
        return x, (size[0] + power, 0.0, 1.0)


def in_range(plan: Plan, given: Sequence[Any], backend: Backend, who: str) -> Any:
    """Run a plan; where something on the way would leave the range of the dtype, as mantissas and exponents.

    A warning, by ``who``, if the result itself is out of range.  Whole numbers, and arrays whose values cannot be read, run as
    they are.
    """
    program = plan.program
    if _whole(given) or backend.unseen(given):
        return execute(program, given, backend)
    guard = _guard(given, backend)
    with np.errstate(over="ignore", under="ignore"):
        pairs = [guard.given(x) for x in given]
    if all(size[0] == 0 for _, size in pairs) and _stays(program, [size for _, size in pairs], guard, backend):
        return execute(program, given, backend)
    with np.errstate(over="ignore", under="ignore"):
        made, size = guarded(program, backend)(pairs, guard)
    return whole(made, size[0], False, who, backend) if size[0] else made


def scientific(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None = None) -> tuple[Any, Any]:
    """What a plan contracts to, as a mantissa with its largest entry from 1 to 10, and a decimal exponent."""
    made, power = _watched(plan, given, backend, executor)
    return decimal(made, power, backend)


def binary(plan: Plan, given: Sequence[Any], backend: Backend) -> tuple[Any, Power]:
    """What a plan contracts to, as an array whose entries are of size about 1 and a binary exponent, by which no digit changes."""
    made, power = _watched(plan, given, backend, None)
    made, more = unit(made, backend, keep=True)
    return made, power + more


def _watched(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None) -> tuple[Any, Power]:
    """A plan run under a guard: an array and a binary exponent."""
    if _whole(given):
        given = [backend.cast(x, "float64") for x in given]
    guard = _guard(given, backend, backend.unseen(given))
    with np.errstate(over="ignore", under="ignore"):
        pairs = [guard.given(x) for x in given]
        if executor is None:
            made, size = guarded(plan.program, backend)(pairs, guard)
        else:
            step = plan.sliced
            assert step is not None
            xs, sizes = zip(*(pairs[s] for s in step.operands), strict=True)
            made, size = shared_out(step, xs, backend, executor, partial(_work, guard, sizes), guard.together)
    return made, size[0]


def _work(
    guard: Guard, sizes: Sequence[Size], body: Program, backend: Backend, slices: Sequence[Sequence[Any]]
) -> Pair:
    """What a worker does: the sum of some slices."""
    total: Pair | None = None
    for arrays in slices:
        one = guarded(body, backend)([guard.part(x, size) for x, size in zip(arrays, sizes, strict=True)], guard)
        total = one if total is None else guard.added(total, one)
    assert total is not None
    return total


def _whole(given: Sequence[Any]) -> bool:
    return not any(dtype_name(x).startswith(("float", "bfloat", "complex", "longdouble")) for x in given)


def _guard(given: Sequence[Any], backend: Backend, traced: bool = False) -> Guard:
    """The guard of some arrays: the range of the narrowest dtype."""
    ranges = [dtype_range(name) for name in {dtype_name(x) for x in given}]
    return Guard(backend, max(r[0] for r in ranges), min(r[1] for r in ranges), traced)


def _stays(program: Program, sizes: Sequence[Size], guard: Guard, backend: Backend) -> bool:
    """Whether no product of any of the arguments can leave the range, in whatever order."""
    if "reach" not in program.runners:
        program.runners["reach"] = _reach(program, len(sizes))
    reach = program.runners["reach"]
    if reach is None:
        return False
    grown, steps, uses = reach
    low = high = 0.0
    for (_, least, most), n in zip(sizes, uses, strict=True):
        low += n * min(least, 0.0)
        high += n * max(most, 0.0)
    return bool(high + grown <= guard.top and low - _SLACK * steps >= guard.bottom)


def _reach(program: Program, arguments: int) -> tuple[float, int, list[int]] | None:
    """Bits that the sums of a program add at most, its steps, and how often each argument is used; None where that says nothing."""
    uses = [0] * (arguments + len(program.steps))
    grown, count = 0.0, 0
    for step in program.steps:
        inner = [1] * len(step.operands)
        if isinstance(step, FusedStep):
            of_body = _reach(step.body, len(step.operands))
            if of_body is None:
                return None
            grown, count, inner = grown + of_body[0] + log2(prod(step.counts)), count + of_body[1], of_body[2]
        elif isinstance(step, ApplyStep):
            if step.fn not in _BOUNDED:
                return None
            grown, count = grown + len(step.operands), count + 1
        else:
            grown, count = grown + growth(step), count + 1
        for s, n in zip(step.operands, inner, strict=True):
            uses[s] += n
    return None if any(n > 1 for n in uses[arguments:]) else (grown, count, uses[:arguments])

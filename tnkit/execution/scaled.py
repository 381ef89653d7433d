"""Numbers of any size: every tensor as a mantissa and a binary exponent, so that nothing over- or underflows on the way.

A :class:`Guard` knows bounds of each tensor's largest entry.  Where a product could vanish its operands are made larger, where it did
overflow they are made smaller, by powers of two; so a tensor is looked at only every few steps.  Where values cannot be looked at
(``vmap``, ``torch.compile``, ``jax.jit``) the guard divides at every step, and exponents are arrays.  Gradients see exponents
as constants: an exponent is one in a neighbourhood of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from math import inf, isfinite, log2, log10, prod, sqrt
from operator import mul
from typing import Any

import numpy as np

from tnkit.core.activations import function
from tnkit.core.caller import warn_caller
from tnkit.execution.arrays import dtype_name
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute, guarded
from tnkit.execution.distributed import shared_out
from tnkit.execution.machine import check_room
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import Power, aligned, decimal, dtype_range, entry_size, times, unit, whole
from tnkit.execution.reach import BOUNDED, SLACK, Size, stays, surely_stays
from tnkit.execution.slices import Place, fronted, part, piece, together
from tnkit.planning.plan import Plan
from tnkit.planning.steps import FusedStep, Program

__all__ = ["binary", "in_range", "keeps_range", "scientific", "usual"]

Pair = tuple[Any, Size]
_FRESH: Size = (0.0, 0.0, 0.0)
#: Binary logarithms of the sizes of vectors that :func:`usual` lets pass are from minus to plus this.
_USUAL = 32.0

#: Their slopes at 0, and those that are 0 and x far from it.
_SLOPES = {"tanh": 1.0, "sin": 1.0, "gelu": 0.5}
_RAMPS = frozenset(("gelu", "softplus"))
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
    lifted
        Whether small operands are made larger at every step: where their largest entries never meet, bounds say little.
    """

    backend: Backend
    bottom: float
    top: float
    traced: bool = False
    lifted: bool = False

    def given(self, arrays: Sequence[Any], norms: Sequence[float] | None = None) -> list[Pair]:
        """Arguments, measured by their norms, which cost less than their largest entries."""
        if self.traced:
            return [(x, _FRESH) for x in arrays]
        norms = self.backend.norms(arrays) if norms is None else norms
        return [self._measured(x, norm, 0.0) for x, norm in zip(arrays, norms, strict=True)]

    def _measured(self, x: Any, norm: float, exponent: Power) -> Pair:
        """A tensor as it is, its size by its norm; one that is small, or of entries whose squares are, made larger."""
        if norm and isfinite(norm) and self.bottom < (high := log2(norm)) < self.top:
            return x, (exponent, high - 0.5 * log2(max(1, prod(x.shape))), high)
        size = entry_size(x, self.backend)
        if size and 1 < size < inf:
            return x, (exponent, log2(size), log2(size))
        return self.unit(x, (exponent, 0.0, 0.0))

    def made(self, step: Callable[..., Any], pairs: Sequence[Pair], grown: float) -> Pair:
        """What a sum of products makes of tensors, ``2**grown`` terms an entry at most.

        Small operands are made larger where the result could vanish, which loses nothing.  Where it could overflow, it is tried
        as it is: only one that did is made again of smaller operands, whose smallest entries that may cost.
        """
        if self.traced:
            return self._of_units(step, pairs)
        low, high = self._bounds(pairs, grown)
        if self.lifted or low < self.bottom:
            pairs = [self.unit(x, size) if size[1] < 0 else (x, size) for x, size in pairs]
            low, high = self._bounds(pairs, grown)
        found = step(*(x for x, _ in pairs))
        exponent = sum(size[0] for _, size in pairs)
        if high <= self.top:
            return found, (exponent, low, high)
        if isfinite(entry_size(found, self.backend) or 0.0):
            return self._measured(found, self.backend.norms((found,))[0], exponent)
        return self._of_units(step, pairs)

    def _of_units(self, step: Callable[..., Any], pairs: Sequence[Pair]) -> Pair:
        pairs = [self.unit(*pair) for pair in pairs]
        size = (sum(size[0] for _, size in pairs), -SLACK, self.top)
        return step(*(x for x, _ in pairs)), size

    def _bounds(self, pairs: Sequence[Pair], grown: float) -> tuple[float, float]:
        return sum(size[1] for _, size in pairs) - SLACK, sum(size[2] for _, size in pairs) + grown

    def applied(self, name: str, fn: Callable[..., Any], pairs: Sequence[Pair]) -> Pair:
        """A function of tensors: of their mantissas where it allows that, else of their values."""
        call = self.backend.own.get(name) or partial(fn, self.backend.xp)
        if name in _HOMOGENEOUS:
            ((x, size),) = pairs
            return call(x), (size[0], size[1] - SLACK, size[2])
        if name in ("multiply", "square"):
            made = pairs[0]
            for pair in pairs[1:] if name == "multiply" else pairs:
                made = self.made(mul, (made, pair), 0.0)
            return made
        if name == "add":
            xs, (exponent, low, high) = self.aligned(pairs)
            return call(*xs), (exponent, low - SLACK, high + log2(len(pairs)))
        if not self.traced and any(size[0] for _, size in pairs):
            pairs = [self.unit(*pair) for pair in pairs]
            if len(pairs) == 1 and (far := self._far(name, *pairs[0])) is not None:
                return far
        return self.unit(call(*(times(x, size[0], self.backend) for x, size in pairs)), _FRESH)

    def _far(self, name: str, x: Any, size: Size) -> Pair | None:
        """A function of values that the dtype does not hold, by its slope at 0 or at infinity; None where it has none."""
        slope = _SLOPES.get(name)
        if size[0] < self.bottom and slope is not None:
            return x * slope, size
        if size[0] > self.top and name in _RAMPS:
            relu = self.backend.own.get("relu") or partial(function("relu"), self.backend.xp)
            return relu(x), size
        if not self.bottom < size[0] <= self.top and name not in BOUNDED:
            warn_caller(
                f"the argument of {name or 'a function'} is about 1e{size[0] * log10(2):+.0f}, which {dtype_name(x)} does not hold",
                RuntimeWarning,
            )
        return None

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
        ((x, own),) = self.given((x,))
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
        return x + y, (exponent, low - SLACK, high + 1)

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
    program, guard = plan.program, _guard(given, backend)
    if guard is None or backend.unseen(()):
        return execute(program, given, backend)
    try:
        norms = backend.norms(given)
        if surely_stays(plan, norms, guard.bottom, guard.top):
            return execute(program, given, backend)
        pairs = guard.given(given, norms)
    except (RuntimeError, TypeError, ValueError):  # torch's, jax's: traced, as a batch of vmap is
        if not backend.unseen(given):
            raise
        return execute(program, given, backend)
    if stays(program, [size for _, size in pairs], guard.bottom, guard.top):
        return execute(program, given, backend)
    with _quietly(backend):
        made, size = guarded(program, backend)(pairs, guard)
    return whole(made, size[0], False, who, backend) if size[0] else made


def keeps_range(plan: Plan, fixed: Sequence[Any], backend: Backend) -> bool:
    """Whether nothing leaves the range of the dtype when the last argument is one that :func:`usual` lets pass, the others fixed."""
    guard = _guard(fixed, backend)
    if guard is None or backend.unseen(fixed):
        return False
    sizes = [size for _, size in guard.given(fixed)]
    return stays(plan.program, [*sizes, (0.0, -_USUAL, _USUAL)], guard.bottom, guard.top)


def usual(x: Any, backend: Backend) -> bool:
    """Whether the largest entry of an array is neither very large nor very small; not so for zeros, NaN and inf."""
    return bool(2.0**-_USUAL * sqrt(prod(x.shape)) < backend.norms((x,))[0] < 2.0**_USUAL)


def scientific(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None = None) -> tuple[Any, Any]:
    """What a plan contracts to, as a mantissa with its largest entry from 1 to 10, and a decimal exponent."""
    return decimal(*_watched(plan, given, backend, executor), backend)


def binary(plan: Plan, given: Sequence[Any], backend: Backend, who: str) -> tuple[Any, Power]:
    """What a plan contracts to, as an array whose entries are of size about 1 and a binary exponent, by which no digit changes.

    MemoryError, by ``who``, where the machine cannot hold it.
    """
    check_room(plan, given, who)
    return _watched(plan, given, backend, None)


def _watched(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None) -> tuple[Any, Power]:
    """A plan run under a guard: an array whose entries are of size about 1, and a binary exponent."""
    guard = _guard(given, backend, backend.unseen(given))
    if guard is None:  # whole numbers
        return _watched(plan, [backend.cast(x, "float64") for x in given], backend, executor)
    with _quietly(backend):
        made, size = _guarded(plan, guard.given(given), guard, backend, executor)
        if not guard.traced and backend.norms((made,))[0] < 2.0**guard.bottom:
            guard = replace(guard, lifted=True)
            made, size = _guarded(plan, guard.given(given), guard, backend, executor)
    made, size = guard.unit(made, size)
    return made, size[0]


def _guarded(plan: Plan, pairs: Sequence[Pair], guard: Guard, backend: Backend, executor: Executor | None) -> Pair:
    made: Pair
    if executor is None:
        made = guarded(plan.program, backend)(pairs, guard)
        return made
    step = plan.sliced
    assert step is not None
    xs, sizes = zip(*(pairs[s] for s in step.operands), strict=True)
    made = shared_out(step, xs, backend, executor, partial(_work, guard, sizes), guard.together)
    return made


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


def _quietly(backend: Backend) -> Any:
    """Without numpy's warnings: what leaves the range is looked after.  Others have none, and torch.compile no way through."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore") if backend is NUMPY else nullcontext()


def _guard(given: Sequence[Any], backend: Backend, traced: bool = False) -> Guard | None:
    """The guard of some arrays: the range of the narrowest dtype; None for whole numbers."""
    first = given[0]
    if all([x.dtype is first.dtype for x in given]):
        return _guard_of(backend, frozenset((dtype_name(first),)), traced)
    return _guard_of(backend, frozenset(map(dtype_name, given)), traced)


@lru_cache(maxsize=256)
def _guard_of(backend: Backend, names: frozenset[str], traced: bool) -> Guard | None:
    ranges = [dtype_range(name) for name in names if name.startswith(("float", "bfloat", "complex", "longdouble"))]
    if not ranges:
        return None
    return Guard(backend, max(r[0] for r in ranges), min(r[1] for r in ranges), traced)

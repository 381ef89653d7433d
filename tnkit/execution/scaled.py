"""Numbers of any size: every tensor as a mantissa and a binary exponent, so that nothing over- or underflows on the way.

A :class:`Guard` knows bounds of each tensor's largest entry.  Where those of a product could leave the range of the dtype, its
operands are divided by powers of two, exactly; so a tensor is looked at only every few steps.  Where values cannot be looked at
(``vmap``, ``torch.compile``, ``jax.jit``) the guard divides at every step, and exponents are arrays.  Gradients see exponents
as constants: an exponent is one in a neighbourhood of the arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from math import floor, frexp, inf, isfinite, log2, log10, prod
from typing import Any

import numpy as np

from tnkit.execution.arrays import dtype_name, is_complex, real
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute, growth, guarded
from tnkit.execution.distributed import shared_out
from tnkit.execution.slices import Place, fronted, part, piece, together
from tnkit.planning.plan import Plan
from tnkit.planning.steps import ApplyStep, FusedStep, Program

__all__ = ["binary", "in_range", "scientific", "shifted"]

#: Binary exponent taken off a tensor, and bounds of the binary logarithm of its largest entry as it stands.
Size = tuple[Any, float, float]
Pair = tuple[Any, Size]

#: Bits that the largest entry of a product of two tensors is taken to fall below the product of their largest at most.
_SLACK = 8.0
#: Activations whose results are no larger than their arguments, but for a bit.
_BOUNDED = frozenset(("relu", "leaky_relu", "tanh", "sin", "sigmoid", "gelu", "softplus", "identity", "add"))
#: Those with f(c x) = c f(x) for c > 0.
_HOMOGENEOUS = frozenset(("relu", "leaky_relu"))
#: log10(2) in two parts: the first times a whole number below 2^22 is exact.
_HIGH = floor(log10(2) * 2**30) / 2**30
_LOW = (log10(2) - _HIGH) - 2.8037281277851704e-18  # what the double itself lacks


@dataclass(frozen=True)
class Guard:
    """Watches the sizes of tensors while a program runs.

    Attributes
    ----------
    backend
        The array library.
    bottom, top
        Binary logarithms: a tensor whose largest entry is between them keeps its precision.
    tiny
        The smallest normal number.
    traced
        Whether values cannot be read.
    """

    backend: Backend
    bottom: float
    top: float
    tiny: float
    traced: bool = False

    def given(self, x: Any) -> Pair:
        """An argument, measured by its norm, which costs less than its largest entry."""
        if self.traced:
            return x, (0, 0.0, 0.0)
        norm = self._read(self.backend.norm(x))
        if norm and isfinite(norm) and self.bottom < log2(norm) < self.top:
            return x, (0, log2(norm) - 0.5 * log2(max(1, prod(x.shape))), log2(norm))
        return self.unit(x, (0, 0.0, 0.0))

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
            xs, exponent = self.aligned(pairs)
            return call(*xs), (
                exponent, min(s[1] for _, s in pairs) - _SLACK, max(s[2] for _, s in pairs) + log2(len(pairs))
            )  # fmt: skip
        return self.unit(call(*(self.shifted(x, size[0]) for x, size in pairs)), (0, 0.0, 0.0))

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
        xs, exponent = self.aligned(list(parts.values()))
        whole = together(step, zip(parts, xs, strict=True), self.backend)
        sizes = [size for _, size in parts.values()]
        return whole, (exponent, min(s[1] for s in sizes), max(s[2] for s in sizes))

    def added(self, a: Pair, b: Pair) -> Pair:
        """The sum of two tensors of any sizes."""
        if not self.traced and max(a[1][2], b[1][2]) + 1 > self.top:
            a, b = self.unit(*a), self.unit(*b)
        (x, y), exponent = self.aligned((a, b))
        return x + y, (exponent, min(a[1][1], b[1][1]) - _SLACK, max(a[1][2], b[1][2]) + 1)

    def aligned(self, pairs: Sequence[Pair]) -> tuple[list[Any], Any]:
        """Tensors with one exponent, the largest: what is lost of the others is below rounding."""
        exponents = [size[0] for _, size in pairs]
        if not self.traced or all(isinstance(e, int) for e in exponents):
            most = max(exponents)
        else:
            most = self.backend.xp.max(self.backend.xp.stack([self._exponent(e, pairs[0][0]) for e in exponents]))
        return [self.shifted(x, size[0] - most) for x, size in pairs], most

    # -- powers of two --------------------------------------------------------------------------------------------
    def unit(self, x: Any, size: Size) -> Pair:
        """A tensor over the power of two at its largest entry; zeros, NaN and inf as they are."""
        if self.traced:
            return self._unit_traced(x, size[0])
        largest = self._read(_largest(x, self.backend))
        if not largest or not isfinite(largest):
            return x, (size[0], 0.0, 0.0)
        power = frexp(largest)[1]
        return self.shifted(x, -power), (size[0] + power, -1.0, 0.0)

    def shifted(self, x: Any, power: Any) -> Any:
        """``x * 2**power``; what leaves the range becomes inf or 0."""
        if not isinstance(power, int):  # in halves, for 2**power itself may be out of range
            half = self.backend.xp.floor(power / 2)
            return x * self._cast(2.0**half, x) * self._cast(2.0 ** (power - half), x)
        return shifted(x, power, int(self.top))

    def _unit_traced(self, x: Any, exponent: Any) -> Pair:
        xp = self.backend.xp
        largest = _largest(x, self.backend)
        one = xp.ones_like(largest)
        power = xp.floor(xp.log2(xp.where((largest > 0) & xp.isfinite(largest), largest, one)))
        return self.shifted(x, -power), (self._exponent(exponent, x) + self.backend.cast(power, "float64"), 0.0, 0.0)

    def _exponent(self, exponent: Any, x: Any) -> Any:
        """An exponent as a scalar array in double precision, where ``x`` is."""
        if not isinstance(exponent, (int, float)):
            return exponent
        return self.backend.cast(real(self.backend.zeros((), x), self.backend), "float64") + float(exponent)

    def _cast(self, scale: Any, x: Any) -> Any:
        return self.backend.cast(scale, dtype_name(real(self.backend.zeros((), x), self.backend)))

    def _read(self, x: Any) -> float:
        return float(self.backend.constant(x))  # torch.func.grad gives numbers, but no numpy arrays

    # -- results --------------------------------------------------------------------------------------------------
    def scientific(self, x: Any, size: Size) -> tuple[Any, Any]:
        """Mantissa, its largest entry from 1 to 10, and decimal exponent, a whole number."""
        x, (power, *_) = self.unit(x, size)
        largest = _largest(x, self.backend)
        if self.traced:
            xp, power = self.backend.xp, self._exponent(power, x)
            some = (largest > 0) & xp.isfinite(largest)
            least = self.backend.cast(xp.where(some, largest, xp.ones_like(largest)), "float64")
            exponent = xp.where(some, xp.floor(xp.log10(least) + power * log10(2)), xp.zeros_like(least))
            factor = 10.0 ** (power * _HIGH - exponent + power * _LOW)
            return x * self._cast(xp.where(some, factor, xp.ones_like(factor)), x), exponent
        found = self._read(largest)
        if not found or not isfinite(found):
            return x, self._told(0.0, x)
        decimal = floor(log10(found) + power * log10(2))
        factor = 10.0 ** (power * _HIGH - decimal + power * _LOW)
        if found * factor >= 10:  # rounded up
            decimal, factor = decimal + 1, factor / 10
        return x * factor, self._told(float(decimal), x)

    def _told(self, exponent: float, x: Any) -> Any:
        return exponent if self.backend.name == "numpy" else self._exponent(exponent, x)

    def value(self, x: Any, size: Size, who: str) -> Any:
        """The tensor itself; a warning where it does not fit the dtype."""
        if not size[0]:
            return x
        x, size = self.unit(x, size)
        largest = self._read(_largest(x, self.backend))
        with np.errstate(over="ignore", under="ignore"):
            found = self.shifted(x, size[0])
        if largest and isfinite(largest) and not self.tiny <= self._read(_largest(found, self.backend)) < inf:
            decimal = log10(largest) + size[0] * log10(2)
            warnings.warn(
                f"{who}: the largest entry of the result is about 1e{decimal:+.1f}, {'above' if decimal > 0 else 'below'} the "
                f"range of {dtype_name(x)}; strip_exponent=True gives it as a mantissa and an exponent",
                RuntimeWarning,
                stacklevel=4,
            )
        return found


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
    return guard.value(made, size, who)


def scientific(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None = None) -> tuple[Any, Any]:
    """What a plan contracts to, as a mantissa with its largest entry from 1 to 10, and a decimal exponent."""
    guard, made, size = _watched(plan, given, backend, executor)
    return guard.scientific(made, size)


def binary(plan: Plan, given: Sequence[Any], backend: Backend) -> tuple[Any, Any]:
    """What a plan contracts to, as an array whose entries are of size about 1 and a binary exponent, by which no digit changes."""
    guard, made, size = _watched(plan, given, backend, None)
    made, size = guard.unit(made, size)
    return made, float(size[0]) if isinstance(size[0], int) else size[0]


def _watched(plan: Plan, given: Sequence[Any], backend: Backend, executor: Executor | None) -> tuple[Guard, Any, Size]:
    """A plan run under a guard, and what that knows of the result's size."""
    if _whole(given):
        given = [backend.cast(x, "float64") for x in given]
    guard = _guard(given, backend, backend.unseen(given))
    with np.errstate(over="ignore", under="ignore"):
        pairs = [guard.given(x) for x in given]
        if executor is None:
            made = guarded(plan.program, backend)(pairs, guard)
        else:
            step = plan.sliced
            assert step is not None
            xs, sizes = zip(*(pairs[s] for s in step.operands), strict=True)
            made = shared_out(step, xs, backend, executor, partial(_work, guard, sizes), guard.together)
    return guard, *made


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


def shifted(x: Any, power: int, most: int) -> Any:
    """``x * 2**power``, in factors of at most ``2**most``; what leaves the range becomes inf or 0."""
    power = max(-4 * most, min(4 * most, power))
    while power:
        step = max(-most, min(most, power))
        x, power = x * 2.0**step, power - step
    return x


def _largest(x: Any, backend: Backend) -> Any:
    """The largest of the entries' sizes, of their real and imaginary parts for complex ones: a square could overflow."""
    xp = backend.xp
    if is_complex(x):
        return xp.maximum(xp.max(xp.abs(xp.real(x))), xp.max(xp.abs(xp.imag(x))))
    return xp.maximum(xp.max(x), -xp.min(x))


def _whole(given: Sequence[Any]) -> bool:
    return not any(dtype_name(x).startswith(("float", "bfloat", "complex", "longdouble")) for x in given)


def _guard(given: Sequence[Any], backend: Backend, traced: bool = False) -> Guard:
    """The guard of some arrays: the range of the narrowest dtype."""
    ranges = [_range(name) for name in {dtype_name(x) for x in given}]
    return Guard(backend, max(r[0] for r in ranges), min(r[1] for r in ranges), max(r[2] for r in ranges), traced)


@cache
def _range(name: str) -> tuple[float, float, float]:
    """Binary logarithms between which entries beside the largest keep their precision, and the smallest normal number."""
    if name == "bfloat16":
        return -126.0 + 7.0, 127.0, 2.0**-126
    kind = np.dtype(name) if np.dtype(name).kind in "fc" else np.dtype("float64")
    info = np.finfo(kind)
    tiny, most = max(float(info.tiny), 2.0**-1022), min(float(info.max), np.finfo(np.float64).max)
    return log2(tiny) - log2(float(info.eps)), log2(most) - 1, tiny


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

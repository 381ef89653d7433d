"""How far a program can take the sizes of its arguments: whether all stays in the range of a dtype is known before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log2, prod, sqrt

from tnkit.execution.codegen import growth
from tnkit.execution.powers import Power
from tnkit.planning.plan import Plan
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, ReduceStep

__all__ = ["BOUNDED", "SLACK", "Size", "stays", "surely_stays"]

#: Binary exponent taken off a tensor, and bounds of the binary logarithm of its largest entry as it stands.
Size = tuple[Power, float, float]
#: Bits that the largest entry of a product of two tensors is taken to fall below the product of their largest at most.
SLACK = 8.0
#: Activations whose results are no larger than their arguments, but for a bit.
BOUNDED = frozenset(("relu", "leaky_relu", "tanh", "sin", "sigmoid", "gelu", "softplus", "identity", "add"))
#: Bits that a program's sums add at most, its steps, and how often each argument is used.
_Reach = tuple[float, int, list[int]]


def surely_stays(plan: Plan, norms: Sequence[float], bottom: float, top: float) -> bool:
    """As :func:`stays`, by the norms of the arguments alone: no means that they need a closer look."""
    kept = plan.program.runners
    if ("norms", bottom, top) not in kept:
        kept["norms", bottom, top] = _norms_between(plan, len(norms), bottom, top)
    least, most = kept["norms", bottom, top]
    return all([least < norm < most for norm in norms])  # NaN is nowhere between


def _norms_between(plan: Plan, arguments: int, bottom: float, top: float) -> tuple[float, float]:
    """Norms of arguments between which nothing can leave the range; nothing is between inf and 0."""
    found = _in_all(plan.program)
    if found is None:
        reach = _known(plan.program, arguments)
        if reach is None:
            return inf, 0.0
        found = reach[0], reach[1], sum(reach[2])
    grown, steps, uses = found[0], found[1], max(1, found[2])
    low, high = (bottom + SLACK * steps) / uses, (top - grown) / uses
    if low > 0 or high < 0:
        return inf, 0.0
    entries = max(map(prod, plan.shapes), default=1)  # the largest entry is no smaller than the norm over their root
    return 2.0**low * sqrt(entries), 2.0**high


def _in_all(program: Program) -> tuple[float, int, int] | None:
    """As :func:`_reach` where all steps are sums of products, whose results are used once: the uses of all arguments counted."""
    terms, uses = 1, 1 - len(program.steps)
    for step in program.steps:
        if isinstance(step, ContractStep):
            terms *= 1 if step.multiply else max(1, step.flops // max(1, 2 * step.size))
            uses += 2
        elif isinstance(step, ReduceStep):
            terms *= max(1, step.read // max(1, step.size)) if step.axes else 1
            uses += 1
        else:
            return None
    return log2(terms), len(program.steps), max(uses, 1)


def stays(program: Program, sizes: Sequence[Size], bottom: float, top: float) -> bool:
    """Whether no product of any of the arguments, as they are, can leave the range, in whatever order.

    Parameters
    ----------
    bottom, top
        Binary logarithms between which a tensor's largest entry stays.
    """
    reach = _known(program, len(sizes))
    if reach is None:
        return False
    high, low, uses = reach[0], -SLACK * reach[1], reach[2]
    for (exponent, least, most), n in zip(sizes, uses, strict=True):
        if exponent:
            return False
        if least < 0:
            low += n * least
        if most > 0:
            high += n * most
    return bool(high <= top and low >= bottom)


def _known(program: Program, arguments: int) -> _Reach | None:
    if "reach" not in program.runners:
        program.runners["reach"] = _reach(program, arguments)
    found: _Reach | None = program.runners["reach"]
    return found


def _reach(program: Program, arguments: int) -> _Reach | None:
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
            if step.fn not in BOUNDED:
                return None
            grown, count = grown + len(step.operands), count + 1
        else:
            grown, count = grown + growth(step), count + 1
        for s, n in zip(step.operands, inner, strict=True):
            uses[s] += n
    return None if any(n > 1 for n in uses[arguments:]) else (grown, count, uses[:arguments])

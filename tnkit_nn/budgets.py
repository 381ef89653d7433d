"""The search for a network near a budget: growing ranks, digits of rows and columns, and which candidate is taken.

That is the first within 5 % of the budget, or a nearer one of those that follow it, else the largest count below it (the smallest
of all, where none is below).  Where no fewer parameters are asked for, it is the first within 5 % above, else the smallest above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from inspect import Parameter, signature
from itertools import accumulate, count, pairwise, zip_longest
from math import inf, prod
from typing import Any

import tnkit as tk
from tnkit.core.checks import sequence
from tnkit.core.numbers import whole_number
from tnkit.core.shapes import site_dims

__all__ = [
    "SLACK", "asked", "balanced", "factorisations", "grow", "in_turn", "keeps", "matrix_shape", "near_budget", "pads", "searched", "shares", "step_ranks",
]  # fmt: skip

#: Part of a budget by which a network may pass it and still be called equal to others.
SLACK = 0.05


def keeps(numbers: int, budget: int) -> bool:
    """Whether so many parameters are within a budget, give or take :data:`SLACK`."""
    return numbers <= (1 + SLACK) * budget


def asked(shape: Sequence[int], budget: int) -> tuple[tuple[int, ...], int]:
    """A weight's shape and a budget, which is at most the weight's size: beyond it a dense layer is smaller."""
    sizes = tuple(whole_number(n, f"shape: size of axis {k}", 1) for k, n in enumerate(sequence(shape, "shape")))
    if not sizes:
        raise ValueError("shape has one axis or more, not none")
    return sizes, min(whole_number(budget, "budget", 1), prod(sizes))


def near_budget(candidates: Iterable[tk.Network], budget: int, at_least: bool = False) -> tk.Network:
    """First candidate within 5 % of the budget, or one after it while they come nearer; else the largest below it, else the smallest.

    With ``at_least`` no candidate below the budget will do, and 5 % are those above it: else the smallest of the others, or the largest
    of all where there is none.
    """
    near: tk.Network | None = None
    below: tk.Network | None = None
    above: tk.Network | None = None
    for net in candidates:
        short = net.num_params < budget
        off = inf if at_least and short else abs(net.num_params - budget)
        if near is not None and off > abs(near.num_params - budget):
            return near
        if off <= SLACK * budget:
            near = net if near is None or off < abs(near.num_params - budget) else near
        if net.num_params <= budget and (below is None or net.num_params > below.num_params):
            below = net
        if not short and (above is None or net.num_params < above.num_params):
            above = net
    chosen = near or (above or below if at_least else below or above)
    if chosen is None:
        raise ValueError(f"no network for a budget of {budget}")
    return chosen


def searched(candidates: Callable[..., Iterator[tk.Network]]) -> Callable[..., tk.Network]:
    """What chooses among a family's networks: of ``f(shape, budget, ...)``, which yields them in the order of preference.

    The function that it makes takes a shape and a budget, what else ``f`` takes, and ``at_least`` (:func:`near_budget`).  Every way in
    which ``f`` grows networks goes on until the budget is passed.
    """

    @wraps(candidates)
    def near(shape: Sequence[int], budget: int, *args: Any, at_least: bool = False, **options: Any) -> tk.Network:
        shape, budget = asked(shape, budget)
        return near_budget(candidates(shape, budget, *args, **options), budget, at_least)

    given = signature(candidates)
    keyword = Parameter("at_least", Parameter.KEYWORD_ONLY, default=False, annotation="bool")
    parameters = [*given.parameters.values(), keyword]
    vars(near)["__signature__"] = given.replace(parameters=parameters, return_annotation="tk.Network")
    return near


def grow(make: Callable[[int], tk.Network], budget: int) -> Iterator[tk.Network]:
    """Networks of growing rank, until one is past the budget or grows no more."""
    last = -1
    for r in count(1):
        net = make(r)
        if net.num_params == last:
            return
        yield net
        if net.num_params > budget:
            return
        last = net.num_params


def step_ranks(make: Callable[[list[int]], tk.Network], bonds: int, budget: int) -> Iterator[tk.Network]:
    """Networks whose bonds all have rank r, then r with r + 1 on more and more of the bonds, from the first on and from the last on."""
    last = -1
    for r in count(1) if bonds else ():
        net = make([r] * bonds)
        yield net
        if not keeps(net.num_params, budget):
            return
        for raised in range(1, bonds):
            yield make([r + (k < raised) for k in range(bonds)])
            yield make([r + (k >= bonds - raised) for k in range(bonds)])
        if net.num_params == last:  # every bond is as large as it can be
            return
        last = net.num_params


def shares(budget: int, sizes: Sequence[int]) -> list[int]:
    """A budget shared out over weights of so many entries, by their square roots: what networks need grows far slower than weights.

    Whole numbers, at least 1 each and at most the weight's size, that sum up to the budget where these bounds allow it.
    """
    roots = [n**0.5 for n in sizes]
    spare = max(0, budget - len(sizes))
    ends = [round(spare * part / sum(roots)) for part in accumulate(roots)]
    parts = [1 + b - a for a, b in pairwise([0, *ends])]
    full = [k for k, (part, size) in enumerate(zip(parts, sizes, strict=True)) if part >= size]
    if not full or len(full) == len(sizes):
        return [min(part, size) for part, size in zip(parts, sizes, strict=True)]
    others = [k for k in range(len(sizes)) if k not in full]
    rest = iter(shares(budget - sum(sizes[k] for k in full), [sizes[k] for k in others]))
    return [sizes[k] if k in full else next(rest) for k in range(len(sizes))]


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """A weight's shape as (outputs, everything else)."""
    return int(shape[0]), int(prod(shape[1:]))


def balanced(n: int, parts: int) -> tuple[int, ...]:
    """``n`` (padded to prime factors up to 5) as ``parts`` factors of like size, largest first."""
    factors = [1] * parts
    for p in sorted(site_dims(n), reverse=True):
        k = min(range(parts), key=lambda k: factors[k])
        factors[k] *= p
    return tuple(sorted(factors, reverse=True))


def factorisations(
    shape: Sequence[int], counts: Sequence[int] = (3, 2, 4)
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Digits of the rows and of the columns, as many of each, for one count after another.

    Columns of several axes are factorised as one, unless something is padded: then each axis has digits of its own, which alone are
    cropped to it.
    """
    rows, cols = matrix_shape(shape)
    parts = [n for n in counts if 2**n <= max(rows, cols)]
    if pads(shape):
        axes = [n for n in shape[1:] if n > 1] or [1]
        for n in [n for n in parts if n >= len(axes)] or (parts and [len(axes)]):
            yield balanced(rows, n), _axis_by_axis(axes, n)
        return
    for n in parts:
        yield balanced(rows, n), balanced(cols, n)


def pads(shape: Sequence[int]) -> bool:
    """Whether the digits of a weight of three axes or more cover more than the weight: some size has a prime factor above 5."""
    return len(shape) > 2 and any(prod(site_dims(n)) != n for n in matrix_shape(shape))


def _axis_by_axis(axes: Sequence[int], parts: int) -> tuple[int, ...]:
    """So many digits in all, at least one of every axis, more of those whose digits are largest."""
    counts = [1] * len(axes)
    for _ in range(parts - len(axes)):
        k = max(range(len(axes)), key=lambda k: axes[k] ** (1 / counts[k]))
        counts[k] += 1
    return tuple(d for n, count in zip(axes, counts, strict=True) for d in balanced(n, count))


def in_turn(
    out: Sequence[int], in_: Sequence[int], make: Callable[[Sequence[int], Any], tk.Network], rank: Any
) -> tk.Network:  # fmt: skip
    """A network over digits of rows and columns in turn, its output the rows' digits and then the columns'."""
    digits, rows, cols = (*out, *in_), range(len(out)), range(len(out), len(out) + len(in_))
    sites = [s for pair in zip_longest(rows, cols) for s in pair if s is not None]
    net = make([digits[s] for s in sites], rank).relabel(inds={f"i{k}": f"i{s}" for k, s in enumerate(sites)})
    return tk.Network(net.nodes, tuple(f"i{s}" for s in range(len(digits))), net.sizes)

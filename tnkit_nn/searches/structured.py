"""Structured matrices near a budget: Kronecker products, Monarch, butterfly, block tensor train, sums of Tucker terms.

Monarch and butterfly matrices have no rank: their counts are those that digits and passes give, and may be far from a budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import log, prod

import tnkit as tk
from tnkit.core.shapes import site_dims
from tnkit_nn.budgets import factorisations, grow, matrix_shape, pads, searched, step_ranks

__all__ = ["block_term_near", "btt_near", "butterfly_near", "kronecker_near", "lokr_near", "monarch_near"]

#: Digits of the rows and of the columns, as many of each.
Digits = tuple[tuple[int, ...], tuple[int, ...]]


@searched
def kronecker_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A sum of Kronecker products of two factors, of three and more."""
    for out, in_ in factorisations(shape, range(2, 9)):
        sizes = [o * i for o, i in zip(out, in_, strict=True)]
        cap = prod(sizes) // max(sizes)  # so many products hold every matrix
        yield from grow(lambda r, out=out, in_=in_, cap=cap: tk.kronecker(out, in_, min(r, cap)), budget)  # type: ignore[misc]


@searched
def lokr_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A Kronecker product of a small dense factor and a large one of low rank (LoKr); a sum of them where axes are padded."""
    for out, in_ in _in_two(shape):
        sizes = [o * i for o, i in zip(out, in_, strict=True)]
        ranks, one = partial(_one_rank, len(sizes), sizes.index(max(sizes))), partial(tk.kronecker, out, in_)
        yield from grow(lambda f, ranks=ranks, one=one: one(factor_rank=ranks(f)), budget)  # type: ignore[misc]
        if pads(shape):  # with one choice of digits, more terms
            for f in (1, 2, 4, 8):
                yield from grow(partial(one, factor_rank=ranks(f)), budget)


def _one_rank(factors: int, which: int, rank: int) -> tuple[int | None, ...]:
    """A rank for one of the factors; the others are dense."""
    return tuple(rank if k == which else None for k in range(factors))


@searched
def monarch_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """Block-diagonal matrices with permutations between: two of equal blocks, three and more, two of unequal blocks."""
    for out, in_ in (*factorisations(shape, range(2, 9)), *_in_blocks(shape)):
        yield tk.monarch(out, in_)


@searched
def btt_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A block tensor train of two digits a side, of three, of two unequal ones."""
    for out, in_ in (*factorisations(shape, (2, 3)), *_in_blocks(shape)):
        caps = [min(prod(in_[:k]), prod(out[k:])) for k in range(1, len(out))]
        yield from grow(partial(tk.btt, out, in_), budget)
        make = partial(_capped_btt, out, in_, caps)
        yield from step_ranks(make, len(caps), budget)


def _capped_btt(out: Sequence[int], in_: Sequence[int], caps: Sequence[int], ranks: Sequence[int]) -> tk.Network:
    return tk.btt(out, in_, [min(pair) for pair in zip(ranks, caps, strict=True)])


@searched
def butterfly_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A butterfly over the prime factors of rows and columns, of one pass and more."""
    rows, cols = matrix_shape(shape)
    axes = shape[1:] if pads(shape) else (cols,)
    out, in_ = site_dims(rows), tuple(d for n in axes for d in site_dims(n))
    n = max(len(out), len(in_))
    out, in_ = (1,) * (n - len(out)) + tuple(out), in_ + (1,) * (n - len(in_))
    yield from grow(partial(tk.butterfly, out, in_), budget)


@searched
def block_term_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A sum of two Tucker terms or more, of a core of size 2, 3, 4 or 1 in every direction."""
    for (out, in_), rank in product(factorisations(shape), (2, 3, 4, 1)):
        dims = (*out, *in_)
        yield from grow(lambda t, dims=dims, r=rank: tk.block_term(dims, r, t + 1), budget)  # type: ignore[misc]


def _in_two(shape: Sequence[int]) -> Iterator[Digits]:
    """Two digits a side, the smaller first: all pairs of divisors, those of like size first; where axes are padded, one choice alone."""
    if pads(shape):
        yield from factorisations(shape, (2,))
        return
    rows, cols = (_pairs(prod(site_dims(n))) for n in matrix_shape(shape))
    yield from sorted(product(rows, cols), key=lambda both: sum(log(b / a) ** 2 for a, b in both))


def _in_blocks(shape: Sequence[int]) -> Iterator[Digits]:
    """The same but for digits of size 1, in the orders that make the fewest and the most numbers in two stages of blocks."""
    for out, in_ in _in_two(shape):
        if len(out) == 2 and min(*out, *in_) > 1:
            yield out, in_[::-1]
            yield out[::-1], in_


def _pairs(n: int) -> list[tuple[int, ...]]:
    """A number as two factors, the smaller first."""
    return [(a, n // a) for a in range(1, int(n**0.5) + 1) if n % a == 0]

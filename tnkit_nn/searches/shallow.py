"""Networks without activations near a budget: trains, rings, Tucker, CP, trees, and any builder of sizes and a rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from math import prod

import tnkit as tk
from tnkit.core.shapes import site_dims
from tnkit_nn.budgets import factorisations, grow, in_turn, matrix_shape, pads, searched, step_ranks

__all__ = ["by_rank", "cp_near", "low_rank_near", "mpo_near", "ring_near", "tree_near", "tt_near", "tucker_near"]


@searched
def mpo_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A TT-matrix of three digits a side, of two, of four."""
    for out, in_ in factorisations(shape):
        make = partial(tk.mpo, out, in_)
        yield from grow(make, budget)
        yield from step_ranks(make, len(out) - 1, budget)


@searched
def tt_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A tensor train over the prime factors of all axes."""
    dims = _primes(shape)
    yield from grow(partial(tk.tt, dims), budget)
    caps = [min(prod(dims[:k]), prod(dims[k:])) for k in range(1, len(dims))]
    yield from step_ranks(lambda r: tk.tt(dims, [min(a, b) for a, b in zip(r, caps, strict=True)]), len(caps), budget)


@searched
def ring_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A ring over digits of rows and columns, or over their prime factors."""
    for dims in (*((*out, *in_) for out, in_ in factorisations(shape)), _primes(shape)):
        make = partial(tk.ring, dims)
        yield from grow(make, budget)
        yield from step_ranks(make, len(dims), budget)


@searched
def tucker_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A Tucker network over digits of rows and columns."""
    for out, in_ in factorisations(shape):
        dims = (*out, *in_)
        yield from grow(partial(tk.tucker, dims), budget)
        make = lambda r, dims=dims: tk.tucker(dims, [min(a, n) for a, n in zip(r, dims, strict=True)])  # noqa: E731
        yield from step_ranks(make, len(dims), budget)


@searched
def cp_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A sum of products over digits of rows and columns, or over their prime factors."""
    for dims in (*((*out, *in_) for out, in_ in factorisations(shape)), _primes(shape)):
        yield from grow(partial(tk.cp, dims), budget)


@searched
def low_rank_near(shape: Sequence[int], budget: int) -> Iterator[tk.Network]:
    """A product of two matrices."""
    yield from grow(partial(tk.low_rank, matrix_shape(shape)), budget)


@searched
def tree_near(shape: Sequence[int], budget: int, activation: str | None = None) -> Iterator[tk.Network]:
    """A tree over the digits of rows and columns in turn; with activations between its levels where one is named."""
    makes = [lambda dims, r, a=arity: tk.tree(dims, r, a, activation) for arity in (2, 3, 4)]
    yield from _levelled(shape, budget, makes)


def by_rank(
    build: Callable[..., tk.Network], shape: Sequence[int], budget: int, activation: str | None = None, at_least: bool = False
) -> tk.Network:  # fmt: skip
    """Any builder of sizes and a rank, over the digits of rows and columns in turn, near a budget."""
    options = {} if activation is None else {"activation": activation}
    return _by_rank(shape, budget, make=partial(build, **options), at_least=at_least)


@searched
def _by_rank(shape: Sequence[int], budget: int, make: Callable[..., tk.Network]) -> Iterator[tk.Network]:
    yield from _levelled(shape, budget, [make])


def _levelled(
    shape: Sequence[int], budget: int, makes: Sequence[Callable[[Sequence[int], int], tk.Network]]
) -> Iterator[tk.Network]:  # fmt: skip
    """What makes a network of sites and a rank, over digits of rows and columns in turn."""
    for (out, in_), make in product(_all_factorisations(shape), makes):
        yield from grow(partial(in_turn, out, in_, make), budget)


def _all_factorisations(shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Digits of the rows and of the columns, at last all prime factors."""
    yield from factorisations(shape, (4, 3, 2, 5, 6, 7, 8))
    rows, cols = matrix_shape(shape)
    yield site_dims(rows), _primes(shape[1:] if pads(shape) else (cols,))


def _primes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The prime factors of some sizes."""
    return tuple(d for n in sizes for d in site_dims(n))

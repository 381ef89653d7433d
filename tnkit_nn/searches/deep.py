"""Networks with activations near a budget: brick walls (ADTNs), and circuits on a TT-matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from math import prod

import tnkit as tk
from tnkit.core.shapes import site_dims
from tnkit_nn.budgets import factorisations, searched, step_ranks

__all__ = ["adtn_near", "circuit_near", "full_count"]


def full_count(net: tk.Network) -> int:
    """Numbers of an ADTN in whole bricks: those of its first column act on fixed vectors, and store a square root of a brick."""
    arrays = {n.array: n for n in net.leaves if not n.fixed}
    sizes = {name: prod(net.array_shapes[name]) for name in arrays}
    return sum(size**2 if len(arrays[name].inds) == 2 else size for name, size in sizes.items())


@searched
def adtn_near(
    shape: Sequence[int], budget: int, depth: int, activation: str | None = "relu", order: str = "interleaved", periodic: bool = False,
    merged: int = 0,
) -> Iterator[tk.Network]:  # fmt: skip
    """An ADTN of the given depth near a budget.

    Below the count of the untied binary wall, bricks of a column are shared with a period, of that wall or of one with up to three
    pairs of binary sites merged into sites of size 4; above it, pairs are merged until the budget is passed, up to sites of size
    16.  With ``merged`` at least so many pairs are.
    """
    make = partial(tk.adtn, shape, depth=depth, activation=activation, order=order, periodic=periodic)

    walls = [dims for dims in _merged(shape) if not (periodic and len(dims) % 2)]
    if not walls:
        raise ValueError(f"no periodic wall for a weight of shape {tuple(shape)}: it needs an even number of sites")
    yield from islice(_tied_walls(walls[min(merged, len(walls) - 1) :], budget, make), 200)


def _tied_walls(
    walls: Sequence[list[int]], budget: int, make: Callable[..., tk.Network]
) -> Iterator[tk.Network]:  # fmt: skip
    def tied(dims: list[int]) -> Iterator[tk.Network]:
        yield from (make(dim=dims, share=share) for share in range(len(dims) // 2, 0, -1))

    plain = make(dim=walls[0])
    yield plain
    if plain.num_params > budget:
        for dims in walls[:4]:
            yield from tied(dims)
        return
    for dims in walls[1:]:
        net = make(dim=dims)
        yield net
        if net.num_params > budget:  # between two merges: share some bricks of the larger wall
            yield from tied(dims)
            return


def _merged(shape: Sequence[int]) -> Iterator[list[int]]:
    """Sites of size 2, then with one more pair of them merged each time, on the axis that has most; then of 4s, up to size 16."""
    sites = [list(site_dims(n, dim=2)) for n in shape]
    yield [d for axis in sites for d in axis]
    for _ in range(sum(len(axis) // 2 for axis in sites)):
        axis = max(sites, key=lambda a: a.count(2))
        k = axis.index(2)
        axis[k : k + 2] = [4]
        yield [d for a in sites for d in a]
    while any(len(axis) > 1 for axis in sites):
        axis = max(sites, key=len)
        k = min(range(len(axis) - 1), key=lambda k: axis[k] * axis[k + 1])
        if axis[k] * axis[k + 1] > 16:
            return
        axis[k : k + 2] = [axis[k] * axis[k + 1]]
        yield [d for a in sites for d in a]


@searched
def circuit_near(
    shape: Sequence[int], budget: int, depth: int, activation: str | None = "sin", digits: Sequence[int] = (4, 3, 5, 2)
) -> Iterator[tk.Network]:
    """A TT-matrix, then depth - 1 columns of gates on single digits, of the rows and of the columns in turn, an activation before each.

    Every column is a Kronecker product.  The TT-matrix takes what the columns leave of the budget.  The first number of digits a side,
    of those in ``digits``, that gives a network within 5 % of the budget is taken.
    """
    for out, in_ in factorisations(shape, digits):
        yield from step_ranks(partial(_circuit_of, out, in_, depth, activation), len(out) - 1, budget)


def _circuit_of(
    out: tuple[int, ...], in_: tuple[int, ...], depth: int, activation: str | None, rank: list[int]
) -> tk.Network:
    n = len(out)
    gates = [[(k,) for k in range(n)], [(n + k,) for k in range(n)]]
    columns = [gates[k % 2] for k in range(depth - 1)]
    return tk.circuit((*out, *in_), columns, activation, start=tk.mpo(out, in_, rank))

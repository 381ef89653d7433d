"""What a comparison compares: families of networks, and the controls that keep it honest.

A family is a function ``(weight shape, budget) -> Network``.  Each looks through its own factorisations and ranks, in the
order in which people would choose them (:mod:`tnkit_nn.budgets`); the true count is always reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import islice, product
from math import prod
from typing import Any

import torch

import tnkit as tk
from tnkit.core.activations import UNARY
from tnkit.core.checks import one_of, sequence, shown, text
from tnkit.core.numbers import whole_number
from tnkit.core.shapes import site_dims
from tnkit_nn.budgets import (
    asked,
    factorisations,
    grow,
    in_turn,
    matrix_shape,
    near_budget,
    pads,
    step_ranks,
)
from tnkit_nn.checks import a_function, a_size
from tnkit_nn.imported import imported

__all__ = [
    "BASELINES",
    "CONTROLS",
    "FREE",
    "KINDS",
    "SHARED",
    "Build",
    "Family",
    "Kind",
    "as_family",
    "by_rank",
    "families",
    "full_count",
    "made_by",
]

#: Controls that every comparison shows, with what each one is.
CONTROLS: dict[str, str] = {
    "dense": "the trained layer as it is",
    "dense_trained_on": "the trained layer, fine-tuned for as many steps as every other row: dense layers gain too",
    "frozen_random": "a random layer that is never trained",
    "picked": "each output copies one randomly picked input; never trained",
    "pooled": "each output is the mean of a run of neighbouring inputs (with as many outputs as inputs, one each); never trained",
    "removed": "the weight is zero (other layers frozen); the layer is left out and the next one drawn anew (other layers fine-tuned)",
    "rank1": "one row times one column: a weak rival, shown because it is often the only one",
    "hashed": "as many parameters as the budget, shared with random signs by a random hash (Chen et al. 2015)",
    "subspace": "a fixed random projection of as many parameters as the budget (Li et al. 2018)",
    "small_dense": "a smaller dense model of as many parameters in all, trained as long (where the task knows one)",
}

#: Controls with parameters of their own, as many as the budget: one row a budget.
SHARED = ("hashed", "subspace", "small_dense")
#: Controls without parameters of their own.
FREE = ("frozen_random", "picked", "pooled", "removed")


#: ``(weight shape, budget) -> Network``.
Build = Callable[[Sequence[int], int], tk.Network]


@dataclass(frozen=True)
class Family:
    """A way to spend a budget: ``build(shape, budget)`` gives a network.

    Attributes
    ----------
    name
        One of :data:`KINDS`, or your own.
    label
        For tables: the name, with the depth where there is one.
    build
        ``(weight shape, budget) -> Network``.
    depth
        Activations and one more; None for families that have none.
    """

    name: str
    label: str
    build: Build
    depth: int | None = None

    def __post_init__(self) -> None:
        text(self.name, "Family: name")
        text(self.label, "Family: label")
        a_function(self.build, "Family: build")
        if self.depth is not None:
            object.__setattr__(self, "depth", a_size(self.depth, "Family: depth"))


def _mpo_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        for out, in_ in factorisations(shape):
            yield from grow(lambda r, out=out, in_=in_: tk.mpo(out, in_, r), budget)  # type: ignore[misc]
            yield from step_ranks(lambda r, out=out, in_=in_: tk.mpo(out, in_, r), len(out) - 1, budget)  # type: ignore[misc]

    return near_budget(every(), budget)


def _tt_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)
    dims = [d for n in shape for d in site_dims(n)]

    def every() -> Iterator[tk.Network]:
        yield from grow(lambda r: tk.tt(dims, r), budget)
        caps = [min(prod(dims[:k]), prod(dims[k:])) for k in range(1, len(dims))]
        yield from step_ranks(
            lambda r: tk.tt(dims, [min(a, b) for a, b in zip(r, caps, strict=True)]), len(caps), budget
        )

    return near_budget(every(), budget)


def _ring_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        bits = tuple(d for n in shape for d in site_dims(n))
        for dims in (*((*out, *in_) for out, in_ in factorisations(shape)), bits):
            yield from grow(lambda r, dims=dims: tk.ring(dims, r), budget)  # type: ignore[misc]
            yield from step_ranks(lambda r, dims=dims: tk.ring(dims, r), len(dims), budget)  # type: ignore[misc]

    return near_budget(every(), budget)


def _tucker_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        for out, in_ in factorisations(shape):
            dims = (*out, *in_)
            yield from grow(lambda r, dims=dims: tk.tucker(dims, r), budget)  # type: ignore[misc]
            make = lambda r, dims=dims: tk.tucker(dims, [min(a, n) for a, n in zip(r, dims, strict=True)])  # noqa: E731
            yield from step_ranks(make, len(dims), budget)

    return near_budget(every(), budget)


def _cp_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        for out, in_ in factorisations(shape):
            dims = (*out, *in_)
            yield from grow(lambda r, dims=dims: tk.cp(dims, r), budget)  # type: ignore[misc]
        dims = tuple(d for n in shape for d in site_dims(n))
        yield from grow(lambda r: tk.cp(dims, r), budget)

    return near_budget(every(), budget)


def tree_near(shape: Sequence[int], budget: int, activation: str | None = None) -> tk.Network:
    """A tree over the digits of rows and columns in turn, near a budget; with activations between its levels where one is named."""
    return _levelled(shape, budget, [lambda dims, r, a=arity: tk.tree(dims, r, a, activation) for arity in (2, 3, 4)])  # type: ignore[misc]


def by_rank(
    build: Callable[..., tk.Network], shape: Sequence[int], budget: int, activation: str | None = None
) -> tk.Network:  # fmt: skip
    """Any builder of sizes and a rank, over the digits of rows and columns in turn, near a budget."""
    options = {} if activation is None else {"activation": activation}
    return _levelled(shape, budget, [partial(build, **options)])


def _levelled(
    shape: Sequence[int], budget: int, makes: Sequence[Callable[[Sequence[int], int], tk.Network]]
) -> tk.Network:  # fmt: skip
    """The nearest of what makes a network of sites and a rank, over digits of rows and columns in turn."""
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        for (out, in_), make in product(_all_factorisations(shape), makes):
            yield from grow(partial(in_turn, out, in_, make), budget)

    return near_budget(every(), budget)


def _all_factorisations(shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Digits of the rows and of the columns, at last all prime factors."""
    yield from factorisations(shape, (4, 3, 2, 5, 6, 7, 8))
    rows, cols = matrix_shape(shape)
    yield site_dims(rows), tuple(d for n in (shape[1:] if pads(shape) else (cols,)) for d in site_dims(n))


def _low_rank_near(shape: Sequence[int], budget: int) -> tk.Network:
    shape, budget = asked(shape, budget)
    return near_budget(grow(lambda r: tk.low_rank(matrix_shape(shape), r), budget), budget)


def full_count(net: tk.Network) -> int:
    """Numbers of an ADTN in whole bricks: those of its first column act on fixed vectors, and store a square root of a brick."""
    arrays = {n.array: n for n in net.leaves if not n.fixed}
    sizes = {name: prod(net.array_shapes[name]) for name in arrays}
    return sum(size**2 if len(arrays[name].inds) == 2 else size for name, size in sizes.items())


def adtn_near(
    shape: Sequence[int], budget: int, depth: int, activation: str | None = "relu", order: str = "interleaved", periodic: bool = False,
    merged: int = 0,
) -> tk.Network:  # fmt: skip
    """An ADTN of the given depth near a budget.

    Below the count of the untied binary wall, bricks of a column are shared with a period, of that wall or of one with up to three
    pairs of binary sites merged into sites of size 4; above it, pairs are merged until the budget is passed, up to sites of size
    16.  With ``merged`` at least so many pairs are.
    """
    shape, budget = asked(shape, budget)
    make = partial(tk.adtn, shape, depth=depth, activation=activation, order=order, periodic=periodic)

    def tied(dims: list[int]) -> Iterator[tk.Network]:
        yield from (make(dim=dims, share=share) for share in range(len(dims) // 2, 0, -1))

    def every() -> Iterator[tk.Network]:
        walls = [dims for dims in _merged(shape) if not (periodic and len(dims) % 2)]
        if not walls:
            raise ValueError(f"no periodic wall for a weight of shape {tuple(shape)}: it needs an even number of sites")
        walls = walls[min(merged, len(walls) - 1) :]
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

    return near_budget(islice(every(), 200), budget)


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


def circuit_near(
    shape: Sequence[int], budget: int, depth: int, activation: str | None = "sin", digits: Sequence[int] = (4, 3, 5, 2)
) -> tk.Network:
    """A TT-matrix, then depth - 1 columns of gates on single digits, of the rows and of the columns in turn, an activation before each.

    Every column is a Kronecker product.  The TT-matrix takes what the columns leave of the budget.  The first number of digits a side,
    of those in ``digits``, that gives a network within 5 % of the budget is taken.
    """
    shape, budget = asked(shape, budget)

    def every() -> Iterator[tk.Network]:
        for out, in_ in factorisations(shape, digits):
            yield from step_ranks(partial(_circuit_of, out, in_, depth, activation), len(out) - 1, budget)

    return near_budget(every(), budget)


def _circuit_of(
    out: tuple[int, ...], in_: tuple[int, ...], depth: int, activation: str | None, rank: list[int]
) -> tk.Network:
    n = len(out)
    gates = [[(k,) for k in range(n)], [(n + k,) for k in range(n)]]
    columns = [gates[k % 2] for k in range(depth - 1)]
    return tk.circuit((*out, *in_), columns, activation, start=tk.mpo(out, in_, rank))


@dataclass(frozen=True)
class Kind:
    """What is known of a family: how one is built and, where its depth can be chosen, its least depth and its own activation."""

    build: Callable[..., tk.Network]
    least_depth: int | None = None
    activation: str | None = None


#: The families that a comparison shows by default.  One line adds a family: its name, and a function of a weight's shape and a budget.
_SHOWN: dict[str, Kind] = {
    "adtn": Kind(adtn_near, 1, "relu"),  # the paper's activation
    "circuit": Kind(circuit_near, 2, "sin"),  # the best that was measured
    "mpo": Kind(_mpo_near),
    "tt": Kind(_tt_near),
    "tucker": Kind(_tucker_near),
    "cp": Kind(_cp_near),
    "ring": Kind(_ring_near),
    "tree": Kind(tree_near),
    "low_rank": Kind(_low_rank_near),
}


def _of_builders() -> Iterator[tuple[str, Kind]]:
    """Every other builder of sizes and a rank: it is a family because it is there."""
    for name, build in tk.BUILDERS.items():
        if list(signature(build).parameters)[:2] == ["shape", "rank"] and build.__name__ not in _SHOWN:
            yield name, Kind(partial(by_rank, build))


#: All families by name: those shown by default, and the other builders of sizes and a rank.
KINDS: dict[str, Kind] = {**_SHOWN, **dict(_of_builders())}

#: Family name -> ``(shape, budget) -> Network`` of those shown by default; those that have a depth have 3 here.
BASELINES: dict[str, Callable[[Sequence[int], int], tk.Network]] = {
    name: partial(kind.build, depth=3) if kind.least_depth else kind.build for name, kind in _SHOWN.items()
}


def as_family(given: object, what: str) -> Family:
    """A family of one's own: itself, a function ``(shape, budget) -> Network`` under its name, or the place of either.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        By the name ``what``: no such thing, or nothing at the place.
    """
    found = imported(given, what) if isinstance(given, str) else given
    if isinstance(found, Family):
        return found
    if not callable(found) or isinstance(found, (type, torch.nn.Module)):
        raise TypeError(
            f"{what} is the name of a family, a Family, a function (shape, budget) -> Network or the place of one, not {shown(found)}"
        )
    inner = found.func if isinstance(found, partial) else found
    name = str(getattr(inner, "__name__", type(inner).__name__)).strip("<>").replace("_", " ")
    return Family(name, name, found)


def made_by(build: Build, shape: Sequence[int], budget: int, what: str) -> Any:
    """What a function of one's own makes of a weight's shape and a budget.

    Raises
    ------
    ValueError
        By the name ``what``: it fails (that error is the cause).
    """
    try:
        return build(shape, budget)
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"{what} fails for {tuple(shape)} and {budget}: {type(error).__name__}: {error}") from error


def families(names: Sequence[str], depths: Sequence[int] = (1, 2, 3), activation: str | None = None) -> list[Family]:
    """The families called ``names``, one a depth where they have one (a circuit of depth 1 would be ``mpo``: left out).

    ``activation``: the family's own if not given, ReLU for ``adtn`` and sine for ``circuit``.

    Raises
    ------
    TypeError, ValueError
        A name that is not in :data:`KINDS`; depths that are no whole numbers of at least 1; a family that none of the depths gives a network.
    """
    depths = [whole_number(d, "depths: each", 1) for d in sequence(depths, "depths")]
    if not depths:
        raise ValueError("depths are one or more whole numbers of at least 1, not none")
    if activation is not None:
        one_of(activation, "activation", UNARY)
    out = []
    for name in sequence(names, "families: names"):
        one_of(name, "shapes: each family", KINDS)
        kind = KINDS[name]
        if kind.least_depth is None:
            out.append(Family(name, name, kind.build))
            continue
        least, fn = kind.least_depth, activation or kind.activation
        if max(depths) < least:
            raise ValueError(f"{name} has depth {least} or more; depth {max(depths)} is mpo itself")
        out += [
            Family(name, f"{name} depth {d}", partial(kind.build, depth=d, activation=fn), d)
            for d in depths
            if d >= least
        ]
    return out

"""What builders share: arguments checked by name, and a network of some of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import index, mul
from typing import Any

from tnkit.core.network import AnyNode, Network

__all__ = ["Rank", "assembled", "bond_caps", "check_rank", "check_ranks", "check_shape"]

Rank = int | Sequence[int]


def assembled(nodes: Sequence[AnyNode], output: tuple[str, ...], sizes: Mapping[str, int]) -> Network:
    """The network of some nodes, whose sizes may be given among others."""
    used = dict.fromkeys(i for node in nodes for i in node.inds)
    return Network(tuple(nodes), output, {i: sizes[i] for i in used if i in sizes})


def check_shape(shape: Sequence[int], what: str, least: int = 1) -> tuple[int, ...]:
    """The shape as a tuple of positive ints; ValueError or TypeError names ``what``."""
    try:
        shape = tuple(index(n) for n in shape)
    except TypeError:
        raise TypeError(f"{what}: shape {shape!r} is not a sequence of whole numbers") from None
    if len(shape) < least:
        raise ValueError(f"{what}: shape {shape} has {len(shape)} axes, needs at least {least}")
    if any(n < 1 for n in shape):
        raise ValueError(f"{what}: shape {shape} has a size below 1")
    return shape


def check_rank(rank: Rank, bonds: int, what: str, caps: Sequence[int] | None = None) -> tuple[int, ...]:
    """One rank a bond: an int for all (cut to ``caps``), or a sequence taken as it is."""
    try:
        one = index(rank)  # type: ignore[arg-type]
    except TypeError:
        ranks = check_ranks(rank, bonds, what)
    else:
        ranks = tuple(min(one, cap) for cap in (caps if caps is not None else [one] * bonds))
        if one < 1:
            raise ValueError(f"{what}: rank {rank} is below 1")
    return ranks


def check_ranks(ranks: Any, bonds: int, what: str) -> tuple[int, ...]:
    """One rank a bond, from a sequence."""
    try:
        given = tuple(index(r) for r in ranks)
    except TypeError:
        raise TypeError(f"{what}: rank {ranks!r} is neither a whole number nor a sequence of them") from None
    if len(given) != bonds:
        raise ValueError(f"{what}: {len(given)} ranks given for {bonds} bonds")
    if any(r < 1 for r in given):
        raise ValueError(f"{what}: rank {ranks} is below 1")
    return given


def bond_caps(dims: Sequence[int]) -> list[int]:
    """Largest useful bond at each cut of a chain."""
    before, behind = list(accumulate(dims, mul)), list(accumulate(reversed(dims), mul))
    return [min(a, b) for a, b in zip(before[:-1], reversed(behind[:-1]), strict=True)]

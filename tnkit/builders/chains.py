"""Chains: tensor trains (matrix product states), TT-matrices (matrix product operators), rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import index, mul
from typing import Any

from tnkit.core.network import AnyNode, Network, Node

__all__ = ["mpo", "mps", "ring", "tt"]

Rank = int | Sequence[int]


def assembled(nodes: Sequence[AnyNode], output: tuple[str, ...], sizes: Mapping[str, int]) -> Network:
    """The network of some nodes, whose sizes may be given among others."""
    used = {i for node in nodes for i in node.inds}
    return Network(tuple(nodes), output, {i: n for i, n in sizes.items() if i in used})


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


def _caps(dims: Sequence[int]) -> list[int]:
    """Largest useful bond at each cut of a chain."""
    before, behind = list(accumulate(dims, mul)), list(accumulate(reversed(dims), mul))
    return [min(a, b) for a, b in zip(before[:-1], reversed(behind[:-1]), strict=True)]


def tt(shape: Sequence[int], rank: Rank) -> Network:
    """Tensor train (Oseledets 2011), the same as a matrix product state with open ends.

    ::

        o--o--o--o
        |  |  |  |

    Parameters
    ----------
    shape
        Sizes of the open indices ``i0, i1, ...``.
    rank
        Bond sizes ``b1 ... b(n-1)``: one int for all, cut at each bond to what the shape can use, or a sequence as it is.

    Returns
    -------
    Network
        ``core_k``; parameters: sum over k of r(k) n(k) r(k+1), with r(0) = r(n) = 1 left out.
    """
    shape = check_shape(shape, "tt")
    bonds = check_rank(rank, len(shape) - 1, "tt", _caps(shape))
    nodes = []
    for k in range(len(shape)):
        left = (f"b{k}",) if k else ()
        right = (f"b{k + 1}",) if k < len(shape) - 1 else ()
        nodes.append(Node(f"core_{k}", (*left, f"i{k}", *right)))
    sizes = {f"i{k}": n for k, n in enumerate(shape)} | {f"b{k + 1}": r for k, r in enumerate(bonds)}
    return Network(tuple(nodes), tuple(f"i{k}" for k in range(len(shape))), sizes)


mps = tt


def mpo(out: Sequence[int], in_: Sequence[int], rank: Rank) -> Network:
    """TT-matrix (Novikov et al. 2015), the same as a matrix product operator: a matrix of prod(out) x prod(in_).

    ::

        |  |  |      out
        o--o--o
        |  |  |      in

    Parameters
    ----------
    out, in_
        Sizes of the row indices ``o0, o1, ...`` and of the column indices ``i0, i1, ...``; equally many.
    rank
        Bond sizes, as for :func:`tt`.

    Returns
    -------
    Network
        Output ``o0 ... i0 ...``; parameters: sum over k of r(k) out(k) in(k) r(k+1).
    """
    out, in_ = check_shape(out, "mpo out"), check_shape(in_, "mpo in_")
    if len(out) != len(in_):
        raise ValueError(f"mpo: out has {len(out)} sizes and in_ {len(in_)}; pad the shorter with 1")
    n = len(out)
    bonds = check_rank(rank, n - 1, "mpo", _caps([a * b for a, b in zip(out, in_, strict=True)]))
    nodes = []
    for k in range(n):
        left = (f"b{k}",) if k else ()
        right = (f"b{k + 1}",) if k < n - 1 else ()
        nodes.append(Node(f"core_{k}", (*left, f"o{k}", f"i{k}", *right)))
    sizes = {f"o{k}": s for k, s in enumerate(out)} | {f"i{k}": s for k, s in enumerate(in_)}
    sizes |= {f"b{k + 1}": r for k, r in enumerate(bonds)}
    return Network(tuple(nodes), (*(f"o{k}" for k in range(n)), *(f"i{k}" for k in range(n))), sizes)


def ring(shape: Sequence[int], rank: Rank) -> Network:
    """Tensor ring (Zhao et al. 2016), the same as a matrix product state with periodic ends.

    ::

        ,-o--o--o--o-.
        | |  |  |  | |
        '------------'

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``; at least two.
    rank
        Bond sizes ``b0 ... b(n-1)``, ``bk`` left of core k: an int for all, or a sequence.

    Returns
    -------
    Network
        ``core_k``; parameters: sum over k of r(k) n(k) r(k+1), with r(n) = r(0).
    """
    shape = check_shape(shape, "ring", least=2)
    n = len(shape)
    bonds = check_rank(rank, n, "ring")
    nodes = tuple(Node(f"core_{k}", (f"b{k}", f"i{k}", f"b{(k + 1) % n}")) for k in range(n))
    sizes = {f"i{k}": s for k, s in enumerate(shape)} | {f"b{k}": r for k, r in enumerate(bonds)}
    return Network(nodes, tuple(f"i{k}" for k in range(n)), sizes)

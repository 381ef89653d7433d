"""Chains: tensor trains (matrix product states), TT-matrices (matrix product operators), rings."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tnkit.builders.arguments import Rank, bond_caps, check_rank, check_shape, check_sides
from tnkit.builders.registry import builder
from tnkit.core.network import Network
from tnkit.core.node import Node


def _chain(shape: Sequence[int], rank: Rank, periodic: bool = False) -> int:
    """Sum over k of r(k) n(k) r(k+1); a single rank is cut to what each bond can use, in an open chain."""
    n = len(shape)
    if isinstance(rank, int):
        caps = [min(prod(shape[:k]), prod(shape[k:])) for k in range(1, n)]
        r = [rank] * (n + 1) if periodic else [1, *(min(rank, cap) for cap in caps), 1]
    else:
        r = [*rank, rank[0]] if periodic else [1, *rank, 1]
    return sum(r[k] * shape[k] * r[k + 1] for k in range(n))


@builder(_chain, shape=(4, 3, 5, 2), rank=3)
def tt(shape: Sequence[int], rank: Rank) -> Network:
    """Tensor train (Oseledets 2011), the same as a matrix product state with open ends.

    ::

        o--o--o--o
        |  |  |  |

    >>> net = tk.tt((4, 4, 4, 4), rank=3)
    >>> net.num_params, net.array_shapes["core_1"]  # 4*3 + 3*4*3 + 3*4*3 + 3*4
    (96, (3, 4, 3))
    >>> tk.tt((4, 4, 4, 4), (2, 5, 2)).sizes["b2"]
    5
    >>> tk.mps((2,) * 8, 4) == tk.tt((2,) * 8, 4)  # one network, two names
    True

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

    Raises
    ------
    TypeError, ValueError
        A shape or ranks that are no whole numbers of at least 1; not one rank a bond.
    """
    shape = check_shape(shape, "tt")
    bonds = check_rank(rank, len(shape) - 1, "tt", bond_caps(shape))
    nodes = []
    for k in range(len(shape)):
        left = (f"b{k}",) if k else ()
        right = (f"b{k + 1}",) if k < len(shape) - 1 else ()
        nodes.append(Node(f"core_{k}", (*left, f"i{k}", *right)))
    sizes = {f"i{k}": n for k, n in enumerate(shape)} | {f"b{k + 1}": r for k, r in enumerate(bonds)}
    return Network(tuple(nodes), tuple(f"i{k}" for k in range(len(shape))), sizes)


mps = builder(_chain, "mps", shape=(2,) * 6, rank=4)(tt)


@builder(lambda out, in_, rank: _chain([a * b for a, b in zip(out, in_)], rank), out=(4, 3, 2), in_=(2, 5, 3), rank=3)
def mpo(out: Sequence[int], in_: Sequence[int], rank: Rank) -> Network:
    """TT-matrix (Novikov et al. 2015), the same as a matrix product operator: a matrix of prod(out) x prod(in_).

    ::

        |  |  |      out
        o--o--o
        |  |  |      in

    >>> net = tk.mpo((8, 8), (4, 4), rank=2)  # a matrix of 64 x 16
    >>> net.output, net.num_params  # 8*4*2 + 2*8*4
    (('o0', 'o1', 'i0', 'i1'), 128)
    >>> tk.detensorize(tk.contract(net, tk.init.normal(net)), (64, 16)).shape
    (64, 16)

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

    Raises
    ------
    TypeError, ValueError
        Sizes or ranks that are no whole numbers of at least 1; sides of different lengths; not one rank a bond.
    """
    out, in_ = check_sides(out, in_, "mpo")
    n = len(out)
    bonds = check_rank(rank, n - 1, "mpo", bond_caps([a * b for a, b in zip(out, in_, strict=True)]))
    nodes = []
    for k in range(n):
        left = (f"b{k}",) if k else ()
        right = (f"b{k + 1}",) if k < n - 1 else ()
        nodes.append(Node(f"core_{k}", (*left, f"o{k}", f"i{k}", *right)))
    sizes = {f"o{k}": s for k, s in enumerate(out)} | {f"i{k}": s for k, s in enumerate(in_)}
    sizes |= {f"b{k + 1}": r for k, r in enumerate(bonds)}
    return Network(tuple(nodes), (*(f"o{k}" for k in range(n)), *(f"i{k}" for k in range(n))), sizes)


@builder(lambda shape, rank: _chain(shape, rank, periodic=True), shape=(4, 3, 5, 2), rank=2)
def ring(shape: Sequence[int], rank: Rank) -> Network:
    """Tensor ring (Zhao et al. 2016), the same as a matrix product state with periodic ends.

    ::

        ,-o--o--o--o-.
        | |  |  |  | |
        '------------'

    >>> tk.ring((4, 4, 4), rank=3).num_params  # 3 cores of 3*4*3
    108
    >>> tk.ring((4, 4, 4), rank=3).edges["b0"]  # the last core is joined to the first
    ('core_0', 'core_2')

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

    Raises
    ------
    TypeError, ValueError
        A shape or ranks that are no whole numbers of at least 1; fewer than two axes; not one rank a bond.
    """
    shape = check_shape(shape, "ring", least=2)
    n = len(shape)
    bonds = check_rank(rank, n, "ring")
    nodes = tuple(Node(f"core_{k}", (f"b{k}", f"i{k}", f"b{(k + 1) % n}")) for k in range(n))
    sizes = {f"i{k}": s for k, s in enumerate(shape)} | {f"b{k}": r for k, r in enumerate(bonds)}
    return Network(nodes, tuple(f"i{k}" for k in range(n)), sizes)

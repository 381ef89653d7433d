r"""Structured matrices: Kronecker sums, stages of block-diagonal matrices (BTT, Monarch, butterfly); sums of Tucker terms.

A stage replaces one digit of the columns by one digit of the rows and keeps every other digit: a block-diagonal matrix between two
permutations.  The digits that it keeps are shared by several nodes (hyperedges), so no permutation is stored or computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tnkit.builders.arguments import LONGEST, Rank, check_one_rank, check_rank, check_shape, check_sides, several
from tnkit.builders.registry import builder
from tnkit.core.checks import sequence, shown
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import whole_number
from tnkit.core.shapes import factorize


def _in_kronecker(out: Sequence[int], in_: Sequence[int], rank: int = 1, factor_rank: Any = None) -> int:
    """Rank times the sum over factors of out in, or of f (out + in) with f cut to both."""
    each = factor_rank if isinstance(factor_rank, (tuple, list)) else [factor_rank] * len(out)
    return rank * sum(a * b if f is None else min(f, a, b) * (a + b) for a, b, f in zip(out, in_, each))


@builder(_in_kronecker, out=(4, 3, 5), in_=(3, 4, 2), rank=2, factor_rank=(None, 2, 1))
def kronecker(
    out: Sequence[int], in_: Sequence[int], rank: int = 1, factor_rank: int | Sequence[int | None] | None = None
) -> Network:
    """Sum of ``rank`` Kronecker products, a matrix of prod(out) x prod(in_).

    ::

        |  |  |      out
        o  o  o      rank 1: no bond; else all are joined by one hyperedge
        |  |  |      in

    >>> tk.kronecker((32, 16), (28, 28)).num_params  # 32*28 + 16*28
    1344
    >>> tk.kronecker((32, 16), (28, 28), factor_rank=(None, 4)).num_params  # LoKr
    1072
    >>> a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 2))
    >>> net = tk.kronecker((2, 2), (3, 2))
    >>> np.allclose(tk.contract(net, dict(zip(net.parameters, (a, b)))).reshape(4, 6), np.kron(a, b))
    True

    Parameters
    ----------
    out, in_
        Sizes of the row indices ``o0, o1, ...`` and of the column indices ``i0, i1, ...``; equally many.
    rank
        Products in the sum.  Two dense factors hold every matrix once the rank reaches
        min(out(0) in(0), out(1) in(1)) (Van Loan and Pitsianis 1993).
    factor_rank
        Makes the factors low-rank products themselves (LoKr, Yeh et al. 2023): an int for all, cut to a factor's sizes, or one a
        factor, where None leaves that factor dense.

    Returns
    -------
    Network
        ``factor_k``, or ``left_k`` and ``right_k`` for one of low rank; output ``o0 ... i0 ...``.  Parameters:
        rank x sum over k of out(k) in(k), or f(k) (out(k) + in(k)) for a factor of low rank.

    Raises
    ------
    TypeError, ValueError
        Sizes or ranks that are no whole numbers of at least 1; sides of different lengths; not one factor rank a factor.
    """
    out, in_ = check_sides(out, in_, "kronecker")
    r = check_one_rank(rank, "kronecker")
    ranks = _factor_ranks(factor_rank, [min(pair) for pair in zip(out, in_, strict=True)])
    term = ("r",) if r > 1 else ()
    nodes: list[Node] = []
    for k, f in enumerate(ranks):
        if f is None:
            nodes.append(Node(f"factor_{k}", (*term, f"o{k}", f"i{k}")))
        else:
            nodes += [
                Node(f"left_{k}", (*term, f"o{k}", f"f{k}")),
                Node(f"right_{k}", (*term, f"f{k}", f"i{k}")),
            ]
    sizes = _digits("o", out) | _digits("i", in_) | {f"f{k}": f for k, f in enumerate(ranks) if f is not None}
    return Network(tuple(nodes), (*_digits("o", out), *_digits("i", in_)), sizes | dict.fromkeys(term, r))


def _factor_ranks(given: Any, caps: Sequence[int]) -> tuple[int | None, ...]:
    """The inner rank of each factor, None where it is dense."""
    who = "kronecker: factor_rank"
    if given is None:
        return (None,) * len(caps)
    if not several(given):
        one = whole_number(given, who, 1)
        return tuple(min(one, cap) for cap in caps)
    each = sequence(given, who)
    if len(each) != len(caps):
        raise ValueError(f"{who} has one entry a factor: {len(caps)}, not {len(each)}")
    found = [None if f is None else whole_number(f, f"{who} of factor {k}", 1) for k, f in enumerate(each)]
    return tuple(None if f is None else min(f, cap) for f, cap in zip(found, caps, strict=True))


def _in_stages(out: Sequence[int], in_: Sequence[int], rank: Any = 1) -> int:
    """Sum over k of r(k) r(k+1) out(0) ... out(k) in(k) in(k+1) ...; one rank is cut to what each bond can use."""
    n = len(out)
    if isinstance(rank, int):
        r = [1, *(min(rank, prod(in_[:k]), prod(out[k:])) for k in range(1, n)), 1]
    else:
        r = [1, *rank, 1]
    return sum(r[k] * r[k + 1] * prod(out[: k + 1]) * prod(in_[k:]) for k in range(n))


@builder(_in_stages, out=(2, 3, 2), in_=(3, 2, 4), rank=2)
def btt(out: Sequence[int], in_: Sequence[int], rank: Rank) -> Network:
    """Block tensor train (Qiu et al. 2024): a TT-matrix whose cores carry all digits that are there beside them.

    ::

        x(i0, i1, i2) -[core_0]-> (o0, i1, i2) -[core_1]-> (o0, o1, i2) -[core_2]-> y(o0, o1, o2)

    >>> net = tk.btt((32, 32), (32, 32), rank=1)  # 1024 x 1024, of which 6 % are stored
    >>> net.num_params, 1024 * 1024
    (65536, 1048576)

    Core k replaces the column digit ``ik`` by the row digit ``ok``.  It has an own small matrix for every value of the digits
    produced before (``o0 ... o(k-1)``) and not yet consumed (``i(k+1) ...``).  A product with a vector takes two operations a
    parameter.  BTT holds every TT-matrix of its ranks (whose cores do not depend on those digits), and :func:`monarch` at rank 1.

    Parameters
    ----------
    out, in_
        Sizes of the row indices ``o0, o1, ...`` and of the column indices ``i0, i1, ...``; equally many.
    rank
        Sizes of the bonds ``b1 ...`` between cores: one int for all, cut to min(in(0) ... in(k-1), out(k) out(k+1) ...), where a
        network of two cores holds every matrix; or a sequence as it is.

    Returns
    -------
    Network
        ``core_k``, output ``o0 ... i0 ...``; parameters: sum over k of r(k) r(k+1) out(0) ... out(k) in(k) in(k+1) ..., with
        r(0) = r(n) = 1.

    Raises
    ------
    TypeError, ValueError
        Sizes or ranks that are no whole numbers of at least 1; sides of different lengths; not one rank a bond.
    """
    out, in_ = check_sides(out, in_, "btt")
    n = len(out)
    ranks = check_rank(rank, n - 1, "btt", [min(prod(in_[:k]), prod(out[k:])) for k in range(1, n)])
    return _stages("core", out, in_, ranks)


@builder(_in_stages, out=(3, 2, 4), in_=(2, 4, 3))
def monarch(out: Sequence[int], in_: Sequence[int]) -> Network:
    """Monarch matrix (Dao et al. 2022): block-diagonal matrices with a permutation between each and the next.

    ::

        x(i0, i1) -[block_0: a matrix o0 x i0 for every i1]-> (o0, i1) -[block_1: a matrix o1 x i1 for every o0]-> y(o0, o1)

    >>> tk.monarch((32, 32), (32, 32)).num_params  # 1024 x 1024 = two block-diagonal matrices of 32 blocks 32 x 32
    65536

    The permutations are the order of the indices: nothing is moved.  The order of Dao et al., who multiply the last digit first,
    is this one with the digits of both sides reversed.  Two digits a side are the usual Monarch matrix, more are those of order p
    (Fu et al. 2023).  Digits of size 2 are a :func:`butterfly`, and Monarch on larger digits holds every butterfly whose digits it
    merges; a bond between the blocks makes it a :func:`btt`.

    Parameters
    ----------
    out, in_
        Sizes of the row indices ``o0, o1, ...`` and of the column indices ``i0, i1, ...``; equally many.

    Returns
    -------
    Network
        ``block_k``, output ``o0 ... i0 ...``; parameters: sum over k of out(0) ... out(k) in(k) in(k+1) ...

    Raises
    ------
    TypeError, ValueError
        Sizes that are no whole numbers of at least 1; sides of different lengths.
    """
    out, in_ = check_sides(out, in_, "monarch")
    return _stages("block", out, in_)


def _in_butterfly(out: Sequence[int], in_: Sequence[int], passes: int = 1) -> int:
    """The stages of one pass; each pass after it has one stage less, of all rows times the stage's digit."""
    more = 0
    for k in range(1, passes):
        more += prod(out) * sum(out[:-1] if k % 2 else out[1:])
    return sum(prod(out[: k + 1]) * prod(in_[k:]) for k in range(len(out))) + more


@builder(_in_butterfly, out=(2, 3, 2), in_=(3, 2, 2), passes=2)
def butterfly(out: int | Sequence[int], in_: int | Sequence[int], passes: int = 1) -> Network:
    """Butterfly matrix (Dao et al. 2019): one level a digit, wired as the fast Fourier transform is.

    ::

        x(i0, i1, i2) -[level_0]-> (o0, i1, i2) -[level_1]-> (o0, o1, i2) -[level_2]-> y(o0, o1, o2)

    >>> tk.butterfly(1024, 1024).num_params  # 2 n log2 n
    20480
    >>> net, h = tk.butterfly(4, 4), np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> arrays = {name: np.stack([h, h]) for name in net.parameters}  # the same for every value of the other digit
    >>> np.allclose(tk.contract(net, arrays).reshape(4, 4), np.kron(h, h))  # the Hadamard transform
    True

    A level is a matrix o x i of one digit for every value of all the others.  It holds the discrete Fourier transform (the row
    digits are those of the frequency, the least first: bit reversal), the Hadamard transform, and products of them with diagonal
    matrices on either side.

    Parameters
    ----------
    out, in_
        Rows and columns: an int, read by its prime factors (all 2 for a power of two), or the digits' sizes.  The side with fewer
        prime factors gets digits of size 1: rows at the front, columns at the end.
    passes
        1: a butterfly B.  2: through the digits and back, as B B^T (kaleidoscope, Dao et al. 2020; for digits of size 2 the wiring
        of the Benes network, which holds every permutation).  More: through once more each.  Two passes share the level at which
        they meet.

    Returns
    -------
    Network
        ``level_k``, output ``o0 ... i0 ...``.  Parameters: those of :func:`monarch` of the same digits, 2 n log2 n for
        n x n with n a power of two.  Each further pass has prod(out) out(k) for every digit but the first that it would meet.

    Raises
    ------
    TypeError, ValueError
        Sizes or passes that are no whole numbers of at least 1; sides of different lengths.
    """
    rows, cols = _as_digits(out, "butterfly out"), _as_digits(in_, "butterfly in_")
    n = max(len(rows), len(cols))
    if not several(out):
        rows = (1,) * (n - len(rows)) + rows
    if not several(in_):
        cols = cols + (1,) * (n - len(cols))
    rows, cols = check_sides(rows, cols, "butterfly")
    passes = whole_number(passes, "butterfly: passes", 1, 1000)
    return _stages("level", rows, cols, passes=passes)


def _as_digits(given: Any, what: str) -> tuple[int, ...]:
    """Sizes of digits as they are, or those of a whole number: its prime factors."""
    if several(given):
        return check_shape(given, what)
    try:
        n = whole_number(given, what)
    except TypeError:
        raise TypeError(f"{what} is a whole number or a sequence of them, not {shown(given)}") from None
    if not 1 <= n <= 2**40:
        raise ValueError(
            f"{what} as one number is from 1 to 2^40, not {shown(n)}; larger sides are given digit by digit"
        )
    return factorize(n) or (1,)


def _stages(
    name: str, out: tuple[int, ...], in_: tuple[int, ...], ranks: Sequence[int] = (), passes: int = 1
) -> Network:
    """Stages that replace the digits one by one; a second pass goes back through them, and so on."""
    n = len(out)
    order = list(range(n))
    for k in range(1, passes):
        order += reversed(range(n - 1)) if k % 2 else range(1, n)
    last = {digit: step for step, digit in enumerate(order)}  # the stage that gives a row digit
    wires, nodes = [f"i{k}" for k in range(n)], []
    sizes = _digits("o", out) | _digits("i", in_) | {f"b{k + 1}": r for k, r in enumerate(ranks)}
    for step, digit in enumerate(order):
        old, new = wires[digit], f"o{digit}" if last[digit] == step else f"m{step}_{digit}"
        sizes[new] = out[digit]
        beside = [w for k, w in enumerate(wires) if k != digit]
        left, right = ([b] if b in sizes else [] for b in (f"b{step}", f"b{step + 1}"))
        nodes.append(Node(f"{name}_{step}", (*beside, new, *right, *left, old)))
        wires[digit] = new
    return Network(tuple(nodes), (*_digits("o", out), *_digits("i", in_)), sizes)


def _in_terms(shape: Sequence[int], rank: Rank, terms: int = 2) -> int:
    """Terms times the count of one Tucker decomposition."""
    ranks = [min(rank, n) for n in shape] if isinstance(rank, int) else rank
    return terms * (prod(ranks) + sum(n * r for n, r in zip(shape, ranks)))


@builder(_in_terms, shape=(4, 5, 6), rank=(2, 3, 2), terms=3)
def block_term(shape: Sequence[int], rank: Rank, terms: int = 2) -> Network:
    r"""Block term decomposition (De Lathauwer 2008): a sum of Tucker terms.

    ::

          o--o             core and factors, all joined by the hyperedge t of the terms
         /|\ (one a term)
        o o o
        | | |

    >>> tk.block_term((8, 8, 8), rank=2, terms=4).num_params  # 4 * (2**3 + 3 * 8*2)
    224

    Parameters
    ----------
    shape
        Sizes of ``i0, i1, ...``.
    rank
        Core sizes ``r0, r1, ...`` of every term: an int for all (cut to the axis), or a sequence.
    terms
        Size of the hyperedge ``t``; without it (1 term) it is :func:`tucker`.  At rank 1 it is :func:`cp`, with a factor more.

    Returns
    -------
    Network
        ``core`` and ``factor_k``; parameters: terms x (prod r(k) + sum n(k) r(k)).

    Raises
    ------
    TypeError, ValueError
        A shape, ranks or terms that are no whole numbers of at least 1; not one rank an axis.
    """
    shape = check_shape(shape, "block_term")
    ranks = check_rank(rank, len(shape), "block_term", shape)
    term = ("t",) if (count := whole_number(terms, "block_term: terms", 1, LONGEST)) > 1 else ()
    core = Node("core", (*term, *_digits("r", ranks)))
    factors = [Node(f"factor_{k}", (*term, f"i{k}", f"r{k}")) for k in range(len(shape))]
    sizes = _digits("i", shape) | _digits("r", ranks) | dict.fromkeys(term, count)
    return Network((core, *factors), tuple(_digits("i", shape)), sizes)


def _digits(letter: str, sizes: Sequence[int]) -> dict[str, int]:
    return {f"{letter}{k}": n for k, n in enumerate(sizes)}

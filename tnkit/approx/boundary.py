"""The contraction of a lattice from two opposite sides, each a chain that is truncated after every row.

A boundary is a matrix product state, a row of the lattice an operator (Verstraete and Cirac 2004).  Their product is truncated
in canonical form, so that every cut is the best one for its bond: its left part is held by triangular factors alone, which take
one sweep of QR without Q, and the way back cuts bond by bond (SVD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tnkit.approx.simple_graph import Tracked
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import unit

__all__ = ["Cut", "boundary_value", "kept_rank"]

#: Singular values below this part of the largest are rounding.
_ROUNDING = 1e-15
#: Turns of the bases of all bonds between rows at most; the difference of both sides at which they end; the part of the largest
#: to which small eigenvalues are raised there.
_SWEEPS, _EVEN, _FLOOR = 10, 1e-2, 1e-10
#: Axes of a tensor, one of them moved to the front.
_FIRST = tuple((k, *(j for j in range(4) if j != k)) for k in range(4))
#: A boundary, None outside the lattice, and its power.
_Chain = tuple[list[np.ndarray] | None, float]


@dataclass
class Cut:
    """How truncations are made, and what they have cut: the sum of the squares of the relative errors."""

    max_bond: int
    tol: float
    lost: float = 0.0
    widest: int = 1


def kept_rank(s: np.ndarray, cut: Cut) -> int:
    """How many leading singular values are kept; what is lost beside them is added to ``cut``."""
    squares = s**2
    total = float(squares.sum())
    if not total:
        return 1
    tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    allowed = max(cut.tol, _ROUNDING) ** 2 * total
    rank = max(1, min(cut.max_bond, int(np.sum(tails > allowed))))
    cut.lost += float(tails[rank]) / total
    cut.widest = max(cut.widest, rank)
    return rank


def boundary_value(rows: Sequence[Sequence[Tracked]], cut: Cut) -> tuple[Tracked, float]:
    """The scalar that a lattice contracts to.

    Parameters
    ----------
    rows
        Rows of tensors of indices (up, down, left, right), of size 1 where there is no neighbour.
    cut
        The truncation; what is lost is added to it.

    Returns
    -------
    scalar, power
        Of size about 1, and the power of two to multiply it by.
    """
    rows = _balanced(rows)
    middle, live = len(rows) // 2, any(x.live is not None for row in rows for x in row)
    values = [[x.value for x in row] for row in rows]
    flipped = [[x.transpose(1, 0, 2, 3) for x in row] for row in values[::-1]]
    above = _swept(values[:middle], cut)
    below = _swept(flipped[: len(rows) - middle - 1], cut)
    value, power = _between(above[-1][0], rows[middle], below[-1][0])
    power += above[-1][1] + below[-1][1]
    if not live:
        return value, power
    again = Cut(cut.max_bond, cut.tol)
    above += _swept(values[middle:-1], again, above[-1])[1:]
    below += _swept(flipped[len(rows) - middle - 1 : -1], again, below[-1])[1:]
    parts = []
    for (x, p), row, (y, q) in zip(above, rows, below[::-1], strict=True):
        z, more = _between(x, row, y)
        parts.append((z, p + q + more))
    return _with_gradient(value.value, power, parts), power


def _with_gradient(value: np.ndarray, power: float, parts: Sequence[tuple[Tracked, float]]) -> Tracked:
    """The value, with the gradient of every row between the boundaries on its two sides, which are constants.

    A boundary that was truncated keeps what its own rows are, not what they might become: no gradient goes through a cut.
    """
    total, backend = None, parts[0][0].backend
    for z, p in parts:
        if z.live is not None:
            backend = z.backend
            each = value / z.value if z.value else np.asarray(2.0 ** (p - power))
            slope = (z.live - backend.constant(z.live)) * backend.like(each, z.live)
            total = slope if total is None else total + slope
    assert total is not None
    return Tracked(value, total + backend.like(value, total), backend)


# -- bases in which both sides of a bond are the same size ------------------------------------------------------------
def _balanced(rows: Sequence[Sequence[Tracked]]) -> list[list[Tracked]]:
    """The same lattice in bases of its bonds in which the tensors on both sides are the same size.

    A cut is judged on one side alone, so what it costs depends on the basis (simple update, Jiang, Weng and Xiang 2008): where
    both sides see the same, what two boundaries lose is orthogonal to what the other one keeps.
    """
    made = [list(row) for row in rows]
    down = [((y, x), 1, (y + 1, x), 0) for y in range(len(made) - 1) for x in range(len(made[0]))]
    right = [((y, x), 3, (y, x + 1), 2) for y in range(len(made)) for x in range(len(made[0]) - 1)]
    every = [bond for bond in (*down, *right) if made[bond[0][0]][bond[0][1]].value.shape[bond[1]] > 1]
    bonds = every
    for _ in range(_SWEEPS):
        turned = {place for bond in bonds if _balance(made, *bond) for place in (bond[0], bond[2])}
        bonds = [bond for bond in every if bond[0] in turned or bond[2] in turned]
    return made


def _balance(rows: list[list[Tracked]], first: tuple[int, int], i: int, second: tuple[int, int], j: int) -> bool:
    """Turn the basis of a bond between axes of two tensors, in place, if its two sides differ; whether they did."""
    x, y = rows[first[0]][first[1]], rows[second[0]][second[1]]
    a, b = _gram(x.value, i), _gram(y.value, j)
    apart = bool(np.abs(a - b.conj()).max() >= _EVEN)
    if apart:
        left, right = _root(a), _root(b)
        u, s, vh = np.linalg.svd(left @ right.T)
        root = 1 / np.sqrt(s)
        rows[first[0]][first[1]] = x.applied(i, right.T @ (vh.conj().T * root))
        rows[second[0]][second[1]] = y.applied(j, left.T @ (u.conj() * root))
    return apart


def _gram(x: np.ndarray, axis: int) -> np.ndarray:
    """The Gram matrix of an axis, of trace 1."""
    m = x.transpose(_FIRST[axis]).reshape(x.shape[axis], -1)
    made: np.ndarray = m.conj() @ m.T
    trace = float(made.reshape(-1)[:: len(made) + 1].real.sum())
    return made / trace if trace > 0 else np.eye(len(m)) / len(m)


def _root(gram: np.ndarray) -> np.ndarray:
    """A square matrix ``r`` with ``gram = r^H r``, its small eigenvalues raised: any that has an inverse turns a basis."""
    values, vectors = np.linalg.eigh(gram)
    made: np.ndarray = np.sqrt(np.maximum(values, _FLOOR * values[-1]))[:, None] * vectors.conj().T
    return made


# -- boundaries -----------------------------------------------------------------------------------------------------
def _swept(rows: Sequence[Sequence[np.ndarray]], cut: Cut, start: _Chain = (None, 0.0)) -> list[_Chain]:
    """The boundary chains before the first row and after every row, each with its power."""
    made = [start]
    for row in rows:
        chain, power = made[-1]
        chain, more = _absorbed(chain or [_one(x.shape[0]) for x in row], row, cut)
        made.append((chain, power + more))
    return made


def _one(size: int) -> np.ndarray:
    return np.ones((1, size, 1))


def _absorbed(chain: list[np.ndarray], row: Sequence[np.ndarray], cut: Cut) -> tuple[list[np.ndarray], float]:
    """A chain times a row, truncated; and its power."""
    lefts = _left_factors(chain, row)
    edge, power = np.ones((1, 1, 1)), 0.0  # (bond of the chain, bond of the row, bond of the result)
    made: list[np.ndarray] = []
    for k in range(len(chain) - 1, -1, -1):
        x, w = chain[k], row[k]
        (a, u, b), (_, d, left, right), c = x.shape, w.shape, edge.shape[2]
        y = (x.reshape(a * u, b) @ edge.reshape(b, right * c)).reshape(a, u * right, c).transpose(0, 2, 1)
        y = y.reshape(a * c, u * right) @ w.transpose(0, 3, 2, 1).reshape(u * right, left * d)  # a c | l d
        y = y.reshape(a, c, left, d).transpose(0, 2, 3, 1)
        if not k:
            made.append(y.reshape(a * left, d, c))
            break
        y = y.reshape(a * left, d * c)
        v = _right_space(lefts[k] @ y, cut)
        made.append(v.reshape(-1, d, c))
        edge, more = unit(y @ v.conj().T, NUMPY)
        edge, power = edge.reshape(a, left, -1), power + more
    made[-1], more = unit(made[-1], NUMPY)
    return made[::-1], power + more


def _left_factors(chain: Sequence[np.ndarray], row: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of every site the triangular factor of all that is to its left, as a matrix (rank, bonds)."""
    factors = [np.ones((1, 1))]
    for x, w in zip(chain[:-1], row[:-1], strict=True):
        (a, u, b), (_, d, left, right) = x.shape, w.shape
        y = factors[-1].reshape(-1, a, left).transpose(0, 2, 1).reshape(-1, a) @ x.reshape(a, u * b)  # m l | u b
        y = y.reshape(-1, left, u, b).transpose(0, 3, 2, 1).reshape(-1, u * left)  # m b | u l
        y = (y @ w.transpose(0, 2, 1, 3).reshape(u * left, d * right)).reshape(-1, b, d, right)
        y = y.transpose(0, 2, 1, 3).reshape(-1, b * right)
        r = np.linalg.qr(y, mode="r") if y.shape[0] > 1 else y
        factors.append(unit(r, NUMPY)[0])
    return factors


def _right_space(m: np.ndarray, cut: Cut) -> np.ndarray:
    """The leading right singular vectors of a matrix, as rows."""
    if m.shape[1] == 1:
        return np.ones((1, 1))
    _, s, v = np.linalg.svd(m, full_matrices=False)
    return v[: kept_rank(s, cut)]


def _between(
    above: list[np.ndarray] | None, row: Sequence[Tracked], below: list[np.ndarray] | None
) -> tuple[Tracked, float]:
    """The number that two chains and the row between them contract to."""
    above = above or [_one(x.value.shape[0]) for x in row]
    below = below or [_one(x.value.shape[1]) for x in row]
    edge, power = Tracked(np.ones((1, 1, 1))), 0.0  # (above, row, below)
    for x, w, y in zip(above, row, below, strict=True):
        edge = edge.contracted((0,), Tracked(x), (0,))  # l c u b
        edge = edge.contracted((0, 2), w, (2, 0))  # c b d r
        edge, more = edge.contracted((0, 2), Tracked(y), (0, 1)).scaled()  # b r c
        power += more
    return edge.reshaped(), power

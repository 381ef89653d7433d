"""A sum of products of local matrices as one network of operators, its bonds as small as they can be.

Each bond is cut by rows alone: strings of one side that are sums of others, with their coefficients, are written as such, and those
that are left keep their matrices and coefficients as they were given.  So no term is lost beside a larger one, and the entries of
the arrays of an Ising chain are those of its matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnkit.builders.arguments import check_shape
from tnkit.builders.chains import mpo
from tnkit.core.checks import a_network, sequence, shown
from tnkit.core.dtypes import a_dtype
from tnkit.core.names import free_name
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import finite_number, whole_number
from tnkit.core.structure import TreeNetwork, as_tree
from tnkit.decompose.gauge import absorb, fold, measured, unfold
from tnkit.execution.arrays import LINEAR, dtype_name
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, values
from tnkit.execution.numpy import NUMPY

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["operator"]

#: Part of the largest coefficient of a row below which what elimination leaves of it is rounding.
_ROUNDING = 1e-13
#: The number of the identity among the matrices of a sum.
_ONE = 0


def operator(
    terms: Sequence[tuple[complex, Mapping[int, Any]]],
    dims: Sequence[int] | None = None,
    *,
    tree: Network | None = None,
    dtype: DTypeLike | None = None,
) -> tuple[Network, dict[str, Any]]:
    """An operator from a sum of products of local matrices, with the smallest bonds that hold it.

    >>> Z, X = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> terms = [(-1.0, {k: Z, k + 1: Z}) for k in range(9)] + [(-0.5, {k: X}) for k in range(10)]
    >>> hamiltonian, arrays = tk.operator(terms, (2,) * 10)
    >>> hamiltonian.sizes["b5"]
    3

    Parameters
    ----------
    terms
        Pairs of a coefficient and a mapping from sites to square matrices (out, in), of numpy or torch.  Sites left out have the
        identity; a mapping without sites is the identity times the coefficient.  Long ranges and several sites are no matter.
    dims
        Size of each site; with ``tree`` its shape by default.
    tree
        A tree-shaped network, a state for example: output index k is site k.  By default a chain, as :func:`mpo` has it.
    dtype
        Of the arrays; by default that of the matrices, complex where a coefficient is.

    Returns
    -------
    Network, dict
        For a chain the names of :func:`mpo`.  For a tree its nodes and bonds, open indices ``o{k}`` and ``i{k}`` of site k (where the
        tree's own are ``i0``, ``i1``, ... in another order, its own in).  Output: ``o0 ... i0 ...``.  Nearest neighbours: bonds of 3 for Ising's chain, 5 for Heisenberg's.  Long-range couplings that are
        sums of exponentials take one bond state each.  Rounding is relative to each string of matrices, not to the whole.

    Raises
    ------
    TypeError, ValueError
        A coefficient, a site or a matrix that is none (the term is named), a shape that does not fit its site; matrices that
        require a gradient, or are not finite; a tree that is none, or has another shape; complex numbers for a real dtype.
    """
    what = "operator"
    net, outs, ins = _structure(dims, tree, what)
    read = _read(terms, net.shape[: len(outs)], what)
    form = as_tree(net, what)
    at = {i: (node.name, k) for node in net.nodes for k, i in enumerate(outs) if i in node.inds}
    sites: dict[str, list[int]] = {node.name: [] for node in net.nodes}
    for name, k in at.values():
        sites[name].append(k)
    root = net.nodes[-1].name if tree is None else form.middle()
    arrays = _assembled(form, root, sites, read, (outs, ins))
    way = form.down(root)
    for node, parent, bond in reversed(way):
        _thinned(form, arrays, node, parent, bond)
    for node, parent, bond in way:
        _thinned(form, arrays, parent, node, bond)
    wanted = read.dtype if dtype is None else str(a_dtype(dtype, f"{what}: dtype", "fc"))
    return measured(net, {n: _placed(arrays[n], wanted, read, what) for n in net.array_shapes})


# -- what is given ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Sum:
    """A sum of products: coefficients (terms), numbers of matrices (terms, sites), the matrices, and what they came as."""

    coefficients: np.ndarray
    numbers: np.ndarray
    matrices: list[np.ndarray]
    dims: tuple[int, ...]
    dtype: str
    backend: Backend
    like: Any

    def matrix(self, number: int, site: int) -> np.ndarray:
        """A site's matrix of this number."""
        return np.eye(self.dims[site]) if number == _ONE else self.matrices[number]


def _structure(
    dims: Sequence[int] | None, tree: Network | None, what: str
) -> tuple[Network, tuple[str, ...], tuple[str, ...]]:
    """The network of an operator, its bonds of size 1, and its indices out and in."""
    if tree is None:
        if dims is None:
            raise TypeError(f"{what}: dims are the sizes of the sites, as (2,) * 10; without tree= they are needed")
        shape = check_shape(dims, f"{what}: dims")
        net, n = mpo(shape, shape, 1), len(shape)
        return net, net.output[:n], net.output[n:]
    as_tree(a_network(tree, f"{what}: tree"), f"{what}: tree")
    if dims is not None and check_shape(dims, f"{what}: dims") != tree.shape:
        raise ValueError(f"{what}: dims are the shape of tree, {tree.shape}, not {shown(dims)}")
    opened = set(tree.output)
    bonds = [i for i in tree.sizes if i not in opened]
    outs = {i: free_name(f"o{k}", bonds) for k, i in enumerate(tree.output)}
    ins = {i: free_name(f"i{k}", bonds) for k, i in enumerate(tree.output)}
    if opened == set(ins.values()):  # the same names: they meet by name, and have to be those of their sites
        ins = dict(zip(tree.output, tree.output, strict=True))
    nodes = [
        Node(n.name, [j for i in n.inds for j in ((outs[i], ins[i]) if i in opened else (i,))]) for n in tree.nodes
    ]
    sizes = {new[i]: tree.sizes[i] for new in (outs, ins) for i in tree.output} | dict.fromkeys(bonds, 1)
    return Network(nodes, [*outs.values(), *ins.values()], sizes), tuple(outs.values()), tuple(ins.values())


def _read(terms: Any, dims: tuple[int, ...], what: str) -> _Sum:
    """The terms as a table."""
    pairs = sequence(terms, f"{what}: terms") or ((0.0, {}),)  # of no terms: zero
    known, seen = _Known(what), {}
    coefficients: list[complex] = []
    numbers = np.zeros((len(pairs), len(dims)), np.intp)
    for t, pair in enumerate(pairs):
        here = f"{what}: term {t}"
        try:
            coefficient, factors = pair
        except (TypeError, ValueError):
            raise TypeError(f"{here} is a pair of a coefficient and a mapping from sites, not {shown(pair)}") from None
        if not isinstance(factors, Mapping):
            raise TypeError(f"{here}: sites are mapped to matrices, as in {{0: Z, 1: Z}}, not {shown(factors)}")
        coefficients.append(finite_number(coefficient, f"{here}: the coefficient"))
        for site, matrix in factors.items():
            k = whole_number(site, f"{here}: a site", 0, len(dims) - 1)
            key = id(matrix), dims[k]
            if key not in seen:
                seen[key] = known.number(matrix, dims[k], f"{here}, site {k}")
            numbers[t, k] = seen[key]
    return known.table(coefficients, numbers, dims)


class _Known:
    """The matrices met so far, each once."""

    def __init__(self, what: str) -> None:
        self.what, self.first, self.name = what, None, ""
        self.matrices = [np.eye(1)]
        self.dtypes: set[str] = set()
        self.by_value: dict[Any, int] = {}

    def number(self, matrix: Any, size: int, here: str) -> int:
        """The number of a matrix, a new one for one of other values."""
        backend = backend_of(None, {here: matrix} if self.first is None else {self.name: self.first, here: matrix})
        if self.first is None:
            self.first, self.name = matrix, here
        if backend.holds(matrix) and backend.tracked(matrix):
            raise ValueError(
                f"{here}: the matrix requires a gradient, which does not pass through the choice of bonds; detach it"
            )
        x = values("matrix", matrix, here)
        if x.shape != (size, size):
            raise ValueError(f"{here}: the matrix has shape {x.shape}, but the site has size {size}")
        if not np.isfinite(x).all():
            raise ValueError(f"{here}: the matrix has entries that are not finite")
        self.dtypes.add(_linear(dtype_name(matrix) if hasattr(matrix, "dtype") else str(x.dtype)))
        x = x.astype(complex if x.dtype.kind == "c" else float)
        if np.array_equal(x, np.eye(size)):
            return _ONE
        key = x.astype(complex).tobytes()
        if key not in self.by_value:
            self.by_value[key] = len(self.matrices)
            self.matrices.append(x)
        return self.by_value[key]

    def table(self, coefficients: list[complex], numbers: np.ndarray, dims: tuple[int, ...]) -> _Sum:
        backend = backend_of(None, {} if self.first is None else {self.name: self.first})
        dtype = np.result_type(*self.dtypes or {"float64"})
        if any(isinstance(c, complex) for c in coefficients):
            dtype = np.result_type(dtype, "complex64")
        held = np.array(coefficients) if coefficients else np.zeros(0)
        return _Sum(held, numbers, self.matrices, dims, str(dtype), backend, self.first)


def _linear(name: str) -> str:
    """The dtype in which numbers of this one are computed with."""
    return name if name in LINEAR else "float32" if name in ("float16", "bfloat16") else "float64"


def _placed(x: np.ndarray, dtype: str, read: _Sum, what: str) -> Any:
    """An array in the dtype and the library of the matrices."""
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        if np.abs(x.imag).max(initial=0.0) > 0:
            raise ValueError(
                f"{what}: dtype {dtype} holds no complex numbers, and the terms have some; write pairs of them as real ones "
                "(Y Y is -(S+ - S-)(S+ - S-))"
            )
        x = x.real
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(x.astype(dtype))
    if not np.isfinite(made).all():
        raise ValueError(f"{what}: coefficients or entries are beyond the range of {dtype}")
    if read.backend is NUMPY or read.like is None:
        return made
    return read.backend.like(made, read.backend.cast(read.backend.constant(read.like), dtype))


# -- bonds ------------------------------------------------------------------------------------------------------------
def _assembled(
    form: TreeNetwork, root: str, sites: Mapping[str, list[int]], read: _Sum, names: tuple[Sequence[str], Sequence[str]]
) -> dict[str, np.ndarray]:
    """The arrays: from the ends to the root, at each bond the strings behind it that are no sums of others."""
    columns = {f"site {k}": read.numbers[:, k] for k in range(len(read.dims))}
    coefficients, alive = read.coefficients, np.arange(len(read.coefficients))  # of the terms that are left
    arrays: dict[str, np.ndarray] = {}
    above = {node: (parent, bond) for node, parent, bond in form.down(root)}
    marks = np.random.default_rng(0).integers(1, 2**63, (len(columns) + len(above), 2), np.uint64)
    mark = {name: marks[k] for k, name in enumerate([*columns, *above])}
    whole = sum((_marked(x, mark[name]) for name, x in columns.items()), np.zeros(len(coefficients), np.uint64))
    for node in [*(n for n, _, _ in reversed(form.down(root))), root]:
        below = [n for n in form.links[node] if n in columns]
        mine = [*below, *(f"site {k}" for k in sites[node])]
        keys = [columns.pop(name)[alive] for name in mine]
        inner = sum((_marked(x, mark[n]) for n, x in zip(mine, keys, strict=True)), np.zeros_like(whole))
        rows, row = _distinct(inner)
        if node == root:
            factors = np.zeros((len(rows), 1), coefficients.dtype)
            np.add.at(factors[:, 0], row, coefficients)
        else:
            outer, column = _distinct(whole - inner)
            table = np.zeros((len(rows), len(outer)), coefficients.dtype)
            np.add.at(table, (row, column), coefficients)
            kept, factors = _independent(_without_copies(table))
            place = np.full(len(rows), -1)
            place[kept] = np.arange(len(kept))
            stay = place[row] >= 0
            coefficients, alive = coefficients[stay], alive[stay]
            columns[node] = np.zeros(len(read.coefficients), np.intp)
            columns[node][alive] = place[row][stay]
            whole = (whole - inner)[stay] + _marked(columns[node][alive], mark[node])
        counts = [arrays[n].shape[form.inds[n].index(form.links[node][n])] for n in below]
        made = _core([k[rows] for k in keys], counts, sites[node], factors, read)
        legs = [form.links[node][n] for n in below]
        legs += [i for k in sites[node] for i in (names[0][k], names[1][k])]
        legs += [] if node == root else [above[node][1]]
        made = made if node != root else made[..., 0]
        arrays[node] = made.transpose([legs.index(i) for i in form.inds[node]])
    return arrays


def _marked(x: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """A column's part of the mark of each row: rows of equal entries have equal sums of marks, and hardly any others."""
    some = (x.astype(np.uint64) + mark[0]) * (mark[1] | np.uint64(1))
    some = (some ^ (some >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: np.ndarray = some ^ (some >> np.uint64(32))
    return mixed


def _distinct(marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct mark is first, and which of them each one is."""
    _, first, which = np.unique(marks, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _without_copies(table: np.ndarray) -> np.ndarray:
    """The columns, but of those with one entry alone, in one row, the largest only: the others say the same."""
    alone = np.flatnonzero((table != 0).sum(0) == 1)
    row, size = np.abs(table[:, alone]).argmax(0), np.abs(table[:, alone]).max(0)
    order = np.lexsort((-size, row))
    _, first = np.unique(row[order], return_index=True)
    keep = np.ones(table.shape[1], bool)
    keep[alone] = False
    keep[alone[order[first]]] = True
    return table[:, keep]


def _independent(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of which all are sums, and the factors: ``table = factors @ table[rows]``, by elimination; at least one row."""
    scale = np.abs(table).max(1, initial=0.0)
    scale = np.where(scale > 0, scale, 1.0)
    rest = table / scale[:, None]
    rows: list[int] = []
    lower = []
    while rest.size and len(rows) < min(rest.shape):
        p, q = divmod(int(np.abs(rest).argmax()), rest.shape[1])
        if not abs(rest[p, q]) > _ROUNDING:
            break
        lower.append(rest[:, q] / rest[p, q])
        rows.append(p)
        rest = rest - np.outer(lower[-1], rest[p])
        rest[rows] = 0.0
    if not rows:
        return np.zeros(1, np.intp), np.zeros((len(table), 1), table.dtype)
    left = np.array(lower).T
    kept = np.array(rows)
    factors = np.linalg.solve(left[kept].T, left.T).T * (scale[:, None] / scale[kept])
    order = np.argsort(kept)
    kept, factors = kept[order], factors[:, order]
    factors[kept] = np.eye(len(kept))
    return kept, factors


def _core(keys: list[np.ndarray], counts: list[int], sites: list[int], factors: np.ndarray, read: _Sum) -> np.ndarray:
    """A node's array, of axes (bonds below..., out and in of each site..., states of the bond above)."""
    below = np.zeros(len(factors), np.intp)
    for x, n in zip(keys, counts, strict=False):
        below = below * n + x
    local = np.ones((len(factors), 1))
    for x, k in zip(keys[len(counts) :], sites, strict=True):
        known = {int(number): read.matrix(int(number), k).reshape(-1) for number in np.unique(x)}
        some = np.array([known[int(number)] for number in x]).reshape(len(x), -1)
        local = (local[:, :, None] * some[:, None, :]).reshape(len(x), local.shape[1] * read.dims[k] ** 2)
    entries = local[:, :, None] * factors[:, None, :]
    made = np.zeros((prod(counts), *entries.shape[1:]), entries.dtype)
    np.add.at(made, below, entries)
    return made.reshape(*counts, *(read.dims[k] for k in sites for _ in range(2)), factors.shape[1])


def _thinned(form: TreeNetwork, arrays: dict[str, np.ndarray], node: str, to: str, bond: str) -> None:
    """Leave out states of a bond that are sums of others on this side of it; the other side takes the factors."""
    matrix, shape = unfold(form, arrays, node, bond, NUMPY)
    kept, factors = _independent(matrix.T)
    if len(kept) < matrix.shape[1]:
        fold(form, arrays, node, bond, matrix[:, kept], shape, NUMPY)
        absorb(form, arrays, to, bond, factors.T, NUMPY)

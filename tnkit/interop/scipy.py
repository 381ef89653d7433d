"""A network as scipy's linear operator, for its eigenvalues, singular values and equations: the matrix is never formed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.extras import need
from tnkit.core.keywords import keywords_of
from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network
from tnkit.core.node import Node, indices_among
from tnkit.core.pairing import paired
from tnkit.execution.arrays import dtype_name, floating
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.inputs import checked
from tnkit.execution.library import backend_of
from tnkit.execution.machine import check_room
from tnkit.execution.numpy import NUMPY
from tnkit.execution.scaled import in_range, keeps_range, usual
from tnkit.paths.given import Order
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["linear_operator"]

_WHO = "linear_operator"


@keywords_of(optimize="optimizer")
@paired
def linear_operator(
    net: Network, arrays: Mapping[str, Any], rows: Iterable[str], columns: Iterable[str], *, optimizer: Order = "auto"
) -> LinearOperator:  # fmt: skip
    """The matrix of a network, as scipy's ``LinearOperator``.

    >>> Z, X = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> h, arrays = tk.operator([(-1, {k: Z, k + 1: Z}) for k in range(7)] + [(-1, {k: X}) for k in range(8)], (2,) * 8)
    >>> H = tk.linear_operator(h, arrays, [f"o{k}" for k in range(8)], [f"i{k}" for k in range(8)])
    >>> from scipy.sparse.linalg import eigsh
    >>> energy, state = eigsh(H, 1, which="SA", v0=np.ones(256))
    >>> exact = 1 - 1 / np.sin(np.pi / (2 * (2 * 8 + 1)))  # the critical chain with open ends
    >>> H.shape, np.allclose(energy, exact)
    ((256, 256), True)

    Each product contracts the network with a vector, by a plan that is made once.

    Parameters
    ----------
    net, arrays
        Any network, and its arrays in any library; constants may be left out.
    rows, columns
        Its open indices, each in one of the two.  The entries of a vector are ordered as those of an array of these indices, the
        last one fastest.
    optimizer
        As for :func:`tnkit.plan`.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        With ``matvec``, ``rmatvec``, ``matmat``, ``rmatmat`` and ``adjoint``.  It takes and gives numpy's arrays; products run in
        the library, on the device and in the precision of ``arrays``, whole numbers in double precision.

    Raises
    ------
    TypeError, ValueError, KeyError
        Indices that are not the open ones, or are in both; what :func:`tnkit.check_arrays` refuses.
    ImportError
        scipy is not installed.
    """
    need(_WHO, "scipy")
    from scipy.sparse.linalg import LinearOperator

    a_network(net, _WHO)
    backend = backend_of(None, a_mapping(arrays, _WHO))
    rows, columns = _sides(net, rows, columns)
    full = floating(checked(net, arrays, backend), backend)
    kinds = {dtype_name(x) for x in full.values()}
    dtype = np.result_type(*("float32" if kind == "bfloat16" else kind for kind in kinds))
    ahead = _Product(net, full, columns, rows, optimizer, backend, np.dtype(dtype).kind == "c")
    ahead.made[0] = ahead.planned(0)  # what cannot be planned is refused now
    back = _Product(net, full, rows, columns, optimizer, backend, ahead.complex)
    shape = tuple(prod(net.sizes[i] for i in side) for side in (rows, columns))
    return LinearOperator(
        shape, matvec=ahead.of, rmatvec=back.of_adjoint, matmat=ahead.of, rmatmat=back.of_adjoint, dtype=dtype
    )  # fmt: skip


def _sides(net: Network, rows: Iterable[str], columns: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = indices_among(rows, net.output, f"{_WHO}: rows")
    columns = indices_among(columns, net.output, f"{_WHO}: columns")
    seen: dict[str, str] = {}
    for side, names in (("rows", rows), ("columns", columns)):
        for i in names:
            if i not in net.output:
                raise ValueError(f"{_WHO}: {side}: index {i!r} is not open; there are {', '.join(net.output)}")
            if i in seen:
                raise ValueError(f"{_WHO}: index {i!r} is given twice, in {seen[i]} and in {side}")
            seen[i] = side
    left = [i for i in net.output if i not in seen]
    if left:
        raise ValueError(f"{_WHO}: open index {left[0]!r} is in neither rows nor columns")
    return rows, columns


@dataclass(frozen=True)
class _Product:
    """The network times a vector, or several as the columns of a matrix.

    Attributes
    ----------
    takes, gives
        Open indices of the vector and of the product.
    made
        For each number of vectors: the plan, the arrays that it takes before the vector, and whether any vector keeps the range.
    """

    net: Network
    arrays: Mapping[str, Any]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    optimizer: Order
    backend: Backend
    complex: bool
    made: dict[int, tuple[Plan, list[Any], bool]] = field(default_factory=dict)

    def of(self, x: Any) -> Any:
        """The matrix times ``x``: (n,) or (n, k)."""
        x = np.asarray(x)
        if not x.size:
            return np.zeros((prod(self.net.sizes[i] for i in self.gives), *x.shape[1:]))
        if self.backend is NUMPY:
            return self.run(x)
        if x.dtype.kind == "c" and not self.complex:  # other libraries have no product of a real and a complex array
            return self.of(x.real) + 1j * self.of(x.imag)
        like = next(iter(self.arrays.values()))
        return self.backend.numpy(self.run(self.backend.like(np.array(x), like)))

    def of_adjoint(self, x: Any) -> Any:
        """The conjugate transpose of the matrix that the network is from ``gives`` to ``takes``, times ``x``."""
        return np.conj(self.of(np.conj(x))) if self.complex else self.of(x)

    def run(self, x: Any) -> Any:
        """The product in the library of the arrays."""
        width = 0 if x.ndim == 1 else x.shape[1]
        if width not in self.made:
            self.made[width] = self.planned(width)
        found, fixed, steady = self.made[width]
        given = [*fixed, self.backend.reshape(x, *found.shapes[-1])]
        if steady and usual(x, self.backend):
            y = execute(found.program, given, self.backend)
        else:
            y = in_range(found, given, self.backend, _WHO)
        return self.backend.reshape(y, *((-1, width) if width else (-1,)))

    def planned(self, width: int) -> tuple[Plan, list[Any], bool]:
        """The plan for so many vectors, 0 for one without an axis of its own; its arrays; whether usual vectors keep the range."""
        name = free_name("x", names_in(self.net))
        many = (free_name("column", names_in(self.net)),) if width else ()
        node = Node(name, (*self.takes, *many), fixed=True)
        net = Network((*self.net.nodes, node), (*self.gives, *many), {**self.net.sizes, **dict.fromkeys(many, width)})
        found = plan(net, self.optimizer)
        fixed = [self.arrays[n] for n in found.inputs[:-1]]
        check_room(found, fixed, _WHO)
        return found, fixed, keeps_range(found, fixed, self.backend)

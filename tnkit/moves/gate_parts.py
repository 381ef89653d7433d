"""A gate as it is given, as a matrix over its indices; and what a part of a network is that it acted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tnkit.core.checks import shown
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.arrays import as_numbers, dtype_name, is_complex, is_single, one_dtype
from tnkit.execution.backend import Backend
from tnkit.execution.library import library, plain
from tnkit.execution.numpy import NUMPY
from tnkit.execution.run import contract
from tnkit.moves.touched import leaf, linear, scaled, taken

__all__ = ["GatePart", "How", "back", "gate_matrix", "given_gate", "ordered"]

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class How:
    """What may be cut, where the weight goes, and by which way."""

    rank: int | None
    tol: float
    absorb: str
    method: str


@dataclass(frozen=True)
class GatePart:
    """A network and its arrays, the nodes of it that changed, their new arrays, times two to a power, and what was measured."""

    net: Network
    arrays: Arrays
    nodes: Sequence[Node]
    values: dict[str, Any]
    power: Any
    backend: Backend
    error: float = 0.0
    methods: Mapping[str, str] = field(default_factory=dict)


def given_gate(
    net: Network, arrays: Arrays, names: Sequence[str], gate: Any, inds: Sequence[str], backend: Backend | None
) -> tuple[list[Node], dict[str, Any], Any, Any, Backend]:
    """The nodes, their arrays and the gate's matrix, of ordinary size; the power of two of their product."""
    nodes = [leaf(net, name, "apply_gate") for name in names]
    values, backend = taken(net, nodes, arrays, "apply_gate", backend)
    values = one_dtype(linear(values, "apply_gate", backend), backend)
    g = gate_matrix(gate, [net.sizes[i] for i in inds], inds, backend)
    x = next(iter(values.values()))
    dtype = ("complex" if is_complex(x) or is_complex(g) else "float") + ("32" if is_single(x) else "64")
    dtype = {"complex32": "complex64", "complex64": "complex128"}.get(dtype, dtype)
    g = g if dtype_name(g) == dtype else backend.cast(g, dtype)
    values = {n: v if dtype_name(v) == dtype else backend.cast(v, dtype) for n, v in values.items()}
    some, power = scaled({**values, "gate": g}, "apply_gate", backend)
    g = some.pop("gate")
    return nodes, some, g, power, backend


def gate_matrix(gate: Any, sizes: Sequence[int], inds: Sequence[str], backend: Backend) -> Any:
    """A gate as a matrix over its indices.

    Raises
    ------
    TypeError, ValueError
        No array of the library and no network with arrays; another shape.
    """
    if isinstance(gate, tuple) and len(gate) == 2 and isinstance(gate[0], Network):
        g = contract(*gate, backend=backend)
    elif isinstance(gate, (str, bytes, bytearray, Mapping, set, frozenset)) or (
        not backend.holds(gate) and not (backend is NUMPY and isinstance(gate, (list, tuple)))
    ):
        known = library(gate)
        of = f", an array of {known}" if known and known is not backend else ""
        raise TypeError(
            f"apply_gate: gate is an array of {backend}, or a pair of a network and its arrays, not {shown(gate)}{of}"
        )
    else:
        g = plain("gate", as_numbers(gate, backend), backend)
    side = prod(sizes)
    if tuple(g.shape) not in ((side, side), (*sizes, *sizes)):
        raise ValueError(
            f"apply_gate: gate has shape {tuple(g.shape)}; on indices {tuple(inds)} of sizes {tuple(sizes)} it is "
            f"{(side, side)} or {(*sizes, *sizes)}"
        )
    return backend.reshape(linear({"gate": g}, "apply_gate", backend)["gate"], side, side)


def ordered(g: Any, sizes: Sequence[int], order: Sequence[int], backend: Backend) -> Any:
    """A gate's matrix with its indices in another order."""
    n = len(sizes)
    if list(order) == list(range(n)):
        return g
    axes = (*order, *(n + k for k in order))
    return backend.reshape(backend.permute(backend.reshape(g, *sizes, *sizes), axes), g.shape[0], g.shape[1])


def back(x: Any, axes: Sequence[int], backend: Backend) -> Any:
    """An array whose axes are those that an order of axes has taken from another, in the places that they had there."""
    return backend.permute(x, tuple(axes.index(k) for k in range(len(axes))))

"""Inner products, norms and distances of networks held as arrays; no tensor larger than 2^16 is formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from tnkit.algebra.canonical import canonicalize
from tnkit.algebra.sums import add, differs
from tnkit.core.decomposition import paired
from tnkit.core.names import renamed, unused
from tnkit.core.network import AnyNode, Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.structure import as_tree
from tnkit.decompose.truncate import frobenius
from tnkit.execution.arrays import is_complex, one_dtype, real
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.run import contract, run
from tnkit.planning.plan import plan

__all__ = ["distance", "inner", "norm", "resolves"]

Arrays = Mapping[str, Any]

#: Tensors of so many entries are formed: that is cheaper than an inner product, and nothing cancels.
_FORM = 2**16


@paired
def inner(a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *, backend: Backend | None = None) -> Any:
    """Inner product ``sum(conj(a) * b)`` of what two networks contract to.

    Parameters
    ----------
    a, b
        Any networks of one shape; output indices are matched by position, and no other names matter.
    a_arrays, b_arrays
        Their arrays; constants may be left out.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A scalar of the library (differentiable with torch), complex if an array is.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`.
    ValueError
        Shapes that differ: the indices and sizes are named.
    """
    _check_shapes(a, b, "inner")
    backend = backend_of(backend, a_arrays, b_arrays)
    left, right = check_arrays(a, a_arrays, backend), check_arrays(b, b_arrays, backend)
    bra, bra_arrays = _conjugated(a, left, backend)
    bra, ket = renamed(bra, "a"), renamed(b, "b")
    both = Network((*bra.nodes, *ket.nodes), (), {**bra.sizes, **ket.sizes})
    arrays = {f"a.{n}": x for n, x in bra_arrays.items()} | {f"b.{n}": x for n, x in right.items()}
    return run(plan(both), one_dtype(arrays, backend), backend)


@paired
def norm(net: Network, arrays: Arrays, *, backend: Backend | None = None) -> Any:
    """Frobenius norm of what a network contracts to.

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; constants may be left out.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A real scalar of the library.  Right to rounding for trees (by the canonical form) and for up to 65,536 entries.
        Otherwise the square root of :func:`inner`, in which what is left of parts that cancel is lost below 1e-8 of them
        (float64; 3e-4 in float32).

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`.
    """
    backend = backend_of(backend, arrays)
    net, arrays = _untied(net, arrays, backend)
    if prod(net.shape) <= _FORM:
        return frobenius(contract(net, arrays, backend=backend), backend)
    if _is_tree(net):
        center = as_tree(net, "norm").middle()
        return frobenius(canonicalize(net, arrays, center, backend=backend)[1][center], backend)
    return _root(inner(net, arrays, net, arrays, backend=backend), backend)


@paired
def distance(a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *, backend: Backend | None = None) -> Any:
    """Frobenius norm of the difference of what two networks contract to.

    Parameters
    ----------
    a, b
        Any networks of one shape; output indices are matched by position.
    a_arrays, b_arrays
        Their arrays.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A real scalar.  Right to rounding for two trees of one structure (the norm of their difference) and for up to 65,536
        entries.  Otherwise ``sqrt(<a|a> + <b|b> - 2 Re <a|b>)``, in which distances below 1e-8 of the norms (float64; 3e-4 in
        float32) are lost.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`inner`.
    """
    _check_shapes(a, b, "distance")
    backend = backend_of(backend, a_arrays, b_arrays)
    (a, left), (b, right) = _untied(a, a_arrays, backend), _untied(b, b_arrays, backend)
    if prod(a.shape) <= _FORM:
        return frobenius(contract(a, left, backend=backend) - contract(b, right, backend=backend), backend)
    if _is_tree(a) and not differs(a, b):
        return norm(*add(a, left, b, right, weights=(1, -1), backend=backend), backend=backend)
    square = inner(a, left, a, left, backend=backend) + inner(b, right, b, right, backend=backend)
    return _root(square - 2 * real(inner(a, left, b, right, backend=backend), backend), backend)


def resolves(a: Network, b: Network) -> bool:
    """Whether :func:`distance` is right to rounding for these two."""
    return prod(a.shape) <= _FORM or (
        a.multilinear and b.multilinear and _is_tree(_bare(a)) and not differs(_bare(a), _bare(b))
    )


def _root(square: Any, backend: Backend) -> Any:
    """Square root of what should be real and from 0 up: rounding can leave less, and at 0 the root has no slope."""
    square = real(square, backend)
    some = square > 0
    return backend.xp.where(
        some, backend.xp.sqrt(backend.xp.where(some, square, backend.xp.ones_like(square))), backend.zeros((), square)
    )


# -- names and arrays -----------------------------------------------------------------------------------------------
def _check_shapes(a: Network, b: Network, what: str) -> None:
    for net in (a, b):
        if not isinstance(net, Network):
            raise TypeError(f"{what}: a Network is needed, not a {type(net).__name__}")
    if len(a.output) != len(b.output):
        raise ValueError(
            f"{what}: outputs {a.output} of shape {a.shape} and {b.output} of shape {b.shape} do not match"
        )
    for i, j in zip(a.output, b.output, strict=True):
        if a.sizes[i] != b.sizes[j]:
            raise ValueError(
                f"{what}: output index {i!r} has size {a.sizes[i]}, but {j!r} at its place has {b.sizes[j]}"
            )


def _conjugate_of(xp: Any, x: Any) -> Any:
    return xp.conj(x)


def _conjugated(net: Network, arrays: dict[str, Any], backend: Backend) -> tuple[Network, dict[str, Any]]:
    """The complex conjugate of a network: of every array at its top level, and of every function's value."""
    if not any(map(is_complex, arrays.values())):
        return net, arrays
    nodes: list[AnyNode] = []
    made, conj = dict(arrays), unused("conj.", net)
    for node in net.nodes:
        if isinstance(node, Node):
            nodes.append(replace(node, array=f"{conj}{node.array}"))
            made[f"{conj}{node.array}"] = backend.xp.conj(arrays[node.array])
        else:
            value = Network((node,), node.inds, {i: net.sizes[i] for i in node.inds})
            nodes.append(Elementwise(f"{conj}{node.name}", _conjugate_of, (value,)))
    twin = replace(net, nodes=tuple(nodes))
    return twin, {name: made[name] for name in twin.array_shapes}


def _untied(net: Network, arrays: Arrays, backend: Backend) -> tuple[Network, dict[str, Any]]:
    """A multilinear network with an array of its own for each node, none fixed; others as they are."""
    full = check_arrays(net, arrays, backend)
    nodes = [node for node in net.nodes if isinstance(node, Node)]
    if len(nodes) < len(net.nodes):
        return net, full
    return _bare(net), one_dtype({node.name: full[node.array] for node in nodes}, backend)


def _bare(net: Network) -> Network:
    """The structure without ties and constants."""
    return replace(net, nodes=tuple(Node(node.name, node.inds) for node in net.nodes))


def _is_tree(net: Network) -> bool:
    try:
        as_tree(net, "")
    except ValueError:
        return False
    return True

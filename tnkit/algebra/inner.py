"""Inner products, norms and distances of networks held as arrays; what they contract to is formed up to 2^16 entries alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import Any

from tnkit.algebra.acting import joined, matched_bra, meeting
from tnkit.algebra.matching import matched
from tnkit.algebra.sums import differs, weighted_sum
from tnkit.core.checks import a_mapping, a_network, flag, sequence, shown
from tnkit.core.names import renamed, unused
from tnkit.core.network import AnyNode, Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import tree_or_none
from tnkit.decompose.gauge import gathered, held
from tnkit.decompose.truncate import frobenius
from tnkit.execution.arrays import LINEAR, dtype_name, floating, is_complex, one_dtype, real, widened
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.powers import Power, aligned, units, whole
from tnkit.execution.scaled import binary
from tnkit.planning.planner import plan

__all__ = [
    "bra_and_ket",
    "conjugated",
    "distance",
    "formed",
    "given_arrays",
    "inner",
    "inner_product",
    "norm",
    "resolves",
    "untied",
]

Arrays = Mapping[str, Any]

#: Tensors of so many entries are formed: that is cheaper than an inner product, and nothing cancels.
_FORM = 2**16


@paired
def inner(
    a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *,
    op: tuple[Network, Arrays] | None = None, strip_exponent: bool = False, backend: Backend | None = None,
) -> Any:  # fmt: skip
    """Inner product ``sum(conj(a) * b)`` of what two networks contract to, through an operator where one is given.

    >>> x, y = np.arange(4.0).reshape(2, 2), np.ones((2, 2))
    >>> a, b = tk.tt_svd(x), tk.tt_svd(y)
    >>> round(float(tk.inner(a, b)), 6)  # (x * y).sum()
    6.0
    >>> double = tk.operator([(2.0, {})], (2, 2))
    >>> round(float(tk.inner(a, b, op=double)), 6)  # <a|H|b>; H|b> is not formed
    12.0

    Parameters
    ----------
    a, b
        Any networks of one shape.  Output indices are matched by name where both networks have the same names, in whatever
        order, and by position where they have none in common; where they have some in common it is refused.
    a_arrays, b_arrays
        Their arrays; constants may be left out.  Whole numbers are computed with in float64, half precision in float32.
    op
        A pair of an operator and its arrays, of output (out..., in...), which stands between the two: its in indices meet ``b`` as
        in :func:`apply`, and its out indices ``a``, by their own names or by those of ``b``.
    strip_exponent
        Return a pair: the product is ``value * 10**exponent``, however large or small it is.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A scalar of the library (differentiable with torch), complex if an array is.  Where it is beyond the range of the dtype it
        is infinite or 0, with a RuntimeWarning where it is infinite.  With ``strip_exponent`` the exponent follows: a float for
        numpy, a 0-d array for others, a constant for gradients.

    Raises
    ------
    KeyError, TypeError
        From :func:`tnkit.check_arrays`.
    ValueError
        Shapes that differ: the indices and sizes are named; names of which some match.
    """
    strip = flag(strip_exponent, "inner: strip_exponent")
    backend = backend_of(backend, a_mapping(a_arrays, "inner"), a_mapping(b_arrays, "inner"))
    if op is None:
        b = matched(a, b, "inner")
        right = given_arrays(b, b_arrays, backend)
    else:
        a, b, right = _acted_on(a, b, b_arrays, op, backend)
    value, power = inner_product(a, given_arrays(a, a_arrays, backend), b, right, backend)
    return whole(value, power, strip, "inner", backend)


def _acted_on(
    a: Network, b: Network, b_arrays: Arrays, op: tuple[Network, Arrays], backend: Backend
) -> tuple[Network, Network, dict[str, Any]]:
    """``a``, and the operator on ``b`` as one network with its arrays, their outputs in one order."""
    pair = sequence(op, "inner: op")
    if len(pair) != 2:
        raise TypeError(f"inner: op is a pair of a network and its arrays, not {shown(op)}")
    net, arrays = pair
    met = meeting(net, b, "inner")
    backend_of(backend, a_mapping(arrays, "inner", "the arrays of op"))
    made, right = joined(net, given_arrays(net, arrays, backend), b, given_arrays(b, b_arrays, backend), met, backend)
    a = matched_bra(a_network(a, "inner"), b, met)
    return a, matched(a, made, "inner"), right


@paired
def norm(net: Network, arrays: Arrays, *, strip_exponent: bool = False, backend: Backend | None = None) -> Any:
    """Frobenius norm of what a network contracts to.

    >>> x = np.arange(8.0).reshape(2, 2, 2)
    >>> np.allclose(tk.norm(tk.tt_svd(x)), np.linalg.norm(x))
    True
    >>> value, exponent = tk.norm(tk.tt_svd(1e-300 * x), strip_exponent=True)
    >>> np.allclose(value, np.linalg.norm(x) * 10.0 ** (-300 - exponent))
    True

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; constants may be left out.  Whole numbers are computed with in float64, half precision in float32.
    strip_exponent
        Return a pair: the norm is ``value * 10**exponent``, however large or small it is.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A real scalar of the library.  Right to rounding for trees (by the canonical form) and for up to 65,536 entries.
        Otherwise the square root of :func:`inner`, in which what is left of parts that cancel is lost below 1e-8 of them
        (float64; 3e-4 in float32).  NaN or infinite where an array is; infinite, with a RuntimeWarning, where it is beyond the
        range of the dtype.  With ``strip_exponent`` the exponent follows, as for :func:`inner`.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`.
    """
    strip = flag(strip_exponent, "norm: strip_exponent")
    backend = backend_of(backend, a_mapping(arrays, "norm"))
    value, power = _size(*untied(a_network(net, "norm"), arrays, backend), backend)
    return whole(value, power, strip, "norm", backend)


@paired
def distance(
    a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, *,
    strip_exponent: bool = False, backend: Backend | None = None,
) -> Any:  # fmt: skip
    """Frobenius norm of the difference of what two networks contract to.

    >>> x = np.diag([3.0, 2.0, 0.1])
    >>> a, b = tk.tt_svd(x), tk.tt_svd(x, rank=2)
    >>> round(float(tk.distance(a, b)), 6)
    0.1

    Parameters
    ----------
    a, b
        Any networks of one shape; output indices are matched as for :func:`inner`: by name where the names are the same, by
        position where none is.
    a_arrays, b_arrays
        Their arrays.  Whole numbers are computed with in float64, half precision in float32.
    strip_exponent
        Return a pair: the distance is ``value * 10**exponent``, however large or small it is.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        A real scalar.  Right to rounding for two trees of one structure (the norm of their difference) and for up to 65,536
        entries.  Otherwise ``sqrt(<a|a> + <b|b> - 2 Re <a|b>)``, in which distances below 1e-8 of the norms (float64; 3e-4 in
        float32) are lost.  NaN, infinite and ``strip_exponent`` as for :func:`norm`.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`inner`.
    """
    b, strip = matched(a, b, "distance"), flag(strip_exponent, "distance: strip_exponent")
    backend = backend_of(backend, a_mapping(a_arrays, "distance"), a_mapping(b_arrays, "distance"))
    (a, left), (b, right) = untied(a, a_arrays, backend), untied(b, b_arrays, backend)
    value, power = _difference(a, left, b, right, backend)
    return whole(value, power, strip, "distance", backend)


def resolves(a: Network, b: Network) -> bool:
    """Whether :func:`distance` is right to rounding for these two."""
    return prod(a.shape) <= _FORM or (
        a.multilinear and b.multilinear and tree_or_none(_bare(a)) is not None and not differs(_bare(a), _bare(b))
    )


# -- values, and the powers of two that they are to be multiplied by ---------------------------------------------------
def formed(net: Network, arrays: Arrays, backend: Backend) -> tuple[Any, Power]:
    """What a network contracts to, of size about 1."""
    way = plan(net)
    return binary(way, [arrays[name] for name in way.inputs], backend, "norm, inner, distance")


def inner_product(
    a: Network, left: dict[str, Any], b: Network, right: dict[str, Any], backend: Backend
) -> tuple[Any, Power]:
    """``<a|b>`` of networks whose outputs are in one order, and its power of two."""
    return formed(*bra_and_ket(a, left, b, right, backend), backend)


def bra_and_ket(
    a: Network, left: dict[str, Any], b: Network, right: dict[str, Any], backend: Backend,
    apart: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Network, dict[str, Any]]:  # fmt: skip
    """``conj(a)`` and ``b`` as one network without open indices and its arrays: output index k of both is ``o.k``.

    ``apart``: other names for some of those of ``conj(a)``, which then do not meet.
    """
    bra, bra_arrays = conjugated(a, left, backend)
    bra, ket = renamed(bra, "a"), renamed(b, "b")
    if apart:
        bra = bra.relabel(apart)
    both = Network((*bra.nodes, *ket.nodes), (), {**bra.sizes, **ket.sizes})
    arrays = {f"a.{n}": x for n, x in bra_arrays.items()} | {f"b.{n}": x for n, x in right.items()}
    return both, one_dtype(arrays, backend)


def _size(net: Network, arrays: dict[str, Any], backend: Backend) -> tuple[Any, Power]:
    """The norm."""
    if prod(net.shape) <= _FORM:
        x, power = formed(net, arrays, backend)
        return frobenius(x, backend), power
    if tree_or_none(net) is not None and {dtype_name(x) for x in arrays.values()} <= LINEAR:
        tree, arrays, center, power = held(net, arrays, None, "norm", backend)
        power = gathered(tree, arrays, center, power, backend)
        return frobenius(arrays[tree.array[center]], backend), power
    return _root(*inner_product(net, arrays, net, arrays, backend), backend)


def _difference(
    a: Network, left: dict[str, Any], b: Network, right: dict[str, Any], backend: Backend
) -> tuple[Any, Power]:
    """The norm of it."""
    if prod(a.shape) <= _FORM:
        (x, y), power = aligned([formed(a, left, backend), formed(b, right, backend)], backend)
        return frobenius(x - y, backend), power
    if tree_or_none(a) is not None and not differs(a, b):
        (left, p), (right, q) = units(left, backend), units(right, backend)
        net, arrays, power = weighted_sum(a, left, p, b, right, q, -1, backend)
        value, more = _size(net, arrays, backend)
        return value, power + more
    parts = [inner_product(a, left, a, left, backend), inner_product(b, right, b, right, backend)]
    (x, y, z), power = aligned([*parts, inner_product(a, left, b, right, backend)], backend)
    return _root(real(x + y, backend) - 2 * real(z, backend), power, backend)


def _root(square: Any, power: Power, backend: Backend) -> tuple[Any, Power]:
    """Square root of what should be real and from 0 up: rounding can leave less, and at 0 the root has no slope."""
    xp, square = backend.xp, real(square, backend)
    odd = power % 2
    square = square * (2.0**odd if isinstance(odd, float) else backend.cast(2.0**odd, dtype_name(square)))
    none = square <= 0  # NaN stays NaN
    root = xp.sqrt(xp.where(none, xp.ones_like(square), square))
    return xp.where(none, xp.zeros_like(root), root), (power - odd) / 2


# -- names and arrays -----------------------------------------------------------------------------------------------
def given_arrays(net: Network, arrays: Arrays, backend: Backend) -> dict[str, Any]:
    """All arrays, in dtypes in which sums neither wrap around nor lose most digits."""
    full = check_arrays(net, floating(arrays, backend), backend)
    return {n: widened(x, backend) for n, x in full.items()}


def _conjugate_of(xp: Any, x: Any) -> Any:
    return xp.conj(x)


def conjugated(net: Network, arrays: dict[str, Any], backend: Backend) -> tuple[Network, dict[str, Any]]:
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


def untied(net: Network, arrays: Arrays, backend: Backend) -> tuple[Network, dict[str, Any]]:
    """A multilinear network with an array of its own for each node, none fixed; others as they are."""
    full = given_arrays(net, arrays, backend)
    nodes = [node for node in net.nodes if isinstance(node, Node)]
    if len(nodes) < len(net.nodes):
        return net, full
    return _bare(net), one_dtype({node.name: full[node.array] for node in nodes}, backend)


def _bare(net: Network) -> Network:
    """The structure without ties and constants."""
    return replace(net, nodes=tuple(Node(node.name, node.inds) for node in net.nodes))

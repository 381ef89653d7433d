"""Arrays for any network, with the scale that was asked for.

Entries are drawn so that the variance of the result is right in expectation (for independent entries it is the product
of the nodes' variances and of the summed sizes: each bond counts once, a hyperedge too).  One sample of a product of many
arrays strays far from its expectation, so every region is then *measured* and rescaled: its root mean square becomes
exactly 1 before each activation, and ``std`` at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.core.activations import function
from tnkit.core.decomposition import paired
from tnkit.core.names import unused
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.structure import check_ordered
from tnkit.execution.library import as_numpy
from tnkit.execution.run import constant, contract

__all__ = ["normal", "orthogonal", "rms", "to_rms"]

Arrays = dict[str, np.ndarray]

#: Above this many entries the norm is contracted as a network <T, T> instead of forming the tensor.
_FORM = 2**22


def normal(
    net: Network, *, seed: int = 0, std: float = 1.0, dtype: Any = "float64", arrays: Mapping[str, Any] | None = None
) -> Arrays:
    """Independent normal entries; the contracted tensor has root mean square ``std``.

    Parameters
    ----------
    net
        Any network.
    seed
        Equal seeds give equal arrays.
    std
        Root mean square of the result's entries (their standard deviation, as their mean is near 0).
    dtype
        A floating or complex dtype.
    arrays
        Data and frozen weights (``fixed=True``) for the calibration; where they are missing, unit normal entries stand in.

    Returns
    -------
    dict
        Array name -> numpy array, for all trained arrays and constants.
    """
    return _sample(net, _gauss, seed, std, dtype, arrays)


def orthogonal(
    net: Network, *, seed: int = 0, std: float = 1.0, dtype: Any = "float64", arrays: Mapping[str, Any] | None = None
) -> Arrays:
    """As :func:`normal`, but each array read as a matrix (first half of its axes by the rest) is orthogonal.

    Bricks become orthogonal gates, cores isometries; the best start for brick walls that was measured.
    """
    return _sample(net, _orthogonal, seed, std, dtype, arrays)


def _gauss(shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    x = rng.standard_normal(shape)
    if dtype.kind == "c":
        return np.asarray((x + 1j * rng.standard_normal(shape)) / sqrt(2), dtype)
    return np.asarray(x, dtype)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    half = (len(shape) + 1) // 2
    rows, cols = prod(shape[:half]), prod(shape[half:])
    q, r = np.linalg.qr(_gauss((max(rows, cols), min(rows, cols)), rng, dtype))
    d = np.diagonal(r)
    q = q * (d / np.where(d == 0, 1, np.abs(d)))  # Haar measure (Mezzadri, math-ph/0609050)
    return np.asarray((q if rows >= cols else q.T).reshape(shape), dtype)


def _sample(
    net: Network, draw: Callable[..., np.ndarray], seed: int, std: float, dtype: Any, given: Mapping[str, Any] | None
) -> Arrays:
    dtype = np.dtype(dtype)
    if dtype.kind not in "fc":
        raise ValueError(f"init draws floating or complex numbers, not {dtype}")
    rng = np.random.default_rng(seed)
    wide = np.dtype("complex128" if dtype.kind == "c" else "float64")  # drawn and measured in, whatever is asked for
    arrays: Arrays = {}
    constants = {leaf.array: leaf.fixed for leaf in net.leaves if isinstance(leaf.fixed, str)}
    for name, shape in net.array_shapes.items():
        if name in constants:
            arrays[name] = constant(str(constants[name]), shape).astype(wide)
        elif name in net.parameters:
            arrays[name] = draw(shape, rng, wide)
    if wide.kind == "c" and arrays:
        check_ordered(net, next(iter(arrays)), dtype)
    for region in net.regions():
        _unit_variance(region, arrays)
    stand_ins = {n: _gauss(s, rng, wide) for n, s in net.array_shapes.items() if n not in arrays}
    full = {**stand_ins, **(given or {}), **arrays}
    scaled = to_rms(net, full, std)
    return {name: scaled[name].astype(dtype, copy=False) for name in arrays}


def _unit_variance(region: Network, arrays: Arrays) -> None:
    """Scale the arrays of a region so that its result has unit variance in expectation: no over- or underflow."""
    own = [n for n in region.nodes if isinstance(n, Node) and not n.fixed]
    if not own:
        return
    log_terms = sum(np.log(s) for i, s in region.sizes.items() if i not in region.output)
    for name in {n.array for n in own}:
        a = arrays[name]
        size = sqrt(float(np.mean(np.abs(a) ** 2))) or 1.0
        arrays[name] = a / size * np.exp(-log_terms / (2 * len(own)))


@paired
def to_rms(net: Network, arrays: Mapping[str, Any], std: float = 1.0) -> Arrays:
    """Rescale trained arrays region by region: root mean square 1 before each activation, ``std`` at the end.

    Parameters
    ----------
    net
        Any network.
    arrays
        All its arrays (constants may be left out).
    std
        Root mean square wanted of the result.

    Returns
    -------
    dict
        New arrays.  A region whose arrays are all fixed, or tied to another region's, stays as it is; one that an activation
        would turn into zeros changes its sign.
    """
    if not (std >= 0 and np.isfinite(std)):
        raise ValueError(f"init: std {std} is not a finite number from 0 up")
    scaled = {name: as_numpy(a) for name, a in arrays.items()}
    uses: dict[str, set[int]] = {}
    for k, region in enumerate(net.regions()):
        for node in region.nodes:
            if isinstance(node, Node):
                uses.setdefault(node.array, set()).add(k)
    exclusive = {name for name, where in uses.items() if len(where) == 1} & set(net.parameters)
    _region_to_rms(net, scaled, std, exclusive)
    return scaled


def _region_to_rms(net: Network, arrays: Arrays, std: float, exclusive: set[str]) -> None:
    """Scale one network's arrays in place, inner regions first."""
    nodes: list[Node] = []
    local: Arrays = {}
    for node in net.nodes:
        if isinstance(node, Elementwise):
            local[node.name] = _value(node, arrays, exclusive)
            nodes.append(Node(node.name, node.inds, fixed=True))
        else:
            nodes.append(node)
            given = node.array in arrays
            local[node.array] = arrays[node.array] if given else constant(str(node.fixed), _shape(node, net))
    own = [n.array for n in nodes if n.array in exclusive]
    if not own:
        return
    measured = rms(Network(tuple(nodes), net.output, net.sizes), local)
    if measured == 0 or not np.isfinite(measured):
        return
    factor = (std / measured) ** (1 / len(own))
    for name in set(own):
        arrays[name] = arrays[name] * factor


def _value(node: Elementwise, arrays: Arrays, exclusive: set[str]) -> np.ndarray:
    plain = []
    for body in node.bodies:
        _region_to_rms(body, arrays, 1.0, exclusive)
        made = contract(body, {name: arrays[name] for name in body.array_shapes if name in arrays})
        order = [body.output.index(i) for i in node.inds]
        plain.append(np.transpose(made, order))
    fn = function(node.fn)
    value = np.asarray(fn(np, *plain))
    if value.any() or len(node.bodies) > 1:
        return value
    names = [n.array for n in node.bodies[0].nodes if isinstance(n, Node)]
    odd = next((n for n in names if n in exclusive and names.count(n) % 2), None)
    if odd is None:
        return value
    arrays[odd] = -arrays[odd]  # a ReLU of nothing but negative entries: the other sign is as good a draw, and alive
    return np.asarray(fn(np, -plain[0]))


@paired
def rms(net: Network, arrays: Mapping[str, Any]) -> float:
    """Root mean square of the contracted tensor's entries.

    Multilinear networks larger than 2^22 entries are measured by contracting <T, T>, so the tensor is never formed.
    """
    arrays = {name: _wide(as_numpy(a)) for name, a in arrays.items()}
    if not net.multilinear or prod(net.shape) <= _FORM:
        x = np.asarray(contract(net, arrays))
        return sqrt(float(np.mean(np.abs(x) ** 2)))
    # every kept index is averaged over where it is summed, so that no product of sizes can overflow
    nodes: list[Node] = []
    twins: dict[str, Any] = {}
    open_, mark = set(net.output), unused("*", net)
    for node in net.nodes:
        assert isinstance(node, Node)
        a = arrays[node.array] if node.array in arrays else constant(str(node.fixed), _shape(node, net))
        mean = prod(net.sizes[i] for i in open_.intersection(node.inds))
        open_ -= set(node.inds)
        nodes.append(Node(node.name + mark, tuple(i if i in net.output else i + mark for i in node.inds)))
        twins[node.name + mark] = np.conj(a) / mean
    sizes = {**net.sizes} | {i + mark: n for i, n in net.sizes.items() if i not in net.output}
    value = contract(Network((*net.nodes, *nodes), (), sizes), {**arrays, **twins})
    return sqrt(max(float(np.real(value)), 0.0))


def _wide(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.result_type(a, np.float64))


def _shape(node: Node, net: Network) -> tuple[int, ...]:
    return tuple(net.sizes[i] for i in node.inds)

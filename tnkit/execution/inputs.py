"""What comes in beside a network: its arrays, each of the right shape and kind, constants filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network, text
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import check_ordered
from tnkit.core.wording import plain_name, plural, shown
from tnkit.execution.arrays import dtype_name, is_complex
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, plain
from tnkit.execution.machine import check_constant

__all__ = ["check_arrays", "check_known", "checked", "constant"]


def constant(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a node with ``fixed=kind`` (see :data:`tnkit.core.node.CONSTANTS`), float64."""
    if kind == "ones":
        return np.ones(shape)
    out = np.zeros(shape)
    if kind == "e0":
        out[(0,) * len(shape)] = 1.0
    elif kind == "delta":
        for k in range(min(shape, default=1)):
            out[(k,) * len(shape)] = 1.0
    else:
        raise ValueError(f"unknown constant {kind!r}")
    return out


def check_known(net: Network, arrays: Iterable[str]) -> None:
    """ValueError for the name of an array that is no node's."""
    for name in arrays:
        if name not in net.array_shapes:
            raise ValueError(
                f"array {plain_name(name)!r} belongs to no node; the network has {', '.join(net.array_shapes)}"
            )


@paired
def check_arrays(
    net: Network, arrays: Mapping[str, Any], backend: Backend | None = None, dynamic: str | None = None
) -> dict[str, Any]:
    """The arrays that ``net`` needs, constants filled in.

    >>> net = tk.Network([tk.Node("A", "ij"), tk.Node("e", "j", fixed="ones")], "i", dict(i=2, j=3))
    >>> full = tk.check_arrays(net, {"A": np.ones((2, 3))})
    >>> sorted(full)
    ['A', 'e']
    >>> tk.run(tk.plan(net), full)
    array([3., 3.])
    >>> tk.check_arrays(net, {"A": np.ones((3, 2))})
    Traceback (most recent call last):
        ...
    ValueError: node 'A': index 'i' has size 2, but its array has 3 there (shape (3, 2))

    Parameters
    ----------
    net
        Any network.
    arrays
        Array name -> array; constants may be left out.  Lists, numbers and subclasses of numpy's arrays are read as plain
        numpy arrays, as ``numpy.einsum`` does.
    backend
        The array library; by default that of the arrays.
    dynamic
        An index whose size is the arrays' own.

    Raises
    ------
    KeyError
        An array is missing.
    TypeError
        Arrays of two libraries, what is no array of numbers, masked entries: the array is named.
    ValueError
        A shape that disagrees with the network (node, index and sizes are named), an array that no node uses, mixed
        dtypes where the library does not mix them, arrays on several devices, or a dynamic index that the network has not.
    """
    a_network(net, "check_arrays")
    if dynamic is not None and text(dynamic, "check_arrays: dynamic") not in net.sizes:
        raise ValueError(
            f"check_arrays: dynamic index {shown(dynamic)} is on no node; there are {', '.join(net.sizes)}"
        )
    return checked(net, arrays, backend_of(backend, a_mapping(arrays, "check_arrays")), dynamic)


def checked(net: Network, arrays: Mapping[str, Any], backend: Backend, dynamic: str | None = None) -> dict[str, Any]:
    """As :func:`check_arrays`, the library being known."""
    full: dict[str, Any] = {}
    missing = []
    batch: dict[str, tuple[int, str]] = {}
    for node, owner in net._walk():
        if node.array in full:
            continue
        shape = tuple(owner.sizes[i] for i in node.inds)
        if node.array in arrays:
            full[node.array] = array = plain(node.array, arrays[node.array], backend)
            if array.shape != shape:
                _check_shape(node, shape, array, dynamic, batch)
        elif isinstance(node.fixed, str):
            missing.append((node, shape))
        else:
            raise KeyError(f"no array {node.array!r} for node {node.name!r} of shape {shape}")
    check_known(net, arrays)
    if not backend.mixes and len(dtypes := {a.dtype: name for name, a in full.items()}) > 1:
        raise ValueError(
            f"{backend} does not mix dtypes: " + ", ".join(f"array {n!r} is {d}" for d, n in dtypes.items())
        )
    if len(devices := {backend.device(a): name for name, a in full.items() if a.shape}) > 1:
        raise ValueError(
            "arrays of one call are on one device: " + ", ".join(f"array {n!r} is on {d}" for d, n in devices.items())
        )
    if not net.multilinear:
        for name, array in full.items():
            if is_complex(array):
                check_ordered(net, name, dtype_name(array))
    for node, shape in missing:
        check_constant(node.array, shape)
        value = constant(str(node.fixed), shape)
        full[node.array] = backend.like(value, next(iter(full.values()))) if full else backend.xp.asarray(value)
    return full


def _check_shape(
    node: Node, shape: tuple[int, ...], array: Any, dynamic: str | None, batch: dict[str, tuple[int, str]]
) -> None:
    """ValueError where an array's shape is not the node's; ``batch`` holds the size that the dynamic index has so far."""
    got = tuple(array.shape)
    if len(got) != len(shape):
        raise ValueError(
            f"node {node.name!r} has indices {node.inds}, but its array has {plural(len(got), 'axis', 'axes')} {got}"
        )
    for i, have, want in zip(node.inds, got, shape, strict=True):
        if i == dynamic:
            want = batch.setdefault(i, (have, node.name))[0]
            if have != want:
                raise ValueError(
                    f"dynamic index {i!r} has size {want} on node {batch[i][1]!r} and {have} on {node.name!r}"
                )
        elif have != want:
            raise ValueError(
                f"node {node.name!r}: index {i!r} has size {want}, but its array has {have} there (shape {got})"
            )

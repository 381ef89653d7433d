"""A weight read as a tensor of many small indices, and back, in any library."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tnkit.core.checks import shown
from tnkit.core.shapes import sizes_of, split_axes
from tnkit.execution.arrays import padded
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, plain
from tnkit.execution.numpy import NUMPY

__all__ = ["detensorize", "tensorize"]

#: Entries of an array: libraries count its bytes in 64 bits.
_LARGEST = 2**58


def detensorize(tensor: Any, shape: Sequence[int], backend: Backend | None = None) -> Any:
    """A contracted tensor read as a weight of ``shape``: a reshape, and the padding cut off.

    >>> detensorize(np.arange(8).reshape(2, 2, 2), (7,))
    array([0, 1, 2, 3, 4, 5, 6])

    Parameters
    ----------
    tensor
        Array whose sizes read as the weight's axes (:func:`tnkit.core.shapes.split_axes`).
    shape
        Of the weight.
    backend
        The array library; by default that of the arrays.

    Raises
    ------
    TypeError
        No array.
        A shape that is no sequence of whole numbers.
    ValueError
        The tensor's shape does not read as ``shape``.
    """
    backend, shape = backend_of(backend, {"tensor": tensor}), sizes_of(shape, "detensorize: shape")
    if backend is NUMPY:
        tensor = plain("tensor", tensor, NUMPY)
    if prod(tensor.shape) == prod(shape):
        return backend.reshape(tensor, *shape)
    full = [prod(group) for group in _split(tuple(tensor.shape), shape, "detensorize")]
    return backend.reshape(tensor, *full)[tuple(slice(n) for n in shape)]


def tensorize(weight: Any, dims: Sequence[int], backend: Backend | None = None) -> Any:
    """A weight as a tensor of shape ``dims``, padded with zeros: the inverse of :func:`detensorize`.

    >>> tensorize(np.arange(7), (2, 2, 2))[1]
    array([[4, 5],
           [6, 0]])

    Parameters
    ----------
    weight
        Array of any shape.
    dims
        Sizes of the tensor, one run of them an axis of the weight.
    backend
        The array library; by default that of the arrays.

    Raises
    ------
    TypeError
        No array.
        ``dims`` that are no sequence of whole numbers.
    ValueError
        ``dims`` do not cover the weight's shape (see :func:`tnkit.core.shapes.split_axes`).
    """
    backend, dims = backend_of(backend, {"weight": weight}), sizes_of(dims, "tensorize: dims")
    if backend is NUMPY:
        weight = plain("weight", weight, NUMPY)
    if prod(weight.shape) == prod(dims):
        return backend.reshape(weight, *dims)
    if prod(dims) > _LARGEST:
        raise ValueError(f"tensorize: dims {shown(dims)} are {prod(dims):.2g} entries, more than any array has")
    for axis, group in enumerate(_split(dims, tuple(weight.shape), "tensorize")):
        weight = padded(weight, axis, prod(group) - weight.shape[axis], backend)
    return backend.reshape(weight, *dims)


def _split(dims: tuple[int, ...], shape: tuple[int, ...], who: str) -> list[tuple[int, ...]]:
    """The sizes of each axis, or an error that names the function."""
    try:
        return split_axes(dims, shape)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None

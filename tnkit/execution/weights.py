"""A weight read as a tensor of many small indices, and back, in any library."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tnkit.core.shapes import split_axes
from tnkit.execution.arrays import padded
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of

__all__ = ["detensorize", "tensorize"]


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
    ValueError
        The tensor's shape does not read as ``shape``.
    """
    backend, shape = backend_of(backend, {"tensor": tensor}), tuple(shape)
    if prod(tensor.shape) == prod(shape):
        return backend.reshape(tensor, *shape)
    full = [prod(group) for group in split_axes(tuple(tensor.shape), shape)]
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
    ValueError
        ``dims`` do not cover the weight's shape (see :func:`tnkit.core.shapes.split_axes`).
    """
    backend = backend_of(backend, {"weight": weight})
    if prod(weight.shape) == prod(dims):
        return backend.reshape(weight, *dims)
    for axis, group in enumerate(split_axes(dims, weight.shape)):
        weight = padded(weight, axis, prod(group) - weight.shape[axis], backend)
    return backend.reshape(weight, *dims)

"""A weight read as a tensor of many small indices, and back, in any library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from tnkit.core.checks import shown
from tnkit.core.numbers import as_float
from tnkit.core.shapes import sites_of, sizes_of, split_axes
from tnkit.execution.arrays import padded
from tnkit.execution.backend import Backend
from tnkit.execution.library import backend_of, plain
from tnkit.execution.numpy import NUMPY

__all__ = ["detensorize", "tensorize"]

#: Entries of an array: libraries count its bytes in 64 bits.
_LARGEST = 2**58


Dims = Sequence[int] | Sequence[Sequence[int]]


def detensorize(tensor: Any, shape: Sequence[int], backend: Backend | None = None, *, dims: Dims | None = None) -> Any:
    """A contracted tensor read as a weight of ``shape``: a reshape, and the padding cut off.

    >>> tk.detensorize(np.arange(8).reshape(2, 2, 2), (7,))
    array([0, 1, 2, 3, 4, 5, 6])
    >>> image, sites = np.arange(16.0).reshape(4, 4), ((2, 2), (2, 2))
    >>> np.array_equal(tk.detensorize(tk.tensorize(image, sites), (4, 4), dims=sites), image)
    True

    Parameters
    ----------
    tensor
        Array whose sizes read as the weight's axes (:func:`tnkit.core.shapes.split_axes`).
    shape
        Of the weight.
    backend
        The array library; by default that of the arrays.
    dims
        What :func:`tensorize` was given: needed where its sites merge digits of several axes.

    Raises
    ------
    TypeError
        No array; a shape or dims that are no sequence of whole numbers.
    ValueError
        The tensor's shape does not read as ``shape``, or is not that of ``dims``.
    """
    backend, shape = backend_of(backend, {"tensor": tensor}), sizes_of(shape, "detensorize: shape")
    if backend is NUMPY:
        tensor = plain("tensor", tensor, NUMPY)
    if dims is not None:
        dims = _kept(dims)
        sites = sites_of(dims, len(shape), "detensorize: dims")
        if sites is not None:
            return _unmerged(tensor, shape, sites, backend)
        if sizes_of(dims, "detensorize: dims") != tuple(tensor.shape):
            raise ValueError(f"detensorize: the tensor has shape {tuple(tensor.shape)}, not that of dims {shown(dims)}")
    if prod(tensor.shape) == prod(shape):
        return backend.reshape(tensor, *shape)
    full = [prod(group) for group in _split(tuple(tensor.shape), shape, "detensorize")]
    return backend.reshape(tensor, *full)[tuple(slice(n) for n in shape)]


def tensorize(weight: Any, dims: Dims, backend: Backend | None = None) -> Any:
    """A weight as a tensor of shape ``dims``, padded with zeros: the inverse of :func:`detensorize`.

    >>> tk.tensorize(np.arange(7), (2, 2, 2))[1]
    array([[4, 5],
           [6, 0]])
    >>> image = np.zeros((128, 128))
    >>> tk.tensorize(image, ((2, 2),) * 7).shape  # a binary digit of the row and one of the column in each site
    (4, 4, 4, 4, 4, 4, 4)

    Parameters
    ----------
    weight
        Array of any shape.
    dims
        Sizes of the tensor, one run of them an axis of the weight.  Or sites that merge digits of several axes: for each its digit of
        every axis, 1 for none, the coarsest digits first.  Such sites (quad sites) often hold images
        better: neighbours of both axes stay near.  A matrix of low rank is held better by digits of one axis after those of the other.
    backend
        The array library; by default that of the arrays.

    Raises
    ------
    TypeError
        No array; ``dims`` that are no sequence of whole numbers, or of sites.
    ValueError
        ``dims`` do not cover the weight's shape (see :func:`tnkit.core.shapes.split_axes`); a site without a digit of each axis.
    """
    backend = backend_of(backend, {"weight": weight})
    if backend is NUMPY:
        weight = plain("weight", weight, NUMPY)
    dims = _kept(dims)
    sites = sites_of(dims, len(weight.shape), "tensorize: dims")
    if sites is not None:
        return _merged(weight, sites, backend)
    dims = sizes_of(dims, "tensorize: dims")
    if prod(weight.shape) == prod(dims):
        return backend.reshape(weight, *dims)
    if prod(dims) > _LARGEST:
        raise ValueError(
            f"tensorize: dims {shown(dims)} are {as_float(prod(dims)):.2g} entries, more than any array has"
        )
    for axis, group in enumerate(_split(dims, tuple(weight.shape), "tensorize")):
        weight = padded(weight, axis, prod(group) - weight.shape[axis], backend)
    return backend.reshape(weight, *dims)


def _kept(dims: Any) -> Any:
    """Sizes or sites that can be read twice, as those of a generator cannot."""
    return tuple(dims) if isinstance(dims, Iterator) else dims


def _merged(weight: Any, sites: tuple[tuple[int, ...], ...], backend: Backend) -> Any:
    """A weight, padded with zeros, as a tensor of sites that merge digits of its axes."""
    for axis, full in enumerate(_full(sites, tuple(weight.shape), "tensorize")):
        if full > weight.shape[axis]:
            weight = padded(weight, axis, full - weight.shape[axis], backend)
    axes = len(weight.shape)
    apart = backend.reshape(weight, *(site[axis] for axis in range(axes) for site in sites))
    order = tuple(axis * len(sites) + k for k in range(len(sites)) for axis in range(axes))
    return backend.reshape(backend.permute(apart, order), *map(prod, sites))


def _unmerged(tensor: Any, shape: tuple[int, ...], sites: tuple[tuple[int, ...], ...], backend: Backend) -> Any:
    """The weight of a tensor of such sites."""
    if tuple(tensor.shape) != tuple(map(prod, sites)):
        raise ValueError(
            f"detensorize: the tensor has shape {tuple(tensor.shape)}, the sites of dims have {tuple(map(prod, sites))}"
        )
    full, axes = _full(sites, shape, "detensorize"), len(shape)
    apart = backend.reshape(tensor, *(n for site in sites for n in site))
    order = tuple(k * axes + axis for axis in range(axes) for k in range(len(sites)))
    return backend.reshape(backend.permute(apart, order), *full)[tuple(slice(n) for n in shape)]


def _full(sites: tuple[tuple[int, ...], ...], shape: tuple[int, ...], who: str) -> list[int]:
    """The sizes that the digits of each axis make up, which are its own or more."""
    full = [prod(digits) for digits in zip(*sites, strict=True)]
    for axis, (have, want) in enumerate(zip(full, shape, strict=True)):
        if have < want or (have and not want):
            raise ValueError(
                f"{who}: the digits of axis {axis} are {tuple(s[axis] for s in sites)}, {have} in all, for a size of {want}"
            )
    if prod(full) > _LARGEST:
        raise ValueError(f"{who}: dims {shown(sites)} are {as_float(prod(full)):.2g} entries, more than any array has")
    return full


def _split(dims: tuple[int, ...], shape: tuple[int, ...], who: str) -> list[tuple[int, ...]]:
    """The sizes of each axis, or an error that names the function."""
    try:
        return split_axes(dims, shape)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None

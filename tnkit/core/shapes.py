"""How a weight's shape reads as many small indices.

A weight axis of size 784 becomes sites of sizes (2, 2, 2, 2, 2, 5, 5): prime factors up to 5 stay mixed local
dimensions, since a brick on sites p, q holds (pq)^2 parameters and a factor 7 or 101 would cost more than the whole wall; an
axis with a larger prime factor is padded to the next size that has none, and the padding is cut off when the tensor is
read as a weight.  Builders pad an axis to less than twice its size; :func:`cut_off` says what is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tnkit.core.node import has_order, unordered
from tnkit.core.numbers import whole_number
from tnkit.core.wording import shown

__all__ = ["cut_off", "factorize", "site_dims", "sites_of", "sizes_of", "split_axes"]


def factorize(n: int, largest: int | None = None) -> tuple[int, ...]:
    """Prime factors of ``n`` in ascending order; of the next number without a prime factor above ``largest``, if given.

    >>> factorize(784), factorize(784, largest=5), factorize(1009, largest=2)
    ((2, 2, 2, 2, 7, 7), (2, 2, 2, 2, 2, 5, 5), (2, 2, 2, 2, 2, 2, 2, 2, 2, 2))
    """
    if n < 1:
        raise ValueError(f"cannot factorize {n}; a size is a whole number from 1 up")
    if largest is not None and largest < 2:
        raise ValueError(f"no prime factor is at most {largest}; largest is at least 2")
    while True:
        factors, rest, p = [], n, 2
        while rest > 1:
            while rest % p == 0:
                factors.append(p)
                rest //= p
            p += 1 if p == 2 else 2
            if p * p > rest > 1:
                factors.append(rest)
                break
        if largest is None or max(factors, default=1) <= largest:
            return tuple(factors)
        n += 1


def site_dims(n: int, dim: int | None = None) -> tuple[int, ...]:
    """Sites of one axis: mixed prime sizes up to 5 (``dim`` None), or sites of size ``dim``, the last one smaller if that
    covers ``n`` with less padding.

    >>> site_dims(120), site_dims(512, dim=4), site_dims(10, dim=2)
    ((2, 2, 2, 3, 5), (4, 4, 4, 4, 2), (2, 2, 2, 2))
    """
    if dim is None:
        return factorize(n, largest=5)
    if n < 1:
        raise ValueError(f"an axis has size {n}; a size is a whole number from 1 up")
    if dim < 2:
        raise ValueError(f"a local dimension is at least 2, not {dim}")
    dims: list[int] = []
    while prod(dims) < n:
        missing = -(-n // prod(dims))
        dims.append(min(dim, missing) if missing > 1 else dim)
    return tuple(dims)


def sizes_of(value: Any, what: str) -> tuple[int, ...]:
    """The sizes of a shape, in their order, as ints: TypeError for no sequence of whole numbers, ValueError for one below 0.

    >>> sizes_of([np.int64(2), 3], "tensorize: dims")
    (2, 3)
    """
    if type(value) is tuple and all([type(n) is int and n >= 0 for n in value]):  # as nearly all are
        return value
    if not has_order(value):
        hint = ": a set has no order" if unordered(value) else ""
        raise TypeError(f"{what} is a sequence of whole numbers, not {shown(value)}{hint}")
    return tuple([whole_number(n, f"a size of {what}", 0) for n in value])


def sites_of(dims: Any, axes: int, what: str) -> tuple[tuple[int, ...], ...] | None:
    """Sites that merge digits of several axes: for each its digit of every axis; None where dims are plain sizes.

    >>> sites_of([(2, 2), (2, 3)], 2, "tensorize: dims"), sites_of((2, 2), 2, "tensorize: dims")
    (((2, 2), (2, 3)), None)
    """
    if not has_order(dims) or not any([has_order(site) for site in dims]):
        return None
    sites = tuple([sizes_of(site, f"a site of {what}") for site in dims])
    for k, site in enumerate(sites):
        if len(site) != axes:
            raise ValueError(
                f"{what}: a site has one digit of each of the {axes} axes (1 for none); site {k} is {site}"
            )
    return sites


def split_axes(dims: Sequence[int], shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Which consecutive sizes of ``dims`` form each axis of ``shape``.

    Each axis takes the shortest run whose product reaches its size; what is over is padding.

    Raises
    ------
    ValueError
        The sizes do not cover the shape, or are left over.
    """
    groups, k = [], 0
    for n in shape:
        start = k
        while prod(dims[start:k]) < n and k < len(dims):
            k += 1
        if prod(dims[start:k]) < n:
            raise ValueError(f"a tensor of shape {tuple(dims)} does not fill a weight of shape {tuple(shape)}")
        groups.append(tuple(dims[start:k]))
    if prod(dims[k:]) != 1:
        raise ValueError(f"a tensor of shape {tuple(dims)} is too large for a weight of shape {tuple(shape)}")
    return groups


def cut_off(dims: Sequence[int], shape: Sequence[int]) -> tuple[float, str]:
    """The part of a tensor's entries that a weight does not use, and a sentence about it; (0, "") where it uses all.

    >>> cut_off((8, 8, 8, 8), (63, 64))
    (0.015625, 'a tensor of 64 x 64 is cut to a weight of 63 x 64, which leaves 1.6 % of its entries unused')

    Whoever takes a network for a weight says so, where :func:`site_dims` would not have padded so far (from half of an axis on).

    Raises
    ------
    ValueError
        As :func:`split_axes`.
    """
    if prod(dims) == prod(shape):
        return 0.0, ""
    full = [prod(group) for group in split_axes(dims, shape)]
    unused = 1 - prod(shape) / prod(full)
    sizes, kept = (" x ".join(map(str, ns)) for ns in (full, shape))
    says = f"a tensor of {sizes} is cut to a weight of {kept}, which leaves {100 * unused:.2g} % of its entries unused"
    return (unused, says) if unused else (0.0, "")

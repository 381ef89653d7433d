"""Arrays for any network, with the scale that was asked for.

Entries are drawn so that the variance of the result is right in expectation (for independent entries it is the product
of the nodes' variances and of the summed sizes: each bond counts once, a hyperedge too).  One sample of a product of many
arrays strays far from its expectation, so every region is then *measured* and rescaled: its root mean square becomes
exactly 1 before each activation, and ``std`` at the end.  One pass does it, from the innermost region to the outermost:
the value of each is computed once, in the precision asked for, and used by the next (:mod:`tnkit.execution.region_scale`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod, sqrt
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.decomposition import paired
from tnkit.core.dtypes import a_dtype
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.structure import check_ordered
from tnkit.execution.inputs import check_known, constant
from tnkit.execution.library import values
from tnkit.execution.region_scale import Arrays, calibrated, rms

__all__ = ["normal", "orthogonal", "rms", "to_rms"]


def normal(
    net: Network,
    *,
    seed: int = 0,
    std: float | None = None,
    dtype: Any = "float64",
    arrays: Mapping[str, Any] | None = None,
) -> Arrays:
    """Independent normal entries; the contracted tensor has root mean square ``std``.

    >>> arrays = normal(net, seed=0, std=0.02, dtype="float32")
    >>> contract(net, arrays).std()
    0.02

    Parameters
    ----------
    net
        Any network.
    seed
        Equal seeds give equal arrays.
    std
        Root mean square of the result's entries (their standard deviation, as their mean is near 0).  By default 1; where
        the outermost node is an activation, its argument then has root mean square 1.
    dtype
        A floating or complex dtype.  Arrays are drawn in double precision; tensors above 2^20 entries are measured in
        the dtype asked for.
    arrays
        Data and frozen weights (``fixed=True``) for the calibration; where they are missing, unit normal entries stand in.
        Those of trained nodes are drawn, and are not given (:func:`to_rms` rescales arrays that there are).

    Returns
    -------
    dict
        Array name -> numpy array, for all trained arrays and constants.

    Raises
    ------
    TypeError
        No Network, a seed that is no whole number, arrays that are no mapping of arrays.
    ValueError
        A std that is negative or not finite, that the dtype cannot hold, or that an outermost activation cannot reach; an
        array that no node uses, that is drawn, or of the wrong shape; a dtype that is neither floating nor complex.
    """
    return _sample(net, _gauss, seed, std, dtype, arrays)


def orthogonal(
    net: Network,
    *,
    seed: int = 0,
    std: float | None = None,
    dtype: Any = "float64",
    arrays: Mapping[str, Any] | None = None,
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
    net: Network, draw: Callable[..., np.ndarray], seed: int, std: float | None, dtype: Any, given: Mapping[str, Any] | None
) -> Arrays:  # fmt: skip
    net, seed, std = a_network(net, "init"), whole_number(seed, "init: seed", 0), _checked_std(std, "init")
    kind, given = a_dtype(dtype, "init: dtype"), _checked_arrays(net, {} if given is None else given, "init")
    _check_holds(kind, std)
    rng = np.random.default_rng(seed)
    wide = np.dtype("complex128" if kind.kind == "c" else "float64")  # drawn in, whatever is asked for
    arrays: Arrays = {}
    constants = {leaf.array: leaf.fixed for leaf in net.leaves if isinstance(leaf.fixed, str)}
    trained = set(net.parameters)
    if drawn := sorted(trained.intersection(given)):
        raise ValueError(
            f"init: array {drawn[0]!r} is of a trained node, and drawn; arrays are data and frozen weights (fixed=True)"
        )
    for name, shape in net.array_shapes.items():
        if name in constants:
            arrays[name] = constant(str(constants[name]), shape).astype(wide)
        elif name in trained:
            arrays[name] = draw(shape, rng, wide)
    if wide.kind == "c" and arrays:
        check_ordered(net, next(iter(arrays)), dtype)
    for region in net.regions():
        _unit_variance(region, arrays)
    stand_ins = {n: _gauss(s, rng, wide) for n, s in net.array_shapes.items() if n not in arrays}
    scaled = calibrated(net, {**stand_ins, **given, **arrays}, std, kind)
    return {name: _cast(scaled[name], kind, name) for name in arrays}


def _checked_std(std: Any, who: str) -> float | None:
    return None if std is None else real_number(std, f"{who}: std", positive=False)


def _check_holds(kind: np.dtype[Any], std: float | None) -> None:
    """ValueError where the range of a dtype does not hold ``std``."""
    info = np.finfo(kind)
    if std and not info.tiny <= std <= info.max:
        raise ValueError(f"init: std {std:g} is outside the range of {kind}, {info.tiny:.3g} to {info.max:.3g}")


def _checked_arrays(net: Network, arrays: Any, who: str) -> Arrays:
    """Given arrays as numpy's, each known to the network and of its shape."""
    found: Arrays = {}
    check_known(net, a_mapping(arrays, who))
    for name, array in arrays.items():
        found[name] = values(name, array, who)
        if found[name].shape != net.array_shapes[name]:
            raise ValueError(f"{who}: array {name!r} has shape {found[name].shape}, not {net.array_shapes[name]}")
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{who}: array {name!r} has entries that are not finite")
    return found


def _cast(array: np.ndarray, kind: np.dtype[Any], name: str) -> np.ndarray:
    """The array in the dtype asked for; what that cannot hold is refused."""
    with np.errstate(over="ignore", under="ignore"):
        made = array.astype(kind, copy=False)
    if not np.isfinite(made).all() or (array.any() and not made.any()):
        raise ValueError(f"init: array {name!r} has entries up to {np.abs(array).max():.3g}, which {kind} cannot hold")
    return made


def _unit_variance(region: Network, arrays: Arrays) -> None:
    """Scale the arrays of a region so that its result has unit variance in expectation: no over- or underflow."""
    own = [n for n in region.nodes if isinstance(n, Node) and not n.fixed]
    if not own:
        return
    kept = set(region.output)
    log_terms = sum(np.log(s) for i, s in region.sizes.items() if i not in kept)
    for name in {n.array for n in own}:
        a = arrays[name]
        size = sqrt(float(np.mean(np.abs(a) ** 2))) or 1.0
        arrays[name] = a / size * np.exp(-log_terms / (2 * len(own)))


@paired
def to_rms(net: Network, arrays: Mapping[str, Any], std: float | None = None) -> Arrays:
    """Rescale trained arrays region by region: root mean square 1 before each activation, ``std`` at the end.

    >>> rms(net, to_rms(net, arrays, 0.02))
    0.02

    Parameters
    ----------
    net
        Any network.
    arrays
        All its arrays (constants may be left out).
    std
        Root mean square wanted of the result; None as for :func:`normal`.

    Returns
    -------
    dict
        New arrays.  A region whose arrays are all fixed, or tied to another region's, stays as it is; one that an activation
        would turn into zeros changes its sign.

    Raises
    ------
    TypeError, ValueError
        As :func:`normal`.
    KeyError
        An array is missing.
    """
    given = _checked_arrays(a_network(net, "to_rms"), arrays, "to_rms")
    for leaf in net.leaves:
        if leaf.array not in given and not isinstance(leaf.fixed, str):
            raise KeyError(f"to_rms: no array {leaf.array!r} for node {leaf.name!r}")
    return calibrated(net, given, _checked_std(std, "to_rms"), None)

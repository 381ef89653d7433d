"""Arrays for any network, with the scale that was asked for.

>>> net = tk.tt((8, 8, 8), 4)
>>> arrays = tk.init.normal(net, std=0.02, dtype="float32")
>>> round(tk.init.rms(net, arrays), 4), arrays["core_0"].dtype.name
(0.02, 'float32')

Entries are drawn so that the variance of the result is right in expectation (for independent entries it is the product
of the nodes' variances and of the summed sizes: each bond counts once, a hyperedge too).  One sample of a product of many
arrays strays far from its expectation, so every region is then *measured* and rescaled: its root mean square becomes
exactly 1 before each activation, and ``std`` at the end.  One pass does it, from the innermost region to the outermost:
the value of each is computed once, in the precision asked for, and used by the next (:mod:`tnkit.execution.region_scale`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.directions import axes_toward
from tnkit.core.dtypes import a_dtype
from tnkit.core.network import Elementwise, Network, folded
from tnkit.core.node import Node
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.pairing import paired
from tnkit.core.stages import Stage, operator_stages
from tnkit.core.structure import check_ordered
from tnkit.execution.copies import copying
from tnkit.execution.draws import gauss, isometry, orthogonal_blocks, orthogonal_matrix
from tnkit.execution.inputs import check_known, constant
from tnkit.execution.library import values
from tnkit.execution.lifting import lifted
from tnkit.execution.machine import check_constant
from tnkit.execution.region_scale import Arrays, calibrated, rms

__all__ = ["lifted", "near_identity", "normal", "orthogonal", "rms", "to_rms"]


def normal(
    net: Network,
    *,
    seed: int = 0,
    std: float | None = None,
    dtype: Any = "float64",
    arrays: Mapping[str, Any] | None = None,
) -> Arrays:
    """Independent normal entries; the contracted tensor has root mean square ``std``.

    >>> net = tk.mpo((8, 8), (8, 8), 4)
    >>> arrays = tk.init.normal(net, seed=0, std=0.02, dtype="float32")
    >>> round(float(np.sqrt((tk.contract(net, arrays) ** 2).mean())), 4)
    0.02

    Parameters
    ----------
    net
        Any network.
    seed
        Equal seeds give equal arrays.
    std
        Root mean square of the result's entries.  It is their standard deviation where their mean is near 0, as without an outermost
        activation.  By default 1; where the outermost node is an activation, its argument then has root mean square 1.
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
    return _sample(net, gauss, seed, std, dtype, arrays)


def orthogonal(
    net: Network,
    *,
    seed: int = 0,
    std: float | None = None,
    dtype: Any = "float64",
    arrays: Mapping[str, Any] | None = None,
    toward: Mapping[str, Any] | None = None,
) -> Arrays:
    """As :func:`normal`, but each array read as a matrix (first half of its axes by the rest) is orthogonal.  Of an operator whose
    nodes act on some digits for every value of the others (:func:`tnkit.butterfly`), the matrix for each of these values is.

    >>> net = tk.tt((4, 4, 4), 2)
    >>> arrays = tk.init.orthogonal(net, std=1.0)
    >>> round(tk.init.rms(net, arrays), 6)
    1.0
    >>> arrays = tk.init.orthogonal(net, toward=tk.directions(net))  # every node an isometry towards the centre
    >>> q = arrays["core_0"]
    >>> np.allclose(q.T @ q, np.eye(2))
    True

    Bricks become orthogonal gates, cores isometries; the best start for brick walls that was measured.

    Parameters
    ----------
    net, seed, std, dtype, arrays
        As for :func:`normal`.
    toward
        Node -> indices that it is an isometry from, to its other indices (:func:`tnkit.directions`): the matrix of the others by
        these has orthonormal columns.  Such arrays are not rescaled; those of other nodes give the result its ``std``.

    Returns
    -------
    dict
        Array name -> numpy array, for all trained arrays and constants.

    Raises
    ------
    TypeError, ValueError
        As :func:`normal`; a node or an index that is not there, indices towards which there is no isometry; a std where all
        arrays are isometries.
    """
    if toward is None:
        found = operator_stages(a_network(net, "init"))
        blocks = {leaf.array: found[leaf.name] for leaf in net.leaves if leaf.name in found}
        return _sample(net, orthogonal_matrix, seed, std, dtype, arrays, blocks=blocks)
    axes = axes_toward(a_network(net, "init"), toward, "init")
    if std is not None and axes.keys() >= set(net.parameters):
        raise ValueError(f"init: std is given by arrays that are no isometries, and toward has all nodes of {net!r}")
    return _sample(net, orthogonal_matrix, seed, std, dtype, arrays, axes)


def near_identity(
    net: Network,
    *,
    seed: int = 0,
    noise: float = 0.02,
    std: float | None = None,
    dtype: Any = "float64",
    arrays: Mapping[str, Any] | None = None,
) -> Arrays:
    """Arrays with which a network passes on what it is given, and noise: the start for chains of many sites that read data.

    >>> net = tk.from_einsum("ab,bc,cd->ad", dict(a=3, b=3, c=3, d=3))
    >>> arrays = tk.init.near_identity(net, noise=0.0)
    >>> middle = arrays["B"]
    >>> np.allclose(middle / middle[0, 0], np.eye(3))  # it passes on what it is given
    True

    A node on two bonds is the identity between them; on more bonds it copies one to the others; gates of a wall are identities. Drawn
    arrays (:func:`normal`) of a classifier on 64 pixels make a product of 64 random matrices, which little can be learned from.

    Parameters
    ----------
    net
        Any network.  Where its output reads (outs..., ins...) and each node has both of a place, as in :func:`tnkit.mpo`, it begins at
        the identity matrix.
    seed
        Equal seeds give equal arrays.
    noise
        Standard deviation of the normal noise on every entry.
    std
        Root mean square of the result's entries, as for :func:`normal`; its data have to be in ``arrays``.  By default nothing is
        rescaled: entries begin near 1 for chains, trees and lattices.
    dtype
        A floating or complex dtype.
    arrays
        Data (``fixed=True``), some examples of them: along an index to data, a node begins with the vector whose product with their
        rows is nearest to 1.  By default that is [1, 0, ...], right for features (1, x), and wrong for (cos x, sin x).

    Returns
    -------
    dict
        Array name -> numpy array, for all trained arrays and constants.

    Raises
    ------
    TypeError, ValueError
        As :func:`normal`; a noise that is negative or not finite; a std without all data.
    """
    who = "near_identity"
    net, seed, noise = (
        a_network(net, who),
        whole_number(seed, f"{who}: seed", 0),
        real_number(noise, f"{who}: noise", False),
    )
    std, kind = _checked_std(std, who), a_dtype(dtype, f"{who}: dtype")
    given = _checked_arrays(net, {} if arrays is None else arrays, who, batches=std is None)
    _check_drawn(net, given, who, kind, std)
    rng = np.random.default_rng(seed)
    wide = np.dtype("complex128" if kind.kind == "c" else "float64")
    made = {n: a + noise * gauss(a.shape, rng, wide) for n, a in copying(net, given).items()}
    made |= {
        leaf.array: constant(leaf.fixed, net.array_shapes[leaf.array]).astype(wide)
        for leaf in net.leaves
        if isinstance(leaf.fixed, str)
    }
    if wide.kind == "c" and made:
        check_ordered(net, next(iter(made)), dtype)
    if std is not None:
        if absent := next((n for n in net.array_shapes if n not in made and n not in given), None):
            raise ValueError(
                f"{who}: std is that of the result, for which array {absent!r} is needed: give it in arrays"
            )
        made = {n: a for n, a in calibrated(net, {**given, **made}, std, kind).items() if n in made}
    return {n: _cast(made[n], kind, n) for n in net.array_shapes if n in made}


def _held_still(net: Network, names: Collection[str]) -> Network:
    """The network with the nodes of these arrays fixed."""

    def made(level: Network, bodies: list[Network]) -> Network:
        below, nodes = iter(bodies), list[Node | Elementwise]()
        for n in level.nodes:
            if isinstance(n, Elementwise):
                nodes.append(Elementwise(n.name, n.fn, [next(below) for _ in n.bodies]))
            else:
                nodes.append(replace(n, fixed=True) if n.array in names else n)
        return replace(level, nodes=tuple(nodes))

    return folded(net, made)


def _sample(
    net: Network, draw: Callable[..., np.ndarray], seed: int, std: float | None, dtype: Any, given: Mapping[str, Any] | None,
    axes: Mapping[str, Sequence[int]] | None = None, blocks: Mapping[str, Stage] = {},
) -> Arrays:  # fmt: skip
    net, seed, std = a_network(net, "init"), whole_number(seed, "init: seed", 0), _checked_std(std, "init")
    kind, given = a_dtype(dtype, "init: dtype"), _checked_arrays(net, {} if given is None else given, "init")
    rng = np.random.default_rng(seed)
    wide = np.dtype("complex128" if kind.kind == "c" else "float64")  # drawn in, whatever is asked for
    arrays: Arrays = {}
    constants = {leaf.array: leaf.fixed for leaf in net.leaves if isinstance(leaf.fixed, str)}
    trained = set(net.parameters)
    _check_drawn(net, given, "init", kind, std)
    for name, shape in net.array_shapes.items():
        if name in constants:
            arrays[name] = constant(str(constants[name]), shape).astype(wide)
        elif name in blocks:
            arrays[name] = orthogonal_blocks(shape, blocks[name], rng, wide)
        elif name in trained:
            arrays[name] = isometry(shape, axes[name], rng, wide) if axes and name in axes else draw(shape, rng, wide)
    if wide.kind == "c" and arrays:
        check_ordered(net, next(iter(arrays)), dtype)
    if axes:
        net = _held_still(net, axes)
    for region in net.regions():
        _unit_variance(region, arrays)
    stand_ins = {n: gauss(s, rng, wide) for n, s in net.array_shapes.items() if n not in arrays}
    scaled = calibrated(net, {**stand_ins, **given, **arrays}, std, kind)
    return {name: _cast(scaled[name], kind, name) for name in arrays}


def _check_drawn(net: Network, given: Mapping[str, Any], who: str, kind: np.dtype[Any], std: float | None) -> None:
    """MemoryError for what cannot be formed; ValueError for what is given and drawn, or a std that the dtype does not hold."""
    if drawn := sorted(set(net.parameters).intersection(given)):
        raise ValueError(
            f"{who}: array {drawn[0]!r} is of a trained node, and drawn; arrays are data and frozen weights (fixed=True)"
        )
    info = np.finfo(kind)
    if std and not info.tiny <= std <= info.max:
        raise ValueError(f"init: std {std:g} is outside the range of {kind}, {info.tiny:.3g} to {info.max:.3g}")
    for name, shape in net.array_shapes.items():
        check_constant(name, shape, f"{who}: array")


def _checked_std(std: Any, who: str) -> float | None:
    return None if std is None else real_number(std, f"{who}: std", positive=False)


def _checked_arrays(net: Network, arrays: Any, who: str, batches: bool = False) -> Arrays:
    """Given arrays as numpy's, each known to the network and of its shape; with ``batches`` of as many examples as there are."""
    found: Arrays = {}
    check_known(net, a_mapping(arrays, who))
    for name, array in arrays.items():
        found[name] = values(name, array, who)
        if not _fits(net, name, found[name].shape, batches):
            raise ValueError(f"{who}: array {name!r} has shape {found[name].shape}, not {net.array_shapes[name]}")
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{who}: array {name!r} has entries that are not finite")
    return found


def _fits(net: Network, name: str, shape: tuple[int, ...], batches: bool) -> bool:
    """Whether an array has the shape of a network's; with ``batches`` an open index of data, and of data alone, has any size."""
    want = net.array_shapes[name]
    if shape == want or not batches or len(shape) != len(want):
        return shape == want
    ends = {i: [net[n] for n in names] for i, names in net.edges.items() if i in net.output}
    loose = {i for i, nodes in ends.items() if all(isinstance(n, Node) and n.fixed is True for n in nodes)}
    inds = next(leaf.inds for leaf in net.leaves if leaf.array == name)
    return all(have == size or i in loose for i, have, size in zip(inds, shape, want, strict=True))


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

    >>> net = tk.tt((4, 4, 4), 2)
    >>> arrays = {name: np.full(shape, 5.0) for name, shape in net.array_shapes.items()}
    >>> round(tk.init.rms(net, arrays)), round(tk.init.rms(net, tk.init.to_rms(net, arrays, 0.02)), 6)
    (500, 0.02)

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

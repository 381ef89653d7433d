"""One network fitted to another, neither tensor being formed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import floor, log2
from typing import Any

import numpy as np

from tnkit.algebra.fitted_pair import improved
from tnkit.algebra.grouping import grouped
from tnkit.algebra.inner import distance, norm, resolves
from tnkit.algebra.matching import matched
from tnkit.algebra.pairs import product
from tnkit.core.checks import a_mapping, a_network
from tnkit.core.decomposition import Decomposition
from tnkit.core.names import unused
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.pairing import paired
from tnkit.core.structure import check_multilinear, tree_or_none
from tnkit.decompose.als import Aim, SearchOptions, check_array, checked_options, fitted, rescaled_start
from tnkit.decompose.ranks import Limits
from tnkit.decompose.rounding import rounded
from tnkit.execution.arrays import dtype_name, floating, padded
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of
from tnkit.execution.powers import even_powers, times

__all__ = ["project"]


@paired
def project(
    target: Network, target_arrays: Mapping[str, Any], net: Network, arrays: Mapping[str, Any] | None = None, *,
    sweeps: int = 300, tol: float | None = None, ridge: float = 1e-3, restarts: int = 8, seed: int = 0,
    callback: Callable[[int, float], Any] | None = None, backend: Backend | None = None,
) -> Decomposition:  # fmt: skip
    """Fit a network to another one, neither tensor being formed: :func:`als` with a target that has nodes.

    >>> state = tk.tt_svd(np.random.default_rng(0).normal(size=(2,) * 8))
    >>> near = tk.project(*state, tk.tt((2,) * 8, 4))
    >>> best = tk.round(state, rank=4)
    >>> near.network.sizes["b4"], near.error <= best.error + 1e-9
    (4, True)

    Parameters
    ----------
    target, target_arrays
        A multilinear network (ties are no matter) and its arrays; output indices are matched as for :func:`inner`: by name where
        the names are the same, by position where none is.  Its norm may be no number of the dtype.
    net, arrays, sweeps, tol, ridge, restarts, seed, callback
        As for :func:`als`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        As of :func:`als`, in the dtype of the target's arrays.  The error is :func:`distance`'s: right to rounding for two
        trees of one structure and for small shapes; for others never below 1.5e-8, what inner products resolve.  Without a start a
        tree is rounded from a target of its shape (a tree, or one with an operator on it), then improved node by node.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`als`; a target of another shape, a nonlinear target.
    """
    check_multilinear(a_network(net, "project"), "project")
    options = checked_options("project", sweeps, tol, ridge, restarts, seed, callback)
    check_multilinear(a_network(target, "project (target)"), "project (target)", tied=True)
    target = matched(net, target, "project")
    start = dict({} if arrays is None else a_mapping(arrays, "project"))
    backend = backend_of(backend, a_mapping(target_arrays, "project"), start)
    full = check_arrays(target, floating(target_arrays, backend), backend)
    for n, a in full.items():
        check_array(n, a, "project", backend)
    names = [dtype_name(a) for a in full.values()]
    power = 0.0
    if net.parameters:  # of size one, for its norm may be no number of the dtype
        full, power = _of_size_one(target, full, names, backend)
        start = rescaled_start(start, net.parameters, power, backend)
    size = float(norm(target, full, backend=backend))
    hidden = 0.0 if resolves(target, net) else 1.5e-8  # what inner products in double precision do not show

    def error(arrays: dict[str, Any]) -> float:
        return max(float(distance(target, full, net, arrays, backend=backend)) / size, hidden)

    dtype = str(np.result_type(*(n if n.startswith(("float", "complex")) else "float32" for n in names), "float32"))
    found = None
    if size and not start:
        found = _along_tree(target, full, net, options, error, dtype, backend)
    if found is None:
        found = fitted("project", net, start, Aim(target, full, size, error, dtype), options, backend)
    each = dict(zip(net.parameters, even_powers(power, len(net.parameters), backend), strict=True))
    arrays = {n: times(x, each[n], backend) if n in each else x for n, x in found.arrays.items()}
    return Decomposition(found.network, arrays, found.error, found.methods)


def _along_tree(
    target: Network, full: dict[str, Any], net: Network, options: SearchOptions, error: Callable[[dict[str, Any]], float],
    dtype: str, backend: Backend,
) -> Decomposition | None:  # fmt: skip
    """A tree fitted to a target that can be read as one of its shape: rounded, then improved node by node; None for others."""
    tree = tree_or_none(net)
    if tree is None:
        return None
    names = dict(zip(target.output, net.output, strict=True))
    mark = unused("t.", net)
    apart = target.relabel(lambda i: names.get(i, f"{mark}{i}"))
    pair = grouped(apart, full, tree, backend)
    if pair is None:
        return None
    caps = {b: net.sizes[b] for b in tree.bonds}
    made, arrays = product(pair)
    center = tree.middle()
    found = rounded(made, arrays, center, pair.power, Limits(caps, 0.0, None), "auto", backend)
    if found.error > max(options.tol, 1e-7):
        better = improved(pair, found, center, options.sweeps, options.progress.told)
        found = better if better.error < found.error else found
    else:
        options.progress.told(found.error)
    sizes = net.array_shapes
    arrays = {}
    for n, x in found.arrays.items():
        for axis, size in enumerate(sizes[n]):
            x = padded(x, axis, size - x.shape[axis], backend)
        arrays[n] = x
    return Decomposition(
        net, {n: backend.cast(x, dtype) for n, x in arrays.items()}, error(arrays), {n.name: "fit" for n in net.nodes}
    )


def _of_size_one(
    target: Network, full: dict[str, Any], names: list[str], backend: Backend
) -> tuple[dict[str, Any], float]:
    """The arrays in double precision, of a tensor whose norm is about 1, and the power of two that it was divided by."""
    wide = "complex128" if any(n.startswith("complex") for n in names) else "float64"
    value, exponent = norm(target, full, strip_exponent=True, backend=backend)
    used = [
        n for n, count in Counter(node.array for node in target.nodes if isinstance(node, Node)).items() if count == 1
    ]
    power = floor(float(exponent) * log2(10)) if float(value) and used else 0
    full = {n: backend.cast(a, wide) for n, a in full.items()}
    each = dict(zip(used, even_powers(float(-power), len(used), backend), strict=True)) if used else {}
    return {n: times(a, each[n], backend) if n in each else a for n, a in full.items()}, float(power)

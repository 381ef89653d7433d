"""How weight moves in a tree held as arrays, the tensor itself never formed.

A tree is in canonical form about a centre when every other node is an isometry from its bond towards the centre to the rest
of its indices (Schollwoeck 2011 for chains; Shi, Duan and Vidal 2006 for trees).  Then norms, inner products and errors of the
tensor are those of the centre's array, and truncating it is optimal for its bond.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tnkit.core.checks import a_network, shown
from tnkit.core.network import Network
from tnkit.core.structure import TreeNetwork, as_tree, resized
from tnkit.decompose.truncate import orthonormal
from tnkit.execution.arrays import check_linear, floating, one_dtype, widened
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import check_arrays
from tnkit.execution.powers import even_powers, fits, seen, times, unit, units

__all__ = [
    "absorb",
    "center_moved",
    "check_center",
    "check_finite",
    "fold",
    "gathered",
    "held",
    "measured",
    "placed",
    "push",
    "unfold",
]  # fmt: skip


def unfold(
    tree: TreeNetwork, arrays: Mapping[str, Any], node: str, bond: str, backend: Backend
) -> tuple[Any, tuple[int, ...]]:
    """A node's array as a matrix, the bond its columns; and the shape of its rows."""
    axis = tree.inds[node].index(bond)
    x = arrays[tree.array[node]]
    if axis == 0:  # a view
        return backend.swap(backend.reshape(x, x.shape[0], -1)), tuple(x.shape[1:])
    if axis < len(x.shape) - 1:
        x = backend.permute(x, (*range(axis), *range(axis + 1, len(x.shape)), axis))
    return backend.reshape(x, -1, x.shape[-1]), tuple(x.shape[:-1])


def fold(
    tree: TreeNetwork,
    arrays: dict[str, Any],
    node: str,
    bond: str,
    matrix: Any,
    rows: tuple[int, ...],
    backend: Backend,
) -> None:
    """Set a node's array from such a matrix."""
    axis, last = tree.inds[node].index(bond), len(rows)
    if axis == 0:
        arrays[tree.array[node]] = backend.reshape(backend.swap(matrix), matrix.shape[1], *rows)
        return
    x = backend.reshape(matrix, *rows, matrix.shape[1])
    arrays[tree.array[node]] = x if axis == last else backend.permute(x, (*range(axis), last, *range(axis, last)))


def absorb(tree: TreeNetwork, arrays: dict[str, Any], node: str, bond: str, m: Any, backend: Backend) -> None:
    """Multiply a node's array along a bond by ``m`` (new size, old size)."""
    if tree.inds[node][0] == bond:
        x = arrays[tree.array[node]]
        arrays[tree.array[node]] = backend.reshape(m @ backend.reshape(x, x.shape[0], -1), m.shape[0], *x.shape[1:])
        return
    matrix, rows = unfold(tree, arrays, node, bond, backend)
    fold(tree, arrays, node, bond, matrix @ backend.swap(m), rows, backend)


def push(tree: TreeNetwork, arrays: dict[str, Any], node: str, to: str, bond: str, backend: Backend) -> None:
    """Make a node an isometry, its weight going to a neighbour."""
    matrix, rows = unfold(tree, arrays, node, bond, backend)
    q, r = orthonormal(matrix, backend)
    fold(tree, arrays, node, bond, q, rows, backend)
    absorb(tree, arrays, to, bond, r, backend)


def gathered(tree: TreeNetwork, arrays: dict[str, Any], center: str, power: Any, backend: Backend) -> Any:
    """All weight to the centre, whose array stays of size about 1.

    Returns
    -------
    scalar
        The tensor is that of the arrays times two to this power; ``power`` is what it was before.
    """
    for node, parent, bond in reversed(tree.down(center)):
        push(tree, arrays, node, parent, bond, backend)
        arrays[tree.array[parent]], more = unit(arrays[tree.array[parent]], backend)
        power = power + more
    return power


def center_moved(tree: TreeNetwork, arrays: dict[str, Any], start: str, center: str, backend: Backend) -> None:
    """The weight from one node to another, along the path between them; isometries do not change its size."""
    up = {node: (parent, bond) for node, parent, bond in tree.down(center)}
    while start != center:
        parent, bond = up[start]
        push(tree, arrays, start, parent, bond, backend)
        start = parent


def measured(net: Network, arrays: dict[str, Any]) -> tuple[Network, dict[str, Any]]:
    """The network with the sizes that its arrays have."""
    sizes = {i: int(n) for node in net.nodes for i, n in zip(node.inds, arrays[node.array].shape, strict=True)}  # type: ignore[union-attr]
    return resized(net, sizes), arrays


def held(
    net: Network, arrays: Mapping[str, Any], center: str | None, what: str, backend: Backend
) -> tuple[TreeNetwork, dict[str, Any], str, Any]:
    """A tree-shaped network as a tree, its arrays over powers of two, the name of its centre, and the sum of those powers."""
    tree, given = as_tree(a_network(net, what), what), check_arrays(net, floating(arrays, backend), backend)
    for name, x in given.items():
        check_linear(name, x, what)
    wide, power = units(one_dtype({n: widened(a, backend) for n, a in given.items()}, backend), backend)
    return tree, wide, check_center(tree, center, what), power


def check_finite(arrays: Mapping[str, Any], power: Any, what: str, backend: Backend) -> None:
    """ValueError that names an array with entries that are not finite, where the sum of powers says that there is one."""
    if isfinite(seen(power, backend) or 0.0):
        return
    for name, x in arrays.items():
        if not isfinite(seen(unit(x, backend)[1], backend) or 0.0):
            raise ValueError(f"{what}: array {name!r} has entries that are not finite")


def check_center(tree: TreeNetwork, center: str | None, what: str) -> str:
    """A node of the tree, one in the middle by default."""
    if center is None:
        return tree.middle()
    if not isinstance(center, str):
        raise TypeError(f"{what}: center is the name of a node, not {shown(center)}")
    if center not in tree.links:
        raise ValueError(f"{what}: no node {shown(center)} to be the centre; there are {', '.join(tree.links)}")
    return center


def placed(
    tree: TreeNetwork, arrays: Mapping[str, Any], center: str, power: Any, backend: Backend
) -> tuple[Network, dict[str, Any]]:
    """The network with the sizes of its arrays; two to a power goes to the centre, where it fits, and else to all arrays alike."""
    arrays, holder = dict(arrays), tree.array[center]
    if fits(arrays[holder], power, backend):
        arrays[holder] = times(arrays[holder], power, backend)
    else:
        each = even_powers(power, len(arrays), backend)
        arrays = {n: times(x, share, backend) for (n, x), share in zip(arrays.items(), each, strict=True)}
    return measured(tree.net, arrays)

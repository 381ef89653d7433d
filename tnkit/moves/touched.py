"""What a move touches of a network: a few nodes and their arrays, checked, and put back in their places.

All that is not touched stays as it is: nodes, names, the order of the open indices, and the arrays themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite, log2, prod
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, shown
from tnkit.core.editing import edited, trusted
from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network
from tnkit.core.node import Node, Sizes
from tnkit.core.wording import plain_name
from tnkit.execution.arrays import LINEAR, check_linear, dtype_name, floating, is_bool, is_single, one_dtype, widened
from tnkit.execution.backend import Backend
from tnkit.execution.inputs import checked
from tnkit.execution.library import backend_of
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import entry_size, seen, times, unit

__all__ = [
    "all_names",
    "carriers",
    "computed",
    "leaf",
    "linear",
    "placed_power",
    "put_back",
    "scaled",
    "taken",
    "unit_size",
]

Arrays = Mapping[str, Any]


def leaf(net: Network, name: Any, what: str) -> Node:
    """A node that has an array, by its name.

    Raises
    ------
    TypeError, ValueError
        No string; no node of this name; an Elementwise, whose tensor is no array that a move could change.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what}: a node is named by a string, not {shown(name)}")
    if name not in net.places:
        raise ValueError(f"{what}: no node {plain_name(name)!r}; there are {_listed(net.places)}")
    name, node = plain_name(name), net.nodes[net.places[name]]
    if not isinstance(node, Node):
        raise ValueError(
            f"{what}: node {name!r} is an Elementwise (nonlinear), which has no array; a move changes multilinear nodes"
        )
    return node


def _listed(names: Iterable[str]) -> str:
    """The names that there are, for a message; the first of many."""
    listed = ", ".join(names)
    return listed if len(listed) <= 200 else f"{listed[:200].rpartition(', ')[0]}, ..."


def carriers(net: Network, index: Any, what: str) -> tuple[Node, ...]:
    """The nodes that carry an index, each once.

    Raises
    ------
    TypeError, ValueError
        No string; no such index; an Elementwise carries it.
    """
    if not isinstance(index, str):
        raise TypeError(f"{what}: an index is named by a string, not {shown(index)}")
    index = plain_name(index)
    if index not in net.sizes:
        raise ValueError(f"{what}: no index {index!r}; there are {_listed(net.sizes)}")
    return tuple(leaf(net, name, f"{what}: index {index!r}") for name in dict.fromkeys(net.edges[index]))


def computed(node: Node) -> Node:
    """The node as one whose array is computed: a constant is none any more, what is given stays so."""
    return replace(node, fixed=False) if isinstance(node.fixed, str) else node


def all_names(net: Network) -> set[str]:
    """Names that are taken: of nodes, indices and arrays, at every depth."""
    if net.multilinear:
        return {*net.sizes, *net.places, *(node.array for node in net.leaves)}
    return names_in(net)


def taken(
    net: Network, nodes: Sequence[Node], arrays: Arrays, what: str, backend: Backend | None
) -> tuple[dict[str, Any], Backend]:
    """The arrays of some nodes by the nodes' names, constants filled in, and the library of all arrays; shapes and entries of the others are not looked at.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`tnkit.check_arrays`, of these arrays.
    """
    backend = backend_of(backend, a_mapping(arrays, what))
    some = {node.array: arrays[node.array] for node in nodes if node.array in arrays}
    if not _plainly_right(net, nodes, some, backend):
        sizes = Sizes({i: net.sizes[i] for node in nodes for i in node.inds})
        # numpy multiplies bools, others do not
        bools = {} if backend is NUMPY else {n: x for n, x in some.items() if is_bool(x, backend)}
        plain = checked(trusted(tuple(nodes), (), sizes), {**some, **floating(bools, backend)}, backend)
        some = {**plain, **bools} if some else _beside(plain, arrays, backend)
    return {node.name: some[node.array] for node in nodes}, backend


def _beside(constants: dict[str, Any], arrays: Arrays, backend: Backend) -> dict[str, Any]:
    """Constants in the dtype and on the device of the arrays beside them, of which none is touched."""
    others = [x for x in arrays.values() if backend.holds(x)]
    like = next((x for x in others if dtype_name(x) in LINEAR), others[0] if others else None)
    return constants if like is None else {n: backend.like(backend.numpy(x), like) for n, x in constants.items()}


def _plainly_right(net: Network, nodes: Sequence[Node], some: Arrays, backend: Backend) -> bool:
    """Whether a look at types and shapes is enough, as nearly always."""
    sizes, dtypes = net.sizes, set()
    for node in nodes:
        x = some.get(node.array)
        if x is None or (backend is NUMPY and x.__class__.__name__ != "ndarray"):
            return False
        if tuple(x.shape) != tuple([sizes[i] for i in node.inds]) or dtype_name(x) not in LINEAR or backend.refused(x):
            return False
        dtypes.add(x.dtype)
    return (len(dtypes) == 1 or backend.mixes) and (backend is NUMPY or len(nodes) == 1 or _near(some, backend))


def _near(some: Arrays, backend: Backend) -> bool:
    return len({backend.device(x) for x in some.values()}) == 1


def linear(values: Mapping[str, Any], what: str, backend: Backend) -> dict[str, Any]:
    """Arrays in dtypes of linear algebra; TypeError for others, the node being named."""
    for name, x in values.items():
        check_linear(name, x, what)
        if reason := backend.unread(x):
            raise TypeError(f"{what}: array {name!r} {reason}")
    return {name: widened(x, backend) for name, x in values.items()}


# -- scale ------------------------------------------------------------------------------------------------------------
def scaled(values: dict[str, Any], what: str, backend: Backend) -> tuple[dict[str, Any], float]:
    """Arrays whose products neither vanish nor overflow, and the power of two that their product is to be multiplied by.

    Raises
    ------
    ValueError
        Entries that are not finite: the node is named.
    """
    given = list(values.values())
    if not backend.unseen(given):
        room = (100 if any(dtype_name(x) in ("float32", "complex64") for x in given) else 900) / 2 / len(given)
        least, most = 2.0**-room, 2.0**room
        if all(least < size < most for size in backend.norms(given)):
            return values, 0.0
    made, power = {}, 0.0
    for name, x in values.items():
        made[name], more = unit(x, backend)
        if not isfinite(seen(more, backend) or 0.0):
            raise ValueError(f"{what}: array {name!r} has entries that are not finite")
        power = power + more
    return made, power


def unit_size(x: Any, name: str, what: str, backend: Backend) -> tuple[Any, float]:
    """As :func:`scaled`, of one array."""
    made, power = scaled({name: x}, what, backend)
    return made[name], power


def placed_power(
    net: Network, arrays: Arrays, values: dict[str, Any], holder: str, power: Any, what: str, backend: Backend
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The new arrays and those of the other nodes, their product two to a power times as large.

    The holder takes all of it where it can; else the new arrays share it; else all do that are linear in the tensor.

    Raises
    ------
    ValueError
        The dtype cannot hold it.
    """
    others = dict(arrays)
    if isinstance(power, float) and not power:
        return values, others
    size = entry_size(values[holder], backend)
    if size is None or not isfinite(size) or _holds(values[holder], size, power):
        return {**values, holder: times(values[holder], power, backend)}, others
    for shared in (values, {**values, **_free(net, arrays, values)}):
        each = _levelled(shared, power, backend)
        if each is not None:
            made = {n: times(x, each[n], backend) for n, x in shared.items()}
            others |= {net[n].array: x for n, x in made.items() if n not in values}  # type: ignore[union-attr]
            return {n: made[n] for n in values}, others
    kind = dtype_name(values[holder])
    wider = "" if kind in ("float64", "complex128") else ", or convert them to float64"
    raise ValueError(
        f"{what}: entries of the array of node {holder!r}, about 2**{float(power):.0f}, are beyond the range of "
        f"{kind}; rescale the arrays{wider}"
    )


def _holds(x: Any, size: float, power: float) -> bool:
    """Whether an array with this largest entry can be multiplied by two to a power, and its norm is a number of its dtype."""
    if not size:
        return True
    info = np.finfo(np.float32 if is_single(x) else np.float64)
    level = log2(size) + power
    return log2(info.tiny) <= level and level + log2(max(prod(x.shape), 1)) / 2 + 1 < log2(info.max)


def _levelled(shared: Mapping[str, Any], power: float, backend: Backend) -> dict[str, float] | None:
    """Powers with this sum that make arrays of nearly one size; None where their dtypes cannot hold it."""
    sizes = {n: entry_size(x, backend) for n, x in shared.items()}
    if not all(size and isfinite(size) for size in sizes.values()):
        return None
    logs = {n: log2(size or 1.0) for n, size in sizes.items()}
    level, each, left = (sum(logs.values()) + power) / len(logs), {}, power
    for k, (n, log) in enumerate(logs.items(), 1):
        each[n] = left if k == len(logs) else float(round(level - log))
        left -= each[n]
    return each if all(_holds(x, sizes[n] or 0.0, each[n]) for n, x in shared.items()) else None


def _free(net: Network, arrays: Arrays, values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays in which the tensor is linear, of nodes that are not touched."""
    return {
        node.name: arrays[node.array]
        for node in net.nodes
        if isinstance(node, Node)
        and not node.fixed
        and node.name not in values
        and node.array not in net.tied
        and dtype_name(arrays[node.array]) in LINEAR
    }


# -- back -----------------------------------------------------------------------------------------------------------
def put_back(
    net: Network,
    arrays: Arrays,
    parts: Mapping[str, Sequence[Node]],
    values: Mapping[str, Any],
    backend: Backend,
    output: tuple[str, ...] | None = None,
) -> tuple[Network, dict[str, Any]]:
    """The network and its arrays with other nodes in the places of some.

    Parameters
    ----------
    net, arrays
        Before.
    parts
        Name of a node -> the nodes that stand in its place.  A node that keeps its name keeps the name of its array, unless that
        fills other nodes too: it is untied then, and gets an array of its own.
    values
        Name of a new node -> its array.
    output
        Open indices, by default as before.
    """
    made, old = dict(arrays), [leaf(net, name, "put_back") for name in parts]
    changed: dict[str, list[Node]] = {}
    sizes: dict[str, int] = {}
    names: set[str] | None = None
    for node in old:
        new = []
        for part in parts[node.name]:
            array = node.array
            if part.name != node.name or array in net.tied:
                names = names if names is not None else _used(net, parts)
                array = free_name(part.name, names)
                names.add(array)
            made[array] = values[part.name]
            sizes.update(zip(part.inds, map(int, made[array].shape), strict=True))
            new.append(part if part.array == array else replace(part, array=array))
        if new != [node]:
            changed[node.name] = new
    if changed:
        used = {part.array for new in changed.values() for part in new}
        used |= {node.array for node in net.leaves if node.name not in changed}
        for gone in {node.array for node in old} - used:
            made.pop(gone, None)
    if not backend.mixes:
        constants = any(node.array not in arrays for node in old)  # they have no dtype of their own
        before = {x.dtype for x in arrays.values()} if constants else {arrays[node.array].dtype for node in old}
        if len(before | {x.dtype for x in values.values()}) > 1:
            made = one_dtype(made, backend)
    return edited(net, changed, sizes, output), made


def _used(net: Network, parts: Mapping[str, Sequence[Node]]) -> set[str]:
    """Names that the new nodes' arrays cannot have: all of what stays."""
    stays = {node.array for node in net.leaves if node.name not in parts}
    for name, new in parts.items():
        array = leaf(net, name, "put_back").array
        if array not in net.tied and any(part.name == name for part in new):
            stays.add(array)
    gone = {*parts, *(leaf(net, name, "put_back").array for name in parts)}
    return (all_names(net) - gone) | stays

"""Indices of a network held as arrays fused, unfused, dropped and selected: on every node that has them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network, text
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node, indices_among
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired
from tnkit.core.wording import shown
from tnkit.execution.backend import Backend
from tnkit.moves.touched import all_names, carriers, put_back, taken

__all__ = ["fuse", "isel", "on_all", "parallel", "squeeze", "unfuse"]

Arrays = Mapping[str, Any]
Change = Callable[[Node, Any, Backend], tuple[tuple[str, ...], Any]]


def on_all(
    net: Network, arrays: Arrays, inds: Iterable[str], change: Change, what: str, backend: Backend | None,
    output: Iterable[str] | None = None,
) -> tuple[Network, dict[str, Any]]:  # fmt: skip
    """``change`` of every node that carries one of the indices.  A constant becomes an array, given and not trained."""
    nodes = {node.name: node for i in inds for node in carriers(net, i, what)}
    if not nodes:
        return net, dict(arrays)
    values, backend = taken(net, list(nodes.values()), arrays, what, backend)
    made, parts = {}, {}
    for name, node in nodes.items():
        found, made[name] = change(node, values[name], backend)
        parts[name] = (replace(node, inds=found, fixed=bool(node.fixed)),)
    return put_back(net, arrays, parts, made, backend, None if output is None else tuple(output))


# -- fuse and unfuse ----------------------------------------------------------------------------------------------------
def parallel(net: Network) -> dict[str, tuple[str, ...]]:
    """Bonds that join the same nodes, by the first of them: those that one bond can stand for."""
    groups: dict[tuple[str, ...], list[str]] = {}
    kept = set(net.output)
    for i, names in net.edges.items():
        if len(names) > 1 and i not in kept and len(set(names)) == len(names):
            groups.setdefault(tuple(names), []).append(i)
    return {
        some[0]: tuple(some)
        for names, some in groups.items()
        if len(some) > 1 and not any(isinstance(net[n], Elementwise) for n in names)
    }


@paired
def fuse(
    net: Network,
    arrays: Arrays,
    inds: Mapping[str, Iterable[str]] | None = None,
    *,
    backend: Backend | None = None,
) -> tuple[Network, dict[str, Any]]:
    """Several indices as one: parallel bonds, or those that are named.

    >>> net = tk.from_einsum("ijk,jkl->il", dict(i=2, j=3, k=4, l=2))  # two parallel bonds
    >>> net, arrays = tk.fuse(net, tk.init.normal(net))
    >>> net.sizes
    {'i': 2, 'j': 12, 'l': 2}
    >>> net, arrays = tk.unfuse(net, arrays, {"j": {"j": 3, "k": 4}})
    >>> net["A"].inds
    ('i', 'j', 'k')

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; those of nodes without these indices stay the same objects.
    inds
        Name of a new index -> the indices that it stands for, the first one slowest: all open or all summed, and on the same nodes.
        By default all bonds that join the same nodes, by the name of the first of them; those of an Elementwise stay.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        A fused index stands where the first of its indices stood: on each node, and in the output.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, one named twice, open and summed ones together, indices of different nodes, a name that is taken, an
        Elementwise that has one, arrays of these nodes that do not fit.
    """
    a_network(net, "fuse")
    a_mapping(arrays, "fuse")
    groups = parallel(net) if inds is None else _groups(net, inds)
    group_of = {i: name for name, group in groups.items() for i in group}

    def change(node: Node, x: Any, backend: Backend) -> tuple[tuple[str, ...], Any]:
        here: list[str] = []
        order: list[int] = []
        for k, i in enumerate(node.inds):
            name = group_of.get(i, i)
            if i not in group_of:
                order.append(k)
                here.append(i)
            elif name not in here:  # a group stands where its first index stood
                order += [node.inds.index(j) for j in groups[name]]
                here.append(name)
        if order != sorted(order):
            x = backend.permute(x, tuple(order))
        parts = [groups.get(i, (i,)) for i in here]
        return tuple(here), backend.reshape(x, *(prod(net.sizes[i] for i in part) for part in parts))

    output = dict.fromkeys(group_of.get(i, i) for i in net.output)
    return on_all(net, arrays, group_of, change, "fuse", backend, output)


def _groups(net: Network, inds: Any) -> dict[str, tuple[str, ...]]:
    found = {
        text(name, "fuse: the name of an index"): indices_among(group, net.sizes, f"fuse: index {name!r}")
        for name, group in a_mapping(inds, "fuse", "inds").items()
    }
    every = [i for group in found.values() for i in group]
    for i in every:
        if every.count(i) > 1:
            raise ValueError(f"fuse: index {i!r} is named twice")
        carriers(net, i, "fuse")
    names = all_names(net) if not net.multilinear else set(net.sizes)
    for name, group in found.items():
        if not group:
            raise ValueError(f"fuse: index {name!r} stands for one index or more, not none")
        _check_new(name, group, names, "fuse")
        first = group[0]
        for i in group:
            if sorted(net.edges[i]) != sorted(net.edges[first]) or len(set(net.edges[i])) < len(net.edges[i]):
                raise ValueError(
                    f"fuse: index {first!r} is on nodes {net.edges[first]}, index {i!r} on {net.edges[i]}; fused indices are on the "
                    "same nodes, once on each (merge the nodes first)"
                )
            if (i in net.output) != (first in net.output):
                raise ValueError(f"fuse: of the indices {first!r} and {i!r} one is open, the other is summed")
    return found


def _check_new(name: str, old: Iterable[str], names: set[str], what: str) -> None:
    if name in names and name not in old:
        raise ValueError(f"{what}: index {shown(name)} is in the network already; give a new index a name that is free")


@paired
def unfuse(
    net: Network, arrays: Arrays, inds: Mapping[str, Mapping[str, int]], *, backend: Backend | None = None
) -> tuple[Network, dict[str, Any]]:
    """One index as several, on every node that has it.

    >>> x = np.arange(12.0).reshape(6, 2)
    >>> net, arrays = tk.unfuse(*tk.tt_svd(x), {"i0": {"i": 2, "j": 3}})
    >>> net.output, np.allclose(tk.contract(net, arrays), x.reshape(2, 3, 2))
    (('i', 'j', 'i1'), True)

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; those of nodes without the index stay the same objects.
    inds
        Index -> the new indices and their sizes, the first one slowest.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The new indices stand where the index stood: on each node, and in the output.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, sizes whose product is not its size, a name that is taken, an Elementwise that has it, arrays that do not fit.
    """
    a_network(net, "unfuse")
    a_mapping(arrays, "unfuse")
    new: dict[str, dict[str, int]] = {}
    names = set(net.sizes) if net.multilinear else all_names(net)
    for i, sizes in a_mapping(inds, "unfuse", "inds").items():
        carriers(net, i, "unfuse")
        new[i] = {
            text(j, "unfuse: the name of an index"): whole_number(n, f"unfuse: the size of index {j!r}", 1)
            for j, n in a_mapping(sizes, "unfuse", f"the new indices of {i!r}").items()
        }
        if prod(new[i].values()) != net.sizes[i] or not new[i]:
            raise ValueError(f"unfuse: index {shown(i)} has size {net.sizes[i]}, which is not the product of {new[i]}")
        for j in new[i]:
            _check_new(j, [i], names, "unfuse")
        names |= set(new[i])

    def change(node: Node, x: Any, backend: Backend) -> tuple[tuple[str, ...], Any]:
        parts = [new.get(i) or {i: net.sizes[i]} for i in node.inds]
        return tuple(j for p in parts for j in p), backend.reshape(x, *(n for p in parts for n in p.values()))

    output = (j for i in net.output for j in new.get(i, (i,)))
    return on_all(net, arrays, new, change, "unfuse", backend, output)


# -- fewer entries --------------------------------------------------------------------------------------------------------
@paired
def squeeze(
    net: Network, arrays: Arrays, inds: Iterable[str] | None = None, *, backend: Backend | None = None
) -> tuple[Network, dict[str, Any]]:
    """Indices of size 1 left out, on every node that has them.

    >>> x = np.arange(6.0).reshape(2, 1, 3)
    >>> net, arrays = tk.squeeze(tk.tt_svd(x))
    >>> net.shape, np.allclose(tk.contract(net, arrays), x[:, 0])
    ((2, 3), True)

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; those of nodes without these indices stay the same objects.
    inds
        The indices; by default all of size 1, open and summed; those of an Elementwise stay.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        The same tensor, without the axes of open indices that were left out.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, one of another size, an Elementwise that has it, arrays that do not fit.
    """
    a_network(net, "squeeze")
    a_mapping(arrays, "squeeze")
    if inds is None:
        functions = {i for n in net.nodes if isinstance(n, Elementwise) for i in n.inds}
        chosen = tuple(i for i, n in net.sizes.items() if n == 1 and i not in functions)
    else:
        chosen = indices_among(inds, net.sizes, "squeeze: inds")
    for i in chosen:
        carriers(net, i, "squeeze")
        if net.sizes[i] != 1:
            raise ValueError(f"squeeze: index {i!r} has size {net.sizes[i]}, not 1; isel takes one of its values")
    return _selected(net, arrays, dict.fromkeys(chosen, 0), "squeeze", backend)


@paired
def isel(
    net: Network, arrays: Arrays, values: Mapping[str, int | slice], *, backend: Backend | None = None
) -> tuple[Network, dict[str, Any]]:
    """Select by position: an index at one of its values, or at a slice of them.

    >>> x = np.arange(24.0).reshape(2, 3, 4)
    >>> net, arrays = tk.isel(*tk.tt_svd(x), {"i0": 1, "i2": slice(0, 2)})
    >>> np.allclose(tk.contract(net, arrays), x[1, :, :2])
    True

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; those of nodes without these indices stay the same objects.
    values
        Index -> a place, counted from the end where it is negative, or a slice.  Of a summed index it is the terms that are kept.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        An index at one place is gone; at a slice it stays, with another size.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, a place that it does not have, an empty slice, an Elementwise that has it, arrays that do not fit.
    """
    a_network(net, "isel")
    a_mapping(arrays, "isel")
    chosen: dict[str, Any] = {}
    for i, place in a_mapping(values, "isel", "values").items():
        carriers(net, i, "isel")
        chosen[i] = _place(i, place, net.sizes[i])
    return _selected(net, arrays, chosen, "isel", backend)


def _place(i: str, place: Any, size: int) -> int | np.ndarray:
    if isinstance(place, slice):
        for part in (place.start, place.stop, place.step):
            if part is not None:
                whole_number(part, f"isel: a bound of the slice of index {i!r}")
        if place.step is not None and operator.index(place.step) == 0:
            raise ValueError(f"isel: the step of the slice of index {i!r} is not 0")
        places = np.arange(size)[place].copy()  # torch takes no negative strides
        if not len(places):
            raise ValueError(f"isel: {place} of index {i!r}, of size {size}, is empty")
        return places
    found = whole_number(place, f"isel: the place of index {i!r}")
    if not -size <= found < size:
        raise ValueError(f"isel: index {i!r} has size {size} and no place {found}")
    return found % size


def _selected(
    net: Network, arrays: Arrays, chosen: Mapping[str, Any], what: str, backend: Backend | None
) -> tuple[Network, dict[str, Any]]:
    def change(node: Node, x: Any, backend: Backend) -> tuple[tuple[str, ...], Any]:
        at = [chosen.get(i) for i in node.inds]
        for axis, place in enumerate(at):
            if isinstance(place, np.ndarray):
                x = backend.take(x, place, axis)
        x = x[tuple(slice(p, p + 1) if isinstance(p, int) else slice(None) for p in at)]
        left = [k for k, place in enumerate(at) if not isinstance(place, int)]
        return tuple(node.inds[k] for k in left), backend.reshape(x, *(int(x.shape[k]) for k in left))

    output = (i for i in net.output if not isinstance(chosen.get(i), int))
    return on_all(net, arrays, chosen, change, what, backend, output)

"""Bonds of a network held as arrays made larger, the tensor staying the same, or nearly."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from math import isfinite, prod
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.network import Elementwise, Network
from tnkit.core.node import Node
from tnkit.core.numbers import real_number, whole_number
from tnkit.core.pairing import paired
from tnkit.core.wording import shown
from tnkit.execution.arrays import dtype_name, is_complex, padded, widened
from tnkit.execution.backend import Backend
from tnkit.execution.machine import check_constant
from tnkit.execution.powers import seen, times, unit
from tnkit.moves.reshaping import on_all
from tnkit.moves.touched import carriers

__all__ = ["expand_bonds"]

Arrays = Mapping[str, Any]


@paired
def expand_bonds(
    net: Network,
    arrays: Arrays,
    bonds: Mapping[str, int] | int,
    noise: float = 0.0,
    seed: int = 0,
    *,
    backend: Backend | None = None,
) -> tuple[Network, dict[str, Any]]:
    """Larger bonds, the new entries zero or noise: with zeros the tensor stays exactly the same.

    >>> net = tk.tt((4, 4, 4), 2)
    >>> arrays = tk.init.normal(net)
    >>> larger, grown = tk.expand_bonds(net, arrays, 3)
    >>> larger.sizes["b1"], np.allclose(tk.contract(larger, grown), tk.contract(net, arrays))
    (3, True)

    Parameters
    ----------
    net
        Any network.
    arrays
        Its arrays; those of nodes without these bonds stay the same objects.
    bonds
        Summed index -> its new size; or one size for all that are smaller, those of an Elementwise apart.
    noise
        Standard deviation of the new entries, as a part of the root mean square of the array's.
    seed
        Of the noise.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Network, dict
        Whole numbers become float64 where there is noise.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, an open one, a size below the present one, an Elementwise that has it, arrays that do not fit; with
        noise entries that are not finite.
    MemoryError
        A size at which an array would not fit into the memory.
    """
    what = "expand_bonds"
    a_network(net, what)
    a_mapping(arrays, what)
    new = _new_sizes(net, bonds)
    noise = real_number(noise, "expand_bonds: noise", positive=False)
    draw = np.random.default_rng(whole_number(seed, "expand_bonds: seed", 0))

    def change(node: Node, x: Any, backend: Backend) -> tuple[tuple[str, ...], Any]:
        check_constant(node.array, [new.get(i, net.sizes[i]) for i in node.inds], f"{what}: array")
        old = x if not noise else widened(x, backend)
        x = old
        for axis, i in enumerate(node.inds):
            x = padded(x, axis, new.get(i, net.sizes[i]) - net.sizes[i], backend)
        return node.inds, x + _noise(node.array, old, tuple(x.shape), noise, draw, backend) if noise else x

    return on_all(net, arrays, new, change, what, backend)


def _new_sizes(net: Network, bonds: Any) -> dict[str, int]:
    """Bond -> its new size, of those that grow."""
    if not isinstance(bonds, Mapping):
        size = whole_number(bonds, "expand_bonds: bonds, a mapping or a size,", 1)
        apart = {i for n in net.nodes if isinstance(n, Elementwise) for i in n.inds} | set(net.output)
        return {i: size for i, n in net.sizes.items() if n < size and i not in apart}
    for i, size in bonds.items():
        carriers(net, i, "expand_bonds")
        if i in net.output:
            raise ValueError(f"expand_bonds: index {i!r} is open; the tensor would get another shape")
        whole_number(size, f"expand_bonds: the size of index {shown(i)}", net.sizes[i])
    return {i: operator.index(size) for i, size in bonds.items() if size != net.sizes[i]}


def _noise(
    name: str, old: Any, shape: tuple[int, ...], noise: float, draw: np.random.Generator, backend: Backend
) -> Any:
    """Normal entries where the larger array has new ones."""
    some, power = unit(backend.constant(old), backend)
    if not isfinite(seen(power, backend) or 0.0):
        raise ValueError(f"expand_bonds: array {name!r} has entries that are not finite; noise is a part of their size")
    rms = backend.norm(some) / max(prod(old.shape), 1) ** 0.5
    values = draw.standard_normal(shape)
    if is_complex(old):
        values = (values + 1j * draw.standard_normal(shape)) / 2**0.5
    values[tuple(slice(0, n) for n in old.shape)] = 0
    return times(backend.cast(backend.like(values * noise, old) * rms, dtype_name(old)), power, backend)

"""Random networks and an oracle: what the tests compare every plan with.

>>> net, arrays = tk.testing.random_network(0)
>>> np.allclose(tk.contract(net, arrays), tk.testing.oracle(net, arrays))
True

:func:`random_network` draws from everything that the reading rule allows; :func:`oracle` contracts it with one
``numpy.einsum`` a region, sharing neither paths nor lowering with :func:`tnkit.plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnkit.core.activations import function
from tnkit.core.checks import a_mapping, a_network, flag, sequence, shown, text
from tnkit.core.dtypes import a_dtype
from tnkit.core.network import AnyNode, Elementwise, Network, folded
from tnkit.core.node import CONSTANTS, Node
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired
from tnkit.execution.inputs import constant

if TYPE_CHECKING:
    from numpy.typing import DTypeLike  # a thirtieth of what importing tnkit takes

__all__ = ["oracle", "path_flops", "random_network"]

Inds = tuple[str, ...]

#: Activations that make sense for a dtype's kind: integers stay integers; complex numbers have no order, and their
#: tanh has poles.
_FUNCTIONS = {
    "f": ("relu", "leaky_relu", "tanh", "sin", "sigmoid", "gelu", "softplus", "square", "identity"),
    "c": ("square", "identity"),
    "i": ("relu", "square", "identity"),
}


#: Indices that numpy.einsum tells apart.
_MOST_INDICES = 52
#: Of the numbers that bound a network: the oracle pays for all of it.
_LARGEST = 10**9


def random_network(
    seed: int,
    *,
    nonlinear: bool = False,
    max_nodes: int = 7,
    max_size: int = 4,
    max_depth: int = 2,
    max_space: int = 20_000,
    dtype: DTypeLike = np.float64,
) -> tuple[Network, dict[str, np.ndarray]]:
    """Draw a network and arrays for it.

    >>> net, arrays = tk.testing.random_network(0, max_nodes=4)
    >>> set(arrays) <= set(net.array_shapes), len(net.leaves) <= 4
    (True, True)
    >>> tk.testing.random_network(0, max_nodes=4)[0] == net  # equal seeds, equal networks
    True

    Hyperedges, traces, batch indices, indices of size 1, scalars, tied arrays, disconnected parts, open indices, indices
    summed on one node and fixed constants all occur, with or without nested functions.

    Parameters
    ----------
    seed
        Equal arguments give equal networks and arrays.
    nonlinear
        Whether at least one Elementwise node occurs.
    max_nodes, max_size
        Most nodes of a region, largest size of an index.
    max_depth
        How deep Elementwise nodes nest.
    max_space
        Bound on the product of all index sizes of a region, which is what the oracle pays.
    dtype
        Of the arrays; the functions fit it.  Constants (``"e0"``, ``"ones"``, ``"delta"``) are left out of the arrays.

    Returns
    -------
    network, arrays
        What :func:`tnkit.contract` and :func:`oracle` take.

    Raises
    ------
    TypeError, ValueError
        A seed, or a bound, that is no whole number in its range.
    """
    seed, nonlinear = whole_number(seed, "random_network: seed", 0), flag(nonlinear, "random_network: nonlinear")
    numbers = {"max_nodes": max_nodes, "max_size": max_size, "max_depth": max_depth, "max_space": max_space}
    for name, value in numbers.items():
        least = 2 if name == "max_size" else 1
        if whole_number(value, f"random_network: {name}", least) > _LARGEST:
            raise ValueError(f"random_network: {name} is at most {_LARGEST:,}, not {shown(value)}")
    draw = _NetworkDraw(
        np.random.default_rng([seed, nonlinear]),
        max_nodes,
        max_size,
        max_space,
        a_dtype(dtype, "random_network: dtype", "fci"),
    )
    depth = int(draw.rng.integers(1, max_depth + 1)) if nonlinear else 0
    sizes = draw.indices(int(draw.rng.integers(0, 4)), max_space // 4)
    output = draw.shuffled(sizes)
    return draw.region(output, sizes, depth), draw.arrays


@paired
def oracle(net: Network, arrays: Mapping[str, Any]) -> np.ndarray:
    """Contract ``net`` without a plan: one ``numpy.einsum`` a region and numpy for the functions.

    >>> net, arrays = tk.testing.random_network(3, nonlinear=True)
    >>> net.multilinear, np.allclose(tk.testing.oracle(net, arrays), tk.contract(net, arrays))
    (False, True)

    Parameters
    ----------
    net
        A network whose regions have at most 52 indices (numpy's bound) and a small product of sizes.
    arrays
        Array name -> array; constants may be left out.

    Returns
    -------
    numpy.ndarray
        Of shape ``net.shape``.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`tnkit.check_arrays`; a region of more than 52 indices.
    """
    a_network(net, "oracle")
    arrays = {name: _plain(name, x) for name, x in a_mapping(arrays, "oracle").items()}
    for name, shape in net.array_shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"oracle: array {name!r} has shape {arrays[name].shape}, the network's has {shape}")
    absent = next((n for n in net.leaves if n.array not in arrays and not isinstance(n.fixed, str)), None)
    if absent is not None:
        raise KeyError(f"oracle: array {absent.array!r} of node {absent.name!r} is missing")
    dtype = np.result_type(*(np.asarray(a) for a in arrays.values())) if arrays else np.dtype(np.float64)
    given = {name: np.asarray(a) for name, a in arrays.items()}
    return folded(net, lambda level, bodies: _region_oracle(level, iter(bodies), given, dtype))


def _region_oracle(
    net: Network, bodies: Iterator[np.ndarray], arrays: Mapping[str, np.ndarray], dtype: np.dtype[Any]
) -> np.ndarray:
    number = {i: k for k, i in enumerate(net.sizes)}
    if len(number) > _MOST_INDICES:
        raise ValueError(
            f"oracle: a region has at most {_MOST_INDICES} indices, as numpy.einsum has letters; this one has {len(number)}"
        )
    operands: list[Any] = []
    for node in net.nodes:
        operands += [_tensor(node, net, bodies, arrays, dtype), [number[i] for i in node.inds]]
    return np.asarray(np.einsum(*operands, [number[i] for i in net.output]))


def _tensor(
    node: AnyNode, net: Network, bodies: Iterator[np.ndarray], arrays: Mapping[str, np.ndarray], dtype: np.dtype[Any]
) -> np.ndarray:
    if isinstance(node, Node):
        if node.array in arrays:
            return arrays[node.array]
        return constant(str(node.fixed), tuple(net.sizes[i] for i in node.inds)).astype(dtype)
    inner = [next(bodies).transpose([body.output.index(i) for i in node.inds]) for body in node.bodies]
    return np.asarray(function(node.fn)(np, *inner))


@dataclass
class _NetworkDraw:
    """The state of one draw: names given, arrays made, shapes that can be tied."""

    rng: np.random.Generator
    max_nodes: int
    max_size: int
    max_space: int
    dtype: np.dtype[Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tied: dict[tuple[tuple[int, ...], bool], list[str]] = field(default_factory=dict)
    names: int = 0

    def name(self, letter: str) -> str:
        self.names += 1
        return f"{letter}{self.names}"

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def shuffled(self, names: Mapping[str, int] | Inds) -> Inds:
        names = tuple(names)
        return tuple(names[k] for k in self.rng.permutation(len(names)))

    def indices(self, count: int, space: int) -> dict[str, int]:
        """At most ``count`` new indices whose sizes multiply to no more than ``space``."""
        sizes: dict[str, int] = {}
        for _ in range(count):
            size = 1 if self.chance(0.15) else int(self.rng.integers(2, self.max_size + 1))
            if prod(sizes.values()) * size <= space:
                sizes[self.name("i")] = size
        return sizes

    def region(self, output: Inds, outer: Mapping[str, int], depth: int) -> Network:
        """A network with this output; ``depth`` levels of functions, at least one of them if it is positive."""
        count = int(self.rng.integers(1, self.max_nodes + 1))
        space = self.max_space // prod(outer[i] for i in output)
        sizes = {i: outer[i] for i in output} | self.indices(int(self.rng.integers(0, count + 3)), space)
        terms = [self.term(tuple(sizes)) for _ in range(count)]
        functions = {k for k in range(count) if depth and self.chance(0.25)} | (
            {int(self.rng.integers(count))} if depth else set()
        )
        for k in functions:
            terms[k] = list(dict.fromkeys(terms[k]))  # a function's tensor has no traces
        for i in output:
            if not any(i in term for term in terms):
                terms[int(self.rng.integers(count))].append(i)
        used = {i for term in terms for i in term}
        sizes = {i: s for i, s in sizes.items() if i in used}
        nodes = [
            self.function(tuple(term), sizes, depth - 1) if k in functions else self.leaf(tuple(term), sizes)
            for k, term in enumerate(terms)
        ]
        return Network(tuple(nodes), output, sizes)

    def term(self, pool: Inds) -> list[str]:
        """Indices of one node: none for a scalar, one of them twice (or three times) for a trace."""
        if not pool or self.chance(0.08):
            return []
        count = int(self.rng.integers(1, min(4, len(pool)) + 1))
        inds = list(self.shuffled(pool)[:count])
        while self.chance(0.12):
            inds.insert(int(self.rng.integers(len(inds) + 1)), inds[0])
        return inds

    def leaf(self, inds: Inds, sizes: Mapping[str, int]) -> Node:
        """A node, sometimes a constant, sometimes tied to an earlier one of its shape."""
        name = self.name("A")
        if self.chance(0.12):
            return Node(name, inds, fixed=str(self.rng.choice(CONSTANTS)))
        shape = tuple(sizes[i] for i in inds)
        fixed = self.chance(0.1)
        others = self.tied.setdefault((shape, fixed), [])
        if others and self.chance(0.4):
            return Node(name, inds, array=str(self.rng.choice(others)), fixed=fixed)
        others.append(name)
        self.arrays[name] = self.values(shape)
        return Node(name, inds, fixed=fixed)

    def function(self, inds: Inds, sizes: Mapping[str, int], depth: int) -> Elementwise:
        """A function of one network, or the sum or product of two."""
        depth = int(self.rng.integers(0, depth + 1))
        if self.chance(0.3):
            fn, bodies = str(self.rng.choice(["add", "multiply"])), 2
        else:
            fn, bodies = str(self.rng.choice(_FUNCTIONS[self.dtype.kind])), 1
        orders = [inds, *(self.shuffled(inds) for _ in range(bodies - 1))]
        return Elementwise(self.name("f"), fn, tuple(self.region(order, sizes, depth) for order in orders))

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.dtype.kind in "iu":
            return self.rng.integers(-2, 3, shape).astype(self.dtype)
        x = self.rng.normal(size=shape)
        if self.dtype.kind == "c":
            x = x + 1j * self.rng.normal(size=shape)
        return np.asarray(x * prod(shape) ** -0.25, dtype=self.dtype)  # a sum over an edge keeps the variance


def _plain(name: str, x: Any) -> np.ndarray:
    """An array of plain numbers; a matrix and a masked array are read as arrays only where the caller makes them so."""
    if isinstance(x, (np.matrix, np.ma.MaskedArray)):
        raise TypeError(f"oracle: array {name!r} is a plain array, not a {type(x).__name__}")
    try:
        found = np.asarray(x)
    except Exception as error:
        raise TypeError(f"oracle: array {name!r} cannot be read by numpy: {shown(x)}") from error
    if found.dtype.kind not in "biufc":
        raise TypeError(f"oracle: array {name!r} holds numbers, not {found.dtype}")
    return found


def path_flops(inputs: Sequence[Inds], output: Inds, sizes: Mapping[str, int], path: Sequence[Sequence[int]]) -> float:
    """Multiply-adds of a path: the product of all sizes at every pairwise step, summed.

    >>> sizes = dict(a=10, b=20, c=30, d=40)
    >>> tk.testing.path_flops(["ab", "bc", "cd"], "ad", sizes, [(0, 1), (0, 1)])  # 10*20*30 + 10*30*40
    18000.0
    >>> tk.testing.path_flops(["ab", "bc", "cd"], "ad", sizes, [(1, 2), (0, 1)])  # 20*30*40 + 10*20*40
    32000.0

    Raises
    ------
    KeyError, TypeError, ValueError
        An index without a size; a path that is none of these inputs.
    """
    terms = [frozenset(_names(i, "an input")) for i in sequence(inputs, "path_flops: inputs")]
    known = set().union(*terms)
    unknown = next((i for i in _names(output, "output") if i not in known), None)
    if unknown is not None:
        raise ValueError(f"path_flops: output index {unknown!r} is in no input")
    sizes = {
        i: whole_number(n, f"path_flops: the size of index {i!r}", 1)
        for i, n in a_mapping(sizes, "path_flops", "sizes").items()
    }
    if absent := sorted(known - set(sizes)):
        raise KeyError(f"path_flops: index {absent[0]!r} has no size")
    count: dict[str, int] = {}
    for term in (*terms, frozenset(output)):
        for i in term:
            count[i] = count.get(i, 0) + 1
    total = 0.0
    for number, step in enumerate(sequence(path, "path_flops: path")):
        at = [
            whole_number(k, f"path_flops: path: a position of step {number}", 0)
            for k in sequence(step, f"path_flops: path: step {number}")
        ]
        if not at or len(set(at)) != len(at) or max(at) >= len(terms):
            raise ValueError(
                f"path_flops: path: step {number}, {shown(step)}, does not name some of {len(terms)} terms, each once"
            )
        gone = [terms.pop(k) for k in sorted(at, reverse=True)]
        every = frozenset[str]().union(*gone)
        cost = 1.0
        for i in every:
            cost *= sizes[i]
        total += cost
        for t in gone:
            for i in t:
                count[i] -= 1
        result = frozenset(i for i in every if count[i])
        for i in result:
            count[i] += 1
        terms.append(result)
    return total


def _names(inds: Any, what: str) -> tuple[str, ...]:
    """Names of indices, or the letters of a string."""
    if isinstance(inds, str):
        return tuple(inds)
    return tuple(text(i, f"path_flops: {what}: an index") for i in sequence(inds, f"path_flops: {what}"))

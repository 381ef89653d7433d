"""Gates on open indices of a network held as arrays: the nodes that have them change, and those between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tnkit.core.checks import a_mapping, a_network, one_of, shown
from tnkit.core.decomposition import Decomposition
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.node import Node, indices_among
from tnkit.core.numbers import whole_number
from tnkit.core.pairing import paired_first
from tnkit.decompose.ranks import check_tol
from tnkit.decompose.rounding import check_truncation
from tnkit.decompose.truncate import orthonormal
from tnkit.execution.backend import Backend
from tnkit.moves.distant_gates import on_tree
from tnkit.moves.factors import ABSORB, factored
from tnkit.moves.gate_parts import GatePart, How, back, given_gate, ordered
from tnkit.moves.local_tree import center_moved_along
from tnkit.moves.reshaping import fuse
from tnkit.moves.touched import carriers, computed, leaf, placed_power, put_back

__all__ = ["apply_gate"]

Arrays = Mapping[str, Any]


@keywords_of(max_bond="rank")
@paired_first
def apply_gate(
    net: Network,
    arrays: Arrays,
    gate: Any,
    inds: Iterable[str],
    rank: int | None = None,
    tol: float | None = None,
    *,
    absorb: str = "right",
    center: str | None = None,
    method: str = "auto",
    backend: Backend | None = None,
) -> Decomposition:
    """Act with a gate on open indices, which keep their names and places; the nodes that have them change, and those between.

    >>> state = tk.mps((2, 2, 2), 1)
    >>> arrays = {name: np.eye(2)[0].reshape(shape) for name, shape in state.array_shapes.items()}  # |000>
    >>> H = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    >>> CNOT = np.eye(4)[[0, 1, 3, 2]]
    >>> bell = tk.apply_gate(*tk.apply_gate(state, arrays, H, ["i0"]), CNOT, ["i0", "i1"])
    >>> tk.contract(bell)[:, :, 0].round(3)
    array([[0.707, 0.   ],
           [0.   , 0.707]])

    Parameters
    ----------
    net
        Any network.  Each index is open, and on one node, which is no Elementwise.
    arrays
        Its arrays; those of nodes that are not touched stay the same objects.
    gate
        An array with axes (out ..., in ...) in the order of ``inds``, or a matrix of all of them; lists are read by numpy.  Or a
        network and its arrays, ``(net, arrays)`` or a Decomposition, whose output is (out ..., in ...).  The precision stays that
        of the network's arrays; a complex gate makes those that it touches complex, and all arrays where the library mixes no dtypes.
    inds
        The open indices.
    rank
        Largest size of a bond that is touched.
    tol
        Relative error that may be made.
    absorb
        Where the weight of what is split goes: to the node of the last index, ``"right"``, or of the first, ``"left"``; for two
        neighbours also to ``"both"``.
    center
        A node about which the network is in canonical form, as :func:`canonicalize` makes it.  It is moved to the gate first.
        Truncation is then optimal for the whole tensor, and the result is in canonical form about the node that takes the weight.
    method
        As for :func:`tree_svd`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    Decomposition
        Network and arrays.  On one node nothing is split.  On two neighbours both are reduced by QR, contracted with the gate and
        split again.  On others the gate is split along the bonds between them, and those bonds are rounded; where no bonds lead
        from one to another, a new one joins them.  ``error`` is relative to the norm of the nodes touched, contracted with the
        gate: with ``center`` that of the whole tensor.

    Raises
    ------
    KeyError, TypeError, ValueError
        No such index, a summed one, one of several nodes or of an Elementwise, one named twice; a gate of another shape; rank,
        tolerance, absorb, center or method that cannot be; arrays of these nodes that do not fit or are not finite.
    """
    what = "apply_gate"
    a_network(net, what)
    a_mapping(arrays, what)
    inds, names = _sites(net, inds, one_of(absorb, "apply_gate: absorb", ABSORB))
    how = How(
        None if rank is None else whole_number(rank, "apply_gate: rank", 1),
        check_tol(tol, what),
        absorb,
        method,
    )
    check_truncation(method, what)
    if center is not None:
        leaf(net, center, "apply_gate: center")
        net, arrays = center_moved_along(net, arrays, center, names, what, backend)
    if len(names) == 1:
        part = _on_one(net, arrays, gate, inds, names, backend)
    else:
        bonds = _between(net, *names) if len(names) == 2 else ()
        if len(bonds) > 1:
            net, arrays = fuse(net, arrays, {bonds[0]: bonds}, backend=backend)
        act = _on_pair if bonds else on_tree
        part = act(net, arrays, gate, inds, names, how, backend)
    holder = names[0] if absorb == "left" else names[-1]
    values, others = placed_power(part.net, part.arrays, part.values, holder, part.power, what, part.backend)
    parts = {node.name: (computed(node),) for node in part.nodes}
    return Decomposition(*put_back(part.net, others, parts, values, part.backend), part.error, part.methods)


def _sites(net: Network, inds: Any, absorb: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The indices, and the nodes that have them, each once, in their order; that of the last index last, where it takes the weight."""
    inds = indices_among(inds, net.sizes, "apply_gate: inds")
    if not inds or len(set(inds)) < len(inds):
        raise ValueError(f"apply_gate: inds are one open index or more, none of them twice, not {inds}")
    names: dict[str, None] = {}
    for i in inds:
        nodes = carriers(net, i, "apply_gate")
        if i not in net.output:
            raise ValueError(
                f"apply_gate: index {i!r} is summed; a gate acts on open indices, {shown(net.output, 200)}"
            )
        if len(net.edges[i]) != 1:
            raise ValueError(
                f"apply_gate: index {i!r} is on nodes {net.edges[i]}; a gate acts on an index of one node (merge them first)"
            )
        names[nodes[0].name] = None
    if absorb == "right":
        last = net.edges[inds[-1]][0]
        del names[last]
        names[last] = None
    return inds, tuple(names)


def _between(net: Network, a: str, b: str) -> tuple[str, ...]:
    """The ordinary bonds of two nodes."""
    ends = {(a, b), (b, a)}
    return tuple(i for i in leaf(net, a, "apply_gate").inds if net.edges[i] in ends and i not in net.output)


def _on_one(
    net: Network, arrays: Arrays, gate: Any, inds: Sequence[str], names: Sequence[str], backend: Backend | None
) -> GatePart:
    (node,), values, g, power, backend = given_gate(net, arrays, names, gate, inds, backend)
    x = values[node.name]
    first = [node.inds.index(i) for i in inds]
    axes = [*first, *(k for k in range(len(node.inds)) if k not in first)]
    flat = backend.permute(x, tuple(axes))
    made = backend.reshape(g @ backend.reshape(flat, g.shape[0], -1), *flat.shape)
    return GatePart(net, arrays, [node], {node.name: back(made, axes, backend)}, power, backend)


def _on_pair(
    net: Network, arrays: Arrays, gate: Any, inds: Sequence[str], names: Sequence[str], how: How, backend: Backend | None
) -> GatePart:  # fmt: skip
    """Two neighbours: what the gate and the bond do not touch stays in an isometry each (Corboz et al. 2010)."""
    (a, b), values, g, power, backend = given_gate(net, arrays, names, gate, inds, backend)
    (bond,) = _between(net, a.name, b.name)
    mine = [k for k, i in enumerate(inds) if i in a.inds]
    theirs = [k for k in range(len(inds)) if k not in mine]
    g = ordered(g, [net.sizes[i] for i in inds], [*mine, *theirs], backend)
    left = _half(a, values[a.name], [inds[k] for k in mine], bond, backend)
    right = _half(b, values[b.name], [inds[k] for k in theirs], bond, backend)
    k, n, m = left.core.shape
    j, p, _ = right.core.shape
    theta = backend.reshape(left.core, k * n, m) @ backend.swap(backend.reshape(right.core, j * p, m))
    theta = backend.permute(backend.reshape(theta, k, n, j, p), (1, 3, 0, 2))
    theta = backend.reshape(g @ backend.reshape(theta, n * p, k * j), n, p, k, j)
    theta = backend.reshape(backend.permute(theta, (2, 0, 1, 3)), k * n, p * j)
    found = factored(theta, how.rank, how.tol, how.absorb, how.method, backend)
    r = int(found.left.shape[1])
    second = backend.permute(backend.reshape(found.right, r, p, j), (2, 1, 0))
    made = {
        a.name: _joined(left, backend.reshape(found.left, k, n, r), backend),
        b.name: _joined(right, second, backend),
    }
    return GatePart(net, arrays, [a, b], made, power, backend, found.error, {bond: found.method})


@dataclass(frozen=True)
class _Half:
    """One of two neighbours: an isometry (None: no use), the core (other indices, gate's indices, bond), and where the axes were."""

    isometry: Any
    core: Any
    axes: Sequence[int]
    ends: Sequence[int]
    middle: Sequence[int]


def _half(node: Node, x: Any, sites: Sequence[str], bond: str, backend: Backend) -> _Half:
    at = [node.inds.index(i) for i in sites]
    last = node.inds.index(bond)
    rest = [k for k in range(len(node.inds)) if k != last and k not in at]
    axes = [*rest, *at, last]
    shape = [int(n) for n in x.shape]
    ends, middle = [shape[k] for k in rest], [shape[k] for k in at]
    rows, n, m = prod(ends), prod(middle), shape[last]
    flat = backend.reshape(x if axes == sorted(axes) else backend.permute(x, tuple(axes)), rows, n * m)
    isometry = None
    if rows > n * m:
        isometry, flat = orthonormal(flat, backend)
    return _Half(isometry, backend.reshape(flat, flat.shape[0], n, m), axes, ends, middle)


def _joined(half: _Half, core: Any, backend: Backend) -> Any:
    """The node's array with a new core."""
    k, n, r = core.shape
    flat = backend.reshape(core, k, n * r)
    if half.isometry is not None:
        flat = half.isometry @ flat
    return back(backend.reshape(flat, *half.ends, *half.middle, r), half.axes, backend)

"""A deep network that begins at a shallow one: its gates the identity, its activations where they are nearly linear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from tnkit.core.activations import ACTIVATIONS, function
from tnkit.core.checks import a_network
from tnkit.core.decomposition import pair_of
from tnkit.core.network import AnyNode, Elementwise, Network, folded, levels
from tnkit.core.node import Node
from tnkit.core.numbers import real_number
from tnkit.core.spelling import function_name, shape_text
from tnkit.core.structure import check_ordered, tree_or_none
from tnkit.execution.inputs import check_arrays
from tnkit.execution.library import backend_of, values
from tnkit.execution.log_rms import log_rms
from tnkit.execution.region_scale import Arrays, calibrated, rms
from tnkit.execution.run import run
from tnkit.planning.planner import plan

__all__ = ["begun", "bent", "lifted", "shallow"]

#: An argument at which an activation is compared with its slope, and by how much of it the two may differ.
_STEP, _BEND = 1e-5, 1e-3
#: Part by which a network without its activations may differ from its start: rounding, in double precision.
_SAME = 1e-6


def lifted(net: Network, decomposition: Any, *, amplitude: float = 0.5) -> dict[str, Any]:
    """Arrays of a deep network that begin at a shallow optimum: its tensor is that of a decomposition, nearly.

    >>> x = np.random.default_rng(0).normal(size=(4,) * 4)
    >>> shallow = tk.tt_svd(x, rank=3)
    >>> net = tk.circuit((4,) * 4, [[(0, 1), (2, 3)]], "tanh", start=shallow)
    >>> arrays = tk.init.lifted(net, shallow, amplitude=0.01)
    >>> lost = np.linalg.norm(tk.contract(net, arrays) - tk.contract(shallow)) / np.linalg.norm(tk.contract(shallow))
    >>> bool(lost < 1e-3)
    True

    The start's nodes take the decomposition's arrays, gates (outs..., ins...) are identities, a node without indices is 1.  Then each
    region is scaled: the argument of every activation has root mean square ``amplitude``, the result that of the decomposition's
    tensor.  From random arrays a deep network seldom finds what the shallow one has in closed form.

    Parameters
    ----------
    net
        A network with the decomposition's arrays in it, and gates outside of an activation: a :func:`tnkit.circuit` whose start
        is the decomposition, for example.  Without its activations it is the decomposition's network.
    decomposition
        A Decomposition, or any pair (network, arrays).  Its own activations, by their nodes' names, stay as they are: a trained
        deep network is lifted to a deeper one in this way.
    amplitude
        Root mean square of the argument of every activation that the decomposition has not.  The tensor differs from the
        decomposition's by about its square for tanh and sine, by about itself for GELU.

    Returns
    -------
    dict
        Array name -> array, in the library, dtype and device of the decomposition's arrays; constants included.

    Raises
    ------
    TypeError
        No network, no pair, arrays that are none or of whole numbers, an amplitude that is no number.
    ValueError
        An array of the decomposition that no node has, or of another shape; a node that is neither of it nor a gate nor a scale; an
        activation that is not nearly linear at 0 (ReLU, unless the decomposition's tensor has no negative entries); no array
        outside of the outermost activation; sites in another order; arrays that are not finite.
    """
    net = a_network(net, "lifted")
    start, given = pair_of(decomposition, "lifted: decomposition")
    amplitude = real_number(amplitude, "lifted: amplitude")
    arrays = {name: _checked(name, a) for name, a in check_arrays(start, given).items()}
    if any(a.dtype.kind == "c" for a in arrays.values()):
        check_ordered(net, next(iter(arrays)), "complex")
    added = _added(net, start)
    _check_same(net, _placed(net, arrays), start, arrays, added)
    made = begun(net, start, given, amplitude)
    if added:
        _check_linear(net, {n: values(n, a, "lifted") for n, a in made.items()}, start, arrays, added)
    return made


def begun(net: Network, start: Network, given: Mapping[str, Any], amplitude: float) -> dict[str, Any]:
    """As :func:`lifted`, of a network that is known to be the start's without its activations; these may be any.

    ::

        begun(net, tt.network, tt.arrays, 0.5)
    """
    full, backend = check_arrays(start, given), backend_of(None, given)
    arrays = {name: _checked(name, a) for name, a in full.items()}
    added = _added(net, start)
    _check_outermost(net, added)
    made = _placed(net, arrays)
    if added:
        wide = {name: _wide(a) for name, a in made.items()}
        made = calibrated(net, wide, rms(start, arrays) or None, None, amplitude, _held(net, added))
    first = next(iter(full.values()))
    return {name: _as(backend, a, full.get(name, first), name) for name, a in made.items()}


def _checked(name: str, array: Any) -> np.ndarray:
    """The values of an array, which are to be scaled."""
    found = values(name, array, "lifted")
    if found.dtype.kind not in "fc":
        raise TypeError(
            f"lifted: array {name!r} has dtype {found.dtype}, which cannot be scaled; convert it to a floating dtype"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"lifted: array {name!r} has entries that are not finite")
    return found


def _added(net: Network, start: Network) -> dict[str, Elementwise]:
    """The activations that the start has not, outermost first; ValueError for one of several tensors."""
    own = {n.name for level in levels(start) for n in level.nodes if isinstance(n, Elementwise)}
    found = {
        n.name: n for level in levels(net) for n in level.nodes if isinstance(n, Elementwise) and n.name not in own
    }
    for node in found.values():
        if len(node.bodies) > 1:
            raise ValueError(
                f"lifted: node {node.name!r} is {function_name(node.fn)} of {len(node.bodies)} tensors; an activation that is "
                "lifted takes one"
            )
    return found


def _check_outermost(net: Network, added: Mapping[str, Elementwise]) -> None:
    """ValueError where the result cannot be scaled back: its arrays are all inside of an activation."""
    leaves = [leaf.array for leaf in net.leaves]
    inner = {leaf.array for n in net.nodes if isinstance(n, Elementwise) for body in n.bodies for leaf in body.leaves}
    if added and not any(n in leaves and n not in inner for n in net.parameters):
        name = next(iter(added))
        raise ValueError(
            f"lifted: no array of {net!r} scales the result: all are inside of activation {name!r}; add a node without indices, "
            "Node('scale', ()), or a column of gates"
        )


def _placed(net: Network, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The decomposition's arrays where they belong, identities for the gates, 1 for a scale."""
    shapes, made = net.array_shapes, Arrays()
    kind = np.result_type(*arrays.values())
    for name, a in arrays.items():
        if name not in shapes:
            raise ValueError(f"lifted: array {name!r} of the decomposition is on no node of {net!r}")
        if shapes[name] != a.shape:
            raise ValueError(
                f"lifted: array {name!r} of the decomposition has shape {shape_text(a.shape)}, the network wants "
                f"{shape_text(shapes[name])}"
            )
    for leaf in net.leaves:
        shape = shapes[leaf.array]
        half = len(shape) // 2
        if leaf.array in arrays:
            made[leaf.array] = arrays[leaf.array]
        elif leaf.fixed or len(shape) % 2 or shape[:half] != shape[half:]:
            what = "given or constant" if leaf.fixed else f"of shape {shape_text(shape)}"
            raise ValueError(
                f"lifted: node {leaf.name!r} is {what}: it has no array in the decomposition, and is neither a gate "
                "(outs..., ins...) nor a scale without indices"
            )
        else:
            made[leaf.array] = np.eye(prod(shape[:half]), dtype=kind).reshape(shape)
    return made


def _held(net: Network, added: Mapping[str, Elementwise]) -> frozenset[str]:
    """Arrays inside of the start's own activations, whose arguments keep their size."""
    own = [n for level in levels(net) for n in level.nodes if isinstance(n, Elementwise) and n.name not in added]
    return frozenset(leaf.array for n in own for body in n.bodies for leaf in body.leaves)


# -- what a network begins at --------------------------------------------------------------------------------------------
def shallow(net: Network) -> Network | None:
    """The network of one multilinear region that a deep one can begin at; None where there is none.

    >>> shallow(tk.circuit((4, 4, 4), [[(0,)]], "tanh", start=tk.tt((4, 4, 4), 2)))
    Network(3 nodes, 4x4x4, 32 params)

    That is what is inside of all activations, if gates and scales alone are outside of them; or a whole tree without its activations.
    """
    regions = levels(net)
    functions = [n for level in regions for n in level.nodes if isinstance(n, Elementwise)]
    inner = [leaf.array for n in functions for body in n.bodies for leaf in body.leaves]
    outer = [n for n in net.nodes if isinstance(n, Node) and not n.fixed and n.array not in inner]
    if not functions or not outer or any(len(n.bodies) > 1 for n in functions):
        return None
    if len(functions) == len(regions) - 1 and (found := _inside_of_gates(net, regions)) is not None:
        return found
    flat = Network(net.leaves, net.output, {i: n for level in regions for i, n in level.sizes.items()})
    return flat if tree_or_none(flat) is not None else None


def _inside_of_gates(net: Network, regions: list[Network]) -> Network | None:
    """The innermost of nested regions, its indices by the names that they have outside of the gates."""
    innermost, wires = regions[-1], dict[str, str]()
    for level in regions[:-1]:  # from the outside: a gate's outs are wires already
        for node in level.nodes:
            half = len(node.inds) // 2
            if isinstance(node, Elementwise) or not node.inds:
                continue
            outs, ins = node.inds[:half], node.inds[half:]
            shape = [level.sizes[i] for i in node.inds]
            if node.fixed or shape[:half] != shape[half:] or set(ins).intersection(level.output):
                return None
            wires |= {i: o for i, o in zip(ins, outs, strict=True)}

    def at_end(i: str) -> str:
        while i in wires:
            i = wires[i]
        return i

    ends = {i: at_end(i) for i in innermost.output}
    if set(ends.values()) != set(net.output) or len(set(ends.values())) < len(ends):
        return None
    named = innermost.relabel(lambda i: ends.get(i, f"in.{i}"))
    return Network(named.nodes, net.output, named.sizes)


# -- whether it is the decomposition ------------------------------------------------------------------------------------
def _check_same(net: Network, made: Arrays, start: Network, arrays: Arrays, added: Mapping[str, Elementwise]) -> None:
    """ValueError where the network without its activations is not the decomposition's: other wires, or another order of sites."""
    if net.shape != start.shape:
        raise ValueError(
            f"lifted: the decomposition's tensor is {shape_text(start.shape)}, the network's {shape_text(net.shape)}"
        )
    held = _held(net, added)
    plain = folded(net, lambda level, bodies: _without(level, bodies, added))
    off = _relative(plain, _of_size_one(made, held), start, _of_size_one(arrays, held))
    if off > _SAME:
        raise ValueError(
            f"lifted: without its activations, and with identities as its gates, {net!r} is not the decomposition: they differ by "
            f"{off:.2g} of its norm; its start's nodes are to be joined, and its sites ordered, as the decomposition's"
        )


def _without(level: Network, bodies: list[Network], added: Mapping[str, Elementwise]) -> Network:
    """A network with the identity in the place of the activations that were added."""
    inner, nodes = iter(bodies), list[AnyNode]()
    for n in level.nodes:
        if isinstance(n, Elementwise):
            fn = "identity" if n.name in added else n.fn
            nodes.append(Elementwise(n.name, fn, [next(inner) for _ in n.bodies]))
        else:
            nodes.append(n)
    return replace(level, nodes=tuple(nodes))


def _of_size_one(arrays: Arrays, held: frozenset[str]) -> Arrays:
    """Arrays in double precision and of root mean square 1, so that no product of them is past any float; held ones as they are."""
    wide = {name: _wide(a) for name, a in arrays.items()}
    return {name: a if name in held or not a.any() else a / np.exp(log_rms(a)) for name, a in wide.items()}


def _wide(array: np.ndarray) -> np.ndarray:
    """In double precision, or more."""
    return np.asarray(array, np.result_type(array, np.float64))


def _relative(net: Network, arrays: Arrays, other: Network, others: Arrays) -> float:
    """Norm of the difference of two tensors of one size, relative to the second: each over its root mean square."""
    x, y = (np.asarray(run(plan(n), {k: a[k] for k in n.array_shapes})) for n, a in ((net, arrays), (other, others)))
    if not x.any() and not y.any():
        return 0.0
    x, y = (z / np.exp(log_rms(z)) if z.any() else z for z in (x, y))
    return float(np.linalg.norm((x - y).ravel())) / max(float(np.linalg.norm(y.ravel())), 1e-300)


def _check_linear(net: Network, made: Arrays, start: Network, arrays: Arrays, added: Mapping[str, Elementwise]) -> None:
    """ValueError for an activation that is not nearly linear at 0, unless it is linear where the decomposition's entries are."""
    wrong = next((n for n in added.values() if not _nearly_linear(n.fn)), None)
    if wrong is None:
        return
    with np.errstate(all="ignore"):
        off = _relative(net, made, start, _of_size_one(arrays, _held(start, {})))
    if not off <= 1e-3:
        raise ValueError(
            f"lifted: activation {wrong.name!r} is {function_name(wrong.fn)}, which is not nearly linear at 0: the network's tensor differs "
            f"by {off:.2g} of its norm from the decomposition's; tanh and sin are (ReLU is, of a tensor without negative entries)"
        )


def bent(net: Network) -> bool:
    """Whether an activation of a network is not nearly linear at 0, as a ReLU is not."""
    each = {n.fn for level in levels(net) for n in level.nodes if isinstance(n, Elementwise)}
    return not all(_nearly_linear(fn) for fn in each)


def _nearly_linear(fn: Any) -> bool:
    """Whether a function is s * x near 0, with one slope s > 0 on both sides."""
    x = np.array([-_STEP, 0.0, _STEP])
    with np.errstate(all="ignore"):
        y = np.asarray(function(fn)(np, x)) if fn in ACTIVATIONS else _tried(fn, x)
    if y.shape != x.shape or not np.isfinite(y).all():
        return False
    slope = float(np.real(y[2])) / _STEP
    return slope > _BEND and bool(np.abs(y - slope * x).max() <= _BEND * slope * _STEP)


def _tried(fn: Any, x: np.ndarray) -> np.ndarray:
    """The values of a function of the user's, which may be one of another library: then it is measured, not tried."""
    try:
        return np.asarray(fn(np, x), dtype=np.complex128)
    except Exception:  # whatever a function of the user's raises
        return np.empty(0)


def _as(backend: Any, array: np.ndarray, like: Any, name: str) -> Any:
    """An array in the library, dtype and device of the decomposition's."""
    with np.errstate(over="ignore", under="ignore"):
        made = backend.like(np.ascontiguousarray(array).reshape(array.shape), like)
    seen = np.asarray(backend.numpy(made))
    if not np.isfinite(seen).all() or (array.any() and not seen.any()):
        size = float(np.abs(array).max())
        raise ValueError(f"lifted: array {name!r} would have entries up to {size:.3g}, which {like.dtype} cannot hold")
    return made

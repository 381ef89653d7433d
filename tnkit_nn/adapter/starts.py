"""Where the gradient fit starts: arrays, given, drawn at the target's size or in closed form, and units in which one learning rate suits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, log2
from typing import Any

import torch
from torch import Tensor

from tnkit import init
from tnkit.core.activations import BOUNDS
from tnkit.core.checks import shown
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.spelling import function_name
from tnkit.core.structure import only_function, tree_or_none
from tnkit.decompose.svd import tree_svd
from tnkit.execution.inputs import check_known, constant
from tnkit.execution.library import library, plain
from tnkit.execution.numpy import NUMPY
from tnkit.execution.powers import times, unit
from tnkit.execution.region_scale import Arrays, UnreachableError
from tnkit.execution.weights import tensorize
from tnkit_nn.adapter.norms import root_mean_square
from tnkit_nn.checks import an_array, materialised, warn_caller
from tnkit_nn.engine.backend import TORCH, from_numpy, to_tensor
from tnkit_nn.engine.devices import with_doubles

__all__ = [
    "ONE_WAY", "begun_in_closed_form", "check_reach", "closed_form", "drawn_of_size", "held_tensor", "in_units", "out_of_reach", "scalers", "stacked_starts", "units_of",
]  # fmt: skip

#: Entries of a weight beyond which there is one way alone: more gradient steps would take minutes, and gain a few per cent.
ONE_WAY = 1 << 22
#: A part of the target's norm that is beyond an activation and not worth a word.
_LITTLE = 1e-3


def held_tensor(what: str, x: Any) -> Tensor:
    """An array of numpy's, a list or a tensor as a tensor with values; TypeError or ValueError by the name ``what``."""
    if isinstance(x, Tensor):
        return materialised(x, what)
    if library(x) is not NUMPY:
        raise TypeError(f"{what} is a numpy array, a list or a tensor, not {shown(x)}")
    try:
        plain_x = plain("x", x, NUMPY)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    return from_numpy(an_array(plain_x, what))


def stacked_starts(
    net: Network, given: Mapping[str, Any], goal: Tensor, std: float | None, seed: int, restarts: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Trained arrays, stacked over the restarts, and the frozen ones; drawn ones for a tensor of root mean square ``std`` (None: 1)."""

    def tensor(a: Any) -> Tensor:
        return to_tensor((a if isinstance(a, Tensor) else from_numpy(a)).to(goal.device), goal.dtype)

    check_known(net, given)
    given = {n: held_tensor(f"fit: array {n!r}", a) for n, a in given.items()}
    frozen = {}
    for leaf in net.leaves:
        if leaf.fixed and leaf.array not in given and leaf.fixed is True:
            raise ValueError(f"node {leaf.name!r} is data: give its array {leaf.array!r} in arrays")
        if leaf.fixed:
            shape = net.array_shapes[leaf.array]
            frozen[leaf.array] = tensor(given.get(leaf.array, constant(str(leaf.fixed), shape)) if leaf.fixed is not True else given[leaf.array])  # fmt: skip
    started = [name for name in net.parameters if name in given]
    if not net.parameters or 0 < len(started) < len(net.parameters):
        raise ValueError(f"give all trained arrays {net.parameters} or none, not {started}")
    known = {name: a.numpy(force=True) for name, a in frozen.items()}
    kind = "complex128" if goal.is_complex() else "float64"
    draws: list[Mapping[str, Any]] = [given] if started else []
    for k in range(len(draws), restarts):
        draws.append(drawn_of_size(net, std, seed=seed + k, dtype=kind, arrays=known))
    for name, shape in net.array_shapes.items():
        have = tuple(given[name].shape) if name in given else shape
        if have != shape:
            raise ValueError(f"array {name!r} has shape {have}, the network wants {shape}")
    return {name: torch.stack([tensor(d[name]) for d in draws]) for name in net.parameters}, frozen


def closed_form(net: Network, target: Tensor) -> dict[str, Tensor]:
    """Arrays of a tree by its closed form (:func:`tnkit.tree_svd`), of the builder's own bonds: what the target cannot use is zero."""
    found = tree_svd(tensorize(target, net.shape), net, backend=TORCH).arrays
    return {n: _filled_up(a, net.array_shapes[n]) for n, a in found.items()}


def begun_in_closed_form(net: Network, target: Tensor) -> dict[str, Tensor] | None:
    """Where a fit of a tree begins best: its closed form, each array of the size of a drawn one, so that one rate suits them all.

    The factor is the fit's.  None for a network that is no tree, and for a target that a fit refuses (zero, or not finite).
    """
    if tree_or_none(net) is None or not (bool(torch.isfinite(target).all()) and bool(target.any())):
        return None
    goal, _ = unit(with_doubles(target.detach()).to(torch.promote_types(target.dtype, torch.float32)), TORCH)
    found, drawn = closed_form(net, goal), init.normal(net, std=1.0, seed=0)
    return {n: a * (root_mean_square(from_numpy(drawn[n])) / root_mean_square(a)) for n, a in found.items()}


def _filled_up(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    out = a.new_zeros(shape)
    out[tuple(slice(n) for n in a.shape)] = a
    return out


def scalers(net: Network) -> list[str]:
    """Trained arrays that scale the whole tensor: each on one node, outermost, and nowhere else."""
    leaves = [leaf.array for leaf in net.leaves]
    return [n.array for n in net.nodes if isinstance(n, Node) and not n.fixed and leaves.count(n.array) == 1]


def check_reach(net: Network, goal: Tensor, power: float) -> None:
    """UserWarning, by the node's name, where an outermost activation does not reach entries of the target, two to a power times ``goal``."""
    node = only_function(net)
    if node is None or node.fn not in BOUNDS or goal.is_complex():
        return
    low, high = BOUNDS[str(node.fn)]
    exact = goal.double()
    off = exact - exact.clamp(low * 2.0**-power, high * 2.0**-power)
    least = float(off.norm() / exact.norm())
    if least > _LITTLE:
        values = f"from {low:.3g} to {high:.3g}" if isfinite(high) else f"{low:.3g} or more"
        warn_caller(
            f"fit: the outermost node {node.name!r} is {node.fn}, whose values are {values}; {int(off.count_nonzero())} of the target's "
            f"{goal.numel()} entries are beyond, so the error is at least {least:.3g}"
        )


def out_of_reach(net: Network) -> str:
    """What to add to a message about a fit that failed, where a function may keep the start from the target's size."""
    node = only_function(net)
    if node is None:
        return ""
    return f"; no array scales the result: the outermost node {node.name!r} is {function_name(node.fn)}"


def drawn_of_size(net: Network, std: float | None, draw: Callable[..., Arrays] = init.normal, **options: Any) -> Arrays:
    """Arrays of a tensor of this root mean square; where the outermost function does not reach it, from any start."""
    if std is None and scalers(net):
        return draw(net, std=1.0, **options)
    try:
        return draw(net, std=std, **options)
    except UnreachableError:
        found, node = draw(net, **options), only_function(net)
    if std and node is not None and node.fn == "add":  # to what is frozen: a term as large as the target
        for body in node.bodies:
            names = [name for name in scalers(body) if [leaf.array for leaf in net.leaves].count(name) == 1]
            found |= {name: found[name] * std ** (1 / len(names)) for name in names}
    return found


def units_of(net: Network, starts: Mapping[str, Tensor], seed: int) -> dict[str, float]:
    """Array name -> power of two by which the first start is larger than one of a network whose values are of size 1.

    Adam's steps have a fixed size: they are taken in these units, which change no digit.
    """
    usual, units = init.normal(net, seed=seed), {}
    for name, stack in starts.items():
        have, want = (float(torch.as_tensor(x).abs().double().square().mean().sqrt()) for x in (stack[0], usual[name]))
        units[name] = float(round(log2(have / want))) if have > 0 and want > 0 else 0.0
    return units


def in_units(arrays: Mapping[str, Tensor], units: Mapping[str, float]) -> dict[str, Tensor]:
    """Arrays times their powers of two."""
    return {name: times(x, units[name], TORCH) if name in units else x for name, x in arrays.items()}

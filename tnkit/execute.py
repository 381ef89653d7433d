"""One loop that runs a plan with any array library.

The library is an argument (:class:`Ops`), never a global or a guess: ``NUMPY`` here, ``tnkit_nn.TORCH`` for torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from tnkit.activations import ACTIVATIONS
from tnkit.lower import Contract, Group, Program, Reduce, Step, View
from tnkit.network import Network
from tnkit.ordering import Optimizer
from tnkit.plan import Plan, plan

__all__ = ["NUMPY", "Ops", "check_arrays", "constant", "contract", "execute", "fronted", "part", "run"]


@dataclass(frozen=True)
class Ops:
    """What an array library must give to run a plan.

    Attributes
    ----------
    name
        For messages.
    xp
        Namespace with ``matmul``, ``diagonal``, ``sum`` and what the activations use.
    permute
        ``permute(x, axes)``.
    swap
        ``swap(x)``: exchange the last two axes.
    like
        ``like(a, x)``: the numpy array ``a`` in the library, dtype and device of ``x``.
    spread
        ``spread(a, b)``: a matrix ``(n, k)`` times each of a batch ``(f, k, g)``.
    group
        ``group(step, operands)``: run a :class:`~tnkit.lower.Group`.
    own
        The library's own version of an activation, by name, where it is faster.
    mixes
        Whether the library multiplies arrays of different dtypes.
    array
        Type of the library's arrays, so that another library's are refused; any by default.
    """

    name: str
    xp: Any
    permute: Callable[[Any, tuple[int, ...]], Any]
    swap: Callable[[Any], Any]
    like: Callable[[np.ndarray, Any], Any]
    spread: Callable[[Any, Any], Any]
    group: Callable[[Group, list[Any]], Any]
    own: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    mixes: bool = False
    array: type | tuple[type, ...] = object


def fronted(x: Any, axes: tuple[int | None, ...], permute: Callable[[Any, tuple[int, ...]], Any]) -> Any:
    """``x`` with these axes first, as a view."""
    first = tuple(k for k in axes if k is not None)
    return permute(x, (*first, *(k for k in range(len(x.shape)) if k not in first))) if first else x


def part(at: tuple[int, ...], axes: tuple[int | None, ...]) -> tuple[int, ...]:
    """Where a slice lies in an operand: its places along the sliced indices that the operand has."""
    return tuple(v for v, axis in zip(at, axes, strict=True) if axis is not None)


def execute(program: Program, arrays: Sequence[Any], ops: Ops) -> Any:
    """Run a program on its arguments."""
    slots = list(arrays)
    for step, dead in zip(program.steps, program.last_use, strict=True):
        slots.append(_step(step, slots, ops))
        for s in dead:
            slots[s] = None
    return slots[program.output]


def _numpy_group(step: Group, operands: list[Any]) -> np.ndarray:
    views = [fronted(x, axes, np.transpose) for x, axes in zip(operands, step.axes, strict=True)]
    out, result = None, None
    for at in product(*map(range, step.counts)):
        made = execute(step.body, [x[part(at, axes)] for x, axes in zip(views, step.axes, strict=True)], NUMPY)
        if out is None:
            result = np.empty(step.shape, made.dtype)
            out = fronted(result, step.out_axes, np.transpose)
        out[at] = made
    assert result is not None
    return result


NUMPY = Ops(
    name="numpy",
    xp=np,
    permute=np.transpose,
    swap=lambda x: x.swapaxes(-1, -2),
    like=lambda a, x: a.astype(np.asarray(x).dtype),
    spread=np.matmul,
    group=_numpy_group,
    mixes=True,
    array=(np.ndarray, np.generic),
)


def constant(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a node with ``fixed=kind`` (see :data:`tnkit.node.CONSTANTS`), float64."""
    if kind == "ones":
        return np.ones(shape)
    out = np.zeros(shape)
    if kind == "e0":
        out[(0,) * len(shape)] = 1.0
    elif kind == "delta":
        for k in range(min(shape, default=1)):
            out[(k,) * len(shape)] = 1.0
    else:
        raise ValueError(f"unknown constant {kind!r}")
    return out


def _view(x: Any, view: View, ops: Ops) -> Any:
    if view.permute is not None:
        x = ops.permute(x, view.permute)
    if view.reshape is not None:
        x = x.reshape(view.reshape)
    return ops.swap(x) if view.swap else x


def _step(step: Step, slots: list[Any], ops: Ops) -> Any:
    """The result of one step; a function of its own so that its copies die with it."""
    xp = ops.xp
    if isinstance(step, Contract):
        a = _view(slots[step.operands[0]], step.views[0], ops)
        b = _view(slots[step.operands[1]], step.views[1], ops)
        x = a * b if step.multiply else ops.spread(a, b) if step.spread else xp.matmul(a, b)
        if step.result.reshape is not None:
            x = x.reshape(step.result.reshape)
        return x if step.result.permute is None else ops.permute(x, step.result.permute)
    if isinstance(step, Reduce):
        x = slots[step.operand]
        for i, j in step.diagonals:
            x = xp.diagonal(x, 0, i, j)
        if step.axes:
            x = xp.sum(x, step.axes, dtype=x.dtype)
        return x if step.permute is None else ops.permute(x, step.permute)
    if isinstance(step, Group):
        return ops.group(step, [slots[s] for s in step.operands])
    if step.fn in ops.own:
        return ops.own[step.fn](*[slots[s] for s in step.operands])  # type: ignore[index]
    fn = ACTIVATIONS[step.fn] if isinstance(step.fn, str) else step.fn
    return fn(xp, *[slots[s] for s in step.operands])


def run(plan: Plan, arrays: Mapping[str, Any], ops: Ops = NUMPY) -> Any:
    """Execute a plan.

    Parameters
    ----------
    plan
        From :func:`tnkit.plan`.
    arrays
        Array name -> array of ``ops``'s library; shapes are taken on trust (:func:`contract` checks them).
    ops
        The library.

    Returns
    -------
    array
        Of shape ``plan.network.shape``, with the dtype and device of the arrays; as with ``numpy.einsum`` it may be a view
        of one of them.
    """
    return execute(Program(plan.steps, plan.output, plan.last_use), [arrays[name] for name in plan.inputs], ops)


def check_arrays(
    net: Network, arrays: Mapping[str, Any], ops: Ops = NUMPY, dynamic: str | None = None
) -> dict[str, Any]:
    """The arrays that ``net`` needs, constants filled in.

    Raises
    ------
    KeyError
        An array is missing.
    TypeError
        An array of another library, or none at all.
    ValueError
        A shape that disagrees with the network (node, index and sizes are named), an array that no node uses, or mixed
        dtypes where the library does not mix them.
    """
    full: dict[str, Any] = {}
    missing = []
    batch: dict[str, tuple[int, str]] = {}
    for node, owner in net._walk():
        if node.array in full:
            continue
        shape = tuple(owner.sizes[i] for i in node.inds)
        if node.array not in arrays:
            if isinstance(node.fixed, str):
                missing.append((node, shape))
                continue
            raise KeyError(f"no array {node.array!r} for node {node.name!r} of shape {shape}")
        array = arrays[node.array]
        if not isinstance(array, ops.array) or not hasattr(array, "shape"):
            kind = f"{type(array).__module__}.{type(array).__name__}".removeprefix("builtins.")
            raise TypeError(
                f"array {node.array!r} is a {kind}, which is no array of {ops.name}; convert it, or pass its ops="
            )
        got = tuple(array.shape)
        if len(got) != len(shape):
            raise ValueError(f"node {node.name!r} has indices {node.inds}, but its array has {len(got)} axes {got}")
        for i, have, want in zip(node.inds, got, shape, strict=True):
            if i == dynamic:
                want = batch.setdefault(i, (have, node.name))[0]
                if have != want:
                    raise ValueError(
                        f"dynamic index {i!r} has size {want} on node {batch[i][1]!r} and {have} on {node.name!r}"
                    )
            elif have != want:
                raise ValueError(
                    f"node {node.name!r}: index {i!r} has size {want}, but its array has {have} there (shape {got})"
                )
        full[node.array] = array
    extra = [name for name in arrays if name not in net.array_shapes]
    if extra:
        raise ValueError(f"array {extra[0]!r} belongs to no node; the network has {', '.join(net.array_shapes)}")
    dtypes = {str(a.dtype): name for name, a in full.items()}
    if len(dtypes) > 1 and not ops.mixes:
        raise ValueError(
            f"{ops.name} does not mix dtypes: " + ", ".join(f"array {n!r} is {d}" for d, n in dtypes.items())
        )
    for node, shape in missing:
        value = constant(str(node.fixed), shape)
        full[node.array] = ops.like(value, next(iter(full.values()))) if full else ops.xp.asarray(value)
    return full


def contract(net: Network, arrays: Mapping[str, Any], *, optimizer: str | Optimizer = "auto", ops: Ops = NUMPY) -> Any:
    """Contract a network: check the arrays, plan (cached), run.

    Parameters
    ----------
    net
        Any network.
    arrays
        Array name -> array; constants may be left out.
    optimizer
        As for :func:`tnkit.plan`.
    ops
        The array library, ``NUMPY`` or ``tnkit_nn.TORCH``.

    Returns
    -------
    array
        Of shape ``net.shape``.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`check_arrays`.
    """
    return run(plan(net, optimizer), check_arrays(net, arrays, ops), ops)

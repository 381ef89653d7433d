"""Running a plan on arrays of any library, and checking them before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np

from tnkit.core.decomposition import paired
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.structure import check_ordered
from tnkit.execution.arrays import dtype_name, is_complex
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.distributed import shared_out
from tnkit.execution.library import backend_among, backend_of
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan, plan

__all__ = ["check_arrays", "check_known", "constant", "contract", "run"]


def constant(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a node with ``fixed=kind`` (see :data:`tnkit.core.network.CONSTANTS`), float64."""
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


def run(
    plan: Plan, arrays: Mapping[str, Any], backend: Backend | None = None, *, executor: Executor | None = None
) -> Any:
    """Execute a plan.

    Parameters
    ----------
    plan
        From :func:`tnkit.plan`.
    arrays
        Array name -> array; shapes are taken on trust (:func:`contract` checks them).
    backend
        The array library; by default that of the arrays.
    executor
        Where the slices of a plan made with ``memory_limit`` or ``slices`` run: any ``concurrent.futures.Executor``, dask's and
        mpi4py's included.  If a worker is lost, what it had is contracted here.

    Returns
    -------
    array
        Of shape ``plan.network.shape``, with the dtype and device of the arrays; as with ``numpy.einsum`` it may be a view
        of one of them.

    Raises
    ------
    TypeError
        Without ``backend``: arrays of two libraries, or what is no array.
    ValueError
        With an executor: a plan without slices, or tensors that require a gradient, which does not come back from workers.
    """
    given = [arrays[name] for name in plan.inputs]
    if backend is None:
        backend = backend_among(plan.inputs, given)
    if executor is None:
        return execute(plan.program, given, backend)
    if plan.sliced is None:
        raise ValueError(
            "an executor runs slices, and this plan has none: make it with plan(..., slices=n) or memory_limit="
        )
    for name, array in zip(plan.inputs, given, strict=True):
        if getattr(array, "requires_grad", False):
            raise ValueError(f"array {name!r} requires a gradient, which does not come back from workers: detach it")
    return shared_out(plan.sliced, [given[s] for s in plan.sliced.operands], backend, executor)


def check_known(net: Network, arrays: Iterable[str]) -> None:
    """ValueError for the name of an array that is no node's."""
    for name in arrays:
        if name not in net.array_shapes:
            raise ValueError(f"array {name!r} belongs to no node; the network has {', '.join(net.array_shapes)}")


@paired
def check_arrays(
    net: Network, arrays: Mapping[str, Any], backend: Backend | None = None, dynamic: str | None = None
) -> dict[str, Any]:
    """The arrays that ``net`` needs, constants filled in.

    Parameters
    ----------
    net
        Any network.
    arrays
        Array name -> array; constants may be left out.
    backend
        The array library; by default that of the arrays.
    dynamic
        An index whose size is the arrays' own.

    Raises
    ------
    KeyError
        An array is missing.
    TypeError
        Arrays of two libraries, or what is no array: the array is named.
    ValueError
        A shape that disagrees with the network (node, index and sizes are named), an array that no node uses, or mixed
        dtypes where the library does not mix them.
    """
    return _checked_arrays(net, arrays, backend_of(backend, arrays), dynamic)


def _checked_arrays(
    net: Network, arrays: Mapping[str, Any], backend: Backend, dynamic: str | None = None
) -> dict[str, Any]:
    full: dict[str, Any] = {}
    missing = []
    batch: dict[str, tuple[int, str]] = {}
    for node, owner in net._walk():
        if node.array in full:
            continue
        shape = tuple(owner.sizes[i] for i in node.inds)
        if node.array in arrays:
            full[node.array] = array = arrays[node.array]
            if array.shape != shape:
                _check_array_shape(node, shape, array, dynamic, batch)
        elif isinstance(node.fixed, str):
            missing.append((node, shape))
        else:
            raise KeyError(f"no array {node.array!r} for node {node.name!r} of shape {shape}")
    check_known(net, arrays)
    if not backend.mixes and len(dtypes := {a.dtype: name for name, a in full.items()}) > 1:
        raise ValueError(
            f"{backend} does not mix dtypes: " + ", ".join(f"array {n!r} is {d}" for d, n in dtypes.items())
        )
    if not net.multilinear:
        for name, array in full.items():
            if is_complex(array):
                check_ordered(net, name, dtype_name(array))
    for node, shape in missing:
        value = constant(str(node.fixed), shape)
        full[node.array] = backend.like(value, next(iter(full.values()))) if full else backend.xp.asarray(value)
    return full


def _check_array_shape(
    node: Node, shape: tuple[int, ...], array: Any, dynamic: str | None, batch: dict[str, tuple[int, str]]
) -> None:
    """ValueError where an array's shape is not the node's; ``batch`` holds the size that the dynamic index has so far."""
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


@paired
def contract(
    net: Network, arrays: Mapping[str, Any], *, optimizer: str | Optimizer = "auto", backend: Backend | None = None
) -> Any:
    """ContractStep a network: check the arrays, plan (cached), run.

    Parameters
    ----------
    net
        Any network.
    arrays
        Array name -> array; constants may be left out.
    optimizer
        As for :func:`tnkit.plan`.
    backend
        The array library; by default that of the arrays.

    Returns
    -------
    array
        Of shape ``net.shape``.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`check_arrays`.
    """
    backend = backend_of(backend, arrays)
    return run(plan(net, optimizer), _checked_arrays(net, arrays, backend), backend)

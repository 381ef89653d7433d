"""Running a plan on arrays: numpy here, any library by its :class:`~tnkit.execution.backend.Backend` (``tnkit_nn.TORCH`` for torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np

from tnkit.core.network import Network
from tnkit.execution.backend import Backend, by_slices
from tnkit.execution.codegen import execute
from tnkit.execution.distributed import shared_out
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan, plan
from tnkit.planning.steps import FusedStep

__all__ = ["NUMPY", "Backend", "check_arrays", "check_known", "constant", "contract", "run"]


def _numpy_group(step: FusedStep, operands: list[Any]) -> np.ndarray:
    if not step.counts:
        done: np.ndarray = execute(step.body, operands, NUMPY)
        return done
    made: np.ndarray = by_slices(
        step, operands, lambda pieces: execute(step.body, pieces, NUMPY), np.transpose,
        lambda first: (np.zeros if step.summed else np.empty)(step.shape, first.dtype),
    )  # fmt: skip
    return made


NUMPY = Backend(
    name="numpy",
    xp=np,
    permute=np.transpose,
    swap=lambda x: x.swapaxes(-1, -2),
    like=lambda a, x: a.astype(np.asarray(x).dtype),
    zeros=lambda shape, x: np.zeros(shape, x.dtype),
    spread=np.matmul,
    group=_numpy_group,
    left=lambda m: np.linalg.svd(m, full_matrices=False)[:2],
    cast=lambda x, dtype: x.astype(dtype),
    numpy=np.asarray,
    tracked=lambda x: False,
    mixes=True,
    array=(np.ndarray, np.generic),
    methods={"permute": "{x}.transpose({axes})", "swap": "{x}.swapaxes(-1, -2)"},
    home="tnkit.execution.run:NUMPY",
)


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


def run(plan: Plan, arrays: Mapping[str, Any], backend: Backend = NUMPY, *, executor: Executor | None = None) -> Any:
    """Execute a plan.

    Parameters
    ----------
    plan
        From :func:`tnkit.plan`.
    arrays
        Array name -> array of ``backend``'s library; shapes are taken on trust (:func:`contract` checks them).
    backend
        The library.
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
    ValueError
        With an executor: a plan without slices, or tensors that require a gradient, which does not come back from workers.
    """
    given = [arrays[name] for name in plan.inputs]
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


def check_arrays(
    net: Network, arrays: Mapping[str, Any], backend: Backend = NUMPY, dynamic: str | None = None
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
        if not isinstance(array, backend.array) or not hasattr(array, "shape"):
            kind = f"{type(array).__module__}.{type(array).__name__}".removeprefix("builtins.")
            raise TypeError(
                f"array {node.array!r} is a {kind}, which is no array of {backend.name}; convert it, or pass its backend="
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
    check_known(net, arrays)
    dtypes = {str(a.dtype): name for name, a in full.items()}
    if len(dtypes) > 1 and not backend.mixes:
        raise ValueError(
            f"{backend.name} does not mix dtypes: " + ", ".join(f"array {n!r} is {d}" for d, n in dtypes.items())
        )
    for node, shape in missing:
        value = constant(str(node.fixed), shape)
        full[node.array] = backend.like(value, next(iter(full.values()))) if full else backend.xp.asarray(value)
    return full


def contract(
    net: Network, arrays: Mapping[str, Any], *, optimizer: str | Optimizer = "auto", backend: Backend = NUMPY
) -> Any:
    """Contract a network: check the arrays, plan (cached), run.

    Parameters
    ----------
    net
        Any network.
    arrays
        Array name -> array; constants may be left out.
    optimizer
        As for :func:`tnkit.plan`.
    backend
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
    return run(plan(net, optimizer), check_arrays(net, arrays, backend), backend)

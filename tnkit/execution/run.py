"""Running a plan on arrays of any library, and contracting a network in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from tnkit.core.checks import a_mapping, a_network, flag, shown
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.pairing import paired
from tnkit.execution.arrays import is_complex
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.distributed import shared_out
from tnkit.execution.inputs import checked
from tnkit.execution.library import alike, backend_among, backend_of
from tnkit.execution.machine import check_room, itemsize
from tnkit.execution.numpy import NUMPY
from tnkit.execution.scaled import in_range, scientific
from tnkit.paths.given import Order
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan, plan_by_name

__all__ = ["contract", "run"]


def run(
    plan: Plan,
    arrays: Mapping[str, Any],
    backend: Backend | None = None,
    *,
    executor: Executor | None = None,
    strip_exponent: bool = False,
) -> Any:
    """Execute a plan.

    >>> net = tk.tt((4, 4, 4), 2)
    >>> arrays = tk.init.normal(net)
    >>> x = tk.run(tk.plan(net), arrays)
    >>> x.shape
    (4, 4, 4)
    >>> value, exponent = tk.run(tk.plan(net), arrays, strip_exponent=True)
    >>> np.allclose(value * 10**exponent, x)
    True

    Parameters
    ----------
    plan
        From :func:`tnkit.plan`.
    arrays
        Array name -> array, constants included (:func:`tnkit.check_arrays` fills them in).
    backend
        The array library; by default that of the arrays.
    executor
        Where the slices of a plan made with ``memory_limit`` or ``slices`` run: any ``concurrent.futures.Executor``, dask's and
        mpi4py's included.  If a worker is lost, what it had is contracted here.
    strip_exponent
        Whether to give the result as a pair, as :func:`contract` does.  Without it a plan runs as it is: what over- or
        underflows on the way is lost, as in ``numpy.einsum`` (:func:`contract` looks after that).

    Returns
    -------
    array
        Of shape ``plan.network.shape``, with the dtype and device of the arrays; as with ``numpy.einsum`` it may be a view
        of one of them, and without axes it is a scalar of numpy.  With ``strip_exponent``: a pair.

    Raises
    ------
    TypeError
        No plan; without ``backend``: arrays of two libraries, or what is no array.
    KeyError, ValueError
        An array missing or of a wrong shape; with an executor: a plan without slices, or tensors that require a gradient, which
        does not come back from workers.
    MemoryError
        Tensors that cannot fit in memory.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"run: a Plan is needed, as tk.plan(net) makes it, not {shown(plan)}")
    given, backend = _given(plan, arrays, backend)
    if executor is not None:
        _check_executor(plan, given, executor)
    if strip_exponent is not False and flag(strip_exponent, "run: strip_exponent"):
        return scientific(plan, given, backend, executor)
    if executor is not None:
        assert plan.sliced is not None
        return _scalar(
            plan, shared_out(plan.sliced, [given[s] for s in plan.sliced.operands], backend, executor), backend
        )
    try:
        made = execute(plan.program, given, backend)
    except Exception:
        checked(
            plan.network, dict(zip(plan.inputs, given, strict=True)), backend, plan.dynamic
        )  # names the array at fault
        raise
    return _scalar(plan, made, backend)


def _given(plan: Plan, arrays: Mapping[str, Any], backend: Backend | None) -> tuple[list[Any], Backend]:
    """The arguments of a plan, and their library."""
    if type(arrays) is not dict:
        a_mapping(arrays, "run")
    try:
        given = [arrays[name] for name in plan.inputs]
    except KeyError:
        missing = next(name for name in plan.inputs if name not in arrays)
        raise KeyError(
            f"run: no array {missing!r} of shape {plan.network.array_shapes[missing]}; tk.check_arrays fills constants in"
        ) from None
    if backend is None:
        backend = backend_among(plan.inputs, given)
    elif not isinstance(backend, Backend):
        backend_of(backend)
    if plan.dynamic is not None:
        return given, backend
    for x, shape in zip(given, plan.shapes, strict=True):
        if getattr(x, "shape", None) != shape or (
            backend is NUMPY and (type(x) is not np.ndarray or x.dtype.kind not in "fciub")
        ):  # raises, or reads lists, numbers and subclasses
            full = checked(plan.network, {n: arrays[n] for n in plan.inputs}, backend)
            given = [full[name] for name in plan.inputs]
            break
    check_room(plan, given, "run")
    return given, backend


def _check_executor(plan: Plan, given: Sequence[Any], executor: Executor) -> None:
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(f"run: executor is a concurrent.futures.Executor, not {shown(executor)}")
    if plan.sliced is None:
        raise ValueError(
            "an executor runs slices, and this plan has none: make it with plan(..., slices=n) or memory_limit="
        )
    for name, array in zip(plan.inputs, given, strict=True):
        if getattr(array, "requires_grad", False):
            raise ValueError(f"array {name!r} requires a gradient, which does not come back from workers: detach it")


def _scalar(plan: Plan, made: Any, backend: Backend) -> Any:
    """A result without axes as numpy's scalar, whichever step made it."""
    return made[()] if backend is NUMPY and not plan.network.output else made


@keywords_of(optimize="optimizer")
@paired
def contract(
    net: Network,
    arrays: Mapping[str, Any],
    *,
    optimizer: Order = "auto",
    backend: Backend | None = None,
    memory_limit: float | None = None,
    strip_exponent: bool = False,
) -> Any:
    """Contract a network: check the arrays, plan (cached), run.

    >>> net = tk.from_einsum("ij,jk->ik", dict(i=2, j=3, k=2))
    >>> a, b = np.ones((2, 3)), np.ones((3, 2))
    >>> tk.contract(net, {"A": a, "B": b})
    array([[3., 3.],
           [3., 3.]])
    >>> deep = tk.Network([tk.Node(f"s{k}", "") for k in range(400)], "", {})  # a product of 400 numbers
    >>> value, exponent = tk.contract(deep, {f"s{k}": 10.0 for k in range(400)}, strip_exponent=True)
    >>> round(float(np.log10(value) + exponent), 6)  # 10^400 is no float64: it is value * 10**exponent
    400.0

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
    memory_limit
        Bytes that the contraction may take, as for :func:`tnkit.plan`: what takes more is run slice by slice.
    strip_exponent
        Whether to give the result as a pair, so that it may be of any size.

    Returns
    -------
    array
        Of shape ``net.shape``; without axes a scalar of the library.  The dtype is the arrays': whole numbers stay such, bools of
        numpy are contracted by "and" and "or", and those of torch, which multiplies none, are refused.  Tensors on the way may be larger or smaller than the
        dtype holds: they are divided by powers of two.  With ``strip_exponent`` a pair: an array whose largest entry is from 1
        to 10 (0, NaN and inf stay), and the decimal exponent, a whole number as a float (with torch a float64 scalar).
        Both can be differentiated: the exponent is a constant.

    Raises
    ------
    KeyError, TypeError, ValueError
        From :func:`check_arrays`, :func:`tnkit.plan`.
    MemoryError
        Tensors that cannot fit in memory: the peak and the ways out are named.

    Warns
    -----
    RuntimeWarning
        A result out of the range of its dtype, which becomes inf or 0.
    """
    if memory_limit is None and backend is None and strip_exponent is False:
        ready = _as_they_are(net, arrays)
        if ready is not None:
            given, backend = ready
            found = plan_by_name(net, optimizer) if isinstance(optimizer, str) else plan(net, optimizer)
            check_room(found, given, "contract")
            return _scalar(found, in_range(found, given, backend, "contract"), backend)
    a_network(net, "contract")
    backend = backend_of(backend, a_mapping(arrays, "contract"))
    full = checked(net, arrays, backend)
    if memory_limit is None:
        found = plan(net, optimizer)
    else:
        found = plan(net, optimizer, itemsize=max(map(itemsize, full.values())), memory_limit=memory_limit)
    given = [full[name] for name in found.inputs]
    check_room(found, given, "contract")
    if flag(strip_exponent, "contract: strip_exponent"):
        return scientific(found, given, backend)
    return _scalar(found, in_range(found, given, backend, "contract"), backend)


def _as_they_are(net: Network, arrays: Mapping[str, Any]) -> tuple[list[Any], Backend] | None:
    """The arguments of the network's plans, and their library; None where something has to be read, filled in or refused."""
    if type(net) is not Network or type(arrays) is not dict:
        return None
    shapes = net.array_shapes
    if len(arrays) != len(shapes):
        return None
    given: list[Any] = [arrays.get(name) for name in shapes]
    backend = alike(given)
    if backend is None or (is_complex(given[0]) and not net.multilinear):
        return None
    for x, shape in zip(given, shapes.values(), strict=True):
        if x.shape != shape:
            return None
    if backend is not NUMPY:
        where = backend.device(given[0])
        if any([backend.device(x) != where for x in given]):
            return None
    return given, backend

"""Making a plan: an order for every multilinear region, inner regions first, lowered, sliced where that is asked for.

Plans are values: equal questions give the same plan, from a cache.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from tnkit.core.checks import a_network, shown, text
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.numbers import as_float, whole_number
from tnkit.paths.foreign import has_memory
from tnkit.paths.given import GivenOrder, Order, read_order
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.axes import check_arrays_exist, check_steps_exist
from tnkit.planning.builder import StepBuilder
from tnkit.planning.calibration import DEFAULT, Rates, rates, spelled_count
from tnkit.planning.checkpointing import checkpointed
from tnkit.planning.fusion import fused
from tnkit.planning.plan import Plan
from tnkit.planning.sliced_plans import MOST_SLICES, sliced_as_asked, sliced_to_fit
from tnkit.planning.steps import last_use

__all__ = ["plan", "plan_by_name"]


def _plan(
    net: Network, optimizer: str | Optimizer | GivenOrder, itemsize: int, dynamic: str | None, memory_limit: float | None = None,
    slices: int = 1, checkpoint: bool | float = False, speed: Rates = DEFAULT,
) -> Plan:  # fmt: skip
    _check_dynamic(net, dynamic, memory_limit is not None or slices > 1 or checkpoint is not False)
    check_arrays_exist(net)
    given = optimizer if isinstance(optimizer, GivenOrder) else None
    search = "auto" if isinstance(optimizer, GivenOrder) else optimizer
    paths = None if given is None else map(list, given.paths)
    builder = StepBuilder(net, search, itemsize, dynamic, speed, paths)
    output = builder.contract(net, net.output)
    steps = builder.steps
    if dynamic is None:
        steps, output = fused(steps, builder.made, len(builder.inputs), output, checkpoint is False)
    made = Plan(
        net, builder.inputs, tuple(steps), output, tuple(builder.paths), itemsize, dynamic, last_use(steps, output), speed
    )  # fmt: skip
    asked = tuple(dict.fromkeys(builder.asked)) if given is None else given.sliced
    if asked:
        made = sliced_as_asked(made, builder, asked, memory_limit, slices)
    elif slices > 1 or (memory_limit is not None and made.peak > memory_limit):
        again = given is None and not has_memory(search)
        made = sliced_to_fit(made, builder, memory_limit, slices, again)
    else:
        check_steps_exist(builder)
    return made if checkpoint is False else _with_checkpoints(made, None if checkpoint is True else checkpoint)


def _check_dynamic(net: Network, dynamic: str | None, bounded: bool) -> None:
    if dynamic is None:
        return
    if dynamic not in net.output:
        raise ValueError(f"dynamic index {shown(dynamic)} is not in the output {net.output}")
    for leaf in net.leaves:
        if isinstance(leaf.fixed, str) and dynamic in leaf.inds:
            raise ValueError(f"dynamic index {dynamic!r} is on node {leaf.name!r}, a constant of fixed shape")
    if bounded:
        raise ValueError(
            f"dynamic index {dynamic!r}: what has no size cannot be bounded; plan one batch size, or no limit"
        )


def _with_checkpoints(whole: Plan, limit: float | None) -> Plan:
    inputs = whole._memory.layout[: len(whole.inputs)]
    entries = None if limit is None else limit / as_float(whole.itemsize)
    steps, output, peak = checkpointed(whole.steps, inputs, whole.output, entries)
    if entries is not None and peak > entries:
        raise ValueError(
            f"checkpoint: forward and backward take {spelled_count(peak * whole.itemsize)}B at least, not {spelled_count(limit or 0)}B"
        )
    return replace(whole, steps=tuple(steps), output=output, last_use=last_use(steps, output))


def _byte_limit(x: Any, what: str) -> float:
    """A number of bytes from 0 up, which may be infinite."""
    if isinstance(x, (bool, np.bool_)) or not isinstance(x, (int, float, np.integer, np.floating)):
        raise TypeError(f"plan: {what} is a number of bytes, not {shown(x)}")
    if not x >= 0:
        raise ValueError(f"plan: {what} is {shown(x)}, which is no number of bytes")
    return as_float(x)


_cached_plan = lru_cache(maxsize=1024, typed=True)(_plan)  # checkpoint=True is no limit of 1 byte


@keywords_of(optimize="optimizer")
def plan(
    net: Network, optimizer: Order = "auto", *, itemsize: int = 8, dynamic: str | None = None,
    memory_limit: float | None = None, slices: int = 1, checkpoint: bool | float = False,
) -> Plan:  # fmt: skip
    """Order and lower the contraction of ``net``.

    >>> net = tk.from_einsum("ab,bc,cd->ad", dict(a=10, b=20, c=30, d=40))
    >>> plan = tk.plan(net)
    >>> plan.path, plan.flops
    ([(0, 1), (0, 1)], 36000)
    >>> tk.plan(net) is plan  # kept
    True
    >>> limited = tk.plan(net, memory_limit=0.9 * plan.peak)
    >>> limited.peak < plan.peak, limited.flops >= plan.flops
    (True, True)
    >>> np.allclose(*(tk.run(p, tk.init.normal(net)) for p in (plan, limited)))
    True

    Parameters
    ----------
    net
        Any network; nonlinear ones are planned region by region.
    optimizer
        A key of :data:`tnkit.OPTIMIZERS`, or any function or opt_einsum / cotengra optimiser with the call
        ``(inputs, output, sizes, memory_limit) -> path``; or the order itself: a path as numpy, opt_einsum or another plan
        (``plan.path``, ``plan.paths``) gives it, or a cotengra tree, with its slices.
    itemsize
        Bytes of one entry, for the reported bytes and the limits (8: float64; 4: float32).
    dynamic
        An output index (a batch) whose size may differ when the plan runs; ``net.sizes`` has its typical size.
    memory_limit
        Bytes that a forward may take, inputs and result included (:attr:`Plan.peak`).  Where the plan takes more, indices
        are sliced: the contraction is run for each of their values and the results are summed or put together, at the cost
        that ``print(plan)`` shows.  A backward pass runs every slice again.
    slices
        At least so many slices, for :func:`tnkit.run` with an executor.
    checkpoint
        What backward keeps.  False: all that autograd does.  A number: of the choices whose forward and backward take at most
        so many bytes (:attr:`Plan.peak_backward`), the one that computes least twice (:attr:`Plan.recomputed`).
        True: the one that takes least memory.

    Returns
    -------
    Plan
        From a cache by value when ``optimizer`` is a name.  ``torch.compile``, ``vmap`` and double backward run the whole
        contraction at once, without slices or checkpoints.

    Raises
    ------
    ValueError
        An unknown optimizer, a path that is none, a dynamic index that is not in the output, a limit that cannot be kept, or a
        number out of range.
    TypeError
        No Network, or an argument that is no number.
    """
    a_network(net, "plan")
    itemsize = whole_number(itemsize, "plan: itemsize", 1)
    slices = whole_number(slices, "plan: slices", 1, 2 * MOST_SLICES**2)
    dynamic = None if dynamic is None else text(dynamic, "plan: dynamic")
    memory_limit = None if memory_limit is None else _byte_limit(memory_limit, "memory_limit")
    checkpoint = bool(checkpoint) if isinstance(checkpoint, (bool, np.bool_)) else _byte_limit(checkpoint, "checkpoint")
    given = read_order(optimizer, net)
    search: Any = optimizer if given is None else given
    make = _cached_plan if given is not None or isinstance(optimizer, str) else _plan
    return make(net, search, itemsize, dynamic, memory_limit, slices, checkpoint, rates())


def plan_by_name(net: Network, optimizer: str) -> Plan:
    """As :func:`plan` with nothing else said, in a tenth of the time where the plan is known."""
    return _known_by_name(net, optimizer, rates())


@lru_cache(maxsize=1024)
def _known_by_name(net: Network, optimizer: str, speed: Rates) -> Plan:
    return _cached_plan(net, optimizer, 8, None, None, 1, False, speed)

"""Slices of a plan shared out among the workers of any ``concurrent.futures.Executor``.

Threads, processes, ``client.get_executor()`` of dask.distributed, ``MPIPoolExecutor`` of mpi4py: all take the same two calls.  A
task is a few slices that go to one place of the result; it sends its operands' slices and brings back their sum.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from itertools import groupby, product
from math import prod
from typing import Any

from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.slices import Place, fronted, part, piece, together
from tnkit.planning.steps import Group, Program

__all__ = ["lost", "shared_out"]

#: Tasks that a plan is cut into, where there are as many slices.
_TASKS = 64


def lost(error: BaseException | None) -> bool:
    """Whether a future's error says that its worker was lost, not that the task failed.

    ``BrokenExecutor`` and ``CancelledError`` say so.  So does whatever error dask.distributed (2026.8.0) makes in passing a result on:
    where a worker is lost after a task has ended, ``cfexecutor._cascade_future`` takes the result apart as if it were an exception.
    """
    if error is None or isinstance(error, (BrokenExecutor, CancelledError)):
        return error is not None
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].name == "_cascade_future"


def shared_out(step: Group, operands: Sequence[Any], backend: Backend, executor: Executor) -> Any:
    """Run a group's slices on an executor, and put them together in the order of their indices, whoever comes first.

    A task whose worker is :func:`lost` is done here, with a warning; an error inside a task is raised, and the tasks that have not
    begun are cancelled.
    """
    views = [fronted(x, axes, backend.permute) for x, axes in zip(operands, step.axes, strict=True)]
    tasks = list(_tasks(step))
    futures = [_submitted(executor, step.body, backend, _pieces(step, views, ats)) for _, ats in tasks]
    try:
        return together(step, _collected(step, views, tasks, futures, backend), backend)
    finally:
        for future in futures:
            if future is not None:
                future.cancel()


def _collected(
    step: Group, views: Sequence[Any], tasks: Sequence[tuple[Place, list[Place]]], futures: list[Any], backend: Backend
) -> Iterator[tuple[Place, Any]]:
    """What the tasks bring back, in their order; a future that is done with is dropped."""
    for k, (place, ats) in enumerate(tasks):
        try:
            if (future := futures[k]) is None:
                raise BrokenExecutor("the executor takes no more tasks")
            made = future.result()
        except Exception as error:
            if not lost(error):
                raise
            warnings.warn(
                f"a worker was lost ({error!r}): its slices are contracted here", RuntimeWarning, stacklevel=6
            )
            made = _work(step.body, backend, _pieces(step, views, ats))
        futures[k] = None
        yield place, made


def _submitted(executor: Executor, *task: Any) -> Any:
    try:
        return executor.submit(_work, *task)
    except BrokenExecutor:
        return None


def _tasks(step: Group) -> Iterator[tuple[Place, list[Place]]]:
    """Slices in runs that go to one place of the result."""
    most = -(-prod(step.counts) // _TASKS)
    every = product(*map(range, step.counts))
    for place, same in groupby(every, key=lambda at: part(at, step.out_axes)):
        ats = list(same)
        for k in range(0, len(ats), most):
            yield place, ats[k : k + most]


def _pieces(step: Group, views: Sequence[Any], ats: Sequence[Place]) -> list[list[Any]]:
    """The operands of every slice; one that is not sliced is the same object in all, and is sent once."""
    return [[piece(x, at, axes) for x, axes in zip(views, step.axes, strict=True)] for at in ats]


def _work(body: Program, backend: Backend, slices: Sequence[Sequence[Any]]) -> Any:
    """What a worker does: the sum of some slices."""
    total = execute(body, slices[0], backend)
    for k in range(1, len(slices)):
        total = total + execute(body, slices[k], backend)
    return total

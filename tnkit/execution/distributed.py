"""Slices of a plan shared out among the workers of any ``concurrent.futures.Executor``.

Threads, processes, ``client.get_executor()`` of dask.distributed, ``MPIPoolExecutor`` of mpi4py: all take the same two calls.  A
task is a few slices that go to one place of the result; it sends its operands' slices and brings back their sum.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product
from math import prod
from multiprocessing import parent_process
from threading import Thread
from typing import Any

from tnkit.core.caller import warn_caller
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.slices import Place, fronted, part, piece, together
from tnkit.planning.steps import FusedStep, Program

__all__ = ["Lost", "Outcome", "end_with_parent", "received", "shared_out", "submitted"]

#: Tasks that a plan is cut into, where there are as many slices.
_TASKS = 64


@dataclass(frozen=True)
class Outcome:
    """What a task returned, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


class Lost(Exception):
    """An executor has no outcome of a task: its worker was lost, or what it sent was."""


def submitted(executor: Executor, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """A future of ``work(*arguments)`` in a worker, for :func:`received`.  A worker that this process started itself ends with it."""
    return executor.submit(_attempt, os.getpid(), work, *arguments)


def _attempt(sender: int, work: Callable[..., Any], *arguments: Any) -> Outcome:
    """Do a task in a worker; its error is sent as a result, so that whatever a future raises is the executor's own error.

    Executors do not agree on what they raise for a lost worker: ``BrokenExecutor``, ``CancelledError``, and dask.distributed (2026.8.0)
    any error at all, where a worker is lost after a task has ended: it takes the result apart as if it were an exception.
    """
    end_with_parent(sender)
    try:
        return Outcome(work(*arguments))
    except Exception as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return Outcome(error=error)


_parents_watched: set[int] = set()


def end_with_parent(pid: int | None = None) -> None:
    """End this process where the one that started it (of this number, where one is given) has ended.

    A process that is killed cannot end its workers, and those of ``ProcessPoolExecutor`` would wait for work for ever: each holds an end of the
    pipe at which it waits.
    """
    parent = parent_process()
    if parent is None or parent.pid is None or parent.pid in _parents_watched or pid not in (None, parent.pid):
        return
    _parents_watched.add(parent.pid)
    Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def received(future: Future[Any] | None) -> Any:
    """What a task made that was :func:`submitted`; its error is raised, and :class:`Lost` where there is no outcome (or no future)."""
    if future is None:
        raise Lost("the executor takes no more tasks")
    try:
        outcome = future.result()
    except Exception as error:
        raise Lost(repr(error)) from error
    if not isinstance(outcome, Outcome):
        raise Lost(f"it brought back {type(outcome).__name__}, not what the task made")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def shared_out(
    step: FusedStep, operands: Sequence[Any], backend: Backend, executor: Executor,
    work: Callable[..., Any] | None = None, join: Callable[..., Any] | None = None,
) -> Any:  # fmt: skip
    """Run a group's slices on an executor, and put them together in the order of their indices, whoever comes first.

    ``work(body, backend, slices)`` is what a worker does, by default the sum of the slices; ``join(step, made)`` puts pairs of a
    place and what was made together.  A task that is :class:`Lost` is done here, with a warning; an error inside a task is raised, and the tasks that have not
    begun are cancelled.
    """
    views = [fronted(x, axes, backend.permute) for x, axes in zip(operands, step.axes, strict=True)]
    tasks = list(_tasks(step))
    work = work or _work
    futures = [_submitted_if_open(executor, work, step.body, backend, _pieces(step, views, ats)) for _, ats in tasks]
    made = _collected(step, views, tasks, futures, partial(work, step.body, backend))
    try:
        return together(step, made, backend) if join is None else join(step, made)
    finally:
        for future in futures:
            if future is not None:
                future.cancel()


def _collected(
    step: FusedStep,
    views: Sequence[Any],
    tasks: Sequence[tuple[Place, list[Place]]],
    futures: list[Any],
    work: Callable[..., Any],
) -> Iterator[tuple[Place, Any]]:
    """What the tasks bring back, in their order; a future that is done with is dropped."""
    for k, (place, ats) in enumerate(tasks):
        try:
            made = received(futures[k])
        except Lost as error:
            warn_caller(f"a worker was lost ({error}): its slices are contracted here", RuntimeWarning)
            made = work(_pieces(step, views, ats))
        futures[k] = None
        yield place, made


def _submitted_if_open(executor: Executor, *task: Any) -> Any:
    try:
        return submitted(executor, *task)
    except RuntimeError:  # BrokenExecutor is one, and so is what an executor that was shut down raises
        return None


def _tasks(step: FusedStep) -> Iterator[tuple[Place, list[Place]]]:
    """Slices in runs that go to one place of the result."""
    most = -(-prod(step.counts) // _TASKS)
    every = product(*map(range, step.counts))
    for place, same in groupby(every, key=lambda at: part(at, step.out_axes)):
        ats = list(same)
        for k in range(0, len(ats), most):
            yield place, ats[k : k + most]


def _pieces(step: FusedStep, views: Sequence[Any], ats: Sequence[Place]) -> list[list[Any]]:
    """The operands of every slice; one that is not sliced is the same object in all, and is sent once."""
    return [[piece(x, at, axes) for x, axes in zip(views, step.axes, strict=True)] for at in ats]


def _work(body: Program, backend: Backend, slices: Sequence[Sequence[Any]]) -> Any:
    """What a worker does: the sum of some slices."""
    total = execute(body, slices[0], backend)
    for k in range(1, len(slices)):
        total = total + execute(body, slices[k], backend)
    return total

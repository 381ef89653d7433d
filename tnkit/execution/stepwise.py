"""The first run of a program, step by step: writing code for it takes longer than many a program runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnkit.core.activations import function
from tnkit.execution.backend import Backend
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, ReduceStep, Step
from tnkit.planning.strides import View

__all__ = ["folds", "stepwise"]


def stepwise(program: Program, arrays: Sequence[Any], backend: Backend) -> Any:
    """What the code of a program returns, each step looked at as it runs."""
    slots = dict(enumerate(arrays))
    given = len(arrays)
    for step, dead in zip(program.steps, program.last_use, strict=True):
        slots[step.target] = _made(step, [slots[s] for s in step.operands], backend)
        for s in dead:
            if s >= given:  # the caller holds the arguments anyway
                del slots[s]
    return slots[program.output]


def _made(step: Step, xs: list[Any], backend: Backend) -> Any:
    if isinstance(step, ContractStep):
        return _product(step, xs[0], xs[1], backend)
    if isinstance(step, ReduceStep):
        (x,) = xs
        for i, j in step.diagonals:
            x = backend.diagonal(x, i, j)
        if step.axes:
            x = backend.total(x, step.axes)
        return x if step.permute is None else backend.permute(x, step.permute)
    if isinstance(step, FusedStep):
        return backend.fused(step, xs)
    return _applied(step, xs, backend)


def _applied(step: ApplyStep, xs: list[Any], backend: Backend) -> Any:
    if isinstance(step.fn, str) and step.fn in backend.own:
        return backend.own[step.fn](*xs)
    return function(step.fn)(backend.xp, *xs)


def _product(step: ContractStep, a: Any, b: Any, backend: Backend) -> Any:
    b = _viewed(b, step.views[1], backend)
    if backend.folds and folds(step):
        return backend.xp.matmul(a, b)
    a = _viewed(a, step.views[0], backend)
    x = a * b if step.multiply else backend.broadcast(a, b) if step.broadcast else backend.xp.matmul(a, b)
    if step.result.reshape is not None:
        x = _reshaped(x, step.result.reshape, backend)
    return x if step.result.permute is None else backend.permute(x, step.result.permute)


def _viewed(x: Any, view: View, backend: Backend) -> Any:
    if view.permute is not None:
        x = backend.permute(x, view.permute)
    if view.reshape is not None:
        x = _reshaped(x, view.reshape, backend)
    if view.beside != (1, 1):
        x = backend.beside(x, *view.beside)
    return backend.swap(x) if view.swap else x


def _reshaped(x: Any, shape: tuple[int, ...], backend: Backend) -> Any:
    return x.reshape(shape) if "reshape" in backend.methods else backend.xp.reshape(x, shape)


def folds(step: ContractStep) -> bool:
    """Whether the library's product of the first operand as it is, its last axis contracted, is the result as it is."""
    view, result = step.views[0], step.result
    if step.multiply or step.broadcast or view.permute or view.swap or len(view.reshape or ()) != 2 or result.permute:
        return False
    terms, out = step.equation.split("->")
    left, right = terms.split(",")
    new = "".join(i for i in right if i not in left)
    return len(left) > 1 >= len(new) and out == left[:-1] + new and len(result.reshape or ()) == len(out)

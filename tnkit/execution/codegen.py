"""A program as straight-line code: one line a step, written once for a program and a library, then called.

A loop that looks up what each step wants costs more than a small product.  The code is made of the program's own numbers and
slots alone (``print(source(program, backend))`` shows it), and its functions come in by closure: nothing is looked up by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2
from typing import Any

from tnkit.core.activations import function
from tnkit.execution.backend import Backend
from tnkit.execution.stepwise import folds, stepwise
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, ReduceStep, Step, renumbered
from tnkit.planning.strides import View

__all__ = ["Runner", "execute", "growth", "guarded", "prepare", "source"]

Runner = Callable[..., Any]


def execute(program: Program, arrays: Sequence[Any], backend: Backend) -> Any:
    """Run a program: the first time step by step, then by code, which is written when it runs again."""
    runner = program.runners.get(backend.key)
    if runner is not None:
        return runner(arrays)
    if f"ran {backend.key}" in program.runners:
        return _compiled(program, backend)(arrays)
    if not backend.unseen(()):  # what torch.compile traces is not written to
        program.runners[f"ran {backend.key}"] = True
    return stepwise(program, arrays, backend)


def _compiled(program: Program, backend: Backend) -> Runner:
    runner = program.runners[backend.key] = _made(program, *_source_of(program, backend))
    return runner


def _made(program: Program, text: str, things: Sequence[Any]) -> Runner:
    space: dict[str, Any] = {"__name__": __name__}  # with builtins: torch imports some of its modules at the first call
    exec(compile(text, f"<tnkit program of {len(program.steps)} steps>", "exec"), space)  # numbers and slots alone
    runner: Runner = space["make"](*things)
    return runner


def guarded(program: Program, backend: Backend) -> Runner:
    """The code of a program in which a guard sees every tensor: ``runner(pairs, guard)``, for :mod:`tnkit.execution.scaled`."""
    key = f"guarded {backend.key}"
    if key not in program.runners:
        program.runners[key] = _made(program, *_guarded_source(program, backend))
    runner: Runner = program.runners[key]
    return runner


def prepare(program: Program, backend: Backend) -> None:
    """Write the code now, for a caller that cannot do it when it runs (``torch.compile(fullgraph=True)`` traces calls only)."""
    _compiled(program, backend)
    for step in program.steps:
        if isinstance(step, FusedStep):
            prepare(step.body, backend)
            prepare(step.whole, backend)


def source(program: Program, backend: Backend) -> str:
    """The code that runs a program."""
    return _source_of(program, backend)[0]


class _Writer:
    """Lines of code, and the functions and objects that they use."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.names, self.things = backend, [], []
        self.known: dict[Any, str] = {}

    names: list[str]
    things: list[Any]

    def thing(self, name: str, value: Any) -> str:
        """The name under which ``value`` reaches the code."""
        key = (name, id(value))
        if key not in self.known:
            self.known[key] = f"{name}{len(self.names)}"
            self.names.append(self.known[key])
            self.things.append(value)
        return self.known[key]

    def permuted(self, x: str, axes: Sequence[int]) -> str:
        if "permute" in self.backend.methods:
            return self.backend.methods["permute"].format(x=x, axes=_ints(axes))
        return f"{self.thing('permute', self.backend.permute)}({x}, ({_ints(axes)},))"

    def reshaped(self, x: str, shape: Sequence[int]) -> str:
        if "reshape" in self.backend.methods:
            return self.backend.methods["reshape"].format(x=x, axes=_ints(shape) or "()")
        return f"{self.thing('reshape', self.backend.xp.reshape)}({x}, ({_ints(shape)}{',' if shape else ''}))"

    def diagonal(self, x: str, i: int, j: int) -> str:
        if "diagonal" in self.backend.methods:
            return self.backend.methods["diagonal"].format(x=x, axes=_ints((i, j)))
        return f"{self.thing('diagonal', self.backend.diagonal)}({x}, {i}, {j})"

    def view(self, x: str, view: View) -> str:
        if view.permute is not None:
            x = self.permuted(x, view.permute)
        if view.reshape is not None:
            x = self.reshaped(x, view.reshape)
        if view.beside != (1, 1):
            x = f"{self.thing('beside', self.backend.beside)}({x}, {_ints(view.beside)})"
        if not view.swap:
            return x
        if "swap" in self.backend.methods:
            return self.backend.methods["swap"].format(x=x)
        return f"{self.thing('swap', self.backend.swap)}({x})"

    def step(self, step: Step) -> str:
        """The right-hand side of a step's line."""
        xp = self.backend.xp
        if isinstance(step, ContractStep):
            a, b = (self.view(f"s{s}", v) for s, v in zip(step.operands, step.views, strict=True))
            if self.backend.folds and folds(step):
                return f"{self.thing('matmul', xp.matmul)}(s{step.operands[0]}, {b})"
            if step.multiply:
                x = f"({a} * {b})"
            elif step.broadcast:
                x = f"{self.thing('broadcast', self.backend.broadcast)}({a}, {b})"
            else:
                x = f"{self.thing('matmul', xp.matmul)}({a}, {b})"
            return self.view(self.view(x, View(reshape=step.result.reshape)), View(permute=step.result.permute))
        if isinstance(step, ReduceStep):
            x = f"s{step.operand}"
            for i, j in step.diagonals:
                x = self.diagonal(x, i, j)
            if step.axes:
                x = f"{self.thing('total', self.backend.total)}({x}, ({_ints(step.axes)},))"
            return self.view(x, View(permute=step.permute))
        arguments = ", ".join(f"s{s}" for s in step.operands)
        if isinstance(step, FusedStep):
            return f"{self.thing('fused', self.backend.fused)}({self.thing('step', step)}, [{arguments}])"
        return self.apply(step, arguments)

    def apply(self, step: ApplyStep, arguments: str) -> str:
        if isinstance(step.fn, str) and step.fn in self.backend.own:
            return f"{self.thing('own', self.backend.own[step.fn])}({arguments})"
        return f"{self.thing('fn', function(step.fn))}({self.thing('xp', self.backend.xp)}, {arguments})"


def _source_of(program: Program, backend: Backend) -> tuple[str, list[Any]]:
    writer, first = _Writer(backend), _first(program)
    head = ["s" + ", s".join(map(str, range(first))) + ", = slots"] if first else []
    steps = [[f"s{step.target} = {writer.step(step)}"] for step in program.steps]
    # the caller holds the arguments anyway
    last_use = [tuple(s for s in dead if s >= first) for dead in program.last_use]
    return _code(writer, "slots", head, steps, last_use, f"s{program.output}")


def _first(program: Program) -> int:
    """The first slot that is no argument."""
    return program.steps[0].target if program.steps else program.output + 1


def _code(
    writer: _Writer, takes: str, head: list[str], steps: Sequence[list[str]], last_use: Sequence[tuple[int, ...]], gives: str
) -> tuple[str, list[Any]]:  # fmt: skip
    """The text of a program whose steps' lines are given, a slot let go of behind the last step that reads it."""
    lines = list(head)
    for own, dead in zip(steps, last_use, strict=True):
        lines += own
        lines += ["s" + " = s".join(map(str, dead)) + " = None"] if dead else []
    inside = "\n        ".join([*lines, f"return {gives}"])
    text = f"def make({', '.join(writer.names)}):\n    def straight({takes}):\n        {inside}\n    return straight\n"
    return text, writer.things


def growth(step: Step) -> float:
    """Binary logarithm of the number of terms that a step sums into an entry."""
    if isinstance(step, ContractStep):
        return 0.0 if step.multiply else log2(max(1.0, step.flops / max(1, 2 * step.size)))
    return log2(max(1.0, step.read / max(1, step.size))) if isinstance(step, ReduceStep) and step.axes else 0.0


def _guarded_source(program: Program, backend: Backend) -> tuple[str, list[Any]]:
    """As :func:`_source_of`; beside each slot ``s3`` stands ``e3``, what the guard knows of its size."""
    writer = _Writer(backend)
    head = [", ".join(f"(s{k}, e{k})" for k in range(_first(program))) + ", = pairs"]
    steps = [_guarded_step(writer, step) for step in program.steps]
    return _code(writer, "pairs, guard", head, steps, program.last_use, f"s{program.output}, e{program.output}")


def _guarded_step(writer: _Writer, step: Step) -> list[str]:
    t = step.target
    pairs = "".join(f"(s{s}, e{s}), " for s in step.operands)
    if isinstance(step, ContractStep) or (isinstance(step, ReduceStep) and (step.axes or step.diagonals)):
        own = tuple(t + 1 + k for k in range(len(step.operands)))  # slots of its own: the same one may be there twice
        made = f"lambda {', '.join(f's{s}' for s in own)}: {writer.step(renumbered(step, own, t))}"
        return [f"s{t}, e{t} = guard.made({made}, ({pairs}), {growth(step)!r})"]
    if isinstance(step, ReduceStep):
        return [f"s{t} = {writer.step(step)}", f"e{t} = e{step.operand}"]
    if isinstance(step, FusedStep):
        return [f"s{t}, e{t} = guard.fused({writer.thing('step', step)}, ({pairs}))"]
    if step.fn == "identity":
        return [f"s{t}, e{t} = {', '.join((f's{s}, e{s}') for s in step.operands)}"]
    name = step.fn if isinstance(step.fn, str) else ""
    return [f"s{t}, e{t} = guard.applied({name!r}, {writer.thing('fn', function(step.fn))}, ({pairs}))"]


def _ints(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))

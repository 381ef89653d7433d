"""Chains on a CUDA device: windows several in one kernel (:mod:`tnkit_nn.engine.cuda_triton`), other steps one by one.

A product with a small matrix that leaves a large state's axes in place moves the state once and hardly computes; two or three
of them, with the functions between, move it once too where the tile that they share fits in registers.  Slices, which keep
a state in a CPU's cache, would only be more launches here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from torch import Tensor

from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.planning.steps import ApplyStep, ContractStep, FusedStep, Program, Step, last_use, renumbered
from tnkit.planning.strides import View
from tnkit_nn.engine.matmul import as_matrix

__all__ = ["DeviceTape", "TileRun", "backward", "forward", "on_device", "stages"]

Shape = tuple[int, ...]

#: Rows of a window in the kernels: fewer are filled up with an identity, more are left to the library.
_LEAST, _MOST = 16, 64
#: Entries of a tile that is not too small and at most, of them neighbours in memory at least (what memory reads at once),
#: windows of a run at most: what lies in registers without spilling (Triton 3.6 for compute capability 9.0).
_TILE, _LARGEST, _NEIGHBOURS, _WINDOWS = 2**11, 2**12, 8, 3
#: Entries of a run's matrices at most: backward holds as many sums beside the tiles.
_MATRICES = 5120
#: Bytes of shared memory a block that a device has to have: A100 and H100 do, consumers' cards stay with the library.
_SHARED = 2**17
#: Functions that the kernels know.
_NAMES = ("relu", "tanh", "sin")


@dataclass(frozen=True)
class TileMatrix:
    """A matrix of ``rows`` on the digits of a state that begin at ``stride``; identities ``beside`` it fill it up."""

    slot: int
    view: View
    transposed: bool
    rows: int
    stride: int
    beside: tuple[int, int]

    def matrix(self, x: Tensor) -> Tensor:
        """Its entries in a row."""
        w = as_matrix(x, self.view)
        w = w.mT if self.transposed else w
        before, after = (torch.eye(n, dtype=w.dtype, device=w.device) if n > 1 else None for n in self.beside)
        w = w if before is None else torch.kron(before, w)
        w = w if after is None else torch.kron(w, after)
        return w.reshape(-1)


@dataclass(frozen=True)
class TileRun:
    """Windows with a function before each and one behind the last, on a state of ``entries``; its result has ``shape``."""

    slot: int
    target: int
    entries: int
    windows: tuple[TileMatrix, ...]
    functions: tuple[str | None, ...]
    shape: Shape

    @property
    def region(self) -> tuple[int, int]:
        """Strides from the lowest window's to behind the highest's."""
        return min(w.stride for w in self.windows), max(w.stride * w.rows for w in self.windows)

    def fits(self) -> bool:
        """Whether one kernel does it: no tile is too large, every product in it large enough."""
        low, high = self.region
        small = len(self.windows) <= _WINDOWS and high // low * min(low, _NEIGHBOURS) <= _LARGEST
        rows, columns, _, _ = self.tiles() if small else (0, 0, 0, 0)
        small = small and sum(w.rows**2 for w in self.windows) <= _MATRICES
        return small and all(rows * columns >= w.rows * _LEAST for w in self.windows)

    def tiles(self) -> tuple[int, int, int, int]:
        """Rows and columns of a tile, the stride between rows, the number of tiles."""
        low, high = self.region
        columns = min(low, max(_NEIGHBOURS, _TILE * low // high))
        while high // low * columns < _TILE and high < self.entries:
            high *= 2
        return high // low, columns, low, self.entries // (high // low * columns)

    @cached_property
    def geometry(self) -> tuple[int, int, int]:
        """The stride between a tile's rows, the number of tiles, the warps of a program."""
        rows, columns, low, count = self.tiles()
        return low, count, 8 if rows * columns > _TILE else 4

    @cached_property
    def sizes(self) -> dict[str, Any]:
        """The constants of its kernels."""
        rows, columns, low, _ = self.tiles()
        numbers: dict[str | None, int] = {None: 0, **{name: k + 1 for k, name in enumerate(_NAMES)}}
        found: dict[str, Any] = {"R": rows, "C": columns, "FL": numbers[self.functions[-1]]}
        for k in range(_WINDOWS):
            there = k < len(self.windows)
            found |= {
                f"K{k}": self.windows[k].rows if there else 0,
                f"B{k}": self.windows[k].stride // low * columns if there else 1,
                f"F{k}": numbers[self.functions[k]] if there else 0,
            }
        return found


@dataclass(frozen=True)
class LibrarySteps:
    """Steps that the library does."""

    operands: tuple[int, ...]
    target: int
    program: Program


# -- finding runs -------------------------------------------------------------------------------------------------------
def _tile_matrix(step: Step) -> tuple[int, TileMatrix, Shape] | None:
    """The slot of the state, the window and the result's shape, if the step is a window's product in place."""
    if (
        not isinstance(step, ContractStep)
        or step.multiply
        or step.result.permute is not None
        or step.size & step.size - 1
    ):
        return None
    for state in (1, 0):
        shape, view = step.views[state].reshape, step.views[1 - state]
        if shape is None or step.views[state] != View(reshape=shape) or prod(shape) != step.size:
            continue
        if step.broadcast:
            rows, stride, made = shape[1], shape[2], shape
        elif len(shape) == 2:
            rows, stride, made = (shape[0], shape[1], shape) if state else (shape[1], 1, shape)
        else:
            continue
        fill = max(1, _LEAST // rows)
        if (step.broadcast and not state) or not 1 < rows <= _MOST or rows * fill > step.size // rows:
            continue
        beside = (1, fill) if stride % fill == 0 else (fill, 1)
        window = TileMatrix(step.operands[1 - state], view, not state, rows * fill, stride // beside[1], beside)
        return step.operands[state], window, step.result.reshape or made
    return None


def _named(step: Step) -> str | None:
    return step.fn if isinstance(step, ApplyStep) and len(step.operands) == 1 and step.fn in _NAMES else None


def _found(steps: Sequence[Step]) -> Iterator[TileRun | Step]:
    """The steps, with those that a kernel does in runs."""
    run: TileRun | None = None
    waiting: Step | None = None  # a function with no run before it
    for step in steps:
        window, name = _tile_matrix(step), _named(step)
        if window is not None and (waiting is None or waiting.target == window[0]):
            slot, new, shape = window
            alone = TileRun(slot, step.target, step.size, (new,), (None, None), shape)
            if run is not None and run.target == slot:
                more = replace(
                    run, target=step.target, windows=(*run.windows, new), functions=(*run.functions, None), shape=shape
                )
                if more.fits():
                    run = more
                    continue
            if waiting is not None:
                alone = replace(alone, slot=waiting.operands[0], functions=(_named(waiting), None))
            if alone.fits():
                if run is not None:
                    yield run
                run, waiting = alone, None
                continue
        if name is not None and run is not None and run.target == step.operands[0] and run.functions[-1] is None:
            run = replace(run, target=step.target, functions=(*run.functions[:-1], name))
            continue
        yield from (s for s in (run, waiting) if s is not None)
        run = waiting = None
        if name is not None:
            waiting = step
        else:
            yield step
    yield from (s for s in (run, waiting) if s is not None)


def stages(group: FusedStep, kernels: bool) -> tuple[TileRun | LibrarySteps, ...]:
    """What is run one after another on a group's slots; made once a group."""
    key = "windows" if kernels else "plain"
    if key not in group.whole.runners:
        steps = group.whole.steps
        made: list[TileRun | LibrarySteps] = []
        for stage in _found(steps) if kernels else steps:
            if isinstance(stage, TileRun):
                made.append(stage)
                continue
            operands = tuple(dict.fromkeys(stage.operands))
            one = (renumbered(stage, tuple(operands.index(s) for s in stage.operands), len(operands)),)
            made.append(LibrarySteps(operands, stage.target, Program(one, len(operands), last_use(one, len(operands)))))
        group.whole.runners[key] = tuple(made)
    return group.whole.runners[key]


# -- running them -------------------------------------------------------------------------------------------------------
def on_device(x: Tensor) -> bool:
    """Whether a chain is run here rather than slice by slice."""
    return x.is_cuda


@cache
def _there() -> bool:
    return find_spec("triton") is not None


def _kernels(x: Tensor) -> bool:
    return x.dtype == torch.float32 and _there() and (not x.is_cuda or _able(x.device))


@cache
def _able(device: torch.device) -> bool:
    """Whether it multiplies in tf32 and has the shared memory that the kernels take (96 KiB at most in what was compiled)."""
    from tnkit_nn.engine import cuda_triton

    newer = torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)
    return newer and cuda_triton.shared_memory(device) >= _SHARED


class _Run(torch.autograd.Function):
    """A run on a state; backward keeps the state that it was given alone."""

    @staticmethod
    def forward(ctx: Any, run: TileRun, x: Tensor, matrices: Tensor) -> Tensor:
        from tnkit_nn.engine import cuda_triton

        # three products in tf32 are as exact as one in float32, and faster
        precision = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
        ctx.how = run.geometry, {**run.sizes, "PREC": precision}
        x = x.contiguous()
        ctx.save_for_backward(x, matrices)
        return cuda_triton.forward(x, matrices, *ctx.how).view(run.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from tnkit_nn.engine import cuda_triton

        x, matrices = ctx.saved_tensors
        geometry, sizes = ctx.how
        dx, dw = cuda_triton.backward(x, matrices, grad.contiguous(), geometry, sizes, ctx.needs_input_grad[1])
        return None, dx, dw


def _through_steps(group: FusedStep, operands: Sequence[Tensor], backend: Backend) -> Tensor:
    """The group's result, under whatever gradient mode there is."""
    slots: dict[int, Tensor] = dict(enumerate(operands))
    for stage in stages(group, _kernels(operands[0])):
        if isinstance(stage, LibrarySteps):
            made = execute(stage.program, [slots[s] for s in stage.operands], backend)
        else:
            parts = [w.matrix(slots[w.slot]) for w in stage.windows]
            made = _Run.apply(stage, slots[stage.slot], torch.cat(parts) if len(parts) > 1 else parts[0])
        slots = {s: x for s, x in slots.items() if s < len(operands)}  # what is behind in the chain can go
        slots[stage.target] = made
    return made


@dataclass
class DeviceTape:
    """What forward leaves to the first backward of a group that is kept: its operands' leaves and the result."""

    given: list[Tensor] | None = None
    made: Tensor | None = None


def forward(group: FusedStep, operands: Sequence[Tensor], graph: DeviceTape | None, backend: Backend) -> Tensor:
    """The group's result; what backward wants of a group that is kept is left in ``graph``, if there is to be one."""
    if graph is None or not group.kept:
        return _through_steps(group, operands, backend)
    with torch.enable_grad():
        given = [x.detach().requires_grad_(x.requires_grad) for x in operands]
        graph.given, graph.made = given, _through_steps(group, given, backend)
    return graph.made.detach()


def backward(
    group: FusedStep,
    operands: Sequence[Tensor],
    wanted: Sequence[bool],
    grad: Tensor,
    graph: DeviceTape | None,
    backend: Backend,
) -> tuple[Tensor | None, ...]:
    """Gradients of the wanted operands; what was not kept is run again."""
    given, made = (None, None) if graph is None else (graph.given, graph.made)
    if graph is not None:
        graph.given = graph.made = None
    if given is None or made is None:
        with torch.enable_grad():
            given = [x.detach().requires_grad_(w) for x, w in zip(operands, wanted, strict=True)]
            made = _through_steps(group, given, backend)
    found = iter(torch.autograd.grad(made, [x for x, w in zip(given, wanted, strict=True) if w], grad))
    return tuple(next(found) if w else None for w in wanted)

"""What an array library must give to run a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count, product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tnkit.planning.steps import FusedStep

__all__ = ["Backend", "by_slices", "fronted", "part"]


@dataclass(frozen=True, eq=False)
class Backend:
    """An array library, as an argument; never a global or a guess.

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
    zeros
        ``zeros(shape, x)``: dtype and device of ``x``.
    spread
        ``spread(a, b)``: a matrix ``(n, k)`` times each of a batch ``(f, k, g)``.
    group
        ``group(step, operands)``: run a :class:`~tnkit.planning.steps.FusedStep`.
    left
        ``left(m)``: left singular vectors and singular values of a matrix, thin and falling, with finite gradients.
    cast
        ``cast(x, "float64")``: another dtype, by its name.
    numpy
        ``numpy(x)``: the values as a numpy array, where a rank or an error is decided.
    tracked
        ``tracked(x)``: whether a gradient may be asked through what is made of ``x``.
    own
        The library's own version of an activation, by name, where it is faster.
    mixes
        Whether the library multiplies arrays of different dtypes.
    array
        Type of the library's arrays, so that another library's are refused; any by default.
    methods
        ``"permute"`` and ``"swap"`` as methods, ``"{x}.transpose({axes})"``, where those are faster than the functions.
    home
        Where it is found, ``"tnkit.execution.run:NUMPY"``, so that other processes use theirs.
    folds
        Whether ``matmul`` reads a tensor times a matrix or a vector as one product, not as a batch of them.
    key
        A number of its own, by which code written for it is found.
    """

    name: str
    xp: Any
    permute: Callable[[Any, tuple[int, ...]], Any]
    swap: Callable[[Any], Any]
    like: Callable[[np.ndarray, Any], Any]
    zeros: Callable[[tuple[int, ...], Any], Any]
    spread: Callable[[Any, Any], Any]
    group: Callable[[FusedStep, list[Any]], Any]
    left: Callable[[Any], tuple[Any, Any]]
    cast: Callable[[Any, str], Any]
    numpy: Callable[[Any], np.ndarray]
    tracked: Callable[[Any], bool]
    own: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    mixes: bool = False
    array: type | tuple[type, ...] = object
    methods: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    folds: bool = False
    key: int = field(default_factory=count().__next__, init=False)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """By name: another process has its own."""
        if not self.home:
            raise TypeError(
                f"Backend {self.name!r} cannot be sent to another process: it has no home, as 'module:NAME'"
            )
        return _at_home, (self.home,)

    def beside(self, x: Any, p: int, q: int) -> Any:
        """``1_p (x) x (x) 1_q`` of a matrix."""
        x = x if p == 1 else self.xp.kron(self.eye(p, x), x)
        return x if q == 1 else self.xp.kron(x, self.eye(q, x))

    def eye(self, n: int, x: Any) -> Any:
        """An identity, made where ``x`` is: nothing is copied there while a CUDA graph is captured."""
        return np.eye(n, dtype=x.dtype) if self.xp is np else self.xp.eye(n, dtype=x.dtype, device=x.device)


def _at_home(home: str) -> Backend:
    module, name = home.split(":")
    found: Backend = getattr(import_module(module), name)
    return found


def fronted(x: Any, axes: tuple[int | None, ...], permute: Callable[[Any, tuple[int, ...]], Any]) -> Any:
    """``x`` with these axes first, as a view."""
    first = tuple(k for k in axes if k is not None)
    return permute(x, (*first, *(k for k in range(len(x.shape)) if k not in first))) if first else x


def part(at: tuple[int, ...], axes: tuple[int | None, ...]) -> tuple[int, ...]:
    """Where a slice lies in an operand: its places along the sliced indices that the operand has."""
    return tuple(v for v, axis in zip(at, axes, strict=True) if axis is not None)


def by_slices(
    group: FusedStep, operands: Sequence[Any], run: Callable[[list[Any]], Any], permute: Callable[[Any, tuple[int, ...]], Any],
    start: Callable[[Any], Any],
) -> Any:  # fmt: skip
    """``run`` on every slice of a group's operands, put together or summed in ``start(the first one made)``."""
    views = [fronted(x, axes, permute) for x, axes in zip(operands, group.axes, strict=True)]
    out, result = None, None
    for at in product(*map(range, group.counts)):
        made = run([x[part(at, axes)] for x, axes in zip(views, group.axes, strict=True)])
        if out is None:
            result = start(made)
            out = fronted(result, group.out_axes, permute)
        if group.summed:
            out[part(at, group.out_axes)] += made
        else:
            out[at] = made
    return result

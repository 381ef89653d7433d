"""Slices of a group of steps: the pieces of its operands, and the result put together from what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from tnkit.execution.backend import Backend
from tnkit.planning.steps import FusedStep

__all__ = ["Place", "by_slices", "fronted", "part", "piece", "sliced_result", "together"]

Place = tuple[int, ...]
Permute = Callable[[Any, tuple[int, ...]], Any]


def fronted(x: Any, axes: tuple[int | None, ...], permute: Permute) -> Any:
    """``x`` with these axes first, as a view."""
    first = tuple(k for k in axes if k is not None)
    return permute(x, (*first, *(k for k in range(len(x.shape)) if k not in first))) if first else x


def part(at: Place, axes: tuple[int | None, ...]) -> Place:
    """Where a slice lies in an operand: its places along the sliced indices that the operand has."""
    return tuple(v for v, axis in zip(at, axes, strict=True) if axis is not None)


def piece(x: Any, at: Place, axes: tuple[int | None, ...]) -> Any:
    """A slice of a :func:`fronted` operand; one that is not sliced is the same object in all."""
    place = part(at, axes)
    return x[(*place, ...)] if place else x


def by_slices(
    group: FusedStep, operands: Sequence[Any], run: Callable[[list[Any]], Any], permute: Permute, start: Callable[[Any], Any]
) -> Any:  # fmt: skip
    """``run`` on every slice of a group's operands, written or added into ``start(the first one made)``."""
    return _by_writing(group, _slice_results(group, operands, run, permute), permute, start)


def sliced_result(group: FusedStep, operands: Sequence[Any], run: Callable[[list[Any]], Any], backend: Backend) -> Any:
    """``run`` on every slice of a group's operands, put together without writing to an array."""
    return _by_stacking(group, _slice_results(group, operands, run, backend.permute), backend)


def together(group: FusedStep, made: Iterable[tuple[Place, Any]], backend: Backend) -> Any:
    """Parts of a group's result by their places, put together; those of one place are added."""
    if not backend.writes:
        return _by_stacking(group, made, backend)
    return _by_writing(group, made, backend.permute, lambda first: backend.zeros(group.shape, first), add=True)


def _slice_results(
    group: FusedStep, operands: Sequence[Any], run: Callable[[list[Any]], Any], permute: Permute
) -> Iterator[tuple[Place, Any]]:
    """What is made of each slice, and its place in the result."""
    views = [fronted(x, axes, permute) for x, axes in zip(operands, group.axes, strict=True)]
    for at in product(*map(range, group.counts)):
        made = run([piece(x, at, axes) for x, axes in zip(views, group.axes, strict=True)])
        yield part(at, group.out_axes), made


def _by_writing(
    group: FusedStep,
    made: Iterable[tuple[Place, Any]],
    permute: Permute,
    start: Callable[[Any], Any],
    add: bool = False,
) -> Any:
    result = out = None
    for place, some in made:
        if out is None:
            result = start(some)
            out = fronted(result, group.out_axes, permute)
        if group.summed or add:
            out[place] += some
        else:
            out[place] = some
    return result


def _by_stacking(group: FusedStep, made: Iterable[tuple[Place, Any]], backend: Backend) -> Any:
    parts: dict[Place, Any] = {}
    for place, some in made:
        parts[place] = parts[place] + some if place in parts else some
    kept = [k for k in group.out_axes if k is not None]
    if not kept:
        return parts[()]
    whole = backend.xp.stack([parts[place] for place in sorted(parts)])
    order = [*kept, *(k for k in range(len(group.shape)) if k not in kept)]
    whole = backend.reshape(whole, *(group.shape[k] for k in order))
    return backend.permute(whole, tuple(order.index(k) for k in range(len(order))))

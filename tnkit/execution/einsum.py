"""An einsum equation in one call: numpy's and opt_einsum's, on arrays of any library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tnkit.core.checks import flag
from tnkit.core.editing import trusted
from tnkit.core.equation import implicit, interleaved, terms_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.node import Sizes, plain_node
from tnkit.core.wording import plural
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.execution.inputs import checked
from tnkit.execution.library import alike, backend_of, plain
from tnkit.execution.machine import check_room, itemsize
from tnkit.execution.numpy import NUMPY
from tnkit.execution.scaled import scientific
from tnkit.paths.given import Order
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan, plan_by_name

__all__ = ["einsum"]

Shape = tuple[int, ...]


@keywords_of(optimize="optimizer")
def einsum(
    *operands: Any,
    optimizer: Order = "auto",
    memory_limit: float | None = None,
    backend: Backend | None = None,
    strip_exponent: bool = False,
) -> Any:
    """Contract arrays by an einsum equation.

    >>> x, w = np.ones((2, 3, 4)), np.ones((4, 5))
    >>> tk.einsum("bij,jk->bik", x, w).shape
    (2, 3, 5)
    >>> float(tk.einsum("ii", np.eye(3)))
    3.0
    >>> tk.einsum(x, ["b", "i", "j"], w, ["j", "k"], ["b", "k"]).shape
    (2, 5)

    The plan is found once for an equation and its shapes, then kept.

    Parameters
    ----------
    operands
        An equation and its operands, or operands each followed by its labels, then the labels of the output.  Letters are ASCII
        letters or any other non-ASCII symbol; blanks are skipped.  Without ``->`` the output is the axes of ``...``, then the
        letters that occur once, sorted.  A letter twice in an operand is a diagonal.  ``...`` stands for any number of axes; where
        the output has none, they are summed.  An axis of size 1 is repeated along its index, as in numpy.
        Lists and numbers are read as numpy reads them.
    optimizer, memory_limit
        As for :func:`tnkit.plan`.
    backend
        The array library; by default that of the operands.
    strip_exponent
        Whether to give the result as a mantissa and a decimal exponent, as :func:`tnkit.contract` does.  Without it what over-
        or underflows on the way is lost, as in ``numpy.einsum``; :func:`tnkit.contract` looks after that.

    Returns
    -------
    array
        In the library of the operands; of numpy's operands in the dtype that holds them all.  It may be a view of an operand, and
        without axes it is a scalar of numpy.

    Raises
    ------
    ValueError
        An equation that is none, or that does not fit the operands' shapes; an output letter of no operand, or given twice;
        operands of several dtypes where the library does not mix them, or on several devices.
    TypeError
        No equation, what is no array of numbers, operands of two libraries.
    MemoryError
        Tensors that cannot fit in memory.
    """
    equation, arrays = (operands[0], operands[1:]) if operands and type(operands[0]) is str else _equation(operands)
    if memory_limit is None and backend is None and strip_exponent is False and type(optimizer) is str:
        known = alike(arrays)
        if known is not None:
            found, asked = _planned(equation, tuple([x.shape for x in arrays]), optimizer)
            return _ran(found, asked, arrays, known)
    return _looked_at(
        equation, arrays, optimizer, memory_limit, backend, flag(strip_exponent, "einsum: strip_exponent")
    )


def _equation(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    if not operands:
        raise ValueError(
            "einsum takes an equation and its operands, or operands each followed by its labels: got nothing"
        )
    if isinstance(operands[0], str):
        return str(operands[0]), operands[1:]
    return interleaved(operands, "einsum")


def _ran(found: Plan | None, asked: _Asked, arrays: Sequence[Any], backend: Backend) -> Any:
    if found is None:
        return _empty(asked, arrays, backend)
    check_room(found, arrays, "einsum")
    try:
        made = execute(found.program, arrays, backend)
    except Exception:
        checked(found.network, dict(zip(found.inputs, arrays, strict=True)), backend)  # names the array at fault
        raise
    return made[()] if backend is NUMPY and not asked.output else made


def _looked_at(
    equation: str, given: Sequence[Any], optimizer: Order, memory_limit: float | None, backend: Backend | None, pair: bool
) -> Any:  # fmt: skip
    """What operands of any kind contract to."""
    named = {f"operand {k}": np.bool_(x) if isinstance(x, bool) else x for k, x in enumerate(given)}
    backend = backend_of(backend, named)
    arrays = [plain(name, x, backend) for name, x in named.items()]
    if backend is NUMPY and len({x.dtype for x in arrays}) > 1:
        widest = np.result_type(*arrays)
        arrays = [x.astype(widest, copy=False) for x in arrays]
    asked = _asked(equation, tuple(tuple(x.shape) for x in arrays))
    if asked.network is None:
        made = _empty(asked, arrays, backend)
        return (made, 0.0) if pair else made
    full = checked(asked.network, dict(zip(named, arrays, strict=True)), backend)
    found = plan(asked.network, optimizer, itemsize=max(map(itemsize, arrays)), memory_limit=memory_limit)
    if not pair:
        return _ran(found, asked, arrays, backend)
    check_room(found, arrays, "einsum")
    return scientific(found, list(full.values()), backend)


@lru_cache(maxsize=1024)
def _planned(equation: str, shapes: tuple[Shape, ...], optimizer: str) -> tuple[Plan | None, _Asked]:
    asked = _asked(equation, shapes)
    return None if asked.network is None else plan_by_name(asked.network, optimizer), asked


# -- what is asked ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Asked:
    """An equation with shapes: its network, None where a size is 0, and the shape of the result."""

    network: Network | None
    output: Shape


def _asked(equation: str, shapes: Sequence[Shape]) -> _Asked:
    """The network of an equation: a node an operand, named ``operand 0`` and on."""
    terms, right = terms_of(equation, "einsum", dots=True)
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {equation!r} has {plural(len(terms), 'operand')}, and {len(shapes)} given")
    inds, broadcast = _indices(equation, terms, shapes)
    if right is None:
        output = (*broadcast, *implicit(t.replace("...", "") for t in terms))
    else:
        output = _spread(right, broadcast)
    sizes = _sizes(equation, inds, shapes)
    for i in output:
        if i not in sizes:
            raise ValueError(f"einsum: {equation!r}: output letter {i!r} is in no operand")
        if output.count(i) > 1:
            raise ValueError(f"einsum: {equation!r}: output letter {i!r} is given twice")
    shape = tuple(sizes[i] for i in output)
    if 0 in sizes.values():
        return _Asked(None, shape)
    nodes = []
    for k, (term, axes) in enumerate(zip(inds, shapes, strict=True)):
        # an axis of size 1 is an index of its own, which is summed: it is repeated along the index of the others
        term = tuple(i if n == sizes[i] else f"{i} of operand {k}" for i, n in zip(term, axes, strict=True))
        sizes |= {i: 1 for i in term if i not in sizes}
        nodes.append(plain_node(f"operand {k}", term))
    used = Sizes({i: sizes[i] for node in nodes for i in node.inds})
    return _Asked(trusted(tuple(nodes), output, used), shape)


def _indices(
    equation: str, terms: Sequence[str], shapes: Sequence[Shape]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Index names of each operand's axes, and those that ``...`` stands for, the last axis being ``...[-1]``."""
    inds, most = [], 0
    for k, (term, axes) in enumerate(zip(terms, shapes, strict=True)):
        more = len(axes) - len(term.replace("...", ""))
        if more < 0 or (more and "..." not in term):
            raise ValueError(
                f"einsum: {equation!r}: operand {k} has {plural(len(axes), 'axis', 'axes')} {tuple(axes)}, and {term!r} names {len(axes) - more}"
            )
        most = max(most, more)
        inds.append(_spread(term, _axes(more)))
    return inds, _axes(most)


def _axes(count: int) -> tuple[str, ...]:
    return tuple(f"...[{k}]" for k in range(-count, 0))


def _spread(term: str, axes: tuple[str, ...]) -> tuple[str, ...]:
    before, dots, after = term.partition("...")
    return (*before, *(axes if dots else ()), *after)


def _sizes(equation: str, inds: Sequence[tuple[str, ...]], shapes: Sequence[Shape]) -> dict[str, int]:
    """Sizes of the indices: that of an axis of size 1 is what the others say."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    for k, (term, axes) in enumerate(zip(inds, shapes, strict=True)):
        own: dict[str, int] = {}
        for i, n in zip(term, axes, strict=True):
            if own.setdefault(i, n) != n:
                raise ValueError(f"einsum: {equation!r}: operand {k} has {i!r} twice, of sizes {own[i]} and {n}")
            if sizes.get(i, 1) == 1:
                sizes[i], first[i] = n, k
            elif n not in (1, sizes[i]):
                raise ValueError(
                    f"einsum: {equation!r}: index {i!r} has size {sizes[i]} in operand {first[i]} and {n} in operand {k}"
                )
    return sizes


def _empty(asked: _Asked, arrays: Sequence[Any], backend: Backend) -> Any:
    """Sums of nothing: zeros, differentiable as the operand that has no entries."""
    nothing = next(x for x in arrays if 0 in x.shape)
    made = backend.zeros(asked.output, nothing) + backend.total(nothing, tuple(range(len(nothing.shape))))
    return made if asked.output or backend is not NUMPY else made[()]

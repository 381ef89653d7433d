"""What builders share: arguments checked by name, and a network of some of the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from tnkit.core.activations import Activation, resolve
from tnkit.core.checks import sequence, shown
from tnkit.core.network import AnyNode, Network
from tnkit.core.node import unordered
from tnkit.core.numbers import as_float, whole_number
from tnkit.core.wording import plural

__all__ = [
    "Rank", "assembled", "bond_caps", "check_activation", "check_count", "check_one_rank", "check_rank", "check_ranks",
    "check_shape", "check_sides", "several",
]  # fmt: skip

Rank = int | Sequence[int]

#: Entries of an axis: what numpy and torch count with.
LONGEST = 2**63 - 1
#: Nodes of one network: a million take about ten seconds and a gigabyte.
MOST_NODES = 10**6


def assembled(nodes: Sequence[AnyNode], output: tuple[str, ...], sizes: Mapping[str, int]) -> Network:
    """The network of some nodes, whose sizes may be given among others."""
    used = dict.fromkeys(i for node in nodes for i in node.inds)
    return Network(tuple(nodes), output, {i: sizes[i] for i in used if i in sizes})


def check_shape(shape: Any, what: str, least: int = 1) -> tuple[int, ...]:
    """The shape as a tuple of positive ints; ValueError or TypeError names ``what``."""
    given = _whole_numbers(shape, f"{what}: shape {shown(shape)} is not a sequence of whole numbers")
    if len(given) < least:
        raise ValueError(f"{what}: shape {given} has {plural(len(given), 'axis', 'axes')}, needs at least {least}")
    return _each_in_range(given, f"{what}: shape {shown(given)} has a size")


def check_sides(out: Any, in_: Any, what: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Digits of a matrix's rows and of its columns, equally many."""
    out, in_ = check_shape(out, f"{what} out"), check_shape(in_, f"{what} in_")
    if len(out) != len(in_):
        raise ValueError(f"{what}: out has {len(out)} sizes and in_ {len(in_)}; pad the shorter with 1")
    return out, in_


def several(value: Any) -> bool:
    """Whether it is a sequence of numbers, and not one number (an array without axes is one)."""
    return isinstance(value, Iterable) and getattr(value, "shape", (1,)) != ()


def check_rank(rank: Any, bonds: int, what: str, caps: Sequence[int] | None = None) -> tuple[int, ...]:
    """One rank a bond: a whole number for all (cut to ``caps``), or a sequence taken as it is."""
    if several(rank):
        return check_ranks(rank, bonds, what)
    try:
        one = whole_number(rank, "rank")
    except TypeError:
        raise TypeError(f"{what}: rank {shown(rank)} is neither a whole number nor a sequence of them") from None
    _each_in_range((one,), f"{what}: rank {shown(one)} is")
    return tuple(min(one, cap) for cap in (caps if caps is not None else [one] * bonds))


def check_ranks(ranks: Any, bonds: int, what: str) -> tuple[int, ...]:
    """One rank a bond, from a sequence."""
    given = _whole_numbers(ranks, f"{what}: rank {shown(ranks)} is neither a whole number nor a sequence of them")
    if len(given) != bonds:
        raise ValueError(f"{what}: {plural(len(given), 'rank')} given for {plural(bonds, 'bond')}")
    return _each_in_range(given, f"{what}: rank {shown(given)} is")


def check_one_rank(rank: Any, what: str) -> int:
    """The one rank of a network that has no more."""
    one = whole_number(rank, f"{what}: rank")
    _each_in_range((one,), f"{what}: rank {shown(one)} is")
    return one


def check_activation(activation: Any, what: str) -> str | Activation | None:
    """A known activation by its name, a function of the library's namespace and a tensor, or None."""
    if activation is None:
        return None
    try:
        return resolve(activation)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None


def check_count(nodes: int, what: str, of: str) -> None:
    """MemoryError for a network of more nodes than are built in a minute; ``of`` says what they come from."""
    if nodes > MOST_NODES:
        raise MemoryError(f"{what}: {of} make {as_float(nodes):.3g} nodes; at most {MOST_NODES:,} are built")


def _whole_numbers(values: Any, rule: str) -> tuple[int, ...]:
    try:
        return tuple(whole_number(n, "a size") for n in sequence(values, "a shape"))
    except TypeError:
        raise TypeError(rule + (": a set has no order" if unordered(values) else "")) from None


def _each_in_range(numbers: tuple[int, ...], says: str) -> tuple[int, ...]:
    if any(n < 1 for n in numbers):
        raise ValueError(f"{says} below 1")
    if any(n > LONGEST for n in numbers):
        raise ValueError(f"{says} above {LONGEST}, the most entries that an array has")
    return numbers


def bond_caps(dims: Sequence[int]) -> list[int]:
    """Largest useful bond at each cut of a chain."""
    before, behind = list(accumulate(dims, mul)), list(accumulate(reversed(dims), mul))
    return [min(a, b) for a, b in zip(before[:-1], reversed(behind[:-1]), strict=True)]

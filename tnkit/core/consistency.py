"""What a network must agree on: sizes, names at every depth, tied arrays, and indices that are summed inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tnkit.core.inside import SUMMED, Gathering, Inside, of_leaves
from tnkit.core.node import Node, Sizes
from tnkit.core.numbers import whole_number
from tnkit.core.wording import shown

__all__ = ["LARGEST", "checked_inside", "checked_sizes", "inside_bodies"]

#: A size at most: one that a float holds and that is written as a number.  No array has a tenth of its digits.
LARGEST = 10**300


class _Body(Protocol):
    """A network inside an Elementwise."""

    @property
    def output(self) -> tuple[str, ...]: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...
    @property
    def inside(self) -> Inside: ...


class _Function(Protocol):
    """An Elementwise."""

    @property
    def name(self) -> str: ...
    @property
    def inds(self) -> tuple[str, ...]: ...
    @property
    def bodies(self) -> tuple[Any, ...]: ...
    @property
    def inside(self) -> Inside: ...


def checked_sizes(nodes: Sequence[Node | _Function], output: tuple[str, ...], given: Mapping[str, Any]) -> Sizes:
    """Sizes of the indices at this level, each known, positive and agreed."""
    if not nodes:
        raise ValueError("a network has at least one node")
    given = {
        i: n if type(i) is str and type(n) is int and 0 < n <= LARGEST else _size(i, n) for i, n in given.items()
    }  # as nearly all are
    known: dict[str, int] = {}
    for node in nodes:  # what the Elementwise nodes know, the first one first
        if not isinstance(node, Node):
            for i in node.inds:
                known.setdefault(i, node.bodies[0].sizes[i])
    known |= given
    sizes: dict[str, int] = {}
    for node in nodes:
        inner = known if isinstance(node, Node) else node.bodies[0].sizes
        for i in node.inds:
            if i not in inner:
                raise ValueError(f"node {node.name!r}: index {i!r} has no size{_one_name(node.inds, inner)}")
            if given.get(i, inner[i]) != inner[i] or sizes.get(i, inner[i]) != inner[i]:
                raise ValueError(
                    f"node {node.name!r}: index {i!r} has size {inner[i]} here and {given.get(i, sizes.get(i))} elsewhere"
                )
            sizes[i] = inner[i]
        if not isinstance(node, Node):
            _check_bodies_agree(node)
    for i in output:
        if i not in sizes:
            raise ValueError(f"output index {i!r} is on no node{_one_name(output, sizes)}")
    if len(set(output)) != len(output):
        raise ValueError(f"output {output} names an index twice; use a Node with fixed='delta' to repeat one")
    if len(sizes) < len(given) and (unused := sorted(set(given) - set(sizes))):
        raise ValueError(f"sizes: index {unused[0]!r} is on no node")
    return Sizes(sizes)


def _size(index: object, size: Any) -> int:
    if not isinstance(index, str):
        raise TypeError(f"sizes map index names to sizes; {shown(index)} is no string")
    if type(size) is int and 0 < size <= LARGEST:  # as nearly all are
        return size
    try:
        found = whole_number(size, "a size", 1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"index {shown(index)} has size {shown(size)}; a size is a whole number from 1 up") from None
    if found > LARGEST:
        raise ValueError(f"index {shown(index)} has size {shown(size)}; a size is at most 10**300")
    return found


def _check_bodies_agree(node: _Function) -> None:
    first = node.bodies[0].sizes
    for body in node.bodies[1:]:
        for i in node.inds:
            if body.sizes[i] != first[i]:
                raise ValueError(
                    f"node {node.name!r}: index {i!r} has size {first[i]} and {body.sizes[i]} in its bodies"
                )


def inside_bodies(name: str, bodies: Sequence[_Body]) -> Inside:
    """What an Elementwise holds: its bodies' tables and its name; ValueError where they contradict one another."""
    held = Gathering(bodies)
    if held.twice is not None:
        raise ValueError(_used_outside(held.twice, name, "in another body of it"))
    held.node(name, True)
    return held.sums(())


def checked_inside(nodes: Sequence[Node | _Function], output: tuple[str, ...], sizes: Mapping[str, int]) -> Inside:
    """What a network holds at every depth; ValueError where it contradicts itself."""
    functions = [node for node in nodes if not isinstance(node, Node)]
    if not functions and (plain := of_leaves(nodes, output, sizes)) is not None:  # type: ignore[arg-type]
        return plain
    held = Gathering(functions)
    if held.twice is not None:
        first, second, *_ = (f.name for f in functions if f.inside.find(SUMMED, held.twice))
        raise ValueError(_used_outside(held.twice, second, f"inside {first!r}"))
    for node in nodes:
        if isinstance(node, Node):
            held.leaf(node, tuple(sizes[i] for i in node.inds))
    for i in sizes if functions else ():
        if held.find(SUMMED, i):
            owner = next(f.name for f in functions if f.inside.find(SUMMED, i))
            other = next(node.name for node in nodes if i in node.inds)
            raise ValueError(_used_outside(i, owner, f"on node {other!r}"))
    kept = set(output)
    return held.sums(i for i in sizes if i not in kept)


def _used_outside(index: str, owner: str, where: str) -> str:
    return f"index {index!r} is summed inside elementwise node {owner!r} and used outside it, {where}"


def _one_name(inds: Sequence[str], sizes: Mapping[str, int]) -> str:
    """A hint where letters were meant to be one index."""
    name = "".join(inds)
    return f"; a string has one letter an index, and ({name!r},) is one index of this name" if name in sizes else ""

"""How a network reads as text: a line a node, indices with their sizes, marks on what may be a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tnkit.core.node import Node

__all__ = ["function_name", "marks", "shape_text", "spelled"]

#: Marks of indices, and what they say below the text.
DANGLING, HYPER = "?", "*"
_MEANING = {
    DANGLING: "on one node alone, and summed there: a misspelt name, often",
    HYPER: "a hyperedge: it ends at three nodes or more, the output counted",
}
#: Levels that are indented; those below say how deep they are.
_INDENTED = 8
#: Summed indices that are named one by one.
_NAMED = 8


def function_name(fn: Any) -> str:
    """An activation's name."""
    return fn if isinstance(fn, str) else getattr(fn, "__name__", "fn")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as ``2x3x4``, a long one cut."""
    text = "x".join(map(str, shape[:12])) or "scalar"
    return text + (f"x... ({len(shape)} axes)" if len(shape) > 12 else "")


def marks(edges: Mapping[str, tuple[str, ...]], output: tuple[str, ...]) -> dict[str, str]:
    """Index -> its mark, of the dangling ones and the hyperedges of one level."""
    kept, found = set(output), {}
    for i, names in edges.items():
        if len(names) == 1 and i not in kept:
            found[i] = DANGLING
        elif len(names) > 1 and len(set(names)) + (i in kept) > 2:
            found[i] = HYPER
    return found


def spelled(net: Any) -> Iterator[str]:
    """The lines of a network's text, those inside an Elementwise below it."""
    used: set[str] = set()
    noted = marks(net.edges, net.output)
    todo: list[tuple[Any, Any, int, dict[str, str]]] = [(node, net, 0, noted) for node in reversed(net.nodes)]
    while todo:
        node, owner, depth, noted = todo.pop()
        indent = "  " + "  | " * min(depth, _INDENTED) + (f"[{depth}] " if depth > _INDENTED else "")
        if isinstance(node, Node):
            used.update(noted[i] for i in node.inds if i in noted)
            note = f" = {node.array}" if node.array != node.name else ""
            note += "" if not node.fixed else " fixed" if node.fixed is True else f" fixed {node.fixed}"
            yield f"{indent}{node.name}{_legs(node.inds, owner.sizes, noted)}{note}"
            continue
        yield f"{indent}{node.name} = {function_name(node.fn)} of"
        for body in reversed(node.bodies):
            below = marks(body.edges, body.output)
            todo += [(n, body, depth + 1, below) for n in reversed(body.nodes)]
    yield f"  -> {_legs(net.output, net.sizes, {})}{_summed(net)}"
    for mark in _MEANING:
        if mark in used:
            yield f"  {mark} {_MEANING[mark]}"


def _summed(net: Any) -> str:
    """What the top level sums over, by name."""
    kept = set(net.output)
    summed = [i for i, names in net.edges.items() if names and i not in kept]
    more = f" and {len(summed) - _NAMED} more" if len(summed) > _NAMED else ""
    return f", summed over {', '.join(summed[:_NAMED])}{more}" if summed else ""


def _legs(inds: tuple[str, ...], sizes: Mapping[str, int], noted: Mapping[str, str]) -> str:
    return "(" + ", ".join(f"{i}:{sizes[i]}{noted.get(i, '')}" for i in inds) + ")"

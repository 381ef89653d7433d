"""A network of any depth as plain tuples that do not hold one another: pickle would recurse from level to level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnkit.core.node import Sizes

__all__ = ["Level", "as_levels", "from_levels"]

#: Nodes, output and sizes; an Elementwise as its name, its function, and how many networks before it are its bodies.
Level = tuple[tuple[Any, ...], tuple[str, ...], Sizes]


def as_levels(parts: Sequence[Any], leaf: type) -> tuple[Level, ...]:
    """Networks, each after those inside it, as levels; nodes of the class ``leaf`` stay as they are."""
    return tuple(
        (
            tuple(n if isinstance(n, leaf) else (n.name, n.fn, len(n.bodies)) for n in part.nodes),
            part.output,
            Sizes(part.sizes),
        )
        for part in parts
    )


def from_levels(levels: Sequence[Level], leaf: type, function: type, network: type) -> Any:
    """The last network of such levels, made by the classes of a function and of a network."""
    done: list[Any] = []
    for nodes, output, sizes in levels:
        split = len(done) - sum(n[2] for n in nodes if not isinstance(n, leaf))
        below = iter(done[split:])
        del done[split:]
        made = [n if isinstance(n, leaf) else function(n[0], n[1], [next(below) for _ in range(n[2])]) for n in nodes]
        done.append(network(made, output, sizes))
    return done[0]

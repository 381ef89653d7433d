"""Small contractions by the names of their axes, planned once a shape."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.execution.backend import Backend
from tnkit.execution.codegen import execute
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan

__all__ = ["contracted"]

Axes = tuple[int, ...]


def contracted(parts: Sequence[tuple[Any, Sequence[Hashable]]], output: Sequence[Hashable], backend: Backend) -> Any:
    """Arrays contracted over the axes that are not in the output; an axis is anything that can be a key.

    ::

        contracted([(a, ("i", "j")), (b, ("j", ("out", 3)))], ("i", ("out", 3)), backend)
    """
    number: dict[Hashable, int] = {}
    inds = tuple(tuple(number.setdefault(i, len(number)) for i in axes) for _, axes in parts)
    shapes = tuple(tuple(x.shape) for x, _ in parts)
    found = _planned(inds, shapes, tuple(number[i] for i in output))
    return execute(found.program, [parts[int(name)][0] for name in found.inputs], backend)


@lru_cache(maxsize=4096)
def _planned(inds: tuple[Axes, ...], shapes: tuple[Axes, ...], output: Axes) -> Plan:
    nodes = [Node(str(k), [str(i) for i in axes]) for k, axes in enumerate(inds)]
    sizes = {str(i): n for axes, shape in zip(inds, shapes, strict=True) for i, n in zip(axes, shape, strict=True)}
    return plan(Network(nodes, [str(i) for i in output], sizes))

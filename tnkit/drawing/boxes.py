"""Boxes of Elementwise nodes: where they are, and whether they hold what is theirs and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tnkit.core.inside import NODE
from tnkit.core.network import Elementwise, Network, folded, inside_out
from tnkit.core.node import Node
from tnkit.core.spelling import function_name
from tnkit.drawing.wires import Spots

__all__ = ["Box", "apart", "boxes_of"]

Rim = tuple[float, float, float, float]  #: left, bottom, right, top
_Rim = tuple[float, float, float, float, int]  #: the same, and how deeply what is in it nests
Box = tuple[str, str, Rim, int]  #: an Elementwise node's name, its function's, where it is, how deeply it nests


def boxes_of(net: Network, spots: Spots) -> list[Box]:
    """The box of every Elementwise node that has a leaf in the picture, inner ones first, each a little wider than what is in it."""
    found: list[Box] = []

    def rims_of(level: Network, inner: list[list[_Rim]]) -> list[_Rim]:
        rims, below = [], iter(inner)
        for node in level.nodes:
            if isinstance(node, Node):
                if node.name in spots:
                    z = spots[node.name][0]
                    rims.append((z.real - 0.32, z.imag - 0.32, z.real + 0.32, z.imag + 0.32, 0))
                continue
            within = [rim for body in islice(below, len(node.bodies)) for rim in body]
            if within:
                left, bottom, right, top = (f(rim[k] for rim in within) for k, f in enumerate((min, min, max, max)))
                height = max(rim[4] for rim in within) + 1
                box = (left - 0.1, bottom - 0.1, right + 0.1, top + 0.1)
                found.append((node.name, function_name(node.fn), box, height))
                rims.append((*box, height))
        return rims

    folded(net, rims_of)
    return found


def apart(net: Network, spots: Spots, boxes: Sequence[Box]) -> bool:
    """Whether every box has only its own leaves in it."""
    rims = {name: rim for name, _, rim, _ in boxes}
    boxed = [part for part in inside_out(net) if isinstance(part, Elementwise) and part.name in rims]
    for node in boxed:
        left, bottom, right, top = rims[node.name]
        inside = (v for v, (z, _) in spots.items() if left < z.real < right and bottom < z.imag < top)
        if not all(isinstance(v, str) and node.inside.find(NODE, v) is False for v in inside):
            return False
    return True

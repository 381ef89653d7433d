"""The layout of sandwiches: a network that is its own mirror image, as <psi|H|psi>, with what is on the mirror in the middle.

The mirror is found in the graph alone.  Vertices get colours by their degree and those of their neighbours; a vertex is
matched to a near one of its colour, and its neighbours to those of the other, until all are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise

from tnkit.core.breadth import distances
from tnkit.drawing.pieces import Arrangement, GraphPart, parts_of, subpiece
from tnkit.drawing.wires import DOWN, UP, Spots, Vertex

__all__ = ["mirror"]

_LARGEST = 120  #: vertices


def mirror(piece: GraphPart, half_layout: Callable[[GraphPart], Arrangement]) -> Arrangement | None:
    """One half above, its image below, the rest in a row between them.

    Parameters
    ----------
    piece
        What is placed.
    half_layout
        Places a half.
    """
    if not 6 <= len(piece.near) <= _LARGEST or any(isinstance(v, tuple) for v in piece.near):
        return None
    colour = _colours(piece)
    for u in sorted(piece.near, key=lambda v: len(piece.near[v])):
        close = [v for v, far in distances(piece.near, u).items() if 0 < far <= 2 and colour[v] == colour[u]]
        for v in close:
            image = _image(piece, u, v, colour)
            if image and (half := _half(piece, image, u)):
                placed = _stacked(piece, image, half, half_layout)
                if placed is not None:
                    return placed
    return None


def _colours(piece: GraphPart) -> dict[Vertex, int]:
    """Equal numbers for vertices whose surroundings look alike."""
    found: dict[Vertex, int] = {v: 100 * len(near) + piece.legs[v] for v, near in piece.near.items()}
    while True:
        looks = {v: (found[v], tuple(sorted(found[u] for u in piece.near[v]))) for v in piece.near}
        table = {look: k for k, look in enumerate(sorted(set(looks.values())))}
        refined = {v: table[looks[v]] for v in looks}
        if len(table) == len(set(found.values())):
            return refined
        found = refined


def _image(piece: GraphPart, u: Vertex, v: Vertex, colour: Mapping[Vertex, int]) -> dict[Vertex, Vertex] | None:
    """The reflection that exchanges two vertices, where there is one."""
    image = {u: v, v: u}
    todo = deque([u])
    while todo:
        a = todo.popleft()
        b = image[a]
        for c in piece.near[a]:
            if c in image:
                continue
            if c in piece.near[b]:
                d: Vertex | None = c  # beside both: on the mirror
            else:
                d = next((d for d in piece.near[b] if d not in image and colour[d] == colour[c]), None)
            if d is None:
                return None
            image[c], image[d] = d, c
            todo.append(c)
    whole = len(image) == len(piece.near)
    return image if whole and all(image[y] in piece.near[image[x]] for x in piece.near for y in piece.near[x]) else None


def _half(piece: GraphPart, image: Mapping[Vertex, Vertex], u: Vertex) -> set[Vertex] | None:
    """The half that has ``u`` in it, without what is on the mirror and without the bonds across it."""
    off = {
        v: tuple(w for w in near if image[w] != w and image[v] != w) for v, near in piece.near.items() if image[v] != v
    }
    parts = [set(part) for part in parts_of(off)]
    if len(parts) != 2 or len(parts[0]) < 2:
        return None
    half = next(part for part in parts if u in part)
    return half if {image[v] for v in half}.isdisjoint(half) else None


def _stacked(
    piece: GraphPart, image: Mapping[Vertex, Vertex], half: set[Vertex], half_layout: Callable[[GraphPart], Arrangement]
) -> Arrangement | None:
    first = next(v for v in piece.near if image[v] != v)
    half = half if first in half else {image[v] for v in half}
    across = {v: sum(u not in half for u in piece.near[v]) for v in half}
    placed = half_layout(subpiece(piece, half, across))
    if placed.kind not in ("line", "tree", "grid"):
        return None
    between = [v for v in piece.near if image[v] == v]
    if placed.kind == "grid":  # two sheets, the lower one seen behind
        if between:
            return None
        spots: Spots = {v: (1.6 * at, UP) for v, (at, _) in placed.spots.items()}
        return Arrangement(
            spots | {image[v]: (at + complex(0.62, -0.55), DOWN) for v, (at, _) in spots.items()}, kind="sheets"
        )
    low = min(at.imag for at, _ in placed.spots.values())
    lift = (1.15 if between else 0.6) - low
    above: Spots = {v: (1.1 * at.real + 1j * (at.imag + lift), UP) for v, (at, _) in placed.spots.items()}
    below: Spots = {image[v]: (at.conjugate(), DOWN) for v, (at, _) in above.items()}
    middle: dict[Vertex, float] = {}
    for v in between:
        beside = [above[u][0].real for u in piece.near[v] if u in above]
        middle[v] = sum(beside) / len(beside) if beside else 0.0
    for u, v in pairwise(sorted(middle, key=middle.__getitem__)):
        middle[v] = max(middle[v], middle[u] + 1.0)
    return Arrangement(above | below | {v: (complex(x), DOWN) for v, x in middle.items()}, kind="mirror")

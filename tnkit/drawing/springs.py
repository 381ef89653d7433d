"""The layout for whatever has no shape: distances in the picture as near those in the graph as can be (stress majorisation)."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np

from tnkit.core.breadth import distances
from tnkit.drawing.pieces import Arrangement, GraphPart
from tnkit.drawing.wires import DOWN

__all__ = ["closest", "springs"]

_ROUNDS = 300


def springs(piece: GraphPart) -> Arrangement:
    """Any connected piece; the same one gives the same places."""
    names = list(piece.near)
    n = len(names)
    if n == 1:
        return Arrangement({names[0]: (0j, DOWN)}, kind="springs")
    place = {v: k for k, v in enumerate(names)}
    far = np.ones((n, n))
    for v in names:
        for u, steps in distances(piece.near, v).items():
            far[place[v], place[u]] = max(steps, 1)
    starts = [_classical(far), np.exp(2j * pi * np.arange(n) / n) * far.max() / 2]
    at = min((_majorised(far, start) for start in starts), key=lambda found: round(_stress(far, found), 6))
    at = at - at.mean()
    at = 1.05 / max(closest(at), 0.02) * at if closest(at) < 1.05 or n > 2 else at
    return Arrangement(
        {v: (complex(z), complex(z / abs(z)) if abs(z) > 1e-9 else DOWN) for v, z in zip(names, at, strict=True)},
        kind="springs",
    )


def closest(points: Any) -> float:
    """The least distance of two points."""
    at = np.asarray(points)
    return float((abs(at[:, None] - at) + 1e9 * np.eye(len(at))).min())


def _classical(far: Any) -> Any:
    """The plane in which the distances are seen best (classical scaling), a little stirred so that no two points agree."""
    n = len(far)
    middle = np.eye(n) - 1 / n
    values, modes = np.linalg.eigh(-middle @ far**2 @ middle / 2)
    across = modes * np.sqrt(np.maximum(values, 0))
    across = across * np.where(across[abs(across).argmax(0), np.arange(n)] < 0, -1, 1)
    return across[:, -1] + 1j * across[:, -2] + 0.01 * np.exp(2j * np.arange(n))


def _majorised(far: Any, at: Any) -> Any:
    """Smacof with weights 1 / distance^2: each round solves for the places that the last ones pull to."""
    weight = far**-2.0
    np.fill_diagonal(weight, 0)
    pull = np.linalg.pinv(np.diag(weight.sum(1)) - weight)
    for _ in range(_ROUNDS):
        gap = at[:, None] - at
        ratio = np.where(abs(gap) > 1e-9, weight * far / np.maximum(abs(gap), 1e-9), 0)
        moved = pull @ (ratio.sum(1) * at - ratio @ at)
        if abs(moved - at).max() < 1e-4:
            return moved
        at = moved
    return at


def _stress(far: Any, at: Any) -> float:
    return float((((abs(at[:, None] - at) - far) / far) ** 2).sum())

"""Builders: functions of shapes and ranks that return a Network.

``BUILDERS`` is the registry and ``EXAMPLES`` the test matrix: every builder is tested on its example with every optimiser
and library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tnkit.builders.chains import mpo, mps, ring, tt
from tnkit.builders.circuits import adtn, brick_wall, circuit
from tnkit.builders.lattices import peps
from tnkit.builders.trees import cp, low_rank, mera, tree, tucker
from tnkit.core.network import Network

__all__ = [
    "BUILDERS", "EXAMPLES", "adtn", "brick_wall", "circuit", "cp", "low_rank", "mera", "mpo", "mps", "peps", "ring", "tree", "tt",
    "tucker",
]  # fmt: skip

BUILDERS: dict[str, Callable[..., Network]] = {
    "tt": tt,
    "mps": mps,
    "mpo": mpo,
    "ring": ring,
    "tucker": tucker,
    "cp": cp,
    "low_rank": low_rank,
    "tree": tree,
    "mera": mera,
    "peps": peps,
    "brick_wall": brick_wall,
    "circuit": circuit,
    "adtn": adtn,
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "tt": {"shape": (4, 3, 5, 2), "rank": 3},
    "mps": {"shape": (2,) * 6, "rank": 4},
    "mpo": {"out": (4, 3, 2), "in_": (2, 5, 3), "rank": 3},
    "ring": {"shape": (4, 3, 5, 2), "rank": 2},
    "tucker": {"shape": (4, 5, 6), "rank": (2, 3, 2)},
    "cp": {"shape": (4, 5, 6, 2), "rank": 3},
    "low_rank": {"shape": (12, 10), "rank": 3},
    "tree": {"shape": (2, 3, 2, 3, 4), "rank": 3, "arity": 2},
    "mera": {"shape": (2,) * 6, "rank": 3, "periodic": True},
    "peps": {"rows": 2, "cols": 3, "dim": 2, "rank": 2},
    "brick_wall": {"sites": 6, "dim": 2, "depth": 2, "activation": "tanh"},
    "circuit": {"dim": (3, 2, 4, 2), "columns": [[(0,), (1, 3)], [(3, 2)]], "start": [(0, 2), (3, 1)]},
    "adtn": {"shape": (10, 12), "depth": 2, "order": "interleaved", "scale": True},
}

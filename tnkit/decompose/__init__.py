"""Decompositions: (array, what shape of network) -> (Network, arrays), the Network that the builder returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tnkit.decompose.algebra import add, distance, environment, inner, norm
from tnkit.decompose.als import als, project
from tnkit.decompose.cp import cp_als
from tnkit.decompose.gauge import bond_entropy, bond_spectrum, canonicalize, round
from tnkit.decompose.result import Decomposition
from tnkit.decompose.ring import ring_svd
from tnkit.decompose.svd import low_rank_svd, mpo_svd, tree_svd, tt_svd
from tnkit.decompose.tucker import tucker_svd

__all__ = [
    "DECOMPOSITIONS", "Decomposition", "add", "als", "bond_entropy", "bond_spectrum", "canonicalize", "cp_als",
    "distance", "environment", "inner", "low_rank_svd", "mpo_svd", "norm", "project", "ring_svd", "round", "tree_svd",
    "tt_svd", "tucker_svd",
]  # fmt: skip

#: By name: f(x, rank=, tol=, budget=), the shape of the network following from the array's.
DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "tt_svd": tt_svd,
    "ring_svd": ring_svd,
    "tucker_svd": tucker_svd,
    "tree_svd": tree_svd,
    "low_rank_svd": low_rank_svd,
    "cp_als": cp_als,
}

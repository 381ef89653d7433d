"""The decompositions by name: one line registers one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tnkit.decompose.cp import cp_als
from tnkit.decompose.ring import ring_svd
from tnkit.decompose.svd import low_rank_svd, tree_svd, tt_svd
from tnkit.decompose.tucker import tucker_svd

__all__ = ["DECOMPOSITIONS"]

#: By name: f(x, rank=, tol=, budget=), the shape of the network following from the array's.
DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "tt_svd": tt_svd,
    "ring_svd": ring_svd,
    "tucker_svd": tucker_svd,
    "tree_svd": tree_svd,
    "low_rank_svd": low_rank_svd,
    "cp_als": cp_als,
}

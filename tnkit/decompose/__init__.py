"""Decompositions: (array, what shape of network) -> (Network, arrays), the Network that the builder returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tnkit.decompose.algebra import add, distance, environment, inner, norm
from tnkit.decompose.als import als, project
from tnkit.decompose.cp import cp_als
from tnkit.decompose.svd import tt_svd

__all__ = [
    "DECOMPOSITIONS", "add", "als", "cp_als", "distance", "environment", "inner", "norm", "project", "tt_svd",
]  # fmt: skip

DECOMPOSITIONS: dict[str, Callable[..., Any]] = {"cp_als": cp_als, "tt_svd": tt_svd}

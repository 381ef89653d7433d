"""Decompositions: (array, what shape of network) -> (Network, arrays), the Network that the builder returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tnkit.decompose.svd import tt_svd

__all__ = ["DECOMPOSITIONS", "tt_svd"]

DECOMPOSITIONS: dict[str, Callable[..., Any]] = {"tt_svd": tt_svd}

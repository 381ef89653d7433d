"""The decompositions by name: the line ``@registered`` above a function makes it public and tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["DECOMPOSITIONS", "public", "registered"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: By name: f(x, rank=, tol=, budget=), the shape of the network following from the array's.
DECOMPOSITIONS: dict[str, Callable[..., Any]] = {}


def registered(function: _Function) -> _Function:
    """Register a decomposition: an entry of :data:`DECOMPOSITIONS`, and ``tnkit.NAME``."""
    DECOMPOSITIONS[function.__name__] = function
    return public(function)


def public(function: _Function) -> _Function:
    """``tnkit.NAME`` alone, for one that needs more than an array: its name joins its module's ``__all__``."""
    vars(sys.modules[function.__module__]).setdefault("__all__", []).append(function.__name__)
    return function

"""The decompositions by name: the line ``@registered`` above a function makes it public and tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["DECOMPOSITIONS", "public", "registered"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

DECOMPOSITIONS: dict[str, Callable[..., Any]] = {}
"""The decompositions by name: name -> ``f(x, rank=, tol=, budget=)``, which returns a :class:`Decomposition`.

>>> sorted(tk.DECOMPOSITIONS)
['cp_als', 'low_rank_svd', 'ring_svd', 'tree_svd', 'tt_svd', 'tucker_svd']
>>> x = np.arange(24.0).reshape(2, 3, 4)
>>> max(f(x, rank=6).error for f in tk.DECOMPOSITIONS.values()) < 1e-6
True
"""


def registered(function: _Function) -> _Function:
    """Register a decomposition: an entry of :data:`DECOMPOSITIONS`, and ``tnkit.NAME``."""
    DECOMPOSITIONS[function.__name__] = function
    return public(function)


def public(function: _Function) -> _Function:
    """``tnkit.NAME`` alone, for one that needs more than an array: its name joins its module's ``__all__``."""
    vars(sys.modules[function.__module__]).setdefault("__all__", []).append(function.__name__)
    return function

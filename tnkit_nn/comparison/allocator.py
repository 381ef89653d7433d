"""Gives free memory back to the system: a long training of many replicas keeps little, yet scatters it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["give_back"]


@cache
def _trim() -> Callable[[int], int] | None:
    """What the C library has for it: ``malloc_trim`` of glibc, nothing elsewhere."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return None
    return found


def give_back() -> bool:
    """Return freed pages to the system; False where the C library cannot.

    Values that stay (a loss a step, a metric a look) lie between tensors that come and go, so that the heap of glibc grows although
    what is in use does not: twenty seeds of a layer of LeNet-5 took 20 GB after half an hour.
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True

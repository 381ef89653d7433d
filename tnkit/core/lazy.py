"""A property that is made once, without the lock that Python took for it until 3.12: values that are made twice are equal.

A value that has one and is sent to other processes gives its state by :func:`state_of`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property", "state_of"]

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property(functools.cached_property):
        """As ``functools.cached_property``, in a third of its time."""

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            """What was made, or is made now."""
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value


def state_of(value: object) -> dict[str, Any]:
    """The attributes of a value, for its ``__getstate__``, in a dict of their own.

    An executor pickles in a thread of its own, and a property that is made meanwhile would change the dict under it.
    """
    return dict(value.__dict__)

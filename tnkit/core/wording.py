"""How a value is written in a message: on one line, and never long."""

from __future__ import annotations

from typing import Any

__all__ = ["shown"]


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its repr on one line, cut; of an array its type and shape."""
    shape = getattr(value, "shape", None)
    if (
        isinstance(shape, tuple) and shape and hasattr(value, "dtype")
    ):  # the class of an array has a shape too, which is none
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    try:
        found = " ".join(repr(value).split())
    except Exception:  # a repr of its own that fails is no reason to hide the rule
        found = f"a {type(value).__name__}"
    return found if len(found) <= most else f"{found[: most - 3]}..."

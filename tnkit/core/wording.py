"""How a value is written in a message: on one line, and never long."""

from __future__ import annotations

from typing import Any

__all__ = ["shown"]


def shown(value: Any, most: int = 60) -> str:
    """A value for a message: its repr on one line, cut; of an array its type and shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    try:
        found = " ".join(repr(value).split())
    except Exception:  # a repr of its own that fails is no reason to hide the rule
        found = f"a {type(value).__name__}"
    return found if len(found) <= most else f"{found[: most - 3]}..."

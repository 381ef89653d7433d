"""A warning that names the line of the caller's code, not one of ours."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["warn_caller"]

#: Packages whose functions are passed over.
_OURS = ("tnkit", "tnkit_nn")


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the caller that is not ours, however many of our functions stand between."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

"""Versions of what the figures depend on, and the command that made them."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import torch

import tnkit as tk

__all__ = ["command", "versions"]


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {
        "tnkit": tk.__version__, "torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version(),
    }  # fmt: skip


def command() -> list[str] | None:
    """The command, where this is one of ``tnkit``."""
    first, *rest = sys.argv or [""]
    return ["tnkit", *rest] if Path(first).name in ("tnkit", "__main__.py") else None

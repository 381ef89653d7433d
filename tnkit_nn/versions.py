"""Versions of what the figures depend on."""

from __future__ import annotations

import platform

import numpy as np
import torch

import tnkit as tk

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {
        "tnkit": tk.__version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(),
    }  # fmt: skip

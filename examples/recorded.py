"""An example run at full size, and its result as a file: whole, or as it was before.  Both ``run_all.py`` use it."""

import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tnkit.core.writing import replacing

__all__ = ["measured", "write"]


def measured(name: str) -> dict[str, Any]:
    """What an example's ``main`` found, with the seconds that it took and the load of the machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    found: dict[str, Any] = importlib.import_module(name).main()
    found["seconds"] = {"elapsed": time.perf_counter() - wall, "processor": time.process_time() - cpu}
    found["load"] = psutil.getloadavg()
    return found


def write(path: Path, found: Mapping[str, Any]) -> None:
    """One line of JSON, under a temporary name first."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")

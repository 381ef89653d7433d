"""Runs the tutorials that have changed and keeps them as notebooks in out/course/, where the pages of the course take their outputs from.

``make course`` runs it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SCRIPTS, KEPT = ROOT / "tutorials", ROOT / "out" / "course"
#: Seconds that a cell may take on a slow machine.
LIMIT = 600


def scripts() -> list[Path]:
    """The tutorials in order."""
    return sorted(SCRIPTS.glob("[0-9]*.py"))


def notebook(script: Path) -> nbformat.NotebookNode:
    """A tutorial with its outputs, if it was run as it is now; else without."""
    kept = KEPT / f"{script.stem}.ipynb"
    if kept.exists():
        found = nbformat.read(kept, as_version=4)
        if found.metadata.get("digest") == digest(script):
            return found
    return jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")


def digest(script: Path) -> str:
    """Of the script alone: the tests see to it that its asserts hold with the code of today."""
    return hashlib.sha256(script.read_bytes()).hexdigest()


def run(script: Path) -> None:
    """Run one and keep it."""
    made = jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    made.cells.insert(0, nbformat.v4.new_code_cell("%matplotlib inline"))  # figures show themselves from the first on
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(made, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    del made.cells[0]
    made.metadata["digest"] = digest(script)
    KEPT.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, KEPT / f"{script.stem}.ipynb")


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for script in scripts():
        if (sys.argv[1:] and script.stem not in sys.argv[1:]) or "digest" in notebook(script).metadata:
            continue
        run(script)
        print(f"ran {script.name}")

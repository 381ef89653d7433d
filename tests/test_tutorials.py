"""Every tutorial runs from top to bottom, in a directory of its own, and leaves files under ``out/`` alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


def test_there_are_tutorials():
    assert len(TUTORIALS) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path, tmp_path):
    for module in ("torch", "matplotlib", "sklearn"):
        pytest.importorskip(module)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": search}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {entry.name for entry in tmp_path.iterdir()} <= {"out"}
    pictures = list((tmp_path / "out").rglob("*.png"))
    assert pictures and all(picture.stat().st_size > 1000 for picture in pictures)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_a_percent_script(path):
    lines = path.read_text().splitlines()
    cells = [line for line in lines if line.startswith("# %%")]
    assert lines[0] == "# %% [markdown]" and lines[1].startswith("# # ")
    assert set(cells) == {"# %%", "# %% [markdown]"}

"""What importing costs, the total order of modules, types, lint and format."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_nothing_heavy():
    heavy = {"torch", "matplotlib", "networkx", "tensornetwork", "cotengra", "tensorflow", "jax", "scipy", "tnkit_nn"}
    loaded = set(python("import sys, tnkit; print(*sys.modules)"))
    assert not heavy & loaded


def test_contracting_with_numpy_loads_no_torch():
    code = "import sys, tnkit as tk; n = tk.Network([tk.Node('A', 'ij')], 'i', dict(i=2, j=2)); tk.plan(n); print(*sys.modules)"
    assert "torch" not in python(code)


def test_import_is_fast():
    def seconds():
        start = time.perf_counter()
        python("import tnkit")
        return time.perf_counter() - start

    median = statistics.median(seconds() for _ in range(3))
    print(f"import tnkit: {median:.2f} s, the interpreter's start included")
    assert median < 2


@pytest.mark.parametrize(
    "command",
    [
        "lint-imports --no-cache",  # one total order of modules
        "ruff check --no-cache",
        "ruff format --check --no-cache",
        pytest.param(f"mypy --cache-dir={os.devnull}", marks=pytest.mark.slow),
    ],
)
def test_the_code_is_as_make_check_wants_it(command):
    name, *options = command.split()
    tool = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([tool, *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr

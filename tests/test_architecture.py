"""What importing costs, and the total order of modules."""

import importlib.util
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


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="import-linter is not installed")
def test_one_total_order_of_modules():
    lint = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr

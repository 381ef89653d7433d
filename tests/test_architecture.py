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
    heavy = {
        "torch",
        "matplotlib",
        "networkx",
        "tensornetwork",
        "cotengra",
        "tensorflow",
        "jax",
        "scipy",
        "tnkit_nn",
        "array_api_compat",
    }
    loaded = set(python("import sys, tnkit; print(*sys.modules)"))
    assert not heavy & loaded


def test_arrays_of_numpy_load_no_other_library():
    code = "import sys, tnkit as tk; n = tk.tt((2, 3), 2); a = tk.init.normal(n); x = tk.contract(n, a); tk.tt_svd(x)"
    code += "; tk.norm(n, a); tk.round(n, a, rank=1); tk.tensorize(x, (2, 3)); print(*sys.modules)"
    assert not {"torch", "tnkit_nn", "jax", "array_api_compat", "array_api_strict"} & set(python(code))


def test_a_tensor_brings_the_engine_of_torch():
    code = "import sys, torch, tnkit as tk; tk.norm(tk.tt((2,), 1), {'core_0': torch.ones(2)}); print(*sys.modules)"
    loaded = set(python(code))
    assert "tnkit_nn.engine.backend" in loaded and not {"jax", "array_api_compat"} & loaded


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

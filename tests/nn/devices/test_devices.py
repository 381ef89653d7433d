"""Every public module and function on a second device, which is simulated: nothing is left behind on the processor."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

KINDS = ("whole", "without doubles")
ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(getattr(torch._C, "_acc", None), "register_python_privateuseone_device_guard"),
        reason="torch has no devices in Python: before 2.10",
    ),
]


@pytest.mark.parametrize(
    "group, kind", [("contraction", "without doubles"), *product(("layers", "weights", "training", "comparing"), KINDS)]
)
def test_runs_on_another_device(group, kind):
    run = [sys.executable, "-m", "tests.nn.devices.cases", group, kind]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failed"], "\n\n".join(f"{name}: {text}" for name, text in found["failed"].items())
    assert found["count"] >= 9

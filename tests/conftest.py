"""What all tests share."""

import os
import shutil

import pytest

from tnkit.planning.calibration import DEFAULT, rates_file

if shutil.which("nvidia-smi") is None:  # read when triton is imported, by whichever test comes first
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The same plans on every machine, calibrated or not."""
    monkeypatch.setattr("tnkit.planning.calibration._known", {rates_file(): DEFAULT})

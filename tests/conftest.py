"""What all tests share."""

import pytest

from tnkit.rates import DEFAULT, rates_file


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The same plans on every machine, calibrated or not."""
    monkeypatch.setattr("tnkit.rates._known", {rates_file(): DEFAULT})

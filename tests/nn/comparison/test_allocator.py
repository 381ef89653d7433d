"""Memory of long trainings: what is freed goes back to the system, though small values stay between."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tnkit_nn.comparison.allocator import give_back


def resident():
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_pages_between_values_that_stay_go_back():
    if not give_back():
        pytest.skip("no malloc_trim in this C library")
    before, kept = resident(), []
    large = []
    for _ in range(400):
        large.append(torch.ones(50_000))  # 200 kB: on the heap, not in a mapping of its own
        kept.append(torch.ones(50))
    grown = resident() - before
    large.clear()
    give_back()
    assert grown > 60e6 and resident() - before < 0.25 * grown
    assert all(float(x.sum()) == 50 for x in kept)


def test_a_library_without_it_is_said(monkeypatch):
    from tnkit_nn.comparison import allocator

    monkeypatch.setattr(allocator, "_trim", lambda: None)
    assert give_back() is False

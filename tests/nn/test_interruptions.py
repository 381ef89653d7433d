"""A kill and a Ctrl-C at a random moment; ``python -m tests.nn.interruptions`` does many."""

import os

import pytest

from .interruptions import measured

pytest.importorskip("filelock")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("name", ["train", "compress", "compare"])
def test_disturbed_and_run_again(name):
    for tally in measured(1, 1, seed=1, only=(name,)).values():
        assert not tally.unlike and not tally.spoken and not tally.left

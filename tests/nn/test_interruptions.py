"""A kill and a Ctrl-C at a random moment; ``python -m tests.nn.interruptions`` does many."""

import os

import pytest

for module in ("filelock", "matplotlib", "scipy"):
    pytest.importorskip(module)

from .interruptions import measured  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("name, fresh", [("train", 0), ("compress", 0), ("compare", 1)])
def test_disturbed_and_run_again(name, fresh):
    """A new process and its workers where there are workers; a fork of this one elsewhere, which spares it the imports."""
    found = measured(1, fresh, seed=1, only=(name,))
    assert sorted(found) == [(name, how, "new" if fresh else "fork") for how in ("int", "kill")]
    for tally in found.values():
        assert not tally.unlike and not tally.spoken and not tally.left and tally.disturbed == 1

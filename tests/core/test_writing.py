"""Temporary files: whose they are, and which are left of a process that is gone."""

import os
import subprocess
import sys

import pytest

from tnkit.core.writing import HOST, clear


@pytest.mark.parametrize("below", [False, True])
def test_files_of_processes_that_are_gone_are_deleted(tmp_path, below):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "in").mkdir()
    left = [f".a.{HOST}-{pid}.x.part" for pid in (gone.pid, 2**31 - 1, 2**33, 2**70)]
    kept = [f".a.{HOST}-{os.getpid()}.x.part", f".a.elsewhere-{gone.pid}.x.part", f".a.{HOST}-some.x.part", f"a.{HOST}-{gone.pid}.x.part"]  # fmt: skip
    inside = [f"in/{name}" for name in (left[0], kept[0])]
    for name in (*left, *kept, *inside):
        (tmp_path / name).write_bytes(b"half")
    clear(tmp_path, below)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*kept, *(inside[1:] if below else inside)}

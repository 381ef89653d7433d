"""Folders that one run has to itself, and files on a disk that is full."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tnkit_nn.storage import alone, replacing

pytest.importorskip("filelock")


def test_a_second_run_is_refused_at_once(tmp_path):
    begin = time.monotonic()
    with (
        alone(tmp_path, "a test"),
        pytest.raises(ValueError, match=f"^{tmp_path}: it is being run by another process$"),
        alone(tmp_path, "it"),
    ):
        pass
    assert time.monotonic() - begin < 5
    with alone(tmp_path, "it"):  # free again
        pass


def test_a_killed_run_leaves_no_lock(tmp_path):
    code = f"""
import time
from pathlib import Path
from tnkit_nn.storage import alone
with alone(Path({str(tmp_path)!r}), "the other"):
    print("has it", flush=True)
    time.sleep(600)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "has it\n"
    with pytest.raises(ValueError, match="it is being run by another process"), alone(tmp_path, "it"):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    with alone(tmp_path, "it"):
        pass


def test_a_folder_that_is_not_there(tmp_path):
    for folder in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError, match=f"no such folder: '{folder}'"), alone(folder, "it"):
            pass
    assert not (tmp_path / "none").exists()


AS_NOBODY = """
import os, sys
from pathlib import Path
from tnkit_nn.storage import alone, write_json
import filelock
if os.getuid() == 0:
    os.setuid(65534)  # nothing is read-only to root
for write in (lambda folder: alone(folder, "it").__enter__(), lambda folder: write_json(folder / "x.json", 1)):
    try:
        write(Path(sys.argv[1]))
    except OSError as error:
        print(type(error).__name__, error.filename)
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no users to be")
def test_a_folder_that_cannot_be_written_in(tmp_path_factory):
    folder = Path(os.path.realpath("/tmp")) / f"tnkit-test-{os.getpid()}"  # pytest's own folders are closed to others
    folder.mkdir(mode=0o555)
    try:
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True)
        assert done.stdout.splitlines() == [
            f"PermissionError {folder / 'lock'}", f"PermissionError {folder / 'x.json'}",
        ], done.stderr  # fmt: skip
    finally:
        folder.rmdir()


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from tnkit_nn.storage import write_json, write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda p: write_json(p, "x" * 5000), lambda p: write_tensors(p, {"a": torch.zeros(5000)})):
    try:
        write(Path(sys.argv[1]))
    except OSError as error:
        print(error.errno, error.filename)
"""


def test_a_full_disk_is_an_error_of_the_file(tmp_path):
    pytest.importorskip("resource")
    (tmp_path / "x").write_text("old")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FULL, tmp_path / "x"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.split()[1] == str(tmp_path / "x") for line in lines), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "old"


def test_errors_of_ones_own_pass(tmp_path):
    with pytest.raises(OSError, match=r"^mine$"), replacing(tmp_path / "x"):
        raise OSError("mine")
    assert not list(tmp_path.iterdir())

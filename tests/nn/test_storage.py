"""Folders that one run has to itself, and files on a disk that is full."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from tnkit.core import writing
from tnkit_nn import storage
from tnkit_nn.storage import (
    alone,
    digest,
    fill_,
    read_bytes,
    read_record,
    read_tensors,
    replacing,
    write_bytes,
    write_json,
    write_record,
    write_tensors,
)

pytest.importorskip("filelock")


def test_a_second_run_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    with (
        alone(tmp_path, "a test"),
        pytest.raises(ValueError, match=f"^{tmp_path}: it is being run by another process$"),
        alone(tmp_path, "it"),
    ):
        pass
    with alone(tmp_path, "it"):  # free again
        pass


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_the_file(tmp_path):
    pytest.importorskip("resource")
    (tmp_path / "x").write_text("old")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FULL, tmp_path / "x"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(errno.EFBIG)] * 2, (
        done.stderr
    )  # the library's own error has no number
    assert all(line.split()[1] == str(tmp_path / "x") for line in lines), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "old"


def windows(module, monkeypatch, **other):
    """The module takes this system for Windows, with ``other`` functions of it."""
    monkeypatch.setattr(module, "os", types.SimpleNamespace(**{**vars(os), "name": "nt", **other}))


def test_a_full_disk_of_windows(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError(
            "Error while serializing: I/O error: There is not enough space on the disk. (os error 112)"
        )

    windows(storage, monkeypatch)
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"There is not enough space on the disk: '.*x'$") as found:
        write_tensors(tmp_path / "x", {"a": torch.zeros(3)})
    assert found.value.filename == str(tmp_path / "x") and not list(tmp_path.iterdir())


def test_a_read_only_file_of_windows_is_left_as_it_is(tmp_path, monkeypatch):
    def allowed(path):
        if not os.stat(path).st_mode & stat.S_IWRITE:
            raise PermissionError(errno.EACCES, "Access is denied", str(path))

    def replace(one, other):
        allowed(other)

    def unlink(path, missing_ok=False):
        allowed(path)
        os.unlink(path)

    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o444)
    windows(writing, monkeypatch, replace=replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(PermissionError, match=r"Access is denied: '.*x'$"):
        write_json(tmp_path / "x", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "old"


def test_errors_of_ones_own_pass(tmp_path):
    with pytest.raises(OSError, match=r"^mine$"), replacing(tmp_path / "x"):
        raise OSError("mine")
    assert not list(tmp_path.iterdir())


# -- what is read back --------------------------------------------------------------------------------------------------
VALUE = {"a": 0.1 + 0.2, "b": [1, {"c": float("inf")}], "n": None, "ü": "\n", "nested": {"10": 1, "9": 2}}
KINDS = {"a": (int, float), "b": list}


def test_a_record_there_and_back(tmp_path):
    write_record(tmp_path / "r", "it", {**VALUE, "nested": {10: 1, 9: 2}, "b": (1, {"c": float("inf")})})
    assert read_record(tmp_path / "r", "it", KINDS) == VALUE
    write_json(tmp_path / "old", VALUE)  # no seal
    assert read_record(tmp_path / "old", "it", KINDS) == VALUE


@pytest.mark.parametrize("at", range(0, 300, 7))
def test_no_changed_byte_of_a_record_is_taken(tmp_path, at):
    path = tmp_path / "r"
    write_record(path, "it", VALUE)
    before = path.read_bytes()
    content, at = bytearray(before), at % len(before)
    content[at] = ord("7") if content[at] != ord("7") else ord("8")
    path.write_bytes(content)
    if b'"seal"' not in content:  # as an older version wrote it
        return
    with pytest.raises(ValueError, match=r"r: damaged, .*; delete it to have it made again$"):
        read_record(path, "it", KINDS)


def test_records_of_others(tmp_path):
    path = tmp_path / "r"
    write_record(path, "it", VALUE)
    with pytest.raises(ValueError, match="r: damaged, it is of 'it', not of 'that'; do it again"):
        read_record(path, "that", KINDS, "do it again")
    for kinds, words in (
        ({"z": int}, "it has no 'z'"),
        ({"n": int}, "its n is None, not of type int"),
        ({"b": (int, str)}, "int or str"),
    ):
        with pytest.raises(ValueError, match=words):
            read_record(path, "it", kinds)
    write_json(path, {"a": True})
    with pytest.raises(ValueError, match="its a is True, not of type int or float"):
        read_record(path, "it", {"a": (int, float)})


def test_bytes_there_and_back(tmp_path):
    path, content = tmp_path / "b", b"\n\x00tnkit {\n\xff"
    write_bytes(path, "it", content)
    assert read_bytes(path, "it") == content
    with pytest.raises(ValueError, match="b: damaged, it is of 'it', not of 'that'"):
        read_bytes(path, "that")
    for k in range(len(path.read_bytes())):
        changed = bytearray(path.read_bytes())
        changed[k] ^= 1
        (tmp_path / "c").write_bytes(changed)
        if k >= len(b"tnkit "):  # without the first word it is a file without a seal, for its reader to judge
            with pytest.raises(ValueError, match="c: damaged"):
                read_bytes(tmp_path / "c", "it")


def test_what_was_read_is_no_longer_the_file(tmp_path):
    """Another program may write to it; Windows lets nobody replace a file that is mapped."""
    path, tensors = tmp_path / "t", {"a": torch.arange(2.0**16), "b": torch.zeros(0), "c": torch.ones(())}
    write_tensors(path, tensors)
    found, _ = read_tensors(path)
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\xff" * 8)
        file.seek(2**12)
        file.write(b"\xff" * 2**16)
    assert all(torch.equal(found[name], x) for name, x in tensors.items())


def test_tensors_are_sealed(tmp_path):
    path = tmp_path / "t"
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.zeros(0)}
    write_tensors(path, tensors, {"note": "ü"})
    found, texts = read_tensors(path)
    assert texts == {"note": "ü"} and all(
        torch.equal(found[n], t) and found[n].dtype == t.dtype for n, t in tensors.items()
    )
    whole = path.read_bytes()
    for k in range(8, len(whole), 5):
        changed = bytearray(whole)
        changed[k] ^= 1
        (tmp_path / "c").write_bytes(changed)
        try:
            read_tensors(tmp_path / "c", "do it again")
        except ValueError as error:
            assert str(error).startswith(f"{tmp_path / 'c'}: ") and str(error).endswith("; do it again")
        else:
            begin = whole.index(b"tnkit.sha256") - 1  # its own name is changed: a file without a seal
            assert begin <= k <= begin + 14 or whole[k : k + 1] == b" "


def test_a_digest_is_of_names_dtypes_shapes_values_and_texts():
    x = torch.zeros(2, 3)
    unlike = [
        ({"a": x}, {}), ({"b": x}, {}), ({"a": x.int()}, {}), ({"a": x.T}, {}), ({"a": x + 1}, {}), ({"a": x}, {"a": "x"}),
        ({"a": x, "b": x}, {}), ({"a": torch.cat([x, x])}, {}), ({}, {}),
    ]  # fmt: skip
    assert len({digest(*given) for given in unlike}) == len(unlike)
    assert digest({"a": x, "b": x + 1}, {"c": "1", "d": "2"}) == digest({"b": x + 1, "a": x}, {"d": "2", "c": "1"})


@pytest.mark.parametrize(
    "value, words",
    [
        (torch.ones(2, 3, dtype=torch.complex64), "weight is torch.complex64, not torch.float32"),
        (torch.ones(2, 3, dtype=torch.long), "weight is torch.int64, not torch.float32"),
        (torch.ones(2, 3, dtype=torch.bool), "weight is torch.bool, not torch.float32"),
        (torch.ones(3, 2), r"weight is \(3, 2\), not \(2, 3\)"),
        (torch.full((2, 3), float("nan")), "weight has entries that are not a number"),
    ],
)
def test_what_does_not_fit_is_not_copied(value, words):
    model = nn.Linear(3, 2)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"^it: {words}$"):
        fill_(model, {"weight": value, "bias": torch.zeros(2)}, "it", numbers=True)
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    fill_(model, {"weight": torch.ones(2, 3).double(), "bias": torch.zeros(2).half()}, "it", numbers=True)
    assert torch.equal(model.weight, torch.ones(2, 3))

"""Files that are damaged, promise more than they hold or cannot be written: one line, and what was there stays."""

import io
import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

import tnkit as tk
from tnkit.interop.files import load, save, to_json


class Bomb:
    def __reduce__(self):
        return (os._exit, (1,))


@pytest.mark.parametrize("bad", [np.array(["x", "y"]), np.array([object(), None]), np.array([Bomb(), 1], dtype=object),
                                 np.zeros(2, [("a", "f8")]), np.array(["2020", "2021"], "M8[Y]")])  # fmt: skip
def test_what_is_no_number_is_refused(bad, tmp_path):
    net = tk.Network([tk.Node("a", "i")], "i", {"i": 2})
    with pytest.raises(ValueError, match="array 'a' has dtype"):
        save(tmp_path / "x", net, {"a": bad})
    assert os.listdir(tmp_path) == []


def test_a_pickle_in_a_file_is_not_run(chain, tmp_path):
    net, _ = chain
    with zipfile.ZipFile(tmp_path / "x", "w") as file:
        file.writestr("network.json", to_json(net))
        file.writestr("arrays.json", '["a"]')
        with file.open("array_0.npy", "w") as entry:
            np.lib.format.write_array(entry, np.array([[Bomb()] * 3] * 2), allow_pickle=True)
    with pytest.raises(ValueError, match=r"array_0\.npy has dtype object; only numbers"):
        load(tmp_path / "x")


def test_an_interrupted_save_leaves_the_old_file(chain, tmp_path, monkeypatch):
    net, arrays = chain
    path = tmp_path / "x"
    save(path, net, arrays)
    before = path.read_bytes()
    write = np.lib.format.write_array
    calls = []

    def broken(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*args, **kwargs)

    monkeypatch.setattr(np.lib.format, "write_array", broken)
    with pytest.raises(KeyboardInterrupt):
        save(path, net, {name: a + 1 for name, a in arrays.items()})
    assert len(calls) == 2
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(chain, tmp_path, monkeypatch, step):
    net, arrays = chain
    path = tmp_path / "x"
    save(path, net, arrays)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space"):
        save(path, net)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


def test_damaged_files(chain, tmp_path):
    net, arrays = chain
    path = tmp_path / "x"
    save(path, net, {"a": arrays["a"] + 0.125, "b": arrays["b"]})
    good = path.read_bytes()
    at = good.index(np.float64(3.125).tobytes())
    flipped = good[:at] + b"\xff" + good[at + 1 :]
    for bad in (b"", b"not a zip", good[:-30], good[: len(good) // 2], flipped):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="is not a whole file of"):
            load(path)
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ValueError, match="is not a whole file of"):
        load(tmp_path / "other.npz")


def test_bytes_behind_an_array_are_refused(chain, tmp_path):
    net, arrays = chain
    save(tmp_path / "x", net, arrays)
    with zipfile.ZipFile(tmp_path / "x") as old, zipfile.ZipFile(tmp_path / "y", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + b"\0" * (name == "array_1.npy"))
    with pytest.raises(ValueError, match=r"array_1\.npy is longer than its header says"):
        load(tmp_path / "y")


@pytest.mark.slow
def test_any_damaged_byte_is_named_as_damage(tmp_path):
    net = tk.tt((3, 4), 2)
    tk.save(tmp_path / "a", net, tk.init.normal(net, seed=0))
    whole = (tmp_path / "a").read_bytes()
    arrays, refused = tk.load(tmp_path / "a")[1], 0
    for at in range(0, len(whole)):
        (tmp_path / "b").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            again, loaded = tk.load(tmp_path / "b")
        except ValueError as error:  # nothing else
            assert str(tmp_path / "b") in str(error) and "\n" not in str(error)
            refused += 1
        else:  # a date, an attribute: never what the file holds
            assert again == net
            assert list(loaded) == list(arrays)
            assert all(a.dtype == arrays[n].dtype and np.array_equal(a, arrays[n]) for n, a in loaded.items())
    assert refused > len(whole) / 2


# -- files that promise more than they hold -------------------------------------------------------------------------
def rewritten(path, to, kind=zipfile.ZIP_STORED, **entries):
    """The file without digests, some entries replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", kind) as new:
        for name in old.namelist():
            if name != "sha256.json":
                new.writestr(name, entries.get(name.partition(".")[0], old.read(name)))


def refused(path):
    """The message of load, in the memory of a small file."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"is not a whole file of tnkit\.save: ") as error:
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
    assert repr(str(path)) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_a_compressed_entry_is_not_unpacked(chain, tmp_path):
    save(tmp_path / "x", *chain)
    rewritten(tmp_path / "x", tmp_path / "y", zipfile.ZIP_DEFLATED, network=b" " * 30_000_000)
    assert (tmp_path / "y").stat().st_size < 40_000
    assert "network.json is compressed, and save does not compress" in refused(tmp_path / "y")


def npy(shape, dtype="<f8", data=b""):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"shape": shape, "fortran_order": False, "descr": dtype})
    return head.getvalue() + data


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"array_0": npy((10**12,))}, "array_0.npy is shorter than its header says"),
        ({"array_0": npy((10**30, 10**30))}, "array_0.npy is shorter than its header says"),
        ({"array_0": npy((-1, 2))}, "array_0.npy has shape"),
        ({"array_0": npy((2, 3), "|V8", bytes(48))}, "array_0.npy has dtype"),
        ({"array_0": npy((2, 3), "<U2", bytes(48))}, "array_0.npy has dtype"),
        ({"array_0": b""}, "array_0.npy has no header of an array"),
        ({"array_0": npy((2, 3))[:40]}, "array_0.npy has no header of an array"),
        ({"array_0": b"\x93NUMPY\x03\x00" + bytes(200)}, "array_0.npy has version"),
        ({"arrays": b"[" * 100_000}, "nested too deep"),
        ({"arrays": b'["a", "a"]'}, "arrays.json names an array twice"),
        ({"arrays": b'{"a": 1}'}, "arrays.json is {'a': 1}, not list"),
        ({"arrays": b'["a", 3]'}, r"arrays.json[1] is 3, not str"),
        ({"arrays": b'["a", "b", "c"]'}, "array_2.npy"),
        ({"arrays": b'["a", "z"]'}, "array 'z' belongs to no node"),
        ({"arrays": b"\xff"}, "'utf-8' codec"),
        ({"network": b"[" * 100_000}, "from_json: nested too deep"),
        ({"network": b"null"}, "from_json: the document is None"),
    ],
)
def test_entries_that_are_not_what_they_say(chain, tmp_path, entries, message):
    save(tmp_path / "x", *chain)
    rewritten(tmp_path / "x", tmp_path / "y", **entries)
    assert message in refused(tmp_path / "y")


def test_digests(chain, tmp_path):
    """An entry changed with its checksum in the zip set right is named."""
    save(tmp_path / "x", *chain)
    with zipfile.ZipFile(tmp_path / "x") as old:
        entries = {name: old.read(name) for name in old.namelist()}
    assert set(json.loads(entries["sha256.json"])) == set(entries) - {"sha256.json"}
    other = {
        "network.json": to_json(tk.Network(chain[0].nodes, "", chain[0].sizes)).encode(),
        "arrays.json": b'["b", "a"]',
        "array_1.npy": entries["array_1.npy"][:-8] + np.float64(3).tobytes(),
    }
    for changed, data in other.items():
        with zipfile.ZipFile(tmp_path / "y", "w") as new:
            for name, was in entries.items():
                new.writestr(name, data if name == changed else was)
        assert f"{changed} is damaged: its digest is not the one in sha256.json" in refused(tmp_path / "y")


def test_a_folder_in_the_way_is_named(chain, tmp_path):
    (tmp_path / "x").mkdir()
    for call in (lambda: save(tmp_path / "x", chain[0]), lambda: load(tmp_path / "x")):
        with pytest.raises(IsADirectoryError, match="x'"):
            call()
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_names_the_file(chain, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*x'"):
        save(tmp_path / "x", chain[0])
    assert os.listdir(tmp_path) == []

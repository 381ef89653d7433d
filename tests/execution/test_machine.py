"""What cannot fit is refused before it begins.  Nothing large is allocated: the machine is made small instead."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import tnkit as tk
from tnkit.execution import machine

LIBRARIES = {"numpy": np.ones, "torch": torch.ones}
DTYPES = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


def product(rows=60, cols=50):
    return tk.Network([tk.Node("A", "ir"), tk.Node("B", "rj")], "ij", dict(i=rows, j=cols, r=2))


def ones(net, library, dtype):
    kind = getattr(torch, dtype) if library == "torch" else dtype
    return {name: LIBRARIES[library](shape, dtype=kind) for name, shape in net.array_shapes.items()}


@pytest.fixture
def room(monkeypatch):
    """A machine with so many bytes free, on which no contraction is too small to be looked at."""
    monkeypatch.setattr(machine, "_SMALL", 0)

    def left(free, whose="this machine"):
        monkeypatch.setattr(machine, "available", lambda: (free, whose))

    return left


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_entries_of_the_arrays_count(room, library, dtype):
    """The plan is for eight bytes an entry; what is needed is a matter of the arrays."""
    net = product()
    arrays, needed = ones(net, library, dtype), 60 * 50 * DTYPES[dtype]
    room(needed)
    assert tuple(tk.contract(net, arrays).shape) == (60, 50)
    tk.run(tk.plan(net), arrays)
    room(needed - 1)
    for call in (
        lambda: tk.contract(net, arrays),
        lambda: tk.contract(net, arrays, strip_exponent=True),
        lambda: tk.run(tk.plan(net), arrays),
    ):
        with pytest.raises(MemoryError, match="beside its arrays") as error:
            call()
        assert "\n" not in str(error.value) and "this machine has" in str(error.value)


def test_the_widest_array_counts(room):
    net = product()
    arrays = {**ones(net, "numpy", "float32"), "A": np.ones((60, 2))}
    room(60 * 50 * 8 - 1)
    with pytest.raises(MemoryError, match="24 kB beside"):
        tk.contract(net, arrays)


def ladder(size=40):
    """A scalar whose contraction makes matrices on the way."""
    nodes = [tk.Node("A", "ab"), tk.Node("B", "bc"), tk.Node("C", "cd"), tk.Node("D", "da")]
    return tk.Network(nodes, "", {i: size for i in "abcd"})


@pytest.mark.parametrize("library", LIBRARIES)
def test_slices_are_the_way_out(room, library):
    net = ladder()
    arrays = ones(net, library, "float32")
    inputs = 4 * 1600 * 4
    whole = tk.plan(net, itemsize=4).peak - inputs
    room(whole - 1)
    with pytest.raises(
        MemoryError, match=r"memory_limit= runs it slice by slice, and tk\.contract_approx gives it approximately"
    ):
        tk.contract(net, arrays)
    found = tk.contract(net, arrays, memory_limit=inputs + whole // 2)
    assert float(found) == 40.0**4


def test_the_tensors_of_a_slice_count(room, monkeypatch):
    """A plan of one step, whose result is a number: what is large is made within its slices."""
    net = ladder()
    plan = tk.plan(net, slices=2)
    assert len(plan.steps) == 1
    monkeypatch.setattr(machine, "_SMALL", 4 * 1600 + 2)  # more than the arrays and the result
    room(0)
    with pytest.raises(MemoryError, match="run: "):
        tk.run(plan, ones(net, "numpy", "float64"))


def test_a_result_that_alone_is_too_large(room):
    net = product()
    room(20_000)
    with pytest.raises(
        MemoryError, match=r"the result alone takes 24 kB; tk.norm, tk.inner and tk.distance do not form it"
    ):
        tk.contract(net, ones(net, "numpy", "float64"))


@pytest.mark.parametrize(
    "who, call",
    [
        ("merge", lambda net, arrays: tk.merge(net, arrays, ["A", "B"])),
        ("norm, inner, distance", lambda net, arrays: tk.norm(net, arrays)),
        ("norm, inner, distance", lambda net, arrays: tk.inner(net, arrays, net, arrays)),
        ("norm, inner, distance", lambda net, arrays: tk.distance(net, arrays, net, arrays)),
    ],
)
def test_what_keeps_an_exponent_asks_for_room_too(room, who, call):
    net = ladder()
    room(12_000)
    with pytest.raises(MemoryError, match=f"{who}: .* beside"):
        call(net, ones(net, "numpy", "float64"))


def test_terabytes_are_refused_at_once():
    net = tk.cp((10**5,) * 3, rank=2)
    with pytest.raises(MemoryError, match=r"needs [0-9.]+ [PT]B beside its arrays .* the result alone takes 4 PB"):
        tk.contract(net, ones(net, "numpy", "float32"))


def test_small_contractions_and_devices_do_not_ask(monkeypatch):
    def asked():
        raise AssertionError("asked")

    monkeypatch.setattr(machine, "available", asked)
    net = product()
    tk.contract(net, ones(net, "numpy", "float64"))
    monkeypatch.setattr(machine, "_SMALL", 0)
    made = tk.contract(net, {n: x.to("meta") for n, x in ones(net, "torch", "float32").items()})
    assert made.shape == (60, 50)
    with pytest.raises(AssertionError, match="asked"):
        tk.contract(net, ones(net, "numpy", "float64"))


# -- containers -------------------------------------------------------------------------------------------------------
GB = 10**9


@pytest.fixture
def container(monkeypatch, tmp_path):
    """``make(membership, {folder: {file: text}})``: the groups that this process is in, on a machine with 64 GB free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GB})())

    def make(membership, groups):
        (tmp_path / "cgroup").write_text(membership)
        monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
        for folder, files in groups.items():
            (tmp_path / "groups" / folder).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (tmp_path / "groups" / folder / name).write_text(f"{text}\n")

    return make


def test_a_group_may_have_any_name(container, tmp_path):
    """Its bytes are in no encoding, and that of the locale may be ASCII."""
    name = os.fsdecode(b"caf\xe9")
    container("", {name: two(3 * GB, 1 * GB)})
    (tmp_path / "cgroup").write_bytes(b"0::/caf\xe9\n")
    assert machine.available() == (2 * GB, "this container")


def two(limit, used, stat="anon 5\ninactive_file 0"):
    return {"memory.max": limit, "memory.current": used, "memory.stat": stat}


def one(limit, used, stat="cache 5\ntotal_inactive_file 0"):
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


FREE = (64 * GB, "this machine")


@pytest.mark.parametrize(
    ("membership", "groups", "found"),
    [
        ("0::/\n", {"": two(4 * GB, GB)}, (3 * GB, "this container")),
        ("0::/\n", {"": two(4 * GB, 3 * GB, f"anon 1\ninactive_file {2 * GB}")}, (3 * GB, "this container")),
        ("0::/\n", {"": two("max", 3 * GB)}, FREE),
        ("0::/a/b\n", {"a/b": two("max", GB), "a": two(2 * GB, GB)}, (GB, "this container")),
        ("0::/a/b\n", {"a/b": two(9 * GB, GB), "a": two(16 * GB, 15 * GB)}, (GB, "this container")),
        ("0::/not/seen/from/here\n", {"": two(4 * GB, GB)}, (3 * GB, "this container")),
        ("0::/\n", {"": two(4 * GB, 5 * GB)}, (0, "this container")),
        ("0::/\n", {"": two(900 * GB, GB)}, FREE),
        ("0::/\n", {}, FREE),
        ("", {}, FREE),
        ("5:cpu,memory:/docker/x\n1:name=systemd:/\n", {"memory/docker/x": one(2 * GB, GB)}, (GB, "this container")),
        ("5:memory:/docker/x\n0::/\n", {"memory": one(2 * GB, GB, "total_inactive_file 7")}, (GB + 7, "this container")),
        ("5:memory:/\n", {"memory": one(2**63 - 4096, GB)}, FREE),
        ("5:cpu:/x\n", {"memory": one(2 * GB, GB)}, FREE),
    ],
)  # fmt: skip
def test_the_limit_of_a_container(container, membership, groups, found):
    container(membership, groups)
    assert machine.available() == found


def test_a_machine_without_groups(container, monkeypatch, tmp_path):
    container("", {})
    monkeypatch.setattr(machine, "_MEMBERSHIP", Path(tmp_path / "none"))
    assert machine.available() == FREE


def test_what_is_free_here():
    free, whose = machine.available()
    assert 0 < free <= psutil.virtual_memory().total and whose in ("this machine", "this container")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2.5e9, "2.5 GB"), (4e15, "4 PB"), (3e22, "3e+04 EB")],
)
def test_bytes_in_print(number, text):
    assert machine._bytes(number) == text

import json
import os
import zipfile

import numpy as np
import pytest

import tnkit as tk
from tnkit.interop.files import from_json, load, save, to_json
from tnkit.testing import random_network


@pytest.fixture
def chain():
    net = tk.Network([tk.Node("a", "ij"), tk.Node("b", "jk")], "ik", {"i": 2, "j": 3, "k": 2})
    return net, {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((3, 2))}


@pytest.fixture
def nested(chain):
    inner = chain[0].activate("relu", "f").relabel(inds={"j": "q"})
    other = tk.Network([tk.Node("c", "ki", array="w"), tk.Node("d", "ii", fixed=True)], "ki", {"k": 2, "i": 2})
    return tk.Network(
        [tk.Elementwise("sum", "add", (inner, other)), tk.Node("e", "kz", fixed="delta")], "iz", {"k": 2, "z": 5}
    )


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        want = np.asarray(b[name])
        assert isinstance(a[name], np.ndarray)
        assert (a[name].dtype, a[name].shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(a[name], want)


# -- JSON -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("nonlinear", [False, True])
def test_random_networks_and_arrays_round_trip(seed, nonlinear, tmp_path):
    net, arrays = random_network(seed, nonlinear=nonlinear)
    assert from_json(to_json(net)) == net
    save(tmp_path / "net", net, arrays)
    again, loaded = load(tmp_path / "net")
    assert again == net
    same(loaded, arrays)


def test_nested_and_odd_names_round_trip(nested):
    assert from_json(to_json(nested)) == nested
    odd = tk.Network([tk.Node('"/..\n', ["é", "\ud800", ""], array="\x00")], ["\ud800"], {"é": 1, "\ud800": 2, "": 3})
    assert from_json(to_json(odd)) == odd


def test_json_is_plain(chain):
    data = json.loads(to_json(chain[0]))
    assert data["format"] == "tnkit.network"
    assert data["version"] == 1
    assert data["nodes"][0] == {"node": "a", "inds": ["i", "j"], "array": "a", "fixed": False}


def test_a_function_of_its_own_is_refused(chain):
    net = chain[0].activate(lambda xp, x: x + 1, "plus one").activate("relu", "outer")
    with pytest.raises(ValueError, match="elementwise node 'plus one'"):
        to_json(net)


def edit(*path, to):
    """The nested network's JSON with the value at ``path`` replaced, or removed if ``to`` is None."""

    def apply(data):
        at = data
        for key in path[:-1]:
            at = at[key]
        if to is None:
            del at[path[-1]]
        else:
            at[path[-1]] = to
        return data

    return apply


BODY = ("nodes", 0, "bodies", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("format", to="x"), "format is 'x'"),
        (edit("version", to=2), "version is 2"),
        (edit("version", to=None), "version is None"),
        (edit("nodes", to=None), "nodes is missing"),
        (edit("nodes", to={}), "nodes is {}, not list"),
        (edit("nodes", to=[]), "at least one node"),
        (edit("nodes", 1, to=3), r"nodes\[1\] is 3, not dict"),
        (edit("nodes", 1, "node", to=None), r"nodes\[1\] needs one of"),
        (edit("nodes", 1, "node", to=5), r"nodes\[1\].*name.*5"),
        (edit("nodes", 1, "inds", to="kz"), r"nodes\[1\].inds is 'kz', not list"),
        (edit("nodes", 1, "inds", 0, to=4), r"nodes\[1\].inds\[0\] is 4, not str"),
        (edit("nodes", 1, "fixed", to="zeros"), r"nodes\[1\]: .*'zeros'"),
        (edit("nodes", 1, "fixed", to=1), r"nodes\[1\].fixed is 1, not bool or str"),
        (edit("nodes", 1, "array", to=None), r"nodes\[1\].array is missing"),
        (edit("nodes", 0, "fn", to="exec"), r"nodes\[0\]: unknown activation 'exec'"),
        (edit("nodes", 0, "bodies", to=[]), r"nodes\[0\]: .*no body"),
        (edit(*BODY, to=[]), r"nodes\[0\].bodies\[0\] is \[\], not dict"),
        (edit(*BODY, "output", to=["q"]), r"nodes\[0\].bodies\[0\].*'q' is on no node"),
        (edit(*BODY, "sizes", "i", to=True), r"nodes\[0\].bodies\[0\].sizes\['i'\] is True"),
        (
            edit(*BODY, "nodes", 0, "bodies", 0, "sizes", "q", to=0),
            r"nodes\[0\].bodies\[0\].nodes\[0\].bodies\[0\].*size 0",
        ),
        (edit("output", to=["nope"]), "the network: output index 'nope'"),
        (edit("sizes", "z", to=2.5), r"sizes\['z'\] is 2.5"),
        (edit("sizes", "z", to=None), "'z' has no size"),
        (lambda data: [data], "the document is"),
        (lambda data: None, "the document is None"),
    ],
)
def test_malformed_json(nested, change, message):
    text = json.dumps(change(json.loads(to_json(nested))))
    with pytest.raises(ValueError, match=message):
        from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 100_000])
def test_what_is_not_json(text):
    with pytest.raises(ValueError, match=r"from_json: (not JSON|nested too deep)"):
        from_json(text)


# -- one file -------------------------------------------------------------------------------------------------------
DTYPES = ["f2", "f4", "f8", ">f8", "c8", "c16", "i1", "i8", "u2", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_0d(dtype, tmp_path):
    net = tk.Network([tk.Node("s", ""), tk.Node("m", "ij")], "ij", {"i": 2, "j": 3})
    arrays = {"s": np.array(1, dtype), "m": np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))}
    save(tmp_path / "x.tn", net, arrays)
    again, loaded = load(str(tmp_path / "x.tn"))
    assert again == net
    same(loaded, arrays)
    assert os.listdir(tmp_path) == ["x.tn"]


NAMES = ["/", "../../x", "..", "array_0", "network.json", "é", "\ud800", "\x00", "file", "a.npy", "C:\\x"]


def test_array_names_of_any_kind(tmp_path):
    net = tk.Network([tk.Node(n, ["i"]) for n in NAMES], [], {"i": 2})
    arrays = {n: np.full(2, k) for k, n in enumerate(NAMES)}
    save(tmp_path / "x", net, arrays)
    same(load(tmp_path / "x")[1], arrays)
    with zipfile.ZipFile(tmp_path / "x") as file:
        assert set(file.namelist()) == {"network.json", "arrays.json", *(f"array_{k}.npy" for k in range(len(NAMES)))}


def test_some_or_no_arrays(chain, tmp_path):
    net, arrays = chain
    save(tmp_path / "x", net)
    assert load(tmp_path / "x") == (net, {})
    save(tmp_path / "x", net, {"b": arrays["b"]})
    same(load(tmp_path / "x")[1], {"b": arrays["b"]})
    with pytest.raises(ValueError, match="its array has 1 axes"):
        save(tmp_path / "x", net, {"b": np.ones(3)})


def test_arrays_are_checked_when_saved_and_loaded(chain, tmp_path):
    net, arrays = chain
    path = tmp_path / "x"
    with pytest.raises(ValueError, match="node 'a': index 'j' has size 3, but its array has 2"):
        save(path, net, {**arrays, "a": np.ones((2, 2))})
    with pytest.raises(ValueError, match="array 'z' belongs to no node"):
        save(path, net, {**arrays, "z": np.ones(2)})
    assert not path.exists()
    save(path, net, arrays)
    text = to_json(tk.Network(net.nodes, net.output, {"i": 2, "j": 3, "k": 9}))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y", "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "network.json" else old.read(name))
    with pytest.raises(ValueError, match=r"node 'b': index 'k' has size 9, but its array has 2"):
        load(tmp_path / "y")


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
    with pytest.raises(ValueError, match="allow_pickle"):
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


def test_links_folders_and_modes(chain, tmp_path):
    net, arrays = chain
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save(tmp_path / "link", net, arrays)
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "real")[0] == net
    (tmp_path / "touched").touch()
    assert (tmp_path / "real").stat().st_mode == (tmp_path / "touched").stat().st_mode
    (tmp_path / "touched").chmod(0o600)
    save(tmp_path / "touched", net)
    assert (tmp_path / "touched").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        save(tmp_path / "nowhere" / "x", net)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


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


def test_torch(chain, tmp_path):
    torch = pytest.importorskip("torch")
    net, arrays = chain
    a = torch.nn.Parameter(torch.from_numpy(arrays["a"]).to(torch.float32))
    b = torch.ones(2, 3, dtype=torch.complex64).mul(1j).conj().T
    save(tmp_path / "x", net, {"a": a, "b": b})
    same(load(tmp_path / "x")[1], {"a": a.detach().numpy(), "b": np.full((3, 2), -1j, np.complex64)})
    with pytest.raises(ValueError, match=r"array 'a' is torch.bfloat16, which numpy lacks"):
        save(tmp_path / "x", net, {"a": a.to(torch.bfloat16)})


def test_any_damaged_byte_is_named_as_damage(tmp_path):
    net = tk.tt((3, 4), 2)
    tk.save(tmp_path / "a", net, tk.init.normal(net, seed=0))
    whole = (tmp_path / "a").read_bytes()
    refused = 0
    for at in range(0, len(whole)):
        (tmp_path / "b").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            tk.load(tmp_path / "b")
        except ValueError:  # nothing else
            refused += 1
    assert refused > len(whole) / 2

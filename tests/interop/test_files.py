import base64
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import tnkit as tk
from tnkit.interop.files import from_json, load, save, to_json
from tnkit.testing import random_network


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
    odd = tk.Network([tk.Node('"/..\n', ["é", "\ud800", ","], array="\x00")], ["\ud800"], {"é": 1, "\ud800": 2, ",": 3})
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
        (edit("version", to=3), "version is 3; this tnkit reads versions 1 and 2"),
        (edit("version", to=True), "version is True"),
        (edit("version", to=1.0), "version is 1.0"),
        (edit("version", to="1"), "version is '1'"),
        (edit("version", to=2), "networks is missing"),
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
DTYPES = ["f2", "f4", "f8", ">f8", "g", "c8", "c16", "G", "i1", "i8", "u2", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_0d(dtype, tmp_path):
    net = tk.Network([tk.Node("s", ""), tk.Node("m", "ij")], "ij", {"i": 2, "j": 3})
    arrays = {"s": np.array(1, dtype), "m": np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))}
    save(tmp_path / "x.tn", net, arrays)
    again, loaded = load(str(tmp_path / "x.tn"))
    assert again == net
    same(loaded, arrays)
    assert os.listdir(tmp_path) == ["x.tn"]


def test_the_home_of_a_user_is_where_files_are(chain, tmp_path, monkeypatch):
    net, arrays = chain
    monkeypatch.setenv("HOME", str(tmp_path))
    save("~/x.tn", net, arrays)
    assert os.listdir(tmp_path) == ["x.tn"] and load(Path("~/x.tn"))[0] == net
    assert tk.view(net).save("~/x.html") == tmp_path / "x.html" and (tmp_path / "x.html").is_file()


NAMES = ["/", "../../x", "..", "array_0", "network.json", "é", "\ud800", "\x00", "file", "a.npy", "C:\\x"]


def test_array_names_of_any_kind(tmp_path):
    net = tk.Network([tk.Node(n, ["i"]) for n in NAMES], [], {"i": 2})
    arrays = {n: np.full(2, k) for k, n in enumerate(NAMES)}
    save(tmp_path / "x", net, arrays)
    same(load(tmp_path / "x")[1], arrays)
    with zipfile.ZipFile(tmp_path / "x") as file:
        listed = {"network.json", "arrays.json", "sha256.json", *(f"array_{k}.npy" for k in range(len(NAMES)))}
        assert set(file.namelist()) == listed


def test_some_or_no_arrays(chain, tmp_path):
    net, arrays = chain
    save(tmp_path / "x", net)
    assert load(tmp_path / "x") == (net, {})
    save(tmp_path / "x", net, {"b": arrays["b"]})
    same(load(tmp_path / "x")[1], {"b": arrays["b"]})
    with pytest.raises(ValueError, match="its array has 1 axis"):
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
        for name in set(old.namelist()) - {"sha256.json"}:
            new.writestr(name, text if name == "network.json" else old.read(name))
    with pytest.raises(ValueError, match=r"node 'b': index 'k' has size 9, but its array has 2"):
        load(tmp_path / "y")


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


def test_torch(chain, tmp_path):
    torch = pytest.importorskip("torch")
    net, arrays = chain
    a = torch.nn.Parameter(torch.from_numpy(arrays["a"]).to(torch.float32))
    b = torch.ones(2, 3, dtype=torch.complex64).mul(1j).conj().T
    save(tmp_path / "x", net, {"a": a, "b": b})
    same(load(tmp_path / "x")[1], {"a": a.detach().numpy(), "b": np.full((3, 2), -1j, np.complex64)})
    with pytest.raises(ValueError, match=r"array 'a' is torch.bfloat16, which numpy lacks"):
        save(tmp_path / "x", net, {"a": a.to(torch.bfloat16)})


# -- files of before, and of any depth ------------------------------------------------------------------------------
#: A file that the first version of save wrote, which had no digests.
OLD = (
    "c-o~_y>1gh5MIZzi7pf=Tv4Fq8iV9mj!gjuVOMD)kddH(U`3bQo;d&9S@+|R7)vQ=K$b9~K)glX1JO`WQt<#O>0owm?{0U`Ni4F~>27D{o0)HB"
    "cID1aezk<?YPfH^txw~hwE{x)xehXi1c$EIul9V`nP^zITyJOudK2q`)3<{v*XtF~jfv;mt^>*~x^-NW_^{d4Fa{{bIvJ25ae_nJC)9%<4k->4"
    "76s{sY4ZKPYuX8xqp|E!kY_zxksqA;_Q)U<gh~L(*@8fdo?Eb-Q>RRBJEjVxQrQaYJzd;)Wgmv;8ApqpTlO1bg2FNeJ`pt2%B6YkFO_Fc&9lE$"
    "p0C1Mjoe>0S#6;|-3^0L7$`X@m6P(3(7t`lIyRBPO<b4oJ&-gMk6@!M$S(QnYLXxhn@w0qHc2$GRuhzy6Vr&|@Sa{i`f-O3gz?UFSMLjTgwR^1"
    "hG{oNM{yGaFC<HsA&r$pI=>8ksSI|e3>xnMt4DN=#Ec2QEhM%{bp4pcjv}Y*Vo=OXH_0F{s40Y^#xfz^Q|63mMFMFLQyO5&C``3!N4i-*{A&K8"
    "JNm4{!!q*O#kxyRIxBo~mbw(YiK2B2oqd0>{g<zGaKXTPwW>2Z%ApN($_?Z9=O@n}cV6Vs7){DBHwRw1iOUbId*uo)!wnvIhO_5-CZY0edOkt!"
    "zcxk$_P6U5+_+Q0Q~cjcL()2H@sD=&TI25x{w}p;ven<;eq_mR#boE)aDEZlN7mg%WS_wtD_rYW<BGM`2{3C%?Aq`xlleON_&!Uf9+R1I!`X$M"
    "v+GNBu5o2HS`MwCJX%EsR0JZql~Vrv{|50o$sy&Rf{IjUKSjPQNGE{;H}mq`pYp+$fnQ=^bP7};ouN4&5*hfeh{TCffwW&U-Vho1^coVo*V!o)"
    "siFYCn^1upYjpPyjPlxm"
)


def test_a_file_of_before_is_read(tmp_path):
    (tmp_path / "old").write_bytes(zlib.decompress(base64.b85decode(OLD)))
    first = tk.Network([tk.Node("a", "ij"), tk.Node("b", "jk", array="é")], "ik", {"i": 2, "j": 3, "k": 2})
    second = tk.Network([tk.Node("c", "ki", fixed=True)], "ki", {"k": 2, "i": 2})
    want = tk.Network(
        [tk.Elementwise("sum", "add", (first.activate("relu", "f"), second)), tk.Node("e", "kz", fixed="delta")],
        "iz",
        {"k": 2, "z": 2},
    )
    arrays = {"a": np.arange(6.0).reshape(2, 3), "c": np.array([[1, 2], [3, 4]], ">f4")}
    arrays["é"] = np.array([[1, 2], [3, 4], [5, 6]], "i2")
    net, loaded = load(tmp_path / "old")
    assert net == want
    same(loaded, arrays)


def deep(levels, sums=False):
    net = tk.Network([tk.Node("A", "ij"), tk.Node("B", "jk")], "ik", {"i": 2, "j": 3, "k": 2})
    for k in range(levels):
        net = net.activate("tanh", f"f{k}")
        if sums and k % 3 == 0:
            one = tk.Network([tk.Node(f"C{k}", ("k", "i"))], "ki", {"i": 2, "k": 2})
            net = tk.Network([tk.Elementwise(f"s{k}", "add", (net, one))], "ik")
    return net


@pytest.mark.parametrize("levels", [1, 18, 19, 20, 21, 2000])
def test_any_depth_is_written_and_read(levels, tmp_path):
    net = deep(levels, sums=True)
    text = to_json(net)
    assert from_json(text) == net
    depth = 1 + levels + (levels + 2) // 3
    assert json.loads(text)["version"] == (1 if depth <= 20 else 2)
    arrays = {name: np.full(shape, k % 7 / 7) for k, (name, shape) in enumerate(net.array_shapes.items())}
    save(tmp_path / "x", net, arrays)
    again, loaded = load(tmp_path / "x")
    assert again == net
    same(loaded, arrays)


def nested_text(levels):
    """Version 1 by hand, as it was written at any depth."""
    heads = [f'{{"nodes": [{{"elementwise": "f{k}", "fn": "tanh", "bodies": [' for k in reversed(range(levels))]
    leaf = '{"nodes": [{"node": "A", "inds": ["i"], "array": "A", "fixed": false}], "output": ["i"], "sizes": {"i": 2}'
    tails = '}]}], "output": ["i"], "sizes": {"i": 2}' * levels
    return "".join([*heads, leaf, tails, ', "format": "tnkit.network", "version": 1}'])


def network_of_levels(levels):
    """The network that it says."""
    net = tk.Network([tk.Node("A", "i")], "i", {"i": 2})
    for k in range(levels):
        net = net.activate("tanh", f"f{k}")
    return net


def test_deep_nested_text_of_before_is_read():
    assert from_json(nested_text(200)) == network_of_levels(200)


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_text_nested_too_deep_is_refused(levels):
    try:
        json.loads(nested_text(levels))
    except RecursionError:  # Python 3.13 reads a thousand levels, 3.11 does not
        with pytest.raises(ValueError, match="from_json: nested too deep"):
            from_json(nested_text(levels))
    else:
        assert levels == 1000 and from_json(nested_text(levels)) == network_of_levels(levels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("networks", to=None), "networks is missing"),
        (edit("networks", to=[]), "0 of the networks are no other one's body"),
        (
            edit("networks", 2, "nodes", 0, "bodies", to=[0]),
            r"networks\[2\].nodes\[0\].bodies has 0, which is no network",
        ),
        (
            edit("networks", 2, "nodes", 0, "bodies", to=[2]),
            r"networks\[2\].nodes\[0\].bodies has 2, which is no network",
        ),
        (edit("networks", 2, "nodes", 0, "bodies", to=[-1]), r"bodies has -1, which is no network"),
        (edit("networks", 2, "nodes", 0, "bodies", to=[True]), r"networks\[2\].nodes\[0\].bodies is True, not int"),
        (edit("networks", 2, "nodes", 0, "bodies", to=[]), r"networks\[2\].nodes\[0\]: .*no body"),
        (edit("networks", 3, "output", to=["q"]), r"networks\[3\]: output index 'q' is on no node"),
        (edit("networks", 25, to=None), r"networks\[25\].nodes\[0\].bodies has 25, which"),
        (lambda data: {**data, "networks": [*data["networks"], data["networks"][0]]}, "2 of the networks are no other"),
    ],
)
def test_malformed_flat_json(change, message):
    text = json.dumps(change(json.loads(to_json(deep(30)))))
    with pytest.raises(ValueError, match=message):
        from_json(text)


# -- what is no network, no mapping, no path ------------------------------------------------------------------------
NET = tk.Network([tk.Node("a", "i")], "i", {"i": 2})


@pytest.mark.parametrize("wrong", [None, 3, 2.5, "ij,jk->ik", b"x", [], {}, (NET, 3), np.ones(2), object])
def test_networks_only(wrong, tmp_path):
    for call in (lambda: to_json(wrong), lambda: save(tmp_path / "x", wrong), lambda: save(tmp_path / "x", wrong, {})):
        with pytest.raises(TypeError, match=r"^(to_json|save): a Network is needed, not ") as error:
            call()
        assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_what_is_loaded_is_saved_as_it_is(chain, tmp_path):
    """A pair is one argument of save, as of every function that takes a network and its arrays."""
    save(tmp_path / "x", *chain)
    save(tmp_path / "y", tk.load(tmp_path / "x"))
    net, arrays = tk.load(tmp_path / "y")
    assert net == chain[0] and all(np.array_equal(arrays[n], x) for n, x in chain[1].items())


@pytest.mark.parametrize("wrong", [None, 3, b"{}", ["{}"], {}, True])
def test_text_only(wrong):
    with pytest.raises(TypeError, match="from_json: the text is a string, not "):
        from_json(wrong)


@pytest.mark.parametrize("wrong", [3, True, None, b"x", "", [], object()])
def test_paths_only(wrong):
    for call in (lambda: save(wrong, NET), lambda: load(wrong)):
        with pytest.raises(TypeError, match=r"^(save|load): path is a non-empty string or a path, not "):
            call()


@pytest.mark.parametrize("wrong", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have(wrong):
    for call in (lambda: save(wrong, NET), lambda: load(wrong)):
        with pytest.raises(ValueError, match=r"^(save|load): path .* has a character that no file's name can have"):
            call()


@pytest.mark.parametrize("wrong", [3, [np.ones(2)], np.ones(2), "a", {1, 2}])
def test_arrays_are_a_mapping(wrong, tmp_path):
    with pytest.raises(TypeError, match="save: arrays map names to values, as a dict does; they are not "):
        save(tmp_path / "x", NET, wrong)


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ([[1.0], [2.0, 3.0]], ValueError, "save: array 'a' is [[1.0], [2.0, 3.0]], which has no one shape"),
        (None, TypeError, "save: array 'a' is None, which is no array; convert it"),
        ("xy", TypeError, "save: array 'a' is 'xy', which is no array; convert it"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), ValueError, "save: array 'a' is masked"),
        (np.zeros(2, "m8[D]"), ValueError, "array 'a' has dtype timedelta64"),
        (np.ones(3), ValueError, "node 'a': index 'i' has size 2, but its array has 3 there (shape (3,))"),
        (np.ones((2, 1)), ValueError, "node 'a' has indices ('i',), but its array has 2 axes (2, 1)"),
    ],
)
def test_arrays_that_are_none(wrong, kind, message, tmp_path):
    with pytest.raises(kind) as error:
        save(tmp_path / "x", NET, {"a": wrong})
    assert message in str(error.value)
    assert os.listdir(tmp_path) == []


def test_more_axes_than_numpy_has(tmp_path):
    net = tk.Network(
        [tk.Node("a", [f"i{k}" for k in range(70)]), tk.Node("b", ["i0"])], [], {f"i{k}": 1 for k in range(70)}
    )
    save(tmp_path / "x", net, {"b": np.ones(1)})
    assert load(tmp_path / "x")[0] == net

"""CIFAR's Python version: read as the binary version, and whatever else a pickle can be is refused without being run."""

import hashlib
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from tnkit_nn import data
from tnkit_nn.data import pickles
from tnkit_nn.data.cifar_python import batch, meta_names
from tnkit_nn.data.pickles import read

pytestmark = pytest.mark.filterwarnings("ignore:.*records, .* in the whole set")  # the files written here are small
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


# -- files as Python 2 wrote them -----------------------------------------------------------------------------------------
class Python2:
    """What cPickle of Python 2 writes at protocol 2: strings without an encoding, a number stored for each value."""

    def __init__(self):
        self.stored = 0

    def store(self):
        self.stored += 1
        return b"q" + bytes([self.stored]) if self.stored < 256 else b"r" + struct.pack("<I", self.stored)

    def value(self, x):
        if isinstance(x, str):
            head = b"U" + bytes([len(x)]) if len(x) < 256 else b"T" + struct.pack("<i", len(x))
            return head + x.encode() + self.store()
        if isinstance(x, int):
            return (
                b"K" + bytes([x])
                if x < 256
                else b"M" + struct.pack("<H", x)
                if x < 65536
                else b"J" + struct.pack("<i", x)
            )
        if isinstance(x, np.ndarray):
            return self.array(x)
        start, many, end = (b"]", x, b"e") if isinstance(x, list) else (b"}", sum(x.items(), ()), b"u")
        out = start + self.store()
        for begin in range(0, len(many), 1000):
            out += b"(" + b"".join(self.value(v) for v in many[begin : begin + 1000]) + end
        return out

    def array(self, x):
        out = b"cnumpy.core.multiarray\n_reconstruct\n" + self.store() + b"cnumpy\nndarray\n" + self.store()
        out += b"K\0\x85" + self.store() + self.value("b") + b"\x87" + self.store() + b"R" + self.store() + b"(K\x01"
        out += b"".join(self.value(n) for n in x.shape) + b"\x86" + self.store() + b"cnumpy\ndtype\n" + self.store()
        out += self.value("u1") + b"K\0K\x01\x87" + self.store() + b"R" + self.store() + b"(K\x03" + self.value("|")
        out += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t" + self.store() + b"b\x89"
        raw = x.tobytes()
        return out + b"T" + struct.pack("<i", len(raw)) + raw + self.store() + b"t" + self.store() + b"b"


def python2(x):
    return b"\x80\x02" + Python2().value(x) + b"."


def python2_text(x):
    """The same at protocol 0, without numbers stored; strings are quoted as by repr."""
    if isinstance(x, str):
        return f"S{x!r}\n".encode()
    if isinstance(x, int):
        return f"I{x}\n".encode()
    if isinstance(x, list):
        return b"(l" + b"".join(python2_text(v) + b"a" for v in x)
    if isinstance(x, dict):
        return b"(d" + b"".join(python2_text(k) + python2_text(v) + b"s" for k, v in x.items())
    raw = repr(x.tobytes())[1:].encode()
    shape = b"(" + b"".join(python2_text(n) for n in x.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
    return made + shape + dtype + b"I00\nS" + raw + b"\ntb"


def as_bytes(x):
    """Strings as bytes: what Python 3 reads from a file of Python 2, and writes again."""
    if isinstance(x, dict):
        return {as_bytes(k): as_bytes(v) for k, v in x.items()}
    return [as_bytes(v) for v in x] if isinstance(x, list) else x.encode() if isinstance(x, str) else x


WRITERS = {
    "python 2, protocol 2": python2,
    "python 2, protocol 0": lambda x: python2_text(x) + b".",
    **{f"bytes, protocol {p}": lambda x, p=p: pickle.dumps(as_bytes(x), p) for p in range(5)},
    **{f"text, protocol {p}": lambda x, p=p: pickle.dumps(x, p) for p in range(5)},
}


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def batches(kinds, counts):
    """Contents of a set's files by name: the labels of each kind, in 0..classes - 1, and pixels."""
    made = {}
    for seed, (name, count) in enumerate(counts.items()):
        labels = {kind: (np.arange(count) * 7 % classes).tolist() for kind, classes in kinds.items()}
        names = [f"image_s_{k:06}.png" for k in range(count)]
        made[name] = {"batch_label": name, **labels, "data": images(count, seed), "filenames": names}
    return made


def write(folder, made, meta, dumps):
    folder.mkdir(parents=True)
    for name, content in {**made, **meta}.items():
        (folder / name).write_bytes(dumps(content))


def write_binary(folder, made, kinds, names):
    folder.mkdir(parents=True)
    for name, content in made.items():
        labels = np.array([content[kind] for kind in kinds], np.uint8).T
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels, content["data"]], 1).tobytes())
    for name, lines in names.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def same(a, b):
    parts = [(getattr(a, n), getattr(b, n)) for n in ("train", "val", "test")]
    return a.classes == b.classes and all((p[0] == q[0]).all() and (p[1] == q[1]).all() for p, q in parts)


def cifar10_files(count=1100):
    return batches({"labels": 10}, {**{f"data_batch_{k}": count for k in range(1, 6)}, "test_batch": count})


META = {"batches.meta": {"num_cases_per_batch": 10000, "label_names": CIFAR10, "num_vis": 3072}}


@pytest.mark.parametrize("writer", WRITERS)
def test_cifar10_is_that_of_the_binary_version(writer, tmp_path):
    made = cifar10_files(40)
    write(tmp_path / "p" / "cifar-10-batches-py", made, META, WRITERS[writer])
    write_binary(tmp_path / "b", made, ["labels"], {"batches.meta.txt": CIFAR10})
    of_binary = data.load("cifar10", tmp_path / "b")
    for root in (tmp_path / "p", tmp_path / "p" / "cifar-10-batches-py"):
        assert same(data.load("cifar10", root), of_binary)


@pytest.mark.parametrize(
    "writer", ["python 2, protocol 2", "bytes, protocol 0", "bytes, protocol 2", "bytes, protocol 4"]
)
@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100_is_that_of_the_binary_version(writer, coarse, tmp_path):
    kinds = {"coarse_labels": 20, "fine_labels": 100}
    names = {f"{kind}_label_names": [f"{kind} {k}" for k in range(n)] for kind, n in (("fine", 100), ("coarse", 20))}
    made = batches(kinds, {"train": 1300, "test": 200})
    write(tmp_path / "above" / "p" / "cifar-100-python", made, {"meta": names}, WRITERS[writer])
    write_binary(tmp_path / "b", made, kinds, {f"{name}.txt": lines for name, lines in names.items()})
    assert same(data.cifar100(tmp_path / "above", coarse), data.cifar100(tmp_path / "b", coarse))


def test_the_binary_version_is_taken_where_both_are(tmp_path):
    made = cifar10_files(20)
    write(tmp_path / "cifar-10-batches-py", made, {"batches.meta": {"label_names": ["p"] * 10}}, python2)
    write_binary(tmp_path / "cifar-10-batches-bin", made, ["labels"], {"batches.meta.txt": ["b"] * 10})
    assert data.cifar10(tmp_path).classes == ("b",) * 10


def test_the_published_meta_file_is_read(tmp_path):
    """Byte by byte that of the site: it has the MD5 sum that torchvision lists."""
    content = python2(META["batches.meta"])
    assert hashlib.md5(content).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"
    (tmp_path / "batches.meta").write_bytes(content)
    assert meta_names(tmp_path / "batches.meta", "label_names", 10) == tuple(CIFAR10)


@pytest.mark.parametrize("order", ["C", "F"])
def test_both_orders_of_an_array(order):
    x = np.asarray(images(30, 0), order=order)
    for protocol in range(5):
        assert (read(pickle.dumps({"data": x}, protocol))["data"] == x).all()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_those_of_pickle(protocol):
    value = {
        b"a": [1, -1, 255, 256, 65536, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63)],
        "é€": (1, 2, 3, (4,), (), None),
    }
    value |= {b"long": b"\0\n\\'\"\xff" * 60, "text": "\n\\u0041 " * 60, 3: [True, False, {}, [], (5, 6), (1, 2, 3, 4)]}
    value["same"] = [value["text"], value[b"long"], value[b"a"]]
    found = read(pickle.dumps(value, protocol))
    assert found == value and repr(found) == repr(value)


def test_the_escapes_of_python_2():
    raw = bytes(range(256)) * 2
    assert read(b"S" + repr(raw)[1:].encode() + b"\n.") == raw


# -- attacks --------------------------------------------------------------------------------------------------------------
class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def payloads(marker):
    import builtins
    import os
    import subprocess

    calls = [(os.system, (f"touch {marker}",)), (builtins.eval, (f"open({str(marker)!r}, 'w')",))]
    calls += [
        (subprocess.call, (["touch", str(marker)],)),
        (builtins.open, (str(marker), "w")),
        (np.load, (str(marker),)),
    ]
    calls += [(np.frombuffer, (b"x",)), (builtins.getattr, (1, "real")), (bytearray, (b"1",)), (np.dtype, ("O",))]
    yield from (pickle.dumps({b"data": Runs(*call)}, p) for call in calls for p in range(6))
    yield b"(S'touch " + str(marker).encode() + b"'\nios\nsystem\n."  # INST
    yield b"(cos\nsystem\nS'touch " + str(marker).encode() + b"'\no."  # OBJ
    yield b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81."  # NEWOBJ
    yield b"\x80\x02cnumpy\nndarray\nK\x05\x85R."  # a known name, called otherwise
    yield b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0hex\x86R."
    yield b"\x80\x02c_codecs\nencode\nX\x02\0\0\0\xc4\x80X\x06\0\0\0latin1\x86R."  # no latin1
    yield b"\x80\x02cnumpy\ndtype\n}\x85R."
    yield b"\x80\x02}}b."  # BUILD of a dict: of __setstate__ and __dict__
    yield b"\x80\x02cnumpy\ndtype\n}b."
    yield b"\x80\x02cnumpy\ndtype\nU\x02u1\x85RK\x03U\x01|\x86b."
    yield b"Pname\n."  # PERSID
    yield b"\x80\x02\x82\x01."  # EXT1
    yield b"\x80\x04\x8c\x02os\x8c\x06system\x93."
    yield b"\x80\x04K\x01]\x93."  # a name that is none


def test_nothing_is_run(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "test_batch"
    for content in payloads(marker):
        path.write_bytes(content)
        with pytest.raises(ValueError) as error:
            batch(path, {"labels": 10}, 10_000)
        says = str(error.value)
        assert says.startswith(f"{path}: no file of CIFAR's Python version as published: ") and "\n" not in says
        assert "nothing of it was run; the binary version is read too: https://www.cs.toronto.edu" in says
        assert len(says) < 500 and not marker.exists()


def test_no_name_is_imported(tmp_path, monkeypatch):
    (tmp_path / "trap_of_tnkit.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    for content in (b"ctrap_of_tnkit\nx\n.", b"\x80\x04\x8c\rtrap_of_tnkit\x8c\x01x\x93."):
        with pytest.raises(
            ValueError, match=r"the name 'trap_of_tnkit.x' is none of the published files' \(byte \d+\)"
        ):
            read(content)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "1 bytes expected, 0 are left"),
        (b"]", "1 bytes expected, 0 are left"),
        (b"T\xff\xff\xff\x7fabc.", "2,147,483,647 bytes expected, 4 are left"),
        (b"T\xff\xff\xff\xffabc.", "-1 bytes expected"),
        (b"B\xff\xff\xff\xffabc.", "4,294,967,295 bytes expected, 4 are left"),
        (b"X\xff\xff\xff\xffabc.", "4,294,967,295 bytes expected, 4 are left"),
        (b"X\x01\0\0\0\xff.", "a string expected, another run of bytes"),
        (b"V\\uZZZZ\n.", "a string expected, another run of bytes"),
        (b"S'abc\n.", "a quoted string as Python 2 writes it"),
        (b"S'a\\q'\n.", "a quoted string as Python 2 writes it"),
        (b"S'a\\'\n.", "a string expected, another run of bytes"),
        (b"S'a\\xg'\n.", "a string expected, another run of bytes"),
        (b"S'\n.", "a quoted string as Python 2 writes it"),
        (b"S'abc'", "a line of at most 6 bytes expected"),
        (b"I1", "a line of at most 255 bytes expected"),
        (b"I" + b"9" * 100_000 + b"\n.", "a line of at most 255 bytes expected"),
        (b"I" + b"9" * 20 + b"\n.", "a whole number of 64 bits expected, a larger one"),
        (b"I" + b"9" * 21 + b"\n.", "a whole number expected"),
        (b"I1_0\n.", "a whole number expected"),
        (b"I\n.", "a whole number expected"),
        (b"\x8a\xff" + b"9" * 255 + b".", "a whole number of 64 bits expected, one of 255 bytes"),
        (b"\x8b\xff\xff\xff\x7f9.", "instruction LONG4 is none"),
        (b"h\x05.", "value 5 is asked for and was never stored"),
        (b"g99\n.", "value 99 is asked for and was never stored"),
        (b"j\xff\xff\xff\xff.", "value 4,294,967,295 is asked for"),
        (b".", "a value is missing on the stack"),
        (b"q\x01.", "a value is missing on the stack"),
        (b"K\x01(\x85.", "a value is missing on the stack"),
        (b"t.", "a mark is missing on the stack"),
        (b"K\x01K\x02.", "it ends, but 0 bytes are left"),
        (b"K\x01.more", "it ends, but 4 bytes are left"),
        (b"K\x01K\x02a.", "a list to add to expected, a int found"),
        (b"]K\x01K\x02s.", "a dict and pairs to set expected, a list and 2 values"),
        (b"}(K\x01u.", "a dict and pairs to set expected, a dict and 1 values"),
        (b"}]K\x02s.", "a key that is a string expected, a list found"),
        (b"})K\x02s.", "a key that is a string expected, a tuple found"),
        (b"\x80\x06N.", "a pickle of protocol 0 to 5 expected, one of 6"),
        (b"G" + bytes(8) + b".", "instruction BINFLOAT is none"),
        (b"\xff.", "instruction 0xff is none"),
        (b"N0.", "instruction POP is none"),
        (b"N2.", "instruction DUP is none"),
        (b"\x8f.", "instruction EMPTY_SET is none"),
    ],
)
def test_what_is_damaged_is_told(content, said, tmp_path):
    with pytest.raises(ValueError, match=said) as error:
        read(content)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.slow
def test_every_truncated_file_and_every_changed_byte_is_a_value_or_a_line(tmp_path):
    rng = np.random.default_rng(0)
    for name, dumps in WRITERS.items():
        whole = dumps({"labels": [1, 2, 300], "data": images(1, 0)[:, :40], "filenames": ["a.png", "b.png"]})
        for end in range(len(whole)):
            with pytest.raises(ValueError):
                read(whole[:end])
        for _ in range(400):
            changed = bytearray(whole)
            changed[rng.integers(len(whole))] = rng.integers(256)
            try:
                read(bytes(changed))
            except ValueError as error:
                assert "\n" not in str(error) and "(byte " in str(error), name


def nested(start, end):
    return start * 100_000 + end * 99_999 + b"."


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, said",
    [
        (nested(b"]", b"a"), "more than 8,192 values wait"),
        (nested(b"(", b"t"), "more than 8,192 values wait"),
        (nested(b"(l", b"a"), "more than 8,192 values wait"),
        (b"N" + b"\x85" * 100_000 + b"K\x01s.", "a value is missing"),
        (b"}N" + b"\x85" * 100_000 + b"K\x01s.", "a key that is a string expected, a tuple found"),
        (b"N" * 100_000 + b".", "more than 8,192 values wait"),
        (b"](" + b"]e](" * 500_000, "more than 8,192 values wait"),
        (b"]" + b"]a" * 1_000_000 + b".", "more than 131,072 instructions"),
        (b"]q\0" + (b"(" + b"h\0" * 5000 + b"e") * 300 + b".", "more than 131,072 instructions"),
        (b"Nq\0" + b"h\0\x86q\0" * 400_000 + b".", "instructions"),
    ],
)
def test_deep_and_many_values_take_bounded_memory(content, said, monkeypatch):
    """An eighth of what is allowed, since tracing is slow: 100 MB for all of it."""
    for name in ("_STEPS", "_STACK"):
        monkeypatch.setattr(pickles, name, getattr(pickles, name) // 8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 100e6 / 8
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_value_that_holds_itself_is_a_line(tmp_path):
    path = tmp_path / "test_batch"
    deep = b"N" + b"\x85" * 200_000
    for content in (
        b"]q\0h\0a.",
        deep + b".",
        b"}U\x04data" + deep + b"s.",
        b"}U\x06labels]q\0h\0asU\x04data]q\1h\1as.",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^/\S+: (a dict is expected|data is expected as uint8)"):
            batch(path, {"labels": 10}, 10)


def test_memory_is_that_of_the_file(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(python2({"labels": [3] * 2000, "data": images(2000, 0), "filenames": ["a.png"] * 2000}))
    tracemalloc.start()
    try:
        batch(path, {"labels": 10}, 10_000)
        assert tracemalloc.get_traced_memory()[1] < 2.2 * path.stat().st_size
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match=r"at most 491,520 bytes expected, 6,\d+,\d+ found"):
        batch(path, {"labels": 10}, 10)


GOOD = {"labels": [1, 2, 3], "data": images(3, 0)}


@pytest.mark.parametrize(
    "change, said",
    [
        (
            {"data": images(3, 0)[:, 1:]},
            r"data is expected as uint8 of shape \(count, 3072\), uint8 of shape \(3, 3071\)",
        ),
        ({"data": images(3, 0).reshape(-1)}, r"uint8 of shape \(9216,\) found"),
        ({"data": images(3, 0)[:0]}, r"uint8 of shape \(0, 3072\) found"),
        ({"data": [1]}, "a list of 1 found"),
        ({"data": None}, "nothing found"),
        ({"data": images(3, 0).astype(float)}, "an array of uint8 expected, one of 'f8' found"),
        ({"data": images(3, 0).astype("i1")}, "an array of uint8 expected, one of 'i1' found"),
        ({"data": np.array([[None]])}, "an array of uint8 expected, one of 'O8' found"),
        ({"data": np.zeros(3, [("a", "u1")])}, "an array of uint8 expected, one of 'V1' found"),
        ({"labels": [1, 2]}, "3 labels expected, one an image, 2 found"),
        ({"labels": [1, 2, 10]}, r"labels 0..9 expected, 10 found \(record 2\)"),
        ({"labels": [1, -2, 1]}, r"labels 0..9 expected, -2 found \(record 1\)"),
        ({"labels": [1, 2, 2**40]}, r"labels 0..9 expected, 1099511627776 found"),
        ({"labels": [1, 2, True]}, "labels is expected as a list of whole numbers, a list of 3 found"),
        ({"labels": [1, 2, "3"]}, "labels is expected as a list of whole numbers"),
        ({"labels": (1, 2, 3)}, "labels is expected as a list of whole numbers, a tuple found"),
        ({"labels": None}, "labels is expected as a list of whole numbers, nothing found"),
    ],
)
def test_another_content_is_told(change, said, tmp_path):
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(as_bytes(GOOD) | as_bytes(change), 3))
    with pytest.raises(ValueError, match=f"^{path}: .*{said}"):
        batch(path, {"labels": 10}, 10_000)


def shape_of(claimed, raw, fortran=b"\x89"):
    """A batch whose array claims a shape (a tuple as instructions)."""
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01" + claimed
    dtype = b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R"
    return b"}U\x04data" + start + dtype + fortran + raw + b"tbs."


@pytest.mark.parametrize(
    "content, said",
    [
        (shape_of(b"J\xff\xff\xff\x7fM\0\x0c\x86", b"U\x01a"), r"6,597,069,763,584 bytes expected .* 1 bytes found"),
        (shape_of(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\0\x86", b"U\0"), "a shape of at most four whole numbers"),
        (shape_of(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", b"U\x01a"), "a shape of at most four whole numbers"),
        (shape_of(b"(" + b"K\x01" * 70 + b"t", b"U\x01a"), "a shape of at most four whole numbers"),
        (shape_of(b"]K\x01a", b"U\x01a"), "a shape of at most four whole numbers"),
        (shape_of(b"K\x02K\x02\x86", b"]"), "4 bytes expected for an array of shape .* a list found"),
        (shape_of(b"K\x01\x85", b"U\x01a").replace(b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R", b"N"), "a dtype expected"),
        (shape_of(b"K\x01\x85", b"U\x01a").replace(b"tbs.", b"ts."), "an array or a dtype|a dict and pairs|mark|value"),
        (
            b"}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87Rs.",
            "a value that is whole",
        ),
    ],
)
def test_an_array_that_claims_another_shape(content, said):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_other_class_names_are_told(tmp_path):
    path = tmp_path / "batches.meta"
    for names, said in ((["a"], "a list of 1"), ([1] * 10, "a list of 10"), (None, "nothing")):
        path.write_bytes(python2_text({"label_names": names} if names else {}) + b".")
        with pytest.raises(ValueError, match=f"batches.meta: label_names is expected as 10 class names, {said} found"):
            meta_names(path, "label_names", 10)

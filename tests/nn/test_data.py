import gzip
import lzma
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tnkit_nn import data
from tnkit_nn.data import sources
from tnkit_nn.data.augment import crop_flip
from tnkit_nn.data.splits import Split, split_off, stratified

REAL = Path(os.environ.get("TNKIT_DATA", "/nowhere"))
TEN = [f"name {k}" for k in range(10)]


# -- small files of the true formats ------------------------------------------------------------------------------------
def idx(values, magic=None):
    head = struct.pack(">ii", magic or (2051 if values.ndim == 3 else 2049), len(values))
    return head + b"".join(struct.pack(">i", n) for n in values.shape[1:]) + values.tobytes()


def pixels(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_mnist(folder, gz=True, train=200, test=50):
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for part, count in (("train", train), ("t10k", test)):
        made[f"{part}-images-idx3-ubyte"] = pixels(count, 28, 28, seed=count)
        made[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, values in made.items():
        content = idx(values)
        (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(content) if gz else content)
    return made


def records(count, *classes, seed=0):
    labels = [(np.arange(count) % n).astype(np.uint8)[:, None] for n in classes]
    return np.concatenate([*labels, pixels(count, 3072, seed=seed)], axis=1)


def write_cifar10(folder, xz=False, count=40):
    folder.mkdir(parents=True, exist_ok=True)
    made = {f"data_batch_{k}.bin": records(count, 10, seed=k) for k in range(1, 6)}
    made["test_batch.bin"] = records(count, 10, seed=9)
    for name, values in made.items():
        content = values.tobytes()
        (folder / (name + ".xz" * xz)).write_bytes(lzma.compress(content) if xz else content)
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    return made


def write_cifar100(folder):
    folder.mkdir(parents=True, exist_ok=True)
    made = {"train.bin": records(200, 20, 100), "test.bin": records(100, 20, 100, seed=1)}
    for name, values in made.items():
        (folder / name).write_bytes(values.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine {k}" for k in range(100)) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(f"coarse {k}" for k in range(20)) + "\n")
    return made


def raw(images, mean, std):
    """Pixels 0..255 of normalised images."""
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in (mean, std))
    return ((images * std + mean) * 255).round().to(torch.uint8).numpy()


# -- reading ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("subfolder", ["", "MNIST/raw"])
def test_mnist(tmp_path, gz, subfolder):
    made = write_mnist(tmp_path / subfolder, gz)
    split = data.load("mnist", tmp_path)
    assert [len(y) for _, y in (split.train, split.val, split.test)] == [180, 20, 50]
    assert split.train[0].shape == (180, 1, 28, 28) and split.train[0].dtype == torch.float32
    assert split.num_classes == 10 and split.classes[3] == "3"
    assert (raw(split.test[0], *sources.MNIST_STATS)[:, 0] == made["t10k-images-idx3-ubyte"]).all()
    learn, check = split_off(torch.arange(200) % 10)
    images = made["train-images-idx3-ubyte"]
    for part, chosen in ((split.train, learn), (split.val, check)):
        assert (raw(part[0], *sources.MNIST_STATS)[:, 0] == images[chosen]).all()
        assert (part[1] == chosen % 10).all()


pytestmark = pytest.mark.filterwarnings("ignore:.*records, .* in the whole set")  # the files written here are small


def test_a_part_of_cifar_is_told(tmp_path):
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    with pytest.warns(
        UserWarning, match=r"data_batch_1.bin.*: 40 records, 10,000 in the whole set: figures are of a part"
    ):
        data.load("cifar10", tmp_path)
    with pytest.warns(UserWarning, match=r"train.bin.*: \d+ records, 50,000 in the whole set"):
        data.load("cifar100", tmp_path)


@pytest.mark.parametrize("xz", [True, False])
@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-bin"])
def test_cifar10(tmp_path, xz, subfolder):
    made = write_cifar10(tmp_path / subfolder, xz)
    split = data.load("cifar10", tmp_path)
    assert [len(y) for _, y in (split.train, split.val, split.test)] == [180, 20, 40]
    assert split.classes == tuple(TEN)
    whole = np.concatenate([made[f"data_batch_{k}.bin"] for k in range(1, 6)])
    learn, _ = split_off(torch.from_numpy(whole[:, 0].astype(np.int64)))
    assert (raw(split.train[0], *sources.CIFAR10_STATS) == whole[learn, 1:].reshape(-1, 3, 32, 32)).all()
    assert (split.test[1].numpy() == made["test_batch.bin"][:, 0]).all()


def test_cifar100_fine_and_coarse(tmp_path):
    made = write_cifar100(tmp_path / "cifar-100-binary")
    fine, coarse = data.load("cifar100", tmp_path), data.cifar100(tmp_path, coarse=True)
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    assert fine.classes[99] == "fine 99" and coarse.classes[19] == "coarse 19"
    assert (fine.test[1].numpy() == made["test.bin"][:, 1]).all() and (
        coarse.test[1].numpy() == made["test.bin"][:, 0]
    ).all()
    assert (raw(fine.test[0], *sources.CIFAR100_STATS) == made["test.bin"][:, 2:].reshape(-1, 3, 32, 32)).all()


def test_digits_are_as_ever_and_read_from_no_folder(tmp_path):
    split = data.load("digits")
    assert [x.shape for x, _ in (split.train, split.val, split.test)] == [(1000, 64), (297, 64), (500, 64)]
    assert int(split.train[1][:50].sum()) == int(data.digits().train[1][:50].sum())
    with pytest.raises(ValueError, match="read from no folder"):
        data.load("digits", tmp_path)


@pytest.mark.parametrize("file", [True, False], ids=["from the file", "by scikit-learn"])
def test_digits_are_those_of_scikit_learn(file, monkeypatch):
    from sklearn.datasets import load_digits

    if not file:
        monkeypatch.setattr(sources, "find_spec", lambda name: None)
    raw, parts = load_digits(), [data.digits().train, data.digits().val, data.digits().test]
    images, labels = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    order = torch.randperm(len(raw.data), generator=torch.Generator().manual_seed(0))
    assert torch.equal(images, torch.tensor(raw.data)[order].float() / 16)
    assert torch.equal(labels, torch.tensor(raw.target)[order])


@pytest.mark.slow
def test_digits_are_read_without_the_import_of_scikit_learn():
    code = "import sys; from tnkit_nn.data import digits; digits(); print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


# -- what is refused ------------------------------------------------------------------------------------------------------
def test_no_root_no_folder_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"no folder is given .*t10k-labels-idx1-ubyte .*to be had at https"):
        data.load("mnist")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; .*data_batch_1.bin.*cs.toronto.edu"):
        data.load("cifar10", tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"train.bin, test.bin, fine_label_names.txt not found in .*cifar-100-binary"
    ):
        data.load("cifar100", tmp_path)
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"^data_batch_4.bin not found"):
        data.load("cifar10", tmp_path)
    with pytest.raises(
        ValueError, match=r"name of the data is one of digits, mnist, cifar10, cifar100, not 'imagenet'"
    ):
        data.load("imagenet")


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    "name, damage, message",
    [
        (IMAGES, lambda b: b[:-1], "156816 bytes expected for its 200 items, 156815 found"),
        (IMAGES, lambda b: b + b"x", "156816 bytes expected for its 200 items, 156817 found"),
        (IMAGES, lambda b: b[:10], "a header of 16 bytes expected, 10 bytes found"),
        (IMAGES, lambda b: b"", "a header of 16 bytes expected, 0 bytes found"),
        (IMAGES, lambda b: struct.pack(">i", 2049) + b[4:], "magic number 2051 expected, 2049 found"),
        (IMAGES, lambda b: b[:8] + struct.pack(">i", 32) + b[12:], r"shape \(28, 28\) expected, \(32, 28\) found"),
        (IMAGES, lambda b: b[:4] + struct.pack(">i", -1) + b[8:], "expected for its -1 items"),
        (LABELS, lambda b: b[:-1] + b"\x0a", r"labels 0..9 expected, 10 found \(record 199\)"),
        (
            LABELS,
            lambda b: idx(np.zeros(199, np.uint8)),
            "200 labels expected, one an image of train-images-idx3-ubyte, 199 found$",
        ),
    ],
)
def test_damaged_idx_files(tmp_path, name, damage, message):
    write_mnist(tmp_path, gz=False)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-3], lambda b: b[3:], lambda b: b[:1], lambda b: b"", lambda b: b + b"\0", lambda b: b + b"extra"],
)
def test_damaged_compressed_files(tmp_path, damage):
    write_mnist(tmp_path / "m")
    path = tmp_path / "m" / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path.name}: damaged .gz file"):
        data.load("mnist", tmp_path / "m")
    write_cifar10(tmp_path / "c", xz=True)
    path = tmp_path / "c" / "data_batch_2.bin.xz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path.name}: damaged .xz file"):
        data.load("cifar10", tmp_path / "c")


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("data_batch_3.bin", lambda b: b[:-1], "records of 3073 bytes expected, 122919 bytes found"),
        ("data_batch_3.bin", lambda b: b + b"x", "records of 3073 bytes expected, 122921 bytes found"),
        ("data_batch_3.bin", lambda b: b"", "records of 3073 bytes expected, 0 bytes found"),
        ("data_batch_3.bin", lambda b: b[:-3073], "40 records expected as in data_batch_1.bin, 39 found"),
        ("data_batch_3.bin", lambda b: b"\x0a" + b[1:], r"labels 0..9 expected, 10 found \(record 0\)"),
        ("batches.meta.txt", lambda b: b"cat\ndog\n", "10 class names expected, 2 found"),
    ],
)
def test_damaged_cifar_files(tmp_path, name, damage, message):
    write_cifar10(tmp_path)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        data.load("cifar10", tmp_path)


def test_damaged_cifar100(tmp_path):
    made = write_cifar100(tmp_path)["train.bin"]
    for byte, value, message in ((0, 20, "label byte 0s 0..19"), (1, 100, "label byte 1s 0..99")):
        wrong = made.copy()
        wrong[7, byte] = value
        (tmp_path / "train.bin").write_bytes(wrong.tobytes())
        with pytest.raises(ValueError, match=rf"train.bin: {message} expected, {value} found \(record 7\)"):
            data.load("cifar100", tmp_path)


# -- splits ---------------------------------------------------------------------------------------------------------------
def test_split_off_is_the_same_every_time_and_by_class():
    labels = torch.arange(60_000) % 10
    learn, check = split_off(labels)
    assert len(check) == 5000 and (labels[check].bincount() == 500).all()
    assert torch.equal(torch.cat([learn, check]).sort().values, torch.arange(60_000))
    assert torch.equal(check, split_off(labels)[1])
    assert [len(p) for p in split_off(labels[:300])] == [270, 30]


def test_any_run_of_a_stratified_order_has_classes_in_proportion():
    labels = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    order = stratified(labels)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(order, stratified(labels, seed=1))
    for begin, end in ((0, 10), (0, 100), (137, 337), (900, 1000)):
        counts = labels[order[begin:end]].bincount(minlength=3)
        assert (counts - torch.tensor([0.6, 0.3, 0.1]) * (end - begin)).abs().max() <= 1.0


def test_limit_takes_part_of_each_part(tmp_path):
    write_cifar10(tmp_path)
    split, whole = data.load("cifar10", tmp_path, limit=20), data.load("cifar10", tmp_path)
    assert split.name == "cifar10 (at most 20 a part)"
    for part, of in ((split.train, whole.train), (split.val, whole.val), (split.test, whole.test)):
        assert (part[1].bincount() == 2).all()
        assert (part[0].flatten(1)[:, None] == of[0].flatten(1)).all(-1).any(1).all()
    with pytest.raises(ValueError, match="limit is a whole number of at least 1, not 0"):
        data.load("cifar10", tmp_path, limit=0)


def test_a_split_of_own_tensors():
    x, y = torch.randn(30, 5), torch.arange(30) % 3
    split = Split("mine", (x, y), (x[:9], y[:9]), (x, y))
    assert split.num_classes == 3
    with pytest.raises(
        ValueError, match=r"mine: val needs one label an input and at least one, found inputs \(9, 5\), labels \(8,\)"
    ):
        Split("mine", (x, y), (x[:9], y[:8]), (x, y))
    with pytest.raises(ValueError, match="at least one, found inputs"):
        Split("mine", (x, y), (x, y), (x[:0], y[:0]))
    with pytest.raises(ValueError, match=r"test needs labels in 0..1 as torch.long, found torch.int64 in 0..2"):
        Split("mine", (x, y % 2), (x, y % 2), (x, y), classes=("a", "b"))
    with pytest.raises(ValueError, match=r"from 0 up as torch.long, found torch.float32"):
        Split("mine", (x, y.float()), (x, y), (x, y))


def test_splits_are_values_and_say_what_they_are():
    x, y = torch.arange(24.0).reshape(12, 2), torch.arange(12) % 3
    split = Split(np.str_("mine"), (x, y), (x[:6], y[:6]), (x, y), classes=("a", "b", "c"))
    same = Split("mine", (x.clone(), y.clone()), (x[:6], y[:6]), (x, y), classes=("a", "b", "c"))
    assert split == same and hash(split) == hash(same) and split == pickle.loads(pickle.dumps(split))
    for name, part in (("train", (x + 1, y)), ("val", (x[:6], y[:6].flip(0))), ("test", (x[:9], y[:9]))):
        assert split != replace(same, **{name: part})
    double = Split("mine", *[(a.double(), b) for a, b in (split.train, split.val, split.test)], classes=split.classes)
    assert split not in (replace(same, name="other"), double, "mine")
    assert repr(split) == "Split(mine: 12 to train, 6 to validate, 12 to test, inputs (2,), 3 classes)"


# -- augmentation ---------------------------------------------------------------------------------------------------------
def test_crop_flip_is_the_slow_loop():
    x = torch.randn(64, 3, 10, 12, generator=torch.Generator().manual_seed(1))
    before, draw = x.clone(), torch.Generator().manual_seed(5)
    y = crop_flip(x, draw)
    assert torch.equal(x, before) and y.shape == x.shape
    assert torch.equal(y, crop_flip(x, torch.Generator().manual_seed(5))) and not torch.equal(y, crop_flip(x, draw))
    mirrored = lambda i, n: -i if i < 0 else 2 * (n - 1) - i if i >= n else i  # noqa: E731
    seen = set()
    for image, got in zip(x, y, strict=True):
        matches = set()
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                rows = [mirrored(dy + r, 10) for r in range(10)]
                columns = [mirrored(dx + c, 12) for c in range(12)]
                shifted = image[:, rows][:, :, columns]
                matches |= {(dy, dx, f) for f in (0, 1) if torch.equal(got, shifted.flip(2) if f else shifted)}
        assert len(matches) == 1
        seen |= matches
    assert len(seen) > 40 and {f for *_, f in seen} == {0, 1} and {dy for dy, *_ in seen} == set(range(-4, 5))


def test_augmentations_of_a_registry_keep_the_shape():
    x = torch.randn(5, 3, 32, 32)
    for augment in data.AUGMENT.values():
        assert augment(x, torch.Generator()).shape == x.shape
    assert data.AUGMENT["none"](x, torch.Generator()) is x


# -- the real sets, where they are ----------------------------------------------------------------------------------------
@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="TNKIT_DATA names no folder with mnist")
def test_real_mnist():
    split = data.load("mnist", REAL)
    assert [len(y) for _, y in (split.train, split.val, split.test)] == [55_000, 5000, 10_000]
    assert split.test[1].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(split.train[0].mean()) < 1e-3 and abs(split.train[0].std() - 1) < 1e-3


@pytest.mark.skipif(not (REAL / "cifar-10-small").is_dir(), reason="TNKIT_DATA names no folder with cifar-10-small")
def test_real_cifar10_small():
    split = data.load("cifar10", REAL / "cifar-10-small")
    assert [len(y) for _, y in (split.train, split.val, split.test)] == [4500, 500, 1000]
    assert (split.val[1].bincount() == 50).all() and split.classes[3] == "cat"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_digest_of_inputs_of_any_dtype(dtype):
    x, y = torch.arange(12).view(6, 2).to(dtype), torch.tensor([0, 1, 0, 1, 0, 1])
    part = x, y
    made = [data.Split("mine", (z, y), part, part).digest() for z in (x, x + 1, x.clone())]
    assert made[0] == made[2] != made[1]

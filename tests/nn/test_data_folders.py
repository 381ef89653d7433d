"""Data sets in folders as others leave them: torchvision, Kaggle, tables, swapped and damaged files."""

import gzip
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest

from tnkit_nn import data
from tnkit_nn.data.swapped import check_parts

from .test_data import write_cifar10, write_cifar100, write_mnist

pytestmark = pytest.mark.filterwarnings("ignore:.*records, .* in the whole set")  # the files written here are small


def test_a_test_set_with_the_first_image_of_a_batch_is_no_copy():
    train = np.arange(40).reshape(10, 2, 2)
    test = train[5:].copy()
    with pytest.raises(
        ValueError, match="x: train and test differ, but images 5 to 9 of a are those of b: is one a copy"
    ):
        check_parts("x", ("a", "b"), train, test)
    test[1] += 1
    check_parts("x", ("a", "b"), train, test)


# -- folders as others leave them -----------------------------------------------------------------------------------------
def test_the_folder_of_torchvision_is_read(tmp_path, monkeypatch):
    home = tmp_path / "home"
    write_mnist(home / "MNIST" / "raw")
    monkeypatch.setenv("HOME", str(home))
    first = data.load("mnist", home)
    for root in (home / "MNIST", home / "MNIST" / "raw", "~", "~/MNIST", "~/..", tmp_path):
        assert data.load("mnist", root).digest() == first.digest()
    assert data.mnist("~/MNIST").digest() == first.digest()


@pytest.mark.parametrize("name, write", [("cifar10", write_cifar10), ("cifar100", write_cifar100)])
def test_the_home_of_a_user_is_read(name, write, tmp_path, monkeypatch):
    write(tmp_path / "x")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load(name, "~/x").digest() == data.load(name, tmp_path / "x").digest()


def test_a_set_of_other_images_under_the_same_names_is_not_taken_for_mnist(tmp_path):
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    with pytest.raises(FileNotFoundError, match=r"there is FashionMNIST$"):
        data.load("mnist", tmp_path)


def test_two_copies_below_the_folder_are_named(tmp_path):
    for name in "ab":
        write_cifar10(tmp_path / name / "cifar-10-batches-bin")
    with pytest.raises(ValueError, match=r"a/cifar-10-batches-bin and .*/b/cifar-10-batches-bin both hold the set"):
        data.load("cifar10", tmp_path)
    with pytest.raises(ValueError, match=r"both hold the set; root should be one of them$"):
        data.load("cifar10", tmp_path)
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")  # one copy by two names
    assert data.load("cifar10", tmp_path).digest() == data.load("cifar10", tmp_path / "a").digest()


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("dot, nested", [(True, False), (False, True), (True, True)])
def test_the_names_of_kaggle(dot, nested, gz, tmp_path):
    write_mnist(tmp_path / "plain", gz)
    write_mnist(tmp_path / "kaggle", gz)
    for path in list((tmp_path / "kaggle").iterdir()):
        new = path.name.replace("-idx", ".idx") if dot else path.name
        folder = path.parent / new.removesuffix(".gz") if nested else path.parent
        content = path.read_bytes()
        path.unlink()
        folder.mkdir(exist_ok=True)
        (folder / new).write_bytes(content)
    assert data.mnist(tmp_path / "kaggle").digest() == data.mnist(tmp_path / "plain").digest()


# -- tables of Kaggle --------------------------------------------------------------------------------------------------------
HEADER = ",".join(["label", *(f"pixel{k}" for k in range(784))]) + "\n"


def write_csv(folder, made, header=HEADER, end="\n"):
    for part, name in (("train", "mnist_train.csv"), ("t10k", "mnist_test.csv")):
        images, labels = made[f"{part}-images-idx3-ubyte"], made[f"{part}-labels-idx1-ubyte"]
        rows = np.concatenate([labels[:, None], images.reshape(len(images), -1)], 1).tolist()
        lines = [",".join(map(str, row)) for row in rows]
        (folder / name).write_bytes((header + end.join(lines) + end).encode())


@pytest.mark.parametrize("header", [HEADER, "", HEADER.replace("label", '"label"'), "\ufeff" + HEADER])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_hold_what_the_idx_files_hold(header, end, tmp_path):
    made = write_mnist(tmp_path / "idx")
    write_csv(tmp_path, made, header.replace("\n", end), end)
    assert data.mnist(tmp_path).digest() == data.mnist(tmp_path / "idx").digest()
    for short in ("train", "test"):
        (tmp_path / f"mnist_{short}.csv").rename(tmp_path / f"{short}.csv")
    assert data.mnist(tmp_path).digest() == data.mnist(tmp_path / "idx").digest()


def test_every_value_of_a_table_is_read(tmp_path):
    from tnkit_nn.data.mnist_csv import csv

    values = np.arange(3 * 785).reshape(3, 785) % 256
    values[:, 0] = [7, 0, 9]
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in values.tolist()))
    images, labels = csv(tmp_path / "x.csv")
    assert labels.tolist() == [7, 0, 9] and (images.reshape(3, 784) == values[:, 1:]).all()


ROW = "1" + ",0" * 784


@pytest.mark.parametrize(
    "content, said",
    [
        (ROW + ",0", "line 1: 785 whole numbers with commas between expected, 786 columns found$"),
        (ROW[:-2], "line 1: .*, 784 columns found; a file without labels is no test file: mnist_test.csv is needed"),
        (
            HEADER[6:] + ROW[:-2],
            "columns label and 784 pixels expected, 784 from 'pixel0' found; a file without labels is",
        ),
        (HEADER + ROW + "\n" + ROW + ",0", "line 3: 785 whole numbers"),
        (HEADER + ROW + "\n\n" + ROW, "line 3: .*, 1 columns found"),
        (HEADER + ROW[:-1] + "256", r"line 2, column 785: a whole number in 0..255 expected, 256 found"),
        (HEADER + ROW[:-1] + "0256", r"line 2, column 785: a whole number in 0..255 expected, 0256 found"),
        (HEADER + ROW[:-1], r"line 2, column 785: a whole number in 0..255 expected, nothing found"),
        (HEADER + ROW[:-1] + "-1", "line 2: .*, another character found"),
        (HEADER + ROW[:-1] + "1.0", "line 2: .*, another character found"),
        (HEADER + ROW[:-1] + "nan", "line 2: .*, another character found"),
        (HEADER + "12" + ROW[1:], r"labels 0..9 expected, 12 found \(record 0\)"),
        (HEADER, "a line an image expected, none found"),
        ("", "a line an image expected, none found"),
        ("PassengerId,Survived\n1,0", "columns label and 784 pixels expected, 2 from 'PassengerId' found"),
        (
            ",".join([*(f"p{k}" for k in range(784)), "label"]),
            "columns label and 784 pixels expected, 785 from 'p0' found$",
        ),
    ],
)
def test_damaged_tables(content, said, tmp_path):
    for name in ("mnist_train.csv", "mnist_test.csv"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"^.*mnist_train.csv: {said}") as error:
        data.load("mnist", tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_there_instead_is_told(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    said = r"data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt not found in {}.*cifar-10-batches-py.*there is cifar-10-batches-py"
    with pytest.raises(FileNotFoundError, match=said.format(tmp_path)):
        data.load("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"")
    said = (
        "data_batch_5, batches.meta not found in .*cifar-10-batches-py, which has the others; .*; there is test_batch$"
    )
    with pytest.raises(FileNotFoundError, match=said):
        data.load("cifar10", tmp_path)
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "train.csv").write_text("")
    with pytest.raises(FileNotFoundError, match=r"^mnist_test.csv not found in .*there is train.csv"):
        data.load("mnist", tmp_path / "kaggle")


@pytest.mark.parametrize(
    "name, entry, said",
    [
        ("cifar10", "cifar-10-python.tar.gz", "is an archive: unpack it there first"),
        ("cifar100", "cifar-100-binary.tar.gz", "is an archive: unpack it there first"),
        ("mnist", "mnist-in-csv.zip", "is an archive: unpack it there first"),
        ("cifar10", "cifar-10-batches-mat", "is the version for MATLAB, which is not read"),
    ],
)
def test_what_is_still_to_be_done_is_told(name, entry, said, tmp_path):
    (tmp_path / entry).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"there is {entry}; {entry} {said}$"):
        data.load(name, tmp_path)


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"x: is a file, no folder; root should hold train.bin"):
        data.load("cifar100", tmp_path / "x")


def test_swapped_files_are_told(tmp_path):
    write_mnist(tmp_path, train=50, test=200)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz has 50 and t10k-\S+.gz 200: they look swapped"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "order, said",
    [
        (
            (0, 3, 2, 1),
            r"train-labels\S+ has 50 labels and t10k-labels\S+ 200, their images are 200 and 50: .*train-labels",
        ),
        (
            (2, 1, 0, 3),
            r"train-images\S+ has 50 images and t10k-images\S+ 200, their labels are 200 and 50: .*train-images",
        ),
        ((0, 3, 2, 3), r"train-labels\S+: 200 labels expected, .*, 50 found, as many as t10k-images"),
        ((0, 1, 2, 1), r"t10k-labels\S+: 50 labels expected, .*, 200 found, as many as train-images"),
        (
            (2, 1, 2, 3),
            r"train-labels\S+: 50 labels expected, .*, 200 found; t10k-labels\S+ has as many as train-images",
        ),
        ((2, 3, 2, 3), r"images 0 to 49 of train-images\S+ are those of t10k-images\S+: is one a copy"),
    ],
)
def test_files_of_the_other_part_are_told(order, said, tmp_path):
    write_mnist(tmp_path, gz=False)
    names = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    contents = [(tmp_path / name).read_bytes() for name in names]
    for name, k in zip(names, order, strict=True):
        (tmp_path / name).write_bytes(contents[k])
    with pytest.raises(ValueError, match=said):
        data.load("mnist", tmp_path)


def test_swapped_cifar_files_are_told(tmp_path):
    write_cifar100(tmp_path / "c100")
    train, test = (tmp_path / "c100" / name for name in ("train.bin", "test.bin"))
    contents = train.read_bytes(), test.read_bytes()
    train.write_bytes(contents[1])
    with pytest.raises(ValueError, match=r"cifar100: .*, but images 0 to 99 of train.bin are those of test.bin"):
        data.load("cifar100", tmp_path / "c100")
    test.write_bytes(contents[0])
    with pytest.raises(ValueError, match=r"train.bin has 100 and test.bin 200: they look swapped"):
        data.load("cifar100", tmp_path / "c100")
    write_cifar10(tmp_path / "c10")
    (tmp_path / "c10" / "data_batch_3.bin").write_bytes((tmp_path / "c10" / "test_batch.bin").read_bytes())
    with pytest.raises(
        ValueError, match=r"images 80 to 119 of data_batch_1.bin .. data_batch_5.bin are those of test_"
    ):
        data.load("cifar10", tmp_path / "c10")


def test_the_whole_test_file_of_cifar10_is_told_by_its_classes():
    from tnkit_nn.data.swapped import check_classes

    rng = np.random.default_rng(0)
    paths, even = [Path(f"data_batch_{k}.bin") for k in range(1, 6)], np.arange(10_000) % 10
    uneven = rng.integers(0, 10, 50_000)
    check_classes(paths, Path("test_batch.bin"), uneven, even)
    check_classes(paths, Path("test_batch.bin"), uneven, uneven[:10_000])  # none is even: a set of one's own
    swapped = uneven.copy()
    swapped[30_000:40_000] = even
    with pytest.raises(ValueError, match=r"^test_batch.bin: .* which data_batch_4.bin has: .* look swapped"):
        check_classes(paths, Path("test_batch.bin"), swapped, uneven[:10_000])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["gz", "xz"])
@pytest.mark.parametrize("start", [b"", np.array([2051, 3, 28, 28], ">i4").tobytes()])
def test_a_file_that_unpacks_to_more_than_its_header_says(suffix, start, tmp_path):
    """A bomb: told by its magic number or its header, in the memory of the small file."""
    import tracemalloc

    from tnkit_nn.data.formats import binary_batch, class_names, idx_images

    path = tmp_path / f"bomb.{suffix}"
    path.write_bytes({"gz": gzip.compress, "xz": lzma.compress}[suffix](start + bytes(50_000_000)))
    said = "2368 bytes expected for its 3 items, 2369 or more found" if start else "magic number 2051 expected, 0 found"
    reads = [(lambda: idx_images(path), said), (lambda: class_names(path, 10), "10 class names expected, [13] found")]
    reads.append((lambda: binary_batch(path, {"labels": 10}, 10), "at most 160 records expected, more found"))
    for read, message in reads:
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=message) as error:
                read()
            assert tracemalloc.get_traced_memory()[1] < 12e6  # xz has a window of 8 MiB
            assert str(path) in str(error.value)
        finally:
            tracemalloc.stop()

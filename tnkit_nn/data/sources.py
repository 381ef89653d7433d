"""The data sets: each a function of a folder that returns a split.

Images are float32 (count, channels, height, width), normalised by the mean and standard deviation of each channel when they are
read: what a model takes, so that nothing is left to do a batch.  CIFAR takes 737 MB so (12 KB an image), MNIST 220 MB.  Nothing
is downloaded: ``root`` is a folder with the set's own files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tnkit.core.checks import flag, one_of, shown
from tnkit.core.extras import need
from tnkit_nn.checks import a_size, warn_caller
from tnkit_nn.data import cifar_python, formats
from tnkit_nn.data.folders import Version, find
from tnkit_nn.data.mnist_csv import csv
from tnkit_nn.data.splits import Split, limited, split_off
from tnkit_nn.data.swapped import check_classes, check_pairs, check_parts

__all__ = ["DATA", "cifar10", "cifar100", "digits", "load", "mnist"]

Root = str | os.PathLike[str] | None
Stats = tuple[tuple[float, ...], tuple[float, ...]]

#: Mean and standard deviation of each channel over the training images, pixels in 0..1: the figures in general use (for MNIST
#: those of PyTorch's examples, for CIFAR of the usual training recipes), which the training images give to four digits.
MNIST_STATS = ((0.1307,), (0.3081,))
CIFAR10_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_STATS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
MNIST_IDX = Version(
    "the IDX files",
    tuple(f"{part}-{what}" for part in ("train", "t10k") for what in (_IMAGES, _LABELS)),
    folders=("mnist", "MNIST/raw"),
    inner=("raw",),
    other_names={
        f"{part}-{what}": (f"{part}-{what.replace('-idx', '.idx')}",)
        for part in ("train", "t10k") for what in (_IMAGES, _LABELS)
    },
)  # fmt: skip
MNIST_CSV = Version(
    "Kaggle's tables",
    ("mnist_train.csv", "mnist_test.csv"),
    folders=("mnist",),
    other_names={"mnist_train.csv": ("train.csv",), "mnist_test.csv": ("test.csv",)},
)
_BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
CIFAR10_BINARY = Version(
    "the binary version", (*(f"{name}.bin" for name in _BATCHES), "batches.meta.txt"), ("cifar-10-batches-bin",)
)
CIFAR10_PYTHON = Version("the Python version", (*_BATCHES, "batches.meta"), ("cifar-10-batches-py",), packed=False)
CIFAR100_PYTHON = Version("the Python version", ("train", "test", "meta"), ("cifar-100-python",), packed=False)
MNIST_SITE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
CIFAR_SITE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def _images(raw: np.ndarray, stats: Stats) -> Tensor:
    """Float images, normalised, of bytes (count, channels, height, width)."""
    mean, std = (torch.tensor(s, device="cpu").view(1, -1, 1, 1) for s in stats)
    return torch.tensor(raw, dtype=torch.float32, device="cpu").div_(255).sub_(mean).div_(std)


def _parts(
    name: str,
    files: tuple[str, str],
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    stats: Stats,
    classes: tuple[str, ...],
) -> Split:
    check_parts(name, files, train[0], test[0])
    labels, test_labels = (torch.from_numpy(part[1].astype(np.int64)) for part in (train, test))
    learn, check = split_off(labels)
    return Split(
        name,
        (_images(train[0][learn.numpy()], stats), labels[learn]),
        (_images(train[0][check.numpy()], stats), labels[check]),
        (_images(test[0], stats), test_labels),
        classes,
    )


def digits(root: Root = None) -> Split:
    """scikit-learn's handwritten digits: 1,797 real 8x8 images, 1,000 / 297 / 500, as float32 (count, 64) in 0..1.

    >>> split = tknn.data.digits()
    >>> split.train[0].shape, len(split.val[1]), len(split.test[1])
    (torch.Size([1000, 64]), 297, 500)
    >>> split.num_classes, split.digest() == tknn.data.digits().digest()  # the same split in every run
    (10, True)

    The split is a seeded shuffle, the same in every run; the images come with scikit-learn, so ``root`` stays None.

    Raises
    ------
    ValueError
        A ``root``: the images come with scikit-learn.
    """
    if root is not None:
        raise ValueError(f"digits come with scikit-learn and are read from no folder, but root is {shown(root)}")
    table = _digits_table()
    x = torch.as_tensor(table[:, :-1], dtype=torch.float32, device="cpu") / 16
    y = torch.as_tensor(table[:, -1], dtype=torch.long, device="cpu")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0), device="cpu")
    parts = [order[:1000], order[1000:1297], order[1297:]]
    train, val, test = ((x[p], y[p]) for p in parts)
    return Split("digits", train, val, test, tuple("0123456789"))


def _digits_table() -> np.ndarray[Any, np.dtype[np.float64]]:
    """64 pixels and a label a row: scikit-learn's own file, read without its import, which costs each process two seconds."""
    found = find_spec("sklearn")
    for place in (found and found.submodule_search_locations) or ():
        file = Path(place, "datasets", "data", "digits.csv.gz")
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    need("the data set digits", "sklearn")  # missing, or a version that keeps the file elsewhere
    from sklearn.datasets import load_digits

    raw = load_digits()
    return np.column_stack([raw.data, raw.target])


def mnist(root: Root = None) -> Split:
    """MNIST from its four IDX files or from Kaggle's two tables: images (count, 1, 28, 28), 55,000 / 5,000 / 10,000.

    >>> tknn.data.mnist("no-such-folder")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no-such-folder: no such folder; root should hold train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain, .gz or .xz), or Kaggle's tables (mnist_train.csv .. mnist_test.csv); to be had at https://ossci-datasets.s3.amazonaws.com/mnist/

    Each file may be plain, ``.gz`` or ``.xz``, and IDX files may have a dot for the second dash, or lie in folders of their names.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`cifar10`.
    """
    version, paths = find(root, (MNIST_IDX, MNIST_CSV), MNIST_SITE)
    if version is MNIST_CSV:
        train, test = map(csv, paths)
        files = paths[0].name, paths[1].name
    else:
        images = [formats.idx_images(path) for path in paths[::2]]
        labels = [formats.idx_labels(path) for path in paths[1::2]]
        check_pairs(paths[::2], paths[1::2], [len(x) for x in images], [len(y) for y in labels])
        train, test = zip(images, labels, strict=True)
        files = f"{paths[0].name}", f"{paths[2].name}"
    return _parts("mnist", files, train, test, MNIST_STATS, tuple("0123456789"))


def cifar10(root: Root = None) -> Split:
    """CIFAR-10 from the files of its binary or its Python version: images (count, 3, 32, 32), 45,000 / 5,000 / 10,000.

    >>> tknn.data.cifar10("no-such-folder")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no-such-folder: no such folder; root should hold data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt (plain, .gz or .xz), or the Python version (data_batch_1 .. batches.meta); to be had at https://www.cs.toronto.edu/~kriz/cifar.html

    The binary version may be plain, ``.gz`` or ``.xz``, and is taken where both are there.  The pickles of the Python version are
    not unpickled: nothing that they name is imported or called.

    Raises
    ------
    FileNotFoundError
        A folder or a file is missing; the message says what was looked for, and where the set is to be had.
    ValueError
        A file that is not as its format says.
    """
    version, paths = find(root, (CIFAR10_BINARY, CIFAR10_PYTHON), CIFAR_SITE)
    *batches, test, meta = paths
    python = version is CIFAR10_PYTHON
    read = cifar_python.batch if python else formats.binary_batch
    learn, check = (formats.cifar(part, {"labels": 10}, 10000, "labels", read) for part in (batches, [test]))
    check_classes(batches, test, learn[1], check[1])
    files = f"{batches[0].name} .. {batches[-1].name}", test.name
    classes = cifar_python.meta_names(meta, "label_names", 10) if python else formats.class_names(meta, 10)
    split = _parts("cifar10", files, learn, check, CIFAR10_STATS, classes)
    for path, found in ((batches[0], len(learn[1]) // 5), (test, len(check[1]))):
        _tell_part(path, found, 10000)
    return split


def cifar100(root: Root = None, coarse: bool = False) -> Split:
    """CIFAR-100 from the files of its binary or its Python version, as :func:`cifar10`: 100 classes.

    >>> tknn.data.cifar100("no-such-folder", coarse=True)
    Traceback (most recent call last):
        ...
    FileNotFoundError: no-such-folder: no such folder; root should hold train.bin, test.bin, coarse_label_names.txt (plain, .gz or .xz), or the Python version (train .. meta); to be had at https://www.cs.toronto.edu/~kriz/cifar.html

    ``coarse`` takes the 20 coarse labels instead of the fine ones.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`cifar10`.
    TypeError
        ``coarse`` is neither True nor False.
    """
    kind, count = ("coarse", 20) if flag(coarse, "cifar100: coarse") else ("fine", 100)
    binary = Version(
        "the binary version", ("train.bin", "test.bin", f"{kind}_label_names.txt"), folders=("cifar-100-binary",)
    )
    version, (train, test, meta) = find(root, (binary, CIFAR100_PYTHON), CIFAR_SITE)
    python = version is CIFAR100_PYTHON
    read = cifar_python.batch if python else formats.binary_batch
    labels, whole = {"coarse_labels": 20, "fine_labels": 100}, ((train, 50000), (test, 10000))
    learn, check = (formats.cifar([path], labels, n, f"{kind}_labels", read) for path, n in whole)
    names = f"{kind}_label_names"
    classes = cifar_python.meta_names(meta, names, count) if python else formats.class_names(meta, count)
    split = _parts("cifar100", (train.name, test.name), learn, check, CIFAR100_STATS, classes)
    for (path, n), found in zip(whole, (learn, check), strict=True):
        _tell_part(path, len(found[1]), n)
    return split


def _tell_part(path: Path, found: int, count: int) -> None:
    """A warning where a file has not as many images as the published one: it is a part of it, or it was cut short."""
    if found != count:
        says = f"{path}: {found:,} records, {count:,} in the whole set: figures are of a part of it"
        warn_caller(says)


DATA: dict[str, Callable[[Root], Split]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}
"""The data sets by name: name -> a function of a folder that returns a :class:`Split`.

>>> sorted(tknn.data.DATA)
['cifar10', 'cifar100', 'digits', 'mnist']
>>> tknn.data.DATA["digits"]().num_classes
10
"""


def load(name: str, root: Root = None, *, limit: int | None = None) -> Split:
    """Read a data set.

    >>> split = tknn.data.load("digits", limit=100)
    >>> len(split.train[1]), len(split.test[1]), split.name
    (100, 100, 'digits (at most 100 a part)')
    >>> tknn.data.load("svhn")
    Traceback (most recent call last):
        ...
    ValueError: load: name of the data is one of digits, mnist, cifar10, cifar100, not 'svhn'

    Parameters
    ----------
    name
        A name of :data:`DATA`.
    root
        The folder with its files, one that holds the set's usual folder (such as ``cifar-10-batches-bin`` or
        ``MNIST/raw``), or the folder above that one; None for "digits".
    limit
        At most so many examples of each part, by class and the same in every run: for quick runs, whose figures are of that
        part of the test images.

    Raises
    ------
    FileNotFoundError
        A folder or file is missing; the message lists what was looked for and where the set is to be had.
    ValueError
        An unknown name, no root, or a file that is not as its format says; the message names the file, what was expected and
        what was found.
    """
    one_of(name, "load: name of the data", DATA)
    if limit is not None:
        a_size(limit, "limit")
    split = DATA[name](root)
    return split if limit is None else limited(split, limit)

"""The data sets: each a function of a folder that returns a split.

Images are float32 (count, channels, height, width), normalised by the mean and standard deviation of each channel when they are
read: what a model takes, so that nothing is left to do a batch.  CIFAR takes 737 MB so (12 KB an image), MNIST 220 MB.  Nothing
is downloaded: ``root`` is a folder with the set's own files.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tnkit.core.checks import flag, one_of, shown
from tnkit.core.extras import need
from tnkit_nn.checks import a_size
from tnkit_nn.data import formats
from tnkit_nn.data.splits import Split, limited, split_off

__all__ = ["DATA", "cifar10", "cifar100", "digits", "load", "mnist"]

Root = str | os.PathLike[str] | None
Stats = tuple[tuple[float, ...], tuple[float, ...]]

#: Mean and standard deviation of each channel over the training images, pixels in 0..1: the figures in general use (for MNIST
#: those of PyTorch's examples, for CIFAR of the usual training recipes), which the training images give to four digits.
MNIST_STATS = ((0.1307,), (0.3081,))
CIFAR10_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_STATS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

MNIST_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
CIFAR10_FILES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin", "batches.meta.txt")
MNIST_SITE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
CIFAR_SITE = "https://www.cs.toronto.edu/~kriz/cifar.html (binary version)"


def _images(raw: np.ndarray, stats: Stats) -> Tensor:
    """Float images, normalised, of bytes (count, channels, height, width)."""
    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in stats)
    return torch.tensor(raw, dtype=torch.float32).div_(255).sub_(mean).div_(std)


def _parts(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    stats: Stats,
    classes: tuple[str, ...],
) -> Split:
    if len(test[1]) > len(train[1]):
        found = f"{len(train[1])} and {len(test[1])}"
        raise ValueError(
            f"{name}: the training files have more images than the test files, not {found}: are they swapped?"
        )
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

    The split is a seeded shuffle, the same in every run; the images come with scikit-learn, so ``root`` stays None.
    """
    if root is not None:
        raise ValueError(f"digits come with scikit-learn and are read from no folder, but root is {shown(root)}")
    need("the data set digits", "sklearn")
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.as_tensor(raw.data, dtype=torch.float32) / 16
    y = torch.as_tensor(raw.target, dtype=torch.long)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = [order[:1000], order[1000:1297], order[1297:]]
    train, val, test = ((x[p], y[p]) for p in parts)
    return Split("digits", train, val, test, tuple("0123456789"))


def mnist(root: Root = None) -> Split:
    """MNIST from its four IDX files, plain, ``.gz`` or ``.xz``: images (count, 1, 28, 28), 55,000 / 5,000 / 10,000."""
    paths = formats.find(root, ("mnist", "MNIST/raw", "raw"), MNIST_FILES, MNIST_SITE)
    images = [formats.idx_images(path) for path in paths[::2]]
    labels = [formats.idx_labels(path, len(x), 10) for path, x in zip(paths[1::2], images, strict=True)]
    train, test = zip(images, labels, strict=True)
    return _parts("mnist", train, test, MNIST_STATS, tuple("0123456789"))


def cifar10(root: Root = None) -> Split:
    """CIFAR-10 from the files of its binary version, plain, ``.gz`` or ``.xz``: images (count, 3, 32, 32), 45,000 / 5,000 / 10,000."""
    *batches, test, meta = formats.find(root, ("cifar-10-batches-bin",), CIFAR10_FILES, CIFAR_SITE)
    parts = formats.cifar(batches, (10,), 10000), formats.cifar([test], (10,), 10000)
    return _parts("cifar10", *parts, CIFAR10_STATS, formats.class_names(meta, 10))


def cifar100(root: Root = None, coarse: bool = False) -> Split:
    """CIFAR-100 from the files of its binary version, plain, ``.gz`` or ``.xz``: images as :func:`cifar10`, 100 classes.

    ``coarse`` takes the 20 coarse labels instead of the fine ones.
    """
    coarse = flag(coarse, "cifar100: coarse")
    files = ("train.bin", "test.bin", "coarse_label_names.txt" if coarse else "fine_label_names.txt")
    train, test, meta = formats.find(root, ("cifar-100-binary",), files, CIFAR_SITE)
    files_of = ((train, 50000), (test, 10000))
    learn, check = (formats.cifar([path], (20, 100), count, 0 if coarse else 1) for path, count in files_of)
    return _parts("cifar100", learn, check, CIFAR100_STATS, formats.class_names(meta, 20 if coarse else 100))


DATA: dict[str, Callable[[Root], Split]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}


def load(name: str, root: Root = None, *, limit: int | None = None) -> Split:
    """Read a data set.

    Parameters
    ----------
    name
        A name of :data:`DATA`.
    root
        The folder with its files, or one that holds the set's usual folder (such as ``cifar-10-batches-bin``); None for
        "digits".
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

"""Data sets as tensors, with a fixed split into train, validation and test.

Images are float32 (count, channels, height, width), normalised by the mean and standard deviation of each channel when they are
read: what a model takes, so that nothing is left to do a batch.  CIFAR takes 737 MB so (12 KB an image), MNIST 220 MB.  Nothing
is downloaded: ``root`` is a folder with the set's own files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tnkit_nn.data import formats
from tnkit_nn.data.augment import AUGMENT, crop_flip
from tnkit_nn.storage import raw

__all__ = [
    "AUGMENT", "DATA", "Part", "Split", "cifar10", "cifar100", "crop_flip", "digits", "load", "mnist", "split_off",
    "stratified",
]  # fmt: skip

Part = tuple[Tensor, Tensor]
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


@dataclass(frozen=True)
class Split:
    """Inputs (count, ...) and integer labels (count,) of the three parts: a data set of :data:`DATA`, or tensors of your own.

    Learning rates are chosen on ``val``; ``test`` is read once, for the reported figure.  :func:`split_off` takes a validation
    part from training tensors that have none.

    Raises
    ------
    ValueError
        A part is empty, or its labels are not one whole number an input in 0..classes - 1.
    """

    name: str
    train: Part
    val: Part
    test: Part
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (x, y) in (("train", self.train), ("val", self.val), ("test", self.test)):
            if y.dim() != 1 or len(x) != len(y) or not len(x):
                found = f"inputs {tuple(x.shape)}, labels {tuple(y.shape)}"
                raise ValueError(f"{self.name}: {name} needs one label an input and at least one, found {found}")
            if y.dtype != torch.long or y.min() < 0 or (self.classes and y.max() >= len(self.classes)):
                known = f"in 0..{len(self.classes) - 1}" if self.classes else "from 0 up"
                found = f"{y.dtype} in {y.min()}..{y.max()}"
                raise ValueError(f"{self.name}: {name} needs labels {known} as torch.long, found {found}")

    def digest(self) -> str:
        """Tells data sets apart: from all labels, and a hundred examples or so of each part."""
        made = hashlib.sha256()
        for x, y in (self.train, self.val, self.test):
            made.update(raw(y) + raw(x[:: max(1, len(x) // 100)]))
        return made.hexdigest()[:12]

    @property
    def num_classes(self) -> int:
        """Number of classes: named ones, or one more than the largest label."""
        return len(self.classes) or 1 + max(int(y.max()) for _, y in (self.train, self.val, self.test))


def stratified(labels: Tensor, seed: int = 0) -> Tensor:
    """A seeded order in which every run of examples has the classes in proportion, as near as whole numbers allow."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels[order]
    place = torch.empty(len(labels), dtype=torch.float64)
    for c in shuffled.unique():
        where = (shuffled == c).nonzero()[:, 0]
        place[where] = (torch.arange(len(where), dtype=torch.float64) + 0.5) / len(where)
    return order[place.argsort(stable=True)]


def split_off(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions to train and to validate on: a tenth, 5,000 at most, drawn by class with a fixed seed; both in file order."""
    order = stratified(labels)
    count = min(5000, len(labels) // 10)
    return order[count:].sort().values, order[:count].sort().values


def _limited(split: Split, limit: int) -> Split:
    """At most ``limit`` examples of each part, by class; the name says so."""
    if limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}")

    def first(part: Part) -> Part:
        chosen = stratified(part[1])[:limit].sort().values
        return part[0][chosen], part[1][chosen]

    name = f"{split.name} (at most {limit} a part)"
    return replace(split, name=name, train=first(split.train), val=first(split.val), test=first(split.test))


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
    from sklearn.datasets import load_digits

    if root is not None:
        raise ValueError(f"digits come with scikit-learn and are read from no folder, but root is {root}")
    raw = load_digits()
    x = torch.as_tensor(raw.data, dtype=torch.float32) / 16
    y = torch.as_tensor(raw.target, dtype=torch.long)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = [order[:1000], order[1000:1297], order[1297:]]
    train, val, test = ((x[p], y[p]) for p in parts)
    return Split("digits", train, val, test, tuple("0123456789"))


def mnist(root: Root = None) -> Split:
    """MNIST from its four IDX files, plain, ``.gz`` or ``.xz``: images (count, 1, 28, 28), 55,000 / 5,000 / 10,000."""
    paths = formats.find(root, ("mnist", "MNIST/raw"), MNIST_FILES, MNIST_SITE)
    images = [formats.idx_images(path) for path in paths[::2]]
    labels = [formats.idx_labels(path, len(x), 10) for path, x in zip(paths[1::2], images, strict=True)]
    train, test = zip(images, labels, strict=True)
    return _parts("mnist", train, test, MNIST_STATS, tuple("0123456789"))


def cifar10(root: Root = None) -> Split:
    """CIFAR-10 from the files of its binary version, plain, ``.gz`` or ``.xz``: images (count, 3, 32, 32), 45,000 / 5,000 / 10,000."""
    *batches, test, meta = formats.find(root, ("cifar-10-batches-bin",), CIFAR10_FILES, CIFAR_SITE)
    parts = formats.cifar(batches, (10,), 10000), formats.cifar([test], (10,), 10000)
    return _parts("cifar10", *parts, CIFAR10_STATS, formats.names(meta, 10))


def cifar100(root: Root = None, coarse: bool = False) -> Split:
    """CIFAR-100 from the files of its binary version, plain, ``.gz`` or ``.xz``: images as :func:`cifar10`, 100 classes.

    ``coarse`` takes the 20 coarse labels instead of the fine ones.
    """
    files = ("train.bin", "test.bin", "coarse_label_names.txt" if coarse else "fine_label_names.txt")
    train, test, meta = formats.find(root, ("cifar-100-binary",), files, CIFAR_SITE)
    files_of = ((train, 50000), (test, 10000))
    learn, check = (formats.cifar([path], (20, 100), count, 0 if coarse else 1) for path, count in files_of)
    return _parts("cifar100", learn, check, CIFAR100_STATS, formats.names(meta, 20 if coarse else 100))


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
    if name not in DATA:
        raise ValueError(f"unknown data {name!r}; known: {', '.join(DATA)}")
    split = DATA[name](root)
    return split if limit is None else _limited(split, limit)

"""Files of a set under each other's names, told by their counts: before a model is trained on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["check_classes", "check_pairs", "check_parts"]


def check_pairs(
    images: Sequence[Path], labels: Sequence[Path], of_images: Sequence[int], of_labels: Sequence[int]
) -> None:
    """Train and test files of images and labels belong together; ValueError names those that do not.

    ::

        check_pairs(images, labels, (60_000, 10_000), (10_000, 60_000))
        # ValueError: train-labels-idx1-ubyte has 10,000 labels and t10k-labels-idx1-ubyte 60,000, their images 60,000 and 10,000: ...
    """
    if tuple(of_images) == tuple(of_labels):
        return
    crossed = tuple(of_images) == tuple(reversed(of_labels))
    if crossed:
        what, files, counts, other = "labels", labels, of_labels, of_images
        if of_images[0] < of_images[1]:
            what, files, counts, other = "images", images, of_images, of_labels
        beside = "images" if what == "labels" else "labels"
        raise ValueError(
            f"{files[0]} has {counts[0]:,} {what} and {files[1].name} {counts[1]:,}, their {beside} are {other[0]:,} and "
            f"{other[1]:,}: {files[0].name} and {files[1].name} look swapped"
        )
    for k, (path, count, found) in enumerate(zip(labels, of_images, of_labels, strict=True)):
        if count != found:
            hint = ""
            if found == of_images[1 - k]:
                hint = f", as many as {images[1 - k].name} has: are they the labels of that file?"
            elif count == of_labels[1 - k]:
                hint = f"; {labels[1 - k].name} has as many as {images[k].name}: is {images[k].name} the file of that part?"
            raise ValueError(f"{path}: {count} labels expected, one an image of {images[k].name}, {found} found{hint}")


def check_parts(name: str, files: tuple[str, str], train: np.ndarray, test: np.ndarray) -> None:
    """More images to train on than to test on, and not the same ones; ValueError names the files."""
    if len(test) > len(train):
        found = f"{files[0]} has {len(train):,} and {files[1]} {len(test):,}"
        raise ValueError(
            f"{name}: the training files have more images than the test files, but {found}: they look swapped"
        )
    for begin in range(0, len(train) - len(test) + 1, len(test)):
        part = train[begin : begin + len(test)]
        if np.array_equal(part[0], test[0]) and np.array_equal(part, test):
            where = f"images {begin:,} to {begin + len(test) - 1:,} of {files[0]}"
            raise ValueError(f"{name}: train and test differ, but {where} are those of {files[1]}: is one a copy?")


def check_classes(batches: Sequence[Path], test: Path, of_batches: np.ndarray, of_test: np.ndarray) -> None:
    """CIFAR-10's whole test file has 1,000 images of each class, its batches have not; ValueError names one that stands for it.

    All six files have 10,000 images: their classes tell them apart.
    """
    if len(of_test) != 10_000 or len(of_batches) != 50_000 or _balanced(of_test):
        return
    likely = [path for path, labels in zip(batches, np.split(of_batches, 5), strict=True) if _balanced(labels)]
    if len(likely) == 1:
        raise ValueError(
            f"{test}: 1,000 images of each class expected, which {likely[0].name} has: {test.name} and {likely[0].name} look "
            "swapped"
        )


def _balanced(labels: np.ndarray) -> bool:
    return bool((np.bincount(labels, minlength=10) == 1000).all())

"""The files of MNIST (IDX) and CIFAR (binary version) as arrays of bytes; whatever does not fit the format is refused."""

from __future__ import annotations

import lzma
import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tnkit_nn.checks import a_path

__all__ = ["cifar", "class_names", "find", "idx_images", "idx_labels"]

IMAGES, LABELS = 2051, 2049  # IDX magic numbers: unsigned bytes in three dimensions, in one
PIXELS = 3 * 32 * 32


def find(
    root: str | os.PathLike[str] | None, subfolders: Sequence[str], files: Sequence[str], where: str
) -> list[Path]:
    """The files of a set, each plain or as ``.gz`` or ``.xz``, in ``root`` or in one of its usual subfolders.

    Parameters
    ----------
    root
        The folder that the user names.
    subfolders
        Names of folders in ``root`` to look in when it does not hold the files itself.
    files
        Names of all the files.
    where
        Where the set is to be had: for the message.

    Raises
    ------
    ValueError
        No root is given.
    FileNotFoundError
        A file is missing; the message lists the names looked for.
    """
    wanted = f"{', '.join(files)} (plain, .gz or .xz)"
    if root is None:
        raise ValueError(f"no folder is given (root=, or --data-dir): the one with {wanted}; to be had at {where}")
    top = a_path(root, "root")
    if not top.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; root should hold {wanted}; to be had at {where}")
    folders = [top, *(top / s for s in subfolders)]
    # the folder that has the most of them: a missing file is then missed where the others are
    found = max(
        ([_variant(folder / name) for name in files] for folder in folders), key=lambda f: len(f) - f.count(None)
    )
    missing = [name for name, path in zip(files, found, strict=True) if path is None]
    if missing:
        places = " or ".join(str(folder) for folder in folders)
        raise FileNotFoundError(
            f"{', '.join(missing)} not found in {places}; looked for {wanted}; to be had at {where}{_instead(folders)}"
        )
    return [path for path in found if path is not None]


def _instead(folders: Sequence[Path]) -> str:
    """What is there instead, for a message: the version for Python, or the first names."""
    there = [entry.name for folder in folders if folder.is_dir() for entry in sorted(folder.iterdir())]
    python = [n for n in there if n.endswith(("-py", "-python")) or n == "data_batch_1"]
    if python:
        return (
            f"; {python[0]} is the version for Python, of pickles, which are never read: the binary version is needed"
        )
    return f"; there is {', '.join(there[:8])}{', ...' if len(there) > 8 else ''}" if there else "; nothing is there"


def _variant(path: Path) -> Path | None:
    candidates = (path, path.with_name(f"{path.name}.gz"), path.with_name(f"{path.name}.xz"))
    return next((p for p in candidates if p.is_file()), None)


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked; a packed file that is cut short or goes on after its end is refused."""
    content = path.read_bytes()
    if path.suffix not in (".gz", ".xz"):
        return content
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if path.suffix == ".gz" else lzma.LZMADecompressor()
    try:
        unpacked = unpack.decompress(content)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: damaged {path.suffix} file ({error})") from None
    if not unpack.eof or unpack.unused_data:
        what = f"{len(unpack.unused_data)} bytes after its end" if unpack.eof else "it ends too soon"
        raise ValueError(f"{path}: damaged {path.suffix} file ({what})")
    return unpacked


def _idx(path: Path, magic: int, shape: tuple[int, ...]) -> np.ndarray:
    """(count, *shape) bytes of an IDX file."""
    content, head = _content(path), 8 + 4 * len(shape)
    if len(content) < head:
        raise ValueError(f"{path}: a header of {head} bytes expected, {len(content)} bytes found")
    numbers = np.frombuffer(content, ">i4", head // 4)
    if numbers[0] != magic:
        raise ValueError(f"{path}: magic number {magic} expected, {numbers[0]} found")
    if tuple(numbers[2:]) != shape:
        raise ValueError(f"{path}: items of shape {shape} expected, {tuple(numbers[2:].tolist())} found")
    count = int(numbers[1])
    size = head + count * int(np.prod(shape, dtype=np.int64))
    if count < 1 or len(content) != size:
        raise ValueError(f"{path}: {size} bytes expected for its {count} items, {len(content)} found")
    return np.frombuffer(content, np.uint8, offset=head).reshape(count, *shape)


def idx_images(path: Path) -> np.ndarray:
    """Images (count, 1, 28, 28) of an IDX file; ValueError names the file, what was expected and what was found."""
    return _idx(path, IMAGES, (28, 28))[:, None]


def idx_labels(path: Path, count: int, classes: int) -> np.ndarray:
    """``count`` labels below ``classes`` of an IDX file; ValueError as :func:`idx_images`."""
    labels = _idx(path, LABELS, ())
    if len(labels) != count:
        raise ValueError(f"{path}: {count} labels expected, one an image, {len(labels)} found")
    _check_range(path, labels, classes, "label")
    return labels


def cifar(
    paths: Sequence[Path], label_sizes: Sequence[int], count: int, which: int = 0
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Images (count, 3, 32, 32) and labels (count,) of CIFAR's binary files, one after another.

    Parameters
    ----------
    paths
        Files of equally many records: label bytes, then red, green and blue row by row.
    label_sizes
        Number of classes of each label byte: ``(10,)``, or ``(20, 100)`` for coarse and fine.
    count
        Records that each file of the whole set has; files of others are read with a warning, being a part of it or cut short.
    which
        The label byte to return.

    Raises
    ------
    ValueError
        A size that is no whole number of records, a label out of range, or files of different counts; the message names the
        file, what was expected and what was found.
    """
    record = len(label_sizes) + PIXELS
    batches: list[np.ndarray] = []
    for path in paths:
        content = _content(path)
        if not content or len(content) % record:
            raise ValueError(f"{path}: records of {record} bytes expected, {len(content)} bytes found")
        batch = np.frombuffer(content, np.uint8).reshape(-1, record)
        if batches and len(batch) != len(batches[0]):
            raise ValueError(f"{path}: {len(batches[0])} records expected as in {paths[0].name}, {len(batch)} found")
        for byte, classes in enumerate(label_sizes):
            _check_range(path, batch[:, byte], classes, "label" if len(label_sizes) == 1 else f"label byte {byte}")
        batches.append(batch)
    if len(batches[0]) != count:
        warnings.warn(
            f"{paths[0]}: {len(batches[0]):,} records, {count:,} in the whole set: figures are of a part of it",
            stacklevel=4,
        )
    whole = batches[0] if len(batches) == 1 else np.concatenate(batches)
    return whole[:, len(label_sizes) :].reshape(-1, 3, 32, 32), whole[:, which]


def _check_range(path: Path, labels: np.ndarray, classes: int, what: str) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise ValueError(f"{path}: {what}s 0..{classes - 1} expected, {labels[wrong[0]]} found (record {wrong[0]})")


def class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Class names, one a line, in the order of the labels; ValueError for another number of them."""
    found = tuple(line.strip() for line in _content(path).decode(errors="replace").splitlines() if line.strip())
    if len(found) != classes:
        raise ValueError(f"{path}: {classes} class names expected, {len(found)} found")
    return found

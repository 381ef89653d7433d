"""The files of MNIST (IDX) and CIFAR (binary version) as arrays of bytes; whatever does not fit the format is refused."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

__all__ = [
    "PIXELS",
    "WHOLE_FILES",
    "Batch",
    "binary_batch",
    "check_range",
    "cifar",
    "class_names",
    "content_of",
    "idx_images",
    "idx_labels",
]

#: What a packed file may unpack to: records of so many whole files (all batches may stand in one), bytes of class names;
#: and the memory that unpacking may take (``xz -9`` takes 65 MiB).
WHOLE_FILES, _NAMES, _UNPACKING = 16, 2**16, 2**27
IMAGES, LABELS = 2051, 2049  # IDX magic numbers: unsigned bytes in three dimensions, in one
PIXELS = 3 * 32 * 32

#: Labels (count, kinds) and pixels (count, 3072) of one file.
Batch = tuple[np.ndarray, np.ndarray]


def content_of(path: Path, head: int, promised: Callable[[bytes], int]) -> bytes:
    """The bytes of a file, unpacked; a packed file that is cut short or goes on after its end is refused.

    ``promised(the first head bytes)`` says how many there may be (or raises); one more is read at most, so that a file that
    unpacks to more is told without unpacking it.
    """
    packed = path.read_bytes()
    if path.suffix not in (".gz", ".xz"):
        promised(packed[:head])
        return packed
    try:
        unpack = _Unpacker(packed, path.suffix)
        first = unpack.upto(head)
        if len(first) < head and not unpack.eof:
            raise ValueError(f"{path}: damaged {path.suffix} file (it ends too soon)")
        content = first + unpack.upto(promised(first) + 1 - len(first))
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: damaged {path.suffix} file ({error})") from None
    if len(content) > promised(first):  # there may be more: the caller says what is wrong
        return content
    if not unpack.eof or unpack.unused_data:
        what = f"{len(unpack.unused_data)} bytes after its end" if unpack.eof else "it ends too soon"
        raise ValueError(f"{path}: damaged {path.suffix} file ({what})")
    return content


class _Unpacker:
    """A packed file, unpacked as far as is asked."""

    def __init__(self, packed: bytes, suffix: str) -> None:
        self.rest = packed
        self.zip = zlib.decompressobj(zlib.MAX_WBITS | 16) if suffix == ".gz" else None
        self.lzma = lzma.LZMADecompressor(memlimit=_UNPACKING)

    @property
    def eof(self) -> bool:
        return self.zip.eof if self.zip else self.lzma.eof

    @property
    def unused_data(self) -> bytes:
        return self.zip.unused_data if self.zip else self.lzma.unused_data

    def upto(self, most: int) -> bytes:
        """At most so many bytes; fewer at the end."""
        found = b""
        while len(found) < most and not self.eof:
            before = len(self.rest)
            if self.zip:
                new = self.zip.decompress(self.rest, most - len(found))
                self.rest = self.zip.unconsumed_tail
            else:
                new = self.lzma.decompress(self.rest, most - len(found))
                self.rest = b""
            if not new and len(self.rest) in (0, before):
                break  # cut short
            found += new
        return found


def _idx(path: Path, magic: int, shape: tuple[int, ...]) -> np.ndarray:
    """(count, *shape) bytes of an IDX file."""
    head = 8 + 4 * len(shape)

    def promised(first: bytes) -> int:
        if len(first) < head:
            raise ValueError(f"{path}: a header of {head} bytes expected, {len(first)} bytes found")
        numbers = np.frombuffer(first, ">i4")
        if numbers[0] != magic:
            raise ValueError(f"{path}: magic number {magic} expected, {numbers[0]} found")
        if tuple(numbers[2:]) != shape:
            raise ValueError(f"{path}: items of shape {shape} expected, {tuple(numbers[2:].tolist())} found")
        return head + max(int(numbers[1]), 0) * int(np.prod(shape, dtype=np.int64))

    content = content_of(path, head, promised)
    size, count = promised(content[:head]), int(np.frombuffer(content, ">i4", 2)[1])
    if count < 1 or len(content) != size:
        more = " or more" if len(content) > size and path.suffix in (".gz", ".xz") else ""
        raise ValueError(f"{path}: {size} bytes expected for its {count} items, {len(content)}{more} found")
    return np.frombuffer(content, np.uint8, offset=head).reshape(count, *shape)


def idx_images(path: Path) -> np.ndarray:
    """Images (count, 1, 28, 28) of an IDX file; ValueError names the file, what was expected and what was found."""
    return _idx(path, IMAGES, (28, 28))[:, None]


def idx_labels(path: Path) -> np.ndarray:
    """Labels below 10 of an IDX file; ValueError as :func:`idx_images`."""
    labels = _idx(path, LABELS, ())
    check_range(path, labels, 10, "label")
    return labels


def binary_batch(path: Path, labels: Mapping[str, int], count: int) -> Batch:
    """One file of CIFAR's binary version: records of label bytes, then red, green and blue row by row.

    Parameters
    ----------
    path
        The file.
    labels
        Number of classes of each label byte, in their order.
    count
        Records that the published file has; 16 times as many are read at most.

    Raises
    ------
    ValueError
        A size that is no whole number of records, or a label out of range; the message names the file, what was expected and
        what was found.
    """
    record = len(labels) + PIXELS
    most = WHOLE_FILES * count * record
    content = content_of(path, 0, lambda _: most)
    if len(content) > most:
        raise ValueError(f"{path}: at most {most // record:,} records expected, more found")
    if not content or len(content) % record:
        raise ValueError(f"{path}: records of {record} bytes expected, {len(content)} bytes found")
    batch = np.frombuffer(content, np.uint8).reshape(-1, record)
    for byte, classes in enumerate(labels.values()):
        check_range(path, batch[:, byte], classes, "label" if len(labels) == 1 else f"label byte {byte}")
    return batch[:, : len(labels)], batch[:, len(labels) :]


def cifar(
    paths: Sequence[Path], labels: Mapping[str, int], count: int, which: str, read: Callable[..., Batch] = binary_batch
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Images (count, 3, 32, 32) and labels (count,) of CIFAR's files, one after another.

    Parameters
    ----------
    paths
        Files of equally many records.
    labels
        Number of classes of each kind of label: ``{"labels": 10}``, or coarse and fine.
    count
        Records that each file of the whole set has.
    which
        The kind of label to return.
    read
        What reads one file.

    Raises
    ------
    ValueError
        A file that is not as its format says, or files of different counts.
    """
    batches: list[Batch] = []
    for path in paths:
        batch = read(path, labels, count)
        if batches and len(batch[0]) != len(batches[0][0]):
            found = f"{len(batches[0][0])} records expected as in {paths[0].name}, {len(batch[0])} found"
            raise ValueError(f"{path}: {found}")
        batches.append(batch)
    images = np.concatenate([pixels for _, pixels in batches]).reshape(-1, 3, 32, 32)
    return images, np.concatenate([kinds[:, list(labels).index(which)] for kinds, _ in batches])


def check_range(path: Path, labels: np.ndarray, classes: int, what: str) -> None:
    """Labels from 0 to ``classes - 1``; ValueError names the file, the first other one and its record."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(f"{path}: {what}s 0..{classes - 1} expected, {labels[wrong[0]]} found (record {wrong[0]})")


def class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Class names, one a line, in the order of the labels; ValueError for another number of them."""
    found = tuple(
        line.strip()
        for line in content_of(path, 0, lambda _: _NAMES).decode(errors="replace").splitlines()
        if line.strip()
    )
    if len(found) != classes:
        raise ValueError(f"{path}: {classes} class names expected, {len(found)} found")
    return found

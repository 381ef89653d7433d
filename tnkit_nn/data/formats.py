"""The files of MNIST (IDX) and CIFAR (binary version) as arrays of bytes; whatever does not fit the format is refused."""

from __future__ import annotations

import lzma
import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tnkit_nn.checks import a_path

__all__ = ["cifar", "class_names", "find", "idx_images", "idx_labels"]

#: What a packed file may unpack to: records of so many whole files (all batches may stand in one), bytes of class names;
#: and the memory that unpacking may take (``xz -9`` takes 65 MiB).
_WHOLE_FILES, _NAMES, _UNPACKING = 16, 2**16, 2**27
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


def _content(path: Path, head: int, promised: Callable[[bytes], int]) -> bytes:
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

    content = _content(path, head, promised)
    size, count = promised(content[:head]), int(np.frombuffer(content, ">i4", 2)[1])
    if count < 1 or len(content) != size:
        more = " or more" if len(content) > size and path.suffix in (".gz", ".xz") else ""
        raise ValueError(f"{path}: {size} bytes expected for its {count} items, {len(content)}{more} found")
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
    most = _WHOLE_FILES * count * record
    batches: list[np.ndarray] = []
    for path in paths:
        content = _content(path, 0, lambda _: most)
        if len(content) > most:
            raise ValueError(f"{path}: at most {most // record:,} records expected, more found")
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
    found = tuple(
        line.strip()
        for line in _content(path, 0, lambda _: _NAMES).decode(errors="replace").splitlines()
        if line.strip()
    )
    if len(found) != classes:
        raise ValueError(f"{path}: {classes} class names expected, {len(found)} found")
    return found

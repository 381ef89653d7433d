"""MNIST as comma-separated values, as Kaggle has it: a line an image, its label and its 784 pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tnkit_nn.data.formats import check_range, content_of

__all__ = ["csv"]

_COLUMNS = 785
#: All of MNIST in one file, 4 bytes a pixel; and lines that are turned into numbers at once.
_MOST, _AT_ONCE = 71_000 * 4 * _COLUMNS, 2000
_NO_LABELS = "; a file without labels is no test file: mnist_test.csv is needed, or the four IDX files"
_HEADER = re.compile(rb"[^\d,\r\n]")


def csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 1, 28, 28) and labels (count,) of one file, with or without a header.

    ::

        images, labels = csv(Path("mnist_train.csv"))

    Raises
    ------
    ValueError
        The first column of the header is not ``label``, a line has not 785 whole numbers, or one is out of range; the message
        names the file and the line.
    """
    content = content_of(path, 0, lambda _: _MOST)
    if len(content) > _MOST:
        raise ValueError(f"{path}: at most {_MOST:,} bytes expected, more found")
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n ")
    first = content[: content.find(b"\n") + 1] or content
    header = int(bool(_HEADER.search(first)))
    if header:
        _check_header(path, first)
        content = content[len(first) :]
    if not content:
        raise ValueError(f"{path}: a line an image expected, none found")
    lines = content.split(b"\n")
    table = np.empty((len(lines), _COLUMNS), np.uint8)
    for begin in range(0, len(lines), _AT_ONCE):
        some = lines[begin : begin + _AT_ONCE]
        table[begin : begin + len(some)] = _numbers(path, some, begin + header + 1)
    check_range(path, table[:, 0], 10, "label")
    return table[:, 1:].reshape(-1, 1, 28, 28), table[:, 0]


def _check_header(path: Path, first: bytes) -> None:
    names = first.decode(errors="replace").replace('"', "").strip().split(",")
    if names[0].strip().lower() != "label" or len(names) != _COLUMNS:
        hint = "" if "label" in [name.strip().lower() for name in names] else _NO_LABELS
        raise ValueError(
            f"{path}: columns label and 784 pixels expected, {len(names)} from {names[0][:20]!r} found{hint}"
        )


def _numbers(path: Path, lines: list[bytes], at: int) -> np.ndarray:
    """(lines, 785) bytes; the digits of all lines at once, each number from its last digit back."""
    marks = b"," * (_COLUMNS - 1)
    for k, line in enumerate(lines):
        if line.translate(None, b"0123456789") != marks:
            found = f"{line.count(b',') + 1} columns" if line.count(b",") != _COLUMNS - 1 else "another character"
            hint = _NO_LABELS if line.count(b",") == _COLUMNS - 2 else ""
            rule = f"{_COLUMNS} whole numbers with commas between expected"
            raise ValueError(f"{path}: line {at + k}: {rule}, {found} found{hint}")
    text = np.frombuffer(b",,," + b",".join(lines) + b",", np.uint8)
    ends = np.flatnonzero(text == ord(","))[3:]
    begins = np.concatenate([[3], ends[:-1] + 1])
    value, power = np.zeros(len(ends), np.int64), 1
    for back in range(1, 4):
        value += power * (text[ends - back].astype(np.int64) - ord("0")) * (ends - back >= begins)
        power *= 10
    wrong = np.flatnonzero((ends == begins) | (ends - begins > 3) | (value > 255))
    if len(wrong):
        k, column = divmod(int(wrong[0]), _COLUMNS)
        found = bytes(text[begins[wrong[0]] : ends[wrong[0]]][:8]).decode() or "nothing"
        raise ValueError(
            f"{path}: line {at + k}, column {column + 1}: a whole number in 0..255 expected, {found} found"
        )
    return value.reshape(-1, _COLUMNS)

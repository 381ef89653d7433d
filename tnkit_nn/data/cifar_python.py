"""CIFAR's Python version: its batches and its class names, checked against what the site documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tnkit_nn.data.formats import PIXELS, WHOLE_FILES, Batch, check_range
from tnkit_nn.data.pickles import read

__all__ = ["batch", "meta_names"]


def batch(path: Path, labels: Mapping[str, int], count: int) -> Batch:
    """Labels (count, kinds) and pixels (count, 3072) of one batch.

    ::

        batch(Path("cifar-10-batches-py/test_batch"), {"labels": 10}, 10_000)

    Parameters
    ----------
    path
        A pickle of a dict with ``data``, uint8 (count, 3072), and lists of labels.
    labels
        Number of classes of each list of labels.
    count
        Images that the published file has: no file of more than 16 times as many bytes is read.

    Raises
    ------
    ValueError
        The file is no such pickle, or has another instruction or name than the published ones; the message names the file, what
        was expected and what was found.
    """
    found = _dict(path, WHOLE_FILES * count * PIXELS)
    data = found.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS or not len(data):
        raise ValueError(f"{path}: data is expected as uint8 of shape (count, {PIXELS}), {_found(data)} found")
    columns = [_labels(path, found.get(key), key, len(data), classes) for key, classes in labels.items()]
    return np.stack(columns, 1), data


def meta_names(path: Path, key: str, classes: int) -> tuple[str, ...]:
    """The class names of ``batches.meta`` or ``meta``, in the order of the labels; ValueError for another number of them."""
    names = _dict(path, 2**16).get(key)
    if type(names) is not list or len(names) != classes or any(type(n) not in (bytes, str) for n in names):
        raise ValueError(f"{path}: {key} is expected as {classes} class names, {_found(names)} found")
    return tuple(_text(name).strip() for name in names)


def _labels(path: Path, values: Any, key: str, count: int, classes: int) -> np.ndarray:
    if type(values) is not list or any(type(v) is not int for v in values):
        raise ValueError(f"{path}: {key} is expected as a list of whole numbers, {_found(values)} found")
    if len(values) != count:
        raise ValueError(f"{path}: {count} {key} expected, one an image, {len(values)} found")
    whole = np.array(values, np.int64)
    check_range(path, whole, classes, key.removesuffix("s").replace("_", " "))
    return whole.astype(np.uint8)


def _dict(path: Path, most: int) -> dict[str, Any]:
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: at most {most:,} bytes expected, {size:,} found")
    try:
        found = read(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: no file of CIFAR's Python version as published: {error}; {_WAY_OUT}") from None
    if type(found) is not dict:
        raise ValueError(f"{path}: a dict is expected, {_found(found)} found; {_WAY_OUT}")
    return {_text(key): value for key, value in found.items()}


_WAY_OUT = "nothing of it was run; the binary version is read too: https://www.cs.toronto.edu/~kriz/cifar.html"


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _found(value: Any) -> str:
    """What is there instead, for a message; never its text, which may have no end."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"

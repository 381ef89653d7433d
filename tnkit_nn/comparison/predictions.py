"""What classifiers gave to the test examples: one file beside the records, which name their part of it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tnkit_nn.storage import write_tensors

__all__ = ["FILE", "write_predictions"]

FILE = "predictions.safetensors"


def write_predictions(records: Sequence[Mapping[str, Any]], out: Path | None) -> list[dict[str, Any]]:
    """The records with ``scores`` in place of their packed predictions: which tensors of the file are theirs; None without a file.

    A tensor has one whole number, the class given, a test example.
    """
    tensors: dict[str, Tensor] = {}
    found = []
    for record in records:
        row = record["label"] if record["budget"] is None else f"{record['label']} at {record['budget']}"
        places = {}
        for reading, text in record["predictions"].items():
            name = f"{row}/{reading}/seed {record['seed']}"
            tensors[name], places[reading] = _unpacked(text), name
        plain = {k: v for k, v in record.items() if k != "predictions"}
        found.append({**plain, "scores": {"file": FILE, **places} if places and out is not None else None})
    if tensors and out is not None:
        write_tensors(out / FILE, tensors)
    return found


def _unpacked(text: str) -> Tensor:
    return torch.frombuffer(bytearray(zlib.decompress(base64.b85decode(text))), dtype=torch.int32)

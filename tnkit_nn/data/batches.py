"""Batches of any kind: tensors in tuples, lists, dicts and what is like them, moved, measured and looked at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from tnkit.core.checks import shown
from tnkit_nn.checks import finite

__all__ = ["Batch", "check_numbers", "leaves", "length", "mapped", "moved", "shapes"]

Batch = Any


def leaves(batch: Batch, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a batch has in it, each with its place.

    ::

        [place for place, _ in leaves({"x": (a, b), "y": c})]
        # ["['x'][0]", "['x'][1]", "['y']"]
    """
    if isinstance(batch, Mapping):
        for key in batch:
            yield from leaves(batch[key], f"{path}[{shown(key)}]")
    elif isinstance(batch, (tuple, list)):
        for k, x in enumerate(batch):
            yield from leaves(x, f"{path}[{k}]")
    elif _is_record(batch):
        for f in fields(batch):
            yield from leaves(getattr(batch, f.name), f"{path}.{f.name}")
    else:
        yield path, batch


def mapped(function: Callable[[Any], Any], batch: Batch) -> Batch:
    """The batch with a function of each leaf in its place; what is in it stays of its class.  What has a ``to`` is a leaf."""
    if _movable(batch):
        return function(batch)
    if isinstance(batch, MutableMapping) and type(batch) is not dict:
        other = copy.copy(batch)
        for key in list(batch):
            other[key] = mapped(function, batch[key])
        return other
    if isinstance(batch, Mapping):
        return {key: mapped(function, batch[key]) for key in batch}
    if isinstance(batch, (tuple, list)):
        made = [mapped(function, x) for x in batch]
        return type(batch)(*made) if hasattr(batch, "_fields") else type(batch)(made)
    if _is_record(batch):
        other = copy.copy(batch)
        for f in fields(batch):
            object.__setattr__(other, f.name, mapped(function, getattr(batch, f.name)))
        return other
    return function(batch)


def _movable(x: Any) -> bool:
    return isinstance(x, Tensor) or (callable(getattr(x, "to", None)) and not isinstance(x, type))


def _is_record(x: Any) -> bool:
    return is_dataclass(x) and not isinstance(x, type)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device: its tensors, and what else has a ``to``."""
    return mapped(lambda x: x.to(device) if _movable(x) else x, batch)


def length(batch: Batch) -> int:
    """Examples of a batch: the length of its first tensor."""
    return next((len(x) for _, x in leaves(batch) if isinstance(x, Tensor) and x.dim()), 1)


def shapes(batch: Batch) -> str:
    """A batch in a few words.

    >>> shapes((torch.ones(2, 3), torch.zeros(2)))
    '(float32 2x3, float32 2)'
    """
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {'x'.join(map(str, batch.shape)) or 'number'}"
    if isinstance(batch, Mapping):
        return "{" + _few([f"{k}: {shapes(batch[k])}" for k in batch]) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + _few([shapes(x) for x in batch]) + ")"
    return type(batch).__name__


def _few(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f", {len(items) - 4} more" if len(items) > 4 else "")


def check_numbers(batch: Batch, what: str) -> None:
    """ValueError that names the first entry of a batch that is not finite, or says that it has no example; nothing for any other."""
    if length(batch) == 0:
        raise ValueError(f"{what.rstrip(', ')} has one example or more, not none, {shapes(batch)}")
    for path, x in leaves(batch):
        if isinstance(x, Tensor) and x.layout is torch.strided and (x.is_floating_point() or x.is_complex()):
            finite(x, what + path)

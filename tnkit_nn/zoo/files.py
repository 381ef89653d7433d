"""Models in safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from torch import nn

from tnkit.core.checks import a_mapping, one_of, text
from tnkit_nn.checks import a_module, a_path
from tnkit_nn.storage import fill_, read_tensors, write_tensors
from tnkit_nn.zoo.registry import ZOO, build

__all__ = ["load", "save"]


def save(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's parameters and buffers to a safetensors file, whole or not at all, with texts of your own.

    >>> model = tknn.zoo.mlp()
    >>> tknn.zoo.save(model, "mlp.safetensors", {"trained on": "digits"})
    >>> again = tknn.zoo.load("mlp", "mlp.safetensors")
    >>> torch.equal(again.fc1.weight, model.fc1.weight)
    True

    Raises
    ------
    TypeError, ValueError
        No module, no path, or metadata that maps no texts to texts; values that a file cannot hold.
    OSError
        The file cannot be written.
    """
    a_module(model, "save: model")
    for key, value in {} if metadata is None else a_mapping(metadata, "save", "metadata").items():
        text(key, "save: a key of metadata")
        text(value, f"save: metadata {key!r}", empty=True)
    write_tensors(a_path(path, "save: path"), model.state_dict(), metadata)


def load(name: str, path: str | os.PathLike[str]) -> nn.Sequential:
    """A model of :data:`ZOO` with the values of a safetensors file; the number of classes is the file's.

    >>> tknn.zoo.save(tknn.zoo.mlp(num_classes=7), "mlp.safetensors")
    >>> tknn.zoo.load("mlp", "mlp.safetensors")(torch.zeros(2, 64)).shape  # the classes are the file's
    torch.Size([2, 7])
    >>> tknn.zoo.load("lenet5", "mlp.safetensors")
    Traceback (most recent call last):
        ...
    ValueError: mlp.safetensors: the file is not of a model lenet5: conv1.weight is missing; conv1.bias is missing; conv2.weight is missing and 7 more

    Values come back in the model's dtypes: float16 ones as float32.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        An unknown model, no safetensors file or a damaged one, or names, shapes or kinds of values that are not the model's; the
        message lists the first few.
    """
    one_of(name, "name of the model", ZOO)
    path = a_path(path, "load: path")
    with torch.device("meta"):  # shapes alone: nothing is drawn
        last = list(build(name).state_dict())[-1]
    values, _ = read_tensors(path, "copy it again, or train again")
    given = values.get(last)
    classes = len(given) if given is not None and given.dim() and given.numel() else 10
    with torch.device("meta"):
        model = build(name, classes)
    model.to_empty(device="cpu")
    fill_(model, values, f"{path}: the file is not of a model {name}")
    return model

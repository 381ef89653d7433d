"""Models to compress: built, kept in files, cut short, and how they are trained."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping

import torch
from torch import nn

from tnkit_nn.storage import fill_, read_tensors, write_tensors
from tnkit_nn.zoo.models import MLP, alexnet, fc2, lenet5, mlp, vgg16, zfnet
from tnkit_nn.zoo.recipes import TRAIN

__all__ = [
    "MLP", "TRAIN", "ZOO", "alexnet", "build", "check_takes", "fc2", "lenet5", "load", "mlp", "save", "vgg16", "without", "zfnet",
]  # fmt: skip

ZOO: dict[str, Callable[[int], nn.Sequential]] = {
    "mlp": mlp,
    "fc2": fc2,
    "lenet5": lenet5,
    "alexnet": alexnet,
    "zfnet": zfnet,
    "vgg16": vgg16,
}


def build(name: str, num_classes: int = 10) -> nn.Sequential:
    """A model of :data:`ZOO`, drawn by torch's global generator; ValueError names those there are."""
    if name not in ZOO:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(ZOO)}")
    return ZOO[name](num_classes)


def check_takes(model: nn.Module, images: torch.Tensor, name: str, data: str, classes: int) -> None:
    """ValueError, with both names, where a model cannot be called with images (count, ...), or gives fewer than ``classes`` classes."""
    training = model.training
    try:
        with torch.no_grad():
            given = model.eval()(images[:1]).shape[-1]
    except RuntimeError:
        shape = tuple(images.shape[1:])
        raise ValueError(f"model {name!r} does not take inputs of the shape {shape} of {data!r}") from None
    finally:
        model.train(training)
    if given < classes:
        raise ValueError(f"{name}: a model of {given} classes; {data!r} has {classes}")


def without(model: nn.Module, *layers: str) -> nn.Module | None:
    """The model with linear layers and their activations left out: the linear layer after them takes their input.

    Parameters
    ----------
    model
        It is left alone; what the two have in common is copied, names and values, and only a layer whose input changes is drawn
        anew.
    *layers
        Names of ``nn.Linear`` layers in an ``nn.Sequential``, such as "fc1" or "classifier.0".

    Returns
    -------
    nn.Module or None
        None where a layer cannot be left out so: it is no linear layer, or none follows that takes its output.

    Raises
    ------
    ValueError
        The model has no such layer.
    """
    known = dict(model.named_modules())
    for layer in layers:
        if not layer or layer not in known:
            linear = ", ".join(n for n, m in known.items() if isinstance(m, nn.Linear))
            raise ValueError(f"the model has no layer {layer!r}; its linear layers are {linear}")
    model = copy.deepcopy(model)
    for layer in layers:
        path, _, name = layer.rpartition(".")
        parent = model.get_submodule(path)
        if not isinstance(parent, nn.Sequential) or not _leave_out(parent, name):
            return None
    return model


def _leave_out(parent: nn.Sequential, name: str) -> bool:
    """Take a linear layer and what follows up to the next one out; False, and nothing done, where that cannot be."""
    gone, members = getattr(parent, name), list(parent.named_children())
    after = members[[n for n, _ in members].index(name) + 1 :]
    k = next((k for k, (_, m) in enumerate(after) if isinstance(m, nn.Linear)), None)
    if not isinstance(gone, nn.Linear) or k is None or any(True for _, m in after[:k] for _ in m.parameters()):
        return False
    following, (heir, old) = after[:k], after[k]
    if not isinstance(old, nn.Linear) or old.in_features != gone.out_features:
        return False
    for leaf, _ in [(name, gone), *following]:
        delattr(parent, leaf)  # not del parent[k], which would number the others anew
    weight = old.weight
    new = nn.Linear(
        gone.in_features, old.out_features, old.bias is not None, device=weight.device, dtype=weight.dtype
    )  # fmt: skip
    setattr(parent, heir, new.train(old.training))
    return True


def save(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's parameters and buffers to a safetensors file, whole or not at all, with texts of your own."""
    write_tensors(path, model.state_dict(), metadata)


def load(name: str, path: str | os.PathLike[str]) -> nn.Sequential:
    """A model of :data:`ZOO` with the values of a safetensors file; the number of classes is the file's.

    Values come back in the model's dtypes: float16 ones as float32.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        An unknown model, no safetensors file, or names or shapes that are not the model's; the message lists the first few.
    """
    with torch.device("meta"):  # shapes alone: nothing is drawn
        last = list(build(name).state_dict())[-1]
    values, _ = read_tensors(path)
    classes = len(values[last]) if last in values and values[last].numel() else 10
    with torch.device("meta"):
        model = build(name, classes)
    model.to_empty(device="cpu")
    fill_(model, values, f"{path}: not a {name}")
    return model

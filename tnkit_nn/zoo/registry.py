"""The models by name, and whether one takes given images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tnkit_nn.zoo.models import alexnet, fc2, lenet5, mlp, vgg16, zfnet

__all__ = ["ZOO", "build", "check_takes"]

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

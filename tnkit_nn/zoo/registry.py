"""The models by name, and whether one takes given images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tnkit.core.checks import one_of, text
from tnkit.core.numbers import whole_number
from tnkit_nn.checks import a_module, a_tensor
from tnkit_nn.training.evaluation import trial
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
    one_of(name, "name of the model", ZOO)
    return ZOO[name](num_classes)


def check_takes(model: nn.Module, images: torch.Tensor, name: str, data: str, classes: int) -> None:
    """ValueError, with both names, where a model cannot be called with images (count, ...), or gives fewer than ``classes`` classes."""
    text(name, "check_takes: name")
    text(data, "check_takes: data")
    whole_number(classes, "check_takes: classes", 1)
    trial(
        a_module(model, "check_takes: model"),
        a_tensor(images, "check_takes: images"),
        f"model {name!r}",
        repr(data),
        classes,
    )

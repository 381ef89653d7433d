"""The models by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tnkit.core.checks import one_of
from tnkit_nn.zoo.models import alexnet, fc2, lenet5, mlp, vgg16, zfnet

__all__ = ["ZOO", "build"]

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

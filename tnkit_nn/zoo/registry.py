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
"""The models by name: name -> a function of the number of classes.

>>> sorted(tknn.zoo.ZOO)
['alexnet', 'fc2', 'lenet5', 'mlp', 'vgg16', 'zfnet']
>>> tknn.zoo.ZOO["mlp"] is tknn.zoo.mlp
True
"""


def build(name: str, num_classes: int = 10) -> nn.Sequential:
    """A model of :data:`ZOO`, drawn by torch's global generator; ValueError names those there are.

    >>> model = tknn.zoo.build("lenet5", num_classes=5)
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 5])
    >>> tknn.zoo.build("resnet")
    Traceback (most recent call last):
        ...
    ValueError: name of the model is one of mlp, fc2, lenet5, alexnet, zfnet, vgg16, not 'resnet'

    Raises
    ------
    TypeError, ValueError
        An unknown name (those there are, are named), or ``num_classes`` that is no whole number of at least 1.
    """
    one_of(name, "name of the model", ZOO)
    return ZOO[name](num_classes)

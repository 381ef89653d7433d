"""LeNet-5 whose middle layers are read off one weight, so that one network can stand in for all of them."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit_nn import zoo

#: The layers, in the order in which their weights stand one after another in the one.
LAYERS = ("conv2", "fc1", "fc2")
SHAPES = {"conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120)}
#: Layer -> what an entry of the one weight is multiplied by.
UNITS = {n: prod(shape[1:]) ** -0.5 for n, shape in SHAPES.items()}
#: Rows and columns of the one weight: near a square, as most of the layers are.
MATRIX = (240, 252)
#: Its name in the model.
WEIGHT = "_".join(LAYERS)


class _OneWeight(nn.Module):
    """The one weight, under the name that it has in a comparison."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(value)


class JointLeNet5(nn.Module):
    """The zoo's LeNet-5 with one weight for :data:`LAYERS`: its entries are theirs, in units of ``1 / sqrt(inputs)`` of each layer.

    So entries are of like size in all layers when they are drawn.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        model = zoo.lenet5()
        given = {n: model.get_parameter(f"{n}.weight").detach() / UNITS[n] for n in LAYERS}
        self.add_module(WEIGHT, _OneWeight(torch.cat([x.flatten() for x in given.values()]).reshape(MATRIX)))
        self.conv1, self.fc3 = model.get_submodule("conv1"), model.get_submodule("fc3")
        self.bias = nn.ParameterDict({n: nn.Parameter(model.get_parameter(f"{n}.bias").detach()) for n in LAYERS})

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weights()
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, weights["conv2"], self.bias["conv2"])), 2).flatten(1)
        for n in LAYERS[1:]:
            x = F.relu(F.linear(x, weights[n], self.bias[n]))
        out: Tensor = self.fc3(x)
        return out

    def weights(self) -> dict[str, Tensor]:
        """Layer -> its weight."""
        one: Tensor = getattr(self, WEIGHT).weight
        parts = one.flatten().split([prod(shape) for shape in SHAPES.values()])
        return {n: part.reshape(SHAPES[n]) * UNITS[n] for n, part in zip(LAYERS, parts, strict=True)}


def joint_lenet5(seed: int) -> nn.Module:
    """A new one."""
    return JointLeNet5(seed)

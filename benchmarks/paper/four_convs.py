"""A small VGG: four convolutions of 3 x 3, the last of them wide, so that a wider layer than LeNet-5's can be asked for in minutes a row."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

#: Output channels of the convolutions; each is followed by a normalisation, a ReLU and a pool.
CHANNELS = (32, 64, 64, 128)
#: The widest: 128 x 64 x 3 x 3 = 73,728 weights, on 4 x 4 positions.
WIDEST = f"conv{len(CHANNELS)}"


def four_convolutions(seed: int) -> nn.Module:
    """A new one, for CIFAR-10."""
    torch.manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for k, channels in enumerate(CHANNELS, 1):
        layers[f"conv{k}"] = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        layers[f"norm{k}"] = nn.BatchNorm2d(channels)
        layers[f"relu{k}"] = nn.ReLU()
        layers[f"pool{k}"] = nn.MaxPool2d(2)
        before = channels
    side = 32 // 2 ** len(CHANNELS)
    return nn.Sequential(OrderedDict(**layers, flatten=nn.Flatten(), head=nn.Linear(before * side**2, 10)))

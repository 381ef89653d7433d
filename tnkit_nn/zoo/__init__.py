"""Models to compress: built, kept in files, cut short, and how they are trained.

>>> sorted(tknn.zoo.ZOO)
['alexnet', 'fc2', 'lenet5', 'mlp', 'vgg16', 'zfnet']
>>> model = tknn.zoo.build("lenet5", num_classes=10)
>>> model(torch.zeros(2, 1, 28, 28)).shape
torch.Size([2, 10])
"""

from tnkit_nn.zoo.ablation import without
from tnkit_nn.zoo.files import load, save
from tnkit_nn.zoo.models import MLP, alexnet, fc2, lenet5, mlp, vgg16, zfnet
from tnkit_nn.zoo.recipes import TRAIN
from tnkit_nn.zoo.registry import ZOO, build

__all__ = [
    "MLP", "TRAIN", "ZOO", "alexnet", "build", "fc2", "lenet5", "load", "mlp", "save", "vgg16", "without", "zfnet",
]  # fmt: skip

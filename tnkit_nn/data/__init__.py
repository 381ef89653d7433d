"""Data sets as tensors, with a fixed split into train, validation and test.

>>> split = tknn.data.digits()
>>> [tuple(part[0].shape) for part in (split.train, split.val, split.test)]
[(1000, 64), (297, 64), (500, 64)]
"""

from tnkit_nn.data.augment import AUGMENT, crop_flip
from tnkit_nn.data.sources import DATA, cifar10, cifar100, digits, load, mnist
from tnkit_nn.data.splits import Part, Split, split_off, stratified

__all__ = [
    "AUGMENT", "DATA", "Part", "Split", "cifar10", "cifar100", "crop_flip", "digits", "load", "mnist", "split_off",
    "stratified",
]  # fmt: skip

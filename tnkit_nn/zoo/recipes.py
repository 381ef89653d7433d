"""How each model of the zoo is trained."""

from __future__ import annotations

from tnkit_nn.training.recipe import Recipe

__all__ = ["TRAIN"]

_CIFAR = Recipe(
    epochs=40, lr=0.01, method="sgd", schedule="onecycle", batch=128, weight_decay=5e-4, label_smoothing=0.05,
    augment="crop_flip",
)  # fmt: skip

TRAIN: dict[str, Recipe] = {
    "mlp": Recipe(epochs=50, lr=3e-3, method="adamw", batch=64),
    "fc2": Recipe(epochs=10, lr=2e-3, method="adamw", batch=128),
    "lenet5": Recipe(epochs=10, lr=4e-3, method="adamw", batch=128),
    "alexnet": _CIFAR,
    "zfnet": _CIFAR,
    "vgg16": Recipe(
        epochs=40, lr=0.06, method="sgd", schedule="onecycle", batch=128, weight_decay=5e-4, label_smoothing=0.05,
        augment="crop_flip",
    ),
}  # fmt: skip
"""How each model of the zoo is trained: name of a model in :data:`ZOO` -> its :class:`~tnkit_nn.Recipe`.

>>> tknn.zoo.TRAIN["mlp"].epochs, tknn.zoo.TRAIN["vgg16"].augment
(50, 'crop_flip')
>>> sorted(tknn.zoo.TRAIN) == sorted(tknn.zoo.ZOO)
True
"""

"""tnkit_nn: tensor networks as modules, weights and layers of torch."""

from tnkit_nn import data as data
from tnkit_nn import zoo as zoo
from tnkit_nn.compare import Task, compare
from tnkit_nn.fit import FitResult, fit
from tnkit_nn.layers import TNEmbedding, TNLinear
from tnkit_nn.module import TNModule
from tnkit_nn.ops import TORCH
from tnkit_nn.train import Group, Recipe, accuracy, train
from tnkit_nn.weight import merge_, parametrize_

__all__ = [
    "TORCH", "FitResult", "Group", "Recipe", "TNEmbedding", "TNLinear", "TNModule", "Task", "accuracy", "compare", "data", "fit",
    "merge_", "parametrize_", "train", "zoo",
]  # fmt: skip

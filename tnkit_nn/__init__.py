"""tnkit_nn: tensor networks as modules, weights and layers of torch."""

from tnkit_nn import data as data
from tnkit_nn import zoo as zoo
from tnkit_nn.adapter.fitting import FitResult, fit
from tnkit_nn.adapter.layers import TNEmbedding, TNLinear
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.adapter.parametrize import merge_, parametrize_
from tnkit_nn.approximation import approximate
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.task import Task
from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.compression.result import Compressed, dense, load_compressed_, save_compressed
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.families import Family
from tnkit_nn.training.evaluation import accuracy
from tnkit_nn.training.loop import Group, Recipe, train

__all__ = [
    "TORCH", "Compressed", "Compression", "Family", "FitResult", "Group", "Layers", "Recipe", "Stage1", "TNEmbedding", "TNLinear",
    "TNModule", "Task", "accuracy", "approximate", "compare", "compress_", "data", "dense", "fit", "load_compressed_", "merge_",
    "parametrize_", "save_compressed", "train", "zoo",
]  # fmt: skip

"""tnkit_nn: tensor networks as modules, weights and layers of torch.

The adapter (:class:`TNModule`, :class:`TNLinear`, :class:`TNConv2d`, :class:`TNEmbedding`, :func:`parametrize_`, :func:`fit`) needs
torch and tnkit alone.  All but the engine, which :mod:`tnkit` asks for at the first tensor, is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tnkit.core.extras import need

need("tnkit_nn", "torch")

from tnkit_nn.engine.backend import TORCH

__all__ = [
    "TORCH", "Comparison", "Compressed", "Compression", "Family", "FitResult", "Group", "Layers", "Metric", "Recipe", "Stage1",
    "TNConv1d", "TNConv2d", "TNConv3d", "TNEmbedding", "TNLinear", "TNModule", "Task", "accuracy", "approximate", "compare",
    "compress_", "data", "dense", "fit", "frame", "isometric_", "keep_weights", "load", "load_compressed_", "merge_",
    "parametrize_", "plot", "save", "save_compressed", "tensorize_", "train", "zoo",
]  # fmt: skip

if TYPE_CHECKING:  # what type checkers and editors see of _WHERE
    from tnkit_nn import data as data
    from tnkit_nn import zoo as zoo
    from tnkit_nn.adapter.conv import TNConv1d, TNConv2d, TNConv3d
    from tnkit_nn.adapter.embedding import TNEmbedding
    from tnkit_nn.adapter.fitting import FitResult, fit
    from tnkit_nn.adapter.isometries import isometric_
    from tnkit_nn.adapter.keeping import keep_weights
    from tnkit_nn.adapter.linear import TNLinear
    from tnkit_nn.adapter.module import TNModule
    from tnkit_nn.adapter.parametrize import merge_, parametrize_
    from tnkit_nn.approximation.approximate import approximate
    from tnkit_nn.comparison.compare import compare
    from tnkit_nn.comparison.records import frame
    from tnkit_nn.comparison.report.plots import plot
    from tnkit_nn.comparison.result import Comparison
    from tnkit_nn.compression.compress import compress_
    from tnkit_nn.compression.recipe import Compression, Layers, Stage1
    from tnkit_nn.compression.result import Compressed, dense, load_compressed_, save_compressed
    from tnkit_nn.families import Family
    from tnkit_nn.saving import load, save
    from tnkit_nn.task import Task
    from tnkit_nn.tensorized.tensorize import tensorize_
    from tnkit_nn.training.evaluation import accuracy
    from tnkit_nn.training.goal import Metric
    from tnkit_nn.training.groups import Group
    from tnkit_nn.training.loop import train
    from tnkit_nn.training.recipe import Recipe
else:

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'tnkit_nn' has no attribute {name!r}")
        where = _WHERE[name]
        need(f"tknn.{name}", *_NEEDS.get(where.partition(".")[0], ()))
        module = import_module(f"tnkit_nn.{where}")
        found = globals()[name] = module if where == name else getattr(module, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


#: Public name -> the module that has it; a package of that name is itself the value.
_WHERE = {
    "TNConv1d": "adapter.conv", "TNConv2d": "adapter.conv", "TNConv3d": "adapter.conv", "TNEmbedding": "adapter.embedding",
    "FitResult": "adapter.fitting", "fit": "adapter.fitting", "isometric_": "adapter.isometries", "keep_weights": "adapter.keeping",
    "TNLinear": "adapter.linear", "TNModule": "adapter.module", "merge_": "adapter.parametrize", "parametrize_": "adapter.parametrize",
    "data": "data", "zoo": "zoo", "approximate": "approximation.approximate", "Family": "families",
    "compare": "comparison.compare", "Comparison": "comparison.result", "frame": "comparison.records", "plot": "comparison.report.plots",
    "Task": "task", "tensorize_": "tensorized.tensorize", "load": "saving", "save": "saving",
    "compress_": "compression.compress", "Compression": "compression.recipe", "Layers": "compression.recipe",
    "Stage1": "compression.recipe", "Compressed": "compression.result", "dense": "compression.result",
    "load_compressed_": "compression.result", "save_compressed": "compression.result",
    "accuracy": "training.evaluation", "Metric": "training.goal", "Group": "training.groups", "Recipe": "training.recipe", "train": "training.loop",
}  # fmt: skip

#: Room -> what its work begins or ends with: asked for at the door, not after an hour.
_NEEDS = {
    "comparison": ("safetensors", "filelock"),
    "compression": ("safetensors", "filelock", "tomli_w"),
    "saving": ("safetensors",),
}

"""Right calls of every public function, class and method of tnkit_nn, and values that are wrong for most of their arguments.

A :class:`Door` is one callable with right arguments and, for each of them, the values of :data:`VALUES` that are right there too.
Everything else has to be refused, by a line that tnkit_nn itself raises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn

from .test_data import write_cifar10, write_cifar100, write_mnist

NET = tk.mpo((2, 2), (2, 3), 2)  # 4 x 6
SPLIT_X = torch.linspace(-1, 1, 12 * 6).reshape(12, 6)
SPLIT_Y = torch.tensor([0, 1, 2] * 4)


def module() -> nn.Sequential:
    """6 -> 4 -> 3, drawn anew by a seed."""
    torch.manual_seed(0)
    named = [nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)]
    made = nn.Sequential()
    for name, each in zip(("fc1", "relu", "fc2"), named, strict=True):
        made.add_module(name, each)
    return made


def split() -> tknn.data.Split:
    """Twelve inputs of three classes a part."""
    part = SPLIT_X.clone(), SPLIT_Y.clone()
    return tknn.data.Split("small", part, part, part)


def decomposition() -> Any:
    """Arrays for :data:`NET`, with the network."""
    return tk.tree_svd(np.random.default_rng(0).standard_normal(NET.shape), NET)


#: What is given in the place of every argument in turn: a word for it, and the value made anew.
VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None, "True": lambda: True, "np.True_": lambda: np.True_, "0": lambda: 0, "-1": lambda: -1, "3": lambda: 3,
    "np.int64(3)": lambda: np.int64(3), "2.5": lambda: 2.5, "np.float64(.5)": lambda: np.float64(0.5), "0.0": lambda: 0.0,
    "-0.5": lambda: -0.5, "nan": lambda: float("nan"), "inf": lambda: float("inf"), "1j": lambda: 1j, "''": lambda: "",
    "'zz'": lambda: "zz", "b'x'": lambda: b"x", "set": lambda: {1, 2}, "[]": list, "['zz']": lambda: ["zz"], "[1, 2]": lambda: [1, 2],
    "{}": dict, "{'zz': 1}": lambda: {"zz": 1}, "object": object, "int": lambda: int, "function": lambda: lambda *a, **k: None,
    "np.array(2.5)": lambda: np.array(2.5), "vector": lambda: np.array([1.0, 2.0]), "tensor": lambda: torch.ones(2),
    "flags": lambda: torch.ones(2, dtype=torch.bool), "ints": lambda: torch.ones(2, dtype=torch.uint8),
    "complex tensor": lambda: torch.ones(2, dtype=torch.complex64), "meta": lambda: torch.ones(2, device="meta"),
    "sparse": lambda: torch.eye(2).to_sparse(), "network": lambda: tk.tt((2, 5), 2), "decomposition": decomposition,
    "(net, arrays)": lambda: tuple(decomposition()), "module": module, "empty module": nn.Sequential, "dtype": lambda: torch.float32,
    "np.float32": lambda: np.float32, "torch.int64": lambda: torch.int64, "split": split, "path": lambda: Path("/no/such/place/file"),
}  # fmt: skip

WHOLE = {"3", "np.int64(3)"}
SEED = WHOLE | {"0"}
REAL = WHOLE | {"2.5", "np.float64(.5)"}
ZERO = REAL | {"0", "0.0"}
FLAG = {"True", "np.True_"}
NONE = {"None"}
TEXT = {"'zz'"}
ANY = set(VALUES)


@dataclass(frozen=True)
class Door:
    """A public name, how it is called rightly, and for each argument the words of :data:`VALUES` that are right."""

    name: str
    call: Callable[..., Any]
    given: Callable[[], Mapping[str, Any]]
    right: Mapping[str, set[str]] = field(default_factory=dict)


FOLDER = Path(tempfile.mkdtemp())


def compressed_file() -> Path:
    path = FOLDER / "compressed.safetensors"
    if not path.exists():
        model = module()
        tknn.parametrize_(model.fc1, "weight", NET)
        tknn.save_compressed(model, path)
    return path


def zoo_file() -> Path:
    path = FOLDER / "mlp.safetensors"
    if not path.exists():
        tknn.zoo.save(tknn.zoo.mlp(), path)
    return path


def parametrized() -> nn.Module:
    return tknn.parametrize_(module().fc1, "weight", NET)


def method(make: Callable[[], Any], name: str) -> Callable[..., Any]:
    return lambda **kw: getattr(make(), name)(**kw)


RECIPE = partial(tknn.Recipe, 1, 1e-2, batch=4)
STAGE = partial(tknn.Compression, (tknn.Layers("fc1", "mpo", 16),), stage1=tknn.Stage1("svd", 2), stage2=None)
TASK = partial(tknn.Task, seeds=1, dense_steps=1, fit_steps=1, tune_steps=1, limit=20)



def recipe_file() -> Path:
    path = FOLDER / "recipe.toml"
    path.write_text('[[layers]]\nselect = ["fc1"]\nfamily = "mpo"\nbudget = 16\n')
    return path


def mnist_folder() -> Path:
    write_mnist(FOLDER / "mnist-files")
    return FOLDER / "mnist-files"


def cifar_folder() -> Path:
    write_cifar10(FOLDER / "cifar")
    write_cifar100(FOLDER / "cifar")
    return FOLDER / "cifar"


def small(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A model of shapes alone."""

    def made(**options: Any) -> nn.Module:
        with torch.device("meta"):
            return build(**options)

    return made


def every(jobs: Any) -> Any:
    """A bar that shows nothing."""
    return jobs


DOORS = [
    Door("TNModule", tknn.TNModule, lambda: {"net": NET, "arrays": decomposition()[1], "optimizer": "auto", "dynamic": None, "dtype": None, "seed": 0, "std": 1.0},
         {"net": {"network"}, "arrays": NONE | {"{}"}, "dynamic": NONE, "dtype": NONE | {"dtype"}, "seed": SEED, "std": REAL}),
    Door("TNModule drawn", tknn.TNModule, lambda: {"net": NET, "optimizer": "auto", "dynamic": None, "dtype": None, "seed": 0, "std": 1.0},
         {"net": {"network", "decomposition"}, "dynamic": NONE, "dtype": NONE | {"dtype"}, "seed": SEED, "std": REAL}),
    Door("TNModule.forward", method(lambda: tknn.TNModule(tk.from_einsum("ab,bc->ac", (3, 2), (2, 4), data=[0])) , "forward"), lambda: {"A": torch.ones(3, 2)}),
    Door("TNLinear", tknn.TNLinear, lambda: {"in_features": 6, "out_features": 4, "network": NET, "bias": True, "arrays": None, "batch": 8, "optimizer": "auto", "dtype": None, "seed": 0},
         {"network": {"decomposition"}, "bias": FLAG, "arrays": NONE | {"{}"}, "batch": WHOLE, "dtype": NONE | {"dtype"}, "seed": SEED}),
    Door("TNLinear.forward", method(lambda: tknn.TNLinear(6, 4, NET), "forward"), lambda: {"x": torch.ones(3, 6)}),
    Door("TNLinear.from_linear", tknn.TNLinear.from_linear, lambda: {"linear": nn.Linear(6, 4), "network": NET, "fit": True, "arrays": None, "batch": 8, "steps": 2, "lr": 0.02, "seed": 0},
         {"network": {"decomposition"}, "fit": FLAG, "arrays": NONE | {"{}"}, "batch": WHOLE, "steps": WHOLE, "lr": REAL, "seed": SEED}),
    Door("TNEmbedding", tknn.TNEmbedding, lambda: {"num": 4, "dim": 6, "network": NET, "arrays": None, "batch": 8, "optimizer": "auto", "dtype": None, "seed": 0},
         {"num": WHOLE, "network": {"decomposition"}, "arrays": NONE | {"{}"}, "batch": WHOLE, "dtype": NONE | {"dtype"}, "seed": SEED}),
    Door("TNEmbedding.forward", method(lambda: tknn.TNEmbedding(4, 6, NET), "forward"), lambda: {"tokens": torch.tensor([1, 2])}, {"tokens": {"ints"}}),
    Door("parametrize_", tknn.parametrize_, lambda: {"module": module().fc1, "name": "weight", "net": NET, "arrays": None, "seed": 0, "std": "match", "optimizer": "auto"},
         {"net": {"decomposition"}, "arrays": NONE | {"{}"}, "seed": SEED, "std": REAL}),
    Door("merge_", tknn.merge_, lambda: {"module": parametrized(), "name": "weight"}),
    Door("fit", tknn.fit, lambda: {"net": NET, "target": torch.ones(4, 6), "steps": 2, "lr": 0.02, "seed": 0, "arrays": None, "dtype": None, "patience": None, "restarts": 1, "progress": False},
         {"net": {"decomposition"}, "steps": WHOLE, "lr": REAL, "seed": SEED, "arrays": NONE | {"{}"}, "dtype": NONE | {"dtype"}, "patience": NONE | WHOLE, "restarts": WHOLE, "progress": FLAG}),
    Door("approximate", tknn.approximate, lambda: {"net": NET, "weight": torch.randn(4, 6), "method": "svd", "steps": 2, "seed": 0, "progress": False},
         {"steps": WHOLE, "seed": SEED, "progress": FLAG}),
    Door("accuracy", tknn.accuracy, lambda: {"model": module(), "part": split().test, "batch": 4}, {"model": {"module"}, "batch": WHOLE}),
    Door("Recipe", tknn.Recipe, lambda: {"epochs": 1, "lr": 0.1, "method": "adamw", "schedule": "cosine", "batch": 4, "weight_decay": 0.0, "label_smoothing": 0.0, "augment": "none"},
         {"epochs": WHOLE, "lr": REAL, "batch": WHOLE, "weight_decay": ZERO, "label_smoothing": {"0", "0.0", "np.float64(.5)"}}),
    Door("Group", tknn.Group, lambda: {"params": dict(module().named_parameters()), "lr": None, "weight_decay": None},
         {"lr": NONE | REAL, "weight_decay": NONE | ZERO}),
    Door("train", tknn.train, lambda: {"model": module(), "split": split(), "recipe": RECIPE(), "seed": 0, "groups": None, "loss": None, "checkpoint": None, "log": None, "progress": False, "after": None},
         {"model": {"module"}, "split": {"split"}, "seed": SEED, "groups": NONE, "loss": NONE, "checkpoint": NONE, "log": NONE, "progress": FLAG, "after": NONE | {"function"}}),
    Door("Layers", tknn.Layers, lambda: {"select": ("fc1",), "family": "mpo", "budget": 16, "depth": 3, "activation": "sin"},
         {"select": TEXT | {"['zz']"}, "budget": WHOLE, "depth": WHOLE}),
    Door("Stage1", tknn.Stage1, lambda: {"method": "svd", "steps": 2}, {"steps": WHOLE}),
    Door("Compression", tknn.Compression, lambda: {"layers": (tknn.Layers("fc1"),), "order": "backward", "stage1": tknn.Stage1(), "stage2": None, "rest": "frozen", "rest_lr": 1e-3, "seed": 0},
         {"order": {"['zz']"}, "stage2": NONE, "rest_lr": REAL, "seed": SEED}),
    Door("Compression.from_toml", tknn.Compression.from_toml, lambda: {"text": '[[layers]]\nselect = ["fc1"]\n'}),
    Door("Compression.load", tknn.Compression.load, lambda: {"path": recipe_file()}),
    Door("Compression.save", STAGE().save, lambda: {"path": FOLDER / "saved.toml"}),
    Door("compress_", tknn.compress_, lambda: {"model": module(), "recipe": STAGE(), "data": split(), "out": None, "progress": False},
         {"model": {"module"}, "data": {"split"}, "out": NONE, "progress": FLAG}),
    Door("dense", tknn.dense, lambda: {"model": parametrized()}, {"model": {"module", "empty module"}}),
    Door("save_compressed", tknn.save_compressed, lambda: {"model": parametrized(), "path": FOLDER / "c.safetensors"}, {"model": {"module"}}),
    Door("load_compressed_", tknn.load_compressed_, lambda: {"model": module(), "path": compressed_file()}, {"model": {"module"}}),
    Door("Task", tknn.Task, lambda: {"model": "mlp", "data": "digits", "layer": None, "seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1, "data_dir": None, "limit": None, "rest": "all", "weights": None, "first_seed": 0, "approximation": "auto"},
         {"layer": NONE | TEXT | {"['zz']"}, "seeds": WHOLE, "dense_steps": WHOLE, "fit_steps": WHOLE, "tune_steps": WHOLE, "data_dir": NONE | TEXT | {"path"}, "limit": NONE | WHOLE, "weights": NONE | TEXT | {"path"}, "first_seed": SEED}),
    Door("Family", tknn.Family, lambda: {"name": "own", "label": "own", "build": lambda shape, budget: NET, "depth": None},
         {"name": TEXT, "label": TEXT, "build": {"function"}, "depth": NONE | WHOLE}),
    Door("compare", tknn.compare, lambda: {"task": TASK(), "shapes": ["low_rank"], "budgets": [100], "depths": [1], "executor": None, "progress": every, "out": None},
         {"depths": {"[1, 2]"}, "executor": NONE, "budgets": {"[1, 2]"}, "out": NONE}),
    Door("Split", tknn.data.Split, lambda: {"name": "own", "train": split().train, "val": split().val, "test": split().test, "classes": ("a", "b", "c")},
         {"name": TEXT, "classes": {"[]"}}),
    Door("data.digits", tknn.data.digits, lambda: {"root": None}, {"root": NONE}),
    Door("data.mnist", tknn.data.mnist, lambda: {"root": mnist_folder()}),
    Door("data.cifar10", tknn.data.cifar10, lambda: {"root": cifar_folder()}),
    Door("data.cifar100", tknn.data.cifar100, lambda: {"root": cifar_folder(), "coarse": False}, {"coarse": FLAG}),
    Door("data.load", tknn.data.load, lambda: {"name": "digits", "root": None, "limit": 20}, {"root": NONE, "limit": NONE | WHOLE}),
    Door("data.split_off", tknn.data.split_off, lambda: {"labels": SPLIT_Y}, {"labels": {"ints"}}),
    Door("data.stratified", tknn.data.stratified, lambda: {"labels": SPLIT_Y, "seed": 0}, {"labels": {"ints"}, "seed": SEED}),
    Door("data.crop_flip", tknn.data.crop_flip, lambda: {"images": torch.ones(2, 3, 8, 8), "generator": torch.Generator()}),
    Door("zoo.MLP", tknn.zoo.MLP, lambda: {"sizes": (6, 4, 3)}, {"sizes": {"[1, 2]"}}),
    *(Door(f"zoo.{name}", getattr(tknn.zoo, name), lambda: {"num_classes": 3}, {"num_classes": WHOLE}) for name in ("mlp", "fc2")),
    Door("zoo.lenet5", tknn.zoo.lenet5, lambda: {"num_classes": 3, "widths": (2, 3, 4, 5)}, {"num_classes": WHOLE}),
    *(Door(f"zoo.{name}", small(getattr(tknn.zoo, name)), lambda: {"num_classes": 3}, {"num_classes": WHOLE}) for name in ("alexnet", "zfnet")),
    Door("zoo.vgg16", small(tknn.zoo.vgg16), lambda: {"num_classes": 3, "scale": 0.1}, {"num_classes": WHOLE, "scale": REAL}),
    Door("zoo.build", tknn.zoo.build, lambda: {"name": "mlp", "num_classes": 3}, {"num_classes": WHOLE}),
    Door("zoo.check_takes", tknn.zoo.check_takes, lambda: {"model": module(), "images": SPLIT_X, "name": "a", "data": "b", "classes": 3},
         {"model": {"module"}, "name": TEXT, "data": TEXT, "classes": WHOLE}),
    Door("zoo.load", tknn.zoo.load, lambda: {"name": "mlp", "path": zoo_file()}),
    Door("zoo.save", tknn.zoo.save, lambda: {"model": module(), "path": FOLDER / "s.safetensors", "metadata": None}, {"model": {"module"}, "metadata": NONE | {"{}"}}),
    Door("zoo.without", lambda model, layer: tknn.zoo.without(model, layer), lambda: {"model": module(), "layer": "fc1"}, {"model": {"module"}}),
]

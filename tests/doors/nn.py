"""Right calls of the functions of tnkit_nn that read files or take seconds, and what tnkit_nn takes rightly, with the reason."""

import gzip
import json
import lzma
import struct
import warnings
from functools import wraps
from importlib.util import find_spec
from pathlib import Path

import torch

import tnkit as tk
import tnkit_nn as tknn

__all__ = ["ALLOWED_NN", "CALLS_NN", "KINDS_NN"]

MATRIX = tk.mpo((2, 2), (2, 2), 2)
DATA_NODE = tk.Network([tk.Node("x", "bi", fixed=True), tk.Node("W", "io")], "bo", {"b": 2, "i": 3, "o": 2})
STEPS = {"seeds": 1, "dense_steps": 1, "fit_steps": 1, "tune_steps": 1}


def call(function, *args, **kwargs):
    return function, args, kwargs


def _mnist(folder):
    Path(folder).mkdir(exist_ok=True)
    for part, count in (("train", 20), ("t10k", 10)):
        images = struct.pack(">iiii", 2051, count, 28, 28) + bytes([count]) * (count * 784)
        labels = struct.pack(">ii", 2049, count) + bytes(k % 10 for k in range(count))
        Path(folder, f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(labels)
    return folder


def _cifar(folder):
    Path(folder).mkdir(exist_ok=True)
    for name, heads in {"test_batch": 1, "train": 2, "test": 2, **{f"data_batch_{k}": 1 for k in range(1, 6)}}.items():
        content = b"".join(bytes([k % 10] * heads) + bytes([len(name)]) * 3072 for k in range(10))
        Path(folder, f"{name}.bin.xz").write_bytes(lzma.compress(content, preset=0))
    for name, count in (("batches.meta", 10), ("coarse_label_names", 20), ("fine_label_names", 100)):
        Path(folder, f"{name}.txt").write_text("\n".join(map(str, range(count))))
    return folder


def _file(name):
    tknn.zoo.save(tknn.zoo.mlp(), name)
    return name


def _of_shapes(build):
    """A model of the zoo without values: the large ones take seconds to draw."""

    def made(num_classes):
        with torch.device("meta"):
            return build(num_classes)

    return made


def _untold(function):
    """The function without its own warnings: the right call has them too, its data being few."""

    @wraps(function)
    def made(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return function(*args, **kwargs)

    return made


def _compression():
    x, y = torch.linspace(-1, 1, 48).reshape(12, 4), torch.arange(12) % 2
    recipe = tknn.Compression(
        tknn.Layers("fc1", "tt", 12), stage1=tknn.Stage1(steps=1), stage2=tknn.Recipe(1, 0.01, batch=6)
    )
    return tknn.zoo.MLP((4, 4, 2)), recipe, tknn.data.Split("tiny", (x, y), (x, y), (x, y))


def _quiet(jobs, what):
    return jobs


X, Y = torch.linspace(-1, 1, 48).reshape(12, 4), torch.arange(12) % 2


def _model(seed):
    return torch.nn.Sequential(torch.nn.Linear(4, 2))


def _loss(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def _score(model, loader):
    return 0.5


def _without(model, *weights):
    return model


def _task():
    return tknn.Task(
        _model, {"train": (X, Y), "val": (X, Y)}, _loss, tknn.Metric(_score), name="x", examples="rows", limit=6, without=_without, smaller=_model
    )  # fmt: skip


def _two():
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))


def _saved(name):
    model = _two()
    tknn.tensorize_(model, {"0": MATRIX}, fit=False)
    tknn.save(model, name)
    return name


def _compared():
    Path("results.json").write_text(json.dumps(RECORDS))
    return "results.json"


CONVS = ("TNConv1d", "TNConv2d", "TNConv3d")
LAYERS = ("TNLinear", "TNEmbedding", *CONVS)


def _space(name):
    return (3,) * int(name[-2])


def _conv(name):
    kernel = (2,) * int(name[-2])
    return 3, 3, kernel, tk.tt((3, 3, *kernel), 2), 1, 0, 1, 1, True, "zeros", None


RECORDS = [{"label": "mpo", "budget": 10, "seed": 0, "num_params": 8, "test_frozen": 0.5, "val_frozen": 0.5}]

CALLS_NN = {
    "tknn.Task": lambda: call(
        tknn.Task, _model, {"train": (X, Y), "val": (X, Y)}, _loss, tknn.Metric(_score), name="x", examples="rows", weights=None,
        data_dir=None, limit=6, without=_without, smaller=_model,
    ),
    "tknn.Task.build": lambda: call(_task().build, 0),
    "tknn.Metric": lambda: call(tknn.Metric, _score, "score", "%", True),
    "tknn.tensorize_": lambda: call(
        _untold(tknn.tensorize_), _two(), {"0": "tt"}, budget=12, total=None, fit=False, steps=1, base=False, seed=0, progress=False
    ),
    "tknn.save": lambda: call(tknn.save, _two(), "saved"),
    "tknn.load": lambda: call(tknn.load, _saved("loaded"), _two),
    "tknn.Metric.better": lambda: call(tknn.Metric(_score).better, 0.5, 0.4),
    "tknn.Metric.shown": lambda: call(tknn.Metric(_score).shown, 0.5),
    "tknn.train": lambda: call(tknn.train, _model(0), _task(), tknn.Recipe(1, 0.01, batch=6)),
    "tknn.accuracy": lambda: call(tknn.accuracy, _model(0), (X, Y), 6),
    "tknn.Comparison": lambda: call(tknn.Comparison, RECORDS),
    "tknn.Comparison.plot": lambda: call(tknn.Comparison(RECORDS).plot, "test"),
    "tknn.Comparison.save": lambda: call(tknn.Comparison(RECORDS).save, "folder", "a title"),
    "tknn.Comparison.load": lambda: call(tknn.Comparison.load, _compared()),
    "tknn.plot": lambda: call(tknn.plot, RECORDS, "test"),
    **({"tknn.frame": lambda: call(tknn.frame, RECORDS)} if find_spec("pandas") else {}),
    "tknn.isometric_": lambda: call(tknn.isometric_, tknn.TNModule(tk.tt((2, 3, 2), 2)), {"core_0": ["b1"]}),
    "tknn.TNModule.forward": lambda: call(tknn.TNModule(DATA_NODE).forward, torch.ones(2, 3)),
    "tknn.compare": lambda: call(tknn.compare, tknn.Task("mlp", "digits", limit=20), ["low_rank"], [100], [1], None, _quiet, **STEPS),
    "tknn.TNLinear.from_module": lambda: call(_untold(tknn.TNLinear.from_module), torch.nn.Linear(4, 4), MATRIX, fit=True, steps=1),
    "tknn.TNEmbedding.from_module": lambda: call(_untold(tknn.TNEmbedding.from_module), torch.nn.Embedding(4, 4), MATRIX, fit=True, steps=1),
    **{f"tknn.{name}": (lambda name=name: call(getattr(tknn, name), *_conv(name))) for name in CONVS},
    **{f"tknn.{name}.forward": (lambda name=name: call(getattr(tknn, name)(*_conv(name)).forward, torch.ones(2, 3, *_space(name)))) for name in CONVS},
    **{
        f"tknn.{name}.from_module": (lambda name=name: call(
            _untold(getattr(tknn, name).from_module), getattr(torch.nn, name[2:])(3, 3, 2), _conv(name)[3], fit=True, steps=1
        )) for name in CONVS
    },
    "tknn.compress_": lambda: call(_untold(tknn.compress_), *_compression()),
    "tknn.data.digits": lambda: call(tknn.data.digits, None),
    "tknn.data.mnist": lambda: call(tknn.data.mnist, _mnist("mnist-files")),
    "tknn.data.cifar10": lambda: call(tknn.data.cifar10, _cifar("cifar-files")),
    "tknn.data.cifar100": lambda: call(_untold(tknn.data.cifar100), _cifar("cifar-files"), False),
    **{f"tknn.zoo.{name}": (lambda name=name: call(_of_shapes(getattr(tknn.zoo, name)), 3)) for name in ("alexnet", "zfnet", "vgg16", "fc2")},
    "tknn.zoo.load": lambda: call(tknn.zoo.load, "mlp", _file("mlp.safetensors")),
}  # fmt: skip

#: As KINDS, of tnkit_nn.
KINDS_NN = {
    "tknn.Task.model": "function?", "tknn.Task.metric": "function?", "tknn.Task.without": "function?", "tknn.Task.smaller": "function?",
    "tknn.Task.name": "name", "tknn.Task.examples": "name", "tknn.Metric.fn": "function", "tknn.Metric.name": "name", "tknn.Metric.unit": "name",
    "tknn.Metric.larger": "flag", "tknn.compare.at_least": "flag", "tknn.Metric.better.one": "value", "tknn.Metric.better.other": "value", "tknn.Metric.shown.value": "value",
    "tknn.tensorize_.budget": "count", "tknn.tensorize_.total": "count?", "tknn.tensorize_.fit": "flag", "tknn.tensorize_.base": "flag",
    "tknn.save.folder": "name", "tknn.load.folder": "nothing", "tknn.load.factory": "nothing",
    "optimizer": "function", "num_classes": "count", "epochs": "count", "seeds": "count", "dense_steps": "count", "fit_steps": "count", "tune_steps": "count",
    "limit": "count?", "first_seed": "seed", "rest_lr": "positive", "weight_decay": "at least 0", "label_smoothing": "nothing",
    "arrays": "nothing?", "checkpoint": "name?", "log": "name?", "after": "function?", "groups": "nothing?", "loss": "function?",
    "data_dir": "name?", "weights": "name?", "layer": "name?", "root": "nothing?", "out": "nothing?", "path": "name",
    "tknn.TNLinear.bias": "flag", "tknn.TNLinear.transposed": "flag", "positions": "count", "stride": "count", "dilation": "count", "padding": "seed",
    "kernel_size": "count", "tknn.parametrize_.base": "flag", "tknn.parametrize_.model": "nothing?", "tknn.merge_.model": "nothing?",
    **{f"tknn.{layer}.from_module.fit": "flag" for layer in LAYERS},
    **{f"tknn.{name}.{a}": k for name in CONVS for a, k in (("bias", "flag"), ("dtype", "nothing?"), ("groups", "count"))},
    "tknn.TNModule.dtype": "nothing?", "tknn.TNModule.std": "positive?",
    "tknn.TNLinear.dtype": "nothing?", "tknn.TNEmbedding.dtype": "nothing?", "tknn.fit.dtype": "nothing?", "tknn.Group.lr": "positive?",
    "tknn.Group.weight_decay": "at least 0?", "tknn.Family.name": "name", "tknn.Family.label": "name", "tknn.Family.depth": "count?",
    "tknn.Family.build": "function", "tknn.compare.progress": "function", "tknn.data.Split.name": "name", "tknn.Compression.stage2": "nothing?", "coarse": "flag",
    "tknn.zoo.save.metadata": "nothing?", "tknn.Layers.select": "name", "tknn.compress_.recipe": "name",
    "tknn.Compression.load.path": "nothing", "tknn.load_compressed_.path": "nothing", "tknn.zoo.load.path": "nothing",
    "tknn.Comparison.load.path": "nothing", "tknn.Comparison.save.folder": "name", "tknn.Comparison.save.title": "name?",
    "tknn.data.cifar10.root": "nothing", "tknn.data.cifar100.root": "nothing", "tknn.data.mnist.root": "nothing",
}  # fmt: skip

_CAST = "numbers, cast to the dtype of the weight"
_DRAWN = "without arrays they are drawn"
_COPY = "a model without networks: a copy of it, or its file"
_EMPTY = "no parameters of this group: train says so where no group has any"
_CROPPED = "a network larger than the weight is cropped, as documented"


def _given(*labels, why):
    return dict.fromkeys(labels, why)


_ARRAYS = {**_given("'core_0': int array", "'core_0': bool array", why=_CAST), "{}": _DRAWN}
_TWO = ("np.int64(2)", "0-d int array", "0-d tensor")
_ONE = ("3", "10**30", *_TWO)  # one number in the place of several
_ITEMS = _given("['x']", "first item 'x'", "one item more", why="names, or one more of them")

#: As ALLOWED, of tnkit_nn.
ALLOWED_NN = {
    ("tknn.Task", "data"): _given("uint8 tensor", "bool tensor", "bfloat16 tensor", why="a part of inputs alone, for a loss of one's own"),
    **{("tknn.Task", a): {"''": "named by the model and the data"} for a in ("name", "examples")},
    **{("tknn.Metric", a): {"''": why} for a, why in (("name", "the function's"), ("unit", "none"))},
    ("tknn.frame", "records"): {"one item more": "records of two comparisons are one table"},
    ("tknn.keep_weights", "limit"): _given("0", "10**30", why="nothing is kept, or everything"),
    ("tknn.isometric_", "toward"): {
        "None": "the default", "{}": "no node is an isometry", "without 'core_0'": "no node is an isometry", "'core_0': ''": "a vector of norm 1",
    },
    ("tknn.parametrize_", "std"): {"None": "whatever root mean square the network has by default"},
    ("tknn.compare", "out"): dict.fromkeys(("'x'", "np.str_('x')"), "a folder"),
    ("tknn.Layers", "family"): _given(
        "the function len", "a function", "a Network", "a nonlinear Network", "a Decomposition", "a pair (net, arrays)", why="a family of one's own",
    ),
    ("tknn.compress_", "tune"): _given("None", "a function", why="a loop of one's own, or ours"),
    ("tknn.Compression.from_toml", "folder"): _given("None", "'x'", "np.str_('x')", why="a folder, or none"),
    ("tknn.Compression", "task"): {"None": "no task"},
    ("tknn.compress_", "out"): dict.fromkeys(("'x'", "np.str_('x')"), "a folder"),
    ("tknn.TNEmbedding", "optimizer"): {"a path": "an order of its own"}, ("tknn.parametrize_", "optimizer"): {"a path": "an order of its own"},
    ("tknn.TNModule", "arrays"): _ARRAYS, ("tknn.TNLinear", "arrays"): _ARRAYS, ("tknn.TNEmbedding", "arrays"): _ARRAYS,
    **{(f"tknn.{layer}.from_module", "arrays"): {"{}": _DRAWN} for layer in LAYERS},
    **{(f"tknn.{name}", "arrays"): _ARRAYS for name in CONVS},
    **{(f"tknn.{name}", a): dict.fromkeys(("3", *_TWO), _CROPPED) for name in CONVS for a in ("in_channels", "out_channels")},
    **{("tknn.TNConv2d", a): {"a generator": "two numbers"} for a in ("kernel_size", "stride", "dilation")},
    ("tknn.TNConv2d", "padding"): _given("a generator", "range(2)", why="two numbers"),
    ("tknn.TNEmbedding", "padding_idx"): dict.fromkeys(("None", "3", "0", "-1", *_TWO), "none, or a row, from the end where negative"),
    ("tknn.fit", "arrays"): {
        **_ARRAYS, "'core_0': masked array": "its mask hides nothing",
        **_given(*(f"'core_0': {k} tensor" for k in ("uint8", "bool", "bfloat16")), why="numbers, cast to the dtype to compute in"),
    },
    ("tknn.fit", "patience"): {"10**30": "more than all steps: none is left out"},
    ("tknn.parametrize_", "arrays"): {
        **_ARRAYS, **_given(*(f"'core_0': {k} tensor" for k in ("uint8", "bool", "bfloat16")), why=_CAST),
    },
    ("tknn.TNLinear", "in_features"): {"3": _CROPPED}, ("tknn.TNLinear", "out_features"): {"3": _CROPPED},
    ("tknn.TNEmbedding", "num_embeddings"): {"3": _CROPPED}, ("tknn.TNEmbedding", "embedding_dim"): {"3": _CROPPED},
    ("tknn.TNEmbedding.forward", "tokens"): _given("uint8 tensor", "0-d tensor", why="tokens"),
    ("tknn.Recipe", "label_smoothing"): {"0": "none"},
    ("tknn.Group", "params"): {
        **_given("()", "frozenset()", "[]", "{}", "set()", "empty array", "without 'w'", why=_EMPTY),
        **_given(*(f"'w': {k} tensor" for k in ("uint8", "bool", "bfloat16", "meta", "sparse")), why="train looks at them, with the model"),
    },
    ("tknn.Layers", "select"): _ITEMS, ("tknn.Compression", "order"): _ITEMS,
    ("tknn.Compression", "layers"): {"one item more": "the first that selects a layer counts"},
    ("tknn.dense", "model"): {"a module of torch": _COPY}, ("tknn.save_compressed", "model"): {"a module of torch": _COPY},
    ("tknn.save", "model"): {"a module of torch": "a model"}, ("tknn.zoo.save", "model"): {"a module of torch": "a model"}, ("tknn.zoo.without", "model"): {"a module of torch": "a model"},
    ("tknn.zoo.save", "metadata"): _given("{}", "without 'a'", "'a': 'x'", "'a': ''", why="texts, or none"),
    ("tknn.data.Split", "classes"): _given("()", "[]", "empty array", why="classes without names"),
    ("tknn.zoo.MLP", "sizes"): _given("a generator", "one item more", "one item less", why="two sizes or more, in an order"),
    ("tknn.compare", "shapes"): {"one item more": "a repeated one is taken once"},
    ("tknn.compare", "budgets"): _given(*_ONE, "one item more", "a generator", "[10**30]", "first item 10**30", why="one budget is taken as it is; past the weight's size it is that size"),
    ("tknn.compare", "depths"): _given(
        *_ONE, "one item more", "a generator", "[10**30]", "first item 10**30", why="one depth is taken as it is; low_rank, which is compared here, has none",
    ),
    ("tknn.load_compressed_", "path"): _given("'x'", "np.str_('x')", why="save_compressed has written a file of that name"),
}  # fmt: skip

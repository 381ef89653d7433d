"""One right call a public function, made anew each time; what has none, and why."""

import inspect
from dataclasses import fields
from importlib.util import find_spec

import networkx as nx
import numpy as np
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.data.splits import Split

from .nn import CALLS_NN

__all__ = ["CALLS", "SKIPPED", "public", "with_tensors"]

CHAIN = tk.tt((2, 3, 2), 2)
PAIR = tk.tt((2, 2), 2)
RING = tk.ring((2, 2, 2), 2)
MATRIX = tk.mpo((2, 2), (2, 2), 2)
SQUARE = tk.Network(
    [tk.Node("core_0", ("i", "j", "one")), tk.Node("core_1", "k")],
    ["i", "j", "one", "k"],
    {"i": 2, "j": 2, "one": 1, "k": 2},
)
HELD = tk.Network([tk.Node("A", "ij"), tk.Node("x", "jk", fixed=True)], "ik", {"i": 2, "j": 2, "k": 2})
LIFTS = tk.tt_svd(np.arange(8.0).reshape(2, 2, 2), rank=2)
LIFTED = tk.circuit((2, 2, 2), [[(0,), (1, 2)]], "tanh", start=LIFTS)


def arrays(net):
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=shape) for name, shape in net.array_shapes.items()}


def tensor(*shape):
    return np.random.default_rng(1).normal(size=shape)


def split():
    x, y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
    return Split("tiny", (x, y), (x, y), (x, y))


def model():
    return nn.Sequential()


def classifier():
    made = nn.Sequential()
    made.add_module("fc1", nn.Linear(4, 4))
    made.add_module("fc2", nn.Linear(4, 2))
    return made


def call(function, *args, **kwargs):
    return function, args, kwargs


def _saved(name):
    tk.save(name, CHAIN, arrays(CHAIN))
    return name


def _parametrized():
    return tknn.parametrize_(nn.Linear(4, 4), "weight", MATRIX)


def _compressed():
    made = classifier()
    tknn.parametrize_(made.fc1, "weight", MATRIX)
    return made


def _saved_compressed(name):
    tknn.save_compressed(_compressed(), name)
    return name


RECIPE = tknn.Recipe(epochs=1, lr=0.01, batch=6)


def recipe():
    layers = (tknn.Layers(("fc1",), "tt", 12),)
    return tknn.Compression(layers, stage1=tknn.Stage1(steps=1), stage2=RECIPE)


def _saved_recipe(name):
    recipe().save(name)
    return name


SPLIT = split()

CALLS = {
    # what networks are made of
    "tk.Node": lambda: call(tk.Node, "A", ("i", "j"), "A", False),
    "tk.Elementwise": lambda: call(tk.Elementwise, "f", "tanh", (CHAIN,)),
    "tk.Network": lambda: call(tk.Network, [tk.Node("A", "ij")], ["i", "j"], {"i": 2, "j": 3}),
    "tk.Network.activate": lambda: call(CHAIN.activate, "tanh", "f"),
    "tk.Network.join": lambda: call(CHAIN.join, tk.Network([tk.Node("G", ["i0", "j0"])], ["i0", "j0"], {"i0": 2, "j0": 2}), None, ["i0"]),
    "tk.Network.relabel": lambda: call(CHAIN.relabel, {"i0": "a"}, {"core_0": "A"}, {"core_0": "A"}),
    "tk.Backend": lambda: call(tk.Backend, **{f.name: getattr(tk.NUMPY, f.name) for f in fields(tk.NUMPY) if f.init}),
    "tk.Decomposition.scaled": lambda: call(tk.tt_svd(tensor(2, 2), rank=1).scaled, "core_0", 2.0),
    "tk.Rates": lambda: call(tk.Rates, 1e9, 1e9),
    "tk.Rates.seconds": lambda: call(tk.Rates().seconds, 1e9, 1e9),
    # builders
    **{f"tk.{name}": (lambda name=name: call(getattr(tk, name), **tk.EXAMPLES[name])) for name in tk.BUILDERS},
    "tk.circuit": lambda: call(tk.circuit, (2, 2), [[(0, 1)]], "sin", [(0,), (1,)]),
    "tk.peps": lambda: call(tk.peps, 2, 2, 2, 2),
    # arrays
    "tk.init.normal": lambda: call(tk.init.normal, HELD, arrays={"x": np.ones((2, 2))}),
    "tk.init.orthogonal": lambda: call(tk.init.orthogonal, HELD, arrays={"x": np.ones((2, 2))}, toward={"A": ["j"]}),
    "tk.init.near_identity": lambda: call(tk.init.near_identity, HELD, arrays={"x": np.ones((2, 2))}),
    "tk.init.lifted": lambda: call(tk.init.lifted, LIFTED, LIFTS, amplitude=0.5),
    "tk.init.rms": lambda: call(tk.init.rms, CHAIN, arrays(CHAIN)),
    "tk.init.to_rms": lambda: call(tk.init.to_rms, CHAIN, arrays(CHAIN)),
    # plans and runs
    "tk.plan": lambda: call(tk.plan, CHAIN),
    "tk.run": lambda: call(tk.run, tk.plan(CHAIN), arrays(CHAIN)),
    "tk.contract": lambda: call(tk.contract, CHAIN, arrays(CHAIN)),
    "tk.einsum": lambda: call(tk.einsum, "ij,jk->ik", tensor(2, 3), tensor(3, 2)),
    "tk.check_arrays": lambda: call(tk.check_arrays, CHAIN, arrays(CHAIN)),
    "tk.calibrate": lambda: call(tk.calibrate),
    "tk.explain": lambda: call(tk.explain, CHAIN),
    "tk.tensorize": lambda: call(tk.tensorize, tensor(4, 6), (2, 2, 2, 3)),
    "tk.detensorize": lambda: call(tk.detensorize, tensor(4, 6), (4, 6), dims=((2, 2), (2, 3))),
    # networks held as arrays
    "tk.norm": lambda: call(tk.norm, CHAIN, arrays(CHAIN)),
    "tk.inner": lambda: call(tk.inner, CHAIN, arrays(CHAIN), CHAIN, arrays(CHAIN)),
    "tk.distance": lambda: call(tk.distance, CHAIN, arrays(CHAIN), CHAIN, arrays(CHAIN)),
    "tk.add": lambda: call(tk.add, CHAIN, arrays(CHAIN), CHAIN, arrays(CHAIN), weights=(1, 2)),
    "tk.contract_approx": lambda: call(tk.contract_approx, CHAIN, arrays(CHAIN), max_bond=2),
    "tk.canonicalize": lambda: call(tk.canonicalize, CHAIN, arrays(CHAIN)),
    "tk.round": lambda: call(tk.round, CHAIN, arrays(CHAIN), rank=1),
    "tk.bond_spectrum": lambda: call(tk.bond_spectrum, CHAIN, arrays(CHAIN)),
    "tk.bond_entropy": lambda: call(tk.bond_entropy, CHAIN, arrays(CHAIN)),
    "tk.directions": lambda: call(tk.directions, CHAIN, "core_1"),
    "tk.sample": lambda: call(tk.sample, CHAIN, arrays(CHAIN), 3),
    "tk.log_likelihood": lambda: call(tk.log_likelihood, CHAIN, arrays(CHAIN), np.array([[0, 2, 1]])),
    "tk.marginals": lambda: call(tk.marginals, CHAIN, arrays(CHAIN)),
    "tk.environment": lambda: call(tk.environment, CHAIN, "core_0"),
    "tk.project": lambda: call(tk.project, CHAIN, arrays(CHAIN), tk.tt((2, 3, 2), 1), arrays(tk.tt((2, 3, 2), 1)), sweeps=1, restarts=1),
    # moves
    "tk.merge": lambda: call(tk.merge, CHAIN, arrays(CHAIN), ["core_0", "core_1"], "pair"),
    "tk.split": lambda: call(tk.split, CHAIN, arrays(CHAIN), "core_0", ["i0"], 1, 0.1, names=["left", "right"], bond="new"),
    "tk.apply_gate": lambda: call(tk.apply_gate, CHAIN, arrays(CHAIN), tensor(6, 6), ["i0", "i1"], 1, 0.1, center="core_0"),
    "tk.isel": lambda: call(tk.isel, CHAIN, arrays(CHAIN), {"i0": 1}),
    "tk.fuse": lambda: call(tk.fuse, SQUARE, arrays(SQUARE), {"x": ["i", "j"]}),
    "tk.unfuse": lambda: call(tk.unfuse, CHAIN, arrays(CHAIN), {"i0": {"x": 2}}),
    "tk.squeeze": lambda: call(tk.squeeze, SQUARE, arrays(SQUARE), ["one"]),
    "tk.expand_bonds": lambda: call(tk.expand_bonds, CHAIN, arrays(CHAIN), {"b1": 3}, 0.1),
    "tk.transpose": lambda: call(tk.transpose, CHAIN, ["i2", "i1", "i0"]),
    "tk.conj": lambda: call(tk.conj, CHAIN, arrays(CHAIN)),
    # operators, and what is measured
    "tk.operator": lambda: call(tk.operator, [(1.0, {0: tensor(2, 2)})], (2, 3), dtype="float64"),
    "tk.apply": lambda: call(tk.apply, MATRIX, arrays(MATRIX), PAIR, arrays(PAIR), rank=1),
    "tk.multiply": lambda: call(tk.multiply, CHAIN, arrays(CHAIN), CHAIN, arrays(CHAIN), rank=1),
    "tk.expect": lambda: call(tk.expect, MATRIX, arrays(MATRIX), PAIR, arrays(PAIR)),
    "tk.density_matrix": lambda: call(tk.density_matrix, CHAIN, arrays(CHAIN), ["i0"]),
    "tk.local_expectation": lambda: call(tk.local_expectation, CHAIN, arrays(CHAIN), {"i0": tensor(2, 2)}),
    # decompositions
    "tk.als": lambda: call(tk.als, tensor(2, 2, 2), RING, arrays(RING), sweeps=1, restarts=1),
    "tk.tt_svd": lambda: call(tk.tt_svd, tensor(2, 3, 2), rank=2),
    "tk.mpo_svd": lambda: call(tk.mpo_svd, tensor(4, 4), (2, 2), (2, 2), rank=2),
    "tk.ring_svd": lambda: call(tk.ring_svd, tensor(2, 3, 2), rank=2),
    "tk.tree_svd": lambda: call(tk.tree_svd, tensor(2, 3, 2), rank=2),
    "tk.tucker_svd": lambda: call(tk.tucker_svd, tensor(2, 3, 2), rank=2),
    "tk.low_rank_svd": lambda: call(tk.low_rank_svd, tensor(4, 4), rank=2),
    "tk.cp_als": lambda: call(tk.cp_als, tensor(2, 3, 2), 2, sweeps=1, restarts=1),
    # interchange
    "tk.from_einsum": lambda: call(tk.from_einsum, "ij,jk->ik", {"i": 2, "j": 3, "k": 2}),
    "tk.to_einsum": lambda: call(tk.to_einsum, CHAIN),
    "tk.from_arrays": lambda: call(tk.from_arrays, {"A": (tensor(2, 3), "ij"), "B": (tensor(3, 2), "jk")}, ["i", "k"]),
    "tk.from_graph": lambda: call(tk.from_graph, nx.path_graph(3), 2, {0: 2}),
    "tk.to_graph": lambda: call(tk.to_graph, CHAIN),
    "tk.from_json": lambda: call(tk.from_json, tk.to_json(CHAIN)),
    "tk.to_json": lambda: call(tk.to_json, CHAIN),
    "tk.from_tensornetwork": lambda: call(tk.from_tensornetwork, *tk.to_tensornetwork(CHAIN, arrays(CHAIN))),
    "tk.to_tensornetwork": lambda: call(tk.to_tensornetwork, CHAIN, arrays(CHAIN)),
    "tk.linear_operator": lambda: call(tk.linear_operator, MATRIX, arrays(MATRIX), ("o0", "o1"), ("i0", "i1")),
    "tk.save": lambda: call(tk.save, "a.tn", CHAIN, arrays(CHAIN)),
    "tk.load": lambda: call(tk.load, _saved("b.tn")),
    # pictures
    "tk.draw": lambda: call(tk.draw, CHAIN),
    "tk.to_svg": lambda: call(tk.to_svg, CHAIN),
    "tk.to_tikz": lambda: call(tk.to_tikz, CHAIN),
    "tk.view": lambda: call(tk.view, CHAIN),
    # tests
    "tk.testing.oracle": lambda: call(tk.testing.oracle, CHAIN, arrays(CHAIN)),
    "tk.testing.path_flops": lambda: call(tk.testing.path_flops, [("i", "j"), ("j", "k")], ("i", "k"), {"i": 2, "j": 2, "k": 2}, [(0, 1)]),
    "tk.testing.random_network": lambda: call(tk.testing.random_network, 0),
    # torch: the adapter
    "tknn.TNModule": lambda: call(tknn.TNModule, CHAIN, arrays(CHAIN)),
    "tknn.TNLinear": lambda: call(tknn.TNLinear, 4, 4, MATRIX, True, arrays(MATRIX)),
    "tknn.TNLinear.forward": lambda: call(tknn.TNLinear(4, 4, MATRIX).forward, torch.ones(2, 4)),
    "tknn.TNEmbedding": lambda: call(tknn.TNEmbedding, 4, 4, MATRIX, arrays(MATRIX), padding_idx=1),
    "tknn.TNEmbedding.forward": lambda: call(tknn.TNEmbedding(4, 4, MATRIX).forward, torch.tensor([0, 1])),
    "tknn.parametrize_": lambda: call(tknn.parametrize_, nn.Linear(4, 4), "weight", MATRIX, arrays(MATRIX)),
    "tknn.keep_weights": lambda: call(tknn.keep_weights, 2**31),
    "tknn.merge_": lambda: call(tknn.merge_, _parametrized(), "weight"),
    "tknn.fit": lambda: call(tknn.fit, MATRIX, tensor(2, 2, 2, 2), steps=1, arrays=arrays(MATRIX)),
    "tknn.approximate": lambda: call(tknn.approximate, MATRIX, torch.ones(4, 4), steps=1),
    # torch: training and compressing
    "tknn.Recipe": lambda: call(tknn.Recipe, 1, 0.01),
    "tknn.Group": lambda: call(tknn.Group, {"w": torch.ones(2, requires_grad=True)}, 0.1, 0.0),
    "tknn.Layers": lambda: call(tknn.Layers, ("fc1",), "tt", 12),
    "tknn.Stage1": lambda: call(tknn.Stage1, "auto", 1),
    "tknn.Compression": lambda: call(tknn.Compression, (tknn.Layers(("fc1",), "tt", 12),)),
    "tknn.Compression.from_toml": lambda: call(tknn.Compression.from_toml, recipe().to_toml()),
    "tknn.Compression.load": lambda: call(tknn.Compression.load, _saved_recipe("r.toml")),
    "tknn.Compression.save": lambda: call(recipe().save, "s.toml"),
    "tknn.dense": lambda: call(tknn.dense, _compressed()),
    "tknn.save_compressed": lambda: call(tknn.save_compressed, _compressed(), "c.safetensors"),
    "tknn.load_compressed_": lambda: call(tknn.load_compressed_, classifier(), _saved_compressed("d.safetensors")),
    "tknn.Family": lambda: call(tknn.Family, "x", "x", lambda shape, budget: MATRIX),
    # torch: models and data
    "tknn.data.Split": lambda: call(Split, "tiny", SPLIT.train, SPLIT.val, SPLIT.test),
    "tknn.data.load": lambda: call(tknn.data.load, "digits", limit=10),
    "tknn.data.split_off": lambda: call(tknn.data.split_off, SPLIT.train[1]),
    "tknn.data.stratified": lambda: call(tknn.data.stratified, SPLIT.train[1], 0),
    "tknn.data.crop_flip": lambda: call(tknn.data.crop_flip, torch.ones(2, 3, 8, 8), torch.Generator()),
    "tknn.zoo.MLP": lambda: call(tknn.zoo.MLP, (4, 4, 2)),
    "tknn.zoo.build": lambda: call(tknn.zoo.build, "mlp", 3),
    "tknn.zoo.mlp": lambda: call(tknn.zoo.mlp, 3),
    "tknn.zoo.lenet5": lambda: call(tknn.zoo.lenet5, 3, (2, 2, 4, 4)),
    "tknn.zoo.save": lambda: call(tknn.zoo.save, classifier(), "m.safetensors", {"a": "b"}),
    "tknn.zoo.without": lambda: call(tknn.zoo.without, classifier()),
    **CALLS_NN,
}  # fmt: skip


def with_tensors(name):
    """The right call of a function of tnkit with tensors of torch in the place of numpy's arrays; None if it has no array."""
    function, args, kwargs = CALLS[name]()
    made = _converted(args), _converted(kwargs)
    return (function, *made) if _has_tensor(made) else None


def _converted(value):
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if type(value) is dict:
        return {k: _converted(v) for k, v in value.items()}
    return tuple(map(_converted, value)) if type(value) is tuple else value


def _has_tensor(value):
    if type(value) in (tuple, dict):
        return any(map(_has_tensor, value.values() if type(value) is dict else value))
    return isinstance(value, torch.Tensor)


#: Public, without a right call here, and why.
SKIPPED = {
    "tk.Backend.beside": "called by the library, with its own tensors", "tk.Backend.kron": "as beside", "tk.Backend.reshape": "as beside",
    "tk.Plan": "made by tk.plan", "tk.Decomposition": "a record that decompositions make; its arrays are looked at where they are used",
    "tk.Samples": "a record that tk.sample makes", "tknn.Compressed": "made by tknn.compress_", "tknn.FitResult": "made by tknn.fit",
    **({} if find_spec("pandas") else {"tknn.frame": "pandas is not installed"}),
}  # fmt: skip

_MODULES = {
    "tk": tk,
    "tk.init": tk.init,
    "tk.testing": tk.testing,
    "tknn": tknn,
    "tknn.zoo": tknn.zoo,
    "tknn.data": tknn.data,
}


def public():
    """Names of all public functions, classes, and methods of public classes that take an argument."""
    found = []
    for prefix, module in _MODULES.items():
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type):
                found += [f"{prefix}.{name}", *(f"{prefix}.{name}.{m}" for m in _methods(value))]
            elif inspect.isroutine(value):
                found.append(f"{prefix}.{name}")
    return found


def _methods(owner):
    bases = [b for b in owner.__mro__ if b.__module__ == owner.__module__]  # what classes of one module share
    for name, value in {n: v for base in reversed(bases) for n, v in vars(base).items()}.items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if (
            not name.startswith("_")
            and inspect.isfunction(function)
            and len(inspect.signature(function).parameters) > 1
        ):
            yield name

"""What users write, for type checkers alone: `mypy` reads this file, nothing runs it.

A call that is refused where it should be stands with the error that it has; mypy tells of an error that is not there.
"""

import numpy as np
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn

x = np.ones((4, 4))
net = tk.tt((4, 4), 2)
arrays = tk.init.normal(net)
found = tk.tt_svd(x, rank=2)

# a network and its arrays, or a pair of the two, by place and by name
tk.contract(net, arrays)
tk.contract(net, arrays=arrays)
tk.contract(net=net, arrays=arrays, optimizer="greedy")
tk.contract(found, strip_exponent=True)
tk.contract(net=found)
both = tk.add(found, found)
tk.norm(both)
tk.norm(tk.conj(both))
tk.inner(found, both)
tk.inner(net, arrays, both)
tk.inner(both, net, arrays)
tk.distance(a=net, a_arrays=arrays, b=net, b_arrays=arrays)
tk.apply_gate(found, np.eye(4), ["i0"], max_bond=2)  # type: ignore[call-overload]  # the keyword is rank=
rounded: tk.Decomposition = tk.round(tk.apply_gate(found, np.eye(4), ["i0"]), rank=1)
tk.merge(rounded, ["core_0", "core_1"])
tk.isel(rounded, {"i0": 0})
tk.sample(found, 10, seed=1)
tk.expect(tk.operator([(1.0, {0: np.eye(4)})], (4, 4)), found)
tk.save("file.tn", rounded)
tk.save("file.tn", net, arrays)
tk.save("file.tn", net)
error: float = tk.als(x, net).error
tk.als(x, found)
tk.project(found, net)
tk.circuit((4, 4), [[(0,), (1,)]], start=found)
tk.norm(net)  # type: ignore[call-overload]  # no arrays
tk.norm(x)  # type: ignore[call-overload]
tk.norm(found, backend=3)  # type: ignore[call-overload]

# orders
plan = tk.plan(net, optimizer=[(0, 1)])
flops: float = tk.plan(net, plan.path).flops
tk.einsum("ij,jk->ik", x, x, optimizer=["einsum_path", (0, 1)])
tk.contract(net, arrays, optimizer=[(0, 1)])

# modules
tknn.TNLinear(4, 4, found)
tknn.TNLinear(4, 4, both)
tknn.TNLinear.from_module(nn.Linear(4, 4), net)
tknn.TNConv2d(4, 4, 1, tk.mpo((2, 2), (2, 2), 2))
tknn.TNEmbedding(4, 4, both)
tknn.TNModule(both)
tknn.TNModule(net)
error = tknn.fit(net, torch.ones(4, 4)).error
tknn.fit(found, x)
layer = nn.Linear(4, 4)
tknn.parametrize_(layer, "weight", both)
tknn.merge_(layer, "weight")
tknn.tensorize_(nn.Sequential(nn.Linear(4, 4)), {"0": both})
tknn.tensorize_(nn.Sequential(nn.Linear(4, 4)), {"0": "mpo"}, budget=10)

# compressions and comparisons
recipe = tknn.Compression(tknn.Layers("fc1", "mpo", budget=400), rest="head", order=["fc1"])
names: tuple[str, ...] = tknn.Layers(["fc1", "features.*"], both).select
recipe = tknn.Compression([tknn.Layers(names), tknn.Layers("fc2", net)])
entries: tuple[tknn.Layers, ...] = recipe.layers
tknn.Layers(3)  # type: ignore[arg-type]
task = tknn.Task("mlp", "digits")
result: tknn.Comparison = tknn.compare(task, "mpo", 100, layer="fc1", seeds=1)
result.save("folder")
print(tknn.Comparison.load("folder"))

# %% [markdown]
# # A first network
#
# Build a tensor network, look at it, contract it, differentiate it, put it into a neural network.
#
# Run this file as it is (`python tutorials/01_first_network.py`), or cell by cell in an editor that knows `# %%`.
# Pictures go to `out/tutorials/`.  Every `assert` is a statement of the text, checked.

# %%
from pathlib import Path

import networkx as nx
import numpy as np
import torch

import tnkit as tk
import tnkit_nn as tknn

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def picture(net_or_plan, name):
    """Draw to a PNG file; the figure is what a notebook shows."""
    figure = tk.draw(net_or_plan).figure
    figure.savefig(OUT / f"{name}.png", dpi=120)
    return figure


# %% [markdown]
# ## 1. Three nodes in a row
#
# A node is a named slot for an array, with one index name an axis.  Two nodes that share an index are joined by it.
# `output` says which indices stay.  A network holds structure only, so there are no numbers in it yet.

# %%
net = tk.Network(
    [tk.Node("A", "ir"), tk.Node("B", "rsj"), tk.Node("C", "sk")],
    output="ijk",
    sizes=dict(i=4, j=4, k=4, r=3, s=3),
)
print(net)
picture(net, "01_chain")

# %% [markdown]
# What it is: the shape of its tensor, the numbers that have to be stored, and which nodes an index joins.

# %%
print(repr(net), net.edges, sep="\n")
assert net.shape == (4, 4, 4)
assert net.num_params == 4 * 3 + 3 * 3 * 4 + 3 * 4 == 60  # the tensor itself has 64 entries
assert net.edges["r"] == ("A", "B") and net.edges["i"] == ("A",)

# %% [markdown]
# A network is a *value*, like a number or a string: two that say the same are equal, and it can be a key of a dict.

# %%
again = tk.Network(net.nodes, net.output, net.sizes)
assert again == net and hash(again) == hash(net)

# %% [markdown]
# ## 2. Contract
#
# The arrays are a plain dict beside the network.  `contract` sums over every index that is not in the output: it is an
# einsum, in a good order.

# %%
arrays = {name: rng.standard_normal(shape) for name, shape in net.array_shapes.items()}
x = tk.contract(net, arrays)
assert x.shape == net.shape
assert np.allclose(x, np.einsum("ir,rsj,sk->ijk", arrays["A"], arrays["B"], arrays["C"]))

# %% [markdown]
# `tk.init.normal` draws arrays such that the entries of the *result* have the root mean square you ask for (1 by
# default), however many nodes there are.

# %%
deep = tk.tt((2,) * 16, rank=8)
assert np.isclose(np.sqrt(np.mean(tk.contract(deep, tk.init.normal(deep, seed=0)) ** 2)), 1)

# %% [markdown]
# With arrays at hand, the sizes are read from them.  What does not fit is refused, and the message says where.

# %%
a, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 5))
product, parts = tk.from_arrays({"A": (a, "ir"), "B": (b, "rj")}, output="ij")
assert np.allclose(tk.contract(product, parts), a @ b)

try:
    tk.from_arrays({"A": (a, "ir"), "B": (b.T, "rj")}, output="ij")
except ValueError as error:
    print("refused:", error)
else:
    raise AssertionError("the sizes disagree")

# %% [markdown]
# ## 3. The reading rule
#
# An index on one node is open or summed; on two it is an **edge**; on more it is a **hyperedge**.  Twice on one node it
# is a **trace**.  If it is in the output, it is kept.  That is all there is to learn.
#
# A hyperedge: `r` on three nodes.  This is the CP decomposition, a sum over r of products of three vectors.

# %%
hyper = tk.Network([tk.Node("A", "ir"), tk.Node("B", "jr"), tk.Node("C", "kr")], "ijk", dict(i=3, j=4, k=5, r=2))
filled = tk.init.normal(hyper, seed=1)
assert hyper.edges["r"] == ("A", "B", "C")
assert np.allclose(tk.contract(hyper, filled), np.einsum("ir,jr,kr->ijk", *(filled[n] for n in "ABC")))
picture(hyper, "02_hyperedge")

# %% [markdown]
# A trace: `i` twice on one node.  The output is empty, so the result is a scalar.

# %%
trace = tk.Network([tk.Node("M", "ii")], "", dict(i=4))
m = rng.standard_normal((4, 4))
assert trace.shape == () and np.isclose(tk.contract(trace, {"M": m}), np.trace(m))

# %% [markdown]
# A batch index: on two nodes *and* in the output, so it is kept and not summed.  `fixed=True` marks data: it is given
# by the caller, never trained and never counted.

# %%
batched = tk.Network(
    [tk.Node("x", "bi", fixed=True), tk.Node("y", "bj", fixed=True), tk.Node("W", "ijk")],
    output="bk",
    sizes=dict(b=10, i=3, j=4, k=2),
)
given = {name: rng.standard_normal(shape) for name, shape in batched.array_shapes.items()}
assert batched.num_params == 3 * 4 * 2  # W alone
assert np.allclose(tk.contract(batched, given), np.einsum("bi,bj,ijk->bk", given["x"], given["y"], given["W"]))
picture(batched, "03_batch")

# %% [markdown]
# ## 4. Builders
#
# The well-known families are functions of shapes and ranks that return a network.  `tk.BUILDERS` is a dict of all of
# them and `tk.EXAMPLES` has arguments to try.

# %%
for name, builder in tk.BUILDERS.items():
    example = builder(**tk.EXAMPLES[name])
    print(f"{name:>11} {example!r}")
    picture(example, f"04_{name}")

# %% [markdown]
# A builder is a short cut and nothing else: a tensor train is the chain of section 1 with other names.

# %%
train = tk.tt((4, 4, 4), rank=3)
named = net.relabel(
    inds=dict(i="i0", j="i1", k="i2", r="b1", s="b2"),
    nodes=dict(A="core_0", B="core_1", C="core_2"),
    arrays=dict(A="core_0", B="core_1", C="core_2"),
)
print(train)
assert named.shape == train.shape and named.num_params == train.num_params
assert named["core_0"] == train["core_0"] and named["core_2"] == train["core_2"]
assert set(named["core_1"].inds) == set(train["core_1"].inds)  # only its axes stand in another order

# %% [markdown]
# ## 5. The order is the cost
#
# A matrix product state of 16 sites, `psi`, and its squared norm: `psi` joined with a copy of itself at all 16 open
# indices.  `relabel` names the copy's nodes and bonds apart; the arrays keep their names, so both halves are filled
# from the same arrays (they are *tied*, and counted once).

# %%
psi = tk.mps((2,) * 16, rank=4)
copy = psi.relabel(inds=lambda i: i if i in psi.output else i + "'", nodes=lambda n: n + "'")
norm = psi.join(copy, on=psi.output)
assert norm.shape == () and norm.num_params == psi.num_params

# %% [markdown]
# A *plan* is a network and an order, lowered to a list of array operations.  Print one to read what will be done and
# what it costs.

# %%
plan = tk.plan(norm)
print(plan)
print("path, as opt_einsum writes it:", plan.path)

# %% [markdown]
# An optimiser is a function that returns a path, so a poor one is quickly written: contract `psi` in full, then its
# copy, then the two.  Both orders give the same number; the poor one goes through a tensor with all open indices.


# %%
def in_the_order_written(inputs, output, sizes, memory_limit):
    """All of psi, then all of the copy, then both."""
    half = tuple(range(len(inputs) // 2))
    return [half, half, (0, 1)]  # positions; what is contracted leaves the list, its result goes to the end


poor = tk.plan(norm, in_the_order_written)
print(f"{'order':>20} {'FLOPs':>12} {'largest':>10}")
plans = {"in the order written": poor} | {name: tk.plan(norm, name) for name in tk.OPTIMIZERS}
for name, p in plans.items():
    print(f"{name:>20} {p.flops:>12,} {p.largest:>10,}")
assert poor.largest == 2**16 and plan.largest < 100
assert poor.flops > 100 * plan.flops

# %%
state = tk.init.normal(psi, seed=0)
full = tk.contract(psi, state)  # 2^16 entries: only to check
assert np.isclose(tk.contract(norm, state), np.sum(full**2))
assert np.isclose(tk.run(poor, state), np.sum(full**2))

# %% [markdown]
# `draw` of a plan numbers the contractions.

# %%
picture(tk.plan(tk.tt((4,) * 5, rank=3)), "05_order")

# %% [markdown]
# ## 6. The same network with torch, and gradients
#
# Nothing chooses the library: it is that of the arrays.  Torch tensors that require gradients give gradients.

# %%
tensors = {name: torch.tensor(value, requires_grad=True) for name, value in arrays.items()}
y = tk.contract(net, tensors)
assert isinstance(y, torch.Tensor) and np.allclose(y.detach().numpy(), x)

# %% [markdown]
# What *is* the gradient?  A network is linear in each array, so the derivative of `sum(G * T)` by B is the network
# with B taken out (its **environment**), joined with G where the open indices are.

# %%
G = rng.standard_normal(net.shape)
(y * torch.tensor(G)).sum().backward()

around_B = tk.Network(
    [net["A"], net["C"], tk.Node("G", net.output, fixed=True)],
    output=net["B"].inds,
    sizes=net.sizes,
)
by_hand = tk.contract(around_B, {"A": arrays["A"], "C": arrays["C"], "G": G})
assert by_hand.shape == arrays["B"].shape
assert np.allclose(tensors["B"].grad.numpy(), by_hand)
picture(around_B, "06_environment")

# %% [markdown]
# ## 7. Nonlinear networks
#
# `activate` puts a function around a whole network: contract what is inside in full, then apply it entry by entry.  The
# result is again a network, so it can be joined with others.  Here: `out = tanh(x W1) W2`, a small neural network.

# %%
layer1 = tk.Network([tk.Node("x", "bi", fixed=True), tk.Node("W1", "ih")], "bh", dict(b=8, i=5, h=6))
layer2 = tk.Network([tk.Node("W2", "ho")], "ho", dict(h=6, o=3))
mlp = layer1.activate("tanh", "hidden").join(layer2, on="h")
print(mlp)
assert not mlp.multilinear and mlp.shape == (8, 3)

values = {name: rng.standard_normal(shape) for name, shape in mlp.array_shapes.items()}
assert np.allclose(tk.contract(mlp, values), np.tanh(values["x"] @ values["W1"]) @ values["W2"])
picture(mlp, "07_nonlinear")

# %% [markdown]
# `regions()` are the multilinear pieces: inside each the order is free, across an activation it is not.

# %%
for region in mlp.regions():
    print(region)
assert [region.multilinear for region in mlp.regions()] == [True, True]

# %% [markdown]
# A function may have several bodies.  A frozen matrix plus a trainable network of rank 2 (the shape of LoRA) is `add`:

# %%
frozen = tk.Network([tk.Node("W0", "ij", fixed=True)], "ij", dict(i=6, j=5))
update = tk.Network([tk.Node("U", "ir"), tk.Node("V", "rj")], "ij", dict(i=6, j=5, r=2))
lora = tk.Network([tk.Elementwise("sum", "add", (frozen, update))], "ij")
assert lora.num_params == 6 * 2 + 2 * 5  # W0 does not count
u, v, w0 = rng.standard_normal((6, 2)), rng.standard_normal((2, 5)), rng.standard_normal((6, 5))
assert np.allclose(tk.contract(lora, {"U": u, "V": v, "W0": w0}), w0 + u @ v)

# %% [markdown]
# ## 8. Keep it, and take it elsewhere
#
# One file holds the network and its arrays (JSON and numpy's own format; never pickle).

# %%
tk.save(OUT / "chain.tn", net, arrays)
loaded, loaded_arrays = tk.load(OUT / "chain.tn")
assert loaded == net and all(np.array_equal(loaded_arrays[n], arrays[n]) for n in arrays)
assert tk.from_json(tk.to_json(mlp)) == mlp  # structure alone is text

# %% [markdown]
# Einsum equations, both ways:

# %%
assert tk.to_einsum(net) == "ir,rsj,sk->ijk"
assert tk.from_einsum("ir,rsj,sk->ijk", net.sizes).shape == net.shape

# %% [markdown]
# Any networkx graph is a network: vertices are nodes, edges are indices.  Here the Petersen graph, every bond of size
# 2, with an open index on two vertices.

# %%
petersen = tk.from_graph(nx.petersen_graph(), bond=2, open={0: 4, 5: 4})
assert petersen.shape == (4, 4) and len(petersen.nodes) == 10
assert tk.from_graph(tk.to_graph(petersen)) == petersen
picture(petersen, "08_petersen")

# %% [markdown]
# Google's `tensornetwork`, both ways; arrays are shared, not copied.

# %%
tn_nodes, tn_edges = tk.to_tensornetwork(net, arrays)
back, back_arrays = tk.from_tensornetwork(tn_nodes, tn_edges)
assert back == net and all(back_arrays[n] is arrays[n] for n in arrays)

# %% [markdown]
# ## 9. A network as the weight of a layer
#
# `parametrize_` replaces a weight of any torch module by a network.  The module is used as before, and only the cores
# are trained.  64 x 64 = 8 x 8 x 8 x 8, so a TT-matrix of two cores fits.

# %%
torch.manual_seed(0)
linear = torch.nn.Linear(64, 64)
before = sum(p.numel() for p in linear.parameters())
weight = tk.mpo(out=(8, 8), in_=(8, 8), rank=4)
tknn.parametrize_(linear, "weight", weight, seed=0)
after = sum(p.numel() for p in linear.parameters())
print(f"{before} numbers before, {after} after; state_dict: {list(linear.state_dict())}")
assert before == 64 * 64 + 64 and after == weight.num_params + 64

# %% [markdown]
# A few steps of training on made-up data, to see the cores move and the loss fall.

# %%
inputs, targets = torch.randn(32, 64), torch.randn(32, 64)
optimizer = torch.optim.Adam(linear.parameters(), lr=1e-2)
losses = []
for _ in range(30):
    loss = (linear(inputs) - targets).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
assert losses[-1] < losses[0]

# %% [markdown]
# `merge_` makes it a plain dense weight again, of the same value.

# %%
expected = linear(inputs)
tknn.merge_(linear, "weight")
assert isinstance(linear.weight, torch.nn.Parameter) and torch.equal(linear(inputs), expected)

# %% [markdown]
# A parametrized weight is built, then multiplied.  `TNLinear` plans the network *with the input in it*, and so may never
# build the weight.  Printing it shows the routes that it takes at different batch sizes.

# %%
layer = tknn.TNLinear(64, 64, network=weight)
print(layer)
assert layer(inputs).shape == (32, 64)

# %% [markdown]
# Next: `02_deep_vs_shallow.py` asks which network holds a trained weight best.

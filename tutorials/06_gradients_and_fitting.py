# %% [markdown]
# # 6. Gradients and fitting
#
# The SVD works for trees. For loops, data and activations there is no closed form. But every network has a gradient,
# and the gradient is again a network. This tutorial derives it, and fits networks with it.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import tnkit as tk
import tnkit_nn as tknn

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def picture(drawn, name):
    """Keep a picture as a PNG file. A notebook shows what is returned."""
    figure = drawn.get_figure()
    figure.savefig(OUT / f"{name}.png", dpi=120)
    plt.close(figure)
    return figure


# %% [markdown]
# ## The gradient is a network with a hole
#
# A network without activations is linear in the array of each node, if no other node shares it. So the derivative of `sum(G * T)` by the array B is the network with B taken out,
# joined with G at the open indices. What is left around a node is called its **environment**.

# %%
net = tk.Network([tk.Node("A", "ir"), tk.Node("B", "rsj"), tk.Node("C", "sk")], "ijk", dict(i=4, j=5, k=6, r=2, s=3))
arrays = tk.init.normal(net, seed=0)
G = rng.standard_normal(net.shape)
around_B = tk.Network([net["A"], net["C"], tk.Node("G", net.output, fixed=True)], net["B"].inds, net.sizes)
by_hand = tk.contract(around_B, {"A": arrays["A"], "C": arrays["C"], "G": G})
picture(tk.draw(around_B), "06_environment")

# %% [markdown]
# torch finds the same. Nothing chooses the library: it is that of the arrays.

# %%
tensors = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
(tk.contract(net, tensors) * torch.tensor(G)).sum().backward()
print("largest difference of the gradients:", float(abs(tensors["B"].grad.numpy() - by_hand).max()))
assert np.allclose(tensors["B"].grad.numpy(), by_hand)

# %% [markdown]
# ## Two ways to fit
#
# Fit a ring to a tensor. **Alternating least squares** (ALS) uses the linearity: with all other arrays held, the best array solves a linear system.
# **Gradient descent** moves all arrays a little at a time, along the gradient. Adam is its usual form.

# %%
ring = tk.ring((5,) * 5, rank=4)
target = tk.contract(ring, tk.init.normal(ring, seed=5)) + 0.05 * rng.standard_normal(ring.shape)
path = {"ALS": [], "Adam": []}
by_als = tk.als(target, ring, sweeps=60, restarts=1, callback=lambda sweep, error: path["ALS"].append(error))
by_adam = tknn.fit(ring, target, steps=300, lr=0.03, seed=0)
print(f"ALS: {by_als.error:.4f} after {len(path['ALS'])} sweeps; Adam: {by_adam.error:.4f} after 300 steps")
assert by_als.error < 0.1

# %% [markdown]
# One start proves little: a method may stop where no small step leads down. So try several.
# Here all of them end at the same error. The last section has a network where they do not.

# %%
ends = {
    "ALS": [tk.als(target, ring, sweeps=60, restarts=1, seed=seed).error for seed in range(4)],
    "Adam": [tknn.fit(ring, target, steps=300, lr=0.03, seed=seed).error for seed in range(4)],
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
axes[0].semilogy(path["ALS"], label="ALS, by sweep")
axes[0].set(xlabel="sweep", ylabel="relative error")
axes[0].legend()
for k, (name, values) in enumerate(ends.items()):
    print(f"{name}: errors of four starts from {min(values):.3f} to {max(values):.3f}")
    axes[1].plot([k] * len(values), values, "o")
axes[1].set_xticks(range(2), ends)
axes[1].set(title="the error at the end, a dot a start", ylim=(0, 0.1))
assert all(np.ptp(values) < 0.01 for values in ends.values())
picture(figure, "06_starts")

# %% [markdown]
# ## What is minimised: the angle, not the distance
#
# `fit` does not minimise the squared error. A random tensor T is nearly at right angles to the target W. Then the quickest way to a smaller
# squared error is to make T small. That leads to zero, where gradients vanish. So `fit` minimises the angle between T and W,
# and sets the best scale in closed form.
#
# How good is an error? A space of K dimensions of N, chosen at random, already reaches `sqrt(1 - K / N)`. That is the **baseline** of K parameters.

# %%
W = rng.standard_normal((64, 64))
matrix = tk.mpo((8, 8), (8, 8), rank=4)
noise_fit = tknn.fit(matrix, W, steps=100)
K, N = matrix.num_params, W.size
basis, _ = np.linalg.qr(rng.standard_normal((N, K)))
w = W.ravel()
random_space = np.linalg.norm(w - basis @ (basis.T @ w)) / np.linalg.norm(w)
print(
    f"{K} parameters for noise: fit {noise_fit.error:.3f}, random subspace {random_space:.3f}, baseline {noise_fit.chance:.3f}"
)
assert abs(random_space - np.sqrt(1 - K / N)) < 0.02 and np.isclose(noise_fit.chance, np.sqrt(1 - K / N))

# %% [markdown]
# ## Activations
#
# `activate` puts a function around a network: all inside is contracted, then the function is applied to every entry.
# The result can be joined again. Here is a small neural network as one network: `tanh(x W1) W2`.

# %%
layer1 = tk.Network([tk.Node("x", "bi", fixed=True), tk.Node("W1", "ih")], "bh", dict(b=8, i=5, h=6))
layer2 = tk.Network([tk.Node("W2", "ho")], "ho", dict(h=6, o=3))
mlp = layer1.activate("tanh", "hidden").join(layer2, on="h")
values = {name: rng.standard_normal(shape) for name, shape in mlp.array_shapes.items()}
assert np.allclose(tk.contract(mlp, values), np.tanh(values["x"] @ values["W1"]) @ values["W2"])
print(f"multilinear: {mlp.multilinear}, pieces with a free order: {len(list(mlp.regions()))}")
picture(tk.draw(mlp), "06_mlp")

# %% [markdown]
# ## A picture with an edge
#
# An ellipse, 1 inside and 0 outside, less one half. It is read scale by scale: five axes of size 4, one for each binary digit of row and column.
# A TT stores it badly, for edges have slow spectra.

# %%
side = np.arange(32) / 32 - 0.4
y, x = np.meshgrid(side, side, indexing="ij")
ellipse = (x**2 + y**2 + x * y < 0.15) - 0.5
quads = tk.tensorize(ellipse, ((2, 2),) * 5)
tt = tk.tt_svd(quads, budget=150)
print(f"TT: {tt.network.num_params} parameters, error {tt.error:.3f}")
assert np.allclose(tk.detensorize(quads, ellipse.shape, dims=((2, 2),) * 5), ellipse)

# %% [markdown]
# Now make it deep: a tanh of every entry, and then small gates on three of the axes. There is no closed form.
# `lifted` makes arrays with which the deep network begins at the TT, up to the bend of the tanh. Compare with random starts.

# %%
deep = tk.circuit(quads.shape, [[(0,), (1,), (2,)]], "tanh", start=tt.network)
begin = tk.init.lifted(deep, tt, amplitude=0.5)
lifted = tknn.fit(deep, quads, arrays=begin, steps=300, lr=0.01)
drawn = [tknn.fit(deep, quads, seed=seed, steps=300, lr=0.01).error for seed in range(3)]
larger = tk.tt_svd(quads, budget=deep.num_params)
print(f"deep, {deep.num_params} parameters, from the TT: error {lifted.error:.3f}")
print("deep, from random arrays:", *(f"{e:.3f}" for e in drawn))
print(f"a TT of {larger.network.num_params} parameters: {larger.error:.3f}")
assert lifted.error < min(*drawn, tt.error)

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), constrained_layout=True)
shown = {
    "the picture": ellipse,
    f"TT, {larger.network.num_params} parameters": tk.detensorize(tk.contract(larger), (32, 32), dims=((2, 2),) * 5),
    f"deep, {deep.num_params} parameters": tk.detensorize(
        np.asarray(tk.contract(deep, {n: np.asarray(a) for n, a in lifted.arrays.items()})),
        (32, 32),
        dims=((2, 2),) * 5,
    ),
}
for ax, (name, image) in zip(axes, shown.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=-0.7, vmax=0.7)
    ax.set(title=name, xticks=[], yticks=[])
picture(figure, "06_ellipse")

# %% [markdown]
# One picture proves nothing in general. On the arrays of [does depth pay?](../docs/arrays.md), no lead of the deep networks is significant after correction.
#
# ### Exercise 1. The gradient of a norm
#
# The squared norm of a tensor train is quadratic in each core. Show that its gradient by `core_2` is twice the tensor, joined with
# all other cores. Compute it with `tk.environment`, and with torch.

# %% tags=["solution"]
train = tk.tt((3,) * 5, rank=2)
held = tk.init.normal(train, seed=0)
hole = tk.environment(train, "core_2")  # free: the indices of the tensor but i2, and the bonds of core_2
around = tk.contract(hole, {name: a for name, a in held.items() if name != "core_2"})
print("the environment has the indices", hole.output)
names = dict(zip([*train.output, "b2", "b3"], "abcdexy", strict=True))
outside, whole, core = ("".join(names[i] for i in inds) for inds in (hole.output, train.output, train["core_2"].inds))
expected = 2 * np.einsum(f"{outside},{whole}->{core}", around, tk.contract(train, held))
cores = {name: torch.tensor(a, requires_grad=True) for name, a in held.items()}
tk.contract(train, cores).square().sum().backward()
assert np.allclose(cores["core_2"].grad.numpy(), expected)

# %% [markdown]
# ### Exercise 2. One step of ALS
#
# Hold all arrays of the ring but one, and find the best value of that one with `numpy.linalg.lstsq`. The matrix of the system is
# the contraction of the other nodes. The error must not grow. At the best value, the gradient by that array is zero: check it with torch.

# %% tags=["solution"]
start = tk.init.normal(ring, seed=0)
node = ring.nodes[0]
(free,) = (i for i in node.inds if i in ring.output)
inner = [i for i in node.inds if i != free]
sizes = {i: size for i, size in ring.sizes.items() if i != free}
others = tk.Network(ring.nodes[1:], [*(i for i in ring.output if i != free), *inner], sizes)
matrix = tk.contract(others, {n.name: start[n.name] for n in ring.nodes[1:]}).reshape(-1, 4 * 4)
axis = ring.output.index(free)
solved, *_ = np.linalg.lstsq(matrix, np.moveaxis(target, axis, -1).reshape(-1, 5), rcond=None)
order = [[*inner, free].index(i) for i in node.inds]
better = {**start, node.name: solved.reshape(4, 4, 5).transpose(order)}
errors = [np.linalg.norm(tk.contract(ring, a) - target) / np.linalg.norm(target) for a in (start, better)]
print(f"error before {errors[0]:.3f}, after one array {errors[1]:.3f}")
assert errors[1] < errors[0] and errors[1] < 1
cores = {name: torch.tensor(a, requires_grad=True) for name, a in better.items()}
(tk.contract(ring, cores) - torch.tensor(target)).square().sum().backward()
assert torch.allclose(cores[node.name].grad, torch.zeros((), dtype=torch.float64), atol=1e-8)  # no value is better

# %% [markdown]
# ### Exercise 3. Fill in what is missing
#
# Only a third of the entries of a tensor are known. Fit a tensor train to these, by gradient descent in torch.
# Then look at the entries that were not shown. The tensor is `1 / (1 + x + y + z + u)` on a grid of eight points an axis.

# %% tags=["solution"]
grid = np.linspace(0, 1, 8)
hidden = torch.tensor(1 / (1 + sum(np.meshgrid(*[grid] * 4, indexing="ij"))))
known = torch.tensor(rng.random(hidden.shape) < 1 / 3)
model = tk.tt(hidden.shape, rank=3)
parameters = {n: torch.tensor(a, requires_grad=True) for n, a in tk.init.normal(model, seed=0, std=0.4).items()}
optimizer = torch.optim.Adam(parameters.values(), lr=0.02)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
for _ in range(800):
    loss = (tk.contract(model, parameters) - hidden)[known].square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
with torch.no_grad():
    gap = tk.contract(model, parameters) - hidden
unseen = float(gap[~known].norm() / hidden[~known].norm())
print(f"{model.num_params} parameters, {int(known.sum())} known entries: relative error of the others {unseen:.4f}")
assert unseen < 0.1

# %% [markdown]
# Next: tutorial 7 trains networks on images, as a classifier and as a distribution.

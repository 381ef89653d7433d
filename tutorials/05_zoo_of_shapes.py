# %% [markdown]
# # 5. The zoo of shapes, at equal counts
#
# A chain is one shape of many. Rings, trees, stars and sums of products store a tensor too. Which one is best?
# This tutorial gives all of them the same number of parameters, and asks three questions.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import tnkit as tk

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
# ## Five shapes
#
# A builder takes the shape of the tensor and a rank, and returns a network. Here are five for a tensor with six axes of size 4.
# `tk.BUILDERS` has all of them.

# %%
shape = (4,) * 6
SHAPES = {"TT": tk.tt, "ring": tk.ring, "tree": tk.tree, "Tucker": tk.tucker, "CP": tk.cp}
figure, axes = plt.subplots(1, 5, figsize=(15, 3.5), constrained_layout=True)
for ax, (name, builder) in zip(axes, SHAPES.items(), strict=True):
    tk.draw(builder(shape, 2), ax=ax, labels=False)
    ax.set_title(name, fontsize=18)
print("all builders:", *tk.BUILDERS)
picture(figure, "05_shapes")

# %% [markdown]
# ## Equal ranks are not equal counts
#
# The rank means something else in each shape. A TT has about `n d r^2` parameters for n axes of size d, CP has `n d r`,
# and Tucker has a core of `r^n`. So "TT against Tucker at rank 3" compares sizes, not shapes.

# %%
ranks = range(1, 5)
print(f"{'rank':>7}", *(f"{r:>6}" for r in ranks))
for name, builder in SHAPES.items():
    print(f"{name:>7}", *(f"{builder(shape, r).num_params:6,}" for r in ranks))
assert tk.cp(shape, 3).num_params == 6 * 4 * 3
assert tk.tucker(shape, 3).num_params == 3**6 + 6 * 4 * 3
assert tk.tt(shape, 3).num_params == 2 * 4 * 3 + 4 * (3 * 4 * 3)

# %% [markdown]
# ## Each shape as a function of a budget
#
# So give each shape a *budget* of parameters. It chooses the ranks itself, and its true count is shown.
#
# Chains, trees and Tucker use singular values. CP and rings have no such closed form. Alternating least squares (ALS) improves one array after
# another, so its end depends on its start. The ring has two kinds of start here: a chain that is bent to a ring, and random arrays.


# %%
def ring(x, budget):
    """A bent chain, improved. For small tensors also random starts, of which the best counts."""
    found = [tk.als(x, *tk.ring_svd(x, budget=budget), sweeps=10)]
    if x.size < 5_000:
        rank = max(r for r in range(1, 20) if tk.ring(x.shape, r).num_params <= budget)
        found.append(tk.als(x, tk.ring(x.shape, rank), sweeps=50, restarts=4))
    return min(found, key=lambda decomposition: decomposition.error)


def cp(x, budget):
    """Random starts: three for small tensors, one for large ones, to save time."""
    small = x.size < 5_000
    return tk.cp_als(x, budget=budget, restarts=3 if small else 1, sweeps=150 if small else 40)


FAMILIES = {
    "TT": lambda x, budget: tk.tt_svd(x, budget=budget),
    "ring": ring,
    "tree": lambda x, budget: tk.tree_svd(x, budget=budget),
    "Tucker": lambda x, budget: tk.tucker_svd(x, budget=budget),
    "CP": cp,
}

# %% [markdown]
# ## Question 1: does a best shape exist?
#
# Make a tensor of each shape from random arrays. Then let every shape store every tensor, with about 216 parameters.

# %%
makers = {"TT": tk.tt(shape, 3), "ring": tk.ring(shape, 3), "tree": tk.tree(shape, 3), "Tucker": tk.tucker(shape, 2)}
makers["CP"] = tk.cp(shape, 9)
budget = 216
errors = np.empty((5, 5))
for row, (maker, net) in enumerate(makers.items()):
    x = tk.contract(net, tk.init.normal(net, seed=1))
    results = [family(x, budget) for family in FAMILIES.values()]
    errors[row] = [found.error for found in results]
    print(f"a {maker:>6} of {net.num_params:3} parameters, stored as", end=" ")
    print(", ".join(f"{n} {f.error:.2f} ({f.network.num_params})" for n, f in zip(FAMILIES, results, strict=True)))
assert (np.diag(errors) < 1e-6).all()

# %%
figure, ax = plt.subplots(figsize=(5.2, 4.2), constrained_layout=True)
shown = ax.imshow(errors, cmap="viridis", vmin=0)
ax.set_xticks(range(5), FAMILIES)
ax.set_yticks(range(5), [f"made by {name}" for name in makers])
ax.set_title("relative error, about 216 parameters each")
figure.colorbar(shown)
picture(figure, "05_every_shape")

# %% [markdown]
# The diagonal is zero: each shape stores its own tensors. A ring also stores the chain, for a chain is a ring with one bond of size 1.
# Most other errors are above a tenth. So there is no best shape. There is a best shape *for an array*.

# %%
others = errors[~np.eye(5, dtype=bool)]
print(f"beside the diagonal: median error {np.median(others):.2f}, largest {others.max():.2f}")
assert np.median(others) > 0.1 and errors[0, 1] < 1e-6

# %% [markdown]
# ## Question 2: does the reading matter?
#
# A photograph of 96 x 128 pixels and three colours can be read in several ways. As pixels it has three axes.
# As scales it has the axes block, place in the block, place in that, colour. Split, each scale has one axis for rows and one for columns.

# %%
photo = load_sample_image("flower.jpg")[:384, :512].reshape(96, 4, 128, 4, 3).mean(axis=(1, 3)) / 255.0
flat = photo - photo.mean()
split = flat.reshape(6, 4, 4, 8, 4, 4, 3).transpose(0, 3, 1, 4, 2, 5, 6)
READINGS = {"pixels": flat, "scales": split.reshape(48, 16, 16, 3), "split": split}
BUDGETS = (500, 1_000, 2_000)
print({name: x.shape for name, x in READINGS.items()})

# %% [markdown]
# An error of 1 is a grey card. A shape that cannot be so small says so.

# %%
found = {}
for name, family in FAMILIES.items():
    for reading, x in READINGS.items():
        for budget in BUDGETS:
            try:
                found[name, reading, budget] = family(x, budget)
            except ValueError as refusal:
                print("refused:", refusal)

# %%
print(f"{'error (parameters)':>18}", *(f"{budget:>15,}" for budget in BUDGETS))
for name in FAMILIES:
    for reading in READINGS:
        row = [found.get((name, reading, b)) for b in BUDGETS]
        print(
            f"{name:>10} {reading:>7}",
            *(f"{f.error:8.3f} ({f.network.num_params:,})" if f else f"{'-':>15}" for f in row),
        )
assert all(f.network.num_params <= budget for (*_, budget), f in found.items())

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), sharey=True, constrained_layout=True)
for ax, reading in zip(axes, READINGS, strict=True):
    for name, marker in zip(FAMILIES, "osD^v", strict=True):
        points = [found[name, reading, b] for b in BUDGETS if (name, reading, b) in found]
        ax.plot([p.network.num_params for p in points], [p.error for p in points], marker=marker, label=name)
    ax.set(title=f"read as {reading}", xlabel="parameters")
axes[0].set_ylabel("relative error")
axes[-1].legend()
picture(figure, "05_photograph")

# %% [markdown]
# How much does each choice change? Take the largest budget. Compare the spread over readings with the spread over shapes.

# %%
table = {(n, r): f.error for (n, r, b), f in found.items() if b == BUDGETS[-1]}
over_readings = [np.ptp([e for (n, _), e in table.items() if n == name]) for name in FAMILIES]
over_shapes = [np.ptp([e for (_, r), e in table.items() if r == reading]) for reading in READINGS]
print(f"one shape, three readings: errors differ by {np.mean(over_readings):.3f} in the mean")
print(f"one reading, five shapes:  errors differ by {np.mean(over_shapes):.3f} in the mean")
assert min(np.mean(over_readings), np.mean(over_shapes)) > 0.01  # both matter

# %% [markdown]
# ## Question 3: is a difference real?
#
# ALS starts from random arrays. Another seed is another result. Before you believe a small difference, look at the spread over seeds.

# %%
x = READINGS["split"]
spread = [tk.cp_als(x, budget=1_000, restarts=1, sweeps=20, seed=seed).error for seed in range(5)]
print(f"CP, one start each, five seeds: from {min(spread):.4f} to {max(spread):.4f}")
assert max(spread) > min(spread)

# %% [markdown]
# ### Exercise 1. Fair ranks
#
# For a tensor of six axes of size 4, find for each shape the rank whose count is nearest to 300. Print rank and count.
# Which shape misses the target by most?

# %% tags=["solution"]
nearest = {}
for name, builder in SHAPES.items():
    counts = {r: builder(shape, r).num_params for r in range(1, 20)}
    rank = min(counts, key=lambda r: abs(counts[r] - 300))
    nearest[name] = counts[rank]
    print(f"{name:>7}: rank {rank:2}, {counts[rank]} parameters")
assert max(nearest, key=lambda name: abs(nearest[name] - 300)) == "Tucker"  # its core grows as rank^6
assert abs(nearest["CP"] - 300) <= 12  # CP has the finest steps

# %% [markdown]
# ### Exercise 2. The order of the axes
#
# Let `x[i, j, k, l] = A[i, k] * B[j, l]` with random 5 x 5 matrices. How large is the middle bond of a TT in the order i, j, k, l?
# And in the order i, k, j, l? Predict first, then compute.

# %% tags=["solution"]
A, B = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
x = np.einsum("ik,jl->ijkl", A, B)
middle = {}
for order in ((0, 1, 2, 3), (0, 2, 1, 3)):
    train = tk.tt_svd(x.transpose(order), tol=1e-10).network
    middle[order] = train.sizes["b2"]
print("middle bond by order of the axes:", middle)
assert middle == {(0, 1, 2, 3): 25, (0, 2, 1, 3): 1}  # both pairs are cut, or none

# %% [markdown]
# ### Exercise 3. Strassen's algorithm
#
# The product of two 2 x 2 matrices is linear in both, so it is a tensor with three axes of size 4. Its CP rank is the number of multiplications
# that are needed. The usual way takes eight. Build the tensor and find with `tk.cp_als` whether seven are enough, and whether six are.

# %% tags=["solution"]
T = np.zeros((4, 4, 4))
for i, j, k in np.ndindex(2, 2, 2):
    T[2 * i + j, 2 * j + k, 2 * i + k] = 1  # C[i, k] gets A[i, j] * B[j, k]
by_rank = {rank: tk.cp_als(T, rank, restarts=8).error for rank in (6, 7, 8)}
print("relative error by rank:", {rank: f"{error:.1e}" for rank, error in by_rank.items()})
assert by_rank[7] < 1e-6 and by_rank[8] < 1e-6 and by_rank[6] > 0.1  # seven: Strassen, 1969

# %% [markdown]
# Next: closed forms exist for few shapes. Tutorial 6 fits any network, by its gradients.

# %% [markdown]
# # 3. SVD, spectra and compression
#
# A photograph is an array of pixels. The singular value decomposition (SVD) stores it in far fewer parameters, with a known error.
# The same idea, used once for each bond, turns any array into a tensor network. The singular values say how well this can work.

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


photo = load_sample_image("flower.jpg")[:384, :512] / 255.0  # rows, columns, colours
grey = photo.mean(axis=2)
grey -= grey.mean()
print(f"the photograph: {photo.shape}, in grey: {grey.size:,} entries")

# %% [markdown]
# ## One cut: the SVD of a matrix
#
# Every matrix is `U S V`, where S holds the singular values, the largest first. Keep the first r of them, and forget the others.
# No matrix of rank r is nearer. What is lost is known beforehand: it is the square root of the sum of the squares that were left out.

# %%
U, S, V = np.linalg.svd(grey, full_matrices=False)
r = 20
kept = U[:, :r] * S[:r] @ V[:r]
error = np.linalg.norm(kept - grey) / np.linalg.norm(grey)
foretold = np.sqrt(np.sum(S[r:] ** 2) / np.sum(S**2))
print(f"rank {r}: relative error {error:.4f}, foretold {foretold:.4f}")
assert np.isclose(error, foretold)

# %% [markdown]
# As a network, this is two nodes with one bond of size r. `low_rank_svd` returns the network, its arrays and the error.
# For a large matrix and a small rank it draws a random sketch of the matrix first. That is faster, and the error is nearly the same.
# The print says `randomised` then. `gram` and `svd` are exact ways, and `kept` means that nothing was cut.

# %%
found = tk.low_rank_svd(grey, rank=r)
print(found)
assert abs(found.error - error) < 1e-3 * error and found.network.num_params == r * sum(grey.shape)
picture(tk.draw(found.network), "03_low_rank")

# %% [markdown]
# ## The spectrum decides
#
# The singular values of the photograph fall quickly. Those of noise fall slowly. So the photograph can be compressed, and noise cannot.

# %%
noise = rng.standard_normal(grey.shape)
spectrum = {"photograph": S, "noise": np.linalg.svd(noise, compute_uv=False)}
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
for name, values in spectrum.items():
    ax.semilogy(values / values[0], label=name)
ax.set(xlabel="which singular value", ylabel="singular value, largest = 1")
ax.legend()
left = {name: np.sqrt(np.sum(v[r:] ** 2) / np.sum(v**2)) for name, v in spectrum.items()}
print(f"error of rank {r}:", {name: round(float(e), 3) for name, e in left.items()})
assert left["photograph"] < left["noise"] / 2
picture(figure, "03_spectra")

# %% [markdown]
# ## One cut for each bond: the tensor train
#
# A tensor with more axes is cut one bond after another. Each cut is an SVD of what is left. The result is a tensor train (TT).
# The errors of the cuts are at right angles, so their squares add up to the square of the total error.

# %%
tensor = grey.reshape(6, 8, 8, 8, 8, 8)  # 384 = 6 * 8 * 8 and 512 = 8 * 8 * 8
train = tk.tt_svd(tensor, rank=12)
print(train)
net, arrays = train
by_hand = np.linalg.norm(tk.contract(net, arrays) - tensor) / np.linalg.norm(tensor)
assert net == tk.tt(tensor.shape, 12) and np.isclose(train.error, by_hand)
picture(tk.draw(net), "03_train")

# %% [markdown]
# Say how good or how small it must be in one of three ways: a rank, an error that must be kept, or a budget of parameters.
# A budget is the fair way to compare shapes.

# %%
by_error = tk.tt_svd(tensor, tol=0.2)
by_budget = tk.tt_svd(tensor, budget=5_000)
print("tol 0.2:     ", by_error)
print("budget 5,000:", by_budget)
assert by_error.error <= 0.2 and by_budget.network.num_params <= 5_000

# %% [markdown]
# ## How the array is read
#
# The tensor above has three axes for the rows, then three for the columns. But nearby pixels are alike in both directions.
# So put the axes of one scale together: block (6 x 8 of them), place in the block, place in that. The pixels are the same.

# %%
scales = tensor.transpose(0, 3, 1, 4, 2, 5).reshape(48, 64, 64)
readings = {"as a matrix": grey, "rows, then columns": tensor, "scale by scale": scales}
budgets = (1_000, 2_000, 4_000, 8_000)
errors = {}
for name, x in readings.items():
    errors[name] = [tk.tt_svd(x, budget=budget).error for budget in budgets]
    print(f"{name:>20}:", *(f"{e:.3f}" for e in errors[name]), "at", budgets)
assert errors["scale by scale"][0] < errors["as a matrix"][2]

# %%
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
for name, values in errors.items():
    ax.semilogx(budgets, values, "o-", label=name)
ax.set(xlabel="parameters", ylabel="relative error")
ax.set_xticks(budgets, [f"{b:,}" for b in budgets])
ax.minorticks_off()
ax.legend()
picture(figure, "03_readings")

# %% [markdown]
# All three are tensor trains. Read scale by scale, 1,000 parameters have a smaller error than 4,000 for the matrix.
# So how the array is read matters. An error does not tell what an eye sees, so look at the pictures too.

# %%
small = tk.tt_svd(scales, budget=8_000)
pixels = tk.contract(small).reshape(6, 8, 8, 8, 8, 8).transpose(0, 2, 4, 1, 3, 5).reshape(grey.shape)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), constrained_layout=True)
shown = {"the photograph": grey, "scale by scale": pixels, "low rank": tk.contract(tk.tt_svd(grey, budget=8_000))}
for ax, (name, image) in zip(axes, shown.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=grey.min(), vmax=grey.max())
    ax.set(title=name, xticks=[], yticks=[])
assert np.isclose(np.linalg.norm(pixels - grey) / np.linalg.norm(grey), small.error)
picture(figure, "03_pictures")

# %% [markdown]
# ## What a bond carries
#
# Cut a network at a bond: the tensor is a matrix between the two sides. Its singular values are the **spectrum** of the bond.
# `bond_spectrum` finds them from the arrays alone. Their **entropy** says how much the two sides know of each other.
# Take each squared singular value over the sum of all as a probability p. The entropy is the sum of `-p log(p)`. With the natural logarithm its unit is the nat.

# %%
full = tk.tt_svd(tensor)
entropy = tk.bond_entropy(full)
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
for bond, values in tk.bond_spectrum(full).items():
    values = np.sort(values)[::-1]
    ax.semilogy(values / values[0], label=f"{bond}: entropy {entropy[bond]:.2f}")
    p = values**2 / np.sum(values**2)
    assert np.isclose(np.sum(values**2), np.sum(tensor**2))  # each cut has the whole weight
    assert np.isclose(entropy[bond], -np.sum(p * np.log(p)))
ax.set(xlabel="which singular value", ylabel="singular value, largest = 1", ylim=(1e-4, 2))
ax.legend()
print("entropy of each bond:", {bond: round(float(value), 2) for bond, value in entropy.items()})
picture(figure, "03_bonds")

# %% [markdown]
# ### Exercise 1. The rank that an error needs
#
# Find the smallest rank at which the grey photograph has a relative error of at most 0.1. Use its singular values only.
# Then compare with `tk.low_rank_svd(grey, tol=0.1)`.

# %% tags=["solution"]
tail = np.sqrt(np.cumsum((S**2)[::-1])[::-1] / np.sum(S**2))  # tail[r]: the error of rank r
needed = int(np.argmax(tail <= 0.1))
decomposed = tk.low_rank_svd(grey, tol=0.1)
(size,) = {decomposed.network.sizes[i] for i in decomposed.network.sizes if i not in decomposed.network.output}
print(f"rank {needed} has error {tail[needed]:.4f}, rank {needed - 1} has {tail[needed - 1]:.4f}")
assert size == needed and tail[needed] <= 0.1 < tail[needed - 1]

# %% [markdown]
# ### Exercise 2. A tensor train by hand
#
# Write the algorithm with `numpy.linalg.svd`: cut off the first axis, keep 12 singular values, go on with what is left.
# Contract your arrays in the network `tk.tt(tensor.shape, 12)`. Compare the error with that of `tk.tt_svd`.

# %% tags=["solution"]
mine, rest, rank = {}, tensor, 1
for k, size in enumerate(tensor.shape[:-1]):
    u, s, v = np.linalg.svd(rest.reshape(rank * size, -1), full_matrices=False)
    keep = min(12, len(s))
    mine[f"core_{k}"] = u[:, :keep].reshape(rank, size, keep)
    rest, rank = s[:keep, None] * v[:keep], keep
mine[f"core_{tensor.ndim - 1}"] = rest
mine["core_0"] = mine["core_0"][0]  # the first core has no bond to the left
network = tk.tt(tensor.shape, 12)
assert {name: a.shape for name, a in mine.items()} == dict(network.array_shapes)
own_error = np.linalg.norm(tk.contract(network, mine) - tensor) / np.linalg.norm(tensor)
print(f"by hand {own_error:.6f}, tt_svd {train.error:.6f}")
assert abs(own_error - train.error) < 0.01 * own_error  # tt_svd uses a random sketch where that is faster

# %% [markdown]
# ### Exercise 3. Functions are tensors too
#
# Evaluate a function on a grid of 2^12 values of x, and read the values as a tensor with twelve axes of size 2.
# Which bond sizes does `exp` need? Which does `sin`? Why? Hint: `sin(x + y)` is a sum of two products.

# %% tags=["solution"]
points = np.linspace(0, 1, 2**12, endpoint=False).reshape((2,) * 12)


def largest_bond(values):
    found = tk.tt_svd(values, tol=1e-10)
    return max(size for i, size in found.network.sizes.items() if i not in found.network.output)


print("largest bond: exp", largest_bond(np.exp(points)), "- sin", largest_bond(np.sin(9 * points)))
assert largest_bond(np.exp(points)) == 1  # exp(x + y) is a product
assert largest_bond(np.sin(9 * points)) == 2
assert largest_bond(points**3) <= 4  # a polynomial of degree d needs at most d + 1

# %% [markdown]
# Next: tutorial 4 calculates with tensor trains that are too large to be formed.

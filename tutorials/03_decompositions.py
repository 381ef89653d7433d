# %% [markdown]
# # Any array into any network
#
# A decomposition takes an array and the shape of a network and returns `(Network, arrays)`: the same Network that the
# builder of that family returns, so that whatever takes one takes the other. Here one photograph becomes a tensor train
# (TT), a Tucker network, CP, a tree and a ring, at equal counts of numbers. Along the way: tolerances, budgets, canonical
# forms, entropies of bonds, and sums of networks that are far too large to be formed.
#
# Run it as a script, or cell by cell. It needs scikit-learn (the photograph comes with it) and matplotlib.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import tnkit as tk

OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)

photo = load_sample_image("flower.jpg")[:384, :512] / 255.0  # 384 x 512 pixels, 3 colours
mean = photo.mean()
print(f"{photo.size:,} parameters, mean {mean:.3f}")

# %% [markdown]
# ## 1. How a picture reads as a tensor
#
# The picture has three axes: rows, columns, colours. But 384 = 6 x 8 x 8 and 512 = 8 x 8 x 8, so that it may as well be
# read at three scales: which block (6 x 8 of them), where in the block (8 x 8), where in that (8 x 8), which colour. Rows
# and columns of one scale go together: `multi` has the axes (block, middle, fine, colour), and `split` has each of the
# first three as two.
#
# All figures below are relative errors in the Frobenius norm of the picture less its mean: an error of 1 is a grey card.

# %%
flat = photo - mean  # (384, 512, 3)
split = flat.reshape(6, 8, 8, 8, 8, 8, 3).transpose(0, 3, 1, 4, 2, 5, 6)  # (6, 8, 8, 8, 8, 8, 3)
multi = split.reshape(48, 64, 64, 3)


def as_picture(tensor):
    """Any of these readings as pixels."""
    if tensor.shape != flat.shape:
        tensor = tensor.reshape(split.shape).transpose(0, 2, 4, 1, 3, 5, 6)
    return np.clip(tensor.reshape(photo.shape) + mean, 0, 1)


assert np.allclose(as_picture(multi), photo)

# %% [markdown]
# ## 2. One call
#
# `tt_svd` cuts one bond after another, each by its singular values. What comes back is a pair; printed, it says how large
# its error is and which algorithm ran at each bond. The errors of the single cuts are orthogonal, so that the total is
# known without forming anything.

# %%
found = tk.tt_svd(multi, rank=(20, 60, 3))
net, arrays = found
print(found)
assert net == tk.tt(multi.shape, (20, 60, 3))
assert np.isclose(found.error, np.linalg.norm(tk.contract(net, arrays) - multi) / np.linalg.norm(multi))

# %% [markdown]
# The ranks may be given (`rank=`), or follow from an error that must be kept (`tol=`), or from a number of parameters that
# must not be passed (`budget=`). The budget is the fair way to compare families.

# %%
by_error = tk.tt_svd(multi, tol=0.1)
by_budget = tk.tt_svd(multi, budget=10_000)
print("tol 0.1:      ", by_error)
print("budget 10,000:", by_budget)
assert by_error.error <= 0.1 and by_budget.network.num_params <= 10_000

# %% [markdown]
# ## 3. Five families at equal counts
#
# Each family gets every reading of the picture and every budget; the true count is shown, since a rank is a whole number.
# Three use singular values. CP has no such closed form: `cp_als` alternates least squares, from several starts. A ring
# can be cut open (`ring_svd`), and `als`, which takes any multilinear network, goes on from there.


# %%
def ring(x, budget):
    """A ring cut open, then improved by alternating least squares."""
    start = tk.ring_svd(x, budget=budget)
    return tk.als(x, *start, sweeps=20)


FAMILIES = {
    "TT": lambda x, budget: tk.tt_svd(x, budget=budget),
    "Tucker": lambda x, budget: tk.tucker_svd(x, budget=budget),
    "tree": lambda x, budget: tk.tree_svd(x, budget=budget),
    "ring": ring,
    "CP": lambda x, budget: tk.cp_als(x, budget=budget, restarts=2, sweeps=100),
}
BUDGETS = (1_000, 2_500, 6_000)
READINGS = {"pixels": flat, "scales": multi, "split": split}

results = {}
for name, family in FAMILIES.items():
    for reading, x in READINGS.items():
        for budget in BUDGETS:
            try:
                results[name, reading, budget] = family(x, budget)
            except ValueError as refusal:  # ranks of 1 may be too large already
                print(refusal)

# %%
print(f"{'':>7} {'':>7}", *(f"{budget:>16,}" for budget in BUDGETS))
for name in FAMILIES:
    for reading in READINGS:
        cells = [results.get((name, reading, budget)) for budget in BUDGETS]
        shown = [f"{c.error:.3f} ({c.network.num_params:6,})" if c else "-" for c in cells]
        print(f"{name:>7} {reading:>7}", *(f"{text:>16}" for text in shown))

# %% [markdown]
# Two lessons. **How the array is read matters as much as the family**: the same family differs more between its rows
# than most families differ within a column. And no family is best in
# every reading and at every budget; some of the curves cross.

# %%
figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), sharey=True, constrained_layout=True)
for ax, reading in zip(axes, READINGS, strict=True):
    for name, marker in zip(FAMILIES, "osD^v", strict=True):
        points = [results[name, reading, b] for b in BUDGETS if (name, reading, b) in results]
        ax.plot([p.network.num_params for p in points], [p.error for p in points], marker=marker, label=name)
    ax.set(title=f"read as {reading}: {' x '.join(map(str, READINGS[reading].shape))}", xscale="log", xlabel="numbers")
    ax.set_xticks(BUDGETS, [f"{b:,}" for b in BUDGETS])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
axes[0].set_ylabel("relative error")
axes[-1].legend()
figure.savefig(OUT / "30_errors.png", dpi=120)

# %%
budget = 6_000
figure, axes = plt.subplots(2, 3, figsize=(12, 6.6), constrained_layout=True)
axes[0, 0].imshow(photo)
axes[0, 0].set_title(f"the photograph: {photo.size:,} numbers")
for ax, name in zip(axes.flat[1:], FAMILIES, strict=True):
    one = min((results[name, r, budget] for r in READINGS if (name, r, budget) in results), key=lambda d: d.error)
    ax.imshow(as_picture(tk.contract(*one)))
    ax.set_title(f"{name}: {one.network.num_params:,} parameters, error {one.error:.3f}")
for ax in axes.flat:
    ax.axis("off")
figure.savefig(OUT / "31_pictures.png", dpi=120)

# %% [markdown]
# ## 4. What a bond carries
#
# Cut a network at a bond: the tensor is a matrix between the two sides, and its singular values are the bond's spectrum.
# `bond_spectrum` finds them from the arrays alone. How fast they fall says how far the bond can be cut; their entropy says
# how much the two sides know of each other.

# %%
full = tk.tt_svd(multi)
entropies = tk.bond_entropy(*full)
figure, ax = plt.subplots(figsize=(6, 3.8), constrained_layout=True)
for (bond, values), label in zip(
    tk.bond_spectrum(*full).items(), ("block | rest", "scales apart", "colour | rest"), strict=True
):
    ax.semilogy(values / values[0], label=f"{label}: entropy {entropies[bond]:.2f}")
    assert np.isclose((values**2).sum(), (multi**2).sum())  # every cut has the whole weight
ax.set(xlabel="number", ylabel="singular value, largest = 1")
ax.legend()
figure.savefig(OUT / "32_spectra.png", dpi=120)

# %% [markdown]
# ## 5. Networks as vectors
#
# Networks can be added, measured and projected without their tensors being formed: here two chains of 100 sites, that is
# tensors of 10^30 entries. A sum has the bonds of both; `round` makes them small again.

# %%
chain = tk.tt((2,) * 100, 4)
a, b = (tk.init.normal(chain, seed=s) for s in (0, 1))
total, arrays = tk.add(chain, a, chain, b, weights=(1.0, 1e-3))
print(f"the sum: {total!r}, norm {tk.norm(total, arrays):.4g}")
small = tk.round(total, arrays, tol=1e-2)
print(f"rounded: {small!r}")
assert small.network.num_params <= chain.num_params
cosine = tk.inner(chain, a, *small) / (tk.norm(chain, a) * tk.norm(*small))
print(f"cosine to the first: {cosine:.6f}")
assert cosine > 0.999

# %% [markdown]
# ## 6. What this does not show
#
# - The relative error of pixels is not what an eye sees: the pictures above are worth a look beside the curve.
# - A photograph is one array. For weights of neural networks the Euclidean error is not what counts in the end: see
#   [02_deep_vs_shallow.py](02_deep_vs_shallow.py).
# - `als` and `cp_als` find good points, not proven best ones; they run from several starts for that reason.

# %% [markdown]
# # 10. An honest comparison
#
# "Our network is better" is quickly said. This tutorial asks it properly of one layer: equal budgets, several seeds, controls, choices on validation
# images only, and a test of significance. It is `make demo` on a small scale.
#
# Figures are printed, not written into the text. So the text cannot say more than the run shows.

# %%
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import t, ttest_rel

import tnkit as tk
import tnkit_nn as tknn

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)


def picture(drawn, name):
    """Keep a picture as a PNG file. A notebook shows what is returned."""
    figure = drawn.get_figure()
    figure.savefig(OUT / f"{name}.png", dpi=120)
    plt.close(figure)
    return figure


# %% [markdown]
# ## The question
#
# The model is 64 - 64 - 10, for scikit-learn's digits. Its first layer has 4,096 weights. It is to be stored in about 300 parameters.
# Which holds it better: a deep network (an ADTN of depth 2), or a shallow one (a TT-matrix, CP)?
#
# A `Task` is a model and data. It may also have a loss and a metric of your own.

# %%
task = tknn.Task("mlp", "digits")
picture(tk.draw(tk.adtn((64, 64), depth=2)), "10_adtn")

# %% [markdown]
# ## One call
#
# Each family uses a network within 5 % of the budget, where it has one. Every row has the same seeds, the same steps, and the same learning rates to choose from. Where the best rate is the lowest or the highest, the next one is tried too.
# A step of one size moves different networks by different amounts, so no single rate is fair to all.

# %%
found = tknn.compare(task, ["adtn", "mpo", "cp"], [300], (2,), seeds=3, dense_steps=100, fit_steps=30, tune_steps=40)
print(f"{len(found)} records")

# %% [markdown]
# Print it: a table, and the verdict in words. A notebook shows a plot too.

# %%
print(found)

# %%
picture(found.plot("test"), "10_test")

# %% [markdown]
# ## Read it yourself
#
# A record is one row with one seed. Here is a column of it, by seed, and the mean with its spread.


# %%
def column(label, key="test_frozen"):
    """The values of one row in the order of the seeds, in per cent."""
    rows = sorted((r for r in found if r["label"] == label), key=lambda r: r["seed"])
    return 100 * np.array([r[key] for r in rows])


def parameters(label):
    return next(r["num_params"] for r in found if r["label"] == label)


labels = list(dict.fromkeys(r["label"] for r in found))
print(f"{'':>17} {'parameters':>10} {'others frozen':>15} {'fine-tuned':>15}")
for label in labels:
    cells = [
        f"{column(label, key).mean():6.1f} ({np.ptp(column(label, key)):.1f})"
        for key in ("test_frozen", "test_trained")
    ]
    print(f"{label:>17} {parameters(label):10,}", *(f"{cell:>15}" for cell in cells))
assert all(len(column(label)) == 3 for label in labels)

# %% [markdown]
# A record also has its network, as text. So the true shape and count can be looked at.

# %%
networks = [label for label in labels if label.startswith(("adtn", "mpo", "cp"))]
for label in networks:
    record = next(r for r in found if r["label"] == label)
    net = tk.from_json(record["networks"]["fc1"])
    print(f"{label:>13}: {net!r}")
    assert net.num_params == record["num_params"]

# %% [markdown]
# ### First: does the layer matter?
#
# When the other layers are fine-tuned, they can do the work themselves. Rows without parameters show how much.
# Only what is above the best of them was won by a network.

# %%
free = [label for label in labels if parameters(label) == 0]
best_free = max(free, key=lambda label: column(label, "val_trained").mean())
floor = column(best_free, "test_trained").mean()
print(f"best row without parameters, other layers fine-tuned: {best_free}, {floor:.1f} %")
for label in networks:
    print(f"{label:>13}: {column(label, 'test_trained').mean() - floor:+.1f} points above it")
assert len(networks) == 3 and free

# %% [markdown]
# ### Second: does the structure matter?
#
# `hashed` spends the same budget without structure: each weight is one of K shared parameters, placed by a random hash.
# A network that does not beat it has shown only that K parameters are enough.

# %%
for label in networks:
    gain = column(label) - column("hashed")
    print(f"{label:>13} less hashed, other layers frozen, seed by seed:", *(f"{g:+.1f}" for g in gain))
assert parameters("hashed") == 300

# %% [markdown]
# ### Third: is a difference larger than the noise?
#
# Seeds differ in the dense model, the start and the order of the images. Rows share them, so take differences seed by seed.
# Then compute the 95 % interval of the mean difference. With three seeds it is wide.


# %%
def interval(one, other, key="test_frozen"):
    """Mean difference in points, and half the width of its 95 % interval."""
    gaps = column(one, key) - column(other, key)
    return gaps.mean(), t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))


deep = next(label for label in networks if label.startswith("adtn"))
shallow = [label for label in networks if label != deep]
for other in (*shallow, "hashed"):
    mean, half = interval(deep, other)
    says = "no significant difference" if abs(mean) < half else "a difference, before correction for several pairs"
    print(f"{deep} less {other}: {mean:+.1f} points, interval {mean - half:+.1f} to {mean + half:+.1f}: {says}")
    p = ttest_rel(column(deep), column(other)).pvalue
    assert (abs(mean) < half) == (p > 0.05)  # the interval and the test say the same

# %%
figure, ax = plt.subplots(figsize=(6, 3.4), constrained_layout=True)
for k, label in enumerate([*networks, "hashed", "dense"]):
    ax.plot([k] * 3, column(label), "o", color="C0")
    ax.plot([k - 0.2, k + 0.2], [column(label).mean()] * 2, color="C0")
ax.set_xticks(range(5), [*networks, "hashed", "dense"])
ax.set(ylabel="test accuracy, %", title="a dot a seed, a bar the mean; other layers frozen")
picture(figure, "10_seeds")

# %% [markdown]
# ### Fourth: does the error of the approximation predict the accuracy?
#
# The approximation brings the network near the trained weight, before the fine-tuning. Its error is held against the baseline `sqrt(1 - K / N)`.
# Compare the two orders of the families.

# %%
by_error = sorted(networks, key=lambda label: column(label, "error").mean())
by_accuracy = sorted(networks, key=lambda label: -column(label).mean())
for label in by_error:
    baseline = next(r["baseline"] for r in found if r["label"] == label)
    print(f"{label:>13}: error {column(label, 'error').mean() / 100:.3f}, baseline {baseline:.3f}")
    assert np.isclose(baseline, math.sqrt(1 - parameters(label) / 4096), atol=1e-3)
print("best first by error:", by_error, "- by accuracy:", by_accuracy)

# %% [markdown]
# ## What this run does not show
#
# - It is one layer of one small model on small images, with few steps. Other layers may order families otherwise.
# - Counts are near the budget, not at it. Look at the parameters before you read a small difference.
# - Three seeds show large differences only. "No significant difference" does not mean "equal".
# - What was chosen on some seeds must be judged on others.
#
# [Comparison](../docs/compare.md) has the whole protocol, and [findings](../docs/findings.md) what larger runs gave.
#
# ### Exercise 1. How many seeds?
#
# Take the differences between the deep network and the first shallow one. Assume that mean and standard deviation stay as they are.
# How many seeds would make the 95 % interval exclude zero?

# %% tags=["solution"]
gaps = column(deep) - column(shallow[0])
mean, std = abs(gaps.mean()), gaps.std(ddof=1)


def half_width(n):
    return t.ppf(0.975, n - 1) * std / math.sqrt(n)


needed = next((n for n in range(2, 100_000) if half_width(n) < mean), None)
print(f"mean difference {mean:.2f} points, standard deviation {std:.2f}: {needed} seeds")
assert half_width(3) > half_width(30)  # the interval shrinks
assert needed is None or needed == 2 or half_width(needed) < mean <= half_width(needed - 1)

# %% [markdown]
# ### Exercise 2. Luck
#
# A difference has the same sign in three seeds of three. How often does this happen by luck, if both networks are equal?
# And how often does it happen for at least one of three independent pairs? Simulate, and compare with the exact values.
# (Pairs with the same deep network are not independent.)

# %% tags=["solution"]
rng = np.random.default_rng(0)
signs = rng.random((100_000, 3, 3)) < 0.5  # runs, pairs, seeds
same = signs.all(axis=2) | ~signs.any(axis=2)
print(f"one pair: {same[:, 0].mean():.3f}; one of three pairs: {same.any(axis=1).mean():.3f}")
assert abs(same[:, 0].mean() - 1 / 4) < 0.01  # 2 of 8 outcomes
assert abs(same.any(axis=1).mean() - (1 - (3 / 4) ** 3)) < 0.01

# %% [markdown]
# ### Exercise 3. A family of your own
#
# A family is a function of a weight's shape and a budget that returns a network. Write one: a sum of Kronecker products (`tk.kronecker`)
# with the largest rank whose count is at most the budget. Check shape and count, then fit it to noise. Is its error above the baseline?


# %% tags=["solution"]
def sum_of_kronecker(shape, budget):
    """The largest rank within the budget; 64 is 8 x 8 on both sides."""
    nets = [tk.kronecker((8, 8), (8, 8), rank) for rank in range(1, 9)]
    return max((net for net in nets if net.num_params <= budget), key=lambda net: net.num_params)


mine = tknn.Family("kron", "kron", sum_of_kronecker)
net = mine.build((64, 64), 300)
W = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
fitted = tknn.fit(net, W, steps=150)
print(f"{net.num_params} parameters: error {fitted.error:.3f}, baseline {fitted.chance:.3f}")
assert math.prod(net.shape) == 64 * 64 and net.num_params == 256  # two terms of 64 + 64
assert abs(fitted.error - fitted.chance) < 0.05  # noise has no structure to find

# %% [markdown]
# To judge it, write `tknn.compare(task, [mine, "adtn"], [300])`. Now ask the question of a layer of your own.

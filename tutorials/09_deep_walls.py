# %% [markdown]
# # 9. Deep walls, ADTN and the 424
#
# A paper (arXiv 2305.06058) stores the two large linear layers of VGG-16, 18.9 million weights, in 424 parameters, and keeps the accuracy.
# It uses a deep network, the ADTN. This tutorial builds it, counts its parameters, and asks what such a result shows.
# The answer is sobering, and worth knowing.

# %%
import json
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import ttest_rel

import tnkit as tk
import tnkit_nn as tknn

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)
RESULTS = Path(tk.__file__).parents[1] / "benchmarks" / "paper"  # the committed results of this repository


def picture(drawn, name):
    """Keep a picture as a PNG file. A notebook shows what is returned."""
    figure = drawn.get_figure()
    figure.savefig(OUT / f"{name}.png", dpi=120)
    plt.close(figure)
    return figure


# %% [markdown]
# ## A wall of bricks
#
# A weight with 2^Q entries is a tensor with Q axes of size 2. An ADTN makes this tensor as a quantum circuit makes a state.
# Start from Q constant vectors `[1, 0]`. Apply a column of bricks: small tensors on two neighbouring sites, even pairs first, then odd pairs.
# Apply an activation to *every entry*. Then comes the next block, and so on. The last block is linear. Depth is the number of blocks.

# %%
wall = tk.adtn((8, 8), depth=2, activation="relu")
print(wall)
assert wall.shape == (2,) * 6 and not wall.multilinear
picture(tk.draw(wall), "09_adtn")

# %% [markdown]
# The box is the activation. All inside is contracted in full before it. At depth 1 there is none: then the ADTN is a multilinear network, as shallow ones are.

# %%
assert tk.adtn((8, 8), depth=1).multilinear
picture(tk.draw(tk.adtn((8, 8), depth=1)), "09_depth_1")

# %% [markdown]
# ## The count: 424
#
# A brick has 2^4 = 16 parameters. In the first column each brick acts on fixed vectors, so only 4 of the 16 matter, and these are stored.
# With Q sites, a wall of depth 1 has `4 floor(Q / 2) + 16 (Q - 1 - floor(Q / 2))` parameters.

# %%
vgg = [(512, 4096), (4096, 4096)]
counts = [tk.adtn(shape, depth=1).num_params for shape in vgg]
whole = [tk.adtn(shape, depth=1, full=True).num_params for shape in vgg]
print(f"parameters: {counts}, together {sum(counts)}; with whole bricks: {whole}, together {sum(whole)}")
for shape, count in zip(vgg, counts, strict=True):
    sites = int(np.log2(np.prod(shape)))
    assert count == 4 * (sites // 2) + 16 * (sites - 1 - sites // 2)
assert sum(counts) == 424

# %% [markdown]
# So the 424 of the paper is the count at depth 1, by this arithmetic. A small count is no merit by itself.
#
# Not even all of them act. With an odd Q, as here for one layer, the last site has no brick in the first column.
# So the last brick of the second column sees a fixed vector too, and half of it multiplies zeros. A wall of five sites shows it.

# %%
odd = tk.adtn((4, 8), depth=1)
bricks = {n: torch.tensor(a, requires_grad=n.startswith("brick")) for n, a in tk.init.normal(odd, seed=0).items()}
tk.contract(odd, bricks).square().sum().backward()
idle = sum(int((a.grad == 0).sum()) for a in bricks.values() if a.requires_grad)
print(f"{odd.num_params} parameters, {idle} of them without effect")
assert idle == 8

# %% [markdown]
# ## What a deep wall can hold
#
# Draw a random wall, each brick an orthogonal matrix. Store its tensor as a tensor train. With activations the train needs many more parameters.
# So a deep network holds some tensors that a train of as many parameters does not. That is one shape and one error, and the reverse is not asked here.

# %%
for depth, activation in ((1, None), (2, "sin"), (3, "sin")):
    net = tk.adtn((32, 32), depth=depth, activation=activation)
    x = tk.contract(net, tk.init.orthogonal(net, seed=1, std=1.0))
    train = tk.tt_svd(x, tol=0.1)
    print(f"depth {depth}: {net.num_params:4} parameters, a TT with an error of 0.1 needs {train.network.num_params:,}")
assert train.network.num_params > 3 * net.num_params  # the deepest of the three

# %% [markdown]
# ## What training finds
#
# Holding is one thing, finding is another. Fit a wall to the tensor of another wall of the same kind. An exact answer exists.
# From random arrays it is not found. From arrays near the truth it is.

# %%
net = tk.adtn((32, 32), depth=2, activation="sin")
truth = tk.init.orthogonal(net, seed=1, std=1.0)
x = tk.contract(net, truth)
rng = np.random.default_rng(1)
near = {n: a + 0.1 * np.sqrt(np.mean(a**2)) * rng.standard_normal(a.shape) for n, a in truth.items()}
random_ends = [tknn.fit(net, x, seed=seed, steps=250, lr=0.03).error for seed in range(3)]
near_end = tknn.fit(net, x, arrays=near, steps=250, lr=0.01).error
print("errors from random arrays:", *(f"{e:.2f}" for e in random_ends), f"- from near the truth: {near_end:.4f}")
assert near_end < 0.1 < min(random_ends)

# %% [markdown]
# The committed study has more depths and starts. It tells the same.

# %%
walls = json.loads((RESULTS / "expressivity.json").read_text())["walls"]["found"]
figure, ax = plt.subplots(figsize=(5.5, 3.2), constrained_layout=True)
for k, row in enumerate(walls):
    ax.plot([k] * len(row["errors"]), row["errors"], "o", color="C0")
ax.set_xticks(range(len(walls)), [f"depth {r['depth']}\n{r['activation'] or 'linear'}" for r in walls])
ax.set(ylabel="relative error", title="eight random starts each; an exact answer exists")
assert max(walls[0]["errors"]) < 0.01 and all(min(row["errors"]) > 0.3 for row in walls[1:])
picture(figure, "09_starts")

# %% [markdown]
# ## The headline, with controls
#
# Now the two linear layers of VGG-16 on CIFAR-10. The results below are committed files of this repository. Each row has its controls:
# a TT-matrix of about as many parameters, shared parameters without structure (hash), a random layer that is never trained, and **no layers at all**.


# %%
def accuracies(head):
    """Test accuracies of VGG-16 by seed, in per cent."""
    cells = [c for c in found["cells"] if c["model"] == "vgg16" and c["head"] == head]
    return [100 * c["result"]["accuracy"] for c in sorted(cells, key=lambda c: c["seed"])]


found = json.loads((RESULTS / "cifar-whole.json").read_text())
HEADS = {
    "dense": "dense", "ADTN": "adtn 424", "TT-matrix": "mpo 424", "hash": "hashed 424",
    "frozen random": "frozen random", "left out": "left out",
}  # fmt: skip
for name, head in HEADS.items():
    values = accuracies(head)
    print(f"{name:>13}: {statistics.mean(values):.1f} % (seeds: {len(values)})")
gap = statistics.mean(accuracies("adtn 424")) - statistics.mean(accuracies("left out"))
print(f"ADTN less left out: {gap:+.2f} points")

# %%
figure, ax = plt.subplots(figsize=(6, 3.2), constrained_layout=True)
for k, head in enumerate(HEADS.values()):
    values = accuracies(head)
    ax.plot([k] * len(values), values, "o", color="C0")
    ax.plot([k - 0.2, k + 0.2], [statistics.mean(values)] * 2, color="C0")
ax.set_xticks(range(len(HEADS)), HEADS, rotation=20)
ax.set(ylabel="test accuracy, %", title="VGG-16: two linear layers become ...")
picture(figure, "09_vgg")

# %% [markdown]
# Is there a difference between the ADTN and no layers? Both have the same seeds, so the difference is taken seed by seed (a paired test).
# The p-value is the probability of a difference at least as large, if the two were equal. Below one in twenty, a difference is called significant.

# %%
test = ttest_rel(accuracies("adtn 424"), accuracies("left out"))
print(f"ADTN and left out, paired over seeds: p = {test.pvalue:.2f}")
assert test.pvalue > 0.05  # no significant difference

# %% [markdown]
# So the accuracy is kept, as the paper says. But leaving the layers out keeps it as well. The model does not need them.
# A layer that can be left out says nothing about the network in its place.
#
# ## Where the layer matters
#
# The first linear layer of LeNet-5 on MNIST is needed: without it, a model with all other layers frozen only guesses. There deep and shallow networks of about 400
# parameters can be compared. The deep network was chosen on other seeds, its best shallow rival on validation images of these.


# %%
def lenet(label):
    """Test accuracies by seed in per cent, and parameters."""
    rows = sorted((r for r in records if r["label"] == label), key=lambda r: r["seed"])
    return [100 * r["test_frozen"] for r in rows], rows[0]["num_params"]


records = json.loads((RESULTS / "lenet5-fc1-confirm.json").read_text())["records"]
LABELS = {
    "deep: circuit with a sine": "circuit of 3 digits depth 2", "the circuit without its sine": "the circuit without a sine",
    "shallow: ring on its digits": "ring on its digits", "hash": "hashed", "left out": "removed", "dense": "dense",
}  # fmt: skip
for name, label in LABELS.items():
    values, count = lenet(label)
    print(f"{name:>28}: {statistics.mean(values):5.1f} % ({count:,} parameters, {len(values)} seeds)")

# %%
deep, shallow = lenet("circuit of 3 digits depth 2")[0], lenet("ring on its digits")[0]
p = ttest_rel(deep, shallow).pvalue
print(f"deep less shallow: {statistics.mean(deep) - statistics.mean(shallow):+.2f} points")
print(f"deep against hash: p = {ttest_rel(deep, lenet('hashed')[0]).pvalue:.1e}")
print(f"deep against the best shallow rival, without correction for several pairs: p = {p:.3f}")
assert ttest_rel(deep, lenet("hashed")[0]).pvalue < 0.001  # structure counts
assert abs(statistics.mean(lenet("removed")[0]) - 10) < 2  # ten classes: a guess

# %% [markdown]
# This p-value must be corrected, since the deep network is held against several rivals. The committed tables do so (Holm's method), and find
# **no significant difference** between the deep network and the best shallow one.
#
# All this is with the other layers frozen. Fine-tune them together with the network, and this model can do without the layer, too. Another committed study has both.

# %%
study = json.loads((RESULTS / "lenet5-fc1.json").read_text())["records"]
for name, label in {"left out": "removed", "dense": "dense"}.items():
    frozen, tuned = (
        statistics.mean(100 * r[key] for r in study if r["label"] == label) for key in ("test_frozen", "test_trained")
    )
    print(f"{name:>9}: {frozen:.1f} % with the other layers frozen, {tuned:.1f} % with them fine-tuned")
    assert tuned > 95 and (frozen < 20) == (label == "removed")

# %% [markdown]
# What is known, in three sentences:
#
# - A deep wall holds tensors for which a tensor train needs many more parameters, but training seldom finds them from a random start.
# - In 424 parameters, the two linear layers of VGG-16 keep the accuracy, and so does leaving the layers out.
# - In most rows of our main finding, no deep network is shown to be better than the best shallow one at equal counts.
#
# The page [findings](../docs/findings.md) has all tables. [Does depth pay?](../docs/arrays.md) asks the same of arrays.
#
# ### Exercise 1. Count a wall
#
# Derive the number of parameters of a wall of depth D with Q sites, when all blocks after the first have whole bricks.
# Check it against `tk.adtn((32, 32), depth=D)` for D = 1, 2, 3.

# %% tags=["solution"]
Q = 10
for D in (1, 2, 3):
    first = 4 * (Q // 2) + 16 * (Q - 1 - Q // 2)
    later = 16 * (Q - 1)
    count = tk.adtn((32, 32), depth=D).num_params
    print(f"depth {D}: {count} parameters")
    assert count == first + (D - 1) * later

# %% [markdown]
# ### Exercise 2. Correct for several pairs
#
# Hold the deep network of LeNet-5 against these rivals: ring, ring on its digits, TT-matrix on its digits, tree. Compute all paired p-values.
# Then correct them by Holm's method. Sort them, and multiply the k-th smallest of n by n - k + 1. None may be smaller than one before it.

# %% tags=["solution"]
rivals = ["ring", "ring on its digits", "mpo on its digits", "tree"]
raw = {rival: ttest_rel(deep, lenet(rival)[0]).pvalue for rival in rivals}
holm, largest = {}, 0.0
for k, rival in enumerate(sorted(raw, key=raw.get)):
    largest = max(largest, min(1.0, raw[rival] * (len(raw) - k)))
    holm[rival] = largest
    print(f"{rival:>18}: p = {raw[rival]:.4f}, corrected {holm[rival]:.4f}")
assert all(holm[rival] >= raw[rival] for rival in rivals)
assert holm["ring on its digits"] > 0.05 > holm["tree"]
ordered = np.minimum(1, np.sort(list(raw.values())) * [4, 3, 2, 1])  # the same without a loop
assert np.allclose(np.sort(list(holm.values())), np.maximum.accumulate(ordered), rtol=1e-12)

# %% [markdown]
# ### Exercise 3. Which control is missing?
#
# Someone reports: "Our network of 300 parameters in the place of the hidden layer keeps the accuracy on the digits." Train the model
# 64 - 64 - 10 of `tknn.zoo.build("mlp")`. Then train the last layer alone on a *random*, frozen hidden layer. How much is left without any trained hidden parameter?

# %% tags=["solution"]
digits = tknn.data.digits()
recipe = tknn.Recipe(epochs=12, lr=3e-3, batch=64)
torch.manual_seed(0)
trained, control = tknn.zoo.build("mlp"), tknn.zoo.build("mlp")
tknn.train(trained, digits, recipe, seed=0)
before = control.fc1.weight.detach().clone()
for p in control.fc1.parameters():
    p.requires_grad_(False)
tknn.train(control, digits, recipe, seed=0)
scores = tknn.accuracy(trained, digits.test), tknn.accuracy(control, digits.test)
print(f"hidden layer trained {scores[0]:.3f}, random and frozen {scores[1]:.3f}")
assert torch.equal(control.fc1.weight, before) and scores[1] > 0.7  # most of it: this control must be shown

# %% [markdown]
# Next: tutorial 10 makes a comparison with all its controls, from the first line to the verdict.

# %% [markdown]
# # Deep or shallow?
#
# The weight of a layer can be stored as a tensor network with far fewer numbers.  Which network holds it best: a deep
# one (an ADTN), or a shallow one (a TT-matrix, called `mpo` here; low rank)?  This is `make demo` on a small scale, step by step.
#
# The run below is a small one: one budget, three families, three seeds, one small layer, 1,797 images.  It teaches how to
# ask.  Numbers are printed, not written into the text, so that the text cannot say more than the run shows.

# %%
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit.execution.weights import detensorize
from tnkit_nn import data, zoo
from tnkit_nn.approximation import RATES
from tnkit_nn.comparison.compare import compare
from tnkit_nn.families import CONTROLS, families
from tnkit_nn.task import Task

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)


def picture(net, name):
    """Draw to a PNG file; the figure is what a notebook shows."""
    figure = tk.draw(net).figure
    figure.savefig(OUT / f"{name}.png", dpi=120)
    return figure


# %% [markdown]
# ## 1. What an ADTN is
#
# A weight with 2^Q entries is a tensor with Q indices of size 2.  An ADTN (arXiv 2305.06058) makes that tensor like a
# quantum circuit makes a state: start from Q constant vectors [1, 0], apply a block of bricks (a brick is a small
# tensor on two neighbouring sites: first the even pairs, then the odd ones), apply an activation to *every entry* of
# the tensor, apply the next block, and so on.  The last block is linear.  Depth is the number of blocks.

# %%
wall = tk.adtn((8, 8), depth=2, activation="relu")
print(wall)
picture(wall, "10_adtn")
assert wall.shape == (2,) * 6 and not wall.multilinear

# %% [markdown]
# The box in the picture is the activation: all inside is contracted in full before it.  At depth 1 there is none, and
# the ADTN is a plain multilinear network, of the kind that shallow families are.

# %%
shallow = tk.adtn((8, 8), depth=1)
assert shallow.multilinear
picture(shallow, "11_adtn_depth_1")

# %% [markdown]
# ## 2. The count: 424
#
# A brick has 2^4 = 16 numbers.  In the first column each acts on fixed vectors, so only 4 of its 16 numbers matter.
# With Q sites a block of depth 1 has 4 floor(Q/2) + 16 (Q - 1 - floor(Q/2)) numbers that act.  For the two large
# layers of VGG-16 (512 x 4096 and 4096 x 4096) that makes 424 in all, the figure that the paper reports; `full=True`
# counts whole bricks.  (That its 424 is depth 1 follows from this arithmetic; we have not seen it stated.)

# %%
vgg = [(512, 4096), (4096, 4096)]
effective = [tk.adtn(shape, depth=1).num_params for shape in vgg]
whole = [tk.adtn(shape, depth=1, full=True).num_params for shape in vgg]
print(f"effective {effective}, together {sum(effective)}; whole bricks {whole}, together {sum(whole)}")
for shape, count in zip(vgg, effective, strict=True):
    sites = int(np.log2(np.prod(shape)))
    assert count == 4 * (sites // 2) + 16 * (sites - 1 - sites // 2)
assert sum(effective) == 424

# %% [markdown]
# A small count is no merit by itself.  What does the network still do, and what would another one of that size do?
#
# ## 3. A trained layer
#
# scikit-learn's digits, 8 x 8 images of real handwriting, and a network 64 -> 64 -> 10.  Its first layer is the one
# that we compress: 4,096 weights.

# %%
digits = data.load("digits")
torch.manual_seed(0)
model = zoo.build("mlp")
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
x, y = digits.train
for _ in range(300):
    batch = torch.randint(len(x), (128,))
    loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_accuracy(net):
    """Fraction of the test images that are classified correctly."""
    with torch.no_grad():
        return (net(digits.test[0]).argmax(-1) == digits.test[1]).float().mean().item()


W = model.fc1.weight.detach()
dense = test_accuracy(model)
print(f"dense network: test accuracy {dense:.3f}, first layer {W.numel()} weights")
assert dense > 0.8

# %% [markdown]
# ## 4. Equal budgets
#
# "ADTN against TT" means nothing without "at how many numbers".  Each family is brought as near the budget as it can
# get, by its own factorisation and rank, and the *true* count is shown.  Some families are coarse: one more rank of a
# 64 x 64 matrix costs 128 numbers.

# %%
budget = 300
for family in families(["adtn", "mpo", "low_rank"], depths=(1, 3)):
    net = family.build(W.shape, budget)
    print(f"{family.label:>13}: {net.num_params:4d} numbers, {net!r}")
    picture(net, f"12_{family.label.replace(' ', '_')}")

# %% [markdown]
# ## 5. Approximation: fit the weight
#
# How near does the network's tensor T come to W?  The measure is the relative Euclidean error |T - W| / |W|.
#
# It needs a yardstick.  A family of K free numbers that knows nothing about W (a random subspace of dimension K in N)
# already reaches sqrt(1 - K/N).  That is the **chance level**, and it is close to 1 for small K: an error of 0.96 may
# be good and may be nothing.  We check the formula with a random subspace.

# %%
K, N = budget, W.numel()
rng = np.random.default_rng(0)
basis, _ = np.linalg.qr(rng.standard_normal((N, K)))
w = W.numpy().ravel().astype(float)
left_over = np.linalg.norm(w - basis @ (basis.T @ w)) / np.linalg.norm(w)
print(f"random subspace: error {left_over:.4f}; formula: {np.sqrt(1 - K / N):.4f}")
assert abs(left_over - np.sqrt(1 - K / N)) < 0.02

# %% [markdown]
# **Why 1 - cos and not squared error.**  Squared error pulls the scale and the direction at once.  A random T is
# almost at right angles to W, and then the quickest way down is to make T smaller, which leads to the zero tensor: error
# 1, gradients dead.  So only the angle is minimised (a function of the cosine between T and W), and the best scale
# is set afterwards in closed form.  The same network, start, rate and number of steps, both ways:

# %%
deep = tk.adtn((64, 64), depth=3)
start = tk.init.orthogonal(deep, seed=0, std=float(W.square().mean().sqrt()))
steps, rate = 150, 2e-2


def adam(objective):
    """Adam with a cosine schedule from ``start``; returns the tensor as a weight."""
    arrays = {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in start.items()}
    opt = torch.optim.Adam(arrays.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    for _ in range(steps):
        opt.zero_grad()
        objective(detensorize(tk.contract(deep, arrays), W.shape)).backward()
        opt.step()
        schedule.step()
    with torch.no_grad():
        return detensorize(tk.contract(deep, arrays), W.shape)


assert set(start) == set(deep.parameters)  # constant start vectors are absorbed: every array is trained
by_square = adam(lambda T: (T - W).square().mean())
by_angle = adam(lambda T: 1 - (T * W).sum() / (T.norm() * W.norm()))
by_angle = by_angle * (by_angle * W).sum() / by_angle.square().sum()  # the best scale
chance = np.sqrt(1 - deep.num_params / N)
for name, T in {"squared error": by_square, "1 - cos": by_angle}.items():
    error, size = (T - W).norm() / W.norm(), T.norm() / W.norm()
    print(f"{name:>14}: error {error:.4f} (chance {chance:.4f}), |T| / |W| = {size:.2g}")
assert by_angle.sub(W).norm() < by_square.sub(W).norm()

# %% [markdown]
# `tknn.fit` does this for any network (by 1 - cos^2, which does not mind the sign) and reports the error beside chance.
#
# **Why learning rates are swept.**  A step of one size moves the tensors of different families by different amounts,
# so no one rate is fair to all.  Below, each row is a comparison at one rate, with the order it would have reported.
# (A warning from `fit` says where nothing was learned; that is part of the lesson.)

# %%
contenders = {
    family.label: family.build(W.shape, budget) for family in families(["adtn", "mpo", "low_rank"], depths=(3,))
}
print(f"{'rate':>8}", *(f"{label:>14}" for label in contenders))
table = {}
for lr in (1e-3, 6e-3, 6e-2):
    table[lr] = [tknn.fit(net, W, steps=120, lr=lr, seed=0).error for net in contenders.values()]
    order = sorted(contenders, key=dict(zip(contenders, table[lr], strict=True)).get)
    print(f"{lr:8.0e}", *(f"{error:14.4f}" for error in table[lr]), "  best first:", ", ".join(order))
assert min(table[1e-3]) > min(table[6e-2])  # the smallest rate has not arrived

# %% [markdown]
# A small error does not mean a good classifier: W is not used on random inputs but on images.  Hence the fine-tuning.
#
# ## 6. Fine-tuning, and controls
#
# The network takes the weight's place and its numbers are trained on the labels, from the fit or from a random start,
# whichever is better on the *validation* images; test images are read once.  Two columns:
#
# - **rest frozen**: only the layer's numbers are trained.  This is what the layer can do.
# - **rest trained**: the other layers are trained too.  They may do the work by themselves, so one needs controls.

# %%
for name, what in CONTROLS.items():
    print(f"{name:>16}: {what}")

# %% [markdown]
# Now the comparison.  The rates in `RATES` are tried alike for every family and every control that has numbers.

# %%
begin = time.perf_counter()
task = Task("mlp", "digits")  # a model of the zoo, and data that comes with scikit-learn; your own go the same way
options = dict(seeds=3, dense_steps=300, fit_steps=120, tune_steps=120)
records = compare(task, ("adtn", "mpo", "low_rank"), (budget,), (1, 3), **options)
print(f"{len(records)} records in {time.perf_counter() - begin:.0f} s; rates {RATES}")

# %% [markdown]
# A record is a plain dict: one family at one budget with one seed.

# %%
print({key: value for key, value in records[0].items() if key not in ("networks", "versions", "machine")})
assert tk.from_json(records[0]["networks"]["fc1"]).num_params == records[0]["num_params"]

# %% [markdown]
# ## 7. Read it
#
# Mean over the seeds, and the spread (largest less smallest) behind it.


# %%
def column(label, key):
    """The values of one reading, by seed."""
    return np.array([record[key] for record in records if record["label"] == label])


labels = list(dict.fromkeys(record["label"] for record in records))
readings = ("error", "test_fit", "test_frozen", "test_trained")
print(f"{'':>13} {'numbers':>7} {'baseline':>8}", *(f"{key:>17}" for key in readings))
for label in labels:
    cells = [f"{column(label, key).mean():9.3f} ({np.ptp(column(label, key)):.3f})" for key in readings]
    count, baseline = column(label, "num_params")[0], column(label, "baseline")[0]
    print(f"{label:>16} {count:7d} {baseline:8.3f}", *(f"{c:>17}" for c in cells))
assert all(len(column(label, "error")) == options["seeds"] for label in labels)
assert abs(column("hashed", "error").mean() - column("hashed", "baseline")[0]) < 0.02  # as section 5 foretells

# %% [markdown]
# **First question: does the layer matter at all?**  With the rest trained, some accuracy comes from a layer with no
# numbers.  Only what is above the best such control was won by the network.

# %%
free = [label for label in labels if column(label, "num_params")[0] == 0]
best_free = max(free, key=lambda label: column(label, "test_trained").mean())
floor = column(best_free, "test_trained").mean()
print(f"best control with 0 numbers, rest trained: {best_free}, {floor:.3f}")
for label in labels:
    if label not in free:
        print(f"{label:>16}: {column(label, 'test_trained').mean() - floor:+.3f} above it")

# %% [markdown]
# **Second: does structure matter?**  `hashed` spends the same budget with no structure at all: each weight is one of K
# shared numbers, picked by a random hash.  A family that does not beat it has shown that K numbers are enough, and
# nothing about its shape.

# %%
compressed = [label for label in labels if label not in CONTROLS]
for label in compressed:
    gain = column(label, "test_frozen") - column("hashed", "test_frozen")
    print(f"{label:>13} less hashed, rest frozen, seed by seed: {np.array2string(gain, precision=3, sign='+')}")

# %% [markdown]
# **Third: is a difference larger than the noise?**  Seeds differ in the dense network, the start and the order of
# images.  Where the sign of a difference changes from seed to seed, this run does not tell the two apart.  Equal
# signs are a hint and no more: three seeds agree by luck one time in four, and several pairs are looked at here.


# %%
def verdict(one, other, key="test_frozen"):
    """What this run says about two labels."""
    gaps = column(one, key) - column(other, key)
    if (gaps > 0).all() or (gaps < 0).all():
        return (
            f"{one} {'above' if gaps[0] > 0 else 'below'} {other} in all {len(gaps)} seeds, by {abs(gaps).mean():.3f}"
        )
    return f"{one} and {other} are not told apart"


for other in ("adtn depth 1", "mpo", "low_rank", "hashed"):
    counts = column("adtn depth 3", "num_params")[0], column(other, "num_params")[0]
    print(f"rest frozen: {verdict('adtn depth 3', other)} ({counts[0]} and {counts[1]} numbers)")

# %% [markdown]
# **Fourth: does the error of the approximation predict the accuracy of the fine-tuning?**  Order the families by each and compare.

# %%
by_error = sorted(compressed, key=lambda label: column(label, "error").mean())
by_accuracy = sorted(compressed, key=lambda label: -column(label, "test_frozen").mean())
print("by error:   ", by_error)
print("by accuracy:", by_accuracy)
print(
    "the same order"
    if by_error == by_accuracy
    else "not the same order: here the Euclidean error is no stand-in for accuracy"
)

# %% [markdown]
# ## 8. What this run does not show
#
# - One layer of one small network on small images, with few training steps: other layers may order families otherwise.
# - Counts are near the budget, not at it; compare the `numbers` column before reading a small difference.
# - One budget is one point of a curve.  `make demo` runs three budgets, more families and more steps; the curve of
#   accuracy against numbers is what to look at.
# - Storage shrinks, arithmetic does not: the weight is rebuilt before it is used, unless the network is contracted with
#   the input (`tknn.TNLinear`), which a deep network with activations cannot be.

# %% [markdown]
# # Compressing a trained model
#
# Two stages, as in the paper (arXiv 2305.06058): bring a network near each trained weight (the approximation), then train the
# network's few parameters on the task (the fine-tuning). First in one call, then by hand in thirty lines with a training loop of your
# own, then the question that the one call makes cheap: does it matter in which order the layers are taken?
#
# Everything here is small (scikit-learn's digits), so that it runs in a minute; `tnkit compress` does the same for the
# paper's models.

# %%
import copy
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import tnkit_nn as tknn
from tnkit_nn import data, zoo
from tnkit_nn.families import families

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. A trained model
#
# 64 -> 64 -> 64 -> 10: two layers of 4,096 weights each, and 97 % of all numbers.

# %%
split = data.load("digits")
torch.manual_seed(0)
trained = zoo.models.MLP((64, 64, 64, 10))
tknn.train(trained, split, tknn.Recipe(epochs=30, lr=3e-3, batch=64), seed=0)
print(
    f"dense: {sum(p.numel() for p in trained.parameters()):,} parameters, test accuracy {tknn.accuracy(trained, split.test):.3f}"
)

# %% [markdown]
# ## 2. In one call
#
# A recipe is a value: which layers become which network at which budget, in which order, how the approximation and the fine-tuning go, and
# what else is trained. `rest="none"` means: nothing but the networks' parameters.

# %%
recipe = tknn.Compression(
    layers=(tknn.Layers(("fc1", "fc2"), "adtn", budget=300, depth=3, activation="sin"),),
    order="backward",  # the last layer first, each tuned before the next is touched
    stage1=tknn.Stage1(steps=100),
    stage2=tknn.Recipe(epochs=20, lr=3e-2, batch=64, schedule="onecycle"),  # rates rise slowly: see below
    rest="none",
)
model = copy.deepcopy(trained)
result = tknn.compress_(model, recipe, split)
print(result)
assert result.params_after < result.params_before / 5

# %% [markdown]
# Read it from left to right: how many parameters a layer has now; its relative error after the approximation, and beside it what any
# family of as many parameters reaches by chance; the accuracies before, after the approximation, after the fine-tuning. An error close to 1
# and a good accuracy at the end is the usual picture: fine-tuning does not give the old weight back, it finds another one.
#
# The rates rise slowly (`onecycle`) because a network that is trained at full rate from the start may lose what the approximation found,
# or die. Where that happens `compress_` notices, undoes it, goes again at half the rates, and says so.
#
# With `out=` a folder, the compression can be killed at any moment and goes on where it was. A recipe reads and writes TOML
# (`recipe.to_toml()`), which is what `tnkit compress --recipe` takes. Any model, data, loss and metric do: they are a `tknn.Task` in the place
# of the data. And `dense` gives a plain model of the old class:

# %%
plain = tknn.dense(model)
assert type(plain.fc1) is nn.Linear and torch.equal(plain(split.test[0]), model(split.test[0]))

# %% [markdown]
# ## 3. By hand, with your own loop
#
# `compress_` is made of pieces that stand alone: a family that builds a network for a weight's shape and a budget,
# `approximate` (the approximation), `parametrize_` (the network takes the weight's place), `merge_` (back). The rest is torch.

# %%
by_hand = copy.deepcopy(trained)
x, y = split.train
(family,) = families(["adtn"], depths=[3], activation="sin")
numbers = []
for name in ("fc2", "fc1"):  # backward
    layer = by_hand.get_submodule(name)
    net = family.build(layer.weight.shape, 300)
    start = tknn.approximate(net, layer.weight, steps=100)  # the approximation
    tknn.parametrize_(layer, "weight", net, start.arrays)
    numbers += layer.parametrizations.weight.parameters()
    for p in by_hand.parameters():
        p.requires_grad_(False)
    for p in numbers:
        p.requires_grad_(True)
    epochs, batch = 10, 64
    optimizer = torch.optim.AdamW(numbers, lr=3e-2, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-2, epochs * (len(x) // batch))
    for _ in range(epochs):  # the fine-tuning
        for chosen in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            loss = nn.functional.cross_entropy(by_hand(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    print(
        f"{name}: {net.num_params} parameters, error {start.error:.3f}, accuracy now {tknn.accuracy(by_hand, split.test):.3f}"
    )

assert tknn.accuracy(by_hand, split.test) > 0.5

# %% [markdown]
# ## 4. Does the order matter?
#
# The paper goes backward. To ask whether that helps, every order must get the same training: a recipe's epochs are those
# *in all*, shared out over the layers. Three seeds each; the seed changes the starts and the order of the images.

# %%
orders = ("backward", "forward", "together")
accuracy = {
    order: [
        tknn.compress_(copy.deepcopy(trained), replace(recipe, order=order, seed=seed), split).metric_after
        for seed in range(3)
    ]
    for order in orders
}
for order, values in accuracy.items():
    print(f"{order:>9}: {np.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f}")

# %%
dense_accuracy = tknn.accuracy(trained, split.test)
figure, ax = plt.subplots(figsize=(5, 3.4), constrained_layout=True)
for k, order in enumerate(orders):
    ax.plot([k] * 3, accuracy[order], "o", color="C0")
    ax.plot([k - 0.2, k + 0.2], [np.mean(accuracy[order])] * 2, color="C0")
ax.axhline(dense_accuracy, color="grey", linestyle=":", label="dense")
ax.set_xticks(range(3), orders)
ax.set(ylabel="test accuracy", title="one dot a seed, a bar the mean")
ax.legend()
figure.savefig(OUT / "40_orders.png", dpi=120)

# %% [markdown]
# Three dots a column do not make a law: look whether the columns overlap before believing in an order. And an accuracy
# says little without controls: would a random layer, a hash-shared weight, or no layer at all have done as well? That is what
# `tnkit compare` and [02_deep_vs_shallow.py](02_deep_vs_shallow.py) are for.

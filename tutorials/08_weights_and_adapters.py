# %% [markdown]
# # 8. Networks as weights and adapters
#
# A trained model goes in, and the same model comes out with networks as its weights. Its class, its `forward` and its training loop
# stay as they are. Then the other way round: the dense weights stay, and small networks are added to them.

# %%
import copy
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

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
# ## One layer
#
# `parametrize_` replaces a weight of any module by a network. 64 x 64 is 8 x 8 times 8 x 8, so a TT-matrix of two cores fits.
# Before each use, the network builds the weight.

# %%
torch.manual_seed(0)
layer = nn.Linear(64, 64)
before = sum(p.numel() for p in layer.parameters())
network = tk.mpo(out=(8, 8), in_=(8, 8), rank=4)
tknn.parametrize_(layer, "weight", network, seed=0)
after = sum(p.numel() for p in layer.parameters())
print(f"{before:,} parameters before, {after} after: the cores and the bias")
assert after == network.num_params + 64
picture(tk.draw(network), "08_mpo")

# %% [markdown]
# The module is used as before. `merge_` makes the weight a plain dense parameter again, of the same value.

# %%
x = torch.randn(5, 64)
expected = layer(x)
tknn.merge_(layer, "weight")
assert isinstance(layer.weight, nn.Parameter) and torch.equal(layer(x), expected)

# %% [markdown]
# `TNLinear` plans the network together with its input, so it may never build the weight. Its print shows which way it takes for which batch.

# %%
factorised = tknn.TNLinear(64, 64, network=network)
print(factorised)
assert factorised(x).shape == (5, 64)

# %% [markdown]
# ## A trained model
#
# A small network for scikit-learn's digits: two hidden layers. The training loop below knows nothing of networks.

# %%
digits = tknn.data.digits()
images, labels = digits.train


def make():
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 97), nn.ReLU(), nn.Linear(97, 10))


def train(model, x, y, epochs, rate, seed=0):
    """Adam with a falling rate, on whatever asks for a gradient."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    draw = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=draw).split(64):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        schedule.step()
    return losses


torch.manual_seed(0)
trained = make()
train(trained, images, labels, epochs=15, rate=3e-3)
dense_accuracy = tknn.accuracy(trained, digits.test)
print(f"dense: {sum(p.numel() for p in trained.parameters()):,} parameters, test accuracy {dense_accuracy:.3f}")
assert dense_accuracy > 0.9

# %% [markdown]
# ## All its weights in one call
#
# Patterns name the weights, and families say what they become. The first pattern that selects a weight counts.
# `total` is a part of all weights, shared out by size. 97 is a prime, so this weight is padded, and the report says so.

# %%
model = copy.deepcopy(trained)
report = tknn.tensorize_(model, {"0": "mpo", "2": "tt", "4": "cp"}, total=0.12, steps=80)
print(report)
begin = tknn.accuracy(model, digits.test)
assert report.params_after < report.params_before / 3 and any("97" in row.padding for row in report.rows)

# %% [markdown]
# The **approximation** alone loses much: trained weights are no small networks. **Fine-tuning** with the same loop wins most of it back.

# %%
losses = train(model, images, labels, epochs=12, rate=6e-3)
tuned = tknn.accuracy(model, digits.test)
print(
    f"{report.params_after:,} parameters: test accuracy {begin:.3f} after the approximation, {tuned:.3f} after the fine-tuning"
)
assert tuned > begin and tuned > 0.8

# %% [markdown]
# Is the fine-tuned weight the old one again? Measure the distance of the first layer. An error near 1 says no: another weight was found.

# %%
old, new = trained[0].weight.detach(), model[0].weight.detach()
distance = float((new - old).norm() / old.norm())
error = next(row.error for row in report.rows if row.names[0].startswith("0."))
print(
    f"relative distance to the trained weight: {error:.3f} after the approximation, {distance:.3f} after the fine-tuning"
)
assert distance > error

# %% [markdown]
# ## Saved, and loaded in a new process
#
# The folder has the tensors, the networks as JSON and a manifest, and no pickle. To load it, give the function that makes the dense model.

# %%
tknn.save(model, OUT / "digits")
with torch.no_grad():
    torch.save(model(digits.test[0]), OUT / "expected.pt")
SCRIPT = """
import torch
import tnkit_nn as tknn
from torch import nn

def make():
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 97), nn.ReLU(), nn.Linear(97, 10))

torch.set_num_threads(1)
model = tknn.load("digits", make)
with torch.no_grad():
    assert torch.equal(model(tknn.data.digits().test[0]), torch.load("expected.pt"))
print("a new process computes the same, bit by bit")
"""
subprocess.run([sys.executable, "-c", SCRIPT], cwd=OUT, check=True)
print("files:", *sorted(path.name for path in (OUT / "digits").iterdir()))

# %% [markdown]
# ## A recipe: layer after layer
#
# `compress_` does both steps for you: the approximation and the fine-tuning, one layer after another. A recipe is a value, and can be written to a file.

# %%
recipe = tknn.Compression(
    layers=(tknn.Layers(("0", "2"), "mpo", budget=500),),
    order="backward",  # the last layer first
    stage1=tknn.Stage1(steps=80),
    stage2=tknn.Recipe(epochs=8, lr=1e-2, batch=64, schedule="onecycle"),
    rest="none",  # nothing but the networks' parameters is trained
)
compressed = copy.deepcopy(trained)
result = tknn.compress_(compressed, recipe, digits)
print(result)
assert result.params_after < result.params_before / 3 and result.metric_after > 0.8
assert torch.equal(compressed[4].weight, trained[4].weight)  # the last layer stayed

# %% [markdown]
# ## Adapters: added to frozen weights
#
# A new task: the digits turned upside down. With `base=True` each weight stays, frozen, and a network is added that begins at zero.
# So the model computes at first what it did before. A low rank here is known as LoRA.

# %%
adapted = copy.deepcopy(trained)
added = tknn.tensorize_(adapted, {"0": "low_rank", "2": "low_rank"}, total=0.15, base=True)
with torch.no_grad():
    assert torch.equal(adapted(digits.test[0]), trained(digits.test[0]))
turned, turned_test = images.flip(1), (digits.test[0].flip(1), digits.test[1])
networks = tuple(f"{name}." for name, module in adapted.named_modules() if isinstance(module, tknn.TNModule))
for name, p in adapted.named_parameters():
    p.requires_grad_(name.startswith(networks))  # no biases, no last layer
trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
before = tknn.accuracy(adapted, turned_test)
losses_added = train(adapted, turned, labels, epochs=12, rate=6e-3)
after = tknn.accuracy(adapted, turned_test)
print(f"upside down: accuracy {before:.3f}, after training {trainable} parameters {after:.3f}")
assert after > before and after > 0.8 and torch.equal(adapted[4].weight, trained[4].weight)

# %%
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
ax.semilogy(losses, linewidth=1, label="networks as weights")
ax.semilogy(losses_added, linewidth=1, label="networks added, upside down")
ax.set(xlabel="step", ylabel="loss of a batch")
ax.legend()
picture(figure, "08_losses")

# %% [markdown]
# Merge them, and plain dense layers are left: the sum of the old weight and the added one.

# %%
with torch.no_grad():
    outputs = adapted(turned_test[0])
for k in (0, 2):
    tknn.merge_(adapted[k], "weight")
assert list(adapted.state_dict()) == list(trained.state_dict())
with torch.no_grad():
    torch.testing.assert_close(adapted(turned_test[0]), outputs, rtol=1e-4, atol=1e-4)

# %% [markdown]
# A network saves storage, not always arithmetic: most layers build the weight before they use it.
# [Neural networks](../docs/neural-networks.md) says when they do not, and [adapters.py](../examples/adapters.py) compares adapters with their controls.
#
# ### Exercise 1. What the layer computes
#
# Give a linear layer of 12 inputs and 20 outputs the network `tk.mpo((4, 5), (3, 4), 3)`. Contract the network yourself with the layer's arrays,
# and reproduce the output of the layer. Hint: `layer.parametrizations.weight[0]` is the network's module. Its `tensors()` are the arrays.
# `tk.detensorize` reads the contracted tensor as a matrix.

# %% tags=["solution"]
layer = nn.Linear(12, 20)
net = tk.mpo((4, 5), (3, 4), 3)
tknn.parametrize_(layer, "weight", net, seed=1)
tensor = tk.contract(net, layer.parametrizations.weight[0].tensors())  # indices o0 o1 i0 i1
W = tk.detensorize(tensor, (20, 12))
x = torch.randn(7, 12)
assert torch.allclose(W, tensor.reshape(20, 12)) and torch.allclose(layer(x), x @ W.T + layer.bias, atol=1e-6)
print("the weight is the contracted network, read as a matrix:", tuple(W.shape))

# %% [markdown]
# ### Exercise 2. LoRA by hand
#
# Add `U @ V` of rank 2 to a frozen weight, with one factor zero at the start. Do the same with `base=True` and `tk.low_rank`.
# Check that both have the same number of trained parameters, and that both begin at the dense layer.

# %% tags=["solution"]
dense = nn.Linear(16, 10)
lora = copy.deepcopy(dense)
tknn.parametrize_(lora, "weight", tk.low_rank((10, 16), 2), base=True)
U, V = torch.zeros(10, 2, requires_grad=True), torch.randn(2, 16, requires_grad=True)
x = torch.randn(4, 16)
by_hand = x @ (dense.weight.detach() + U @ V).T + dense.bias
trained_parts = [p for name, p in lora.named_parameters() if p.requires_grad and name != "bias"]
print("trained parameters:", sum(p.numel() for p in trained_parts), "and", U.numel() + V.numel())
assert torch.allclose(lora(x), dense(x), atol=1e-6) and torch.allclose(by_hand, dense(x), atol=1e-6)
assert sum(p.numel() for p in trained_parts) == U.numel() + V.numel() == 2 * (10 + 16)

# %% [markdown]
# ### Exercise 3. Export
#
# Export the model with networks as weights by `torch.export.export`, for any number of rows.
# Run the exported program on the test images, and compare.

# %% tags=["solution"]
rows = torch.export.Dim("rows", min=2, max=4096)
program = torch.export.export(model, (digits.test[0][:16],), dynamic_shapes=({0: rows},))
with torch.no_grad():
    exported, direct = program.module()(digits.test[0]), model(digits.test[0])
print(
    f"{len(list(program.graph.nodes))} nodes in the graph, largest difference {float((exported - direct).abs().max()):.1e}"
)
assert torch.allclose(exported, direct, atol=1e-4)
assert np.isclose(float((exported.argmax(-1) == digits.test[1]).float().mean()), tuned, atol=1e-6)

# %% [markdown]
# Next: tutorial 9 looks at deep networks, and at what is known of them.

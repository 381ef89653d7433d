# %% [markdown]
# # 7. A classifier and a Born machine
#
# A chain of tensors reads an image, one pixel at each site. With an open index in the middle it is a **classifier**: one value for each class.
# Without, its squared entries are probabilities of images: a **Born machine**. This tutorial trains both, and draws new images.

# %%
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

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
# ## The images, and features of a pixel
#
# scikit-learn's digits are 8 x 8 images of handwriting. The first 1,200 of a random order are for training, the last for a test.
#
# A pixel x becomes a vector of two features, `(cos, sin)` of `pi x / 2`. An image is then the product of 64 vectors: a tensor with 2^64 entries.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(labels[order])
angle = torch.pi / 2 * images
features = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)  # (images, pixels, 2)
train, test = slice(0, 1200), slice(1200, None)
print("features:", tuple(features.shape))
assert torch.allclose(features.square().sum(-1), torch.ones(()))  # each pixel is a unit vector

# %% [markdown]
# ## The network
#
# Each site has a core and a vector of data (`fixed=True`). The node in the middle has the index of the class.
# The batch is an index on all data nodes and in the output, so it is kept.


# %%
def classifier(sites, rank, classes, batch):
    """A chain of cores, a vector of data at each, the label in the middle."""
    nodes, sizes = [], {"batch": batch, "class": classes, "c": rank}
    for k in range(sites):
        left, right = [f"b{k}"] * (k > 0), [f"b{k + 1}"] * (k < sites - 1)
        if k == sites // 2:
            nodes.append(tk.Node("label", [*left, "class", "c"]))
            left = ["c"]
        nodes.append(tk.Node(f"core_{k}", [*left, f"i{k}", *right]))
        nodes.append(tk.Node(f"x_{k}", ["batch", f"i{k}"], fixed=True))
        sizes |= {f"i{k}": 2, **dict.fromkeys(right, rank)}
    return tk.Network(nodes, ["batch", "class"], sizes)


picture(tk.draw(classifier(6, rank=4, classes=10, batch=50)), "07_classifier")

# %% [markdown]
# ## The start decides
#
# A chain of 64 random matrices is a product of 64 random factors. Its values differ wildly from image to image, and gradients are of no use.
# `near_identity` makes each core nearly the identity between its bonds. It looks at some examples to know what a site reads.

# %%
net = classifier(64, rank=8, classes=10, batch=50)
examples = {f"x_{k}": features[:200, k].numpy() for k in range(64)}
begin = tk.init.near_identity(net, arrays=examples, dtype="float32")
starts = {
    "near the identity": tknn.TNModule(net, begin, dynamic="batch"),
    "drawn": tknn.TNModule(net, dynamic="batch", seed=0),
}
spread = {}
for name, module in starts.items():
    with torch.no_grad():
        values = module(features[:200])
    size = values.abs().amax(1)
    print(f"{name}: largest value of an image, from {float(size.min()):.2g} to {float(size.max()):.2g}")
    spread[name] = float(size.max() / size.min())
assert spread["drawn"] > spread["near the identity"]

# %% [markdown]
# ## Train it
#
# `TNModule` makes a module of the network. Its cores are parameters, its data nodes are inputs. One tensor with a row for each site fills them.
# The loop is the usual one.

# %%
torch.manual_seed(0)
module = starts["near the identity"]
optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
losses = []
for _ in range(6):
    for rows in torch.randperm(1200).split(50):
        loss = torch.nn.functional.cross_entropy(module(features[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))


def accuracy(part):
    """The fraction of images that are classified correctly."""
    with torch.no_grad():
        return float((module(features[part]).argmax(-1) == labels[part]).float().mean())


print(
    f"{net.num_params} parameters: accuracy {accuracy(train):.3f} in training, {accuracy(test):.3f} on the test images"
)
assert accuracy(test) > 0.85

# %% [markdown]
# Is that good? A linear classifier on the pixels is the first control. It has far fewer parameters.

# %%
linear = LogisticRegression(max_iter=2000).fit(images[train].numpy(), labels[train].numpy())
control = linear.score(images[test].numpy(), labels[test].numpy())
print(f"logistic regression, {linear.coef_.size + 10} parameters: {control:.3f} on the test images")
assert control > 0.9

# %%
figure, ax = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
ax.semilogy(losses, linewidth=1)
ax.set(xlabel="step", ylabel="loss of a batch", title="an MPS classifier learns")
picture(figure, "07_losses")

# %% [markdown]
# Read both accuracies before you say that the network is a good classifier. The chain learns. Being a network does not make it better than a simple model.
#
# ## A Born machine
#
# Now without labels. The square of an entry of a tensor, over the square of its norm, is a probability. This is Born's rule.
# A chain gives exact likelihoods and independent samples, both cheaply.
#
# The data: bars and stripes. These are the images of 4 x 4 pixels in which all rows, or all columns, have one colour.

# %%
lines = np.array(list(product((0, 1), repeat=4)))
bars = np.repeat(lines[:, :, None], 4, axis=2)
data = np.unique(np.concatenate([bars, bars.swapaxes(1, 2)]).reshape(-1, 16), axis=0)
print(f"{len(data)} images of {2**16:,} possible ones")
assert len(data) == 30

# %% [markdown]
# Every image is equally likely, so the smallest negative log-likelihood is `log(30)`, the entropy of the data. Train towards it.

# %%
state = tk.mps((2,) * 16, rank=12)
begin = tk.init.near_identity(state, noise=0.1, dtype="float32")
cores = {name: torch.tensor(a, requires_grad=True) for name, a in begin.items()}
optimizer = torch.optim.Adam(cores.values(), lr=2e-2)
steps = 400
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
path = []
for _ in range(steps):
    loss = -tk.log_likelihood(state, cores, data).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    path.append(float(loss.detach()))
held = {name: a.detach().double() for name, a in cores.items()}
print(f"negative log-likelihood {path[0]:.3f} -> {path[-1]:.3f} nats, the entropy of the data is {np.log(30):.3f}")
assert np.log(30) - 1e-3 < path[-1] < 4.0

# %% [markdown]
# Draw from it. `sample` goes along the chain. It draws each pixel from its probability, given the pixels before.

# %%
drawn, logs = tk.sample(state, held, 2000, seed=0)
known = {tuple(image) for image in data.tolist()}
valid = np.array([tuple(image) in known for image in drawn.tolist()])
print(f"{valid.mean():.1%} of the samples are bars or stripes; a fair coin at each pixel gives {30 / 2**16:.2%}")
assert valid.mean() > 0.5 and np.allclose(tk.log_likelihood(state, held, drawn), logs, atol=1e-6)

# %%
figure, axes = plt.subplots(2, 8, figsize=(8, 2.4), constrained_layout=True)
for ax, image, right in zip(axes.flat, drawn, valid, strict=False):
    ax.imshow(image.reshape(4, 4), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title="" if right else "not one")
figure.suptitle("samples of the Born machine")
picture(figure, "07_samples")

# %% [markdown]
# The script [born_machine.py](../examples/born_machine.py) does the same for handwritten digits, and compares with independent pixels.
#
# ### Exercise 1. Count the parameters
#
# Derive a formula for the number of parameters of the classifier with n sites, rank r and c classes. Check it against the network.

# %% tags=["solution"]
for n, r, c in ((64, 8, 10), (16, 5, 3)):
    cores_inside = (n - 2) * 2 * r * r  # all sites but the two ends: two bonds and a pixel
    formula = cores_inside + 2 * (2 * r) + c * r * r  # the ends have one bond; the label has two bonds and a class
    assert classifier(n, r, c, 50).num_params == formula
    print(f"{n} sites, rank {r}, {c} classes: {formula} parameters")

# %% [markdown]
# ### Exercise 2. Complete an image
#
# Select the images of the Born machine whose first row is black (four ones) with `tk.isel`. Draw the other twelve pixels.
# Which bars and stripes begin with a black row? How many of the samples are among them?

# %% tags=["solution"]
top, top_held = tk.isel(state, held, {f"i{k}": 1 for k in range(4)})
below = tk.sample(top, top_held, 500, seed=1).values
completed = np.concatenate([np.ones((500, 4), dtype=below.dtype), below], axis=1)
right = np.array([tuple(image) in known for image in completed.tolist()])
possible = [image for image in data if image[:4].all()]
print(f"{len(possible)} images begin with a black row; {right.mean():.1%} of the samples are among them")
assert len(possible) == 8 and right.mean() > 0.5  # the other three rows are free, each of one colour

# %% [markdown]
# ### Exercise 3. Probabilities by hand
#
# Compute the probability of a black first pixel in two ways: from `tk.marginals`, and from the squared entries of the whole tensor.
# (It has 2^16 entries, so this is allowed once.) Then check that samples agree.

# %% tags=["solution"]
marginal = float(tk.marginals(state, held)["i0"][1])
tensor = tk.contract(state, held).numpy() ** 2
direct = tensor[1].sum() / tensor.sum()
print(f"marginal {marginal:.4f}, from all entries {direct:.4f}, samples {drawn[:, 0].mean():.4f}")
assert np.isclose(marginal, direct) and abs(drawn[:, 0].mean() - marginal) < 0.06

# %% [markdown]
# Next: tutorial 8 puts networks in the place of the weights of a trained model.

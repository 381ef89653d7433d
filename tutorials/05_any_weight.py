# %% [markdown]
# # Any weight of any model
#
# A trained model of torch goes in, and the same model comes out with networks as its weights. Its class, its `forward`, its training loop
# and its tools stay as they are. Here a small Transformer reads digits: it is tensorised in one call, fine-tuned in a plain loop, saved,
# loaded in a new process, exported. Then the other way round: the dense weights stay, and small networks are added to them.
#
# Everything here is small (scikit-learn's digits), so that it runs in a minute.

# %%
import copy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

import tnkit_nn as tknn
from tnkit_nn import data

torch.set_num_threads(1)  # everything here is small
OUT = Path("out/tutorials")
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. A trained model
#
# Each image is eight tokens, its rows. The function that makes the model stands in a file, for the new process below needs it too.

# %%
FILE = OUT / "digit_reader.py"
FILE.write_text("""
from torch import nn


def make():
    layer = nn.TransformerEncoderLayer(64, 4, dim_feedforward=128, dropout=0.0, batch_first=True)
    return nn.Sequential(
        nn.Unflatten(1, (8, 8)), nn.Linear(8, 64), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(),
        nn.Linear(512, 97), nn.ReLU(), nn.Linear(97, 10),
    )
""")
sys.path.insert(0, str(OUT))
from digit_reader import make

split = data.load("digits")
x, y = split.train


def train(model, epochs, rate):
    """A loop as everybody writes it: it knows nothing of networks."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


torch.manual_seed(0)
trained = make()
train(trained, epochs=8, rate=2e-3)
dense_accuracy = tknn.accuracy(trained, split.test)
print(f"dense: {sum(p.numel() for p in trained.parameters()):,} parameters, test accuracy {dense_accuracy:.3f}")
assert dense_accuracy > 0.85

# %% [markdown]
# ## 2. Networks in one call
#
# Patterns name the weights, and families say what they become. The first pattern that selects a weight counts. `total` is shared out in
# proportion to the sizes of the weights; `budget` would be for each. The weight of `4` has 97 rows, a prime: it is padded, and the report
# says so.

# %%
model = copy.deepcopy(trained)
report = tknn.tensorize_(model, {"2.*.in_proj_weight": "tt", "2.*": "mpo", "4": "cp"}, total=0.15, steps=50)
print(report)
assert abs(sum(row.params_after for row in report.rows) - report.total) <= 0.05 * report.total
assert any("97" in row.padding for row in report.rows)
begin = tknn.accuracy(model, split.test)

# %% [markdown]
# An approximation alone loses much: trained weights are no small networks. The same loop as before makes good for it.

# %%
losses = train(model, epochs=6, rate=5e-3)
tuned = tknn.accuracy(model, split.test)
print(f"{report.params_after:,} parameters: test accuracy {begin:.3f}, after the fine-tuning {tuned:.3f}")
assert tuned > begin and tuned > 0.8

# %% [markdown]
# ## 3. Saved, and loaded in a new process
#
# The folder has the tensors, the networks as JSON, and a manifest: no pickle. To load it, give the function that makes the dense model.
# The outputs are the same, bit by bit.

# %%
model.eval()
tknn.save(model, OUT / "reader")
with torch.no_grad():
    torch.save(model(split.test[0]), OUT / "expected.pt")
SCRIPT = """
import torch
import tnkit_nn as tknn
from digit_reader import make
from tnkit_nn import data

torch.set_num_threads(1)
model = tknn.load("reader", make).eval()
with torch.no_grad():
    outputs = model(data.load("digits").test[0])
assert torch.equal(outputs, torch.load("expected.pt"))
print("a new process computes the same")
"""
subprocess.run([sys.executable, "-c", SCRIPT], cwd=OUT, check=True)
print(*sorted(path.name for path in (OUT / "reader").iterdir()))

# %% [markdown]
# ## 4. Exported
#
# To `torch.export` a network is a few products of tensors. An exported program needs neither this package nor the file above.

# %%
rows = torch.export.Dim("rows", min=2, max=4096)
example = split.test[0][:16]
program = torch.export.export(model, (example,), dynamic_shapes=({0: rows},))
with torch.no_grad():
    torch.testing.assert_close(program.module()(split.test[0]), model(split.test[0]), rtol=1e-4, atol=1e-4)
print(f"exported: {len(list(program.graph.nodes))} steps, {sum(p.numel() for p in program.parameters()):,} parameters")

# %%
if all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
    import onnxruntime

    torch.onnx.export(model, (example,), OUT / "reader.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(OUT / "reader.onnx"))
    (outputs,) = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(outputs), model(example), rtol=1e-3, atol=1e-3)
    print("ONNX Runtime computes the same")

# %% [markdown]
# ## 5. Added to the dense weights
#
# With `base=True` each weight stays, frozen, and a network is added to it that begins at zero. The model computes what it did before.
# Then the networks alone are trained on something new: here the digits turned upside down.

# %%
adapted = copy.deepcopy(trained)
added = tknn.tensorize_(adapted, {"2.*": "low_rank", "[14]": "low_rank"}, total=0.08, base=True)
with torch.no_grad():
    assert torch.equal(adapted(split.test[0]), trained(split.test[0]))
networks = {f"{owner}." for owner, module in adapted.named_modules() if isinstance(module, tknn.TNModule)}
for name, p in adapted.named_parameters():
    p.requires_grad_(name.startswith(tuple(networks)))  # no biases, no norms, no classifier
x = x.flip(1)
turned = (split.test[0].flip(1), split.test[1])
before = tknn.accuracy(adapted, turned)
losses_added = train(adapted, epochs=6, rate=5e-3)
after = tknn.accuracy(adapted, turned)
count = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
print(f"upside down: {before:.3f}, after training {count:,} of {added.params_after:,} parameters {after:.3f}")
assert after > before and after > 0.8
assert all(
    torch.equal(p, dict(trained.named_parameters())[n]) for n, p in adapted.named_parameters() if n == "6.weight"
)

# %% [markdown]
# `merge_` makes a weight dense again: the old one and what was added, in one parameter at the old place.

# %%
with torch.no_grad():
    outputs = adapted(turned[0])
for row in added.rows:
    owner, _, leaf = row.names[0].rpartition(".")
    tknn.merge_(adapted.get_submodule(owner), leaf)
assert list(adapted.state_dict()) == list(trained.state_dict())
with torch.no_grad():
    torch.testing.assert_close(adapted(turned[0]), outputs)

# %%
figure, ax = plt.subplots(figsize=(5, 3.4), constrained_layout=True)
for values, label in ((losses, "networks for the weights"), (losses_added, "networks added, upside down")):
    ax.plot(values, label=label, linewidth=1)
ax.set(xlabel="step", ylabel="loss of a batch", yscale="log", title="the same loop, twice")
ax.legend()
figure.savefig(OUT / "50_any_weight.png", dpi=120)

# %% [markdown]
# Where to go from here: `tknn.compress_` chooses the order of the layers and fine-tunes them for you
# ([04_compress.py](04_compress.py)); `tnkit compare` tells whether a deep network is worth more than a shallow one of as many parameters
# ([02_deep_vs_shallow.py](02_deep_vs_shallow.py)).

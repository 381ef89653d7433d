"""What is run on the simulated device: ``python -m tests.nn.devices.cases GROUP KIND`` prints, as JSON, what fails."""

import copy
import json
import os
import sys
import tempfile
import traceback
import warnings

import numpy as np
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.engine import chain, devices

from . import simulated
from .simulated import READS, Simulated, values

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
MATRIX = tk.mpo((4, 4), (4, 4), 2)
CP = tk.cp((4, 5, 6), 3)
DATA = tk.Network(
    [tk.Node("x", "bi", fixed=True), tk.Node("W", "io"), tk.Node("c", "o", fixed=True)], "bo", dict(b=8, i=3, o=2)
)
CONSTANTS = tk.Network(
    [tk.Node("A", "ij"), *(tk.Node(k, inds, fixed=k) for k, inds in (("delta", "jkl"), ("ones", "k"), ("e0", "m")))],
    "ilm",
    dict(i=2, j=3, k=3, l=3, m=2),
)
RECIPE = tknn.Recipe(1, 0.01, batch=20)


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def arrays(net, device="gpu"):
    return {
        name: torch.as_tensor(a, device="cpu").to(device) for name, a in tk.init.normal(net, dtype="float32").items()
    }


def there(x):
    assert type(x) is Simulated, f"{type(x).__name__} on {x.device}"
    return x


def stepped(module, *inputs):
    """Forward and backward on the device: the result and every gradient are there."""
    y = there(module(*(x.to("gpu") for x in inputs)))
    (y.abs().square().sum() if y.is_complex() else y.square().sum()).backward()
    for p in module.parameters():
        if p.requires_grad:
            there(p.grad)
    module.zero_grad()
    return y.detach().cpu()


def moves(module, *inputs):
    """A module that is moved computes what it did."""
    want = module(*inputs).detach()
    torch.testing.assert_close(stepped(module.to("gpu"), *inputs), want, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(module.to("cpu")(*inputs).detach(), want)


def contraction():
    for name, build in tk.BUILDERS.items():
        net = build(**tk.EXAMPLES[name])
        yield f"TNModule {name}", lambda net=net: moves(tknn.TNModule(net))
    for sites in (12, 18):
        net = tk.brick_wall(sites, 2, 2, "relu")
        yield f"a circuit of {sites}", lambda net=net: moves(tknn.TNModule(net))
    yield "constants", lambda: moves(tknn.TNModule(CONSTANTS))
    yield "complex", lambda: moves(tknn.TNModule(CP, dtype=torch.complex64))
    yield "inputs, frozen data", lambda: moves(tknn.TNModule(DATA, {"c": torch.ones(2)}, dynamic="b"), drawn(5, 3))
    yield "likelihoods", _likelihoods
    net, held = tk.tt((2, 2, 2), 2), arrays(tk.tt((2, 2, 2), 2))
    gate = drawn(2, 2, 2, 2).to("gpu")
    yield "apply_gate", lambda: list(map(there, tk.apply_gate(net, held, gate, ("i0", "i1")).arrays.values()))
    yield "round", lambda: list(map(there, tk.round(net, held, rank=1).arrays.values()))
    for name in ("als", "cp_als", "tt_svd", "tucker_svd"):
        yield name, lambda name=name: _decomposed(name)


def _likelihoods():
    net = tk.mps((2,) * 16, 2)
    held = {name: x.requires_grad_() for name, x in arrays(net).items()}
    tk.log_likelihood(net, held, np.zeros((5, 16), int)).sum().backward()
    list(map(there, (x.grad for x in held.values())))


def _decomposed(name):
    x = drawn(4, 4, 4).to("gpu")
    made = tk.als(x, tk.tt((4, 4, 4), 2)) if name == "als" else getattr(tk, name)(x, rank=2)
    list(map(there, made.arrays.values()))


def layers():
    yield "TNLinear", lambda: moves(tknn.TNLinear(16, 16, MATRIX), drawn(5, 16))
    yield "TNLinear, many rows", lambda: moves(tknn.TNLinear(16, 16, MATRIX), drawn(5000, 16))
    yield "TNLinear, cut", lambda: moves(tknn.TNLinear(15, 15, MATRIX), drawn(5, 15))
    tokens = torch.tensor([[0, 15], [3, 2]])
    yield "TNEmbedding", lambda: moves(tknn.TNEmbedding(16, 16, MATRIX, padding_idx=3), tokens)
    for n in (1, 2, 3):
        net, layer, plain = (
            tk.tt((4, 4, *(3,) * n), 2),
            getattr(tknn, f"TNConv{n}d"),
            getattr(nn, f"Conv{n}d")(4, 4, 3),
        )
        x = drawn(2, 4, *(6,) * n)
        yield layer.__name__, lambda layer=layer, n=n, net=net, x=x: moves(layer(4, 4, (3,) * n, net, padding=1), x)
        yield (
            f"{layer.__name__} of arrays there",
            lambda layer=layer, n=n, net=net, x=x: stepped(layer(4, 4, (3,) * n, net, arrays=arrays(net)), x),
        )
        yield (
            f"{layer.__name__}.from_module",
            lambda layer=layer, net=net, x=x, plain=plain: stepped(
                layer.from_module(copy.deepcopy(plain).to("gpu"), net, steps=3), x
            ),
        )
    x = drawn(5, 16)
    yield "TNModule of arrays there", lambda: stepped(tknn.TNModule(CP, arrays(CP)))
    yield "TNModule of arrays here and there", _mixed
    yield (
        "TNModule, frozen data there",
        lambda: stepped(tknn.TNModule(DATA, {"c": torch.ones(2, device="gpu")}), drawn(8, 3)),
    )
    yield "TNLinear of arrays there", lambda: stepped(tknn.TNLinear(16, 16, MATRIX, arrays=arrays(MATRIX)), x)
    yield (
        "TNEmbedding of arrays there",
        lambda: stepped(tknn.TNEmbedding(16, 16, MATRIX, arrays=arrays(MATRIX)), tokens),
    )
    yield "an input that is here", _input_here
    yield "drawn again", _drawn_again
    yield "by the default device", _default_layers


def _mixed():
    held = arrays(CP)
    stepped(tknn.TNModule(CP, {**held, "factor_0": held["factor_0"].cpu().numpy()}))  # numpy's go where the tensors are
    try:
        tknn.TNModule(CP, {**held, "factor_0": held["factor_0"].cpu()})
    except ValueError as error:
        assert "arrays are on one device: 'factor_0' is on cpu, 'factor_2' is on gpu:0" in str(error), error
    else:
        raise AssertionError("no error")


def _input_here():
    try:
        tknn.TNLinear(16, 16, MATRIX).to("gpu")(drawn(5, 16))
    except ValueError as error:
        assert "is on cpu, the network's arrays are on gpu:0" in str(error), error
    else:
        raise AssertionError("no error")


def _drawn_again():
    for module, *inputs in ((tknn.TNLinear(16, 16, MATRIX), drawn(5, 16)), (tknn.TNModule(CP),)):
        module.to("gpu").reset_parameters()
        stepped(module, *inputs)
        other = copy.deepcopy(module).to("cpu")
        other.load_state_dict(module.state_dict())
        module.load_state_dict(other.state_dict())
        stepped(module, *inputs)
    with torch.device("meta"):
        module = tknn.TNLinear(16, 16, MATRIX)
    module.to_empty(device="gpu").reset_parameters()
    stepped(module, drawn(5, 16))


def _default_layers():
    with torch.device("gpu"):
        stepped(tknn.TNModule(CP))
        stepped(tknn.TNModule(CP, {n: a.astype(float) for n, a in tk.init.normal(CP).items()}))
        stepped(tknn.TNLinear(16, 16, MATRIX), drawn_here(5, 16))
        stepped(tknn.TNEmbedding(16, 16, MATRIX, padding_idx=1), torch.tensor([1, 2]))
        tknn.fit(MATRIX, drawn_here(16, 16), steps=3)
        tknn.fit(MATRIX, np.eye(16), steps=3, restarts=2)


def drawn_here(*shape):
    return torch.randn(shape)


def weights():
    x = drawn(5, 16)
    for base in (False, True):
        yield f"parametrize_, base={base}", lambda base=base: _parametrized(base)
    yield "isometric_", _isometric
    for fit in (False, True):
        yield f"tensorize_, save and load, fit={fit}", lambda fit=fit: _tensorized(fit, x)
    yield "tensorize_ by the default device", lambda: in_default(lambda: _tensorized(True, x))
    target = drawn(16, 16).to("gpu")
    yield "fit", lambda: tknn.fit(MATRIX, target, steps=3)
    yield "fit, several starts", lambda: tknn.fit(MATRIX, target, arrays=arrays(MATRIX), steps=3, restarts=2)
    yield "fit, complex", lambda: tknn.fit(MATRIX, target + 1j * target, steps=3)


def in_default(function):
    with torch.device("gpu"):
        function()


def _parametrized(base):
    for layer, net, x in (
        (nn.Linear(16, 16), MATRIX, drawn(5, 16)),
        (nn.Linear(16, 16), MATRIX, drawn(2000, 16)),
        (nn.Embedding(16, 16, padding_idx=2), MATRIX, torch.tensor([1, 2])),
        (nn.Conv2d(4, 4, 3), tk.tt((4, 4, 3, 3), 2), drawn(2, 4, 6, 6)),
    ):
        later = copy.deepcopy(layer)
        tknn.parametrize_(layer.to("gpu"), "weight", net, base=base)
        stepped(layer, x)
        tknn.merge_(layer, "weight")
        there(layer.weight)
        tknn.parametrize_(later, "weight", net, base=base)
        moves(later, x)


def _isometric():
    net = tk.mera((2,) * 4, 2)
    module = tknn.TNModule(net, tk.init.orthogonal(net, toward=tk.directions(net)))
    stepped(tknn.isometric_(module.to("gpu")))


def _tensorized(fit, x):
    def make():
        return nn.Sequential(nn.Linear(16, 16, device="cpu"), nn.ReLU(), nn.Linear(16, 2, device="cpu"))

    model = make().to("gpu")
    tknn.tensorize_(model, {"0": "tt"}, budget=100, fit=fit, **({"steps": 3} if fit else {}))
    want = stepped(model, x)
    there(tknn.dense(model)[0].weight)
    folder = os.path.join(tempfile.mkdtemp(), "saved")
    tknn.save(model, folder)
    torch.testing.assert_close(stepped(tknn.load(folder, lambda: make().to("gpu")), x), want)
    torch.testing.assert_close(tknn.load(folder, make)(x).detach(), want)


def mlp(device="gpu"):
    torch.manual_seed(0)
    sizes = [nn.Linear(4, 8, device="cpu"), nn.ReLU(), nn.Linear(8, 8, device="cpu"), nn.Linear(8, 2, device="cpu")]
    return nn.Sequential(*sizes).to(device)


def task(device, **options):
    part = (X.to(device), Y.to(device))
    return tknn.Task(
        lambda seed: mlp(), {"train": part, "val": part, "test": part}, _loss, name="x", examples="rows", **options
    )


def _loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def split(device, x=X, y=Y):
    part = (x.to(device), y.to(device))
    return tknn.data.Split("x", part, part, part)


def training():
    images, labels = drawn(20, 3, 8, 8), torch.arange(20) % 2
    augmented = tknn.Recipe(1, 0.01, batch=10, augment="crop_flip")
    for device in ("cpu", "gpu"):
        yield f"train, data on {device}", lambda d=device: tknn.train(mlp(), task(d), RECIPE)
        yield f"train a split on {device}", lambda d=device: tknn.train(mlp(), split(d), RECIPE)
        yield f"train on some of {device}", lambda d=device: tknn.train(mlp(), task(d, limit=30), RECIPE)
        yield f"accuracy, data on {device}", lambda d=device: tknn.accuracy(mlp(), (X.to(d), Y.to(d)))
        yield (
            f"augmented on {device}",
            lambda d=device: tknn.train(
                nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).to("gpu"), split(d, images, labels), augmented
            ),
        )
        yield f"stratified, {device}", lambda d=device: tknn.data.stratified(Y.to(d))
        yield f"split_off, {device}", lambda d=device: tknn.data.split_off(Y.to(d))
        yield f"compress_, data on {device}", lambda d=device: _compressed(d)
    yield "by the default device", _default_training
    yield "a network that trains", _trained_network


def _compressed(device):
    model = mlp()
    recipe = tknn.Compression((tknn.Layers("2", "tt", 40),), stage1=tknn.Stage1(steps=3), stage2=RECIPE)
    tknn.compress_(model, recipe, task(device))
    there(model[2].weight)


def _trained_network():
    model = mlp()
    tknn.tensorize_(model, {"2": "tt"}, budget=40, fit=False)
    READS.clear()
    tknn.train(model, split("cpu"), tknn.Recipe(1, 0.01, batch=2))
    assert len(READS) < 25, READS  # of twenty steps, most wait for nothing


def _default_training():
    data = tknn.data.digits()
    with torch.device("gpu"):
        assert torch.equal(tknn.data.digits().train[0], data.train[0])
        tknn.train(mlp(), split("cpu"), RECIPE)
        tknn.accuracy(mlp(), (X, Y))
        tknn.compress_(
            mlp(),
            tknn.Compression((tknn.Layers("2", "tt", 40),), stage1=tknn.Stage1(steps=3), stage2=RECIPE),
            task("cpu"),
        )


def comparing():
    weight = drawn(16, 16)
    for net in (MATRIX, tk.adtn((16, 16), depth=2, activation="relu"), tk.cp((16, 16), 3)):
        yield "approximate", lambda net=net: tknn.approximate(net, weight.to("gpu"), steps=3)
        yield (
            "approximate by the default device",
            lambda net=net: in_default(lambda: tknn.approximate(net, weight, steps=3)),
        )
    yield "approximate by gradients", lambda: tknn.approximate(MATRIX, weight.to("gpu"), method="gradient", steps=3)
    for device, rest in (("cpu", "all"), ("gpu", "none")):
        yield f"compare, data on {device}, {rest}", lambda d=device, rest=rest: _compared(d, rest)
    yield "compare by the default device", lambda: in_default(lambda: _compared("gpu", "head"))


def _compared(device, rest):
    steps = dict(dense_steps=2, fit_steps=2, tune_steps=2, seeds=2)
    found = tknn.compare(task(device), ["tt", "adtn"], [40], layer="2", rest=rest, **steps)
    assert {"hashed", "subspace", "picked", "pooled", "frozen_random", "removed"} <= {r["label"] for r in found}


GROUPS = {f.__name__: f for f in (contraction, layers, weights, training, comparing)}


def main(group, kind):
    kept = simulated.begin()
    overlap = chain._overlaps  # the device's tensors have no addresses
    chain._overlaps = lambda x, row: overlap(values(x), values(row))
    if kind == "without doubles":
        simulated.forbid_doubles()
        devices._WITHOUT.add("gpu")
    warnings.simplefilter("ignore")
    failed, count = {}, 0
    os.chdir(tempfile.mkdtemp())
    for name, run in GROUPS[group]():
        count += 1
        try:
            run()
        except Exception:
            failed[name] = traceback.format_exc()[-1500:]
    print(json.dumps({"count": count, "failed": failed}))
    del kept


if __name__ == "__main__":
    main(*sys.argv[1:])

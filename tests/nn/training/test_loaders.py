"""Data of every kind against torch's own loop written out; what is drawn follows from the seed, interrupted or not."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)  # fmt: skip

from tnkit_nn import Recipe, Task, accuracy, train
from tnkit_nn.storage import digest
from tnkit_nn.training.loop import _TrainingLoop

RECIPE = Recipe(2, 1e-2, method="adamw", schedule="constant", batch=8)
X = torch.randn(44, 5, generator=torch.Generator().manual_seed(1))
Y = X[:, :3].argmax(1)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 3))


def same(a, b):
    return all(torch.equal(v, b.state_dict()[n]) for n, v in a.state_dict().items())


def plain(batches, seed=0, epochs=2, loss=None):
    """Torch's own loop: ``batches()`` anew for each epoch, after all generators were seeded with the seed of the epoch."""
    loss = loss or (lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    model = net().train()
    weights, vectors = [[p for p in model.parameters() if (p.dim() > 1) == some] for some in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": vectors}], lr=1e-2, betas=(0.9, 0.99), weight_decay=0
    )
    means = []
    for epoch in range(1, epochs + 1):
        own = 1_000_003 * seed + epoch
        torch.manual_seed(own), np.random.seed(own), random.seed(own)  # noqa: NPY002
        losses = []
        for batch in batches(own):
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            losses.append(value.item())
        means.append(sum(losses) / len(losses))
    return model, means


class Rows(Dataset):
    def __len__(self):
        return 44

    def __getitem__(self, k):
        return X[k], Y[k]


class Noisy(Rows):
    """Augmented by torch, by numpy, by Python and by a generator of its own."""

    def __init__(self):
        self.draw = np.random.default_rng(0)

    def __getitem__(self, k):
        noise = torch.randn(5) + np.random.randn() + random.random() + self.draw.normal()  # noqa: NPY002
        return X[k] + 0.1 * noise.float(), Y[k]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


class Told(Stream):
    def __len__(self):
        return 44


def generator():
    return torch.Generator().manual_seed(5)


def seeded(make):
    """Batches of a loader whose generators are seeded with the epoch's seed."""

    def batches(own):
        loader = make()
        for g in (loader.generator, getattr(loader.sampler, "generator", None)):
            if g is not None:
                g.manual_seed(own)
        return loader

    return make, batches


LOADERS = {
    "in order": seeded(lambda: DataLoader(TensorDataset(X, Y), 8)),
    "shuffled": seeded(lambda: DataLoader(TensorDataset(X, Y), 8, shuffle=True)),
    "a generator": seeded(lambda: DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=generator())),
    "drop_last": seeded(lambda: DataLoader(Rows(), 8, shuffle=True, drop_last=True)),
    "a subset": seeded(lambda: DataLoader(Subset(Rows(), range(20)), 8, shuffle=True)),
    "a sampler": seeded(lambda: DataLoader(Rows(), 8, sampler=RandomSampler(Rows(), generator=generator()))),
    "weighted": seeded(lambda: DataLoader(Rows(), 8, sampler=WeightedRandomSampler(torch.ones(44), 30, generator=generator()))),
    "a part of it": seeded(lambda: DataLoader(Rows(), 8, sampler=SubsetRandomSampler(range(10, 40), generator=generator()))),
    "one batch": seeded(lambda: DataLoader(Rows(), 44)),
    "a stream": seeded(lambda: DataLoader(Stream(), 8)),
    "a stream with a length": seeded(lambda: DataLoader(Told(), 8)),
    "a list of batches": (lambda: list(zip(X.split(8), Y.split(8), strict=True)), lambda own: list(zip(X.split(8), Y.split(8), strict=True))),
    "a Dataset": (Rows, lambda own: DataLoader(Rows(), 8, shuffle=True)),
    "a stream alone": (Stream, lambda own: DataLoader(Stream(), 8)),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOADERS)
def test_the_loop_is_torchs_own(kind):
    make, batches = LOADERS[kind]
    model = net()
    history = train(model, {"train": make()}, RECIPE)
    other, means = plain(batches)
    assert same(model, other) and [e.loss for e in history] == pytest.approx(means)
    assert all(e.val_loss is None and e.val_metric is None and e.val_spread is None for e in history)


@pytest.mark.slow
def test_workers():
    def make():
        return DataLoader(Noisy(), 8, shuffle=True, num_workers=2)

    model, again = net(), net()
    first, second = train(model, {"train": make()}, RECIPE), train(again, {"train": make()}, RECIPE)
    assert same(model, again) and first == second
    kept = DataLoader(Noisy(), 8, shuffle=True, num_workers=2, persistent_workers=True)
    third = net()
    assert train(third, {"train": kept}, RECIPE) == first and same(third, model)


class Spent:
    """What is gone through once: the iterator is the same each time."""

    def __init__(self):
        self.batches = iter(list(zip(X.split(8), Y.split(8), strict=True)))

    def __iter__(self):
        return self.batches


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield X[0], Y[0]


class EndlessTold(Endless):
    def __len__(self):
        return 16


class Holey(Rows):
    __len__ = None


class Failing(Rows):
    def __getitem__(self, k):
        raise KeyError("no such picture")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Spent(), "'train' of 'data' is gone through again and again, but gives no batch in epoch 1; its __iter__ has to begin anew"),
        (DataLoader(Endless()), "a stream without a length ends within 1,000 batches; with a __len__ an endless one is data too"),
        ([], "data: train has one batch or more, not none"),
        (TensorDataset(X[:0], Y[:0]), "data: train has at least one example, but its TensorDataset has none"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "data: train has at least one example, but its DataLoader has none"),
        (DataLoader(TensorDataset(X[:3], Y[:3]), 8, drop_last=True), "data: train has at least one example, but its DataLoader has none"),
        (Holey(), "data: train: a Dataset has a length, and Holey has none; a stream is an IterableDataset"),
        (Failing(), "train: the part 'train' of 'data' cannot be read: 'no such picture'"),
        ((b for b in X), r"is gone through again and again, but a generator ends after one pass; list\(...\) keeps its batches"),
        ([X, Y], "a list is of batches, .*; its entry 0 is a bare tensor"),
        ((X, Y.numpy()), r"batches, but train\[1\] is a ndarray .*, not a tensor; torch.as_tensor"),
        ((X, Y[:7]), r"all tensors have the same number of examples, at least one, not .*\[0\] 44, .*\[1\] 7"),
        ([(X, Y), 3], "entry 1 of the list has no tensor: 3"),
        ({"x": X, "y": Y}, "data is a Split, "),
        ({"train": (X, Y), "valid": (X, Y)}, "data: a part is one of train, val, test, not 'valid'"),
        ({"val": (X, Y)}, "data has a part 'train', but only val"),
        ({"train": (X, Y), "val": None}, "data: val is a DataLoader, .*, not None"),
        *(({"train": given}, "data: train is a DataLoader, .*, not ") for given in ("text", b"text", {1, 2}, range(3), X.numpy(), nn.Linear(2, 2), list)),
    ],
)  # fmt: skip
def test_data_that_cannot_be(monkeypatch, data, said):
    monkeypatch.setattr("tnkit_nn.data.parts.LONGEST", 1000)
    with pytest.raises((TypeError, ValueError), match=said) as told:
        train(net(), data, RECIPE)
    assert "\n" not in str(told.value)


def test_an_endless_stream_with_a_length():
    model = net()
    data = {part: DataLoader(EndlessTold(), 4) for part in ("train", "val")}
    history = train(model, data, RECIPE)
    assert len(history) == 2 and history[-1].val_metric in (0.0, 1.0)


def restarted(monkeypatch, tmp_path, make, stop):
    """A run that is interrupted before a step and called again; the values that it ends with, and its history."""
    plain_step, count = _TrainingLoop._step, [0]

    def step(self, batch, draw):
        count[0] += 1
        if count[0] == stop:
            raise KeyboardInterrupt
        return plain_step(self, batch, draw)

    path, recipe = tmp_path / "c", Recipe(3, 1e-2, batch=8)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_TrainingLoop, "_step", step)
        train(net(), make(), recipe, checkpoint=path, seed=2)
    torch.manual_seed(77), np.random.seed(78), random.seed(79)  # noqa: NPY002  another process
    model = net(4)
    return model, train(model, make(), recipe, checkpoint=path, seed=2)


@pytest.mark.parametrize("stop", [3, 8, 14])  # six steps an epoch
def test_a_restart_with_loaders_ends_bit_by_bit_the_same(monkeypatch, tmp_path, stop):
    """Random augmentation of every kind, in validation too, which is shuffled by a generator."""

    def make():
        return {
            "train": DataLoader(Noisy(), 8, shuffle=True, generator=generator()),
            "val": DataLoader(Noisy(), 5, shuffle=True, generator=generator()),
        }

    whole = net()
    history = train(whole, make(), Recipe(3, 1e-2, batch=8), seed=2)
    again, its = restarted(monkeypatch, tmp_path, make, stop)
    assert its == history and same(again, whole)


def test_the_callers_generators_are_left_alone():
    data = Noisy()
    loader = DataLoader(data, 8, shuffle=True, generator=generator())

    def drawn():
        return (
            torch.random.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(),  # noqa: NPY002
            loader.generator.get_state().tolist(), data.draw.bit_generator.state,
        )  # fmt: skip

    model, before = net(), drawn()
    task = Task(data={"train": loader, "val": loader})
    task.settings()
    train(model, task, RECIPE)
    assert drawn() == before


@pytest.mark.parametrize("kind", ["dict", "mapping", "deep", "record"])
def test_batches_of_every_kind(kind):
    """A dict, what is like one and has ``to``, nested ones, named tuples: the loss gets what the loader gives."""
    from collections import UserDict, namedtuple

    class Encoding(UserDict):
        moves = 0

        def to(self, device):
            Encoding.moves += 1
            return Encoding({k: v.to(device) for k, v in self.items()})

    Pair = namedtuple("Pair", "x y")
    wrap = {
        "dict": lambda x, y: {"x": x, "y": y, "note": "a text"},
        "mapping": lambda x, y: Encoding(x=x, y=y),
        "deep": lambda x, y: [{"x": x, "y": (y, None)}],
        "record": lambda x, y: Pair(x, y),
    }[kind]
    pick = {
        "dict": lambda b: (b["x"], b["y"]),
        "mapping": lambda b: (b["x"], b["y"]),
        "deep": lambda b: (b[0]["x"], b[0]["y"][0]),
        "record": lambda b: (b.x, b.y),
    }[kind]

    def loss(model, batch):
        x, y = pick(batch)
        return F.cross_entropy(model(x), y)

    batches = [wrap(x, y) for x, y in zip(X.split(8), Y.split(8), strict=True)]
    model = net()
    history = train(model, Task(data={"train": batches, "val": batches}, loss=loss), RECIPE)
    other, means = plain(lambda own: batches, loss=loss)
    assert same(model, other) and [e.loss for e in history] == pytest.approx(means)
    assert kind != "mapping" or Encoding.moves > 0
    whole = F.cross_entropy(other.eval()(X), Y).item()
    assert history[-1].val_loss == history[-1].val_metric == pytest.approx(whole)


def test_tensors_in_a_dict():
    """As a part, each tensor has one entry an example."""

    def loss(model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"])

    def batches(own):
        order = torch.randperm(44, generator=torch.Generator().manual_seed(own))
        return [{"x": X[k], "y": Y[k]} for k in order[:40].split(8)]

    model = net()
    train(model, Task(data={"train": {"x": X, "y": Y}}, loss=loss), RECIPE)
    assert same(model, plain(batches, loss=loss)[0])


def test_accuracy_of_what_gives_pairs():
    model = net()
    right = (model.eval()(X).argmax(1) == Y).double().mean().item()
    loaders = [(X, Y), [X, Y], DataLoader(Rows(), 7), Rows(), list(zip(X.split(8), Y.split(8), strict=True))]
    assert [accuracy(model, part) for part in loaders] == pytest.approx([right] * 5)


def test_the_values_of_a_trained_model_do_not_depend_on_what_was_drawn_before():
    digests = set()
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)  # noqa: NPY002
        state = torch.get_rng_state()
        model = net()
        torch.set_rng_state(state)
        train(model, DataLoader(Noisy(), 8, shuffle=True), RECIPE)
        digests.add(digest(model.state_dict()))
    assert len(digests) == 1

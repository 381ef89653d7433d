"""Checkpoints of trainings: damaged ones are refused by name, and nothing is changed by them."""

import copy
import json

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from tnkit_nn.data.splits import Split
from tnkit_nn.training.loop import train
from tnkit_nn.training.recipe import Recipe

RECIPE = Recipe(epochs=2, lr=1e-2, batch=20)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def split():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=draw)
    part = (x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())
    return Split("small", part, part, part)


@pytest.fixture
def parts(tmp_path):
    """A checkpoint's file, its tensors, its text as plain data."""
    path = tmp_path / "c"
    train(model(), split(), RECIPE, checkpoint=path)
    with safe_open(path, "pt") as file:
        tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
        return path, tensors, json.loads(file.metadata()["tnkit.train"])


def refused(path, words):
    given = model()
    before = copy.deepcopy(given.state_dict())
    with pytest.raises(ValueError) as error:
        train(given, split(), RECIPE, checkpoint=path)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and words in said and "\n" not in said
    assert all(torch.equal(v, before[n]) for n, v in given.state_dict().items())


EPOCH = {
    "epoch": 1,
    "loss": 1.0,
    "val_loss": 1.0,
    "val_metric": 0.5,
    "val_spread": None,
    "rate_factor": 1.0,
    "seconds": 1.0,
}

SO_FAR = {
    "no history": ({"history": None, "factor": 1.0}, "it does not say how far the training is"),
    "a list": ([], "it does not say how far the training is"),
    "no factor": ({"history": []}, "its factor is None, not a positive number"),
    "a text": ({"history": [], "factor": "x"}, "its factor is 'x', not a positive number"),
    "numbers": ({"history": [1], "factor": 1.0}, "what it has of epoch 1 is 1"),
    "other names": ({"history": [{"hcope": 1}], "factor": 1.0}, "what it has of epoch 1 is {'hcope': 1}"),
    "the second first": ({"history": [{**EPOCH, "epoch": 2}], "factor": 1.0}, "what it has of epoch 1 is"),
    "no number": ({"history": [{**EPOCH, "loss": None}], "factor": 1.0}, "what it has of epoch 1 is not all numbers"),
    "too many": (
        {"history": [EPOCH] * 3, "factor": 1.0},
        "3 epochs are done, and the recipe has 2; ask for as many or more",
    ),
}


@pytest.mark.parametrize("case", SO_FAR)
def test_how_far_it_is(parts, case):
    path, tensors, text = parts
    so_far, words = SO_FAR[case]
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.train": json.dumps({**text, "so_far": so_far})}))
    refused(path, words)


@pytest.mark.parametrize(
    "text, words",
    [("null", "not a checkpoint"), ("[]", "not a checkpoint"), ("[" * 100_000, "nested too deep"), ("{", "no JSON; delete it to train")],
)  # fmt: skip
def test_texts_that_are_none(parts, text, words):
    path, tensors, _ = parts
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.train": text}))
    refused(path, words)


TENSORS = {
    "optimizer.99.exp_avg": (torch.zeros(3), "what it has of the optimiser is not of these parameters"),
    "optimizer.a.b.c": (torch.zeros(3), "what it has of the optimiser is not of these parameters"),
    "optimizer.0.exp_avg": (torch.zeros(7), "optimizer.0.exp_avg is (7,), not (5, 6)"),
    "model.0.weight": (torch.full((5, 6), float("nan")), "0.weight has entries that are not a number"),
    "model.0.bias": (torch.zeros(5, dtype=torch.complex64), "0.bias is torch.complex64, not torch.float32"),
    "best.x": (torch.zeros(3), "belongs to another model"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_not_the_trainings(parts, name):
    path, tensors, text = parts
    value, words = TENSORS[name]
    path.write_bytes(safetensors.torch.save({**tensors, name: value}, {"tnkit.train": json.dumps(text)}))
    refused(path, words)


def test_a_bit_and_half_a_file(parts):
    path, tensors, text = parts
    whole = path.read_bytes()
    for content in (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], whole[: len(whole) // 2], b"", b"null"):
        path.write_bytes(content)
        refused(path, "; delete it to train from the start")
    path.write_bytes(safetensors.torch.save(tensors, {"tnkit.train": json.dumps(text)}))  # an older version: no digest
    again, fresh = model(), model()
    assert train(again, split(), RECIPE, checkpoint=path) == train(fresh, split(), RECIPE)
    assert all(torch.equal(v, fresh.state_dict()[n]) for n, v in again.state_dict().items())

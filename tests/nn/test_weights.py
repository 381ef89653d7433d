"""Weights of a model by name and pattern, and in the order of the forward pass."""

import pytest
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.weights import forward_order, in_order, owner_and_leaf, selected, spoken, weights_of


class Model(nn.Module):
    """Registered in another order than it is called, with a shared weight and layers of every kind."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 7, bias=False)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.embed = nn.Embedding(7, 6)
        self.rnn = nn.LSTM(6, 6, batch_first=True)
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.norm = nn.LayerNorm(6)
        self.table = nn.Parameter(torch.zeros(2, 3))
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.rnn(self.embed(tokens))[0]
        for block in reversed(self.blocks):
            x = block(x)
        return self.head(self.norm(self.attention(x, x, x)[0]))


NAMES = [
    "table", "head.weight", "attention.in_proj_weight", "attention.out_proj.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "blocks.0.weight",
    "blocks.1.weight",
]  # fmt: skip


def test_each_weight_once_under_its_first_name():
    model = Model()
    assert list(weights_of(model)) == NAMES
    assert weights_of(model)["head.weight"] is model.embed.weight


def test_what_makes_a_weight_is_none():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.LazyLinear(3), nn.Conv2d(2, 2, 3)
    )
    tknn.parametrize_(model[0], "weight", tk.mpo((2, 2), (2, 2), 2))
    assert list(weights_of(model)) == ["3.weight"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["head"], ["head.weight"]),
        (["embed"], ["head.weight"]),  # by its other name
        (["embed.weight", "head"], ["head.weight"]),
        (["blocks.*"], ["blocks.0.weight", "blocks.1.weight"]),
        (["blocks.1", "blocks.0"], ["blocks.0.weight", "blocks.1.weight"]),
        (["rnn"], ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]),
        (["rnn.weight_hh_l0"], ["rnn.weight_hh_l0"]),
        (["*.in_proj_weight"], ["attention.in_proj_weight"]),
        (["attention"], ["attention.in_proj_weight"]),
        (["table"], ["table"]),
        (["*"], NAMES),
    ],
)
def test_patterns(patterns, found):
    assert selected(Model(), patterns, "select") == found


@pytest.mark.parametrize("pattern", ["fc1", "norm", "head.bias", "Head", "blocks"])
def test_a_pattern_that_selects_nothing(pattern):
    with pytest.raises(
        ValueError,
        match=f"select: no layer '{pattern}' with a weight; there are table, head, attention.in_proj_weight, ",
    ):
        selected(Model(), ["head", pattern], "select")


def test_a_model_that_is_one_layer():
    layer = nn.Linear(3, 2)
    assert selected(layer, ["weight"], "select") == ["weight"] and owner_and_leaf("weight") == ("", "weight")


def test_the_order_of_the_forward_pass():
    """Traced, and the outputs are the model's own."""
    torch.manual_seed(0)
    model, tokens = Model().eval(), torch.arange(6).reshape(2, 3)
    expected, seen = model(tokens), []
    order = forward_order(model, lambda: seen.append(model(tokens)))
    assert torch.equal(seen[0], expected)
    assert [n for n in sorted(order, key=order.get) if n] == [
        "embed",
        "rnn",
        "blocks.1",
        "blocks.0",
        "attention",
        "norm",
        "head",
    ]
    assert order[""] == 0 and not any(m._forward_pre_hooks for m in model.modules())
    asked = [
        "head.weight",
        "blocks.0.weight",
        "blocks.1.weight",
        "rnn.weight_ih_l0",
        "attention.out_proj.weight",
        "extra.weight",
        "table",
    ]
    in_turn = [
        "table",
        "rnn.weight_ih_l0",
        "blocks.1.weight",
        "blocks.0.weight",
        "attention.out_proj.weight",
        "head.weight",
        "extra.weight",
    ]
    assert in_order(asked, order) == in_turn  # a parameter of the model itself first; what is never called last


def test_hooks_are_taken_off_where_the_forward_fails():
    model = Model()
    with pytest.raises(RuntimeError):
        forward_order(model, lambda: model(torch.ones(3)))
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_names_as_they_are_said():
    assert [spoken(n) for n in NAMES[:3]] == ["table", "head", "attention.in_proj_weight"]
    assert owner_and_leaf("a.b.weight") == ("a.b", "weight")


def test_weights_without_a_shape_are_not_passed_over():
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.Linear(3, 2))
    for pattern in ("*", "0", "0.weight"):
        with pytest.raises(
            ValueError,
            match=r"^it: a weight has a shape, but '0\.weight' of LazyLinear has none yet: call the model once",
        ):
            selected(model, [pattern], "it")
    assert selected(model, ["2"], "it") == ["2.weight"]  # others are no matter
    model(torch.ones(2, 5))
    assert selected(model, ["*"], "it") == ["0.weight", "2.weight"]
    with pytest.raises(
        ValueError, match=r"no layer '\*' with a weight; there are none, for LayerNorm has no parameter"
    ):
        selected(nn.LayerNorm(3), ["*"], "it")


def test_a_weight_that_another_parametrization_makes_is_told_apart():
    """No layer is missing: its weight is computed, and how to get rid of that is said."""
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    model = nn.Sequential(layer, nn.Linear(4, 2))
    for pattern in ("0", "0.weight"):
        with pytest.raises(
            ValueError,
            match=r"no layer '0.*'0' is made by another parametrization, which .*remove_parametrizations\(layer, 'weight'\)",
        ):
            selected(model, (pattern,), "select")
    assert selected(model, ("0",), "select", beneath=True) == ["0.weight"]
    with pytest.raises(ValueError, match=r"there are 1$"):
        selected(model, ("7",), "select")
    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert selected(model, ("0",), "select") == ["0.weight"]

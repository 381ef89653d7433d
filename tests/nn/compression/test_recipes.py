"""Recipes: what they select, what they are as TOML, what is refused."""

import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tnkit_nn.compression.compress import compress_
from tnkit_nn.compression.recipe import Compression, Layers, Stage1
from tnkit_nn.compression.result import dense, load_compressed_
from tnkit_nn.compression.selection import substitutes, trained_groups
from tnkit_nn.training.recipe import Recipe

from .test_compress import RECIPE, small, values


# -- recipes ------------------------------------------------------------------------------------------------------------
def tied():
    model = nn.Sequential(OrderedDict(a=nn.Linear(12, 12), b=nn.Linear(12, 12), c=nn.Linear(12, 3)))
    model.b.weight = model.a.weight
    return model


@pytest.mark.slow
@pytest.mark.parametrize("select", ["a", "b", ("a", "b")])
def test_a_tied_weight_is_one_network_that_is_counted_once(select, tmp_path):
    _, split = small()
    model = tied()
    recipe = replace(RECIPE, layers=(Layers("a", "tt", 60),))
    result = compress_(model, recipe, split, select=select, out=tmp_path)
    assert [report.layer for report in result.layers] == ["a"] and result.layers[0].dense_params == 144
    assert model.a.parametrizations.weight[0].core_0 is model.b.parametrizations.weight[0].core_0
    saved = 144 - result.layers[0].num_params
    assert result.params_before - result.params_after == saved > 0
    x = split.test[0]
    plain = dense(model)
    assert plain.a.weight is plain.b.weight and torch.equal(plain(x), model(x))
    assert torch.equal(load_compressed_(tied(), tmp_path / "model.safetensors")(x), model(x))
    again = compress_(tied_like(model), recipe, split, select=select)
    assert again.params_after == result.params_after


def tied_like(model):
    plain = dense(model)
    assert plain.a.weight is plain.b.weight
    return plain


def test_what_stage_1_cannot_do_is_said_before_anything_is_done(tmp_path):
    model, split = small()
    recipe = replace(RECIPE, layers=(Layers("fc2", "tt", 60), Layers("fc1", "adtn", 84)), stage1=Stage1("svd"))
    with pytest.raises(ValueError, match="layer 'fc1': the approximation by svd: "):
        compress_(model, recipe, split, out=tmp_path / "out")
    assert isinstance(model.fc2.weight, nn.Parameter) and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["head", "all"])
def test_what_requires_no_gradient_stays(rest):
    model, split = small()
    model.fc3.requires_grad_(False)
    before = values(model)
    done = compress_(model, RECIPE, split, rest=rest, rest_lr=1e-2)
    assert torch.equal(model.fc3.weight, before["fc3.weight"]) and not model.fc3.weight.requires_grad
    assert not torch.equal(done.model.fc2.bias, before["fc2.bias"])
    with pytest.raises(ValueError, match="unknown rest 'frozen'; known: none, head, all"):
        trained_groups(model, ["fc1.weight"], "frozen", 1e-2, {})


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Layers("a", budget="400"), "budget is a whole number of at least 1, not '400'"),
        (lambda: Layers("a", budget=2.5), "budget is a whole number of at least 1, not 2.5"),
        (lambda: Layers("a", depth=0), "depth is a whole number of at least 1, not 0"),
        (lambda: Layers(3), "select is a sequence, a tuple or a list, not 3"),
        (lambda: replace(RECIPE, seed=-1), "seed is a whole number of at least 0, not -1"),
        (lambda: replace(RECIPE, rest_lr="0.1"), "rest_lr is a positive number, not '0.1'"),
        (lambda: replace(RECIPE, rest_lr=float("inf")), "rest_lr is a positive number, not inf"),
        (lambda: replace(RECIPE, order=3), "order is backward, forward, together, or it is a sequence, .* not 3"),
        (lambda: replace(RECIPE, order=[1]), "order: each name of a layer is a non-empty string, not 1"),
        (lambda: replace(RECIPE, layers="fc1"), "layers is a sequence, a tuple or a list, not 'fc1'"),
        (lambda: replace(RECIPE, stage1=3), r"stage1 is a Stage1, not 3; Stage1\(method, steps\) makes one"),
        (lambda: replace(RECIPE, stage2=3), "stage2, unless it is None, is a Recipe, not 3"),
        (lambda: replace(RECIPE, order=("fc1", "fc1")), "order names one or more layers, each once"),
        (lambda: Layers({"fc1", "fc2"}), "a set has no order"),
        (lambda: Recipe(epochs=2.5, lr=1.0), "epochs is a whole number of at least 1, not 2.5"),
        (lambda: Recipe(epochs=2, lr=float("nan")), "lr is a positive number, not nan"),
        (
            lambda: compress_(small()[0], RECIPE, small()[1], order=3),
            "order is backward, forward, together, or it is a sequence, .* not 3",
        ),
    ],
)
def test_what_a_recipe_is_made_of(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_numbers_of_numpy_are_numbers():
    recipe = replace(RECIPE, layers=(Layers("a", budget=np.int64(400)),), seed=np.int32(3))
    assert json.loads(json.dumps(recipe.layers[0].budget)) == 400 and Compression.from_toml(recipe.to_toml()) == recipe


def test_toml_round_trip():
    for recipe in (
        RECIPE,
        replace(RECIPE, order=("fc1", "fc2"), stage2=None, rest="all", rest_lr=1e-4, seed=7),
        replace(RECIPE, layers=(Layers("a"), Layers(("b", "c*"), "cp", 10)), stage1=Stage1("skip")),
    ):
        assert Compression.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = ", "not TOML"),
        ("seed = 1", r"its text has no \[\[layers\]\]"),
        ("layers = 3", r"its text has no \[\[layers\]\]"),
        (
            "[[layers]]\nselect='fc1'\nbudgets=3",
            r"layers\[0\]: unknown key 'budgets'; there are select, family, budget",
        ),
        ("[[layers]]\nselect='fc1'\nbudget='many'", r"layers\[0\].budget is a whole number, not 'many'"),
        ("[[layers]]\nselect='fc1'\nfamily='tensor'", "family is one of adtn, circuit, mpo, .*, not 'tensor'"),
        ("[[layers]]\nbudget=3", r"layers\[0\]: .*select"),
        (
            "order='sideways'\n[[layers]]\nselect='fc1'",
            "order, unless it is a list of layers, is one of backward, forward, together, not 'sideways'",
        ),
        ("[[layers]]\nselect='fc1'\nactivation='add'", "activation is one of relu, .*, not 'add'"),
        ("rest='some'\n[[layers]]\nselect='fc1'", "rest is one of none, head, all, not 'some'"),
        (
            "[[layers]]\nselect='fc1'\n[stage1]\nmethod='guess'",
            "stage1: method of the approximation is one of auto, .*, not 'guess'",
        ),
        ("[[layers]]\nselect='fc1'\nbudget=300.0", r"layers\[0\].budget is a whole number, not 300.0: write 300"),
        ("[[layers]]\nselect='fc1'\norder='forward'", "'order' is a key of the whole recipe: write it above the first"),
        ("[[layers]]\nselect='fc1'\n[stage2]\nepochs=2\nlr=0", "lr is a positive number, not 0"),
    ],
)
def test_bad_recipes(text, message):
    with pytest.raises(ValueError, match=message):
        Compression.from_toml(text)


def test_refusals():
    model, split = small()
    with pytest.raises(ValueError, match="select: no layer 'fc9' with a weight; there are fc1, fc2, fc3"):
        compress_(model, RECIPE, split, select="fc9")
    with pytest.raises(ValueError, match="select or layers is changed, not both"):
        compress_(model, RECIPE, split, select="fc1", layers=RECIPE.layers)
    with pytest.raises(ValueError, match="steps of the approximation is a whole number of at least 1, not 0"):
        Stage1(steps=0)
    two = replace(RECIPE, layers=(Layers("fc1", "tt", 60), Layers("fc2", "tt", 60)))
    with pytest.raises(ValueError, match="select stands for the layers of one entry; the recipe has 2"):
        compress_(model, two, split, select="fc1")
    with pytest.raises(ValueError, match="1 epochs in all are too few for 2 layers"):
        compress_(model, RECIPE, split, stage2=Recipe(epochs=1, lr=1e-2))
    with pytest.raises(
        ValueError, match=r"order is backward, forward, together, or the layers selected, fc1, fc2, .* not fc1"
    ):
        compress_(model, RECIPE, split, order=["fc1"])
    with pytest.raises(ValueError, match="a recipe has no 'orders'; it has layers, order"):
        compress_(model, RECIPE, split, orders=1)
    with pytest.raises(ValueError, match=r"layer 'fc2': adtn .* budget of 9 has 148 parameters, .*\(8, 16\) only 128"):
        compress_(model, replace(RECIPE, layers=(Layers("fc2", "adtn", 9, depth=5),)), split)
    (found,) = substitutes(model, replace(RECIPE, layers=(Layers("fc2", "tt", 10**9),))).values()  # at once
    assert found.net.num_params <= 128
    with pytest.warns(UserWarning, match="layer 'fc1': the smallest low_rank has 28 parameters, past its budget of 5"):
        substitutes(model, replace(RECIPE, layers=(Layers("fc1", "low_rank", 5),)))
    assert list(substitutes(model, RECIPE)) == ["fc1.weight", "fc2.weight"] and isinstance(
        model.fc1.weight, nn.Parameter
    )


def test_a_recipe_of_windows_begins_with_a_mark(tmp_path):
    text = "[[layers]]\nselect='fc1'\nbudget=300\n"
    (tmp_path / "r.toml").write_text(text, encoding="utf-8-sig")
    assert Compression.load(tmp_path / "r.toml") == Compression.from_toml(text)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, FileNotFoundError, "path is that of a recipe's TOML file, but there is no file"),
        (b"\xff\xfe\x00", ValueError, r"r.toml: the path is of no recipe, which is text"),
        (
            b"[[layers]]\nselect='fc1'\nrest='all'\n",
            ValueError,
            r"r.toml: layers\[0\]: unknown key 'rest'.*above the first",
        ),
    ],
)
def test_a_recipes_file_is_named(tmp_path, content, error, said):
    if content is not None:
        (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(error, match=said):
        Compression.load(tmp_path / "r.toml")

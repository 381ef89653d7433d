"""A deep copy of a model whose modules hold tensors with a history."""

import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import tnkit_nn as tknn
from tnkit_nn.adapter.copies import copied
from tnkit_nn.zoo.ablation import without

#: What keeps a computed weight as an attribute.
KEEPS = {
    "weight norm": nn.utils.weight_norm,
    "spectral norm": nn.utils.spectral_norm,
    "pruning": lambda layer: prune.random_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore")  # torch has newer ones
@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("keeps", KEEPS)
def test_models_of_old_norms_and_pruning_are_copied(keeps, forward):
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 2))
    KEEPS[keeps](model[2])
    tknn.tensorize_(model, {"0": "tt"}, budget=100, fit=False)
    x = torch.ones(3, 16)
    if forward:
        model(x).sum().backward()
    made = copied(model, "dense: model")
    model.eval(), made.eval()
    assert torch.equal(made(x), model(x)) and made[2].weight is not model[2].weight
    before = model(x).detach()
    made.train()(x).sum().backward()
    with torch.no_grad():
        for p in made.parameters():
            assert p.grad is not None
            p.add_(1.0)
    assert torch.equal(model(x), before) and not torch.equal(made.eval()(x), before)


@pytest.mark.filterwarnings("ignore")
def test_recurrent_modules_keep_theirs_in_a_list():
    model = nn.LSTM(4, 4)
    nn.utils.weight_norm(model, "weight_hh_l0")
    x = torch.ones(2, 1, 4)
    model(x)
    made = copied(model, "dense: model")
    assert torch.equal(made(x)[0], model(x)[0])


def test_what_has_no_copy_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    model[1].lock = threading.Lock()
    with pytest.raises(
        TypeError,
        match="dense: model is copied, but 'lock' of '1', a Tanh has no copy; take it off first: cannot pickle",
    ):
        copied(model, "dense: model")


@pytest.mark.filterwarnings("ignore")
def test_a_layer_is_left_out_of_a_model_with_an_old_norm():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.utils.weight_norm(nn.Linear(4, 2)))
    model(torch.ones(1, 4))
    left = without(model, "0")
    assert left is None or left(torch.ones(1, 4)).shape == (1, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_networks_beside_an_old_norm_become_plain_layers(norm):
    model, x = nn.Sequential(nn.Linear(8, 8), norm(nn.Linear(8, 4))), torch.ones(2, 8)
    model(x)
    tknn.tensorize_(model, {"0": "mpo"}, budget=40)
    before = model.eval()(x)
    made = tknn.dense(model).eval()
    torch.testing.assert_close(made(x), before)
    assert sorted(dict(made[0].named_parameters())) == ["bias", "weight"]

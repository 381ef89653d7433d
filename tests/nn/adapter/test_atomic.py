"""Changes of modules that fail half way leave them as they were."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.parametrize import merge_, parametrize_


def made():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.LSTM(8, 4))
    parametrizations.weight_norm(model[2])
    model[0].weight.requires_grad_(False)
    model[0].register_forward_hook(lambda *_: None)
    model[0](torch.ones(1, 8)).sum().backward()
    model.eval()
    return model


def everything(model):
    """All that can be told of a model: objects by their identity, values by copies."""
    params = {n: (id(p), p.requires_grad, id(p.grad)) for n, p in model.named_parameters()}
    hooks = [list(m._forward_hooks.items()) for m in model.modules()]
    modules = [(n, id(m), type(m), m.training) for n, m in model.named_modules()]
    return params, list(params), hooks, modules, {n: id(b) for n, b in model.named_buffers()}


def values(model):
    return {n: v.clone() for n, v in model.state_dict().items()}


def change(model):
    model.train()
    parametrize_(model[0], "weight", tk.tt((8, 8), 2))
    merge_(model[0], "weight")
    parametrize_(model[0], "weight", tk.tt((8, 8), 2))
    parametrize.remove_parametrizations(model[2], "weight")
    model.append(nn.ReLU())
    model[1].register_buffer("more", torch.ones(1))
    model[3].register_forward_hook(lambda *_: None)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
        model[1].running_mean.add_(3)


@pytest.mark.slow
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_all_is_put_back(error):
    model = made()
    before, held = everything(model), values(model)
    handle = model[3].register_forward_pre_hook(lambda *_: None)
    with pytest.raises(error), all_or_nothing(model, values=True):
        change(model)
        raise error
    handle.remove()  # it refers to the container that is there
    assert everything(model) == before and not model[3]._forward_pre_hooks
    after = values(model)
    assert held.keys() == after.keys() and all(torch.equal(held[n], after[n]) for n in held)
    copy.deepcopy(model)(torch.ones(2, 8))


@pytest.mark.parametrize("other", [nn.Module.half, nn.Module.double, lambda model: model.to("meta")])
def test_values_of_another_kind_are_put_back(other):
    """``half()`` leaves the parameters where they are, and gives each of them, and its gradient, other data."""
    model = made()
    before, held, slope = everything(model), values(model), model[0].bias.grad.clone()
    with pytest.raises(ValueError), all_or_nothing(model, values=True):
        other(model)
        raise ValueError
    assert everything(model) == before
    after = values(model)
    assert all(held[n].dtype == after[n].dtype and torch.equal(held[n], after[n]) for n in held)
    assert torch.equal(model[0].bias.grad, slope)


@pytest.mark.slow
def test_what_does_not_fail_stays():
    model = made()
    with all_or_nothing(model, values=True):
        change(model)
    assert len(model) == 5 and parametrize.is_parametrized(model[0], "weight")


@pytest.mark.parametrize("moment", range(1, 5))
@pytest.mark.parametrize("what", ["parametrize_", "merge_"])
def test_a_weight_is_replaced_or_it_is_not(what, moment, monkeypatch):
    """An error at any of torch's own steps: a Ctrl-C, say."""
    model = made()
    if what == "merge_":
        parametrize_(model[0], "weight", tk.tt((8, 8), 2))
    before, held, count = everything(model), values(model), 0
    for owner, name in (
        (nn.Module, "register_parameter"), (nn.Module, "__delattr__"), (nn.Module, "__setattr__"),
        (parametrize, "_inject_property"), (parametrize, "_inject_new_class"),
    ):  # fmt: skip
        original = getattr(owner, name)

        def counted(*args, original=original, **options):
            nonlocal count
            count += 1
            if count == moment:
                raise KeyboardInterrupt
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counted)
    with pytest.raises(KeyboardInterrupt):
        merge_(model[0], "weight") if what == "merge_" else parametrize_(model[0], "weight", tk.tt((8, 8), 2))
    monkeypatch.undo()
    assert count >= moment and everything(model) == before
    assert all(torch.equal(held[n], v) for n, v in values(model).items())

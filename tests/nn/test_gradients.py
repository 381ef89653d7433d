"""What trains something does so where gradients are off, too."""

import copy

import pytest
import torch
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn.gradients import with_gradients

X = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
DATA = {
    name: (X[p], (X[p][:, 0] > 0).long())
    for name, p in (("train", slice(0, 40)), ("val", slice(40, 50)), ("test", slice(50, 60)))
}
NET = tk.mpo((4, 4), (4, 4), 2)
SHORT = tknn.Recipe(epochs=1, lr=1e-2, batch=20)


def made(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


def trained(model):
    tknn.train(model, tknn.Task(data=DATA), SHORT, seed=0)
    return model(X)


def compressed(model):
    recipe = tknn.Compression(tknn.Layers("0", "circuit", budget=100), stage1=tknn.Stage1(steps=3), stage2=SHORT)
    return tknn.compress_(model, recipe, tknn.Task(data=DATA)).model(X)


def compared(model):
    few = dict(seeds=1, dense_steps=2, fit_steps=2, tune_steps=2, layer="0")
    return torch.tensor([r["val_frozen"] for r in tknn.compare(tknn.Task(made, DATA), ["mpo"], [100], **few)])


def tensorized(model):
    tknn.tensorize_(model, {"0": NET})
    return model(X)


WAYS = {
    "train": trained, "compress_": compressed, "compare": compared,
    "fit": lambda model: torch.tensor(tknn.fit(NET, model[0].weight.detach().clone(), steps=60).error),
    "from_module": lambda model: tknn.TNLinear.from_module(model[0], NET, steps=60)(X),
    "tensorize_": tensorized,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("way", WAYS)
def test_what_trains_does_so_where_gradients_are_off(way, mode):
    model = made()
    want = WAYS[way](copy.deepcopy(model)).detach()
    with mode():
        found = WAYS[way](copy.deepcopy(model) if mode is torch.no_grad else model)
        assert not torch.is_grad_enabled() and torch.is_inference_mode_enabled() is (mode is torch.inference_mode)
    torch.testing.assert_close(found.clone(), want)


@pytest.mark.parametrize("way", ["train", "compress_", "from_module", "tensorize_"])
def test_a_model_that_torch_cannot_train_is_refused(way):
    with torch.inference_mode():
        model = made()
    model[-1].weight = nn.Parameter(torch.zeros_like(model[-1].weight))  # one that was made elsewhere
    with pytest.raises(
        ValueError, match=rf"^{way}: the model is trained, but it was made in torch.inference_mode\(\): make it outside"
    ):
        WAYS[way](model)


def test_what_it_gives_and_raises_is_the_functions_own():
    @with_gradients
    def root(x):
        """Words."""
        if x < 0:
            raise KeyError(x)
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    with torch.inference_mode():
        assert root(1) == (True, False) and root.__doc__ == "Words."
        with pytest.raises(KeyError):
            root(-1)
        assert torch.is_inference_mode_enabled()


def test_a_warning_stands_at_the_callers_line():
    """However many functions of ours lie between."""
    with pytest.warns(UserWarning, match="past its budget of 2") as told:
        tknn.compress_(
            made(), tknn.Compression(tknn.Layers("0", "mpo", budget=2), stage1=tknn.Stage1("skip"), stage2=None)
        )
    assert {w.filename for w in told} == {__file__}
    with pytest.warns(UserWarning, match="has not learned the target") as told:
        tknn.fit(NET, made()[0].weight.detach().clone(), steps=1)
    assert {w.filename for w in told} == {__file__}

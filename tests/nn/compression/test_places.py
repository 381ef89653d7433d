"""Where the weights of a model stand: in the model itself, in layers of any name."""

import copy

import pytest
import torch
from torch import nn

import tnkit_nn as tknn

from .test_tasks import SPLIT, X, mlp, one


class Positions(nn.Module):
    """A weight of its own beside two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.positions, self.first, self.last = nn.Parameter(torch.randn(8, 16)), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.last((self.first(x) + self.positions.mean(0)).tanh())


def single():
    torch.manual_seed(0)
    return nn.Linear(16, 4)


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["none", "head", "all"])
@pytest.mark.parametrize(("make", "select", "own"), [(Positions, "positions", "positions"), (single, "*", "weight")])
def test_a_weight_of_the_model_itself(tmp_path, make, select, own, rest):
    """Compressed, trained, kept, taken up again, saved and loaded as any other; with the head, all that is called is trained."""
    dense = make()
    done = tknn.compress_(
        copy.deepcopy(dense), one(select, budget=40, rest=rest, rest_lr=1e-2), SPLIT, out=tmp_path / "out"
    )
    arrays = {n for n in dict(done.model.named_parameters()) if n.startswith(f"parametrizations.{own}.0.")}
    assert (
        arrays
        and own not in dict(done.model.named_parameters())
        and getattr(done.model, own).shape == getattr(dense, own).shape
    )
    for name, p in dense.named_parameters():
        if name != own:
            same = torch.equal(p, done.model.get_parameter(name))
            assert same is (rest == "none"), name
    again = tknn.compress_(
        copy.deepcopy(dense), one(select, budget=40, rest=rest, rest_lr=1e-2), SPLIT, out=tmp_path / "out"
    )
    assert torch.equal(again.model(X), done.model(X))
    tknn.save(done.model, tmp_path / "saved")
    torch.testing.assert_close(tknn.load(tmp_path / "saved", make())(X), done.model(X))


@pytest.mark.slow
def test_every_weight_of_a_model_with_one_of_its_own():
    done = tknn.compress_(Positions(), one("*", budget=40, stage2=None))
    names = dict(done.model.named_parameters())
    assert {"positions", "first.weight", "last.weight"}.isdisjoint(names)


def test_layers_whose_names_differ_in_a_slash_have_files_of_their_own(tmp_path):
    """The second had the arrays of the first, without a word."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.branches = nn.ModuleDict({"a-b": nn.Linear(16, 4), "a/b": nn.Linear(16, 4)})

        def forward(self, x):
            return self.branches["a-b"](x) - self.branches["a/b"](x)

    dense = Branches()
    recipe = one("branches.*", budget=40, stage2=None)
    kept = tknn.compress_(copy.deepcopy(dense), recipe, out=tmp_path / "out").model
    loose = tknn.compress_(copy.deepcopy(dense), recipe).model
    assert torch.equal(kept(X), loose(X)) and not torch.equal(kept.branches["a-b"].weight, kept.branches["a/b"].weight)
    assert len(list((tmp_path / "out").glob("stage1-branches.*.tn"))) == 2
    assert torch.equal(tknn.compress_(copy.deepcopy(dense), recipe, out=tmp_path / "out").model(X), kept(X))


def test_a_loop_that_leaves_another_dtype_is_refused():
    model = mlp()
    before = {n: p.clone() for n, p in model.named_parameters()}

    def halved(model, parameters, budget):
        model.half()

    with pytest.raises(ValueError, match=r"tune leaves the dtypes .*'.*' is torch.float16, no longer torch.float32"):
        tknn.compress_(model, one(), SPLIT, tune=halved)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())

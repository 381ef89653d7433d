"""What may be written to a weight that a network makes, and what is read, saved and pickled of it."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import merge_, parametrize_

from .test_nothing_else import DEEP, NET, TOKENS

# -- writes ---------------------------------------------------------------------------------------------------------------
WRITES = {
    "zero_": lambda m: m.weight.zero_(), "fill": lambda m: m.weight.fill_(1), "item": lambda m: m.weight.__setitem__((0, 0), 1),
    "add": lambda m: m.weight.add_(1), "iadd": lambda m: m.weight.__iadd__(1), "out": lambda m: torch.add(m.weight, 1, out=m.weight),
    "data": lambda m: m.weight.data.mul_(2), "detach": lambda m: m.weight.detach().zero_(), "view": lambda m: m.weight[2:].view(-1).zero_(),
    "row": lambda m: m.weight[0].fill_(3), "init": lambda m: nn.init.kaiming_uniform_(m.weight), "zeros": lambda m: nn.init.zeros_(m.weight),
    "reset": lambda m: m.reset_parameters(), "copy": lambda m: m.weight.copy_(torch.zeros(20, 12)),
    "set data": lambda m: setattr(m.weight, "data", torch.zeros(20, 12)), "relu": lambda m: F.relu(m.weight, inplace=True),
    "split": lambda m: m.weight.split(10)[1].zero_(), "T": lambda m: m.weight.T.zero_(), "foreach": lambda m: torch._foreach_mul_([m.weight], 2),
    "as_strided": lambda m: torch.as_strided(m.weight, (20, 12), (12, 1)).zero_(), "3d": lambda m: torch.atleast_3d(m.weight).zero_(),
    "pieces": lambda m: m.weight.tensor_split(2)[1].zero_(), "einsum": lambda m: torch.einsum("ij->ji", m.weight).zero_(),
    "moved": lambda m: m.weight.moveaxis(0, 1).zero_(), "diagonal": lambda m: torch.linalg.diagonal(m.weight).zero_(),
    "broadcast": lambda m: torch.broadcast_tensors(torch.ones(12), m.weight)[1].zero_(),
    "chunk": lambda m: [c.zero_() for c in m.weight.chunk(2)], "numpy": lambda m: m.weight.detach().numpy().__setitem__((0, 0), 3),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("training", [True, False])
def test_a_write_that_would_be_lost_is_an_error(write, training):
    layer = parametrize_(nn.Linear(12, 20), "weight", NET).train(training)
    before = layer.weight.detach().clone()
    said = (
        "read-only"
        if write == "numpy"
        else r"the weight of Linear is made by a network, so .* would be lost with it; merge_"
    )
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError), match=said):
        WRITES[write](layer)
    assert torch.equal(layer.weight, before) and type(before) is torch.Tensor


NEEDS = {
    "method": lambda w, needed: w.requires_grad_(needed), "keyword": lambda w, needed: w.requires_grad_(requires_grad=needed),
    "attribute": lambda w, needed: setattr(w, "requires_grad", needed),
}  # fmt: skip


@pytest.mark.parametrize("how", NEEDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("needed", [True, False])
def test_a_weight_is_frozen_and_trained_by_its_arrays(how, training, needed):
    """On the weight that was computed it would be in vain."""
    layer, own = (
        parametrize_(nn.Linear(12, 20), "weight", NET).train(training),
        tknn.TNLinear(12, 20, NET).train(training),
    )
    layer.requires_grad_(not needed), own.requires_grad_(not needed)
    what = "trains" if needed else "freezes"
    message = f"the weight of Linear is made by a network, so requires_grad would be lost with it; .* {what} its arrays"
    with pytest.raises(RuntimeError, match=message):
        NEEDS[how](layer.weight, needed)
    with pytest.raises(RuntimeError, match=rf"the weight of TNLinear .*; layer\.tn\..* {what} its arrays"):
        NEEDS[how](own.weight, needed)
    assert all(p.requires_grad is not needed for p in (*layer.parameters(), *own.parameters()))
    layer.parametrizations["weight"][0].requires_grad_(needed)  # as it says
    own.tn.requires_grad_(needed)
    assert layer.weight.requires_grad is needed and own.weight.requires_grad is needed
    if needed:
        NEEDS[how](layer.weight, needed)  # it is so already
    assert layer.weight.detach().requires_grad_().requires_grad  # a tensor of one's own


TAKEN = {
    "parameter": lambda to, w: setattr(to, "weight", nn.Parameter(w)),
    "detached": lambda to, w: setattr(to, "weight", nn.Parameter(w.detach())),
    "assigned": lambda to, w: to.load_state_dict({"weight": w, "bias": to.bias}, assign=True),
    "data": lambda to, w: setattr(to.weight, "data", w.data), "data detached": lambda to, w: setattr(to.weight, "data", w.detach()),
}  # fmt: skip


@pytest.mark.parametrize("take", TAKEN)
@pytest.mark.parametrize("graded", [True, False])
def test_a_dense_layer_that_is_given_the_weight_is_on_its_own(take, graded):
    """It trains, moves and is copied as any other; the weight that is kept for the network stays as it is."""
    layer, plain, x = parametrize_(nn.Linear(12, 20), "weight", NET).eval(), nn.Linear(12, 20), torch.randn(3, 12)
    with torch.no_grad():
        before, want = layer(x), layer.weight.clone()
    with torch.set_grad_enabled(graded):
        TAKEN[take](plain, layer.weight)
    assert type(plain.weight) is nn.Parameter and plain.weight.requires_grad and torch.equal(plain.weight, want)
    plain(x).sum().backward()
    torch.optim.SGD(plain.parameters(), lr=0.5).step()
    assert not torch.equal(plain.weight, want)
    copy.deepcopy(plain).double().load_state_dict(nn.Linear(12, 20).state_dict())
    with torch.no_grad():
        assert torch.equal(layer(x), before)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_torch_takes_away_leaves_a_parameter(frozen, training):
    layer, x = parametrize_(nn.Linear(12, 20), "weight", NET).train(training), torch.randn(3, 12)
    layer.requires_grad_(not frozen)
    before = layer(x)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and type(layer.weight) is nn.Parameter and torch.equal(layer(x), before)
    assert layer.weight.requires_grad is not frozen and layer.weight.is_leaf and not dict(layer.named_buffers())
    copy.deepcopy(layer).double().load_state_dict(nn.Linear(12, 20).state_dict())
    layer.requires_grad_()(x).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    assert not torch.equal(layer(x), before)


def test_reading_gives_plain_tensors():
    layer = parametrize_(nn.Linear(12, 20), "weight", NET)
    w = layer.weight
    for made in (
        w + 1,
        w @ w.T,
        F.linear(torch.ones(1, 12), w),
        w.clone(),
        w.sum(),
        w.detach().clone().zero_(),
        torch.stack([w, w]),
    ):
        assert type(made) is torch.Tensor
    w.retain_grad()
    w.square().sum().backward()
    torch.testing.assert_close(w.grad, 2 * w.detach().clone())
    out = torch.empty(20, 12)
    assert torch.equal(out.copy_(w), w) and "GeneratedWeight" in repr(w)
    assert f"{w[2, 3]:.3f}" == f"{w[2, 3].item():.3f}"
    with torch.no_grad():
        kept = io.BytesIO()
        torch.save(layer.weight, kept)
        kept.seek(0)
        again = torch.load(kept, weights_only=True)
        assert type(again) is torch.Tensor and torch.equal(again, w)


# -- states ---------------------------------------------------------------------------------------------------------------
def test_a_state_of_another_network_is_refused(tmp_path):
    def model(fn, rank=3):
        return nn.Sequential(parametrize_(nn.Linear(12, 20), "weight", tk.adtn((4, 5, 3, 4), depth=2, activation=fn)))

    one, two = model("tanh"), model("relu")
    state = one.state_dict()
    model("tanh").load_state_dict(state)
    torch.save(state, tmp_path / "s.pt")
    for given in (state, torch.load(tmp_path / "s.pt", weights_only=True)):
        before = two[0].weight.detach().clone()
        with pytest.raises(RuntimeError, match=r"0\.parametrizations\.weight\.0: these arrays are of another network"):
            two.load_state_dict(given)
        assert torch.equal(two[0].weight, before)
    model("relu").load_state_dict(dict(state))  # a plain dict, as older files give: there is nothing to compare
    renamed = tk.adtn((4, 5, 3, 4), depth=2, activation="tanh")
    renamed = renamed.relabel(inds={i: f"{i}_" for i in tk.core.inside.all_indices(renamed)})
    nn.Sequential(parametrize_(nn.Linear(12, 20), "weight", renamed)).load_state_dict(state)


PICKLED = {
    "linear": lambda: parametrize_(nn.Linear(12, 20), "weight", NET),
    "based": lambda: parametrize_(nn.Linear(12, 20), "weight", DEEP, base=True),
    "lstm": lambda: parametrize_(nn.LSTM(12, 5), "weight_ih_l0", NET),
    "two": lambda: parametrize_(parametrize_(nn.LSTM(5, 5), "weight_ih_l0", tk.tt((20, 5), 2)), "weight_hh_l0", tk.tt((20, 5), 2)),
    "embedding": lambda: parametrize_(nn.Embedding(20, 12, padding_idx=0), "weight", NET),
    "stacked": lambda: parametrizations.spectral_norm(parametrize_(nn.Linear(12, 20), "weight", NET)),
    "layer": lambda: tknn.TNLinear(12, 20, NET),
    "module": lambda: tknn.TNModule(NET),
}  # fmt: skip


def called(module):
    if isinstance(module, nn.LSTM):
        return module(torch.ones(2, 1, module.input_size))[0]
    return (
        module()
        if type(module) is tknn.TNModule
        else module(TOKENS if isinstance(module, nn.Embedding) else torch.ones(2, 12))
    )


@pytest.mark.parametrize("kind", PICKLED)
def test_whole_modules_are_pickled(kind, tmp_path):
    module = PICKLED[kind]()
    called(module).sum().backward()
    module.eval()
    with torch.no_grad():
        want = called(module)
    torch.save(module, tmp_path / "m.pt")
    for again in (
        pickle.loads(pickle.dumps(module)),
        torch.load(tmp_path / "m.pt", weights_only=False),
        copy.deepcopy(module),
    ):
        torch.testing.assert_close(called(again), want)  # with gradients, torch's LSTM takes another way
        assert type(again).__name__ == type(module).__name__
        assert all(torch.equal(p, q) for p, q in zip(again.parameters(), module.parameters(), strict=True))
        called(again.train()).sum().backward()
        assert list(again.state_dict()) == list(module.state_dict())
    once_more = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(module))))
    torch.testing.assert_close(called(once_more.eval()), want)
    if parametrize.is_parametrized(once_more) and kind != "two":
        name = next(iter(once_more.parametrizations))
        merge_(once_more, name)
        torch.testing.assert_close(called(once_more), want)
        assert parametrize.is_parametrized(module)

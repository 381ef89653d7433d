"""Nodes that stay isometries through training, and all the rest of a module's life."""

import copy
import io

import numpy as np
import pytest
import torch
from data_chains import data_chain
from torch import nn

import tnkit as tk
import tnkit_nn as tknn

NETS = {
    "mera": tk.mera((2,) * 6, 3),
    "chain": tk.mps((2,) * 5, 4),
    "tree": tk.tree((2, 3, 2, 2), 4),
    "wall": tk.brick_wall(4, depth=2),
}


def module(name, dtype=torch.float64):
    net = NETS[name]
    arrays = tk.init.orthogonal(net, toward=tk.directions(net), dtype=str(dtype).removeprefix("torch."), seed=1)
    return tknn.TNModule(net, arrays, dtype=dtype)


def off(made):
    """How far the arrays are from isometries."""
    found = 0.0
    for node, inds in tk.directions(made.network).items():
        leaf = made.network[node]
        axes = [k for k, i in enumerate(leaf.inds) if i in inds]
        x = made.tensors()[leaf.array].detach().movedim(axes, list(range(-len(axes), 0)))
        m = x.reshape(-1, int(np.prod(x.shape[x.dim() - len(axes) :])))
        found = max(found, float((m.mH @ m - torch.eye(m.shape[1], dtype=m.dtype)).abs().max()))
    return found


def steps(made, target, count):
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = (made() - target).abs().square().sum()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.float32])
@pytest.mark.parametrize("name", NETS)
def test_arrays_stay_isometries_and_the_norm_is_that_of_the_centre(name, dtype):
    made = module(name, dtype)
    before, loose = made().detach(), 1e-5 if dtype == torch.float32 else 1e-12
    assert tknn.isometric_(made) is made
    assert torch.allclose(made().detach(), before, atol=loose)
    target = torch.randn(NETS[name].shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    losses = steps(made, target, 20)
    assert losses[-1] < losses[0] and off(made) < loose
    ends = [n.array for n in made.network.nodes if n.name not in tk.directions(made.network) and not n.fixed]
    size = torch.stack([made.tensors()[n].norm() for n in ends]).prod()
    assert made().norm().item() == pytest.approx(size.item(), rel=10 * loose)


def test_states_copies_and_draws():
    made = tknn.isometric_(module("mera"))
    steps(made, torch.ones(NETS["mera"].shape, dtype=torch.float64), 3)
    state = made.state_dict()
    assert "top_4_0" in state and "parametrizations.u_0_1.original" in state and "u_0_1" not in state
    other = tknn.isometric_(module("mera"))
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(), made()) and torch.equal(copy.deepcopy(made)(), made())
    value = made().detach().clone()
    made.reset_parameters()
    assert off(made) < 1e-12 and not torch.allclose(made(), value)
    with pytest.raises(RuntimeError, match="of another network"):
        tknn.isometric_(tknn.TNModule(tk.mera((2,) * 6, 2), dtype=torch.float64)).load_state_dict(state)


def test_an_array_that_is_no_isometry_becomes_the_nearest():
    net = tk.Network([tk.Node("A", "ija")], "ija", {"i": 2, "j": 3, "a": 2})
    made = tknn.TNModule(net, dtype=torch.float64, seed=3)
    old = made().detach().clone()
    tknn.isometric_(made, {"A": ["a"]})
    u, _, vh = torch.linalg.svd(old.reshape(6, 2), full_matrices=False)
    assert torch.allclose(made().reshape(6, 2), u @ vh, atol=1e-12)


def test_chosen_nodes_alone():
    made = tknn.isometric_(module("chain"), {"core_0": ["b1"]})
    assert {n for n, _ in made.named_parameters()} == {
        "core_1",
        "core_2",
        "core_3",
        "core_4",
        "parametrizations.core_0.original",
    }
    with pytest.raises(ValueError, match="isometric_: array 'core_0' is an isometry already"):
        tknn.isometric_(made, {"core_0": ["b1"]})
    assert tknn.isometric_(made, {"core_4": ["b4"]}).tensors()["core_4"].shape == (2, 2)


def test_a_weight_of_isometries_is_kept_saved_and_merged(tmp_path):
    net = tk.tree((2, 2, 2, 2), 4)

    def factory():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4))
        tknn.parametrize_(model[0], "weight", net)
        tknn.isometric_(model[0].parametrizations.weight[0])
        return model

    model = factory()
    x = torch.randn(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).square().sum().backward()
    optimizer.step()
    made = model[0].parametrizations.weight[0]
    assert off(made) < 1e-5
    model.eval()
    with torch.no_grad():
        before = model(x)
        made.parametrizations.node_0_0.original.add_(0.1)
        after = model(x)
    assert not torch.allclose(before, after)
    again = factory()
    again.load_state_dict(model.state_dict())
    assert torch.allclose(again.eval()(x), after)
    tknn.merge_(model[0], "weight")
    assert torch.allclose(model(x), after) and set(dict(model.named_parameters())) == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: tknn.isometric_(nn.Linear(2, 2)), "isometric_: module is a TNModule, not"),
        (lambda: tknn.isometric_(module("chain"), {"core_9": ["b1"]}), "isometric_: toward: no node 'core_9'"),
        (lambda: tknn.isometric_(module("chain"), {"core_1": ["b1", "b2"]}), "node 'core_1' cannot be an isometry: towards 'b1', 'b2' its size is 8"),
        (lambda: tknn.isometric_(tknn.TNModule(tk.cp((2, 2, 2), 2))), "index 'r' of node 'factor_0' is a trace or a hyperedge"),
        (lambda: tknn.isometric_(tknn.TNModule(tk.peps(3, 3, 2, 2))), "directions: .* has no direction"),
        (lambda: tknn.isometric_(module("chain").bfloat16()), "array 'core_.' is of single or double precision, not torch.bfloat16"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


# -- one tensor for all inputs ----------------------------------------------------------------------------------------
def test_one_tensor_for_all_sites_of_a_chain():
    made = tknn.TNModule(data_chain(6, 3, 3, batch=4, classes=2), dynamic="batch", seed=1)
    x = torch.randn(7, 6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = made(x)
    assert torch.equal(found, made(*x.unbind(1))) and found.shape == (7, 2)
    assert torch.equal(found, made(**{f"x_{k}": x[:, k] for k in range(6)}))
    found.sum().backward()
    assert x.grad.any(-1).all()
    graph = torch.compile(made, backend="eager", fullgraph=True)
    assert torch.allclose(graph(x), found)


def test_one_tensor_of_the_wrong_shape():
    made = tknn.TNModule(data_chain(6, 3, 3, batch=4, classes=2), dynamic="batch")
    with pytest.raises(
        ValueError, match=r"one tensor for all 6 inputs has them along its axis before the last, which has size 5 in"
    ):
        made(torch.ones(7, 5, 3))
    with pytest.raises(ValueError, match="node 'x_0': index 'i0' has size 3, but array 'x_0' has shape"):
        made(torch.ones(7, 6, 4))
    with pytest.raises(
        ValueError, match=r"input 'x_1' is missing: .* one tensor for all has one axis more, before its last"
    ):
        made(torch.ones(7, 3))
    with pytest.raises(TypeError, match="input 'x_0' is a tensor, not"):
        made(np.ones((7, 6, 3)), *[torch.ones(7, 3)] * 5)


def test_a_folder_does_not_tell_of_isometries_and_is_refused(tmp_path):
    pytest.importorskip("safetensors")

    def model():
        return nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))

    own = model()
    tknn.parametrize_(own[0], "weight", tk.mpo((4, 4), (4, 4), 4))
    net = tknn.isometric_(own[0].parametrizations.weight[0])
    x = torch.randn(3, 16)
    y = own(x)
    with pytest.raises(
        ValueError, match=r"array 'core_0' of the network '0\.parametrizations\.weight\.0' is parametrized"
    ):
        tknn.save(own, tmp_path / "model")
    for name in list(net.parametrizations):
        nn.utils.parametrize.remove_parametrizations(net, name)
    tknn.save(own, tmp_path / "model")
    assert torch.equal(tknn.load(tmp_path / "model", model)(x), y)

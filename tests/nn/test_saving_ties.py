"""Tied weights, the order of parameters, networks added to a weight, what stands upon a network: saved and read again."""

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrizations

import tnkit as tk
import tnkit_nn as tknn

from .models import Gpt, Tagger
from .test_saving import drawn, refused


@pytest.mark.parametrize("base", [False, True])
def test_tied_weights_stay_tied(base, tmp_path):
    model = drawn(Gpt)
    tknn.tensorize_(model, {"wte": "tt", "layer.*": "low_rank"}, budget=0.3, fit=False, base=base)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if ".parametrizations." in n and p.requires_grad:
                p.add_(0.02)
    tknn.save(model, tmp_path / "m")
    made = tknn.load(tmp_path / "m", lambda: drawn(Gpt, 1))
    tokens = torch.randint(67, (2, 9))
    assert torch.equal(made(tokens), model(tokens)) and torch.equal(made.wte.weight, made.head.weight)
    assert made.wte.parametrizations.weight[0].core_0 is made.head.parametrizations.weight[0].core_0
    assert [(n, p.requires_grad) for n, p in made.named_parameters()] == [
        (n, p.requires_grad) for n, p in model.named_parameters()
    ]
    with safe_open(next((tmp_path / "m").glob("model-*")), "pt") as file:  # each once
        assert sum(file.get_tensor(n).numel() for n in file.keys()) == sum(p.numel() for p in model.parameters())  # noqa: SIM118
    untied = drawn(Gpt)
    untied.head.weight = nn.Parameter(untied.wte.weight.detach().clone())
    refused(
        tmp_path / "m",
        "'wte.weight' is tied as wte.weight, head.weight in the file, as wte.weight in the model",
        untied,
    )


@pytest.mark.parametrize("rows", [["rnn.weight_ih_l0", "rnn.weight_hh_l0"], ["rnn.weight_hh_l0", "rnn.weight_ih_l0"]])
def test_parameters_stay_in_their_order(rows, tmp_path):
    """An optimiser's state is told by positions."""

    def make():
        return nn.ModuleDict({"rnn": nn.LSTM(8, 8), "head": nn.Linear(8, 8)})

    model = drawn(make)
    for row in rows:
        tknn.tensorize_(model, {row: "tt"}, budget=0.5, fit=False)
    tknn.save(model, tmp_path / "m")
    tknn.save_compressed(model, tmp_path / "one.safetensors")
    names = [n for n, _ in model.named_parameters()]
    assert [n for n, _ in tknn.load(tmp_path / "m", make).named_parameters()] == names
    assert [n for n, _ in tknn.load_compressed_(make(), tmp_path / "one.safetensors").named_parameters()] == names


class Folded(nn.Module):
    """The weight of a layer is a parameter of the module above it too: its name is the first, its arrays come last in the state."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 8)
        self.weight = self.up.weight

    def forward(self, x):
        return nn.functional.linear(self.up(x), self.weight.t())


class Normalised(Folded):
    def __init__(self):
        super().__init__()
        parametrizations.spectral_norm(self.up)


@pytest.mark.slow
@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("make", [Folded, Normalised, lambda: nn.Sequential(Folded(), nn.Linear(16, 4))])
def test_a_weight_tied_to_one_of_a_module_above(make, base, tmp_path):
    model, x = drawn(make), torch.randn(3, 16)
    tknn.tensorize_(model, {"*weight": "tt"}, budget=0.5, fit=False, base=base)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "core" in n:
                p.add_(0.02)
    tknn.save(model, tmp_path / "m")
    tknn.save_compressed(model, tmp_path / "one.safetensors")
    made = tknn.load(tmp_path / "m", lambda: drawn(make, 1))
    again = tknn.load_compressed_(drawn(make, 1), tmp_path / "one.safetensors")
    assert torch.equal(made(x), model(x)) and torch.equal(again(x), model(x))
    for file in (next((tmp_path / "m").glob("model-*")), tmp_path / "one.safetensors"):  # each once
        with safe_open(file, "pt") as opened:
            assert len(list(opened.keys())) == len({id(t) for t in model.state_dict(keep_vars=True).values()})


def test_layers_with_the_same_arrays(tmp_path):
    def make():
        layers = [tknn.TNLinear(16, 16, tk.mpo((4, 4), (4, 4), 2)) for _ in range(2)]
        for name in layers[0].tn.network.parameters:
            setattr(layers[1].tn, name, getattr(layers[0].tn, name))
        return nn.Sequential(*layers)

    model, x = drawn(make), torch.randn(3, 16)
    with torch.no_grad():
        model[0].tn.core_0.add_(1)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, make)
    assert torch.equal(made(x), model(x)) and made[0].tn.core_0 is made[1].tn.core_0


@pytest.mark.parametrize(
    "net", [tk.low_rank((16, 16), 2), tk.low_rank((16, 16), 2).activate("sigmoid", "f")], ids=["plain", "sigmoid"]
)
def test_networks_added_to_a_weight_come_back(net, tmp_path):
    model = drawn(lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)))
    tknn.tensorize_(model, {"0": net}, base=True)
    with torch.no_grad():
        for p in model[0].parametrizations.weight[0].parameters():
            p.add_(0.1)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, lambda: drawn(lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), 1))
    assert torch.equal(made(torch.eye(16)), model(torch.eye(16)))
    merged = tknn.merge_(made[0], "weight").weight
    assert torch.equal(merged, model[0].weight)


def normed(norm):
    return lambda: nn.Sequential(norm(nn.Linear(16, 16)))


def repeated():
    layer = nn.Linear(16, 16)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "make", [repeated, *map(normed, (parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal))],
    ids=["repeated", "weight norm", "spectral norm", "orthogonal"],
)  # fmt: skip
def test_what_stands_upon_a_network_and_where(make, later, base, tmp_path):
    """Upon the weight before it becomes a network, or upon the network."""

    def last(model):
        if later:
            parametrizations.spectral_norm(model[0])
        return model.eval()

    model, dense = drawn(make), last(drawn(make))
    tknn.tensorize_(model, {"0": "low_rank"}, budget=64, fit=False, base=base)
    model = last(model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, lambda: last(drawn(make, 1)))
    x = torch.randn(3, 16)
    with torch.no_grad():
        assert torch.equal(made(x), model(x)) and made.state_dict().keys() == model.state_dict().keys()
        plain = tknn.dense(made)
        torch.testing.assert_close(plain(x), model(x))
    assert plain.state_dict().keys() == dense.state_dict().keys()


@pytest.mark.slow
def test_a_layer_that_is_the_model(tmp_path):
    model = drawn(lambda: nn.Linear(16, 16))
    tknn.tensorize_(model, {"weight": "tt"}, budget=60, fit=False)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, lambda: drawn(lambda: nn.Linear(16, 16), 1))
    assert torch.equal(made(torch.ones(1, 16)), model(torch.ones(1, 16)))


def test_extra_states_that_are_tensors_come_back(tmp_path):
    class Counting(nn.Linear):
        steps = 0

        def get_extra_state(self):
            return torch.tensor(self.steps)

        def set_extra_state(self, state):
            self.steps = int(state)

    model = nn.Sequential(Counting(4, 4), nn.Linear(4, 4))
    model[0].steps = 7
    tknn.tensorize_(model, {"1": "low_rank"}, budget=8, fit=False)
    tknn.save(model, tmp_path)
    assert tknn.load(tmp_path, lambda: nn.Sequential(Counting(4, 4), nn.Linear(4, 4)))[0].steps == 7


def test_an_embedding_keeps_its_padding(tmp_path):
    model = drawn(Tagger)
    tknn.tensorize_(model, {"embedding": "tt"}, budget=0.3, fit=False)
    tknn.save(model, tmp_path)
    made = tknn.load(tmp_path, lambda: drawn(Tagger, 1))
    assert torch.equal(made.embedding.weight, model.embedding.weight) and not made.embedding.weight[0].any()

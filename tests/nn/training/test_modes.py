"""What is trained moves, and nothing else does: running statistics, the vectors of a spectral norm, dropout."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tnkit as tk
import tnkit_nn as tknn
from tnkit_nn import Group, Recipe, Task, train
from tnkit_nn.training.modes import frozen_keepers, keepers

X = torch.randn(48, 3, 6, generator=torch.Generator().manual_seed(2))
Y = X[:, 0, :4].argmax(1)
RECIPE = Recipe(1, 1e-2, batch=12)


class Plain(nn.Module):
    """A feature layer, what keeps statistics of it, and a head of its own; built in another order than it is called."""

    def __init__(self, feature, statistics):
        super().__init__()
        self.head = nn.Linear(24, 4)
        self.statistics = statistics
        self.feature = feature

    def forward(self, x):
        return self.head(self.statistics(self.feature(x)).flatten(1))


def feature():
    return nn.Conv1d(3, 4, 1)


MODELS = {
    "batch, affine": lambda: Plain(feature(), nn.BatchNorm1d(4)),
    "batch, not affine": lambda: Plain(feature(), nn.BatchNorm1d(4, affine=False)),
    "instance": lambda: Plain(feature(), nn.InstanceNorm1d(4, track_running_stats=True)),
    "instance, affine": lambda: Plain(feature(), nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
    "spectral": lambda: Plain(nn.utils.parametrizations.spectral_norm(feature()), nn.ReLU()),
    "spectral by a hook": lambda: Plain(nn.utils.spectral_norm(feature()), nn.ReLU()),
    "a network as the weight": lambda: Plain(_network(), nn.BatchNorm1d(4, affine=False)),
}


def _network():
    layer = nn.Conv1d(3, 4, 1, bias=False)
    tknn.parametrize_(layer, "weight", tk.mpo((2, 2), (3, 1), 2))
    return layer


def made(kind):
    torch.manual_seed(0)
    return MODELS[kind]()


def values(model):
    return {n: v.clone() for n, v in model.state_dict().items()}


def moved(model, before):
    return {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}


@pytest.mark.parametrize("kind", MODELS)
def test_everything_moves_in_full_training(kind):
    """As in torch's own loop: there is nothing that it moves and ours does not, and the end is the same."""
    model, other = made(kind), made(kind)
    before = values(model)
    train(model, (X, Y), Recipe(1, 1e-2, "sgd", "constant", batch=12))
    other.train()
    optimizer = torch.optim.SGD(other.parameters(), 1e-2, momentum=0.9, nesterov=True)
    for k in torch.randperm(48, generator=torch.Generator().manual_seed(1)).split(12):
        optimizer.zero_grad()
        F.cross_entropy(other(X[k]), Y[k]).backward()
        optimizer.step()
    assert moved(model, before) == moved(other, before)
    assert any(n in moved(model, before) for n, _ in model.named_buffers())
    for n, v in model.state_dict().items():
        assert torch.allclose(v, other.state_dict()[n], atol=1e-6), n


@pytest.mark.parametrize("how", ["groups", "requires_grad"])
@pytest.mark.parametrize("kind", MODELS)
def test_what_is_frozen_stands_still(kind, how):
    model = made(kind)
    before = values(model)
    if how == "groups":
        train(model, (X, Y), RECIPE, groups=[Group(model.head.named_parameters(prefix="head"))])
    else:
        model.feature.requires_grad_(False), model.statistics.requires_grad_(False)
        train(model, (X, Y), RECIPE)
    assert moved(model, before) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("kind", MODELS)
def test_statistics_of_what_is_trained_move(kind):
    """The layer alone is trained, and what follows it without weights of its own goes with it."""
    model = made(kind)
    before = values(model)
    train(model, (X, Y), RECIPE, groups=[Group(model.feature.named_parameters(prefix="feature"))])
    found = moved(model, before)
    assert not {n for n in found if n.startswith("head")} and any(n.startswith("feature") for n in found)
    with_weights = kind in ("batch, affine", "instance, affine")
    buffers = {n for n, _ in model.named_buffers()} & found
    assert bool(buffers) is not with_weights


def test_what_keeps_statistics_and_what_it_goes_with():
    model = nn.Sequential(
        nn.BatchNorm1d(6, affine=False), nn.Linear(6, 4), nn.BatchNorm1d(4, affine=False), nn.BatchNorm1d(4)
    )
    before = values(model)
    state = torch.get_rng_state()
    found = keepers(model, lambda m, batch: m(batch).sum(), torch.randn(5, 6))
    assert found == {"0": "1", "2": "1", "3": "3"}  # the data's own goes with what comes after it
    assert not moved(model, before) and all(m.training for m in model.modules())
    torch.set_rng_state(state)
    assert frozen_keepers(model, found, [model[1].weight]) == [model[3]]
    assert frozen_keepers(model, found, list(model[3].parameters())) == [model[0], model[2]]


class Shifted(nn.Module):
    """Has a buffer that never changes, as an encoding of positions."""

    def __init__(self):
        super().__init__()
        self.layer, self.statistics = nn.Linear(6, 4), nn.BatchNorm1d(4)
        self.register_buffer("places", torch.arange(6.0))

    def forward(self, x):
        return self.statistics(self.layer(x + self.places))


def test_a_buffer_that_stays_keeps_nothing():
    model = Shifted()
    found = keepers(model, lambda m, batch: m(batch).sum(), torch.randn(5, 6))
    assert found == {"statistics": "statistics"}
    assert frozen_keepers(model, found, [model.layer.weight]) == [model.statistics]


class Swapping(nn.Module):
    """Puts another tensor in the place of its buffer, where others copy into it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(18, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        y = self.layer(x.flatten(1))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.mean(0).detach()
        return y - self.mean


def test_a_buffer_that_is_replaced():
    torch.manual_seed(0)
    model = Swapping()
    buffer = model.mean
    assert keepers(model, lambda m, batch: m(batch).sum(), X) == {"": "layer"}
    assert model.mean is buffer and not buffer.any()
    train(model, (X, Y), RECIPE)
    assert model.mean.any()


class Noting(nn.Module):
    """Notes in which mode it is called."""

    def __init__(self):
        super().__init__()
        self.modes = []
        self.layer, self.dropout = nn.Linear(18, 4), nn.Dropout(0.5)

    def forward(self, x):
        self.modes.append((self.training, self.dropout.training, torch.is_grad_enabled()))
        return self.layer(self.dropout(x.flatten(1)))


def test_dropout_is_on_in_training_and_off_in_evaluation():
    model = Noting().eval()
    train(model, {"train": (X, Y), "val": (X, Y)}, RECIPE, groups=[Group(model.layer.named_parameters("layer"))])
    assert model.modes[-5:] == [(True, True, True)] * 4 + [(False, False, False)] and not model.dropout.training


def test_a_model_that_gives_its_losses_in_training_alone():
    """As detectors do; then there is no validation part, and training tries the loss in training."""

    class Detector(Noting):
        def forward(self, x, y):
            found = super().forward(x)
            return {"classes": F.cross_entropy(found, y)} if self.training else [found]

    def loss(model, batch):
        return sum(model(*batch).values())

    model = Detector()
    history = train(model, Task(data=(X, Y), loss=loss), Recipe(3, 1e-2, batch=12))
    assert history[-1].loss < history[0].loss


def test_a_step_that_could_not_be_is_said_before_it(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 4), nn.BatchNorm1d(4))
    with pytest.raises(
        ValueError, match="train: the model in training does not take the first batch: Expected more than 1 value per"
    ):
        train(model, (X, Y), Recipe(1, 1e-2, batch=1), checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r"parameter '1.weight' has no shape yet: call the model with a batch first"):
        train(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), (X, Y), RECIPE, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=r"they are on the meta device: call to_empty\(device=...\) first"):
        train(nn.Linear(6, 4, device="meta"), (X[:, 0], Y), RECIPE, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())

"""Images channels last: where that is done, and that it changes nothing but rounding."""

import pytest
import torch
from torch import nn

from tnkit_nn import data, zoo
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import batches_of
from tnkit_nn.comparison.fixture import Fixture
from tnkit_nn.comparison.layout import channels_last, laid
from tnkit_nn.training.goal import goal_of


class Viewed(nn.Module):
    """Takes contiguous images alone: ``view``."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(3 * 36, 4)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


class OtherLayout(Viewed):
    """Its outputs depend on how images lie."""

    def forward(self, x):
        last = x.is_contiguous(memory_format=torch.channels_last)
        return self.head(self.conv(x).flatten(1)) + (1.0 if last else 0.0)


class OnlyInTraining(Viewed):
    """The same, in training alone."""

    def forward(self, x):
        out = self.conv(x)
        return self.head(out.view(len(x), -1) if self.training else out.flatten(1))


def convolutional(drop=0.3):
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(drop), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )  # fmt: skip


def fixture_of(model, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(140, 2, 6, 6, generator=draw, dtype=dtype), torch.randint(4, (140,), generator=draw)
    goal = goal_of(data.Split("random", (x, y), (x, y), (x, y)), "test")
    return Fixture(
        model.to(dtype), goal, keeping={n: n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    )


@pytest.mark.parametrize(
    ("make", "want"), [(convolutional, True), (Viewed, False), (OtherLayout, False), (OnlyInTraining, False)]
)
def test_images_lie_channels_last_where_the_model_takes_them_so(make, want):
    assert fixture_of(make()).channels_last is want
    assert fixture_of(make()).training(["conv.weight"]).channels_last is want


def test_what_is_no_image_is_left_as_it_lies():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 4))
    assert not fixture_of(model).channels_last and not channels_last(model, torch.ones(2, 2, 6, 6), model.train)
    for x in (torch.ones(2, 2), torch.ones(2, 2, 6, 6, dtype=torch.long), None):
        assert not channels_last(convolutional(), x, model.train)


def test_asking_changes_nothing():
    model = convolutional().train()
    before = {n: x.clone() for n, x in model.state_dict().items()}
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    assert fixture_of(model).channels_last and torch.equal(torch.rand(2), want)
    assert all(torch.equal(x, before[n]) for n, x in model.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [lambda: convolutional(0), lambda: zoo.build("lenet5", 4)[3:6].append(nn.Flatten()).append(nn.Linear(64, 4))],
)
def test_losses_gradients_and_readings_are_those_of_contiguous_images(make):
    """In float64; images, labels and the seeds' draws alike."""
    torch.manual_seed(1)
    model, draw = make(), torch.Generator().manual_seed(1)
    if not isinstance(model[1], nn.BatchNorm2d):  # from 6 channels
        model[0] = nn.Conv2d(2, 16, 3)
    found = {}
    fixture = fixture_of(model, torch.float64)
    params = {
        n: torch.randn(2, *p.shape, generator=draw, dtype=p.dtype).mul(0.2).requires_grad_()
        for n, p in model.named_parameters()
    }
    for last in (True, False):
        if not last:
            fixture = fixture_of(model, torch.float64)
            vars(fixture)["channels_last"] = False
        assert fixture.channels_last is last
        axes, batches = Axes(seed=2), batches_of(fixture.goal.parts["train"], None, range(2), 1)
        losses = fixture.losses(params, {}, batches, axes, 0, alone=True, state={})
        slopes = torch.autograd.grad(losses.sin().sum(), list(params.values()))
        read = fixture.read(params, {}, "test", axes, alone=True)
        found[last] = (losses, *slopes, read.loss, read.metric, read.classes)
    torch.testing.assert_close(found[True], found[False], rtol=1e-10, atol=1e-12)


def test_laid_images_are_the_same():
    x = torch.randn(3, 2, 4, 5)
    assert torch.equal(laid(x), x) and laid(x).is_contiguous(memory_format=torch.channels_last)

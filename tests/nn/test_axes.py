"""Axes of replicas by name."""

import torch

from tnkit_nn.axes import RATE, SEED, START, Axes


def test_flat_replicas_are_those_of_the_named_axes():
    axes = Axes(rate=3, start=2, seed=5)
    x = torch.arange(3 * 2 * 5 * 4).view(3, 2, 5, 4)
    assert axes.replicas == 30 and axes.flatten(x).shape == (30, 4)
    assert torch.equal(axes.unflatten(axes.flatten(x)), x)
    assert (x.shape[RATE], x.shape[START], x.shape[SEED]) == axes.sizes
    for rate, start in ((0, 0), (2, 1)):
        assert torch.equal(axes.at({"w": axes.flatten(x)}, rate, start)["w"], x[rate, start])


def test_what_has_one_axis_is_the_same_along_the_others():
    axes = Axes(rate=3, start=2, seed=5)
    seeds = axes.unflatten(axes.by_seed(torch.arange(10.0).view(5, 2)))
    assert seeds.shape == (3, 2, 5, 2) and torch.equal(seeds[2, 1], torch.arange(10.0).view(5, 2))
    rates = axes.unflatten(axes.by_rate([0.1, 0.2, 0.3]))
    assert (rates[1] == 0.2).all() and rates.dtype == torch.float64

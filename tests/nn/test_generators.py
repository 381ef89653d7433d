"""Ways to make a weight: each is what it says, by seed, and so are the replicas made of it."""

from functools import partial

import numpy as np
import pytest
import torch

import tnkit as tk
from tnkit_nn.axes import Axes
from tnkit_nn.generators import (
    Generators,
    fixed_generator,
    hashed_generator,
    network_generator,
    random_start,
    regauged,
    subspace_generator,
    weight_rms,
)  # fmt: skip


def test_hashed_start_is_the_least_squares_fit():
    target = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    generator = hashed_generator(10, (6, 8), target)
    basis = (
        torch.stack([generator.weight({"values": row[None]}, Axes()).flatten() for row in torch.eye(10)])
        .double()
        .numpy()
    )
    best, *_ = np.linalg.lstsq(basis.T, target.flatten().double().numpy(), rcond=None)
    assert np.allclose(best, generator.start["values"][0].numpy(), atol=1e-5)
    assert np.array_equal(np.unique(np.abs(basis).sum(0)), [1])  # each weight is one number, with a sign


def test_network_generator_makes_each_seeds_weight():
    net = tk.adtn((6, 8), depth=2, dim=None)
    sizes = torch.tensor([0.5, 1.0, 2.0])
    generator = network_generator(net, sizes.view(3, 1, 1).expand(3, 6, 8))
    weight = generator.weight(generator.start, Axes(seed=3))
    assert weight_rms(weight).tolist() == pytest.approx([0.5, 1.0, 2.0], rel=1e-4)
    one = {n: a[1].double().numpy() for n, a in generator.start.items()}
    assert np.allclose(tk.detensorize(tk.contract(net, one), (6, 8)), weight[1].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "net", [tk.adtn((8, 8), depth=3, share=1), tk.adtn((8, 8), depth=2, activation="sin"), tk.cp((8, 8), 2)]
)
def test_regauge_keeps_the_direction_and_sets_the_best_scale(net):
    target = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    generator = network_generator(net, target)
    values = {
        n: a * (3.0 if net.multilinear or n in [m.name for m in net.nodes] else 1.0) for n, a in generator.start.items()
    }
    before, after = (
        generator.weight(v, Axes(seed=2)).flatten(1) for v in (values, regauged(generator, values, target, net))
    )
    t = target.flatten(1)
    cos = torch.nn.functional.cosine_similarity
    assert torch.allclose(cos(before, t), cos(after, t), atol=1e-4)
    good = cos(after, t) > 0
    best = ((before * t).sum(1) / before.square().sum(1))[:, None] * before
    assert torch.allclose(after[good], best[good], atol=1e-4)


def test_picked_copies_one_input_each_and_dense_is_the_weight():
    target = torch.randn(2, 5, 7)
    picked = fixed_generator("picked", target).weight({}, Axes(seed=2))
    assert torch.equal(picked.sum(2), torch.ones(2, 5)) and set(picked.unique().tolist()) == {0.0, 1.0}
    dense = fixed_generator("dense", target)
    assert torch.equal(dense.weight({}, Axes(seed=2)), target) and dense.num_params == 35 and not dense.start
    more = fixed_generator("dense_trained_on", target)
    assert torch.equal(more.weight(more.start, Axes(seed=2)), target) and more.num_params == 35
    assert fixed_generator("frozen_random", target).num_params == 0


def test_pooled_is_the_mean_of_a_run_of_inputs():
    x = torch.arange(12.0)
    pooled = fixed_generator("pooled", torch.randn(2, 4, 3, 2, 2)).weight({}, Axes(seed=2))
    torch.testing.assert_close(pooled.view(2, 4, 12)[1] @ x, x.view(4, 3).mean(1))
    assert torch.equal(fixed_generator("pooled", torch.randn(1, 5, 5)).weight({}, Axes())[0], torch.eye(5))


@pytest.mark.parametrize("budget", [10, 48, 500])
def test_subspace_is_linear_starts_at_the_least_squares_fit_and_is_generic(budget):
    target = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(3))
    generator = subspace_generator(budget, (6, 8), target)
    k = generator.num_params
    assert k == min(budget, 48)
    basis = (
        torch.stack([generator.weight({"values": row.repeat(2, 1)}, Axes(seed=2))[1].flatten() for row in torch.eye(k)])
        .double()
        .numpy()
    )
    assert np.linalg.matrix_rank(basis) == k or k > 40  # cut to 48 of 64 rows, the last columns depend on others
    best = np.linalg.lstsq(basis.T, target[1].flatten().double().numpy())[0] @ basis
    assert np.allclose(best, generator.weight(generator.start, Axes(seed=len(target)))[1].flatten().numpy(), atol=1e-3)
    assert weight_rms(generator.weight(random_start(generator, target), Axes(seed=2))).tolist() == pytest.approx(
        weight_rms(target).tolist(), rel=1e-4
    )
    assert not torch.equal(*(generator.weight({"values": torch.ones(2, k)}, Axes(seed=2))))  # each seed has its own


def test_the_error_of_a_random_subspace_is_the_chance_level():
    target = torch.randn(3, 30, 50, generator=torch.Generator().manual_seed(4))
    for generator in (hashed_generator(300, (30, 50), target), subspace_generator(300, (30, 50), target)):
        error = (generator.weight(generator.start, Axes(seed=len(target))) - target).norm() / target.norm()
        assert float(error) == pytest.approx((1 - 300 / 1500) ** 0.5, abs=0.02)


@pytest.mark.parametrize(
    "make",
    [
        partial(network_generator, tk.mpo((6,), (8,), 1)), partial(hashed_generator, 10, (6, 8)), partial(subspace_generator, 10, (6, 8)),
        partial(fixed_generator, "frozen_random"), partial(fixed_generator, "picked"),
    ],
)  # fmt: skip
def test_makers_follow_the_first_seed(make):
    target = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(5))
    every, later = make(target), make(target[1:], first_seed=1)
    torch.testing.assert_close(later.weight(later.start, Axes(seed=2)), every.weight(every.start, Axes(seed=3))[1:])
    if make.func in (hashed_generator, subspace_generator):
        drawn = random_start(every, target)["values"]
        torch.testing.assert_close(random_start(later, target[1:], first_seed=1)["values"], drawn[1:])
        ones = torch.ones_like(drawn)
        torch.testing.assert_close(
            later.weight({"values": ones[1:]}, Axes(seed=2)), every.weight({"values": ones}, Axes(seed=3))[1:]
        )


@pytest.mark.parametrize("make", [hashed_generator, subspace_generator])
def test_replicas_are_the_seeds_weights_at_every_rate_and_start(make):
    """Each replica is what the generator of its seed alone makes of its values."""
    target, axes = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(6)), Axes(rate=3, start=2, seed=2)
    both = Generators({"w": make(10, (6, 8), target), "v": fixed_generator("frozen_random", target)})
    values = torch.randn(axes.replicas, 10, generator=torch.Generator().manual_seed(7))
    made = both.weights({"w/values": values}, axes)
    for s in range(2):
        one = make(10, (6, 8), target[s : s + 1], first_seed=s)
        still = fixed_generator("frozen_random", target[s : s + 1], first_seed=s).weight({}, Axes())[0]
        for rate, start in np.ndindex(3, 2):
            want = one.weight({"values": axes.unflatten(values)[rate, start, s][None]}, Axes())[0]
            torch.testing.assert_close(axes.unflatten(made["w"])[rate, start, s], want)
            assert torch.equal(axes.unflatten(made["v"])[rate, start, s], still)

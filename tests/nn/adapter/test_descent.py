"""Adam on replicas side by side: each is an Adam of its own, and one that fails disturbs no other."""

import pytest
import torch

from tnkit_nn.adapter.descent import minimise
from tnkit_nn.axes import Axes


def test_minimise_is_adam_for_each_replica():
    start = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal = torch.arange(5.0, dtype=torch.float64)
    rates, steps = (0.05, 0.2), 40
    axes = Axes(rate=2, seed=2)
    speeds = {"w": axes.by_rate(rates)}
    found = minimise(lambda p, _: (p["w"] - goal).pow(4).sum(1), {"w": axes.by_seed(start)}, speeds, steps, every=1)
    score = axes.unflatten(found.score)
    for k, rate in enumerate(rates):
        for s in range(2):
            w = start[s].clone().requires_grad_()
            adam = torch.optim.Adam([w], lr=rate, betas=(0.9, 0.99))
            schedules = [
                torch.optim.lr_scheduler.LinearLR(adam, 0.1, 1.0, 2),
                torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps - 2),
            ]
            schedule = torch.optim.lr_scheduler.SequentialLR(adam, schedules, [2])
            best = float("inf")
            for _ in range(steps):
                loss = (w - goal).pow(4).sum()
                best = min(best, float(loss.detach()))
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
            best = min(best, float((w.detach() - goal).pow(4).sum()))
            assert float(score[k, 0, s]) == pytest.approx(best, rel=1e-6)


def test_a_diverging_replica_changes_no_other():
    def losses(p, _):
        loss = p["w"].square().sum(1)
        return loss * torch.where(p["bad"][:, 0] > 0, torch.nan, 1.0)

    w = torch.ones(3, 4)
    rates = dict.fromkeys(("w", "bad"), torch.full((3,), 0.1))
    clean = minimise(losses, {"w": w, "bad": torch.zeros(3, 1)}, rates, 20)
    mixed = minimise(losses, {"w": w, "bad": torch.tensor([[0.0], [1.0], [0.0]])}, rates, 20)
    assert torch.equal(clean.params["w"][[0, 2]], mixed.params["w"][[0, 2]])
    assert clean.score.max() < 0.1 and torch.isinf(mixed.score[1]) and torch.isfinite(mixed.params["w"]).all()


def test_a_replica_that_fails_once_goes_back_and_on_at_half_its_rate():
    """Its values are the best so far again; from there it does what a run at half the rate does from there."""

    def losses(p, step, fails):
        loss = p["w"].square().sum(1)
        return loss * torch.tensor([1.0, torch.nan if step == fails else 1.0])

    start, rates = {"w": torch.ones(2, 3)}, {"w": torch.full((2,), 0.2)}
    constant = dict(schedule=lambda *_: 1.0, every=1)
    found = minimise(lambda p, s: losses(p, s, 2), start, rates, 6, **constant)
    never = minimise(lambda p, s: losses(p, s, -1), start, rates, 6, **constant)
    assert torch.equal(found.history[:, 0], never.history[:, 0]) and torch.equal(
        found.params["w"][0], never.params["w"][0]
    )
    assert found.history[2, 1] == torch.inf and found.history[3, 1] == never.history[1, 1]
    half = minimise(
        lambda p, s: losses(p, s, -1), {"w": 0.8 * torch.ones(2, 3)}, {"w": torch.full((2,), 0.1)}, 3, **constant
    )
    torch.testing.assert_close(found.history[3:, 1], half.history[:, 1])


def test_each_name_has_its_rates_and_complex_and_single_numbers_are_values():
    goal = torch.tensor([1 + 2j, -1j], dtype=torch.complex128)

    def losses(p, _):
        return (p["z"] - goal).abs().square().sum(1) + (p["a"] - 3).square() + (p["still"] - 1).square()

    start = {"z": torch.zeros(2, 2, dtype=torch.complex128), "a": torch.zeros(2, dtype=torch.float64)}
    start["still"] = torch.zeros(2, dtype=torch.float64)
    rates = {"z": torch.tensor([0.1, 0.2]), "a": torch.tensor([0.2, 0.1]), "still": torch.zeros(2)}
    found = minimise(losses, start, rates, 500)
    torch.testing.assert_close(found.params["z"], goal.expand(2, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.params["a"], torch.full((2,), 3.0, dtype=torch.float64), atol=1e-4, rtol=0)
    assert not found.params["still"].any() and found.score == pytest.approx([1.0, 1.0])


def test_it_stops_where_nothing_is_gained_or_enough_is_reached():
    def losses(p, _):
        return p["w"].square().sum(1)

    start, rates = {"w": torch.ones(1, 2)}, {"w": torch.full((1,), 0.1)}
    assert len(minimise(losses, start, rates, 1000, every=1, patience=10).history) < 500
    enough = minimise(losses, start, rates, 1000, every=1, enough=0.5)
    assert enough.score[0] <= 0.5 < enough.history[-2, 0]


def test_real_and_complex_values_side_by_side_and_no_steps():
    start = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(2, 2, dtype=torch.complex128),
        "c": torch.zeros(2, dtype=torch.float64),
    }
    rates = dict.fromkeys(start, torch.full((2,), 0.1))

    def losses(params, step):
        return (params["a"] - 1).square().sum(1) + (params["b"] - 1j).abs().square().sum(1) + (params["c"] - 2) ** 2

    done = minimise(losses, start, rates, 300)
    assert {n: x.dtype for n, x in done.params.items()} == {n: x.dtype for n, x in start.items()}
    assert torch.allclose(done.params["a"], torch.ones(2, 3), atol=1e-3)
    assert torch.allclose(done.params["b"], torch.full((2, 2), 1j, dtype=torch.complex128), atol=1e-3)
    for score in (None, lambda params: losses(params, 0)):
        none = minimise(losses, start, rates, 0, score=score)
        assert torch.allclose(none.score, torch.tensor(9.0, dtype=torch.float64)) and len(none.history) == (
            score is None
        )

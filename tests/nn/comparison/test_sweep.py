"""The sweep of learning rates goes on beyond an edge that is the best."""

import pytest
import torch

from tnkit_nn import Task
from tnkit_nn.axes import Axes
from tnkit_nn.comparison import dense, tuning
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.fixture import Fixture
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import Trained, train_replicas
from tnkit_nn.comparison.row import row
from tnkit_nn.comparison.sweep import FURTHER, STEP, swept
from tnkit_nn.families import families
from tnkit_nn.training.goal import goal_of

from .test_own import NUMBERS, RMSE, STEPS, regressor, squares

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST, REST = (0.01, 0.05, 0.2), (0.002, 0.01, 0.05)


def made_up(score):
    """Trainings of two starts and two seeds whose values are their rates, with a score of rate and start; and the rates asked for."""
    asked = []

    def train(rates, others):
        asked.append((tuple(rates), tuple(others)))
        axes = Axes(rate=len(rates), start=2, seed=2)
        own, rest = (axes.by_rate(x) for x in (rates, others))
        scores = torch.tensor([[[score(rate, start)] * 2 for start in range(2)] for rate in rates])
        curves = own[None].repeat(3, 1)
        return Trained(axes, {"own": own}, {"rest": rest}, scores, "", curves, curves[:2])

    return train, asked


@pytest.mark.parametrize(
    ("best", "further"),
    [(0.05, []), (0.01 / 4, [0.0025, 0.000625]), (0.2, [0.8]), (0.01, [0.0025]), (0.0, [0.0025, 0.000625]), (9.0, [0.8, 3.2])],
)  # fmt: skip
def test_further_rates_are_tried_as_long_as_an_edge_is_the_best(best, further):
    train, asked = made_up(lambda rate, start: abs(rate - best) + start)
    found = swept(train, FIRST, REST)
    assert [rates for (rates, _) in asked[1:]] == [(pytest.approx(rate),) for rate in further]
    assert found.rates == pytest.approx(sorted((*FIRST, *further)))
    assert found.others == tuple(sorted(found.others)) and len(found.others) == len(found.rates)
    rate, start = found.trained.best()
    assert start == 0 and found.rates[rate] == min(found.rates, key=lambda r: abs(r - best))
    axes = found.trained.axes
    assert axes.sizes == (3 + len(further), 2, 2) == tuple(found.trained.score.shape)
    for k, (own, other) in enumerate(zip(found.rates, found.others, strict=True)):  # every training stands at its rate
        assert axes.at(found.trained.params, k, 1)["own"].tolist() == [own] * 2
        assert axes.at(found.trained.state, k, 1)["rest"].tolist() == [other] * 2
        assert found.trained.curve(k, 1, 0)[0][2] == pytest.approx(own, rel=1e-4)


def test_what_stands_still_is_what_has_not_moved():
    train, _ = made_up(lambda rate, start: rate + start)
    fixed, moved, still = torch.zeros(2), torch.ones(2), torch.full((2,), 2.0)
    found = train(FIRST, REST).standing({"given": fixed}, {"rest": moved, "places": still})
    assert found == {"given": fixed, "places": still}  # "rest" is in the state


def test_no_more_than_so_many_rates_beyond_each_edge():
    """A best that moves on with the sweep ends it at both sides, and the edge of a start that is worse moves nothing."""
    seen = []

    def score(rate, start):
        if start == 0:
            seen.append(rate)
        return float(start) - len(
            seen
        )  # each rate is better than those before it, and the first start better than the second

    train, asked = made_up(score)
    found = swept(train, FIRST, REST)
    assert found.rates == pytest.approx((*FIRST, *(0.2 * STEP**k for k in range(1, FURTHER + 1))))
    train, asked = made_up(lambda rate, start: rate if start else abs(rate - 0.05) - 1.0)
    assert swept(train, FIRST, REST).rates == FIRST and len(asked) == 1


def test_one_rate_is_a_choice():
    train, asked = made_up(lambda rate, start: rate)
    assert swept(train, [3e-3], [3e-3]).rates == (3e-3,) and len(asked) == 1


@pytest.mark.parametrize("first", [(1e-4, 4e-4, 1.6e-3), (0.5, 2.0, 8.0)], ids=["too low", "too high"])
def test_a_sweep_is_what_all_its_rates_side_by_side_give(first):
    """The oracle: one training of the rates that the sweep ended with."""
    fixture = Fixture(regressor(0), goal_of(NUMBERS, "test", loss=squares, metric=RMSE))
    start = {n: torch.stack([p, 1.1 * p])[None].detach() for n, p in fixture.model.named_parameters()}

    def train(rates, _):
        return train_replicas(
            fixture, range(2), start, lambda p, _: p, rates, 30, other_rates=rates, trained=list(start)
        )

    sweep = swept(train, first, first)
    assert len(sweep.rates) > 3 and sweep.rates == tuple(sorted(sweep.rates))
    whole = train(sweep.rates, ())
    torch.testing.assert_close(sweep.trained.score, whole.score)
    for name, values in whole.params.items():
        torch.testing.assert_close(sweep.trained.params[name], values, rtol=1e-4, atol=1e-5)
    assert sweep.trained.best() == whole.best() and sweep.trained.curve(1, 0, 1) == whole.curve(1, 0, 1)


def test_rates_that_are_far_too_high_do_not_hold_a_row_back(monkeypatch):
    """In a comparison: rows, their dense controls and dense models go down to a rate at which they learn; the record says what was tried."""
    for where in (tuning, dense):
        monkeypatch.setattr(where, "REST_RATES", (0.5, 2.0, 8.0))
    monkeypatch.setattr(tuning, "RATES", (0.5, 2.0, 8.0))
    experiment = with_dense_models(
        opened(Task(regressor, NUMBERS, loss=squares, metric=RMSE), Protocol((), **STEPS, rest="all"))
    )
    for job in (Job(families(["low_rank"])[0], 60), Job("dense_trained_on", None)):
        for record in row(experiment, job):
            for chosen in (record["chosen_frozen"], record["chosen_trained"]):
                assert chosen["lowest"] == pytest.approx(0.5 / STEP**FURTHER) or chosen["lowest"] < chosen["rate"]
                assert chosen["lowest"] <= chosen["rate"] <= chosen["highest"]

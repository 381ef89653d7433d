"""What a forward costs, as records have it."""

import json

import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit_nn.adapter.flops import counted
from tnkit_nn.comparison.compare import compare
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import opened
from tnkit_nn.comparison.forward import forward_cost
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.start import start_of
from tnkit_nn.families import Family
from tnkit_nn.storage import write_record
from tnkit_nn.task import Task

TIMES = ("ms", "dense_ms", "step_ms", "dense_step_ms")


pytestmark = pytest.mark.usefixtures("one_thread")


def cost_of(task, job, layer, **options):
    protocol = Protocol(layer, 1, 0, 1, 1, 1, **options)
    experiment = with_dense_models(opened(task, protocol))
    start = start_of(experiment, job)
    return experiment, forward_cost(experiment, start, job.label)


def conv_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(576, 10)
    )  # fmt: skip


class Recurrent(nn.Module):
    """Rows of an image, one after another; and a layer that is called for each of them."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        super().__init__()
        self.embed, self.rnn, self.head = nn.Linear(8, 12), nn.RNN(12, 12), nn.Linear(12, 10)

    def forward(self, x):
        rows = [self.embed(row) for row in x.view(-1, 8, 8).unbind(1)]
        return self.head(self.rnn(torch.stack(rows))[0][-1])


def networks(net):
    return Job(Family("mine", "mine", lambda *_: net), 100)


def test_several_layers_are_added_up():
    net = tk.low_rank((16, 72), 2)
    own = Family("mine", "mine", lambda shape, _: net if len(shape) == 4 else tk.low_rank(shape, 3))
    experiment, found = cost_of(Task(conv_net, "digits"), Job(own, 100), ("3.weight", "5.weight"), rest="none")
    convolution = experiment.model[3]
    dense = counted(convolution, torch.randn(1, 8, 8, 8)) + 2 * 576 * 10
    assert found["batch"] == 128 and found["dense_flops"] == dense == 2 * 36 * 16 * 72 + 2 * 5760
    assert found["flops_if_built"] == -(
        -(tk.plan(net).flops + tk.plan(tk.low_rank((10, 576), 3)).flops + 128 * dense) // 128
    )
    assert "factorised" in found["way"] and 2 * 3 * (576 + 10) < found["flops"] < found["flops_if_built"]
    assert all(found[key] > 0 for key in TIMES) and found["step_ms"] > found["ms"]


def test_a_layer_called_several_times_costs_as_often():
    _, found = cost_of(
        Task(lambda seed: Recurrent(seed), "digits"), networks(tk.low_rank((12, 8), 1)), ("embed",), rest="none"
    )
    assert found["dense_flops"] == 8 * 2 * 8 * 12
    assert (found["way"], found["flops"]) == ("factorised", 8 * 2 * (8 + 12))


def test_of_another_layer_the_weight_is_made_and_the_dense_layer_called():
    _, found = cost_of(
        Task(lambda seed: Recurrent(seed), "digits"),
        networks(tk.low_rank((12, 12), 2)),
        ("rnn.weight_hh_l0",),
        rest="none",
    )
    assert found["way"] == "built" and all(found[key] > 0 for key in TIMES)
    assert found["dense_flops"] == 8 * 2 * 2 * 12 * 12
    assert found["flops"] == found["dense_flops"] + -(-tk.plan(tk.low_rank((12, 12), 2)).flops // 128)


@pytest.mark.parametrize("label", ["dense", "pooled", "dense_trained_on"])
def test_controls_that_stay_dense(label):
    _, found = cost_of(Task("mlp", "digits"), Job(label, None), ("fc1",))
    assert (found["way"], found["flops"], found["dense_flops"]) == ("dense", 2 * 64 * 64, 2 * 64 * 64)


def test_a_layer_that_is_not_there_costs_nothing_known():
    assert cost_of(Task("mlp", "digits"), Job("removed", None), ("fc1",))[1] == {}


class Functional(nn.Module):
    """It reads the weight of a layer that it never calls."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.last(torch.relu(x.flatten(1) @ self.first.weight.T))


def test_why_nothing_was_measured():
    _, found = cost_of(
        Task(lambda seed: Functional(seed), "digits"), networks(tk.low_rank((16, 64), 1)), ("first",), rest="none"
    )
    assert found == {"way": "not measured: first is not called as a module"}


@pytest.mark.slow
def test_rows_kept_by_an_earlier_version_are_taken(tmp_path):
    """A study goes on where it was: its rows have no costs."""
    options = dict(seeds=1, dense_steps=5, fit_steps=2, tune_steps=2, rest="none", out=tmp_path)
    task = Task("mlp", "digits")
    first = compare(task, ["low_rank"], [300], **options)
    assert {r["label"] for r in first if not r["forward"]} == {"removed"}
    for path in (tmp_path / "jobs").glob("*.json"):
        kept = json.loads(path.read_text())  # as that version wrote them
        for record in kept["result"]:
            del record["forward"]
        write_record(path, kept["job"], {"job": kept["job"], "result": kept["result"]})
    again = compare(task, ["low_rank"], [300], **options)
    assert all(r["forward"] == {} for r in again) and len(again) == len(first)
    assert [r["test_frozen"] for r in again] == [r["test_frozen"] for r in first]

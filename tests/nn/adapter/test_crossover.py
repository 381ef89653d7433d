"""Predicted times of the ways to run a layer: on a machine where operations alone take time, they are the operations."""

import pytest
import torch
from torch import nn

import tnkit as tk
from tnkit.planning.calibration import Rates
from tnkit_nn.adapter.crossover import MOST_ROWS, crossovers, input_routes, matrix_split, way_flops, weight_first
from tnkit_nn.adapter.flops import counted

from .test_flops import LINEAR


@pytest.fixture
def operations(monkeypatch):
    """One operation a second; bytes and calls take no time that shows."""
    monkeypatch.setattr("tnkit.planning.calibration._known", [Rates(1.0, 1e30, 1e-30)])


def every_way(net, ins, outs):
    """The name of the input, and all ways: the weight built first, and it contracted with the input."""
    x, _, ways = input_routes(net, net.output[matrix_split(net, outs, ins) :], 64, "auto", 4)
    return x, [weight_first(tk.plan(net, itemsize=4), outs, ins, 4), *ways]


@pytest.mark.parametrize("rows", [1, 64, 300])
@pytest.mark.parametrize("name", LINEAR)
def test_the_time_of_a_way_is_its_operations(name, rows, operations):
    net, ins, outs = LINEAR[name]
    x, ways = every_way(net, ins, outs)
    for way in ways:
        built = tk.plan(net, itemsize=4).flops + counted(nn.Linear(ins, outs), torch.randn(rows, ins))
        assert way.seconds(rows) == pytest.approx(built if way.plan is None else way_flops(way.plan, x, rows)[0])


@pytest.mark.parametrize("name", LINEAR)
def test_every_number_of_rows_has_the_fastest_way(name, operations):
    _, ways = every_way(*LINEAR[name])
    spans = crossovers(ways)
    assert spans[-1][0] == 2 * MOST_ROWS
    start = 1
    for below, chosen in spans:
        while start < below:
            assert min(w.seconds(start) for w in ways if w.plan is chosen) == min(w.seconds(start) for w in ways)
            start *= 2

"""Learning rates by structure: do they bring the best rates of unlike networks together, so that a sweep may be narrower?

    python benchmarks/paper/rates.py --data-dir DIR

One network, one width, one rule a cell: seven learning rates, two starts and three seeds, the other layers frozen.  It goes on where
it was interrupted, and writes ``rates.json`` beside it with what is finished.  Validation images only: nothing is claimed of a network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import exp, log, sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from cells import bar
from digests import kept_in
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn import zoo
from tnkit_nn.adapter.descent import Params
from tnkit_nn.axes import Axes
from tnkit_nn.budgets import factorisations, grow, near_budget
from tnkit_nn.comparison.dense import with_dense_models
from tnkit_nn.comparison.experiment import Experiment, opened
from tnkit_nn.comparison.job_store import Study, run_jobs
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.rates import fan_ins, fan_outs
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import train_replicas
from tnkit_nn.comparison.start import start_of
from tnkit_nn.families import KINDS, Family
from tnkit_nn.storage import write_json
from tnkit_nn.task import Task
from tnkit_nn.versions import versions

HERE = Path(__file__).parent
#: One rate for all arrays, rates by fan-in, and starts of the paper too: its rule, which is that of ``compare(rates="structured")``.
RULES = ("equal", "structured", "structured, with its starts")
#: Half decades.
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
SEEDS, DENSE_STEPS, FIT_STEPS, STEPS = 3, 300, 100, 150
#: Of MNIST's training images, a tenth of them for validation.
LIMIT = 10_000
#: The code that results depend on (``digests.PARTS``).
SOURCES = (
    "benchmarks/paper/rates.py:one_cell", "tnkit_nn/comparison/rates.py", "tnkit_nn/comparison/replicas.py", "tnkit_nn/adapter/descent.py",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The first layer of a perceptron of a hidden width, and how many parameters stand in for it."""

    data: str
    width: int
    budget: int

    @property
    def name(self) -> str:
        """As in tables."""
        return f"{self.data}, {self.width} x {INPUTS[self.data]}"

    def task(self, data_dir: str) -> Task:
        """Model and data."""
        model = partial(perceptron, width=self.width, inputs=INPUTS[self.data])
        options: dict[str, Any] = {} if self.data == "digits" else {"data_dir": data_dir, "limit": LIMIT}
        return Task(model, self.data, **options)


INPUTS = {"digits": 64, "mnist": 784}
PLACES = (Place("digits", 64, 300), Place("digits", 256, 1200), Place("digits", 64, 1200), Place("mnist", 64, 1200))


def perceptron(seed: int, width: int, inputs: int) -> nn.Module:
    """Inputs -> width -> 10."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), zoo.MLP((inputs, width, 10)))


def kronecker_near(shape: Sequence[int], budget: int) -> tk.Network:
    """A sum of Kronecker products of two or three factors."""
    return near_budget(_grown(tk.kronecker, shape, budget, (2, 3)), budget)


def btt_near(shape: Sequence[int], budget: int) -> tk.Network:
    """A block tensor train of two cores: what holds Monarch matrices."""
    return near_budget(_grown(tk.btt, shape, budget, (2,)), budget)


def _grown(make: Any, shape: Sequence[int], budget: int, digits: Sequence[int]) -> Iterator[tk.Network]:
    for out, in_ in factorisations(shape, digits):
        yield from grow(partial(make, out, in_), budget)


FAMILIES = {
    **{name: KINDS[name].build for name in ("low_rank", "mpo", "tt")}, "kronecker": kronecker_near, "btt": btt_near,
    "cp": KINDS["cp"].build,  # it takes longest
}  # fmt: skip


@cache
def _experiment(place: Place, data_dir: str) -> Experiment:
    protocol = Protocol(("1.fc1",), SEEDS, 0, DENSE_STEPS, FIT_STEPS, STEPS, rest="none")
    return with_dense_models(opened(place.task(data_dir), protocol))


def one_cell(place: Place, family: str, rule: str, data_dir: str) -> dict[str, Any]:
    """The accuracy on validation images of every rate, start and seed, and what the paper's own rule would multiply rates by."""
    begin, experiment = perf_counter(), _experiment(place, data_dir)
    start = start_of(experiment, Job(Family(family, family, FAMILIES[family]), place.budget))
    values = {n: torch.stack([v[n] for v in start.values.values()]) for n in start.values["fit"]}

    (net,), (shape,) = start.nets.values(), experiment.shapes.values()
    fans = fan_ins(net, shape)
    if rule == RULES[2]:
        sizes = paper_sizes(net, shape, {n: float(x.square().mean().sqrt()) for n, x in values.items()})
        values = {n: x * sizes[n] for n, x in values.items()}

    def assemble(params: Params, axes: Axes) -> Params:
        return start.generators.weights(params, axes)

    fixture = experiment.fixture(False)
    found = train_replicas(
        fixture, experiment.protocol.each, values, assemble, RATES, STEPS, fixed=experiment.others(False),
        trained=experiment.weights, statistics=experiment.seen_statistics(fixture),
        factors={} if rule == "equal" else by_fan_in(fans, values), other_rates=RATES,
    )  # fmt: skip
    inputs = experiment.shapes[experiment.weights[0]][1]
    return {
        "place": place.name, "budget": place.budget, "family": family, "rule": rule, "num_params": net.num_params, "fans": fans,
        "mean_factor": exp(sum(log(inputs / fan) for fan in fans.values()) / len(fans)), "starts": list(start.values),
        "score": _rounded(1 - found.score), "seconds": round(perf_counter() - begin, 1),
    }  # fmt: skip


def by_fan_in(fans: Mapping[str, float], values: Iterable[str]) -> dict[str, float]:
    """``weight name/array name`` -> the factor 1 / fan-in of its rates, their geometric mean being 1."""
    mean = exp(sum(map(log, fans.values())) / len(fans))
    return {n: mean / fans[n.rpartition("/")[2]] for n in values}


def paper_sizes(net: tk.Network, shape: Sequence[int], rms: Mapping[str, float]) -> dict[str, float]:
    """What start values are multiplied by to be as large as the paper draws them, sqrt(min(ins, outs)) / ins, up to one common factor.

    The factors' product is 1: the weight, which is linear in every array here, stays as it is.
    """
    ins, outs = fan_ins(net, shape), fan_outs(net, shape)
    wanted = {name: log(sqrt(min(fan, outs[name])) / fan) for name, fan in ins.items()}
    off = {n: wanted[n.rpartition("/")[2]] - log(size) for n, size in rms.items()}
    mean = sum(off.values()) / len(off)
    return {n: exp(x - mean) for n, x in off.items()}


def _rounded(x: Tensor) -> list[Any]:
    """(rate, start, seed): the accuracy, ties of which went to the lower loss by at most 0.001."""
    found: list[Any] = (x * 1e5).round().div(1e5).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's files")
    parser.add_argument("--out", default="out/paper/rates")
    parser.add_argument("--places", type=int, default=len(PLACES), help="only the first so many layers (default: all)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    digests = kept_in(Path(args.out), *SOURCES)
    settings = {"rates": RATES, "seeds": SEEDS, "steps": [DENSE_STEPS, FIT_STEPS, STEPS], "limit": LIMIT}
    study, cells = Study(args.out, settings), list[dict[str, Any]]()
    todo = {
        f"{place.name} {place.budget} {family} {rule}": (place, family, rule, args.data_dir)
        for family in FAMILIES for place in PLACES[: args.places] for rule in RULES
    }  # fmt: skip
    with study.alone():
        for key, given in bar("rates")(list(todo.items()), len(todo)):
            cells += run_jobs({key: given}, one_cell, study=study).values()
            write_json(HERE / "rates.json", {**settings, "digests": digests, "versions": versions(), "cells": cells})
    print(json.dumps({"cells": len(cells)}))


if __name__ == "__main__":
    main()

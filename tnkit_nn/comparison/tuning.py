"""The fine-tuning of a row: all rates and starts, what is best on validation chosen, the test part read once."""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.checks import shown
from tnkit_nn import zoo
from tnkit_nn.adapter.descent import Params
from tnkit_nn.approximation.methods import RATES
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.experiment import Experiment
from tnkit_nn.comparison.fixture import Fixture, Readings, private
from tnkit_nn.comparison.models import fresh_models, settled, stacked_values, values_of
from tnkit_nn.comparison.rates import rates_by_name
from tnkit_nn.comparison.record import Job
from tnkit_nn.comparison.replicas import REST_RATES, Trained, train_replicas
from tnkit_nn.comparison.split import split_at, within
from tnkit_nn.comparison.start import Start
from tnkit_nn.comparison.sweep import swept
from tnkit_nn.data.draws import seeded
from tnkit_nn.storage import misfit
from tnkit_nn.training.evaluation import sample_batch, trial
from tnkit_nn.training.modes import keepers
from tnkit_nn.weights import owner_and_leaf

__all__ = [
    "RATES",
    "Tuned",
    "as_approximated",
    "fine_tuned",
    "packed_classes",
    "rehearse",
    "smaller_model",
    "without_layers",
]

#: What is added to seeds of models that are made anew.
OFFSET = 500

_WITHOUT, _SMALLER = "compare: the model without the layers", "compare: the small dense model"


@dataclass(frozen=True)
class Tuned:
    """Metrics by seed after the fine-tuning, the rates and start that were best on validation, and the parameters trained elsewhere."""

    test: Readings
    val: Tensor
    chosen: dict[str, Any]
    elsewhere: int
    by_start: dict[str, Tensor] = field(default_factory=dict)
    model_params: int | None = None
    curves: tuple[list[list[float | None]], ...] = ()
    alone: str = ""


def as_approximated(experiment: Experiment, start: Start) -> Tensor:
    """The metric on the test part right after the approximation, (seed,)."""
    fixture = experiment.tail
    still = {**experiment.others(False), **experiment.seen_statistics(fixture)}
    return fixture.read(start.fitted, still, "test", start.seeds, alone=bool(fixture.apart)).metric


def fine_tuned(experiment: Experiment, start: Start, others: bool, dense: bool) -> Tuned:
    """At the learning rates and the start that are best on validation, over all seeds; ``others``: the other layers are trained too."""
    protocol, fixture, seeds = experiment.protocol, experiment.fixture(others), start.seeds
    fixed, names = experiment.others(others), experiment.trainable(others)
    moving, statistics = {n: fixed.pop(n) for n in names}, experiment.seen_statistics(fixture)
    values = {n: torch.stack([v[n] for v in start.values.values()]) for n in start.values["fit"]}
    if not values and not moving:  # nothing to train
        still = {**fixed, **statistics}
        test, val = (fixture.read(start.fitted, still, p, seeds, alone=bool(fixture.apart)) for p in ("test", "val"))
        return Tuned(test, val.metric, {}, 0)

    def assemble(params: Params, axes: Axes) -> Params:
        return {**{n: params[n] for n in moving}, **start.generators.weights(params, axes)}

    rates = REST_RATES if dense else RATES  # a dense layer's parameters are like those of the other layers
    trained = [*moving, *(experiment.weights if values else ())]

    def train(own: Sequence[float], rest: Sequence[float]) -> Trained:
        return train_replicas(
            fixture, protocol.each, values, assemble, own, protocol.tune_steps, fixed=fixed, others=moving, other_rates=rest,
            trained=trained, statistics=statistics, factors=rates_by_name(start.nets, experiment.shapes, protocol.rates),
        )  # fmt: skip

    sweep = swept(train, rates, REST_RATES)
    found = sweep.trained
    with torch.no_grad():
        made = assemble(found.params, found.axes)
    still = found.standing(fixed, statistics)

    def reading(part: str, rate: int, s: int) -> Readings:
        return _chosen(fixture, found, made, still, part, rate, s)

    by_start = {
        name: reading("test", rate, s)
        for s, (name, rate) in enumerate(zip(start.values, found.best_rates(), strict=False))
    }
    rate, s = found.best()
    best = list(start.values)[s]
    chosen = {"rate": sweep.rates[rate], "start": best} if values else {}
    chosen |= {"rest_rate": sweep.others[rate]} if moving else {}
    chosen |= _tried(sweep.rates if values else sweep.others)
    elsewhere = sum(p[0].numel() for p in moving.values())
    return Tuned(
        by_start[best], reading("val", rate, s).metric, chosen, elsewhere,
        {n: r.metric for n, r in by_start.items()} if len(by_start) > 1 else {}, None, _curves(found, rate, s), found.alone,
    )  # fmt: skip


def _tried(rates: Sequence[float]) -> dict[str, float]:
    """The lowest and the highest rate of a sweep, for the record: whether the best of them is at an edge."""
    return {"lowest": rates[0], "highest": rates[-1]}


def _chosen(
    fixture: Fixture, found: Trained, made: Params, still: Params, part: str, rate: int, start: int
) -> Readings:
    """What the replicas of one rate and start make of a part."""
    params, state = found.axes.at(made, rate, start), found.axes.at(found.state, rate, start)
    return fixture.read(params, {**still, **state}, part, Axes(seed=found.axes.seed), alone=bool(found.alone))


def _curves(found: Trained, rate: int, start: int) -> tuple[list[list[float | None]], ...]:
    return tuple(found.curve(rate, start, seed) for seed in range(found.axes.seed))


# -- other models -------------------------------------------------------------------------------------------------------
def without_layers(experiment: Experiment) -> Tuned | str:
    """The model without the layers, drawn anew (with ``rest="head"``, from the first on) and trained as long as all others in all.

    Where the model was given trained, what the two models have in common begins with its values, and only the second training is
    left to do.  Why not, where the model cannot go without the layers.
    """
    task, protocol, models = experiment.task, experiment.protocol, list[nn.Module]()
    for seed, model in zip(protocol.each, fresh_models(task, protocol.each, OFFSET), strict=True):
        shorter = _shorter(experiment, experiment.model if task.trained else model, seed)
        if shorter is None:
            return "the task has no without=" if task.without is None else "without= gives none"
        models.append(shorter)
    _check_alike(experiment, models, _WITHOUT)
    steps = protocol.tune_steps if task.trained else protocol.dense_steps + protocol.tune_steps
    before = experiment.before if protocol.rest == "head" else set()
    values = stacked_values(models)
    held = {n: experiment.dense[n] for n in values if n in before}
    return _trained_anew(experiment, models, {**values, **held}, set(held), steps)


def _shorter(experiment: Experiment, model: nn.Module, seed: int) -> nn.Module | None:
    """The model without the layers, by the task's own function (which may change the model that it is given) or the zoo's."""
    names, own = experiment.weights, experiment.task.without
    with seeded(None, OFFSET + seed):  # what is made anew in a model that is given
        if own is not None:
            return _theirs(lambda: own(copy.deepcopy(model), *names), "without(model, *weights)", none=True)
        owners = [owner_and_leaf(n) for n in names]
        if any(
            leaf != "weight" or not owner for owner, leaf in owners
        ):  # a model that is itself the layer has no other
            return None
        return zoo.without(model, *(owner for owner, _ in owners))


def _small(experiment: Experiment, job: Job, seed: int) -> nn.Module:
    """A dense model of as many parameters as the whole model has with a network of the budget in it.

    Where no fewer will do, the task is asked for more and more, up to a tenth beyond: its models have counts in steps, mostly below.
    """
    make, size = experiment.task.smaller, sum(prod(shape) for shape in experiment.shapes.values())
    assert make is not None
    count = experiment.model_params - size + job.count
    most = count if job.least is None else count * 11 // 10 + 1
    for asked in range(count, most + 1, max(1, count // 100)):
        with seeded(None, OFFSET + seed):
            made = _theirs(partial(make, asked, OFFSET + seed), "smaller(parameters, seed)")
        assert made is not None
        settled(experiment.task, made, OFFSET + seed)  # a lazy one has no count before
        if sum(p.numel() for p in made.parameters()) >= count:
            break
    return made  # type: ignore[return-value]


def _theirs(make: Callable[[], Any], what: str, none: bool = False) -> nn.Module | None:
    """What a function of the task gives: a model."""
    try:
        made = make()
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"compare: {what} of the task fails: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module) and not (none and made is None):
        raise TypeError(
            f"compare: {what} of the task gives an nn.Module{' or None' if none else ''}, not {shown(made)}"
        )
    return made


def rehearse(experiment: Experiment, jobs: Sequence[Job]) -> None:
    """Make the models of the task's own controls once: what cannot be trained is said before anything is."""
    seed = experiment.protocol.first_seed
    if experiment.task.without is not None and experiment.protocol.rest != "none":
        shorter = _shorter(experiment, experiment.model, seed)
        if shorter is not None:
            trial(shorter, experiment.goal, _WITHOUT)
    for job in jobs:
        if job.what == "small_dense":
            trial(_small(experiment, job, seed), experiment.goal, _SMALLER)


def _check_alike(experiment: Experiment, models: Sequence[nn.Module], what: str) -> None:
    """The first of the models of all seeds takes the data, and the others are like it."""
    for seed, model in zip(experiment.protocol.each, models, strict=True):
        settled(experiment.task, model, OFFSET + seed)
    trial(models[0], experiment.goal, what)
    for seed, model in zip(experiment.protocol.each, models, strict=True):
        wrong = misfit(values_of(models[0]), values_of(model))
        if wrong:
            raise ValueError(f"{what} is of one structure for all seeds, but for seed {seed}: {wrong}")


def smaller_model(experiment: Experiment, job: Job) -> Tuned | str:
    """A dense model of as many parameters as the whole model has with a network of the budget in it, trained as long in all."""
    task, protocol = experiment.task, experiment.protocol
    if task.smaller is None:
        return "the task has no smaller="
    models = [_small(experiment, job, seed) for seed in protocol.each]
    _check_alike(experiment, models, _SMALLER)
    return _trained_anew(experiment, models, stacked_values(models), set(), protocol.dense_steps + protocol.tune_steps)


def _trained_anew(experiment: Experiment, models: list[nn.Module], values: Params, held: set[str], steps: int) -> Tuned:
    """Other models on the same data, trained but for the values held."""
    model = models[0]
    keeping = keepers(model, experiment.goal.loss, sample_batch(experiment.goal, model, "compare"))
    fixture = replace(experiment.full, model=private(model), keeping=keeping)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    start = {n: values[n] for n in parameters if n not in held}
    statistics = {n: x for n, x in values.items() if n not in dict(model.named_parameters())}
    fixed = {n: x for n, x in values.items() if n not in start and n not in statistics}
    if held and experiment.task.without is None and experiment.tail is not experiment.full:
        fixture, fixed, statistics = _from_features(experiment, fixture, start, fixed, statistics)

    def train(own: Sequence[float], _: Sequence[float]) -> Trained:
        return train_replicas(
            fixture, experiment.protocol.each, {n: x[None] for n, x in start.items()}, lambda p, _: p, own, steps, fixed=fixed,
            trained=list(start), statistics=statistics,
        )  # fmt: skip

    sweep = swept(train, REST_RATES, REST_RATES)
    found = sweep.trained
    rate, s = found.best()
    still = found.standing(fixed, statistics)
    test, val = (_chosen(fixture, found, found.params, still, part, rate, s) for part in ("test", "val"))
    counts = sum(x[0].numel() for x in start.values()), sum(p.numel() for p in model.parameters())
    return Tuned(
        test,
        val.metric,
        {"rest_rate": sweep.rates[rate], **_tried(sweep.rates)},
        counts[0],
        {},
        counts[1],
        _curves(found, rate, s),
        found.alone,
    )


def _from_features(
    experiment: Experiment, fixture: Fixture, start: Params, fixed: Params, statistics: Params
) -> tuple[Fixture, Params, Params]:
    """The same, beginning with what the layers before make of the data, which is there already."""
    first = next(iter(start)).rpartition(".")[0]
    _, after = split_at(fixture.model, first)
    mine = values_of(after)
    tail = replace(experiment.tail, model=private(after), keeping=within(fixture.keeping, after))
    return tail, {n: x for n, x in fixed.items() if n in mine}, {n: x for n, x in statistics.items() if n in mine}


# -- what was given to the test examples --------------------------------------------------------------------------------
def packed_classes(readings: Readings, seed: int) -> str:
    """The classes that a classifier gave to the test examples, as text: four bytes each, zlib, base 85; empty where it is none."""
    if readings.classes is None:
        return ""
    return base64.b85encode(zlib.compress(readings.classes[seed].to(torch.int32).cpu().numpy().tobytes(), 9)).decode()

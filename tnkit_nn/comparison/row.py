"""One row of a comparison: a family or a control at one budget, approximated and fine-tuned, all seeds at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import prod, sqrt
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

import tnkit as tk
from tnkit.core.checks import shown
from tnkit_nn import zoo
from tnkit_nn.adapter.descent import Params
from tnkit_nn.approximation import RATES, approximate_each
from tnkit_nn.axes import Axes
from tnkit_nn.budgets import matrix_shape, shares
from tnkit_nn.comparison.experiment import Experiment, fresh_models, stacked_values
from tnkit_nn.comparison.replicas import REST_RATES, split_at, train_replicas
from tnkit_nn.comparison.task import Task
from tnkit_nn.families import SHARED, Family, full_count
from tnkit_nn.generators import (
    Generator,
    Generators,
    fixed_generator,
    hashed_generator,
    random_start,
    subspace_generator,
)

__all__ = ["RATES", "Job", "Record", "built", "row", "wrong_records"]


@dataclass(frozen=True)
class Job:
    """One row: a family, or a control's name, and its budget (None for a control that has none)."""

    what: Family | str
    budget: int | None

    @property
    def label(self) -> str:
        """As in tables."""
        return self.what.label if isinstance(self.what, Family) else self.what


@dataclass(frozen=True)
class Record:
    """One family (or control) at one budget with one seed.  Accuracies are fractions, errors relative Frobenius norms.

    Attributes
    ----------
    model, data, rest, dense_steps, fit_steps, tune_steps
        Of the :class:`~tnkit_nn.comparison.task.Task`; ``data`` says where it is limited, ``dense_steps`` is 0 where weights are given.
    num_params, full_params
        Numbers stored for the weights, and in whole bricks where they are ADTNs.
    model_params, model_dense
        Numbers of the whole model so, and of the dense one.
    trained_elsewhere
        Numbers outside the weights that "rest trained" trains.
    error, chance
        Of all weights as one vector.
    flops
        Of making the weights once.
    approximation
        Layer -> what its network was found by (:func:`tnkit_nn.approximation.approximate`).
    networks
        Layer -> its network as JSON.
    layer, layer_params
        The layer's name, or the layers' with commas between, and the number of dense weights in all.
    val_frozen, val_trained
        Validation accuracies: what a choice between rows goes by.
    frozen_from, trained_from
        Test accuracy from each start (the approximation, or at random), at the rate that is best for it on validation.
    """

    family: str
    label: str
    depth: int | None
    budget: int | None
    num_params: int
    full_params: int
    model_params: int
    model_dense: int
    trained_elsewhere: int
    seed: int
    error: float | None
    chance: float | None
    accuracy_fit: float | None
    accuracy_frozen: float
    accuracy_trained: float | None
    val_frozen: float
    val_trained: float | None
    frozen_from: dict[str, float]
    trained_from: dict[str, float]
    chosen_frozen: dict[str, Any]
    chosen_trained: dict[str, Any]
    flops: int
    seconds: float
    approximation: dict[str, str]
    networks: dict[str, str]
    layer: str
    layer_params: int
    test_images: int
    model: str
    data: str
    rest: str
    dense_steps: int
    fit_steps: int
    tune_steps: int


@dataclass(frozen=True)
class _Start:
    """A row's weights before their fine-tuning: how they are made, from which values, and how near they are.

    ``values``: name of a start -> values (seed, ...); ``errors``: name of a weight -> (seed,).
    """

    generators: Generators
    values: dict[str, Params]
    errors: dict[str, Tensor]
    nets: dict[str, tk.Network]
    methods: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def fitted(self) -> Params:
        """Name of a weight -> the approximated weight, (seed, *shape)."""
        fit = self.values["fit"]
        with torch.no_grad():
            return self.generators.weights(fit, self.seeds)

    @property
    def seeds(self) -> Axes:
        """One replica a seed."""
        return Axes(seed=len(next(iter(self.errors.values()))))


@dataclass(frozen=True)
class _Tuned:
    """Accuracies by seed after the fine-tuning, the rates and start that were best on validation, and the parameters trained elsewhere."""

    test: Tensor
    val: Tensor
    chosen: dict[str, Any]
    elsewhere: int
    by_start: dict[str, Tensor] = field(default_factory=dict)
    model_params: int | None = None


def row(experiment: Experiment, job: Job) -> list[dict[str, Any]]:
    """The records of all seeds of one job."""
    task, begin = experiment.task, time.perf_counter()
    start = _start(experiment, job)
    fitted = experiment.tail.metric({**experiment.others(False), **start.fitted}, "test", start.seeds)
    tune = partial(_tune, experiment, start, dense=job.what == "dense_trained_on")
    frozen, trained = tune(False), None
    if task.rest != "none":
        trained = _left_out(experiment) if job.what == "removed" else tune(True)
    seconds = (time.perf_counter() - begin) / task.seeds
    family = job.what if isinstance(job.what, Family) else None
    count, size = start.generators.num_params, sum(map(prod, experiment.shapes.values()))
    errors = _error(experiment, start.errors)
    shared: dict[str, Any] = {
        "family": family.name if family else job.what, "label": job.label, "depth": family.depth if family else None,
        "budget": job.budget, "num_params": count,
        "full_params": sum(map(full_count, start.nets.values())) if family and family.name == "adtn" else count,
        "model_params": trained.model_params if trained and trained.model_params else experiment.model_params - size + count,
        "model_dense": experiment.model_params, "trained_elsewhere": trained.elsewhere if trained else 0,
        "chance": sqrt(max(0.0, 1 - count / size)), "chosen_frozen": frozen.chosen, "chosen_trained": trained.chosen if trained else {},
        "flops": start.generators.flops, "seconds": seconds,
        "networks": {name.removesuffix(".weight"): tk.to_json(net) for name, net in start.nets.items()},
        "layer": ", ".join(experiment.layers), "layer_params": size, "test_images": len(experiment.split.test[1]), "model": task.model,
        "data": experiment.split.name, "rest": task.rest, "dense_steps": 0 if task.weights else task.dense_steps,
        "fit_steps": task.fit_steps, "tune_steps": task.tune_steps,
    }  # fmt: skip
    return [
        asdict(Record(
            seed=seed, error=float(errors[s]), accuracy_fit=float(fitted[s]), accuracy_frozen=float(frozen.test[s]),
            accuracy_trained=float(trained.test[s]) if trained else None, val_frozen=float(frozen.val[s]),
            val_trained=float(trained.val[s]) if trained else None,
            frozen_from={name: float(a[s]) for name, a in frozen.by_start.items()},
            approximation={name.removesuffix(".weight"): methods[s] for name, methods in start.methods.items()},
            trained_from={name: float(a[s]) for name, a in trained.by_start.items()} if trained else {}, **shared,
        ))
        for s, seed in enumerate(task.each)
    ]  # fmt: skip


def wrong_records(task: Task, job: Job, kept: Any) -> str:
    """What keeps a kept result from being the records of a job, one a seed in their order; empty where nothing does."""
    if not isinstance(kept, list) or len(kept) != task.seeds:
        return f"its result is {shown(kept)}, not {task.seeds} records, one a seed"
    kinds = get_type_hints(Record)
    for seed, record in zip(task.each, kept, strict=True):
        if not isinstance(record, dict) or not kinds.keys() <= record.keys():
            missing = next((n for n in kinds if n not in record), "") if isinstance(record, dict) else ""
            return f"its record of seed {seed} " + (f"has no {missing!r}" if missing else f"is {shown(record)}")
        for name, kind in kinds.items():
            if not _is_of(record[name], kind):
                return f"{name} in its record of seed {seed} is {shown(record[name])}"
        its, ours = [record[n] for n in ("label", "budget", "seed")], [job.label, job.budget, seed]
        if its != ours:
            return f"its record of seed {seed} is of {its[0]} at {its[1]}, seed {its[2]}"
    return ""


def _is_of(value: Any, kind: Any) -> bool:
    """Whether plain data is of a type of :class:`Record`'s fields; a whole number is a float too, true is no number."""
    if get_origin(kind) is UnionType:
        return any(_is_of(value, one) for one in get_args(kind))
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_of(v, get_args(kind)[1]) for v in value.values())
    if kind is Any:
        return True
    return type(value) in ((float, int) if kind is float else (kind,))


# -- the approximation -------------------------------------------------------------------------------------------------
def _start(experiment: Experiment, job: Job) -> _Start:
    """The job's weights, ready to be fine-tuned."""
    targets, what, first = experiment.targets, job.what, experiment.task.first_seed
    if what == "rank1":
        what = Family("rank1", "rank1", lambda s, _: tk.low_rank(matrix_shape(s), 1))
    if isinstance(what, Family):
        return _approximated(experiment, built(what, experiment.shapes, job.budget or 0))
    if what in SHARED:
        assert job.budget is not None
        make = {"hashed": hashed_generator, "subspace": subspace_generator}[what]
        parts, shapes = _budget_parts(experiment.shapes, job.budget), experiment.shapes
        generators = Generators({n: make(parts[n], shapes[n], t, first) for n, t in targets.items()})
        random = {n: random_start(generator, targets[n], first) for n, generator in generators.each.items()}
        values = {"fit": generators.start, "random": generators.gathered(random)}
    else:
        generators = Generators({n: fixed_generator(what, t, first) for n, t in targets.items()})
        values = {"fit": generators.start}
    with torch.no_grad():
        made = generators.weights(values["fit"], Axes(seed=experiment.task.seeds))
    return _Start(generators, values, {n: _norms(made[n] - t) / _norms(t) for n, t in targets.items()}, {})


def _approximated(experiment: Experiment, nets: Mapping[str, tk.Network]) -> _Start:
    """Each network near its weight, and as it was drawn."""
    task, generators, fitted, errors = experiment.task, dict[str, Generator](), {}, {}
    methods = dict[str, tuple[str, ...]]()
    for name, target in experiment.targets.items():
        generators[name], found = approximate_each(
            nets[name], target, method=task.approximation, steps=task.fit_steps, first_seed=task.first_seed
        )
        fitted[name], errors[name], methods[name] = found.params, found.error, found.methods
    every = Generators(generators)
    return _Start(every, {"fit": every.gathered(fitted), "random": every.start}, errors, dict(nets), methods)


def built(what: Family, shapes: Mapping[str, Sequence[int]], budget: int) -> dict[str, tk.Network]:
    """Weight name -> its network, the budget shared out."""
    return {name: what.build(shapes[name], part) for name, part in _budget_parts(shapes, budget).items()}


def _budget_parts(shapes: Mapping[str, Sequence[int]], budget: int) -> dict[str, int]:
    """Weight name -> its part of a budget (:func:`tnkit_nn.budgets.shares`)."""
    return dict(zip(shapes, shares(budget, [prod(shape) for shape in shapes.values()]), strict=True))


def _norms(x: Tensor) -> Tensor:
    """(seed, ...) -> (seed,)."""
    return x.flatten(1).norm(dim=1)


def _error(experiment: Experiment, errors: Mapping[str, Tensor]) -> Tensor:
    """The relative error of all weights as one vector, (seed,)."""
    norms = {name: _norms(target) for name, target in experiment.targets.items()}
    off = torch.stack([(errors[n] * norm).square() for n, norm in norms.items()]).sum(0)
    return (off / torch.stack(list(norms.values())).square().sum(0)).sqrt()


# -- the fine-tuning ---------------------------------------------------------------------------------------------------
def _tune(experiment: Experiment, start: _Start, others: bool, dense: bool) -> _Tuned:
    """Accuracies at the learning rates and the start that are best on validation, over all seeds; ``others``: the other layers are trained too."""
    task, fixture, seeds = experiment.task, experiment.fixture(others), start.seeds
    fixed, names = experiment.others(others), experiment.trainable(others)
    moving = {n: fixed.pop(n) for n in names}
    values = {n: torch.stack([v[n] for v in start.values.values()]) for n in start.values["fit"]}
    if not values and not moving:  # nothing to train
        params = {**fixed, **start.fitted}
        return _Tuned(fixture.metric(params, "test", seeds), fixture.metric(params, "val", seeds), {}, 0)

    def assemble(params: Params, axes: Axes) -> Params:
        still = {n: axes.by_seed(p) for n, p in fixed.items()}
        return {**still, **{n: params[n] for n in moving}, **start.generators.weights(params, axes)}

    rates = REST_RATES if dense else RATES  # a dense layer's parameters are like those of the other layers
    found = train_replicas(fixture, task.each, values, assemble, rates, task.tune_steps, others=moving)
    with torch.no_grad():
        made = assemble(found.params, found.axes)
    by_start = {
        name: fixture.metric(found.axes.at(made, rate, s), "test", seeds)
        for s, (name, rate) in enumerate(zip(start.values, found.best_rates(), strict=False))
    }
    rate, s = found.best()
    best = list(start.values)[s]
    chosen = {"rate": rates[rate], "start": best} if values else {}
    chosen |= {"rest_rate": REST_RATES[rate]} if moving else {}
    val = fixture.metric(found.axes.at(made, rate, s), "val", seeds)
    elsewhere = sum(p[0].numel() for p in moving.values())
    return _Tuned(by_start[best], val, chosen, elsewhere, by_start if len(by_start) > 1 else {})


def _left_out(experiment: Experiment) -> _Tuned | None:
    """The model without the layers, drawn anew (with ``rest="head"``, from the first on) and trained as long as all others in all.

    Where weights are given, what the two models have in common begins with them, and only the second training is left to do.
    None where the model cannot go without the layers (:func:`tnkit_nn.zoo.without`).
    """
    task = experiment.task
    models = _shorter(experiment)
    if not models:
        return None
    steps = task.tune_steps if task.weights else task.dense_steps + task.tune_steps
    fixture, start, held = replace(experiment.full, model=models[0]), stacked_values(models), Params()
    if task.rest == "head":
        linear = [n for n, m in experiment.model.named_modules() if isinstance(m, nn.Linear)]
        heir = next(n for n in linear[linear.index(experiment.layers[0]) :] if n not in experiment.layers)
        before, after = split_at(models[0], heir)
        if experiment.tail is not experiment.full:
            fixture = replace(experiment.tail, model=after)
        else:
            held = {n: experiment.dense[n] for n, _ in before.named_parameters()}
        start = {n: start[n] for n, _ in after.named_parameters()}

    def assemble(params: Params, axes: Axes) -> Params:
        return {**{n: axes.by_seed(p) for n, p in held.items()}, **params}

    found = train_replicas(fixture, task.each, {n: x[None] for n, x in start.items()}, assemble, REST_RATES, steps)
    rate, s = found.best()
    params, seeds = {**held, **found.axes.at(found.params, rate, s)}, Axes(seed=task.seeds)
    counts = sum(p[0].numel() for p in start.values()), sum(p.numel() for p in models[0].parameters())
    test, val = (fixture.metric(params, part, seeds) for part in ("test", "val"))
    return _Tuned(test, val, {"rest_rate": REST_RATES[rate]}, counts[0], {}, counts[1])


def _shorter(experiment: Experiment) -> list[nn.Module]:
    """The model without the layers, one a seed; none where it cannot go without them."""
    task, found = experiment.task, []
    for seed, model in zip(task.each, fresh_models(experiment, task.each, 500), strict=True):
        torch.manual_seed(500 + seed)  # what is made anew in a model that is given
        found.append(zoo.without(experiment.model if task.weights else model, *experiment.layers))
    return [model for model in found if model is not None]

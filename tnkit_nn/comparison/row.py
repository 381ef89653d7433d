"""One row of a comparison: a way to make the weight, or several, at one budget, through both stages, all seeds at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn

import tnkit as tk
from tnkit_nn import zoo
from tnkit_nn.comparison.setting import Setting, Task, drawn, opened, stacked
from tnkit_nn.comparison.view import REST_RATES, View, cut, tune
from tnkit_nn.families import SHARED, Family, full_count, matrix_shape, shares
from tnkit_nn.generators import (
    Maker,
    Weights,
    fixed_maker,
    hashed_maker,
    network_maker,
    random_start,
    regauged,
    rms,
    subspace_maker,
    times,
)
from tnkit_nn.replicas import minimise

__all__ = ["RATES", "Job", "Record", "built", "row"]

#: Learning rates of a layer's numbers, side by side with those of the rest (REST_RATES): swept for every row, controls too.
RATES = (1.5e-2, 6e-2, 2e-1)

Params = dict[str, Tensor]


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
        Of the :class:`~tnkit_nn.comparison.setting.Task`; ``data`` says where it is limited, ``dense_steps`` is 0 where weights are given.
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
    networks
        Layer -> its network as JSON.
    layer, layer_params
        The layer's name, or the layers' with commas between, and the number of dense weights in all.
    val_frozen, val_trained
        Validation accuracies: what a choice between rows goes by.
    frozen_from, trained_from
        Test accuracy from each start (stage 1's fit, or at random), at the rate that is best for it on validation.
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


@dataclass
class _Tuned:
    """Accuracies by seed after stage 2, the rates and start that were best on validation, and the numbers trained elsewhere."""

    test: Tensor
    val: Tensor
    chosen: dict[str, Any]
    elsewhere: int
    by_start: dict[str, Tensor] = field(default_factory=dict)
    model_params: int | None = None


def _fit(maker: Maker, target: Tensor, steps: int) -> tuple[Params, Tensor]:
    """Stage 1: minimise 1 - cos (plain squared error collapses deep networks), rates swept, the best kept for each seed.

    Returns the values and the relative error that the best overall factor gives, both by seed.
    """
    seeds = len(target)
    goal = target.flatten(1).repeat(len(RATES), 1)

    def losses(params: Params, step: int) -> Tensor:
        w = maker.weight(params).flatten(1)
        cos = (w * goal).sum(1) / (w.square().sum(1) * goal.square().sum(1)).clamp(min=1e-30).sqrt()
        return 1 - cos

    swept = minimise(losses, maker.start, RATES, steps)
    best = swept.score.view(len(RATES), seeds).argmin(0)
    rows = best * seeds + torch.arange(seeds)
    cos = (1 - swept.score[rows]).clamp(0, 1)
    return {n: p[rows] for n, p in swept.params.items()}, (1 - cos.square()).sqrt()


def _stage2(setting: Setting, weights: Weights, starts: Mapping[str, Params], trained: bool, dense: bool) -> _Tuned:
    """Accuracies at the learning rates and the start that are best on validation, over all seeds."""
    task, view = setting.task, setting.view(trained)
    rest, movable = setting.rest(trained), setting.movable(trained)
    first = next(iter(starts.values()))
    elsewhere = sum(rest[n][0].numel() for n in movable)
    if not first and not movable:  # nothing to train
        params = {**rest, **weights({})}
        return _Tuned(view.accuracy(params, "test"), view.accuracy(params, "val"), {}, 0)
    rates = REST_RATES if dense else RATES  # a dense layer's numbers are like those of the rest
    copies = len(rates) * len(starts)
    start = {n: torch.cat([values[n] for values in starts.values()]) for n in first}
    slow = {n: times(rest[n], len(starts)) for n in movable}
    frozen = {n: times(p, copies) for n, p in rest.items() if n not in movable}

    def full(params: Params) -> Params:
        return {**frozen, **{n: params[n] for n in movable}, **weights(params)}

    swept = tune(view, task.each, start, slow, full, rates, task.tune_steps)
    scores = swept.score.view(len(rates), len(starts), task.seeds).mean(2)

    def at(k: int) -> Params:
        """Values of the model at the k-th pair of rate and start."""
        mine = slice(k * task.seeds, (k + 1) * task.seeds)
        return {n: p[mine] for n, p in values.items()}

    with torch.no_grad():
        values = full(swept.params)
    best = {name: int(scores[:, s].argmin()) * len(starts) + s for s, name in enumerate(starts)}
    k = int(scores.argmin())
    by_start = {name: view.accuracy(at(b), "test") for name, b in best.items()}
    chosen = {"rate": rates[k // len(starts)], "start": list(starts)[k % len(starts)]} if first else {}
    chosen |= {"rest_rate": REST_RATES[k // len(starts)]} if movable else {}
    test = by_start[list(starts)[k % len(starts)]]
    return _Tuned(test, view.accuracy(at(k), "val"), chosen, elsewhere, by_start if len(starts) > 1 else {})


def _left_out(setting: Setting) -> _Tuned | None:
    """The model without the layers, drawn anew (with ``rest="head"``, from the first on) and trained as long as all others in all.

    Where weights are given, what the two models have in common begins with them, and only the second training is left to do.
    None where the model cannot go without the layers (:func:`tnkit_nn.zoo.without`).
    """
    task = setting.task
    models = _shorter(setting)
    if not models:
        return None
    steps = task.tune_steps if task.weights else task.dense_steps + task.tune_steps
    view = View(models[0], setting.images.inputs, setting.images.labels, setting.images.own)
    start, held = stacked(models), Params()
    if task.rest == "head":
        linear = [n for n, m in setting.model.named_modules() if isinstance(m, nn.Linear)]
        heir = next(n for n in linear[linear.index(setting.layers[0]) :] if n not in setting.layers)
        before, after = cut(models[0], heir)
        if setting.features is not setting.images:
            view = View(after, setting.features.inputs, setting.features.labels, setting.features.own)
        else:
            held = {n: setting.dense[n] for n, _ in before.named_parameters()}
        start = {n: start[n] for n, _ in after.named_parameters()}
    frozen = {n: times(p, len(REST_RATES)) for n, p in held.items()}
    swept = tune(view, task.each, start, {}, lambda p: {**frozen, **p}, REST_RATES, steps)
    k, best = swept.preferred(task.seeds)
    params = {**held, **best}
    trained, whole = sum(p[0].numel() for p in start.values()), sum(p.numel() for p in models[0].parameters())
    chosen = {"rest_rate": REST_RATES[k]}
    return _Tuned(view.accuracy(params, "test"), view.accuracy(params, "val"), chosen, trained, {}, whole)


def _shorter(setting: Setting) -> list[nn.Module]:
    """The model without the layers, one a seed; none where it cannot go without them."""
    task, found = setting.task, []
    for seed, model in zip(task.each, drawn(task, setting.split.num_classes, 500), strict=True):
        torch.manual_seed(500 + seed)  # what is made anew in a model that is given
        found.append(zoo.without(setting.model if task.weights else model, *setting.layers))
    return [model for model in found if model is not None]


def built(what: Family, shapes: Mapping[str, Sequence[int]], budget: int) -> dict[str, tk.Network]:
    """Weight name -> its network, the budget shared out."""
    return {name: what.build(shapes[name], part) for name, part in _parts(shapes, budget).items()}


def _parts(shapes: Mapping[str, Sequence[int]], budget: int) -> dict[str, int]:
    """Weight name -> its part of a budget (:func:`tnkit_nn.families.shares`)."""
    return dict(zip(shapes, shares(budget, [prod(shape) for shape in shapes.values()]), strict=True))


@dataclass
class _Made:
    """A row's weights, their starts, the errors of stage 1 by weight (seeds,) and the networks there are."""

    weights: Weights
    starts: dict[str, Params]
    errors: dict[str, Tensor]
    nets: dict[str, tk.Network]


def _made(setting: Setting, job: Job) -> _Made:
    """The job's weights, ready for stage 2."""
    targets, what, first = setting.targets, job.what, setting.task.first_seed
    if what == "rank1":
        what = Family("rank1", "rank1", lambda s, _: tk.low_rank(matrix_shape(s), 1))
    if isinstance(what, Family):
        return _networks(setting, built(what, setting.shapes, job.budget or 0))
    if what in SHARED:
        assert job.budget is not None
        make = {"hashed": hashed_maker, "subspace": subspace_maker}[what]
        parts, shapes = _parts(setting.shapes, job.budget), setting.shapes
        weights = Weights({n: make(parts[n], shapes[n], t, first) for n, t in targets.items()})
        random = {n: random_start(maker, targets[n], first) for n, maker in weights.makers.items()}
        starts = {"fit": weights.start, "random": weights.gathered(random)}
    else:
        weights = Weights({n: fixed_maker(what, t, first) for n, t in targets.items()})
        starts = {"fit": weights.start}
    with torch.no_grad():
        values = weights(starts["fit"])
    return _Made(weights, starts, {n: _norm(values[n] - t) / _norm(t) for n, t in targets.items()}, {})


def _networks(setting: Setting, nets: Mapping[str, tk.Network]) -> _Made:
    """Each network fitted to its weight, and as it was drawn."""
    makers, fitted, errors = {}, {}, {}
    for name, target in setting.targets.items():
        makers[name] = network_maker(nets[name], setting.shapes[name], rms(target), setting.task.first_seed)
        values, errors[name] = _fit(makers[name], target, setting.task.fit_steps)
        fitted[name] = regauged(makers[name], values, target, nets[name])
    weights = Weights(makers)
    return _Made(weights, {"fit": weights.gathered(fitted), "random": weights.start}, errors, dict(nets))


def _norm(x: Tensor) -> Tensor:
    """(seeds, ...) -> (seeds,)."""
    return x.flatten(1).norm(dim=1)


def _error(setting: Setting, errors: Mapping[str, Tensor]) -> Tensor:
    """The relative error of all weights as one vector, (seeds,)."""
    norms = {name: _norm(target) for name, target in setting.targets.items()}
    off = torch.stack([(errors[n] * norm).square() for n, norm in norms.items()]).sum(0)
    return (off / torch.stack(list(norms.values())).square().sum(0)).sqrt()


def row(task: Task, dense: bytes, job: Job) -> list[dict[str, Any]]:
    """The records of all seeds of one job, in a setting that is opened from the task and the dense values."""
    setting = opened(task, dense)
    begin = time.perf_counter()
    made = _made(setting, job)
    numbers, size = made.weights.num_params, sum(map(prod, setting.shapes.values()))
    with torch.no_grad():
        fitted = setting.features.accuracy({**setting.rest(False), **made.weights(made.starts["fit"])}, "test")
    errors = _error(setting, made.errors)
    stage2 = partial(_stage2, setting, made.weights, made.starts, dense=job.what == "dense_trained_on")
    frozen = stage2(False)
    trained = None
    if task.rest != "none":
        trained = _left_out(setting) if job.what == "removed" else stage2(True)
    seconds = (time.perf_counter() - begin) / task.seeds
    adtn = isinstance(job.what, Family) and job.what.name == "adtn"
    whole = trained.model_params if trained and trained.model_params else setting.model_params - size + numbers
    return [
        asdict(Record(
            family=job.what.name if isinstance(job.what, Family) else job.what, label=job.label,
            depth=job.what.depth if isinstance(job.what, Family) else None, budget=job.budget,
            num_params=numbers, full_params=sum(map(full_count, made.nets.values())) if adtn else numbers,
            model_params=whole, model_dense=setting.model_params, trained_elsewhere=trained.elsewhere if trained else 0, seed=seed,
            error=float(errors[s]), chance=sqrt(max(0.0, 1 - numbers / size)),
            accuracy_fit=float(fitted[s]), accuracy_frozen=float(frozen.test[s]),
            accuracy_trained=float(trained.test[s]) if trained else None,
            val_frozen=float(frozen.val[s]), val_trained=float(trained.val[s]) if trained else None,
            frozen_from={name: float(a[s]) for name, a in frozen.by_start.items()},
            trained_from={name: float(a[s]) for name, a in trained.by_start.items()} if trained else {},
            chosen_frozen=frozen.chosen, chosen_trained=trained.chosen if trained else {}, flops=made.weights.flops, seconds=seconds,
            networks={name.removesuffix(".weight"): tk.to_json(net) for name, net in made.nets.items()},
            layer=", ".join(setting.layers), layer_params=size,
            test_images=len(setting.split.test[1]), model=task.model, data=setting.split.name, rest=task.rest,
            dense_steps=0 if task.weights else task.dense_steps, fit_steps=task.fit_steps, tune_steps=task.tune_steps,
        ))
        for s, seed in enumerate(task.each)
    ]  # fmt: skip

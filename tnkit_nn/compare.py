"""Deep or shallow: every family at equal budgets, tuned alike, over several seeds, beside the controls.

Two readings.  Stage 1: relative Euclidean error after fitting the trained weight (beside the chance level).  Stage 2: test
accuracy after fine-tuning from there or from a random start, told apart by what else is trained: nothing ("frozen": the layer's
numbers alone) or everything ("trained").  Learning rates and starts are swept alike for every family and chosen on the
validation part; the test part is read once.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass, field
from math import prod, sqrt
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

import tnkit as tk
from tnkit_nn import data as datasets
from tnkit_nn import zoo
from tnkit_nn.baselines import BASELINES, CONTROLS, Family, families
from tnkit_nn.ensemble import minimise
from tnkit_nn.makers import Maker, fixed_maker, hashed_maker, hashed_random, network_maker, regauged, rms, times

__all__ = ["Record", "Task", "compare"]

#: Learning rates of the layer and, side by side with them, of the rest of the model: swept for every row, controls too.
RATES = (1.5e-2, 6e-2, 2e-1)
REST_RATES = (1e-2, 3e-2, 1e-1)
BATCH = 128


@dataclass(frozen=True)
class Task:
    """What is compressed, and how long everything trains.

    Attributes
    ----------
    model, data
        Names in :mod:`tnkit_nn.zoo` and :mod:`tnkit_nn.data`.
    layer
        Module whose ``weight`` is replaced; None for the largest.
    seeds
        Number of seeds: each has its own dense model, start values and data order.
    dense_steps, fit_steps, tune_steps
        Adam steps of the dense training, of stage 1 and of stage 2.
    """

    model: str = "mlp"
    data: str = "digits"
    layer: str | None = None
    seeds: int = 3
    dense_steps: int = 400
    fit_steps: int = 200
    tune_steps: int = 200


@dataclass
class Record:
    """One family (or control) at one budget with one seed.  Accuracies are fractions, errors relative Frobenius norms."""

    family: str
    label: str
    depth: int | None
    budget: int | None
    num_params: int
    seed: int
    error: float | None
    chance: float | None
    accuracy_fit: float | None
    accuracy_frozen: float
    accuracy_trained: float | None
    chosen_frozen: dict[str, Any]
    chosen_trained: dict[str, Any]
    trained_elsewhere: int
    seconds: float
    network: str | None = None
    layer: str = ""
    layer_params: int = 0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass
class _Bench:
    """The dense models (one a seed, stacked), the data and the layer: what every job needs."""

    task: Task
    model: nn.Module
    split: datasets.Split
    layer: str
    dense: dict[str, Tensor]

    @property
    def key(self) -> str:
        return f"{self.layer}.weight"

    @property
    def target(self) -> Tensor:
        """(seeds, *weight shape)."""
        return self.dense[self.key]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.target.shape[1:])

    @property
    def rest(self) -> dict[str, Tensor]:
        return {n: p for n, p in self.dense.items() if n != self.key}


def _logits(model: nn.Module, params: Mapping[str, Tensor], x: Tensor, shared: bool) -> Tensor:
    """(replicas, batch, classes); ``shared``: all replicas see the same inputs."""
    call = vmap(lambda p, z: functional_call(model, p, (z,)), in_dims=(0, None if shared else 0))
    return cast(Tensor, call(dict(params), x))


def _entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of each replica; y (replicas, batch) or (batch,)."""
    y = y.expand(logits.shape[0], -1) if y.dim() == 1 else y
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return loss.view(y.shape).mean(1)


def _accuracy(model: nn.Module, params: Mapping[str, Tensor], part: tuple[Tensor, Tensor]) -> Tensor:
    with torch.no_grad():
        return (_logits(model, params, part[0], shared=True).argmax(-1) == part[1]).float().mean(1)


def _batches(split: datasets.Split, seeds: int, rates: int, steps: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Step -> inputs (replicas, batch, ...) and labels: each seed has its own order, the same for every family."""
    x, y = split.train
    rows = []
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(1000 + seed)
        epochs = -(-steps * BATCH // len(x))
        rows.append(torch.cat([torch.randperm(len(x), generator=draw) for _ in range(epochs)])[: steps * BATCH])
    order = torch.stack(rows).view(seeds, steps, BATCH).repeat(rates, 1, 1)
    return lambda step: (x[order[:, min(step, steps - 1)]], y[order[:, min(step, steps - 1)]])


def _prepare(task: Task) -> _Bench:
    """Train the dense models, one a seed, side by side."""
    split = datasets.load(task.data)
    models = []
    for seed in range(task.seeds):
        torch.manual_seed(seed)
        models.append(zoo.build(task.model, split.num_classes))
    model = models[0]
    layer = task.layer or max(
        (n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))),
        key=lambda n: cast(Tensor, model.get_submodule(n).weight).numel(),
    )
    start = {
        n: torch.stack([dict(m.named_parameters())[n].detach() for m in models]) for n, _ in model.named_parameters()
    }
    if f"{layer}.weight" not in start:
        known = [n.removesuffix(".weight") for n in start if n.endswith(".weight")]
        raise ValueError(f"model {task.model!r} has no layer {layer!r} with a weight; it has {', '.join(known)}")
    batch = _batches(split, task.seeds, 1, task.dense_steps)
    dense = _tune(model, split, start, {}, lambda p: p, (3e-3,), task.dense_steps, batch).params
    return _Bench(task, model, split, layer, dense)


def _tune(
    model: nn.Module, split: datasets.Split, start: Mapping[str, Tensor], slow: Mapping[str, Tensor],
    full: Callable[[dict[str, Tensor]], dict[str, Tensor]], rates: Sequence[float], steps: int,
    batch: Callable[[int], tuple[Tensor, Tensor]],
) -> Any:  # fmt: skip
    """Stage 2: cross entropy on ``full(params)``; the best validation score is kept."""

    def losses(params: dict[str, Tensor], step: int) -> Tensor:
        x, y = batch(step)
        return _entropy(_logits(model, full(params), x, shared=False), y)

    def score(params: dict[str, Tensor]) -> Tensor:
        logits = _logits(model, full(params), split.val[0], shared=True)
        wrong = (logits.argmax(-1) != split.val[1]).float().mean(1)
        return wrong + 1e-3 * torch.tanh(_entropy(logits, split.val[1]))  # ties go to the lower entropy

    return minimise(losses, start, rates, steps, slow=slow, slow_rates=REST_RATES[: len(rates)], score=score)


# -- one job: a way to make the weight, at one budget, all seeds ----------------------------------------------------


def _fit(maker: Maker, target: Tensor, steps: int) -> tuple[dict[str, Tensor], Tensor]:
    """Stage 1: minimise 1 - cos (plain squared error collapses deep networks), rates swept, the best kept for each seed.

    Returns the values and the relative error that the best overall factor gives, both by seed.
    """
    seeds = len(target)
    goal = target.flatten(1).repeat(len(RATES), 1)

    def losses(params: dict[str, Tensor], step: int) -> Tensor:
        w = maker.weight(params).flatten(1)
        cos = (w * goal).sum(1) / (w.square().sum(1) * goal.square().sum(1)).clamp(min=1e-30).sqrt()
        return 1 - cos

    swept = minimise(losses, maker.start, RATES, steps)
    best = swept.score.view(len(RATES), seeds).argmin(0)
    rows = best * seeds + torch.arange(seeds)
    cos = (1 - swept.score[rows]).clamp(0, 1)
    return {n: p[rows] for n, p in swept.params.items()}, (1 - cos.square()).sqrt()


def _stage2(
    bench: _Bench, maker: Maker, starts: Mapping[str, dict[str, Tensor]], trained: bool
) -> tuple[Tensor, dict[str, Any]]:
    """Test accuracy by seed at the learning rate and start that are best on validation, and which these are."""
    task, seeds = bench.task, bench.task.seeds
    first = next(iter(starts.values()))
    if not first and not trained:  # nothing to train
        return _accuracy(bench.model, {**bench.rest, bench.key: maker.weight({})}, bench.split.test), {}
    stacked = {n: torch.cat([values[n] for values in starts.values()]) for n in first}
    rest = {n: times(p, len(starts)) for n, p in bench.rest.items()}
    frozen = {} if trained else {n: times(p, len(RATES)) for n, p in rest.items()}

    def full(params: dict[str, Tensor]) -> dict[str, Tensor]:
        others = {n: params[n] for n in bench.rest} if trained else frozen
        return {**others, bench.key: maker.weight(params)}

    batch = _batches(bench.split, seeds, len(RATES) * len(starts), task.tune_steps)
    swept = _tune(bench.model, bench.split, stacked, rest if trained else {}, full, RATES, task.tune_steps, batch)
    k = int(swept.score.view(-1, seeds).mean(1).argmin())
    accuracy = _accuracy(bench.model, full(swept.params), bench.split.test).view(-1, seeds)[k]
    chosen: dict[str, Any] = {"rate": RATES[k // len(starts)], "start": list(starts)[k % len(starts)]} if first else {}
    return accuracy, chosen | ({"rest_rate": REST_RATES[k // len(starts)]} if trained else {})


def _left_out(bench: _Bench) -> Tensor | None:
    """Accuracy by seed of the model without the layer, drawn anew and everything trained.

    None where the model cannot go without the layer (:func:`tnkit_nn.zoo.without`).
    """
    models = []
    for seed in range(bench.task.seeds):
        torch.manual_seed(500 + seed)
        shorter = zoo.without(zoo.build(bench.task.model, bench.split.num_classes), bench.layer)
        if shorter is None:
            return None
        models.append(shorter)
    start = {
        n: torch.stack([dict(m.named_parameters())[n].detach() for m in models])
        for n, _ in models[0].named_parameters()
    }
    steps = bench.task.dense_steps + bench.task.tune_steps  # as long as every other row in all
    seeds = bench.task.seeds
    batch = _batches(bench.split, seeds, len(REST_RATES), steps)
    swept = _tune(models[0], bench.split, start, {}, lambda p: p, REST_RATES, steps, batch)
    k = int(swept.score.view(-1, seeds).mean(1).argmin())
    return _accuracy(models[0], swept.params, bench.split.test).view(-1, seeds)[k]


def _job(bench: _Bench, what: Family | str, budget: int | None) -> list[Record]:
    """All seeds of one family or control at one budget."""
    begin = time.perf_counter()
    seeds, target = bench.task.seeds, bench.target
    net = None
    errors: Tensor | None = None
    if isinstance(what, Family):
        assert budget is not None
        net = what.build(bench.shape, budget)
        maker = network_maker(net, bench.shape, seeds, rms(target))
        fit, errors = _fit(maker, target, bench.task.fit_steps)
        starts = {"fit": regauged(maker, fit, target, net), "random": maker.start}
    elif what == "hashed":
        assert budget is not None
        maker = hashed_maker(budget, bench.shape, target)
        starts = {"fit": maker.start, "random": hashed_random(maker.start, target)}
    else:
        maker = fixed_maker(what, target)
        starts = {"fit": maker.start}
    with torch.no_grad():
        weight = maker.weight(starts["fit"])
    if errors is None:
        errors = (weight - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)
    fitted = _accuracy(bench.model, {**bench.rest, bench.key: weight}, bench.split.test)
    frozen, how_frozen = _stage2(bench, maker, starts, trained=False)
    trained: Tensor | None
    if what == "removed":
        trained, how_trained = _left_out(bench), {}
    else:
        trained, how_trained = _stage2(bench, maker, starts, trained=True)
    seconds = (time.perf_counter() - begin) / seeds
    family = what.name if isinstance(what, Family) else what
    return [
        Record(
            family=family, label=what.label if isinstance(what, Family) else what,
            depth=what.depth if isinstance(what, Family) else None, budget=budget, num_params=maker.num_params, seed=s,
            error=float(errors[s]), chance=sqrt(max(0.0, 1 - maker.num_params / prod(bench.shape))),
            accuracy_fit=float(fitted[s]), accuracy_frozen=float(frozen[s]), accuracy_trained=None if trained is None else float(trained[s]),
            chosen_frozen=how_frozen, chosen_trained=how_trained,
            trained_elsewhere=sum(p[0].numel() for p in bench.rest.values()), seconds=seconds,
            network=None if net is None else tk.to_json(net), layer=bench.layer, layer_params=prod(bench.shape),
        )
        for s in range(seeds)
    ]  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    return {
        "tnkit": tk.__version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(),
    }  # fmt: skip


def compare(
    task: Task,
    shapes: Sequence[str] = tuple(BASELINES),
    budgets: Sequence[int] = (100, 300, 1000),
    depths: Sequence[int] = (1, 2, 3),
    executor: Executor | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda jobs, total: jobs,
) -> list[dict[str, Any]]:
    """Run a comparison.

    Parameters
    ----------
    task
        Model, data, layer, seeds and training lengths.
    shapes
        Families, keys of :data:`tnkit_nn.baselines.BASELINES`.
    budgets
        Numbers that the layer's weight may be stored in.
    depths
        Depths of the ADTN.
    executor
        Any ``concurrent.futures.Executor``; jobs run here one after another without one.
    progress
        Wraps the iterable of finished jobs (a progress bar).

    Returns
    -------
    list of dict
        The records (see :class:`Record`), controls included, in a fixed order.

    Raises
    ------
    ValueError
        An unknown model, data set, layer or shape; a budget below 1; no seed.
    """
    if task.seeds < 1 or not budgets or min(budgets) < 1:
        raise ValueError(
            f"compare needs seeds and budgets of at least 1, not seeds={task.seeds}, budgets={list(budgets)}"
        )
    budgets = list(dict.fromkeys(budgets))  # a repeated one would count its seeds twice
    chosen = families(list(dict.fromkeys(shapes)), list(dict.fromkeys(depths)))
    bench = _prepare(task)
    jobs: list[tuple[Family | str, int | None]] = [(f, b) for b in budgets for f in chosen]
    jobs += [("hashed", b) for b in budgets] + [(c, None) for c in CONTROLS if c != "hashed"]
    results: dict[int, list[Record]] = {}
    if executor is None:
        for k in progress(range(len(jobs)), len(jobs)):
            results[k] = _job(bench, *jobs[k])
    else:
        # the longest jobs (deep networks) first, so that no worker is left alone with one at the end
        order = sorted(range(len(jobs)), key=lambda k: -(getattr(jobs[k][0], "depth", None) or 0))
        futures = {executor.submit(_job, bench, *jobs[k]): k for k in order}
        for future in progress(as_completed(futures), len(jobs)):
            results[futures[future]] = future.result()
    stamp = versions()
    return [{**asdict(r), "versions": stamp} for k in range(len(jobs)) for r in results[k]]

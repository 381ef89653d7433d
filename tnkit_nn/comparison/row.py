"""One row of a comparison: a family or a control at one budget, approximated and fine-tuned, all seeds at once."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from math import prod, sqrt
from typing import Any

from torch import Tensor

import tnkit as tk
from tnkit.core.network import Elementwise, inside_out
from tnkit.core.spelling import function_name
from tnkit_nn.comparison.experiment import TURN, Experiment
from tnkit_nn.comparison.forward import forward_cost
from tnkit_nn.comparison.record import Job, Record, machine
from tnkit_nn.comparison.start import Start, start_of
from tnkit_nn.comparison.tuning import (
    Tuned,
    as_approximated,
    fine_tuned,
    packed_classes,
    smaller_model,
    without_layers,
)
from tnkit_nn.families import CONTROLS, Family
from tnkit_nn.searches.deep import full_count
from tnkit_nn.weights import spoken

__all__ = ["row"]


def row(experiment: Experiment, job: Job) -> list[dict[str, Any]]:
    """The records of all seeds of one job."""
    with TURN:
        return _row(experiment, job)


def _row(experiment: Experiment, job: Job) -> list[dict[str, Any]]:
    begin = time.perf_counter()
    if job.what == "small_dense":
        found = smaller_model(experiment, job)
        assert isinstance(found, Tuned)  # no such job is made where it is not
        return _records(experiment, job, None, None, None, found, begin)
    start = start_of(experiment, job)
    fitted = as_approximated(experiment, start)
    tune = partial(fine_tuned, experiment, start, dense=job.what == "dense_trained_on")
    frozen, trained = tune(False), None
    if experiment.protocol.rest != "none":
        found = without_layers(experiment) if job.what == "removed" else tune(True)
        trained = found if isinstance(found, Tuned) else None
    return _records(experiment, job, start, fitted, frozen, trained, begin)


def _records(
    experiment: Experiment, job: Job, start: Start | None, fitted: Tensor | None, frozen: Tuned | None, trained: Tuned | None, begin: float,
) -> list[dict[str, Any]]:  # fmt: skip
    shared = _shared(experiment, job, start, frozen, trained)
    shared["seconds"] = (time.perf_counter() - begin) / experiment.protocol.seeds
    shared["forward"] = forward_cost(experiment, start, job.label) if start else {}
    errors = start.error(experiment) if start else None
    readings = {name: r for name, r in (("frozen", frozen), ("trained", trained)) if r is not None}
    made = []
    for s, seed in enumerate(experiment.protocol.each):
        own: dict[str, Any] = {
            "seed": seed, "error": None if errors is None else float(errors[s]), "test_fit": None if fitted is None else float(fitted[s]),
            "curves": {n: r.curves[s] for n, r in readings.items() if r.curves},
            "predictions": {n: text for n, r in readings.items() if (text := packed_classes(r.test, s))},
            "approximation": {spoken(name): methods[s] for name, methods in (start.methods if start else {}).items()},
        }  # fmt: skip
        for n in ("frozen", "trained"):
            r = readings.get(n)
            own[f"test_{n}"] = None if r is None else float(r.test.metric[s])
            own[f"val_{n}"] = None if r is None else float(r.val[s])
            own[f"{n}_from"] = {} if r is None else {name: float(a[s]) for name, a in r.by_start.items()}
        made.append(asdict(Record(**own, **shared)))
    return made


def _shared(
    experiment: Experiment, job: Job, start: Start | None, frozen: Tuned | None, trained: Tuned | None
) -> dict[str, Any]:
    """What the records of all seeds have in common."""
    protocol, task, goal, family = experiment.protocol, experiment.task, experiment.goal, job.what
    size, nets = sum(map(prod, experiment.shapes.values())), start.nets if start else {}
    count = start.generators.num_params if start else 0
    whole = trained.model_params if trained and trained.model_params else experiment.model_params - size + count
    count = count if start else whole  # a small model is held against the others as a whole
    alone = next((t.alone for t in (trained, frozen) if t is not None and t.alone), experiment.tail.apart)
    return {
        "family": family.name if isinstance(family, Family) else family, "label": job.label,
        "kind": "network" if isinstance(family, Family) else "control", "depth": family.depth if isinstance(family, Family) else None,
        "activation": _activations(nets), "description": _described(family, nets), "budget": job.budget,
        "at_least": sum(job.least) if job.least else None, "num_params": count,
        "full_params": sum(map(full_count, nets.values())) if isinstance(family, Family) and family.name == "adtn" else count,
        "model_params": whole, "model_dense": experiment.model_params, "trained_elsewhere": trained.elsewhere if trained else 0,
        "baseline": sqrt(max(0.0, 1 - count / size)) if start else None, "chosen_frozen": frozen.chosen if frozen else {},
        "chosen_trained": trained.chosen if trained else {}, "flops": start.generators.flops if start else 0,
        "networks": {spoken(name): tk.to_json(net) for name, net in nets.items()},
        "layer": ", ".join(map(spoken, experiment.weights)), "layer_params": size, "test_examples": goal.parts["test"].count,
        "examples": goal.examples, "metric": goal.metric.described(), "title": task.title, "model": task.model_name, "data": goal.name,
        "rest": protocol.rest, "dense_steps": 0 if task.trained else protocol.dense_steps, "fit_steps": protocol.fit_steps,
        "tune_steps": protocol.tune_steps, "rates": protocol.rates,
        "replicas": f"one after another: {alone}" if alone else "side by side", "machine": machine(),
    }  # fmt: skip


def _activations(nets: dict[str, tk.Network]) -> str | None:
    """The functions in networks, by commas."""
    found = {
        function_name(part.fn) for net in nets.values() for part in inside_out(net) if isinstance(part, Elementwise)
    }
    return ", ".join(sorted(found)) or None


def _described(what: Family | str, nets: dict[str, tk.Network]) -> str:
    """What a family or a control is, in a line."""
    if not isinstance(what, Family):
        return CONTROLS[what]
    build = what.build.func if isinstance(what.build, partial) else what.build
    doc = (getattr(build, "__doc__", None) or "").strip()
    made = "; ".join(f"{net!r}" for net in nets.values())
    return f"{doc.splitlines()[0]} {made}" if doc else made

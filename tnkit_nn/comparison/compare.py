"""Deep or shallow: every family at equal budgets, tuned alike, over several seeds, beside the controls.

Two readings.  The approximation: relative Euclidean error after fitting the trained weight (beside the baseline error).  The fine-tuning:
the task's metric on the test part after fine-tuning from there or from a random start, told apart by what else is trained: nothing
("frozen": the layer's parameters alone) or other layers too ("trained").  Learning rates and starts are swept alike for every family,
further where the best rate is at an edge (:mod:`tnkit_nn.comparison.sweep`), and chosen on the validation part; the test part is read once.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from torch import nn

import tnkit as tk
from tnkit.core.checks import flag, sequence, shown
from tnkit.core.node import has_order
from tnkit.core.numbers import whole_number
from tnkit_nn.approximation.methods import RATES
from tnkit_nn.budgets import keeps
from tnkit_nn.checks import a_folder, a_function, a_kind, an_open_module
from tnkit_nn.comparison.dense import dense_rates, with_dense_models
from tnkit_nn.comparison.experiment import Experiment, opened
from tnkit_nn.comparison.job_store import Progress, Study, run_jobs, silent
from tnkit_nn.comparison.predictions import write_predictions
from tnkit_nn.comparison.processes import check_sent
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.record import Job, wrong_records
from tnkit_nn.comparison.replicas import REST_RATES
from tnkit_nn.comparison.result import Comparison
from tnkit_nn.comparison.row import row
from tnkit_nn.comparison.start import built
from tnkit_nn.comparison.sweep import FURTHER
from tnkit_nn.comparison.tuning import rehearse
from tnkit_nn.data.draws import forked
from tnkit_nn.families import BASELINES, CONTROLS, SHARED, Build, Family, as_family, families
from tnkit_nn.fingerprint import fingerprint
from tnkit_nn.gradients import with_gradients
from tnkit_nn.task import Task
from tnkit_nn.training.checkpoint import structure
from tnkit_nn.versions import command, versions

__all__ = ["compare", "settings"]


@with_gradients
def compare(
    task: Task,
    shapes: Sequence[str | Family | Build] | str | Family | Build = tuple(BASELINES),
    budgets: Sequence[int] | int = (100, 300, 1000),
    depths: Sequence[int] | int = (1, 2, 3),
    executor: Executor | None = None,
    progress: Progress = silent,
    out: str | os.PathLike[str] | None = None,
    *,
    layer: str | Sequence[str] | None = None,
    seeds: int = 3,
    first_seed: int = 0,
    dense_steps: int = 400,
    fit_steps: int = 200,
    tune_steps: int = 200,
    rest: str = "all",
    approximation: str = "auto",
    rates: str = "equal",
    at_least: bool = False,
) -> Comparison:
    """Deep or shallow: ``compare(task, ["adtn", "mpo", "cp"], [400], layer="encoder.fc1")``.

    >>> task = tknn.Task("mlp", "digits", limit=100)
    >>> few = dict(seeds=1, dense_steps=20, fit_steps=5, tune_steps=5)  # so that it takes a second; by default hundreds
    >>> found = tknn.compare(task, ["mpo", "low_rank"], budgets=[300], **few)
    >>> sorted({row["label"] for row in found})
    ['dense', 'dense_trained_on', 'frozen_random', 'hashed', 'low_rank', 'mpo', 'picked', 'pooled', 'rank1', 'removed', 'subspace']
    >>> all(row["num_params"] <= 1.05 * 300 for row in found if row["label"] == "mpo")
    True
    >>> found[0]["layer"], found[0]["title"]
    ('fc1', 'mlp on digits')

    Parameters
    ----------
    task
        Model, data, loss and metric; all three parts of the data.  A model that is given trained (an ``nn.Module``, or ``weights``)
        is the dense model of every seed, which then differ in starts and data order.
    shapes
        Families: names of :data:`tnkit_nn.families.KINDS`, ``"tt+tanh"`` (any of them with an activation outermost), or any
        network of one's own: a function ``(shape, budget) -> Network``, a :class:`tnkit_nn.families.Family`, or the place of either,
        ``"file.py:name"``.  Where an executor has other processes, these have to be able to import it.
    budgets
        Parameters that the layer's weight, or the weights of all layers together, may be stored in (:func:`tnkit_nn.budgets.shares`):
        one number or several.
    depths
        Depths of the families that have one (``adtn``, ``circuit``): one or several.
    executor
        Any ``concurrent.futures.Executor``; jobs run here one after another without one.  A lost worker's job is run again.  Threads
        take turns, since random numbers are drawn process by process.  The task goes to workers: functions that they can import, or
        a task of a file (``tnkit compare --task file.py:name``).
    progress
        Wraps the iterable of jobs to be done (a progress bar): first the dense models', then the rows'.
    out
        A folder for finished jobs: a comparison that is started again there does only what is left, and may ask for further
        shapes and budgets.  The classes that classifiers gave to the test examples are written there.
    layer
        Weights that are replaced, several of them together, their budget shared out: names or patterns of parameters
        (``"encoder.layers.*.linear1.weight"``, ``"rnn.weight_hh_l0"``) or of layers (``"fc1"``).  None: the largest weight.
    seeds, first_seed
        Number of seeds, and the first of them: each has its own dense model, start values and data order.
    dense_steps, fit_steps, tune_steps
        Adam steps of the dense training, of the approximation by gradients and of the fine-tuning.
    rest
        Which other layers are fine-tuned together with the compressed one: ``"all"``; ``"head"``, what is called from the first layer
        on, its bias too; ``"none"``: that reading is left out, which more than halves the time.
    approximation
        How networks are brought near the trained weights (:func:`tnkit_nn.approximate`): ``"auto"``, the best way for
        each, or one method for all: ``"gradient"``.
    at_least
        Whether every shallow network, and every control with a budget, has no fewer parameters than the largest deep network within
        the budget, weight by weight: the first choice of digits within 5 % above, else the smallest above; where there is none, the largest.  Then "deep is better" can be asked of every
        family (:mod:`tnkit_nn.comparison.statistics`); "deep is worse" hardly, for which networks near the budget are needed.
    rates
        ``"equal"``: all arrays of a network are fine-tuned at one rate, of those that are swept; ``"structured"``: each at its own, by
        the matrix that it is on the way from columns to rows, their geometric mean being the rate that is swept
        (:func:`tnkit_nn.comparison.rates.rate_factors`).

    Returns
    -------
    Comparison
        The records, a list of dicts (see :class:`tnkit_nn.comparison.record.Record`), controls included, in a fixed order.

    Raises
    ------
    FileNotFoundError
        The data's files are not there.
    ValueError
        An unknown layer or shape; ``at_least`` without a deep network; a weight that the loss does not depend on, or of no real floating numbers; two rows of one label; a
        model that does not take the data, or of other structure for another seed; a task that cannot go to other processes; a number of steps or seeds, a budget
        or a depth that is no whole number of at least 1; a folder that holds another comparison (what differs is named).
    """
    a_kind(task, Task, "compare: task")
    if isinstance(task.model, nn.Module):
        an_open_module(task.model, "compare: the model of the task")
    flag(at_least, "compare: at_least")
    protocol = Protocol(
        _layers(layer), seeds, first_seed, dense_steps, fit_steps, tune_steps, rest, approximation, rates
    )
    chosen, budgets = _chosen(shapes, budgets, depths)
    if at_least and not any(map(_deep, chosen)):
        raise ValueError(
            "compare: at_least needs a deep network, of depth 2 or more, among shapes and depths; there is none"
        )
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"compare: executor is a concurrent.futures.Executor, not {shown(executor)}")
    a_function(progress, "compare: progress")
    out = None if out is None else a_folder(out, "compare: out")
    with forked():  # models are drawn by seeds; the caller's draws go on as they were
        experiment = opened(task, protocol)
        jobs = _jobs(experiment, chosen, budgets, at_least)
        rehearse(experiment, jobs)
        check_sent(executor, experiment, jobs)
        done = _run(experiment, jobs, executor, progress, out)
    told = {
        "versions": versions(), "left_out": _left_out(experiment, done), "command": command(),
        "title": task.title, "examples": experiment.goal.examples,
    }  # fmt: skip
    return Comparison(write_predictions([{**record, **told} for records in done for record in records], out))


def _layers(layer: object) -> tuple[str, ...]:
    """Names of layers; none stands for the largest weight, but an empty list is a mistake."""
    if layer is None:
        return ()
    names = (layer,) if isinstance(layer, str) else tuple(sequence(layer, "compare: layer"))
    if not names:
        raise ValueError("compare: layer is None, or one or more names of weights, not an empty list")
    return names  # the protocol looks at each


def _chosen(
    shapes: Sequence[str | Family | Build] | str | Family | Build,
    budgets: Sequence[int] | int,
    depths: Sequence[int] | int,
) -> tuple[list[Family], list[int]]:
    """The families, each once, and the budgets."""
    alone = isinstance(shapes, (str, Family)) or callable(shapes)
    shapes = [shapes] if alone else sequence(shapes, "compare: shapes")  # type: ignore[list-item]
    budgets = _numbers(budgets, "compare: budgets", "compare: a budget")
    if not shapes or not budgets:
        raise ValueError(f"compare needs shapes and budgets, not shapes={list(shapes)}, budgets={budgets}")
    depths = _numbers(depths, "compare: depths", "compare: depths: each")
    own = [s if _known(s) else as_family(s, f"compare: shapes[{k}]") for k, s in enumerate(shapes)]
    chosen = [f for s in dict.fromkeys(own) for f in ([s] if isinstance(s, Family) else families([s], depths))]
    twice = [name for name, n in Counter([*(f.label for f in chosen), *CONTROLS]).items() if n > 1]
    if twice:
        raise ValueError(f"two rows of a comparison are called {twice[0]!r}; labels are unique")
    return chosen, budgets


def _numbers(given: Sequence[int] | int, what: str, each: str) -> list[int]:
    """One number or several, each once: a repeated budget would count its seeds twice."""
    every = sequence(given, what) if has_order(given) else [given]
    return list(dict.fromkeys(whole_number(n, each, 1) for n in every))


def _known(shape: object) -> bool:
    """Whether it is a name, and of no place."""
    return isinstance(shape, str) and ":" not in shape


def _jobs(experiment: Experiment, chosen: Sequence[Family], budgets: Sequence[int], at_least: bool) -> list[Job]:
    """The rows: networks, controls that have a budget, controls that have none."""
    shared = [c for c in SHARED if c != "small_dense" or experiment.task.smaller is not None]
    least = {b: _largest_deep(experiment, chosen, b) if at_least else None for b in budgets}
    jobs = [Job(f, b, None if _deep(f) else least[b]) for b in budgets for f in chosen]
    jobs += [Job(c, b, least[b]) for b in budgets for c in shared]
    return jobs + [Job(c, None) for c in CONTROLS if c not in SHARED]


def _deep(family: Family) -> bool:
    return (family.depth or 0) > 1


def _largest_deep(experiment: Experiment, chosen: Sequence[Family], budget: int) -> tuple[int, ...] | None:
    """Parameters of each weight in the largest deep network that keeps the budget; None where none does."""
    made = (built(f, experiment.shapes, budget).values() for f in chosen if _deep(f))
    counts = [tuple(net.num_params for net in nets) for nets in made]
    return max((c for c in counts if keeps(sum(c), budget)), key=sum, default=None)


def _left_out(experiment: Experiment, done: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Controls that this task cannot have, and why."""
    found = {}
    removed = next((r for records in done for r in records if r["label"] == "removed"), None)
    if experiment.protocol.rest != "none" and removed is not None and removed["test_trained"] is None:
        how = "Task(without=...) tells how" if experiment.task.without is None else "so says Task(without=...)"
        found["removed, other layers fine-tuned"] = f"the model cannot go without the layer; {how}"
    if experiment.task.smaller is None:
        found["small_dense"] = "Task(smaller=...) makes such a model"
    return found


def _run(
    experiment: Experiment, jobs: Sequence[Job], executor: Executor | None, progress: Progress, out: Any
) -> list[list[dict[str, Any]]]:
    """The records of each job."""
    keys = {j: _key(j, experiment) for j in jobs}  # families that fail say so before anything is trained
    study = None if out is None else Study(out, settings(experiment))
    with study.alone() if study else nullcontext():
        experiment = with_dense_models(experiment, study, executor, progress)
        # the longest jobs (deep networks) first, so that no worker is left alone with one at the end
        longest = sorted(jobs, key=lambda job: -(getattr(job.what, "depth", None) or 0))
        arguments = {keys[j]: (experiment, j) for j in longest}
        jobs_of = {keys[j]: j for j in longest}
        done = run_jobs(
            arguments, row, study=study, executor=executor, progress=progress,
            wrong=lambda key, kept: wrong_records(experiment.protocol, jobs_of[key], kept),
        )  # fmt: skip
    return [done[keys[j]] for j in jobs]


def _key(job: Job, experiment: Experiment) -> str:
    """What a row is kept under: by the networks that a family builds, or the task's function, so that no other row is taken for it."""
    key, made = job.label if job.budget is None else f"{job.label} at {job.budget}", ""
    if isinstance(job.what, Family):
        assert job.budget is not None
        made = "".join(map(tk.to_json, built(job.what, experiment.shapes, job.budget, job.least).values()))
    task = experiment.task
    own = {"removed": task.without, "small_dense": task.smaller}.get(job.label)
    if own is not None:
        made = fingerprint(own)
    made += "" if job.least is None else f"at least {job.least}"  # the same network near its budget is another row
    return f"{key} {hashlib.sha256(made.encode()).hexdigest()[:8]}" if made else key


def settings(experiment: Experiment) -> dict[str, Any]:
    """What an experiment's results depend on; where files lie is no part of it, what they hold is."""
    protocol = asdict(experiment.protocol)
    if protocol["rates"] == "equal":  # as studies of earlier versions have it
        del protocol["rates"]
    return {
        "task": experiment.task.settings(), "structure": structure(experiment.model),
        "protocol": protocol, "rates": RATES, "rest_rates": REST_RATES, "dense_rates": dense_rates(experiment.task), "further_rates": FURTHER,
        "versions": versions(),
    }  # fmt: skip

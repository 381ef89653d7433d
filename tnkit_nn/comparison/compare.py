"""Deep or shallow: every family at equal budgets, tuned alike, over several seeds, beside the controls.

Two readings.  The approximation: relative Euclidean error after fitting the trained weight (beside the chance level).  The fine-tuning: test
accuracy after fine-tuning from there or from a random start, told apart by what else is trained: nothing ("frozen": the layer's
parameters alone) or everything ("trained").  Learning rates and starts are swept alike for every family and chosen on the
validation part; the test part is read once.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import tnkit as tk
from tnkit.core.checks import sequence, shown
from tnkit.core.numbers import whole_number
from tnkit_nn.approximation import RATES
from tnkit_nn.checks import a_folder, a_function, a_kind
from tnkit_nn.comparison.experiment import Experiment, opened, with_dense_models
from tnkit_nn.comparison.job_store import Progress, Study, run_jobs, silent
from tnkit_nn.comparison.replicas import REST_RATES
from tnkit_nn.comparison.row import Job, built, row, wrong_records
from tnkit_nn.comparison.task import Task
from tnkit_nn.families import BASELINES, CONTROLS, SHARED, Family, families
from tnkit_nn.versions import versions

__all__ = ["compare", "settings"]


def compare(
    task: Task,
    shapes: Sequence[str | Family] = tuple(BASELINES),
    budgets: Sequence[int] = (100, 300, 1000),
    depths: Sequence[int] = (1, 2, 3),
    executor: Executor | None = None,
    progress: Progress = silent,
    out: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Run a comparison.

    Parameters
    ----------
    task
        Model, data, layer or layers, seeds and training lengths.
    shapes
        Families: keys of :data:`tnkit_nn.families.BASELINES`, or any network of one's own as a
        :class:`tnkit_nn.families.Family`, whose ``build`` other processes can import where an executor has them.
    budgets
        Numbers that the layer's weight, or the weights of all layers together, may be stored in (:func:`tnkit_nn.budgets.shares`).
    depths
        Depths of the families that have one (``adtn``, ``circuit``).
    executor
        Any ``concurrent.futures.Executor``; jobs run here one after another without one.  A lost worker's job is run again.
    progress
        Wraps the iterable of jobs to be done (a progress bar): first the dense models', then the rows'.
    out
        A folder for finished jobs: a comparison that is started again there does only what is left, and may ask for further
        shapes and budgets.

    Returns
    -------
    list of dict
        The records (see :class:`tnkit_nn.comparison.row.Record`), controls included, in a fixed order.

    Raises
    ------
    FileNotFoundError
        The data's files are not there.
    ValueError
        An unknown model, data set, layer or shape; two rows of one label; a model that cannot be compared; a number of steps or
        seeds, a budget or a depth that is no whole number of at least 1; a folder that holds a comparison of another task (what differs is named).
    """
    a_kind(task, Task, "compare: task")
    shapes = [shapes] if isinstance(shapes, (str, Family)) else sequence(shapes, "compare: shapes")
    for k, shape in enumerate(shapes):
        if not isinstance(shape, (str, Family)):
            raise TypeError(f"compare: shapes[{k}] is the name of a family or a Family, not {shown(shape)}")
    budgets = [whole_number(b, "compare: a budget", 1) for b in sequence(budgets, "compare: budgets")]
    if not shapes or not budgets:
        raise ValueError(f"compare needs shapes and budgets, not shapes={list(shapes)}, budgets={budgets}")
    budgets = list(dict.fromkeys(budgets))  # a repeated one would count its seeds twice
    depths = list(
        dict.fromkeys(whole_number(d, "compare: depths: each", 1) for d in sequence(depths, "compare: depths"))
    )
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"compare: executor is a concurrent.futures.Executor, not {shown(executor)}")
    a_function(progress, "compare: progress")
    out = None if out is None else a_folder(out, "compare: out")
    chosen = [f for s in dict.fromkeys(shapes) for f in ([s] if isinstance(s, Family) else families([s], depths))]
    twice = [name for name, n in Counter([*(f.label for f in chosen), *CONTROLS]).items() if n > 1]
    if twice:
        raise ValueError(f"two rows of a comparison are called {twice[0]!r}; labels are unique")
    jobs = [Job(f, b) for b in budgets for f in chosen] + [Job(c, b) for b in budgets for c in SHARED]
    jobs += [Job(c, None) for c in CONTROLS if c not in SHARED]
    with torch.random.fork_rng(devices=[]):  # models are drawn by seeds; the caller's draws go on as they were
        done = _run(opened(task), jobs, executor, progress, out)
    stamp = versions()
    return [{**record, "versions": stamp} for records in done for record in records]


def _run(
    experiment: Experiment, jobs: Sequence[Job], executor: Executor | None, progress: Progress, out: Any
) -> list[list[dict[str, Any]]]:
    """The records of each job."""
    study = None if out is None else Study(out, settings(experiment))
    with study.alone() if study else nullcontext():
        experiment = with_dense_models(experiment, study, executor, progress)
        # the longest jobs (deep networks) first, so that no worker is left alone with one at the end
        longest = sorted(jobs, key=lambda job: -(getattr(job.what, "depth", None) or 0))
        keys = {j: _key(j, experiment.shapes) for j in jobs}
        arguments = {keys[j]: (experiment, j) for j in longest}
        jobs_of = {keys[j]: j for j in longest}
        done = run_jobs(
            arguments, row, study=study, executor=executor, progress=progress,
            wrong=lambda key, kept: wrong_records(experiment.task, jobs_of[key], kept),
        )  # fmt: skip
    return [done[keys[j]] for j in jobs]


def _key(job: Job, shapes: Mapping[str, Sequence[int]]) -> str:
    """What a row is kept under: a family by the networks that it builds, so that no row of another one is taken for it."""
    if job.budget is None:
        return job.label
    key = f"{job.label} at {job.budget}"
    if isinstance(job.what, Family):
        nets = "".join(map(tk.to_json, built(job.what, shapes, job.budget).values()))
        key += " " + hashlib.sha256(nets.encode()).hexdigest()[:8]
    return key


def settings(experiment: Experiment) -> dict[str, Any]:
    """What an experiment's results depend on; where files lie is no part of it, what they hold is."""
    task = experiment.task
    named = {name: value for name, value in asdict(task).items() if name != "data_dir"}
    named["weights"] = task.weights and hashlib.sha256(Path(task.weights).read_bytes()).hexdigest()[:12]
    return {
        "task": named, "data": experiment.split.digest(), "rates": RATES, "rest_rates": REST_RATES, "versions": versions(),
    }  # fmt: skip

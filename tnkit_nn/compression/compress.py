"""Compressing a trained model: the approximation and the fine-tuning in schedule, resumable, with a report.

The schedule is a list of steps, each of one weight or (``together``) of all: the weights become networks (the approximation), then these
are trained on the task (the fine-tuning).  Everything drawn follows from the recipe's seed, and everything found is written before the
next thing begins, so that a compression killed at any moment goes on where it was and ends with the same numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from tnkit.core.checks import flag
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.copies import copied
from tnkit_nn.adapter.fitting import FitResult
from tnkit_nn.adapter.norms import norm
from tnkit_nn.adapter.parametrize import parametrize_
from tnkit_nn.approximation.approximate import approximate_layer
from tnkit_nn.checks import a_folder, a_function, a_path, an_open_module, warn_caller
from tnkit_nn.compression.recipe import FINE_TUNING, ORDERS, Compression
from tnkit_nn.compression.result import Compressed, LayerReport, packed, save_compressed
from tnkit_nn.compression.selection import Substitute, substitutes
from tnkit_nn.compression.tuning import Tune, Work, tuned_step
from tnkit_nn.compression.workdir import BEFORE, METRIC, Folder, described_model
from tnkit_nn.data.batches import moved
from tnkit_nn.fingerprint import fingerprint
from tnkit_nn.gradients import with_gradients
from tnkit_nn.placing import place_
from tnkit_nn.storage import alone, own_tensors
from tnkit_nn.task import Task, task_named
from tnkit_nn.training.evaluation import answers, device_of, first_batch, judged, looking, trial
from tnkit_nn.training.goal import Goal, goal_of
from tnkit_nn.weights import forward_order, in_order, spoken

__all__ = ["compress_"]


@with_gradients
def compress_(
    model: nn.Module,
    recipe: Compression | str | os.PathLike[str],
    task: Any = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    tune: Tune | None = None,
    **changes: Any,
) -> Compressed:
    """Compress a trained model in place: ``compress_(model, Compression(Layers("fc1", "mpo", budget=400)), task)``.

    >>> _ = torch.manual_seed(0)
    >>> model, task = tknn.zoo.mlp(), tknn.Task(data="digits")
    >>> epochs = tknn.train(model, task, tknn.Recipe(epochs=5, lr=0.01))
    >>> recipe = tknn.Compression(tknn.Layers("fc1", "mpo", budget=500), stage2=tknn.Recipe(epochs=2, lr=0.01))
    >>> found = tknn.compress_(model, recipe, task)
    >>> found.params_before, found.params_after
    (4810, 1226)
    >>> found.metric_before > 0.85, found.metric_after > found.metric_fit
    (True, True)

    Where it fails or is interrupted, the model is put back to what it was.

    Parameters
    ----------
    model
        A trained model, whose weights are replaced (``parametrize_``).
    recipe
        A :class:`~tnkit_nn.compression.recipe.Compression`, or a TOML file of one.
    task
        A :class:`~tnkit_nn.Task`, or what one has as ``data``, for classifiers; fine-tuned on its training part, its metric read on
        its test part (the validation part, the training part, where there is no other).  None: the recipe's task; where that is
        none too, the approximation alone, without data.  A ``stage2`` that was asked for then is an error.
    out
        A folder for checkpoints, logs (a line a step of either stage), the report and the compressed model.  Called again with
        the same model and recipe, the compression goes on where it was, and ends with the same numbers.  With more epochs in
        ``stage2`` a finished one goes on too: the last step of the schedule gets what is added.
    progress
        Show bars.
    tune
        Fine-tunes instead of our loop: ``tune(model, parameters, budget)`` is called at each step of the schedule, with the
        parameters to be trained by name; all others require no gradient.  ``budget`` has the epochs and steps of ``stage2``.
    changes
        Fields of the recipe to be other: ``select`` (of its one entry of layers), ``order``, ``stage1``, ``stage2``, ``rest``, ...

    Returns
    -------
    Compressed
        :func:`dense` of its model is a model of the original class again.

    Raises
    ------
    TypeError
        No module, no recipe, no task, no function.
    ValueError
        A layer that is not there, a network larger than its weight or that the approximation cannot fit, fewer epochs than steps
        or than before, a model that does not take the data, a ``tune`` that fails, a folder of another model, recipe or task (what
        differs is named), or of something else, or one that another process is at work in, or a damaged file in it.
    FloatingPointError
        The fine-tuning found no finite numbers at any rate tried; what was done before is kept in ``out``.
    OSError
        ``out`` cannot be written to, the disk being full, say; the file is named.
    """
    an_open_module(model, "compress_: model")
    progress, out = flag(progress, "compress_: progress"), None if out is None else a_folder(out, "compress_: out")
    if tune is not None:
        a_function(tune, "compress_: tune")
    if not isinstance(recipe, Compression):
        recipe = Compression.load(a_path(recipe, "compress_: recipe, unless it is a Compression,"))
    recipe = _changed(recipe, changes)
    if task is None and recipe.task is not None:
        task = task_named(recipe.task, "recipe: task")
    goal = None if task is None else goal_of(task, "compress_")
    recipe = _with_fine_tuning(recipe, goal, tune)
    chosen = substitutes(model, recipe)
    if goal is not None:
        trial(model, goal, "compress_")
    order = _order_of(model, goal)
    schedule = _schedule(in_order(list(chosen), order), recipe)
    mine = {
        "model": described_model(model), "task": None if goal is None else goal.settings(),
        "tune": None if tune is None else fingerprint(tune, held=False),
    }  # fmt: skip
    begin = time.perf_counter()
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() if out is None else nullcontext(out) as folder,
        alone(Path(folder), "this compression"),
        all_or_nothing(model, values=True),
    ):
        files = Folder(Path(folder), mine, recipe, begin)
        return _run(Work(model, recipe, goal, tune, order, files, progress), chosen, schedule)


def _run(work: Work, chosen: Mapping[str, Substitute], schedule: Sequence[tuple[str, ...]]) -> Compressed:
    """All steps, and the report."""
    model, goal, files = work.model, work.goal, work.files
    before = files.once("before", BEFORE, lambda: _before(model, goal))
    reports: list[LayerReport] = []
    steps, done = [], list[str]()
    # every weight as the approximation made it
    untuned = model if work.recipe.stage2 is None else copied(model, "compress_: the model")
    for k, (weights, epochs) in enumerate(zip(schedule, _epochs(work, len(schedule)), strict=True)):
        reports += [_approximation_step(work, untuned, weight, chosen[weight]) for weight in weights]
        done += weights
        fitted = files.once(f"step-{k}-fitted", METRIC, partial(_metric, model, goal))
        tuned = tuned_step(work, done, k, epochs)
        name = (
            f"step-{k}-tuned" if len(epochs) < 2 else f"step-{k}-tuned-{sum(epochs)}"
        )  # what was extended is read anew
        after = files.once(name, METRIC, partial(_metric, model, goal))
        steps.append({
            "layers": [spoken(w) for w in weights], "epochs": sum(epochs), "metric_fit": fitted["metric"],
            "metric_after": after["metric"], "rate_factor": tuned.factor, "seconds": tuned.seconds,
            "history": [asdict(e) for e in tuned.history],
        })  # fmt: skip
    _warn_of_death(model, goal, before["classes"])
    stage1 = files.once("stage1", METRIC, partial(_metric, untuned, goal))
    save_compressed(model, files.path / "model.safetensors")
    result = Compressed(
        model, tuple(reports), None if goal is None else goal.metric.described(), before["metric"], stage1["metric"],
        steps[-1]["metric_after"], "" if goal is None else _part(goal), "" if goal is None else goal.examples, tuple(steps),
        before["params"], sum(p.numel() for p in model.parameters()), before["bytes"],
        (files.path / "model.safetensors").stat().st_size, files.spent(),
    )  # fmt: skip
    files.report(result.report())
    return result


# -- the recipe -----------------------------------------------------------------------------------------------------
def _changed(recipe: Compression, changes: dict[str, Any]) -> Compression:
    if "select" in changes:
        if "layers" in changes:
            raise ValueError("select or layers is changed, not both")
        if len(recipe.layers) != 1:
            raise ValueError(f"select stands for the layers of one entry; the recipe has {len(recipe.layers)}")
        changes = {**changes, "layers": (replace(recipe.layers[0], select=changes["select"]),)}
        del changes["select"]
    for name in changes:
        if name not in Compression.__dataclass_fields__:
            hint = f"; tknn.Task({name}=...) takes it" if name in Task.__dataclass_fields__ else ""
            raise ValueError(f"a recipe has no {name!r}; it has {', '.join(Compression.__dataclass_fields__)}{hint}")
    return replace(recipe, **changes)


def _with_fine_tuning(recipe: Compression, goal: Goal | None, tune: Tune | None) -> Compression:
    """The recipe as it can be done: without a task and a function that fine-tunes there is the approximation alone."""
    if tune is not None and recipe.stage2 is None:
        raise ValueError("compress_: tune fine-tunes for the epochs of stage2, but the recipe's stage2 is None")
    if goal is not None or tune is not None or recipe.stage2 is None:
        return recipe
    if recipe.stage2 is not FINE_TUNING:
        raise ValueError(
            "compress_: the recipe's stage2 is a fine-tuning on a task, but there is no task; give one, or stage2=None for the "
            "approximation alone"
        )
    return replace(recipe, stage2=None)


# -- the schedule ---------------------------------------------------------------------------------------------------
def _order_of(model: nn.Module, goal: Goal | None) -> dict[str, int]:
    """Name of a module -> when it is called for the first batch; without data, when it was registered."""
    if goal is None:
        return {name: k for k, (name, _) in enumerate(model.named_modules())}
    batch = moved(first_batch(goal, "train", "compress_"), device_of(model))
    with looking(model):
        return forward_order(model, lambda: goal.loss(model, batch))


def _schedule(weights: list[str], recipe: Compression) -> list[tuple[str, ...]]:
    """The weights, in their order, by steps."""
    steps = _in_steps(weights, recipe)
    if recipe.stage2 is not None and recipe.stage2.epochs < len(steps):
        raise ValueError(f"{recipe.stage2.epochs} epochs in all are too few for {len(steps)} layers one after another")
    return steps


def _in_steps(weights: list[str], recipe: Compression) -> list[tuple[str, ...]]:
    if recipe.order == "together":
        return [tuple(weights)]
    if recipe.order == "backward":
        return [(n,) for n in reversed(weights)]
    if recipe.order == "forward":
        return [(n,) for n in weights]
    called = {**{w: w for w in weights}, **{spoken(w): w for w in weights}}
    given = [called.get(name, "") for name in recipe.order]
    if sorted(given) != sorted(weights):
        raise ValueError(
            f"order is {', '.join(ORDERS)}, or the layers selected, {', '.join(map(spoken, weights))}, in any order; not {', '.join(recipe.order)}"
        )
    return [(n,) for n in given]


def _epochs(work: Work, steps: int) -> list[tuple[int, ...]]:
    """The epochs in all, shared out evenly; the last steps get what is over, and the last one what later calls added."""
    first, *later = work.files.asked or (0,)
    each, over = divmod(first, steps)
    shares = [(each + (k >= steps - over),) for k in range(steps)]
    added = [b - a for a, b in zip((first, *later), later, strict=False)]
    return [*shares[:-1], (*shares[-1], *added)]


# -- one step -------------------------------------------------------------------------------------------------------
def _approximation_step(work: Work, untuned: nn.Module, name: str, chosen: Substitute) -> LayerReport:
    weight = work.model.get_parameter(name).detach()
    found, seconds = work.files.arrays(spoken(name), chosen.net, lambda: _approximated(work, name, weight, chosen))
    for each in {id(m): m for m in (work.model, untuned)}.values():
        place_(each, name, chosen.net, found.arrays, measured=False)
    size, net = weight.element_size(), chosen.net
    return LayerReport(
        spoken(name), tuple(weight.shape), chosen.family, weight.numel(), net.num_params, found.error, found.chance,
        norm(weight), seconds, size * weight.numel(), size * net.num_params + len(packed({spoken(name): net})), found.method,
    )  # fmt: skip


def _approximated(work: Work, name: str, weight: Tensor, chosen: Substitute) -> FitResult:
    """Arrays near the weight, or those that were given, with their error."""
    if chosen.arrays is None:
        options = {**asdict(work.recipe.stage1), "seed": work.recipe.seed, "progress": work.progress}
        return approximate_layer(f"layer {spoken(name)!r}: ", chosen.net, weight.cpu(), **options)
    probe = nn.Module()
    probe.register_parameter("weight", nn.Parameter(weight.cpu().clone()))
    parametrize_(probe, "weight", chosen.net, chosen.arrays)
    with torch.no_grad():
        off = norm(cast(Tensor, probe.weight) - weight.cpu())
    error = off / (norm(weight) or 1.0)
    chance = max(0.0, 1 - chosen.net.num_params / weight.numel()) ** 0.5
    arrays = {n: torch.as_tensor(x).detach().cpu().numpy() for n, x in chosen.arrays.items()}
    return FitResult(arrays, (error,), error, chance, "given")


# -- what is read ---------------------------------------------------------------------------------------------------
def _part(goal: Goal) -> str:
    """The part that the metric is read on: nothing is chosen by it, where there is a part for that."""
    return next(part for part in ("test", "val", "train") if part in goal.parts)


def _metric(model: nn.Module, goal: Goal | None) -> dict[str, Any]:
    return {"metric": None if goal is None else judged(model, goal, _part(goal))}


def _classes(model: nn.Module, goal: Goal | None) -> int:
    """How many classes a classifier gives to what it may be judged by; 0 of any other model."""
    if goal is None or not goal.classifies or "val" not in goal.parts:
        return 0
    return int(answers(model, goal).count_nonzero())


def _before(model: nn.Module, goal: Goal | None) -> dict[str, Any]:
    """What a report needs of the dense model: metric, how many classes it gives, parameters, and bytes of its file."""
    state = own_tensors(model.state_dict())
    return {
        **_metric(model, goal), "classes": _classes(model, goal), "params": sum(p.numel() for p in model.parameters()),
        "bytes": len(safetensors.torch.save(state)),
    }  # fmt: skip


def _warn_of_death(model: nn.Module, goal: Goal | None, before: int) -> None:
    if before > 1 and _classes(model, goal) == 1:
        warn_caller(
            "the compressed model gives every input one class: a network in it may be dead; another seed, stage1 'skip' (a "
            "random start) or more parameters may help"
        )

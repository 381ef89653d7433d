"""Training: one loop for whole models and for the few parameters of a compressed layer; a restarted run ends bit by bit the same."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tnkit.core.checks import flag
from tnkit.core.extras import need
from tnkit.core.numbers import whole_number
from tnkit_nn.checks import a_function, a_kind, a_module, a_path, warn_caller
from tnkit_nn.data.augment import AUGMENT
from tnkit_nn.data.batches import Batch, check_numbers, moved
from tnkit_nn.data.draws import seed_
from tnkit_nn.gradients import with_gradients
from tnkit_nn.storage import clear, fill_
from tnkit_nn.training.checkpoint import State, capture, model_values, restore, resume, structure, write_state
from tnkit_nn.training.evaluation import Reading, device_of, evaluate, first_batch, trial, worse
from tnkit_nn.training.goal import Goal, Loss, cross_entropy, goal_of
from tnkit_nn.training.groups import Group, parameter_groups
from tnkit_nn.training.journal import Journal
from tnkit_nn.training.modes import needing, rehearsed, training
from tnkit_nn.training.recipe import METHODS, SCHEDULES, Recipe

__all__ = ["Epoch", "train"]

EVERY = 25  # steps between looks at the loss: each waits for the device
ROLLBACKS = 5  # halvings of the rate before a training counts as hopeless


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss, loss and metric on the validation part, and the factor that diverging cost the rate.

    Without a validation part its figures are None.  ``val_spread`` is the standard error of the validation loss.
    """

    epoch: int
    loss: float
    rate_factor: float
    seconds: float = field(compare=False)
    val_loss: float | None = None
    val_metric: float | None = None
    val_spread: float | None = None

    def reading(self, count: int) -> Reading:
        """What was read on a validation part of so many examples."""
        if self.val_loss is None or self.val_metric is None:
            return Reading(self.loss, -self.loss, float("nan"), count)
        spread = float("nan") if self.val_spread is None else self.val_spread
        return Reading(self.val_loss, self.val_metric, spread, count)


@with_gradients
def train(
    model: nn.Module,
    task: Any,
    recipe: Recipe,
    *,
    seed: int = 0,
    groups: Sequence[Group] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | None = None,
    progress: bool = False,
    after: Callable[[Epoch], object] | None = None,
) -> tuple[Epoch, ...]:
    """Train a model in place: ``train(model, Task(data={"train": loader, "val": other}, loss=loss), Recipe(epochs=5, lr=1e-3))``.

    >>> x = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
    >>> y = x.sum(1, keepdim=True)
    >>> task = tknn.Task(data={"train": (x, y)}, loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]))
    >>> model = nn.Linear(4, 1)
    >>> epochs = tknn.train(model, task, tknn.Recipe(epochs=40, lr=0.1, batch=20))
    >>> len(epochs), epochs[-1].loss < 0.1 * epochs[0].loss
    (40, True)
    >>> torch.allclose(model.weight, torch.ones(1, 4), atol=0.1)
    True

    Order, augmentation and dropout of an epoch follow from ``seed`` and the epoch's number alone, so that a run continued from a
    checkpoint ends with exactly the numbers of one that was never interrupted.  An epoch that gives no finite number is rolled
    back and done again at half the rate, with a warning.  A training that ends far below its best epoch on the validation part is
    put back to that epoch's values, with a warning; the task's own metric and loss say what is better
    (:func:`tnkit_nn.training.evaluation.worse`).

    Parameters
    ----------
    model
        What the task's loss is called with.  Trained where its parameters lie; batches are moved there.
    task
        A :class:`~tnkit_nn.Task`, or what one has as ``data``, for classifiers: a Split, ``{"train": ..., "val": ...}``.  Trains on
        ``train``, reports on ``val`` where there is one; nothing is chosen by ``test``.
    recipe
        Optimiser, rates, length.  A DataLoader has its own batch size.
    seed
        Seed of everything drawn.
    groups
        What is trained, each group at its own rate; everything else stays as it is, running statistics of what is not trained
        too.  By default all parameters that require a gradient.
    checkpoint
        A file written after every epoch, whole or not at all; where it is there, training continues from it.  A finished training
        is extended by a recipe of more epochs: those that are left follow the longer schedule.
    log
        A file of JSON lines: the loss of every step, the figures of every epoch; TensorBoard's events beside it where that is
        installed.
    progress
        Show a bar.
    after
        Called with every epoch that is done and kept.

    Returns
    -------
    tuple of Epoch
        All epochs, those before a restart included.

    Raises
    ------
    TypeError
        No module, no task, no recipe.
    ValueError
        Nothing to train, a parameter that is not the model's or in two groups, a checkpoint of another run (what differs, the loss
        say, is named), a batch whose loss cannot be had, data with entries that are not finite.
    FloatingPointError
        No finite numbers at a rate halved five times; the model is as before the epoch.
    """
    goal = goal_of(task, "train")
    a_kind(recipe, Recipe, "train: recipe")
    seed, progress = whole_number(seed, "train: seed", 0), flag(progress, "train: progress")
    checkpoint, log = (
        None if p is None else a_path(p, f"train: {n}") for n, p in (("checkpoint", checkpoint), ("log", log))
    )
    if after is not None:
        a_function(after, "train: after")
    trained = parameter_groups(a_module(model, "train: model"), recipe, groups)
    first = _first_batch(model, goal, recipe)
    optimizer = METHODS[recipe.method]([{k: v for k, v in g.items() if k != "names"} for g in trained])
    run = {
        "recipe": asdict(recipe), "seed": seed, **goal.settings(),
        "groups": [{k: v for k, v in g.items() if k != "params"} for g in trained], "structure": structure(model),
    }  # fmt: skip
    loop = _TrainingLoop(model, goal, recipe, seed, optimizer, [g["lr"] for g in trained], Journal(log))
    if checkpoint:
        clear(Path(checkpoint).absolute().parent)
    params = [p for g in trained for p in g["params"]]
    keeping = _rehearsal(model, loop.objective, first, params)
    with training(model, params, keeping):
        history, factor, best = _begun(checkpoint, model, optimizer, run)
        with _bar(recipe.epochs * loop.steps, progress) as bar:
            while len(history) < recipe.epochs:
                before = loop.best_values(history, best)
                epoch, factor = loop.epoch(len(history) + 1, factor, bar)
                history.append(epoch)
                best = {} if loop.best(history) == epoch else before  # the model's own are not kept twice
                if checkpoint:
                    done = {"history": [asdict(e) for e in history], "factor": factor}
                    write_state(checkpoint, model, optimizer, run, done, best)
                if after:
                    after(epoch)
        loop.put_back(history, best)
    return tuple(history)


def _begun(
    checkpoint: Path | None, model: nn.Module, optimizer: Optimizer, run: dict[str, Any]
) -> tuple[list[Epoch], float, State]:
    """The epochs that a checkpoint has, the factor of the rates and the best values; one is written where there is none."""
    found = resume(checkpoint, model, optimizer, run) if checkpoint else None
    if found:
        so_far, best = found
        return [Epoch(**e) for e in so_far["history"]], so_far["factor"], best
    if checkpoint:  # before the first epoch too: a restart has the same start
        write_state(checkpoint, model, optimizer, run, {"history": [], "factor": 1.0}, {})
    return [], 1.0, {}


def _first_batch(model: nn.Module, goal: Goal, recipe: Recipe) -> Batch:
    """One batch through the augmentation, and through the model: what cannot be trained is said before the first file is written."""
    if goal.loss is not cross_entropy and recipe.label_smoothing:
        raise ValueError(
            f"train: label_smoothing is of the cross entropy, but the task has a loss of its own; it is {recipe.label_smoothing}, not 0"
        )
    where, draw = goal.part("train", "train"), torch.Generator().manual_seed(0)
    with closing(where.shuffled(recipe.batch, draw)) as batches:  # type: ignore[type-var]
        batch = first_batch(goal, "train", "train", batches)
    if recipe.augment != "none":
        try:
            _augmented(batch, recipe, draw)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"train: augment {recipe.augment!r} does not take the inputs of {goal.name!r}: {error}"
            ) from None
    trial(model, goal, "train", batch)
    return moved(batch, device_of(model))


def _rehearsal(model: nn.Module, objective: Loss, batch: Batch, trained: Sequence[Tensor]) -> dict[str, str]:
    """The model's keepers, by a step that is not done: ValueError where it could not be."""
    try:
        with needing(model, trained):
            value, keeping = rehearsed(model, objective, batch)
    except Exception as error:  # whatever a model of the user's raises
        why = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(f"train: the model in training does not take the first batch: {why}") from error
    if not value.requires_grad:
        raise ValueError(
            "train: the loss depends on what is trained, but that of the first batch has no gradient for any of it"
        )
    return keeping


def _augmented(batch: Batch, recipe: Recipe, draw: torch.Generator) -> Batch:
    """The batch with its first tensor augmented."""
    if recipe.augment == "none":
        return batch
    if not isinstance(batch, (tuple, list)):
        raise TypeError(f"batches are tuples whose first is the images, not {type(batch).__name__}")
    return (AUGMENT[recipe.augment](batch[0], draw), *batch[1:])


def _figures(seen: Reading | None) -> dict[str, float | None]:
    """What an epoch has of a reading."""
    if seen is None:
        return {}
    spread = None if isnan(seen.spread) else seen.spread
    return {"val_loss": seen.loss, "val_metric": seen.metric, "val_spread": spread}


# -- the loop ----------------------------------------------------------------------------------------------------------
@dataclass
class _TrainingLoop:
    """What stays the same from epoch to epoch."""

    model: nn.Module
    goal: Goal
    recipe: Recipe
    seed: int
    optimizer: Optimizer
    rates: list[float]
    journal: Journal

    def __post_init__(self) -> None:
        self.part = self.goal.parts["train"]
        self.steps = self.part.steps(self.recipe.batch)
        smoothed = self.goal.loss is cross_entropy and self.recipe.label_smoothing
        self.objective: Loss = (
            partial(cross_entropy, label_smoothing=self.recipe.label_smoothing) if smoothed else self.goal.loss
        )

    def best(self, history: Sequence[Epoch]) -> Epoch:
        """The epoch that is best on the validation part, the last of several; without one the last epoch."""
        best = history[-1]
        for e in reversed(history):
            mine, other = e.val_metric, best.val_metric
            if mine is not None and other is not None and self.goal.metric.better(mine, other):
                best = e
        return best

    def best_values(self, history: Sequence[Epoch], best: State) -> State:
        """The values of the best epoch: the model's own where that is the last one; none where nothing is compared."""
        if "val" not in self.goal.parts or not history:
            return {}
        return model_values(self.model) if self.best(history) == history[-1] else best

    def put_back(self, history: Sequence[Epoch], best: State) -> None:
        """Give the model its best values where it has lost them, and say so."""
        top, last, metric = self.best(history), history[-1], self.goal.metric
        if top.val_metric is None or last.val_metric is None or top == last:
            return
        count = self.goal.parts["val"].count or evaluate(self.model, self.goal).count  # a stream does not say it
        if worse(self.goal, last.reading(count), top.reading(count)):
            fill_(self.model, best, "the best epoch")
            warn_caller(
                f"training diverged: {metric.name} {metric.shown(last.val_metric)} on the validation part after the last epoch, "
                f"{metric.shown(top.val_metric)} after epoch {top.epoch}: put back to that one"
            )

    def epoch(self, number: int, factor: float, bar: Any) -> tuple[Epoch, float]:
        """Train one epoch, at lower rates until it gives finite numbers; which it was, and the factor of the rates by then."""
        begin = time.perf_counter()
        before = capture(self.model, self.optimizer)
        while True:
            bar.n = (number - 1) * self.steps
            self.journal.trim(number, (number - 1) * self.steps)
            mean = self._pass(number, factor, bar)
            seen: Reading | None = None
            if isfinite(mean) and all(
                bool(p.isfinite().all()) for g in self.optimizer.param_groups for p in g["params"]
            ):
                seen = evaluate(self.model, self.goal) if "val" in self.goal.parts else None
                if seen is None or isfinite(seen.loss):
                    break
            restore(self.model, self.optimizer, before)
            self._check_data()
            if factor <= 0.5**ROLLBACKS:
                tried = max(self.rates) * factor
                half = any(p.dtype == torch.float16 for g in self.optimizer.param_groups for p in g["params"])
                narrow = (
                    "; its parameters are float16: train in float32 (`model.float()`) or in bfloat16" if half else ""
                )
                raise FloatingPointError(f"epoch {number} gives no finite loss, even at the rate {tried:.2g}{narrow}")
            warn_caller(f"epoch {number} gave no finite loss: put back to its beginning, and again at half the rate")
            before, factor = capture(self.model, self.optimizer), factor / 2
        done = Epoch(number, mean, rate_factor=factor, seconds=time.perf_counter() - begin, **_figures(seen))
        self.journal.append([{k: v for k, v in asdict(done).items() if v is not None}], number * self.steps)
        self.journal.flush()
        if seen is not None:
            bar.set_postfix(epoch=number, val=self.goal.metric.shown(seen.metric))
        return done, factor

    def _pass(self, number: int, factor: float, bar: Any) -> float:
        """All steps of an epoch; the mean loss, not finite as soon as that is seen."""
        total, done = 0.0, 0
        own_seed = (1_000_003 * self.seed + number) % 2**63
        draw = torch.Generator().manual_seed(own_seed)
        seed_(own_seed)  # what the model draws
        pending: list[tuple[int, float, Tensor]] = []
        with closing(self.part.shuffled(self.recipe.batch, draw)) as batches:  # type: ignore[type-var]
            # a stream may be longer this time: the schedule is of its first length
            for k, batch in enumerate(islice(batches, self.steps)):
                step = (number - 1) * self.steps + k
                rate = factor * SCHEDULES[self.recipe.schedule](step / (self.recipe.epochs * self.steps))
                for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
                    group["lr"] = own * rate
                pending.append((step + 1, rate, self._step(batch, draw)))
                bar.update()
                if len(pending) == EVERY:
                    total, done, pending = total + self._noted(number, pending), done + len(pending), []
                    if not isfinite(total):
                        return total
        if pending:
            total, done = total + self._noted(number, pending), done + len(pending)
        if not done:
            raise ValueError(
                f"train: the part 'train' of {self.goal.name!r} is gone through again and again, but gives no batch in epoch {number}; "
                "its __iter__ has to begin anew"
            )
        return total / done

    def _check_data(self) -> None:
        """ValueError where the training part has entries that are not finite: no rate would mend that."""
        for k, batch in enumerate(self.part.loader(self.recipe.batch)):
            check_numbers(batch, f"batch {k} of 'train' of {self.goal.name!r}")

    def _noted(self, number: int, pending: Sequence[tuple[int, float, Tensor]]) -> float:
        """The losses of steps, written; their sum."""
        values = torch.stack([value for *_, value in pending]).tolist()
        lines = [
            {"epoch": number, "step": s, "loss": v, "rate_factor": r}
            for (s, r, _), v in zip(pending, values, strict=True)
        ]
        self.journal.append(lines, pending[-1][0])
        return float(sum(values))

    def _step(self, batch: Batch, draw: torch.Generator) -> Tensor:
        batch = _augmented(moved(batch, device_of(self.model)), self.recipe, draw)
        value = self.objective(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self.optimizer.step()
        return value.detach().reshape(())


# -- bar -------------------------------------------------------------------------------------------------------
def _bar(total: int, progress: bool) -> Any:
    need("train", "tqdm")
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="training", unit="step", disable=not progress or sys.stderr is None, mininterval=0.5)

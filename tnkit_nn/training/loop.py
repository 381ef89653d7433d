"""Training: one loop for whole models and for the few parameters of a compressed layer; a restarted run ends bit by bit the same."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from tnkit.core.checks import flag
from tnkit.core.extras import need
from tnkit.core.numbers import whole_number
from tnkit_nn.checks import a_function, a_kind, a_module, a_path
from tnkit_nn.data.augment import AUGMENT
from tnkit_nn.data.splits import Split
from tnkit_nn.storage import clear, fill_
from tnkit_nn.training.checkpoint import State, capture, model_values, restore, resume, structure, write_state
from tnkit_nn.training.evaluation import Loss, evaluate, trial, worse
from tnkit_nn.training.groups import Group, parameter_groups
from tnkit_nn.training.journal import Journal
from tnkit_nn.training.recipe import METHODS, SCHEDULES, Recipe

__all__ = ["Epoch", "train"]

EVERY = 25  # steps between looks at the loss: each waits for the device
ROLLBACKS = 5  # halvings of the rate before a training counts as hopeless


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss, loss and accuracy on the validation part, and the factor that diverging cost the rate."""

    epoch: int
    loss: float
    val_loss: float
    val_accuracy: float
    rate_factor: float
    seconds: float = field(compare=False)


def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    seed: int = 0,
    groups: Sequence[Group] | None = None,
    loss: Loss | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | None = None,
    progress: bool = False,
    after: Callable[[Epoch], object] | None = None,
) -> tuple[Epoch, ...]:
    """Train a model in place.

    Order, augmentation and dropout of an epoch follow from ``seed`` and the epoch's number alone, so that a run continued from a
    checkpoint ends with exactly the numbers of one that was never interrupted.  An epoch that gives no finite number is rolled
    back and done again at half the rate, with a warning.  A training that ends far below its best epoch on the validation part
    (by more than three standard errors: it has diverged, if to finite numbers) is put back to that epoch's values, with a warning.

    Parameters
    ----------
    model
        Takes a batch of the split's inputs, gives logits.  Trained where its parameters lie.
    split
        Trains on ``train``, reports on ``val``; nothing is chosen by ``test``.
    recipe
        Optimiser, rates, length.
    seed
        Seed of everything drawn.
    groups
        What is trained, each group at its own rate; everything else stays as it is, the running statistics of a batch
        normalisation of which nothing is trained too.  By default all parameters that require a gradient.
    loss
        ``(logits, labels) -> mean over the batch``; by default the cross entropy, with the recipe's smoothing.
    checkpoint
        A file written after every epoch, whole or not at all; where it is there, training continues from it.
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
    ValueError
        Nothing to train, a parameter that is not the model's or in two groups, a checkpoint of another run.
    FloatingPointError
        No finite numbers at a rate halved five times; the model is as before the epoch.
    """
    a_kind(split, Split, "train: split")
    a_kind(recipe, Recipe, "train: recipe")
    seed, progress = whole_number(seed, "train: seed", 0), flag(progress, "train: progress")
    checkpoint, log = (
        None if p is None else a_path(p, f"train: {n}") for n, p in (("checkpoint", checkpoint), ("log", log))
    )
    for name, function in (("loss", loss), ("after", after)):
        if function is not None:
            a_function(function, f"train: {name}")
    trained = parameter_groups(a_module(model, "train: model"), recipe, groups)
    _check_takes(model, split, recipe, loss is None)
    optimizer = METHODS[recipe.method]([{k: v for k, v in g.items() if k != "names"} for g in trained])
    run = {
        "recipe": asdict(recipe), "seed": seed, "data": [split.name, len(split.train[1]), split.digest()],
        "groups": [{k: v for k, v in g.items() if k != "params"} for g in trained], "structure": structure(model),
        "loss": getattr(loss or F.cross_entropy, "__qualname__", type(loss).__qualname__),
    }  # fmt: skip
    objective = loss or partial(F.cross_entropy, label_smoothing=recipe.label_smoothing)
    rates = [g["lr"] for g in trained]
    loop = _TrainingLoop(model, split, recipe, seed, optimizer, rates, objective, Journal(log))
    history: list[Epoch] = []
    factor, best = 1.0, State()
    if checkpoint:
        clear(Path(checkpoint).absolute().parent)
    with _training(model, [p for g in trained for p in g["params"]]):
        found = resume(checkpoint, model, optimizer, run) if checkpoint else None
        if checkpoint and found is None:  # before the first epoch too: a restart has the same start
            write_state(checkpoint, model, optimizer, run, {"history": [], "factor": factor}, {})
        elif found:
            so_far, best = found
            history, factor = [Epoch(**e) for e in so_far["history"]], so_far["factor"]
        with _bar(recipe.epochs * loop.steps, progress) as bar:
            while len(history) < recipe.epochs:
                before = model_values(model) if history and _best(history) == history[-1] else best
                epoch, factor = loop.epoch(len(history) + 1, factor, bar)
                history.append(epoch)
                best = {} if _best(history) == epoch else before  # the model's own are not kept twice
                if checkpoint:
                    done = {"history": [asdict(e) for e in history], "factor": factor}
                    write_state(checkpoint, model, optimizer, run, done, best)
                if after:
                    after(epoch)
        _put_back(model, history, best, len(split.val[1]))
    return tuple(history)


def _check_takes(model: nn.Module, split: Split, recipe: Recipe, classified: bool) -> None:
    """One input through the augmentation and the model: what cannot be trained is said before the first file is written."""
    x = split.train[0][:1]
    try:
        x = AUGMENT[recipe.augment](x, torch.Generator().manual_seed(0))
    except ValueError as error:
        raise ValueError(
            f"train: augment {recipe.augment!r} does not take the inputs of {split.name!r}: {error}"
        ) from None
    classes = split.num_classes if classified else 1
    trial(model, x, "train: the model", repr(split.name), classes)
    trial(model, split.val[0], "train: the model", f"the validation part of {split.name!r}", classes)


def _best(history: Sequence[Epoch]) -> Epoch:
    """The epoch of the highest accuracy on the validation part, the last of several."""
    return max(reversed(history), key=lambda e: e.val_accuracy)


def _put_back(model: nn.Module, history: Sequence[Epoch], best: State, count: int) -> None:
    """Give the model its best values where it has lost them, and say so."""
    top, last = _best(history), history[-1]
    if worse(last.val_accuracy, top.val_accuracy, count):
        fill_(model, best, "the best epoch")
        warnings.warn(
            f"training diverged: {last.val_accuracy:.3f} of the validation part right after the last epoch, {top.val_accuracy:.3f} "
            f"after epoch {top.epoch}: put back to that one",
            stacklevel=3,
        )


# -- the loop ----------------------------------------------------------------------------------------------------------
@dataclass
class _TrainingLoop:
    """What stays the same from epoch to epoch."""

    model: nn.Module
    split: Split
    recipe: Recipe
    seed: int
    optimizer: Optimizer
    rates: list[float]
    objective: Loss
    journal: Journal

    def __post_init__(self) -> None:
        count = len(self.split.train[1])
        self.size = min(self.recipe.batch, count)
        self.steps = count // self.size

    def epoch(self, number: int, factor: float, bar: Any) -> tuple[Epoch, float]:
        """Train one epoch, at lower rates until it gives finite numbers; which it was, and the factor of the rates by then."""
        begin = time.perf_counter()
        before = capture(self.model, self.optimizer)
        while True:
            bar.n = (number - 1) * self.steps
            self.journal.trim(number, (number - 1) * self.steps)
            mean = self._pass(number, factor, bar)
            if isfinite(mean) and all(
                bool(p.isfinite().all()) for g in self.optimizer.param_groups for p in g["params"]
            ):
                val_loss, right = evaluate(self.model, self.split.val, self.objective)
                if isfinite(val_loss):
                    break
            restore(self.model, self.optimizer, before)
            if factor <= 0.5**ROLLBACKS:
                tried = max(self.rates) * factor
                raise FloatingPointError(f"epoch {number} gives no finite loss, even at the rate {tried:.2g}")
            warnings.warn(
                f"epoch {number} gave no finite loss: put back to its beginning, and again at half the rate",
                stacklevel=3,
            )
            before, factor = capture(self.model, self.optimizer), factor / 2
        done = Epoch(number, mean, val_loss, right, factor, time.perf_counter() - begin)
        self.journal.append([asdict(done)], number * self.steps)
        self.journal.flush()
        bar.set_postfix(epoch=number, val=f"{100 * right:.2f}%")
        return done, factor

    def _pass(self, number: int, factor: float, bar: Any) -> float:
        """All steps of an epoch; the mean loss, not finite as soon as that is seen."""
        (x, y), size, total = self.split.train, self.size, 0.0
        own_seed = (1_000_003 * self.seed + number) % 2**63
        draw = torch.Generator().manual_seed(own_seed)
        torch.manual_seed(own_seed)  # what the model draws
        order = torch.randperm(len(y), generator=draw)
        pending: list[tuple[int, float, Tensor]] = []
        for k in range(self.steps):
            step = (number - 1) * self.steps + k
            rate = factor * SCHEDULES[self.recipe.schedule](step / (self.recipe.epochs * self.steps))
            for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = own * rate
            chosen = order[k * size : (k + 1) * size]
            pending.append((step + 1, rate, self._step(x[chosen], y[chosen], draw)))
            bar.update()
            if len(pending) == EVERY or k == self.steps - 1:
                values = torch.stack([value for *_, value in pending]).tolist()
                lines = [
                    {"epoch": number, "step": s, "loss": v, "rate_factor": r}
                    for (s, r, _), v in zip(pending, values, strict=True)
                ]
                self.journal.append(lines, step + 1)
                total, pending = total + sum(values), []
                if not isfinite(total):
                    break
        return total / self.steps

    def _step(self, x: Tensor, y: Tensor, draw: torch.Generator) -> Tensor:
        device = self.optimizer.param_groups[0]["params"][0].device
        x = AUGMENT[self.recipe.augment](x.to(device), draw)
        value = self.objective(self.model(x), y.to(device))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self.optimizer.step()
        return value.detach()


@contextmanager
def _training(model: nn.Module, trained: list[Tensor]) -> Iterator[None]:
    """The model while it trains: gradients for ``trained`` alone, the global generator its own; all put back at the end."""
    chosen = {id(p) for p in trained}
    modes = {m: m.training for m in model.modules()}
    needs = {p: p.requires_grad for p in model.parameters()}
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
            id(p) in chosen for p in module.parameters()
        ):
            module.eval()
    for p in needs:
        p.requires_grad_(id(p) in chosen)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, need in needs.items():
            p.requires_grad_(need)


# -- bar -------------------------------------------------------------------------------------------------------
def _bar(total: int, progress: bool) -> Any:
    need("train", "tqdm")
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="training", unit="step", disable=not progress, mininterval=0.5)

"""What a model makes of a part of the data: the loss, the metric, and whether that got worse."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import hypot, isfinite, isnan, sqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit_nn.checks import a_module, a_size
from tnkit_nn.data.batches import check_numbers, length, moved, shapes
from tnkit_nn.data.draws import forked
from tnkit_nn.data.parts import LOOK, TensorSource, as_source
from tnkit_nn.data.splits import checked_part
from tnkit_nn.training.goal import ACCURACY, LOSS, Goal, cross_entropy, metric_value
from tnkit_nn.training.modes import rehearsing

__all__ = [
    "Reading",
    "accuracy",
    "answers",
    "device_of",
    "evaluate",
    "first_batch",
    "judged",
    "looking",
    "sample_batch",
    "trial",
    "worse",
]

#: Standard errors by which a model has to be worse before that is called a fault and not chance.
ERRORS = 3.0
#: Examples of a batch that a loss of one's own is read on, where the part has as many: some losses compare examples.
_LEAST = 32


@dataclass(frozen=True)
class Reading:
    """What a model made of a part.

    Attributes
    ----------
    loss, metric
        The mean loss, and the metric.
    spread
        Standard error of the mean loss, from batch to batch; NaN where there is one batch.
    count
        Examples.
    """

    loss: float
    metric: float
    spread: float
    count: int


class _OnDevice:
    """A loader whose batches are on a device, or its first one alone; otherwise as it is."""

    def __init__(self, loader: Iterable[Any], device: torch.device, first: list[Any] | None = None) -> None:
        self.loader, self.device, self.first = loader, device, first

    def __iter__(self) -> Iterator[Any]:
        return (moved(batch, self.device) for batch in (self.loader if self.first is None else self.first))

    def __len__(self) -> int:
        return len(self.loader if self.first is None else self.first)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's values lie; the processor, where it has none."""
    first = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """The model in evaluation, without gradients; as it was at the end, the caller's random numbers too."""
    modes = {m: m.training for m in model.modules()}
    needs = {p: p.requires_grad for p in model.parameters()}  # a metric may do anything to it
    model.eval()
    try:
        with torch.no_grad(), forked():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, need in needs.items():
            p.requires_grad_(need)


def evaluate(model: nn.Module, goal: Goal, part: str = "val", batch: int | None = None) -> Reading:
    """Mean loss and metric of a model, as it is in evaluation.

    Raises
    ------
    ValueError
        There is no such part; an entry of a batch is not finite, and no loss can be (it is named); a metric that fails or is no number.
    """
    where = goal.part(part, "evaluation")
    size = batch or (LOOK if goal.classifies else min(LOOK, max(_LEAST, (where.count or LOOK) // 8)))
    loader = _OnDevice(where.loader(size), device_of(model))
    with looking(model):
        losses, weights, right = _pass(model, goal, loader, part)
        mean = float((losses * weights).sum() / weights.sum())
        metric = right / float(weights.sum()) if goal.classifies else mean
        if not goal.classifies and goal.metric is not LOSS:
            metric = _metric_on(model, goal, part, loader)
    spread = float(losses.std() / len(losses) ** 0.5) if len(losses) > 1 else float("nan")
    return Reading(mean, metric, spread, int(weights.sum()))


def judged(model: nn.Module, goal: Goal, part: str) -> float:
    """The metric alone, of a model as it is in evaluation."""
    if goal.classifies or goal.metric is LOSS:
        return evaluate(model, goal, part).metric
    with looking(model):
        loader = _OnDevice(goal.part(part, "evaluation").loader(), device_of(model))
        return _metric_on(model, goal, part, loader)


def _metric_on(model: nn.Module, goal: Goal, part: str, loader: Iterable[Any]) -> float:
    """What a metric of the user's gives: a model may be so far off that it fails, long after the first batch was tried."""
    what = f"metric {goal.metric.name!r}"
    try:
        found = goal.metric.fn(model, loader)
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"{what} fails on the part {part!r} of {goal.name!r}: {_why(error)}") from error
    return _number(found, f"{what} on the part {part!r} of {goal.name!r}")


def _pass(model: nn.Module, goal: Goal, loader: Iterable[Any], part: str) -> tuple[Tensor, Tensor, float]:
    """The loss and the number of examples of every batch, and how many examples were right."""
    losses, weights, right = [], [], 0
    for k, batch in enumerate(loader):
        if goal.classifies:
            logits = model(batch[0])
            value = F.cross_entropy(logits, batch[1])
            right += int((logits.argmax(-1) == batch[1]).sum())
        else:
            value = goal.loss(model, batch)
        losses.append(float(value))
        weights.append(batch[1].numel() if goal.classifies else length(batch))
        if not isfinite(losses[-1]):
            check_numbers(batch, f"batch {k} of {part!r} of {goal.name!r}")
    if not losses:
        raise ValueError(f"the part {part!r} of {goal.name!r} has one batch or more, not none")
    found, sizes = (torch.tensor(x, dtype=torch.float64, device="cpu") for x in (losses, weights))
    return found, sizes, float(right)


def _number(value: Any, what: str) -> float:
    try:
        return metric_value(value, what)
    except TypeError as error:
        raise ValueError(str(error)) from None


def worse(goal: Goal, now: Reading, then: Reading) -> bool:
    """Whether a model has got worse, by more than chance explains.

    An accuracy by three of its standard errors (never taken to be below one example: at 100 % it would be none at all).  Any other
    metric: it is worse, and the mean loss is higher by three of its standard errors (one batch alone says nothing of them: twice as
    high).
    """
    if isnan(now.metric):
        return not isnan(then.metric)
    if goal.metric is ACCURACY:
        p, n = then.metric, then.count
        return now.metric < p - ERRORS * sqrt(max(p * (1 - p), 1 / n) / n)
    error = hypot(now.spread, then.spread)
    least = abs(then.loss) if isnan(error) else ERRORS * error
    return goal.metric.better(then.metric, now.metric) and now.loss > then.loss + least


# -- before anything begins ---------------------------------------------------------------------------------------------
def trial(model: nn.Module, goal: Goal, who: str, first: Any = None) -> None:
    """The loss of one batch of every part, and the metric: what cannot be trained is said before the first step.

    Parameters
    ----------
    model
        It is as before at the end.  The loss of the part 'train' is tried in training, that of the others in evaluation.
    goal
        What it is tried on.
    who
        For messages.
    first
        The batch of the part 'train'; by default its first one.

    Raises
    ------
    ValueError
        By the name ``who``: the data cannot be read, the model does not take the batches, the loss is no single finite number, an
        entry of the batch is not finite, the metric fails, the model is on the meta device.
    """
    if device_of(model).type == "meta":
        raise ValueError(
            f"{who}: the model has parameters with values, but they are on the meta device: call to_empty(device=...) first"
        )
    for part in goal.parts:
        if goal.classes:
            _try_classifier(model, goal, part, who)
        given = first if part == "train" and first is not None else first_batch(goal, part, who)
        batch = moved(given, device_of(model))
        where = f"the first batch of {part!r} of {goal.name!r}, {shapes(batch)}"
        if not goal.classes:
            _try_loss(model, goal, batch, part, who, where)
        if part != "train" and goal.metric not in (ACCURACY, LOSS):
            _try_metric(model, goal, batch, part, who, where)


def first_batch(goal: Goal, part: str, who: str, batches: Iterable[Any] | None = None) -> Any:
    """The first batch of a part, in its order or of ``batches``; ValueError where there is none, or it cannot be read."""
    where = goal.part(part, who)
    size = 8 if isinstance(where, TensorSource) else LOOK
    try:
        with forked():
            batch = next(iter(where.loader(size) if batches is None else batches), None)
    except Exception as error:  # whatever a data set of the user's raises
        raise ValueError(f"{who}: the part {part!r} of {goal.name!r} cannot be read: {_why(error)}") from error
    if batch is None:
        raise ValueError(f"{who}: the part {part!r} of {goal.name!r} has one batch or more, not none")
    return batch


def sample_batch(goal: Goal, model: nn.Module, who: str) -> Any:
    """The first batch of the training part, where the model's values lie."""
    return moved(first_batch(goal, "train", who), device_of(model))


def _try_classifier(model: nn.Module, goal: Goal, part: str, who: str) -> None:
    """One input through the model: logits of as many classes as the data has, or more."""
    x, _ = next(iter(goal.parts[part].loader(1)))
    where = repr(goal.name) if part == "train" else f"the part {part!r} of {goal.name!r}"
    try:
        with looking(model):
            given = model(x.to(device_of(model)))
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, AttributeError) as error:
        shape = f"the shape {tuple(x.shape[1:])} and {x.dtype}"
        raise ValueError(f"{who}: the model does not take inputs of {shape} of {where}: {_why(error)}") from None
    if not isinstance(given, Tensor) or given.dim() != 2 or not given.is_floating_point():
        found = f"{given.dtype} of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"{who}: the model gives logits of shape (count, classes), not {found}, for {where}; a Task with a loss of its own takes others"
        )
    if given.shape[-1] < goal.classes:
        raise ValueError(f"{who}: a model of {given.shape[-1]} classes; {where} has {goal.classes}")


def _try_loss(model: nn.Module, goal: Goal, batch: Any, part: str, who: str, where: str) -> None:
    if goal.classifies and not _is_classified(batch):
        raise ValueError(
            f"{who}: without a loss of its own a task is for classifiers, whose batches are inputs and labels, one whole number each; "
            f"it is not so in {where}; tknn.Task(loss=..., metric=...) takes any others"
        )
    how = "the cross entropy of model(x) and y" if goal.loss is cross_entropy else "loss(model, batch) of the task"
    try:
        with torch.no_grad(), rehearsing(model) if part == "train" else looking(model):
            value = goal.loss(model, batch)
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"{who}: {how} fails on {where}: {_why(error)}") from error
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        found = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{who}: {how} gives one floating number, the mean over the batch, not {found}, on {where}")
    if not bool(value.isfinite()):
        check_numbers(batch, f"{who}: {where}, ")
        raise ValueError(f"{who}: {how} is a finite number, not {float(value)}, on {where}")


def _try_metric(model: nn.Module, goal: Goal, batch: Any, part: str, who: str, where: str) -> None:
    """The metric of one batch; of the whole part, where one batch is too few for it."""
    loader, name = goal.parts[part].loader(), f"{who}: metric {goal.metric.name!r}"
    with looking(model):
        try:
            judged = goal.metric.fn(model, _OnDevice(loader, device_of(model), [batch]))
        except Exception:
            try:
                judged = goal.metric.fn(model, _OnDevice(loader, device_of(model)))
            except Exception as error:  # whatever a function of the user's raises
                raise ValueError(f"{name} fails on the part {part!r} of {goal.name!r}: {_why(error)}") from error
    _number(judged, f"{name} of {where}")


def _is_classified(batch: Any) -> bool:
    """Whether a batch is inputs and one whole number an input: what a cross entropy and an accuracy are of."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(x, Tensor) for x in batch)
    return pair and batch[1].dim() == 1 and not batch[1].is_floating_point() and not batch[1].is_complex()


def _why(error: BaseException) -> str:
    """An error in a line, with the place in the user's own code that it comes from."""
    said = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    theirs = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("tnkit", "tnkit_nn", "torch")
    ]
    code = theirs[-1].f_code if theirs else None
    return (
        said
        if code is None
        else f"{said} ({Path(code.co_filename).name}, line {theirs[-1].f_lineno}, in {code.co_name})"
    )


# -- classifiers --------------------------------------------------------------------------------------------------------
def accuracy(model: nn.Module, part: Any, batch: int = 500) -> float:
    """Fraction of the examples whose label has the largest logit: ``accuracy(model, split.test)``, or of a loader's batches.

    >>> x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 5.0]])
    >>> tknn.accuracy(nn.Identity(), (x, torch.tensor([0, 1, 1, 1])))  # three of four
    0.75

    Parameters
    ----------
    model
        Gives logits (count, classes).
    part
        A pair of tensors, inputs and labels, a Dataset, or a loader of such pairs.
    batch
        Examples at a time, of tensors and Datasets.

    Raises
    ------
    TypeError, ValueError
        No module, no pair of finite inputs and labels, or a model that does not take them or has fewer classes.
    """
    batch = a_size(batch, "accuracy: batch")
    a_module(model, "accuracy: model")
    if isinstance(part, (tuple, Tensor)) or _is_pair(part):
        x, y = checked_part(part, "accuracy: part")
        goal = Goal("the part", {"train": TensorSource((x, y))}, classes=1 + int(y.max()))
        _try_classifier(model, goal, "train", "accuracy")
        return evaluate(model, goal, "train", batch).metric
    goal = Goal("the part", {"test": as_source(part, "accuracy: part")})
    trial(model, goal, "accuracy")
    return evaluate(model, goal, "test", batch).metric


def _is_pair(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and any(isinstance(x, Tensor) for x in part)


def answers(model: nn.Module, goal: Goal, part: str = "val") -> Tensor:
    """How often a classifier in evaluation gives each class to the inputs of a part, (classes,)."""
    device = device_of(model)
    with looking(model):
        found = [model(x.to(device)).argmax(-1).cpu() for x, _ in goal.part(part, "evaluation").loader()]
    return torch.cat(found).bincount(minlength=max(goal.classes, 1))

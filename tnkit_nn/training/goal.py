"""What a training is for: the parts of the data, the loss that is minimised, and the metric that a model is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isnan
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.checks import flag, one_of, shown, text
from tnkit_nn.checks import a_function
from tnkit_nn.data.parts import BatchSource, TensorSource, as_source
from tnkit_nn.data.splits import Split, checked_part
from tnkit_nn.fingerprint import fingerprint

__all__ = [
    "ACCURACY",
    "LOSS",
    "PARTS",
    "Goal",
    "Loss",
    "Metric",
    "cross_entropy",
    "goal_of",
    "mean_loss",
    "metric_value",
    "value_with_unit",
]

#: ``(model, batch) -> scalar``, the mean over the batch.
Loss = Callable[[nn.Module, Any], Tensor]

PARTS = ("train", "val", "test")


def cross_entropy(model: nn.Module, batch: Any, label_smoothing: float = 0.0) -> Tensor:
    """The loss of classifiers: a batch is (inputs, labels), the model gives logits."""
    x, y = batch
    return F.cross_entropy(model(x), y, label_smoothing=label_smoothing)


@dataclass(frozen=True)
class Metric:
    """What a model is judged by: ``Metric(mean_iou, "IoU")``, ``Metric(perplexity, "perplexity", larger=False)``.

    >>> def share_positive(model, loader):
    ...     found = [(model(x) > 0).float().mean().item() for x, _ in loader]
    ...     return sum(found) / len(found)
    >>> metric = tknn.Metric(share_positive, "positive", unit="%")
    >>> metric.shown(0.9174), metric.factor, metric.better(0.9, 0.8)
    ('91.74 %', 100.0, True)
    >>> metric.described()
    {'name': 'positive', 'unit': '%', 'larger': True}
    >>> tknn.Metric(share_positive, "perplexity", larger=False).better(0.9, 0.8)
    False

    Attributes
    ----------
    fn
        ``(model, loader) -> float``.  It is called with the model in evaluation, without gradients, and with what goes through the
        batches of a part; where the batches have to be moved to the model's device, they are.
    name
        For tables and axes; the function's name, if not given.
    unit
        Written behind values.  ``"%"``: the values are fractions, and are shown times 100.
    larger
        Whether larger is better.

    Raises
    ------
    TypeError, ValueError
        No function, no text, no True or False.
    """

    fn: Callable[[nn.Module, Iterable[Any]], float]
    name: str = ""
    unit: str = ""
    larger: bool = True

    def __post_init__(self) -> None:
        a_function(self.fn, "Metric: fn")
        text(self.name, "Metric: name", empty=True)
        object.__setattr__(self, "name", self.name or _called(self.fn))
        text(self.unit, "Metric: unit", empty=True)
        object.__setattr__(self, "larger", flag(self.larger, "Metric: larger"))

    @property
    def factor(self) -> float:
        """What values are shown times."""
        return 100.0 if self.unit == "%" else 1.0

    def better(self, one: float, other: float) -> bool:
        """Whether one value is better than another; any number is better than NaN."""
        one, other = metric_value(one, "Metric.better: one"), metric_value(other, "Metric.better: other")
        if isnan(other):
            return not isnan(one)
        return one > other if self.larger else one < other

    def shown(self, value: float) -> str:
        """A value as text, with its unit.

        >>> tknn.Metric(tknn.accuracy, "accuracy", "%").shown(0.9174)
        '91.74 %'
        """
        return value_with_unit(metric_value(value, "Metric.shown: value"), self.unit)

    def described(self) -> dict[str, Any]:
        """Name, unit and direction, as records hold them."""
        return {"name": self.name, "unit": self.unit, "larger": self.larger}


def value_with_unit(value: float, unit: str) -> str:
    """A value of a metric as text, fractions of the unit "%" times 100."""
    number = f"{100 * value:.2f}" if unit == "%" else f"{value:.4g}"
    return f"{number} {unit}".rstrip()


def metric_value(value: Any, what: str) -> float:
    """A real number as a float, NaN and infinity too, or a tensor or an array of one; TypeError for anything else."""
    if isinstance(value, (Tensor, np.ndarray)) and np.prod(value.shape) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} is one number, not {shown(value)}")
    return float(value)


def _called(function: Callable[..., Any]) -> str:
    """What a function is called in tables: "metric", where it has no name of its own."""
    inner = function.func if isinstance(function, partial) else function
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return "metric" if name == "<lambda>" else name.strip("_").replace("_", " ") or "metric"


def mean_loss(model: nn.Module, loader: Iterable[Any]) -> float:
    """Stands for the task's own loss, the metric of a task that has a loss of its own and no metric; never called."""
    raise NotImplementedError("the mean loss is read with the loss itself")


def accuracy_of(model: nn.Module, loader: Iterable[Any]) -> float:
    """Fraction of the examples whose label has the largest logit."""
    right = seen = 0
    for x, y in loader:
        right += int((model(x).argmax(-1) == y).sum())
        seen += y.numel()
    return right / max(seen, 1)


ACCURACY = Metric(accuracy_of, "accuracy", "%")
LOSS = Metric(mean_loss, "loss", larger=False)


@dataclass(frozen=True, eq=False)
class Goal:
    """Parts, loss and metric.

    Attributes
    ----------
    name
        Of the data, for messages.
    parts
        ``train``, ``val``, ``test`` -> what holds its examples; those that there are.
    loss, metric
        See :class:`Loss` and :class:`Metric`.
    examples
        What the examples are called in reports: "images", say.
    classes
        Number of classes, where the loss is the cross entropy and all labels are in memory; 0 elsewhere.
    """

    name: str
    parts: Mapping[str, BatchSource]
    loss: Loss = cross_entropy
    metric: Metric = ACCURACY
    examples: str = "examples"
    classes: int = 0
    class_names: tuple[str, ...] = field(default=())

    @property
    def classifies(self) -> bool:
        """Whether loss and metric are cross entropy and accuracy: then one pass over a part gives both."""
        return self.loss is cross_entropy and self.metric is ACCURACY

    def part(self, name: str, who: str) -> BatchSource:
        """A part; ValueError, by the name ``who``, where there is none."""
        if name not in self.parts:
            have = ", ".join(self.parts)
            raise ValueError(f"{who} needs the part {name!r} of the data; {self.name!r} has {have}")
        return self.parts[name]

    def counts(self) -> dict[str, int | None]:
        """Part -> number of examples."""
        return {name: part.count for name, part in self.parts.items()}

    def settings(self) -> dict[str, Any]:
        """What results depend on: data, loss and metric."""
        return {
            "data": [self.name, *(f"{name} {part.digest()}" for name, part in self.parts.items())],
            "loss": fingerprint(self.loss), "metric": [*self.metric.described().values(), fingerprint(self.metric.fn)],
        }  # fmt: skip


@runtime_checkable
class HasGoal(Protocol):
    """Anything that knows its goal: a :class:`tnkit_nn.Task`."""

    @property
    def goal(self) -> Goal:
        """Its goal."""


def goal_of(
    data: Any, who: str, *, loss: Loss | None = None, metric: Metric | Callable[..., float] | None = None, name: str = "", examples: str = "examples",
) -> Goal:  # fmt: skip
    """The goal of a Task, or of data with a loss and a metric.

    Parameters
    ----------
    data
        A Task; a Split; ``{"train": ..., "val": ..., "test": ...}``, or one thing alone, the training part: each a DataLoader, a
        Dataset, tensors (inputs, targets), or a list of batches.
    who
        Whose argument that is: for messages.
    loss
        The cross entropy of the model's logits, if not given.
    metric
        The accuracy, if not given; the loss itself, where that is one's own: nothing else is known to be right for it.
    name, examples
        Of the data, and what its examples are called.
    """
    if isinstance(data, Goal):
        return data
    if isinstance(data, HasGoal):
        return data.goal
    if loss is not None:
        a_function(loss, f"{who}: loss")
    if metric is not None and not isinstance(metric, Metric):
        metric = Metric(a_function(metric, f"{who}: metric, unless it is a Metric,"))
    judged = metric or (ACCURACY if loss is None else LOSS)
    if isinstance(data, Split):
        parts: dict[str, BatchSource] = {part: TensorSource(getattr(data, part)) for part in PARTS}
        classes = data.num_classes if loss is None else 0
        return Goal(name or data.name, parts, loss or cross_entropy, judged, examples, classes, data.classes)
    found = _parts(data, who)
    classes = _classes(found, who) if loss is None else 0
    return Goal(name or "data", found, loss or cross_entropy, judged, examples, classes)


def _parts(data: Any, who: str) -> dict[str, BatchSource]:
    what = f"{who}: data"
    if isinstance(data, Mapping) and set(data) & set(PARTS):
        for key in data:
            one_of(key, f"{what}: a part", PARTS)
        if "train" not in data:
            raise ValueError(f"{what} has a part 'train', but only {', '.join(data)}")
        return {part: as_source(data[part], f"{what}: {part}") for part in PARTS if part in data}
    if isinstance(data, Mapping) or data is None or isinstance(data, str):
        hint = "; Task(data=...) takes the names of data sets" if isinstance(data, str) else ""
        raise TypeError(
            f'{what} is a Split, {{"train": ..., "val": ..., "test": ...}} of DataLoaders, Datasets or tensors, or the training part alone, '
            f"not {shown(data)}{hint}"
        )
    return {"train": as_source(data, f"{what}: train")}


def _classes(parts: Mapping[str, BatchSource], who: str) -> int:
    """Number of classes of labels in memory, all of which are looked at; 0 where any part is no pair of inputs and labels."""
    most = 0
    for name, part in parts.items():
        pair = part.tree if isinstance(part, TensorSource) else None
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(x, Tensor) for x in pair):
            return 0
        if pair[1].dim() != 1 or pair[1].is_floating_point() or pair[1].is_complex():
            return 0
        checked_part(pair, f"{who}: data: {name}")
        most = max(most, 1 + int(pair[1].max()))
    return most

"""A task: a model, data, a loss and a metric.  The same one goes to ``train``, ``compress_`` and ``compare``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from tnkit.core.checks import one_of, shown, text
from tnkit.core.numbers import whole_number
from tnkit_nn import data as datasets
from tnkit_nn import zoo
from tnkit_nn.adapter.copies import copied
from tnkit_nn.checks import a_function, a_path, a_size
from tnkit_nn.data.draws import seeded
from tnkit_nn.data.parts import limited_source
from tnkit_nn.data.splits import Split, limited
from tnkit_nn.fingerprint import fingerprint
from tnkit_nn.imported import absolute, imported
from tnkit_nn.storage import digest, fill_, read_tensors
from tnkit_nn.training.checkpoint import structure
from tnkit_nn.training.goal import Goal, Loss, Metric, goal_of

__all__ = ["Task", "task_named"]

#: Called with the model and names of weights: the model without their layers, or None where it cannot go without them.
Without = Callable[..., nn.Module | None]
#: Called with a number of parameters and a seed: a dense model of about as many.
Smaller = Callable[[int, int], nn.Module]


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """What is learned: ``Task(make_model, {"train": a, "val": b, "test": c}, loss=my_loss, metric=Metric(my_iou, "IoU"))``.

    >>> x = torch.rand(60, 4)
    >>> y = x.sum(1, keepdim=True)
    >>> task = tknn.Task(
    ...     lambda seed: nn.Linear(4, 1), {"train": (x, y), "val": (x, y)},
    ...     loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]), name="sum",
    ... )
    >>> task.title, task.trained, task.model_name
    ('sum', False, '<lambda>')
    >>> task
    Task(sum)
    >>> type(task.build(seed=0)).__name__, sorted(task.settings())
    ('Linear', ['data', 'limit', 'loss', 'metric', 'model'])
    >>> digits = tknn.Task("mlp", "digits", limit=60)  # a model and a data set by name
    >>> digits.title, digits.goal.metric.name
    ('mlp on digits', 'accuracy')

    Attributes
    ----------
    model
        A function of a seed that makes one (random numbers of torch, numpy and Python are seeded before it is called), a trained ``nn.Module``, or a
        name of :data:`tnkit_nn.zoo.ZOO`.  ``train`` and ``compress_`` are given their model, and need none here.
    data
        A :class:`~tnkit_nn.data.Split`, a name of :data:`tnkit_nn.data.DATA`, or ``{"train": ..., "val": ..., "test": ...}``: each
        a DataLoader, a Dataset, tensors ``(inputs, targets)`` or a list of batches.  Loaders stream; nothing of them is kept.
    loss
        ``loss(model, batch) -> scalar``, the mean over the batch; by default the cross entropy of ``model(x)`` and ``y``.
    metric
        A :class:`~tnkit_nn.Metric`, or ``metric(model, loader) -> float`` of which larger values are better.  By default the
        accuracy; with a loss of one's own that loss, since nothing else is known to be right for it.
    name
        For titles; made of the model's and the data's names, if not given.
    examples
        What the examples are called in reports: "images", "sentences".
    weights
        A safetensors file of trained values for the model, which is then a trained one.
    data_dir
        Folder with the files of a named data set.
    limit
        At most so many examples of each part: of named data, Splits, tensors and Datasets.
    without
        ``without(model, *weights) -> model``, the control that has the layers of these weights left out; None where it cannot.
        By default :func:`tnkit_nn.zoo.without`, which knows chains of linear layers.
    smaller
        ``smaller(parameters, seed) -> model``, the control that is a dense model of at most so many parameters; left out
        where it is not given.

    Raises
    ------
    TypeError, ValueError
        What is no model, no data, no function; an unknown name, a path that is none.
    """

    model: Callable[[int], nn.Module] | nn.Module | str | None = None
    data: Any = None
    loss: Loss | None = None
    metric: Metric | Callable[..., float] | None = None
    _: KW_ONLY
    name: str = ""
    examples: str = ""
    weights: str | os.PathLike[str] | None = None
    data_dir: str | os.PathLike[str] | None = None
    limit: int | None = None
    without: Without | None = None
    smaller: Smaller | None = None
    _origin: tuple[str, tuple[tuple[str, Any], ...]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        store = partial(object.__setattr__, self)
        if isinstance(self.model, str):
            one_of(self.model, "Task: model, where it is a name,", zoo.ZOO)
        elif self.model is not None and (not callable(self.model) or isinstance(self.model, type)):
            hint = "; lambda seed: MyModel() makes one" if isinstance(self.model, type) else ""
            raise TypeError(
                f"Task: model is a function of a seed, an nn.Module or a name of the zoo, not {shown(self.model)}{hint}"
            )
        if self.data is None:
            raise TypeError('Task: data is a Split, a name, or {"train": ..., "val": ..., "test": ...}, not None')
        if isinstance(self.data, str):
            one_of(self.data, "Task: data, where it is a name,", datasets.DATA)
        for name in ("loss", "without", "smaller"):
            if getattr(self, name) is not None:
                a_function(getattr(self, name), f"Task: {name}")
        if type(self.loss).__module__ == nn.modules.loss.__name__:
            kind = type(self.loss).__name__
            raise TypeError(
                f"Task: loss is called as loss(model, batch), but {kind} as loss(output, target); "
                "lambda model, batch: criterion(model(batch[0]), batch[1]) takes it"
            )
        if self.metric is not None and not isinstance(self.metric, Metric):
            store("metric", Metric(a_function(self.metric, "Task: metric, unless it is a Metric,")))
        for name in ("name", "examples"):
            store(name, text(getattr(self, name), f"Task: {name}", empty=True))
        if self.limit is not None:
            store("limit", a_size(self.limit, "Task: limit"))
        for name in ("data_dir", "weights"):
            if (given := getattr(self, name)) is not None:
                store(name, str(a_path(given, f"Task: {name}")))
        if isinstance(self.model, nn.Module) and self.weights is not None:
            raise ValueError("Task: a model that is an nn.Module has its values; weights are for a function or a name")
        if not isinstance(self.data, str):
            _ = self.goal  # data in memory is checked here, where it is given

    def __reduce__(self) -> tuple[Any, ...]:
        """Out of a file, it goes to other processes by name, and they read the data themselves."""
        if self._origin is not None:
            return _reopened, (
                *self._origin,
                digest(self.model.state_dict()) if isinstance(self.model, nn.Module) else "",
            )
        return _remade, ({f.name: getattr(self, f.name) for f in fields(self) if f.init},)

    # -- the data -------------------------------------------------------------------------------------------------------
    @cached_property
    def goal(self) -> Goal:
        """Parts, loss and metric; named data is read when this is first asked for.

        Raises
        ------
        FileNotFoundError
            The files of a named data set are not there.
        ValueError
            They are not as their format says.
        """
        data, noun = self.data, self.examples or ("images" if isinstance(self.data, str) else "examples")
        if isinstance(data, str):
            data = datasets.load(data, self.data_dir, limit=self.limit)
        elif isinstance(data, Split) and self.limit is not None:
            data = limited(data, self.limit)
        goal = goal_of(data, "Task", loss=self.loss, metric=self.metric, examples=noun)
        if self.limit is None or isinstance(data, Split):
            return goal
        parts = {
            name: limited_source(part, self.limit, f"Task: limit={self.limit}") for name, part in goal.parts.items()
        }
        return replace(goal, parts=parts)

    # -- the model ------------------------------------------------------------------------------------------------------
    @property
    def trained(self) -> bool:
        """Whether the model comes with its values."""
        return self.weights is not None or isinstance(self.model, nn.Module)

    @property
    def model_name(self) -> str:
        """What the model is called."""
        if isinstance(self.model, str):
            return self.model
        if isinstance(self.model, nn.Module):
            return type(self.model).__name__
        inner = self.model.func if isinstance(self.model, partial) else self.model
        return str(getattr(inner, "__name__", type(inner).__name__))

    @property
    def title(self) -> str:
        """Model and data in a few words."""
        if self.name:
            return self.name
        data = self.data if isinstance(self.data, str) else self.goal.name
        return data if self.model is None else f"{self.model_name} on {data}"

    def __repr__(self) -> str:
        return f"Task({self.title}{'' if self.limit is None else f', at most {self.limit} a part'})"

    def build(self, seed: int) -> nn.Module:
        """The model of a seed; a trained one is the same for every seed (a copy).

        Raises
        ------
        ValueError
            The task has no model; the function makes none, or fails (that error is the cause); values that are not the model's.
        """
        seed = whole_number(seed, "Task.build: seed", 0)
        if self.model is None:
            raise ValueError(
                "the task has no model: Task(model=...) is a function of a seed, an nn.Module or a name of the zoo"
            )
        if isinstance(self.model, nn.Module):
            return copied(self.model, "Task.build: the model")
        if isinstance(self.model, str) and self.weights is not None:
            return zoo.load(self.model, self.weights)
        with seeded(None, seed % 2**63):
            made = self._made(seed)
        if self.weights is not None:
            fill_(made, read_tensors(self.weights)[0], f"{self.weights}: the file is not of this model")
        return made

    def _made(self, seed: int) -> nn.Module:
        if isinstance(self.model, str):
            return zoo.build(self.model, self.goal.classes or 10)
        assert self.model is not None
        try:
            made = self.model(seed)
        except Exception as error:  # whatever a function of the user's raises
            raise ValueError(
                f"Task: model is a function of a seed, but model({seed}) fails: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, nn.Module):
            raise TypeError(
                f"Task: model is a function of a seed that makes an nn.Module; model({seed}) gives {shown(made)}"
            )
        return made

    # -- what results depend on -----------------------------------------------------------------------------------------
    def settings(self) -> dict[str, Any]:
        """What results depend on, as plain data: a run that goes on compares it, and names what differs."""
        return {"model": self._model_settings(), **self.goal.settings(), "limit": self.limit}

    def _model_settings(self) -> Any:
        if isinstance(self.model, nn.Module):
            return [digest(self.model.state_dict())[:12], structure(self.model)]
        given = self.model if isinstance(self.model, str) or self.model is None else fingerprint(self.model)
        return [given, self.weights and digest(read_tensors(self.weights)[0])[:12]]


# -- tasks of files -----------------------------------------------------------------------------------------------------
def task_named(place: str, what: str = "task", folder: Path | None = None, **changes: Any) -> Task:
    """The task that a file or a module has under a name: ``task_named("mine.py:task")``; a function of no arguments may make it.

    Parameters
    ----------
    place
        ``"file.py:name"`` or ``"module:name"`` (:func:`tnkit_nn.imported.imported`).  Random numbers are seeded while it is run.
    what
        Whose value that is: for messages.
    folder
        Where a relative file stands.
    **changes
        Fields to be other: ``limit``, ``weights``, ``data_dir``.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        There is none, or it is no Task.
    """
    with seeded(None, 0):  # what the file draws is the same in every process
        found = imported(place, what, folder)
        if not isinstance(found, Task) and callable(found):
            try:
                found = found()
            except Exception as error:  # whatever a function of the user's raises
                raise ValueError(f"{what}: {place} fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, Task):
        raise TypeError(f"{what}: {place} is a Task, or a function of no arguments that makes one, not {shown(found)}")
    given = {name: value for name, value in changes.items() if value is not None}
    where, _, name = place.rpartition(":")
    task = replace(found, **{"name": found.name or f"{Path(where).name}:{name}", **given})
    object.__setattr__(task, "_origin", (absolute(place, folder), tuple(sorted(given.items()))))
    return task


def _reopened(place: str, changes: tuple[tuple[str, Any], ...], values: str) -> Task:
    task = task_named(place, **dict(changes))
    if values and isinstance(task.model, nn.Module) and digest(task.model.state_dict()) != values:
        raise ValueError(
            f"task: the model of {place} has other values in another process; torch.manual_seed before it is made, or load them"
        )
    return task


def _remade(given: dict[str, Any]) -> Task:
    return Task(**given)

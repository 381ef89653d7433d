"""What is kept of a row: one record a seed, plain data."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch

from tnkit.core.checks import shown
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.families import Family

__all__ = ["Job", "Record", "machine", "wrong_records"]

#: Fields that rows kept by an earlier version lack: they are filled in as in records of earlier versions.
_LATER = ("forward", "rates")


@dataclass(frozen=True)
class Job:
    """One row: a family, or a control's name, and its budget (None for a control that has none).

    ``least``: how many parameters it has at least, one number a weight; None where it is near its budget.
    """

    what: Family | str
    budget: int | None
    least: tuple[int, ...] | None = None

    @property
    def label(self) -> str:
        """As in tables."""
        return self.what.label if isinstance(self.what, Family) else self.what

    @property
    def count(self) -> int:
        """How many parameters are asked for."""
        return sum(self.least) if self.least else self.budget or 0


@dataclass(frozen=True)
class Record:
    """One family (or control) at one budget with one seed.  Figures of models are the task's metric, errors relative Frobenius norms.

    Attributes
    ----------
    kind, activation, description
        ``network`` or ``control``; the functions in the network; what the family or control is.
    model, data, title, examples, metric
        Of the :class:`~tnkit_nn.Task`; ``data`` says where it is limited.  ``metric`` has ``name``, ``unit`` and ``larger``.
    rest, dense_steps, fit_steps, tune_steps, rates
        Of the :class:`~tnkit_nn.comparison.protocol.Protocol`; ``dense_steps`` is 0 where the model was given trained.
    at_least
        How many parameters it was asked to have at least; None where it was to be near its budget.
    num_params, full_params
        Numbers stored for the weights, and in whole bricks where they are ADTNs.
    model_params, model_dense
        Numbers of the whole model so, and of the dense one.
    trained_elsewhere
        Numbers outside the weights that are trained where other layers are.
    error, baseline
        Of all weights as one vector, and what keeping as many coordinates as there are parameters would give.
    flops
        Of making the weights once.
    forward
        What a forward of the layers costs, and how it is done (:func:`tnkit_nn.comparison.forward.forward_cost`): ``way``, ``flops`` of an
        example, ``ms`` and ``step_ms`` of a batch, the same of the dense layers; empty where there is no such layer.
    approximation
        Layer -> what its network was found by (:func:`tnkit_nn.approximate`).
    networks
        Layer -> its network as JSON.
    layer, layer_params
        The layer's name, or the layers' with commas between, and the number of dense weights in all.
    test_fit, test_frozen, test_trained
        On the test part: right after the approximation, after fine-tuning the layer alone, and together with other layers.
    val_frozen, val_trained
        On the validation part: what a choice between rows goes by.
    frozen_from, trained_from
        On the test part from each start (the approximation, or at random), at the rate that is best for it on validation.
    chosen_frozen, chosen_trained
        What was best on validation, the same for all seeds: the ``start``; ``rate``, the learning rate of the weights' parameters; ``rest_rate``,
        that of the other layers'; ``lowest`` and ``highest``, between which rates were tried (``rate``, or ``rest_rate`` where the weights have
        nothing to train).  Empty where nothing was trained.
    curves
        Reading -> how it learned: rows of a step, the mean training loss since the row before, the validation metric.
    predictions
        Reading -> the classes that a classifier gave to the test examples, packed; they go to a file beside the records.
    test_examples
        Number of test examples; None where a loader does not say.
    replicas
        ``side by side``, or ``one after another: why``.
    machine
        Where that was computed.
    """

    family: str
    label: str
    kind: str
    depth: int | None
    activation: str | None
    description: str
    budget: int | None
    at_least: int | None
    num_params: int
    full_params: int
    model_params: int
    model_dense: int
    trained_elsewhere: int
    seed: int
    error: float | None
    baseline: float | None
    test_fit: float | None
    test_frozen: float | None
    test_trained: float | None
    val_frozen: float | None
    val_trained: float | None
    frozen_from: dict[str, float]
    trained_from: dict[str, float]
    chosen_frozen: dict[str, Any]
    chosen_trained: dict[str, Any]
    curves: dict[str, list[Any]]
    predictions: dict[str, str]
    flops: int
    forward: dict[str, Any]
    seconds: float
    approximation: dict[str, str]
    networks: dict[str, str]
    layer: str
    layer_params: int
    test_examples: int | None
    examples: str
    metric: dict[str, Any]
    title: str
    model: str
    data: str
    rest: str
    dense_steps: int
    fit_steps: int
    tune_steps: int
    rates: str
    replicas: str
    machine: dict[str, Any]


def machine() -> dict[str, Any]:
    """Where this runs: processor, cores, threads, versions of Python and torch."""
    return {
        "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": str(torch.__version__),
    }  # fmt: skip


def wrong_records(protocol: Protocol, job: Job, kept: Any) -> str:
    """What keeps a kept result from being the records of a job, one a seed in their order; empty where nothing does."""
    if not isinstance(kept, list) or len(kept) != protocol.seeds:
        return f"its result is {shown(kept)}, not {protocol.seeds} records, one a seed"
    hints = get_type_hints(Record)
    for seed, record in zip(protocol.each, kept, strict=True):
        kinds = {n: kind for n, kind in hints.items() if n not in _LATER or not isinstance(record, dict) or n in record}
        if not isinstance(record, dict) or not kinds.keys() <= record.keys():
            missing = next((n for n in kinds if n not in record), "") if isinstance(record, dict) else ""
            return f"its record of seed {seed} " + (f"has no {missing!r}" if missing else f"is {shown(record)}")
        for name, kind in kinds.items():
            if not _is_of(record[name], kind):
                return f"{name} in its record of seed {seed} is {shown(record[name])}"
        its, ours = [record[n] for n in ("label", "budget", "seed")], [job.label, job.budget, seed]
        if its != ours:
            return f"its record of seed {seed} is of {its[0]} at {its[1]}, seed {its[2]}"
    return ""


def _is_of(value: Any, kind: Any) -> bool:
    """Whether plain data is of a type of :class:`Record`'s fields; a whole number is a float too, true is no number."""
    if get_origin(kind) is UnionType:
        return any(_is_of(value, one) for one in get_args(kind))
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_of(v, get_args(kind)[1]) for v in value.values())
    if get_origin(kind) is list:
        return isinstance(value, list)
    if kind is Any:
        return True
    return type(value) in ((float, int) if kind is float else (kind,))

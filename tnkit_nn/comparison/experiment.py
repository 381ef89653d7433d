"""The experiment, the one object that travels: task, protocol, model, weights, dense models, and what is computed once for all rows.

Everything is kept for all seeds together: values have a leading seed axis.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from tnkit_nn.adapter.descent import Params
from tnkit_nn.comparison.fixture import Fixture, private
from tnkit_nn.comparison.models import fresh_models, values_of
from tnkit_nn.comparison.protocol import Protocol
from tnkit_nn.comparison.split import draws, split_at, through, within
from tnkit_nn.data.parts import TensorSource
from tnkit_nn.data.splits import stratified
from tnkit_nn.engine.devices import with_doubles
from tnkit_nn.fingerprint import fingerprint
from tnkit_nn.task import Task
from tnkit_nn.training.evaluation import device_of, looking, sample_batch, trial
from tnkit_nn.training.goal import PARTS, Goal
from tnkit_nn.training.modes import keepers, needing, rehearsing
from tnkit_nn.weights import forward_order, in_order, owner_and_leaf, selected, spoken, weights_of, when_called

__all__ = ["TURN", "Experiment", "opened"]

#: Bytes of what the layers before give for all examples and seeds, up to which it is computed once and kept.
FEATURES = 2**30
#: Validation examples that scores are read from: a fixed part.
VALIDATION = 2000


@dataclass(frozen=True)
class Experiment:
    """What every row of a comparison needs.  Workers get the task and the dense values, and open it once a process.

    Attributes
    ----------
    task, protocol
        What is compared, and how.
    goal
        The task's, of the validation part a fixed piece.
    model
        The model of the first seed, in evaluation.
    weights
        Names of the weights that are replaced, in the order of the forward pass.
    order
        Module name -> when it is first called.
    keeping
        The modules that keep running statistics, and whose (:func:`tnkit_nn.training.modes.keepers`).
    dense
        Name -> (seed, *shape): parameters and buffers of the trained dense models; nothing before they are trained
        (:func:`tnkit_nn.comparison.dense.with_dense_models`).
    """

    task: Task
    protocol: Protocol
    goal: Goal
    model: nn.Module
    weights: tuple[str, ...]
    order: dict[str, int]
    keeping: Mapping[str, str] = field(default_factory=dict)
    dense: Params = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._key, self.task, self.protocol, self._packed)

    @cached_property
    def _packed(self) -> bytes:
        return safetensors.torch.save({n: p.contiguous() for n, p in self.dense.items()})

    @cached_property
    def _key(self) -> str:
        """Tells experiments apart without their data."""
        task = self.task
        controls = [f and fingerprint(f) for f in (task.without, task.smaller)]
        names = [task.title, self.goal.examples]
        return json.dumps([task.settings(), asdict(self.protocol), controls, names], sort_keys=True)

    # -- the weights ----------------------------------------------------------------------------------------------------
    @property
    def targets(self) -> Params:
        """Name of a weight -> (seed, *weight shape): the trained weights."""
        return {n: self.dense[n] for n in self.weights}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of a weight -> its shape."""
        return {n: tuple(self.model.get_parameter(n).shape) for n in self.weights}

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The model's parameters by name, a shared one once."""
        return dict(self.model.named_parameters())

    @property
    def model_params(self) -> int:
        """Parameters of the dense model."""
        return sum(p.numel() for p in self.parameters.values())

    @property
    def statistics(self) -> Params:
        """Buffers of the dense models."""
        return {n: x for n, x in self.dense.items() if n not in self.parameters}

    # -- what is trained on what ----------------------------------------------------------------------------------------
    @cached_property
    def full(self) -> Fixture:
        """All of the model, and the data."""
        return Fixture(private(self.model), self.goal, keeping=self.keeping)

    @cached_property
    def tail(self) -> Fixture:
        """The model from the first layer on, and what stands before it, computed once; :attr:`full` where that cannot be."""
        before, after = split_at(self.model, owner_and_leaf(self.weights[0])[0])
        parts = self.goal.parts
        if not len(before) or not self.goal.classifies or not all(isinstance(p, TensorSource) for p in parts.values()):
            return self.full
        trees = {name: cast(TensorSource, part).tree for name, part in parts.items()}
        sample = trees["val"][0][:8].to(device_of(self.model))
        with looking(before):
            probe = before(sample)
        if not isinstance(probe, Tensor) or len(probe) != len(sample):  # the state of a recurrent layer, say
            return self.full
        fixed = {n: self.dense[n] for n in values_of(before)}
        own = any(True for _ in before.parameters()) and not self.task.trained  # one model given: one set of features
        count = sum(len(y) for _, y in trees.values()) * (self.protocol.seeds if own else 1)
        size = probe[0].numel() * probe.element_size()
        if count * size > FEATURES or draws(before, sample, self.keeping):
            return self.full
        values = fixed if own else {n: p[:1] for n, p in fixed.items()}
        inputs = {name: through(before, values, x, self.protocol.seeds if own else 1) for name, (x, _) in trees.items()}
        seen = {name: TensorSource((inputs[name][0], y)) for name, (_, y) in trees.items()}
        goal = replace(self.goal, parts=seen)
        return Fixture(private(after), goal, inputs if own else {}, within(self.keeping, after))

    def fixture(self, tuned: bool) -> Fixture:
        """The tail where nothing before the layer is trained, else the full model; ``tuned``: other layers are trained too."""
        return self.full if any(n not in self.tail.names for n in self.trainable(tuned)) else self.tail

    def others(self, tuned: bool) -> Params:
        """The dense values of the other parameters of :meth:`fixture`'s model."""
        names = self.fixture(tuned).names
        return {n: p for n, p in self.dense.items() if n in names and n in self.parameters and n not in self.weights}

    def seen_statistics(self, fixture: Fixture) -> Params:
        """Buffers of a fixture's model."""
        return {n: x for n, x in self.statistics.items() if n in fixture.names}

    def trainable(self, tuned: bool) -> list[str]:
        """Which other parameters are trained: those that require a gradient, with ``rest="head"`` from the first layer on."""
        if not tuned or self.protocol.rest == "none":
            return []
        free = [n for n, p in self.parameters.items() if p.requires_grad and n not in self.weights]
        return [n for n in free if n not in self.before] if self.protocol.rest == "head" else free

    @cached_property
    def before(self) -> set[str]:
        """Names of the parameters whose modules are called before the first layer."""
        first = when_called(owner_and_leaf(self.weights[0])[0], self.order)
        if first == len(self.order):  # nobody knows
            return set()
        return {n for n in self.parameters if when_called(owner_and_leaf(n)[0], self.order) < first}


#: A process does one job at a time: generators of random numbers are its own, and the experiment's model takes one row's values.
TURN = threading.RLock()

#: The experiment that a worker has open under "last": rows that come one after another read the data and pass the layers before once.
_OPEN: dict[str, Experiment] = {}


def _reopened(key: str, task: Task, protocol: Protocol, dense: bytes) -> Experiment:
    """An experiment in a worker, from what was sent of it."""
    with TURN:
        return _reopen(key, task, protocol, dense)


def _reopen(key: str, task: Task, protocol: Protocol, dense: bytes) -> Experiment:
    last = _OPEN.get("last")
    if last is None or last._key != key:
        last = opened(task, protocol)
        vars(last)["_key"] = key  # not the data's digest once more
    if last._packed != dense:
        values = safetensors.torch.load(dense)
        last = replace(last, dense={n: x.to(device_of(last.model)) for n, x in values.items()})
        vars(last)["_key"] = key
    _OPEN["last"] = last
    return last


# -- from a task to an experiment --------------------------------------------------------------------------------------
def opened(task: Task, protocol: Protocol) -> Experiment:
    """The experiment of a task, its dense models not trained yet.

    Raises
    ------
    FileNotFoundError
        The data's files are not there.
    ValueError
        An unknown name, a part of the data that is missing, a model that does not take the data, a weight without a direction.
    """
    goal = task.goal
    for part in PARTS:
        goal.part(part, "compare")
    model = next(fresh_models(task, [protocol.first_seed])).eval()
    trial(model, goal, f"compare: {task.model_name}")
    first = sample_batch(goal, model, "compare")
    order, used = _forward(model, goal, first)
    weights = _chosen(model, protocol, order, used)
    if not task.trained and not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"compare: the dense models are trained, but no parameter of {task.model_name} requires a gradient; "
            "Task(model) takes a trained module itself"
        )
    for name in weights if task.trained else ():
        weight = model.get_parameter(name).detach()
        size = float(with_doubles(weight).double().norm())
        if not 0 < size < inf:
            where = task.weights or task.model_name
            raise ValueError(
                f"compare: a trained weight has a finite norm above 0, but that of {spoken(name)!r}, {tuple(weight.shape)} in {where}, is {size}: nothing to compare to"
            )
    return Experiment(task, protocol, _seen(goal), model, weights, order, keepers(model, goal.loss, first))


def _forward(model: nn.Module, goal: Goal, batch: Any) -> tuple[dict[str, int], set[str]]:
    """When modules are first called, in training (some take a short way in evaluation), and which weights the loss depends on."""
    weights = {n: p for n, p in weights_of(model).items() if p.is_floating_point()}
    losses: list[Tensor] = []
    before = {n: b.shape for n, b in model.named_buffers()}
    with rehearsing(model), needing(model, list(weights.values())), torch.enable_grad():
        order = forward_order(model, lambda: losses.append(goal.loss(model, batch)))
        other = [n for n, b in model.named_buffers() if before.get(n, b.shape) != b.shape]
        if other:
            raise ValueError(
                f"compare: buffers keep their shape in training, but {other[0]!r} of {type(model).__name__} goes {tuple(before[other[0]])} -> {tuple(model.get_buffer(other[0]).shape)}"
            )
        if not losses[0].requires_grad:
            return order, set()
        slopes = torch.autograd.grad(losses[0].sum(), list(weights.values()), allow_unused=True)
    return order, {n for n, slope in zip(weights, slopes, strict=True) if slope is not None}


def _chosen(model: nn.Module, protocol: Protocol, order: dict[str, int], used: set[str]) -> tuple[str, ...]:
    """The weights that the protocol names, or the largest one, in the order of the forward pass."""
    known = weights_of(model)
    if not known:
        raise ValueError(f"compare: {type(model).__name__} has no weight of two axes or more")
    if not protocol.layer:
        if not used:
            raise ValueError(f"compare: the loss depends on no weight of {type(model).__name__}")
        return (max(used, key=lambda n: (known[n].numel(), -list(known).index(n))),)
    found = in_order(selected(model, protocol.layer, "compare: layer"), order)
    for name in found:
        if not known[name].is_floating_point():
            raise ValueError(
                f"compare: layer: weights are of real floating numbers, but {spoken(name)!r} is {known[name].dtype}"
            )
        if name not in used:
            raise ValueError(f"compare: layer: the loss of the first batch does not depend on {spoken(name)!r}")
    return tuple(found)


def _seen(goal: Goal) -> Goal:
    """The goal with a fixed piece of a large validation part: by class, of a Split."""
    part = goal.parts["val"]
    if not isinstance(part, TensorSource) or part.count <= VALIDATION:
        return goal
    if goal.classifies:
        chosen = stratified(part.tree[1])[:VALIDATION]
    else:
        chosen = torch.randperm(part.count, generator=torch.Generator().manual_seed(0), device="cpu")[:VALIDATION]
    return replace(goal, parts={**goal.parts, "val": TensorSource(part.taken(chosen.sort().values))})

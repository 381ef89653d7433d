"""What a forward of a row's layers costs: floating-point operations of an example, and times beside those of the dense layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

import tnkit as tk
from tnkit_nn.adapter.conv import TNConv1d, TNConv2d, TNConv3d
from tnkit_nn.adapter.copies import copied
from tnkit_nn.adapter.embedding import TNEmbedding
from tnkit_nn.adapter.flops import TNLayer, counted, forward_flops
from tnkit_nn.adapter.linear import TNLinear
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.batches import BATCH
from tnkit_nn.comparison.experiment import Experiment
from tnkit_nn.comparison.start import Start
from tnkit_nn.data.batches import length, moved
from tnkit_nn.data.draws import forked
from tnkit_nn.generators import Generator
from tnkit_nn.training.evaluation import device_of
from tnkit_nn.training.modes import rehearsing
from tnkit_nn.weights import owner_and_leaf, spoken

__all__ = ["NO_LAYER", "forward_cost"]

#: Rounds of which the fastest counts, and the seconds after which no further one begins.
_ROUNDS, _LONG = 15, 0.5
#: Seconds of a short call.
_SHORT = 5e-3
#: Controls whose layer is not there, or that are another model: there is no forward of it.
NO_LAYER = ("removed", "small_dense")

_CONVOLUTIONS = {nn.Conv1d: TNConv1d, nn.Conv2d: TNConv2d, nn.Conv3d: TNConv3d}

Call = Callable[[], Any]


@dataclass(frozen=True)
class _Seen:
    """What a layer was called with in one forward of the model: the first time, and how often."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    times: int


@dataclass(frozen=True)
class _Cost:
    """Of one layer for one batch: counts (None where torch has none), and what to time."""

    way: str
    flops: int | None
    if_built: int | None
    dense_flops: int | None
    calls: Sequence[tuple[Call, float]]
    dense_call: tuple[Call, float]
    steps: Sequence[tuple[Call, float]]
    dense_step: tuple[Call, float]


def forward_cost(experiment: Experiment, start: Start, label: str) -> dict[str, Any]:
    """What a forward of the replaced layers costs, the layers together, as the record's ``forward`` has it.

    ``flops``, ``flops_if_built`` and ``dense_flops`` are of one example, a multiply-add being two; ``ms``, ``dense_ms``, ``step_ms``
    and ``dense_step_ms`` are of ``batch`` examples: a forward, and a forward with its backward, the fastest of several.  ``way`` says how: ``factorised``,
    ``built`` (at every call, then multiplied by), or ``dense``.  Linear layers, convolutions and embeddings run as tnkit's layers,
    in the way that they choose for the batch; of any other, the time to make the weight is added to a call of the dense layer.
    Empty where there is no such layer; the reason alone where it cannot be called by itself.
    """
    if label in NO_LAYER:
        return {}
    try:
        with forked():  # layers are drawn, and a model may draw
            batch, seen = _batch_seen(experiment)
            costs = [_of_layer(experiment, name, start, seen[name]) for name in experiment.weights]
            return _summed(costs, batch)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:  # a layer of the user's, by itself
        return {"way": f"not measured: {(str(error).splitlines() or [''])[0][:120] or type(error).__name__}"}


def _batch_seen(experiment: Experiment) -> tuple[int, dict[str, _Seen]]:
    """The examples of a batch, and what each layer is called with in the loss of it."""
    model, goal = experiment.model, experiment.goal
    batch = moved(next(iter(goal.parts["train"].loader(BATCH))), device_of(model))
    found: dict[str, _Seen] = {}

    def noting(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            first = found.get(name, _Seen(tree_map(_apart, args), tree_map(_apart, options), 0))
            found[name] = _Seen(first.args, first.options, first.times + 1)

        return hook

    owners = {name: model.get_submodule(owner_and_leaf(name)[0]) for name in experiment.weights}
    hooks = [m.register_forward_pre_hook(noting(n), with_kwargs=True) for n, m in owners.items()]
    try:
        with rehearsing(model), torch.no_grad():
            goal.loss(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    missing = [spoken(n) for n in owners if n not in found]
    if missing:
        raise ValueError(f"{missing[0]} is not called as a module")
    return length(batch), found


def _apart(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else x


def _of_layer(experiment: Experiment, name: str, start: Start, seen: _Seen) -> _Cost:
    owner, leaf = owner_and_leaf(name)
    dense = copied(experiment.model.get_submodule(owner), "compare: the layer").train()
    flops = counted(dense, *seen.args, **seen.options) * seen.times or None
    flops = 0 if isinstance(dense, nn.Embedding) else flops
    call, step = (_calling(dense, seen), seen.times), (_stepping(dense, seen), seen.times)
    generator, net = start.generators.each[name], start.nets.get(name)
    if not generator.start:
        return _Cost("dense", flops, flops, flops, [call], call, [step], step)
    layer = None if net is None or leaf != "weight" else _layer(dense, net, seen)
    if layer is not None:
        x = seen.args[0]
        count = forward_flops(layer, x)
        way, (made, built) = (
            "built" if count.built else "factorised",
            (seen.times * n for n in (count.flops, count.if_built)),
        )
        mine = (_calling(layer, seen), seen.times), (_stepping(layer, seen), seen.times)
        return _Cost(way, made, built, flops, [mine[0]], call, [mine[1]], step)
    if list(generator.start) == ["weight"]:  # the dense layer, trained on
        return _Cost("dense", flops, flops, flops, [call], call, [step], step)
    total = None if flops is None else flops + generator.flops
    make, back = _making(start, name, generator)
    return _Cost("built", total, total, flops, [make, call], call, [back, step], step)


def _layer(dense: nn.Module, net: tk.Network, seen: _Seen) -> TNLayer | None:
    """The layer of tnkit in the place of one of torch's, for as many rows or positions; None of others, and where it cannot stand there."""
    x = seen.args[0] if len(seen.args) == 1 and not seen.options and isinstance(seen.args[0], Tensor) else None
    if x is None:
        return None
    try:
        if type(dense) is nn.Linear:
            return TNLinear.from_module(dense, net, fit=False, batch=max(1, x.numel() // dense.in_features))
        if type(dense) is nn.Embedding:
            return TNEmbedding.from_module(dense, net, fit=False, batch=max(1, x.numel()))
        for kind, ours in _CONVOLUTIONS.items():
            if type(dense) is kind and x.dim() == len(dense.kernel_size) + 2:
                positions = max(1, dense(x)[:, 0].numel())
                return cast(TNLayer, ours.from_module(dense, net, fit=False, positions=positions))
    except (TypeError, ValueError):
        return None
    return None


# -- what is timed ------------------------------------------------------------------------------------------------------
def _calling(module: nn.Module, seen: _Seen) -> Call:
    def call() -> None:
        with torch.no_grad():
            module(*seen.args, **seen.options)

    return call


def _stepping(module: nn.Module, seen: _Seen) -> Call:
    """A forward, and the gradients of all that is trained and of the inputs."""
    wanted = [p.requires_grad_() for p in module.parameters() if p.is_floating_point() or p.is_complex()]
    args, options = tree_map(_wanting, seen.args), tree_map(_wanting, seen.options)
    wanted += [x for x in tree_leaves((args, options)) if isinstance(x, Tensor) and x.requires_grad]

    def call() -> None:
        with torch.enable_grad():
            made = [y for y in tree_leaves(module(*args, **options)) if isinstance(y, Tensor) and y.requires_grad]
            torch.autograd.grad(made, wanted, [torch.ones_like(y) for y in made], allow_unused=True)

    return call


def _wanting(x: Any) -> Any:
    return x.detach().clone().requires_grad_(x.is_floating_point()) if isinstance(x, Tensor) else x


def _making(start: Start, name: str, generator: Generator) -> tuple[tuple[Call, float], tuple[Call, float]]:
    """Making the weight, and doing so with gradients: of all seeds at once, whose share is one."""
    values = {n: start.values["fit"][f"{name}/{n}"].detach().clone().requires_grad_() for n in generator.start}
    seeds: Axes = start.seeds
    share = 1 / seeds.replicas

    def call() -> None:
        with torch.no_grad():
            generator.weight(values, seeds)

    def step() -> None:
        with torch.enable_grad():
            made = generator.weight(values, seeds)
            torch.autograd.grad(made, list(values.values()), torch.ones_like(made))

    return (call, share), (step, share)


def _summed(costs: Sequence[_Cost], batch: int) -> dict[str, Any]:
    """All layers together; every call is timed in turn, so that what else the machine does meets all of them, and once where it is the dense layer's own."""
    groups = {
        "ms": [c for cost in costs for c in cost.calls], "dense_ms": [cost.dense_call for cost in costs],
        "step_ms": [c for cost in costs for c in cost.steps], "dense_step_ms": [cost.dense_step for cost in costs],
    }  # fmt: skip
    took = _fastest({id(call): call for group in groups.values() for call, _ in group})
    times = {key: _short(1e3 * sum(took[id(call)] * share for call, share in group)) for key, group in groups.items()}
    counts = {
        "flops": _each([c.flops for c in costs], batch), "flops_if_built": _each([c.if_built for c in costs], batch),
        "dense_flops": _each([c.dense_flops for c in costs], batch),
    }  # fmt: skip
    return {"way": ", ".join(dict.fromkeys(c.way for c in costs)), "batch": batch, **counts, **times}


def _each(counts: Sequence[int | None], batch: int) -> int | None:
    """Of an example, all layers together, rounded up; None where one is not known."""
    known = [count for count in counts if count is not None]
    return -(-sum(known) // batch) if len(known) == len(counts) else None


def _fastest(calls: Mapping[Any, Call]) -> dict[Any, float]:
    """The least seconds of each, called in turn; the first round makes what is kept.

    The least, since what else the machine does can only add.  A short call is made once more before it is timed: the one before it, of another layer, has left its own values in the caches.
    """
    took: dict[Any, list[float]] = {key: [] for key in calls}
    begin = time.perf_counter()
    for number in range(_ROUNDS + 1):
        for key, call in list(calls.items())[:: 1 if number % 2 else -1]:  # none always comes after the same one
            seconds = _timed(call)
            if seconds < _SHORT:
                seconds = _timed(call)
            if number:
                took[key].append(seconds)
        if number and time.perf_counter() - begin > _LONG:
            break
    return {key: min(values) for key, values in took.items()}


def _timed(call: Call) -> float:
    before = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - before


def _short(x: float) -> float:
    return float(f"{x:.4g}")

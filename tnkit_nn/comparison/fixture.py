"""A model, or its last layers, and what it sees; called with the values of many replicas, side by side or one after another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from textwrap import shorten
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from tnkit_nn.adapter.copies import copied
from tnkit_nn.adapter.descent import Params
from tnkit_nn.axes import Axes
from tnkit_nn.comparison.allocator import give_back
from tnkit_nn.comparison.batches import Batches, batches_of
from tnkit_nn.comparison.calls import called
from tnkit_nn.comparison.layout import channels_last, laid
from tnkit_nn.comparison.readings import Readings, accuracies, cross_entropies
from tnkit_nn.data.batches import Batch, moved
from tnkit_nn.data.draws import forked, seed_
from tnkit_nn.data.parts import TensorSource
from tnkit_nn.training.evaluation import device_of, judged, looking, sample_batch
from tnkit_nn.training.goal import Goal
from tnkit_nn.training.modes import frozen_keepers

__all__ = ["Fixture", "Readings", "private"]

#: Examples times replicas that go through a model at once where no gradient is needed.
CHUNK = 8192
#: Relative difference up to which replicas side by side are those one after another: float32's rounding, summed up.
_ROUNDING = 1e-3


class _Apart(Exception):
    """A step whose replicas have to go one after another."""


class _LossOf(nn.Module):
    """The loss as a module, so that the values of the model in it can be given by name."""

    def __init__(self, model: nn.Module, goal: Goal) -> None:
        super().__init__()
        self.model, self.goal = model, goal

    def forward(self, batch: Batch) -> Tensor:
        return self.goal.loss(self.model, batch).reshape(())


@dataclass(frozen=True, eq=False)
class Fixture:
    """A model and its goal.

    Attributes
    ----------
    model
        A model of one's own: its values come and go.
    goal
        The parts that it sees, the loss and the metric.
    own
        Part -> (seed, count, ...) inputs in place of the first tensor of its batches, where each seed has its own.
    keeping
        The modules that keep running statistics, and whose (:func:`tnkit_nn.training.modes.keepers`).
    moving
        Names of the buffers that training changes; none where what they belong to is frozen.
    """

    model: nn.Module
    goal: Goal
    own: Mapping[str, Tensor] = field(default_factory=dict)
    keeping: Mapping[str, str] = field(default_factory=dict)
    moving: tuple[str, ...] = ()

    # -- what stays still -----------------------------------------------------------------------------------------------
    @cached_property
    def names(self) -> set[str]:
        """Names of the model's parameters and buffers."""
        return {n for n, _ in (*self.model.named_parameters(), *self.model.named_buffers())}

    @cached_property
    def device(self) -> torch.device:
        """Where the model's values lie."""
        return device_of(self.model)

    def training(self, trained: Sequence[str]) -> Fixture:
        """The fixture while these parameters are trained: which statistics move then."""
        values = dict(self.model.named_parameters())
        still = frozen_keepers(self.model, self.keeping, [values[n] for n in trained if n in values])
        moves = [name for name in self.keeping if self.model.get_submodule(name) not in still]
        moving = [
            f"{name}.{n}".strip(".")
            for name in moves
            for n, _ in self.model.get_submodule(name).named_buffers(recurse=False)
        ]
        moving = [n for n in moving if n in self.names]  # a module of two names has its buffers under the first
        found = replace(self, moving=tuple(moving))
        vars(found).update(apart=self.apart, channels_last=self.channels_last)  # found out once
        return found

    @contextmanager
    def _mode(self) -> Iterator[None]:
        """Training mode: dropout is on, frozen statistics as in evaluation."""
        self.model.train()
        owners = {id(self.model.get_submodule(n.rpartition(".")[0])) for n in self.moving}
        for module in map(self.model.get_submodule, self.keeping):
            module.training = id(module) in owners
        try:
            yield
        finally:
            self.model.eval()

    # -- side by side or one after another ------------------------------------------------------------------------------
    @cached_property
    def apart(self) -> str:
        """Why replicas of the model go one after another; empty where they go side by side.

        Found out once, on two replicas of its own values: whether ``torch.func`` allows the model and the loss at all, without falling
        back to a loop of its own, and gives the losses and gradients that each gives alone.
        """
        if self.convolves:
            return "convolutions, which a processor does faster so"
        if self.own:  # a chain of layers, cut in two
            return ""
        part = self.goal.parts["train"]
        return self._tried(batches_of(part, None, (0, 1), 1))

    def alone(self) -> str:
        """The same while it is trained: running statistics that move are each replica's own."""
        if not self.moving:
            return self.apart
        owner = self.moving[0].rpartition(".")[0] or type(self.model).__name__
        return f"running statistics ({owner})"

    @cached_property
    def writes(self) -> frozenset[str]:
        """Names of the parameters that the model itself writes to as it is called, rows of an embedding's ``max_norm``, say."""
        before = {n: (p._version, p.detach().clone()) for n, p in self.model.named_parameters()}
        with looking(self.model):
            self.goal.loss(self.model, sample_batch(self.goal, self.model, "compare"))
        after = dict(self.model.named_parameters())
        return frozenset(n for n, (k, x) in before.items() if after[n]._version != k or not torch.equal(after[n], x))

    @cached_property
    def convolves(self) -> bool:
        """Whether the model has a convolution, on a processor: side by side it has groups, which take twice the time there."""
        on_cpu = all(p.device.type == "cpu" for p in self.model.parameters())
        return on_cpu and any(isinstance(m, nn.modules.conv._ConvNd) for m in self.model.modules())

    @cached_property
    def channels_last(self) -> bool:
        """Whether a classifier's images are laid channels last before the model is called: found out once, on a batch."""
        if not (self.goal.classifies and self.convolves):
            return False
        x = self.own["train"][0, :2] if "train" in self.own else sample_batch(self.goal, self.model, "compare")[0]
        return channels_last(self.model, x, self._mode)

    def _laid(self, batch: Batch) -> Batch:
        """A batch as the model takes it fastest."""
        return (laid(batch[0]), *batch[1:]) if self.channels_last else batch

    def _tried(self, batches: Batches) -> str:
        axes, fixed = Axes(seed=2), {n: torch.stack([b, b]) for n, b in self.model.named_buffers()}
        pair = {
            n: torch.stack([p.detach(), 1.01 * p.detach() if p.is_floating_point() else p.detach()]).requires_grad_(
                p.requires_grad
            )
            for n, p in self.model.named_parameters()
        }
        wanted = [n for n, p in pair.items() if p.requires_grad]
        each = moved(batches.each(0), self.device)
        try:
            batch = moved(batches.stacked(0), self.device)
        except (RuntimeError, TypeError, ValueError):
            return "batches that are not tensors of one shape in tuples, lists and dicts"
        try:
            with warnings.catch_warnings(), forked(), torch.enable_grad():
                warnings.filterwarnings("error", "There is a performance drop")
                with self._mode():
                    side = self._side_by_side(pair, fixed, batch, axes, 0)
                    mine = torch.autograd.grad(side.sum(), [pair[n] for n in wanted], allow_unused=True)
                    alone, slopes = self._one_by_one(pair, fixed, each, axes, 0, wanted)
                    other, _ = self._one_by_one(pair, fixed, each, axes, 1, ())
                with looking(self.model):
                    still = self._side_by_side(pair, fixed, batch, axes, 0)
                    quiet, _ = self._one_by_one(pair, fixed, each, axes, 0, ())
        except Exception as error:  # whatever a function of the user's raises under vmap
            return _first_words(error)
        drawn = not torch.equal(alone, other)  # dropout: no two of its losses are to be compared
        if not _near(still, quiet) or not (drawn or _near(side, alone)):
            return "side by side its losses are others"
        zeros = [torch.zeros_like(pair[n]) if g is None else g for n, g in zip(wanted, mine, strict=True)]
        if not drawn and not all(_near(a, b) for a, b in zip(zeros, slopes, strict=True)):
            return "side by side its gradients are others"
        return ""

    # -- losses ---------------------------------------------------------------------------------------------------------
    def losses(
        self, params: Params, fixed: Params, batches: Batches, axes: Axes, step: int, *, alone: bool, state: Params
    ) -> Tensor:
        """(replicas,) losses, differentiable in ``params``.

        Parameters
        ----------
        params
            Name -> (replicas, ...) values that differ from replica to replica.
        fixed
            Name -> (seed, ...) values that do not.
        batches, axes, step
            What is seen, by whom, and when.
        alone
            Whether replicas go one after another.
        state
            Name -> (replicas, ...) statistics, which are changed.
        """
        with self._mode():
            if not alone:
                with suppress(_Apart):
                    return self._together(params, fixed, batches, axes, step)
            wanted = [n for n, p in params.items() if p.requires_grad] if torch.is_grad_enabled() else []
            each = moved(batches.each(step), self.device)
            losses, slopes = self._one_by_one(params, fixed, each, axes, step, wanted, state)
            return cast(Tensor, _Known.apply(losses, *(params[n] for n in wanted), *slopes)) if wanted else losses

    def _together(self, params: Params, fixed: Params, batches: Batches, axes: Axes, step: int) -> Tensor:
        """Losses side by side; _Apart where this step's batches are of unlike shapes, or take the model another way than the first."""
        try:
            batch = moved(batches.stacked(step), self.device)
            return self._side_by_side(params, fixed, batch, axes, step)
        except (
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # it has passed once: what is wrong with both ways is said by the other
            raise _Apart from error

    def _side_by_side(self, params: Params, fixed: Params, batch: Batch, axes: Axes, step: int) -> Tensor:
        values = {**{n: axes.by_seed(x) for n, x in fixed.items()}, **params}
        seed_(step, device=self.device.type)  # what the model draws
        if self.goal.classifies:
            x, y = batch
            return cross_entropies(self._outputs(values, axes.by_seed(x)), axes.by_seed(y))
        batches = tree_map(axes.by_seed, batch)
        loss = _LossOf(self.model, self.goal)
        named = {f"model.{n}": x for n, x in values.items()}
        return vmap(lambda p, b: called(loss, p, b), randomness="different")(named, batches)

    def _one_by_one(
        self, params: Params, fixed: Params, each: Sequence[Batch], axes: Axes, step: int, wanted: Sequence[str], state: Params | None = None,
    ) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
        """Losses, and the gradients of each by its own values."""
        losses, slopes = [], {n: torch.zeros_like(params[n]) for n in wanted}
        each = [self._laid(batch) for batch in each]
        for k in range(axes.replicas):
            seed = k % axes.seed
            seed_(1_000_003 * seed + step, device=self.device.type)  # what the model draws: the same in every row
            with self._holding(params, fixed, axes, k, wanted, state) as own, torch.enable_grad():
                loss = self.goal.loss(self.model, each[seed])
                found = torch.autograd.grad(loss, [own[n] for n in wanted], allow_unused=True) if wanted else ()
            losses.append(loss.detach().reshape(()))
            for n, slope in zip(wanted, found, strict=True):
                if slope is not None:
                    slopes[n][k] = slope.to_dense()  # of an embedding it may be sparse
        return torch.stack(losses), list(slopes.values())

    @contextmanager
    def _holding(
        self, params: Params, fixed: Params, axes: Axes, k: int, wanted: Sequence[str] = (), state: Params | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """The model with the values of one replica: not copied, and its statistics go where they are kept.

        What the model itself writes to (a counter, a table whose rows it renormalises) is copied: it stands still from step to step.
        """
        parameters, buffers = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        own: dict[str, Tensor] = {**parameters, **buffers}
        state = state or {}
        each = {n: x[k % axes.seed] for n, x in fixed.items()} | {n: x[k] for n, x in (*params.items(), *state.items())}
        for n, x in each.items():
            kept = n in state or n in wanted or (n in parameters and n not in self.writes)
            own[n].data = x.detach() if kept else x.detach().clone()
        needs = {n: p.requires_grad for n, p in parameters.items()}
        for n, p in parameters.items():
            p.requires_grad_(n in wanted)
        try:
            yield own
            after = dict(self.model.named_buffers()) if state else {}
            for n, x in state.items():
                if after[n].data_ptr() != x[k].data_ptr():  # it was made anew
                    x[k] = after[n].detach()
            for n in wanted:  # a model that bounds its weights puts others in their place
                if own[n].data_ptr() != each[n].data_ptr():
                    each[n].data.copy_(own[n].data)
        finally:
            for n, p in parameters.items():
                p.requires_grad_(needs[n])

    # -- readings -------------------------------------------------------------------------------------------------------
    def read(
        self, params: Params, fixed: Params, part: str, axes: Axes, *, alone: bool, state: Params | None = None
    ) -> Readings:
        """What the replicas make of a part, in evaluation."""
        give_back()  # every look: what training has freed since the last
        if self.goal.classifies and not alone and isinstance(self.goal.parts[part], TensorSource):
            values = {**{n: axes.by_seed(x) for n, x in fixed.items()}, **params}
            return self._classified(self.outputs(values, part, axes), part)
        found = []
        with forked():
            for k in range(axes.replicas):
                seed_(
                    k % axes.seed, device=self.device.type
                )  # what a model draws in evaluation too: the same in every row
                with self._holding(params, fixed, axes, k, (), state):
                    found.append(self._read(self._goal_of(k % axes.seed), part))
        metric, loss = (torch.stack([getattr(r, name)[0] for r in found]) for name in ("metric", "loss"))
        given = [r.classes[0] for r in found if r.classes is not None]
        return Readings(metric, loss, torch.stack(given) if given and len({len(c) for c in given}) == 1 else None)

    def _read(self, goal: Goal, part: str) -> Readings:
        """What the model, with the values that it has, makes of a part."""
        if not self.goal.classifies:
            metric = torch.tensor([judged(self.model, goal, part)], dtype=torch.float64, device="cpu")
            return Readings(metric, metric)
        with looking(self.model):
            batches = (moved(batch, self.device) for batch in goal.parts[part].loader())
            pairs = [(self.model(x), y) for x, y in map(self._laid, batches)]
        return self._classified(torch.cat([a for a, _ in pairs])[None], part, torch.cat([y for _, y in pairs]))

    def _goal_of(self, seed: int) -> Goal:
        """What a seed sees."""
        if not self.own:
            return self.goal
        parts = {
            name: TensorSource((self.own[name][seed], *cast(TensorSource, part).tree[1:]))
            for name, part in self.goal.parts.items()
        }
        return replace(self.goal, parts=parts)

    def _classified(self, outputs: Tensor, part: str, labels: Tensor | None = None) -> Readings:
        labels = cast(TensorSource, self.goal.parts[part]).tree[1] if labels is None else labels
        labels = labels.to(outputs.device).expand(len(outputs), -1)
        return Readings(accuracies(outputs, labels), cross_entropies(outputs, labels), outputs.argmax(-1))

    def outputs(self, values: Params, part: str, axes: Axes) -> Tensor:
        """Of all of a part, without gradient, a few examples at a time: (replicas, examples, classes)."""
        size = max(1, CHUNK // axes.replicas)
        with looking(self.model):
            seed_(0, device=self.device.type)
            if part in self.own:
                return torch.cat([self._outputs(values, axes.by_seed(p)) for p in self.own[part].split(size, 1)], 1)
            x = cast(TensorSource, self.goal.parts[part]).tree[0].to(self.device)
            return torch.cat([self._outputs(values, piece, shared=True) for piece in x.split(size)], 1)

    def _outputs(self, values: Params, x: Tensor, shared: bool = False) -> Tensor:
        """(replicas, batch, ...) outputs; ``shared``: all replicas see the same inputs."""

        def call(p: Params, z: Tensor) -> Tensor:
            return cast(Tensor, called(self.model, p, z))

        return vmap(call, in_dims=(0, None if shared else 0), randomness="different")(values, x)


class _Known(torch.autograd.Function):
    """Losses whose gradients were found with them: ``apply(losses, *values, *gradients)``."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given[len(given) // 2 :])
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *slope: Any) -> tuple[Tensor | None, ...]:
        if bool((slope[0] == 1).all()):  # the gradients as they are: one copy less of every parameter of all replicas
            return (None, *ctx.saved_tensors, *[None] * len(ctx.saved_tensors))
        found = [slope[0].to(x.dtype).view(-1, *[1] * (x.dim() - 1)) * x for x in ctx.saved_tensors]
        return (None, *found, *[None] * len(found))


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether two are equal but for rounding."""
    size = max(float(a.detach().abs().max()), float(b.detach().abs().max()), 1e-12) if a.numel() else 1.0
    allowed = max(_ROUNDING, 8 * torch.finfo(a.dtype).eps)  # half precision rounds more
    return bool(((a.detach() - b.detach()).abs().max() if a.numel() else torch.zeros(())) <= allowed * size)


def _first_words(error: BaseException) -> str:
    words = (str(error).splitlines() or [""])[0].split(". ")[0] or type(error).__name__
    if " the batching rule for " in words:  # what torch warns of at length
        words = f"no batching rule for {words.rpartition(' the batching rule for ')[2]}"
    return f"vmap does not take the model ({shorten(words, 120, placeholder=' ...')})"


def private(model: nn.Module) -> nn.Module:
    """A copy whose values may come and go, in evaluation."""
    return copied(model, "compare: the model").eval()

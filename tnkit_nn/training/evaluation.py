"""What a model makes of a part of the data: loss, accuracy, and how often it gives each class."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit_nn.checks import a_module, a_size
from tnkit_nn.data.splits import Part, checked_part

__all__ = ["Loss", "accuracy", "answers", "evaluate", "trial", "worse"]

#: ``(logits, labels) -> mean over the batch``.
Loss = Callable[[Tensor, Tensor], Tensor]


def evaluate(model: nn.Module, part: Part, loss: Loss = F.cross_entropy, batch: int = 500) -> tuple[float, float]:
    """Mean loss and accuracy of a model, as it is in evaluation, on inputs and labels."""
    modes = {m: m.training for m in model.modules()}
    device = next(model.parameters()).device
    total, right = torch.zeros((), dtype=torch.float64), 0
    model.eval()
    try:
        with torch.no_grad():
            for x, y in zip(part[0].split(batch), part[1].split(batch), strict=True):
                logits, y = model(x.to(device)), y.to(device)
                total += len(y) * loss(logits, y).cpu().double()
                right += int((logits.argmax(-1) == y).sum())
    finally:
        for module, mode in modes.items():
            module.training = mode
    return float(total) / len(part[1]), right / len(part[1])


def trial(model: nn.Module, inputs: Tensor, who: str, data: str, classes: int) -> None:
    """One input through a model in evaluation; ValueError where it does not take it, or gives no logits of so many classes.

    Said before a training, by the names of the model and of the data, and not after its first epoch.
    """
    first = next(model.parameters(), None)
    if first is not None and first.is_meta:
        raise ValueError(
            f"{who} has parameters with values, but they are on the meta device: call to_empty(device=...) first"
        )
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            given = model(inputs[:1] if first is None else inputs[:1].to(first.device))
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:120]
        shape = f"the shape {tuple(inputs.shape[1:])} and {inputs.dtype}"
        raise ValueError(f"{who} does not take inputs of {shape} of {data}: {why}") from None
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(given, Tensor) or given.dim() < 2:
        found = f"of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(f"{who} gives logits of shape (count, classes), not {found}, for {data}")
    if given.shape[-1] < classes:
        raise ValueError(f"{who}: a model of {given.shape[-1]} classes; {data} has {classes}")


def accuracy(model: nn.Module, part: Part, batch: int = 500) -> float:
    """Fraction of the inputs whose label has the largest logit.

    Raises
    ------
    TypeError, ValueError
        No module, no pair of finite inputs and labels, or a model that does not take them or has fewer classes.
    """
    batch = a_size(batch, "accuracy: batch")
    x, y = checked_part(part, "accuracy: part")
    trial(a_module(model, "accuracy: model"), x, "accuracy: the model", "the part", 1 + int(y.max()))
    return evaluate(model, part, batch=batch)[1]


def worse(now: float, then: float, count: int) -> bool:
    """Whether an accuracy on ``count`` examples is below an earlier one by more than three of its standard errors.

    The error is never taken to be below one example: at 100 % it would be none at all.
    """
    return now < then - 3 * sqrt(max(then * (1 - then), 1 / count) / count)


def answers(model: nn.Module, part: Part, batch: int = 500) -> Tensor:
    """How often a model in evaluation gives each class to the inputs of a part, (classes,)."""
    counts: list[Tensor] = []

    def count(logits: Tensor, y: Tensor) -> Tensor:
        counts.append(logits.argmax(-1).cpu().bincount(minlength=logits.shape[-1]))
        return logits.new_zeros(())

    evaluate(model, part, count, batch)
    return torch.stack(counts).sum(0)

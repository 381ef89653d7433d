"""What replicas make of a part of the data: their metric, their loss, and the classes that they give."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Readings", "accuracies", "cross_entropies"]


@dataclass(frozen=True)
class Readings:
    """What replicas make of a part, (replicas,) each: the metric and the loss, and the classes that they give, of classifiers."""

    metric: Tensor
    loss: Tensor
    classes: Tensor | None = None


def cross_entropies(outputs: Tensor, labels: Tensor) -> Tensor:
    """(replicas, examples, classes) and (replicas, examples) -> (replicas,): mean cross entropies."""
    each = nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def accuracies(outputs: Tensor, labels: Tensor) -> Tensor:
    """(replicas, examples, classes) and (replicas, examples) -> (replicas,): fractions that are right."""
    return (outputs.argmax(-1) == labels).float().mean(1)

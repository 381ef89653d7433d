"""What a layer holds instead of a weight: a network with the scale that torch draws such a weight with, and a bias beside it."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.network import Network
from tnkit.execution.region_scale import UnreachableError
from tnkit_nn.adapter.module import ClosedModule

__all__ = ["LayerWeight", "drawn_bias", "drawn_weight", "is_kept"]


class LayerWeight(ClosedModule):
    """A network without inputs, in a layer that reads its tensor as a weight."""


def drawn_weight(
    kind: type[LayerWeight], network: Network, arrays: Mapping[str, Any] | None, std: float, **options: Any
) -> LayerWeight:
    """The network with this root mean square, or with its own where an outermost activation does not reach that."""
    try:
        return kind(network, arrays, std=std, **options)
    except UnreachableError:  # a sigmoid is outermost, say
        return kind(network, arrays, **options)


def drawn_bias(size: int, fan_in: int, like: Tensor) -> nn.Parameter:
    """A bias as torch draws it for so many inputs."""
    bound = 1 / sqrt(fan_in)
    return nn.Parameter(torch.empty(size, dtype=like.dtype).uniform_(-bound, bound))


def is_kept(layer: nn.Module, tn: LayerWeight) -> bool:
    """Whether a weight that is built now may serve the next call: eval mode, no gradient asked for, nothing traced."""
    if layer.training or torch.compiler.is_compiling():
        return False
    return not (torch.is_grad_enabled() and any(p.requires_grad for p in tn.parameters()))

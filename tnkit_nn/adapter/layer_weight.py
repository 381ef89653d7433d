"""What a layer holds instead of a weight: a network with the scale that torch draws such a weight with, and a bias beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.network import Network
from tnkit.execution.region_scale import UnreachableError
from tnkit.execution.weights import detensorize
from tnkit_nn.adapter.generated import full_precision
from tnkit_nn.adapter.guard import write_protected
from tnkit_nn.adapter.module import ClosedModule

__all__ = ["LayerWeight", "drawn_bias", "drawn_weight"]


class LayerWeight(ClosedModule):
    """A network without inputs, in a layer that reads its tensor as a weight."""

    def read_as(self, shape: Sequence[int]) -> Tensor:
        """Its tensor as a weight of this shape, built now in the arrays' own dtype."""
        with full_precision(self.like.device):
            made: Tensor = detensorize(self(), shape)
        return made

    def shown_as(self, shape: Sequence[int]) -> Tensor:
        """The same as it is given out."""
        return self.shown(self.read_as(shape))

    def shown(self, weight: Tensor) -> Tensor:
        """A weight as it is given out: writing to it, which would be in vain, is an error."""
        return write_protected(
            weight, f"the weight of {self._spoken}", "layer.tn has the arrays, which can be written to", self
        )

    def reset_parameters(self) -> None:
        """Draw the arrays again, as they were drawn, or, of a layer made on the meta device, as they would have been."""
        try:
            super().reset_parameters()
        except UnreachableError:
            self._drawing = (self._drawing[0], None)
            super().reset_parameters()


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

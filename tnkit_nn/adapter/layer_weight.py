"""What a layer holds instead of a weight: a network with the scale that torch draws such a weight with, and ways to apply it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod, sqrt
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from tnkit.core.network import Network
from tnkit.execution.region_scale import UnreachableError
from tnkit.execution.weights import detensorize
from tnkit_nn.adapter.crossover import WeightRoute, crossovers, kept_way, route_for
from tnkit_nn.adapter.generated import full_precision
from tnkit_nn.adapter.guard import write_protected
from tnkit_nn.adapter.keeping import is_kept, kept_weight
from tnkit_nn.adapter.module import ClosedModule

__all__ = ["LayerWeight", "RoutedLayer", "drawn_weight"]

Way = TypeVar("Way")


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
        way_out = "layer.tn has the arrays, which can be written to"
        return write_protected(weight, f"the weight of {self._spoken}", way_out, self, "layer.tn")

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


class RoutedLayer(nn.Module, Generic[Way]):
    """A layer that either takes a way with its input in the network, or builds its weight; it has a bias or none.

    A subclass sets ``tn``, ``bias`` and ``_fan_in``, the ``_shape`` of its weight, and by :meth:`_take_routes` its routes.
    """

    tn: LayerWeight
    bias: nn.Parameter | None
    _shape: tuple[int, ...]
    _fan_in: int

    @property
    def weight(self) -> Tensor:
        """The dense weight, built now, with its axes as those of torch's layer."""
        return self.tn.shown_as(self._shape)

    def reset_parameters(self) -> None:
        """Draw the arrays and the bias again, with the scale of torch's layer."""
        self.tn.reset_parameters()
        self._draw_bias()

    def _add_bias(self, size: int, wanted: bool) -> None:
        like = self.tn.like
        self.bias = nn.Parameter(torch.empty(size, dtype=like.dtype, device=like.device)) if wanted else None
        self._draw_bias()

    def _draw_bias(self) -> None:
        if self.bias is not None:
            bound = 1 / sqrt(self._fan_in)
            nn.init.uniform_(self.bias, -bound, bound)

    def _take_routes(
        self, ways: Sequence[WeightRoute[Way]], built: WeightRoute[Way], calls: float, typical: int
    ) -> None:
        """The crossovers of the ways with a weight that is built at every call, and with one that is kept, which takes ``calls``."""
        net, itemsize = self.tn.network, self.tn.like.element_size()
        every = [*ways, built]
        #: The typical number of rows, and the seconds that are predicted for it.
        self._typical, self._seconds = typical, min(way.seconds(typical) for way in every)
        #: ``(rows, way)``: the way used below so many rows; None builds the weight.
        self.routes: tuple[tuple[int, Way | None], ...] = crossovers(every)
        #: The same where a weight once built is kept.
        self.kept_routes = crossovers([*ways, kept_way(built, net, prod(self._shape), itemsize, calls)])

    def _route(self, tensors: Mapping[str, Tensor], rows: int) -> Way | None:
        """The way for so many rows; None: the weight."""
        kept = is_kept(self, tensors, prod(self._shape))
        return route_for(self.kept_routes if kept else self.routes, rows, self._typical)

    def _built(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The weight for a call: built, or kept from one before."""
        return kept_weight(self, tensors, lambda: self.tn.read_as(self._shape))

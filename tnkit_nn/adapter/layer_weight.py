"""What a layer holds instead of a weight: a network with the scale that torch draws such a weight with, and a bias beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tnkit.core.network import Network
from tnkit.execution.region_scale import UnreachableError
from tnkit.execution.weights import detensorize
from tnkit_nn.adapter import keeping
from tnkit_nn.adapter.generated import full_precision
from tnkit_nn.adapter.guard import write_protected
from tnkit_nn.adapter.module import ClosedModule

__all__ = ["LayerWeight", "drawn_bias", "drawn_weight", "is_kept", "weight_now", "weight_shown"]


class LayerWeight(ClosedModule):
    """A network without inputs, in a layer that reads its tensor as a weight."""

    def tensors(self) -> dict[str, Tensor]:
        """Array name -> parameter, buffer or constant."""
        held = {**self._buffers, **self._parameters}  # getattr takes a microsecond each
        found: dict[str, Any] = {name: held[name] if name in held else getattr(self, name) for name in self._held}
        return found | self._constants.like(self.like) if self._constants.kinds else found

    def read_as(self, shape: Sequence[int]) -> Tensor:
        """Its tensor as a weight of this shape, built now in the arrays' own dtype."""
        with full_precision(self.like.device):
            made: Tensor = detensorize(self(), shape)
            return made

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


def is_kept(layer: nn.Module, tensors: Mapping[str, Tensor], entries: int) -> bool:
    """Whether a weight that is built now serves the next call: it is kept (:mod:`tnkit_nn.adapter.keeping`), and there is room for it.

    Where weights drop each other out, building one at every call is no way to save a contraction with the input.
    """
    if layer.training or torch.compiler.is_compiling() or not keeping.keeps(layer, tensors.values()):
        return False
    with keeping._lock:
        if layer in keeping._all:
            return True
        taken = sum(k.size for k in keeping._all.values())
    held = [x.numel() for x in tensors.values()]
    return taken + (entries + sum(held)) * next(iter(tensors.values())).element_size() <= keeping._limit


def weight_shown(layer: nn.Module, weight: Tensor) -> Tensor:
    """A layer's weight as it is given to who reads it: an error to write to, for its arrays make it anew."""
    spoken = f"the weight of {type(layer).__name__}"
    return write_protected(
        weight, spoken, "weight", layer, "its arrays, the parameters of layer.tn, are what is written to"
    )


def weight_now(layer: nn.Module, tensors: Mapping[str, Tensor], make: Callable[[], Tensor]) -> Tensor:
    """The weight that these arrays make: built, or kept from a call before."""
    if layer.training or torch.compiler.is_compiling() or not keeping.keeps(layer, tensors.values()):
        return make()
    return keeping.kept(layer, _compared(tensors), make)


def _compared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arrays as a kept weight compares them: the small ones as one, for to compare each of many takes longer; the large ones
    where they are, for a copy does, as whole numbers of 64 bits, which takes half the time of 32.
    """
    small = [x.reshape(-1) for x in tensors.values() if x.numel() <= _SMALL]
    large = {
        name: x.view(-1).view(torch.int64) if x.is_contiguous() and x.nbytes % 8 == 0 else x
        for name, x in tensors.items()
        if x.numel() > _SMALL
    }
    return {**large, "": torch.cat(small)} if small else large


#: Entries of an array that is copied in less time than it is called for.
_SMALL = 2**12

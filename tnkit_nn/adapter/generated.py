"""The parametrization that makes a weight of a network: alone, or added to the weight that was there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from tnkit.core.network import Network
from tnkit.execution.weights import detensorize
from tnkit_nn.adapter.keeping import kept_weight
from tnkit_nn.adapter.module import ClosedModule
from tnkit_nn.adapter.starts import scalers
from tnkit_nn.engine.backend import autocasts

__all__ = ["Generated", "full_precision", "generator_of"]


class Generated(ClosedModule):
    """A network without inputs, read as a weight of ``shape``; it is called with the old weight where it is added to that."""

    _spoken = "parametrize_"

    def __init__(
        self,
        net: Network,
        arrays: Mapping[str, Any] | None,
        shape: torch.Size,
        unused: str = "",
        base: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(net, arrays, **options)
        for name, tensor in self.tensors().items():
            if tensor.is_complex() and not options["dtype"].is_complex:
                raise ValueError(
                    f"array {name!r} is {tensor.dtype}, but the weight is {options['dtype']}: it would become complex"
                )
        self.shape, self.base, self._unused = shape, base, unused
        #: A row that is zero and is not trained, an embedding's padding.
        self.padding: int | None = None
        #: How many weights of the model it makes, all tied.
        self.owners = 1

    def forward(self, original: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The dense weight."""
        update = self.update()
        return update if original is None else original + update

    def update(self) -> Tensor:
        """What the network makes, in the weight's shape."""
        return kept_weight(self, self.tensors(), self._built)

    def _built(self) -> Tensor:
        with full_precision(self.like.device):
            made = detensorize(super().forward(), self.shape)
            if self.padding is None:
                return made
            return torch.select_scatter(made, made.new_zeros(self.shape[1:]), 0, self.padding)

    def start_at_zero(self) -> bool:
        """Make the tensor zero, and still one that can be trained: one array that scales it all is; False where none does."""
        found = [name for name in scalers(self.network) if name in self._parameters]  # no isometry, which is never zero
        if found:
            with torch.no_grad():
                getattr(self, found[0]).zero_()
        return bool(found)

    def reset_parameters(self) -> None:
        """Draw the arrays again; where the network is added to a weight, from zero."""
        super().reset_parameters()
        if self.base:
            self.start_at_zero()

    def extra_repr(self) -> str:
        """The network in a line, what it is added to, and what of it the weight does not use."""
        added = "added to the original weight" if self.base else ""
        return "\n".join(part for part in (super().extra_repr(), added, self._unused) if part)

    def right_inverse(self, weight: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What torch is to keep beside: the old weight where it stays, else nothing.  Assignments are refused before they come here."""
        return weight if self.base else ()


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off: a weight is made in its own dtype and rounded once, by the operation that it goes into."""
    return torch.autocast(device.type, enabled=False) if autocasts(device) else nullcontext()


def generator_of(parametrizations: Any) -> Generated | None:
    """The network among the parametrizations of a weight (they are torch's list of them): the first, or none."""
    first = getattr(parametrizations, "0", None)
    return first if isinstance(first, Generated) else None

"""A model called with values given by name, wherever a shared one or a shared module stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["called"]


def called(model: nn.Module, values: Mapping[str, Tensor], *given: Any) -> Any:
    """``model(*given)`` with other parameters and buffers: ``called(model, {"fc1.weight": w}, x)``.

    ``torch.func.functional_call`` ties weights by their names alone: it sets the values of a module that has two names twice, and
    leaves them in it.  Here each place gets them once.
    """
    places: dict[tuple[int, str], str] = {}
    first: dict[int, str] = {}
    filled = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for leaf, x in (*module._parameters.items(), *module._buffers.items()):
            full = f"{name}.{leaf}" if name else leaf
            if x is None or (id(module), leaf) in places:
                continue
            places[id(module), leaf] = full
            own = first.setdefault(id(x), full)
            if own in values:
                filled[full] = values[own]
    return functional_call(model, filled, given, tie_weights=False)

"""A deep copy of a model, also of one that holds tensors with a history, which torch copies none of."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn

__all__ = ["copied"]

Module = TypeVar("Module", bound=nn.Module)


def copied(model: Module, what: str) -> Module:
    """A deep copy; tensors that were computed from others have their values in it, and no history.

    ::

        layer = torch.nn.utils.weight_norm(nn.Linear(4, 4))  # its weight is computed, and torch's deepcopy refuses it
        copied(layer, "dense: model")

    Of ``torch.nn.utils``, ``weight_norm``, ``spectral_norm`` and ``prune`` keep such a weight as an attribute, and compute it anew before
    each forward: the copy's too.

    Raises
    ------
    TypeError
        A model that cannot be copied: the module and its attribute are named.
    """
    try:
        return copy.deepcopy(model, _detached(model))
    except Exception as error:  # whatever a class of the user's raises
        raise TypeError(f"{what} is copied, {_where(model)}: {error}") from error


def _detached(model: nn.Module) -> dict[int, Any]:
    """A memo for ``deepcopy``, in which the tensors with a history are copied already."""
    found = (x for module in model.modules() for x in _tensors(vars(module)))
    return {id(x): x.detach().clone() for x in found if not x.is_leaf}


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in plain containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _where(model: nn.Module) -> str:
    """Which attribute of which module has no copy, and what to do: a part of a message."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key == "_modules":
                continue
            try:
                copy.deepcopy(value, _detached(model))
            except Exception:  # as above
                kind = type(module).__name__
                return f"but {key!r} of {f'{name!r}, a {kind}' if name else kind} has no copy; take it off first"
    return "but has no copy"

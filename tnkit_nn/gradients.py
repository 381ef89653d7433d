"""Functions that train something, called where gradients are off: they turn them on for themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import nn

__all__ = ["with_gradients"]

F = TypeVar("F", bound=Callable[..., Any])


def with_gradients(function: F) -> F:
    """A function that is called the same under ``torch.no_grad()`` and in ``torch.inference_mode()``, and leaves them as they are.

    ValueError where a model that it is given was made in ``torch.inference_mode()``: torch trains nothing that was.
    """

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        for given in (*args, *kwargs.values()):
            if isinstance(given, nn.Module) and any(map(_never_trained, given.parameters())):
                name = function.__name__
                raise ValueError(
                    f"{name}: the model is trained, but it was made in torch.inference_mode(): make it outside, or copy its state_dict into one"
                )
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return cast(F, called)


def _never_trained(p: nn.Parameter) -> bool:
    """Whether a parameter was made in ``torch.inference_mode()``; one without a shape yet is none."""
    return not isinstance(p, nn.parameter.UninitializedParameter) and p.is_inference()

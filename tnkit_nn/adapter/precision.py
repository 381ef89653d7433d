"""What autocast asks of a layer that contracts with its input: full precision inside, and one rounding at the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_full_precision", "rounded_once"]


def rounded_once(compute: Callable[[Tensor], Tensor], x: Tensor, like: Tensor, what: str) -> Tensor:
    """``compute(x)``; under autocast in the arrays' own dtype, and its result rounded to that of torch's layers.

    >>> rounded_once(contracted, x, layer.tn.like, "TNLinear: x")

    Raises
    ------
    ValueError
        By the name ``what``: autocast leaves the arrays' dtype alone (float64, complex), and the input has another one.
    """
    if x.dtype == like.dtype and not _autocast(x):
        return compute(x)
    to = _rounded(like)
    if to is None:
        if x.dtype != like.dtype:
            raise ValueError(f"{what} is {x.dtype}, the network's arrays are {like.dtype}, which autocast leaves alone")
        return compute(x)
    with torch.autocast(x.device.type, enabled=False):
        return compute(x.to(like.dtype)).to(to)


def in_full_precision(compute: Callable[[], Tensor], like: Tensor) -> Tensor:
    """``compute()`` with autocast off: a weight is generated in its own dtype, and the layer's operation rounds it."""
    if not _autocast(like):
        return compute()
    with torch.autocast(like.device.type, enabled=False):
        return compute()


def _autocast(x: Tensor) -> bool:
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def _rounded(like: Tensor) -> torch.dtype | None:
    """The dtype of a product of such tensors where autocast rounds it."""
    if not like.is_floating_point() or like.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(like.device.type)

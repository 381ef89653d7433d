"""What autocast asks of a layer that contracts with its input: full precision inside, and one rounding at the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tnkit_nn.adapter.generated import full_precision
from tnkit_nn.engine.backend import autocasts

__all__ = ["rounded_once"]


def rounded_once(compute: Callable[[Tensor], Tensor], x: Tensor, like: Tensor, what: str) -> Tensor:
    """``compute(x)``; under autocast in the arrays' own dtype, and its result rounded to that of torch's layers.

    ::

        rounded_once(contracted, x, layer.tn.like, "TNLinear: x")

    Raises
    ------
    ValueError
        By the name ``what``: autocast leaves the arrays' dtype alone (float64, complex), and the input has another one.
    """
    if not autocasts(x.device):
        return compute(x)
    to = _rounded(like)
    if to is None and x.dtype != like.dtype:
        raise ValueError(f"{what} is {x.dtype}, the network's arrays are {like.dtype}, which autocast leaves alone")
    with full_precision(like.device):
        y = compute(x.to(like.dtype))
    return y if to is None else y.to(to)


def _rounded(like: Tensor) -> torch.dtype | None:
    """The dtype of a product of such tensors where autocast rounds it."""
    if not like.is_floating_point() or like.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(like.device.type)

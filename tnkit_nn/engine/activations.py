"""Activations in torch: each as one of torch's own functions, written over its argument, and its gradient in one step.

A formula of several operations keeps a tensor for each of them until backward; torch's own functions keep one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tnkit.core.activations import GELU, GELU_CUBE, Activation, function

__all__ = ["FROM_ARGUMENT", "IN_PLACE", "OVER", "VALUES", "value"]

Slope = Callable[[Tensor, Tensor, Tensor | None], Tensor]

#: From here on softplus is the identity to the last digit of float64.
_LINEAR = 40.0


def _gelu(x: Tensor) -> Tensor:
    """Torch's own; of complex numbers, for which it has none, the formula."""
    made: Tensor = function("gelu")(torch, x) if x.is_complex() else functional.gelu(x, approximate="tanh")
    return made


#: By name, what torch computes in one function.
VALUES: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": partial(functional.leaky_relu, negative_slope=0.01),
    "sigmoid": torch.sigmoid,
    "gelu": _gelu,
    "softplus": partial(functional.softplus, beta=1.0, threshold=_LINEAR),
}


def value(fn: str | Activation, *given: Tensor) -> Tensor:
    """The function's result."""
    made: Tensor = VALUES[fn](*given) if isinstance(fn, str) and fn in VALUES else function(fn)(torch, *given)
    return made


def _slope(op: Any, *options: Any, **named: Any) -> Slope:
    """A backward function of torch, of a gradient and of what was kept, written into ``out`` if there is one."""

    def slope(grad: Tensor, kept: Tensor, out: Tensor | None) -> Tensor:
        made: Tensor = (
            op(grad, kept, *options, **named)
            if out is None
            else op.grad_input(grad, kept, *options, **named, grad_input=out)
        )
        return made

    return slope


def _sin_slope(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    return torch.mul(grad, torch.cos(x).conj(), out=out)


def _square_slope(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    return torch.mul(grad, x.conj(), out=out).mul_(2)


_aten = torch.ops.aten
_real_gelu_slope = _slope(_aten.gelu_backward, approximate="tanh")


def _gelu_slope(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    if not x.is_complex():
        return _real_gelu_slope(grad, x, out)
    inner = torch.tanh(GELU * (x + GELU_CUBE * x**3))
    slope = 0.5 * (1.0 + inner) + 0.5 * x * (1.0 - inner**2) * GELU * (1.0 + 3 * GELU_CUBE * x**2)
    return torch.mul(grad, slope.conj(), out=out)


def _gelu_over(x: Tensor) -> Tensor:
    made: Tensor = x.copy_(_gelu(x)) if x.is_complex() else _aten.gelu.out(x, approximate="tanh", out=x)
    return made


#: Activations written over their argument, with their gradient from the result alone.
IN_PLACE: dict[Any, tuple[Callable[[Tensor], Tensor], Slope]] = {
    "relu": (torch.relu_, _slope(_aten.threshold_backward, 0)),
    "leaky_relu": (partial(functional.leaky_relu_, negative_slope=0.01), _slope(_aten.leaky_relu_backward, 0.01, True)),
    "tanh": (torch.tanh_, _slope(_aten.tanh_backward)),
    "sigmoid": (torch.sigmoid_, _slope(_aten.sigmoid_backward)),
}

#: The others' gradients from the argument.
FROM_ARGUMENT: dict[Any, Slope] = {
    "sin": _sin_slope,
    "square": _square_slope,
    "gelu": _gelu_slope,
    "softplus": _slope(_aten.softplus_backward, 1.0, _LINEAR),
}

#: Activations written over their argument where no gradient is wanted.
OVER: dict[Any, Callable[[Tensor], Tensor]] = {
    **{name: over for name, (over, _) in IN_PLACE.items()},
    "sin": torch.sin_,
    "square": torch.square_,
    "gelu": _gelu_over,
    "softplus": lambda x: _aten.softplus.out(x, 1.0, _LINEAR, out=x),
}

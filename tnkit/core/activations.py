"""Elementwise functions written once for every array library: ``fn(xp, *tensors)``.

``xp`` is the library's namespace (``numpy`` or ``torch``); only names that both spell alike are used, so the same
source runs, differentiates and compiles everywhere.  An activation takes one tensor; a combiner (``add``,
``multiply``) takes several of one shape.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from math import inf
from typing import Any

from tnkit.core.wording import shown

__all__ = ["ACTIVATIONS", "BOUNDS", "GELU", "GELU_CUBE", "ORDERED", "UNARY", "Activation", "function", "resolve"]

Activation = Callable[..., Any]

#: The two numbers of GELU's tanh form: sqrt(2 / pi), and the factor of its cube.
GELU, GELU_CUBE = 0.7978845608028654, 0.044715


def relu(xp: Any, x: Any) -> Any:
    """``max(x, 0)``: the activation of the ADTN paper (arXiv 2305.06058)."""
    return xp.where(x > 0, x, xp.zeros_like(x))


def leaky_relu(xp: Any, x: Any) -> Any:
    """``x`` where positive, ``0.01 x`` elsewhere."""
    return xp.where(x > 0, x, 0.01 * x)


def tanh(xp: Any, x: Any) -> Any:
    """Hyperbolic tangent."""
    return xp.tanh(x)


def sin(xp: Any, x: Any) -> Any:
    """Sine, the activation of SIREN networks."""
    return xp.sin(x)


def sigmoid(xp: Any, x: Any) -> Any:
    """``1 / (1 + exp(-x))``, by tanh so that no exponential overflows in float32."""
    return 0.5 * (xp.tanh(0.5 * x) + 1.0)


def gelu(xp: Any, x: Any) -> Any:
    """GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return 0.5 * x * (1.0 + xp.tanh(GELU * (x + GELU_CUBE * x * x * x)))


def softplus(xp: Any, x: Any) -> Any:
    """``log(exp(x) + exp(0))``: stable for large ``|x|``, and its gradient at 0 is 1/2."""
    return xp.logaddexp(x, xp.zeros_like(x))


def square(xp: Any, x: Any) -> Any:
    """``x * x``; also exact for integers."""
    return x * x


def identity(xp: Any, x: Any) -> Any:
    """``x`` itself: marks a boundary through which no contraction is moved."""
    return x


def add(xp: Any, *x: Any) -> Any:
    """Sum of tensors of one shape: residuals, or a frozen weight plus a trainable network (LoRA's shape)."""
    total = x[0]
    for term in x[1:]:
        total = total + term
    return total


def multiply(xp: Any, *x: Any) -> Any:
    """Elementwise product of tensors of one shape."""
    total = x[0]
    for term in x[1:]:
        total = total * term
    return total


ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "tanh": tanh,
    "sin": sin,
    "sigmoid": sigmoid,
    "gelu": gelu,
    "softplus": softplus,
    "square": square,
    "identity": identity,
    "add": add,
    "multiply": multiply,
}
"""The functions that an :class:`Elementwise` node may name: name -> ``f(xp, *tensors)``, ``xp`` the namespace of the arrays.

>>> list(tk.ACTIVATIONS)
['relu', 'leaky_relu', 'tanh', 'sin', 'sigmoid', 'gelu', 'softplus', 'square', 'identity', 'add', 'multiply']
>>> tk.ACTIVATIONS["relu"](np, np.array([-1.0, 2.0])).tolist()
[0.0, 2.0]
>>> net = tk.tt((2, 2), 2).activate("relu", "act")
>>> bool(tk.contract(net, tk.init.normal(net)).min() >= 0)
True
"""

#: Names of those that take one tensor.
UNARY = tuple(name for name in ACTIVATIONS if name not in ("add", "multiply"))

#: Names of those that ask which of two numbers is larger, which complex numbers do not say.
ORDERED = ("relu", "leaky_relu", "softplus")

#: Name -> least and largest value for real arguments, of those that do not reach every number.
BOUNDS: dict[str, tuple[float, float]] = {
    "relu": (0.0, inf),
    "tanh": (-1.0, 1.0),
    "sin": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "gelu": (-0.1700409, inf),
    "softplus": (0.0, inf),
    "square": (0.0, inf),
}

_NAMES = {fn: name for name, fn in ACTIVATIONS.items()}


def resolve(fn: str | Activation) -> str | Activation:
    """Name of ``fn`` if :data:`ACTIVATIONS` knows it, else the callable itself.

    Raises
    ------
    ValueError
        A string that is no key of :data:`ACTIVATIONS`.
    TypeError
        Neither a string nor callable, or without a hash.
    """
    if isinstance(fn, str):
        if fn not in ACTIVATIONS:
            raise ValueError(f"unknown activation {shown(fn)}; known: {', '.join(ACTIVATIONS)}")
        return fn
    if not callable(fn):
        raise TypeError(f"an activation is a name or a function fn(xp, *x), not {type(fn).__name__}")
    if not _takes_library_and_tensor(fn):
        raise TypeError(f"an activation is a name or a function fn(xp, *x) of a library and tensors, not {shown(fn)}")
    try:
        return _NAMES.get(fn, fn)
    except TypeError:
        raise TypeError(
            f"an activation is part of a network, which is a value: it has a hash, but {shown(fn)} has none (a dataclass has one with frozen=True)"
        ) from None


def _takes_library_and_tensor(fn: Activation) -> bool:
    """Whether a function takes two arguments, as far as it says; a class makes a value and a module takes a tensor alone."""
    if isinstance(fn, type):
        return False
    try:
        signature(getattr(fn, "forward", fn)).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # compiled: no signature to be read
        return True
    return True


def function(fn: str | Activation) -> Activation:
    """What :func:`resolve` gave, as the function itself."""
    return ACTIVATIONS[fn] if isinstance(fn, str) else fn

"""What a function of a network takes beside its arguments and its result: in a forward, for a backward, in a backward.

The figures are those of the engines (numpy in blocks, torch's own functions); ``tests/planning/test_temporaries.py`` measures
each of them, so a new function is counted by the bound below until it has figures of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tnkit.core.activations import Activation

__all__ = ["BOUND", "Temporaries", "temporaries"]


@dataclass(frozen=True)
class Temporaries:
    """Multiples of the size of the function's result.

    Attributes
    ----------
    forward
        Alive at most while it is computed, beside arguments and result.
    arguments, result
        Whether backward keeps them.
    kept
        What backward keeps beside them.
    backward
        Alive at most while its gradient is computed, beside the gradients of arguments and result.
    passes
        Whether its gradient is the result's own: nothing is kept, nothing is made.
    over
        Whether a chain of the engine writes it over its argument where no backward follows.
    in_place
        Whether it does so where a backward follows, which then keeps the result alone.
    """

    forward: int = 0
    arguments: bool = False
    result: bool = False
    kept: int = 0
    backward: int = 0
    passes: bool = False
    over: bool = False
    in_place: bool = False


#: A function that the user gives: it is taken to make two temporaries at once, and to keep them for backward.
BOUND = Temporaries(forward=2, arguments=True, result=True, kept=2, backward=2)

_FROM_RESULT = Temporaries(result=True, over=True, in_place=True)
_FROM_ARGUMENT = Temporaries(arguments=True, over=True)
_KNOWN = {
    "relu": _FROM_RESULT,
    "tanh": _FROM_RESULT,
    "sigmoid": _FROM_RESULT,
    "leaky_relu": replace(_FROM_ARGUMENT, in_place=True),
    "gelu": _FROM_ARGUMENT,
    "softplus": _FROM_ARGUMENT,
    "sin": replace(_FROM_ARGUMENT, backward=1),
    "square": replace(_FROM_ARGUMENT, backward=1),
    "identity": Temporaries(passes=True),
}


def temporaries(fn: str | Activation, operands: int) -> Temporaries:
    """Those of a function of so many operands.

    >>> temporaries("tanh", 1).result
    True
    """
    if fn == "add":
        return Temporaries(forward=int(operands > 2), passes=True)
    if fn == "multiply":  # pair by pair: the products on the way are kept, and their gradients made
        between = max(operands - 2, 0)
        return Temporaries(forward=int(operands > 2), arguments=True, kept=between, backward=int(operands > 2))
    return _KNOWN.get(fn, BOUND) if isinstance(fn, str) else BOUND

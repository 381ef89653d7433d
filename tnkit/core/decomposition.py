"""What a decomposition returns: (Network, arrays), which also knows its error and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from itertools import pairwise
from numbers import Real
from typing import Any, TypeVar, cast

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.network import Network
from tnkit.core.numbers import finite_number
from tnkit.core.wording import shown

__all__ = ["Decomposition", "network_of", "paired"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Decomposition(tuple[Network, dict[str, Any]]):
    """The pair ``network, arrays``, with what the decomposition measured.

    Parameters
    ----------
    network
        The Network that the builder returns, with the ranks found.
    arrays
        Array name -> array.
    error
        Relative error in the Frobenius norm: ``norm(x - contract(network, arrays)) / norm(x)``, 0 where x is zero.
    methods
        Bond (or node) -> the algorithm that ran there: ``"gram"``, ``"gram64"``, ``"svd"``, ``"randomised"``, ``"qr"``,
        ``"kept"`` (nothing to truncate), ``"als"``.
    """

    error: float
    methods: Mapping[str, str]

    def __new__(
        cls, network: Network, arrays: dict[str, Any], error: float, methods: Mapping[str, str] | None = None
    ) -> Decomposition:
        """See the class."""
        a_network(network, "Decomposition")
        a_mapping(arrays, "Decomposition")
        if isinstance(error, bool) or not isinstance(error, Real):
            raise TypeError(f"Decomposition: error is a number, not {shown(error)}")
        if methods is not None:
            a_mapping(methods, "Decomposition", "methods")
        made = super().__new__(cls, (network, arrays))
        made.error, made.methods = error, dict(methods or {})
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.network, self.arrays, self.error, self.methods

    @property
    def network(self) -> Network:
        """The first of the pair."""
        net: Network = self[0]
        return net

    @property
    def arrays(self) -> dict[str, Any]:
        """The second of the pair."""
        arrays: dict[str, Any] = self[1]
        return arrays

    def scaled(self, array: str, by: complex) -> Decomposition:
        """The decomposition of ``by`` times as much: this array takes the factor, a finite number, and keeps its precision.

        Raises
        ------
        KeyError
            No array of this name.
        TypeError, ValueError
            A name that is no string; a factor that is no number, or not finite.
        """
        by = finite_number(by, "scaled: by")
        if not isinstance(array, str):
            raise TypeError(f"scaled: array is the name of an array, not {shown(array)}")
        if array not in self.arrays:
            raise KeyError(f"scaled: no array {array!r}; there are {', '.join(self.arrays)}")
        if by == 1:
            return self
        return Decomposition(self.network, {**self.arrays, array: self.arrays[array] * by}, self.error, self.methods)

    def __repr__(self) -> str:
        counts = {m: list(self.methods.values()).count(m) for m in dict.fromkeys(self.methods.values())}
        ran = ", ".join(f"{m} x{n}" if n > 1 else m for m, n in counts.items())
        return f"Decomposition({self.network!r}, error {self.error:.3g}{', by ' if ran else ''}{ran})"


def paired(function: _Function) -> _Function:
    """A function of ``(net, arrays)`` that takes a :class:`Decomposition` in the place of both.

    >>> tk.norm(tk.tt_svd(x, rank=3))  # as tk.norm(*tk.tt_svd(x, rank=3))

    Returns
    -------
    function
        With the same signature: each positional argument that is a Decomposition stands for its network and its arrays.
    """
    places = [
        p for p in signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]

    @wraps(function)
    def expanded(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(a, Decomposition) for a in args):
            given = len(args) + sum(isinstance(a, Decomposition) for a in args)
            beside = any(isinstance(a, Decomposition) and isinstance(b, Mapping) for a, b in pairwise(args))
            if beside or given > len(places) or any(p.name in kwargs for p in places[:given]):
                raise TypeError(
                    f"{function.__name__}: a Decomposition stands for a network and its arrays; no arrays are given beside it"
                )
            args = tuple(b for a in args for b in (a if isinstance(a, Decomposition) else (a,)))
        return function(*args, **kwargs)

    return cast(_Function, expanded)


def network_of(net: Any, arrays: Mapping[str, Any] | None, who: str) -> tuple[Any, Mapping[str, Any] | None]:
    """The network and the arrays, where a :class:`Decomposition` may stand for both in an argument of any place or name.

    >>> network_of(tk.tt_svd(x, rank=3), None, "TNLinear")
    (Network(3 nodes, 4x4x4, 84 params), {'core_0': ...})

    Raises
    ------
    ValueError
        A Decomposition, and arrays beside it.
    """
    if not isinstance(net, Decomposition):
        return net, arrays
    if arrays is not None:
        raise ValueError(f"{who}: arrays are given once, in the Decomposition or as arrays=, not twice")
    return net.network, net.arrays

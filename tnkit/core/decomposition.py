"""A network and its arrays as one value: any pair of the two, and what a decomposition returns, which also knows its error."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeGuard

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.display import bundle
from tnkit.core.network import Network
from tnkit.core.numbers import finite_number
from tnkit.core.wording import shown

__all__ = ["Decomposition", "Held", "Pair", "is_held", "is_pair", "network_of", "pair_of"]


class Decomposition(tuple[Network, dict[str, Any]]):
    """The pair ``network, arrays``, with what the decomposition measured.

    >>> x = np.arange(8.0).reshape(2, 2, 2)
    >>> found = tk.tt_svd(x, rank=2)
    >>> net, arrays = found
    >>> isinstance(found, tk.Decomposition), net is found.network, arrays is found.arrays
    (True, True, True)
    >>> found.error < 1e-12, np.allclose(tk.contract(found), x)
    (True, True)
    >>> twice = found.scaled("core_0", 2.0)
    >>> np.allclose(tk.contract(twice), 2 * x)
    True

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
        ``"kept"`` (nothing to truncate), ``"als"``; of products ``"density"`` (by density matrices), ``"zipup"``, ``"fit"``.
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

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return bundle(self)


#: A network and its arrays in one: a :class:`Decomposition` is such a pair.
Pair = tuple[Network, Mapping[str, Any]]
#: A network with its arrays or without: what one gives as a network of one's own.
Held = Network | Pair


def is_pair(value: Any) -> TypeGuard[Pair]:
    """Whether it is a network and its arrays in one: a :class:`Decomposition`, or a plain tuple of the two as most moves return.

    >>> net = tk.mps((2, 2), 2)
    >>> is_pair((net, tk.init.normal(net, seed=0))), is_pair((net, None)), is_pair(net)
    (True, False, False)
    """
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], Network)
        and (type(value[1]) is dict or isinstance(value[1], Mapping))
    )


def is_held(value: Any) -> TypeGuard[Held]:
    """Whether it is a network, with its arrays or without."""
    return isinstance(value, Network) or is_pair(value)


def network_of(net: Any, arrays: Mapping[str, Any] | None, who: str) -> tuple[Any, Mapping[str, Any] | None]:
    """The network and the arrays, where a pair (:func:`is_pair`) may stand for both in an argument of any place or name.

    >>> net, arrays = network_of(tk.tt_svd(np.eye(2)), None, "TNLinear")
    >>> net.shape, sorted(arrays)
    ((2, 2), ['core_0', 'core_1'])

    Raises
    ------
    TypeError
        A pair, and arrays beside it.
    """
    if not is_pair(net):
        return net, arrays
    if arrays is not None:
        raise TypeError(f"{who}: arrays are given once, in the pair or as arrays=, not twice")
    return net[0], net[1]


def pair_of(value: Any, what: str) -> tuple[Network, Mapping[str, Any]]:
    """A network and its arrays from a :class:`Decomposition`, or from any pair of the two.

    >>> net, arrays = pair_of(tk.tt_svd(np.eye(2)), "lifted: decomposition")
    >>> net.shape
    (2, 2)

    Raises
    ------
    TypeError
        Neither of them, by the name ``what``.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Network):
        return value[0], a_mapping(value[1], what)
    hint = "; a network alone has no arrays" if isinstance(value, Network) else ""
    raise TypeError(f"{what} is a Decomposition, or a pair of a Network and its arrays, not {shown(value)}{hint}")

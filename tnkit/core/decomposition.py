"""A network and its arrays as one value: any pair of the two, and what a decomposition returns, which also knows its error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, signature
from itertools import accumulate, pairwise
from numbers import Real
from typing import Any, TypeGuard, TypeVar, cast

from tnkit.core.checks import a_mapping, a_network
from tnkit.core.display import bundle
from tnkit.core.network import Network
from tnkit.core.numbers import finite_number
from tnkit.core.wording import shown

__all__ = ["Decomposition", "Held", "is_held", "is_pair", "network_of", "pair_of", "paired", "paired_first"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


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


#: A network with its arrays or without: what one gives as a network of one's own.
Held = Network | tuple[Network, Mapping[str, Any]]


def is_pair(value: Any) -> TypeGuard[tuple[Network, Mapping[str, Any]]]:
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


def paired(function: _Function) -> _Function:
    """A function of ``(net, arrays)`` that takes a pair (:func:`is_pair`) in the place of both.

    >>> x = np.arange(8.0).reshape(2, 2, 2)
    >>> bool(tk.norm(tk.tt_svd(x)) == tk.norm(*tk.tt_svd(x)))
    True

    Returns
    -------
    function
        With the same signature: each argument that is a pair, by place or by name, stands for its network and its arrays.
    """
    places, own, beside_of = _places(function), _own_mappings(function), _arrays_beside(function)
    names = [p.name for p in places]

    @wraps(function)
    def expanded(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = _spread(function, kwargs, beside_of)
        if any([is_pair(a) for a in args]):
            at = list(accumulate((2 if is_pair(a) else 1 for a in args), initial=0))
            given = at[-1]
            beside = any(
                is_pair(a) and isinstance(b, Mapping) and k not in own
                for (a, b), k in zip(pairwise(args), at[1:], strict=False)
            )
            if beside or given > len(places) or any(p.name in kwargs for p in places[:given]):
                raise _given_twice(function)
            args = tuple(b for a in args for b in (a if is_pair(a) else (a,)))
        _check_no_half_pair(function.__name__, {**dict(zip(names, args, strict=False)), **kwargs}, beside_of)
        return function(*args, **kwargs)

    return cast(_Function, expanded)


def paired_first(function: _Function) -> _Function:
    """As :func:`paired`, for the first argument alone: a pair elsewhere is what the function makes of it.

    ::

        tk.apply_gate(state, gate, inds)  # as tk.apply_gate(*state, gate, inds)
    """
    own, beside_of = _own_mappings(function), dict([*_arrays_beside(function).items()][:1])
    names = [p.name for p in _places(function)]

    @wraps(function)
    def expanded(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = _spread(function, kwargs, beside_of)
        if args and is_pair(args[0]):
            if "arrays" in kwargs or (len(args) > 1 and isinstance(args[1], Mapping) and 2 not in own):
                raise _given_twice(function)
            args = (*args[0], *args[1:])
        _check_no_half_pair(function.__name__, {**dict(zip(names, args, strict=False)), **kwargs}, beside_of)
        return function(*args, **kwargs)

    return cast(_Function, expanded)


def _given_twice(function: Callable[..., Any]) -> TypeError:
    return TypeError(f"{function.__name__}: a pair stands for a network and its arrays; no arrays are given beside it")


def _arrays_beside(function: Callable[..., Any]) -> dict[str, str]:
    """Name of an argument that is a network -> that of its arrays, which is next to it."""
    return {p.name: q.name for p, q in pairwise(_places(function)) if "arrays" in q.name}


def _spread(function: Callable[..., Any], named: Mapping[str, Any], beside_of: Mapping[str, str]) -> dict[str, Any]:
    """Arguments by name, each pair among them as its network and its arrays."""
    found = dict(named)
    for name, beside in beside_of.items():
        if is_pair(given := found.get(name)):
            if beside in found:
                raise _given_twice(function)
            found[name], found[beside] = given
    return found


def _check_no_half_pair(who: str, given: Mapping[str, Any], networks: Iterable[str]) -> None:
    """TypeError for a tuple or a list in the place of a network, before an argument is missed that nobody forgot."""
    for name in networks:
        if isinstance(given.get(name), (tuple, list)):
            a_network(given[name], who)


def _places(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters that can be given by place."""
    every = signature(function).parameters.values()
    return [p for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _own_mappings(function: Callable[..., Any]) -> set[int]:
    """Places behind a network and its arrays that take a mapping of their own: the values of ``isel``, the gates of ``local_expectation``."""
    places = _places(function)
    return {
        k
        for k, p in enumerate(places)
        if k > 1 and "arrays" in places[k - 1].name and "arrays" not in p.name and "Mapping" in str(p.annotation)
    }


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

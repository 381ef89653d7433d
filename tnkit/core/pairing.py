"""Functions of a network and its arrays that take a pair of the two in their place, and the types that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, signature
from itertools import accumulate, pairwise
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from tnkit.core.checks import a_network
from tnkit.core.decomposition import Pair, is_pair
from tnkit.core.network import Network

__all__ = ["OfPair", "OfTwoPairs", "paired", "paired_first"]

Arrays = Mapping[str, Any]
_P = ParamSpec("_P")
_R = TypeVar("_R")
_Made = TypeVar("_Made", covariant=True)


class OfPair(Protocol[_P, _Made]):
    """A function of ``(net, arrays, ...)``, or of ``(pair, ...)``: what type checkers see of :func:`paired`."""

    __name__: str

    @overload
    def __call__(self, net: Network, arrays: Arrays, /, *rest: _P.args, **named: _P.kwargs) -> _Made: ...
    @overload
    def __call__(self, net: Pair, /, *rest: _P.args, **named: _P.kwargs) -> _Made: ...
    @overload
    def __call__(self, net: Network, *, arrays: Arrays, **named: Any) -> _Made: ...
    @overload
    def __call__(self, *, net: Pair, **named: Any) -> _Made: ...


class OfTwoPairs(Protocol[_P, _Made]):
    """The same of ``(a, a_arrays, b, b_arrays, ...)``, where a pair may stand for either two."""

    __name__: str

    @overload
    def __call__(
        self, a: Network, a_arrays: Arrays, b: Network, b_arrays: Arrays, /, *rest: _P.args, **named: _P.kwargs
    ) -> _Made: ...
    @overload
    def __call__(self, a: Pair, b: Pair, /, *rest: _P.args, **named: _P.kwargs) -> _Made: ...
    @overload
    def __call__(self, a: Pair, b: Network, b_arrays: Arrays, /, *rest: _P.args, **named: _P.kwargs) -> _Made: ...
    @overload
    def __call__(self, a: Network, a_arrays: Arrays, b: Pair, /, *rest: _P.args, **named: _P.kwargs) -> _Made: ...
    @overload
    def __call__(self, **named: Any) -> _Made: ...


@overload
def paired(function: Callable[Concatenate[Network, Arrays, Network, Arrays, _P], _R]) -> OfTwoPairs[_P, _R]: ...
@overload
def paired(function: Callable[Concatenate[Network, Arrays, _P], _R]) -> OfPair[_P, _R]: ...
def paired(function: Callable[..., Any]) -> Any:
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

    return expanded


def paired_first(function: Callable[Concatenate[Network, Arrays, _P], _R]) -> OfPair[_P, _R]:
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

    return cast(OfPair[_P, _R], expanded)


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

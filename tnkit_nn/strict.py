"""Plain data as JSON's standard has it (RFC 8259), which knows no NaN and no Infinity: null, and what it was by its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

__all__ = ["NOT_FINITE", "loosened", "nulled", "strict"]

#: What stands beside a record's names: place (a JSON pointer, RFC 6901) -> ``"nan"``, ``"inf"`` or ``"-inf"``.
NOT_FINITE = "not_finite"


def strict(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose numbers are all finite: others are None, and :data:`NOT_FINITE` says what they were.

    >>> from tnkit_nn.strict import strict
    >>> strict({"loss": [0.5, float("nan")]})
    {'loss': [0.5, None], 'not_finite': {'/loss/1': 'nan'}}
    """
    found: dict[str, str] = {}

    def note(place: str, number: float) -> None:
        found[place] = repr(number)

    plain: dict[str, Any] = _changed(dict(record), "", note)
    return {**plain, NOT_FINITE: found} if found else plain


def nulled(value: Any) -> Any:
    """Plain data, None for numbers that are not finite."""
    return _changed(value, "", lambda place, number: None)


def loosened(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record that :func:`strict` was given; one without :data:`NOT_FINITE` as it is.

    >>> from tnkit_nn.strict import loosened
    >>> loosened({"loss": [0.5, None], "not_finite": {"/loss/1": "inf"}})
    {'loss': [0.5, inf]}

    Raises
    ------
    ValueError
        A place that the record has not, a number that is finite or none.
    """
    plain = {name: value for name, value in record.items() if name != NOT_FINITE}
    numbers = record.get(NOT_FINITE)
    if numbers is None:
        return plain
    if not isinstance(numbers, Mapping):
        raise ValueError(f"{NOT_FINITE} is a place -> a number, not {numbers!r}")
    for place, text in numbers.items():
        if text not in ("nan", "inf", "-inf"):
            raise ValueError(f'{NOT_FINITE} has "nan", "inf" or "-inf", not {text!r} at {place!r}')
        plain = _put(plain, _keys(place), float(text), place)
    return plain


def _changed(value: Any, place: str, note: Callable[[str, float], None]) -> Any:
    """A copy of plain data in which numbers that are not finite are None; each is told of, with its place."""
    if isinstance(value, float) and not isfinite(value):
        note(place, float(value))
        return None
    if isinstance(value, Mapping):
        return {key: _changed(inner, f"{place}/{_escaped(str(key))}", note) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(inner, f"{place}/{k}", note) for k, inner in enumerate(value)]
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _keys(place: Any) -> list[str]:
    if not isinstance(place, str) or not place.startswith("/"):
        raise ValueError(f'{NOT_FINITE} names places as "/curves/loss/3", not {place!r}')
    return [key.replace("~1", "/").replace("~0", "~") for key in place[1:].split("/")]


def _put(value: Any, keys: list[str], number: float, place: str) -> Any:
    """A copy of plain data with a number at a place."""
    if not keys:
        if value is not None:
            raise ValueError(f"{NOT_FINITE} names {place!r}, where the record has {value!r}, not null")
        return number
    key, *rest = keys
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        k = int(key)
        return [*value[:k], _put(value[k], rest, number, place), *value[k + 1 :]]
    if isinstance(value, Mapping) and key in value:
        return {**value, key: _put(value[key], rest, number, place)}
    raise ValueError(f"{NOT_FINITE} names {place!r}, which the record has not")

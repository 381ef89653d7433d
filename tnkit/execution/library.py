"""The library of the arrays that come in: nobody has to say it, and nothing is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from tnkit.core.checks import shown
from tnkit.execution.backend import Backend, found_at
from tnkit.execution.numpy import NUMPY

__all__ = ["alike", "backend_among", "backend_of", "library", "plain", "register", "values"]

#: What :func:`library` found, by the type of the array.
_OF_TYPE: dict[type, Backend] = {np.ndarray: NUMPY, **dict.fromkeys((list, tuple, int, float, complex), NUMPY)}


def backend_of(given: Backend | None, *arrays: Mapping[str, Any]) -> Backend:
    """The one library of all these arrays; numpy where there is none.

    >>> backend_of(None, {"A": np.ones(2)})
    numpy

    Parameters
    ----------
    given
        The caller's; None to find it.
    arrays
        Mappings from names to arrays.

    Raises
    ------
    TypeError
        Arrays of two libraries, or what is no array (of the library given): the array is named.
    """
    if given is not None and not isinstance(given, Backend):
        raise TypeError(f"backend is an array library as a tnkit.Backend, tk.NUMPY for example, not {shown(given)}")
    found, holder = given, ""
    for some in arrays:
        if not hasattr(some, "items"):
            raise TypeError(f"arrays are a mapping from names to arrays, not {shown(some)}")
        for name, x in some.items():
            own = _OF_TYPE.get(type(x)) or library(x)
            if own is found is not None:
                continue
            if found is None and own is not None:
                found, holder = own, name
            elif given is None or not (given.holds(x) or own is given):
                raise TypeError(_refusal(name, x, own, holder, found))
    return found or NUMPY


def backend_among(names: Sequence[str], arrays: Sequence[Any]) -> Backend:
    """As :func:`backend_of`, for arrays in a list: at once where all are of one type."""
    kind = type(arrays[0]) if arrays else np.ndarray
    for x in arrays:
        if type(x) is not kind:
            break
    else:
        if kind in _OF_TYPE:
            return _OF_TYPE[kind]
    return backend_of(None, dict(zip(names, arrays, strict=True)))


def alike(arrays: Sequence[Any]) -> Backend | None:
    """The library of arrays that are of one dtype and need not be read; None where they have to be looked at one by one."""
    if not arrays:
        return None
    first = type(arrays[0])
    found = _OF_TYPE.get(first)
    if found is None or (found is NUMPY and first is not np.ndarray):
        return None
    dtype = arrays[0].dtype
    if found is NUMPY and dtype.kind not in "fciub":
        return None
    for x in arrays:
        kind = type(x)
        if kind is not first and (found is NUMPY or _OF_TYPE.get(kind) is not found):
            return None
        if x.dtype is not dtype or (found is not NUMPY and found.refused(x)):
            return None
    return found


def library(x: Any) -> Backend | None:
    """The library of one array; None for what is no array."""
    kind = type(x)
    if kind not in _OF_TYPE and (found := _looked_up(x)) is not None:
        _OF_TYPE[kind] = found
    return _OF_TYPE.get(kind)


def register(backend: Backend, *types: type) -> None:
    """Say of which library these types are, for who cannot wait until one arrives: ``torch.compile`` does not trace the search."""
    _OF_TYPE.update(dict.fromkeys(types, backend))


def plain(name: str, x: Any, backend: Backend) -> Any:
    """An array as the library itself has it, its entries numbers.

    >>> plain("A", [[1, 2]], tk.NUMPY)
    array([[1, 2]])

    Lists, numbers and subclasses of numpy's array are read as ``numpy.einsum`` reads them: an ``np.matrix``, whose product is
    another one, would be contracted wrongly.

    Raises
    ------
    TypeError
        Entries that are no numbers, masked ones, or what the library keeps in another form than as an array (a sparse tensor).
    """
    if backend is not NUMPY:
        reason = backend.refused(x)
    else:
        if type(x) is not np.ndarray:
            if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
                raise TypeError(f"array {name!r} has masked entries, which no contraction keeps: fill them first")
            try:
                x = np.asarray(x)
            except ValueError:  # nested lists of different lengths
                raise TypeError(f"array {name!r} is {shown(x)}, which has no one shape") from None
        reason = "" if x.dtype.kind in "fciub" else f"has dtype {x.dtype}, which is no dtype of numbers"
    if reason:
        raise TypeError(f"array {name!r} {reason}; convert it")
    return x


def values(name: str, x: Any, what: str) -> np.ndarray:
    """The values of an array of any library, or of a list, as a numpy array of numbers.

    >>> values("A", [[1, 2]], "rms")
    array([[1, 2]])

    Raises
    ------
    TypeError
        No array, entries that are no numbers or masked, or values that cannot be read; function and array are named.
    """
    backend = library(x)
    if backend is None:
        raise TypeError(f"{what}: {_refusal(name, x, None, '', None)}")
    if reason := backend.unread(x):
        raise TypeError(f"{what}: array {name!r} {reason}")
    try:
        return np.asarray(plain(name, backend.numpy(x) if backend is not NUMPY else x, NUMPY))
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None


def _looked_up(x: Any) -> Backend | None:
    # Loaded here alone: `import tnkit` loads neither torch nor array_api_compat.
    if isinstance(x, (np.ndarray, np.generic)) and not isinstance(x, (np.character, np.void)):
        return NUMPY
    # By the bases, since torch.nn.Parameter and tensors of other packages are subclasses of torch.Tensor.
    if any((base.__module__, base.__qualname__) == ("torch", "Tensor") for base in type(x).__mro__):
        torch: Backend = found_at("tnkit_nn.engine.backend:TORCH")
        return torch
    array_api = import_module("tnkit.execution.array_api")
    xp = array_api.namespace(x)
    found: Backend | None = None if xp is None else array_api.backend_named(xp.__name__)
    return found


def _refusal(name: str, x: Any, own: Backend | None, holder: str, found: Backend | None) -> str:
    if own is not None and holder:
        return (
            f"the arrays of one call are of one library: array {holder!r} is of {found}, array {name!r} of {own}; "
            "convert one of them"
        )
    kind = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
    return f"array {name!r} is a {kind}, which is no array{f' of {found}' if found else ''}; convert it"

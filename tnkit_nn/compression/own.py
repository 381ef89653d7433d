"""What a weight becomes: a family by its name, or a network, a decomposition or a function of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import torch

import tnkit as tk
from tnkit.core.checks import shown
from tnkit.core.decomposition import Held, is_held, is_pair
from tnkit.core.network import Network
from tnkit_nn.families import Family, families, kind_named, made_by
from tnkit_nn.fingerprint import fingerprint
from tnkit_nn.imported import imported
from tnkit_nn.storage import digest

__all__ = ["Own", "checked_family", "made_or_builder", "network_by", "plain_family", "written_family"]

#: Besides a name: what is built for a weight's shape and a budget, or what is there already.
Own = Family | Held | Callable[[Sequence[int], int], Any]

RULE = "is a name, a Family, a Network, a pair of a Network and its arrays, or a function (shape, budget) -> Network"


def checked_family(given: Any, what: str = "family") -> str | Own:
    """A family as a recipe holds it; one named by its place stays a text, and what is there is looked at.

    Parameters
    ----------
    given
        What the user gave.
    what
        What messages call it.

    Raises
    ------
    TypeError, ValueError
        No family, an unknown name, nothing at the place.
    FileNotFoundError
        No such file.
    """
    if not isinstance(given, str):
        return _an_own(given, f"{what} {RULE}")
    if ":" not in given:
        kind_named(given, what)
        return given
    _an_own(imported(given, what), f"{what} {given!r}: family {RULE}")
    return given


def _an_own(given: Any, rule: str) -> Own:
    if isinstance(given, Family) or is_held(given):
        own: Own = given
        return own
    if callable(given) and not isinstance(given, (type, torch.nn.Module)):
        function: Callable[[Sequence[int], int], Any] = given
        return function
    raise TypeError(f"{rule}, not {shown(given)}")


def _found(family: str | Own) -> Any:
    """The family itself, where it is named by its place."""
    return imported(family, "family") if isinstance(family, str) and ":" in family else family


def made_or_builder(
    family: str | Own, depth: int, activation: str
) -> tuple[str, Callable[[Sequence[int], int], Any] | None, Held | None]:
    """What a family is called in reports, and either the function that builds it or what is there already."""
    made = _found(family)
    if isinstance(made, str):
        (made,) = families([made], [depth], activation)
    if isinstance(made, Family):
        return made.label, made.build, None
    if is_held(made):
        return "own network", None, made
    return _name_of(made), made, None


def network_by(
    build: Callable[[Sequence[int], int], Any], shape: Sequence[int], budget: int, named: bool, what: str
) -> Held:
    """What a family makes of a weight's shape and a budget; one past the weight is the weight's.

    Raises
    ------
    TypeError, ValueError
        By the name ``what``, of a function of one's own, one that is not ``named``: it gives no network, or fails.
    """
    budget = min(budget, prod(shape))
    made = build(shape, budget) if named else made_by(build, shape, budget, what)
    if not is_held(made):
        raise TypeError(
            f"{what} is a function (shape, budget) -> Network; for {shape} and {budget} it gives {shown(made)}"
        )
    return made


def _name_of(function: Any) -> str:
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")


def plain_family(family: str | Own) -> str:
    """A family as a short text that tells it apart: a run that goes on compares it."""
    made = _found(family)
    if isinstance(made, str):
        return made
    if isinstance(made, Family):
        return f"{made.label} {fingerprint(made.build)}"
    if is_pair(made):
        net, arrays = made
        return f"{net!r} {plain_family(net)} {digest({n: torch.as_tensor(x) for n, x in arrays.items()})[:12]}"
    return f"{made!r} {_digest(made)}" if isinstance(made, Network) else fingerprint(made)


def _digest(net: Network) -> str:
    return digest({}, {"network": tk.to_json(net)})[:12]


def written_family(family: str | Own) -> str:
    """A family as a recipe's text names it.

    Raises
    ------
    ValueError
        It has no name that can be imported.
    """
    if isinstance(family, str):
        return family
    module, name = getattr(family, "__module__", None), getattr(family, "__qualname__", "")
    if isinstance(module, str) and name.isidentifier() and module != "__main__":
        file = getattr(sys.modules.get(module), "__file__", None)
        if module.startswith("tnkit_file_") and file:
            return f"{Path(file)}:{name}"
        try:
            found = getattr(import_module(module), name, None)
        except ImportError:
            found = None
        if found is family:
            return f"{module}:{name}"
    raise ValueError(
        f"a recipe's text names a family of one's own by its place, but {shown(family)} cannot be imported by a name; put it into a "
        'file, and give family="file.py:name"'
    )

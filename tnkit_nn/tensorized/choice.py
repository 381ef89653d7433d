"""Which weights of a model become which networks: patterns of names, families and budgets, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from math import prod
from numbers import Integral, Real
from typing import Any

from torch import nn

from tnkit.core.checks import a_mapping, shown, text
from tnkit.core.decomposition import Held
from tnkit.core.network import Network
from tnkit_nn.budgets import keeps
from tnkit_nn.checks import a_size, check_fills
from tnkit_nn.compression.own import checked_family, made_or_builder, network_by
from tnkit_nn.placing import owner_and_leaf
from tnkit_nn.tensorized.sharing import shared
from tnkit_nn.weights import names_of, selected, spoken, weights_of

__all__ = ["Chosen", "Entry", "Plan", "entries_of", "past", "planned"]

WHO = "tensorize_"
#: Depth and activation of a family that has them, where it is named: those of a recipe.
_DEPTH, _ACTIVATION = 3, "sin"


@dataclass(frozen=True, eq=False)
class Entry:
    """A weight that a pattern selects, and what it is to become.

    Attributes
    ----------
    names
        Of the weight; more than one, where it is tied.
    shape
        Of the weight.
    label
        What it becomes, in reports.
    build
        What makes it for a budget, or None.
    named
        Whether ``build`` is a family of ours, which knows its smallest network.
    given
        What is there already, or None.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    label: str
    build: Callable[[Sequence[int], int], Any] | None
    named: bool
    given: Held | None

    @property
    def size(self) -> int:
        """Entries of the weight."""
        return prod(self.shape)

    @property
    def layer(self) -> str:
        """For messages."""
        return f"{WHO}: layer {spoken(self.names[0])!r}"


@dataclass(frozen=True, eq=False)
class Chosen:
    """The network that a weight becomes, its arrays where they are given, the budget of its own, and what is padded."""

    net: Network
    arrays: Mapping[str, Any] | None
    budget: int | None = None
    padding: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """Name of a weight -> its network, or why it is left as it is; and what was asked for in all."""

    made: dict[str, Chosen]
    left: dict[str, str]
    total: int | None


# -- which weights ------------------------------------------------------------------------------------------------------
def entries_of(model: nn.Module, families: object) -> dict[str, Entry]:
    """Name of a weight -> what it is to become, for every weight that a pattern selects, in the order of registration."""
    patterns = a_mapping(families, WHO, "families")
    if not patterns:
        raise ValueError(f"{WHO}: families are one pattern of names or more, each with a family, not none")
    kinds: dict[str, Any] = {}
    for pattern, family in patterns.items():
        text(pattern, f"{WHO}: each pattern of families")
        family = checked_family(family, f"{WHO}: family of {pattern!r}")
        label, build, given = made_or_builder(family, _DEPTH, _ACTIVATION)
        named = isinstance(family, str) and ":" not in family
        kind = (label, lru_cache(maxsize=None)(build) if build is not None and named else build, named, given)
        for name in _selected(model, pattern):
            kinds.setdefault(name, kind)
    known = weights_of(model, beneath=True)
    return {
        name: Entry(names_of(model, known[name]), tuple(known[name].shape), *kinds[name]) for name in known if name in kinds
    }  # fmt: skip


def _selected(model: nn.Module, pattern: str) -> list[str]:
    try:
        return selected(model, (pattern,), f"{WHO}: families", beneath=True)
    except ValueError:
        for owner, module in model.named_modules():
            for leaf, made in getattr(module, "parametrizations", {}).items():
                name = f"{owner}.{leaf}".strip(".")
                if fnmatchcase(name, pattern) or fnmatchcase(owner_and_leaf(name)[0], pattern):
                    raise ValueError(
                        f"{WHO}: the weight {name!r} is made by {type(made[0]).__name__} already; merge_ it, or remove that, first"
                    ) from None
        raise


# -- which networks -----------------------------------------------------------------------------------------------------
def planned(entries: Mapping[str, Entry], budget: object, total: object) -> Plan:
    """The network of each weight, at a budget each or at one for all together."""
    free = {name: entry for name, entry in entries.items() if entry.build is not None}
    each, whole = _checked_budgets(budget, total, bool(free))
    left = {name: why for name, entry in free.items() if (why := _too_small(entry))}
    free = {name: entry for name, entry in free.items() if name not in left}
    made = {name: _of_own(entry) for name, entry in entries.items() if entry.given is not None}
    asked = None
    if whole is not None:
        asked = _whole(whole, sum(entries[name].size for name in (*free, *made)))
        rest = max(0, asked - sum(m.net.num_params for m in made.values()))
        makes = {name: partial(_built, entry) for name, entry in free.items()}
        made |= {name: pair[1] for name, pair in shared(rest, {n: e.shape for n, e in free.items()}, makes).items()}
    elif each is not None:
        parts = {name: _whole(each, entry.size) for name, entry in free.items()}
        made |= {name: _built(entry, parts[name], parts[name]) for name, entry in free.items()}
    for name in free:
        if made[name].net.num_params > entries[name].size:
            left[name] = _larger(entries[name], made.pop(name).net)
    if not made:
        raise ValueError(f"{WHO}: every weight selected is smaller than its network: {'; '.join(left.values())[:200]}")
    return Plan({name: made[name] for name in entries if name in made}, left, asked)


def _checked_budgets(budget: object, total: object, needed: bool) -> tuple[int | float | None, int | float | None]:
    """One of the two, where a family needs it: a whole number, or a part of the weights."""
    given = [(value, what) for value, what in ((budget, "budget"), (total, "total")) if value is not None]
    if len(given) > 1:
        raise ValueError(f"{WHO}: budget is of each weight, total is of all together; give one of them, not both")
    if needed and not given:
        raise ValueError(
            f"{WHO}: budget or total is needed: a number of parameters, or a part of the weights' between 0 and 1"
        )
    if given and not needed:
        raise ValueError(
            f"{WHO}: {given[0][1]} is for families; the networks given have their own number of parameters"
        )
    found = {what: _a_budget(value, f"{WHO}: {what}") for value, what in given}
    return found.get("budget"), found.get("total")


def _a_budget(value: Any, what: str) -> int | float:
    if isinstance(value, Real) and not isinstance(value, (bool, Integral)):
        if not 0 < float(value) < 1:
            raise ValueError(f"{what} is a whole number of parameters, or a part between 0 and 1, not {shown(value)}")
        return float(value)
    return a_size(value, f"{what}, unless it is a part between 0 and 1,")


def _whole(budget: int | float, size: int) -> int:
    """A budget as a number of parameters."""
    return budget if isinstance(budget, int) else max(1, round(budget * size))


def _too_small(entry: Entry) -> str:
    """Why a family of ours has no network for a weight; empty where it has one."""
    if not entry.named or entry.build is None:
        return ""
    try:
        net = entry.build(entry.shape, 1)
    except ValueError:  # nothing to choose from
        return f"{entry.label} has no network for its shape {entry.shape}"
    return _larger(entry, net) if net.num_params > entry.size else ""


def _larger(entry: Entry, net: Network) -> str:
    return f"{entry.label} has {net.num_params:,} parameters or more, the weight {entry.size:,}"


def _built(entry: Entry, part: int, own: int | None = None) -> Chosen:
    """What a family makes of a weight and a budget."""
    assert entry.build is not None
    made = network_by(entry.build, entry.shape, part, entry.named, f"{entry.layer}: family {entry.label}")
    return _checked(entry, made, own)


def _of_own(entry: Entry) -> Chosen:
    """A network that is given, which is no larger than the weight."""
    assert entry.given is not None
    made = _checked(entry, entry.given, None)
    if made.net.num_params > entry.size:
        raise ValueError(
            f"{entry.layer}: the network given has {made.net.num_params:,} parameters, its weight of shape {entry.shape} only {entry.size:,}"
        )
    return made


def _checked(entry: Entry, given: Held, budget: int | None) -> Chosen:
    net, arrays = (given, None) if isinstance(given, Network) else given
    if not net.num_params:
        raise ValueError(f"{entry.layer}: {entry.label} has no parameters")
    return Chosen(net, arrays, budget, check_fills(net, entry.shape, entry.layer, warn=False))


def past(plan: Plan, entries: Mapping[str, Entry]) -> str:
    """Networks of more parameters than was asked for, in words; empty where there are none."""
    if plan.total is not None:
        count = sum(m.net.num_params for m in plan.made.values())
        return (
            ""
            if keeps(count, plan.total)
            else f"{count:,} in all, of {plan.total:,} asked for: the families have none smaller"
        )
    over = [
        f"{spoken(name)} ({entries[name].label}: {m.net.num_params:,} of {m.budget:,})"
        for name, m in plan.made.items()
        if m.budget is not None and not keeps(m.net.num_params, m.budget)
    ]
    return ", ".join(over[:3]) + (f" and {len(over) - 3} more" if len(over) > 3 else "")

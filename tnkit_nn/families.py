"""What a comparison compares: families of networks, and the controls that keep it honest.

A family is a function ``(weight shape, budget) -> Network``.  Each looks through its own factorisations and ranks, in the
order in which people would choose them (:mod:`tnkit_nn.searches`); the true count is always reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import torch

import tnkit as tk
from tnkit.core.activations import UNARY
from tnkit.core.checks import one_of, sequence, shown, text
from tnkit.core.numbers import whole_number
from tnkit_nn.checks import a_function, a_size
from tnkit_nn.imported import imported
from tnkit_nn.searches.deep import adtn_near, circuit_near
from tnkit_nn.searches.outermost import activated_near
from tnkit_nn.searches.shallow import (
    by_rank,
    cp_near,
    low_rank_near,
    mpo_near,
    ring_near,
    tree_near,
    tt_near,
    tucker_near,
)
from tnkit_nn.searches.structured import (
    block_term_near,
    btt_near,
    butterfly_near,
    kronecker_near,
    lokr_near,
    monarch_near,
)  # fmt: skip

__all__ = [
    "BASELINES",
    "CONTROLS",
    "FREE",
    "KINDS",
    "SHARED",
    "Build",
    "Family",
    "Kind",
    "as_family",
    "families",
    "kind_named",
    "made_by",
]

#: Controls that every comparison shows, with what each one is.
CONTROLS: dict[str, str] = {
    "dense": "the trained layer as it is",
    "dense_trained_on": "the trained layer, fine-tuned for as many steps as every other row: dense layers gain too",
    "frozen_random": "a random layer that is never trained",
    "picked": "each output copies one randomly picked input; never trained",
    "pooled": "each output is the mean of a run of neighbouring inputs (with as many outputs as inputs, one each); never trained",
    "removed": "the weight is zero (other layers frozen); the layer is left out and the next one drawn anew (other layers fine-tuned)",
    "rank1": "one row times one column: a weak rival, shown because it is often the only one",
    "hashed": "as many parameters as the budget, shared with random signs by a random hash (Chen et al. 2015)",
    "subspace": "a fixed random projection of as many parameters as the budget (Li et al. 2018)",
    "small_dense": "a smaller dense model of as many parameters in all, trained as long (where the task knows one)",
}

#: Controls with parameters of their own, as many as the budget: one row a budget.
SHARED = ("hashed", "subspace", "small_dense")
#: Controls without parameters of their own.
FREE = ("frozen_random", "picked", "pooled", "removed")


#: ``(weight shape, budget) -> Network``.
Build = Callable[[Sequence[int], int], tk.Network]


@dataclass(frozen=True)
class Family:
    """A way to spend a budget: ``build(shape, budget)`` gives a network.

    >>> rank_one = tknn.Family("rank one", "rank one", lambda shape, budget: tk.low_rank(shape, 1))
    >>> rank_one.build((8, 8), 100).num_params
    16
    >>> model = nn.Sequential(nn.Linear(8, 8))
    >>> made = tknn.tensorize_(model, {"0": rank_one}, budget=16)
    >>> sum(p.numel() for p in model.parameters())  # 16 and the bias
    24

    Attributes
    ----------
    name
        One of :data:`KINDS`, or your own.
    label
        For tables: the name, with the depth where there is one.
    build
        ``(weight shape, budget) -> Network``.
    depth
        Activations and one more; None for families that have none.
    """

    name: str
    label: str
    build: Build
    depth: int | None = None

    def __post_init__(self) -> None:
        text(self.name, "Family: name")
        text(self.label, "Family: label")
        a_function(self.build, "Family: build")
        if self.depth is not None:
            object.__setattr__(self, "depth", a_size(self.depth, "Family: depth"))


@dataclass(frozen=True)
class Kind:
    """What is known of a family: how one is built, its own activation if it has any, and its least depth where that can be chosen."""

    build: Callable[..., tk.Network]
    least_depth: int | None = None
    activation: str | None = None


#: The families that a comparison shows by default.  One line adds a family: its name, and a function of a weight's shape and a budget.
_SHOWN: dict[str, Kind] = {
    "adtn": Kind(adtn_near, 1, "relu"),  # the paper's activation
    "circuit": Kind(circuit_near, 2, "sin"),  # the best that was measured
    "mpo": Kind(mpo_near),
    "tt": Kind(tt_near),
    "tucker": Kind(tucker_near),
    "cp": Kind(cp_near),
    "ring": Kind(ring_near),
    "tree": Kind(tree_near),
    "low_rank": Kind(low_rank_near),
}


#: Those that are there by their names.
_MORE: dict[str, Kind] = {
    "kronecker": Kind(kronecker_near),
    "lokr": Kind(lokr_near),
    "monarch": Kind(monarch_near),
    "butterfly": Kind(butterfly_near),
    "btt": Kind(btt_near),
    "block_term": Kind(block_term_near),
    "deep_tree": Kind(tree_near, activation="sin"),  # an activation between its levels
    "deep_mera": Kind(partial(by_rank, tk.mera), activation="sin"),
    "deep_augmented_tree": Kind(partial(by_rank, tk.augmented_tree), activation="sin"),
}


def _of_builders() -> Iterator[tuple[str, Kind]]:
    """Every other builder of sizes and a rank: it is a family because it is there."""
    for name, build in tk.BUILDERS.items():
        if list(signature(build).parameters)[:2] == ["shape", "rank"] and build.__name__ not in {**_SHOWN, **_MORE}:
            yield name, Kind(partial(by_rank, build))


#: All families by name: those shown by default, structured matrices, and the other builders of sizes and a rank.
KINDS: dict[str, Kind] = {**_SHOWN, **_MORE, **dict(_of_builders())}


def kind_named(name: str, what: str) -> Kind:
    """The family of a name in :data:`KINDS`, or of ``NAME+FN``: its network with this activation outermost, and a scale.

    >>> kind_named("tt+tanh", "shapes: each family").build((64, 64), 400).num_params
    403

    Raises
    ------
    TypeError, ValueError
        By the name ``what``: no name of either form, an activation that takes no single tensor.
    """
    inner, plus, fn = text(name, what).partition("+")
    known = KINDS[one_of(inner, f"{what}, in {name!r}," if plus else what, KINDS)]
    if not plus:
        return known
    one_of(fn, f"{what}, in {name!r}, activation", UNARY)
    return replace(known, build=partial(activated_near, known.build, fn))


#: Family name -> ``(shape, budget) -> Network`` of those shown by default; those that have a depth have 3 here.
BASELINES: dict[str, Callable[[Sequence[int], int], tk.Network]] = {
    name: partial(kind.build, depth=3) if kind.least_depth else kind.build for name, kind in _SHOWN.items()
}


def as_family(given: object, what: str) -> Family:
    """A family of one's own: itself, a function ``(shape, budget) -> Network`` under its name, or the place of either.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        By the name ``what``: no such thing, or nothing at the place.
    """
    found = imported(given, what) if isinstance(given, str) else given
    if isinstance(found, Family):
        return found
    if not callable(found) or isinstance(found, (type, torch.nn.Module)):
        raise TypeError(
            f"{what} is the name of a family, a Family, a function (shape, budget) -> Network or the place of one, not {shown(found)}"
        )
    inner = found.func if isinstance(found, partial) else found
    name = str(getattr(inner, "__name__", type(inner).__name__)).strip("<>").replace("_", " ")
    return Family(name, name, found)


def made_by(build: Build, shape: Sequence[int], budget: int, what: str, at_least: bool = False) -> Any:
    """What a family's function makes of a weight's shape and a budget; with ``at_least`` a network of no fewer parameters.

    A function of one's own may take ``at_least=``, as those of this package do: then it is asked for a network of so many
    parameters.  One that does not is asked for larger and larger budgets, up to twice the first.  Where it has no such network, its
    largest is taken.

    Raises
    ------
    ValueError
        By the name ``what``: it fails (that error is the cause).
    """
    try:
        if not at_least:
            return build(shape, budget)
        if "at_least" in signature(build).parameters:
            return build(shape, budget, at_least=True)  # type: ignore[call-arg]
        return _no_fewer(build, shape, budget)
    except Exception as error:  # whatever a function of the user's raises
        raise ValueError(f"{what} fails for {tuple(shape)} and {budget}: {type(error).__name__}: {error}") from error


def _no_fewer(build: Build, shape: Sequence[int], budget: int) -> Any:
    """The first network of so many parameters that growing budgets give, in steps of a hundredth; else the largest of them."""
    found: list[tk.Network] = []
    for asked in range(budget, 2 * budget + 1, max(1, budget // 100)):
        net = build(shape, asked)
        if not isinstance(net, tk.Network) or net.num_params >= budget:
            return net
        found.append(net)
    return max(found, key=lambda net: net.num_params)


def families(names: Sequence[str], depths: Sequence[int] = (1, 2, 3), activation: str | None = None) -> list[Family]:
    """The families called ``names``, one a depth where they have one (a circuit of depth 1 would be ``mpo``: left out).

    A name ``tt+tanh`` is the family ``tt`` with one tanh outermost and a scale (:func:`kind_named`).  ``activation``: the family's own if
    not given, ReLU for ``adtn``, sine for ``circuit`` and the deep trees, whose depth follows from the weight and is called 2.

    Raises
    ------
    TypeError, ValueError
        A name that :func:`kind_named` does not know; depths that are no whole numbers of at least 1; a family that none of the depths gives a network.
    """
    depths = [whole_number(d, "depths: each", 1) for d in sequence(depths, "depths")]
    if not depths:
        raise ValueError("depths are one or more whole numbers of at least 1, not none")
    if activation is not None:
        one_of(activation, "activation", UNARY)
    out = []
    for name in sequence(names, "families: names"):
        kind = kind_named(name, "shapes: each family")
        more = "+" in name  # one activation, and so one step of depth, more
        if kind.least_depth is None:
            fn = activation or kind.activation
            own = partial(kind.build, activation=fn) if kind.activation else kind.build
            out.append(Family(name, name, own, 2 + more if kind.activation else 2 if more else None))
            continue
        least, fn = kind.least_depth, activation or kind.activation
        if max(depths) < least:
            raise ValueError(f"{name} has depth {least} or more; depth {max(depths)} is mpo itself")
        out += [
            Family(name, f"{name} depth {d}", partial(kind.build, depth=d, activation=fn), d + more)
            for d in depths
            if d >= least
        ]
    return out

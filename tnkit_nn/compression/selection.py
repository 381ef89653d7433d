"""Which weights of a model become which networks, and what of the model is trained then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

import tnkit as tk
from tnkit.core.network import Network
from tnkit_nn.adapter.parametrize import parametrize_
from tnkit_nn.approximation.methods import check_method
from tnkit_nn.budgets import keeps
from tnkit_nn.checks import check_fills, warn_caller
from tnkit_nn.compression.own import made_or_builder, network_by
from tnkit_nn.compression.recipe import RESTS, Compression, Layers
from tnkit_nn.training.groups import Group
from tnkit_nn.weights import owner_and_leaf, selected, spoken, weights_of, when_called

__all__ = ["Substitute", "substitutes", "trained_groups"]


@dataclass(frozen=True, eq=False)
class Substitute:
    """What a weight becomes: a network, what it is called in reports, and its arrays where they are given."""

    family: str
    net: Network
    arrays: Mapping[str, Any] | None = None


def substitutes(model: nn.Module, recipe: Compression) -> dict[str, Substitute]:
    """Name of a weight -> what it becomes, for every weight that a recipe selects, in the order in which they were registered.

    Warns where the smallest network of a family is past the budget.

    Raises
    ------
    ValueError
        A name that selects nothing, or nothing with a weight (what there is, is named); a network of more parameters than the
        weight, of another shape, or one that the approximation of the recipe cannot fit or no file can hold.
    """
    known, entries = weights_of(model), dict[str, Layers]()
    for entry in recipe.layers:
        for name in selected(model, entry.select, "select"):
            entries.setdefault(name, entry)
    found = {}
    for name in (n for n in known if n in entries):
        found[name] = _substitute(entries[name], spoken(name), known[name], recipe.stage1.method)
    return found


def _substitute(entry: Layers, layer: str, weight: nn.Parameter, method: str) -> Substitute:
    """What an entry makes of a weight, with all that can be said against it before anything is done."""
    shape = tuple(weight.shape)
    label, build, made = made_or_builder(entry.family, entry.depth, entry.activation)
    named = isinstance(entry.family, str) and ":" not in entry.family
    if build is not None:
        made = network_by(build, shape, entry.budget, named, f"layer {layer!r}: family {label}")
    assert made is not None
    net, arrays = (made, None) if isinstance(made, Network) else made
    if not net.num_params:
        raise ValueError(f"layer {layer!r}: {label} has no parameters")
    if net.num_params > prod(shape):
        budget = f" for a budget of {entry.budget}" if build else ""
        raise ValueError(
            f"layer {layer!r}: {label}{budget} has {net.num_params:,} parameters, its weight of shape {shape} only {prod(shape):,}"
        )
    if build and not keeps(net.num_params, entry.budget):
        smallest = "the smallest " if named else ""
        warn_caller(
            f"layer {layer!r}: {smallest}{label} has {net.num_params:,} parameters, past its budget of {entry.budget:,}"
        )
    if not named:
        _try_own(net, arrays, weight, layer)
    if arrays is None:
        check_method(method, net, layer)
    return Substitute(label, net, arrays)


def _try_own(net: Network, arrays: Mapping[str, Any] | None, weight: nn.Parameter, layer: str) -> None:
    """A network of one's own takes the weight's place in a copy, and goes into a text as for a file."""
    check_fills(net, weight.shape, f"layer {layer!r}")
    probe = nn.Module()
    probe.register_parameter("weight", nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype)))
    try:
        parametrize_(probe, "weight", net, arrays, std=None)
        tk.to_json(net)
    except (TypeError, ValueError) as error:
        raise ValueError(f"layer {layer!r}: {error}") from None


# -- what is trained ----------------------------------------------------------------------------------------------------
def trained_groups(
    model: nn.Module, weights: Sequence[str], rest: str, rest_lr: float, order: Mapping[str, int]
) -> list[Group]:
    """What the fine-tuning trains: the networks of these weights, and of the other layers what the recipe says, as groups for ``train``.

    Parameters
    ----------
    model
        A model whose ``weights`` are networks.
    weights
        Names of weights.
    rest
        ``none``, ``head`` or ``all``; parameters that require no gradient stay as they are.
    rest_lr
        Learning rate of the other layers.
    order
        Name of a module -> when it is called (:func:`tnkit_nn.weights.forward_order`).
    """
    if rest not in RESTS:
        raise ValueError(f"unknown rest {rest!r}; known: {', '.join(RESTS)}")
    named = dict(model.named_parameters())
    places = tuple("{}.parametrizations.{}.".format(*owner_and_leaf(w)).removeprefix(".") for w in weights)
    own = {n: p for n, p in named.items() if n.startswith(places)}
    if rest == "none":
        return [Group(own)]
    first = min(when_called(owner_and_leaf(w)[0], order) for w in weights)
    others = {
        n: p
        for n, p in named.items()
        if n not in own and p.requires_grad and (rest == "all" or when_called(_owner(n), order) >= first)
    }
    return [Group(own), *([Group(others, lr=rest_lr)] if others else [])]


def _owner(parameter: str) -> str:
    """The module that a parameter belongs to, that of what a parametrization keeps being the layer."""
    owner, inside, _ = f".{parameter}".partition(".parametrizations.")
    return owner[1:] if inside else owner_and_leaf(parameter)[0]

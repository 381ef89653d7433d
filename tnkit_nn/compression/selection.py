"""Which layers of a model become which networks, and what of the model is trained then."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import prod

from torch import nn

import tnkit as tk
from tnkit_nn.approximation import check_method
from tnkit_nn.budgets import keeps
from tnkit_nn.compression.recipe import RESTS, Compression, Layers
from tnkit_nn.families import families
from tnkit_nn.training.groups import Group

__all__ = ["substitutes", "trained_groups"]


def substitutes(model: nn.Module, recipe: Compression) -> dict[str, tuple[str, tk.Network]]:
    """Layer -> (family, network) for every layer that a recipe selects, in the model's order.

    Warns where the smallest network of a family is past the budget.

    Raises
    ------
    ValueError
        A name that selects nothing, or nothing with a weight (what there is, is named); a weight that two layers share; a
        network of more parameters than the weight, or one that the approximation of the recipe cannot fit; a model that is itself a layer.
    """
    known = {
        n: m
        for n, m in model.named_modules()
        if isinstance(getattr(m, "weight", None), nn.Parameter) and m.weight.dim() > 1
    }
    for entry in recipe.layers:
        for pattern in entry.select:
            if not any(fnmatchcase(n, pattern) for n in known):
                raise ValueError(f"no layer {pattern!r} with a weight to compress; there are {', '.join(known)}")
    found = {}
    for name, module in known.items():
        first = next((e for e in recipe.layers if any(fnmatchcase(name, p) for p in e.select)), None)
        if first is None:
            continue
        if not name:
            raise ValueError(f"the model is itself one layer ({type(module).__name__}); put it into an nn.Sequential")
        others = [n for n, p in model.named_parameters(remove_duplicate=False) if p is module.weight]
        if len(others) > 1:
            raise ValueError(
                f"layer {name!r}: its weight is shared ({', '.join(others)}), which a network cannot be; untie it first"
            )
        found[name] = _network_for(first, name, tuple(module.weight.shape))
        check_method(recipe.stage1.method, found[name][1], name)
    return found


def _network_for(entry: Layers, layer: str, shape: Sequence[int]) -> tuple[str, tk.Network]:
    (family,) = families([entry.family], [entry.depth], entry.activation)
    net = family.build(shape, min(entry.budget, prod(shape)))  # a budget past the weight is the weight's
    if net.num_params > prod(shape):
        raise ValueError(
            f"layer {layer!r}: {family.label} for a budget of {entry.budget} has {net.num_params:,} parameters, its weight of shape "
            f"{tuple(shape)} only {prod(shape):,}"
        )
    if not keeps(net.num_params, entry.budget):
        warnings.warn(
            f"layer {layer!r}: the smallest {family.label} has {net.num_params:,} parameters, past its budget of {entry.budget:,}",
            stacklevel=4,
        )
    return family.label, net


def trained_groups(model: nn.Module, layers: Sequence[str], rest: str, rest_lr: float) -> list[Group]:
    """What the fine-tuning trains: the networks of these layers, and the rest as the recipe says, as groups for :func:`train`.

    Parameters
    ----------
    model
        A model whose ``layers`` have networks as weights.
    layers
        Names of layers.
    rest
        ``frozen``, ``heads`` or ``all``; parameters that require no gradient stay as they are.
    rest_lr
        Learning rate of the rest.
    """
    if rest not in RESTS:
        raise ValueError(f"unknown rest {rest!r}; known: {', '.join(RESTS)}")
    named = dict(model.named_parameters())
    own = {n: p for n, p in named.items() if any(n.startswith(f"{la}.parametrizations.weight.") for la in layers)}
    if rest == "frozen":
        return [Group(own)]
    names = list(named)
    first = min(k for k, n in enumerate(names) if n in own or any(n == f"{la}.bias" for la in layers))
    others = {
        n: p
        for k, (n, p) in enumerate(named.items())
        if n not in own and p.requires_grad and (rest == "all" or k >= first)
    }
    return [Group(own), *([Group(others, lr=rest_lr)] if others else [])]

"""Networks in the place of a model's weights: where they are, under which names, and how one is put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tnkit.core.decomposition import Pair
from tnkit.core.network import Network
from tnkit_nn.adapter.classes import own_class
from tnkit_nn.adapter.generated import Generated, generator_of
from tnkit_nn.adapter.norms import norm
from tnkit_nn.adapter.owners import beneath
from tnkit_nn.adapter.parametrize import parametrize_

__all__ = [
    "PlacedNetwork",
    "networks_of",
    "original",
    "original_of",
    "owner_and_leaf",
    "place_",
    "place_of",
    "taken_off",
    "upon",
]

_TABLE = "parametrizations"  # of torch: name of a weight -> the list of what makes it


@dataclass(frozen=True)
class PlacedNetwork:
    """A network in the place of a weight.

    Attributes
    ----------
    names
        Of the weight: more than one, where it is tied.
    network
        Its structure.
    shape
        Of the weight; None where it is not known.
    base
        Whether the network is added to the old weight, which is kept.
    others
        Classes of other people's parametrizations upon it, in their order.
    kept
        What they call the tensor that the network is; empty where there are none, or where they were put upon the network later.
    """

    names: tuple[str, ...]
    network: Network
    shape: tuple[int, ...] | None
    base: bool = False
    others: tuple[str, ...] = ()
    kept: str = ""


def owner_and_leaf(weight: str) -> tuple[str, str]:
    """The module that owns a weight, and the weight's name there; a model that is itself a layer is called ``""``."""
    owner, _, leaf = weight.rpartition(".")
    return owner, leaf


def place_of(weight: str, kept: str = "") -> str:
    """What a state dict calls the arrays of a weight's network, but for their own names; ``kept``: as of :class:`PlacedNetwork`.

    >>> place_of("fc.weight"), place_of("fc.weight", "original")
    ('fc.parametrizations.weight.0.', 'fc.parametrizations.weight.parametrizations.original.0.')
    """
    owner, leaf = owner_and_leaf(weight)
    place = f"{owner}.{_TABLE}.{leaf}".removeprefix(".")
    return f"{place}.{_TABLE}.{kept}.0." if kept else f"{place}.0."


def networks_of(model: nn.Module) -> dict[str, PlacedNetwork]:
    """First name of a weight -> the network that it is, for every weight that is one."""
    found: dict[tuple[int, ...], list[tuple[str, str, Generated]]] = {}
    for owner, module in model.named_modules(remove_duplicate=False):
        for leaf, made in getattr(module, _TABLE, {}).items():
            if (network := generator_of(made)) is not None:
                arrays = tuple(map(id, network.tensors().values())) or (
                    id(network),
                )  # those that are tied have the same
                weight = _weight_beneath(owner)
                place = (weight, leaf) if weight else (f"{owner}.{leaf}".removeprefix("."), "")
                found.setdefault(arrays, []).append((*place, network))
    placed = {}
    for places in found.values():
        (name, kept, made), *_ = places
        owner, leaf = owner_and_leaf(name)
        others = tuple(other for other in _classes(model.get_submodule(owner), leaf) if other != Generated.__name__)
        names = tuple(dict.fromkeys(weight for weight, *_ in places))
        placed[name] = PlacedNetwork(names, made.network, tuple(made.shape), made.base, others, kept)
    return placed


def _weight_beneath(module: str) -> str:
    """The weight whose list of parametrizations a module is; empty where it is none: ``fc.weight`` for ``fc.parametrizations.weight``."""
    owner, inside, leaf = f".{module}".rpartition(f".{_TABLE}.")
    return f"{owner}.{leaf}".strip(".") if inside and "." not in leaf else ""


def upon(module: nn.Module, name: str) -> tuple[str, ...]:
    """Classes of other people's parametrizations upon a weight."""
    made = getattr(module, _TABLE, {})
    return () if name not in made or generator_of(made[name]) is not None else _classes(module, name)


def _classes(module: nn.Module, name: str) -> tuple[str, ...]:
    made = cast(Any, module.parametrizations)[name]
    return tuple(type(each).__name__ for key, each in made.named_children() if key.isdigit())


def original(model: nn.Module, weight: str) -> Tensor:
    """What a network takes the place of: the parameter itself, or that beneath others' parametrizations."""
    owner, leaf = owner_and_leaf(weight)
    module, name = beneath(model.get_submodule(owner), leaf)
    return cast(Tensor, getattr(module, name))


def original_of(model: nn.Module, parameter: str) -> str:
    """The weight that a parameter lies beneath, where a network can take its place; else empty.

    ::

        original_of(model, "fc.parametrizations.weight.original")
        # 'fc.weight'
    """
    place, name = owner_and_leaf(parameter)
    weight = _weight_beneath(place)
    if not weight:
        return ""
    owner, leaf = owner_and_leaf(weight)
    try:
        module, kept = beneath(model.get_submodule(owner), leaf)
    except ValueError:  # they keep no tensor that is the weight
        return ""
    return weight if module is model.get_submodule(place) and kept == name else ""


@contextmanager
def taken_off(module: nn.Module, name: str) -> Iterator[None]:
    """Within it a weight is plain; then others' parametrizations stand upon it again, the same objects, as if put there now."""
    made = cast(Any, module.parametrizations)[name]
    theirs, unsafe = list(made), made.unsafe
    own_class(module)  # copies share the class that torch is about to strip of the property
    parametrize.remove_parametrizations(module, name, leave_parametrized=False)
    made._parameters.clear()  # else it would share the weight, wherever the list is still referred to
    yield
    for each in theirs:
        parametrize.register_parametrization(module, name, each, unsafe=True)
    cast(Any, module.parametrizations)[name].unsafe = unsafe


def place_(
    model: nn.Module, weight: str, net: Network | Pair, arrays: Mapping[str, Any] | None, measured: bool = True, **options: Any,
) -> float | None:  # fmt: skip
    """Put a network in the place of a weight, under all its names, as ``parametrize_`` does with these options.

    Returns
    -------
    float or None
        How far it is from the old weight, relative to that, where that is to be ``measured`` and the weight has values.
    """
    owner, leaf = owner_and_leaf(weight)
    module, old = model.get_submodule(owner), original(model, weight).detach()
    measured = measured and not old.is_meta
    if measured and options.get("base"):
        old = old.clone()  # it is kept, and may give way
    parametrize_(module, leaf, net, arrays, model=model, **options)
    if not measured:
        return None
    wide = torch.promote_types(old.dtype, torch.float32)
    with torch.no_grad():
        off = original(model, weight).to(wide) - old.to(wide)
        return norm(off) / (norm(old) or 1.0)

"""Networks in the place of a model's weights: where they are, and how one is put there, beneath what others have put upon the weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tnkit.core.decomposition import Decomposition
from tnkit.core.network import Network
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.adapter.parametrize import parametrize_

__all__ = [
    "PlacedNetwork",
    "beneath",
    "layer_of",
    "networks_of",
    "original",
    "original_of",
    "others_upon",
    "owner_and_leaf",
    "place_",
]


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
    """

    names: tuple[str, ...]
    network: Network
    shape: tuple[int, ...] | None
    base: bool
    others: tuple[str, ...]


def owner_and_leaf(weight: str) -> tuple[str, str]:
    """The module that owns a weight, and the weight's name there; a model that is itself a layer is called ``""``."""
    owner, _, leaf = weight.rpartition(".")
    return owner, leaf


def layer_of(weight: str, place: str = "") -> str:
    """A name within the list of parametrizations of a weight, as a state dict has it.

    >>> layer_of("fc.weight", "0.core_0")
    'fc.parametrizations.weight.0.core_0'
    """
    owner, leaf = owner_and_leaf(weight)
    return ".".join(part for part in (owner, "parametrizations", leaf, place) if part)


def networks_of(model: nn.Module) -> dict[str, PlacedNetwork]:
    """First name of a weight -> the network that it is, for every weight that is one."""
    found: dict[int, tuple[list[str], nn.ModuleList, TNModule]] = {}
    for owner, module in model.named_modules():
        for leaf, made in getattr(module, "parametrizations", {}).items():
            if isinstance(made[0], TNModule):
                names, *_ = found.setdefault(id(made[0]), ([], made, made[0]))
                names.append(f"{owner}.{leaf}".strip("."))
    return {
        names[0]: PlacedNetwork(
            tuple(names), net.network, tuple(cast(Any, net).shape), hasattr(made, "original"), _classes(made)[1:]
        )
        for names, made, net in found.values()
    }


def _classes(made: nn.ModuleList) -> tuple[str, ...]:
    return tuple(type(each).__name__ for each in made)


def others_upon(module: nn.Module, name: str) -> tuple[str, ...]:
    """Classes of the parametrizations upon a weight that is no network."""
    made = getattr(module, "parametrizations", {})
    return _classes(made[name]) if name in made else ()


def original_of(model: nn.Module, parameter: str) -> str | None:
    """The weight that a parameter is the original of, where a network can take its place; else None.

    >>> original_of(model, "fc.parametrizations.weight.original")
    'fc.weight'
    """
    owner, inside, rest = f".{parameter}".rpartition(".parametrizations.")
    leaf, _, last = rest.rpartition(".")
    if not inside or last != "original" or not leaf:
        return None
    made = cast(Any, model.get_submodule(owner[1:]).parametrizations)[leaf]
    return None if isinstance(made[0], TNModule) else f"{owner[1:]}.{leaf}".strip(".")


def original(model: nn.Module, weight: str) -> Tensor:
    """What a network takes the place of: the parameter itself, or that beneath others' parametrizations."""
    owner, leaf = owner_and_leaf(weight)
    module = model.get_submodule(owner)
    if parametrize.is_parametrized(module, leaf):
        module, leaf = cast(nn.Module, cast(Any, module.parametrizations)[leaf]), "original"
    return cast(Tensor, getattr(module, leaf))


@contextmanager
def beneath(module: nn.Module, name: str) -> Iterator[None]:
    """Within it a weight is as it was before others' parametrizations; then they stand upon it again, the same objects."""
    if not parametrize.is_parametrized(module, name):
        yield
        return
    made = cast(Any, module.parametrizations)[name]
    theirs, unsafe = list(made), made.unsafe
    cls = type(module)  # copies share the class that torch is about to strip of the property: give this one its own
    module.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))
    parametrize.remove_parametrizations(module, name, leave_parametrized=False)
    yield
    for each in theirs:
        parametrize.register_parametrization(module, name, each, unsafe=True)
    cast(Any, module.parametrizations)[name].unsafe = unsafe


def place_(
    model: nn.Module, names: tuple[str, ...], net: Network | Decomposition, arrays: Mapping[str, Any] | None, measured: bool = True,
    **options: Any,
) -> float | None:  # fmt: skip
    """Put a network in the place of a weight, under all its names, as ``parametrize_`` does with these options.

    Returns
    -------
    float or None
        How far it is from the old weight, relative to that, where that is to be ``measured`` and the weight has values.
    """
    owner, leaf = owner_and_leaf(names[0])
    module = model.get_submodule(owner)
    if len(names) > 1:
        options["model"] = model
    with beneath(module, leaf), torch.no_grad():
        old = cast(Tensor, getattr(module, leaf))
        parametrize_(module, leaf, net, arrays, **options)
        if old.is_meta or not measured:
            return None
        wide = torch.promote_types(old.dtype, torch.float32)
        off = (cast(Tensor, getattr(module, leaf)).to(wide) - old.to(wide)).norm()
        return float(off) / (float(old.to(wide).norm()) or 1.0)

"""Where a weight is: the modules that share it, what other parametrizations it stands beneath, and its place among the parameters."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from copy import copy
from typing import Any, cast

from torch import nn
from torch.nn.utils import parametrize

from tnkit_nn.adapter.generated import Generated, generator_of

__all__ = [
    "Place",
    "beneath",
    "held_in",
    "keep_order",
    "outside",
    "places_of",
    "put_back_in_order",
    "sharing",
    "tied",
    "twin",
]

#: A module, and the name of a weight there.
Place = tuple[nn.Module, str]


#: What is looked into for a parameter, and attributes of torch's own that have theirs: recurrent modules fill the list anew.
_PLAIN = (list, tuple, set, dict)
_OF_TORCH = ("_parameters", "_flat_weights")


def beneath(module: nn.Module, name: str) -> Place:
    """Where the weight itself is kept: beneath the parametrizations of others, such as a spectral norm, if there are any.

    Raises
    ------
    ValueError
        It is a network already; or what stands upon it keeps several tensors of which none is the weight.
    """
    while parametrize.is_parametrized(module, name):
        made = cast(Any, module.parametrizations)[name]
        if generator_of(made) is not None:
            return module, name
        kept = [n for n in _originals(made) if getattr(made, n).shape == getattr(module, name).shape]
        if len(kept) != 1:
            raise ValueError(
                f"{name!r} of {type(module).__name__.removeprefix('Parametrized')} stands beneath {type(made[0]).__name__.lstrip('_')}, "
                f"which keeps {len(list(_originals(made)))} tensors of which {len(kept)} have the weight's shape; remove it first"
            )
        module, name = made, kept[0]
    return module, name


def _originals(made: Any) -> Iterator[str]:
    """Names of the tensors that torch's list of parametrizations keeps."""
    if made.is_tensor:
        yield "original"
    else:
        yield from (f"original{k}" for k in range(made.ntensors))


def places_of(model: nn.Module, weight: nn.Parameter) -> list[Place]:
    """Every module below ``model`` that has this very parameter, and its name there."""
    return [(m, n) for m in model.modules() for n, p in m._parameters.items() if p is weight]


def tied(one: Generated | None, two: Generated | None) -> bool:
    """Whether two weights are made of the very same arrays."""
    if one is None or two is None or one is two:
        return one is two
    return one._held == two._held and all(getattr(one, n) is getattr(two, n) for n in one._held) and bool(one._held)


def sharing(model: nn.Module, maker: Generated) -> list[Place]:
    """Every weight below ``model`` that this network makes."""
    return [
        (m, name)
        for m in model.modules()
        for name, made in getattr(m, "parametrizations", {}).items()
        if tied(generator_of(made), maker)
    ]


def outside(places: list[Place]) -> nn.Module | None:
    """A module that has the parameter of these places too, and is none of them; None where there is none that Python knows of.

    Looking for it goes through all objects there are, so it is done only where something else refers to the parameter.
    """
    if _nobody_else(places):
        return None
    weight, ours = places[0][0]._parameters[places[0][1]], {id(module._parameters) for module, _ in places}
    for holder in gc.get_referrers(weight):
        if type(holder) is dict and id(holder) not in ours:
            for attributes in gc.get_referrers(holder):
                found = _module_of(attributes, holder)
                if found is not None:
                    return found
    return None


def _nobody_else(places: list[Place]) -> bool:
    """Whether nothing but these places refers to their parameter: whoever calls should not."""
    alone = nn.Module()
    alone.register_parameter("weight", nn.Parameter())
    return _references(*places[0]) - _references(alone, "weight") < len(places)


def held_in(model: nn.Module, places: list[Place]) -> str:
    """An attribute below ``model`` that holds the parameter of these places as it is: ``'ws' of 'enc', a list,``; empty where none does."""
    if _nobody_else(places):
        return ""
    weight = places[0][0]._parameters[places[0][1]]
    for path, module in model.named_modules():
        for name, held in vars(module).items():
            content = (held.values() if isinstance(held, dict) else held) if isinstance(held, _PLAIN) else (held,)
            if name not in _OF_TORCH and any(each is weight for each in content):
                return f"{name!r} of {repr(path) if path else type(module).__name__}, a {type(held).__name__},"
    return ""


def _references(module: nn.Module, name: str) -> int:
    return sys.getrefcount(module._parameters[name])


def _module_of(attributes: Any, parameters: Any) -> nn.Module | None:
    """The module whose parameters these are, given its attributes or itself."""
    if isinstance(attributes, nn.Module):
        return attributes if attributes._parameters is parameters else None
    if type(attributes) is dict and attributes.get("_parameters") is parameters:
        return next((m for m in gc.get_referrers(attributes) if isinstance(m, nn.Module)), None)
    return None


def twin(made: Generated) -> Generated:
    """A network of the same arrays, for another owner: torch ties parameters, and expects every module to stand in one place."""
    other = copy(made)
    # hooks too are of one place: what prunes one of the two must not run for the other
    vars(other).update({name: copy(value) for name, value in vars(made).items() if isinstance(value, dict)})
    return other


# -- the order of parameters ----------------------------------------------------------------------------------------------
def keep_order(module: nn.Module, before: list[str]) -> None:
    """Remember in which order the parameters were, in torch's table of parametrizations."""
    made = cast(Any, module.parametrizations)
    known = vars(made).setdefault("order_of_parameters", before)
    known += [name for name in before if name not in known]


def put_back_in_order(module: nn.Module, order: list[str]) -> None:
    """Parameters that are dense again at their old places."""
    now = module._parameters
    places = {name: k for k, name in enumerate(order)}
    names = sorted(now, key=lambda name: places.get(name, len(places)))
    for name in names:
        now[name] = now.pop(name)

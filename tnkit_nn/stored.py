"""A model with networks in it as named tensors and plain data, and a model made from them: what its files have in common."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import tnkit as tk
from tnkit.core.checks import shown
from tnkit.core.network import Network
from tnkit.core.shapes import split_axes
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.module import TNModule
from tnkit_nn.adapter.owners import beneath
from tnkit_nn.checks import materialised
from tnkit_nn.placing import PlacedNetwork, networks_of, original, owner_and_leaf, place_, place_of, taken_off, upon
from tnkit_nn.storage import damaged, misfit
from tnkit_nn.weights import names_of, spoken

__all__ = [
    "MOST",
    "StoredTensors",
    "held_shapes",
    "put_",
    "read_network",
    "read_placed",
    "stored_tensors",
    "text_of",
    "ties_of",
    "told",
    "under_all_names",
]

MOST = 2**27  # bytes of the networks' text, and entries of their constants, that a file may ask for
WAY = "copy it again, or save the model again"
_EXTRA = "_extra_state"

Path = str | os.PathLike[str]


# -- a model as tensors and plain data ----------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class StoredTensors:
    """A model's tensors by name, a tied one under one of its names alone, and all names of each that has several."""

    tensors: dict[str, Tensor]
    ties: tuple[tuple[str, ...], ...]


def stored_tensors(model: nn.Module, who: str) -> StoredTensors:
    """All that a file has to hold of a model's ``state_dict``; networks are told by their structure, which is no tensor.

    Raises
    ------
    ValueError
        A value that is no dense tensor with values, or an array that is kept an isometry, by its name; it begins with ``who``.
    """
    _check_free(model, who)
    state = _state(model)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{who}: a file holds tensors, but {name!r} of the model's state is {shown(value)}")
        if isinstance(value, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise ValueError(f"{who}: {name!r} of the model has no shape yet: call the model once before")
        materialised(value, f"{who}: {name!r} of the model's state")
    ties, places = ties_of(state), tuple(place_of(name, p.kept) for name, p in networks_of(model).items())
    again = {name for names in ties for name in names if name != _under(names, places)}
    return StoredTensors({n: t.detach() for n, t in state.items() if n not in again}, ties)


def _under(names: tuple[str, ...], places: tuple[str, ...]) -> str:
    """The name that a file has a tied tensor under: that in the place of its network, where it is an array of one, else the first."""
    return next((name for name in names if name.startswith(places)), names[0])


def _check_free(model: nn.Module, who: str) -> None:
    """ValueError where an array of a network is made by a parametrization: the file would not tell by which."""
    for name, module in model.named_modules():
        if isinstance(module, TNModule) and parametrize.is_parametrized(module):
            array = next(iter(module.parametrizations))  # type: ignore[arg-type]
            raise ValueError(
                f"{who}: array {array!r} of the network {name or 'given'!r} is parametrized (kept an isometry, say), which the file does "
                "not tell; keep state_dict(), or call torch.nn.utils.parametrize.remove_parametrizations first"
            )


def ties_of(state: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The names of every tensor that has more than one."""
    names: dict[int, list[str]] = {}
    for name, value in state.items():
        names.setdefault(id(value), []).append(name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def under_all_names(values: Mapping[str, Tensor], ties: Iterable[tuple[str, ...]]) -> dict[str, Tensor]:
    """A file's tensors, a tied one under each of its names."""
    first = {name: next((n for n in names if n in values), "") for names in ties for name in names}
    return {**values, **{name: values[n] for name, n in first.items() if n and name not in values}}


def _state(model: nn.Module) -> dict[str, Any]:
    """Parameters and buffers themselves, and what modules keep besides."""
    return dict(model.state_dict(keep_vars=True))


def text_of(net: Network, name: str, who: str) -> Any:
    """A network as plain data; ValueError, with the name of its weight, where a function of it is no text."""
    try:
        return json.loads(tk.to_json(net))
    except ValueError as error:
        raise ValueError(f"{who}: the network of {name!r}: {error}") from None


# -- a model made from them ---------------------------------------------------------------------------------------------
def read_network(path: Path, key: str, plain: Any, values: Mapping[str, Tensor], place: str, way: str = WAY) -> Network:
    """A network from a file's plain data; nothing is allocated in the sizes it gives before they are those of the file's tensors.

    Parameters
    ----------
    path
        The file, for messages.
    key
        What has the network.
    plain
        The data.
    values
        The file's tensors.
    place
        What the names of the network's arrays begin with there.
    way
        What to do where the file is damaged.
    """
    try:
        net = tk.from_json(json.dumps(plain))
    except RecursionError:
        raise damaged(path, f"the network of {key!r} is nested too deep", way) from None
    except ValueError as error:
        raise damaged(path, f"the network of {key!r}: {error}", way) from None
    held = held_shapes(net)
    for name, shape in held.items():
        t = values.get(place + name)
        if t is None:
            raise damaged(path, f"the network of {key!r} has an array {name!r}, the file has none", way)
        if tuple(t.shape) != shape:
            raise damaged(
                path, f"array {name!r} of the network of {key!r} is {tuple(t.shape)}, not {shown(shape)}", way
            )
    if sum(prod(shape) for name, shape in net.array_shapes.items() if name not in held) > MOST:
        raise damaged(path, f"the network of {key!r} has constants of more than {MOST:,} entries", way)
    return net


def told(placed: PlacedNetwork) -> dict[str, Any]:
    """What a file says of a weight beside its network, for :func:`read_placed`."""
    return {
        "names": placed.names, "shape": placed.shape, "base": placed.base, "others": placed.others, "kept": placed.kept,
    }  # fmt: skip


def read_placed(
    path: Path, key: str, plain: Any, of: Any, values: Mapping[str, Tensor], way: str = WAY
) -> PlacedNetwork:
    """The network of a weight, and what :func:`told` says of it; an older file says nothing (``{}``)."""
    kinds = {"names": list, "shape": list, "base": bool, "others": list, "kept": str}
    if not isinstance(of, dict) or (of and not all(isinstance(of.get(name), kind) for name, kind in kinds.items())):
        raise damaged(path, f"what it says of {key!r} is {shown(of)}", way)
    if of and not (of["names"][:1] == [key] and all(isinstance(n, str) for n in (*of["names"], *of["others"]))):
        raise damaged(path, f"what it says of {key!r} is {shown(of)}", way)
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in of.items() if name in kinds
    }
    net = read_network(path, key, plain, values, place_of(key, lists.get("kept", "")), way)
    known: dict[str, Any] = {"names": (key,), "shape": None, **lists, "network": net}
    return PlacedNetwork(**known)


def held_shapes(net: Network) -> dict[str, tuple[int, ...]]:
    """Array -> shape, of those that a state dict has: all but the constants, which the structure knows."""
    constants = {leaf.array for leaf in net.leaves if isinstance(leaf.fixed, str)}
    return {name: shape for name, shape in net.array_shapes.items() if name not in constants}


def put_(
    model: nn.Module, weights: Iterable[PlacedNetwork], values: Mapping[str, Tensor], path: Path, exact: bool = False,
    ties: Iterable[tuple[str, ...]] | None = None,
) -> None:  # fmt: skip
    """Make the networks of a file the weights of a dense model, and fill in all its values: everything, or nothing is changed.

    Parameters
    ----------
    model
        A model with dense weights; one that has a network of the file already keeps it.
    weights
        The networks, with all names of their weights where the file has them.
    values
        Tensors by name.
    path
        The file or folder, for messages.
    exact
        Values of another dtype than the model's are refused, not converted; else NaN is refused.
    ties
        All names of every tensor that has several, where the file has them.

    Raises
    ------
    ValueError
        The file is of another model; the message names the layer and what differs.
    """
    there = networks_of(model)
    new = [w for w in weights if not _is_there(there, w)]
    for placed in new:
        _check_weight(path, model, placed, there, ties is not None)
    with all_or_nothing(model, values=True):
        for placed in new:
            dtype = original(model, placed.names[0]).dtype
            arrays = {n: torch.zeros(shape, dtype=dtype) for n, shape in held_shapes(placed.network).items()}
            owner, leaf = owner_and_leaf(placed.names[0])
            later = bool(placed.others) and not placed.kept  # they were put upon the network
            with taken_off(model.get_submodule(owner), leaf) if later else nullcontext():
                place_(model, placed.names[0], placed.network, arrays, measured=False, base=placed.base)
        _fill(model, values, path, exact, ties)


def _is_there(there: Mapping[str, PlacedNetwork], placed: PlacedNetwork) -> bool:
    found = there.get(placed.names[0])
    return found is not None and replace(found, names=placed.names, shape=placed.shape) == placed


def _check_weight(
    path: Path, model: nn.Module, placed: PlacedNetwork, there: Mapping[str, PlacedNetwork], tied: bool
) -> None:
    """The model has a dense weight that a network fills, tied as it was, beneath the same parametrizations."""
    key, who = placed.names[0], f"{path}: not of this model"
    if key in there:
        raise ValueError(f"{who}: {key!r} is the network {there[key].network!r} there, not {placed.network!r}")
    weight, kept, others = _dense(model, key)
    if weight is None:
        raise ValueError(f"{who}: it has no dense weight {key!r}")
    if placed.shape is not None and placed.shape != tuple(weight.shape):
        raise ValueError(f"{who}: {key} is {shown(placed.shape)} in the file, {tuple(weight.shape)} in the model")
    try:
        if placed.network.shape and prod(placed.network.shape) != weight.numel():
            split_axes(placed.network.shape, weight.shape)
    except ValueError as error:
        raise ValueError(f"{who}: {key}: {error}") from None
    if others != placed.others or kept not in (placed.kept, "original" if not placed.kept else ""):
        raise ValueError(
            f"{who}: upon {key!r} stands {_listed(placed.others)} in the file, {_listed(others)} in the model"
        )
    names = names_of(model, weight)
    if tied and set(names) != set(placed.names):
        raise ValueError(
            f"{who}: {key!r} is tied as {_listed(placed.names)} in the file, as {_listed(names)} in the model"
        )


def _dense(model: nn.Module, key: str) -> tuple[nn.Parameter | None, str, tuple[str, ...]]:
    """A dense weight, what those upon it call it, and their classes; None where there is none."""
    owner, leaf = owner_and_leaf(key)
    module = dict(model.named_modules(remove_duplicate=False)).get(owner)
    if module is None:
        return None, "", ()
    others = upon(module, leaf)
    try:
        place, name = beneath(module, leaf)
    except ValueError:  # they keep no tensor that is the weight
        return None, "", others
    return place._parameters.get(name), name if others else "", others


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _fill(
    model: nn.Module, values: Mapping[str, Tensor], path: Path, exact: bool, ties: Iterable[tuple[str, ...]] | None
) -> None:
    """Copy values into a model whose structure is that of the file."""
    own = _state(model)
    its = ties_of(own)
    if ties is not None and set(map(frozenset, its)) != set(map(frozenset, ties)):
        differ = set(map(frozenset, its)) ^ set(map(frozenset, ties))
        names = sorted(min(differ, key=sorted))
        where = "the file" if frozenset(names) in set(map(frozenset, ties)) else "the model"
        raise ValueError(f"{path}: not of this model: {_listed(map(spoken, names))} are tied in {where} alone")
    whole = under_all_names(values, its)
    wrong = misfit(own, whole, numbers=not exact)
    if not wrong and exact:
        other = [n for n, v in whole.items() if v.dtype != own[n].dtype]
        wrong = "; ".join(f"{n} is {whole[n].dtype} in the file, {own[n].dtype} in the model" for n in other[:3])
        wrong += f" and {len(other) - 3} more" if len(other) > 3 else ""
    if wrong:
        raise ValueError(f"{path}: not of this model: {wrong}")
    with torch.no_grad():
        for name, value in whole.items():
            owner, leaf = owner_and_leaf(name)
            if leaf == _EXTRA:
                model.get_submodule(owner).set_extra_state(value)
            else:
                own[name].copy_(value)

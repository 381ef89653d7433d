"""A network as the weight of any module, through ``torch.nn.utils.parametrize``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from tnkit.core.activations import ACTIVATIONS
from tnkit.core.checks import a_network, flag, one_of, text
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Elementwise, Network, inside_out
from tnkit.core.numbers import real_number
from tnkit.paths.optimizers import Optimizer
from tnkit_nn.adapter.atomic import all_or_nothing
from tnkit_nn.adapter.classes import adapt, own_class, unregister
from tnkit_nn.adapter.generated import Generated, generator_of
from tnkit_nn.adapter.lora import install
from tnkit_nn.adapter.norms import root_mean_square
from tnkit_nn.adapter.owners import (
    Place,
    beneath,
    held_in,
    keep_order,
    outside,
    places_of,
    put_back_in_order,
    sharing,
    twin,
)
from tnkit_nn.checks import a_module, an_open_module, check_fills, materialised, trained_dtype

__all__ = ["merge_", "parametrize_"]


@keywords_of(network="net")
def parametrize_(
    module: nn.Module,
    name: str,
    net: Network | Pair,
    arrays: Mapping[str, Any] | None = None,
    *,
    model: nn.Module | None = None,
    base: bool = False,
    seed: int = 0,
    std: float | str | None = "match",
    optimizer: str | Optimizer = "auto",
) -> nn.Module:
    """Replace a weight by a network, in place; with ``base=True`` keep it, frozen, and add the network to it.

    >>> layer = tknn.parametrize_(nn.Linear(64, 64), "weight", tk.mpo((8, 8), (8, 8), 2))
    >>> sum(p.numel() for p in layer.parameters()), layer(torch.ones(1, 64)).shape  # 256 and the bias
    (320, torch.Size([1, 64]))
    >>> layer, x = nn.Linear(64, 64), torch.ones(1, 64)
    >>> before = layer(x)
    >>> layer = tknn.parametrize_(layer, "weight", tk.low_rank((64, 64), 4), base=True)  # LoRA: it begins at zero
    >>> torch.equal(layer(x), before)
    True

    Reading ``module.<name>`` contracts the network and reads it as the weight's shape (see :func:`tnkit.detensorize`).  Nothing else
    changes: dtype, device, a frozen weight stays frozen, the row of an embedding's ``padding_idx`` is zero and is not trained,
    other parametrizations (a spectral norm, a weight norm) stay upon it, and a tied weight is one network for all that share it.
    ``state_dict`` has the arrays, as ``parametrizations.<name>.0.<array>``.  Under autocast the weight is made in its own dtype and
    rounded once.  In eval mode without gradients it is kept until an array changes (:func:`tnkit_nn.keep_weights`).  Writing to it
    (``zero_()``, ``reset_parameters()``) is an error.

    Parameters
    ----------
    module
        Any module that owns the weight: Linear, ConvNd, Embedding, your own.
    name
        Name of the parameter, ``"weight"`` mostly.
    net
        The network, or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Its arrays (say from :func:`tnkit_nn.fit`); drawn by default.  Dtype and device are the old weight's.
    model
        Where the others that share the weight are; by default they are looked for in ``module`` alone.
    base
        Keep the old weight, frozen (``parametrizations.<name>.original``), and add the network.  Drawn arrays begin at an update of
        zero: one that scales the tensor is zero; where there is none (a sigmoid is outermost), the old weight gives way by the start.
    seed
        For drawn arrays.
    std
        Root mean square of a drawn weight; ``"match"``: that of the old one; None: as for :func:`tnkit.init.normal`, for an
        outermost activation that does not reach that, and on the meta device.
    optimizer
        As for :func:`tnkit.plan`.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    TypeError
        No module, no name, no network, no mapping of arrays.
    ValueError
        No such parameter, or it is a network already; it is shared with a module outside of ``model``, or held by a list there; one of whole numbers, or not
        made yet; the network does not fill the weight's shape; nothing to match, or drawn entries that the dtype does not hold; arrays as for :class:`TNModule`.  The model is
        as it was.
    """
    net, arrays = network_of(net, arrays, "parametrize_")
    net, base = a_network(net, "parametrize_"), flag(base, "parametrize_: base")
    an_open_module(module, "parametrize_: module")
    whole = module if model is None else an_open_module(model, "parametrize_: model")
    places = _all_places(module, name, whole, _own_place(module, text(name, "parametrize_: name")))
    weight = cast(nn.Parameter, places[0][0]._parameters[places[0][1]])
    unused = check_fills(net, weight.shape, f"parametrize_: {name!r} of {type(module).__name__}")
    std = _scale(std, weight, arrays is not None, name)
    new = Generated(
        net, arrays, weight.shape, unused, base, optimizer=optimizer, dtype=weight.dtype, seed=seed, std=std
    )
    new.owners = len(places)
    _keep_padding(new, places)
    new.requires_grad_(weight.requires_grad or base).train(module.training)
    if not (
        weight.is_meta and arrays is not None
    ):  # arrays that have values are not given up for a weight that has none
        new = new.to(weight.device)
    if arrays is None and not base and not weight.is_meta:
        _check_room(new, 1.0 if std is None else std, module, name, whole)
    with all_or_nothing(whole, module):
        if base:
            _begin_at(weight, new, arrays is not None)
        for k, (owner, leaf) in enumerate(places):
            _register(owner, leaf, twin(new) if k else new, optimizer)
    return module


def _scale(std: Any, weight: nn.Parameter, given: bool, name: str) -> float | None:
    """Root mean square of drawn arrays."""
    if isinstance(std, str):
        one_of(std, "parametrize_: std, unless it is a positive number,", ("match",))
        if weight.is_meta:
            return None
        std = 1.0 if given else root_mean_square(weight)
        if not 0 < std < float("inf"):
            raise ValueError(f"parametrize_: the root mean square of {name!r} is {std}: give std=")
    return None if std is None else real_number(std, "parametrize_: std")


def _check_room(new: Generated, std: float, module: nn.Module, name: str, whole: nn.Module) -> None:
    """ValueError where drawn entries are beyond the dtype; none is larger than the norm, so that nearly always nothing is computed."""
    dtype = new.like.dtype
    largest = torch.finfo(dtype).max
    if std * sqrt(new.shape.numel()) <= largest:
        return
    with torch.no_grad():
        if new.update().isfinite().all():
            return
    path = next((n for n, m in whole.named_modules() if m is module), "")
    where = f"{name!r} of {f'{path!r}, a ' if path else ''}{type(module).__name__}"
    raise ValueError(
        f"parametrize_: {dtype} holds numbers up to {largest:.6g}, but a network drawn with root mean square {std:.3g} for {where} has "
        "larger entries: give a smaller std= or arrays=, or make the weight torch.float32 first"
    )


def _keep_padding(new: Generated, places: list[Place]) -> None:
    """The row that an embedding among the owners keeps at zero."""
    for owner, leaf in places:
        if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)) and leaf == "weight":
            new.padding = owner.padding_idx if new.padding is None else new.padding


def _begin_at(weight: nn.Parameter, new: Generated, given: bool) -> None:
    """The old weight frozen, and the network zero beside it."""
    weight.requires_grad_(False)
    if not given and not new.start_at_zero():
        with torch.no_grad():
            weight.sub_(new.update())


def _register(module: nn.Module, name: str, new: Generated, optimizer: str | Optimizer) -> None:
    """The network in the place of one weight.  torch's own check contracts it once, which only a function of the user's own needs."""
    known = all(n.fn in ACTIVATIONS for n in inside_out(new.network) if isinstance(n, Elementwise))
    own_class(module)
    before = list(module._parameters)
    with torch.no_grad():
        parametrize.register_parametrization(module, name, new, unsafe=known)
    module.parametrizations[name].unsafe = False  # type: ignore[index, union-attr]
    keep_order(module, before)
    adapt(module, name)
    install(module, name, optimizer)


# -- the weight -----------------------------------------------------------------------------------------------------------
def _own_place(module: nn.Module, name: str) -> Place:
    """Where the parameter of this name is kept, which is one that a network can take the place of."""
    kind = type(module).__name__
    place = beneath(module, name)
    if parametrize.is_parametrized(*place):
        raise ValueError(f"{name!r} of {kind.removeprefix('Parametrized')} is a network already; merge_ it first")
    weight = place[0]._parameters.get(place[1])
    if weight is None:
        known = ", ".join(n for n, p in module._parameters.items() if p is not None) or "none"
        raise ValueError(
            f"parametrize_: {kind} has no parameter {name!r} of its own{_found_elsewhere(module, name)} (it has {known})"
        )
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"{name!r} of {kind} has no shape yet: call the model once before")
    if not weight.is_meta:
        materialised(weight, f"parametrize_: {name!r} of {kind}")
    trained_dtype(weight.dtype, f"parametrize_: the dtype of {name!r} of {kind}")
    return place


def _all_places(module: nn.Module, name: str, whole: nn.Module, place: Place) -> list[Place]:
    """Every place of the weight; all of them have to be known, and able to have a network."""
    places = places_of(whole, cast(nn.Parameter, place[0]._parameters[place[1]]))
    if place not in places:  # the model given does not have it, or it is a part of the module alone
        if whole is not module:
            raise ValueError(
                f"parametrize_: model has no {name!r} of this {type(module).__name__}: give the one that it is in"
            )
        places = [place]
    for owner, _ in places:
        if getattr(owner, "sparse", False):
            raise ValueError(
                f"parametrize_: {type(owner).__name__} asks for sparse gradients, which a network has not; set sparse=False first"
            )
    other = outside(places) if whole is module else None  # who gives the model says where the others are
    if other is not None:
        raise ValueError(
            f"{name!r} of {type(module).__name__} is shared with {type(other).__name__}, which is outside of the module given; give the "
            "whole model too, parametrize_(..., model=model), and both have the network"
        )
    held = held_in(whole, places)
    if held:
        raise ValueError(
            f"parametrize_: {name!r} of {type(module).__name__} is also held by {held} which would keep the dense weight: read it "
            "from its module where it is used, or delete that first"
        )
    return places


def _found_elsewhere(module: nn.Module, name: str) -> str:
    """Where what is called so is: a part of a message."""
    owner, _, leaf = name.rpartition(".")
    if name in module._parameters:
        return ": it is None there"
    if name in module._buffers:
        return ": it is a buffer, which is never trained"
    if name in module._modules:
        return f": it is a module; give that one, and the name of its parameter ({name}, 'weight')"
    if owner and owner in dict(module.named_modules()) and leaf in module.get_submodule(owner)._parameters:
        return f": give its owner, model.get_submodule({owner!r}), and the name {leaf!r}"
    return ""


# -- and back -------------------------------------------------------------------------------------------------------------
def merge_(module: nn.Module, name: str, *, model: nn.Module | None = None) -> nn.Module:
    """Make a weight that is a network a plain dense parameter of the same value, bit by bit, in place.

    >>> layer = tknn.parametrize_(nn.Linear(8, 8), "weight", tk.low_rank((8, 8), 2))
    >>> weight = layer.weight.detach().clone()
    >>> tknn.merge_(layer, "weight")
    Linear(in_features=8, out_features=8, bias=True)
    >>> torch.equal(layer.weight, weight), type(layer.weight).__name__
    (True, 'Parameter')

    It stands where it was among the parameters, and is frozen if all behind it is; a base that the network was added to is the
    parameter again, with the sum.  Weights that share the network are tied again.  Parametrizations of others stay.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        Its name there.
    model
        Where the others that share the network are; by default they are looked for in ``module`` alone.

    Returns
    -------
    nn.Module
        ``module``.

    Raises
    ------
    TypeError
        No module, or no name.
    ValueError
        ``module.<name>`` is no network; it is shared with a module outside of ``model``.  The model is as it was.
    """
    a_module(module, "merge_: module")
    whole = module if model is None else a_module(model, "merge_: model")
    text(name, "merge_: name")
    owner, leaf = beneath(module, name) if parametrize.is_parametrized(module, name) else (module, name)
    made = cast(Any, owner.parametrizations)[leaf] if parametrize.is_parametrized(owner, leaf) else None
    maker = generator_of(made)
    if maker is None:
        kind = type(module).__name__.removeprefix("Parametrized")
        layer = (
            "; it is a layer of its own: put an nn module with layer.weight in its place"
            if hasattr(module, "tn")
            else ""
        )
        raise ValueError(f"{kind} has no {name!r} that is a network; there is nothing to merge{layer}")
    places = sharing(whole, maker)
    if (owner, leaf) not in places:
        raise ValueError(f"merge_: model has no {name!r} of this {type(module).__name__}: give the one that it is in")
    if len(places) < maker.owners:
        raise ValueError(
            f"merge_: the network of {name!r} is shared by {maker.owners} weights, {len(places)} of them in the module given; "
            "give the whole model too, merge_(..., model=model)"
        )
    with all_or_nothing(whole, module, values=maker.base):
        weight = _dense(made, maker)
        for place in places:
            _put_back(*place, weight)
    return module


def _dense(made: Any, maker: Generated) -> nn.Parameter:
    """What the network makes, as a parameter: the base itself, where there is one."""
    trained = any(p.requires_grad for p in maker.parameters())
    with torch.no_grad():
        if maker.base:
            original: nn.Parameter = made.original
            original.copy_(maker(original))
            original.requires_grad_(trained)
            return original
        value = maker().clone(memory_format=torch.contiguous_format)
    return nn.Parameter(value, requires_grad=trained)


def _put_back(module: nn.Module, name: str, weight: nn.Parameter) -> None:
    """A dense parameter in the place of a network; what stands upon the network stands upon it."""
    table = cast(Any, module.parametrizations)
    made, order = table[name], vars(table).get("order_of_parameters", [])
    others = [m for m in made if not isinstance(m, Generated)]
    if others:
        made._modules = {str(k): m for k, m in enumerate(others)}
        made.is_tensor, made.ntensors = True, 1
        made._parameters.pop("original", None)
        made.register_parameter("original", weight)
        return
    unregister(module, name)
    module.register_parameter(name, weight)
    put_back_in_order(module, order)

"""A layer with a network in the place of one of torch's: its weight fitted, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tnkit.core.checks import a_mapping, a_network, flag
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.network import Network
from tnkit_nn.adapter.fitting import fit as fit_arrays
from tnkit_nn.adapter.starts import ONE_WAY, begun_in_closed_form
from tnkit_nn.checks import check_fills, materialised

__all__ = ["in_its_place"]

Layer = TypeVar("Layer", bound=nn.Module)


def in_its_place(
    module: nn.Module,
    network: Network | Pair,
    arrays: Mapping[str, Any] | None,
    fit: bool,
    options: Mapping[str, Any],
    make: Callable[..., Layer],
    who: str,
) -> Layer:
    """The layer that ``make(network, arrays, dtype=, seed=)`` gives, with the arrays fitted to the module's weight.

    Dtype, device, bias, mode and what is frozen are the module's, which is left alone.  The fit of a tree begins at its closed form.

    Raises
    ------
    TypeError
        No network, no mapping of arrays, ``fit`` no flag.
    ValueError
        The network does not fill the weight; a weight without values where ``fit`` needs them; options of a fit without one.
    """
    weight, fit = _weight(module, flag(fit, f"{who}: fit"), who), bool(fit)
    network, arrays = network_of(network, arrays, who)
    network = a_network(network, who)
    check_fills(network, weight.shape, who, warn=False)  # the layer says what is cut
    arrays = None if arrays is None else a_mapping(arrays, who)
    if fit:
        arrays = _fitted(network, weight.detach(), arrays, options)
    elif set(options) - {"seed"}:
        raise ValueError(f"{who}: {', '.join(options)} are options of the fit, but fit=False")
    with torch.device("meta") if weight.is_meta else nullcontext():
        layer = make(network, arrays, dtype=weight.dtype, seed=options.get("seed", 0))
    _check_real(layer, weight, who)
    layer = layer.to(weight.device)
    layer.tn.requires_grad_(weight.requires_grad)
    _take_bias(layer, module)
    return layer.train(module.training)


def _fitted(
    net: Network, weight: Tensor, arrays: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """From the closed form of a tree, which is the whole fit of a large weight where no steps are asked for."""
    if arrays is None:
        arrays = begun_in_closed_form(net, weight)
        if arrays is not None and weight.numel() > ONE_WAY:
            options = {"steps": 1, **options}
    return fit_arrays(net, weight, arrays=arrays, **options).arrays


def _weight(module: nn.Module, fit: bool, who: str) -> Tensor:
    weight: Tensor = module.weight  # type: ignore[assignment]
    what = f"{who}: the weight of {type(module).__name__}"
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"{what} has a shape, but this one is lazy: call the module once before")
    if weight.is_meta and not fit:
        return weight
    if weight.is_meta:
        raise ValueError(
            f"{what} has values where the network is fitted to it, but it is on the meta device: fit=False"
        )
    return materialised(weight, what)


def _check_real(layer: nn.Module, weight: Tensor, who: str) -> None:
    for name, tensor in layer.tn.tensors().items():  # type: ignore[union-attr, operator]
        if tensor.is_complex() and not weight.is_complex():
            raise ValueError(f"{who}: array {name!r} is {tensor.dtype}, but the weight is {weight.dtype}")


def _take_bias(layer: nn.Module, module: nn.Module) -> None:
    bias = getattr(module, "bias", None)
    if bias is None:
        return
    mine: nn.Parameter = layer.bias  # type: ignore[assignment]
    with torch.no_grad():
        mine.copy_(bias)
    mine.requires_grad_(bias.requires_grad)

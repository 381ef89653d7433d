"""Floating-point operations of a layer's forward: what the way costs that the layer takes for an input, and what a built weight costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnkit_nn.adapter.conv import TNConv1d, TNConv2d, TNConv3d
from tnkit_nn.adapter.conv_chain import ConvChain
from tnkit_nn.adapter.crossover import route_for, way_flops
from tnkit_nn.adapter.embedding import TNEmbedding
from tnkit_nn.adapter.linear import TNLinear

__all__ = ["ForwardFlops", "counted", "forward_flops"]

TNLayer = TNLinear | TNConv1d | TNConv2d | TNConv3d | TNEmbedding


@dataclass(frozen=True)
class ForwardFlops:
    """Of one call, 2 a multiply-add; biases are not counted.

    Attributes
    ----------
    flops
        Of the way that the layer takes in training.
    built
        Whether that builds the weight.
    if_built
        Of building the weight and multiplying by it.
    """

    flops: int
    built: bool
    if_built: int


def forward_flops(layer: TNLayer, x: Tensor) -> ForwardFlops:
    """The count for an input: ``forward_flops(layer, torch.ones(128, 784)).flops / 128`` is that of one example.

    A weight that is kept in evaluation is not built again: a forward then costs what that of a dense layer does.
    """
    if isinstance(layer, TNEmbedding):
        made = layer.tn.plan.flops  # rows are looked up, which computes nothing
        return ForwardFlops(made if layer.plan is None else _picked(layer, x), layer.plan is None, made)
    return _linear(layer, x) if isinstance(layer, TNLinear) else _convolution(layer, x)


def _picked(layer: TNEmbedding, tokens: Tensor) -> int:
    """Of contracting the slices that tokens pick; the plan was made for some number of them."""
    plan = layer.plan
    assert plan is not None
    return plan.flops * tokens.numel() // plan.network.sizes[plan.network.output[0]]


def _linear(layer: TNLinear, x: Tensor) -> ForwardFlops:
    rows = prod(x.shape[:-1])
    if_built = layer.tn.plan.flops + 2 * rows * layer.in_features * layer.out_features
    route = route_for(layer.routes, rows, layer._typical)
    if route is None:
        return ForwardFlops(if_built, True, if_built)
    return ForwardFlops(*way_flops(route, layer._x, rows), if_built)


def _convolution(layer: TNConv1d | TNConv2d | TNConv3d, x: Tensor) -> ForwardFlops:
    batch, space = x.shape[0], list(x.shape[2:])
    out = layer._out_sizes(space)
    positions = batch * prod(out)
    if_built = layer.tn.plan.flops + 2 * positions * prod(layer._shape)
    route: ConvChain | None = route_for(layer.routes, positions, layer._typical)
    if route is None:
        return ForwardFlops(if_built, True, if_built)
    padded, _ = layer._padded(x[:1])
    before = [o if k == 1 else n for n, o, k in zip(padded.shape[2:], out, layer.kernel_size, strict=True)]
    return ForwardFlops(route.flops(batch, before, out), False, if_built)


def counted(module: nn.Module, *given: object, **options: object) -> int:
    """What torch's own counter says of one call of any module; 0 where it knows none of its operations."""
    if type(module) is nn.Linear and len(given) == 1 and isinstance(given[0], Tensor) and not options:
        return (
            2 * given[0].numel() * module.out_features
        )  # the counter's first use costs a process two seconds of imports
    with FlopCounterMode(display=False) as counter:
        module(*given, **options)
    return int(counter.get_total_flops())

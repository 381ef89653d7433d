"""A network added to a frozen weight, contracted with the input where that is cheaper: no dense update is built.

>>> layer = nn.Linear(1024, 1024)
>>> parametrize_(layer, "weight", tk.low_rank((1024, 1024), 8), base=True)  # LoRA
>>> layer(x)  # x @ W0.T + bias + (x @ B.T) @ A.T

Such a module has a forward of its own, on the class that torch made for it.  It is used while the network is all that changes the
weight; whoever reads ``layer.weight``, or adds another parametrization or a hook to it, gets the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.network import Network
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.calibration import rates
from tnkit.planning.plan import Plan
from tnkit_nn.adapter.crossover import (
    WeightRoute,
    crossovers,
    exporting,
    input_routes,
    matrix_split,
    route_for,
    weight_first,
)
from tnkit_nn.adapter.generated import Generated, full_precision, generator_of
from tnkit_nn.adapter.keeping import can_keep
from tnkit_nn.adapter.rows import TableRows, planned_rows
from tnkit_nn.engine.backend import TORCH, autocasts, ready

__all__ = ["contract_again", "install"]

#: Rows that an order is searched for, beside a single one.
TYPICAL = 256

Routes = tuple[tuple[int, Plan | None], ...]


@dataclass(frozen=True)
class _Product:
    """How what is added is multiplied by an input.

    Attributes
    ----------
    routes, kept_routes
        By rows: the plan that contracts it with the input, or None; while it trains, and where its tensor is kept.
    apart
        Without a plan: below so many rows the two weights are multiplied by one after the other, from there on their sum is built.
    x, dims, out
        The input's name among the arrays, its sizes there, and how many columns the product has.
    """

    routes: Routes
    kept_routes: Routes
    apart: int
    x: str
    dims: tuple[int, ...]
    out: int


def install(module: nn.Module, name: str, optimizer: str | Optimizer = "auto") -> bool:
    """Give a Linear, an Embedding or a ``Conv1D`` of transformers the forward that contracts what is added to its weight.

    Nothing happens to other modules, to classes with a forward of their own, and to an embedding whose network has no digits
    for its rows or is nonlinear.

    Parameters
    ----------
    module
        ``module.parametrizations[name]`` has the old weight, and a network that is added to it.
    name
        Of the weight.
    optimizer
        As for :func:`tnkit.plan`.

    Returns
    -------
    bool
        Whether it was given one.
    """
    known = _known(module) if name == "weight" else None
    at: Any = cast(Any, module.parametrizations)[name]
    net = generator_of(at)
    if known is None or net is None or not net.base:
        return False
    at.added = known.plans(net, optimizer)
    contract_again(module)
    return at.added is not None


def contract_again(module: nn.Module) -> None:
    """Give a module whose ways were planned its forward again: its class may be a new one, as that of a module out of a file is."""
    known = _known(module)
    if known is not None and getattr(_parametrized(module), "added", None) is not None:
        cast(Any, type(module)).forward = known.forward


# -- forwards ------------------------------------------------------------------------------------------------------------
def _linear(self: Any, x: Tensor) -> Tensor:
    found = _usable(self, x)
    return nn.Linear.forward(self, x) if found is None else _multiplied(self, *found, x, False)


def _conv1d(self: Any, x: Tensor) -> Tensor:
    found = _usable(self, x)
    if found is None:
        return F.linear(x, self.weight.mT, self.bias)
    return _multiplied(self, *found, x, True)


def _multiplied(self: Any, base: Tensor, how: _Product, net: Generated, x: Tensor, turned: bool) -> Tensor:
    """The product with the old weight and that with the network, contracted or built; or that with their sum.

    The network's comes first: its gradient is then added to that of the other one, and takes no memory of its own.  Both take the
    same matrix of rows, for the gradients of two views would be added outside of it.
    """
    weight, rows = base.mT if turned else base, TYPICAL if exporting() else prod(x.shape[:-1])
    arrays, narrower = net.tensors(), autocasts(x.device)
    fits = x.dim() > 0 and x.shape[-1] == weight.shape[1] and (narrower or x.dtype == weight.dtype)
    if rows > 0 and fits:  # torch cannot infer a size from an empty tensor; it refuses the others
        kept = not torch.compiler.is_compiling() and can_keep(net, arrays.values())
        route = route_for(how.kept_routes if kept else how.routes, rows, TYPICAL)
        if route is not None:
            flat = x if x.dim() == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])
            added = _contracted(how, route, arrays, flat, net.like)
            y = F.linear(flat, weight, self.bias)
            y = (added + y).to(y.dtype)
            return y if x.dim() == 2 else y.reshape(*x.shape[:-1], y.shape[-1])
        if rows < how.apart and not narrower:  # autocast rounds the sum once
            update = net.update()
            return F.linear(x, update.mT if turned else update) + F.linear(x, weight, self.bias)
    dense = self.weight
    return F.linear(x, dense.mT if turned else dense, self.bias)


def _contracted(how: _Product, route: Plan, arrays: dict[str, Tensor], x: Tensor, like: Tensor) -> Tensor:
    """The network times a matrix of rows; under autocast in the precision of its arrays."""
    missing = prod(how.dims) - x.shape[1]
    with full_precision(x.device):
        wide = F.pad(x.to(like.dtype), (0, missing)) if missing else x.to(like.dtype)
        wide = wide if len(how.dims) == 1 else wide.reshape(len(wide), *how.dims)
        made: Tensor = run(route, {**arrays, how.x: wide}, TORCH)
    made = made if made.dim() == 2 else made.reshape(len(made), -1)
    return made if made.shape[1] == how.out else made[:, : how.out]


def _embedding(self: Any, tokens: Tensor) -> Tensor:
    found = _usable(self, tokens)
    count = TYPICAL if exporting() else tokens.numel() if isinstance(tokens, Tensor) else 0  # one graph for any number
    if found is None or not 0 < count <= self.num_embeddings:  # more tokens than rows: the table is less work
        return nn.Embedding.forward(self, tokens)
    if self.max_norm is not None or self.scale_grad_by_freq:  # these are of the rows of the sum
        return nn.Embedding.forward(self, tokens)
    base, how, net = found
    y = F.embedding(tokens, base)  # refuses wrong tokens as it did
    with full_precision(y.device):
        added = how(net.tensors(), tokens, self.embedding_dim)
    if net.padding is not None:
        added = added.masked_fill((tokens == net.padding).unsqueeze(-1), 0)
    return y + added


def _usable(module: nn.Module, x: Any) -> tuple[Tensor, Any, Generated] | None:
    """The old weight, how the network is contracted, and the network; None where the sum itself is asked for."""
    if not isinstance(x, Tensor) or x.layout is not torch.strided or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return None
    at = _parametrized(module)
    net, how = generator_of(at), getattr(at, "added", None)
    if net is None or how is None or len(at) != 1:
        return None
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in (at, net)):
        return None
    return at.original, how, net


def _parametrized(module: nn.Module) -> Any:
    """Torch's list of what changes the weight; None where nothing does."""
    table = module._modules.get("parametrizations")
    return None if table is None else table._modules.get("weight")


# -- plans ---------------------------------------------------------------------------------------------------------------
def _planned_linear(net: Generated, optimizer: str | Optimizer) -> _Product:
    return _planned(net, net.network, net.shape, optimizer)


def _planned_conv1d(net: Generated, optimizer: str | Optimizer) -> _Product:
    old = net.network
    k = matrix_split(old, *net.shape) if old.multilinear else None
    turned = old if k is None else Network(old.nodes, (*old.output[k:], *old.output[:k]), old.sizes)
    return _planned(net, turned, net.shape[::-1], optimizer)


def _planned(net: Generated, network: Network, shape: tuple[int, ...], optimizer: str | Optimizer) -> _Product:
    """The crossovers of a step of training, whose passes back take twice as long as the one forward, and of use."""
    (out, cols), speed, size = shape, rates(), net.like.element_size()
    outs = matrix_split(network, *shape) if network.multilinear else None
    x, dims, ways = "", tuple[int, ...](), list[WeightRoute[Plan]]()
    if outs is not None:
        x, dims, ways = input_routes(network, network.output[outs:], TYPICAL, optimizer, size)
        summed = speed.seconds(out, 3 * size * out)
        ways = [replace(way, one=way.one + summed, row=way.row + summed) for way in ways]
    built, added = weight_first(net.plan, out, cols, size), speed.seconds(out * cols, 3 * size * out * cols)
    # the product with the sum is that with the old weight, which every way has; its gradient is one more
    trained = _costs(built, built.fixed + added, built.row / 3)
    apart, summed_up = _costs(built, speed.seconds(0, size * out * cols), built.row), _costs(built, added, 0.0)
    routes, kept_routes = crossovers([*ways, trained]), crossovers([*ways, apart, summed_up])
    found = _Product(routes, kept_routes, int(added / built.row / 2), x, dims, out)
    for _, route in (*found.routes, *found.kept_routes):
        if route is not None:
            ready(route)
    return found


def _costs(way: WeightRoute[Plan], fixed: float, row: float) -> WeightRoute[Plan]:
    return replace(way, one=fixed + row, fixed=fixed, row=row)


def _planned_embedding(net: Generated, optimizer: str | Optimizer) -> TableRows | None:
    num, dim = net.shape
    return planned_rows(net.network, num, dim, TYPICAL, optimizer)


# -- what is known -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Known:
    forward: Callable[..., Tensor]
    plans: Callable[[Generated, str | Optimizer], Any]


def _spelled(forward: Any) -> str:
    return f"{getattr(forward, '__module__', '')}:{getattr(forward, '__qualname__', '')}"


#: Forwards that are known, by where they are defined: ``transformers`` is never imported.
_FORWARDS = {
    _spelled(nn.Linear.forward): _Known(_linear, _planned_linear),
    _spelled(nn.Embedding.forward): _Known(_embedding, _planned_embedding),
    "transformers.pytorch_utils:Conv1D.forward": _Known(_conv1d, _planned_conv1d),
}


def _known(module: nn.Module) -> _Known | None:
    """By the forward of the class that torch's is made of: a subclass with its own is another."""
    return _FORWARDS.get(_spelled(cast(Any, type(module).__bases__[0]).forward))

"""A linear layer that contracts a network with its input, in the order that is cheapest for the batch at hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.checks import a_network, flag
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.wording import shown
from tnkit.execution.run import run
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan
from tnkit_nn.adapter.crossover import WeightRoute, described, exact_split, input_routes, weight_first
from tnkit_nn.adapter.layer_weight import LayerWeight, RoutedLayer, drawn_weight
from tnkit_nn.adapter.module import check_input
from tnkit_nn.adapter.precision import rounded_once
from tnkit_nn.adapter.replacement import in_its_place
from tnkit_nn.checks import a_size, check_fills
from tnkit_nn.engine.backend import TORCH, ready
from tnkit_nn.engine.launches import LINEAR
from tnkit_nn.gradients import with_gradients

__all__ = ["TNLinear"]


class _LinearWeight(LayerWeight):
    _spoken = "TNLinear"


class TNLinear(RoutedLayer[Plan]):
    """A linear layer whose weight is a network.

    >>> layer = tknn.TNLinear(64, 64, tk.mpo((8, 8), (8, 8), rank=2))
    >>> layer(torch.ones(10, 64)).shape
    torch.Size([10, 64])
    >>> sum(p.numel() for p in layer.parameters()), nn.Linear(64, 64).weight.numel() + 64  # 2 * 8*8*2 + 64
    (320, 4160)

    The network's output indices read as ``(out_features, in_features)``, outs first.  Where they factorise the two sizes
    exactly and the network is multilinear, the input is joined to it as one more node and the planner orders the whole
    (factorised); else, and for batches where that is faster, the weight is built and multiplied (reconstructed).  Both
    kinds are planned when the layer is made; a call compares its number of rows with the crossovers, by the time of a forward
    that the machine's rates predict (:func:`tnkit.calibrate`): of every operation, what it takes to start it, what it computes
    and what it moves.  ``print(layer)`` shows them.  In eval mode without gradients a weight that was built is kept until an
    array changes, and the crossovers are those of a kept weight.

    A network larger than the layer is cropped to it: the weight is its leading ``(out_features, in_features)`` part, always
    reconstructed, and what lies outside gets no gradient.  Under autocast all is computed in the arrays' dtype and rounded once.

    Parameters
    ----------
    in_features, out_features, bias
        As for ``nn.Linear``.
    network
        A network whose tensor reads as the weight, or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Its arrays; by default drawn with the weight's scale of ``nn.Linear``, or as by ``tnkit.init.normal(network)`` where an
        outermost activation does not reach that.
    transposed
        The network's tensor reads as ``(in_features, out_features)``, as the weight of ``Conv1D`` of transformers does.
    batch
        Typical number of rows: an order is searched for it, and one for a single row.
    optimizer, dtype, seed
        As for :class:`TNModule`.

    Raises
    ------
    TypeError
        Sizes that are no whole numbers, no network, no mapping of arrays.
    ValueError
        The network does not fill the weight; arrays as for :class:`TNModule`.
    """

    @keywords_of(net="network")
    def __init__(
        self,
        in_features: int,
        out_features: int,
        network: Network | Pair,
        bias: bool = True,
        arrays: Mapping[str, Any] | None = None,
        *,
        transposed: bool = False,
        batch: int = 256,
        optimizer: str | Optimizer = "auto",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.in_features = in_features = a_size(in_features, "TNLinear: in_features")
        self.out_features = out_features = a_size(out_features, "TNLinear: out_features")
        self.transposed = flag(transposed, "TNLinear: transposed")
        self._shape = (in_features, out_features) if self.transposed else (out_features, in_features)
        network, arrays = network_of(network, arrays, "TNLinear")
        network = a_network(network, "TNLinear: network")
        bias, batch = flag(bias, "TNLinear: bias"), a_size(batch, "TNLinear: batch")
        self._unused = check_fills(network, self._shape, "TNLinear")
        options: dict[str, Any] = {"optimizer": optimizer, "dtype": dtype, "seed": seed}
        self._fan_in = in_features
        self.tn = drawn_weight(_LinearWeight, network, arrays, 1 / sqrt(3 * in_features), **options)
        self._add_bias(out_features, bias)
        self._plan_routes(batch, optimizer)

    def _plan_routes(self, batch: int, optimizer: str | Optimizer) -> None:
        """The ways to multiply and their crossovers, for a weight that is built at every call and for one that is kept."""
        net, itemsize = self.tn.network, self.tn.like.element_size()
        self._x, self._dims, ways = "", tuple[int, ...](), list[WeightRoute[Plan]]()
        first = exact_split(net, *self._shape)
        if net.multilinear and first is not None:
            ins = net.output[:first] if self.transposed else net.output[first:]
            self._x, self._dims, ways = input_routes(net, ins, batch, optimizer, itemsize)
        built = weight_first(self.tn.plan, self.out_features, self.in_features, itemsize)
        self._take_routes(ways, built, LINEAR, batch)
        self._why = tuple(described(self.routes, [*ways, built], batch)) if ways else (self._only(),)
        for _, route in (*self.routes, *self.kept_routes):
            if route is not None:
                ready(route)

    @classmethod
    @with_gradients
    def from_module(
        cls,
        module: nn.Module,
        network: Network | Pair,
        *,
        fit: bool = True,
        arrays: Mapping[str, Any] | None = None,
        batch: int = 256,
        **options: Any,
    ) -> TNLinear:
        """A layer in the place of ``module``: bias (or none), dtype, device, mode and what is frozen are as there.

        >>> trained = nn.Linear(16, 16)
        >>> layer = tknn.TNLinear.from_module(trained, tk.mpo((4, 4), (4, 4), 16))  # of full rank: it computes the same
        >>> x = torch.ones(2, 16)
        >>> torch.allclose(layer(x), trained(x), atol=1e-5)
        True
        >>> small = tknn.TNLinear.from_module(nn.Linear(784, 512), tk.mpo((8, 8, 8), (4, 14, 14), 4), fit=False)
        >>> sum(p.numel() for p in small.parameters()), 784 * 512 + 512
        (2880, 401920)

        Parameters
        ----------
        module
            An ``nn.Linear``, or a ``Conv1D`` of transformers, whose weight is ``(in, out)``; it is left alone.
        network
            Its new weight: its tensor reads as ``module.weight``.
        fit
            Fit the arrays to the weight by :func:`tnkit_nn.fit`, from the closed form where the network is a tree (beyond 4 million
            entries that is all, unless ``steps`` are given); else they are ``arrays``, or drawn.
        arrays
            Where the fit starts, or the arrays themselves.
        batch
            As for :class:`TNLinear`.
        **options
            For the fit: steps, lr, seed, restarts, progress ...

        Raises
        ------
        TypeError
            Another module, no network, no mapping of arrays.
        ValueError
            The network does not fill the weight; one without values where it is fitted; options of a fit with ``fit=False``.
        """
        who = "TNLinear.from_module"
        transposed = _is_conv1d(module)
        if not transposed and not isinstance(module, nn.Linear):
            raise TypeError(f"{who}: module is an nn.Linear, or a Conv1D of transformers, not {shown(module)}")
        given: Any = module
        ins, outs = given.weight.shape if transposed else (given.in_features, given.out_features)
        batch = a_size(batch, f"{who}: batch")

        def make(network: Network, arrays: Mapping[str, Any] | None, **options: Any) -> TNLinear:
            bias = given.bias is not None
            return cls(ins, outs, network, bias, arrays, transposed=transposed, batch=batch, **options)

        return in_its_place(module, network, arrays, fit, options, make, who)

    def forward(self, x: Tensor) -> Tensor:
        """``x @ weight.T + bias`` for ``x`` of shape ``(..., in_features)``."""
        check_input(x, self.tn.like, "TNLinear: x")
        if not x.dim() or x.shape[-1] != self.in_features:
            raise ValueError(f"TNLinear: x has shape (..., {self.in_features}), not {tuple(x.shape)}")
        tensors = self.tn.tensors()
        route = self._route(tensors, prod(x.shape[:-1]))
        if route is None:
            weight = self._built(tensors)
            return F.linear(x, weight.mT if self.transposed else weight, self.bias)
        return rounded_once(lambda x: self._contracted(route, tensors, x), x, self.tn.like, "TNLinear: x")

    def _contracted(self, route: Plan, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        lead = x.shape[:-1]
        arrays = {**tensors, self._x: x.reshape(prod(lead), *self._dims)}
        y = run(route, arrays, TORCH).reshape(*lead, self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Sizes, and which forward is used for which batch, with the times predicted when the layer was made."""
        first = f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        return "\n".join((f"{first}, transposed=True" if self.transposed else first, *self._why))

    def _only(self) -> str:
        """Why the weight is built for every batch."""
        net = self.tn.network
        if prod(net.shape) != prod(self._shape):
            why = self._unused
        elif not net.multilinear:
            why = "the network is nonlinear"
        else:
            why = f"no split of {net.shape} makes {self._shape[0]} x {self._shape[1]}"
        return f"any batch: reconstructed, for {why}"


def _is_conv1d(module: Any) -> bool:
    """Whether it is ``Conv1D`` of transformers, by what it has: ``nf`` columns in a matrix ``(in, nf)``."""
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(weight, Tensor)
        and weight.dim() == 2
        and getattr(module, "nf", None) == weight.shape[1]
    )

"""Layers that contract a network with their input, in the order that is cheapest for the batch at hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.checks import a_mapping, a_network, flag
from tnkit.core.decomposition import Decomposition, network_of
from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network
from tnkit.core.node import Node
from tnkit.core.shapes import split_axes
from tnkit.execution.codegen import prepare
from tnkit.execution.region_scale import UnreachableError
from tnkit.execution.run import run
from tnkit.execution.weights import detensorize
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.plan import Plan
from tnkit.planning.planner import plan
from tnkit_nn.adapter.crossover import WeightRoute, crossovers, described, weight_first, with_input
from tnkit_nn.adapter.fitting import fit as fit_arrays
from tnkit_nn.adapter.module import ClosedModule, check_input
from tnkit_nn.checks import a_kind, a_size, a_tensor, check_fills, materialised
from tnkit_nn.engine.backend import TORCH

__all__ = ["TNEmbedding", "TNLinear"]


class _LinearWeight(ClosedModule):
    _spoken = "TNLinear"


class _Table(ClosedModule):
    _spoken = "TNEmbedding"


class TNLinear(nn.Module):
    """A linear layer whose weight is a network.

    The network's output indices read as ``(out_features, in_features)``, outs first.  Where they factorise the two sizes
    exactly and the network is multilinear, the input is joined to it as one more node and the planner orders the whole
    (factorised); else, and for batches where that is faster, the weight is built and multiplied (reconstructed).  Both
    kinds are planned when the layer is made; a call compares its number of rows with the crossovers, by the time of a forward
    that the machine's rates predict (:func:`tnkit.calibrate`): of every operation, what it takes to start it, what it computes
    and what it moves.  ``print(layer)`` shows them.

    A network larger than the layer is cropped to it: the weight is its leading ``(out_features, in_features)`` part, always
    reconstructed, and what lies outside gets no gradient.

    Parameters
    ----------
    in_features, out_features, bias
        As for ``nn.Linear``.
    network
        A network whose tensor reads as the weight; a :class:`tnkit.Decomposition` is a network and its arrays.
    arrays
        Its arrays; by default drawn with the weight's scale of ``nn.Linear``, or as by ``tnkit.init.normal(network)`` where an
        outermost activation does not reach that.
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

    def __init__(
        self,
        in_features: int,
        out_features: int,
        network: Network | Decomposition,
        bias: bool = True,
        arrays: Mapping[str, Any] | None = None,
        *,
        batch: int = 256,
        optimizer: str | Optimizer = "auto",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.in_features = in_features = a_size(in_features, "TNLinear: in_features")
        self.out_features = out_features = a_size(out_features, "TNLinear: out_features")
        network, arrays = network_of(network, arrays, "TNLinear")
        network = a_network(network, "TNLinear: network")
        bias, batch = flag(bias, "TNLinear: bias"), a_size(batch, "TNLinear: batch")
        self._unused = check_fills(network, (out_features, in_features), "TNLinear")
        options: dict[str, Any] = {"optimizer": optimizer, "dtype": dtype, "seed": seed}
        try:
            self.tn = _LinearWeight(network, arrays, std=1 / sqrt(3 * in_features), **options)
        except UnreachableError:  # a sigmoid is outermost, say
            self.tn = _LinearWeight(network, arrays, **options)
        like = self.tn.like
        self.bias: nn.Parameter | None = None
        if bias:
            bound = 1 / sqrt(in_features)
            self.bias = nn.Parameter(torch.empty(out_features, dtype=like.dtype).uniform_(-bound, bound))
        self._x, self._dims, ways = "", tuple[int, ...](), list[WeightRoute]()
        outs = _exact(network, out_features, in_features)
        if network.multilinear and outs is not None:
            ins = network.output[outs:]
            self._dims = tuple(network.sizes[i] for i in ins)
            taken = names_in(network)
            self._x, b = free_name("x", taken), free_name("b", taken)
            ways = with_input(network, ins, self._x, b, batch, optimizer, like.element_size())
        ways.append(weight_first(self.tn.plan, out_features, in_features, like.element_size()))
        #: The typical number of rows, and the seconds that are predicted for it.
        self._typical, self._seconds = batch, min(way.seconds(batch) for way in ways)
        #: ``(rows, plan)``: the plan used below so many rows; None builds the weight.
        self.routes: tuple[tuple[int, Plan | None], ...] = crossovers(ways)
        self._why = tuple(described(self.routes, ways, batch)) if len(ways) > 1 else (self._only(),)
        for _, route in self.routes:
            if route is not None:
                prepare(route.program, TORCH)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        network: Network | Decomposition,
        *,
        fit: bool = True,
        arrays: Mapping[str, Any] | None = None,
        batch: int = 256,
        **options: Any,
    ) -> TNLinear:
        """A layer with the bias (or none), dtype and device of ``linear``; what is frozen there is frozen here.

        Parameters
        ----------
        linear
            The layer to replace; it is left alone.
        network
            Its new weight.
        fit
            Fit the arrays to the weight by :func:`tnkit_nn.fit`; else they are ``arrays``, or drawn.
        arrays
            Where the fit starts, or the arrays themselves.
        batch
            As for :class:`TNLinear`.
        **options
            For the fit: steps, lr, seed, restarts, progress ...
        """
        who = "TNLinear.from_linear"
        weight = materialised(
            a_kind(linear, nn.Linear, f"{who}: linear").weight.detach(), f"{who}: the weight of linear"
        )
        network, arrays = network_of(network, arrays, who)
        network = a_network(network, who)
        check_fills(network, weight.shape, who, warn=False)  # the layer says what is cut
        a_size(batch, f"{who}: batch")
        arrays = None if arrays is None else a_mapping(arrays, who)
        if flag(fit, f"{who}: fit"):
            arrays = fit_arrays(network, weight, arrays=arrays, **options).arrays
        elif set(options) - {"seed"}:
            raise ValueError(f"{who}: {', '.join(options)} are options of the fit, but fit=False")
        layer = cls(
            linear.in_features, linear.out_features, network, linear.bias is not None, arrays, batch=batch,
            dtype=weight.dtype, seed=options.get("seed", 0),
        ).to(weight.device)  # fmt: skip
        layer.tn.requires_grad_(linear.weight.requires_grad)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.copy_(linear.bias)
            layer.bias.requires_grad_(linear.bias.requires_grad)
        return layer.train(linear.training)

    @property
    def weight(self) -> Tensor:
        """The dense weight, built now."""
        return detensorize(self.tn(), (self.out_features, self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """``x @ weight.T + bias`` for ``x`` of shape ``(..., in_features)``."""
        check_input(x, self.tn.like, "TNLinear: x")
        if not x.dim() or x.shape[-1] != self.in_features:
            raise ValueError(f"TNLinear: x has shape (..., {self.in_features}), not {tuple(x.shape)}")
        lead = x.shape[:-1]
        rows = prod(lead)
        route = self._route(rows)
        if route is None:
            return F.linear(x, self.weight, self.bias)
        arrays = {**self.tn.tensors(), self._x: x.reshape(rows, *self._dims)}
        y = run(route, arrays, TORCH).reshape(*lead, self.out_features)
        if torch.is_autocast_enabled(x.device.type):
            y = y.to(torch.get_autocast_dtype(x.device.type))
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def _route(self, rows: int) -> Plan | None:
        if _exporting():  # one graph for every batch: to compare rows would bound them
            rows = self._typical
        if rows > 0:  # torch cannot infer a size from an empty tensor
            for below, route in self.routes:
                if rows < below:
                    return route
        return None if rows == 0 else self.routes[-1][1]

    def extra_repr(self) -> str:
        """Sizes, and which forward is used for which batch, with the times predicted when the layer was made."""
        first = f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        return "\n".join((first, *self._why))

    def _only(self) -> str:
        """Why the weight is built for every batch."""
        net, need = self.tn.network, (self.out_features, self.in_features)
        if prod(net.shape) != prod(need):
            why = self._unused
        elif not net.multilinear:
            why = "the network is nonlinear"
        else:
            why = f"no split of {net.shape} makes {need[0]} x {need[1]}"
        return f"any batch: reconstructed, for {why}"


class TNEmbedding(nn.Module):
    """An embedding whose table is a network: the digits of a token pick slices of the arrays, and the rest is contracted.

    The table is never built, unless the network is nonlinear.  The output indices read as ``(num, dim)``, sizes that do not
    divide being padded.

    Parameters
    ----------
    num, dim
        As for ``nn.Embedding``.
    network
        A network whose tensor reads as the table; a :class:`tnkit.Decomposition` is a network and its arrays.
    arrays
        Its arrays; by default drawn with the scale of ``nn.Embedding`` (1).
    batch
        Typical number of tokens, for the order.
    optimizer, dtype, seed
        As for :class:`TNModule`.
    """

    def __init__(
        self,
        num: int,
        dim: int,
        network: Network | Decomposition,
        arrays: Mapping[str, Any] | None = None,
        *,
        batch: int = 256,
        optimizer: str | Optimizer = "auto",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.num = num = a_size(num, "TNEmbedding: num")
        self.dim = dim = a_size(dim, "TNEmbedding: dim")
        network, arrays = network_of(network, arrays, "TNEmbedding")
        network, batch = a_network(network, "TNEmbedding: network"), a_size(batch, "TNEmbedding: batch")
        self._unused = check_fills(network, (num, dim), "TNEmbedding")
        aligned = bool(_exact(network, num, dim))  # one row has no digits: the table is built
        if prod(network.shape) != num * dim:
            digits, aligned = len(split_axes(network.shape, (num, dim))[0]), True
        else:
            digits = _exact(network, num, dim) or 0
        self.tn = _Table(network, arrays, optimizer=optimizer, dtype=dtype, seed=seed)
        self.plan: Plan | None = None
        if network.multilinear and aligned:
            self._digits, b = network.output[:digits], free_name("b", names_in(network))
            self._sizes = tuple(network.sizes[i] for i in self._digits)
            self.plan = plan(_picked(network, self._digits, b, batch), optimizer, dynamic=b)
            prepare(self.plan.program, TORCH)

    @property
    def weight(self) -> Tensor:
        """The dense table, built now."""
        return detensorize(self.tn(), (self.num, self.dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows of the table: ``(..., dim)`` for whole numbers of shape ``(...)``.

        Raises
        ------
        TypeError
            Tokens that are no tensor of whole numbers.
        ValueError
            A token below 0 or from ``num`` on; on a GPU, and in compiled code, a RuntimeError that does not name it.
        """
        if not isinstance(tokens, Tensor):
            a_tensor(tokens, "TNEmbedding: tokens")
        if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
            raise TypeError(f"TNEmbedding: tokens are whole numbers, not {tokens.dtype}")
        if tokens.device != self.tn.like.device or tokens.layout is not torch.strided:
            check_input(tokens, tokens.new_empty(0, device=self.tn.like.device), "TNEmbedding: tokens")
        tokens = tokens.long()  # digits of a narrower kind would overflow, and uint8 picks as a mask does
        if tokens.numel() == 0:
            return F.embedding(tokens, self.weight)
        flat, where = tokens.reshape(-1), {}
        self._check_tokens(flat)
        if self.plan is None:
            return F.embedding(tokens, self.weight)
        for i, size in zip(reversed(self._digits), reversed(self._sizes), strict=True):
            where[i] = flat % size
            flat = flat // size
        arrays = {}
        for node in self.tn.network.nodes:
            assert isinstance(node, Node)  # a network with a plan is multilinear
            arrays[node.name] = _pick(getattr(self.tn, node.array), node.inds, where)
        y = run(self.plan, arrays, TORCH)
        return y.reshape(tokens.numel(), -1)[:, : self.dim].reshape(*tokens.shape, self.dim)

    def _check_tokens(self, flat: Tensor) -> None:
        """An error for a token without a row, which names it where reading its value makes nothing wait."""
        rule = f"TNEmbedding({self.num}, {self.dim}): tokens are in 0..{self.num - 1}, for there are {self.num} rows"
        inside = (flat >= 0) & (flat < self.num)
        if torch.compiler.is_compiling() or flat.device.type != "cpu":
            torch._assert_async(inside.all(), rule)
        elif not TORCH.unseen((inside,)) and not bool(inside.all()):
            raise ValueError(f"{rule}, not {int(flat[~inside][0])}")

    def extra_repr(self) -> str:
        """Sizes, whether the table is built, and what of the network it does not use."""
        first = f"{self.num}, {self.dim}, {'reconstructed' if self.plan is None else 'factorised'}"
        return "\n".join(part for part in (first, self._unused) if part)


#: Whether ``torch.export`` is at work (torch before 2.7 cannot tell it from ``torch.compile``).
_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


# -- networks and plans of the layers ----------------------------------------------------------------------------------
def _exact(net: Network, rows: int, cols: int) -> int | None:
    """How many output indices make up ``rows``, the others making up ``cols``; None where they do not factorise."""
    for k in range(len(net.shape) + 1):
        if prod(net.shape[:k]) == rows and prod(net.shape[k:]) == cols:
            return k
    return None


def _picked(net: Network, digits: tuple[str, ...], b: str, batch: int) -> Network:
    """The network after a batch of tokens has picked a slice of every array that carries a digit."""
    nodes = []
    for node in net.nodes:
        rest = tuple(i for i in node.inds if i not in digits)
        nodes.append(Node(node.name, (b, *rest) if len(rest) < len(node.inds) else rest, fixed=True))
    used = {i for node in nodes for i in node.inds}
    sizes = {i: s for i, s in {**net.sizes, b: batch}.items() if i in used}
    return Network(tuple(nodes), (b, *net.output[len(digits) :]), sizes)


def _pick(array: Tensor, inds: tuple[str, ...], where: Mapping[str, Tensor]) -> Tensor:
    """``array[..., digit, ...]`` for a batch of digits, the batch axis first."""
    axes = [k for k, i in enumerate(inds) if i in where]
    if not axes:
        return array
    rest = [k for k in range(len(inds)) if k not in axes]
    return array.permute(*axes, *rest)[tuple(where[inds[k]] for k in axes)]

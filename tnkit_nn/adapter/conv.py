"""Convolutions whose weight is a network: a chain of small convolutions, or the weight built and convolved with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod, sqrt
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnkit.core.checks import a_network, flag, one_of, sequence
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.node import has_order
from tnkit.core.numbers import whole_number
from tnkit.core.wording import shown
from tnkit.paths.optimizers import Optimizer
from tnkit.planning.calibration import rates
from tnkit_nn.adapter.conv_chain import CONVOLUTIONS, ConvChain, Slide, chains, conv_row_seconds
from tnkit_nn.adapter.conv_reading import read_as_convolution
from tnkit_nn.adapter.crossover import WeightRoute, described, plan_seconds
from tnkit_nn.adapter.layer_weight import LayerWeight, RoutedLayer, drawn_weight
from tnkit_nn.adapter.module import check_input
from tnkit_nn.adapter.precision import rounded_once
from tnkit_nn.adapter.replacement import in_its_place
from tnkit_nn.checks import a_kind, a_size, check_fills
from tnkit_nn.engine.launches import CONV, LAYER, MODULE, RESHAPE
from tnkit_nn.gradients import with_gradients

__all__ = ["TNConv1d", "TNConv2d", "TNConv3d"]

#: Name -> what ``torch.nn.functional.pad`` calls it.
_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _ConvWeight(LayerWeight):
    _spoken = "TNConv"


class _TNConv(RoutedLayer[ConvChain]):
    """The common part; ``_space`` axes of space."""

    _space: ClassVar[int]
    _replaces: ClassVar[type[nn.Module]]

    @keywords_of(net="network")
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        network: Network | Pair,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        arrays: Mapping[str, Any] | None = None,
        *,
        positions: int = 4096,
        optimizer: str | Optimizer = "auto",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        self.in_channels = in_channels = a_size(in_channels, f"{who}: in_channels")
        self.out_channels = out_channels = a_size(out_channels, f"{who}: out_channels")
        self.kernel_size = self._per_axis(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = self._per_axis(stride, "stride", 1), self._per_axis(dilation, "dilation", 1)
        self.padding = self._padding(padding)
        self.groups = _divisor(groups, in_channels, out_channels, who)
        self.padding_mode = one_of(padding_mode, f"{who}: padding_mode", _MODES)
        self._shape = (out_channels, in_channels // self.groups, *self.kernel_size)
        network, arrays = network_of(network, arrays, who)
        network = a_network(network, f"{who}: network")
        bias, positions = flag(bias, f"{who}: bias"), a_size(positions, f"{who}: positions")
        self._unused = check_fills(network, self._shape, who)
        options: dict[str, Any] = {"optimizer": optimizer, "dtype": dtype, "seed": seed}
        self._fan_in = prod(self._shape[1:])
        self.tn = drawn_weight(_ConvWeight, network, arrays, 1 / sqrt(3 * self._fan_in), **options)
        self._add_bias(out_channels, bias)
        self._plan_routes(positions, optimizer)

    def _per_axis(self, value: Any, name: str, least: int) -> tuple[int, ...]:
        """A number for all axes of space, or one for each."""
        what = f"{type(self).__name__}: {name}"
        if not has_order(value):
            return (whole_number(value, what, least, _LARGEST),) * self._space
        value = sequence(value, what)
        if len(value) != self._space:
            raise ValueError(f"{what} has {self._space} numbers, or is one for all, not {shown(value)}")
        return tuple(whole_number(n, f"a number of {what}", least, _LARGEST) for n in value)

    def _padding(self, value: Any) -> tuple[int, ...] | str:
        if not isinstance(value, str):
            return self._per_axis(value, "padding", 0)
        found = one_of(value, f"{type(self).__name__}: padding, unless it is a number,", ("same", "valid"))
        if found == "same" and {*self.stride} != {1}:
            raise ValueError(f"{type(self).__name__}: padding='same' needs stride 1, not {self.stride}")
        return found

    def _plan_routes(self, positions: int, optimizer: str | Optimizer) -> None:
        """The chains, their crossovers with a weight that is built, and with one that is kept."""
        net, itemsize, speed = self.tn.network, self.tn.like.element_size(), rates()
        self._sides = self._padded_sides()
        ways, self._only = list[WeightRoute[ConvChain]](), self._unused
        if prod(net.shape) == prod(self._shape):
            reading = read_as_convolution(net, self._shape, self.groups)
            self._only = reading if isinstance(reading, str) else "no order of the nodes is cheaper"
            ways = [] if isinstance(reading, str) else chains(reading, self.stride, optimizer, itemsize)
        made, kernel = self.out_channels // self.groups, prod(self.kernel_size)
        row = conv_row_seconds(
            speed, itemsize, self._shape[1], made, self.groups, kernel, float(prod(self.stride)), 1.0
        )
        fixed = plan_seconds(self.tn.plan, itemsize, prod(self._shape)) + _BUILT * speed.call
        built = WeightRoute[ConvChain](None, True, fixed + row, fixed, row)
        self._take_routes(ways, built, CONV, positions)
        lines = described(self.routes, [*ways, built], positions, "positions")
        self._why = tuple(lines) if ways else (f"any input: reconstructed, for {self._only}",)

    def _padded_sides(self) -> tuple[tuple[int, int], ...]:
        """Entries added before and behind, per axis of space."""
        if isinstance(self.padding, str):
            full = [
                d * (n - 1) * (self.padding == "same") for d, n in zip(self.dilation, self.kernel_size, strict=True)
            ]
            return tuple((n // 2, n - n // 2) for n in full)
        return tuple((p, p) for p in self.padding)

    @classmethod
    @with_gradients
    def from_module(
        cls,
        module: nn.Module,
        network: Network | Pair,
        *,
        fit: bool = True,
        arrays: Mapping[str, Any] | None = None,
        positions: int = 4096,
        **options: Any,
    ) -> Self:
        """A layer in the place of ``module``: all its sizes, bias, dtype, device, mode and what is frozen are as there.

        >>> trained = nn.Conv2d(4, 4, 3, padding=1)
        >>> conv = tknn.TNConv2d.from_module(trained, tk.tucker((4, 4, 3, 3), (4, 4, 3, 3)))  # of full rank: it computes the same
        >>> x = torch.ones(1, 4, 6, 6)
        >>> torch.allclose(conv(x), trained(x), atol=1e-5)
        True

        Parameters
        ----------
        module
            A convolution of torch with as many axes of space; it is left alone.
        network
            Its new weight: its tensor reads as ``module.weight``.
        fit
            Fit the arrays to the weight by :func:`tnkit_nn.fit`, from the closed form where the network is a tree (beyond 4 million
            entries that is all, unless ``steps`` are given); else they are ``arrays``, or drawn.
        arrays
            Where the fit starts, or the arrays themselves.
        positions
            Typical number of output positions, over the batch.
        **options
            For the fit: steps, lr, seed, restarts, progress ...

        Raises
        ------
        TypeError
            Another module, no network, no mapping of arrays.
        ValueError
            The network does not fill the weight; one without values where it is fitted; options of a fit with ``fit=False``.
        """
        who = f"{cls.__name__}.from_module"
        given: Any = a_kind(module, cls._replaces, f"{who}: module")
        positions = a_size(positions, f"{who}: positions")

        def make(network: Network, arrays: Mapping[str, Any] | None, **options: Any) -> _TNConv:
            return cls(
                given.in_channels, given.out_channels, given.kernel_size, network, given.stride, given.padding, given.dilation,
                given.groups, given.bias is not None, given.padding_mode, arrays, positions=positions, **options,
            )  # fmt: skip

        made: Any = in_its_place(module, network, arrays, fit, options, make, who)
        return cast(Self, made)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of ``x`` of shape ``(batch, in_channels, *space)``, or of one without a batch."""
        who = type(self).__name__
        check_input(x, self.tn.like, f"{who}: x")
        single = x.dim() == self._space + 1
        if x.dim() not in (self._space + 1, self._space + 2) or x.shape[-self._space - 1] != self.in_channels:
            axes = ", ".join(("depth", "height", "width")[3 - self._space :]) if self._space > 1 else "length"
            raise ValueError(f"{who}: x has shape (batch, {self.in_channels}, {axes}), not {tuple(x.shape)}")
        out = self._out_sizes(x.shape[-self._space :])
        x = x.unsqueeze(0) if single else x
        tensors = self.tn.tensors()
        route = self._route(tensors, x.shape[0] * prod(out))
        if route is None:
            y = self._convolved(x, self._built(tensors))
        else:
            y = rounded_once(lambda x: self._chained(route, x), x, self.tn.like, f"{who}: x")
        return y.squeeze(0) if single else y

    def _out_sizes(self, space: Sequence[int]) -> list[int]:
        """Sizes of the result's axes of space; ValueError for an input that is too small."""
        found, modes = [], {"reflect": 1, "circular": 0}
        for n, (a, b), k, d, s in zip(space, self._sides, self.kernel_size, self.dilation, self.stride, strict=True):
            need = max(d * (k - 1) + 1 - a - b, 1)
            if self.padding_mode in modes:  # what is added is taken from the input
                need = max(need, b + modes[self.padding_mode])
            if n < need:
                raise ValueError(
                    f"{type(self).__name__}: x has at least {need} entries on an axis of space, not {n}: {tuple(space)}"
                )
            found.append((n + a + b - d * (k - 1) - 1) // s + 1)
        return found

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """The input padded here where the convolution cannot, and the zeros that are left to it."""
        if self.padding_mode == "zeros" and all(a == b for a, b in self._sides):
            return x, tuple(a for a, _ in self._sides)
        sides = [n for pair in reversed(self._sides) for n in pair]
        return F.pad(x, sides, _MODES[self.padding_mode]), (0,) * self._space

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        x, padding = self._padded(x)
        bias = self.bias
        y: Tensor = CONVOLUTIONS[self._space](x, weight, bias, self.stride, padding, self.dilation, self.groups)
        return y

    def _chained(self, chain: ConvChain, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        flat = [
            k for k, n in enumerate(self.kernel_size) if n == 1
        ]  # no stage has these: they are padded and strided here
        if any(padding[k] for k in flat):
            x = F.pad(x, [padding[k] * (k in flat) for k in reversed(range(self._space)) for _ in (0, 1)])
        for k in flat:
            if self.stride[k] > 1:
                x = x[(slice(None),) * (2 + k) + (slice(None, None, self.stride[k]),)]
        y = chain(self.tn.tensors(), x, Slide(self.stride, padding, self.dilation))
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self._space)

    def extra_repr(self) -> str:
        """Sizes, and which forward is used for how many output positions, with the times predicted when the layer was made."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if any(map(any, self._sides)) else []
        parts += [f"dilation={self.dilation}"] if {*self.dilation} != {1} else []
        parts += [f"groups={self.groups}"] if self.groups > 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return "\n".join((", ".join(parts), *self._why))


#: Sizes are counted in 64 bits.
_LARGEST = 2**31
#: Calls around a weight that is built: a module called, its result reshaped and convolved with.
_BUILT = LAYER + MODULE + RESHAPE + CONV


def _divisor(groups: int, in_channels: int, out_channels: int, who: str) -> int:
    found = whole_number(groups, f"{who}: groups", 1)
    if in_channels % found or out_channels % found:
        raise ValueError(
            f"{who}: groups divides the channels, {in_channels} in and {out_channels} out, which {found} does not"
        )
    return found


class TNConv1d(_TNConv):
    """As :class:`TNConv2d`, with one axis of space: the network's tensor reads as the weight of ``nn.Conv1d``.

    >>> conv = tknn.TNConv1d(8, 8, 3, tk.tucker((8, 8, 3), (2, 2, 3)), padding=1)
    >>> conv(torch.ones(1, 8, 20)).shape, conv.weight.shape
    (torch.Size([1, 8, 20]), torch.Size([8, 8, 3]))
    """

    _space, _replaces = 1, nn.Conv1d


class TNConv2d(_TNConv):
    """A convolution whose weight is a network.

    >>> conv = tknn.TNConv2d(64, 64, 3, tk.tucker((64, 64, 3, 3), (16, 16, 3, 3)), padding=1)
    >>> conv(torch.ones(1, 64, 8, 8)).shape, conv.weight.shape
    (torch.Size([1, 64, 8, 8]), torch.Size([64, 64, 3, 3]))
    >>> sum(p.numel() for p in conv.parameters()), nn.Conv2d(64, 64, 3).weight.numel() + 64
    (4434, 36928)

    The network's output indices read as ``(out_channels, in_channels / groups, *kernel_size)``.  Where they factorise these
    sizes exactly and the network is multilinear, it can be applied as a chain of small convolutions (factorised): those of
    nodes without kernel are pointwise, and what several indices of channels share is not computed twice.  The weight is built
    and convolved with (reconstructed) else, and where that is predicted to be faster.  A call compares its number of output
    positions, over the batch, with crossovers that were found when the layer was made; ``print(layer)`` shows them.  In eval
    mode without gradients a weight that was built is kept until an array changes.

    A network larger than the weight is cropped to it and always reconstructed.  Under autocast all is computed in the arrays'
    dtype and rounded once.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode
        As for ``nn.Conv2d``.
    network
        A network whose tensor reads as the weight, or a pair of a network and its arrays, such as a :class:`tnkit.Decomposition`.
    arrays
        Its arrays; by default drawn with the weight's scale of ``nn.Conv2d``, or as by ``tnkit.init.normal(network)`` where an
        outermost activation does not reach that.
    positions
        Typical number of output positions, over the batch: ``print`` and ``torch.export`` choose for it.
    optimizer, dtype, seed
        As for :class:`TNModule`.

    Raises
    ------
    TypeError
        Sizes that are no whole numbers, no network, no mapping of arrays.
    ValueError
        Sizes that do not fit each other; the network does not fill the weight; arrays as for :class:`TNModule`.
    """

    _space, _replaces = 2, nn.Conv2d


class TNConv3d(_TNConv):
    """As :class:`TNConv2d`, with three axes of space: the network's tensor reads as the weight of ``nn.Conv3d``.

    >>> conv = tknn.TNConv3d(4, 4, 3, tk.cp((4, 4, 3, 3, 3), 2))
    >>> conv(torch.ones(1, 4, 5, 5, 5)).shape, conv.weight.shape
    (torch.Size([1, 4, 3, 3, 3]), torch.Size([4, 4, 3, 3, 3]))
    """

    _space, _replaces = 3, nn.Conv3d

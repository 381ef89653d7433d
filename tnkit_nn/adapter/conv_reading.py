"""How a network reads as the weight of a convolution: which of its indices are channels, which are the kernel, and which nodes
must be applied together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tnkit.core.names import free_name, names_in
from tnkit.core.network import Network

__all__ = ["ConvReading", "read_as_convolution"]

Inds = tuple[str, ...]

#: Parts that a chain is searched of: its search takes 3 to this power steps.
_MOST_UNITS = 6


@dataclass(frozen=True)
class ConvReading:
    """A multilinear network as the weight ``(groups * out, in, *kernel)`` of a convolution.

    Attributes
    ----------
    network
        The network.
    carried, kept
        Channel indices of the input, and of the result: those of the groups are first in both.
    channel
        Where an index, or a run of them, is both input channels and kernel: the name that its channels go by.
    blocks
        Runs of output indices that hold kernel, in order: the indices, and their axes of space.
    units
        Names of the nodes that are applied together.
    sizes
        Of every channel index, ``channel`` included.
    kernel
        Size of every axis of space.
    """

    network: Network
    carried: Inds
    kept: Inds
    channel: str
    blocks: tuple[tuple[Inds, tuple[int, ...]], ...]
    units: tuple[Inds, ...]
    sizes: Mapping[str, int]
    kernel: tuple[int, ...]

    @property
    def mixed(self) -> Inds:
        """The indices that are both input channels and kernel."""
        return self.blocks[0][0] if self.channel else ()


def read_as_convolution(net: Network, shape: Sequence[int], groups: int) -> ConvReading | str:
    """The reading, or why there is none: a few words."""
    if not net.multilinear:
        return "the network is nonlinear"
    out, *rest = shape
    axes = {"group": groups, "out": out // groups, "in": rest[0], **{str(k): n for k, n in enumerate(rest[1:])}}
    runs = _runs(net, axes)
    if runs is None or any({"group", "out"} & set(names) and len(names) > 1 for _, names in runs):
        return f"no split of {net.shape} makes {' x '.join(map(str, shape))}" + (
            f" in {groups} groups" if groups > 1 else ""
        )
    of = {names: inds for inds, names in runs}
    blocks = tuple(
        (inds, tuple(int(n) for n in names if n != "in"))
        for inds, names in runs
        if not {"group", "out"} & set(names) and names != ("in",)
    )
    channel = free_name("in", names_in(net)) if any("in" in names and len(names) > 1 for _, names in runs) else ""
    units = _units(net, blocks)
    if len(units) < 2:
        return "one node holds the channels and the kernel"
    group = of.get(("group",), ())
    return ConvReading(
        net, (*group, *((channel,) if channel else of.get(("in",), ()))), (*group, *of.get(("out",), ())), channel, blocks,
        units, {**net.sizes, **({channel: rest[0]} if channel else {})}, tuple(rest[1:]),
    )  # fmt: skip


def _runs(net: Network, axes: Mapping[str, int]) -> list[tuple[Inds, Inds]] | None:
    """Shortest runs of output indices and of axes that have the same size, axes of size 1 left out."""
    names = [name for name, size in axes.items() if size > 1]
    inds, runs = list(net.output), []
    while names:
        some, over = [names.pop(0)], list[str]()
        while (have := prod(net.sizes[i] for i in over)) != (need := prod(axes[name] for name in some)):
            source, taken = (inds, over) if have < need else (names, some)
            if not source:
                return None
            taken.append(source.pop(0))
        runs.append((over, some))
    if not runs or prod(net.sizes[i] for i in inds) != 1:
        return None
    runs[-1][0].extend(inds)
    return [(tuple(over), tuple(some)) for over, some in runs]


def _units(net: Network, blocks: Sequence[tuple[Inds, tuple[int, ...]]]) -> tuple[Inds, ...]:
    """Nodes that hold a part of one block stand together; of more than a few units, those that make the smallest tensor."""
    units: list[Inds] = [(node.name,) for node in net.nodes]
    for block, _ in blocks:
        holds = [unit for unit in units if any({*net[name].inds} & {*block} for name in unit)]
        units = [
            tuple(name for unit in holds for name in unit) if u == holds[0] else u for u in units if u not in holds[1:]
        ]
    while len(units) > _MOST_UNITS:
        pairs = [(a, b) for k, a in enumerate(units) for b in units[k + 1 :]]
        first, second = min(pairs, key=lambda pair: prod(net.sizes[i] for i in free_inds(net, pair[0] + pair[1])))
        units = [first + second if u == first else u for u in units if u != second]
    return tuple(units)


def free_inds(net: Network, names: Inds) -> Inds:
    """Indices of the tensor that these nodes make: those that the output or another node has too."""
    inside = {i for name in names for i in net[name].inds}
    outside = {*net.output, *(i for node in net.nodes if node.name not in names for i in node.inds)}
    return tuple(i for i in net.sizes if i in inside & outside)

"""Ways to make a layer's weight out of a few parameters: networks, random subspaces, and the controls without parameters.

A :class:`Generator` has start values by seed; its ``weight`` takes the values of replicas, whose axes are named
(:class:`tnkit_nn.axes.Axes`), and gives as many weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

import tnkit as tk
from tnkit.core.network import inside_out
from tnkit_nn.adapter.starts import drawn_of_size
from tnkit_nn.axes import Axes
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.engine.devices import dtype_there

__all__ = [
    "Generator",
    "Generators",
    "along",
    "fixed_generator",
    "hashed_generator",
    "network_generator",
    "outer_arrays",
    "random_start",
    "regauged",
    "subspace_generator",
    "weight_rms",
]  # fmt: skip


Params = dict[str, Tensor]


@dataclass(frozen=True)
class Generator:
    """Start values (seed, ...), and how the values (replicas, ...) of such axes become weights (replicas, *shape).

    Attributes
    ----------
    flops
        What making one weight costs, 2 a multiply-add.
    constants
        Arrays that are the same in every weight and never trained.
    """

    start: Params
    weight: Callable[[Params, Axes], Tensor]
    num_params: int
    flops: int = 0
    constants: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Generators:
    """Those of several weights, by the weights' names; values are called ``weight name/value name``."""

    each: Mapping[str, Generator]

    @property
    def start(self) -> Params:
        """Name -> start values (seed, ...), of all."""
        return self.gathered({name: generator.start for name, generator in self.each.items()})

    @property
    def num_params(self) -> int:
        """Parameters in all."""
        return sum(generator.num_params for generator in self.each.values())

    @property
    def flops(self) -> int:
        """Of making every weight once."""
        return sum(generator.flops for generator in self.each.values())

    @staticmethod
    def gathered(values: Mapping[str, Mapping[str, Tensor]]) -> Params:
        """Weight name -> values by name, as one."""
        return {f"{weight}/{name}": x for weight, each in values.items() for name, x in each.items()}

    def weights(self, params: Mapping[str, Tensor], axes: Axes) -> Params:
        """Values (replicas, ...) -> weight name -> weight (replicas, *shape)."""
        return {w: g.weight({n: params[f"{w}/{n}"] for n in g.start}, axes) for w, g in self.each.items()}


def network_generator(net: tk.Network, target: Tensor, first_seed: int = 0) -> Generator:
    """The weight is the contraction of ``net``; starts are orthogonal, of the root mean squares of the weights ``target`` (seed, *shape).

    Everything is in their dtype and on their device.  ``first_seed``: the first target's, those of the others being the next ones.
    """
    kind = "complex128" if target.is_complex() else "float64"
    drawn = [
        drawn_of_size(net, float(size), tk.init.orthogonal, seed=s, dtype=kind)
        for s, size in enumerate(weight_rms(target), first_seed)
    ]
    names, shape = net.parameters, tuple(target.shape[1:])
    fixed = {n: torch.as_tensor(a, device="cpu").to(target) for n, a in drawn[0].items() if n not in names}
    plan = tk.plan(net, itemsize=target.element_size())
    start = {n: torch.stack([torch.as_tensor(d[n], device="cpu").to(target) for d in drawn]) for n in names}
    one = vmap(lambda arrays: tk.detensorize(tk.run(plan, {**fixed, **arrays}, TORCH), shape))
    return Generator(
        start, lambda p, _: cast(Tensor, one({n: p[n] for n in names})), net.num_params, int(plan.flops), fixed
    )


def hashed_generator(budget: int, shape: tuple[int, ...], target: Tensor, first_seed: int = 0) -> Generator:
    """Each weight is one of ``budget`` shared parameters times a random sign; the start is the least-squares fit.

    ``first_seed``: the first target's, those of the others being the next ones.
    """
    place, sign, start = [], [], []
    for s, w in enumerate(target.flatten(1).cpu(), first_seed):
        draw = torch.Generator().manual_seed(77 + s)
        place.append(torch.randint(budget, (w.numel(),), generator=draw, device="cpu"))
        sign.append(torch.randint(2, (w.numel(),), generator=draw, device="cpu").to(w) * 2 - 1)
        total = w.new_zeros(budget).index_add(0, place[-1], sign[-1] * w)
        start.append(total / torch.bincount(place[-1], minlength=budget).clamp(min=1))
    places, signs = torch.stack(place).to(target.device), torch.stack(sign).to(target.device)

    def weight(p: Params, axes: Axes) -> Tensor:
        return (p["values"].gather(1, axes.by_seed(places)) * axes.by_seed(signs)).view(-1, *shape)

    return Generator({"values": torch.stack(start).to(target.device)}, weight, budget, prod(shape))


def subspace_generator(budget: int, shape: tuple[int, ...], target: Tensor, first_seed: int = 0) -> Generator:
    """The weight is a fixed random projection of ``budget`` parameters; the start is the least-squares fit.

    The projection has orthonormal columns, dense ones, up to a common factor: rows' random signs times randomly chosen columns
    of a Hadamard matrix (stored as signs and positions alone), cut to the weight's length.  ``first_seed`` as in :func:`hashed_generator`.
    """
    size = prod(shape)
    budget = min(budget, size)
    order = max(1, (size - 1).bit_length())
    factors = [_hadamard(k).to(target) for k in (order // 3, (order + 1) // 3, (order + 2) // 3)]
    places, signs = [], []
    for s in range(first_seed, first_seed + len(target)):
        draw = torch.Generator().manual_seed(55 + s)
        places.append(torch.randperm(2**order, generator=draw, device="cpu")[:budget])
        signs.append(torch.randint(2, (size,), generator=draw, device="cpu") * 2.0 - 1.0)
    place, sign = torch.stack(places).to(target.device), torch.stack(signs).to(target)

    def transform(x: Tensor) -> Tensor:
        cube = x.view(-1, *map(len, factors))
        for axis, h in enumerate(factors, 1):
            cube = torch.movedim(torch.tensordot(cube, h, ([axis], [0])), -1, axis)
        return cube.reshape(len(x), -1)

    def weight(p: Params, axes: Axes) -> Tensor:
        values = p["values"]
        placed = values.new_zeros(len(values), 2**order).scatter(1, axes.by_seed(place), values)
        return (transform(placed)[:, :size] * axes.by_seed(sign)).view(-1, *shape) / budget**0.5

    def back(w: Tensor) -> Tensor:
        padded = nn.functional.pad(w.flatten(1) * sign, (0, 2**order - size))
        return transform(padded).gather(1, place) / budget**0.5

    flops = 2 * 2**order * sum(map(len, factors)) + 2 * size
    seeds = Axes(seed=len(target))
    start = _least_squares(lambda v: back(weight({"values": v}, seeds)), back(target))
    return Generator({"values": start}, weight, budget, flops)


def _hadamard(order: int) -> Tensor:
    """The Hadamard matrix of 2^order rows, entries 1 and -1."""
    h = torch.ones(1, 1)
    for _ in range(order):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h


def _least_squares(normal: Callable[[Tensor], Tensor], b: Tensor, steps: int = 50) -> Tensor:
    """Solve ``normal(x) = b`` (symmetric, replica by replica) by conjugate gradients."""
    x, r = torch.zeros_like(b), b.clone()
    p, old = r, r.square().sum(1, keepdim=True)
    for _ in range(steps):
        q = normal(p)
        step = old / (p * q).sum(1, keepdim=True).clamp(min=1e-30)
        x, r = x + step * p, r - step * q
        new = r.square().sum(1, keepdim=True)
        if bool((new <= 1e-12 * b.square().sum(1, keepdim=True)).all()):
            break
        p, old = r + new / old.clamp(min=1e-30) * p, new
    return x


def random_start(generator: Generator, target: Tensor, first_seed: int = 0) -> Params:
    """Random values in place of the least-squares ones; the weight is as large as the target.  ``first_seed`` as in :func:`hashed_generator`."""
    values = torch.stack([
        torch.randn(v.shape, generator=torch.Generator().manual_seed(88 + s), device="cpu") for s, v in enumerate(generator.start["values"], first_seed)
    ])  # fmt: skip
    values = values.to(target)
    made = weight_rms(generator.weight({"values": values}, Axes(seed=len(target)))).clamp(min=1e-30)
    return {"values": values * (weight_rms(target) / made).view(-1, 1)}


def fixed_generator(name: str, target: Tensor, first_seed: int = 0) -> Generator:
    """The controls that have no parameters, and the dense weight, as it is and to be trained on.  ``first_seed`` as in :func:`hashed_generator`."""
    shape = tuple(target.shape[1:])
    if name == "dense_trained_on":
        return Generator({"weight": target}, lambda p, _: p["weight"], prod(shape))
    if name == "dense":
        values = target
    elif name == "removed":
        values = torch.zeros_like(target)
    elif name == "pooled":
        rows = nn.functional.adaptive_avg_pool1d(
            torch.eye(prod(shape[1:]), device="cpu"), shape[0]
        )  # (inputs, outputs)
        values = rows.T.reshape(1, *shape).repeat(len(target), *[1] * len(shape))
    elif name in ("frozen_random", "picked"):
        draws = [torch.Generator().manual_seed(99 + s) for s in range(first_seed, first_seed + len(target))]
        if name == "frozen_random":
            values = torch.stack([torch.randn(shape, generator=g, device="cpu") for g in draws]).to(target.device)
            values = values * along(weight_rms(target), values)
        else:
            cols = prod(shape[1:])
            picks = [torch.randint(cols, (shape[0],), generator=g, device="cpu") for g in draws]
            values = torch.stack([nn.functional.one_hot(p, cols).float() for p in picks]).view(target.shape)
    else:
        raise ValueError(f"fixed_generator: no control {name!r}")
    values = values.to(target)
    return Generator({}, lambda _, axes: axes.by_seed(values), prod(shape) if name == "dense" else 0)


def weight_rms(w: Tensor) -> Tensor:
    """Root mean square of each replica's entries, whose squares neither vanish nor overflow: (replicas, ...) -> (replicas,)."""
    wide = torch.float64 if w.dtype.itemsize < 8 or w.dtype == torch.complex64 else w.abs().dtype
    size = w.abs().reshape(len(w), -1).to(dtype_there(wide, w.device))
    _, exponent = torch.frexp(size.amax(1))  # a power of two: no digit of an ordinary weight changes
    unit = torch.ldexp(torch.ones_like(size[:, 0]), exponent - 1)
    return ((size / unit[:, None]).square().mean(1).sqrt() * unit).to(w.abs().dtype)


def regauged(generator: Generator, values: Params, target: Tensor, net: tk.Network) -> Params:
    """The fitted values in the gauge of the start: every array as large as it began, the scale <w, t> / <w, w> shared out.

    The objective of the approximation does not see the scale, so arrays drift; Adam's steps have a fixed size, so arrays of unlike
    size would make every learning rate wrong for some of them.  Only positively homogeneous activations let an inner
    region be rescaled without changing more than the overall factor.  Values of a network without such a factor stay as they are.
    """
    outer = outer_arrays(net)
    if not outer:
        return values
    regions = _own_arrays(net)
    homogeneous = all(fn in ("relu", "leaky_relu", "identity") for fn in _functions(net))
    for name in chain(*(regions if homogeneous else regions[:1])):
        ratio = weight_rms(generator.start[name]) / weight_rms(values[name]).clamp(min=1e-30)
        values = {**values, name: values[name] * along(ratio, values[name])}
    with torch.no_grad():
        w, t = generator.weight(values, Axes(seed=len(target))).flatten(1), target.flatten(1)
    factor = (w.conj() * t).sum(1).abs() / (w.abs() if w.is_complex() else w).square().sum(1).clamp(min=1e-30)
    even = factor ** (1 / outer.total())
    return values | {name: values[name] * along(even, values[name]) for name in outer}


def outer_arrays(net: tk.Network) -> Counter[str]:
    """Trained arrays of the outermost region alone -> nodes of each, over which a factor is shared out; none where a function is outermost."""
    own = _own_arrays(net)[0]
    return Counter(n.array for n in net.nodes if isinstance(n, tk.Node) and n.array in own)


def _own_arrays(net: tk.Network) -> list[set[str]]:
    """Trained arrays of each region that no other one has, the outermost region first."""
    regions = [{n.array for n in r.nodes if isinstance(n, tk.Node)} & set(net.parameters) for r in net.regions()]
    uses = Counter(chain(*regions))
    return [{name for name in region if uses[name] == 1} for region in regions]


def _functions(net: tk.Network) -> set[Any]:
    return {part.fn for part in inside_out(net) if isinstance(part, tk.Elementwise)}


def along(factor: Tensor, x: Tensor) -> Tensor:
    """A factor a replica, of as many axes as ``x``."""
    return factor.view(-1, *[1] * (x.dim() - 1))

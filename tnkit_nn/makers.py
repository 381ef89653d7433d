"""Ways to make a layer's weight out of numbers: networks, hash-shared weights, and the controls without numbers.

A :class:`Maker` has start values with a leading seeds axis; its ``weight`` takes values with a leading replicas axis, a
multiple of the seeds (see :mod:`tnkit_nn.ensemble`), and gives that many weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

import tnkit as tk
from tnkit_nn.ops import TORCH

__all__ = ["Maker", "fixed_maker", "hashed_maker", "hashed_random", "network_maker", "regauged", "rms", "times"]


@dataclass
class Maker:
    """Start values (seeds, ...) and how (replicas, ...) values become weights (replicas, *shape)."""

    start: dict[str, Tensor]
    weight: Callable[[dict[str, Tensor]], Tensor]
    num_params: int


def network_maker(net: tk.Network, shape: tuple[int, ...], seeds: int, std: Tensor) -> Maker:
    """The weight is the contraction of ``net``; starts are orthogonal, of root mean square ``std`` (seeds,)."""
    drawn = [tk.init.orthogonal(net, seed=s, std=float(std[s])) for s in range(seeds)]
    names = net.parameters
    fixed = {n: torch.as_tensor(a, dtype=torch.float32) for n, a in drawn[0].items() if n not in names}
    plan = tk.plan(net, itemsize=4)
    start = {n: torch.stack([torch.as_tensor(d[n], dtype=torch.float32) for d in drawn]) for n in names}
    one = vmap(lambda arrays: tk.detensorize(tk.run(plan, {**fixed, **arrays}, TORCH), shape))
    return Maker(start, lambda p: cast(Tensor, one({n: p[n] for n in names})), net.num_params)


def hashed_maker(budget: int, shape: tuple[int, ...], target: Tensor) -> Maker:
    """Each weight is one of ``budget`` shared numbers times a random sign; the start is the least-squares fit."""
    place, sign, start = [], [], []
    for s, w in enumerate(target.flatten(1)):
        draw = torch.Generator().manual_seed(77 + s)
        place.append(torch.randint(budget, (w.numel(),), generator=draw))
        sign.append(torch.randint(2, (w.numel(),), generator=draw) * 2.0 - 1.0)
        total = torch.zeros(budget).index_add(0, place[-1], sign[-1] * w)
        start.append(total / torch.bincount(place[-1], minlength=budget).clamp(min=1))
    places, signs = torch.stack(place), torch.stack(sign)

    def weight(p: dict[str, Tensor]) -> Tensor:
        values = p["values"]
        k = len(values) // len(places)
        return (values.gather(1, times(places, k)) * times(signs, k)).view(-1, *shape)

    return Maker({"values": torch.stack(start)}, weight, budget)


def hashed_random(start: dict[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    """Random values in place of the least-squares ones, as large as the target's entries."""
    values = torch.stack([
        torch.randn(v.shape, generator=torch.Generator().manual_seed(88 + s)) for s, v in enumerate(start["values"])
    ])  # fmt: skip
    return {"values": values * rms(target).view(-1, 1)}


def fixed_maker(name: str, target: Tensor) -> Maker:
    """The controls without numbers, and the dense weight."""
    shape = tuple(target.shape[1:])
    if name == "dense":
        return Maker({"weight": target}, lambda p: p["weight"], prod(shape))
    if name == "removed":
        values = torch.zeros_like(target)
    else:
        draws = [torch.Generator().manual_seed(99 + s) for s in range(len(target))]
        if name == "frozen_random":
            values = torch.stack([torch.randn(shape, generator=g) for g in draws])
            values = values * along(rms(target), values)
        else:
            cols = prod(shape[1:])
            rows = [nn.functional.one_hot(torch.randint(cols, (shape[0],), generator=g), cols).float() for g in draws]
            values = torch.stack(rows).view(target.shape)

    def weight(p: dict[str, Tensor]) -> Tensor:
        first = next(iter(p.values()), values)
        return times(values, len(first) // len(values))

    return Maker({}, weight, 0)


def rms(w: Tensor) -> Tensor:
    """Root mean square of each replica's entries: (replicas, ...) -> (replicas,)."""
    return w.flatten(1).square().mean(1).sqrt()


def regauged(maker: Maker, values: dict[str, Tensor], target: Tensor, net: tk.Network) -> dict[str, Tensor]:
    """The fitted values in the gauge of the start: every array as large as it began, the scale <w, t> / <w, w> spread.

    The objective of stage 1 does not see the scale, so arrays drift; Adam's steps have a fixed size, so arrays of unlike
    size would make every learning rate wrong for some of them.  Only positively homogeneous activations let an inner
    region be rescaled without changing more than the overall factor.
    """
    regions = [{n.array for n in r.nodes if isinstance(n, tk.Node)} & set(net.parameters) for r in net.regions()]
    uses = Counter(name for region in regions for name in region)
    homogeneous = all(fn in ("relu", "leaky_relu", "identity") for fn in _functions(net))
    for region in regions if homogeneous else regions[:1]:
        for name in region:
            if uses[name] == 1:
                ratio = rms(maker.start[name]) / rms(values[name]).clamp(min=1e-30)
                values = {**values, name: values[name] * along(ratio, values[name])}
    outer = Counter(n.array for n in net.nodes if isinstance(n, tk.Node) and uses.get(n.array) == 1)
    if not outer:
        return values
    w, t = maker.weight(values).flatten(1), target.flatten(1)
    factor = (w * t).sum(1).abs() / w.square().sum(1).clamp(min=1e-30)
    even = factor ** (1 / outer.total())
    return values | {name: values[name] * along(even, values[name]) for name in outer}


def _functions(net: tk.Network) -> set[Any]:
    elementwise = [n for n in net.nodes if isinstance(n, tk.Elementwise)]
    return {n.fn for n in elementwise}.union(*(_functions(body) for n in elementwise for body in n.bodies))


def along(factor: Tensor, x: Tensor) -> Tensor:
    return factor.view(-1, *[1] * (x.dim() - 1))


def times(x: Tensor, k: int) -> Tensor:
    """``x`` repeated ``k`` times along its first axis."""
    return x.repeat(k, *[1] * (x.dim() - 1))

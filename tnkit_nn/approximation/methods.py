"""The ways to arrays near weights: closed form, alternating least squares, gradient steps, also from a shallow network inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import tnkit as tk
from tnkit.core.structure import as_tree, check_multilinear, tree_or_none
from tnkit.execution.lifting import begun, bent, shallow
from tnkit_nn.adapter.descent import Params, minimise
from tnkit_nn.adapter.starts import ONE_WAY, closed_form, in_units, units_of
from tnkit_nn.approximation.problem import Approximation, Targets, nearest, stacked_arrays
from tnkit_nn.axes import RATE, Axes
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.generators import network_generator, outer_arrays

__all__ = ["METHODS", "RATES", "check_method", "suited_method"]

#: Learning rates that are swept for every network, side by side.
RATES = (1.5e-2, 6e-2, 2e-1)
#: The same for a deep network that begins at a shallow optimum, and is to leave it slowly.
LIFTED_RATES = (3e-3, 1e-2, 3e-2)
#: Root mean square of what its activations are given there: tanh and sine are nearly linear.
_AMPLITUDE = 0.5
_NO_START = (
    "the approximation by lifting needs a shallow network inside of gates and scales, or a tree with activations"
)
#: Nodes up to which alternating least squares is taken: beyond, its environments cost more than gradient steps.
_NODES = 16
#: Sweeps of alternating least squares from what gradients found.
_SWEEPS = 100
#: Gradient steps of a network that has no other way, for each of one that has: about as long as the others take in all.
_LONGER = 3


def suited_method(net: tk.Network) -> str:
    """What else than gradients a network allows: ``svd`` (trees), ``als`` (small multilinear ones), or nothing: ``gradient``."""
    if tree_or_none(net) is not None:
        return "svd"
    try:
        nodes = check_multilinear(net, "the approximation")
    except ValueError:
        return "gradient"
    return "als" if len(nodes) <= _NODES else "gradient"


def check_method(method: str, net: tk.Network, layer: str) -> None:
    """ValueError, with the layer's name, where a method cannot fit a network."""
    try:
        if method == "svd":
            as_tree(net, "the approximation by svd")
        elif method == "als":
            check_multilinear(net, "the approximation by als")
        elif method == "lifted" and shallow(net) is None:
            raise ValueError(_NO_START)
    except ValueError as error:
        raise ValueError(f"layer {layer!r}: {error}") from None


# -- the methods -------------------------------------------------------------------------------------------------------
def _svd(problem: Targets) -> Approximation:
    """The closed form of a tree, weight by weight."""
    each = [closed_form(problem.net, target) for target in problem.targets]
    return problem.found(stacked_arrays(each, problem.net.parameters), "svd")


def _als(problem: Targets, start: Params | None = None) -> Approximation:
    """Alternating least squares, weight by weight, from a start or from the best of several random ones."""
    net, each = problem.net, []
    for s, target in enumerate(problem.targets):
        options: dict[str, Any] = {"seed": problem.first_seed + s} if start is None else {"sweeps": _SWEEPS}
        arrays = None if start is None else {n: start[n][s] for n in net.parameters}
        each.append(dict(tk.als(tk.tensorize(target, net.shape), net, arrays, backend=TORCH, **options).arrays))
    return problem.found(stacked_arrays(each, net.parameters), "als")


def _gradient(
    problem: Targets, start: Params | None = None, longer: int = 1, rates: Sequence[float] = RATES
) -> Approximation:
    """Minimise 1 - cos (plain squared error collapses deep networks), rates swept, the best kept for each weight.

    Where a function is outermost no factor sets the size afterwards: there it is the squared error.
    """
    axes = Axes(rate=len(rates), seed=len(problem.targets))
    goal = axes.by_seed(problem.targets.flatten(1))
    sized = not outer_arrays(problem.net)

    def losses(params: Params, step: int) -> Tensor:
        w = problem.generator.weight(in_units(params, units), axes).flatten(1)
        if sized:
            return _squares(w - goal) / _squares(goal).clamp(min=1e-30)
        inner = (w.conj() * goal).sum(1)
        return 1 - torch.real(inner) / (_squares(w) * _squares(goal)).clamp(min=1e-30).sqrt()

    first = start or problem.generator.start
    # where no array sets the size, arrays are as large as the weight wants them, and Adam's steps have a fixed size
    units = units_of(problem.net, first, problem.first_seed) if sized else {}
    begin = {n: axes.by_seed(x) for n, x in in_units(first, {n: -u for n, u in units.items()}).items()}
    each = dict.fromkeys(begin, axes.by_rate(rates).to(problem.targets.device))
    done = minimise(losses, begin, each, longer * problem.steps, progress=problem.progress)
    seeds = torch.arange(len(problem.targets), device=problem.targets.device)
    best = axes.unflatten(done.score)[:, 0].argmin(RATE)
    values = {n: axes.unflatten(p)[best, 0, seeds] for n, p in done.params.items()}
    losses_seen = torch.stack([axes.unflatten(now)[best, 0, seeds] for now in done.history[:-1]])
    history = (losses_seen if sized else 1 - (1 - losses_seen).clamp(0, 1).square()).sqrt()
    return problem.found(in_units(values, units), "gradient", history)


def _lifted(problem: Targets) -> Approximation:
    """The shallow network inside, by its best way; then gradient steps of the deep one, which begins there."""
    inner = shallow(problem.net)
    if inner is None:
        raise ValueError(_NO_START)
    generator = network_generator(inner, problem.targets, problem.first_seed)
    near = _nearest_of_all(replace(problem, net=inner, generator=generator))
    each = [
        begun(problem.net, inner, {n: x[s] for n, x in near.params.items()}, _AMPLITUDE)
        for s in range(len(problem.targets))
    ]
    start = stacked_arrays(each, problem.net.parameters)
    longer = 1 if problem.targets[0].numel() > ONE_WAY else _LONGER
    return _gradient(problem, start, longer, LIFTED_RATES).found_by("lifted, gradient")


def _skip(problem: Targets) -> Approximation:
    """Random starts of the weights' root mean squares, as they are drawn."""
    return problem.measured(problem.generator.start, "skip")


def _nearest_of_all(problem: Targets) -> Approximation:
    """Every way that suits the network, the nearest kept for each weight (measured: docs/approximation.md)."""
    kind, large = suited_method(problem.net), problem.targets[0].numel() > ONE_WAY
    if kind == "svd":
        closed = _svd(problem)
        if large:
            return closed
        refined = _gradient(problem, closed.params).found_by("svd, gradient")
        return nearest(closed, refined, _gradient(problem))
    if kind == "als":
        if large:
            return _als(problem)
        descended = _gradient(problem)
        return nearest(descended, _als(problem, descended.params).found_by("gradient, als"))
    if shallow(problem.net) is None or (bent(problem.net) and not _never_negative(problem.targets)):
        return _gradient(problem, longer=1 if large else _LONGER)
    from_inside = _lifted(problem)
    return from_inside if large else nearest(from_inside, _gradient(problem, longer=_LONGER))


#: Name -> how it approximates the weights of a problem; ``auto`` takes the best of what suits the network.
METHODS: dict[str, Callable[[Targets], Approximation]] = {
    "auto": _nearest_of_all, "svd": _svd, "als": _als, "gradient": _gradient, "lifted": _lifted, "skip": _skip,
}  # fmt: skip


# -- their parts -------------------------------------------------------------------------------------------------------
def _never_negative(targets: Tensor) -> bool:
    """Whether a ReLU leaves the weights as they are: then it takes nothing from a shallow network near them."""
    return not targets.is_complex() and not bool((targets < 0).any())


def _squares(x: Tensor) -> Tensor:
    """Sum of the squares of each replica's entries."""
    return (x.abs() if x.is_complex() else x).square().sum(1)

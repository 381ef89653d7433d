"""The approximation of trained weights by a network: arrays whose tensor is near the weight, by the best way for the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

import tnkit as tk
from tnkit.core.checks import a_network, flag, one_of
from tnkit.core.numbers import whole_number
from tnkit.core.structure import as_tree, check_multilinear, tree_or_none
from tnkit.execution.lifting import begun, bent, shallow
from tnkit_nn.adapter.descent import Params, minimise
from tnkit_nn.adapter.fitting import MOST_STEPS, NOTHING, FitResult, bar
from tnkit_nn.adapter.starts import ONE_WAY, closed_form, scalers
from tnkit_nn.axes import RATE, Axes
from tnkit_nn.checks import a_tensor, check_fills
from tnkit_nn.engine.backend import TORCH, from_numpy
from tnkit_nn.engine.devices import with_doubles
from tnkit_nn.generators import Generator, along, network_generator, outer_arrays, regauged, weight_rms

__all__ = ["METHODS", "RATES", "Approximation", "approximate", "approximate_each", "check_method", "suited_method"]

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
#: Root mean squares, those of trained layers, outside of which weights are scaled first: rates and thresholds have a size.
_SIZES = (1e-3, 1.0)

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Approximation:
    """Arrays near several weights of one shape.

    Attributes
    ----------
    params
        Array name -> (seed, ...), in a gauge in which one learning rate suits them all (:func:`tnkit_nn.generators.regauged`).
    error
        (seed,): relative errors.
    methods
        What each was found by.
    history
        (steps, seed): relative errors of gradient steps at the best rate, where that is what was asked for.
    """

    params: Params
    error: Tensor
    methods: tuple[str, ...]
    history: Tensor | None = None

    def scaled(self, by: Tensor, outer: Sequence[str]) -> Approximation:
        """Arrays near so many times the weights: the factor (seed,) is shared out over the arrays that scale the result."""
        share = by ** (1 / len(outer))
        params = {n: _times(x, share) if n in outer else x for n, x in self.params.items()}
        return replace(self, params=params)

    def there(self, device: torch.device) -> Approximation:
        """The arrays on a device."""
        return replace(self, params={n: x.to(device) for n, x in self.params.items()}, error=self.error.to(device))


@dataclass(frozen=True)
class _Targets:
    """A network, the weights (seed, ...) that it is to be near, how it makes weights, and the effort."""

    net: tk.Network
    targets: Tensor
    generator: Generator
    first_seed: int
    steps: int
    progress: Progress

    def found(self, values: Mapping[str, Tensor], method: str, history: Tensor | None = None) -> Approximation:
        """Values in their gauge, with the factor of the least error."""
        return self.measured(regauged(self.generator, dict(values), self.targets, self.net), method, history)

    def measured(self, values: Params, method: str, history: Tensor | None = None) -> Approximation:
        """Values as they are, and their errors."""
        with torch.no_grad():
            off = self.generator.weight(values, Axes(seed=len(self.targets))) - self.targets
        size = weight_rms(self.targets)
        error = weight_rms(off) / torch.where(size > 0, size, 1.0)
        return Approximation(values, error, (method,) * len(self.targets), history)


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
def _svd(problem: _Targets) -> Approximation:
    """The closed form of a tree, weight by weight."""
    each = [closed_form(problem.net, target) for target in problem.targets]
    return problem.found(_stacked_arrays(each, problem.net.parameters), "svd")


def _als(problem: _Targets, start: Params | None = None) -> Approximation:
    """Alternating least squares, weight by weight, from a start or from the best of several random ones."""
    net, each = problem.net, []
    for s, target in enumerate(problem.targets):
        options: dict[str, Any] = {"seed": problem.first_seed + s} if start is None else {"sweeps": _SWEEPS}
        arrays = None if start is None else {n: start[n][s] for n in net.parameters}
        each.append(dict(tk.als(tk.tensorize(target, net.shape), net, arrays, backend=TORCH, **options).arrays))
    return problem.found(_stacked_arrays(each, net.parameters), "als")


def _gradient(
    problem: _Targets, start: Params | None = None, longer: int = 1, rates: Sequence[float] = RATES
) -> Approximation:
    """Minimise 1 - cos (plain squared error collapses deep networks), rates swept, the best kept for each weight.

    Where a function is outermost no factor sets the size afterwards: there it is the squared error.
    """
    axes = Axes(rate=len(rates), seed=len(problem.targets))
    goal = axes.by_seed(problem.targets.flatten(1))

    sized = bool(outer_arrays(problem.net))

    def losses(params: Params, step: int) -> Tensor:
        w = problem.generator.weight(params, axes).flatten(1)
        if not sized:
            return _squares(w - goal) / _squares(goal).clamp(min=1e-30)
        inner = (w.conj() * goal).sum(1)
        return 1 - torch.real(inner) / (_squares(w) * _squares(goal)).clamp(min=1e-30).sqrt()

    begin = {n: axes.by_seed(x) for n, x in (start or problem.generator.start).items()}
    each = dict.fromkeys(begin, axes.by_rate(rates).to(problem.targets.device))
    done = minimise(losses, begin, each, longer * problem.steps, progress=problem.progress)
    seeds = torch.arange(len(problem.targets), device=problem.targets.device)
    best = axes.unflatten(done.score)[:, 0].argmin(RATE)
    values = {n: axes.unflatten(p)[best, 0, seeds] for n, p in done.params.items()}
    losses_seen = torch.stack([axes.unflatten(now)[best, 0, seeds] for now in done.history[:-1]])
    history = ((1 - (1 - losses_seen).clamp(0, 1).square()) if sized else losses_seen).sqrt()
    return problem.found(values, "gradient", history)


def _lifted(problem: _Targets) -> Approximation:
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
    start = _stacked_arrays(each, problem.net.parameters)
    longer = 1 if problem.targets[0].numel() > ONE_WAY else _LONGER
    return _said_by(_gradient(problem, start, longer, LIFTED_RATES), "lifted, gradient")


def _skip(problem: _Targets) -> Approximation:
    """Random starts of the weights' root mean squares, as they are drawn."""
    return problem.measured(problem.generator.start, "skip")


def _nearest_of_all(problem: _Targets) -> Approximation:
    """Every way that suits the network, the nearest kept for each weight (measured: docs/approximation.md)."""
    kind, large = suited_method(problem.net), problem.targets[0].numel() > ONE_WAY
    if kind == "svd":
        closed = _svd(problem)
        if large:
            return closed
        refined = _said_by(_gradient(problem, closed.params), "svd, gradient")
        return _nearest(closed, refined, _gradient(problem))
    if kind == "als":
        if large:
            return _als(problem)
        descended = _gradient(problem)
        return _nearest(descended, _said_by(_als(problem, descended.params), "gradient, als"))
    if shallow(problem.net) is None or (bent(problem.net) and not _never_negative(problem.targets)):
        return _gradient(problem, longer=1 if large else _LONGER)
    from_inside = _lifted(problem)
    return from_inside if large else _nearest(from_inside, _gradient(problem, longer=_LONGER))


#: Name -> how it approximates the weights of a problem; ``auto`` takes the best of what suits the network.
METHODS: dict[str, Callable[[_Targets], Approximation]] = {
    "auto": _nearest_of_all, "svd": _svd, "als": _als, "gradient": _gradient, "lifted": _lifted, "skip": _skip,
}  # fmt: skip


# -- the two calls -----------------------------------------------------------------------------------------------------
def approximate_each(
    net: tk.Network, targets: Tensor, *, method: str = "auto", steps: int = 200, first_seed: int = 0, progress: Progress = iter,
) -> tuple[Generator, Approximation]:  # fmt: skip
    """Approximate several weights of one shape, side by side.

    Parameters
    ----------
    net
        A network that fills the weights.
    targets
        (seed, *shape): the weights, computed with in their dtype (half precision: float32) and on their device.
    method, steps
        As for :func:`approximate`.
    first_seed
        Of the starts: the first weight's, those of the others being the next ones.
    progress
        Wraps the gradient steps.

    Returns
    -------
    Generator, Approximation
        How the network makes weights, with its random starts, and the arrays that are near.
    """
    one_of(method, "the approximation: method", METHODS)
    given = _checked_targets(net, targets)
    targets = with_doubles(given)
    generator, size = network_generator(net, targets, first_seed), weight_rms(targets).to(torch.float64)
    outer, by = scalers(net), torch.where(size > 0, size.clamp(*_SIZES) / size, 1.0)
    scaled = _times(targets, by)
    inner = network_generator(net, scaled, first_seed) if outer else _seen_scaled(generator, by)
    if bool((by == 1).all()):
        scaled, inner = targets, generator
    found = METHODS[method](_Targets(net, scaled, inner, first_seed, steps, progress))
    found = _with_zeros(net, found.scaled(1 / by, outer) if outer else found, targets, first_seed)
    if targets.device != given.device:
        return network_generator(net, given, first_seed), found.there(given.device)
    return generator, found


def _checked_targets(net: tk.Network, targets: Tensor) -> Tensor:
    """Finite weights that the network fills, in the dtype to compute in."""
    a_network(net, "the approximation")
    targets = a_tensor(targets, "the approximation: the weight").detach()
    targets = targets.to(torch.promote_types(targets.dtype, torch.float32))
    if not targets.numel() or not bool(torch.isfinite(targets).all()):
        reason = "no entries" if not targets.numel() else "entries that are not finite"
        raise ValueError(f"the approximation: a weight of shape {tuple(targets.shape[1:])} has {reason}")
    check_fills(net, targets.shape[1:], "the approximation")
    return targets


def _times(x: Tensor, by: Tensor) -> Tensor:
    """(seed, ...) times a factor (seed,) in double precision, which may be no number of the dtype of ``x``."""
    wide = x.to(torch.promote_types(x.dtype, torch.float64))
    return (wide * along(by, wide)).to(x.dtype)


def _seen_scaled(generator: Generator, by: Tensor) -> Generator:
    """A generator whose weights are seen times a factor a seed: for networks that no array scales."""

    def weight(params: Params, axes: Axes) -> Tensor:
        return _times(generator.weight(params, axes), axes.by_seed(by))

    return replace(generator, weight=weight)


def _with_zeros(net: tk.Network, found: Approximation, targets: Tensor, first_seed: int) -> Approximation:
    """Weights of zeros made exactly, by one array of zeros among arrays that are alive: it has a gradient, and they have none.

    Where no array is like that (one in several places of a product has no gradient at zero) they are made small, not zero, if the
    network can be; their error is then the root mean square that they begin at.
    """
    zero = ~targets.flatten(1).any(1)
    if not bool(zero.any()):
        return found
    alive, made = network_generator(net, torch.ones_like(targets), first_seed), None
    for name in (*scalers(net), *net.parameters):
        params = {**alive.start, name: torch.zeros_like(alive.start[name])}
        if _zero_and_alive(alive, params, name, Axes(seed=len(targets))):
            made = params
            break
    small = alive if made else network_generator(net, torch.full_like(targets, _SIZES[0]), first_seed)
    begin = made or small.start
    with torch.no_grad():
        size = weight_rms(small.weight(begin, Axes(seed=len(targets))))
    params = {n: torch.where(along(zero, x), begin[n], x) for n, x in found.params.items()}
    return replace(found, params=params, error=torch.where(zero, size, found.error))


def _zero_and_alive(generator: Generator, params: Params, name: str, axes: Axes) -> bool:
    """Whether weights are zero and this array of theirs, zero too, has a gradient."""
    array = params[name].clone().requires_grad_()
    with torch.enable_grad():
        weight = generator.weight({**params, name: array}, axes)
        along_it = torch.randn(
            weight.shape, generator=torch.Generator().manual_seed(0), dtype=weight.real.dtype, device="cpu"
        )
        (grad,) = torch.autograd.grad((weight * along_it.to(weight.device)).real.sum(), array)
    return not bool(weight.any()) and bool(grad.reshape(len(grad), -1).any(1).all())


def approximate(
    net: tk.Network, weight: Tensor, *, method: str = "auto", steps: int = 200, seed: int = 0, progress: bool = False,
) -> FitResult:  # fmt: skip
    """The arrays of a network near a trained weight, ready to be fine-tuned: ``tknn.approximate(tk.cp((8, 8, 8), 4), weight).error``.

    >>> weight = torch.kron(torch.eye(2), torch.arange(16.0).reshape(4, 4))  # a Kronecker product: a TT-matrix of rank 1
    >>> found = tknn.approximate(tk.mpo((2, 4), (2, 4), 1), weight)
    >>> found.error < 1e-5, found.method
    (True, 'svd')
    >>> found = tknn.approximate(tk.low_rank((8, 8), 1), torch.eye(8), method="svd")
    >>> round(found.error, 4)  # sqrt(7 / 8) of the norm is lost
    0.9354

    Parameters
    ----------
    net
        A network that fills the weight (:func:`tnkit.detensorize`); padding is fitted as zeros by the closed forms.
    weight
        The trained weight, of any shape, real or complex.
    method
        ``auto`` is the best of what suits the network: for a tree its closed form, gradient steps from there, and gradient steps
        from a random start; for another small multilinear network gradient steps, and alternating least squares from there; for
        any other network gradient steps, three times as many, from a random start and, where there is one, from a shallow network
        inside of it that was approximated first (:func:`tnkit.init.lifted`; of ReLUs for weights without negative entries alone).
        (Beyond four million entries: the first of these alone; ALS, not gradient steps, where there is ALS; from the shallow network
        alone.)  Where nothing of the weight is found (an error of 0.999 or more) it is a random start.  Or one way alone: ``svd``
        (along a tree, closed form), ``als`` (any multilinear network), ``gradient`` (any network, three learning rates side by
        side), ``lifted`` (from the shallow network inside), or ``skip`` (a random start of the weight's root mean square).
    steps
        Gradient steps.
    seed
        Of all starts.
    progress
        Show a bar of the gradient steps.

    Returns
    -------
    FitResult
        Arrays in a gauge in which one learning rate suits them all (:func:`tnkit_nn.generators.regauged`), with the factor of the
        least error (fine-tuning from the weight's own size did worse); that relative error, and the baseline error beside it; the
        ``method`` that found them.

    Raises
    ------
    TypeError
        A weight that is no tensor, steps or a seed that are no whole numbers.
    ValueError
        An unknown method, or one that the network does not allow (the node is named); a weight with entries that are not finite.
    """
    wrapped = partial(bar, what="approximate") if flag(progress, "approximate: progress") else iter
    steps, seed = whole_number(steps, "approximate: steps", 1, MOST_STEPS), whole_number(seed, "approximate: seed", 0)
    one_of(method, "the approximation: method", METHODS)
    weight = _checked_targets(net, weight[None] if isinstance(weight, Tensor) else weight)[0]
    begin = method if bool(weight.any()) else "skip"
    generator, found = approximate_each(net, weight[None], method=begin, steps=steps, first_seed=seed, progress=wrapped)
    if not bool(weight.any()) and float(found.error[0]) > 0:
        warnings.warn(
            f"the approximation: the weight is zero, where no array of this network has a gradient; it starts at a root mean square of {float(found.error[0]):.3g}",
            stacklevel=2,
        )
    if method == "auto" and begin != "skip" and float(found.error[0]) >= NOTHING:
        warnings.warn(
            f"the approximation: relative error {float(found.error[0]):.4f}, nothing of the weight is found; the network starts at random instead",
            stacklevel=2,
        )
        generator, found = approximate_each(net, weight[None], method="skip", first_seed=seed)
    arrays = {**generator.constants, **{n: x[0] for n, x in found.params.items()}}
    error = float(found.error[0])
    history = (error,) if found.history is None else tuple(found.history[:, 0].tolist())
    chance = sqrt(max(0.0, 1 - net.num_params / prod(weight.shape)))
    return FitResult({n: a.numpy(force=True) for n, a in arrays.items()}, history, error, chance, found.methods[0])


# -- their parts -------------------------------------------------------------------------------------------------------
def _nearest(*found: Approximation) -> Approximation:
    """For each weight the approximation of the least error."""
    best = torch.stack([f.error for f in found]).argmin(0).tolist()
    seeds = range(len(best))
    params = {n: torch.stack([found[k].params[n][s] for s, k in enumerate(best)]) for n in found[0].params}
    error = torch.stack([found[k].error[s] for s, k in enumerate(best)])
    return Approximation(params, error, tuple(found[best[s]].methods[s] for s in seeds))


def _never_negative(targets: Tensor) -> bool:
    """Whether a ReLU leaves the weights as they are: then it takes nothing from a shallow network near them."""
    return not targets.is_complex() and not bool((targets < 0).any())


def _said_by(found: Approximation, method: str) -> Approximation:
    return Approximation(found.params, found.error, (method,) * len(found.methods))


def _stacked_arrays(each: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Params:
    return {
        n: torch.stack([a if isinstance(a := arrays[n], Tensor) else from_numpy(a) for arrays in each]) for n in names
    }


def _squares(x: Tensor) -> Tensor:
    """Sum of the squares of each replica's entries."""
    return (x.abs() if x.is_complex() else x).square().sum(1)

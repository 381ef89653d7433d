"""The approximation of trained weights by a network: arrays whose tensor is near the weight, by the best way for the network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod, sqrt

import torch
from torch import Tensor

import tnkit as tk
from tnkit.core.caller import warn_caller
from tnkit.core.checks import a_network, flag, one_of
from tnkit.core.numbers import whole_number
from tnkit_nn.adapter.descent import Params
from tnkit_nn.adapter.fitting import MOST_STEPS, NOTHING, FitResult, bar
from tnkit_nn.adapter.starts import scalers
from tnkit_nn.approximation.methods import METHODS
from tnkit_nn.approximation.problem import Approximation, Progress, Targets, scaled_each
from tnkit_nn.axes import Axes
from tnkit_nn.checks import a_tensor, check_fills
from tnkit_nn.engine.devices import with_doubles
from tnkit_nn.generators import Generator, along, network_generator, weight_rms

__all__ = ["approximate", "approximate_each", "approximate_layer"]

#: Root mean squares, those of trained layers, outside of which weights are scaled first: rates and thresholds have a size.
_SIZES = (1e-3, 1.0)
#: Relative error up to which a random weight is one of the size of the weight: the square root of 2, and what chance adds.
_RANDOM = 2.0


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
    scaled = scaled_each(targets, by)
    inner = network_generator(net, scaled, first_seed) if outer else _seen_scaled(generator, by)
    if bool((by == 1).all()):
        scaled, inner = targets, generator
    found = METHODS[method](Targets(net, scaled, inner, first_seed, steps, progress))
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


def _seen_scaled(generator: Generator, by: Tensor) -> Generator:
    """A generator whose weights are seen times a factor a seed: for networks that no array scales."""

    def weight(params: Params, axes: Axes) -> Tensor:
        return scaled_each(generator.weight(params, axes), axes.by_seed(by))

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
        alone.)  Where nothing of the weight is found (an error of 0.999 or more) it is a random start, if one has the weight's
        size.  Or one way alone: ``svd`` (along a tree, closed form), ``als`` (any multilinear network), ``gradient`` (any network,
        three learning rates side by side), ``lifted`` (from the shallow network inside), or ``skip`` (a random start of the
        weight's root mean square).
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
    return approximate_layer("", net, weight, method=method, steps=steps, seed=seed, progress=progress)


def approximate_layer(
    layer: str, net: tk.Network, weight: Tensor, *, method: str = "auto", steps: int = 200, seed: int = 0, progress: bool = False,
) -> FitResult:  # fmt: skip
    """As :func:`approximate`, of a layer that is named in what it warns of: ``"layer 'fc1': "``."""
    wrapped = partial(bar, what="approximate") if flag(progress, "approximate: progress") else iter
    steps, seed = whole_number(steps, "approximate: steps", 1, MOST_STEPS), whole_number(seed, "approximate: seed", 0)
    one_of(method, "the approximation: method", METHODS)
    weight = _checked_targets(net, weight[None] if isinstance(weight, Tensor) else weight)[0]
    begin = method if bool(weight.any()) else "skip"
    generator, found = approximate_each(net, weight[None], method=begin, steps=steps, first_seed=seed, progress=wrapped)
    if not bool(weight.any()) and float(found.error[0]) > 0:
        warn_caller(
            f"{layer}the approximation: the weight is zero, where no array of this network has a gradient; "
            f"it starts at a root mean square of {float(found.error[0]):.3g}"
        )
    if method == "auto" and begin != "skip" and float(found.error[0]) >= NOTHING:
        again, drawn = approximate_each(net, weight[None], method="skip", first_seed=seed)
        sized = float(drawn.error[0]) <= _RANDOM
        warn_caller(
            f"{layer}the approximation: relative error {float(found.error[0]):.4f}, nothing of the weight is found; "
            + ("the network starts at random instead" if sized else "no random start has its size either")
        )
        generator, found = (again, drawn) if sized else (generator, found)
    arrays = {**generator.constants, **{n: x[0] for n, x in found.params.items()}}
    error = float(found.error[0])
    history = (error,) if found.history is None else tuple(found.history[:, 0].tolist())
    chance = sqrt(max(0.0, 1 - net.num_params / prod(weight.shape)))
    return FitResult({n: a.numpy(force=True) for n, a in arrays.items()}, history, error, chance, found.methods[0])

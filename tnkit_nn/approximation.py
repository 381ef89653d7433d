"""Stage 1 for one weight: arrays of a network whose tensor is near a trained weight, by the way that suits the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

import tnkit as tk
from tnkit.core.structure import as_tree, check_multilinear
from tnkit_nn.adapter.fitting import NOTHING, FitResult, fit
from tnkit_nn.engine.backend import TORCH
from tnkit_nn.generators import network_generator, regauged, rms

__all__ = ["METHODS", "approximate", "check_method", "way"]

#: Nodes up to which alternating least squares is taken: beyond, its environments cost more than gradient steps.
_NODES = 16


def way(net: tk.Network) -> str:
    """How a weight is brought into a network: ``svd`` (trees), ``als`` (small multilinear ones), else ``fit`` (gradients)."""
    try:
        as_tree(net, "stage 1")
        return "svd"
    except ValueError:
        pass
    try:
        nodes = check_multilinear(net, "stage 1")
    except ValueError:
        return "fit"
    return "als" if len(nodes) <= _NODES else "fit"


def check_method(method: str, net: tk.Network, layer: str) -> None:
    """ValueError, with the layer's name, where a method cannot fit a network."""
    try:
        if method == "svd":
            as_tree(net, "stage 1 by svd")
        elif method == "als":
            check_multilinear(net, "stage 1 by als")
    except ValueError as error:
        raise ValueError(f"layer {layer!r}: {error}") from None


def _svd(net: tk.Network, weight: Tensor, **_: Any) -> FitResult:
    found = tk.tree_svd(tk.tensorize(weight, net.shape), net, backend=TORCH)
    # the builder's own bonds, so that the count is the one asked for: what the weight cannot use is zero
    arrays = {n: _padded(a, net.array_shapes[n]) for n, a in found.arrays.items()}
    return _result(net, weight, arrays)


def _als(net: tk.Network, weight: Tensor, *, seed: int, **_: Any) -> FitResult:
    found = tk.als(tk.tensorize(weight, net.shape), net, seed=seed, backend=TORCH)
    return _result(net, weight, {**found.arrays})


def _fit(net: tk.Network, weight: Tensor, **options: Any) -> FitResult:
    return fit(net, weight, **options)


def _skip(net: tk.Network, weight: Tensor, *, seed: int, **_: Any) -> FitResult:
    arrays = tk.init.orthogonal(net, seed=seed, std=float(rms(weight[None])))
    return _result(net, weight, {n: torch.as_tensor(a, dtype=weight.dtype) for n, a in arrays.items()})


#: Name -> ``(net, weight, steps=, lr=, seed=, progress=)`` -> result; ``auto`` is :func:`way`'s choice.
METHODS: dict[str, Callable[..., FitResult]] = {
    "svd": _svd, "als": _als, "fit": _fit, "skip": _skip,
}  # fmt: skip


def approximate(
    net: tk.Network, weight: Tensor, *, method: str = "auto", steps: int = 1000, lr: float = 2e-2, seed: int = 0,
    progress: bool = False,
) -> FitResult:  # fmt: skip
    """Stage 1: the arrays of a network near a trained weight, ready to be trained on.

    Parameters
    ----------
    net
        A network that fills the weight (:func:`tnkit.detensorize`); padding is fitted as zeros by the closed forms.
    weight
        The trained weight, of any shape.
    method
        ``auto``, what suits the network, and a random start where that finds nothing of the weight (an error of 0.999 or more);
        ``svd`` (along a tree, closed form), ``als`` (any multilinear network), ``fit`` (gradients, any network), or ``skip`` (a
        random start of the weight's root mean square).
    steps, lr
        Of ``fit``.
    seed
        Of all starts.
    progress
        Show a bar of ``fit``.

    Returns
    -------
    FitResult
        Arrays in a gauge in which one learning rate suits them all (:func:`tnkit_nn.generators.regauged`), with the factor of the
        least error (fine-tuning from the weight's own size did worse); that relative error, and the chance level beside it.

    Raises
    ------
    ValueError
        An unknown method, or one that the network does not allow (the node is named).
    """
    if method != "auto" and method not in METHODS:
        raise ValueError(f"stage 1 has no method {method!r}; there are auto, {', '.join(METHODS)}")
    weight = weight.detach().float()
    chosen = way(net) if method == "auto" else method
    found = METHODS[chosen](net, weight, steps=steps, lr=lr, seed=seed, progress=progress)
    if chosen == "skip" or not float(weight.norm()):
        return found
    generator = network_generator(net, tuple(weight.shape), rms(weight[None].cpu()))
    arrays = {n: torch.as_tensor(a, dtype=torch.float32) for n, a in found.arrays.items()}
    even = regauged(generator, {n: arrays[n][None] for n in net.parameters}, weight[None].cpu(), net)
    best = _result(net, weight, {**arrays, **{n: v[0] for n, v in even.items()}})
    if method == "auto" and best.error >= NOTHING:
        warnings.warn(
            f"stage 1: relative error {best.error:.4f}, nothing of the weight is found; the network starts at random instead",
            stacklevel=2,
        )
        return _skip(net, weight, seed=seed)
    return replace(best, history=found.history)


def _result(net: tk.Network, weight: Tensor, arrays: dict[str, Tensor]) -> FitResult:
    tensors = {n: torch.as_tensor(a, dtype=weight.dtype, device=weight.device) for n, a in arrays.items()}
    made = tk.detensorize(tk.contract(net, tensors, backend=TORCH), weight.shape)
    size = float(weight.norm())
    error = float((made - weight).norm()) / size if size else 0.0
    chance = sqrt(max(0.0, 1 - net.num_params / prod(weight.shape)))
    return FitResult({n: a.numpy(force=True) for n, a in tensors.items()}, (error,), error, chance)


def _padded(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    out = a.new_zeros(shape)
    out[tuple(slice(n) for n in a.shape)] = a
    return out

"""Stage 1: arrays for a given network so that its tensor is as near as possible to a given weight (Euclidean)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import cos as cosine
from math import isfinite, pi, prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tnkit import init
from tnkit.core.network import Network, Node
from tnkit.core.shapes import split_axes
from tnkit.execution.run import check_known, constant, run
from tnkit.execution.weights import detensorize
from tnkit.planning.plan import plan
from tnkit_nn.engine.backend import TORCH, native, to_tensor

__all__ = ["NOTHING", "FitResult", "fit"]

#: An error from here on means that nothing was learned.
NOTHING = 0.999


@dataclass(frozen=True, eq=False)
class FitResult:
    """What :func:`fit` found.

    Attributes
    ----------
    arrays
        Array name -> numpy array, constants and given frozen arrays included; of the best restart.
    history
        Relative error of the best restart at every step.
    error
        ``|contract(net, arrays) - target| / |target|`` for ``arrays``.
    chance
        Error that a random family of as many numbers reaches, ``sqrt(1 - num_params / size)``: read ``error`` beside it.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    history: tuple[float, ...] = field(repr=False)
    error: float
    chance: float


def fit(
    net: Network,
    target: Any,
    *,
    steps: int = 1000,
    lr: float = 2e-2,
    seed: int = 0,
    arrays: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    patience: int | None = None,
    restarts: int = 1,
    progress: bool = False,
) -> FitResult:
    """Fit a network to a target by Adam with a cosine schedule.

    The angle between tensor and target is minimised (``1 - cos^2``) and the scale set in closed form: plain squared error
    collapses deep networks to zero.  Where no array scales the whole tensor (an activation is outermost) it is the plain
    squared error.  A step that gives no finite number is rolled back and the rate halved.

    Parameters
    ----------
    net
        Any network; nonlinear ones too.
    target
        Numpy array or tensor that the network's tensor reads as (:func:`tnkit.detensorize`).
    steps, lr
        Adam steps and first learning rate.
    seed
        Seed of the first start.
    arrays
        Where to start (all trained arrays, or none), and the ``fixed=True`` arrays.
    dtype
        To compute in; default: the target's, but at least float32.
    patience
        Stop after so many steps without a gain of 0.1 %.
    restarts
        Starts that run side by side (vmap); all but the first are drawn even where ``arrays`` has a start.
    progress
        Show a bar.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        A target that is zero, not finite, or that the network does not fill; ``steps`` or ``restarts`` below 1; a missing,
        misshapen or unknown array.
    """
    goal, size = _goal(net, target, dtype)
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts are at least 1, not {steps} and {restarts}")
    outer = _scalers(net)
    std = 1.0 if outer else float(size) / sqrt(goal.numel())  # lr is relative to entries near 1
    starts, frozen = _starts(net, arrays or {}, goal, std, seed, restarts)
    way, norm, unit = plan(net), std * sqrt(goal.numel()), goal / size

    def tensor(trained: dict[str, Tensor]) -> Tensor:
        return detensorize(run(way, {**frozen, **trained}, TORCH), goal.shape)

    def objective(trained: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        w = tensor(trained) / norm
        a = _scale(w.detach(), unit) if outer else torch.ones_like(w.detach().sum())
        return (unit - a * w).abs().square().sum(), a  # a is optimal, so its own derivative is zero: 1 - cos^2

    many = _single(objective) if restarts == 1 else torch.func.vmap(objective)
    bar: Iterable[int] = range(steps)
    if progress:
        from tqdm.auto import tqdm

        bar = tqdm(bar, desc="fit", unit="step")
    best, scales, history = _adam(many, starts, bar, steps, lr, patience)
    chosen = int(np.argmin([min(h) for h in history]))
    found = {name: value[chosen] for name, value in best.items()}
    if outer:
        found = _rescaled(found, outer, scales[chosen] * size / norm)
    with torch.no_grad():
        error = float((tensor(found) / size - unit).abs().square().sum().sqrt())
    if error >= NOTHING:
        warnings.warn(f"fit: relative error {error:.4f}; the network has not learned the target", stacklevel=2)
    chance = sqrt(max(0.0, 1 - net.num_params / goal.numel()))
    out = {name: value.numpy(force=True) for name, value in {**frozen, **found}.items()}
    return FitResult(out, tuple(history[chosen]), error, chance)


def _goal(net: Network, target: Any, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """Target in the dtype to compute in, and its norm."""
    goal = to_tensor(target, target.dtype if isinstance(target, Tensor) else torch.as_tensor(native(target)).dtype)
    if dtype is None:
        dtype = torch.promote_types(goal.dtype, torch.float32)
    goal = to_tensor(goal, dtype)
    size = goal.abs().square().sum().sqrt()
    if goal.numel() == 0 or not isfinite(size) or size == 0:
        raise ValueError(f"the target of shape {tuple(goal.shape)} has norm {float(size)}: nothing to fit")
    if prod(net.shape) != goal.numel():
        split_axes(net.shape, goal.shape)
    return goal, size


def _starts(
    net: Network, given: Mapping[str, Any], goal: Tensor, std: float, seed: int, restarts: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Trained arrays, stacked over the restarts, and the frozen ones."""

    def tensor(a: Any) -> Tensor:
        return to_tensor(a, goal.dtype).to(goal.device)

    check_known(net, given)
    frozen = {}
    for leaf in net.leaves:
        if leaf.fixed and leaf.array not in given and leaf.fixed is True:
            raise ValueError(f"node {leaf.name!r} is data: give its array {leaf.array!r} in arrays")
        if leaf.fixed:
            shape = net.array_shapes[leaf.array]
            frozen[leaf.array] = tensor(given.get(leaf.array, constant(str(leaf.fixed), shape)) if leaf.fixed is not True else given[leaf.array])  # fmt: skip
    started = [name for name in net.parameters if name in given]
    if not net.parameters or 0 < len(started) < len(net.parameters):
        raise ValueError(f"give all trained arrays {net.parameters} or none, not {started}")
    known = {name: a.numpy(force=True) for name, a in frozen.items()}
    kind = "complex128" if goal.is_complex() else "float64"
    draws: list[Mapping[str, Any]] = [given] if started else []
    for k in range(len(draws), restarts):
        draws.append(init.normal(net, seed=seed + k, std=std, dtype=kind, arrays=known))
    for name, shape in net.array_shapes.items():
        have = tuple(given[name].shape) if name in given else shape
        if have != shape:
            raise ValueError(f"array {name!r} has shape {have}, the network wants {shape}")
    return {name: torch.stack([tensor(d[name]) for d in draws]) for name in net.parameters}, frozen


def _single(objective: Any) -> Any:
    """An unbatched objective with the restarts' axis, of length one, put back."""

    def many(trained: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        loss, a = objective({name: value[0] for name, value in trained.items()})
        return loss[None], a[None]

    return many


def _scale(w: Tensor, unit: Tensor) -> Tensor:
    """Factor that brings ``w`` nearest to ``unit``."""
    norm = w.abs().square().sum()
    return (w.conj() * unit).sum() / torch.where(norm > 0, norm, torch.ones_like(norm))


def _scalers(net: Network) -> list[str]:
    """Trained arrays that scale the whole tensor: each on one node, outermost, and nowhere else."""
    leaves = [leaf.array for leaf in net.leaves]
    return [n.array for n in net.nodes if isinstance(n, Node) and not n.fixed and leaves.count(n.array) == 1]


def _rescaled(arrays: dict[str, Tensor], outer: list[str], factor: Tensor) -> dict[str, Tensor]:
    """The tensor times ``factor``, shared out evenly so that one learning rate keeps suiting all arrays."""
    size = factor.abs()
    share = size ** (1 / len(outer))
    scaled = {name: arrays[name] * share for name in outer}
    scaled[outer[0]] = scaled[outer[0]] * (factor / size if size > 0 else factor)
    return {**arrays, **scaled}


@torch.enable_grad()
def _adam(
    many: Any, starts: dict[str, Tensor], bar: Iterable[int], steps: int, lr: float, patience: int | None
) -> tuple[dict[str, Tensor], Tensor, list[list[float]]]:
    """Best arrays, their scales and the errors of every restart."""
    trained = {name: value.clone().requires_grad_() for name, value in starts.items()}
    # the second moment forgets in 100 steps: with 1000 it lags behind a falling error, and fits stop at 1e-3, not 1e-15
    optimizer = torch.optim.Adam(trained.values(), lr=lr, betas=(0.9, 0.99), eps=1e-12)
    best = {name: value.detach().clone() for name, value in trained.items()}
    lowest = scales = torch.empty(0)  # from the first step on, of every restart
    history: list[list[float]] = [[] for _ in next(iter(starts.values()))]
    marked, since, damp = float("inf"), 0, 1.0
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = damp * lr * 0.5 * (1 + cosine(pi * step / steps))
        loss, a = many(trained)
        optimizer.zero_grad()
        loss.sum().backward()
        now = loss.detach()
        bad = ~torch.isfinite(now)
        for value in trained.values():
            assert value.grad is not None
            bad |= ~torch.isfinite(value.grad).flatten(1).all(1)
        if not len(lowest):
            lowest, scales = torch.full_like(now, float("inf")), a.clone()
        better = (now < lowest) & ~bad
        lowest, scales = torch.where(better, now, lowest), torch.where(better, a, scales)
        for name, value in trained.items():
            best[name] = torch.where(_wide(better, value), value.detach(), best[name])
        for errors, square, failed in zip(history, now.tolist(), bad.tolist(), strict=True):
            errors.append(float("inf") if failed else sqrt(square))
        if bad.any():
            damp *= 0.5
            _roll_back(trained, best, bad, optimizer)
            continue
        optimizer.step()
        top = sqrt(float(lowest.min()))
        since = 0 if top < 0.999 * marked else since + 1
        marked = top if since == 0 else marked
        if (patience is not None and since >= patience) or top <= 4 * torch.finfo(now.dtype).eps:
            break
        if hasattr(bar, "set_postfix_str"):
            bar.set_postfix_str(f"relative error {top:.4g}", refresh=False)
    if not any(isfinite(e) for errors in history for e in errors):
        raise ValueError("fit: no start gives a finite tensor and gradient; give smaller arrays or another dtype")
    return best, scales, history


def _wide(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (value.ndim - 1))


def _roll_back(
    trained: dict[str, Tensor], best: dict[str, Tensor], bad: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """Put failed restarts back to their best arrays, and forget the optimiser's moments."""
    optimizer.state.clear()
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(torch.where(_wide(bad, value), best[name], value))

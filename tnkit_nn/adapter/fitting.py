"""The gradient fit: arrays for a given network so that its tensor is as near as possible to a given weight (Euclidean)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tnkit.core.checks import a_mapping, a_network, flag, shown
from tnkit.core.decomposition import Pair, network_of
from tnkit.core.extras import need
from tnkit.core.keywords import keywords_of
from tnkit.core.network import Network
from tnkit.core.numbers import real_number, whole_number
from tnkit.decompose.truncate import frobenius
from tnkit.execution.powers import times, unit
from tnkit.execution.run import run
from tnkit.execution.weights import detensorize
from tnkit.planning.planner import plan
from tnkit_nn.adapter.descent import cosine, minimise
from tnkit_nn.adapter.starts import check_reach, held_tensor, in_units, out_of_reach, scalers, stacked_starts, units_of
from tnkit_nn.checks import check_fills, warn_caller
from tnkit_nn.engine.backend import TORCH, to_tensor
from tnkit_nn.engine.devices import with_doubles
from tnkit_nn.gradients import with_gradients

__all__ = ["MOST_STEPS", "NOTHING", "FitResult", "bar", "fit"]

#: An error from here on means that nothing was learned.
NOTHING = 0.999
#: Steps of one fit: more are a number given by mistake.
MOST_STEPS = 10**9


@dataclass(frozen=True, eq=False)
class FitResult:
    """What :func:`fit` found.

    >>> net = tk.cp((4, 4, 4), 2)
    >>> found = tknn.fit(net, tk.contract(net, tk.init.normal(net, seed=1)), steps=50)
    >>> isinstance(found, tknn.FitResult), len(found.history), found.method
    (True, 50, 'gradient')
    >>> found.history[-1] < found.history[0]
    True
    >>> round(found.chance, 6) == round((1 - net.num_params / 64) ** 0.5, 6)
    True

    Attributes
    ----------
    arrays
        Array name -> numpy array, constants and given frozen arrays included; of the best restart.
    history
        Relative error of the best restart at every step.
    error
        ``|contract(net, arrays) - target| / |target|`` for ``arrays``.
    chance
        Error of the nearest point of a random linear space of as many dimensions as the network has parameters,
        ``sqrt(1 - num_params / size)``: read ``error`` beside it.  A family of networks is no such space, and of noise may be nearer.
    method
        What the arrays were found by.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    history: tuple[float, ...] = field(repr=False)
    error: float
    chance: float
    method: str = "gradient"


@keywords_of(network="net")
@with_gradients
def fit(
    net: Network | Pair,
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

    >>> net = tk.tt((4, 4, 4), 2)
    >>> target = tk.contract(net, tk.init.normal(net, seed=1))
    >>> found = tknn.fit(net, target, steps=300, lr=0.05)
    >>> found.error < 0.05 < found.chance
    True

    The angle between tensor and target is minimised (``1 - cos^2``) and the scale set in closed form: plain squared error
    collapses deep networks to zero.  Where no array scales the whole tensor (an activation is outermost) it is the plain
    squared error, from a start of the target's size; entries that the activation does not reach are told in a warning.  A restart that gives no finite number goes back to its best arrays, at half its rate.

    Parameters
    ----------
    net
        Any network, nonlinear ones too; or a Decomposition, whose arrays are then the start.
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
        The arrays, their relative ``error``, the baseline error ``chance`` beside it, and the ``history`` of errors.

    Raises
    ------
    TypeError
        No network, a target or an array that is none or holds no numbers, an option of the wrong kind.
    ValueError
        A target that is zero, not finite, without values or that the network does not fill; an option out of its range; a
        missing, misshapen or unknown array.
    """
    network, arrays = network_of(net, arrays, "fit")
    steps, restarts = (
        whole_number(steps, "fit: steps", 1, MOST_STEPS),
        whole_number(restarts, "fit: restarts", 1, 10**6),
    )
    lr, seed = real_number(lr, "fit: lr"), whole_number(seed, "fit: seed", 0)
    patience = None if patience is None else whole_number(patience, "fit: patience", 1)
    progress = flag(progress, "fit: progress")
    goal, power = _checked_goal(network, target, dtype)
    size = float(frobenius(goal, TORCH))  # the target's, over two to the power
    outer = scalers(network)
    std = None if outer else size / sqrt(goal.numel()) * 2.0**power
    check_reach(network, goal, power)
    given = {} if arrays is None else a_mapping(arrays, "fit")
    starts, frozen = stacked_starts(network, given, goal, std, seed, restarts)
    units = {} if std is None else units_of(network, starts, seed)
    way, one = plan(network), goal / size
    norm, down = (sqrt(goal.numel()), 0.0) if outer else (size, -power)

    def tensor(trained: dict[str, Tensor]) -> Tensor:
        return detensorize(run(way, {**frozen, **in_units(trained, units)}, TORCH), goal.shape)

    def objective(trained: dict[str, Tensor]) -> Tensor:
        w = times(tensor(trained), down, TORCH) / norm
        a = _scale(w.detach(), one) if outer else 1.0
        return (one - a * w).abs().square().sum()  # a is optimal, so its own derivative is zero: 1 - cos^2

    many = _single(objective) if restarts == 1 else torch.func.vmap(objective)
    rate = torch.full((restarts,), lr, dtype=torch.float64, device=goal.device)
    done = minimise(
        lambda trained, _: many(trained), in_units(starts, {n: -u for n, u in units.items()}), dict.fromkeys(starts, rate), steps - 1, schedule=lambda step, _: cosine(step, steps),
        every=1, eps=1e-12, patience=patience, enough=(4 * torch.finfo(goal.dtype).eps) ** 2, progress=bar if progress else iter,
    )  # fmt: skip
    if not torch.isfinite(done.score).any():
        raise ValueError(
            f"fit: no start gives a finite tensor and gradient; give smaller arrays or another dtype{out_of_reach(network)}"
        )
    chosen = int(done.score.argmin())
    found = {name: value[chosen] for name, value in done.params.items()}
    if outer:
        with torch.no_grad():
            found = _with_factor(found, outer, _scale(tensor(found) / norm, one) * (size / norm), power)
    with torch.no_grad():
        error = float((times(tensor(found), -power, TORCH) / size - one).abs().square().sum().sqrt())
    if error >= NOTHING:
        warn_caller(f"fit: relative error {error:.4f}; the network has not learned the target{out_of_reach(network)}")
    chance = sqrt(max(0.0, 1 - network.num_params / goal.numel()))
    out = {name: value.numpy(force=True) for name, value in {**frozen, **in_units(found, units)}.items()}
    return FitResult(out, tuple(done.history[:, chosen].sqrt().tolist()), error, chance)


def _checked_goal(net: Network, target: Any, dtype: torch.dtype | None) -> tuple[Tensor, float]:
    """Target in the dtype to compute in, over two to a power so that its entries are of size about 1; and that power."""
    a_network(net, "fit")
    target = with_doubles(held_tensor("fit: the target", target))  # where the steps' sizes are held too
    if dtype is None:
        dtype = torch.promote_types(target.dtype, torch.float32)
    elif not isinstance(dtype, torch.dtype) or not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"fit: dtype is a floating or complex dtype of torch, not {shown(dtype)}")
    goal = to_tensor(target, dtype)
    if not goal.numel():
        raise ValueError(f"fit: the target of shape {tuple(goal.shape)} has no entries")
    if not bool(torch.isfinite(goal).all()):
        raise ValueError(
            f"fit: the target of shape {tuple(goal.shape)} has entries that are not finite in {goal.dtype}"
        )
    if not bool(goal.any()):
        raise ValueError(f"fit: the target of shape {tuple(goal.shape)} has norm 0: nothing to fit")
    check_fills(net, goal.shape, "fit: the target")
    goal, power = unit(goal, TORCH)
    return goal, float(power)


def _single(objective: Any) -> Any:
    """An unbatched objective with the restarts' axis, of length one, put back."""
    return lambda trained: objective({name: value[0] for name, value in trained.items()})[None]


def bar(steps: Iterable[int], what: str = "fit") -> Iterable[int]:
    """The steps, with a progress bar."""
    need("progress=True", "tqdm")
    from tqdm.auto import tqdm

    return tqdm(steps, desc=what, unit="step", disable=sys.stderr is None)


def _scale(w: Tensor, unit: Tensor) -> Tensor:
    """Factor that brings ``w`` nearest to ``unit``."""
    norm = w.abs().square().sum()
    return (w.conj() * unit).sum() / torch.where(norm > 0, norm, torch.ones_like(norm))


def _with_factor(arrays: dict[str, Tensor], outer: list[str], factor: Tensor, power: float) -> dict[str, Tensor]:
    """The tensor times a factor and two to a power, shared out evenly so that one learning rate keeps suiting all arrays."""
    size = factor.abs()
    share = size ** (1 / len(outer))
    rest = 2.0 ** (
        power / len(outer) - power // len(outer)
    )  # two to the power: whole parts are exact, and fit the dtype
    scaled = {name: times(arrays[name] * (share * rest), power // len(outer), TORCH) for name in outer}
    scaled[outer[0]] = scaled[outer[0]] * (factor / size if size > 0 else factor)
    return {**arrays, **scaled}

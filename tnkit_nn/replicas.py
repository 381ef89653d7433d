"""Many small trainings as one: replicas (seeds x learning rates) in a batch dimension, by ``torch.func.vmap``.

A sweep over learning rates and seeds costs little more than one run, so every family of a comparison can be tuned alike.
Replicas are ordered learning rate by learning rate: replica ``k * seeds + s`` has rate k and seed s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Swept", "minimise"]

Params = dict[str, Tensor]


@dataclass
class Swept:
    """Result of :func:`minimise`.

    Attributes
    ----------
    params
        Name -> tensor (replicas, ...): the values of the lowest score seen, replica by replica.
    score
        (replicas,): that score; infinity where a replica was never finite.
    """

    params: Params
    score: Tensor

    def preferred(self, seeds: int) -> tuple[int, Params]:
        """Which learning rate has the lowest mean score over the seeds, and the values at it, (seeds, ...)."""
        k = int(self.score.view(-1, seeds).mean(1).argmin())
        return k, {n: p[k * seeds : (k + 1) * seeds] for n, p in self.params.items()}


def _tile(x: Tensor, rates: int) -> list[Tensor]:
    return [x.detach().clone().requires_grad_() for _ in range(rates)]


def minimise(
    losses: Callable[[Params, int], Tensor],
    start: Mapping[str, Tensor],
    rates: Sequence[float],
    steps: int,
    *,
    slow: Mapping[str, Tensor] | None = None,
    slow_rates: Sequence[float] | None = None,
    score: Callable[[Params], Tensor] | None = None,
    every: int = 25,
) -> Swept:
    """Adam with warm-up and cosine decay, on all replicas at once.

    Parameters
    ----------
    losses
        ``(params, step) -> (replicas,)`` losses; params hold (replicas, ...) tensors.
    start
        Name -> (seeds, ...) start values, trained at each of ``rates``.
    rates
        Learning rates.
    steps
        Adam steps.
    slow
        Name -> (seeds, ...) start values of what has learning rates of its own (the rest of a model).
    slow_rates
        Learning rates of ``slow``, one for each of ``rates`` (``rates`` themselves, if not given).
    score
        ``params -> (replicas,)``, lower is better, evaluated without gradient every ``every`` steps and at the end; the best
        values are kept.  By default the loss.  A replica that is not finite never scores, so a divergence costs nothing but
        its own run.
    every
        Steps between scores.

    Returns
    -------
    Swept
    """
    fast = {name: _tile(x, len(rates)) for name, x in start.items()}
    rest = {name: _tile(x, len(rates)) for name, x in (slow or {}).items()}
    groups: list[dict[str, Any]] = [
        {"params": [p[k] for p in fast.values()], "lr": r} for k, r in enumerate(rates) if fast
    ]
    if rest:
        groups += [{"params": [ps[k] for ps in rest.values()], "lr": r} for k, r in enumerate(slow_rates or rates)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), foreach=True)  # 0.999 stalls fits that can be exact
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, warm),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm)),
        ],
        [warm],
    )

    def gather() -> Params:
        return {name: torch.cat(ps) for name, ps in {**fast, **rest}.items()}

    best: Params | None = None
    lowest = torch.empty(0)
    for step in range(steps + 1):
        params = gather()
        if step % every == 0 or step == steps:
            with torch.no_grad():
                now = score(params) if score else losses(params, step).detach()
                now = torch.where(torch.isfinite(now), now, torch.inf)
                if best is None:
                    best, lowest = {n: p.detach().clone() for n, p in params.items()}, now
                better = now < lowest
                lowest = torch.where(better, now, lowest)
                best = {n: torch.where(better.view(-1, *[1] * (p.dim() - 1)), p, best[n]) for n, p in params.items()}
        if step == steps:
            break
        loss = losses(params, step)
        optimizer.zero_grad(set_to_none=True)
        torch.where(torch.isfinite(loss), loss, 0.0).sum().backward()
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimizer.step()
        schedule.step()
    assert best is not None
    return Swept({n: p.detach() for n, p in best.items()}, lowest)

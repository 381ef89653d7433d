"""Adam on many replicas side by side: each has its own learning rates, and one that fails disturbs no other.

All values of a replica are one row of a table, so a step is a few operations whatever the number of arrays and replicas.
(``torch.optim.Adam`` has one rate for a tensor, not one for each of its rows.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from math import cos, inf, pi, prod

import torch
from torch import Tensor

from tnkit_nn.engine.devices import dtype_there

__all__ = ["Descent", "Params", "cosine", "minimise", "warm_cosine"]

Params = dict[str, Tensor]

#: What the moments forget: the second in 100 steps; with 1000 it lags behind a falling error, and fits stop at 1e-3, not at 1e-15.
_FIRST, _SECOND = 0.9, 0.99
#: A lowest score that falls by a smaller part than this is no gain (0.1 % of an error whose square is the score).
_GAIN = 1 - 0.999**2


@dataclass(frozen=True)
class Descent:
    """Result of :func:`minimise`.

    Attributes
    ----------
    params
        Name -> (replicas, ...): the values of the lowest score seen, replica by replica.
    score
        (replicas,): that score; infinity where a replica was never finite.
    history
        (steps, replicas): the losses, infinity where a step failed.
    state
        What the losses changed as they went, as it was with ``params``.
    """

    params: Params
    score: Tensor
    history: Tensor
    state: Params = field(default_factory=dict)


def cosine(step: int, steps: int) -> float:
    """Half a cosine: 1 at first, 0 at the end."""
    return 0.5 * (1 + cos(pi * step / steps))


def warm_cosine(step: int, steps: int) -> float:
    """A twentieth of the steps from 0.1 to 1, then half a cosine."""
    warm = max(1, steps // 20)
    return 0.1 + 0.9 * step / warm if step < warm else cosine(step - warm, max(1, steps - warm))


@torch.enable_grad()
def minimise(
    losses: Callable[[Params, int], Tensor],
    start: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    steps: int,
    *,
    schedule: Callable[[int, int], float] = warm_cosine,
    score: Callable[[Params], Tensor] | None = None,
    every: int = 25,
    eps: float = 1e-8,
    patience: int | None = None,
    enough: float = -inf,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    state: Params | None = None,
) -> Descent:
    """Minimise the loss of every replica.

    Parameters
    ----------
    losses
        ``(params, step) -> (replicas,)``; params hold (replicas, ...) tensors.
    start
        Name -> (replicas, ...) start values.
    rates
        Name -> (replicas,) learning rates.
    steps
        Adam steps.
    schedule
        ``(step, steps) -> factor of the rates``.
    score
        ``params -> (replicas,)``, lower is better, evaluated without gradient every ``every`` steps and at the end; the best
        values are kept.  The loss, where it is not given.
    every
        Steps between scores.
    eps
        Of Adam.
    patience
        Stop after so many scores that gain nothing over the lowest one of all replicas.
    enough
        Stop at this score.
    progress
        Wraps the steps (a progress bar); what the last one found is looked at after it.
    state
        Name -> (replicas, ...) values that the losses change in place (running statistics): kept and put back with the parameters.

    Returns
    -------
    Descent
        A replica whose loss or gradient is not finite goes back to its best values, without its moments, at half its rates.
    """
    table = _ParameterTable(start)
    rows = table.rows(start)
    wide = dtype_there(torch.float64, rows.device)
    groups = [(columns, rates[name].to(rows.device, wide)[:, None]) for name, columns in table.columns.items()]
    first, second = torch.zeros_like(rows), torch.zeros_like(rows)
    age = torch.zeros(len(rows), 1, dtype=wide, device=rows.device)
    damp, best, lowest = torch.ones_like(age), rows, rows.new_full((len(rows),), inf)
    history: list[Tensor] = []
    marked, since, state = inf, 0, state or {}
    best_state = {n: x.clone() for n, x in state.items()}
    for step in chain(progress(range(steps)), [steps]):
        last = step == steps
        leaf = rows.detach().requires_grad_(not last)
        params = table.params(leaf)
        if not (last and score):
            loss = losses(params, step)
            (gradient,) = (torch.zeros_like(rows),) if last else torch.autograd.grad(_finite(loss, 0.0).sum(), leaf)
            bad = ~(torch.isfinite(loss.detach()) & torch.isfinite(gradient).all(1))
            history.append(torch.where(bad, inf, loss.detach()))
        if last or step % every == 0:
            with torch.no_grad():
                now = _finite(score(params), inf) if score else history[-1]
            _keep(best_state, state, now < lowest)
            lowest, best = torch.minimum(now, lowest), torch.where((now < lowest)[:, None], leaf.detach(), best)
            least = float(lowest.min())
            marked, since = (least, 0) if least < (1 - _GAIN) * marked else (marked, since + 1)
            if least <= enough or (patience is not None and since >= patience):
                break
        if last:
            break
        with torch.no_grad():
            age += 1
            first.lerp_(gradient, 1 - _FIRST)
            second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
            root = (second.sqrt() / (1 - _SECOND**age).sqrt().to(rows)).add_(eps)
            size = -damp * schedule(step, steps) / (1 - _FIRST**age)
            rows = torch.cat([rows[:, c] + (size * r).to(rows) * first[:, c] / root[:, c] for c, r in groups], 1)
            if bool(bad.any()):
                of_row = bad[:, None]
                rows, damp, age = torch.where(of_row, best, rows), torch.where(of_row, damp / 2, damp), age * ~of_row
                first, second = (torch.where(of_row, 0.0, moment) for moment in (first, second))
                _keep(state, best_state, bad)
    seen = torch.stack(history) if history else rows.new_zeros((0, len(rows)))
    return Descent(table.params(best), lowest, seen, best_state)


def _keep(into: Params, values: Params, chosen: Tensor) -> None:
    """Copy the chosen replicas' values."""
    for n, x in into.items():
        x[chosen] = values[n][chosen]


def _finite(x: Tensor, otherwise: float) -> Tensor:
    return torch.where(torch.isfinite(x), x, otherwise)


class _ParameterTable:
    """Where the values of each name stand in a row; a complex number is two."""

    def __init__(self, start: Mapping[str, Tensor]) -> None:
        self.shapes = {n: (*x.shape[1:], 2) if x.is_complex() else tuple(x.shape[1:]) for n, x in start.items()}
        self.complex = {n for n, x in start.items() if x.is_complex()}
        self.real = {n: x.dtype.to_real() if x.is_complex() else x.dtype for n, x in start.items()}
        ends = accumulate(map(prod, self.shapes.values()), initial=0)
        self.columns = dict(zip(self.shapes, (slice(*pair) for pair in pairwise(ends)), strict=True))

    def rows(self, values: Mapping[str, Tensor]) -> Tensor:
        """Values by name -> (replicas, columns)."""
        parts = [torch.view_as_real(x) if n in self.complex else x for n, x in values.items()]
        flat = [x.detach().reshape(len(x), prod(shape)) for x, shape in zip(parts, self.shapes.values(), strict=True)]
        return torch.cat(flat, 1)  # of the widest of their dtypes

    def params(self, rows: Tensor) -> Params:
        """(replicas, columns) -> values by name."""
        parts = rows.split([prod(shape) for shape in self.shapes.values()], 1)
        found = {
            n: x.view(len(x), *shape).to(self.real[n]) for (n, shape), x in zip(self.shapes.items(), parts, strict=True)
        }
        return {n: torch.complex(x[..., 0], x[..., 1]) if n in self.complex else x for n, x in found.items()}

"""A model while it trains: what is trained moves, and nothing else does, running statistics included."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tnkit_nn.training.goal import Loss

__all__ = ["frozen_keepers", "keepers", "training"]


def keepers(model: nn.Module, loss: Loss, batch: Any) -> tuple[str, ...]:
    """Names of the modules that change buffers of their own while a model trains: running means, the vectors of a spectral norm.

    They are found by one forward in training, after which the model, and the caller's random numbers, are as before.
    """
    owners = {
        f"{name}.{n}".strip("."): name for name, m in model.named_modules() for n, _ in m.named_buffers(recurse=False)
    }
    if not owners:
        return ()
    buffers = dict(model.named_buffers(remove_duplicate=False))
    before = {name: buffers[name].detach().clone() for name in owners}
    modes = {m: m.training for m in model.modules()}
    try:
        model.train()
        with torch.no_grad(), torch.random.fork_rng(range(torch.cuda.device_count())):
            loss(model, batch)
        moved = [name for name in owners if not torch.equal(_plain(buffers[name]), _plain(before[name]))]
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, value in before.items():
                buffers[name].copy_(value)
    return tuple(dict.fromkeys(owners[name] for name in moved))


def _plain(x: Tensor) -> Tensor:
    return torch.nan_to_num(x.detach()) if x.is_floating_point() else x.detach()


def frozen_keepers(model: nn.Module, keeping: Collection[str], trained: Collection[Tensor]) -> list[nn.Module]:
    """Those of the keepers that stand still: what they belong to is not trained.

    A module belongs to the nearest one above it (itself first) that has parameters of its own.  One that belongs to none, such as a
    normalisation without weights, is trained where everything is that can be.
    """
    chosen = {id(p) for p in trained}
    named = dict(model.named_modules())
    everything = all(id(p) in chosen for p in model.parameters() if p.requires_grad)
    still = []
    for name in keeping:
        owner: str | None = name
        while owner is not None and not named[owner]._parameters:
            owner = owner.rpartition(".")[0] if owner else None
        own = [] if owner is None else [p for p in named[owner]._parameters.values() if p is not None]
        if not (any(id(p) in chosen for p in own) if own else everything):
            still.append(named[name])
    return still


@contextmanager
def training(model: nn.Module, trained: Collection[Tensor], keeping: Collection[str]) -> Iterator[None]:
    """The model while it trains: gradients for ``trained`` alone, frozen statistics as in evaluation; all put back at the end."""
    chosen = {id(p) for p in trained}
    modes = {m: m.training for m in model.modules()}
    needs = {p: p.requires_grad for p in model.parameters()}
    still = frozen_keepers(model, keeping, trained)
    model.train()
    for module in still:
        module.training = False
    for p in needs:
        p.requires_grad_(id(p) in chosen)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for p, need in needs.items():
            p.requires_grad_(need)

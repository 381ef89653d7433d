"""A model while it trains: what is trained moves, and nothing else does, running statistics included."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tnkit_nn.data.draws import forked
from tnkit_nn.training.goal import Loss
from tnkit_nn.weights import forward_order

__all__ = ["frozen_keepers", "keepers", "needing", "owner_of", "rehearsed", "rehearsing", "training"]


@contextmanager
def rehearsing(model: nn.Module) -> Iterator[None]:
    """The model in training, for a look: its modes, its buffers and the caller's random numbers are as before at the end."""
    modes = {m: m.training for m in model.modules()}
    own = [(m, n, b, b.detach().clone()) for m in model.modules() for n, b in m._buffers.items() if b is not None]
    model.train()
    try:
        with forked():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for module, name, buffer, value in own:
                module._buffers[name] = buffer  # some layers put another tensor in its place
                buffer.copy_(value)


def rehearsed(model: nn.Module, loss: Loss, batch: Any) -> tuple[Any, dict[str, str]]:
    """What the loss gives of a batch in training, and the model's :func:`keepers`; the model is as before."""
    before = {name: b.detach().clone() for name, b in model.named_buffers(remove_duplicate=False)}
    value: list[Any] = []
    with rehearsing(model):
        order = forward_order(model, lambda: value.append(loss(model, batch)))
        after = dict(model.named_buffers(remove_duplicate=False))
        moved = [n for n in after if n not in before or not _same(after[n], before[n])]
    keeping = dict.fromkeys(n.rpartition(".")[0] for n in moved)
    return value[0], {name: owner_of(model, name, order) for name in keeping}


def keepers(model: nn.Module, loss: Loss, batch: Any) -> dict[str, str]:
    """Modules that change buffers of their own while a model trains: running means, the vectors of a spectral norm.

    They are found by one forward in training, after which the model, and the caller's random numbers, are as before.

    Returns
    -------
    dict
        Name of such a module -> name of the module whose training moves its buffers: itself, or the weight that it is a part of,
        where that has parameters; else, of a normalisation without weights, say, the last one with parameters that was called
        before it.
    """
    with torch.no_grad():
        return rehearsed(model, loss, batch)[1]


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(_plain(one), _plain(other))


def _plain(x: Tensor) -> Tensor:
    return torch.nan_to_num(x.detach()) if x.is_floating_point() else x.detach()


def owner_of(model: nn.Module, name: str, order: Mapping[str, int]) -> str:
    """The module whose parameters a keeper goes with; the keeper itself where the model has none."""
    named = dict(model.named_modules(remove_duplicate=False))
    nearest = name
    while (
        ".parametrizations." in f".{nearest}." and not named[nearest]._parameters
    ):  # what makes a weight is a part of it
        nearest = nearest.rpartition(".")[0]
    if named[nearest]._parameters and any(p is not None for p in named[nearest]._parameters.values()):
        return nearest
    with_own = [n for n in order if any(p is not None for p in named[n]._parameters.values())]
    at = order.get(name, len(order))
    before = [n for n in with_own if order[n] < at]
    return max(before, key=order.__getitem__) if before else min(with_own, key=order.__getitem__, default=name)


def frozen_keepers(model: nn.Module, keeping: Mapping[str, str], trained: Collection[Tensor]) -> list[nn.Module]:
    """Those of the :func:`keepers` that stand still: nothing of the module that they go with is trained."""
    chosen = {id(p) for p in trained}
    named = dict(model.named_modules(remove_duplicate=False))
    still = []
    for name, owner in keeping.items():
        own = [p for p in named[owner]._parameters.values() if p is not None]
        if own and not any(id(p) in chosen for p in own):
            still.append(named[name])
    return still


@contextmanager
def training(model: nn.Module, trained: Collection[Tensor], keeping: Mapping[str, str]) -> Iterator[None]:
    """The model while it trains: gradients for ``trained`` alone, frozen statistics as in evaluation; all put back at the end."""
    modes = {m: m.training for m in model.modules()}
    still = frozen_keepers(model, keeping, trained)
    model.train()
    for module in still:
        module.training = False
    try:
        with needing(model, trained), forked():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def needing(model: nn.Module, trained: Collection[Tensor]) -> Iterator[None]:
    """Gradients for ``trained`` alone."""
    chosen = {id(p) for p in trained}
    needs = {p: p.requires_grad for p in model.parameters()}
    for p in needs:
        p.requires_grad_(id(p) in chosen)
    try:
        yield
    finally:
        for p, need in needs.items():
            p.requires_grad_(need)

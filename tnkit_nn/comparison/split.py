"""A chain cut in two before a layer, so that what stands before it is computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from tnkit_nn.adapter.descent import Params
from tnkit_nn.comparison.calls import called

__all__ = ["draws", "split_at", "through", "within"]


def split_at(model: nn.Module, layer: str) -> tuple[nn.Sequential, nn.Module]:
    """What stands before a layer, and the layer with what stands after it, both under the model's names.

    Nothing stands before a layer that is not in a chain of ``nn.Sequential``, nor before one that shares values with what does.
    """
    before, after = _cut(model, layer)
    shared = {id(x) for x in (*before.parameters(), *before.buffers())}
    if any(id(x) in shared for x in (*after.parameters(), *after.buffers())):
        return nn.Sequential(), model
    return before, after


def _cut(model: nn.Module, layer: str) -> tuple[nn.Sequential, nn.Module]:
    name, _, inner = layer.partition(".")
    hooks = (model._forward_hooks, model._forward_pre_hooks, model._backward_hooks, model._backward_pre_hooks)
    if type(model).forward is not nn.Sequential.forward or any(hooks):  # it may do more than call its members
        return nn.Sequential(), model
    members = [
        (n, m) for n, m in model._modules.items() if m is not None
    ]  # one that is called twice stands there twice
    k = [n for n, _ in members].index(name)
    before, after = OrderedDict(members[:k]), OrderedDict(members[k:])
    if inner:
        first, after[name] = _cut(after[name], inner)
        if len(first):
            before[name] = first
    return nn.Sequential(before), nn.Sequential(after)


def within(keeping: Mapping[str, str], model: nn.Module) -> dict[str, str]:
    """Those of the modules that keep statistics which stand in a part of the model, with whose they are."""
    here = dict(model.named_modules())
    return {n: owner for n, owner in keeping.items() if n in here and owner in here}


def through(before: nn.Module, values: Params, x: Tensor, seeds: int) -> Tensor:
    """Inputs through the layers before, on their device, seed by seed (once, where they have no values)."""
    device = next(iter(values.values())).device if values else x.device

    def run(params: Params) -> Tensor:
        return torch.cat([called(before, params, piece.to(device)) for piece in x.split(1024)])

    with torch.no_grad():
        return torch.stack([run({n: p[s] for n, p in values.items()}) for s in range(seeds)]) if seeds else run({})


def draws(before: nn.Module, x: Tensor, keeping: Collection[str] = ()) -> bool:
    """Whether the layers before give something else in training, by dropout say, or to examples in other company.

    Then nothing is computed beforehand.

    ``keeping``: names of modules whose running statistics stand still, so that they are as in evaluation.
    """
    modes = {m: m.training for m in before.modules()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            plain = before.eval()(x)
            apart = torch.cat([before(piece) for piece in x.split(max(1, len(x) // 2))])
            before.train()
            for name, module in before.named_modules():
                module.training = module.training and name not in keeping
            found = before(x)
        finally:
            for module, mode in modes.items():
                module.training = mode
    near = torch.allclose(plain, apart, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))
    return not near or not torch.equal(plain, found)

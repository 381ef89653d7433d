"""Changed: written in place, pruned, quantised, parametrized further, merged."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import tnkit_nn as tknn

from .kinds import Kind, arrays_of, differ, gradients, oracle, pair, same


class Shifted(nn.Module):
    def forward(self, weight):
        return 2 * weight + 0.5


def parametrized_further(kind: Kind) -> None:
    """A parametrization of one's own and torch's spectral norm, on top of the network."""
    leaf = kind.at.removeprefix(f"{kind.layer}.").removeprefix("parametrizations.").partition(".")[0]

    def shifted(owner: nn.Module) -> None:
        parametrize.register_parametrization(owner, leaf, Shifted())

    def normed(owner: nn.Module) -> None:
        torch.manual_seed(5)
        parametrizations.spectral_norm(owner, leaf)

    for put in (shifted, normed):
        module, dense, inputs = pair(kind)
        plain = dense(*inputs)
        for m in (dense, module):
            put(m.get_submodule(kind.layer))
            m.eval()
        want = dense(*inputs)
        if "norm" not in kind.name or put is shifted:
            differ(want, plain)
        same(module(*inputs), want, rtol=1e-3, atol=1e-4)
        slopes = gradients(dense, inputs)
        for name, g in gradients(module, inputs).items():
            if name in slopes:
                same(g, slopes[name], rtol=1e-3, atol=1e-4, what=name)


def _writes(owner: nn.Module, leaf: str) -> dict[str, Callable[[], object]]:
    def weight() -> torch.Tensor:
        return getattr(owner, leaf)

    def item() -> None:
        weight()[0] = 1.0

    found: dict[str, Callable[[], object]] = {
        "weight.zero_()": lambda: weight().zero_(),
        "weight[0] = 1": item,
        "nn.init.ones_(weight)": lambda: nn.init.ones_(weight()),
        "weight.data.mul_(2)": lambda: weight().data.mul_(2),
        "torch.mul(weight, 2, out=weight)": lambda: torch.mul(weight(), 2, out=weight()),
    }
    own = leaf in owner._parameters or parametrize.is_parametrized(owner, leaf)  # TNLinear draws its arrays again
    if own and hasattr(owner, "reset_parameters") and leaf in ("weight", "weight_ih_l0", "weight_hh_l0"):
        found["reset_parameters()"] = owner.reset_parameters
    return found


def written(kind: Kind) -> None:
    """Written in place: it has its effect, or it is refused and says how else."""
    refusals = []
    module, _, inputs = pair(kind)
    for name, write in _writes(module.get_submodule(kind.owner), kind.leaf).items():
        before = module(*inputs).detach()
        try:
            with torch.no_grad():
                torch.manual_seed(7)
                write()
        except RuntimeError as error:
            refusals.append(error)
            same(module(*inputs), before, what=f"{name} was refused, and yet")
        else:
            assert (module(*inputs) - before).abs().max() > 1e-4, f"{name} is accepted, and nothing happens"
    if refusals:
        raise next((e for e in refusals if "is made by a network" not in str(e)), refusals[0])


def pruned(kind: Kind) -> None:
    module, dense, inputs = pair(kind)
    plain = dense(*inputs)
    for m in (dense, module):
        prune.l1_unstructured(m.get_submodule(kind.owner), kind.leaf, 0.5)
    differ(dense(*inputs), plain)
    same(module(*inputs), dense(*inputs))


def arrays_pruned(kind: Kind) -> None:
    """The arrays of the network are pruned, as parameters of any module are."""
    module, _, inputs = pair(kind)
    zeroed, before = copy.deepcopy(module), module(*inputs)
    for name in arrays_of(kind, module):
        path, _, leaf = name.rpartition(".")
        prune.l1_unstructured(module.get_submodule(path), leaf, 0.4)
        with torch.no_grad():
            flat = getattr(zeroed.get_submodule(path), leaf).view(-1)
            flat[flat.abs().topk(round(0.4 * flat.numel()), largest=False).indices] = 0
    want = kind.twin(zeroed)(*inputs)
    differ(before, want)
    same(module(*inputs), want)


def quantised(kind: Kind) -> None:
    from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic

    module, dense, inputs = pair(kind)
    plain = dense.eval()(*inputs)
    of = (nn.Linear, nn.LSTM, nn.GRU)
    names = [n for n, m in module.named_modules() if parametrize.type_before_parametrizations(m) in of]
    got, want = (quantize_dynamic(m.eval(), dict.fromkeys(names, default_dynamic_qconfig)) for m in (module, dense))
    same(got(*inputs), want(*inputs), rtol=1e-3, atol=1e-3)
    same(want(*inputs), plain, rtol=0.2, atol=0.2)


def merged(kind: Kind) -> None:
    """A dense parameter again, bit by bit, in its old place; what is trained before is in it."""
    module, _, inputs = pair(kind)
    weight = kind.weight(module).detach().clone()
    want, slopes = module(*inputs), gradients(kind.twin(module), inputs)
    if not kind.stand_in:
        tknn.merge_(module.get_submodule(kind.owner), kind.leaf, model=module)
    assert isinstance(kind.weight(module), nn.Parameter), "no parameter"
    assert torch.equal(kind.weight(module), weight), "another weight"
    names, before = ([n for n, _ in m.named_parameters()] for m in (module, kind.dense()))
    assert names == before, f"another order: {names}, not {before}"
    same(module(*inputs), want)
    same(gradients(module, inputs), slopes)
    assert oracle(kind, module, inputs).keys() == slopes.keys()

"""The weights of a model: found by name and pattern, each once however often it is used, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

__all__ = ["forward_order", "in_order", "owner_and_leaf", "selected", "spoken", "weights_of", "when_called"]


def weights_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of two axes or more, in the order in which they were registered; a shared one under its first name.

    What a parametrization keeps (a network, the original of a spectral norm) is none.
    """
    return {
        name: p
        for name, p in model.named_parameters()
        if not isinstance(p, nn.parameter.UninitializedParameter)
        and p.dim() > 1
        and ".parametrizations." not in f".{name}"
    }


def spoken(weight: str) -> str:
    """A weight as it is called: by its layer, where that is what everybody says.

    >>> spoken("fc1.weight"), spoken("attention.in_proj_weight")
    ('fc1', 'attention.in_proj_weight')
    """
    return weight.removesuffix(".weight")


def owner_and_leaf(weight: str) -> tuple[str, str]:
    """The module that owns a weight, and the weight's name there; a model that is itself a layer is called ``""``."""
    owner, _, leaf = weight.rpartition(".")
    return owner, leaf


def selected(model: nn.Module, patterns: Iterable[str], what: str) -> list[str]:
    """Names of the weights that patterns select, in the order in which they were registered.

    A pattern is of parameters (``"*.in_proj_weight"``, ``"rnn.weight_hh_l0"``) or of layers, whose ``weight`` it stands for, or whose
    weights, where none is called so (``"fc1"``, ``"features.*"``, ``"rnn"``).  A shared weight is found under each of its names.

    Raises
    ------
    ValueError
        By the name ``what``: a pattern that selects nothing; the weights there are, are named.
    """
    known = weights_of(model)
    first = {id(p): name for name, p in known.items()}
    aliases = [(n, first[id(p)]) for n, p in model.named_parameters(remove_duplicate=False) if id(p) in first]
    found = set[str]()
    for pattern in patterns:
        chosen = {name for alias, name in aliases if fnmatchcase(alias, pattern)}
        for layer in {owner_and_leaf(alias)[0] for alias, _ in aliases}:
            if fnmatchcase(layer, pattern):
                own = {owner_and_leaf(alias)[1]: name for alias, name in aliases if owner_and_leaf(alias)[0] == layer}
                chosen |= {own["weight"]} if "weight" in own else set(own.values())
        if not chosen:
            raise ValueError(f"{what}: no layer {pattern!r} with a weight; there are {', '.join(map(spoken, known))}")
        found |= chosen
    return [name for name in known if name in found]


def forward_order(model: nn.Module, call: Callable[[], Any]) -> dict[str, int]:
    """Module name -> when it is first called while ``call`` runs: one traced forward, whatever its order of registration."""
    order: dict[str, int] = {}
    with _traced(model, order):
        call()
    return order


@contextmanager
def _traced(model: nn.Module, order: dict[str, int]) -> Iterator[None]:
    def note(name: str) -> Callable[..., None]:
        def noted(*_: Any) -> None:  # what a hook returns would take the place of the input
            order.setdefault(name, len(order))

        return noted

    named = model.named_modules(remove_duplicate=False)
    handles = [module.register_forward_pre_hook(note(name)) for name, module in named]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_order(weights: Sequence[str], order: Mapping[str, int]) -> list[str]:
    """Weights by when the module that owns them is first called, those of modules never called last, else as they are.

    A module that is not called itself, such as the output of an attention, stands where the one that it is a part of does.
    """
    return sorted(weights, key=lambda name: when_called(owner_and_leaf(name)[0], order))


def when_called(owner: str, order: Mapping[str, int]) -> int:
    """When a module, or the one that it is a part of, is first called."""
    while owner and owner not in order:
        owner = owner.rpartition(".")[0]
        if not owner:  # the model itself is always called
            return len(order)
    return order.get(owner, len(order))

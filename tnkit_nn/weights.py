"""The weights of a model: found by name and pattern, each once however often it is used, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tnkit_nn.adapter.module import TNModule
from tnkit_nn.placing import original_of, owner_and_leaf

__all__ = ["forward_order", "in_order", "names_of", "owner_and_leaf", "selected", "spoken", "weights_of", "when_called"]


def weights_of(model: nn.Module, beneath: bool = False) -> dict[str, nn.Parameter]:
    """Name -> parameter of two axes or more, in the order in which they were registered; a shared one under its first name.

    An array of a network is none, and what a parametrization keeps (the original of a spectral norm) is none, unless what lies ``beneath`` one counts: then
    the one original of another people's parametrization is the weight that it is of.
    """
    found: dict[nn.Parameter, str] = {}
    for name, p in _named(model, beneath):
        found.setdefault(p, name)
    return {name: p for p, name in found.items()}


def names_of(model: nn.Module, weight: nn.Parameter) -> tuple[str, ...]:
    """All names of a weight, more than one where it is tied."""
    return tuple(name for name, p in _named(model, True) if p is weight)


def _named(model: nn.Module, beneath: bool) -> Iterator[tuple[str, nn.Parameter]]:
    """Every name of every weight; arrays of networks are none."""
    arrays = {p for module in model.modules() if isinstance(module, TNModule) for p in module.parameters(recurse=False)}
    for name, p in model.named_parameters(remove_duplicate=False):
        if isinstance(p, nn.parameter.UninitializedParameter) or p.dim() < 2 or p in arrays:
            continue
        if ".parametrizations." not in f".{name}":
            yield name, p
        elif beneath and (weight := original_of(model, name)):
            yield weight, p


def spoken(weight: str) -> str:
    """A weight as it is called: by its layer, where that is what everybody says.

    >>> spoken("fc1.weight"), spoken("attention.in_proj_weight")
    ('fc1', 'attention.in_proj_weight')
    """
    return weight.removesuffix(".weight")


def selected(model: nn.Module, patterns: Iterable[str], what: str, beneath: bool = False) -> list[str]:
    """Names of the weights that patterns select, in the order in which they were registered.

    A pattern is of parameters (``"*.in_proj_weight"``, ``"rnn.weight_hh_l0"``) or of layers, whose ``weight`` it stands for, or whose
    weights, where none is called so (``"fc1"``, ``"features.*"``, ``"rnn"``).  A shared weight is found under each of its names.
    ``beneath``: as for :func:`weights_of`.

    Raises
    ------
    ValueError
        By the name ``what``: a pattern that selects nothing (the weights there are, are named), or a weight without a shape yet.
    """
    patterns = tuple(patterns)
    _check_made(model, patterns, what)
    known = weights_of(model, beneath)
    first = {id(p): name for name, p in known.items()}
    aliases = [(n, first[id(p)]) for n, p in _named(model, beneath)]
    found = set[str]()
    for pattern in patterns:
        chosen = {name for alias, name in aliases if fnmatchcase(alias, pattern)}
        for layer in {owner_and_leaf(alias)[0] for alias, _ in aliases}:
            if fnmatchcase(layer, pattern):
                own = {owner_and_leaf(alias)[1]: name for alias, name in aliases if owner_and_leaf(alias)[0] == layer}
                chosen |= {own["weight"]} if "weight" in own else set(own.values())
        if not chosen:
            there = (
                ", ".join(map(spoken, known))
                or f"none, for {type(model).__name__} has no parameter of two axes or more"
            )
            raise ValueError(
                f"{what}: no layer {pattern!r} with a weight; there are {there}{_made_by_others(model, pattern, beneath)}"
            )
        found |= chosen
    return [name for name in known if name in found]


def _made_by_others(model: nn.Module, pattern: str, beneath: bool) -> str:
    """What to do where a pattern is of weights that other parametrizations make (a weight norm); nothing elsewhere."""
    made = {} if beneath else weights_of(model, beneath=True)
    for name in made:
        owner, leaf = owner_and_leaf(name)
        if fnmatchcase(name, pattern) or fnmatchcase(owner, pattern):
            return (
                f"; {spoken(name)!r} is made by another parametrization, which "
                f"torch.nn.utils.parametrize.remove_parametrizations(layer, {leaf!r}) takes away"
            )
    return ""


def _check_made(model: nn.Module, patterns: Sequence[str], what: str) -> None:
    """ValueError where a pattern selects a weight of a lazy module, which would be left as it is without a word."""
    for name, p in model.named_parameters(remove_duplicate=False):
        owner, leaf = owner_and_leaf(name)
        if not isinstance(p, nn.parameter.UninitializedParameter) or "bias" in leaf:
            continue
        module = model.get_submodule(owner)
        if isinstance(module, nn.modules.batchnorm._LazyNormBase):  # its weight has one axis
            continue
        if any(fnmatchcase(each, pattern) for pattern in patterns for each in (name, owner)):
            raise ValueError(
                f"{what}: a weight has a shape, but {name!r} of {type(module).__name__} has none yet: call the model once before"
            )


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

"""The control of whole models: a small dense one, of as many numbers in all."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tnkit_nn import zoo


def _lenet5(scale: float) -> nn.Module:
    one, two, three, four = (max(1, round(scale * n)) for n in (6, 16, 120, 84))
    return zoo.lenet5(widths=(one, two, three, four))


def _fc2(scale: float) -> nn.Module:
    return zoo.MLP((784, max(1, round(scale * 512)), 10))


#: Model -> the same of other widths.
NARROW: dict[str, Callable[[float], nn.Module]] = {"lenet5": _lenet5, "fc2": _fc2}


def count(model: nn.Module) -> int:
    """Numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def narrowed(name: str, total: int) -> Callable[[], nn.Module]:
    """Draws the widest model of at most ``total`` numbers (the narrowest, where that has more)."""
    make = NARROW[name]
    scale = max((k / 1024 for k in range(1, 1025) if count(make(k / 1024)) <= total), default=1 / 1024)
    return lambda: make(scale)


def smaller_of(name: str, total: int, seed: int) -> nn.Module:
    """The same as a task's ``smaller``; torch's random numbers are seeded by whoever calls."""
    return narrowed(name, total)()

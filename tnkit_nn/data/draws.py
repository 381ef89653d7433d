"""Random numbers that data and models draw: seeded together, and put back together.

Augmentations draw from torch, from numpy or from Python's own ``random``; loaders, samplers and data sets may have generators of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

__all__ = ["forked", "kept", "seed_", "seeded"]

#: Attributes of a loader by which its samplers and data sets are found.
_WITHIN = ("sampler", "batch_sampler", "dataset", "datasets")
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def kept(loader: Any = None) -> Callable[[], None]:
    """A function that puts all generators back to where they are now: the global ones and the loader's own."""
    restorers: list[Callable[[], object]] = [
        partial(torch.set_rng_state, torch.get_rng_state()),
        partial(np.random.set_state, np.random.get_state(legacy=False)),  # noqa: NPY002  what others draw from
        partial(random.setstate, random.getstate()),
        *map(_kept, _generators(loader)),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        restorers.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))

    def put_back() -> None:
        for restore in restorers:
            restore()

    return put_back


def seed_(seed: int, loader: Any = None, device: str = "") -> None:
    """Seed all generators; samplers that take the number of an epoch (``set_epoch``) get one that follows from the seed.

    ``device="cpu"``: where nothing draws on another device, theirs are left alone, which saves a good part of a millisecond.
    """
    if device == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    for generator in _generators(loader):
        _seed(generator, seed)
    for x in _within(loader):
        if callable(set_epoch := getattr(x, "set_epoch", None)):
            set_epoch(seed % 2**31)


@contextmanager
def forked() -> Iterator[None]:
    """The global generators are as before at the end."""
    put_back = kept()
    try:
        yield
    finally:
        put_back()


@contextmanager
def seeded(loader: Any, seed: int) -> Iterator[None]:
    """All generators seeded; at the end they are as before, the loader's own too."""
    put_back = kept(loader)
    seed_(seed, loader)
    try:
        yield
    finally:
        put_back()


def _within(loader: Any) -> list[Any]:
    """A loader, its samplers and its data sets, each once."""
    found: list[Any] = []
    waiting = [] if loader is None else [loader]
    while waiting:
        x = waiting.pop(0)
        if x is None or any(x is other for other in found):
            continue
        found.append(x)
        for name in _WITHIN:
            inner = getattr(x, "__dict__", {}).get(name)
            waiting += inner if isinstance(inner, list) and name == "datasets" else [inner]
    return found


def _generators(loader: Any) -> list[Any]:
    held = [v for x in _within(loader) for v in getattr(x, "__dict__", {}).values() if isinstance(v, _GENERATORS)]
    return list({id(g): g for g in held}.values())


def _kept(generator: Any) -> Callable[[], object]:
    if isinstance(generator, np.random.Generator):
        return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    return partial(generator.set_state, generator.get_state())


def _seed(generator: Any, seed: int) -> None:
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        bits: Any = type(generator.bit_generator)
        generator.bit_generator.state = bits(seed).state
    else:
        generator.seed(seed % 2**32)

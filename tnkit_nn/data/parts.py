"""A part of the data, as batches: tensors, a Dataset, a DataLoader or any list of batches, all read in the same way.

A batch is what a loss is given: a pair (inputs, targets), a longer tuple, a dict, whatever the loader gives.  Tensors stay in memory as
they are; a loader streams, and nothing of it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tnkit.core.checks import shown
from tnkit_nn.checks import finite, materialised
from tnkit_nn.storage import raw

__all__ = ["Batch", "LoaderSource", "Source", "TensorSource", "check_numbers", "length", "moved", "shapes", "source"]

Batch = Any

#: Entries up to which all of a tensor is digested; of larger ones a hundred examples or so are.
_WHOLE = 2**20
#: Examples of a batch of a part that is only looked at.
LOOK = 500


@runtime_checkable
class Source(Protocol):
    """Batches of a part."""

    @property
    def count(self) -> int | None:
        """Number of examples; None where the source does not say."""

    def steps(self, size: int) -> int:
        """Batches of one pass of a training."""

    def shuffled(self, size: int, draw: Generator) -> Iterator[Batch]:
        """One pass of a training, its order drawn by a generator just seeded."""

    def loader(self, size: int = LOOK) -> Iterable[Batch]:
        """What goes through all examples in their order, as often as it is asked."""

    def digest(self) -> str:
        """Tells parts apart."""


def source(given: Any, what: str) -> Source:
    """Whatever holds a part's examples, as a source.

    Raises
    ------
    TypeError
        No data, or what can be gone through only once.
    ValueError
        Tensors of unlike lengths, without entries or, in the first of them, with entries that are not finite.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, DataLoader):
        return LoaderSource(given, what)
    if isinstance(given, Dataset):
        return LoaderSource(given, what)
    leaves = tree_leaves(given) if isinstance(given, (Tensor, tuple, list, dict)) else []
    if leaves and all(isinstance(x, Tensor) for x in leaves) and not _are_batches(given):
        return TensorSource(_checked_tree(given, what))
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(
            f"{what} is a DataLoader, a Dataset, tensors (inputs, targets) or a list of batches, not {shown(given)}"
        )
    if isinstance(given, Iterator):
        raise TypeError(f"{what} is gone through again and again, but {type(given).__name__} ends after one pass")
    return LoaderSource(given, what)


def _are_batches(given: Any) -> bool:
    """Whether a list is of batches: pairs or dicts, not tensors."""
    return isinstance(given, list) and bool(given) and all(isinstance(x, (tuple, list, dict)) for x in given)


def _checked_tree(given: Any, what: str) -> Any:
    found, _ = tree_flatten_with_path(given)
    lengths = {}
    for path, x in found:
        name = what + "".join(map(str, path))
        materialised(x, name)
        if not x.dim():
            raise ValueError(f"{name} has one entry an example, (count, ...), but it is a single number")
        lengths[name] = len(x)
    if len(set(lengths.values())) > 1 or not next(iter(lengths.values())):
        pairs = ", ".join(f"{n} {k}" for n, k in lengths.items())
        raise ValueError(f"{what}: all tensors have the same number of examples, at least one, not {pairs}")
    first_path, first = found[0]
    if first.is_floating_point() and not bool(first.sum(dtype=torch.float64).isfinite()):  # a sum needs no memory
        finite(first, what + "".join(map(str, first_path)))
    return given


@dataclass(frozen=True, eq=False)
class TensorSource:
    """Tensors in memory: a tensor, or a tuple, list or dict of them, all (count, ...)."""

    tree: Any

    @cached_property
    def count(self) -> int:
        """Number of examples."""
        return len(tree_leaves(self.tree)[0])

    def taken(self, chosen: Any) -> Batch:
        """The examples at positions, as a batch."""
        return tree_map(lambda x: x[chosen], self.tree)

    def steps(self, size: int) -> int:
        """Batches of one pass: what is left at the end of an order is left out, other examples in each pass."""
        return self.count // min(size, self.count)

    def shuffled(self, size: int, draw: Generator) -> Iterator[Batch]:
        """One pass in an order that the generator draws."""
        order, size = torch.randperm(self.count, generator=draw), min(size, self.count)
        for k in range(self.steps(size)):
            yield self.taken(order[k * size : (k + 1) * size])

    def loader(self, size: int = LOOK) -> Iterable[Batch]:
        """All examples in their order."""
        return _Pieces(self, size)

    def digest(self) -> str:
        """From small tensors, and a hundred examples or so of large ones."""
        made = hashlib.sha256()
        for path, x in tree_flatten_with_path(self.tree)[0]:
            made.update(f"{''.join(map(str, path))} {tuple(x.shape)} {x.dtype}".encode())
            made.update(raw(x if x.numel() <= _WHOLE else x[:: max(1, len(x) // 100)]))
        return made.hexdigest()[:12]


@dataclass(frozen=True)
class _Pieces:
    """Tensors in pieces, as a loader."""

    whole: TensorSource
    size: int

    def __len__(self) -> int:
        return -(-self.whole.count // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for k in range(len(self)):
            yield self.whole.taken(slice(k * self.size, (k + 1) * self.size))


class LoaderSource:
    """A DataLoader, a Dataset that gets one, or anything that gives batches as often as it is asked.

    A loader has its own batch size; a Dataset has the one that is asked for.
    """

    def __init__(self, given: Any, what: str) -> None:
        self.given, self.what = given, what

    @cached_property
    def count(self) -> int | None:
        """Number of examples, where the dataset says so."""
        dataset = self.given if isinstance(self.given, Dataset) else getattr(self.given, "dataset", None)
        return len(dataset) if isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset) else None

    def _loader(self, size: int, shuffle: bool = False) -> Any:
        if not isinstance(self.given, Dataset):
            return self.given
        streams = isinstance(self.given, IterableDataset)
        return DataLoader(self.given, size, shuffle=None if streams else shuffle, drop_last=False)

    @cached_property
    def _stream_length(self) -> int:
        """Batches of a stream that has no length: it is gone through once, to know how long the training is."""
        return sum(1 for _ in self.given)

    def steps(self, size: int) -> int:
        """Batches of one pass."""
        loader = self._loader(size)
        try:
            found = len(loader)
        except (TypeError, NotImplementedError):  # a stream
            found = self._stream_length if loader is self.given else sum(1 for _ in loader)
        if not found:
            raise ValueError(f"{self.what} has one batch or more, not none")
        return found

    def shuffled(self, size: int, draw: Generator) -> Iterator[Batch]:
        """One pass; what the loader draws itself follows from the generator's seed, torch's global one included."""
        loader = self._loader(size, shuffle=True)
        with seeded(loader, draw.initial_seed()):
            yield from loader

    def endless(self, size: int, seed: int) -> Iterator[Batch]:
        """Batches without end, pass after pass, drawn by the seed alone: between them the global generator is the caller's."""
        loader, state, number = self._loader(size, shuffle=True), None, 0
        iterator: Iterator[Batch] = iter(())
        while True:
            with torch.random.fork_rng(devices=[]):
                if state is None:
                    own = (1_000_003 * seed + number) % 2**63
                    torch.manual_seed(own)
                    _reseed(loader, own)
                    iterator, number, fresh = iter(loader), number + 1, True
                else:
                    _set_state(loader, state)
                    fresh = False
                batch = next(iterator, _END)
                state = None if batch is _END else _state(loader)
            if batch is not _END:
                yield batch
            elif fresh:
                raise ValueError(f"{self.what} has one batch or more, not none")

    def loader(self, size: int = LOOK) -> Iterable[Batch]:
        """The loader itself."""
        return self._loader(size)

    def digest(self) -> str:
        """From what it is, how long it is, and a few of its examples, which are read for it."""
        made = hashlib.sha256(f"{type(self.given).__name__} {self.count} {_batch_size(self.given)}".encode())
        for x in self._probe():
            for path, leaf in tree_flatten_with_path(x)[0]:
                made.update("".join(map(str, path)).encode())
                made.update(raw(leaf) if isinstance(leaf, Tensor) else repr(leaf).encode())
        return made.hexdigest()[:12]

    def _probe(self) -> list[Any]:
        """The first, the middle and the last example of a dataset that has places; else the first batch."""
        dataset: Any = self.given if isinstance(self.given, Dataset) else getattr(self.given, "dataset", None)
        with torch.random.fork_rng(devices=[]), seeded(self.given, 0):
            if self.count and hasattr(dataset, "__getitem__"):
                return [dataset[k] for k in dict.fromkeys((0, self.count // 2, self.count - 1))]
            return [next(iter(self._loader(LOOK)), None)]


_END: Any = object()


def _batch_size(loader: Any) -> Any:
    return getattr(loader, "batch_size", None)


def _reseed(loader: Any, seed: int) -> None:
    generator = getattr(loader, "generator", None)
    if isinstance(generator, Generator):
        generator.manual_seed(seed)


def _state(loader: Any) -> tuple[Tensor, Tensor | None]:
    generator = getattr(loader, "generator", None)
    return torch.get_rng_state(), generator.get_state() if isinstance(generator, Generator) else None


def _set_state(loader: Any, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        loader.generator.set_state(state[1])


@contextmanager
def seeded(loader: Any, seed: int) -> Iterator[None]:
    """The loader's own generator and torch's global one seeded; at the end the loader's is the caller's again."""
    generator = getattr(loader, "generator", None)
    kept = generator.get_state() if isinstance(generator, Generator) else None
    torch.manual_seed(seed)
    _reseed(loader, seed)
    try:
        yield
    finally:
        if isinstance(generator, Generator) and kept is not None:
            generator.set_state(kept)


# -- batches ------------------------------------------------------------------------------------------------------------
def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device: its tensors, and what else has a ``to``."""

    def move(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.to(device)
        to: Callable[..., Any] | None = getattr(x, "to", None)
        return to(device) if callable(to) else x

    return tree_map(move, batch)


def length(batch: Batch) -> int:
    """Examples of a batch: the length of its first tensor."""
    leaves = tree_leaves(dict(batch) if isinstance(batch, Mapping) else batch)
    return next((len(x) for x in leaves if isinstance(x, Tensor) and x.dim()), 1)


def shapes(batch: Batch) -> str:
    """A batch in a few words: ``(float32 128x64, int64 128)``.

    >>> shapes((torch.ones(2, 3), torch.zeros(2)))
    '(float32 2x3, float32 2)'
    """
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {'x'.join(map(str, batch.shape)) or 'number'}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{k}: {shapes(v)}" for k, v in batch.items()) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + ", ".join(map(shapes, batch)) + ")"
    return type(batch).__name__


def check_numbers(batch: Batch, what: str) -> None:
    """ValueError that names the first entry of a batch that is not finite; nothing where all are."""
    for path, x in tree_flatten_with_path(batch)[0]:
        if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex()):
            finite(x, what + "".join(map(str, path)))

"""A part of the data, as batches: tensors, a Dataset, a DataLoader or any list of batches, all read in the same way.

A batch is what a loss is given: a pair (inputs, targets), a longer tuple, a dict, whatever the loader gives.  Tensors stay in memory as
they are; a loader streams, and nothing of it is kept.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Subset

from tnkit.core.checks import shown
from tnkit_nn.checks import materialised
from tnkit_nn.data.batches import Batch, check_numbers, leaves, length, mapped, moved, shapes
from tnkit_nn.data.draws import kept, seed_, seeded
from tnkit_nn.data.splits import check_entries, stratified
from tnkit_nn.fingerprint import value_text
from tnkit_nn.storage import raw

__all__ = [
    "LOOK",
    "Batch",
    "BatchSource",
    "LoaderSource",
    "TensorSource",
    "as_source",
    "check_numbers",
    "length",
    "limited_source",
    "moved",
    "shapes",
]  # fmt: skip

#: Entries up to which all of a tensor is digested; of larger ones a hundred examples or so are.
_WHOLE = 2**20
#: Examples of a batch of a part that is only looked at.
LOOK = 500
#: Batches up to which a stream without a length is gone through to find its end.
LONGEST = 100_000

_KINDS = "a DataLoader, a Dataset, tensors (inputs, targets) or a list of batches"


@runtime_checkable
class BatchSource(Protocol):
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


def as_source(given: Any, what: str) -> BatchSource:
    """Whatever holds a part's examples, as a source.

    Raises
    ------
    TypeError
        No data, or what can be gone through only once.
    ValueError
        Tensors of unlike lengths, without entries or, in the first of them, with entries that are not finite; data without a single
        example.
    """
    if isinstance(given, (TensorSource, LoaderSource)):
        return given
    if isinstance(given, (DataLoader, Dataset)):
        return _checked_loader(LoaderSource(given, what))
    if isinstance(given, Iterator):
        raise TypeError(
            f"{what} is gone through again and again, but a {type(given).__name__} ends after one pass; list(...) keeps its batches"
        )
    if isinstance(given, list):
        _check_batches(given, what)
    elif isinstance(given, (Tensor, tuple, Mapping)):
        return TensorSource(_checked_tree(given, what))
    elif isinstance(given, (str, bytes, bytearray, set, frozenset, range, np.ndarray, type, torch.nn.Module)) or (
        not isinstance(given, Iterable) and not _has_places(given)
    ):
        hint = "; torch.as_tensor(x) makes a tensor of an array" if isinstance(given, np.ndarray) else ""
        raise TypeError(f"{what} is {_KINDS}, not {shown(given)}{hint}")
    return _checked_loader(LoaderSource(given, what))


def _last(name: str) -> str:
    """The end of a place in the data, where a message has begun with the whole of it."""
    return name.rpartition(": ")[2]


def _has_places(given: Any) -> bool:
    """Whether examples are asked for by their place, as those of a Dataset: what is gone through are examples, not batches."""
    return hasattr(type(given), "__getitem__") and hasattr(type(given), "__len__") and not isinstance(given, list)


def _check_batches(given: list[Any], what: str) -> None:
    """A list is of batches; bare tensors in one could be batches or columns."""
    if not given:
        raise ValueError(f"{what} has one batch or more, not none")
    for k, batch in enumerate(given):
        if isinstance(batch, Tensor):
            raise TypeError(
                f"{what}: a tuple of tensors (inputs, targets) is one entry an example, a list is of batches, [(x1, y1), (x2, y2)]; "
                f"its entry {k} is a bare tensor"
            )
        if not any(isinstance(x, Tensor) for _, x in leaves(batch)) and not hasattr(batch, "to"):
            raise TypeError(f"{what} is {_KINDS}; entry {k} of the list has no tensor: {shown(batch)}")


def _checked_tree(given: Any, what: str) -> Any:
    found = [(what + path, x) for path, x in leaves(given)]
    if not found:
        raise TypeError(f"{what} is {_KINDS}, not {shown(given)}")
    lengths = {}
    for name, x in found:
        if not isinstance(x, Tensor):
            hint = "; torch.as_tensor(x) makes one of an array" if isinstance(x, np.ndarray) else ""
            raise TypeError(f"{what} is {_KINDS}, but {_last(name)} is {shown(x)}, not a tensor{hint}")
        materialised(x, name)
        if not x.dim():
            raise ValueError(f"{name} has one entry an example, (count, ...), but it is a single number")
        lengths[name] = len(x)
    if len(set(lengths.values())) > 1 or not next(iter(lengths.values())):
        pairs = ", ".join(f"{_last(n)} {k}" for n, k in lengths.items())
        raise ValueError(f"{what}: all tensors have the same number of examples, at least one, not {pairs}")
    name, first = found[0]
    check_entries(first, name)
    return given


def _checked_loader(made: LoaderSource) -> LoaderSource:
    """Data sets that say how many examples they have, at least one; a stream need not say it."""
    if made.count is None and made.holds_examples and not isinstance(made.given, IterableDataset):
        raise TypeError(
            f"{made.what}: a Dataset has a length, and {type(made.given).__name__} has none; a stream is an IterableDataset"
        )
    if made.count == 0:
        raise ValueError(f"{made.what} has at least one example, but its {type(made.given).__name__} has none")
    return made


# -- tensors ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class TensorSource:
    """Tensors in memory: a tensor, or a tuple, list or dict of them, all (count, ...)."""

    tree: Any

    def __len__(self) -> int:
        return self.count

    @cached_property
    def count(self) -> int:
        """Number of examples."""
        return len(next(leaves(self.tree))[1])

    def taken(self, chosen: Any) -> Batch:
        """The examples at positions, as a batch."""
        return mapped(lambda x: x[chosen], self.tree)

    def steps(self, size: int) -> int:
        """Batches of one pass: what is left at the end of an order is left out, other examples in each pass."""
        return self.count // min(size, self.count)

    def shuffled(self, size: int, draw: Generator) -> Iterator[Batch]:
        """One pass in an order that the generator draws."""
        order, size = torch.randperm(self.count, generator=draw, device=draw.device), min(size, self.count)
        for k in range(self.steps(size)):
            yield self.taken(order[k * size : (k + 1) * size])

    def loader(self, size: int = LOOK) -> Iterable[Batch]:
        """All examples in their order."""
        return _Pieces(self, size)

    def digest(self) -> str:
        """From small tensors, and a hundred examples or so of large ones."""
        made = hashlib.sha256()
        for path, x in leaves(self.tree):
            made.update(f"{path} {tuple(x.shape)} {x.dtype}".encode())
            made.update(raw(x if x.numel() <= _WHOLE else x[:: max(1, len(x) // 100)]))
        return made.hexdigest()[:12]


@dataclass(frozen=True)
class _Pieces:
    """Tensors in pieces, as a loader."""

    dataset: TensorSource
    batch_size: int

    def __len__(self) -> int:
        return -(-self.dataset.count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for k in range(len(self)):
            yield self.dataset.taken(slice(k * self.batch_size, (k + 1) * self.batch_size))


# -- loaders ------------------------------------------------------------------------------------------------------------
class LoaderSource:
    """A DataLoader, a Dataset that gets one, or anything that gives batches as often as it is asked.

    A loader has its own batch size; a Dataset has the one that is asked for.  What either draws follows from a seed, pass by pass.
    """

    def __init__(self, given: Any, what: str) -> None:
        self.given, self.what = given, what
        self.holds_examples = isinstance(given, Dataset) or (not isinstance(given, DataLoader) and _has_places(given))
        self._steps: dict[int, int] = {}

    @cached_property
    def count(self) -> int | None:
        """Number of examples of a pass, where the loader says so."""
        if isinstance(self.given, list):
            return sum(map(length, self.given))
        if self.holds_examples:
            return _length(self.given)
        batches, stream = getattr(self.given, "batch_sampler", None), getattr(self.given, "dataset", None)
        if type(batches) is BatchSampler and not isinstance(stream, IterableDataset):
            found = _length(batches.sampler)
            return found if found is None or not batches.drop_last else found - found % batches.batch_size
        return _length(stream) if isinstance(stream, IterableDataset) or batches is None else None

    def _loader(self, size: int, shuffle: bool = False) -> Any:
        """What gives the batches; workers are its own, so that no earlier pass has left its mark on what they draw."""
        if not self.holds_examples:
            if not getattr(self.given, "persistent_workers", False):
                return self.given
            own = copy.copy(self.given)
            own._iterator = None
            return own
        streams = isinstance(self.given, IterableDataset)
        return DataLoader(self.given, size, shuffle=None if streams else shuffle, drop_last=False)

    def steps(self, size: int) -> int:
        """Batches of one pass; a stream that has no length is gone through once for it."""
        if size not in self._steps:
            loader = self._loader(size)
            found = _length(loader)
            self._steps[size] = sum(1 for _ in self.loader(size)) if found is None else found
        if not self._steps[size]:
            raise ValueError(f"{self.what} has one batch or more, not none")
        return self._steps[size]

    def shuffled(self, size: int, draw: Generator) -> Iterator[Batch]:
        """One pass; what the loader draws itself follows from the generator's seed, that of the global generators included."""
        loader = self._loader(size, shuffle=True)
        with seeded(loader, draw.initial_seed()):
            yield from loader

    def endless(self, size: int, seed: int) -> Iterator[Batch]:
        """Batches without end, pass after pass, drawn by the seed alone: between them all generators are the caller's."""
        loader = self._loader(size, shuffle=True)
        number, iterator, state, fresh = 0, iter(()), None, True
        while True:
            put_back = kept(loader)
            try:
                if state is None:
                    seed_((1_000_003 * seed + number) % 2**63, loader)
                    iterator, number, fresh = iter(loader), number + 1, True
                else:
                    state()
                    fresh = False
                batch = next(iterator, _END)
                state = None if batch is _END else kept(loader)
            finally:
                put_back()
            if batch is not _END:
                yield batch
            elif fresh:
                raise ValueError(_spent(self.what) if number > 1 else f"{self.what} has one batch or more, not none")

    def loader(self, size: int = LOOK) -> Iterable[Batch]:
        """The loader itself, which gives the same batches each time."""
        return _Again(self._loader(size), self.what)

    def digest(self) -> str:
        """From what it is, how long it is, and a few of its examples, which are read for it."""
        sampler = type(getattr(self.given, "sampler", None)).__name__
        options = [getattr(self.given, name, None) for name in ("batch_size", "drop_last")]
        made = hashlib.sha256(f"{type(self.given).__name__} {self.count} {sampler} {options}".encode())
        for x in self._probe():
            for path, leaf in leaves(x):
                made.update(f"{path} {value_text(leaf)}".encode())
        return made.hexdigest()[:12]

    def _probe(self) -> list[Any]:
        """The first, the middle and the last example or batch of what has places; else the first batch."""
        held: Any = self.given
        if not self.holds_examples and not isinstance(held, list):
            held = getattr(self.given, "dataset", None)
        count = 0 if isinstance(held, IterableDataset) else _length(held) or 0
        with seeded(self.given, 0):
            if count:
                try:
                    return [held[k] for k in dict.fromkeys((0, count // 2, count - 1))]
                except (TypeError, LookupError):  # a sampler's places are no numbers
                    pass
            return list(islice(self._loader(LOOK), 1))

    def __repr__(self) -> str:
        return f"LoaderSource({type(self.given).__name__})"


_END: Any = object()


class _Again:
    """A loader that gives the same batches each time, whatever it draws, and leaves all generators as they were."""

    def __init__(self, loader: Any, what: str) -> None:
        self.loader, self.what = loader, what

    def __iter__(self) -> Iterator[Batch]:
        known = _length(self.loader)
        with seeded(self.loader, 0):
            for k, batch in enumerate(islice(self.loader, known)):  # a stream may go on for ever
                if known is None and k == LONGEST:
                    raise ValueError(
                        f"{self.what}: a stream without a length ends within {LONGEST:,} batches; with a __len__ an endless one is data too"
                    )
                yield batch

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


def _length(x: Any) -> int | None:
    """How long something is; None where it does not say."""
    try:
        return len(x)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _spent(what: str) -> str:
    return f"{what} is gone through again and again, but gives no batch the second time; its __iter__ has to begin anew"


# -- fewer of them ------------------------------------------------------------------------------------------------------
def limited_source(part: BatchSource, limit: int, what: str) -> BatchSource:
    """At most so many examples of a part, drawn with a fixed seed, by class where its last tensor has labels; in their order.

    ValueError for a loader or a stream, which have no places to choose from.
    """
    if part.count is not None and part.count <= limit:
        return part
    if isinstance(part, TensorSource):
        last = list(leaves(part.tree))[-1][1]
        labels = (
            last
            if last.dim() == 1 and not last.is_floating_point() and not last.is_complex()
            else torch.zeros(len(last), dtype=torch.long, device="cpu")
        )
        return TensorSource(part.taken(stratified(labels.long())[:limit].sort().values))
    if (
        isinstance(part, LoaderSource)
        and part.holds_examples
        and part.count is not None
        and not isinstance(part.given, IterableDataset)
    ):
        chosen = stratified(torch.zeros(part.count, dtype=torch.long, device="cpu"))[:limit].sort().values.tolist()
        return LoaderSource(Subset(part.given, chosen), part.what)
    raise ValueError(
        f"{what} is for tensors and Datasets; a {type(getattr(part, 'given', part)).__name__} has its own length"
    )

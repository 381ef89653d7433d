"""Weights that are kept between the forwards of a model in use: built once, and again when an array has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from tnkit.core.numbers import whole_number
from tnkit_nn.engine.backend import capturing

__all__ = ["can_keep", "is_kept", "keep_weights", "kept_weight", "unseen_by_tools"]

#: Bytes that all kept weights may take together.
_limit = 2**31
_lock = threading.RLock()  # a weight may be collected, which takes it out, while it is held


@dataclass(frozen=True)
class _Kept:
    """A weight, and what the arrays that it was built from were: kinds, and their bits."""

    kinds: tuple[object, ...]
    bits: list[Tensor]
    value: Tensor

    @property
    def size(self) -> int:
        """Bytes of the value and of the copies."""
        return sum(x.nbytes for x in (self.value, *self.bits))


#: Module -> what is kept for it, the longest unused first.  It is no attribute: copies and files have nothing of it.
_all: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def keep_weights(limit: int) -> None:
    """Let the weights that are kept in eval mode take so many bytes in this process, and drop those that are past it.

    >>> tknn.keep_weights(0)  # keep none: every forward builds its weights
    >>> tknn.keep_weights(2**31)  # up to 2 GiB, as at first
    >>> tknn.keep_weights(-1)
    Traceback (most recent call last):
        ...
    ValueError: keep_weights: limit is a whole number of at least 0, not -1

    A model in eval mode, under ``torch.no_grad()`` or ``inference_mode()``, builds the weight of a network once and keeps it until
    one of the arrays changes in any way (their content is compared in every call).  The limit is 2 GiB at first; a weight larger
    than it is built anew in every call, and those that were not used for longest make room for others.

    Raises
    ------
    TypeError, ValueError
        A limit that is no whole number, or is negative.
    """
    global _limit
    limit = whole_number(limit, "keep_weights: limit", 0)
    with _lock:
        _limit = limit
        _make_room(0)


def kept_weight(owner: nn.Module, arrays: Mapping[str, Tensor], make: Callable[[], Tensor]) -> Tensor:
    """What ``make`` gives, built now or kept from before; ``arrays`` are all that it depends on.

    It is kept where ``owner`` is in eval mode and no gradient is asked for, in plain eager mode (:func:`unseen_by_tools`).  What is
    given is not to be written to.
    """
    if torch.compiler.is_compiling() or not can_keep(owner, arrays.values()):
        return make()
    with _lock:
        found = _all.pop(owner, None)
        if found is not None:
            _all[owner] = found  # the last one is the one used last
    kinds = _kinds(arrays)
    if found is not None and found.kinds == kinds and all(map(_equal, found.bits, _bits(arrays))):
        return found.value
    with torch.inference_mode(False), torch.no_grad():  # a tensor of the inference mode is of no use outside of it
        copies = [x.clone() for x in _bits(arrays)]  # before: another thread may write meanwhile
        value = make().detach()
    made = _Kept(kinds, copies, value)
    if type(value) is Tensor and made.size <= _limit:
        with _lock:
            _all.pop(owner, None)
            _make_room(made.size)
            _all[owner] = made
    return value


def can_keep(owner: nn.Module, arrays: Iterable[Tensor]) -> bool:
    """Whether a weight of these arrays is kept now; in training what was kept is dropped."""
    tensors = tuple(arrays)
    if owner.training or not _limit or not unseen_by_tools(*tensors):
        if _all:
            with _lock:
                _all.pop(owner, None)
        return False
    return not torch.is_grad_enabled() or not any(x.requires_grad for x in tensors)


def is_kept(owner: nn.Module, arrays: Mapping[str, Tensor], entries: int) -> bool:
    """Whether a weight of so many entries, if it is built now, serves the next call: it is kept, or there is room for it.

    Where weights drop each other out, building one at every call is no way to save a contraction with the input.
    """
    if torch.compiler.is_compiling() or not can_keep(owner, arrays.values()):
        return False
    with _lock:
        if owner in _all:
            return True
        taken = sum(k.size for k in _all.values())
    held = sum(x.nbytes for x in arrays.values())
    return taken + entries * next(iter(arrays.values())).element_size() + held <= _limit


_PLAIN = {Tensor, nn.Parameter}


def unseen_by_tools(*tensors: Tensor) -> bool:
    """Whether these are plain tensors with values, and nothing traces, transforms or records what is done with them."""
    return (
        not torch.compiler.is_compiling()
        and not capturing()
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and {type(x) for x in tensors} <= _PLAIN
        and not any(x.is_meta for x in tensors)
    )


def _make_room(size: int) -> None:
    """Drop those longest unused until a new one of this size fits."""
    taken = sum(k.size for k in _all.values())
    for owner in list(_all):
        if taken + size <= _limit:
            return
        taken -= _all.pop(owner).size


#: Entries of an array that is copied in less time than it is called for.
_SMALL = 2**12
#: Bytes of an entry -> the whole numbers that its bits are: NaN is equal to itself, 0 not to -0.
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _equal(one: Tensor, two: Tensor) -> bool:
    """Numpy compares whole numbers in a third of torch's time."""
    if one.device.type == "cpu":
        return np.array_equal(one.numpy(), two.numpy())
    return torch.equal(one, two)


def _kinds(arrays: Mapping[str, Tensor]) -> tuple[object, ...]:
    found = list(arrays.values())
    return list(arrays), [x.shape for x in found], [x.dtype for x in found], [x.device for x in found]


def _bits(arrays: Mapping[str, Tensor]) -> list[Tensor]:
    """All bits, to be compared: versions would not tell what is written through ``.data``.

    The small arrays as one tensor, for to compare each of many takes longer; the large ones where they are, for a copy does, as whole
    numbers of 64 bits, which takes half the time of 32.
    """
    with torch.no_grad():
        plain = list(arrays.values())
        if any(x.is_complex() for x in plain):  # which may be conjugated in name alone
            plain = [torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in plain]
        small = [x for x in plain if x.numel() <= _SMALL]
        large = [x if x.is_contiguous() else x.contiguous() for x in plain if x.numel() > _SMALL]
        if len({x.dtype for x in small}) == 1:
            small = [
                torch._C._nn.flatten_dense_tensors(small)
            ]  # one call: a loop over many small ones takes longer than all else
        return [x.detach().reshape(-1).view(_whole(x)) for x in (*large, *small)]


def _whole(x: Tensor) -> torch.dtype:
    wide = x.nbytes % 8 == 0 and x.storage_offset() * x.element_size() % 8 == 0
    return torch.int64 if wide else _WHOLE[x.element_size()]

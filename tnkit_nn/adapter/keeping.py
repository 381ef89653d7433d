"""Weights that are kept between the forwards of a model in use: built once, and again when an array has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tnkit.core.numbers import whole_number

__all__ = ["dropped", "keep_weights", "keeps", "kept", "unseen_by_tools"]

#: Bytes that all kept weights may take together.
_limit = 2**31
_lock = threading.RLock()  # a weight may be collected, which takes it out, while it is held


@dataclass(frozen=True)
class _Kept:
    """A weight, and copies of the arrays that it was built from."""

    arrays: dict[str, Tensor]
    value: Tensor

    @property
    def size(self) -> int:
        """Bytes of the value and of the copies."""
        return sum(x.nbytes for x in (self.value, *self.arrays.values()))


#: Module -> what is kept for it, the longest unused first.  It is no attribute: copies and files have nothing of it.
_all: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def keep_weights(limit: int) -> None:
    """Let the weights that are kept in eval mode take so many bytes in this process, and drop those that are past it.

    ::

        tknn.keep_weights(0)        # keep none: every forward builds its weights
        tknn.keep_weights(2**33)    # up to 8 GiB

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


def kept(owner: nn.Module, arrays: Mapping[str, Tensor], make: Callable[[], Tensor]) -> Tensor:
    """What ``make`` gives, built now or kept from before; ``arrays`` are all that it depends on.

    It is kept where ``owner`` is in eval mode and no gradient is asked for, in plain eager mode (:func:`unseen_by_tools`).  What is
    given is not to be written to.
    """
    if torch.compiler.is_compiling() or not keeps(owner, arrays.values()):
        return make()
    with _lock:
        found = _all.pop(owner, None)
        if found is not None:
            _all[owner] = found  # the last one is the one used last
    if found is not None and _unchanged(found.arrays, arrays):
        return found.value
    with torch.inference_mode(False), torch.no_grad():  # a tensor of the inference mode is of no use outside of it
        copies = {name: x.detach().clone() for name, x in arrays.items()}  # before: another thread may write meanwhile
        value = make().detach()
    made = _Kept(copies, value)
    if type(value) is Tensor and made.size <= _limit:
        with _lock:
            _all.pop(owner, None)
            _make_room(made.size)
            _all[owner] = made
    return value


def keeps(owner: nn.Module, arrays: Iterable[Tensor]) -> bool:
    """Whether a weight of these arrays is kept now."""
    tensors = tuple(arrays)
    if owner.training or not _limit or not unseen_by_tools(*tensors):
        dropped(owner)
        return False
    return not torch.is_grad_enabled() or not any(x.requires_grad for x in tensors)


def dropped(owner: nn.Module) -> None:
    """Keep nothing for this module any longer."""
    if _all:
        with _lock:
            _all.pop(owner, None)


def unseen_by_tools(*tensors: Tensor) -> bool:
    """Whether these are plain tensors with values, and nothing traces, transforms or records what is done with them."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and all(type(x) in (Tensor, nn.Parameter) and not x.is_meta for x in tensors)
    )


def _make_room(size: int) -> None:
    """Drop those longest unused until a new one of this size fits."""
    taken = sum(k.size for k in _all.values())
    for owner in list(_all):
        if taken + size <= _limit:
            return
        taken -= _all.pop(owner).size


def _unchanged(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> bool:
    """Whether arrays are what they were, bit by bit: versions would not tell what is written through ``.data``."""
    return before.keys() == now.keys() and all(_same(x, now[name]) for name, x in before.items())


def _same(a: Tensor, b: Tensor) -> bool:
    b = b.detach()
    if (a.dtype, a.device, a.shape, a.stride()) != (b.dtype, b.device, b.shape, b.stride()):
        return False
    if a.is_conj() or b.is_conj() or a.is_neg() or b.is_neg():
        return torch.equal(a, b)
    kind = _BITS.get(a.element_size())
    return torch.equal(a.view(kind), b.view(kind)) if kind else torch.equal(a, b)


#: Bytes of an entry -> the whole numbers that its bits are: NaN is equal to itself, 0 not to -0.
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

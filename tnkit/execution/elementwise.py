"""Functions of large numpy arrays, a block at a time: what a formula makes on the way is as large as a block, not as the array."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tnkit.core.activations import ACTIVATIONS, Activation

__all__ = ["BLOCK", "blockwise", "in_blocks", "in_place"]

#: Entries of a block: it and what is made of it stay in the cache.
BLOCK = 2**15


def blockwise(fn: Activation, *given: np.ndarray) -> np.ndarray:
    """``fn(numpy, *given)`` of a function that acts entry by entry, on arrays of one shape.

    >>> blockwise(ACTIVATIONS["tanh"], np.zeros((2, 2)))
    array([[0., 0.],
           [0., 0.]])
    """
    if min(x.size for x in given) <= BLOCK:
        return np.asarray(fn(np, *given))
    dtype = np.asarray(fn(np, *(x.flat[:1] for x in given))).dtype
    flags = [["readonly"]] * len(given) + [["writeonly", "allocate"]]
    iterator: Any = np.nditer  # its stubs take literals alone
    blocks = iterator(
        [*given, None], ["external_loop", "buffered", "delay_bufalloc"], flags, [*(x.dtype for x in given), dtype],
        order="K", buffersize=BLOCK,
    )  # fmt: skip
    with blocks:
        blocks.reset()
        for *some, out in blocks:
            for k in range(0, out.size, BLOCK):  # a block may be all of an array that lies in one piece
                part = slice(k, k + BLOCK)
                out[part] = fn(np, *(x[part] for x in some))
        made: np.ndarray = blocks.operands[-1]
    return made


def in_place(name: str, x: np.ndarray, factor: float = 1.0) -> bool:
    """Turn ``x`` into ``fn(factor * x)`` where it lies, in one pass; whether any entry is not 0 then."""
    fn, alive = ACTIVATIONS[name], False
    iterator: Any = np.nditer
    with iterator(x, ["external_loop", "buffered"], [["readwrite"]], order="K", buffersize=BLOCK) as blocks:
        for block in blocks:
            for k in range(0, block.size, BLOCK):
                part = block[k : k + BLOCK]
                part *= np.asarray(factor, x.dtype)
                part[...] = fn(np, part)
                alive = alive or bool(part.any())
    return alive


#: Name -> the function, in blocks: what numpy's backend runs.
in_blocks: dict[str, Callable[..., np.ndarray]] = {
    name: partial(blockwise, fn) for name, fn in ACTIVATIONS.items() if name != "identity"
}

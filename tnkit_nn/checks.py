"""What users give of torch, checked where it comes in: the value itself, or an error that states the rule, then the value."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tnkit.core.caller import warn_caller
from tnkit.core.checks import a_function, shown
from tnkit.core.network import Network
from tnkit.core.numbers import whole_number
from tnkit.core.shapes import cut_off, split_axes

__all__ = [
    "a_folder", "a_function", "a_kind", "a_module", "a_path", "a_size", "a_tensor", "an_array", "an_open_module", "check_fills", "finite", "labels_of", "materialised",
    "trained_dtype", "warn_caller",
]  # fmt: skip

_Kind = TypeVar("_Kind")

#: An axis is never longer: torch counts bytes in 64 bits.
_LARGEST = 2**40
#: How many times as long as a weight's axis a network's is called too long: builders pad an axis to less than twice its size.
_FAR = 2
#: torch dtypes in which networks are trained.
_FLOATING = "a floating or complex dtype, such as torch.float32"


def a_kind(value: Any, kind: type[_Kind], what: str, hint: str = "") -> _Kind:
    """An instance of a class; TypeError for anything else.

    ::

        a_kind(recipe, Recipe, "train: recipe")
        # Recipe(epochs=3, lr=0.01, ...)
    """
    if isinstance(value, kind):
        return value
    raise TypeError(f"{what} is a {kind.__name__}, not {shown(value)}{hint}")


def a_module(value: Any, what: str) -> nn.Module:
    """A module; TypeError for anything else."""
    if isinstance(value, nn.Module):
        return value
    hint = "; make one of the class first" if isinstance(value, type) and issubclass(value, nn.Module) else ""
    raise TypeError(f"{what} is an nn.Module, not {shown(value)}{hint}")


def an_open_module(value: Any, what: str) -> nn.Module:
    """A module whose weights may become networks; TypeError for a compiled script, whose forward reads its own."""
    if isinstance(value, torch.jit.ScriptModule):
        name = getattr(value, "original_name", "") or type(value).__name__
        raise TypeError(
            f"{what} is an nn.Module in Python, not one that torch.jit compiled ({name}): networks first, torch.jit.trace afterwards"
        )
    return a_module(value, what)


def a_size(value: Any, what: str) -> int:
    """A whole number from 1 to what an axis can have, as an int; TypeError for no whole number, ValueError for another one."""
    found = whole_number(value, what, 1)
    if found > _LARGEST:
        raise ValueError(f"{what} is at most {_LARGEST}, not {found:.3g}")
    return found


def a_path(value: Any, what: str) -> Path:
    """A path, ``~`` being the user's home; TypeError for no path, ValueError for an empty one."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{what} is a path, a string or a pathlib.Path, not {shown(value)}")
    if not os.fspath(value):
        raise ValueError(f"{what} is a path, not an empty string")
    return Path(os.path.expanduser(value))


def a_folder(value: Any, what: str) -> Path:
    """A path of a folder, there or not yet there; NotADirectoryError for that of a file."""
    found = a_path(value, what)
    if found.exists() and not found.is_dir():
        raise NotADirectoryError(f"{what} is a folder, but {found} is a file")
    return found


def trained_dtype(value: Any, what: str) -> torch.dtype | None:
    """A dtype that can be trained in, or None."""
    if value is None:
        return None
    if not isinstance(value, torch.dtype):
        name = getattr(value, "__name__", value)
        hint = f"; torch.{name} is one" if isinstance(getattr(torch, str(name), None), torch.dtype) else ""
        raise TypeError(f"{what} is {_FLOATING}, not {shown(value)}{hint}")
    if not (value.is_floating_point or value.is_complex) or value.itemsize < 2:
        raise ValueError(f"{what} is {_FLOATING}, not {value}")
    return value


def a_tensor(value: Any, what: str) -> Tensor:
    """A dense tensor with values; TypeError for no tensor, ValueError for one without values or in another layout."""
    if not isinstance(value, Tensor):
        hint = "; torch.as_tensor(x) makes one of an array" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"{what} is a tensor, not {shown(value)}{hint}")
    return materialised(value, what)


def materialised(value: Tensor, what: str) -> Tensor:
    """A tensor with values of its own in a dense layout; ValueError for one on the meta device, sparse or quantised."""
    if value.is_meta:
        raise ValueError(
            f"{what} has values, not a shape alone, but it is on the meta device: call module.to_empty(device=...) first"
        )
    if value.layout is not torch.strided:
        raise ValueError(f"{what} is dense, not {value.layout}; x.to_dense() is")
    if value.is_quantized:
        raise ValueError(f"{what} is a plain tensor, not a quantised one; x.dequantize() is")
    return value


def labels_of(value: Any, what: str) -> Tensor:
    """Labels: whole numbers, one an example, at least one; TypeError for no tensor, ValueError for another shape or dtype."""
    found = a_tensor(value, what)
    if (
        found.dim() != 1
        or not len(found)
        or found.is_floating_point()
        or found.is_complex()
        or found.dtype == torch.bool
    ):
        raise ValueError(
            f"{what} are whole numbers of shape (count,), at least one, not {found.dtype} of shape {tuple(found.shape)}"
        )
    return found


def finite(value: Tensor, what: str) -> Tensor:
    """A tensor without NaN or infinity; ValueError names the place of the first one."""
    wrong = value.isfinite().logical_not()
    if bool(wrong.any()):
        place = tuple(int(k[0]) for k in torch.where(wrong))
        raise ValueError(f"{what} is finite everywhere, but its entry {place} is {value[place].item()}")
    return value


def an_array(value: Any, what: str) -> Any:
    """A numpy array or a dense tensor of numbers; TypeError for what is neither, ValueError for one of other things."""
    if isinstance(value, Tensor):
        return materialised(value, what)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{what} is a numpy array or a tensor, not {shown(value)}")
    if isinstance(value, (np.ma.MaskedArray, np.matrix)):
        raise TypeError(
            f"{what} is a plain numpy array, not {shown(value)}; np.asarray(x), of a masked one x.filled(0), is"
        )
    if value.dtype.kind not in "fciub" or value.dtype.itemsize > (16 if value.dtype.kind == "c" else 8):
        raise ValueError(f"{what} is an array of numbers that torch has too, not of {value.dtype}")
    return value


def check_fills(net: Network, shape: Sequence[int], who: str, *, warn: bool = True) -> str:
    """What of a network's tensor a weight of this shape does not use, in a sentence; empty where it uses all.

    >>> check_fills(tk.mpo((8, 8), (8, 8), 4), (63, 64), "TNLinear")
    'a tensor of 64 x 64 is cut to a weight of 63 x 64, which leaves 1.6 % of its entries unused'

    Where an axis is cut to half of its size or less, which no builder asks for, it is a UserWarning too, at the line of the
    caller outside of our packages.

    Raises
    ------
    ValueError
        By the name ``who``: the tensor does not read as such a weight; a matrix of the builders whose rows are the weight's columns.
    """
    try:
        unused, says = cut_off(net.shape, shape)
    except ValueError as error:
        raise ValueError(f"{who}: the network's sizes multiply to the weight's, in order, but {error}") from None
    rows, columns = (prod(net.sizes[i] for i in net.output if i[0] == side) for side in "oi")
    if _of_digits(net) and rows != columns and (columns, rows) == tuple(shape):
        raise ValueError(
            f"{who}: rows come first, but the network is {rows} x {columns} and the weight {columns} x {rows}; exchange out= and in_="
        )
    far = unused and any(prod(g) >= _FAR * n for g, n in zip(split_axes(net.shape, shape), shape, strict=True))
    if warn and far:
        warn_caller(f"{who}: {says}")
    return says


def _of_digits(net: Network) -> bool:
    """Whether the open indices are named as those of a structured matrix: digits of the rows, then digits of the columns."""
    return re.fullmatch(r"(o\d+ )+(i\d+ )+", "".join(f"{i} " for i in net.output)) is not None

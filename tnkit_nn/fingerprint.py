"""What a function does, as a short text: so that a run that goes on notices that its loss is another one."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tnkit_nn.storage import raw

__all__ = ["fingerprint"]

#: How deep values that a function holds are looked at.
_DEPTH = 4


def fingerprint(function: Callable[..., Any], *, held: bool = True) -> str:
    """Name and digest of a function: of its source, and of what it holds (defaults, closure, arguments of a partial).

    >>> fingerprint(lambda model, batch: 0)
    '<lambda> 1c7e12f0a1b2'

    The functions that it calls are not looked at.  ``held=False``: nor is what it holds, which may change as it works (a counter, a
    logger, a loader).
    """
    inner = function.func if isinstance(function, partial) else function
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    text = _text(function, _DEPTH) if held else _source(inner if hasattr(inner, "__code__") else type(inner))
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _text(value: Any, depth: int) -> str:
    """A value in a text that is the same in every process."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return repr(value)
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {value.dtype} {hashlib.sha256(raw(value)).hexdigest()}"
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, partial):
        return "partial " + _text((value.func, value.args, value.keywords), depth)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_text(v, depth - 1) for v in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(_text(v, depth - 1) for v in value)) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k, depth - 1)}: {_text(v, depth - 1)}" for k, v in value.items()) + "}"
    if isinstance(value, types.MethodType):
        return _text(value.__func__, depth) + _text(value.__self__, depth - 1)
    if isinstance(value, types.FunctionType):
        return _function_text(value, depth)
    if isinstance(value, nn.Module):
        return repr(value) + _text(dict(value.state_dict()), depth - 1)
    if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        return getattr(value, "__qualname__", getattr(value, "__name__", ""))
    return _source(type(value)) + _text(
        vars(value) if hasattr(value, "__dict__") else type(value).__qualname__, depth - 1
    )


def _function_text(function: types.FunctionType, depth: int) -> str:
    cells = [_cell(c) for c in function.__closure__ or ()]
    held = _text([function.__defaults__, function.__kwdefaults__, cells], depth - 1)
    # a line may have several lambdas, so that its text does not tell them apart
    lone = function.__name__ != "<lambda>"
    return (_source(function) if lone else "") + ("" if lone else _code_text(function.__code__)) + held


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _source(what: Any) -> str:
    """The source, or what the interpreter made of it where there is none."""
    try:
        return inspect.getsource(what)
    except (OSError, TypeError):
        return _code_text(what.__code__) if isinstance(what, types.FunctionType) else getattr(what, "__qualname__", "")


def _code_text(code: types.CodeType) -> str:
    parts = [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
    parts += [_code_text(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return " ".join(parts)

"""What a function does, as a short text: so that a run that goes on notices that its loss is another one."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tnkit_nn.storage import raw

__all__ = ["class_print", "fingerprint", "value_text"]

#: How deep values that a function holds are looked at.
_DEPTH = 5
#: Packages whose functions are what their name says, whatever their version.
_KNOWN = ("tnkit", "tnkit_nn", "torch", "numpy", "builtins", "math", "sklearn", "scipy")
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, np.generic)


def fingerprint(function: Callable[..., Any], *, held: bool = True) -> str:
    """Name and digest of a function: of its source, and of what it holds.

    That is its defaults, what it has closed over, the arguments of a partial, and the numbers, texts and tensors that it reads by
    global names.  Comments and the layout of the source do not count.  The functions that it calls are not looked at.
    ``held=False``: nor is what it holds, which may change as it works (a counter, a logger, a loader).

    >>> fingerprint(lambda model, batch: 0).partition(" ")[0]
    '<lambda>'
    """
    inner = function.func if isinstance(function, partial) else function
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    text = value_text(function) if held else _source(inner if hasattr(inner, "__code__") else type(inner))
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def class_print(kind: type) -> str:
    """A class by its name and, where it is one's own, a digest of its source: a forward that is edited makes another model.

    >>> class_print(nn.Linear)
    'Linear'
    """
    if _is_known(kind) or kind.__module__.partition(".")[0] in ("tnkit", "tnkit_nn"):
        return kind.__name__
    return f"{kind.__name__} {hashlib.sha256(_source(kind).encode()).hexdigest()[:8]}"


def value_text(value: Any, depth: int = _DEPTH) -> str:
    """A value in a text that is the same in every process: no address of the memory, no order of a set."""
    if value is None or isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, (Tensor, np.ndarray)):
        return _numbers_text(value)
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, partial):
        return "partial " + value_text((value.func, value.args, value.keywords), depth)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(value_text(v, depth - 1) for v in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(value_text(v, depth - 1) for v in value)) + "}"
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{value_text(k, depth - 1)}: {value_text(v, depth - 1)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, types.MethodType):
        return value_text(value.__func__, depth) + value_text(value.__self__, depth - 1)
    if _is_known(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', '')}"
    if isinstance(value, types.FunctionType):
        return _function_text(value, depth)
    if isinstance(value, types.CodeType):
        return _code_text(value)
    if isinstance(value, nn.Module):
        return _module_text(value, depth)
    if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        return getattr(value, "__qualname__", getattr(value, "__name__", ""))
    held = vars(value) if hasattr(value, "__dict__") else None
    return _source(type(value)) + value_text(held, depth - 1)


def _is_known(value: Any) -> bool:
    """A function or a class of a library, which its name tells."""
    module = getattr(value, "__module__", None) or ""
    return isinstance(value, (type, types.FunctionType)) and module.partition(".")[0] in _KNOWN


def _numbers_text(value: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(value, Tensor):
        dense = value if value.layout is torch.strided else value.to_dense()
        content = b"" if value.is_meta else raw(dense)
    else:
        content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    return f"{type(value).__name__} {tuple(value.shape)} {value.dtype} {hashlib.sha256(content).hexdigest()}"


def _module_text(module: nn.Module, depth: int) -> str:
    own = {type(m): _source(type(m)) for m in module.modules() if not _is_known(type(m))}
    return repr(module) + "".join(own.values()) + value_text(dict(module.state_dict()), depth - 1)


def _function_text(function: types.FunctionType, depth: int) -> str:
    cells = [_cell(c) for c in function.__closure__ or ()]
    read = {n: function.__globals__[n] for n in sorted(_names(function.__code__)) if n in function.__globals__}
    plain = {n: v for n, v in read.items() if isinstance(v, (*_PLAIN, Tensor, np.ndarray))}
    held = value_text([function.__defaults__, function.__kwdefaults__, cells, plain], depth - 1)
    # a line may have several lambdas, so that its text does not tell them apart
    return (_code_text(function.__code__) if function.__name__ == "<lambda>" else _source(function)) + held


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*inner)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _source(what: Any) -> str:
    """The source without its layout, or what the interpreter made of it where there is none."""
    if _is_known(what):
        return f"{what.__module__}.{what.__qualname__}"
    try:
        text = textwrap.dedent(inspect.getsource(what))
    except (OSError, TypeError):
        return _code_text(what.__code__) if isinstance(what, types.FunctionType) else getattr(what, "__qualname__", "")
    try:
        return ast.unparse(ast.parse(text))
    except SyntaxError:  # a part of a statement
        return text


def _code_text(code: types.CodeType) -> str:
    parts = [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
    return " ".join([*parts, *(value_text(c, 3) for c in code.co_consts)])

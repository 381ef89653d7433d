"""Things named by a text: ``"package.module:name"`` or ``"file.py:name"``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from threading import RLock
from types import FunctionType, ModuleType
from typing import Any

from tnkit.core.checks import text

__all__ = ["a_place", "absolute", "imported"]

#: Held while a file runs, so that another thread does not find half of its names; a file may ask for names of itself.
_running = RLock()


def imported(place: str, what: str, folder: Path | None = None) -> Any:
    """What a text names: ``imported("mine.py:task", "--task")``.

    Parameters
    ----------
    place
        A file or a module, a colon, and a name in it.  The code there is run: only name code of your own.
    what
        Whose value that is: for messages.
    folder
        Where a relative file stands; the working directory, if not given.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        No colon, no such module, an error while it is run (it is the cause), no such name; those there are, are named.
    """
    where, _, name = a_place(place, what).rpartition(":")
    module = _file(Path(os.path.expanduser(where)), what, folder) if where.endswith(".py") else _module(where, what)
    if not hasattr(module, name):
        there = ", ".join(n for n, value in vars(module).items() if not n.startswith("_") and _is_own(value, module))
        raise ValueError(f"{what}: {where} has no {name!r}; it has {there[:200] or 'nothing'}")
    return getattr(module, name)


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether a value of a module was made there, as far as it tells: no module, no class or function from elsewhere."""
    elsewhere = isinstance(value, (type, FunctionType)) and value.__module__ != module.__name__
    return not isinstance(value, ModuleType) and not elsewhere


def a_place(value: Any, what: str) -> str:
    """A text ``"file.py:name"`` or ``"module:name"``; TypeError for no text, ValueError for another one."""
    where, _, name = text(value, what).rpartition(":")
    if not where or not name.isidentifier():
        raise ValueError(f'{what} is "file.py:name" or "module:name", not {value!r}')
    return str(value)


def absolute(place: str, folder: Path | None = None) -> str:
    """The same place for any working directory: ``absolute("mine.py:task", Path("/home/me"))`` is ``"/home/me/mine.py:task"``."""
    where, _, name = place.rpartition(":")
    if where.endswith(".py"):
        where = str(((folder or Path()) / os.path.expanduser(where)).resolve())
    return f"{where}:{name}"


def _module(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        hint = f"; a file is named with its ending, {name}.py" if Path(f"{name}.py").exists() else ""
        raise ValueError(f"{what}: no module {error.name!r}{hint}") from None
    except Exception as error:
        raise ValueError(f"{what}: {name} fails when it is imported: {type(error).__name__}: {error}") from error


def _file(path: Path, what: str, folder: Path | None) -> ModuleType:
    """The module of a file, run once a process: its name says where it is, so that workers find its classes under the same one."""
    path = (folder / path if folder is not None else path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{what}: no such file {path}")
    name = f"tnkit_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    with _running:
        return sys.modules[name] if name in sys.modules else _run(name, path, what)


def _run(name: str, path: Path, what: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{what}: {path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{what}: {path.name} fails when it is run: {type(error).__name__}: {error}") from error
    except BaseException:
        del sys.modules[name]
        raise
    return module
